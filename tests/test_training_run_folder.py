"""The folder of a run: occupied, interrupted, damaged."""

import json

import numpy as np
import pytest
import torch

from elegans import LTC
from elegans.data import Scales, Sequence
from elegans.errors import RunError
from elegans.training import RunFolder, load_model, predict
from elegans.training.checkpoint import Checkpoint
from elegans.training.schemas import Progress
from elegans.wiring import AutoNCP


def circuit():
    return LTC(2, AutoNCP(10, 1), generator=torch.Generator().manual_seed(0))


def checkpoint(step):
    value = {"x": torch.full((3,), float(step))}
    progress = Progress(step, best_step=step, best_loss=0.5, loss_sum=0.0, losses=0, seconds=1.5)
    return Checkpoint(value, value, value, progress)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", circuit(), {"training": {"steps": 9, "rate": 0.5}})


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_occupied_folder_is_refused_untouched(run):
    before = files(run.path)
    with pytest.raises(RunError, match=r"holds a run already, expected a new one; .*--resume"):
        RunFolder.create(run.path, circuit(), {})
    assert files(run.path) == before


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="got a file, expected a folder"):
        RunFolder.create(tmp_path / "run", circuit(), {})


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match=r"without config\.json.*start a run there without --resume"):
        RunFolder.open(tmp_path)


def test_a_newer_format(run):
    (run.path / "config.json").write_text('{"format": "elegans.run", "version": 7}')
    with pytest.raises(RunError, match=r"of version 7, expected 'elegans.run' of version 1"):
        RunFolder.open(run.path)


def test_other_settings_are_refused_by_name(run):
    run.require_same(circuit(), {"training": {"steps": 9, "rate": 0.5}})
    with pytest.raises(RunError, match=r"got training\.rate = 0\.1, expected 0\.5"):
        run.require_same(circuit(), {"training": {"steps": 9, "rate": 0.1}})
    with pytest.raises(RunError, match=r"got model\.ode_unfolds = 1, expected 6"):
        run.require_same(
            LTC(2, AutoNCP(10, 1), ode_unfolds=1), {"training": {"steps": 9, "rate": 0.5}}
        )


def test_a_setting_that_was_not_there_yet_had_its_value_of_today(tmp_path):
    begun = {"training": {"steps": 9, "learning_rate": 0.5}}
    run = RunFolder.create(tmp_path, circuit(), begun)
    now = {"training": {"steps": 9, "learning_rate": 0.5, "accumulate": 1}}
    run.require_same(circuit(), now)
    now["training"]["accumulate"] = 2
    with pytest.raises(RunError, match=r"got training\.accumulate = 2, expected 1"):
        run.require_same(circuit(), now)


def test_a_run_is_extended_and_not_shortened(run):
    longer = {"training": {"steps": 12, "rate": 0.5}}
    run.require_same(circuit(), longer)
    assert run.config["training"]["steps"] == 9
    run.extend(12)
    assert run.config["training"] == longer["training"]
    run.extend(12)
    with pytest.raises(RunError, match=r"got training\.steps = 9, expected 12"):
        run.require_same(circuit(), {"training": {"steps": 9, "rate": 0.5}})


def test_two_checkpoints_are_kept(run):
    for step in (5, 10, 15):
        run.checkpoints.save(checkpoint(step))
    assert run.checkpoints.steps() == [10, 15]
    loaded = run.checkpoints.load()
    assert loaded.step == 15
    assert loaded.progress == checkpoint(15).progress
    assert loaded.best["x"].tolist() == [15.0] * 3


@pytest.mark.parametrize(
    ("stops", "end", "kept"),
    [
        ((7, 14, 24), 24, [14, 24]),
        ((7, 8, 14, 22, 23, 24), 24, [14, 24]),
        ((7, 14, 21, 22), 24, [21, 22]),
        ((0, 3), 24, [0, 3]),
        ((0, 3, 7), 24, [7]),
        ((0, 3, 5), 5, [5]),
        ((3, 4), 24, [4]),
        ((7, 14, 21, 21), 21, [14, 21]),
    ],
)
def test_checkpoints_of_stops_do_not_stay(run, stops, end, kept):
    for step in stops:
        run.checkpoints.save(checkpoint(step), 7, is_stop=step % 7 > 0 and step < end)
    assert run.checkpoints.steps() == kept


def test_what_was_left_half_done_goes_when_the_run_is_opened_for_training(run):
    run.checkpoints.save(checkpoint(5))
    for name in (
        ".checkpoint-00000004.part",
        ".checkpoint-4.part",
        ".checkpoint-00000009.part.old",
    ):
        (run.path / name).mkdir()
        (run.path / name / "model.safetensors").write_text("half")
    half = (".ledger.jsonl.0123abcd.part", ".learning.png.0123abcd.part")
    for name in (*half, ".mine.part"):
        (run.path / name).write_text("half")
    before = files(run.path)
    assert files(RunFolder.open(run.path).path) == before  # to read it changes nothing
    with run.locked():
        pass
    gone = {name.relative_to(run.path).parts[0] for name in before.keys() - files(run.path).keys()}
    assert gone == {".checkpoint-00000004.part", *half}


def test_a_checkpoint_that_is_half_removed_is_none(run, monkeypatch):
    import shutil

    def remove(place, **options):
        (place / "model.safetensors").unlink()
        raise KeyboardInterrupt

    for step in (5, 10):
        run.checkpoints.save(checkpoint(step))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda p, **o: remove(p) if p.exists() else None)
        with pytest.raises(KeyboardInterrupt):
            run.checkpoints.save(checkpoint(15))
    assert run.checkpoints.steps() == [10, 15]
    run.checkpoints.save(checkpoint(20))
    assert run.checkpoints.steps() == [15, 20]
    with run.locked():
        assert not list(run.path.glob(".checkpoint*"))


@pytest.mark.parametrize("moment", range(9))
def test_an_interruption_at_any_moment_leaves_a_whole_checkpoint(run, monkeypatch, moment):
    """The n-th call that moves a file or folder fails; before and after it the run is usable."""
    for step in (5, 10):
        run.checkpoints.save(checkpoint(step))
    calls = 0

    def failing(function):
        def call(*args, **options):
            nonlocal calls
            calls += 1
            if calls > moment:
                raise KeyboardInterrupt
            return function(*args, **options)

        return call

    import os
    import shutil

    interrupted = False
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        patch.setattr(os, "replace", failing(os.replace))
        patch.setattr(shutil, "rmtree", failing(shutil.rmtree))
        try:
            run.checkpoints.save(checkpoint(15))
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted
    assert run.checkpoints.load().step in (10, 15)
    run.checkpoints.save(checkpoint(15))
    run.checkpoints.save(checkpoint(20))
    assert run.checkpoints.load().step == 20
    assert run.checkpoints.steps() == [15, 20]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "best.safetensors", "training.safetensors", "training.json"]
)
def test_a_damaged_checkpoint_names_file_and_remedy(run, name):
    run.checkpoints.save(checkpoint(5))
    path = run.path / "checkpoint-00000005" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    before = files(run.path)
    with pytest.raises(RunError, match=f"{name}: .*damaged or cut off; start the run again"):
        run.checkpoints.load()
    path.write_bytes(whole)
    run.checkpoints.save(checkpoint(8))
    (run.path / "checkpoint-00000008" / name).unlink()
    with pytest.raises(RunError, match="delete the folder checkpoint-00000008 to continue from s"):
        run.checkpoints.load()
    assert set(before) <= set(files(run.path))


def test_a_checkpoint_in_the_wrong_folder(run):
    run.checkpoints.save(checkpoint(5))
    (run.path / "checkpoint-00000005").rename(run.path / "checkpoint-00000006")
    with pytest.raises(RunError, match="another step than the name of its folder"):
        run.checkpoints.load()


def test_metrics_are_cut_to_a_step(run):
    for step in (0, 5, 10):
        run.append_metrics({"step": step, "validation_loss": 0.1 + step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 15, "validation_loss": 3')
    assert [line["step"] for line in run.metrics()] == [0, 5, 10]
    run.cut_metrics(5)
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["validation_loss"] for line in lines] == [0.1, 5.1]


def test_a_run_without_weights_yet(run):
    with pytest.raises(RunError, match="got no such file, expected one"):
        load_model(run.path)


def test_scales_round_trip_and_apply():
    rng = np.random.default_rng(0)
    walk = Sequence("walk", rng.normal(3, 2, (50, 2)), rng.normal(-1, 5, (50, 1)), np.full(50, 20))
    scales = Scales.from_plain(json.loads(json.dumps(Scales.fit([walk]).to_plain())))
    (scaled,) = scales.apply([walk])
    assert scaled.elapsed.tolist() == [1.0] * 50
    np.testing.assert_allclose(scaled.targets.std(), 1)
    for broken in ({}, {"inputs": 1, "targets": 2, "elapsed": 1}, {"elapsed": -1.0}):
        with pytest.raises(RunError, match=r"standardiser\.json"):
            Scales.from_plain(broken)


def test_scales_of_a_run_and_of_earlier_ones(tmp_path):
    walk = Sequence("walk", np.array([[3.0], [5.0]]), np.array([[0.0], [8.0]]), np.full(2, 20.0))
    scales = Scales.fit([walk], ["speed"], ["turn"])
    run = RunFolder.create(tmp_path / "run", LTC(1, AutoNCP(10, 1)), {}, scales)
    assert RunFolder.open(run.path).scales.to_plain() == scales.to_plain()
    assert run.scales.inputs.names == ("speed",)
    (run.path / "standardiser.json").write_text(
        '{"inputs": {"mean": [4.0], "scale": [1.0]}, "targets": {"mean": [4.0], "scale": [4.0]}, '
        '"elapsed": 20.0}'
    )
    (earlier,), (now,) = run.scales.apply([walk]), scales.apply([walk])
    for field in ("inputs", "targets", "elapsed"):
        np.testing.assert_array_equal(getattr(earlier, field), getattr(now, field))


def test_answers_are_in_the_units_of_the_data():
    rng = np.random.default_rng(0)
    walk = Sequence("walk", rng.normal(3, 2, (50, 2)), rng.normal(-1, 5, (50, 1)), np.ones(50))
    scales, model = Scales.fit([walk]), circuit()
    (answer,) = predict(model, [walk], scales)
    x = torch.from_numpy((walk.inputs - walk.inputs.mean(0)) / walk.inputs.std(0)).float()
    scaled = model(x)[0].detach().numpy()
    expected = scaled * walk.targets.std() + walk.targets.mean()
    np.testing.assert_allclose(answer, expected, atol=1e-5)
