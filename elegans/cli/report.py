"""`elegans report`: stability report of a trained circuit as a page, JSON and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elegans.checkpoints.saving import load
from elegans.cli.commands import Report
from elegans.cli.demo import demonstrations
from elegans.cli.printing import print_files, print_table
from elegans.cli.table import hash_of
from elegans.data import Sequence
from elegans.errors import ElegansError, RunError
from elegans.layers.readout import circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.network import Box, given_range
from elegans.reporting.stability import report
from elegans.reporting.stability.page import check_extra
from elegans.reporting.stability.stimulus import Stimulus, random_walk
from elegans.training import RunData, RunFolder
from elegans.training.run_folder import INITIAL_WIRING, LEDGER

PAGE = "report.html"
CONTROL_STEP = "control step of 0.02 s"


def run(command: Report) -> None:
    """Examine the circuit, write page, JSON and pictures, and print the verdicts."""
    check_extra()
    model = circuit_of(load(command.run))
    folder = RunFolder.open(command.run) if (command.run / INITIAL_WIRING).exists() else None
    stimulus = _stimulus(command, folder, model)
    recorded = folder is not None and (folder.path / LEDGER).exists()
    stability = report(
        model,
        stimulus,
        level=command.level,
        ledger=folder.ledger() if folder is not None and recorded else None,
        title=command.run.resolve().name,
        seed=command.seed,
    )
    page = command.run / PAGE if command.out is None else command.out
    stability.save(page)
    stability.save_json(page.with_suffix(".json"))
    pictures = stability.save_figures(page.with_name(f"{page.stem}_figures"))
    print(stability.summary)
    print_table(
        {
            verdict.question: f"{verdict.headline} ({verdict.evidence})"
            for verdict in stability.verdicts
        }
    )
    names = [page.name, page.with_suffix(".json").name]
    print_files(page.parent, [*names, f"{pictures[0].parent.name}/ ({len(pictures)} pictures)"])


def _stimulus(command: Report, folder: RunFolder | None, model: SequenceLayer) -> Stimulus:
    """Return the data of the run, or a random walk in the range that was given."""
    reason = "a saved model has no data"
    if folder is not None:
        try:
            stimulus = _data_of(command, folder)
        except ElegansError as error:
            # A file that was asked for by name must not be replaced silently.
            if command.data is not None or command.inputs is None:
                raise
            reason = str(error)
        else:
            if command.inputs is None:
                return stimulus
            box = given_range(command.inputs, model.input_size)
            lo, hi = command.inputs
            asked = f"The range of the inputs is the one that was asked for, {lo:g} to {hi:g}."
            return replace(stimulus, range=box, source=f"{stimulus.source} {asked}")
    if command.inputs is None:
        raise RunError(
            f"{command.run}: got no range of inputs, expected --inputs LOWEST HIGHEST "
            f"since {reason}"
        )
    return random_walk(command.inputs, model.input_size, seed=command.seed)


def _data_of(command: Report, folder: RunFolder) -> Stimulus:
    """Return the scaled data of a run, if it says which and the file has not changed."""
    config = folder.config
    if config.get("command") == "demo" and command.data is None:
        return _episodes(config)
    data = config.get("data")
    if not isinstance(data, dict):
        raise RunError(
            f"{folder.path}: got a run that was not trained on columns of a file, expected one of "
            "'elegans train' or 'elegans demo'; pass --inputs LOWEST HIGHEST without --data"
        )
    path = Path(data["path"]) if command.data is None else command.data
    if not path.exists():
        raise RunError(
            f"{path}: got no such file, expected the data of the run; pass --data FILE, or "
            "--inputs LOWEST HIGHEST to do without"
        )
    own = RunData.read(folder.path, path)
    origin = (
        "The data that the run was trained on"
        if hash_of(path) == data.get("sha256")
        else "Other data than that of the run"
    )
    table, scales, reading = own.table, own.scales, own.reading
    steps = sum(len(sequence) for sequence in table)
    source = (
        f"{origin}, {path.name}: {len(table):,} sequence{'s' if len(table) > 1 else ''}, "
        f"{steps:,} steps, in the scaled units of training."
    )
    unit = "time unit"
    if reading.time is not None:
        of = reading.time_unit or f"({reading.time})"
        unit = f"time unit of {scales.elapsed:g} {of}"
    return _stimulus_of(scales.apply(table.sequences), source, unit)


def _episodes(config: dict[str, Any]) -> Stimulus:
    """Return the episodes of the demo, which its seed draws again."""
    settings, training = config["demo"], config["training"]
    task = demonstrations(settings["episodes"], training["seed"], training["window"])
    episodes = (*task.validation, *task.train)
    source = (
        f"The {len(episodes)} episodes of the expert that the demo learned from, drawn again "
        "from its seed, in the scaled units of training; the first that is shown was kept for "
        "validation."
    )
    return _stimulus_of(episodes, source, CONTROL_STEP)


def _stimulus_of(sequences: tuple[Sequence, ...], source: str, time_unit: str) -> Stimulus:
    inputs = np.concatenate([sequence.inputs for sequence in sequences])
    return Stimulus(
        tuple((sequence.inputs, sequence.elapsed) for sequence in sequences),
        Box(inputs.min(axis=0), inputs.max(axis=0)),
        source,
        time_unit=time_unit,
    )
