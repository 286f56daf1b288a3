"""Estimators: what scikit-learn checks, sequences of every shape, frames, forecasts, and faults."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from elegans import LiquidClassifier, LiquidForecaster, LiquidRegressor
from elegans.data import Sequence
from elegans.errors import DataError, InputError
from elegans.estimators.base import _padded

FAST = {"units": 10, "steps": 60, "unfolds": 2}


def sequences(count=24, time=9, features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, time, features))


@pytest.mark.slow
@parametrize_with_checks(
    [LiquidRegressor(12, steps=150, unfolds=3), LiquidClassifier(12, steps=150, unfolds=3)]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "shape"),
    [
        (lambda X: X[:, -1, 0], (24,)),
        (lambda X: X[:, -1], (24, 2)),
        (lambda X: X[..., 0], (24, 9)),
        (lambda X: X, (24, 9, 2)),
    ],
    ids=["a number", "two numbers", "a number a step", "two numbers a step"],
)
def test_answers_have_the_shape_of_what_was_asked(targets, shape):
    X = sequences()
    model = LiquidRegressor(**FAST).fit(X, targets(X))
    assert model.predict(X).shape == shape
    assert -5 < model.score(X, targets(X)) < 1
    assert (model.n_features_in_, model.n_iter_) == (2, 60)
    ragged = [x[: 5 + k % 4] for k, x in enumerate(X)]
    answers = model.predict(ragged)
    if len(shape) > 1 and shape[1] == 9:
        assert [one.shape for one in answers] == [(len(x), *shape[2:]) for x in ragged]
        np.testing.assert_allclose(answers[2], model.predict(X)[2, : len(ragged[2])], atol=1e-5)
    else:
        assert answers.shape == shape


def test_ragged_sequences_are_padded_with_steps_that_change_nothing():
    X = [x[: 3 + k % 6] for k, x in enumerate(sequences())]
    labels = np.array([k % 2 for k in range(len(X))])
    model = LiquidClassifier(**FAST).fit(X, labels)
    alone = np.concatenate([model.predict_proba([x]) for x in X])
    np.testing.assert_allclose(model.predict_proba(X), alone, atol=1e-6)
    one = Sequence("s", X[0], np.ones((3, 1)), np.ones(3))
    longer = _padded(one, 5)
    np.testing.assert_array_equal(longer.elapsed, [1, 1, 1, 0, 0])
    assert np.isnan(longer.targets[3:]).all()
    assert _padded(one, 3) is one


def test_labels_of_every_step_and_names():
    X = sequences(time=12)
    y = np.where(np.cumsum(X[..., 0], axis=1) > 0, "up", "down")
    model = LiquidClassifier(units=16, steps=300).fit(X, y)
    assert model.classes_.tolist() == ["down", "up"]
    assert model.predict(X).shape == y.shape
    assert model.predict_proba(X).shape == (24, 12, 2)
    np.testing.assert_allclose(model.predict_proba(X).sum(-1), 1, atol=1e-6)
    assert model.score(X, y) > 0.85
    ragged, labels = [x[:7] for x in X], [row[:7] for row in y]
    again = LiquidClassifier(**FAST).fit(ragged, labels)
    assert [one.shape for one in again.predict(ragged)] == [(7,)] * 24


def test_elapsed_times_count():
    X, y = sequences(), sequences()[:, -1, 0]
    elapsed = np.random.default_rng(1).uniform(0.1, 3, size=X.shape[:2])
    model = LiquidRegressor(**FAST).fit(X, y, elapsed)
    assert np.abs(model.predict(X, elapsed) - model.predict(X)).max() > 1e-3
    twice = LiquidRegressor(**FAST).fit(X, y, 2 * elapsed)  # the median step counts as 1
    np.testing.assert_allclose(twice.predict(X, 2 * elapsed), model.predict(X, elapsed), atol=1e-6)


# --- frames ------------------------------------------------------------------------------


def frame(X):
    count, time, _ = X.shape
    return pd.DataFrame(
        {
            "who": np.repeat([f"w{k}" for k in range(count)], time),
            "when": np.tile(pd.date_range("2024-01-01", periods=time, freq="s"), count),
            "a": X[..., 0].ravel(),
            "b": X[..., 1].ravel(),
        }
    )


def test_frames_with_a_column_of_sequences():
    X = sequences()
    options = {**FAST, "sequence": "who", "time": "when"}
    for y, of_arrays in (
        (X[:, -1, 0], X[:, -1, 0]),  # a number a sequence
        (pd.Series(X[..., 0].ravel()), X[..., 0]),  # a number a row
    ):
        model = LiquidRegressor(**options).fit(frame(X), y)
        plain = LiquidRegressor(**FAST).fit(X, of_arrays)
        found, expected = model.predict(frame(X)), plain.predict(X)
        np.testing.assert_allclose(found, expected.ravel(), atol=1e-6)
        assert model.score(frame(X), y) == pytest.approx(plain.score(X, of_arrays), abs=1e-6)
    shuffled = frame(X).iloc[np.random.default_rng(0).permutation(len(X) * 9)]
    with pytest.raises(InputError, match="got times 'when' that do not increase"):
        model.predict(shuffled)
    with pytest.raises(InputError, match="got X without the columns who, when, expected a D"):
        model.predict(X)


# --- forecasts ---------------------------------------------------------------------------


def test_forecasts():
    series = np.sin(np.arange(500) / 6)
    model = LiquidForecaster(16, horizon=4, steps=300).fit(series[:400])
    assert model.score(series[400:]) > 0.95
    truth, told = series[400:480], model.predict(series[400:476])
    assert told.shape == (4, 1)
    np.testing.assert_allclose(told[:, 0], truth[76:], atol=0.3)
    many = model.predict([series[400:450], series[420:470]])
    assert [one.shape for one in many] == [(4, 1), (4, 1)]
    pair = np.stack([series, np.cos(np.arange(500) / 6)], axis=1)
    assert LiquidForecaster(**FAST).fit(pair).predict(pair).shape == (1, 2)
    for horizon, some in ((0, series), (500, series), (3, [series[:3], series])):
        with pytest.raises(InputError, match=r"got horizon = .* expected at least 1 and fewer"):
            LiquidForecaster(**FAST, horizon=horizon).fit(some)
    assert clone(model).get_params() == model.get_params()


# --- habits ------------------------------------------------------------------------------


def test_pipelines_searches_clones_and_pickles():
    X, y = sequences(30), sequences(30)[:, -1, 0] > 0
    pipeline = make_pipeline(FunctionTransformer(np.tanh), LiquidClassifier(**FAST))
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)
    search = GridSearchCV(LiquidClassifier(**FAST), {"units": [8, 10]}, cv=2).fit(X, y)
    assert search.best_params_["units"] in (8, 10)
    model = clone(search.best_estimator_).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), clone(model).fit(X, y).predict(X))
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert np.abs(other.predict_proba(X) - model.predict_proba(X)).max() > 1e-6
    assert any(edit.grown is not None for edit in model.ledger_)
    assert not LiquidClassifier(**FAST, rewire=False).fit(X, y).ledger_


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([np.ones((3, 2)), np.ones((3, 3))], [0, 1], "with the same features; choose"),
        ([np.ones((3, 2)), np.ones((0, 2))], [0, 1], "got no steps in sequence 1 of X"),
        ([np.ones((3, 2)), np.full((2, 2), np.nan)], [0, 1], "got NaN or infinity in sequence 1"),
        (np.ones((3, 2, 2)), [0, 1], "got 3 sequences and 2"),
        (np.ones((2, 3, 2)), [[0, 1], [0, 1]], "expected"),
    ],
)
def test_faults(X, y, message):
    with pytest.raises((InputError, ValueError), match=message):
        LiquidClassifier(**FAST).fit(X, y)


def test_more_faults():
    X = sequences(4)
    with pytest.raises(DataError, match="LiquidClassifier got 1 class, 7, expected at least two"):
        LiquidClassifier(**FAST).fit(X, [7] * 4)
    with pytest.raises(InputError, match="got elapsed times of other lengths than the sequences"):
        LiquidRegressor(**FAST).fit(X, np.arange(4.0), elapsed=np.ones((4, 3)))
    model = LiquidRegressor(**FAST).fit(X, np.arange(4.0))
    with pytest.raises(InputError, match="X has 3 features, but LiquidRegressor is expecting 2"):
        model.predict(np.ones((2, 5, 3)))
    with pytest.raises(InputError, match="got a series of shape"):
        LiquidForecaster(**FAST).fit([np.ones((2, 3, 4))])


# --- what a hostile reader found ---------------------------------------------------------


def test_columns_are_known_by_name():
    X = sequences()
    model = LiquidRegressor(**FAST, sequence="who", time="when").fit(frame(X), X[:, -1, 0])
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(InputError, match=r"got the columns \['b', 'a'\], expected \['a', 'b'\]"):
        model.predict(frame(X)[["who", "when", "b", "a"]])
    flat = pd.DataFrame(X[:, 0], columns=["p", "q"])
    plain = LiquidRegressor(**FAST).fit(flat, X[:, 0, 0])
    with pytest.raises(InputError, match="got the columns"):
        plain.predict(flat[["q", "p"]])
    assert not hasattr(plain.fit(X[:, 0], X[:, 0, 0]), "feature_names_in_")


def test_labels_by_name_and_labels_that_are_not_known():
    X = sequences(3)
    table = frame(X).sort_values(["who", "when"], ascending=[False, True])
    labels = pd.Series({"w0": "A", "w1": "B", "w2": "C"})
    model = LiquidClassifier(units=12, steps=300, sequence="who", time="when").fit(table, labels)
    assert model.predict(table).tolist() == ["C", "B", "A"]
    with_gap = table.assign(who=table["who"].where(table["who"] != "w1", None))
    with pytest.raises(InputError, match="got a missing cell in the column 'who'"):
        model.predict(with_gap)
    steps = np.where(X[..., 0] > 0, 1.0, 0.0)
    steps[0, :4] = np.nan
    assert LiquidClassifier(**FAST).fit(X, steps).classes_.tolist() == [0, 1]
    targets = X[..., 0].copy()
    targets[1, 2:5] = np.nan
    assert np.isfinite(LiquidRegressor(**FAST).fit(X, targets).best_loss_)


def test_what_is_kept_for_validation_has_answers():
    X, y = sequences(30), np.full((30, 9), np.nan)
    y[:4] = 1.0 + np.arange(36).reshape(4, 9)
    assert LiquidRegressor(**FAST).fit(X, y).best_loss_ > 0
    series = np.sin(np.arange(320) / 5)
    assert LiquidForecaster(**FAST, horizon=40).fit(series).best_loss_ > 0
    with pytest.raises(InputError, match="got a series of 3 steps, expected at least 5"):
        LiquidForecaster(**FAST, horizon=5).fit(series).predict(series[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cross_entropy"}, "unknown loss 'cross_entropy'"),
        ({"device": "nowhere"}, "got device = 'nowhere'"),
        ({"random_state": -1}, "got random_state = -1"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        LiquidRegressor(**FAST, **options).fit(sequences(), np.arange(24.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[:0], "got a DataFrame without rows"),
        (lambda f: f.assign(a="word"), "got a column that does not hold numbers"),
        (lambda f: f.assign(when="noon"), "expected times in all rows"),
    ],
)
def test_frames_that_cannot_be(change, message):
    X = sequences(4)
    model = LiquidRegressor(**FAST, sequence="who", time="when")
    with pytest.raises(InputError, match=message):
        model.fit(change(frame(X)), np.arange(4.0))
