"""Synapses dealt out to the lanes of a GPU program.

A *tile* is one synapse deep per step and a fixed number of lanes wide; every lane of a tile takes
as many steps as its longest lane. Rows (targets in the forward, sources in the backward direction)
with many synapses are cut into several lanes, and lanes of like length share a tile, so that few
steps are empty.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Array = Any

TILE_COST, PART_COST = 4, 2
"""Cost of a tile, and of a further part of a row, besides synapses, in steps."""

MOST_CUTS = 64


class Tiles(NamedTuple):
    """Indices by which the lanes of a kernel find their synapses."""

    other: Tensor
    """The row at the far end of each synapse, int32, (position,); a row of zeros where none is.

    The synapse of a lane at a step stands at position step * width of a tile + lane.
    """
    own: Tensor
    """The row that a lane belongs to, int32, (lane,)."""
    begin: Tensor
    """The step at which each tile begins, int32, (tile + 1,)."""
    part: Tensor
    """The lanes of each row, int32, (part, row); a lane of zeros where there is none."""
    positions: int
    lanes: int
    tiles: int
    parts: int


@dataclass(frozen=True)
class Dealt:
    """Synapses dealt out to lanes."""

    tiles: Tiles
    slot: Array
    """The synapse at each position, (position,); one past the last synapse where there is none."""
    position: Array
    """The inverse: the position of each synapse, (synapse,)."""


def deal(
    row: Array,
    other: Array,
    rows: int,
    others: int,
    width: int,
    device: torch.device | str = "cpu",
) -> Dealt:
    """Deal synapses between `row` and `other`, int arrays (synapse,), out to tiles of `width`."""
    order = np.argsort(row, kind="stable")
    degree = np.bincount(row, minlength=rows)
    cuts = _cuts(degree, width)
    owner = np.repeat(np.arange(rows), cuts)
    rank = _count_up(cuts)
    length = degree[owner] // cuts[owner] + (rank < degree[owner] % cuts[owner])

    longest_first = np.argsort(-length, kind="stable")
    lane = np.empty(len(owner), np.int64)
    lane[longest_first] = np.arange(len(owner))
    tiles = -(-len(owner) // width)
    begin = np.concatenate([[0], np.cumsum(length[longest_first][::width])])

    lane_of = np.repeat(lane, length)
    position = np.empty(len(row), np.int64)
    position[order] = (begin[lane_of // width] + _count_up(length)) * width + lane_of % width

    positions = (int(begin[-1]) + 2) * width  # kernels look two steps ahead
    slot = np.full(positions, len(row))
    slot[position] = np.arange(len(row))
    far = np.full(positions, others)
    far[position] = other
    own = np.full(tiles * width, rows)
    own[lane] = owner
    parts = int(cuts.max(initial=0))
    part = np.full((parts, rows), tiles * width)
    part[rank, owner] = lane
    tiling = Tiles(
        _index(far, device),
        _index(own, device),
        _index(begin, device),
        _index(part, device),
        positions,
        tiles * width,
        tiles,
        parts,
    )
    return Dealt(tiling, slot, position)


def _cuts(degree: Array, width: int) -> Array:
    """Return into how many lanes each row is cut, (row,): the cheapest of some equal lengths."""
    best, least = np.zeros_like(degree), np.inf
    for pieces in range(1, MOST_CUTS + 1):
        length = max(1, -(-int(degree.max(initial=0)) // pieces))
        cuts = -(-degree // length)
        owner = np.repeat(np.arange(len(degree)), cuts)
        longest_first = np.sort(-(-degree[owner] // cuts[owner]))[::-1][::width]
        reads = int(cuts.max(initial=0)) * -(-len(degree) // width)
        cost = longest_first.sum() + TILE_COST * len(longest_first) + PART_COST * reads
        if cost < least:
            best, least = cuts, cost
    return best


def _index(array: Array, device: torch.device | str) -> Tensor:
    return torch.from_numpy(array.astype(np.int32)).to(device)


def _count_up(counts: Array) -> Array:
    """Return 0, 1, ..., n - 1 for each n of `counts`, joined."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


class Layout:
    """Recurrent synapses, sensory ones and junctions of a circuit, dealt out in both directions.

    Parameters
    ----------
    ends
        `source` (synapse,), sorted by target, and `start` (neuron + 1,) of the recurrent synapses,
        of the sensory synapses, and of the entries of junctions, int32.
    inputs
        The number of rows that sensory synapses come from.
    width
        Lanes of a tile.
    """

    by_target: tuple[Tiles, ...]
    """Of the recurrent synapses, of the sensory ones, and of the junctions."""
    by_source: tuple[Tiles, ...]

    def __init__(self, ends: tuple[Tensor, ...], inputs: int, width: int) -> None:
        device = ends[0].device
        arrays = [t.cpu().numpy() for t in ends]
        neurons = len(arrays[1]) - 1
        targets = [np.repeat(np.arange(neurons), np.diff(start)) for start in arrays[1::2]]
        sets = [
            (source, target, inputs if k == 1 else neurons)
            for k, (source, target) in enumerate(zip(arrays[::2], targets, strict=True))
        ]
        dealt = [
            *(deal(target, source, neurons, rows, width, device) for source, target, rows in sets),
            *(deal(source, target, rows, neurons, width, device) for source, target, rows in sets),
        ]
        self.by_target = tuple(d.tiles for d in dealt[: len(sets)])
        self.by_source = tuple(d.tiles for d in dealt[len(sets) :])

        # Places in the values of all sets of synapses, joined, with one zero at the end.
        counts = [len(source) for source, _, _ in sets]
        bounds = np.cumsum([0, *(4 * count for count in counts)]).tolist()
        laid_out, restored, begin = [], [], 0
        for k, d in enumerate(dealt):
            count, offset = counts[k % len(sets)], bounds[k % len(sets)]
            of_row = np.arange(4)[:, None]
            place = offset + of_row * count + d.slot
            laid_out.append(np.where(d.slot < count, place, bounds[-1]).ravel())
            if k >= len(sets):
                restored.append((begin + of_row + 4 * d.position).ravel())
                begin += 4 * len(d.slot)
        self._lengths = [len(places) for places in laid_out]
        self._laid_out = torch.from_numpy(np.concatenate(laid_out)).to(device)
        self._restored = torch.from_numpy(np.concatenate(restored)).to(device)
        self._neuron_begins = begin
        self._sizes = [4 * count for count in counts]

    @classmethod
    def of(cls, *ends: Tensor, inputs: int, width: int) -> Layout:
        """Return the layout for these `ends`; remembered until one of them is edited."""
        if any(t.is_inference() for t in ends):
            return cls(ends, inputs, width)
        key = inputs, tuple(t._version for t in ends)
        kept = _REMEMBERED.setdefault(ends[0], {})
        if width in kept:
            old_key, others, layout = kept[width]
            if old_key == key and all(r() is t for r, t in zip(others, ends[1:], strict=True)):
                remembered: Layout = layout
                return remembered
        layout = cls(ends, inputs, width)
        kept[width] = key, [weakref.ref(t) for t in ends[1:]], layout
        return layout

    def lay_out(self, *values: Tensor, both_ways: bool) -> list[Tensor]:
        """Return values (4, synapse) in the order of the lanes, by target and then by source.

        Each is (4, position), flattened; where there is no synapse all four are zero.
        """
        joined = torch.cat([*(value.flatten() for value in values), values[0].new_zeros(1)])
        lengths = self._lengths if both_ways else self._lengths[: len(values)]
        places = self._laid_out if both_ways else self._laid_out[: sum(lengths)]
        return list(joined.index_select(0, places).split(lengths))

    def collect(self, sums: Tensor, neuron: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the values of each set and of `neuron` from those by source.

        `sums` joins the gradients at the positions of the synapses of each set, (position, 4), and
        those of `neuron`.
        """
        of_values = sums.index_select(0, self._restored)
        begin = self._neuron_begins
        of_neuron = sums[begin : begin + neuron.numel()].view_as(neuron)
        of_sets = of_values.split(self._sizes)
        return *(of_set.view(4, -1) for of_set in of_sets), of_neuron


_REMEMBERED: Any = WeakTensorKeyDictionary()
"""By `source` and then by width."""
