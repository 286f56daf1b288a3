"""A mutable list of synapses, for families that draw one synapse after the other."""

from __future__ import annotations

from elegans.wiring.synapses import Synapses


class GrowingSynapses:
    """Collects synapses; drawing a pair again replaces its polarity."""

    BYTES = 320
    """What a synapse takes, about, while it is collected and frozen."""

    def __init__(self) -> None:
        self._polarity: dict[tuple[int, int], int] = {}

    def add(self, source: int, target: int, polarity: int) -> None:
        """Add the synapse, or replace the polarity of the one that is there."""
        self._polarity[int(source), int(target)] = int(polarity)

    def freeze(self) -> Synapses:
        """Return what was collected."""
        return Synapses.from_rows((j, i, p) for (j, i), p in self._polarity.items())
