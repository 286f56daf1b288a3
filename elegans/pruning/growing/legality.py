"""Legal rewirings: the invariants of a wiring that prune-and-rewire keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import require_bytes
from elegans.errors import PruningError
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Wiring
from elegans.wiring.wiring import SENSORY

_LISTED = 4096
"""Pools of so many places are listed; in larger ones places are drawn."""

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Sources and targets of synapses, each (place,)."""


@dataclass(frozen=True)
class Freedom:
    """Where a synapse may go when it moves; see `elegans.PruneRewire`."""

    keep_sources: bool = False
    keep_blocks: bool = True
    self_synapses: bool = False
    max_inputs: int | None = None

    def __post_init__(self) -> None:
        if self.keep_sources and not self.keep_blocks:
            raise PruningError(
                "got keep_sources=True and keep_blocks=False, but a synapse that keeps its source "
                "and its kind of target stays in its block; pass keep_sources=False as well"
            )
        most = self.max_inputs
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise PruningError(
                f"max_inputs must be an integer of at least 1, or None for no limit, got {most!r}"
            )


@dataclass(frozen=True, slots=True)
class Slot:
    """A synapse of a cell: the name of its set, ``"recurrent"`` or ``"sensory"``, and its slot."""

    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Places that synapses of one kind compete for: pairs of the neurons in two ranges, or several.

    A block is (first source, end of sources, first target, end of targets).
    """

    kind: str
    blocks: tuple[tuple[int, int, int, int], ...]


def is_sensory(name: str) -> bool:
    """Whether the synapses of a set come from inputs."""
    return name.endswith(SENSORY)


class _Connections:
    """Sources and targets of one set of synapses, in the order of the slots."""

    def __init__(
        self, name: str, synapses: SynapseSlots, layer_of: NDArray[np.int64], layers: int
    ) -> None:
        self.is_sensory = is_sensory(name)
        self.keeps_blocks = synapses.keeps_blocks
        self.is_open = synapses.is_open.cpu().numpy()
        self.source = synapses.source.cpu().numpy().astype(np.int64)
        self.target = synapses.target.cpu().numpy().astype(np.int64)
        self.source_layer = (
            np.full(len(self.source), layers) if self.is_sensory else layer_of[self.source]
        )
        self.target_layer = layer_of[self.target]


class Legality:
    """Keeps count of a wiring while it is being edited.

    A synapse may be cut when its target keeps another input, not counting its own synapse onto
    itself: from the same source layer if the synapse comes from another layer, from anywhere if it
    comes from its target's own. Where sources may change, or when it goes for good, its source must
    keep another output, too; where blocks may change, or when it goes for good, its block another
    synapse.

    It may grow where no synapse was when the round began and none has grown since, in its pool: the
    pairs with its source and the layer of its target; of the two layers of its block; or of all
    blocks that its set has, as far as its slots may lead there.

    Parameters
    ----------
    wiring
        The circuit, for its layers.
    sets
        All sets of synapses of the cell by name.
    freedom
        Where synapses may go.
    """

    def __init__(self, wiring: Wiring, sets: Mapping[str, SynapseSlots], freedom: Freedom) -> None:
        self._wiring, self._freedom = wiring, freedom
        units, layers = wiring.units, len(wiring.layers)
        self._layer_of = np.repeat(np.arange(layers), list(wiring.layers.values()))
        self._sets = {
            name: _Connections(name, slots, self._layer_of, layers) for name, slots in sets.items()
        }
        self._inputs = np.zeros(units, np.int64)  # of a neuron, its own synapse not counted
        self._inputs_from = np.zeros((layers + 1, units), np.int64)  # by the layer of the source
        self._outputs = np.zeros(units, np.int64), np.zeros(wiring.input_size, np.int64)
        for edges in self._sets.values():
            source, target = edges.source[edges.is_open], edges.target[edges.is_open]
            counted = slice(None) if edges.is_sensory else source != target
            self._inputs += np.bincount(target[counted], minlength=units)
            layer = edges.source_layer[edges.is_open]
            np.add.at(self._inputs_from, (layer, target), 1)
            outputs = self._outputs[edges.is_sensory]
            outputs += np.bincount(source[counted], minlength=len(outputs))
        self._in_block: Counter[tuple[str, int, int]] = Counter()
        for name, edges in self._sets.items():
            code = (edges.source_layer * layers + edges.target_layer)[edges.is_open]
            for block, count in zip(*np.unique(code, return_counts=True), strict=True):
                self._in_block[name, int(block) // layers, int(block) % layers] = int(count)
        self._taken = {
            name: np.unique((edges.source * units + edges.target)[edges.is_open])
            for name, edges in self._sets.items()
        }
        self._grown: dict[str, set[int]] = {name: set() for name in self._sets}
        starts = np.cumsum([0, *wiring.layers.values()])
        self._ranges = [*pairwise(map(int, starts)), (0, wiring.input_size)]
        self._all_blocks: dict[str, Pool] = {}

    def ends(self, slot: Slot) -> tuple[int, int]:
        """Return the source and the present target of `slot`."""
        edges = self._sets[slot.kind]
        return int(edges.source[slot.index]), int(edges.target[slot.index])

    def pool(self, slot: Slot) -> Pool:
        """Return the places that `slot` may move to, free or not."""
        edges, index = self._sets[slot.kind], slot.index
        targets = self._ranges[edges.target_layer[index]]
        if self._freedom.keep_sources:
            source = int(edges.source[index])
            return Pool(slot.kind, ((source, source + 1, *targets),))
        if self._freedom.keep_blocks or edges.keeps_blocks:
            return Pool(slot.kind, ((*self._ranges[edges.source_layer[index]], *targets),))
        if slot.kind not in self._all_blocks:
            pairs = sorted((a, b) for kind, a, b in self._in_block if kind == slot.kind)
            blocks = tuple((*self._ranges[a], *self._ranges[b]) for a, b in pairs)
            self._all_blocks[slot.kind] = Pool(slot.kind, blocks)
        return self._all_blocks[slot.kind]

    def may_cut(self, slot: Slot, *, moves: bool = True) -> bool:
        """Whether the ends of `slot` keep what they need when it moves, or goes for good."""
        edges = self._sets[slot.kind]
        source, target = self.ends(slot)
        is_loop = not edges.is_sensory and source == target
        outputs = self._outputs[edges.is_sensory]
        stays = moves and self._freedom.keep_sources
        if not (stays or is_loop or outputs[source] > 1):
            return False
        if not (moves and self._freedom.keep_blocks) and self._in_block[self._block(slot)] < 2:
            return False
        if is_loop:
            return bool(self._inputs[target] > 0)
        layer = edges.source_layer[slot.index]
        if layer == edges.target_layer[slot.index]:
            return bool(self._inputs[target] > 1)
        return bool(self._inputs_from[layer, target] > 1)

    def free_places(self, pool: Pool, count: int | None, rng: np.random.Generator) -> Places:
        """Return free places of a pool: `count` of them drawn at random, or fewer; or all."""
        sizes = [(b - a) * (d - c) for a, b, c, d in pool.blocks]
        total = sum(sizes)
        if count is not None and total > max(_LISTED, 4 * count):
            drawn = rng.integers(total, size=2 * count + 16)
            _, first = np.unique(drawn, return_index=True)
            source, target = self._free(pool, drawn[np.sort(first)], sizes)
            if len(source) >= count:
                return source[:count], target[:count]
        if total > 1 << 20:
            require_bytes(
                40 * total,
                f"a list of the {total} places where synapses of {pool.kind} could grow",
                "let the growth rule consider fewer candidates",
            )
        places = np.arange(total)
        if count is not None:
            rng.shuffle(places)
        source, target = self._free(pool, places, sizes)
        return source[:count], target[:count]

    def _free(self, pool: Pool, places: NDArray[np.int64], sizes: list[int]) -> Places:
        """Return the ends of those of `places`, numbered through the pool, that are free."""
        block = np.searchsorted(np.cumsum(sizes), places, side="right")
        bounds = np.array(pool.blocks).reshape(-1, 4)[block]
        within = places - (np.cumsum(sizes) - sizes)[block]
        source, target = np.divmod(within, bounds[:, 3] - bounds[:, 2])
        source, target = source + bounds[:, 0], target + bounds[:, 2]
        code, taken = source * self._wiring.units + target, self._taken[pool.kind]
        at = np.minimum(np.searchsorted(taken, code), max(0, len(taken) - 1))
        free = taken[at] != code if len(taken) else np.ones(len(code), dtype=bool)
        if self._grown[pool.kind]:
            free &= ~np.isin(code, list(self._grown[pool.kind]))
        if not is_sensory(pool.kind) and not self._freedom.self_synapses:
            free &= source != target
        if self._freedom.max_inputs is not None:
            free &= self._inputs_from[:, target].sum(0) < self._freedom.max_inputs
        return source[free], target[free]

    def is_free_still(self, kind: str, source: int, target: int) -> bool:
        """Whether a place that was free when the round began is so still."""
        most = self._freedom.max_inputs
        if most is not None and self._inputs_from[:, target].sum() >= most:
            return False
        return source * self._wiring.units + target not in self._grown[kind]

    def move(self, slot: Slot, source: int, target: int) -> None:
        """Record that `slot` leads from `source` to `target` now."""
        edges = self._sets[slot.kind]
        self._count(slot, -1)
        edges.source[slot.index], edges.target[slot.index] = source, target
        if not self._freedom.keep_blocks:
            edges.target_layer[slot.index] = self._layer_of[target]
            if not edges.is_sensory:
                edges.source_layer[slot.index] = self._layer_of[source]
        self._count(slot, 1)
        self._grown[slot.kind].add(source * self._wiring.units + target)

    def cut(self, slot: Slot) -> None:
        """Record that `slot` is empty now."""
        self._count(slot, -1)

    def _count(self, slot: Slot, change: int) -> None:
        edges = self._sets[slot.kind]
        source, target = self.ends(slot)
        if edges.is_sensory or source != target:
            self._inputs[target] += change
            self._outputs[edges.is_sensory][source] += change
        self._inputs_from[edges.source_layer[slot.index], target] += change
        self._in_block[self._block(slot)] += change

    def _block(self, slot: Slot) -> tuple[str, int, int]:
        """Return the set of a synapse, and the layers that it leads from and to."""
        edges = self._sets[slot.kind]
        return slot.kind, int(edges.source_layer[slot.index]), int(edges.target_layer[slot.index])

    def has_room(self, kinds: Iterable[str]) -> bool:
        """Whether some open synapse of the sets `kinds` could move, if its ends let it go."""
        rng = np.random.default_rng(0)  # not used: all places are listed
        full: set[Pool] = set()
        for kind in kinds:
            for index in np.flatnonzero(self._sets[kind].is_open).tolist():
                pool = self.pool(Slot(kind, index))
                if pool not in full and len(self.free_places(pool, None, rng)[0]):
                    return True
                full.add(pool)
        return False
