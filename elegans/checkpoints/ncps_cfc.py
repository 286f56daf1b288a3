"""Exchange of CfC parameters with ``ncps``.

A wired ``ncps`` CfC keeps a dense matrix and a mask a layer, the layer nearest to the input first,
and its states in that order; ours has the motor neurons first. The dense one concatenates inputs
and state where ours keeps two matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elegans.cfc.cell import CfCCell
from elegans.cfc.layer import CfC
from elegans.cfc.wired_cell import WiredCfCCell
from elegans.checkpoints.ncps_ltc import require_first_outputs
from elegans.checks import check_representable
from elegans.errors import InputError
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Synapses, Wiring

LAYER = CfC
CELLS = (CfCCell, WiredCfCCell)

_CELL = "rnn_cell."
_HEADS = ("ff1", "ff2")
_GATES = ("time_a", "time_b")
_PURE = {"rate": "w_tau", "asymptote": "A"}
_MASK = "sparsity_mask"
_LAYERS = {1: ("motor",), 2: ("motor", "inter"), 3: ("motor", "command", "inter")}


class _Pair(NamedTuple):
    """A part of one of our parameters, and where in which tensor ``ncps`` has it."""

    own: Tensor
    part: Any
    key: str
    shape: tuple[int, ...]
    place: Any


def is_state(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether it looks like the state of an ``ncps.torch.CfC``."""
    return any(f"{_CELL}{prefix}ff1.weight" in state_dict for prefix in ("", "layer_0."))


def build(state_dict: Mapping[str, Tensor], **options: Any) -> CfC:
    """Build an `elegans.CfC` from the state of an ``ncps.torch.CfC``; see `from_ncps`.

    A wiring of ``ncps`` without layers becomes one of motor neurons only; all polarities are +1.
    """
    layers = sum(f"{_CELL}layer_{i}.{_MASK}" in state_dict for i in range(len(state_dict)))
    first = _get(state_dict, "layer_0.ff1.weight" if layers else "ff1.weight")
    settings: dict[str, Any] = {
        "mixed_memory": any(key.startswith("lstm.") for key in state_dict),
        "dtype": first.dtype,
    }
    if "fc.weight" in state_dict:
        settings["proj_size"] = len(state_dict["fc.weight"])
    prefix = "layer_0." if layers else ""
    if f"{_CELL}{prefix}w_tau" in state_dict:
        settings["mode"] = "pure"
    if layers:
        wiring = _wiring(state_dict, layers)
        settings |= {"ncps_connections": True, **options}
        model = CfC(wiring.input_size, wiring, **settings)
    else:
        deep = _backbone_keys(state_dict)
        bottom = _get(state_dict, f"{deep[0]}.weight", "") if deep else first
        settings["backbone_layers"] = len(deep)
        if deep:
            settings["backbone_units"] = len(bottom)
        units = len(first)
        if bottom.shape[1] <= units:
            raise InputError(
                f"{deep[0] if deep else _CELL + 'ff1'}.weight has shape {tuple(bottom.shape)}, "
                f"expected more columns than the {units} neurons, those of the inputs; pass "
                "ncps_model.state_dict() as it is"
            )
        model = CfC(bottom.shape[1] - units, units, **(settings | options))
    load(model, state_dict)
    return model


@torch.no_grad()
def load(model: CfC, state_dict: Mapping[str, Tensor]) -> None:
    """Load the state of an ``ncps.torch.CfC`` with the same connections and sizes into `model`.

    Raises
    ------
    InputError
        Connections or sizes differ, or the state is not one of an ``ncps`` CfC; nothing is changed.
    """
    pairs = list(_pairs(model, _backbone_keys(state_dict)))
    for pair in pairs:
        saved = _get(state_dict, pair.key, "")
        if tuple(saved.shape) != pair.shape:
            raise InputError(
                f"expected {pair.key} of shape {pair.shape}, got {tuple(saved.shape)}; use "
                "elegans.from_ncps(state_dict) to build a model of the right sizes"
            )
    masks = dict(_masks(model))
    left = sorted(set(state_dict) - {pair.key for pair in pairs} - set(masks))
    if left:
        raise InputError(
            f"the state holds {left[:6]}, for which this model has no place; use "
            "elegans.from_ncps(state_dict) to build one that has"
        )
    for key, mask in masks.items():
        if not torch.equal(_get(state_dict, key, "").cpu() != 0, mask.cpu() != 0):
            raise InputError(
                f"the state has other synapses in {key} than this model; use "
                "elegans.from_ncps(state_dict) to build one"
            )
    values = [state_dict[pair.key].to(pair.own)[pair.place] for pair in pairs]
    check_representable(values)
    for pair, value in zip(pairs, values, strict=True):
        pair.own[pair.part] = value


@torch.no_grad()
def save(model: CfC) -> dict[str, Tensor]:
    """Return the parameters of `model` as an ``ncps.torch.CfC`` holds them.

    Entries of absent synapses, which have no effect, are zero.

    Raises
    ------
    InputError
        The model has mappings, which ``ncps`` has not, or is wired without ``ncps_connections``.
    """
    cell, state = model.cell, dict(_masks(model))
    for mapping in (cell.input_mapping, cell.output_mapping):
        if mapping.kind is not None:
            raise InputError(
                f"got a model with a mapping {mapping.kind!r}, expected None for input_mapping and "
                "output_mapping: a CfC of ncps has no mappings"
            )
    deep: list[str] = []
    if isinstance(cell, CfCCell):
        # Every layer but the first is followed by two modules, or three where there is dropout.
        stride = 3 if cell.backbone_dropout else 2
        positions = [0, *range(2, 2 + stride * (cell.backbone_layers - 1), stride)]
        deep = [f"{_CELL}backbone.{i}" for i in positions[: cell.backbone_layers]]
    for own, part, key, shape, place in _pairs(model, deep):
        if key not in state:
            state[key] = own.new_zeros(shape)
        state[key][place] = own[part]
    return state


# --- correspondence ----------------------------------------------------------------------


def _pairs(model: CfC, deep: Sequence[str]) -> Iterator[_Pair]:
    """Yield the correspondence; `deep` are the keys of the layers of a backbone."""
    cell = model.cell
    if isinstance(cell, WiredCfCCell):
        _require_ncps_connections(cell)
        order = _order(cell.wiring)
        yield from _wired_pairs(cell)
    else:
        if len(deep) != cell.backbone_layers:
            raise InputError(
                f"the state has {len(deep)} layers of a backbone, this model has "
                f"{cell.backbone_layers}; use elegans.from_ncps(state_dict) to build one"
            )
        order = torch.arange(cell.state_size)
        yield from _dense_pairs(cell, deep)
    if cell.projection is not None:
        for name, own in cell.projection.named_parameters():
            yield _Pair(own, ..., f"fc.{name}", tuple(own.shape), ...)
    if model.memory is not None:
        # The four parts of the memory are as long as the state, each in its order.
        rows = (torch.arange(4).unsqueeze(1) * len(order) + order).reshape(-1)
        places = {
            "input_map.weight": rows,
            "input_map.bias": rows,
            "recurrent_map.weight": (rows[:, None], order),
        }
        for name, place in places.items():
            own = model.memory.get_parameter(name)
            yield _Pair(own, ..., f"lstm.{name}", tuple(own.shape), place)


def _dense_pairs(cell: CfCCell, deep: Sequence[str]) -> Iterator[_Pair]:
    inputs, units = cell.sensory_size, cell.state_size
    names = [f"{_CELL}{name}" for name in (_HEADS[:1] if cell.mode == "pure" else _HEADS + _GATES)]
    first, *others = [list(deep[i : i + 1]) for i in range(len(deep))] or [names]
    size = len(cell.input_map.weight) // len(first)
    for m, key in enumerate(first):
        rows = slice(m * size, (m + 1) * size)
        shape = (size, inputs + units)
        columns = (slice(None), slice(inputs)), (slice(None), slice(inputs, None))
        yield _Pair(cell.input_map.weight, rows, f"{key}.weight", shape, columns[0])
        yield _Pair(cell.recurrent_map.weight, rows, f"{key}.weight", shape, columns[1])
        yield _Pair(cell.input_map.get_parameter("bias"), rows, f"{key}.bias", (size,), ...)
    for (key,), layer in zip(others, cell.backbone, strict=True):
        for name, own in layer.named_parameters():
            yield _Pair(own, ..., f"{key}.{name}", tuple(own.shape), ...)
    if cell.maps is not None:
        for m, key in enumerate(names):
            rows = slice(m * units, (m + 1) * units)
            for name, own in cell.maps.named_parameters():
                yield _Pair(own, rows, f"{key}.{name}", (units, *own.shape[1:]), ...)
    for name, own in cell.solution.named_parameters():
        yield _Pair(own, ..., f"{_CELL}{_PURE[name]}", (1, units), 0)


def _wired_pairs(cell: WiredCfCCell) -> Iterator[_Pair]:
    sizes = _sizes(cell.wiring)
    for layer, neurons in enumerate(_neurons(cell.wiring)):
        size, before = len(neurons), sizes[layer]
        prefix, own_neurons = f"{_CELL}layer_{layer}.", slice(neurons.start, neurons.stop)
        for (maps, recurrent, sensory), names in zip(cell.groups(), (_HEADS, _GATES), strict=False):
            entries = (
                (recurrent.weight, *_entries(recurrent, cell.wiring, layer)),
                (sensory.weight, *_entries(sensory, cell.wiring, layer, sensory=True)),
            )
            for m, name in zip(range(len(recurrent.weight)), names, strict=False):
                for own, slots, place in entries:
                    shape = (size, before + size)
                    yield _Pair(own, (m, slots), f"{prefix}{name}.weight", shape, place)
                row = maps.start + m
                yield _Pair(cell.bias, (row, own_neurons), f"{prefix}{name}.bias", (size,), ...)
        for name, own in cell.solution.named_parameters():
            yield _Pair(own, own_neurons, f"{prefix}{_PURE[name]}", (1, size), 0)


def _masks(model: CfC) -> Iterator[tuple[str, Tensor]]:
    """Yield the masks that ``ncps`` would have, (neuron, source); none for a dense model."""
    cell = model.cell
    if not isinstance(cell, WiredCfCCell):
        return
    _require_ncps_connections(cell)
    sizes, sets = _sizes(cell.wiring), cell.synapse_sets()
    for layer, neurons in enumerate(_neurons(cell.wiring)):
        mask = cell.bias.new_zeros(len(neurons), sizes[layer] + len(neurons))
        mask[_entries(sets["recurrent"], cell.wiring, layer)[1]] = 1
        mask[_entries(sets["sensory"], cell.wiring, layer, sensory=True)[1]] = 1
        yield f"{_CELL}layer_{layer}.{_MASK}", mask


def _entries(
    slots: SynapseSlots, wiring: Wiring, layer: int, *, sensory: bool = False
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the slots that end in a layer, and where its matrix (neuron, source) has them."""
    neurons = _neurons(wiring)[layer]
    source, target = slots.source.long(), slots.target.long()
    inside_layer = (target >= neurons.start) & (target < neurons.stop)
    which = (inside_layer & slots.mask).nonzero()[:, 0]
    source, target = source[which], target[which]
    if not sensory:
        inside = source >= neurons.start
        inside &= source < neurons.stop
        behind = _sizes(wiring)[layer] - neurons.start  # own states come after those read
        ahead = -_neurons(wiring)[layer - 1].start if layer else 0
        source = source + torch.where(inside, behind, ahead)
    return which, (target - neurons.start, source)


def _neurons(wiring: Wiring) -> list[range]:
    """Return our indices of the neurons of each layer, the layer nearest to the input first."""
    return [wiring.layer_range(name) for name in reversed(list(wiring.layers))]


def _sizes(wiring: Wiring) -> list[int]:
    """Return the number of inputs and the sizes of the layers: layer l reads the l-th."""
    return [wiring.input_size, *map(len, _neurons(wiring))]


def _order(wiring: Wiring) -> Tensor:
    """Return at which place ``ncps`` has each of our neurons, shape (neuron,)."""
    order = torch.empty(wiring.units, dtype=torch.long)
    ours = [i for neurons in _neurons(wiring) for i in neurons]
    order[ours] = torch.arange(wiring.units)
    return order


def _require_ncps_connections(cell: WiredCfCCell) -> None:
    require_first_outputs(cell)
    if not cell.ncps_connections:
        raise InputError(
            "got a CfC that reads along its wiring alone, expected one with the connections of "
            "ncps; make it with ncps_connections=True"
        )


# --- reading a state ---------------------------------------------------------------------


def _get(state_dict: Mapping[str, Tensor], name: str, prefix: str = _CELL) -> Tensor:
    if prefix + name not in state_dict:
        raise InputError(
            f"{prefix + name!r} is missing: this is not the state_dict() of an ncps.torch.CfC "
            f"with the same options; it holds {sorted(state_dict)[:6]} ..."
        )
    return state_dict[prefix + name].detach()


def _backbone_keys(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Return the keys of the backbone's layers in their order, ``.weight`` left out."""
    start, end = f"{_CELL}backbone.", ".weight"
    keys = [key.removesuffix(end) for key in state_dict if key.startswith(start)]
    return sorted(dict.fromkeys(k for k in keys if k + end in state_dict), key=_position)


def _position(key: str) -> int:
    last = key.rpartition(".")[2]
    return int(last) if last.isdecimal() else -1


def _wiring(state_dict: Mapping[str, Tensor], count: int) -> Wiring:
    """Return the wiring that the masks of a wired model describe."""
    masks = [_get(state_dict, f"layer_{i}.{_MASK}") != 0 for i in range(count)]
    sizes = [len(mask) for mask in masks]
    inputs = masks[0].shape[1] - sizes[0]
    names = _LAYERS.get(count, ("motor", *(f"layer_{i}" for i in reversed(range(count - 1)))))
    starts = list(accumulate(reversed(sizes), initial=0))[-2::-1]  # the last layer comes first
    recurrent, sensory = [], []
    for layer, mask in enumerate(masks):
        before = mask.shape[1] - sizes[layer]
        if before < 1 or (layer and before != sizes[layer - 1]):
            read = sizes[layer - 1] if layer else "some"
            raise InputError(
                f"{_CELL}layer_{layer}.{_MASK} has shape {tuple(mask.shape)}, expected "
                f"{sizes[layer]} columns for its own neurons after {read} for what they read; pass "
                "ncps_model.state_dict() as it is"
            )
        for i, j in mask.nonzero().tolist():
            target = starts[layer] + i
            if j >= before:
                recurrent.append((starts[layer] + j - before, target, 1))
            elif layer:
                recurrent.append((starts[layer - 1] + j, target, 1))
            else:
                sensory.append((j, target, 1))
    return Wiring(
        inputs,
        dict(zip(names, reversed(sizes), strict=True)),
        Synapses.from_rows(recurrent),
        Synapses.from_rows(sensory),
    )
