"""Data sets follow their seed and nothing else, and files say what they hold."""

import json
import math
import pickle

import numpy as np
import pytest

from elegans.errors import DataError, InputError, RunError, SolveError
from elegans.replications.hawkmoth import (
    INPUTS,
    OUTPUTS,
    MinMax,
    Moth,
    Ranges,
    Trajectories,
    load_trajectories,
    sample,
    save_trajectories,
    simulate,
    trajectories,
)
from elegans.replications.hawkmoth.trajectories import FRACTIONS, draw


@pytest.fixture(scope="module")
def data():
    return sample(2000, seed=4, progress=False)


def same(first, second):
    return np.array_equal(first.inputs, second.inputs) and np.array_equal(
        first.outputs, second.outputs
    )


# --- drawing ---------------------------------------------------------------------------------


def test_starts_and_controls_are_uniform_and_independent():
    states, controls = draw(Ranges(), seed=0, first=0, last=40_000)
    assert not states[:, :2].any()
    drawn = np.concatenate([states[:, 2:], controls], 1)
    turn = 2 * math.pi
    low = np.array([0, 0, -1500, -1500, -25, -25, 0, 0, -1e5])
    high = np.array([turn, turn, 1500, 1500, 25, 25, 44_300, turn, 1e5])
    unit = (drawn - low) / (high - low)
    assert unit.min() >= 0
    assert unit.max() <= 1
    # Six deviations of a mean, a variance and a correlation over 40,000 draws.
    assert np.abs(unit.mean(0) - 0.5).max() < 6 * math.sqrt(1 / 12 / 40_000)
    assert np.abs(unit.var(0) - 1 / 12).max() < 6 * math.sqrt(1 / 180 / 40_000)
    correlation = np.corrcoef(unit.T) - np.eye(9)
    assert np.abs(correlation).max() < 6 / math.sqrt(40_000)


def test_rows_are_the_trajectories_in_the_order_of_the_columns(data):
    states, controls = draw(Ranges(), seed=4, first=0, last=2000)
    ends = simulate(Moth(), states, controls)
    F, alpha, tau = controls.T
    _, _, theta, phi, xdot, ydot, thetadot, phidot = states.T
    xf, yf, theta_f, phi_f, xdot_f, ydot_f, thetadot_f, phidot_f = ends.T
    inputs = [phi, theta, xf, yf, phi_f, theta_f, xdot, ydot, phidot, thetadot]
    outputs = [F * np.cos(alpha), F * np.sin(alpha), tau, xdot_f, ydot_f, phidot_f, thetadot_f]
    assert np.array_equal(data.inputs, np.stack(inputs, 1))
    assert np.array_equal(data.outputs, np.stack(outputs, 1))
    assert len(INPUTS) == 10
    assert len(OUTPUTS) == 7
    assert INPUTS[2:4] == ("x_f", "y_f")


def test_same_seed_gives_same_data_whatever_the_chunks_and_threads(data):
    assert same(data, sample(2000, seed=4, chunk=333, threads=1, progress=False))
    assert same(data.rows(0, 700), sample(700, seed=4, threads=2, progress=False))
    assert not same(data, sample(2000, seed=5, progress=False))


def test_rows_do_not_depend_on_the_blocks_they_are_drawn_in():
    whole = np.concatenate(draw(Ranges(), 1, 0, 20_000), 1)
    for first, last in ((0, 1), (8191, 8193), (8192, 16_384), (5000, 19_999)):
        assert np.array_equal(np.concatenate(draw(Ranges(), 1, first, last), 1), whole[first:last])
    assert len(np.unique(whole[:, 2])) == 20_000  # no block repeats another


def test_ranges_moth_and_duration_count():
    calm = Ranges(tau=(5, 5), xdot=(-1, 1))
    found = sample(50, 0, Moth(scale=0.9), ranges=calm, duration=0.001, progress=False)
    assert (found.outputs[:, 2] == 5).all()
    assert np.abs(found.inputs[:, 6]).max() <= 1
    assert np.abs(found.inputs[:, 2]).max() < 0.1
    assert (found.moth.scale, found.ranges, found.duration) == (0.9, calm, 0.001)


def test_float32_rounds_the_same_rows(data):
    half = sample(300, seed=4, dtype=np.float32, progress=False)
    assert half.inputs.dtype == half.outputs.dtype == np.float32
    assert np.array_equal(half.inputs, data.inputs[:300].astype(np.float32))


def test_a_trajectory_that_fails_is_named(monkeypatch):
    def failing(moth, states, controls, *arguments, **settings):
        raise SolveError("got trajectory 3 that left the finite numbers")

    monkeypatch.setattr(trajectories, "simulate", failing)
    with pytest.raises(SolveError, match=r"among the rows from 0 on: got trajectory 3 that left"):
        sample(10, seed=0, progress=False)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"count": 0}, r"got count = 0, expected a whole number, at least 1"),
        ({"seed": -1}, r"got seed = -1, expected a whole number, at least 0"),
        ({"chunk": 2.5}, r"got chunk = 2.5, expected a whole number"),
        ({"duration": 0.0}, r"got duration = 0.0, expected finite seconds above 0"),
        ({"dtype": np.int64}, r"got dtype int64, expected float64 or float32"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(InputError, match=text):
        sample(**({"count": 5, "seed": 0, "progress": False} | settings))


@pytest.mark.parametrize("got", [(1, 0), (0, math.inf), 5, (1, 2, 3), "ab"])
def test_impossible_ranges_are_refused(got):
    with pytest.raises(InputError, match=r"got alpha = .*, expected a pair of finite numbers"):
        Ranges(alpha=got)


# --- parts and scales --------------------------------------------------------------------------


def test_split_loses_and_repeats_nothing(data):
    parts = data.split()
    assert [len(part) for part in parts] == [round(2000 * share) for share in FRACTIONS]
    assert np.array_equal(np.concatenate([part.inputs for part in parts]), data.inputs)
    assert np.shares_memory(parts.validation.outputs, data.outputs)
    for fractions in ((0.5, 0.5, 0.0), (0.5, 0.4, 0.2)):
        with pytest.raises(DataError, match=r"expected three above 0 with sum 1"):
            data.split(fractions)
    with pytest.raises(DataError, match=r"got 2 rows to split .* leaves a part empty"):
        data.rows(0, 2).split()


def test_scales_are_fitted_to_the_training_part(data):
    parts = data.split()
    for name, columns in (("inputs", INPUTS), ("outputs", OUTPUTS)):
        scale = MinMax.fit(getattr(parts.train, name), columns)
        scaled = scale.apply(getattr(parts.train, name))
        assert (scaled.min(0) == -0.5).all()
        assert scaled.max(0) == pytest.approx(0.5, abs=1e-15)
        others = scale.apply(getattr(parts.test, name))
        assert np.abs(others).max() > 0.5 - 1e-2
        np.testing.assert_allclose(
            scale.invert(scaled), getattr(parts.train, name), rtol=1e-12, atol=1e-9
        )
        assert np.array_equal(MinMax.from_json(scale.to_json()).apply(others), scale.apply(others))
        single = scale.apply(getattr(parts.train, name).astype(np.float32))
        assert single.dtype == np.float32


def test_constant_columns_are_refused_by_name():
    held = sample(50, 0, ranges=Ranges(tau=(5, 5)), progress=False)
    with pytest.raises(DataError, match=r"got column 'tau' from 5.0 to 5.0, expected one that var"):
        MinMax.fit(held.outputs, OUTPUTS)
    with pytest.raises(DataError, match=r"got column 'b' from nan to nan, expected finite"):
        MinMax.fit(np.array([[1, np.nan], [2, 3]]), ("a", "b"))
    with pytest.raises(DataError, match=r"got values of shape \(0, 2\), expected \(row, column\)"):
        MinMax.fit(np.empty((0, 2)), ("a", "b"))
    with pytest.raises(DataError, match=r"got values of shape \(3,\), expected \(..., 2\)"):
        MinMax([0, 0], [1, 1], ("a", "b")).apply([1, 2, 3])
    with pytest.raises(DataError, match=r"for 1 columns, expected \(1,\) for both"):
        MinMax([0, 0], [1, 1], ("a",))
    with pytest.raises(DataError, match=r"expected JSON with low, high and names"):
        MinMax.from_json('{"low": [1]}')


def test_rows_that_do_not_fit_are_refused(data):
    with pytest.raises(DataError, match=r"got inputs of shape \(2000, 9\) .* expected floats"):
        Trajectories(data.inputs[:, :9], data.outputs)
    with pytest.raises(DataError, match=r"got 2000 rows of inputs and 5 of outputs"):
        Trajectories(data.inputs, data.outputs[:5])
    broken = data.outputs.copy()
    broken[3, 2] = np.inf
    with pytest.raises(DataError, match=r"got outputs whose column 'tau' holds numbers"):
        Trajectories(data.inputs, broken)


# --- files -----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    small = sample(
        20, 9, Moth(scale=1.2, gravity=0), ranges=Ranges(F=(1, 2)), dtype=np.float32, progress=False
    )
    path = tmp_path / "moths.npz"
    save_trajectories(small, path)
    return path, small


def test_a_file_brings_back_everything(file):
    path, small = file
    again = load_trajectories(path)
    assert same(again, small)
    assert again.inputs.dtype == np.float32
    assert (again.moth, again.ranges) == (small.moth, small.ranges)
    assert (again.duration, again.seed) == (0.02, 9)
    assert [found.name for found in path.parent.iterdir()] == ["moths.npz"]


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_damaged_files_are_refused(file, place):
    path, _ = file
    content = bytearray(path.read_bytes())
    half = path.with_name("half.npz")
    half.write_bytes(content[: int(len(content) * place)])
    with pytest.raises(DataError, match=r"half.npz: got a damaged or other file .* pass a file"):
        load_trajectories(half)
    content[int(len(content) * place)] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"moths.npz: got a damaged"):
        load_trajectories(path)


def test_other_files_are_refused(tmp_path, data):
    def refused(text):
        with pytest.raises(DataError, match=text):
            load_trajectories(tmp_path / "other")

    other = tmp_path / "other"
    refused(r"other: cannot be read \(No such file or directory\)")
    for content in (b"", b"phi,theta\n1,2\n", pickle.dumps({"inputs": 1})):
        other.write_bytes(content)
        refused("got a damaged or other file")

    def write(about, inputs=data.inputs, outputs=data.outputs):
        with other.open("wb") as handle:
            np.savez(handle, about=np.array(about), inputs=inputs, outputs=outputs)

    with other.open("wb") as handle:
        np.save(handle, data.inputs)
    refused("got a damaged or other file")
    with other.open("wb") as handle:
        np.savez(handle, inputs=data.inputs)
    refused("got a damaged or other file")
    write("no JSON")
    refused("does not say what it holds")
    write(json.dumps([1]))
    refused("does not say what it holds")
    right = {
        "format": "elegans.hawkmoth", "version": 1, "inputs": INPUTS, "outputs": OUTPUTS,
        "moth": {}, "ranges": {}, "duration": 0.02, "seed": 0,
    }  # fmt: skip
    write(json.dumps(right))
    assert same(load_trajectories(other), data)
    for change, text in (
        ({"format": "elegans.model"}, r"got the format 'elegans.model', version 1, expected"),
        ({"version": 2}, r"version 2, expected 'elegans.hawkmoth', version 1; .* or update"),
        ({"inputs": OUTPUTS}, r"its columns are in another order"),
        ({"moth": {"wings": 4}}, r"got a damaged data set"),
        ({"moth": {"scale": -1}}, r"got a damaged data set \(got scale = -1, expected more than"),
        ({"ranges": 5}, r"got a damaged data set"),
        ({"seed": None}, r"got a damaged data set"),
    ):
        write(json.dumps(right | change))
        refused(text)
    write(json.dumps(right), inputs=data.inputs[:3])
    refused(r"got 3 rows of inputs and 2000 of outputs")
    write(json.dumps(right), inputs=np.array([{"a": 1}], dtype=object))
    refused("got a damaged or other file")  # nothing is unpickled


def test_a_place_that_cannot_be_written_is_named(tmp_path, data):
    with pytest.raises(RunError, match=r"cannot be written"):
        save_trajectories(data, tmp_path / "missing" / "moths.npz")
