"""Legal rewirings: the invariants of a wiring that prune-and-rewire keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Wiring
from elegans.wiring.wiring import SENSORY

_DRAWS = 16


@dataclass(frozen=True, slots=True)
class Slot:
    """A synapse of a cell: the name of its set, ``"recurrent"`` or ``"sensory"``, and its slot."""

    kind: str
    index: int


def is_sensory(name: str) -> bool:
    """Whether the synapses of a set come from inputs."""
    return name.endswith(SENSORY)


class Connections:
    """Sources and targets of one set of synapses, in the order of the slots, and which are open."""

    def __init__(self, name: str, wiring: Wiring, synapses: SynapseSlots) -> None:
        self.is_open, self.source, target = (
            getattr(synapses, column).cpu().numpy() for column in ("mask", "source", "target")
        )
        self.target = target.copy()  # changes while the wiring is edited
        self.source_layer = (
            np.full(len(target), SENSORY) if is_sensory(name) else wiring.layer_of[self.source]
        )
        self.target_layer = wiring.layer_of[target]


class Legality:
    """Keeps count of a wiring while it is being edited.

    A synapse may be cut when its target keeps another input, not counting its own synapse onto
    itself: from the same source layer if the synapse comes from another layer, from anywhere if it
    comes from its target's own. It may grow onto a neuron of the same target layer that its source
    does not reach and that it has not just lost. Since the source stays, no source loses its last
    output and the number of synapses of every block (source layer, target layer) is conserved.

    Parameters
    ----------
    wiring
        The circuit, for its layers.
    sets
        The connections by kind.
    weak
        The slots that will be asked about.
    self_synapses
        Whether a neuron may grow a synapse onto itself.
    """

    def __init__(
        self,
        wiring: Wiring,
        sets: dict[str, Connections],
        weak: Iterable[Slot],
        *,
        self_synapses: bool,
    ) -> None:
        self._wiring = wiring
        self._sets = sets
        self._self_synapses = self_synapses
        self._inputs: Counter[int] = Counter()
        self._inputs_from: Counter[tuple[str, int]] = Counter()
        for kind, connections in sets.items():
            target, is_open = connections.target, connections.is_open
            counted = is_open if is_sensory(kind) else is_open & (connections.source != target)
            self._inputs.update(target[counted].tolist())
            self._inputs_from.update(
                zip(
                    connections.source_layer[is_open].tolist(),
                    target[is_open].tolist(),
                    strict=True,
                )
            )
        # How often a source reaches each target (more than once if parallel), for the sources
        # of weak synapses: the others need not be looked at, however many there are.
        self._reached: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        self._reached_in: Counter[tuple[str, int, str]] = Counter()  # different targets of a layer
        slots = list(weak)
        for kind, connections in sets.items():
            asked = connections.source[[slot.index for slot in slots if slot.kind == kind]]
            rows = np.isin(connections.source, asked) & connections.is_open
            pairs = zip(
                connections.source[rows].tolist(), connections.target[rows].tolist(), strict=True
            )
            layers = connections.target_layer[rows].tolist()
            for (j, i), layer in zip(pairs, layers, strict=True):
                self._count_reached(kind, j, layer, i, 1)

    def ends(self, slot: Slot) -> tuple[int, int]:
        """Return the source and the present target of `slot`."""
        connections = self._sets[slot.kind]
        return int(connections.source[slot.index]), int(connections.target[slot.index])

    def may_cut(self, slot: Slot) -> bool:
        """Whether the target of `slot` keeps another input without it."""
        connections = self._sets[slot.kind]
        layer = str(connections.source_layer[slot.index])
        source, target = self.ends(slot)
        if not is_sensory(slot.kind) and source == target:
            return self._inputs[target] > 0
        if layer == connections.target_layer[slot.index]:
            return self._inputs[target] > 1
        return self._inputs_from[layer, target] > 1

    def is_free(self, slot: Slot, target: int) -> bool:
        """Whether `slot` may move to `target`, a neuron of the layer it leads to."""
        source, _ = self.ends(slot)  # its present target is reached, hence not free
        if not is_sensory(slot.kind) and not self._self_synapses and source == target:
            return False
        return not self._reached[slot.kind, source][target]

    def free_targets(self, slot: Slot, rng: np.random.Generator) -> Iterator[int]:
        """Draw the targets that `slot` may move to, each once, in random order."""
        name = str(self._sets[slot.kind].target_layer[slot.index])
        layer = self._wiring.layer_range(name)
        if self._reached_in[slot.kind, self.ends(slot)[0], name] == len(layer):
            return
        drawn: set[int] = set()
        # In a large layer a few draws find a free neuron; only if not, all of it is listed.
        for i in rng.integers(layer.start, layer.stop, size=_DRAWS).tolist():
            if i not in drawn and self.is_free(slot, i):
                drawn.add(i)
                yield i
        rest = [i for i in layer if i not in drawn and self.is_free(slot, i)]
        yield from rng.permutation(rest).tolist()

    def move(self, slot: Slot, target: int) -> None:
        """Record that `slot` leads to `target` now."""
        connections = self._sets[slot.kind]
        layer = str(connections.source_layer[slot.index])
        source, lost = self.ends(slot)
        target_layer = str(connections.target_layer[slot.index])
        for neuron, change in ((lost, -1), (target, 1)):
            if is_sensory(slot.kind) or neuron != source:
                self._inputs[neuron] += change
            self._inputs_from[layer, neuron] += change
            self._count_reached(slot.kind, source, target_layer, neuron, change)
        connections.target[slot.index] = target

    def _count_reached(self, kind: str, source: int, layer: str, target: int, change: int) -> None:
        reached = self._reached[kind, source]
        before, after = reached[target], reached[target] + change
        reached[target] = after
        self._reached_in[kind, source, layer] += (after > 0) - (before > 0)


def has_room(wiring: Wiring, connections: Mapping[str, Connections], self_synapses: bool) -> bool:
    """Whether some source could reach another neuron of a layer that it reaches."""
    for kind, edges in connections.items():
        loops_barred = not is_sensory(kind) and not self_synapses
        reached: dict[tuple[int, str], set[int]] = defaultdict(set)
        rows = (edges.source, edges.target, edges.target_layer)
        for j, i, name in zip(*(row[edges.is_open].tolist() for row in rows), strict=True):
            reached[j, str(name)].add(i)
        for (j, name), targets in reached.items():
            neurons = wiring.layer_range(name)
            barred = loops_barred and j in neurons and j not in targets
            if len(targets) + barred < len(neurons):
                return True
    return False
