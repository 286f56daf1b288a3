"""Saved circuits: one folder of settings, wiring and weights, without pickle.

`config.json` says how the layer was made, `wiring.json` which neurons there are and who is
connected to whom, `model.safetensors` holds the parameters and the slots of the synapses. The
folder of layers one on another holds settings and a folder of each layer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

import elegans
from elegans.arguments import checked
from elegans.checks import Device, moved
from elegans.errors import ElegansError, InputError, RunError
from elegans.files import (
    make_folder,
    read_bytes,
    read_json,
    read_tensors,
    tensor_shapes,
    validated,
    write_bytes,
    write_json,
    write_tensors,
    writing,
)
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.registry import layer_classes
from elegans.layers.sequence_layer import SequenceLayer
from elegans.layers.stacked import Stacked
from elegans.solvers import Solver, get_solver
from elegans.synapses.connections import CONNECTION
from elegans.synapses.plain import ELECTRICAL
from elegans.wiring import Wiring

FORMAT = "elegans.model"
VERSION = 1
CONFIG, WIRING, WEIGHTS = "config.json", "wiring.json", "model.safetensors"
READOUT = "readout"
"""The setting that holds the number of outputs of a readout."""

STACKED = "stacked"
"""The setting that holds how layers stand one on another."""

Saved = SequenceLayer | Readout | Stacked
"""What can be saved."""

_SMALL = 1_000_000
"""Neurons of which a layer is planned in no time, whatever the weights hold."""


@dataclass(frozen=True)
class _Config:
    version: int
    model: dict[str, Any]


@dataclass(frozen=True)
class _Stack:
    input_size: int
    num_layers: int
    dropout: float
    bidirectional: bool
    return_sequences: bool
    batch_first: bool


_REMEDY = "pass a folder that elegans.save or a training has written"


@checked(InputError)
def save(model: Saved, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Save a layer, with a readout or without one, into a folder of three files that `load` reads.

    Synapses that are pruned are left out: what is loaded is a smaller layer of the same outputs.
    Layers one on another are saved each into a folder of its own, `layer-0` and so on.

    Parameters
    ----------
    model
        Any registered layer, such as an `LTC`, rewired or not; see `register_layer`. Or a
        `Readout` of one, or a `Stacked` of some.
    folder
        Made if it does not exist; other files in it are left alone.
    overwrite
        Whether a model that was saved there may be replaced.

    Raises
    ------
    RunError
        A model is there already, the layer is of a class that is not registered, or its solver is
        not among those chosen by name.

    Examples
    --------
    >>> import tempfile
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(8, AutoNCP(units=19, output_size=4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/circuit")
    ...     again = load(f"{folder}/circuit")
    >>> all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    True
    """
    folder = Path(folder)
    layers = layer_folders(model, folder) if isinstance(model, Stacked) else {folder: model}
    settings = {where: layer_settings(layer) for where, layer in layers.items()}
    if isinstance(model, Stacked):  # written last: it claims what is there by then
        settings[folder] = {STACKED: {one.name: getattr(model, one.name) for one in fields(_Stack)}}
    for where in settings:
        _require_free(where, overwrite)
    for where, layer in layers.items():
        _require_plain(layer, settings[where], where)
    for where, arguments in settings.items():
        make_folder(where)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "elegans": elegans.__version__,
            "model": arguments,
        }
        write_json(where / CONFIG, config)
        if where in layers:
            write_circuit(layers[where], where)


def layer_folders(model: Stacked, folder: Path) -> dict[Path, SequenceLayer]:
    """Return the layers of a stack by the folders in which they are saved, in the order of use."""
    return {
        folder / _layer_folder(level, way): layer
        for level, ways in enumerate(model.ways())
        for way, layer in enumerate(ways)
    }


def _layer_folder(level: int, way: int) -> str:
    return f"layer-{level}" + "-backwards" * way


def _require_free(folder: Path, overwrite: bool) -> None:
    """Raise `RunError` if a model is there that may not be replaced, or something else."""
    existing = [name for name in (CONFIG, WIRING, WEIGHTS) if os.path.exists(folder / name)]
    if existing and not overwrite:
        raise RunError(
            f"{folder}: got a folder that holds {existing[0]} already, expected a new one; choose "
            "another folder or pass overwrite=True"
        )
    if existing and read_json(folder / CONFIG, _REMEDY).get("format") != FORMAT:
        raise RunError(
            f"{folder}: got a folder whose {CONFIG} is not that of a saved model, expected one to "
            "overwrite; choose another folder"
        )


def _require_plain(model: SequenceLayer | Readout, settings: dict[str, Any], folder: Path) -> None:
    """Raise `RunError` if a model has other parameters than one of its settings."""
    plain = build_layer(settings, model.wiring, folder / CONFIG).state_dict()
    junctions = circuit_of(model).cell.synapse_sets().get(ELECTRICAL)
    closed = junctions is not None and not junctions.open_count  # such a set is left out
    own = {name for name in model.state_dict() if not (closed and f"cell.{ELECTRICAL}." in name)}
    computed = sorted(own ^ set(plain))
    if computed:
        raise RunError(
            f"got a layer with {computed[0]!r}, expected the parameters of a plain one; make "
            "parametrizations and masks permanent first (torch.nn.utils.prune.remove), or a "
            "pruned circuit smaller (elegans.pruning.compact)"
        )


@checked(InputError)
def load(folder: str | os.PathLike[str], *, device: Device = None) -> Saved:
    """Return the layer that `save`, or a training into a run folder, has written.

    Parameters
    ----------
    folder
        A folder with `config.json`, `wiring.json` and `model.safetensors`.
    device
        Where the parameters shall live; the CPU by default.

    Raises
    ------
    RunError
        A file is missing, damaged, of a newer format, or does not fit the others.

    Examples
    --------
    >>> model = elegans.LTC(3, 8)
    >>> elegans.save(model, "circuit")
    >>> again = load("circuit")
    >>> again.wiring == model.wiring, torch.equal(again.cell.vleak, model.cell.vleak)
    (True, True)
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    if STACKED not in settings:
        return _load_circuit(settings, folder, device)
    arguments = validated(settings[STACKED], _Stack, str(folder / CONFIG), _REMEDY)
    layers: Iterator[Any] = (  # what is no layer, the stack refuses
        load_circuit(folder / _layer_folder(level, way))
        for level in range(arguments.num_layers)
        for way in range(1 + arguments.bidirectional)
    )
    try:
        stack = Stacked(lambda _: next(layers), **vars(arguments))
    except InputError as error:
        raise RunError(
            f"{folder / CONFIG}: the layers of the folder do not stand one on another ({error}); "
            f"{_REMEDY}"
        ) from error
    return moved(stack, device, "device =")


def load_circuit(folder: Path, *, device: Device = None) -> SequenceLayer | Readout:
    """Return what `load` returns if it is one circuit; raises `RunError` for a stack of some."""
    settings = _read_settings(folder)
    if STACKED in settings:
        raise RunError(
            f"{folder}: got layers one on another, expected one circuit; pass the folder of one of "
            f"them, such as {folder / _layer_folder(0, 0)}"
        )
    return _load_circuit(settings, folder, device)


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a saved model; raises `RunError`."""
    config = read_json(folder / CONFIG, _REMEDY, _Config)
    if config["version"] != VERSION:
        raise RunError(
            f"{folder / CONFIG}: got version {config.get('version')!r} of the format, expected "
            f"version {VERSION} with the settings of a model; a newer elegans may read it"
        )
    settings: dict[str, Any] = config["model"]
    return settings


def _load_circuit(
    settings: dict[str, Any], folder: Path, device: Device
) -> SequenceLayer | Readout:
    wiring = read_wiring(folder / WIRING, _REMEDY)
    _require_fit(settings, wiring, folder)
    model = build_layer(settings, wiring, folder / CONFIG)
    restore(model, read_tensors(folder / WEIGHTS, _REMEDY), folder / WEIGHTS)
    return moved(model, device, "device =")


def _require_fit(settings: dict[str, Any], wiring: Wiring, folder: Path) -> None:
    """Raise `RunError` unless the weights have the shapes that settings and wiring ask for.

    Nothing is allocated before: a few bytes of settings can ask for any amount of memory.
    """
    shapes = tensor_shapes(folder / WEIGHTS, _REMEDY)
    held = sum(math.prod(shape) for shape in shapes.values())
    asked = max(wiring.units, wiring.input_size)
    planned = None
    if asked <= _SMALL + held:
        try:
            with torch.device("meta"):
                planned = build_layer(settings, wiring, folder / CONFIG).state_dict()
        except RunError:
            raise
        except RuntimeError:  # a layer of the user's that cannot be made without values
            return
    expected = {name: tuple(t.shape) for name, t in planned.items()} if planned else {}
    for name in dict.fromkeys((*expected, *shapes)):
        if expected.get(name) != shapes.get(name):
            raise RunError(
                f"{folder / WEIGHTS}: the weights do not fit the wiring and settings beside them "
                f"(got {name} of shape {shapes.get(name)}, expected {expected.get(name)} for "
                f"{wiring.units} neurons and {wiring.input_size} inputs); {_REMEDY}"
            )


def write_circuit(model: SequenceLayer | Readout, folder: Path) -> None:
    """Write weights and wiring; the weights first, because they know the slots by themselves."""
    write_tensors(folder / WEIGHTS, _open_state(model))
    write_wiring(model.wiring, folder / WIRING)


def _open_state(model: SequenceLayer | Readout) -> dict[str, torch.Tensor]:
    """Return the state of a model without the slots of pruned synapses, as its wiring has none.

    A set of gap junctions that are all pruned is none at all.
    """
    state: dict[str, torch.Tensor] = model.state_dict()
    circuit = circuit_of(model)
    prefix = "" if circuit is model else "layer."
    for kind, synapses in circuit.cell.synapse_sets().items():
        in_wiring = kind in ("recurrent", "sensory", ELECTRICAL)
        if in_wiring and not synapses.all_open():
            slots = synapses.open_slots()
            kinds = ("rectifying",) if kind == ELECTRICAL else ()
            for key in (*CONNECTION, "mask", *kinds, *synapses.VALUES):
                name = f"{prefix}cell.{kind}.{key}"
                state[name] = state[name][..., slots]
                if kind == ELECTRICAL and not len(slots):
                    del state[name]
    return state


def write_wiring(wiring: Wiring, path: Path) -> None:
    """Write a wiring as JSON, whole or not at all."""
    with writing(path):
        write_bytes(path, wiring.to_json().encode())


def read_wiring(path: Path, remedy: str) -> Wiring:
    """Return the wiring in a JSON file; raises `RunError`, ending with `remedy`."""
    try:
        return Wiring.from_json(read_bytes(path, remedy).decode())
    except (ElegansError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: {error}; {remedy}") from error


def layer_settings(model: SequenceLayer | Readout) -> dict[str, Any]:
    """Return the arguments from which `build_layer` makes a layer like `model`, as plain values.

    Raises
    ------
    RunError
        The layer is of a class that is not registered, its cell does not offer `settings`, or one
        of them is no plain value, as a solver with settings of its own, which a name does not say.
    """
    if isinstance(model, Readout):
        return layer_settings(model.layer) | {READOUT: model.output_size}
    kind: type[SequenceLayer] = vars(type(model)).get("saved_as") or type(model)
    registered = layer_classes()
    if registered.get(kind.__name__) is not kind:
        raise RunError(
            f"got a layer of the class {kind.__name__}, expected one of {', '.join(registered)}; "
            "decorate the class with elegans.register_layer, or save model.state_dict() with "
            "safetensors instead"
        )
    return {
        "layer": kind.__name__,
        **{name: _plain(name, value) for name, value in model.settings().items()},
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Solver):
        return _solver_name(value)
    if not isinstance(value, bool | int | float | str | None):
        raise RunError(
            f"got a layer whose setting {name} is a {type(value).__name__}, expected a number, a "
            "text, True, False or None; let settings() return what the constructor takes"
        )
    return value


def build_layer(settings: dict[str, Any], wiring: Wiring, source: Path) -> SequenceLayer | Readout:
    """Return a layer with the settings that `layer_settings` returned and fresh parameters.

    `source` is the file that an error names.
    """
    arguments = dict(settings)
    outputs = arguments.pop(READOUT, None)
    kind, input_size = arguments.pop("layer", None), arguments.pop("input_size", None)
    dtype = getattr(torch, str(arguments.pop("dtype", None)), None)
    layers = layer_classes()
    make: Callable[..., SequenceLayer] | None = layers.get(str(kind))
    if make is None or not isinstance(dtype, torch.dtype) or input_size is None:
        raise RunError(
            f"{source}: got a model of layer {kind!r} with {input_size!r} inputs in "
            f"{settings.get('dtype')!r}, expected one of the layers {', '.join(layers)}, a number "
            f"and a type such as 'float32'; import the module that registers a layer of your own, "
            f"or {_REMEDY}"
        )
    try:
        # Initial values are overwritten: a generator of its own spares the user's random state.
        layer = make(
            input_size,
            arguments.pop("units", wiring),
            dtype=dtype,
            generator=torch.Generator(),
            **arguments,
        )
        return layer if outputs is None else Readout(layer, outputs, generator=torch.Generator())
    except (ElegansError, TypeError) as error:
        raise RunError(
            f"{source}: the settings of the model do not make a layer ({error}); {_REMEDY}"
        ) from error


def restore(model: SequenceLayer | Readout, state: dict[str, torch.Tensor], source: Path) -> None:
    """Load saved tensors into `model` and check that they are a circuit.

    Raises
    ------
    RunError
        Names or shapes differ from the layer's, or a synapse leads outside the circuit.
    """
    try:
        for name, value in state.items():
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{name} holds a number that is not finite")
        model.load_state_dict(state)
        _ = model.wiring  # its constructor checks the ends and polarities of all synapses
    except (ElegansError, RuntimeError) as error:
        raise RunError(
            f"{source}: the weights do not fit the wiring and settings beside them ({error}); "
            f"{_REMEDY}"
        ) from error


def _solver_name(solver: Solver) -> str:
    try:
        named = get_solver(solver.name)
    except ElegansError:
        named = None
    if type(named) is not type(solver) or vars(named) != vars(solver):
        raise RunError(
            f"got a layer with the solver {solver!r}, expected one that its name alone describes, "
            "see elegans.solvers.solver_names(); save model.state_dict() with safetensors instead"
        )
    return solver.name
