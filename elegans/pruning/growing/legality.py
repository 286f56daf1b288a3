"""Legal rewirings: the invariants of a wiring that prune-and-rewire keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import require_bytes
from elegans.errors import PruningError
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Wiring
from elegans.wiring.wiring import SENSORY

_LISTED = 4096
"""Pools of so many places are listed; in larger ones places are drawn."""

Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Numbers of sets, sources and targets of synapses, each (place,)."""


@dataclass(frozen=True)
class Freedom:
    """Where a synapse may go when it moves; see `elegans.PruneRewire`."""

    keep_sources: bool = False
    keep_blocks: bool = True
    self_synapses: bool = False
    max_inputs: int | None = None
    keep_sets: bool = True

    def __post_init__(self) -> None:
        if self.keep_blocks and not self.keep_sets:
            raise PruningError(
                "got keep_sets=False and keep_blocks=True, but a synapse that changes its set "
                "leaves its block; pass keep_blocks=False as well"
            )
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
    """A synapse of a cell: the name of its set, such as ``"recurrent"``, and its slot."""

    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Places that synapses compete for: pairs of the neurons in two ranges, or several.

    A block is (number of its set, first source, end of sources, first target, end of targets).
    """

    blocks: tuple[tuple[int, int, int, int, int], ...]


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
        self.is_mutual = synapses.is_mutual
        self.is_open = synapses.is_open.cpu().numpy()
        self.spare = np.flatnonzero(~synapses.mask.cpu().numpy()).tolist()
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
    pairs with its source and the layer of its target; of the two layers of its block; of all blocks
    that its set has, as far as its slots may lead there; or of all blocks of all sets, while the
    other set has a slot to spare.

    Gap junctions are no inputs and outputs in this sense, and stay in their set: any may be cut,
    and one may grow between two different neurons that have none.

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
        for edges in (each for each in self._sets.values() if not each.is_mutual):
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
        self.kinds = list(self._sets)
        sources = [0, *(wiring.input_size if is_sensory(k) else units for k in self.kinds)]
        self._first = np.cumsum(sources[:-1]) * units  # a place is first + source * units + target
        self._is_sensory = np.array([is_sensory(name) for name in self.kinds])
        self._is_mutual = np.array([edges.is_mutual for edges in self._sets.values()])
        codes = [
            self._codes(np.full(len(edges.source), k), edges.source, edges.target)[edges.is_open]
            for k, edges in enumerate(self._sets.values())
        ]
        self._taken = np.unique(np.concatenate(codes))
        self._grown: set[int] = set()
        starts = np.cumsum([0, *wiring.layers.values()])
        self._ranges = [*pairwise(map(int, starts)), (0, wiring.input_size)]
        self._all_blocks: dict[tuple[str, ...], Pool] = {}

    def ends(self, slot: Slot) -> tuple[int, int]:
        """Return the source and the present target of `slot`."""
        edges = self._sets[slot.kind]
        return int(edges.source[slot.index]), int(edges.target[slot.index])

    def spare(self, kind: str) -> list[int]:
        """Return the slots of a set that were empty when the round began."""
        return list(self._sets[kind].spare)

    def pools(self, slot: Slot, kinds: Iterable[str]) -> list[Pool]:
        """Return the places that `slot` may move to, free or not: in all `kinds`, or in its own.

        Those in its own set come again where sets are free: the other set may have no slot left.
        """
        own = self._pool(slot, (slot.kind,))
        if self._freedom.keep_sets or self._sets[slot.kind].is_mutual:
            return [own]
        kinds = [kind for kind in kinds if not self._sets[kind].is_mutual]
        everywhere = self._pool(slot, kinds)
        return [own] if own == everywhere else [everywhere, own]

    def _pool(self, slot: Slot, kinds: Iterable[str]) -> Pool:
        edges, index = self._sets[slot.kind], slot.index
        own, targets = self.kinds.index(slot.kind), self._ranges[edges.target_layer[index]]
        if self._freedom.keep_sources:
            source = int(edges.source[index])
            return Pool(((own, source, source + 1, *targets),))
        if self._freedom.keep_blocks or edges.keeps_blocks:
            return Pool(((own, *self._ranges[edges.source_layer[index]], *targets),))
        chosen = tuple(kind for kind in kinds if not self._sets[kind].keeps_blocks)
        if chosen not in self._all_blocks:
            blocks = sorted(
                (self.kinds.index(kind), a, b) for kind, a, b in self._in_block if kind in chosen
            )
            self._all_blocks[chosen] = Pool(
                tuple((kind, *self._ranges[a], *self._ranges[b]) for kind, a, b in blocks)
            )
        return self._all_blocks[chosen]

    def may_cut(self, slot: Slot, *, moves: bool = True) -> bool:
        """Whether the ends of `slot` keep what they need when it moves, or goes for good."""
        edges = self._sets[slot.kind]
        if edges.is_mutual:
            return True
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
        sizes = [(b - a) * (d - c) for _, a, b, c, d in pool.blocks]
        total = sum(sizes)
        if count is not None and total > max(_LISTED, 4 * count):
            drawn = rng.integers(total, size=2 * count + 16)
            _, first = np.unique(drawn, return_index=True)
            kind, source, target = self._free(pool, drawn[np.sort(first)], sizes)
            if len(source) >= count:
                return kind[:count], source[:count], target[:count]
        if total > 1 << 20:
            require_bytes(
                40 * total,
                f"a list of the {total} places where synapses could grow",
                "let the growth rule consider fewer candidates",
            )
        places = np.arange(total)
        if count is not None:
            rng.shuffle(places)
        kind, source, target = self._free(pool, places, sizes)
        return kind[:count], source[:count], target[:count]

    def _free(self, pool: Pool, places: NDArray[np.int64], sizes: list[int]) -> Places:
        """Return the ends of those of `places`, numbered through the pool, that are free."""
        block = np.searchsorted(np.cumsum(sizes), places, side="right")
        kind, source, _, target, end = np.array(pool.blocks).reshape(-1, 5)[block].T
        within = places - (np.cumsum(sizes) - sizes)[block]
        row, column = np.divmod(within, end - target)
        source, target = source + row, target + column
        code, taken = self._codes(kind, source, target), self._taken
        at = np.minimum(np.searchsorted(taken, code), max(0, len(taken) - 1))
        free = taken[at] != code if len(taken) else np.ones(len(code), dtype=bool)
        if self._grown:
            free &= ~np.isin(code, list(self._grown))
        mutual = self._is_mutual[kind]
        may_loop = self._is_sensory[kind] | (self._freedom.self_synapses & ~mutual)
        free &= may_loop | (source != target)
        if self._freedom.max_inputs is not None:
            free &= mutual | (self._inputs_from[:, target].sum(0) < self._freedom.max_inputs)
        if mutual.any():  # a pair comes once, whichever end was drawn as its source
            first = np.zeros(len(code), np.bool_)
            first[np.unique(code, return_index=True)[1]] = True
            free &= first | ~mutual
        return kind[free], source[free], target[free]

    def is_free_still(self, kind: str, source: int, target: int) -> bool:
        """Whether a place that was free when the round began is so still."""
        most = self._freedom.max_inputs
        limited = most is not None and not self._sets[kind].is_mutual
        if limited and self._inputs_from[:, target].sum() >= most:
            return False
        return self._code(kind, source, target) not in self._grown

    def move(self, slot: Slot, to: Slot, source: int, target: int) -> None:
        """Record that `to`, which may be `slot`, leads from `source` to `target` in its place."""
        edges = self._sets[to.kind]
        self._count(slot, -1)
        edges.source[to.index], edges.target[to.index] = source, target
        if not self._freedom.keep_blocks:
            edges.target_layer[to.index] = self._layer_of[target]
            if not edges.is_sensory:
                edges.source_layer[to.index] = self._layer_of[source]
        self._count(to, 1)
        self._grown.add(self._code(to.kind, source, target))

    def _code(self, kind: str, source: int, target: int) -> int:
        return int(self._codes(self.kinds.index(kind), source, target))

    def _codes(self, kind: Any, source: Any, target: Any) -> Any:
        """Return a number for each place; a pair that shares a junction has one only."""
        mutual = self._is_mutual[kind]
        low = np.where(mutual, np.minimum(source, target), source)
        high = np.where(mutual, np.maximum(source, target), target)
        return self._first[kind] + low * self._wiring.units + high

    def cut(self, slot: Slot) -> None:
        """Record that `slot` is empty now."""
        self._count(slot, -1)

    def _count(self, slot: Slot, change: int) -> None:
        edges = self._sets[slot.kind]
        source, target = self.ends(slot)
        if not edges.is_mutual:
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
        kinds = list(kinds)
        roomy = [kind for kind in kinds if self._sets[kind].spare]
        for kind in kinds:
            for index in np.flatnonzero(self._sets[kind].is_open).tolist():
                for pool in self.pools(Slot(kind, index), {kind: None, **dict.fromkeys(roomy)}):
                    if pool not in full and len(self.free_places(pool, None, rng)[0]):
                        return True
                    full.add(pool)
        return False
