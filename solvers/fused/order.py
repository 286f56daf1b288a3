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


_remembered: dict[int, tuple[Any, Any, ByTarget]] = {}
"""By id of a source: a reference to it, its edits, the result."""


def _forget(place: int, remembered: dict[int, Any], _: Any) -> None:
    # `remembered` is an argument: a module's names are gone before its objects when Python ends.
    remembered.pop(place, None)


def by_target(source: Tensor, target: Tensor, neurons: int) -> ByTarget:
    """Return the synapses by target; remembered until `source` or `target` is edited."""
    if source.is_inference() or target.is_inference():  # these do not count their edits
        return ByTarget.of(source, target, neurons)
    place, edits = id(source), (source._version, id(target), target._version, neurons)
    entry = _remembered.get(place)
    if entry is not None and entry[0]() is source and entry[1] == edits:
        return entry[2]
    result = ByTarget.of(source, target, neurons)
    _remembered[place] = weakref.ref(source, partial(_forget, place, _remembered)), edits, result
    return result
