"""`elegans train`: training of a circuit on columns of a table."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from elegans.cli.building import build
from elegans.cli.certifying import CERTIFICATE, condition_within, save_certificate
from elegans.cli.commands import Train
from elegans.cli.printing import print_files, print_table, rollback_rows
from elegans.cli.scoring import score_rows
from elegans.cli.table import label_of, read_new, settings_of
from elegans.data import Scales, SequenceTable, Split, cut_windows, split_sequences
from elegans.data import Sequence as Recording
from elegans.errors import DataError, InputError, RunError
from elegans.layers.description import circuit_rows
from elegans.layers.readout import circuit_of
from elegans.reporting import draw_changes, draw_learning, save_figure
from elegans.training import RewireConfig, RunFolder, baseline_answers, check_training, fit, predict

PICTURES = ("learning.png", "wiring.png")
_MSE = "mean squared error (targets have variance 1)"
ERRORS = {
    "auto": _MSE,
    "mse": _MSE,
    "mae": "mean absolute error (targets have variance 1)",
    "huber": "Huber loss (targets have variance 1)",
    "cross_entropy": "cross-entropy",
}
"""What the loss is called."""


def run(command: Train) -> None:
    """Read, train, test, print a table, draw the pictures."""
    folder = RunFolder.open(command.output) if command.resume else RunFolder(command.output)
    with folder.locked():
        _run(command, folder)


def _run(command: Train, folder: RunFolder) -> None:
    config = command.training
    if not command.resume:
        folder.require_free()
    table = read_new(command.data, command.table, command.text)
    table.require_learnable()
    if config.loss == "auto" and table.classes:
        config = replace(config, loss="cross_entropy")
    if config.class_weights == "balanced" and not table.classes:
        raise InputError(
            "got class_weights 'balanced' for numbers, expected it with classes; leave it out, or "
            "choose the --task"
        )
    if (config.loss == "cross_entropy") != bool(table.classes):
        raise InputError(
            f"got the loss {config.loss!r} for {'classes' if table.classes else 'numbers'}, "
            "expected 'cross_entropy' for classes and another for numbers; leave it out, or choose "
            "the --task"
        )
    if command.wiring == "full" and config.rewire.keep == 1:  # there is no place to grow at
        config = replace(config, rewire=RewireConfig(enabled=False))
    split = split_sequences(table, config.seed, classes=bool(table.classes))
    _require_known(table, split)
    names = table.input_names, table.target_names
    begun = folder if command.resume else None
    model, used = build(command, table, begun)
    scales = used or Scales.fit(split.train, *names, classes=bool(table.classes))
    # Whatever is wrong with data or settings must show before the first file is written.
    windows = cut_windows(scales.apply(split.train), config.window, config.training_stride)
    validation = cut_windows(scales.apply(split.validation), config.window)
    check_training(model, windows, validation, config)
    condition = None
    if command.certify:
        seen = np.concatenate([one.inputs for one in table])
        condition = condition_within(circuit_of(model), scales, seen.min(axis=0), seen.max(axis=0))
    settings = _settings(command, table, begun)
    if command.resume:
        _require_same_data(folder, settings)
        folder.require_same(model, settings, scales)
    else:
        folder = RunFolder.create(command.output, model, settings, scales)

    for note in table.reading.notes:
        print(f"note: {note}")
    print(
        f"{label_of(command.data)}: {len(table)} sequences, {len(windows)} training windows of "
        f"{config.window} steps\n{model.wiring}"
    )
    result = fit(
        model,
        windows,
        validation,
        config,
        run=folder,
        resume=command.resume,
        progress=not command.quiet,
        condition=condition,
    )
    learning, wiring = (folder.path / name for name in PICTURES)
    ledger = [edit.to_dict() for edit in result.ledger]
    error = ERRORS[config.loss]
    save_figure(draw_learning(result.metrics, ledger, error=error), learning)
    save_figure(draw_changes(circuit_of(model), folder.initial_wiring), wiring)
    rows = circuit_rows(circuit_of(model)) | {
        "training": f"{result.steps} steps in {result.seconds:.0f} s",
        "validation": f"{ERRORS[config.loss]} {result.best_loss:.4g}, at step {result.best_step}",
        "rewired": f"{sum(edit.grown is not None for edit in result.ledger)} synapses",
    }
    rows |= rollback_rows(result)
    answers = predict(model, split.test, scales)
    horizon = table.reading.horizon
    simple = baseline_answers(split.train, split.test, config.window, horizon)
    rows |= score_rows(table.reading, scales, answers, split.test, simple)
    if condition is not None:
        reading = table.reading
        unit = "step" if reading.time is None else reading.time_unit or f"unit of {reading.time}"
        rows["contraction"] = save_certificate(folder, condition, scales.elapsed, unit)
    print_table(rows)
    print_files(folder.path, PICTURES if condition is None else (*PICTURES, CERTIFICATE))


def _require_known(table: SequenceTable, split: Split[tuple[Recording, ...]]) -> None:
    """Raise `DataError` if a part has no known target, or training lacks a class."""
    for name, part in split._asdict().items():
        if not any(one.is_known.any() for one in part):
            raise DataError(
                f"{table.source}: got no step of the {name} part with a known target, expected "
                "some; take another --seed, a shorter --horizon, or more data"
            )
    train = split.train
    seen = np.nansum(np.concatenate([one.targets for one in train]), axis=0)
    for name, count in zip(table.classes, seen, strict=False):
        if not count:
            raise DataError(
                f"{table.source}: got class {name!r} in none of the {len(train)} sequences for "
                "training, expected some of each; record more of it, take another --seed, or name "
                "a --sequence column if the file is several recordings"
            )


def _settings(command: Train, table: SequenceTable, begun: RunFolder | None) -> dict[str, Any]:
    wiring: dict[str, Any] = {
        "recipe": command.wiring,
        "units": command.units,
        "output_size": table.output_size,
        "sparsity_level": command.sparsity,
        "seed": command.training.seed,
    }
    if command.wiring_options:
        wiring["options"] = command.wiring_options
    settings: dict[str, Any] = {
        "command": "train",
        "data": settings_of(command.data, table, command.text),
        "wiring": wiring,
        "training": asdict(command.training),
        "certify": command.certify,
    }
    if begun is not None and begun.config.get("warm_start") is not None:
        # Everything is in the run itself: where it was begun from may have gone.
        settings |= {name: begun.config[name] for name in ("warm_start", "wiring")}
    elif command.warm_start is not None:
        settings["warm_start"] = str(command.warm_start)
    return settings


def _require_same_data(folder: RunFolder, settings: dict[str, Any]) -> None:
    """Raise `RunError` if the file has changed, and otherwise let it lie anywhere."""
    recorded = folder.config.get("data")
    if not isinstance(recorded, dict):
        raise RunError(
            f"{folder.path}: got a run without data of its own, expected one of 'elegans train'; "
            "choose another folder"
        )
    if recorded.get("sha256") != settings["data"]["sha256"]:
        raise RunError(
            f"{folder.path}: got {settings['data']['path']} with other content than "
            f"{recorded.get('path')} had when the run was begun, expected the same; restore "
            "the file, or choose another folder"
        )
    settings["data"]["path"] = recorded.get("path")
