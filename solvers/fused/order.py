"""Synapses in the order of their targets, as kernels read them."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor


class ByTarget(NamedTuple):
    """Synapses sorted by target, those of one target in the order of their slots."""

    order: Tensor | None
    """The slots in that order, (synapse,); None if they are in it already."""
    source: Tensor
    """int32, (synapse,)."""
    start: Tensor
    """Begin of the synapses of each target, int32, (neuron + 1,)."""

    @classmethod
    def of(cls, source: Tensor, target: Tensor, neurons: int) -> ByTarget:
        """Sort synapses by target."""
        order: Tensor | None = None
        if bool((target[1:] < target[:-1]).any()):
            order = torch.argsort(target, stable=True)
            source = source[order]
            target = target[order]
        # Not by counting, which would need a copy of all targets as int64.
        neuron = torch.arange(neurons + 1, dtype=target.dtype, device=target.device)
        start = torch.searchsorted(target, neuron, out_int32=True)
        return cls(order, source.int(), start)


class ByEnd(NamedTuple):
    """Gap junctions sorted by end: each stands there twice."""

    order: Tensor
    """The junction of each entry, (entry,)."""
    source: Tensor
    """The other end, int32, (entry,)."""
    start: Tensor
    """Begin of the entries of each neuron, int32, (neuron + 1,)."""
    way: Tensor
    """0: current flows both ways; 1: from the other end only; -1: to it only; int8, (entry,)."""

    @classmethod
    def of(cls, source: Tensor, target: Tensor, rectifying: Tensor, neurons: int) -> ByEnd:
        """Sort both ends of all junctions."""
        order, other, start = ByTarget.of(
            torch.cat([source, target]), torch.cat([target, source]), neurons
        )
        if order is None:
            order = torch.arange(2 * len(source), device=source.device)
        forth, way = order < len(source), rectifying.to(torch.int8)
        order = torch.where(forth, order, order - len(source))
        return cls(order, other, start, torch.where(forth, way[order], -way[order]))


_remembered: dict[int, tuple[Any, Any, Any]] = {}
"""By id of a source: a reference to it, its edits, the result."""


def _forget(place: int, remembered: dict[int, Any], _: Any) -> None:
    # `remembered` is an argument: a module's names are gone before its objects when Python ends.
    remembered.pop(place, None)


def by_target(source: Tensor, target: Tensor, neurons: int) -> ByTarget:
    """Return the synapses by target; remembered until `source` or `target` is edited."""
    result: ByTarget = _remember(ByTarget.of, source, target, neurons=neurons)
    return result


def by_end(source: Tensor, target: Tensor, rectifying: Tensor, neurons: int) -> ByEnd:
    """Return gap junctions by end; remembered until one of the three is edited."""
    result: ByEnd = _remember(ByEnd.of, source, target, rectifying, neurons=neurons)
    return result


def _remember(sort: Any, *columns: Tensor, neurons: int) -> Any:
    if any(column.is_inference() for column in columns):  # these do not count their edits
        return sort(*columns, neurons)
    place = id(columns[0])
    edits = sort, neurons, *((id(column), column._version) for column in columns)
    entry = _remembered.get(place)
    if entry is not None and entry[0]() is columns[0] and entry[1] == edits:
        return entry[2]
    result = sort(*columns, neurons)
    forget = partial(_forget, place, _remembered)
    _remembered[place] = weakref.ref(columns[0], forget), edits, result
    return result
