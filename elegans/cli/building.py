"""The model that `elegans train` asks for: a wiring by name or from a file, or another run's."""

from __future__ import annotations

import ast
import inspect
import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from elegans.checkpoints.saving import CONFIG, build_layer, load_circuit
from elegans.checks import moved
from elegans.cli.commands import Train
from elegans.data import Scales, SequenceTable
from elegans.data.scale import STANDARDISER
from elegans.errors import InputError, RunError
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.ltc.layer import LTC
from elegans.training import RunFolder
from elegans.wiring import (
    NCP,
    AutoNCP,
    BinomialNCP,
    FullyConnected,
    HeavyTailed,
    Layered,
    Random,
    Recipe,
    Wiring,
)

FAMILIES: dict[str, type[Recipe]] = {
    "auto-ncp": AutoNCP,
    "ncp": NCP,
    "binomial-ncp": BinomialNCP,
    "random": Random,
    "full": FullyConnected,
    "heavy-tailed": HeavyTailed,
    "layered": Layered,
}
"""Families of wirings by the names of `elegans train --wiring`."""

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}

_OF_THE_CIRCUIT = (
    "units",
    "wiring",
    "wiring_options",
    "sparsity",
    "solver",
    "unfolds",
    "readout",
    "mixed_memory",
)


def build(
    command: Train, table: SequenceTable, begun: RunFolder | None
) -> tuple[SequenceLayer | Readout, Scales | None]:
    """Return the model before training, and scales that it is used to, if it has learnt before.

    The model of a run that was `begun` with another one is as its own folder has it; its weights
    are in its checkpoints.
    """
    device = command.device
    if begun is not None and begun.config.get("warm_start") is not None:
        if begun.checkpoints.steps():
            place = begun.path / CONFIG
            model = build_layer(begun.config["model"], begun.initial_wiring, place)
            return moved(model, device, "the device"), begun.scales
        command = replace(command, warm_start=Path(begun.config["warm_start"]))
    if command.warm_start is None:
        return moved(untrained(command, table), device, "the device"), None
    if begun is not None and begun.config.get("warm_start") is None:
        raise RunError(
            f"{begun.path}: got --warm-start for a run that was begun without, expected its own "
            "command; leave it out"
        )
    usual = {field.name: field.default for field in fields(Train)}
    said = [name for name in _OF_THE_CIRCUIT if getattr(command, name) != usual[name]]
    if said:
        raise InputError(
            f"got --{said[0].replace('_', '-')} with --warm-start, expected the circuit as it is "
            f"in {command.warm_start}; leave it out"
        )
    folder = command.warm_start
    model = load_circuit(folder)
    if command.dtype is not None:
        model = model.to(DTYPES[command.dtype])
    asked = table.input_size, table.output_size
    if (model.input_size, model.output_size) != asked:
        raise RunError(
            f"{folder}: got a circuit of {model.input_size} inputs and {model.output_size} "
            f"outputs, expected {asked[0]} and {asked[1]} as the data have; choose other columns, "
            "or another run"
        )
    if not (folder / STANDARDISER).exists():
        return moved(model, device, "the device"), None
    scales = Scales.load(folder)
    learnt = scales.inputs.names + scales.targets.names
    for was, now in zip(learnt, table.input_names + table.target_names, strict=False):
        if was != now:
            raise RunError(
                f"{folder}: got a circuit that was trained on {was!r}, expected {now!r} in its "
                "place as in the data; name the same --inputs and --targets in the same order"
            )
    return moved(model, device, "the device"), scales


def untrained(command: Train, table: SequenceTable) -> LTC | Readout:
    """Return a model with initial weights, its neurons named after the columns."""
    generator = torch.Generator().manual_seed(command.training.seed)
    dtype = DTYPES[command.dtype or "float32"]
    answers = () if command.readout else table.target_names  # no neuron is one, then
    recipe = recipe_of(command, table.output_size)
    layer = LTC(
        table.input_size,
        named_wiring(recipe, table.input_names, answers),
        mixed_memory=command.mixed_memory,
        ode_unfolds=command.unfolds,
        solver=command.solver,
        generator=generator,
        dtype=dtype,
    )
    return Readout(layer, table.output_size, generator=generator) if command.readout else layer


def recipe_of(command: Train, outputs: int) -> Recipe | Wiring:
    """Return how the wiring is drawn, or the one in a file."""
    name = command.wiring
    if name not in FAMILIES:
        if not Path(name).suffix:
            raise InputError(
                f"got --wiring {name!r}, expected one of {', '.join(FAMILIES)}, or a file that "
                "holds a wiring (.json, .csv or .graphml)"
            )
        if command.wiring_options:
            raise InputError(
                "got --wiring-options for a wiring in a file, expected them for a family that is "
                "drawn; leave them out"
            )
        return Wiring.load(name)
    family = FAMILIES[name]
    parameters = inspect.signature(family).parameters
    usual = {
        "units": command.units,
        "output_size": outputs,
        "output_dim": outputs,
        "motor_neurons": outputs,
        "sparsity_level": command.sparsity,
        "seed": command.training.seed,
        "random_seed": command.training.seed,
        "erev_init_seed": command.training.seed,
    }
    arguments: dict[str, Any] = {k: v for k, v in usual.items() if k in parameters}
    for option in command.wiring_options:
        key, equals, text = option.partition("=")
        if not equals or key not in parameters:
            raise InputError(
                f"got --wiring-options {option!r} for {name}, expected NAME=VALUE with one of "
                f"{', '.join(parameters)}"
            )
        try:
            arguments[key] = ast.literal_eval(text)
        except (SyntaxError, ValueError) as error:
            raise InputError(
                f"got --wiring-options {option!r}, expected a number or another literal of Python "
                "after the sign of equality; such as seed=3"
            ) from error
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in arguments
    ]
    if missing:
        raise InputError(
            f"got no {missing[0]} for --wiring {name}, expected --wiring-options, such as "
            f"--wiring-options {' '.join(_example(key, outputs, command.units) for key in missing)}"
        )
    return family(**arguments)


def _example(key: str, outputs: int, units: int) -> str:
    """Return an option of a family as it is typed in a shell."""
    examples: dict[str, Any] = {
        "layers": {"inter": 12, "motor": outputs},
        "density": {("sensory", "inter"): 0.5, ("inter", "motor"): 0.5},
        "inter_neurons": 12,
        "command_neurons": 8,
        "synapses": 3 * units,
    }
    return shlex.quote(f"{key}={examples.get(key, 2)}")


def named_wiring(recipe: Recipe | Wiring, inputs: Sequence[str], targets: Sequence[str]) -> Wiring:
    """Draw a wiring whose sensory and motor neurons are called after `inputs` and `targets`.

    A target that would have the name of another neuron is marked as an answer, a neuron that
    would have the name of an input as a neuron.

    Raises
    ------
    InputError
        A wiring has other numbers of sensory or motor neurons than there are inputs and targets.

    Examples
    --------
    >>> from elegans.wiring import FullyConnected
    >>> wiring = named_wiring(FullyConnected(3, 1), inputs=["speed"], targets=["speed"])
    >>> wiring.sensory_names, wiring.names
    (('speed',), ('speed (answer)', 'inter_0', 'inter_1'))
    """
    wiring = recipe if isinstance(recipe, Wiring) else recipe.build(len(inputs))
    if wiring.input_size != len(inputs):
        raise InputError(
            f"got a wiring of {wiring.input_size} sensory neurons for {len(inputs)} inputs "
            f"({', '.join(inputs)}), expected as many; choose other --inputs, or another wiring"
        )
    if targets and wiring.output_size != len(targets):
        raise InputError(
            f"got a wiring of {wiring.output_size} motor neurons for {len(targets)} targets "
            f"({', '.join(targets)}), expected as many; pass --readout, or another wiring"
        )
    read = dict(zip(wiring.outputs.tolist(), targets, strict=False))
    if len(read) < len(targets):
        raise InputError(
            f"got {len(targets)} targets ({', '.join(targets)}) for a wiring whose outputs read "
            f"{len(read)} neurons, some for several targets, expected one for each; name other "
            "outputs"
        )
    hidden = {
        i: f"{name} (neuron)" if name in inputs else name
        for i, name in enumerate(wiring.names)
        if i not in read
    }
    taken = {*inputs, *hidden.values()}
    motor = {i: f"{name} (answer)" if name in taken else name for i, name in read.items()}
    named = hidden | motor
    return Wiring(
        wiring.input_size,
        wiring.layers,
        wiring.recurrent,
        wiring.sensory,
        electrical=wiring.electrical,
        outputs=wiring.outputs if wiring.has_outputs_elsewhere else None,
        names=[named[i] for i in range(wiring.units)],
        sensory_names=inputs,
    )
