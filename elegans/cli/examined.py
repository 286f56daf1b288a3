"""What a run is examined under: its data, the error on them, and where everything is from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval

from elegans.checkpoints.saving import CONFIG, WEIGHTS
from elegans.cli.demo import demonstrations
from elegans.cli.scoring import task_scores
from elegans.cli.table import Files, files_of_run, hash_of, name_of
from elegans.data import Scales, Sequence, split_sequences
from elegans.data.kinds import per_second
from elegans.errors import DataError, RunError
from elegans.files import validated
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.network import Box
from elegans.reporting.stability.origin import HashedFile, Origin
from elegans.reporting.stability.stimulus import Stimulus
from elegans.reporting.stability.task import Task
from elegans.tasks.cartpole import MAX_STEPS
from elegans.training import RunData, RunFolder, baseline_answers, predict

CONTROL_STEP = 0.02
"""Seconds between two observations of the demo."""

Sequences = tuple[Sequence, ...]


@dataclass(frozen=True)
class _Demo:
    episodes: Annotated[int, Interval(ge=2, le=10_000)]
    seed: Annotated[int, Ge(0)]
    window: Annotated[int, Interval(ge=1, le=MAX_STEPS)]


@dataclass(frozen=True)
class ExaminedData:
    """Data of a run, in the user's units.

    Parameters
    ----------
    sequences
        All of them; those that are shown first come first.
    train, judged
        Those that simple predictions are fitted to, none where they are not known, and those that
        circuit and predictions are compared on, none without targets.
    part
        What the latter are, in words.
    scales
        To the units of the circuit.
    source
        Where they come from, in a sentence.
    time_unit, seconds
        Name of the circuit's unit of time, and how long it is, None where that is not known.
    names
        Of the targets.
    files
        Where they are, None for episodes that were drawn again.
    classes
        Whether the target is a class.
    window
        Steps of a training window, None where it is not recorded.
    horizon
        How many steps ahead the targets are.
    """

    sequences: Sequences
    train: Sequences
    judged: Sequences
    part: str
    scales: Scales
    source: str
    time_unit: str
    seconds: float | None
    names: tuple[str, ...]
    files: Files | None
    classes: bool
    window: int | None
    horizon: int = 0

    def stimulus(self, *, answers: bool) -> Stimulus:
        """Return the data as the circuit is given them; `answers` are read from its neurons."""
        scaled = self.scales.apply(self.sequences)
        inputs = np.concatenate([sequence.inputs for sequence in scaled])
        return Stimulus(
            tuple((sequence.inputs, sequence.elapsed) for sequence in scaled),
            Box(inputs.min(axis=0), inputs.max(axis=0)),
            self.source,
            time_unit=self.time_unit,
            seconds=self.seconds,
            scales=self.scales,
            answers=answers and not self.classes,
        )

    def task(self, model: SequenceLayer | Readout) -> Task | None:
        """Return the error of the model and of simple predictions, None without known targets."""
        if not any(one.is_known.any() for one in self.judged):
            return None
        answers = predict(model, self.judged, self.scales)
        simple = None
        if self.train and self.window is not None:
            simple = baseline_answers(self.train, self.judged, self.window, self.horizon)
        units = self.scales.targets.unit
        scores = task_scores(self.names, units, answers, self.judged, simple, classes=self.classes)
        return Task(self.part, scores)


def data_of_run(folder: RunFolder, other: Path | None) -> ExaminedData:
    """Return the data that a run was trained on, or those of an `other` file.

    Raises
    ------
    RunError
        The run was not trained on columns of a file, or the file is not there.
    DataError
        The file has other columns.
    """
    config = folder.config
    if config.get("command") == "demo" and other is None:
        return _episodes(folder)
    data = config.get("data")
    if not isinstance(data, dict):
        raise RunError(
            f"{folder.path}: got a run that was not trained on columns of a file, expected one of "
            "'elegans train' or 'elegans demo'; pass --inputs LOWEST HIGHEST without --data"
        )
    files = files_of_run(data.get("path", "")) if other is None else [other]
    for path in files:
        if not os.path.exists(path):
            raise RunError(
                f"{path}: got no such file, expected the data of the run; pass --data FILE, or "
                "--inputs LOWEST HIGHEST to do without"
            )
    own, name = RunData.read(folder.path, list(files)), name_of(files)
    table, scales, reading = own.table, own.scales, own.reading
    same, sequences = hash_of(files) == data.get("sha256"), table.sequences
    steps = sum(len(sequence) for sequence in table)
    origin = "The data that the run was trained on" if same else "Other data than that of the run"
    training = _dict_in(config, "training")
    train: Sequences = ()
    judged, part = sequences, f"all sequences of {name}"
    if same and "seed" in training and own.has_targets:
        split = split_sequences(table, training["seed"], classes=bool(table.classes))
        train, judged, part = split.train, split.test, "the test part of the data"
    unit, seconds = _unit_of_time(reading.time, reading.time_unit, scales.elapsed)
    return ExaminedData(
        sequences,
        train,
        judged if own.has_targets else (),
        part,
        scales,
        f"{origin}, {name}: {len(table):,} sequence{'s' if len(table) > 1 else ''}, "
        f"{steps:,} steps, in the scaled units of training.",
        unit,
        seconds,
        reading.target_names,
        files,
        bool(reading.classes),
        training.get("window"),
        reading.horizon,
    )


def _unit_of_time(column: str | None, unit: str | None, elapsed: float) -> tuple[str, float | None]:
    """Return name and seconds of the circuit's unit of time, from that of the file."""
    if column is None:
        return "step", None
    name = f"time unit of {elapsed:g} {unit or f'({column})'}"
    if unit is None:
        return name, None
    try:
        return name, elapsed / per_second(unit)
    except DataError:  # a unit that a later version has known
        return name, None


def _episodes(folder: RunFolder) -> ExaminedData:
    """Return the episodes of the demo, which its seed draws again."""
    config, remedy = folder.config, "pass --inputs LOWEST HIGHEST to do without its data"
    asked = _dict_in(config, "training") | _dict_in(config, "demo")
    demo = validated(asked, _Demo, str(folder.path / CONFIG), remedy)
    task = demonstrations(demo.episodes, demo.seed, demo.window)
    train, judged = (
        tuple(
            replace(
                one,
                inputs=task.scales.inputs.invert(one.inputs),
                targets=task.scales.targets.invert(one.targets),
                elapsed=one.elapsed * task.scales.elapsed,
            )
            for one in part
        )
        for part in (task.train, task.validation)
    )
    return ExaminedData(
        (*judged, *train),
        train,
        judged,
        "the validation episodes, as imitation of the expert",
        task.scales,
        f"The {len(train) + len(judged)} episodes of the expert that the demo learned from, drawn "
        "again from its seed, in the scaled units of training; the first that is shown was kept "
        "for validation.",
        f"control step of {CONTROL_STEP:g} s",
        CONTROL_STEP,
        ("force",),
        None,
        False,
        demo.window,
    )


def _dict_in(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of the settings, which are as their author liked; empty if it is no object."""
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def is_of_classes(config: dict[str, Any]) -> bool:
    """Return whether a run was trained to tell classes."""
    return bool(_dict_in(config, "data").get("classifies"))


def origin_of_run(run: Path, folder: RunFolder | None, data: Files | None, seed: int) -> Origin:
    """Return versions, seeds and hashes of a run, or of a saved model without a `folder`."""
    config = {} if folder is None else folder.config
    lines = [] if folder is None else folder.metrics()
    recorded = _dict_in(config, "data")
    files = [HashedFile("weights", WEIGHTS, hash_of([run / WEIGHTS]))]
    if data is not None:
        files.insert(0, HashedFile("data", name_of(data), hash_of(data), recorded.get("sha256")))
    elif "path" in recorded:
        name = name_of(files_of_run(recorded["path"]))
        files.insert(0, HashedFile("data", name, None, recorded.get("sha256")))
    return Origin.of(
        seed=seed,
        training_seed=_dict_in(config, "training").get("seed"),
        training_version=config.get("elegans"),
        rollbacks=lines[-1].get("rollbacks") if lines else None,
        files=files,
    )
