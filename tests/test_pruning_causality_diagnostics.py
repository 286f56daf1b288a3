"""What the method finds where there is nothing to find."""

from dataclasses import replace

import numpy as np
import pytest

from elegans.errors import PruningError
from elegans.replications.causality import (
    Choices,
    FalsePositives,
    false_positive_figure,
    false_positive_rate,
    independent_series,
)
from elegans.replications.causality.diagnostics import KINDS

pytestmark = pytest.mark.slow

TESTS = 300


@pytest.mark.parametrize("weights", KINDS)
@pytest.mark.parametrize("risk", KINDS)
def test_sound_choices_keep_the_nominal_rate(weights, risk):
    """At most 5 %: a rate whose whole interval of 99.9 % is above would refute it."""
    found = false_positive_rate(tests=TESTS, iterates=1500, weights=weights, risk=risk, seed=1)
    assert found.tests > 0.8 * TESTS
    assert found.interval(0.999)[0] <= 0.05


def test_a_test_of_one_lag_has_exactly_the_nominal_rate():
    """Not conservative either: without Bonferroni's bound the rate is 5 %, not far below."""
    choices = Choices(max_lag=1)
    found = false_positive_rate(choices, tests=600, iterates=1500, seed=2)
    low, high = found.interval(0.999)
    assert low <= 0.05 <= high


@pytest.mark.parametrize("risk", KINDS)
def test_published_choices_find_causes_in_nothing(risk):
    """With 53 windows of 50 most weights without influence are called causes."""
    found = false_positive_rate(Choices.published(50), tests=60, iterates=2400, risk=risk, seed=3)
    assert found.interval(0.999)[0] > 0.5


def test_more_windows_make_the_published_choices_less_wrong_but_not_right():
    """111 windows of 200: chi-squared tests are nearly right, the smallest p-value is not."""
    choices = Choices.published(200)
    found = false_positive_rate(choices, tests=60, iterates=20_000, seed=3)
    assert 0.15 < found.interval(0.999)[0] < found.rate < 0.7


def test_each_published_fault_counts():
    """Sound choices with one published choice each: both leave the nominal rate."""
    minimum = replace(Choices(), lags="minimum", max_lag=14)
    chi2 = replace(Choices(), statistic="chi2", max_lag=14)
    for broken in (minimum, chi2):
        found = false_positive_rate(broken, tests=200, iterates=2500, seed=4)
        assert found.interval(0.999)[0] > 0.05


def test_intervals_are_exact():
    found = FalsePositives(5, 100, 0, 0.05)
    # Clopper and Pearson's interval as tabulated.
    assert found.interval() == pytest.approx((0.0164, 0.1128), abs=1e-4)
    assert FalsePositives(0, 10, 0, 0.05).interval()[0] == 0
    assert FalsePositives(10, 10, 0, 0.05).interval()[1] == 1


def test_series_are_what_their_names_say():
    rng = np.random.default_rng(0)
    walk = independent_series("walk", 500, 400, rng)
    assert walk[:, -1].std() == pytest.approx(20, rel=0.15)
    process = independent_series("autoregressive", 500, 400, rng)
    assert process[:, -1].std() == pytest.approx(1 / np.sqrt(1 - 0.81), rel=0.15)


def test_the_figure_has_a_point_each():
    figure = false_positive_figure(
        {"sound": FalsePositives(5, 100, 0, 0.05), "published": FalsePositives(90, 100, 0, 0.05)}
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sound", "published"]
    assert axes.lines[0].get_xdata().tolist() == [0.05, 0.9]


def test_what_is_refused():
    with pytest.raises(PruningError, match="kind 'pink' of series, expected one of"):
        false_positive_rate(weights="pink")
    with pytest.raises(PruningError, match="tests=0, expected at least 1"):
        false_positive_rate(tests=0)
    with pytest.raises(PruningError, match="got no rates"):
        false_positive_figure({})
