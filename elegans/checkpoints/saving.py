"""Saved circuits: one folder of settings, wiring and weights, without pickle.

`config.json` says how the layer was made, `wiring.json` which neurons there are and who is
connected to whom, `model.safetensors` holds the parameters and the slots of the synapses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import elegans
from elegans.cfc.cell import CfCCell
from elegans.cfc.layer import CfC
from elegans.cfc.wired_cell import WiredCfCCell
from elegans.checks import Device
from elegans.ctrnn.cell import CTRNNCell
from elegans.ctrnn.layer import CTRNN
from elegans.errors import ElegansError, InputError, RunError
from elegans.files import (
    make_folder,
    read_bytes,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
    writing,
)
from elegans.layers.sequence_layer import SequenceLayer
from elegans.ltc.cell import LTCCell
from elegans.ltc.layer import LTC
from elegans.solvers import Solver, get_solver
from elegans.wiring import Wiring

FORMAT = "elegans.model"
VERSION = 1
_LAYERS: dict[str, Callable[..., SequenceLayer]] = {"LTC": LTC, "CTRNN": CTRNN, "CfC": CfC}
CONFIG, WIRING, WEIGHTS = "config.json", "wiring.json", "model.safetensors"
_REMEDY = "pass a folder that elegans.save or a training has written"


def save(model: SequenceLayer, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Save a layer into a folder of three files that `load` reads.

    Parameters
    ----------
    model
        An `LTC`, rewired or not, a `CTRNN` or a `CfC`.
    folder
        Made if it does not exist; other files in it are left alone.
    overwrite
        Whether a model that was saved there may be replaced.

    Raises
    ------
    RunError
        A model is there already, the layer is of another class, or its solver is not among those
        chosen by name.

    Examples
    --------
    >>> import tempfile
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(8, AutoNCP(units=19, output_size=4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/circuit")
    ...     again = load(f"{folder}/circuit")
    >>> all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    True
    """
    folder = Path(folder)
    settings = layer_settings(model)
    found = [name for name in (CONFIG, WIRING, WEIGHTS) if (folder / name).exists()]
    if found and not overwrite:
        raise RunError(
            f"{folder}: got a folder that holds {found[0]} already, expected a new one; choose "
            "another folder or pass overwrite=True"
        )
    if found and read_json(folder / CONFIG, _REMEDY).get("format") != FORMAT:
        raise RunError(
            f"{folder}: got a folder whose {CONFIG} is not that of a saved model, expected one to "
            "overwrite; choose another folder"
        )
    plain = build_layer(settings, model.wiring, folder / CONFIG).state_dict()
    computed = sorted(set(model.state_dict()) ^ set(plain))
    if computed:
        raise RunError(
            f"got a layer with {computed[0]!r}, expected the parameters of a plain one; make "
            "parametrizations and masks permanent first (torch.nn.utils.prune.remove), or a "
            "pruned circuit smaller (elegans.pruning.compact)"
        )
    make_folder(folder)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "elegans": elegans.__version__,
        "model": settings,
    }
    write_json(folder / CONFIG, config)
    write_circuit(model, folder)


def load(folder: str | os.PathLike[str], *, device: Device = None) -> SequenceLayer:
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
    config = read_json(folder / CONFIG, _REMEDY)
    if config.get("version") != VERSION or not isinstance(config.get("model"), dict):
        raise RunError(
            f"{folder / CONFIG}: got version {config.get('version')!r} of the format, expected "
            f"version {VERSION} with the settings of a model; a newer elegans may read it"
        )
    try:
        wiring = Wiring.from_json(read_bytes(folder / WIRING, _REMEDY).decode())
    except (ElegansError, UnicodeDecodeError) as error:
        raise RunError(f"{folder / WIRING}: {error}; {_REMEDY}") from error
    model = build_layer(config["model"], wiring, folder / CONFIG)
    restore(model, read_tensors(folder / WEIGHTS, _REMEDY), folder / WEIGHTS)
    return model.to(device)


def write_circuit(model: SequenceLayer, folder: Path) -> None:
    """Write weights and wiring; the weights first, because they know the slots by themselves."""
    write_tensors(folder / WEIGHTS, model.state_dict())
    with writing(folder / WIRING):
        write_bytes(folder / WIRING, model.wiring.to_json().encode())


def layer_settings(model: SequenceLayer) -> dict[str, Any]:
    """Return the arguments from which `build_layer` makes a layer like `model`, as plain values.

    Raises
    ------
    RunError
        The layer is none of the library's, or the solver has settings of its own, which a name
        does not say.
    """
    return {
        "layer": type(model).__name__,
        "input_size": model.input_size,
        "return_sequences": model.return_sequences,
        "batch_first": model.batch_first,
        "mixed_memory": model.memory is not None,
        **_own_settings(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }


def _own_settings(model: SequenceLayer) -> dict[str, Any]:
    """Return the settings that not every layer has."""
    cell = model.cell
    if type(model) is LTC and isinstance(cell, LTCCell):
        return {
            "input_mapping": cell.input_mapping.kind,
            "output_mapping": cell.output_mapping.kind,
            "ode_unfolds": cell.ode_unfolds,
            "epsilon": cell.epsilon,
            "implicit_param_constraints": cell.implicit_param_constraints,
            "solver": _solver_name(cell.solver),
            "fixed_polarity": cell.recurrent.fixed_polarity,
        }
    if type(model) is CTRNN and isinstance(cell, CTRNNCell):
        return {
            "input_mapping": cell.input_mapping.kind,
            "output_mapping": cell.output_mapping.kind,
            "ode_unfolds": cell.ode_unfolds,
            "activation": cell.activation,
            "implicit_param_constraints": cell.implicit_param_constraints,
            "solver": _solver_name(cell.solver),
        }
    if type(model) is CfC and isinstance(cell, CfCCell | WiredCfCCell):
        settings: dict[str, Any] = {
            "input_mapping": cell.input_mapping.kind,
            "output_mapping": cell.output_mapping.kind,
            "proj_size": None if cell.projection is None else cell.output_size,
            "mode": cell.mode,
        }
        if isinstance(cell, WiredCfCCell):
            return settings | {"ncps_connections": cell.ncps_connections}
        return settings | {
            "units": cell.state_size,  # not on the wiring, which says no more than that
            "activation": cell.backbone_activation,
            "backbone_units": cell.backbone_units,
            "backbone_layers": cell.backbone_layers,
            "backbone_dropout": cell.backbone_dropout,
        }
    raise RunError(
        f"got a layer of the class {type(model).__name__}, expected one of "
        f"{', '.join(_LAYERS)}; save model.state_dict() with safetensors instead"
    )


def build_layer(settings: dict[str, Any], wiring: Wiring, source: Path) -> SequenceLayer:
    """Return a layer with the settings that `layer_settings` returned and fresh parameters.

    `source` is the file that an error names.
    """
    arguments = dict(settings)
    kind, input_size = arguments.pop("layer", None), arguments.pop("input_size", None)
    dtype = getattr(torch, str(arguments.pop("dtype", None)), None)
    known = isinstance(kind, str) and kind in _LAYERS
    if not known or not isinstance(dtype, torch.dtype) or input_size is None:
        raise RunError(
            f"{source}: got a model of layer {kind!r} with {input_size!r} inputs in "
            f"{settings.get('dtype')!r}, expected one of the layers {', '.join(_LAYERS)}, a number "
            f"and a type such as 'float32'; {_REMEDY}"
        )
    try:
        # Initial values are overwritten: a generator of its own spares the user's random state.
        return _LAYERS[kind](
            input_size,
            arguments.pop("units", wiring),
            dtype=dtype,
            generator=torch.Generator(),
            **arguments,
        )
    except (ElegansError, TypeError) as error:
        raise RunError(
            f"{source}: the settings of the model do not make a layer ({error}); {_REMEDY}"
        ) from error


def restore(model: SequenceLayer, state: dict[str, torch.Tensor], source: Path) -> None:
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
