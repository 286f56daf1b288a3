"""Rows that come one at a time are shown and answered as the rows of a file are."""

import numpy as np
import pandas as pd
import pytest

import elegans
from elegans.data import Scales, read_table
from elegans.errors import DataError, InputError
from elegans.training import RunData, RunFolder


def rows(gaps=True, words=True, count=40):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "t": np.cumsum(rng.uniform(0.5, 1.5, count)),
            "speed": rng.normal(size=count),
            "load": rng.normal(10, 3, size=count),
            "y": rng.normal(size=count),
        }
    )
    if words:
        frame["gait"] = rng.choice(["walk", "run", "halt"], count)
        frame["lit"] = rng.choice(["true", "false"], count)
    if gaps:
        for name in frame.columns.drop(["t", "y"]):
            frame.loc[rng.random(count) < 0.3, name] = None
        frame.loc[0, "load"] = np.nan  # before anything was seen
    return frame


def begin(path, frame, classes=False, **options):
    options = {"time": "t", "missing": "fill"} | options
    table = read_table(frame, targets="y", **options)
    scales = Scales.fit(
        table.sequences, table.input_names, table.target_names, classes=bool(table.classes)
    )
    model = elegans.Readout(elegans.LTC(table.input_size, 9), table.output_size)
    run = RunFolder.create(path, model, {"data": table.reading.to_plain()}, scales)
    run.write_result(model)
    return table


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", ["mapping", "series", "shuffled"])
def test_a_stream_is_answered_as_its_file(tmp_path, kind, gaps, words):
    frame = rows(gaps, words)
    table = begin(tmp_path / "run", frame)
    data = RunData.read(tmp_path / "run", frame)
    (expected,) = data.answers()
    policy = elegans.Policy.load(tmp_path / "run")
    assert policy.classes == ()
    elapsed = table.sequences[0].elapsed
    for _ in range(2):  # the second time from the beginning
        answers = []
        for k in range(len(frame)):
            row = frame.iloc[k]
            if kind == "shuffled":
                row = row.iloc[::-1]
            if kind == "mapping":
                row = {name: cell for name, cell in row.items() if name not in ("t", "y")}
            answers.append(policy(row, elapsed=float(elapsed[k])))
        np.testing.assert_allclose(np.stack(answers), expected, atol=1e-5)
        policy.reset()


def test_a_batch_of_streams_forgets_by_row(tmp_path):
    frames = [rows(), rows().iloc[::-1].reset_index(drop=True)]
    begin(tmp_path / "run", frames[0], time=None)
    together = elegans.Policy.load(tmp_path / "run")
    alone = [elegans.Policy.load(tmp_path / "run") for _ in frames]
    for k in range(12):
        if k == 7:
            together.reset(where=np.array([False, True]))
            alone[1].reset()
        batch = pd.concat([frame.iloc[[k]] for frame in frames])
        expected = [policy(frame.iloc[k]) for policy, frame in zip(alone, frames, strict=True)]
        np.testing.assert_allclose(together(batch), np.stack(expected), atol=1e-5)
    with pytest.raises(DataError, match=r"got 1 rows, expected 2 as before; call reset\(\)"):
        together(batch.iloc[:1])


def test_classes_are_named(tmp_path):
    frame = rows().assign(y=np.random.default_rng(1).choice(["b", "a"], 40))
    begin(tmp_path / "run", frame)
    policy = elegans.Policy.load(tmp_path / "run")
    assert policy.classes == ("a", "b")
    assert policy(frame.iloc[0], elapsed=1.0).shape == (2,)


def test_what_a_stream_does_not_take(tmp_path):
    frame = rows()
    begin(tmp_path / "run", frame)
    policy = elegans.Policy.load(tmp_path / "run")
    row = dict(frame.iloc[3])
    policy(row)
    state = policy.state.clone()
    memory = policy._memory
    for change, message in (
        ({"gait": "trot"}, "column 'gait': got 'trot', expected one of"),
        ({"speed": "fast"}, "column 'speed': got 'fast', expected a number"),
        ({"load": np.inf}, "column 'load': got inf, expected a finite number"),
    ):
        with pytest.raises(DataError, match=message):
            policy(row | change)
    with pytest.raises(DataError, match="got 'load', not among the columns"):
        policy({name: cell for name, cell in row.items() if name != "load"})
    assert (policy.state == state).all()
    assert policy._memory is memory


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_gaps_that_were_not_there_in_training(tmp_path, missing):
    frame = rows(gaps=False)
    begin(tmp_path / "run", frame, missing=missing)
    policy = elegans.Policy.load(tmp_path / "run")
    row = dict(frame.iloc[0])
    policy(row)
    with pytest.raises(DataError, match=r"'speed'"):
        policy(row | {"speed": None})


def test_a_row_without_names_is_an_array(tmp_path):
    frame = rows(gaps=False, words=False)
    begin(tmp_path / "run", frame)
    named, plain = (elegans.Policy.load(tmp_path / "run") for _ in range(2))
    row = frame[["speed", "load"]].iloc[0]
    np.testing.assert_array_equal(named(row), plain(pd.Series(row.to_numpy())))


def test_time_passes_in_steps_without_names_too(tmp_path):
    frame = rows(words=False)
    begin(tmp_path / "run", frame, time=None)
    policy = elegans.Policy.load(tmp_path / "run")
    row = {"t": 0.0, "speed": 0.3, "load": 9.0}
    policy(row)
    for _ in range(3):
        policy(np.zeros(policy.model.input_size, np.float32))
    policy(row | {"load": None})
    assert policy._memory["load"].age.tolist() == [4.0]
    policy.state = np.zeros((2, policy.model.state_size))
    assert policy(pd.DataFrame([row, row])).shape == (2, 1)


@pytest.mark.parametrize("over", [True, False])
def test_a_single_episode_is_over_or_goes_on(tmp_path, over):
    begin(tmp_path / "run", rows())
    policy = elegans.Policy.load(tmp_path / "run")
    policy(dict(rows().iloc[3]))
    memory, state = policy._memory, policy.state
    policy.reset(where=np.array(over))
    assert policy._memory == ({} if over else memory)
    assert bool((policy.state == state).all()) != over
    with pytest.raises(InputError, match="got batch=2 and where, expected one of them"):
        policy.reset(2, where=[True])


def test_several_values_in_a_cell(tmp_path):
    begin(tmp_path / "run", rows())
    policy = elegans.Policy.load(tmp_path / "run")
    row = dict(rows().iloc[3])
    with pytest.raises(DataError, match="got ndarray of several values as 'speed'"):
        policy(row | {"speed": np.ones(2)})
