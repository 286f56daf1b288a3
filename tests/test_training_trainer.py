"""The training loop: exact continuation, the best weights, and what stops it."""

import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from interrupting import interrupt

from elegans import CTRNN, LTC, Readout
from elegans.data import Sequence, cut_windows
from elegans.errors import DataError, InputError, PruningError, RunError, SolveError
from elegans.pruning.amount.thresholds import Absolute, CosineFraction, Relative
from elegans.training import (
    Callback,
    CsvLog,
    OnStep,
    RewireConfig,
    RunFolder,
    TensorBoard,
    TrainingConfig,
    TrainingStopped,
    fit,
    load_model,
)
from elegans.training.rewiring import rewirer_settings
from elegans.training.trainer import STOPS
from elegans.wiring import AutoNCP

CONFIG = TrainingConfig(
    steps=24,
    batch_size=8,
    window=8,
    evaluate_every=5,
    checkpoint_every=7,
    rewire=RewireConfig(threshold="cosine", value=0.3, every=3, until=0.8),
)


def waves(count, seed):
    rng = np.random.default_rng(seed)
    time = np.arange(40)
    shifts = rng.uniform(0, 6, count)
    return [
        Sequence(
            str(i),
            np.stack([np.sin(time / 4 + shift), np.cos(time / 4 + shift)], 1),
            np.sin(time / 4 + shift - 0.5)[:, None],
            np.ones(40),
        )
        for i, shift in enumerate(shifts)
    ]


TRAIN, VALIDATION = (cut_windows(waves(n, seed), CONFIG.window) for n, seed in ((6, 0), (2, 1)))


def circuit(**options):
    generator = torch.Generator().manual_seed(0)
    return LTC(2, AutoNCP(12, 1, seed=0), ode_unfolds=2, generator=generator, **options)


def begin(path, model=None, config=CONFIG):
    return RunFolder.create(path, circuit() if model is None else model, {"training": "test"})


def stop_at(step):
    def watch(done):
        if done == step:
            interrupt()

    return watch


def state_of(run):
    checkpoint = run.checkpoints.load()
    return {
        f"{part}/{name}": tensor
        for part in ("model", "best", "optimizer")
        for name, tensor in getattr(checkpoint, part).items()
    }, replace(checkpoint.progress, seconds=0.0)


def without_time(metrics):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in metrics]


@pytest.mark.parametrize("stops", [(1,), (11,), (7, 8), (3, 12, 23), (24,)])
@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_continuing_ends_bit_for_bit_where_it_would_have(tmp_path, stops, growth):
    config = replace(CONFIG, rewire=replace(CONFIG.rewire, growth=growth))
    whole = begin(tmp_path / "whole")
    model = circuit()
    result = fit(model, TRAIN, VALIDATION, config, run=whole, progress=False)
    assert any(edit.grown is not None for edit in result.ledger)

    parts = begin(tmp_path / "parts")
    for count, stop in enumerate(stops):
        with pytest.raises(TrainingStopped, match=f"stopped at step {stop} of 24.*--resume"):
            fit(
                circuit(),
                TRAIN,
                VALIDATION,
                config,
                run=parts,
                resume=count > 0,
                progress=False,
                callbacks=[OnStep(stop_at(stop))],
            )
    continued = circuit()
    again = fit(continued, TRAIN, VALIDATION, config, run=parts, resume=True, progress=False)

    tensors, plain = state_of(whole)
    tensors_again, plain_again = state_of(parts)
    assert tensors.keys() == tensors_again.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, tensors_again[name]), name
    assert plain == plain_again
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[name]), name
    assert result.metrics == again.metrics == without_time(parts.metrics())
    assert result.ledger == again.ledger
    assert whole.ledger() == parts.ledger()
    assert (result.best_step, result.best_loss) == (again.best_step, again.best_loss)
    assert (tmp_path / "whole/wiring.json").read_text() == (
        tmp_path / "parts/wiring.json"
    ).read_text()


def test_a_crash_continues_from_the_last_checkpoint(tmp_path):
    whole, crashed = begin(tmp_path / "whole"), begin(tmp_path / "crashed")
    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=whole, progress=False)

    def crash(done):
        if done == 17:
            raise OSError("power failure")

    with pytest.raises(OSError, match="power failure"):
        fit(
            circuit(),
            TRAIN,
            VALIDATION,
            CONFIG,
            run=crashed,
            progress=False,
            callbacks=[OnStep(crash)],
        )
    assert crashed.checkpoints.steps() == [7, 14]
    assert crashed.metrics()[-1]["step"] == 15
    with (tmp_path / "crashed/metrics.jsonl").open("a") as file:
        file.write('{"step": 16, "train_')  # the line that was being written
    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=crashed, resume=True, progress=False)
    assert without_time(crashed.metrics()) == without_time(whole.metrics())
    for name, tensor in state_of(whole)[0].items():
        assert torch.equal(tensor, state_of(crashed)[0][name]), name


def test_a_crash_before_the_first_checkpoint_begins_again(tmp_path):
    run = begin(tmp_path)

    def crash(done):
        raise OSError("power failure")

    with pytest.raises(OSError, match="power failure"):
        fit(
            circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(crash)]
        )
    result = fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)
    assert result.steps == 24
    assert [line["step"] for line in run.metrics()] == [0, 5, 10, 15, 20, 24]


@pytest.fixture
def foreground():
    """Have Python's own handler of Ctrl-C: a shell lets what it starts behind ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_second_interrupt_stops_at_once_and_keeps_the_checkpoint(tmp_path):
    run = begin(tmp_path)

    def watch(done):
        if done == 9:
            interrupt()
            interrupt()

    with pytest.raises(KeyboardInterrupt) as stop:
        fit(
            circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(watch)]
        )
    assert not isinstance(stop.value, TrainingStopped)
    assert run.checkpoints.steps() == [7]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def usual_signals(foreground):
    """Have the handlers that a program begins with."""
    numbers = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_saves_and_is_told(tmp_path, name):
    run, number = begin(tmp_path), getattr(signal, name)
    handlers = [signal.getsignal(one) for one in STOPS]

    def watch(done):
        if done == 9:
            interrupt(number)

    with pytest.raises(TrainingStopped, match="stopped at step 9 of 24") as stop:
        fit(
            circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(watch)]
        )
    assert stop.value.signal == number
    assert run.checkpoints.steps() == [7, 9]
    assert [signal.getsignal(one) for one in STOPS] == handlers
    assert not (tmp_path / "training.lock").exists()


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("moment", [1, 9])
def test_a_second_signal_of_another_kind_stops_at_once(tmp_path, moment):
    run = begin(tmp_path)

    def watch(done):
        if done == moment:
            interrupt(signal.SIGTERM)
            interrupt(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        fit(
            circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(watch)]
        )
    assert not isinstance(stop.value, TrainingStopped)
    assert run.checkpoints.steps() == ([7] if moment == 9 else [])


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_closes_says_so_twice(tmp_path, first):
    run = begin(tmp_path)

    def watch(done):
        if done == 9:
            interrupt(first)
            signal.raise_signal(signal.SIGHUP)

    with pytest.raises(TrainingStopped) as stop:
        fit(
            circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(watch)]
        )
    assert stop.value.signal == first
    assert run.checkpoints.steps() == [7, 9]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.usefixtures("usual_signals")
def test_what_nohup_has_started_goes_on(tmp_path):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = begin(tmp_path)
    watch = OnStep(lambda done: signal.raise_signal(signal.SIGHUP))
    result = fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[watch])
    assert result.steps == 24
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.usefixtures("usual_signals")
def test_before_the_first_step_a_signal_need_not_wait(tmp_path):
    """The first evaluation may compile kernels, and there is nothing to save yet."""
    heard = []

    class Early(Callback):
        def on_evaluation(self, record):
            heard.append(record["step"])
            signal.raise_signal(signal.SIGTERM)
            heard.append("later")

    run = begin(tmp_path)
    with pytest.raises(TrainingStopped, match="stopped at step 0 of 24"):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[Early()])
    assert heard == [0]
    result = fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)
    assert result.steps == 24


def test_two_trainings_in_one_folder(tmp_path):
    run, refused = begin(tmp_path), []

    def second():
        try:
            fit(circuit(), TRAIN, VALIDATION, CONFIG, run=RunFolder(tmp_path), resume=True,
                progress=False)  # fmt: skip
        except RunError as error:
            refused.append(str(error))

    def watch(done):
        if done == 9:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(watch)])
    assert len(refused) == 1
    assert f"process {os.getpid()} on" in refused[0]
    assert [line["step"] for line in run.metrics()] == [0, 5, 10, 15, 20, 24]


def test_the_best_weights_are_kept_and_loaded(tmp_path):
    run, model = begin(tmp_path), circuit()
    result = fit(model, TRAIN, VALIDATION, CONFIG, run=run, progress=False)
    losses = {line["step"]: line["validation_loss"] for line in result.metrics}
    assert result.best_loss == min(losses.values()) == losses[result.best_step]
    assert result.best_loss < losses[0]
    loaded = load_model(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert loaded.wiring == model.wiring
    x, y = torch.from_numpy(VALIDATION.inputs), torch.from_numpy(VALIDATION.targets)
    assert float((loaded(x)[0].detach() - y).square().mean()) == pytest.approx(
        result.best_loss, rel=1e-6
    )


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = fit(circuit(), TRAIN, VALIDATION, CONFIG, progress=False)
    assert result.steps == 24
    assert os.listdir(tmp_path) == []


def test_rewiring_can_be_left_out():
    config = replace(CONFIG, rewire=RewireConfig(enabled=False))
    model = circuit()
    before = model.wiring
    assert fit(model, TRAIN, VALIDATION, config, progress=False).ledger == []
    assert model.wiring == before


def test_clipped_parameters_stay_in_range():
    model = circuit(implicit_param_constraints=False)
    fit(model, TRAIN, VALIDATION, replace(CONFIG, learning_rate=0.5), progress=False)
    assert model.cell.recurrent.weight.min() >= 0


def test_divergence_is_named_and_the_checkpoint_stays(tmp_path):
    run, model = begin(tmp_path), circuit()

    def poison(done):
        if done == 10:
            with torch.no_grad():
                model.cell.output_mapping.weight.fill_(float("inf"))

    with pytest.raises(SolveError, match=r"diverged at step 10: the loss is .*step 7 in .*stays"):
        fit(model, TRAIN, VALIDATION, CONFIG, run=run, progress=False, callbacks=[OnStep(poison)])
    assert run.checkpoints.steps() == [7]
    tensors, _ = state_of(run)
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_a_trained_run_is_not_trained_over(tmp_path):
    run = begin(tmp_path)
    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"was trained already.*resume"):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_windows_of_another_size():
    with pytest.raises(DataError, match="windows of 2 inputs and 1 outputs, expected 3 and 1"):
        fit(LTC(3, AutoNCP(12, 1)), TRAIN, VALIDATION, CONFIG, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "got steps = 0, expected at least 1"),
        ({"stride": 0}, "got stride = 0"),
        ({"seed": -1}, "got seed = -1"),
        ({"learning_rate": 0.0}, "got learning_rate = 0.0"),
        ({"clip_norm": float("nan")}, "got clip_norm = nan"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every": 0}, "rewire.every = 0"),
        ({"until": 0.0}, "rewire.until = 0.0"),
        ({"value": -1.0, "threshold": "absolute"}, "expected a finite number .* 'absolute'"),
        ({"value": -1.0}, "value = -1.0, expected a finite number"),
        ({"value": 1.5, "threshold": "relative"}, "for the threshold 'relative'"),
        ({"keep": 0.5, "enabled": False}, "below 1 only where the circuit rewires itself"),
        ({"keep": 0.0, "rule": "gradual"}, "got rewire.keep = 0.0"),
    ],
)
def test_settings_of_rewiring_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(rewire=RewireConfig(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "best"}, r"unknown rule 'best', expected one of \('published', "),
        ({"value": 1.5}, "the initial fraction must be from 0 to 1, got 1.5"),
        ({"keep": 0.5}, "'free' keeps the number of synapses"),
        ({"rule": "gradual"}, "'gradual' thins a circuit"),
    ],
)
def test_rules_of_rewiring_are_checked_with_the_settings(change, message):
    with pytest.raises(PruningError, match=message):
        TrainingConfig(rewire=RewireConfig(**change))


@pytest.mark.parametrize(
    ("change", "threshold", "every", "until"),
    [
        ({}, CosineFraction(0.3, 60), 2, 60),
        ({"every": 7}, CosineFraction(0.3, 60), 7, 60),
        ({"until": 0.9}, CosineFraction(0.3, 90), 2, 90),
        ({"until": 0.01, "every": 9}, CosineFraction(0.3, 9), 9, 9),
        ({"value": 0.1}, CosineFraction(0.1, 60), 2, 60),
        ({"every": 80}, CosineFraction(0.3, 80), 80, 80),
        ({"rule": "published", "value": 0.02}, Absolute(0.02), 50, None),
        (
            {"rule": "published", "value": 0.02, "threshold": "cosine"},
            CosineFraction(0.02, 100),
            50,
            None,
        ),
        ({"threshold": "cosine"}, CosineFraction(0.3, 60), 2, 60),
        ({"threshold": "relative"}, Relative(0.2), 2, 60),
        ({"threshold": "absolute", "value": 3.0}, Absolute(3.0), 2, 60),
        ({"rule": "published"}, 1e-2, 50, None),
        ({"rule": "published", "until": 0.5}, 1e-2, 50, 50),
        ({"rule": "rigl"}, CosineFraction(0.3, 75), 2, 75),
    ],
)
def test_what_is_given_replaces_settings_of_the_rule(change, threshold, every, until):
    config = TrainingConfig(steps=100, rewire=RewireConfig(**change))
    settings = rewirer_settings(config)
    assert (settings["threshold"], settings["every"]) == (threshold, every)
    assert settings.get("until") == until


@pytest.mark.parametrize("rule", ["free", "soft_rigl", "development", "active_development"])
def test_a_rule_of_rewiring_trains_and_goes_on_and_is_loaded_again(tmp_path, rule):
    keep = 0.8 if "development" in rule else 1.0
    config = replace(CONFIG, rewire=RewireConfig(rule=rule, keep=keep))
    model = circuit()
    before = model.synapse_count + model.sensory_synapse_count
    whole = fit(model, TRAIN, VALIDATION, config, progress=False)
    after = model.synapse_count + model.sensory_synapse_count
    assert after == (round(keep * before) if keep < 1 else before)
    assert any(edit.outcome == "rewired" for edit in whole.ledger)
    if keep < 1:
        thinned = max(edit.step for edit in whole.ledger if edit.outcome == "pruned")
        assert whole.best_step >= thinned
    run, quiet = begin(tmp_path), {"progress": False}
    with pytest.raises(TrainingStopped):
        fit(circuit(), TRAIN, VALIDATION, config, run=run, callbacks=[OnStep(stop_at(11))], **quiet)
    resumed = circuit()
    again = fit(resumed, TRAIN, VALIDATION, config, run=run, resume=True, **quiet)
    assert again.ledger == whole.ledger
    for name, value in model.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    loaded = load_model(run.path)
    assert loaded.wiring == model.wiring
    x = torch.randn(2, 8, 2)
    assert torch.equal(loaded(x)[0], model(x)[0])


def test_learning_rate_falls_in_the_second_half():
    config = TrainingConfig(steps=100, learning_rate=1.0)
    rates = [config.learning_rate_at(step) for step in range(101)]
    assert rates[:51] == [1.0] * 51
    assert rates[100] == pytest.approx(0.02)
    assert (np.diff(rates[50:]) < 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"best_step": None},
        {"loss_sum": "much"},
        {"losses": [1]},
        {"seconds": None},
        {"rewirer": {"steps": 1}},
        "best_loss",
    ],
    ids=str,
)
def test_a_checkpoint_of_other_values_is_refused(tmp_path, change):
    run = begin(tmp_path)
    with pytest.raises(TrainingStopped):
        fit(
            circuit(),
            TRAIN,
            VALIDATION,
            CONFIG,
            run=run,
            progress=False,
            callbacks=[OnStep(stop_at(9))],
        )
    file = max(tmp_path.glob("checkpoint-*")) / "training.json"
    plain = json.loads(file.read_text())
    if isinstance(change, str):
        del plain[change]
    else:
        plain |= change
    file.write_text(json.dumps(plain))
    with pytest.raises(RunError, match=r"(?s)got .* delete (this|the) folder"):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "empty", "longer"])
def test_the_ledger_is_what_the_checkpoint_counts_on(tmp_path, damage):
    run = begin(tmp_path)
    with pytest.raises(TrainingStopped):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False,
            callbacks=[OnStep(stop_at(11))])  # fmt: skip
    path, before = tmp_path / "ledger.jsonl", run.ledger()
    assert before
    assert "outcome" not in (run.checkpoints.path(11) / "training.json").read_text()
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        changed = {"cut": content[:-9], "changed": content.replace(b"rewired", b"rewound", 1),
                   "empty": b"", "longer": content + content[:50]}  # fmt: skip
        path.write_bytes(changed[damage])
    if damage == "longer":  # written for a checkpoint that was never complete
        result = fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)
        assert run.ledger() == [edit.to_dict() for edit in result.ledger]
        assert run.ledger()[: len(before)] == before
        return
    damaged = path.read_bytes() if path.exists() else None
    message = rf"ledger\.jsonl: got a ledger that is cut off .* the {len(before)} edits in"
    with pytest.raises(RunError, match=message):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)
    assert (path.read_bytes() if path.exists() else None) == damaged
    path.write_bytes(content)
    assert (
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False).steps == 24
    )


@pytest.mark.parametrize("part", ["best", "training"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path, part):
    run = begin(tmp_path)
    with pytest.raises(TrainingStopped):
        fit(
            circuit(),
            TRAIN,
            VALIDATION,
            CONFIG,
            run=run,
            progress=False,
            callbacks=[OnStep(stop_at(9))],
        )
    file = max(tmp_path.glob("checkpoint-*")) / f"{part}.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    tensors.pop(sorted(tensors)[0])
    file.write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(RunError, match=r"(?s)got .* delete (this|the) folder"):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False)


def test_metrics_that_are_not_text_are_cut_off(tmp_path):
    run = begin(tmp_path)
    with pytest.raises(TrainingStopped):
        fit(
            circuit(),
            TRAIN,
            VALIDATION,
            CONFIG,
            run=run,
            progress=False,
            callbacks=[OnStep(stop_at(9))],
        )
    whole = run.metrics()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n{"step": null}\n')
    assert run.metrics() == whole


def test_patience_ends_a_training_that_gets_no_better(tmp_path):
    config = replace(CONFIG, steps=400, evaluate_every=5, patience=2, learning_rate=1e-12)
    run = begin(tmp_path / "run", config=config)
    model = circuit()
    result = fit(model, TRAIN, VALIDATION, config, run=run, progress=False)
    evaluated = [line["step"] for line in result.metrics]
    assert result.steps == evaluated[-1] < 400
    assert result.steps // 5 - result.best_step // 5 == 2
    again = circuit()
    continued = fit(again, TRAIN, VALIDATION, config, run=run, resume=True, progress=False)
    assert continued.steps == result.steps
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    patient = replace(config, patience=10**6, steps=30)
    assert fit(circuit(), TRAIN, VALIDATION, patient, progress=False).steps == 30
    with pytest.raises(InputError, match="got patience = 0, expected at least 1"):
        replace(config, patience=0)


def test_callbacks_hear_of_everything_in_order(tmp_path):
    heard = []

    class Listener(Callback):
        def on_step(self, step):
            heard.append(step)

        def on_evaluation(self, record):
            heard.append(("evaluated", record["step"]))
            record["step"] = None  # a copy: nobody else hears of it

        def on_end(self, result):
            heard.append(("ended", result.steps))

    config = replace(CONFIG, steps=6, evaluate_every=4)
    result = fit(circuit(), TRAIN, VALIDATION, config, callbacks=[Listener()], progress=False)
    evaluated = [("evaluated", k) for k in (0, 4, 6)]
    assert heard == [
        evaluated[0], 1, 2, 3, 4, evaluated[1], 5, 6, evaluated[2], ("ended", 6),
    ]  # fmt: skip
    assert [line["step"] for line in result.metrics] == [0, 4, 6]


def test_a_csv_log_goes_on_where_training_does(tmp_path):
    path, run = tmp_path / "logs" / "log.csv", begin(tmp_path / "run")
    log = CsvLog(path)
    with pytest.raises(TrainingStopped):
        fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False,
            callbacks=[log, OnStep(stop_at(9))])  # fmt: skip
    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, resume=True, progress=False,
        callbacks=[log])  # fmt: skip
    table = pd.read_csv(path)
    assert table["step"].tolist() == [0, 5, 10, 15, 20, 24]
    assert list(table) == [
        "step", "train_loss", "validation_loss", "learning_rate", "rewired", "rollbacks",
    ]  # fmt: skip
    losses = [line["validation_loss"] for line in run.metrics()]
    np.testing.assert_allclose(table["validation_loss"], losses)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        CsvLog(tmp_path / "folder").on_evaluation({"step": 0})


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path / "events")
    result = fit(circuit(), TRAIN, VALIDATION, CONFIG, progress=False, callbacks=[board])
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    written = {event.step: event.value for event in events.Scalars("validation_loss")}
    expected = {line["step"]: line["validation_loss"] for line in result.metrics}
    assert written.keys() == expected.keys()
    np.testing.assert_allclose([*written.values()], [*expected.values()], rtol=1e-6)
    (best,) = events.Scalars("best_validation_loss")
    assert (best.step, best.value) == (result.best_step, pytest.approx(result.best_loss))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_continuing_with_any_optimizer_ends_alike(tmp_path, optimizer, accumulate):
    config = replace(
        CONFIG, optimizer=optimizer, accumulate=accumulate, weight_decay=1e-3, schedule="linear"
    )
    whole, parts = begin(tmp_path / "whole"), begin(tmp_path / "parts")
    fit(circuit(), TRAIN, VALIDATION, config, run=whole, progress=False)
    watch = OnStep(stop_at(11))
    with pytest.raises(TrainingStopped):
        fit(circuit(), TRAIN, VALIDATION, config, run=parts, progress=False, callbacks=[watch])
    fit(circuit(), TRAIN, VALIDATION, config, run=parts, resume=True, progress=False)
    (a, plain), (b, other) = state_of(whole), state_of(parts)
    assert plain == other
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def test_optimizers_differ_and_decay_acts():
    ends = {}
    for optimizer in ("adam", "adamw", "sgd", "rmsprop"):
        for decay in (0.0, 0.5):
            model = circuit()
            config = replace(CONFIG, steps=3, optimizer=optimizer, weight_decay=decay)

            def keep(step, model=model, key=(optimizer, decay)):
                ends[key] = torch.cat([p.detach().flatten() for p in model.parameters()])

            fit(model, TRAIN, VALIDATION, config, progress=False, callbacks=[OnStep(keep)])
    assert torch.equal(ends["adam", 0.0], ends.pop(("adamw", 0.0)))  # they differ in decay only
    values = list(ends.values())
    for k, one in enumerate(values):
        assert not any(torch.equal(one, other) for other in values[k + 1 :])


@pytest.mark.parametrize(("size", "accumulate"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_accumulated_batches_are_one_large_batch(size, accumulate):
    still = RewireConfig(enabled=False)
    settings = {"steps": 6, "optimizer": "sgd", "rewire": still, "evaluate_every": 3}
    rows = replace(TRAIN, **{k: v[:24] for k, v in vars(TRAIN).items()})
    whole, parts = circuit(dtype=torch.float64), circuit(dtype=torch.float64)
    one = fit(whole, rows, VALIDATION, replace(CONFIG, batch_size=8, **settings), progress=False)
    config = replace(CONFIG, batch_size=size, accumulate=accumulate, **settings)
    other = fit(parts, rows, VALIDATION, config, progress=False)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    losses = [[line["train_loss"] for line in result.metrics[1:]] for result in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.parametrize("rule", ["free", "development"])
@pytest.mark.parametrize("stop", [None, 10])
def test_a_run_is_extended(tmp_path, stop, rule):
    """Rewiring ends where it would have; the learning rate is that of the new length."""
    rewire = RewireConfig(rule=rule, keep=0.7 if rule == "development" else 1.0)
    config = replace(CONFIG, rewire=rewire)
    run = begin(tmp_path)
    if stop is None:
        fit(circuit(), TRAIN, VALIDATION, config, run=run, progress=False)
    else:
        watch = OnStep(stop_at(stop))
        with pytest.raises(TrainingStopped):
            fit(circuit(), TRAIN, VALIDATION, config, run=run, progress=False, callbacks=[watch])
    longer = replace(config, steps=60)
    result = fit(circuit(), TRAIN, VALIDATION, longer, run=run, resume=True, progress=False)
    assert result.steps == 60
    grown = [edit.step for edit in result.ledger if edit.grown is not None]
    assert grown
    assert max(grown) <= 0.6 * 24
    rates = {line["step"]: line["learning_rate"] for line in result.metrics}
    assert rates[30] == longer.learning_rate_at(29)
    assert sorted(rates) == sorted({*range(0, 61, 5)} | ({24} if stop is None else set()))
    again = fit(circuit(), TRAIN, VALIDATION, longer, run=run, resume=True, progress=False)
    assert without_time(again.metrics) == without_time(result.metrics)
    with pytest.raises(RunError, match="got 24 steps for a run that has done 60"):
        fit(circuit(), TRAIN, VALIDATION, config, run=run, resume=True, progress=False)


def test_schedules():
    at = {
        schedule: [
            round(
                TrainingConfig(steps=100, learning_rate=1, schedule=schedule).learning_rate_at(k), 3
            )
            for k in (0, 25, 50, 75, 99)
        ]
        for schedule in ("cosine", "linear", "constant")
    }
    assert at == {
        "cosine": [1, 1, 1, 0.51, 0.021],
        "linear": [1, 0.755, 0.51, 0.265, 0.03],
        "constant": [1, 1, 1, 1, 1],
    }


MODELS = {
    "readout of CTRNN": lambda: Readout(CTRNN(2, AutoNCP(12, 1, seed=0)), 1),
    "readout with memory": lambda: Readout(circuit(mixed_memory=True), 1),
    "frozen leak": lambda: frozen(circuit()),
}


def frozen(model):
    model.cell.vleak.requires_grad_(False)
    return model


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_parameters_without_gradients_are_continued(tmp_path, make, optimizer):
    torch.manual_seed(0)
    initial = make().state_dict()

    def model():
        made = make()
        made.load_state_dict(initial)
        return made

    config = replace(CONFIG, optimizer=optimizer, rewire=RewireConfig(enabled=False))
    whole, parts = begin(tmp_path / "whole", model()), begin(tmp_path / "parts", model())
    fit(model(), TRAIN, VALIDATION, config, run=whole, progress=False)
    watch = OnStep(stop_at(11))
    with pytest.raises(TrainingStopped):
        fit(model(), TRAIN, VALIDATION, config, run=parts, progress=False, callbacks=[watch])
    fit(model(), TRAIN, VALIDATION, config, run=parts, resume=True, progress=False)
    (a, _), (b, _) = state_of(whole), state_of(parts)
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_an_extended_run_is_patient_anew(tmp_path):
    config = replace(CONFIG, steps=200, patience=1, learning_rate=0.5)
    run = begin(tmp_path)
    stopped = fit(circuit(), TRAIN, VALIDATION, config, run=run, progress=False).steps
    assert stopped < 100
    longer = replace(config, steps=400)
    again = fit(circuit(), TRAIN, VALIDATION, longer, run=run, resume=True, progress=False)
    assert stopped < again.steps < 400
    last = fit(circuit(), TRAIN, VALIDATION, longer, run=run, resume=True, progress=False)
    assert last.steps == again.steps


def test_a_checkpoint_that_does_not_say_for_how_long_rewiring_was_laid_out(tmp_path):
    run = RunFolder.create(tmp_path, circuit(), {"training": {"steps": 24}})
    fit(circuit(), TRAIN, VALIDATION, CONFIG, run=run, progress=False)
    for step in run.checkpoints.steps():
        path = run.checkpoints.path(step) / "training.json"
        plain = json.loads(path.read_text())
        for name in ("rewiring_steps", "steps", "patient_from"):
            del plain[name]
        path.write_text(json.dumps(plain))
    longer = replace(CONFIG, steps=40)
    other = LTC(2, AutoNCP(10, 1, seed=0), ode_unfolds=2)
    with pytest.raises(RunError, match="same circuit and settings; repeat the command"):
        fit(other, TRAIN, VALIDATION, longer, run=run, resume=True, progress=False)
    assert run.steps == 24
    assert (
        fit(circuit(), TRAIN, VALIDATION, longer, run=run, resume=True, progress=False).steps == 40
    )
    assert run.steps == 40
