"""Exchange of LTC parameters between ``ncps``' dense matrices and synapse lists.

An ``ncps`` LTC keeps [source, target] matrices with an entry for every absent synapse, two masks
among its parameters, and the prefix ``rnn_cell.``. Capacitance, leak and conductances are kept
under the same constraint as ours, so numbers carry over unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.arguments import shown
from elegans.checks import check_representable
from elegans.errors import InputError
from elegans.layers.cell import WiredCell
from elegans.ltc.cell import LTCCell
from elegans.ltc.layer import LTC
from elegans.wiring import Synapses, Wiring

LAYER = LTC
CELLS = (LTCCell,)

_CELL = "rnn_cell."
_NEURON = ("gleak", "vleak", "cm")
_SYNAPSE = {"weight": "w", "sigma": "sigma", "mu": "mu", "erev": "erev"}
_MAPPING = {"weight": "w", "bias": "b"}
_MEMORY = ("input_map.weight", "input_map.bias", "recurrent_map.weight")


def is_state(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether it looks like the state of an ``ncps.torch.LTC``."""
    return _CELL + "gleak" in state_dict


def build(
    state_dict: Mapping[str, Tensor], *, layers: Mapping[str, int] | None = None, **options: Any
) -> LTC:
    """Build an `elegans.LTC` from the state of an ``ncps.torch.LTC``; see `from_ncps`."""
    mask = _get(state_dict, "sparsity_mask")
    sensory_mask = _get(state_dict, "sensory_sparsity_mask")
    inputs, units = sensory_mask.shape
    output_w = state_dict.get(_CELL + "output_w")
    _check_shapes(state_dict, inputs, units, units if output_w is None else len(output_w))
    if layers is None:
        if output_w is None:
            raise InputError(
                "the state has no output mapping, so the number of outputs is not known; pass "
                "layers={'motor': outputs, 'inter': units - outputs}"
            )
        motor = len(output_w)
        layers = {"motor": motor} | ({"inter": units - motor} if units > motor else {})
    wiring = Wiring(
        inputs,
        layers,
        _connections(mask, _get(state_dict, "erev")),
        _connections(sensory_mask, _get(state_dict, "sensory_erev")),
    )
    model = LTC(
        inputs,
        wiring,
        mixed_memory=any(key.startswith("lstm.") for key in state_dict),
        input_mapping=_mapping_kind(state_dict, "input"),
        output_mapping=_mapping_kind(state_dict, "output"),
        **{"dtype": mask.dtype, **options},
    )
    load(model, state_dict)
    return model


@torch.no_grad()
def load(model: LTC, state_dict: Mapping[str, Tensor]) -> None:
    """Load the state of an ``ncps.torch.LTC`` with the same connections into `model`.

    Raises
    ------
    InputError
        The connections differ, the model has gap junctions, or the state is not one of an ``ncps``
        LTC; nothing is changed.
    """
    cell = model.cell
    _require_chemical(model)
    mappings = (("input", cell.input_mapping), ("output", cell.output_mapping))
    without = [] if model.memory is not None else [f"lstm.{name}" for name in _MEMORY]
    for side, mapping in mappings:
        missing = _MAPPING.keys() - dict(mapping.named_parameters()).keys()
        without += [f"{_CELL}{side}_{_MAPPING[name]}" for name in missing]
    _check_shapes(state_dict, model.input_size, model.state_size, model.motor_size, without)
    loads: list[tuple[Tensor, Tensor]] = []
    for prefix, synapses in (("", cell.recurrent), ("sensory_", cell.sensory)):
        mask = _get(state_dict, f"{prefix}sparsity_mask")
        slots = synapses.open_slots()
        ends = (synapses.source[slots].cpu(), synapses.target[slots].cpu())
        present = torch.zeros(mask.shape, dtype=torch.bool)
        present[ends] = True
        if not torch.equal(present, mask.cpu() != 0):
            raise InputError(
                f"the state has {int((mask != 0).sum())} {prefix or 'recurrent '}synapses of "
                f"shape {tuple(mask.shape)} that are not those of this model "
                f"({len(slots)}); use elegans.from_ncps(state_dict) to build one"
            )
        for ours, theirs in _SYNAPSE.items():
            value = getattr(synapses, ours).detach().clone()
            value[slots] = _get(state_dict, prefix + theirs).to(value)[ends]
            loads.append((getattr(synapses, ours), value))
        polarity = synapses.polarity.clone()
        polarity[slots] = torch.where(value[slots] < 0, -1, 1).to(polarity)
        loads.append((synapses.polarity, polarity))
    for name in _NEURON:
        loads.append((getattr(cell, name), _get(state_dict, name)))
    for side, mapping in mappings:
        for name, parameter in mapping.named_parameters():
            loads.append((parameter, _get(state_dict, f"{side}_{_MAPPING[name]}")))
    if model.memory is not None:
        for name in _MEMORY:
            loads.append((model.memory.get_parameter(name), _get(state_dict, f"lstm.{name}", "")))
    loads = [(own, value.to(own)) for own, value in loads]
    check_representable(value for _, value in loads)
    for own, value in loads:
        own.copy_(value)


def _check_shapes(
    state: Mapping[str, Tensor],
    inputs: int,
    units: int,
    outputs: int,
    without: Collection[str] = (),
) -> None:
    """Raise `InputError` if an entry is none of a circuit of this size, or one of `without`."""
    shapes: dict[str, tuple[int, ...]] = {f"{_CELL}{name}": (units,) for name in _NEURON}
    for prefix, sources in (("", units), ("sensory_", inputs)):
        for name in (*_SYNAPSE.values(), "sparsity_mask"):
            shapes[f"{_CELL}{prefix}{name}"] = (sources, units)
    for side, size in (("input", inputs), ("output", outputs)):
        shapes |= {f"{_CELL}{side}_{name}": (size,) for name in _MAPPING.values()}
    memory = dict(
        zip(_MEMORY, ((4 * units, inputs), (4 * units,), (4 * units, units)), strict=True)
    )
    shapes |= {f"lstm.{name}": shape for name, shape in memory.items()}
    shapes = {key: shape for key, shape in shapes.items() if key not in without}
    for key, value in state.items():
        if tuple(value.shape) != shapes.get(key):
            what = f"shape {shapes[key]}" if key in shapes else "no such entry"
            raise InputError(
                f"{key!r} of the state has shape {tuple(value.shape)}, expected {what} in an LTC "
                f"of {inputs} inputs, {units} neurons and {outputs} outputs; "
                "elegans.from_ncps(state_dict) builds the layer that a whole state is of"
            )


def save(model: LTC) -> dict[str, Tensor]:
    """Return the parameters of `model` as an ``ncps.torch.LTC`` of the same wiring holds them.

    Entries of absent synapses, which have no effect, are those of a neutral synapse. Parallel
    synapses cannot be expressed in matrices, and gap junctions are no part of an ``ncps`` LTC.

    Raises
    ------
    InputError
        Two synapses are parallel, or the model has gap junctions.
    """
    cell = model.cell
    _require_chemical(model)
    state: dict[str, Tensor] = {}
    for prefix, synapses in (("", cell.recurrent), ("sensory_", cell.sensory)):
        if synapses.synapses().has_parallel:
            raise InputError(
                "the model has parallel synapses, which the matrices of ncps cannot hold; remove "
                "all but one of each pair"
            )
        slots = synapses.open_slots()
        values = {name: getattr(synapses, name).detach()[slots] for name in _SYNAPSE}
        values["erev"] = synapses.values().erev.detach()[slots]
        ends = (synapses.source[slots], synapses.target[slots])
        shape = (_sources(model, prefix), model.state_size)
        for ours, theirs in _SYNAPSE.items():
            matrix = values[ours].new_zeros(shape)
            matrix[ends] = values[ours]
            state[f"{_CELL}{prefix}{theirs}"] = matrix
        mask = synapses.weight.new_zeros(shape)
        mask[ends] = 1
        state[f"{_CELL}{prefix}sparsity_mask"] = mask
    for name in _NEURON:
        state[_CELL + name] = getattr(cell, name).detach().clone()
    for side, mapping in (("input", cell.input_mapping), ("output", cell.output_mapping)):
        for name, parameter in mapping.named_parameters():
            state[f"{_CELL}{side}_{_MAPPING[name]}"] = parameter.detach().clone()
    if model.memory is not None:
        for name in _MEMORY:
            state[f"lstm.{name}"] = model.memory.get_parameter(name).detach().clone()
    return state


def _require_chemical(model: LTC) -> None:
    """Raise `InputError` if the model has open gap junctions, or outputs elsewhere."""
    require_first_outputs(model.cell)
    junctions = model.cell.electrical
    if junctions is not None and junctions.open_count:
        raise InputError(
            f"got a model with {junctions.open_count} gap junctions, expected chemical synapses "
            "only: the equation of an ncps LTC has no place for them; keep the model with "
            "elegans.save, or prune them all"
        )


def require_first_outputs(cell: WiredCell) -> None:
    """Raise `InputError` unless the outputs are the first neurons, as those of ``ncps`` are."""
    if cell.output_index is not None:
        raise InputError(
            f"got outputs that read the neurons {shown(cell.output_neurons.tolist())}, expected "
            "the first ones, which ncps reads; keep the model with elegans.save"
        )


def _get(state_dict: Mapping[str, Tensor], name: str, prefix: str = _CELL) -> Tensor:
    if prefix + name not in state_dict:
        raise InputError(
            f"{prefix + name!r} is missing: this is not the state_dict() of an ncps.torch.LTC "
            f"with the same options; it holds {sorted(state_dict)[:6]} ..."
        )
    return state_dict[prefix + name].detach()


def _sources(model: LTC, prefix: str) -> int:
    return model.input_size if prefix else model.state_size


def _mapping_kind(state_dict: Mapping[str, Tensor], side: str) -> str | None:
    if f"{_CELL}{side}_b" in state_dict:
        return "affine"
    return "linear" if f"{_CELL}{side}_w" in state_dict else None


def _connections(mask: Tensor, erev: Tensor) -> Synapses:
    source, target = np.nonzero(mask.detach().cpu().numpy())
    reversal = erev.detach().cpu().float().numpy()[source, target]
    return Synapses(source, target, np.where(reversal < 0, -1, 1))
