"""Simple predictions that circuits are compared with, against closed forms."""

import numpy as np
import pytest

from elegans.data import Sequence
from elegans.errors import DataError
from elegans.training import baseline_answers
from elegans.training.scores import regression_scores


def baseline_errors(train, test, lags):
    answers = baseline_answers(train, test, lags)
    return {
        name: regression_scores(some, test).mse
        if any(not np.isnan(one).all() for one in some)
        else np.full(test[0].targets.shape[1], np.nan)
        for name, some in answers.items()
    }


def sequences(count, steps, inputs=2, seed=0, targets=None):
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        x = rng.normal(3.0, 2.0, (steps, inputs))
        y = rng.normal(5.0, 2.0, (steps, 2)) if targets is None else targets(x)
        made.append(Sequence(f"s{k}", x, y, np.ones(steps)))
    return made


def lagged(x, lags):
    padded = np.concatenate([np.repeat(x[:1], lags - 1, axis=0), x])
    return np.stack([padded[lags - 1 - k : len(padded) - k] for k in range(lags)], axis=1)


@pytest.mark.parametrize("lags", [1, 2, 7, 50])
def test_the_linear_prediction_is_that_of_least_squares(lags):
    train, test = sequences(6, 40), sequences(3, 30, seed=1)

    def design(some):
        rows = [lagged(one.inputs, lags).reshape(len(one), -1) for one in some]
        return np.concatenate([np.ones((sum(map(len, rows)), 1)), np.concatenate(rows)], axis=1)

    known = np.concatenate([one.targets for one in train])
    best = np.linalg.lstsq(design(train), known, rcond=None)[0]
    expected = np.square(design(test) @ best - np.concatenate([one.targets for one in test])).mean(
        axis=0
    )
    if lags == 50:  # as many coefficients as some steps: the ridge decides, and stays finite
        assert np.isfinite(baseline_errors(train, test, lags)["linear"]).all()
    else:
        np.testing.assert_allclose(baseline_errors(train, test, lags)["linear"], expected, 1e-4)


def test_a_linear_system_is_found_whatever_its_units():
    def targets(x):
        seen = lagged(x, 3)
        return 1e6 + 1e3 * seen[:, 2, :1] - 7.0 * seen[:, 0, 1:]

    errors = baseline_errors(
        sequences(8, 60, targets=targets), sequences(2, 60, seed=5, targets=targets), lags=3
    )
    assert errors["linear"][0] < 1e-6 * errors["mean"][0]


def test_mean_and_last_value():
    train, test = sequences(4, 20), sequences(2, 20, seed=2)
    errors = baseline_errors(train, test, lags=1)
    known = np.concatenate([one.targets for one in train])
    asked = np.concatenate([one.targets for one in test])
    np.testing.assert_allclose(
        errors["mean"], asked.var(axis=0) + (asked.mean(axis=0) - known.mean(axis=0)) ** 2
    )
    changes = np.concatenate([np.diff(one.targets, axis=0) for one in test])
    np.testing.assert_allclose(errors["last value"], (changes**2).mean(axis=0))


def test_degenerate_sequences():
    single = sequences(3, 1)
    errors = baseline_errors(single, single, lags=4)
    assert np.isnan(errors["last value"]).all()
    assert np.isfinite(errors["linear"]).all()
    constant = [Sequence("c", np.full((9, 2), 4.0), np.full((9, 1), 2.0), np.ones(9))]
    errors = baseline_errors(constant, constant, lags=3)
    np.testing.assert_allclose([error[0] for error in errors.values()], 0, atol=1e-12)
    # Rounding gives 0.1 a deviation above 0; what differs from it must not count for millions.
    still = [Sequence("a", np.full((50, 1), 0.1), np.ones((50, 1)), np.ones(50))]
    moved = [Sequence("b", np.full((50, 1), 0.2), np.ones((50, 1)), np.ones(50))]
    assert baseline_errors(still, moved, lags=4)["linear"][0] < 1e-6
    twins = [
        Sequence("t", np.repeat(one.inputs[:, :1], 2, axis=1), one.targets, one.elapsed)
        for one in sequences(3, 30)
    ]
    assert np.isfinite(baseline_errors(twins, twins, lags=5)["linear"]).all()


def test_long_sequences_are_summed_in_parts():
    def targets(x):
        return lagged(x, 5)[:, 4, :1] * 2 + 1

    long = sequences(1, 9000, targets=targets)
    assert baseline_errors(long, long, lags=5)["linear"][0] < 1e-12
    wide = sequences(2, 30, inputs=3000)  # more inputs than coefficients: one lag is left
    assert np.isfinite(baseline_errors(wide, wide, lags=9)["linear"]).all()


@pytest.mark.parametrize(("train", "test", "lags"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_to_compare_is_refused(train, test, lags):
    with pytest.raises(DataError, match="expected at least one of each"):
        baseline_errors(sequences(train, 5), sequences(test, 5), lags)
