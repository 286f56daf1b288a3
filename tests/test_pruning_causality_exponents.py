"""Windowed exponents against nolds and a plain loop, and their dull regimes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.errors import PruningError
from elegans.replications.causality.exponents import (
    ExponentSettings,
    largest_gain,
    windowed_exponents,
)
from elegans.replications.causality.granger import granger_causality
from elegans.replications.causality.stationarity import make_stationary


def lyap_r(series, **options):
    """nolds.lyap_r; its package reads data files in a way that Python 3.11 refuses (0.6.3)."""
    found = importlib.util.find_spec("nolds")
    if found is None:
        pytest.skip("nolds is not installed")
    place = Path(found.origin).with_name("measures.py")
    spec = importlib.util.spec_from_file_location("nolds_measures", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lyap_r(series, fit="poly", **options)


def walks(seed, count, time):
    return np.random.default_rng(seed).standard_normal((count, time)).cumsum(axis=1)


def logistic(seed, count, time, rate=4.0):
    x = np.empty((count, time))
    x[:, 0] = np.random.default_rng(seed).uniform(0.1, 0.9, count)
    for now in range(1, time):
        x[:, now] = rate * x[:, now - 1] * (1 - x[:, now - 1])
    return x


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    window=st.integers(50, 90),
    dimension=st.integers(1, 4),
    delay=st.integers(1, 3),
    theiler=st.integers(0, 8),
    steps=st.integers(2, 12),
    first=st.integers(0, 1),
)
@settings(max_examples=25, deadline=None)
def test_exponents_equal_nolds(seed, window, dimension, delay, theiler, steps, first):
    """The conventions agree: |i - j| > min_tsep, points with a future of `steps`, k = 0 ... steps.

    Both add the same logarithms; the order of sums and 0.5 log(d²) in place of log(sqrt(d²)) differ
    by some rounding errors of numbers of size 10, divided by the spread of k: below 1e-12.
    """
    chosen = ExponentSettings(
        window, 0.9, dimension, delay, theiler, steps, (first, steps), flat=0.0
    )
    series = np.concatenate([walks(seed, 1, 200), logistic(seed, 1, 200)])
    found = windowed_exponents(series, chosen)
    for row in range(2):
        for place in range(found.values.shape[1]):
            begin = place * chosen.step
            expected = lyap_r(
                series[row, begin : begin + window],
                emb_dim=dimension,
                lag=delay,
                min_tsep=theiler,
                trajectory_len=steps + 1,
                fit_offset=first,
            )
            assert found.values[row, place] == pytest.approx(expected, abs=1e-12)


def test_another_theiler_window_would_be_noticed():
    series = walks(0, 1, 100)
    ours = windowed_exponents(series, ExponentSettings(window=100, theiler=10)).values[0, 0]
    other = lyap_r(series[0], emb_dim=2, lag=1, min_tsep=9, trajectory_len=9)
    assert abs(ours - other) > 1e-4


def published_by_hand(x):
    """S(1) - S(0) as TISEAN's lyap_r -m2 -d1 -s3 has it, one pair after the other."""
    x = np.round(x, 6)
    if np.ptp(x) < 1e-5:
        return 0.0
    gains = []
    for cut in range(1, len(x)):
        left, right = x[:cut], x[cut:]
        gains.append(len(x) * x.var() - len(left) * left.var() - len(right) * right.var())
    if max(gains) > 1:
        return 0.0
    points = len(x) - 1 - 3
    sums, numbers = np.zeros(2), np.zeros(2)
    for i in range(points):
        best, nearest = np.inf, None
        for j in range(points):
            distance = (x[i] - x[j]) ** 2 + (x[i + 1] - x[j + 1]) ** 2
            if i != j and 0 < distance < best:
                best, nearest = distance, j
        for k in range(2):
            if nearest is None:
                continue
            distance = (x[i + k] - x[nearest + k]) ** 2 + (x[i + k + 1] - x[nearest + k + 1]) ** 2
            if distance > 0:
                sums[k] += np.log(distance) / 2
                numbers[k] += 1
    return sums[1] / numbers[1] - sums[0] / numbers[0]


def test_the_published_variant_equals_its_procedure():
    chosen = ExponentSettings.published(window=60)
    series = np.concatenate(
        [
            0.01 * walks(1, 4, 170),  # below the threshold of abrupt changes
            walks(2, 2, 170),  # abrupt
            1e-6 * walks(3, 1, 170),  # hardly more than the last decimal
            np.full((1, 170), 0.3),
        ]
    )
    found = windowed_exponents(series, chosen)
    for row, place in np.ndindex(found.values.shape):
        begin = place * chosen.step
        expected = published_by_hand(series[row, begin : begin + 60])
        assert found.values[row, place] == pytest.approx(expected, abs=1e-12)
    assert (found.values[:4] != 0).all()
    assert found.abrupt[4:6].all()
    assert found.flat[7].all()


def test_the_published_slope_is_positive_for_noise():
    """Nearest neighbours of noise have nothing to do but move apart: that is no chaos."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((50, 400))
    assert (windowed_exponents(noise, ExponentSettings.published(200)).values > 0.5).all()
    sound = windowed_exponents(noise, ExponentSettings(window=200, fit=(2, 8))).values
    assert abs(sound.mean()) < 0.01


def test_the_exponent_of_the_logistic_map():
    """log 2 per step at 4; the estimate from 1,000 iterates of 100 maps is 2 % off."""
    found = windowed_exponents(
        logistic(0, 100, 1000), ExponentSettings(window=1000, theiler=5, steps=4, fit=(0, 4))
    )
    assert found.values.mean() == pytest.approx(np.log(2), rel=0.05)


def test_a_cycle_does_not_grow():
    """At 3.5 the map has a cycle of four: all distances are zero or stay as they are."""
    cycle = logistic(0, 3, 2000, rate=3.5)[:, 1500:]
    assert np.abs(windowed_exponents(cycle, ExponentSettings(window=250)).values).max() < 1e-3


@pytest.mark.parametrize("period", [11, 12.5, 25, 40])
@pytest.mark.parametrize("start", [0, 1000])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize(("size", "shift"), [(1.0, 0.0), (1e-3, 0.5), (1e20, -3e20)])
def test_the_rounding_of_a_periodic_series_is_no_chaos(period, start, kind, size, shift):
    """A sine comes back to where it was, up to the rounding of its argument and of its values."""
    time = np.arange(start, start + 600)
    series = (shift + size * np.sin(2 * np.pi * time / period)).astype(kind)[None]
    assert np.abs(windowed_exponents(series, ExponentSettings(150)).values).max() < 1e-12


def test_points_that_coincide_up_to_rounding_are_skipped():
    """Where they are no neighbours, the noise of a sine is no matter: as of an exact cycle."""
    cycle = np.sin(2 * np.pi * np.arange(25) / 25)
    noisy = np.sin(2 * np.pi * np.arange(150) / 25)
    chosen = ExponentSettings(150, skip_coincident=True)
    exact, found = windowed_exponents(np.stack([np.tile(cycle, 6), noisy]), chosen).values[:, 0]
    assert exact != 0
    assert found == pytest.approx(exact, rel=0.2)  # neighbours at equal distances are chosen anew


def test_growth_above_rounding_is_seen():
    """Two copies of a chaotic course, 1e-9 apart, part at the exponent of the map."""
    course = logistic(3, 1, 40)[0]
    other = np.empty(40)
    other[0] = course[0] * (1 + 1e-9)
    for now in range(1, 40):
        other[now] = 4 * other[now - 1] * (1 - other[now - 1])
    series = np.concatenate([course[:20], other[:20]])[None]
    chosen = ExponentSettings(40, steps=4, fit=(0, 4), theiler=15)
    assert windowed_exponents(series, chosen).values[0, 0] > 0.3


@pytest.mark.parametrize("value", [0.3, 1e-30, 1e30])
def test_what_is_constant_up_to_rounding_is_constant(value):
    noise = 1 + 1e-16 * np.random.default_rng(0).standard_normal(400)
    constant = value * noise
    assert windowed_exponents(constant[None], ExponentSettings(50, flat=0.0)).values.max() == 0
    with pytest.raises(PruningError, match="expected one that changes"):
        granger_causality(walks(0, 1, 400), constant, 2)
    ramp = value * np.arange(400.0) / 3  # its differences are constant up to rounding
    assert make_stationary(ramp[None]).differences.tolist() == [1]


def test_scale_does_not_matter():
    series = walks(4, 3, 300)
    found = windowed_exponents(series).values
    # A power of two keeps the neighbours; its logarithm, 7, costs a digit of the others.
    other = windowed_exponents(series * 1024).values
    np.testing.assert_allclose(other, found, rtol=0, atol=1e-13)


def test_windows_and_their_ends():
    chosen = ExponentSettings(window=200)
    assert (chosen.step, chosen.windows(199), chosen.windows(200), chosen.windows(380)) == (
        180,
        0,
        1,
        2,
    )
    assert chosen.ends(600).tolist() == [199, 379, 559]
    series = walks(5, 2, 560)
    found = windowed_exponents(series, chosen).values
    for place, end in enumerate(chosen.ends(560)):
        alone = windowed_exponents(series[:, end - 199 : end + 1], chosen).values
        np.testing.assert_array_equal(alone[:, 0], found[:, place])


def test_blocks_do_not_matter(monkeypatch):
    series = walks(6, 40, 300).astype(np.float32)
    found = windowed_exponents(series).values
    monkeypatch.setattr("elegans.replications.causality.exponents._BLOCK", 1000)
    np.testing.assert_array_equal(windowed_exponents(series).values, found)
    np.testing.assert_array_equal(windowed_exponents(np.asfortranarray(series)).values, found)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_gain_of_the_best_cut(values):
    x = np.array(values)
    by_hand = max(
        len(x) * x.var() - cut * x[:cut].var() - (len(x) - cut) * x[cut:].var()
        for cut in range(1, len(x))
    )
    assert largest_gain(x[:, None])[0] == pytest.approx(by_hand, abs=1e-9)


def test_flat_windows_have_exponent_zero():
    series = walks(7, 1, 150)
    series[0, 40:100] = 3.0
    found = windowed_exponents(series, ExponentSettings(window=50, stride=1.0))
    assert found.flat.tolist() == [[False, True, False]]
    assert (found.values[0, 1], bool(found.constant[0])) == (0.0, False)
    relative = windowed_exponents(1000 + 1e-4 * series, ExponentSettings(window=50, stride=1.0))
    assert relative.constant[0]


def test_what_is_refused():
    with pytest.raises(PruningError, match="window=30, expected at least 31"):
        ExponentSettings(window=30)
    with pytest.raises(PruningError, match=r"stride=0, expected a share of the window in \(0, 1\]"):
        ExponentSettings(stride=0)
    with pytest.raises(PruningError, match=r"fit=\(3, 12\), expected .* raise steps"):
        ExponentSettings(fit=(3, 12))
    with pytest.raises(PruningError, match="theiler=-1, expected at least 0"):
        ExponentSettings(theiler=-1)
    with pytest.raises(PruningError, match=r"abrupt=-1\.0, expected numbers >= 0"):
        ExponentSettings(abrupt=-1.0)
    with pytest.raises(PruningError, match="series of 40 iterates, expected at least one window"):
        windowed_exponents(np.zeros((2, 40)))
    with pytest.raises(PruningError, match=r"shape \(40,\), expected \(series, time\)"):
        windowed_exponents(np.zeros(40))
    broken = walks(8, 3, 100)
    broken[2, 7] = np.nan
    with pytest.raises(PruningError, match="series 2 holds nan at iterate 7"):
        windowed_exponents(broken)
