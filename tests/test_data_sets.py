"""The value of a data set, its parts, and the sets that come with packages or are drawn."""

import importlib.util
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.data import Scale
from elegans.errors import DataError, MissingExtraError
from elegans.replications import sets
from elegans.replications.sets import ClassificationSet, banknote_like, penguins
from elegans.replications.sets.tables import read_penguins


def make(rows=12, kinds=3, **changes):
    numbers = np.arange(2.0 * rows).reshape(rows, 2)
    fields = {
        "name": "worms",
        "features": numbers,
        "labels": np.arange(rows) % kinds,
        "classes": tuple("abcdefgh"[:kinds]),
        "feature_names": ("x", "y"),
        "source": "made up",
    }
    return ClassificationSet(**(fields | changes))


def test_the_value_holds_float32_and_int64_and_cannot_be_changed():
    one = make()
    assert (one.features.dtype, one.labels.dtype) == (np.float32, np.int64)
    assert (len(one), one.class_counts.tolist()) == (12, [4, 4, 4])
    assert repr(one) == "ClassificationSet('worms': 12 rows, 2 features, 3 classes)"
    with pytest.raises(ValueError, match="read-only"):
        one.features[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        one.labels[0] = 1
    with pytest.raises(AttributeError):
        one.name = "flies"


def test_tensors_are_copies():
    one = make()
    features, labels = one.tensors()
    assert (features.dtype, labels.dtype) == (torch.float32, torch.int64)
    features.zero_()
    assert one.features[5].tolist() == [10, 11]
    assert one.tensors(torch.float64)[0].dtype == torch.float64


FAULTS = {
    "flat": (
        {"features": np.zeros(12)},
        r"got features of shape \(12,\), expected \(row, feature\)",
    ),
    "empty": ({"features": np.zeros((0, 2))}, r"got features of shape \(0, 2\), .* no empty axis"),
    "nan": (
        {"features": np.full((12, 2), np.nan)},
        r"got nan in row 0, feature 0, expected finite",
    ),
    "too large": ({"features": np.full((12, 2), 1e39)}, r"got inf in row 0, .* range of float32"),
    "half labels": ({"labels": np.full(12, 0.5)}, r"got labels of .* type float64, expected whole"),
    "few labels": ({"labels": np.arange(3)}, r"got 3 labels, expected 12 for features of shape"),
    "high label": ({"labels": np.full(12, 3)}, r"got labels from 3 to 3, expected 0 to 2 for 3 cl"),
    "low label": ({"labels": np.full(12, -1)}, r"got labels from -1 to -1, expected 0 to 2"),
    "one class": (
        {"classes": ("a",)},
        r"got 1 classes, expected at least two",
    ),
    "names": ({"feature_names": ("x",)}, r"got 1 names of features, expected 2"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_of_the_value_are_named(changes, message):
    with pytest.raises(DataError, match=rf"^data set 'worms': {message}"):
        make(**changes)


SPLIT_FAULTS = {
    "none": ((), r"got no parts"),
    "many": ((10, 3), r"parts of \[10, 3\] rows, .* sum of at most 12"),
    "zero": ((12, 0), r"expected numbers of at least 1"),
    "sum": ((0.5, 0.4), r"got shares \(0.5, 0.4\), expected numbers above 0 with sum 1"),
    "negative": ((1.5, -0.5), r"expected numbers above 0 with sum 1"),
    "nan": ((0.5, float("nan")), r"expected numbers above 0 with sum 1"),
    "empty": ((0.99, 0.01), r"of which one is empty, expected at least one row"),
}


@pytest.mark.parametrize(("parts", "message"), SPLIT_FAULTS.values(), ids=SPLIT_FAULTS)
def test_faults_of_a_split_are_named(parts, message):
    with pytest.raises(DataError, match=message):
        make().split(parts)


def test_a_negative_seed_is_refused():
    with pytest.raises(DataError, match=r"got seed = -1, expected at least 0"):
        make().split((0.5, 0.5), -1)
    with pytest.raises(DataError, match=r"got seed = -1, expected at least 0"):
        banknote_like(-1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=200),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_parts_are_disjoint_of_the_asked_sizes_and_in_proportion(labels, sizes, seed, stratified):
    sizes = tuple(max(1, size * len(labels) // (2 * sum(sizes))) for size in sizes)
    whole = make(len(labels), 4, labels=np.array(labels))
    parts = whole.split(sizes, seed, stratified=stratified)
    again = whole.split(sizes, seed, stratified=stratified)
    assert tuple(len(part) for part in parts) == sizes
    taken = np.concatenate([part.features[:, 0] for part in parts])
    assert len(set(taken.tolist())) == len(taken)  # the first feature is different in every row
    for part, same in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part.features, same.features)
        np.testing.assert_array_equal(
            np.array(labels)[(part.features[:, 0] / 2).astype(int)], part.labels
        )
        if stratified:
            share = whole.class_counts / len(whole)
            present = np.count_nonzero(whole.class_counts)
            assert (abs(part.class_counts - share * len(part)) <= 1 + present * share + 1e-9).all()


def test_without_stratification_the_proportions_vary():
    counts = [make(120).split((12, 108), seed)[0].class_counts.tolist() for seed in range(5)]
    assert any(max(count) - min(count) > 3 for count in counts)
    assert make(120).split((12, 108), 0)[0].labels.tolist() != sorted(
        make(120).split((12, 108), 0)[0].labels.tolist()
    )


def test_parts_are_standardised_by_the_first_alone():
    whole = make(60)
    raw = whole.split((0.5, 0.5), 4)
    train, test = whole.split((0.5, 0.5), 4, standardised=True)
    np.testing.assert_allclose(train.features.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(train.features.std(0), 1, rtol=1e-6)
    mean, deviation = raw[0].features.mean(0), raw[0].features.std(0)
    np.testing.assert_allclose(
        test.features, (raw[1].features - mean) / deviation, rtol=1e-5, atol=1e-6
    )
    assert abs(test.features.mean()) > 0.01  # fitted to both, or to itself, it would be less
    np.testing.assert_array_equal(
        raw[1].scaled(Scale.standard([raw[0].features])).features, test.features
    )
    with pytest.raises(DataError, match="the columns that the scale was fitted to"):
        raw[0].scaled(Scale.standard([np.arange(6.0).reshape(2, 3)]))


@pytest.mark.slow
def test_sets_of_scikit_learn():
    pytest.importorskip("sklearn")
    digits, iris, cancer = sets.digits(), sets.iris(), sets.cancer()
    assert (digits.features.shape, iris.features.shape) == ((1797, 64), (150, 4))
    assert (digits.features.min(), digits.features.max()) == (0, 1)
    assert np.array_equal(digits.features * 16, (digits.features * 16).round())
    assert iris.class_counts.tolist() == [50, 50, 50]
    assert cancer.features.shape == (569, 30)
    assert "diagnostic" in cancer.name


def test_penguins_are_the_complete_rows_in_the_order_of_the_protocol():
    pytest.importorskip("palmerpenguins")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        birds = penguins()
    assert birds.features.shape == (333, 12)
    assert birds.class_counts.tolist() == [146, 68, 119]  # Adelie, Chinstrap, Gentoo
    # The first row of the table: Adelie, Torgersen, 39.1, 18.7, 181, 3750, male, 2007.
    expected = [0, 0, 1, 39.1 / 50, 18.7 / 20, 181 / 200, 3750 / 5000, 0, 1, 1, 0, 0]
    np.testing.assert_allclose(birds.features[0], expected, rtol=1e-7)
    assert birds.labels[0] == 0
    one_hot = birds.features[:, [0, 1, 2, 7, 8, 9, 10, 11]]
    assert set(one_hot.ravel().tolist()) == {0.0, 1.0}
    assert (one_hot.sum(1) == 3).all()


HEADER = "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year\n"
PENGUIN_FAULTS = {
    "column": (HEADER.replace("sex", "s"), r"got no columns sex, expected species, island"),
    "rows": (HEADER + "Adelie,Dream,NA,1,1,1,male,2007\n", r"got no complete row"),
    "number": (HEADER + "Adelie,Dream,x,1,1,1,male,2007\n", r"line 2: got could not convert"),
    "species": (HEADER + "Emu,Dream,1,1,1,1,male,2007\n", r"line 2: got 'Emu'"),
    "year": (HEADER + "Adelie,Dream,1,1,1,1,male,1907\n", r"line 2: got '1907', expected"),
}


@pytest.mark.parametrize(("text", "message"), PENGUIN_FAULTS.values(), ids=PENGUIN_FAULTS)
def test_faults_of_the_table_of_penguins_are_named(tmp_path, text, message):
    path = tmp_path / "penguins.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"penguins\.csv.*{message}"):
        read_penguins(path)


@pytest.mark.parametrize("name", ["digits", "iris", "cancer", "penguins"])
def test_a_missing_package_names_its_extra(name, monkeypatch):
    def absent(module, *_):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install elegans\[lab\]"):
        getattr(sets, name)()


def test_the_banknote_like_set_says_that_it_is_synthetic_and_is_drawn_by_the_seed():
    one, same, other = banknote_like(1), banknote_like(1), banknote_like(2)
    assert "synthetic" in one.source
    assert one.class_counts.tolist() == [762, 610]
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)
    # The classes overlap but differ: the nearest neighbour in the training part tells most apart.
    train, test = one.split((0.7, 0.3), 0, standardised=True)
    distance = ((test.features[:, None] - train.features) ** 2).sum(-1)  # (test row, train row)
    right = (train.labels[distance.argmin(1)] == test.labels).mean()
    assert 0.8 < right < 0.99
