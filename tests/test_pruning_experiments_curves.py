"""Curves over sparsity: what is cut, what is counted, on every kind of model."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import elegans
from elegans.errors import PruningError
from elegans.pruning import FunctionCriterion, GradientWeight
from elegans.replications.experiments import (
    SPARSITIES,
    UNIT_PRUNING,
    WEIGHT_PRUNING,
    PairedDifference,
    PublishedCurve,
    SparsityCurve,
    Spread,
    curve_table,
    draw_curves,
    fit_classifier,
    loss_of,
    percent_correct,
    seeded,
    sparsity_curve,
)
from elegans.replications.sets import ClassificationSet, banknote_like


def matrices(model):
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]


def left(model):
    """Return the magnitude that is left in all matrices."""
    return float(sum(weight.detach().abs().sum() for weight in matrices(model)))


def make_net(seed=0):
    return seeded(lambda: nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 10)), seed)


def test_each_point_is_the_smallest_weights_of_each_layer_gone():
    model = make_net()
    before = copy.deepcopy(model.state_dict())
    seen = []

    def note(pruned):
        seen.append([weight.detach().clone() for weight in matrices(pruned)])
        return 0.0

    curve = sparsity_curve(model, note, (0, 0.25, 0.5, 0.9))
    for sparsity, weights in zip((0, 0.25, 0.5, 0.9), seen, strict=True):
        for weight, dense in zip(weights, matrices(model), strict=True):
            count = round(sparsity * dense.numel())
            bound = dense.detach().abs().flatten().sort().values
            expected = dense.detach().clone()
            if count:
                expected[dense.abs() <= bound[count - 1]] = 0
            torch.testing.assert_close(weight, expected, rtol=0, atol=0)
    np.testing.assert_allclose(curve.reached, [[0, 0.25, 0.5, 0.9]], atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_unit_pruning_takes_whole_rows_of_smallest_norm():
    model = make_net()
    rows = []

    def note(pruned):
        rows.append([(weight != 0).any(1) for weight in matrices(pruned)])
        assert all(
            ((weight != 0).all(1) | (weight == 0).all(1)).all() for weight in matrices(pruned)
        )
        return 0.0

    sparsity_curve(model, note, (0.5,), scope="unit", criterion="l2")
    for kept, dense in zip(rows[0], matrices(model), strict=True):
        norms = dense.detach().norm(dim=1)
        assert set(kept.nonzero().squeeze(1).tolist()) == set(
            norms.argsort(descending=True)[: len(norms) // 2].tolist()
        )


def test_largest_first_leaves_less_than_random_and_that_less_than_magnitude():
    models = [make_net(seed) for seed in range(3)]
    mass = [
        sparsity_curve(models, left, (0, 0.5, 0.8), criterion=criterion).mean
        for criterion in ("largest_first", "random", "magnitude")
    ]
    assert mass[0][0] == mass[1][0] == mass[2][0]
    assert (mass[0][1:] < mass[1][1:]).all()
    assert (mass[1][1:] < mass[2][1:]).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_what_is_cut_at_random_does_not_depend_on_the_weights(seed):
    """Weights made by the same seed are made of the numbers that the pruner could draw."""
    models = [seeded(lambda: nn.Linear(200, 200, bias=False), seed + k) for k in range(2)]
    kept = []

    def note(pruned):
        kept.append(pruned.weight.detach() != 0)
        return 0.0

    sparsity_curve(models, note, (0.5,), criterion="random", seed=seed)
    for model, mask in zip(models, kept, strict=True):
        weight = model.weight.detach()
        # The mean of 20,000 weights uniform between -b and b, within five deviations.
        assert abs(weight[mask].mean()) < 5 * weight.abs().max() / math.sqrt(3 * 20_000)
    assert not torch.equal(kept[0], kept[1])


def test_global_keeps_more_magnitude_than_layer_and_excluded_layers_are_whole():
    model = make_net()
    with torch.no_grad():
        model[0].weight.mul_(10)
    layer = sparsity_curve(model, left, (0.5,)).values[0, 0]
    every = sparsity_curve(model, left, (0.5,), scope="global").values[0, 0]
    assert every > layer

    def whole(pruned):
        assert bool((pruned[2].weight != 0).all())
        return float((pruned[0].weight == 0).double().mean())

    curve = sparsity_curve(model, whole, (0, 0.5), exclude=("2",))
    assert curve.values.tolist() == [[0, 0.5]]
    assert curve.reached.tolist() == [[0, 0.5]]


def test_a_layer_may_empty_at_high_sparsity_unless_forbidden():
    model = make_net()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    curve = sparsity_curve(
        model, lambda pruned: pruned[0].weight.abs().sum(), (0, 0.9), scope="global"
    )
    assert curve.values[0, 1] == 0
    with pytest.raises(PruningError, match=r"0\.weight would lose all its weights"):
        sparsity_curve(model, left, (0.9,), scope="global", allow_empty=False)


RECURRENT = {
    "LTC": lambda: elegans.LTC(4, 12),
    "LSTM": lambda: nn.LSTM(4, 12, batch_first=True),
    "GRU": lambda: nn.GRU(4, 12, batch_first=True),
    "CTRNN": lambda: elegans.CTRNN(4, 12),
    "CfC": lambda: elegans.CfC(4, 12),
}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("scope", ["layer", "global", "unit"])
@pytest.mark.parametrize("criterion", ["l1", "largest_first"])
def test_recurrent_networks(kind, scope, criterion):
    model = seeded(RECURRENT[kind], 1)
    x = torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        dense = model(x)[0]

    def moved(pruned):
        with torch.no_grad():
            return float((pruned(x)[0] - dense).abs().max())

    curve = sparsity_curve(model, moved, (0, 0.5, 0.9), scope=scope, criterion=criterion)
    assert curve.values[0, 0] == 0
    assert (curve.values[0, 1:] > 1e-6).all()
    np.testing.assert_allclose(curve.reached[0], [0, 0.5, 0.9], atol=0.5 / 12 + 1e-9)
    with torch.no_grad():
        assert torch.equal(model(x)[0], dense)  # the model itself is as it was


def test_several_models_give_mean_and_errors_and_each_has_its_own_metric():
    models = [make_net(seed) for seed in range(4)]
    functions = [lambda pruned, k=k: left(pruned) + 100 * k for k in range(4)]
    curve = sparsity_curve(models, functions, (0, 0.5))
    assert curve.values.shape == (4, 2)
    np.testing.assert_allclose(
        curve.values[:, 0], [left(m) + 100 * k for k, m in enumerate(models)]
    )
    np.testing.assert_allclose(curve.mean, curve.values.mean(0))
    np.testing.assert_allclose(curve.deviation, curve.values.std(0, ddof=1))
    np.testing.assert_allclose(curve.standard_error, curve.deviation / 2)
    single = sparsity_curve(models[0], left, (0, 0.5))
    assert np.isnan(single.deviation).all()
    assert single.to_dict()["standard_error"] is None
    # Of each model against itself: the offsets of 100 cancel.
    assert curve.drop(0.5).deviation < 10 < curve.at(0.5).deviation


def test_retraining_sees_the_pruned_copy_and_keeps_the_mask():
    train, test = banknote_like().split((0.8, 0.2), 0, standardised=True)
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), 0)
    fit_classifier(model, train, epochs=10, batch_size=50, learning_rate=1e-2)

    def retrain(pruned, pruner):
        fit_classifier(pruned, train, epochs=5, batch_size=50, learning_rate=1e-2)
        assert pruner.sparsity == pytest.approx(0.75, abs=0.02)
        zero = sum(int((weight == 0).sum()) for weight in matrices(pruned))
        assert zero / sum(weight.numel() for weight in matrices(pruned)) == pruner.sparsity

    def evaluate(pruned):
        return percent_correct(pruned, test)

    without = sparsity_curve(model, evaluate, (0, 0.75))
    again = sparsity_curve(model, evaluate, (0, 0.75), retrain=retrain)
    assert again.values[0, 0] == without.values[0, 0]
    assert again.values[0, 1] > without.values[0, 1]


def test_criteria_of_gradients_get_the_loss_of_the_copy():
    model, x = make_net(), torch.randn(8, 6)
    copies = []

    def closure(pruned):
        copies.append(pruned)
        return pruned(x).square().mean()

    curve = sparsity_curve(
        model, left, (0, 0.5, 0.8), criterion=GradientWeight(), closure=closure, scope="global"
    )
    assert (np.diff(curve.values[0]) < 0).all()
    assert len(copies) >= 2
    assert model not in copies


def test_own_criteria_and_their_labels():
    def by_place(part):
        return torch.arange(part.mask.numel()).reshape(part.mask.shape).double()

    model = nn.Linear(4, 4)
    curve = sparsity_curve(
        model, lambda pruned: float((pruned.weight[:2] == 0).all()), (0.5,), criterion=by_place
    )
    assert curve.values.tolist() == [[1.0]]
    assert curve.label == "layer, by_place"
    assert (
        sparsity_curve(model, left, (0.5,), criterion=FunctionCriterion(by_place)).label
        == "layer, FunctionCriterion"
    )


BAD = {
    "no models": (([], left, (0, 0.5)), r"got 0 models and 0 functions"),
    "functions": (([nn.Linear(2, 2)] * 2, [left], (0, 0.5)), r"got 2 models and 1 functions"),
    "falling": ((nn.Linear(2, 2), left, (0.5, 0.25)), r"expected at least one, and rising; sort"),
    "twice": ((nn.Linear(2, 2), left, (0.5, 0.5)), r"expected at least one, and rising"),
    "none": ((nn.Linear(2, 2), left, ()), r"got sparsities \(\), expected at least one"),
    "percent": ((nn.Linear(2, 2), left, (0, 50)), r"in \[0, 1\), got 50; 90 % is 0.9"),
    "nan": ((nn.Linear(2, 2), lambda _: math.nan, (0,)), r"got values that are not finite"),
    "bias only": ((nn.LayerNorm(3), left, (0, 0.5)), r"has nothing to prune"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_faults_are_named(arguments, message):
    with pytest.raises(PruningError, match=message):
        sparsity_curve(*arguments)


def test_faults_of_the_value_are_named():
    with pytest.raises(PruningError, match=r"values of shape \(2,\) and reached of shape \(2,\)"):
        SparsityCurve("a", "m", [0, 0.5], [1, 2], [0, 0.5])
    with pytest.raises(PruningError, match="got 3 sparsities for values of shape"):
        SparsityCurve("a", "m", [0, 0.5, 0.7], [[1, 2]], [[0, 0.5]])
    curve = SparsityCurve("a", "m", [0, 0.5], [[1, 2]], [[0, 0.5]])
    with pytest.raises(PruningError, match=r"got sparsity 0.6, expected one of \[0.0, 0.5\]"):
        curve.at(0.6)
    with pytest.raises(ValueError, match="read-only"):
        curve.values[0, 0] = 5
    with pytest.raises(PruningError, match="got no curves"):
        curve_table([])
    with pytest.raises(PruningError, match="got no curves"):
        draw_curves([])


def test_table_and_dict_hold_the_figures():
    curve = SparsityCurve(
        "mine", "accuracy, %", [0, 0.5, 0.97], [[90, 80, 10], [92, 86, 10]], [[0, 0.5, 0.97]] * 2
    )
    table = curve.table((WEIGHT_PRUNING,)).splitlines()
    assert table[0] == "| sparsity, % | mine | weights, published (MNIST) |"
    assert table[3] == "| 50 | 83.00 ± 4.24 | 97.00 |"
    assert table[4] == "| 97 | 10.00 ± 0.00 | 64.28 |"
    other = SparsityCurve("other", "accuracy, %", [0.5], [[70]], [[0.5]])
    assert curve_table([curve, other]).splitlines()[2] == "| 0 | 91.00 ± 1.41 |  |"
    held = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert held["mean"] == [91, 83, 10]
    assert held["models"] == 2


def test_published_curves_are_the_ones_of_the_protocol():
    assert len(SPARSITIES) == len(WEIGHT_PRUNING.values) == len(UNIT_PRUNING.values) == 10
    assert WEIGHT_PRUNING.values[4] == 96.77
    assert UNIT_PRUNING.values[4] == 94.63


def test_the_picture_has_error_bars_published_curves_and_a_stretched_axis(tmp_path):
    curve = SparsityCurve(
        "weights, per layer",
        "accuracy, %",
        [0, 0.5, 0.99],
        [[90, 80, 10], [92, 86, 10]],
        [[0, 0.5, 0.99]] * 2,
    )
    one = SparsityCurve("b", "accuracy, %", [0, 0.5], [[90, 80]], [[0, 0.5]])
    grey = PublishedCurve("other", (0, 0.5), (1, 2), "made up")
    axes = draw_curves([curve, one], (WEIGHT_PRUNING, grey), title="t", chance=10)
    (bars,) = [c for c in axes.containers if c.get_label() == "weights, per layer (2 seeds)"]
    (segments,) = bars[2]
    heights = [abs(s[1, 1] - s[0, 1]) / 2 for s in segments.get_segments()]
    np.testing.assert_allclose(heights, curve.deviation)
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["weights, published (MNIST)"].get_color() == bars[0].get_color()
    assert lines["other"].get_color() not in [c[0].get_color() for c in axes.containers]
    assert [t.get_text() for t in axes.get_xticklabels()] == [
        "0",
        "50",
        "70",
        "80",
        "90",
        "95",
        "97",
        "99",
    ]
    places = [axes.transData.transform((s, 0))[0] for s in (0, 0.9, 0.99)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])  # a decade each
    axes.figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_spread_and_paired_difference_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(0).normal(size=(2, 12))
    b += 0.9 * a
    paired = PairedDifference.of(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose((paired.low, paired.high), expected, rtol=1e-9)
    assert paired.is_clear == (stats.ttest_rel(a, b).pvalue < 0.05)
    np.testing.assert_allclose(
        Spread.of(a).interval(0.9), stats.t.interval(0.9, 11, a.mean(), stats.sem(a)), rtol=1e-9
    )
    assert str(Spread.of([0.5])) == "0.500"
    for first, second in (([1.0], [2.0]), ([1, 2], [1, 2, 3])):
        with pytest.raises(PruningError, match="same number of at least two"):
            PairedDifference.of(first, second)
    with pytest.raises(PruningError, match="all finite"):
        Spread.of([1, math.nan])
    with pytest.raises(PruningError, match="expected it between 0 and 1"):
        PairedDifference.of([1, 2], [3, 4], level=95)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.floats(-10, 10))
def test_what_pairs_share_cancels(values, shift):
    values = np.array(values)
    paired = PairedDifference.of(values + shift, values)
    assert paired.mean == pytest.approx(shift, abs=1e-9)
    assert paired.high - paired.low < 1e-8


def test_training_is_repeatable_goes_on_and_reports_divergence():
    train, test = banknote_like().split((0.8, 0.2), 0, standardised=True)

    def run(parts, seed=3):
        model = seeded(lambda: nn.Linear(4, 2), 0)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        done = 0
        for epochs in parts:
            fit_classifier(
                model,
                train,
                epochs=epochs,
                batch_size=64,
                seed=seed,
                optimizer=optimizer,
                first_epoch=done,
            )
            done += epochs
        return model.weight

    assert torch.equal(run([4]), run([1, 3]))
    assert not torch.equal(run([4]), run([4], seed=4))
    before = torch.random.get_rng_state()
    model = seeded(lambda: nn.Linear(4, 2), 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    fit_classifier(model, train, epochs=20, batch_size=64, learning_rate=1e-2)
    assert percent_correct(model, test) > 80
    logits = model(torch.tensor(test.features)).detach().double().numpy()
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(test)), test.labels])
    assert loss_of(model, test) == pytest.approx(expected, rel=1e-6)
    broken = ClassificationSet("a", np.full((4, 1), 3e38), [0, 1, 0, 1], ("n", "y"), ("x",), "")
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.fill_(10)  # logits leave the range of float32
    with pytest.raises(PruningError, match=r"training loss of nan in epoch 0, expected a finite"):
        fit_classifier(model, broken, epochs=1, batch_size=4)
