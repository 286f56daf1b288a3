"""The log, the verdict on every weight, and the criterion at work in a pruner."""

import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning import LotteryTicket, Pruner
from elegans.replications.causality import (
    PARTIAL,
    Choices,
    ExponentSettings,
    LyapunovGranger,
    NotStationaryError,
    WeightLog,
    WindowedExponents,
    find_causes,
    windowed_exponents,
)
from elegans.replications.causality.causes import judge_exponents
from elegans.replications.causality.granger import granger_causality
from elegans.wiring import AutoNCP


def regimes(seed, count, windows, step=45):
    """Series that are noise in some stretches and a sine in others, and which, (series, window)."""
    rng = np.random.default_rng(seed)
    noisy = rng.random((count, windows + 1)) < 0.5
    time = np.arange((windows + 1) * step)
    smooth = np.sin(0.7 * time)
    noise = rng.standard_normal((count, len(time)))
    return np.where(np.repeat(noisy, step, axis=1), noise, smooth), noisy


CHOICES = Choices(ExponentSettings(window=50), max_lag=3)


def risk_after(noisy, seed, step=45, later=2):
    """A risk that is high `later` stretches after a noisy one; a window ends in the next stretch.

    So `later` of 2 is one window after the noise, and 0 a window before it.
    """
    rng = np.random.default_rng(seed)
    level = np.roll(noisy, later).astype(float) + 0.25 * rng.standard_normal(len(noisy))
    return np.repeat(level, step)


def test_a_known_cause_is_found():
    series, noisy = regimes(0, 20, 120)
    found = find_causes(series, risk_after(noisy[3], 0), CHOICES)
    assert np.flatnonzero(found.significant).tolist() == [3]
    assert found.score.argmax() == 3
    # At its own scale the noise would be "abrupt" for the published choices.
    published = find_causes(0.02 * series, risk_after(noisy[3], 0), Choices.published(50))
    assert 3 in np.flatnonzero(published.cause)


def test_an_effect_is_no_cause():
    """The same series, but the risk is the first to move: nothing to be found."""
    series, noisy = regimes(0, 20, 120)
    found = find_causes(series, risk_after(noisy[3], 0, later=0), CHOICES)
    assert not found.significant.any()


def test_the_risk_of_a_window_is_the_one_at_its_end():
    series, noisy = regimes(1, 5, 80)
    settings = ExponentSettings()
    risk = risk_after(noisy[0], 1)
    choices = replace(CHOICES, max_lag=2, max_differences=None, lags="longest")
    found = find_causes(series, risk, choices)
    ends = settings.ends(len(risk))
    expected = granger_causality(windowed_exponents(series).values, risk[ends], 2).p[:, -1]
    np.testing.assert_array_equal(found.p, expected)


def test_scores_order_weights_as_their_p_values_do():
    rng = np.random.default_rng(2)
    series, risk = rng.standard_normal((2, 60, 3000)).cumsum(axis=-1)
    series[5] = 0.25
    for lags in ("bonferroni", "simes", "longest"):
        found = find_causes(series, risk[0], Choices(lags=lags))
        assert (found.score >= 0).all()
        assert found.score.argmin() == 5
        tested = np.flatnonzero(found.tested)
        order = tested[np.argsort(found.score[tested])]
        assert (np.diff(found.p[order]) <= 0).all()
        assert (np.diff(found.adjusted[order]) <= 0).all()
        assert found.constant.tolist() == [place == 5 for place in range(60)]


def test_what_becomes_of_constant_and_of_untestable_weights():
    series, noisy = regimes(3, 4, 80)
    series[0] = 1.5
    series[1] = np.tile(np.sin(0.7 * np.arange(45)), 81)  # the same in every window
    risk = risk_after(noisy[2], 3)
    choices = replace(CHOICES, max_differences=None)
    sound = find_causes(series, risk, choices)
    assert sound.cause.tolist()[:3] == [False, True, True]
    assert sound.tested.tolist() == [False, False, True, True]
    kept = find_causes(series, risk, replace(choices, keep_constant=True))
    assert kept.cause[0]
    assert kept.score[0] == sound.score[1] == 1000


def test_weights_that_all_stand_still_are_all_prunable():
    risk = np.random.default_rng(0).standard_normal(2000).cumsum()
    criterion = LyapunovGranger(WeightLog.of_series({"w": np.ones((2000, 4))}, risk))
    report = criterion.report()
    assert (report.constant, report.tested, report.pruned) == (4, 0, 4)
    assert criterion.masks()["w"].sum() == 0
    assert criterion.masks(spare=1)["w"].sum() == 1


def test_series_that_are_not_stationary_are_kept():
    rng = np.random.default_rng(4)
    values = rng.standard_normal((3, 100))
    values[1] = values[1].cumsum()
    none = np.zeros((3, 100), bool)
    exponents, risk = WindowedExponents(values, none, none), rng.standard_normal(100)
    found = judge_exponents(exponents, risk, replace(CHOICES, max_differences=0))
    assert found.non_stationary.tolist() == [False, True, False]
    assert (found.cause[1], found.score[1]) == (True, 1000)
    assert judge_exponents(exponents, risk, CHOICES).tested.all()
    with pytest.raises(NotStationaryError, match="risk is not stationary after 0 differences"):
        judge_exponents(exponents, values[1], replace(CHOICES, max_differences=0))


@pytest.mark.slow
def test_walks_against_walks_need_differences():
    """Levels of independent walks "cause" each other; their differences do not."""
    rng = np.random.default_rng(5)
    none = np.zeros((1, 60), bool)
    count = {None: 0, 2: 0}
    for _ in range(200):
        walk, risk = rng.standard_normal((2, 60)).cumsum(axis=1)
        for differences in count:
            choices = replace(CHOICES, max_lag=1, max_differences=differences)
            try:
                exponents = WindowedExponents(walk[None], none, none)
                found = judge_exponents(exponents, risk, choices)
            except NotStationaryError:
                continue
            count[differences] += int(found.significant[0])
    # Binomial, 200 tests at 5 %: 10 expected, standard deviation 3.1.
    assert count[2] <= 10 + 3 * 3.1 < count[None]


def test_what_find_causes_refuses():
    walks = np.random.default_rng(5).standard_normal((3, 1000)).cumsum(axis=1)
    risk = walks[0].copy()
    with pytest.raises(PruningError, match=r"a risk of shape \(999,\), expected .* one risk an it"):
        find_causes(walks, risk[:-1])
    with pytest.raises(PruningError, match=r"the risk is 0\.5 in all 22 windows"):
        find_causes(walks, np.full(1000, 0.5))
    with pytest.raises(PruningError, match="make 3 windows of 50, expected at least 7 windows"):
        find_causes(walks[:, :150], risk[:150])
    with pytest.raises(PruningError, match="22 windows of 50, expected at least 44"):
        find_causes(walks, risk, Choices.published(50))
    risk[77] = np.nan
    with pytest.raises(PruningError, match="risk at 0 holds nan at iterate 77"):
        find_causes(walks, risk)
    with pytest.raises(PruningError, match="tests='fdr', expected one of"):
        Choices(tests="fdr")
    with pytest.raises(PruningError, match=r"alpha=1.5, expected a number in \(0, 1\)"):
        Choices(alpha=1.5)
    with pytest.raises(PruningError, match="max_lag=0, expected at least 1"):
        Choices(max_lag=0)


def small_model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def walk_of(model, steps, log, seed=0):
    """Change the weights at random in place of a training; the risk is a walk, too."""
    rng, level = np.random.default_rng(seed), 0.0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
        level += rng.standard_normal()
        log.record(level)


def test_the_log_holds_what_was_recorded():
    model = small_model()
    log = WeightLog(model, iterates=7, every=3)
    seen = []
    for step in range(7):
        with torch.no_grad():
            model[0].weight += 1
        if step % 3 == 0:
            seen.append(model[0].weight.detach().reshape(-1).numpy().copy())
        log.record(step)
    assert (log.capacity, log.iterates, log.bytes) == (3, 3, 3 * 20 * 4)
    np.testing.assert_array_equal(log.series("0.weight"), np.array(seen).T)
    assert log.risk().tolist() == [0.0, 3.0, 6.0]


def test_what_the_log_refuses():
    model = small_model()
    with pytest.raises(PruningError, match="20 weights x 1000 iterates x 4 bytes = 80000 bytes"):
        WeightLog(model, 1000, limit_bytes=79_999)
    with pytest.raises(PruningError, match="got iterates=0, expected at least 1"):
        WeightLog(model, 0)
    log = WeightLog(model, 2)
    with pytest.raises(PruningError, match="got no risk, expected one"):
        log.record()
    with pytest.raises(PruningError, match=r"the risk at iterate 0 is \[nan\]"):
        log.record(float("nan"))
    log.record(1.0)
    with torch.no_grad():
        model[2].weight[1, 3] = torch.inf
    with pytest.raises(PruningError, match=r"2.weight holds inf at \(1, 3\), iterate 1"):
        log.record(1.0)
    assert log.iterates == 1
    with torch.no_grad():
        model[2].weight[1, 3] = 0
    log.record(1.0)
    with pytest.raises(PruningError, match="the log is full: got iterate 3, expected at most 2"):
        log.record(1.0)
    with pytest.raises(PruningError, match=r"no weight '1.weight', expected one of \['0.weight'"):
        log.series("1.weight")
    with pytest.raises(PruningError, match=r"lengths \{'w': 4\} and a risk of shape \(5,\)"):
        WeightLog.of_series({"w": np.zeros((4, 2))}, np.zeros(5))
    with pytest.raises(PruningError, match=r"risk of shape \(3,\), expected \(2,\) or \(2, 1\)"):
        log.with_risk(np.zeros(3))
    with pytest.raises(PruningError, match="nothing can be recorded"):
        log.with_risk(np.zeros(2)).record(0.0)


@pytest.mark.slow
def test_the_criterion_in_a_pruner():
    model = small_model()
    ticket = LotteryTicket(model)
    start = model[0].weight.detach().clone()
    log = WeightLog(model, 3000)
    walk_of(model, 3000, log)
    criterion = LyapunovGranger(log)
    report = criterion.report()
    assert (report.weights, report.tested, report.windows) == (20, 20, 66)
    assert report.pruned == sum(int(criterion.prunable(n).sum()) for n in log.shapes)
    assert json.loads(json.dumps(report.to_dict()))["iterates"] == 3000
    assert report.significant == report.weights - report.pruned
    parts = criterion.report("0.weight"), criterion.report("2.weight")
    assert sum(part.pruned for part in parts) == report.pruned

    pruner = Pruner(model, criterion=criterion)
    pruner.prune(0.5)
    for part in pruner.parts:
        scores = criterion(part)
        assert scores[part.mask].min() >= scores[~part.mask].max()
    pruner.apply_masks(criterion.masks(spare=1))
    for part in pruner.parts:
        assert (~part.mask >= criterion.prunable(part.name)).sum() >= part.mask.numel() - 1
    ticket.rewind(pruner)
    assert torch.equal(model[0].weight, start * pruner.masks()["0.weight"])


@pytest.mark.slow
def test_partial_training_looks_at_the_beginning_only():
    model = small_model()
    log = WeightLog(model, 30_000)
    walk_of(model, 3000, log)
    with pytest.raises(PruningError, match="log of 3000 iterates, expected 30000, which is 1 of"):
        LyapunovGranger(log)
    early = LyapunovGranger(log, fraction=PARTIAL)
    assert early.report().iterates == 3000
    whole = WeightLog.of_series(
        {name: log.series(name).T.reshape(-1, *shape) for name, shape in log.shapes.items()},
        log.risk(),
    )
    for name in log.shapes:
        assert torch.equal(LyapunovGranger(whole).p_values(name), early.p_values(name))


@pytest.mark.slow
def test_the_published_switch_sets_every_choice():
    """The whole published procedure, written out with other means."""
    rng = np.random.default_rng(6)
    series = 0.01 * rng.standard_normal((30, 4000)).cumsum(axis=1)
    series[4] = 0.5
    risk = rng.standard_normal(4000).cumsum()
    log = WeightLog.of_series({"w": series.T.reshape(4000, 5, 6)}, risk)
    criterion = LyapunovGranger(log, published=True)
    assert criterion.choices == Choices.published(50)
    exponents = windowed_exponents(series.astype(np.float32), ExponentSettings.published(50)).values
    effect = risk[ExponentSettings.published(50).ends(4000)]
    pytest.importorskip("statsmodels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from statsmodels.tools.sm_exceptions import InfeasibleTestError
        from statsmodels.tsa.stattools import grangercausalitytests

        for place in range(0, 30, 4):
            try:
                found = grangercausalitytests(np.column_stack([effect, exponents[place]]), 14)
                p = min(round(found[lag][0]["ssr_chi2test"][1], 4) for lag in range(1, 15))
            except InfeasibleTestError:  # constant: their notebook then writes p = 0
                p = 0.0
            assert bool(criterion.prunable("w").reshape(-1)[place]) == (p >= 0.05)
    assert not criterion.prunable("w").reshape(-1)[4]
    assert LyapunovGranger(log).prunable("w").reshape(-1)[4]
    long = replace(Choices.published(200), max_lag=5)
    assert LyapunovGranger(log, long).report().windows == 22
    with pytest.raises(PruningError, match="got choices and published=True, expected one"):
        LyapunovGranger(log, long, published=True)


def test_members_of_an_ensemble_are_judged_by_themselves():
    model = Ensemble.of(lambda seed: nn.Linear(4, 2), seeds=range(3))
    log = WeightLog(model, 1100)
    rng = np.random.default_rng(7)
    risks = rng.standard_normal((1100, 3)).cumsum(axis=0)
    for row in risks:
        with torch.no_grad():
            model.stacked.weight += 0.01 * torch.randn(3, 2, 4)
        log.record(torch.from_numpy(row))
    (name,) = log.shapes
    criterion = LyapunovGranger(log)
    for member in range(3):
        series = log.series(name, member)
        assert series.shape == (8, 1100)
        alone = WeightLog.of_series({"w": series.T.reshape(-1, 2, 4)}, risks[:, member])
        expected = LyapunovGranger(alone)
        assert torch.equal(criterion.p_values(name)[member], expected.p_values("w"))
        assert torch.equal(criterion.prunable(name)[member], expected.prunable("w"))
    pruner = Pruner(model, criterion=criterion)
    pruner.apply_masks(criterion.masks(spare=2))
    assert (pruner.masks()[name].flatten(1).sum(dim=1) >= 2).all()
    with pytest.raises(PruningError, match="got 2 risks, expected 1 or one for each of 3 members"):
        WeightLog(model, 5).record(torch.zeros(2))


@pytest.mark.slow
def test_a_liquid_layer():
    """Conductances of synapses are logged, and closed where they cause nothing."""
    model = elegans.LTC(2, AutoNCP(units=8, output_size=2, seed=0))
    log = WeightLog(model, 1100)
    walk_of(model, 1100, log)
    criterion = LyapunovGranger(log)
    before = len(model.wiring.recurrent)
    pruner = Pruner(model)
    pruner.apply_masks(criterion.masks(spare=3))
    assert len(model.wiring.recurrent) < before
    assert criterion.report().weights == sum(part.mask.numel() for part in pruner.parts)


def test_a_part_that_was_not_logged_is_refused():
    log = WeightLog.of_series(
        {"a": np.random.default_rng(8).standard_normal((1000, 2)).cumsum(axis=0)},
        np.random.default_rng(9).standard_normal(1000),
    )
    criterion = LyapunovGranger(log)
    other = SimpleNamespace(name="b", weights=lambda: torch.zeros(2))
    with pytest.raises(PruningError, match=r"no weight 'b' in the log, expected one of \['a'\]"):
        criterion(other)
    longer = SimpleNamespace(name="a", weights=lambda: torch.zeros(3))
    with pytest.raises(PruningError, match=r"a has shape \(3,\), the log has \(2,\)"):
        criterion(longer)
    with pytest.raises(PruningError, match=r"fraction=0, expected a share .* in \(0, 1\]"):
        LyapunovGranger(log, fraction=0)
