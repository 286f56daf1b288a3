"""`elegans train`: training of a circuit on columns of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from elegans.cli.certifying import CERTIFICATE, condition_within, save_certificate
from elegans.cli.commands import Train
from elegans.cli.printing import error_text, print_files, print_table
from elegans.data import Scales, SequenceTable, cut_windows, read_table, split_sequences
from elegans.errors import RunError
from elegans.layers.description import circuit_rows
from elegans.ltc.layer import LTC
from elegans.reporting import draw_changes, draw_learning, save_figure
from elegans.training import RunFolder, baseline_errors, check_training, fit, squared_errors
from elegans.wiring import AutoNCP, Recipe, Wiring

PICTURES = ("learning.png", "wiring.png")


def run(command: Train) -> None:
    """Read, train, test, print a table, draw the pictures."""
    config = command.training
    folder = RunFolder.open(command.output) if command.resume else RunFolder(command.output)
    if not command.resume:
        folder.require_free()
    table = read_table(
        command.data, command.inputs, command.targets, time=command.time, sequence=command.sequence
    )
    split = split_sequences(table, config.seed)
    scales = Scales.fit(split.train, table.input_names, table.target_names)
    # Whatever is wrong with data or settings must show before the first file is written.
    windows = cut_windows(scales.apply(split.train), config.window, config.training_stride)
    validation = cut_windows(scales.apply(split.validation), config.window)
    model = untrained(command, table)
    check_training(model, windows, validation, config)
    condition = None
    if command.certify:
        seen = np.concatenate([one.inputs for one in table])
        condition = condition_within(model, scales, seen.min(axis=0), seen.max(axis=0))
    settings = _settings(command, table)
    if command.resume:
        _require_same_data(folder, settings)
        folder.require_same(model, settings)
    else:
        folder = RunFolder.create(command.output, model, settings, scales)

    simple = baseline_errors(split.train, split.test, config.window)
    print(
        f"{command.data}: {len(table)} sequences, {len(windows)} training windows of "
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
    error = "mean squared error (targets have variance 1)"
    save_figure(draw_learning(result.metrics, ledger, error=error), learning)
    save_figure(draw_changes(model, folder.initial_wiring), wiring)
    rows = circuit_rows(model) | {
        "training": f"{result.steps} steps in {result.seconds:.0f} s",
        "validation": f"error {result.best_loss:.4g} of variance 1, at step {result.best_step}",
        "rewired": f"{sum(edit.grown is not None for edit in result.ledger)} synapses",
    }
    errors = squared_errors(model, split.test, scales)
    for k, (name, unit) in enumerate(zip(table.target_names, scales.targets.unit, strict=True)):
        rows[f"test {name}"] = error_text(errors[k], unit)
        rows[f"baselines {name}"] = _compared(errors[k], {key: e[k] for key, e in simple.items()})
    if condition is not None:
        unit = "step" if command.time is None else f"unit of {command.time}"
        rows["contraction"] = save_certificate(folder, condition, scales.elapsed, unit)
    print_table(rows)
    print_files(folder.path, PICTURES if condition is None else (*PICTURES, CERTIFICATE))


def _compared(error: float, simple: Mapping[str, float]) -> str:
    """Return the errors of simple predictions, and whether the circuit beats them."""
    told = ", ".join(f"{name} {value:.6g}" for name, value in simple.items() if value == value)
    better = [name for name, value in simple.items() if value <= error]
    return told + (f"; the circuit does not beat: {', '.join(better)}" if better else "")


def untrained(command: Train, table: SequenceTable) -> LTC:
    """Return the circuit that `command` asks for, with neurons named after the columns."""
    recipe = AutoNCP(command.units, table.output_size, command.sparsity, seed=command.training.seed)
    return LTC(
        table.input_size,
        named_wiring(recipe, table.input_names, table.target_names),
        mixed_memory=command.mixed_memory,
        ode_unfolds=command.unfolds,
        generator=torch.Generator().manual_seed(command.training.seed),
    )


def named_wiring(recipe: Recipe, inputs: Sequence[str], targets: Sequence[str]) -> Wiring:
    """Draw a wiring whose sensory and motor neurons are called after `inputs` and `targets`.

    A target that would have the name of another neuron is marked as an answer.

    Examples
    --------
    >>> from elegans.wiring import FullyConnected
    >>> wiring = named_wiring(FullyConnected(3, 1), inputs=["speed"], targets=["speed"])
    >>> wiring.sensory_names, wiring.names
    (('speed',), ('speed (answer)', 'inter_0', 'inter_1'))
    """
    wiring = recipe.build(len(inputs))
    hidden = wiring.names[len(targets) :]
    taken = {*inputs, *hidden}
    motor = [f"{name} (answer)" if name in taken else name for name in targets]
    return Wiring(
        wiring.input_size,
        wiring.layers,
        wiring.recurrent,
        wiring.sensory,
        names=[*motor, *hidden],
        sensory_names=inputs,
    )


def _settings(command: Train, table: SequenceTable) -> dict[str, Any]:
    return {
        "command": "train",
        "data": {
            "path": str(command.data),
            "sha256": hashlib.sha256(command.data.read_bytes()).hexdigest(),
            "inputs": list(table.input_names),
            "targets": list(table.target_names),
            "time": command.time,
            "sequence": command.sequence,
        },
        "wiring": {
            "recipe": "AutoNCP",
            "units": command.units,
            "output_size": table.output_size,
            "sparsity_level": command.sparsity,
            "seed": command.training.seed,
        },
        "training": asdict(command.training),
        "certify": command.certify,
    }


def _require_same_data(folder: RunFolder, settings: dict[str, Any]) -> None:
    """Raise `RunError` if the file has changed, and otherwise let it lie anywhere."""
    recorded = folder.config.get("data", {})
    if recorded.get("sha256") != settings["data"]["sha256"]:
        raise RunError(
            f"{folder.path}: got {settings['data']['path']} with other content than "
            f"{recorded.get('path')} had when the run was begun, expected the same; restore "
            "the file, or choose another folder"
        )
    settings["data"]["path"] = recorded.get("path")
