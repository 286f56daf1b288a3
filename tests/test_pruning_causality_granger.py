"""Granger's test, Dickey and Fuller's and the corrections, against statsmodels."""

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.errors import PruningError
from elegans.replications.causality.corrections import TEST_RULES, over_lags, over_tests
from elegans.replications.causality.granger import granger_causality
from elegans.replications.causality.stationarity import (
    default_lags,
    dickey_fuller,
    make_stationary,
    unit_root_p,
)


def oracle(module, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels' own, of its dependencies
        pytest.importorskip("statsmodels")
        return getattr(importlib.import_module(module), name)


def by_statsmodels(cause, effect, max_lag):
    test = oracle("statsmodels.tsa.stattools", "grangercausalitytests")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = test(np.column_stack([effect, cause]), max_lag)
    return {
        ours: np.array([found[lag][0][theirs][:2] for lag in range(1, max_lag + 1)]).T
        for ours, theirs in (("f", "ssr_ftest"), ("chi2", "ssr_chi2test"))
    }


def adf(series, lags):
    test = oracle("statsmodels.tsa.stattools", "adfuller")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return test(series, maxlag=lags, autolag=None)[:2]


KINDS = ("noise", "smooth", "walk", "far from zero")


def series_of(kind, rng, count, time):
    noise = rng.standard_normal((count, time))
    if kind == "smooth":
        for now in range(2, time):
            noise[:, now] += 1.6 * noise[:, now - 1] - 0.7 * noise[:, now - 2]
    return {
        "walk": noise.cumsum(axis=1),
        "far from zero": 1e3 + 1e-2 * noise,
    }.get(kind, noise)


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    max_lag=st.integers(1, 14),
    more=st.integers(0, 60),
)
@settings(max_examples=20, deadline=None)
def test_granger_equals_statsmodels(seed, kind, max_lag, more):
    """Statistics to 1e-8 relative, p-values to 1e-10.

    Both solve the same least squares by orthogonal methods, with a condition of at most 1e4 here,
    and statistics amplify the error of 1e-12 by R / (R - U), which is below 1e3 unless it is 0.
    statsmodels does not centre its data: an origin of 1e5 deviations would cost it the digits that
    are compared, so it is given the same numbers without it (their difference is exact).
    """
    origin = 1e3 if kind == "far from zero" else 0.0
    rng = np.random.default_rng(seed)
    time = 3 * max_lag + 2 + more
    causes = series_of(kind, rng, 3, time)
    effect = series_of(kind, rng, 1, time)[0]
    effect[1:] += 0.5 * (causes[0, :-1] - causes[0].mean())  # a true cause among them
    for place, cause in enumerate(causes):
        expected = by_statsmodels(cause - origin, effect - origin, max_lag)
        for statistic, (values, p) in expected.items():
            found = granger_causality(causes, effect, max_lag, statistic)
            np.testing.assert_allclose(found.p[place], p, rtol=0, atol=1e-10)
            np.testing.assert_allclose(found.statistic[place], values, rtol=1e-8, atol=1e-8)


def test_a_test_without_the_effects_own_past_would_be_noticed():
    """An effect that only repeats itself: its past explains it, the cause's past does not."""
    rng = np.random.default_rng(0)
    effect = rng.standard_normal(300).cumsum()
    cause = effect + 0.1 * rng.standard_normal(300)
    causal = granger_causality(cause[None], effect, 1).p[0, 0]
    slope = np.corrcoef(cause[:-1], effect[1:])[0, 1]
    assert causal > 0.01
    assert slope > 0.9  # what a regression on the cause alone would call overwhelming


def test_batches_of_series_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    causes, effect = rng.standard_normal((50, 60)), rng.standard_normal(60)
    found = granger_causality(causes, effect, 4)
    monkeypatch.setattr("elegans.replications.causality.granger._NUMBERS", 500)
    again = granger_causality(causes, effect, 4)
    np.testing.assert_array_equal(again.p, found.p)


def test_tests_that_cannot_be_made():
    rng = np.random.default_rng(2)
    causes = rng.standard_normal((4, 50))
    effect = rng.standard_normal(50)
    causes[1] = 2.5  # constant
    causes[2] = effect  # its own past, twice
    causes[3] = 1 + np.arange(50) % 2  # a cycle of two: dependent from two lags on
    p = granger_causality(causes, effect, 3).p
    assert np.isfinite(p[0]).all()
    assert np.isnan(p[1:3]).all()
    assert np.isfinite(p[3, 0])
    assert np.isnan(p[3, 1:]).all()
    perfect = np.concatenate([[0.0], causes[0, :-1]])
    assert np.isnan(granger_causality(causes[:1], perfect, 2).p).all()


def test_what_granger_refuses():
    x, y = np.random.default_rng(3).standard_normal((2, 20))
    with pytest.raises(PruningError, match="max_lag=7 for 20 values, expected 1 to 6"):
        granger_causality(x[None], y, 7)
    with pytest.raises(PruningError, match=r"shape \(1, 20\) and an effect of shape \(19,\)"):
        granger_causality(x[None], y[:-1], 2)
    with pytest.raises(PruningError, match=r"effect is 1\.0 throughout, expected one that changes"):
        granger_causality(x[None], np.ones(20), 2)
    with pytest.raises(PruningError, match="'wald', expected one of"):
        granger_causality(x[None], y, 2, "wald")
    y[3] = np.inf
    with pytest.raises(PruningError, match="the effect holds inf at iterate 3"):
        granger_causality(x[None], y, 2)


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@pytest.mark.slow
@given(P_VALUES)
@settings(max_examples=6, deadline=None)  # a call of statsmodels' function takes 0.2 s
def test_corrections_equal_statsmodels(p):
    multipletests = oracle("statsmodels.stats.multitest", "multipletests")
    names = {
        "benjamini_hochberg": "fdr_bh",
        "benjamini_yekutieli": "fdr_by",
        "holm": "holm",
        "bonferroni": "bonferroni",
    }
    for ours, theirs in names.items():
        # p_(k) m / k in another order of operations: a few roundings
        expected = multipletests(p, method=theirs)[1]
        np.testing.assert_allclose(over_tests(p, ours), expected, rtol=1e-14, atol=0)


@given(P_VALUES)
@settings(max_examples=40, deadline=None)
def test_untested_series_count_nowhere(p):
    for rule in TEST_RULES:
        alone = over_tests(p, rule)
        among = over_tests([np.nan, *p, np.nan], rule)
        np.testing.assert_array_equal(among[1:-1], alone)
        assert np.isnan(among[[0, -1]]).all()


@pytest.mark.slow
@given(P_VALUES)
@settings(max_examples=6, deadline=None)
def test_lags_are_combined_as_global_tests(p):
    """Bonferroni and Holm are the smallest adjusted p-value; so is Simes, by Hochberg's."""
    multipletests = oracle("statsmodels.stats.multitest", "multipletests")
    row = np.array([p])
    for rule, method in (("bonferroni", "bonferroni"), ("holm", "holm"), ("simes", "fdr_bh")):
        expected = multipletests(p, method=method)[1].min()
        assert min(over_lags(row, rule)[0], 1) == pytest.approx(expected, rel=1e-12)
    assert over_lags(row, "minimum")[0] == min(p)
    assert over_lags(row, "longest")[0] == p[-1]


def test_the_smallest_p_value_rejects_too_often():
    """What the corrections are for: 14 independent p-values, the smallest below 0.05."""
    p = np.random.default_rng(4).uniform(size=(10_000, 14))
    assert (over_lags(p, "minimum") < 0.05).mean() == pytest.approx(1 - 0.95**14, abs=0.02)
    for rule in ("bonferroni", "simes", "longest"):
        # Five standard deviations of a share of 10,000.
        assert (over_lags(p, rule) < 0.05).mean() < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 1e4)


def test_what_corrections_refuse():
    with pytest.raises(PruningError, match="rule 'sidak' over lags, expected one of"):
        over_lags(np.ones((1, 2)), "sidak")
    with pytest.raises(PruningError, match="rule 'fdr' over tests, expected one of"):
        over_tests(np.ones(2), "fdr")
    with pytest.raises(PruningError, match=r"shape \(2,\), expected \(test, lag\)"):
        over_lags(np.ones(2))
    with pytest.raises(PruningError, match=r"shape \(1, 2\), expected \(test,\)"):
        over_tests(np.ones((1, 2)))


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    lags=st.integers(0, 8),
    more=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_dickey_fuller_equals_statsmodels(seed, kind, lags, more):
    """As Granger's test."""
    origin = 1e3 if kind == "far from zero" else 0.0
    series = series_of(kind, np.random.default_rng(seed), 3, 2 * lags + 8 + more)
    found = dickey_fuller(series, lags)
    for place, one in enumerate(series):
        statistic, p = adf(one - origin, lags)
        assert found.statistic[place] == pytest.approx(statistic, rel=1e-8, abs=1e-8)
        assert found.p[place] == pytest.approx(p, abs=1e-10)


def test_p_values_of_unit_roots():
    mackinnonp = oracle("statsmodels.tsa.adfvalues", "mackinnonp")
    tau = np.linspace(-22, 4, 500)
    expected = [mackinnonp(one, regression="c") for one in tau]
    np.testing.assert_allclose(unit_root_p(tau), expected, rtol=1e-12, atol=1e-15)


def test_size_and_power_of_the_unit_root_test():
    rng = np.random.default_rng(5)
    walks = rng.standard_normal((2000, 100)).cumsum(axis=1)
    rejected = (dickey_fuller(walks).p < 0.05).mean()
    assert 0.02 < rejected < 0.08  # MacKinnon's p-values are of long series
    assert (dickey_fuller(rng.standard_normal((500, 100))).p < 0.05).mean() > 0.9


def test_series_are_differenced_as_often_as_they_need():
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((200, 300))
    walk, twice = noise.cumsum(axis=1), noise.cumsum(axis=1).cumsum(axis=1)
    found = make_stationary(np.concatenate([noise, walk, twice]))
    counts = found.differences.reshape(3, 200)
    for k in range(3):
        # Each of the k tests of something not stationary errs in 5 %; four standard deviations.
        right = 0.95**k
        assert (counts[k] == k).mean() >= right - 4 * np.sqrt(right * (1 - right) / 200)
    row = 200 + int(np.argmax(counts[1] == 1))
    assert np.isnan(found.values[row, 0])
    np.testing.assert_array_equal(found.values[row, 1:], np.diff(walk[row - 200]))


def test_series_that_never_become_stationary_are_left_alone():
    rng = np.random.default_rng(7)
    series = np.concatenate([rng.standard_normal((1, 80)).cumsum(axis=1), np.full((1, 80), 2.0)])
    found = make_stationary(series, max_differences=0)
    assert found.failed.tolist() == [True, False]
    np.testing.assert_array_equal(found.values, series)


def test_lags_of_the_unit_root_test():
    assert [default_lags(time) for time in (2, 9, 28, 65, 1001)] == [1, 2, 3, 4, 10]
    with pytest.raises(PruningError, match=r"9 values and lags=3, expected .* at least 10 values"):
        dickey_fuller(np.ones((1, 9)), 3)
    with pytest.raises(PruningError, match="max_differences=-1, expected at least 0"):
        make_stationary(np.ones((1, 9)), -1)
