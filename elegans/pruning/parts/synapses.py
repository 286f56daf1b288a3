"""Sets of liquid synapses, as parts that can be pruned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.layers.cell import Cell
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.synapses.liquid import VALUES, SynapseParameters
from elegans.wiring.wiring import SENSORY


class SynapsePart(PrunableWeight):
    """A set of liquid synapses; a cut synapse has conductance zero and leaves the wiring."""

    members = 1

    def __init__(self, name: str, cell: Cell, kind: str) -> None:
        self.owner = name
        self.name = f"{name}.weight" if name else "weight"
        self.cell, self.kind = cell, kind
        self.synapses: SynapseParameters = cell.synapse_sets()[kind]

    @property
    def mask(self) -> Tensor:
        """Which synapses are open, shape (synapse,)."""
        mask = self.synapses.mask
        return torch.ones_like(self.synapses.source, dtype=torch.bool) if mask is None else mask

    @property
    def parameter(self) -> Tensor:
        """The parameter under the conductance."""
        return self.synapses.weight

    def weights(self) -> Tensor:
        """Return the conductances, zero where closed, shape (synapse,)."""
        return self.synapses.values().weight.detach()

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the conductance, shape (synapse,)."""
        return self.synapses.positivity().slope_of(self.synapses.weight, gradient)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Number of sources and of targets that the synapses have."""
        ends = self.synapses.source, self.synapses.target
        return tuple(len(torch.unique(end)) for end in ends)

    def unit_of(self) -> Tensor:
        """Return the target of each synapse, shape (synapse,)."""
        return self.synapses.target.long()

    def block_of(self) -> Tensor:
        """Return a number for the pair (source layer, target layer) of each synapse."""
        wiring = self.cell.wiring
        layers = {name: k for k, name in enumerate((*wiring.layers, SENSORY))}
        number = np.array([layers[str(name)] for name in wiring.layer_of], dtype=np.int64)
        target = number[self.synapses.target.cpu().numpy()]
        source = np.full_like(target, layers[SENSORY])
        if self.kind != SENSORY:
            source = number[self.synapses.source.cpu().numpy()]
        return torch.from_numpy(source * len(layers) + target).to(self.mask.device)

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Leave the synapses of `mask` open; forget what is remembered of those that changed."""
        changed = self.mask ^ mask
        if self.synapses.mask is not None or not bool(mask.all()):
            self.synapses.hold_mask(mask)
        for _, parameter in self.named_parameters():
            moments.reset(parameter, changed)

    @property
    def possible(self) -> int:
        """Number of pairs of neurons in all blocks that have, or had, a synapse."""
        wiring = self.cell.wiring
        sizes = [*wiring.layers.values(), wiring.input_size]
        blocks = torch.unique(self.block_of()).tolist()
        return sum(sizes[block // len(sizes)] * sizes[block % len(sizes)] for block in blocks)

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return source * neurons + target of every pair that ever had a synapse."""
        slots = self.synapses.open_slots()
        source, target = (end[slots].long() for end in (self.synapses.source, self.synapses.target))
        pairs = source * self.cell.state_size + target
        union: Tensor = torch.unique(pairs if ever is None else torch.cat([ever.to(pairs), pairs]))
        return union

    def explored(self, ever: Tensor | None) -> int:
        """Return how many pairs of neurons were ever connected."""
        return 0 if ever is None else len(ever)

    def check(self) -> None:
        """Raise `PruningError` if the circuit holds other synapses now."""
        self.check_same()

    def check_same(self) -> None:
        """Raise `PruningError` if the circuit holds other synapses now."""
        if self.cell.synapse_sets().get(self.kind) is not self.synapses:
            raise PruningError(
                f"{self.name} is another set of synapses than the one that the mask was made for; "
                "make a new pruner"
            )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the four parameters of the synapses."""
        for value in VALUES:
            yield f"{self.owner}.{value}", getattr(self.synapses, value)
