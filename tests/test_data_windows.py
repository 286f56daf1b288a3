"""Windows, batches, splits and scales: nothing lost, nothing leaked, exact resumption."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.data import (
    Scale,
    Scales,
    Sequence,
    averaged_targets,
    batches,
    cut_windows,
    split_sequences,
)
from elegans.errors import DataError, InputError


def numbered(steps: int, name: str = "s", offset: int = 0) -> Sequence:
    """A sequence whose inputs count its steps, so that a window shows where it was cut."""
    count = np.arange(steps, dtype=float) + offset
    return Sequence(name, np.stack([count, -count], 1), 10 * count[:, None], 1 + 0.1 * count)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 12), st.integers(1, 15))
def test_windows_are_slices_and_cover_both_ends(lengths, length, stride):
    sequences = [numbered(length + extra, str(i), 100 * i) for i, extra in enumerate(lengths)]
    windows = cut_windows(sequences, length, stride)
    assert windows.inputs.shape == (len(windows), length, 2)
    assert windows.targets.shape == (len(windows), length, 1)
    assert windows.elapsed.shape == (len(windows), length)
    for at, (which, start) in enumerate(zip(windows.sequence, windows.start, strict=True)):
        cut = sequences[which][start : start + length]
        np.testing.assert_array_equal(windows.inputs[at], cut.inputs.astype(np.float32))
        np.testing.assert_array_equal(windows.targets[at], cut.targets.astype(np.float32))
        np.testing.assert_array_equal(windows.elapsed[at], cut.elapsed.astype(np.float32))
    for which, one in enumerate(sequences):
        starts = windows.start[windows.sequence == which]
        assert starts[0] == 0
        assert starts[-1] == len(one) - length
        assert np.all(np.diff(starts) <= stride)
        assert np.all(np.diff(starts)[:-1] == stride)


def test_windows_are_float32_and_overlap_by_half_unless_told():
    windows = cut_windows([numbered(16)], 8)
    assert windows.start.tolist() == [0, 4, 8]
    assert windows.inputs.dtype == windows.targets.dtype == windows.elapsed.dtype == np.float32
    assert torch.from_numpy(windows.inputs).shape == (3, 8, 2)
    assert cut_windows([numbered(3)], 1).start.tolist() == [0, 1, 2]


def test_faults_of_windows():
    with pytest.raises(
        DataError,
        match="got 2 of 3 sequences shorter than a window, the shortest 'b' with 3 steps, "
        "expected at least 8; choose windows of 3 steps or fewer",
    ):
        cut_windows([numbered(9), numbered(5, "a"), numbered(3, "b")], 8)
    with pytest.raises(DataError, match="got a window length of 0, expected at least 1"):
        cut_windows([numbered(9)], 0)
    with pytest.raises(DataError, match="got a window stride of 0, expected at least 1"):
        cut_windows([numbered(9)], 4, 0)
    with pytest.raises(DataError, match="got no sequences, expected at least one"):
        cut_windows([], 4)
    wide = Sequence("wide", np.ones((9, 3)), np.ones((9, 1)), np.ones(9))
    with pytest.raises(DataError, match="'wide' with 3 inputs and 1 outputs, expected 2 and 1"):
        cut_windows([numbered(9), wide], 4)
    huge = Sequence("huge", np.full((9, 2), 1e39), np.ones((9, 1)), np.ones(9))
    with pytest.raises(DataError, match=r"'huge': got 1e\+39 in inputs, expected at most 3.4e"):
        cut_windows([huge], 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 1000), st.integers(0, 1000))
def test_an_epoch_visits_every_window_once_and_repeats_exactly(n_windows, size, epoch, seed):
    drawn = list(batches(n_windows, size, epoch, seed))
    assert sorted(np.concatenate(drawn).tolist()) == list(range(n_windows))
    assert all(len(batch) == size for batch in drawn[:-1])
    again = list(batches(n_windows, size, epoch, seed))
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_epochs_and_seeds_differ_and_faults_show_at_the_call():
    orders = [np.concatenate(list(batches(50, 7, *key))) for key in ((0, 0), (1, 0), (0, 1))]
    assert not any(np.array_equal(orders[i], orders[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    for numbers, name in (((0, 1, 0, 0), "windows"), ((1, 0, 0, 0), "batch_size")):
        with pytest.raises(DataError, match=f"got {name} = 0, expected at least 1"):
            batches(*numbers)
    with pytest.raises(DataError, match="got seed = -1, expected at least 0"):
        batches(1, 1, 0, -1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 60),
    st.integers(0, 99),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
)
def test_split_is_a_partition_with_the_asked_shares(count, seed, weights):
    fractions = tuple(weight / sum(weights) for weight in weights)
    sequences = [numbered(2, str(i)) for i in range(count)]
    split = split_sequences(sequences, seed, fractions)
    parts = (split.train, split.validation, split.test)
    names = [one.name for part in parts for one in part]
    assert sorted(names) == sorted(one.name for one in sequences)
    for part, fraction in zip(parts, fractions, strict=True):
        assert len(part) >= 1
        assert [int(one.name) for one in part] == sorted(int(one.name) for one in part)
        if count * min(fractions) >= 1:
            assert abs(len(part) - count * fraction) < 1


def test_split_follows_the_seed():
    sequences = [numbered(2, str(i)) for i in range(20)]
    names = [[one.name for one in split_sequences(sequences, seed).test] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 3


def test_a_single_sequence_is_split_in_time():
    whole = numbered(20)
    split = split_sequences([whole])
    parts = [split.train, split.validation, split.test]
    assert [len(part[0]) for part in parts] == [14, 3, 3]
    np.testing.assert_array_equal(np.concatenate([part[0].inputs for part in parts]), whole.inputs)
    np.testing.assert_array_equal(
        np.concatenate([part[0].elapsed for part in parts]), whole.elapsed
    )
    assert split.validation[0].name == "s[14:17]"


def test_parts_of_whole_numbers_leave_the_rest_out():
    split = split_sequences([numbered(2, str(i)) for i in range(9)], 0, (4, 2, 1))
    assert [len(part) for part in split] == [4, 2, 1]
    assert len({one.name for part in split for one in part}) == 7
    single = split_sequences([numbered(9)], 0, (4, 2, 1))
    assert [part[0].name for part in single] == ["s[0:4]", "s[4:6]", "s[6:7]"]
    with pytest.raises(DataError, match=r"got parts of \[8, 1, 1\] rows, .* sum of at most 9"):
        split_sequences([numbered(2)] * 9, 0, (8, 1, 1))


def test_faults_of_splits():
    two = [numbered(9), numbered(9)]
    with pytest.raises(DataError, match=r"got 2 sequences, expected one .* or at least three"):
        split_sequences(two)
    with pytest.raises(DataError, match="got 0 sequences, expected one"):
        split_sequences([])
    with pytest.raises(DataError, match=r"'s' of 2 steps, expected at least 3.*record more"):
        split_sequences([numbered(2)])
    for fractions in ((0.7, 0.3, 0.0), (0.5, 0.5, 0.5), (1.4, -0.2, -0.2)):
        with pytest.raises(DataError, match=r"got shares .* above 0 with sum 1, or whole numbers"):
            split_sequences([numbered(9)] * 5, fractions=fractions)
    with pytest.raises(DataError, match="got seed = -1, expected at least 0"):
        split_sequences([numbered(9)] * 5, seed=-1)


def test_standardised_columns_have_mean_zero_and_deviation_one():
    draw = np.random.default_rng(0)
    parts = [draw.normal([3.0, -7e8, 0.0], [0.5, 3.0, 1e-200], (n, 3)) for n in (40, 25)]
    standard = Scale.standard(parts)
    rows = np.concatenate(parts)
    np.testing.assert_allclose(standard.origin, rows.mean(0), rtol=1e-12)
    scaled = standard.apply(rows)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-7)
    np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-7)
    np.testing.assert_allclose(standard.invert(scaled), rows, rtol=1e-12)


def test_constant_columns_become_exactly_zero():
    # The mean of thirty times 0.1 is not 0.1 and their deviation is not 0 in floating point.
    standard = Scale.standard([np.full((30, 2), [0.1, -4e9])])
    assert standard.unit.tolist() == [1.0, 1.0]
    assert standard.apply(np.full((5, 2), [0.1, -4e9])).tolist() == [[0.0, 0.0]] * 5


@pytest.mark.parametrize("offset", [0.0, -0.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_give_tensors_of_their_type_with_gradients(dtype, offset):
    standard = Scale(np.array([1.0, -2.0]), np.array([0.5, 4.0]), offset)
    values = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tensor = values.to(dtype).requires_grad_()
    scaled = standard.apply(tensor)
    assert scaled.dtype == dtype
    expected = standard.apply(tensor.detach().to(torch.float64).numpy())
    tolerance = 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(scaled.detach().double().numpy(), expected, tolerance, tolerance)
    np.testing.assert_allclose(
        standard.invert(scaled).detach().double(),
        tensor.detach().double(),
        4 * tolerance,
        tolerance,
    )
    scaled.sum().backward()
    assert tensor.grad is not None
    assert tensor.grad[0, 0].tolist() == [2.0, 0.25]


def test_types_of_arrays():
    standard = Scale(np.array([1.0]), np.array([2.0]))
    assert standard.apply(np.ones((3, 1), np.float32)).dtype == np.float32
    assert standard.apply(np.ones((3, 1), np.int32)).dtype == np.float64
    assert standard.invert(torch.ones(3, 1, dtype=torch.int32)).dtype == torch.float64


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_json_round_trip_is_exact(pairs):
    origin, unit = np.array(pairs).T
    names = [f"column {at}" for at in range(len(unit))]
    back = Scale.from_json(Scale(origin, unit, -1 / 3, names).to_json())
    assert back.origin.tobytes() == origin.tobytes()
    assert back.unit.tobytes() == unit.tobytes()
    assert (back.offset, back.names) == (-1 / 3, tuple(names))


def test_scales_of_earlier_runs_are_read():
    earlier = Scale.from_json('{"mean": [1.0, 2.0], "scale": [4.0, 8.0]}')
    assert earlier.apply(np.array([[5.0, 2.0]])).tolist() == [[1.0, 0.0]]


def test_a_range_is_reached_exactly():
    rows = np.random.default_rng(0).normal(7, 1e3, (50, 3)).astype(np.float32)
    scale = Scale.min_max([rows[:20], rows[20:]], ("a", "b", "c"), low=-1.0, high=1.0)
    for scaled in (scale.apply(rows), scale.apply(rows.astype(float))):
        assert (scaled.min(0) == -1).all()
        np.testing.assert_allclose(scaled.max(0), 1, rtol=1e-15)
    assert scale.apply(rows).dtype == np.float32
    np.testing.assert_allclose(scale.invert(scale.apply(rows.astype(float))), rows, rtol=1e-10)
    with pytest.raises(DataError, match=r"got a range from 1 to 0, expected the lower end first"):
        Scale.min_max([rows], low=1, high=0)


def test_faults_of_scales():
    with pytest.raises(DataError, match=r"shape \(2,\) and a unit of shape \(3,\), expected"):
        Scale(np.zeros(2), np.ones(3))
    with pytest.raises(DataError, match=r"got origin 0.0, unit 0.0 and .* in column 1, expected"):
        Scale(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(DataError, match=r"got arrays of shapes \[\], expected at least one row"):
        Scale.standard([])
    with pytest.raises(DataError, match=r"got arrays of shapes \[\(3, 2\), \(3, 1\)\], expected"):
        Scale.standard([np.ones((3, 2)), np.ones((3, 1))])
    with pytest.raises(DataError, match="got NaN or infinity in column 1, expected finite"):
        Scale.standard([np.array([[1.0, np.nan]])])
    with pytest.raises(DataError, match="got 1 names for 2 columns, expected one each"):
        Scale(np.zeros(2), np.ones(2), names=("a",))
    with pytest.raises(DataError, match=r"in column 0, expected finite.*in a larger unit"):
        Scale.standard([np.array([[1.7e308], [-1.7e308]])])
    with pytest.raises(DataError, match=r"got values of shape \(4, 3\), expected \(..., 2\)"):
        Scale(np.zeros(2), np.ones(2)).apply(np.ones((4, 3)))
    for text in ("", "{}", "[]", json.dumps({"mean": ["x"], "scale": [1]})):
        with pytest.raises(DataError, match="expected a JSON object with 'origin', 'unit', 'off"):
            Scale.from_json(text)


def test_scaled_sequences_keep_names_and_what_is_not_scaled():
    one = numbered(9)
    inputs, kept = Scale.standard([one.inputs]), Scale([0.0], [1.0])
    (scaled,) = Scales(inputs, kept).apply([one])
    assert scaled.name == one.name
    np.testing.assert_array_equal(scaled.elapsed, one.elapsed)
    np.testing.assert_array_equal(scaled.targets, one.targets)
    np.testing.assert_array_equal(scaled.inputs, inputs.apply(one.inputs))
    (answers,) = Scales(inputs, Scale.standard([one.targets]), elapsed=2.0).apply([one])
    np.testing.assert_allclose(answers.targets.std(), 1)
    np.testing.assert_array_equal(answers.elapsed, one.elapsed / 2)
    with pytest.raises(DataError, match=r"got elapsed = 0\.0, expected a finite duration above 0"):
        Scales(inputs, kept, 0.0)


def test_averaging_over_one_step_changes_nothing():
    one = Sequence("x", np.zeros((5, 1)), np.arange(5.0)[:, None], np.ones(5))
    assert averaged_targets([one], 1)[0].targets.tolist() == one.targets.tolist()
    with pytest.raises(InputError, match="got steps = 0"):
        averaged_targets([one], 0)
