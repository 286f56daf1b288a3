"""The four trials of dynamic pruning: what each cuts, what they share, what is reported."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from elegans.errors import DataError, PruningError
from elegans.pruning import Pruner
from elegans.replications.experiments import (
    DYNAMIC_REPEATED,
    DynamicResult,
    DynamicSettings,
    PairedDifference,
    dynamic_trials,
    fit_classifier,
    loss_of,
    seeded,
)
from elegans.replications.experiments.dynamic import TRIALS
from elegans.replications.sets import ClassificationSet, banknote_like

pytestmark = pytest.mark.slow

QUICK = DynamicSettings(epochs=9, learning_rate=5e-3, sizes=(200, 100, 100))


@pytest.fixture(scope="module")
def result():
    return dynamic_trials(banknote_like(), range(3), QUICK)


def network():
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2), nn.Tanh())


def by_hand(seed):
    """Return the test losses of the four trials, written out without the library's pruner."""
    train, _, test = banknote_like().split(QUICK.sizes, seed)
    start = seeded(network, seed)

    def mask_of(model, share, masks):
        found = []
        for weight, mask in zip((model[0].weight, model[2].weight), masks, strict=True):
            size = weight.detach().abs().masked_fill(~mask, -1).flatten()
            kept = torch.ones_like(size, dtype=torch.bool)
            kept[size.argsort(stable=True)[: round(share * size.numel())]] = False
            found.append(kept.reshape(weight.shape))
        return found

    def train_on(model, masks, cuts=()):
        optimizer = torch.optim.Adam(model.parameters(), lr=QUICK.learning_rate)
        weights = model[0].weight, model[2].weight
        with torch.no_grad():
            for weight, mask in zip(weights, masks, strict=True):
                weight.mul_(mask)
        for epoch in range(QUICK.epochs):
            if epoch in dict(cuts):
                masks = mask_of(model, dict(cuts)[epoch], masks)

            def hold(masks=masks):
                with torch.no_grad():
                    for weight, mask in zip(weights, masks, strict=True):
                        weight.mul_(mask)

            hold()
            fit_classifier(
                model,
                train,
                epochs=1,
                batch_size=QUICK.batch_size,
                seed=seed,
                optimizer=optimizer,
                first_epoch=epoch,
                after_step=hold,
            )
        return model

    full = [torch.ones(12, 4, dtype=torch.bool), torch.ones(2, 12, dtype=torch.bool)]
    unpruned = train_on(copy.deepcopy(start), full)
    masks = mask_of(unpruned, QUICK.share, full)
    one_shot = copy.deepcopy(unpruned)
    with torch.no_grad():
        one_shot[0].weight.mul_(masks[0])
        one_shot[2].weight.mul_(masks[1])
    ticket = train_on(copy.deepcopy(start), masks)
    dynamic = train_on(copy.deepcopy(start), full, ((3, 0.17), (6, 1 - 0.83**2)))
    return [loss_of(model, test) for model in (unpruned, one_shot, ticket, dynamic)]


def test_the_trials_are_those_written_out_by_hand(result):
    for column, seed in enumerate(result.seeds):
        np.testing.assert_allclose(result.loss[:, column], by_hand(seed), rtol=1e-5)


def test_what_is_missing_in_each_trial(result):
    missing = dict(zip(TRIALS, result.sparsity.mean(1), strict=True))
    # 72 weights; shares are rounded to whole weights of each matrix, 48 and 24.
    assert missing["unpruned"] == 0
    assert (
        missing["one-shot"]
        == missing["lottery ticket"]
        == pytest.approx((round(0.3 * 48) + round(0.3 * 24)) / 72)
    )
    cut = 1 - 0.83**2
    assert missing["dynamic"] == pytest.approx((round(cut * 48) + round(cut * 24)) / 72)


def test_seeds_together_and_one_after_the_other_agree(result):
    plain = dynamic_trials(banknote_like(), range(3), QUICK, together=False)
    np.testing.assert_allclose(plain.loss, result.loss, rtol=1e-4)  # float32, sums in other order
    np.testing.assert_array_equal(plain.sparsity, result.sparsity)


def test_runs_are_repeatable_and_differ_between_seeds(result):
    again = dynamic_trials(banknote_like(), (2,), QUICK)
    np.testing.assert_allclose(again.loss[:, 0], result.loss[:, 2], rtol=1e-5)
    twice = dynamic_trials(banknote_like(), range(3), QUICK)
    np.testing.assert_array_equal(twice.loss, result.loss)
    assert len(set(result.loss[0].tolist())) == 3


def test_a_trial_that_does_not_rewind_would_be_noticed():
    """The lottery ticket begins at the initialisation: begun elsewhere, it ends elsewhere."""
    train, _, test = banknote_like().split(QUICK.sizes, 0)
    start = seeded(network, 0)
    trained = fit_classifier(
        copy.deepcopy(start), train, epochs=9, batch_size=50, learning_rate=5e-3
    )
    Pruner(trained).prune(0.3)
    fit_classifier(trained, train, epochs=9, batch_size=50, learning_rate=5e-3)
    assert loss_of(trained, test) != pytest.approx(by_hand(0)[2], rel=1e-3)


def test_other_networks_and_scopes():
    settings = DynamicSettings(
        epochs=6,
        sizes=(100, 50, 50),
        learning_rate=1e-2,
        share=0.5,
        dynamic_share=0.5,
        exclude=("2",),
        fractions=(0.5,),
    )

    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    seen = []
    found = dynamic_trials(banknote_like(), (4, 1), settings, make=make, progress=seen.append)
    assert found.sparsity[1:].tolist() == [[0.5, 0.5]] * 3  # the excluded layer does not count
    assert seen == [f"{trial}: seeds 4, 1 done" for trial in TRIALS]


def test_comparison_table_and_dict(result):
    paired = result.compare("dynamic")
    assert paired == PairedDifference.of(result.loss[3], result.loss[0])
    held = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert held["trials"]["one-shot"]["loss"]["runs"] == result.loss[1].tolist()
    assert held["less_unpruned"]["dynamic"]["count"] == 3
    rows = result.table().splitlines()
    assert len(rows) == 6
    assert rows[2].startswith(f"| unpruned | 0.0 | {result.spread('unpruned')} |  |")
    assert "published" not in rows[0]  # those are of another data set
    rows = replace(result, data="penguins").table().splitlines()
    assert rows[5].endswith("| 0.4289 | 0.400 to 0.428 ± 0.04 |")
    assert len({row.count("|") for row in rows}) == 1
    assert list(DYNAMIC_REPEATED) == list(TRIALS)
    single = DynamicResult(
        "d", QUICK, (0,), result.loss[:, :1], result.accuracy[:, :1], result.sparsity[:, :1]
    )
    assert json.dumps(single.to_dict(), allow_nan=False)
    assert "±" not in single.table().splitlines()[2].split("|")[3]
    with pytest.raises(
        PruningError, match=r"got trial 'pruned' and figure 'loss', expected one of"
    ):
        result.spread("pruned")


def test_the_picture_shows_every_run_and_the_means(result, tmp_path):
    axes = result.draw()
    dots = np.concatenate(
        [part.get_offsets()[:, 1] for part in axes.collections if len(part.get_offsets()) == 3]
    )
    assert set(np.round(dots.astype(float), 12)) == set(np.round(result.loss.ravel(), 12))
    assert [label.get_text() for label in axes.get_xticklabels()] == list(TRIALS)
    axes.figure.savefig(tmp_path / "a.png")
    beside = replace(result, data="penguins").draw()
    assert len(beside.get_lines()) == len(axes.get_lines()) + 2 * len(TRIALS)
    single = dynamic_trials(banknote_like(), (0,), QUICK).draw()
    single.figure.savefig(tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 5000


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_are_checked(seeds):
    with pytest.raises(PruningError, match="expected at least one, each once and at least 0"):
        dynamic_trials(banknote_like(), seeds, QUICK)


def test_a_set_that_is_too_small_is_refused():
    small = ClassificationSet("small", np.zeros((9, 1)), np.arange(9) % 2, ("a", "b"), ("x",), "")
    with pytest.raises(DataError, match=r"parts of \[200, 100, 33\] rows, .* at most 9"):
        dynamic_trials(small, (0,))
