"""A training that leaves the finite numbers goes back, and on from there with half the rate."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from interrupting import interrupt
from test_training_trainer import CONFIG, TRAIN, VALIDATION, begin, circuit, state_of

from elegans import CTRNN, Readout
from elegans.errors import InputError, SolveError
from elegans.proofs.certificates.condition import ContractionCondition
from elegans.training import (
    Callback,
    OnStep,
    RewireConfig,
    RunFolder,
    TrainingConfig,
    TrainingStopped,
    fit,
    load_model,
)
from elegans.wiring import AutoNCP


class Poison(Callback):
    """Spoils a weight after some steps, as long as the learning rate is too large."""

    def __init__(self, model, steps, times=1, value=float("nan")):
        self.model, self.steps, self.times, self.value = model, steps, times, value
        self.heard = []

    def on_step(self, step):
        if step in self.steps and len(self.heard) < self.times:
            with torch.no_grad():
                next(self.model.parameters()).view(-1)[0] = self.value

    def on_rollback(self, rollback):
        self.heard.append(rollback)


def train(model, config=CONFIG, poison=(), **options):
    return fit(model, TRAIN, VALIDATION, config, progress=False, callbacks=poison, **options)


def content(run):
    """Return what the folder holds, but for times."""
    files = {str(path.relative_to(run.path)): path for path in run.path.rglob("*.*")}
    read = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    for name in read:
        if name.endswith("training.json"):
            plain = json.loads(read[name])
            read[name] = plain | {"seconds": None}
        if name == "metrics.jsonl":
            read[name] = [json.loads(line) | {"seconds": None} for line in read[name].splitlines()]
    return read


def test_it_goes_on_from_the_last_checkpoint_with_half_the_rate(tmp_path):
    run, model = begin(tmp_path), circuit()
    poison = Poison(model, [10])
    result = train(model, poison=[poison], run=run)
    (rollback,) = result.rollbacks
    assert (rollback["step"], rollback["to"]) == (10, 7)
    assert poison.heard == result.rollbacks
    assert result.steps == 24
    steps = [line["step"] for line in result.metrics]
    assert steps == [line["step"] for line in run.metrics()] == [0, 5, 10, 15, 20, 24]
    assert [line["rollbacks"] for line in result.metrics] == [0, 0, 1, 1, 1, 1]
    for line in result.metrics:
        factor = 0.5 if line["rollbacks"] else 1.0
        assert line["learning_rate"] == factor * CONFIG.learning_rate_at(max(0, line["step"] - 1))
    assert run.checkpoints.load().progress.rollbacks == result.rollbacks
    assert all(edit.step <= 24 for edit in result.ledger)
    assert run.ledger() == [edit.to_dict() for edit in result.ledger]
    assert [edit.step for edit in result.ledger] == sorted(edit.step for edit in result.ledger)
    for name, value in model.state_dict().items():
        assert torch.equal(value, load_model(tmp_path).state_dict()[name]), name


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "sgd", "accumulate": 3},
        {"optimizer": "rmsprop", "weight_decay": 1e-3, "schedule": "linear"},
        {"rewire": RewireConfig(rule="soft_rigl")},
        {"rewire": RewireConfig(rule="development", keep=0.8)},
        {"rewire": RewireConfig(enabled=False)},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["folder", "memory"])
def test_it_is_what_continuing_with_the_smaller_rate_would_be(tmp_path, change, place):
    """A training stopped at the checkpoint and continued as after a rollback ends alike."""
    config = replace(CONFIG, **change)
    model = circuit()
    run = begin(tmp_path / "rolled") if place == "folder" else None
    rolled = train(model, config, [Poison(model, [10])], run=run)
    other, again = begin(tmp_path / "other"), circuit()
    with pytest.raises(TrainingStopped):
        train(again, config, [OnStep(lambda done: interrupt() if done == 7 else None)], run=other)
    path = other.checkpoints.path(7) / "training.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"rollbacks": rolled.rollbacks}))
    again = circuit()
    continued = train(again, config, run=other, resume=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert continued.ledger == rolled.ledger
    assert continued.metrics == rolled.metrics
    if run is not None:
        assert {name for name, value in content(run).items() if content(other)[name] != value} <= {
            "checkpoint-00000014/training.json"  # not kept at the end
        }


@pytest.mark.parametrize(
    ("poisoned", "stops"),
    [(5, (3,)), (5, (3, 4)), (10, (8,)), (10, (7, 9)), (10, (12,)), (10, (8, 23)), (16, (15, 18))],
)
@pytest.mark.parametrize("kind", ["signal", "crash"])
def test_stopped_at_any_moment_it_ends_alike(tmp_path, poisoned, stops, kind):
    whole, model = begin(tmp_path / "whole"), circuit()
    result = train(model, poison=[Poison(model, [poisoned])], run=whole)
    assert len(result.rollbacks) == 1
    parts = begin(tmp_path / "parts")

    def stop(step):
        def watch(done):
            if done == step and kind == "signal":
                interrupt()
            elif done == step:
                raise OSError("power failure")

        return OnStep(watch)

    for count, step in enumerate(stops):
        again = circuit()
        with pytest.raises(TrainingStopped if kind == "signal" else OSError):
            train(
                again, poison=[Poison(again, [poisoned]), stop(step)], run=parts, resume=count > 0
            )
    again = circuit()
    continued = train(again, poison=[Poison(again, [poisoned])], run=parts, resume=True)
    assert continued.rollbacks == result.rollbacks
    assert continued.metrics == result.metrics
    assert content(parts) == content(whole)


def test_a_stop_just_after_the_numbers_are_gone(tmp_path):
    """What is saved then is the last point: a layer that is not finite could not be read again."""
    whole, model = begin(tmp_path / "whole"), circuit()
    result = train(model, poison=[Poison(model, [10])], run=whole)
    parts, again = begin(tmp_path / "parts"), circuit()
    stop = OnStep(lambda done: interrupt() if done == 10 else None)
    with pytest.raises(TrainingStopped, match="stopped at step 7 of 24"):
        train(again, poison=[Poison(again, [10]), stop], run=parts)
    again = circuit()
    assert train(again, poison=[Poison(again, [10])], run=parts, resume=True).steps == result.steps
    assert content(parts) == content(whole)


def test_the_checkpoint_of_a_layer_that_is_not_finite_is_not_taken(tmp_path):
    run, model = begin(tmp_path), circuit()
    result = train(model, poison=[Poison(model, [14])], run=run)
    assert [(one["step"], one["to"]) for one in result.rollbacks] == [(14, 7)]
    assert "is not finite" in result.rollbacks[0]["what"]
    assert run.checkpoints.steps() == [21, 24]
    for step in (21, 24):
        tensors = run.checkpoints.load(step).model.values()
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def test_it_goes_further_back_if_the_last_point_does_not_help(tmp_path):
    for run in (begin(tmp_path), None):
        model = circuit()
        result = train(model, poison=[Poison(model, [16], times=3)], run=run)
        assert [(one["step"], one["to"]) for one in result.rollbacks] == [
            (16, 14),
            (16, 7),
            (16, 14),
        ]


def test_a_point_is_not_changed_by_what_follows(tmp_path):
    model, other = circuit(), circuit()
    twice = train(model, replace(CONFIG, checkpoint_every=12), [Poison(model, [13], times=2)])
    once = train(other, replace(CONFIG, checkpoint_every=12), [Poison(other, [13], times=1)])
    assert [one["to"] for one in twice.rollbacks] == [12, 0]
    assert [one["to"] for one in once.rollbacks] == [12]
    again, config = circuit(), replace(CONFIG, checkpoint_every=8)
    thrice = train(again, config, [Poison(again, [3], times=3)], run=begin(tmp_path))
    assert [one["to"] for one in thrice.rollbacks] == [0, 0, 0]
    losses = [line["validation_loss"] for line in thrice.metrics]
    eighth = circuit()
    slow = train(eighth, replace(config, learning_rate=config.learning_rate / 8))
    assert losses == [line["validation_loss"] for line in slow.metrics]


def test_the_bound(tmp_path):
    run, model = begin(tmp_path), circuit()
    with pytest.raises(
        SolveError, match=r"at step 10: .*after 2 rollbacks \(from step 10, 10\) wi"
    ):
        train(model, replace(CONFIG, rollbacks=2), [Poison(model, [10], times=9)], run=run)
    model = circuit()
    with pytest.raises(
        SolveError, match=r"diverged at step 10: .*lower the learning rate"
    ) as error:
        train(model, replace(CONFIG, rollbacks=0), [Poison(model, [10])])
    assert "rollback" not in str(error.value)
    with pytest.raises(InputError, match="got rollbacks = -1, expected at least 0"):
        TrainingConfig(rollbacks=-1)


def test_nothing_can_be_mended_before_the_first_step():
    model = circuit()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(SolveError, match="diverged at step 0: "):
        train(model)


def test_a_rate_that_is_too_large_is_found_out():
    def model():
        layer = CTRNN(2, AutoNCP(12, 1, seed=0), generator=torch.Generator().manual_seed(0))
        return Readout(layer, 1, generator=torch.Generator().manual_seed(0))

    still = RewireConfig(enabled=False)
    config = replace(CONFIG, optimizer="sgd", learning_rate=1.0, clip_norm=1e30, rewire=still,
                     schedule="constant", steps=60, rollbacks=8)  # fmt: skip
    with pytest.raises(SolveError):
        train(model(), replace(config, rollbacks=0))
    result = train(model(), config)
    assert result.steps == 60
    assert 0 < len(result.rollbacks) <= 8
    assert result.best_loss < result.metrics[0]["validation_loss"]


def test_a_training_that_stays_finite_is_the_same_with_and_without(tmp_path):
    ends = []
    for rollbacks in (0, 3):
        model, config = circuit(), replace(CONFIG, rollbacks=rollbacks)
        run = begin(tmp_path / str(rollbacks))
        result = train(model, config, run=run)
        ends.append((model.state_dict(), result.metrics, result.ledger, state_of(run)))
        assert result.rollbacks == []
    (state, *rest, (tensors, plain)), (other, *others, (again, plain_again)) = ends
    assert rest == others
    assert plain == plain_again
    for one, two in ((state, other), (tensors, again)):
        assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_condition_holds_after_a_rollback(tmp_path):
    ends = {}
    for times in (0, 1):
        model = circuit()
        condition = ContractionCondition(model, inputs=(-1.0, 1.0))
        result = train(model, poison=[Poison(model, [10], times)], condition=condition)
        assert len(result.rollbacks) == times
        assert condition.holds()
        ends[times] = result
    assert ends[0].metrics[:2] == ends[1].metrics[:2]
    assert np.isfinite(ends[1].best_loss)


def test_a_run_of_before_is_continued(tmp_path):
    """Its checkpoint holds the ledger itself, and says nothing of rollbacks."""
    run, whole, model = begin(tmp_path / "run"), begin(tmp_path / "whole"), circuit()
    train(circuit(), run=whole)
    with pytest.raises(TrainingStopped):
        train(model, poison=[OnStep(lambda done: interrupt() if done == 11 else None)], run=run)
    for step in run.checkpoints.steps():
        path = run.checkpoints.path(step) / "training.json"
        plain = json.loads(path.read_text())
        plain["rewirer"]["ledger"] = run.ledger()[: plain.pop("ledger")["lines"]]
        del plain["rollbacks"]
        path.write_text(json.dumps(plain))
    train(circuit(), run=RunFolder.open(run.path), resume=True)
    assert content(run) == content(whole)
