"""Sets of synapses, as parts that can be pruned: of one circuit, or of an ensemble of circuits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.layers.cell import Cell
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.schemas import numbers
from elegans.synapses.slots import SynapseSlots
from elegans.wiring.wiring import SENSORY


class SynapsePart(PrunableWeight):
    """A set of synapses of any kind; a pruned one has strength zero and leaves the wiring.

    Its weights are the strengths of synapses: conductances, magnitudes, or norms.
    """

    members = 1

    def __init__(self, name: str, cell: Cell, kind: str) -> None:
        self.owner = name
        self.cell, self.kind = cell, kind
        self.synapses: SynapseSlots = cell.synapse_sets()[kind]
        self.buffers, self.is_mutual = self.synapses.BUFFERS, self.synapses.is_mutual
        weight = self.synapses.VALUES[0]
        self.name = f"{name}.{weight}" if name else weight

    @property
    def mask(self) -> Tensor:
        """Mask of the open synapses, shape (synapse,)."""
        return self.synapses.mask

    @property
    def parameter(self) -> Tensor:
        """The parameter under the strength."""
        parameter: Tensor = getattr(self.synapses, self.synapses.VALUES[0])
        return parameter

    def weights(self) -> Tensor:
        """Return the strengths, zero where pruned, shape (synapse,)."""
        return self.synapses.strength()

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the strength, shape (synapse,)."""
        return self.synapses.slope_of(self.parameter, gradient)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Number of sources and of targets that the synapses have."""
        ends = self.synapses.source, self.synapses.target
        return tuple(len(torch.unique(end)) for end in ends)

    def unit_of(self) -> Tensor:
        """Return the target of each synapse, shape (synapse,)."""
        return self.synapses.target.long()

    def ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return source and target of the synapses in slots."""
        return self.synapses.source[index], self.synapses.target[index]

    def block_of(self) -> Tensor:
        """Return a number for the pair (source layer, target layer) of each synapse."""
        return self.blocks_between(self.synapses.source, self.synapses.target)

    def blocks_between(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the number of the block of each pair of neurons, shape (pair,).

        Those of junctions, whose ends are alike, lead from the lower index to the higher one.
        """
        source, target = self._in_order(source, target)
        layers = self.cell.wiring.layers
        number = np.repeat(np.arange(len(layers)), list(layers.values()))
        ends = number[target.cpu().numpy()]
        starts = np.full_like(ends, len(layers))
        if not self.kind.endswith(SENSORY):
            starts = number[source.cpu().numpy()]
        return torch.from_numpy(starts * (len(layers) + 1) + ends).to(self.mask.device)

    def _in_order(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ends of pairs: of junctions the lower index first."""
        if not self.is_mutual:
            return source, target
        return torch.minimum(source, target), torch.maximum(source, target)

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Leave the synapses of `mask` open; forget what is remembered of those that changed."""
        changed = self.mask ^ mask
        self.synapses.set_mask(mask)
        for _, parameter in self.named_parameters():
            moments.reset(parameter, changed)

    @property
    def possible(self) -> int:
        """Number of pairs of neurons in all blocks that have, or had, a synapse."""
        wiring = self.cell.wiring
        sizes = [*wiring.layers.values(), wiring.input_size]
        blocks = [divmod(block, len(sizes)) for block in torch.unique(self.block_of()).tolist()]
        pairs = {(a, b): sizes[a] * sizes[b] for a, b in blocks}
        if self.is_mutual:
            pairs |= {(a, b): sizes[a] * (sizes[a] - 1) // 2 for a, b in blocks if a == b}
        return sum(pairs.values())

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return source * neurons + target of every pair that ever had a synapse."""
        slots = self.synapses.open_slots()
        ends = (end[slots].long() for end in (self.synapses.source, self.synapses.target))
        source, target = self._in_order(*ends)
        pairs = source * self.cell.state_size + target
        union: Tensor = torch.unique(pairs if ever is None else torch.cat([ever.to(pairs), pairs]))
        return union

    def saved_joined(self, saved: Any) -> Tensor | None:
        """Return which pairs ever had a synapse, of a saved state."""
        if saved is None:
            return None
        what = f"what was ever there of {self.name}"
        pairs = numbers(what, saved, torch.int64)
        wiring = self.cell.wiring
        sources = wiring.input_size if self.kind.endswith(SENSORY) else wiring.units
        if pairs.dim() != 1 or not bool(((pairs >= 0) & (pairs < sources * wiring.units)).all()):
            raise PruningError(
                f"{what}: got numbers of shape {tuple(pairs.shape)}, expected pairs from 0 to "
                f"{sources * wiring.units - 1}, (pair,); pass what state_dict() returned"
            )
        unique: Tensor = torch.unique(pairs)
        return unique

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
        """Iterate over all parameters of the synapses."""
        for value in self.synapses.VALUES:
            yield f"{self.owner}.{value}", getattr(self.synapses, value)


class StackedSynapsePart(PrunableWeight):
    """A set of synapses of all members of an ensemble, shape (member, synapse).

    A slot leads to another neuron in every member, so that neither neurons nor blocks can be cut
    as a whole.
    """

    def __init__(self, name: str, node: nn.Module, alike: SynapseSlots, *, members: int) -> None:
        self.owner, _, self._attribute = name.rpartition(".")
        self.name, self.members = name, members
        self._node, self._alike = node, alike
        self.buffers, self.is_mutual = alike.BUFFERS, alike.is_mutual
        self._parameter: nn.Parameter = getattr(node, self._attribute)

    @property
    def mask(self) -> Tensor:
        """Mask of the open synapses, shape (member, synapse)."""
        return self._node.get_buffer("mask")

    @property
    def parameter(self) -> Tensor:
        """The stacked parameter under the strength."""
        return self._parameter

    def weights(self) -> Tensor:
        """Return the strengths, zero where pruned, shape (member, synapse)."""
        return torch.where(self.mask, self._alike.strength_of(self._parameter.detach()), 0.0)

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the strengths, shape (member, synapse)."""
        return self._alike.slope_of(self._parameter, gradient)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Number of sources and of targets that the synapses of the first member have."""
        ends = (self._node.get_buffer(name)[0] for name in ("source", "target"))
        return tuple(len(torch.unique(end)) for end in ends)

    def unit_of(self) -> Tensor:
        """Refuse: a slot leads to another neuron in every member."""
        raise self._differ("neurons")

    def ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return source and target of the synapses in slots, counted through all members."""
        ends = (self._node.get_buffer(name).reshape(-1)[index] for name in ("source", "target"))
        return next(ends), next(ends)

    def block_of(self) -> Tensor:
        """Refuse: a slot belongs to another block in every member."""
        raise self._differ("blocks")

    def _differ(self, what: str) -> PruningError:
        return PruningError(
            f"the {what} of {self.name} differ between the members of the ensemble, whose wirings "
            "may differ; prune by 'layer' or 'global', or one member at a time"
        )

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Leave the synapses of `mask` open; forget what is remembered of those that changed."""
        changed = self.mask ^ mask
        self.mask.copy_(mask)
        for _, parameter in self.named_parameters():
            moments.reset(parameter, self.entries(changed, parameter))

    @property
    def possible(self) -> int:
        """Number of slots of all members."""
        return self.mask.numel()

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return which slots were ever open, shape (member, synapse)."""
        return self.mask.clone() if ever is None else ever.to(self.mask.device) | self.mask

    def check(self) -> None:
        """Raise `PruningError` if the parameters were replaced."""
        self.check_same()

    def check_same(self) -> None:
        """Raise `PruningError` if the parameter was replaced."""
        if self._node._parameters.get(self._attribute) is not self._parameter:
            raise PruningError(
                f"{self.name} is another parameter than the one that the mask was made for; make a "
                "new pruner, and a new optimiser, after replacing parameters"
            )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the stacked parameters of the synapses."""
        for value in self._alike.VALUES:
            yield f"{self.owner}.{value}", getattr(self._node, value)
