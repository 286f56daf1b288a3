"""Exploration: which of all possible weights have ever taken part in a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart


class Exploration:
    """Notes which weights, or pairs of neurons, were there at any step."""

    def __init__(self, parts: Sequence[PrunableWeight]) -> None:
        self._parts = parts
        self._ever: list[Tensor | None] = [None for _ in parts]
        self.is_noted = False
        """Whether the present masks are noted; to be set to False when they change."""

    def note(self) -> None:
        """Note the weights that are there now."""
        if not self.is_noted:
            pairs = zip(self._parts, self._ever, strict=True)
            self._ever, self.is_noted = [part.joined(ever) for part, ever in pairs], True

    def masks(self) -> dict[str, Tensor]:
        """Return which weights were ever there; see `Pruner.ever_active`."""
        active = {}
        for part, ever in zip(self._parts, self._ever, strict=True):
            if isinstance(part, SynapsePart):
                pairs = 0 if ever is None else len(ever)
                active[part.name] = torch.arange(part.possible) < pairs
            else:
                active[part.name] = torch.zeros_like(part.mask) if ever is None else ever.clone()
        return active

    def rate(self) -> float:
        """Return the share of all possible weights that were ever there."""
        pairs = zip(self._parts, self._ever, strict=True)
        explored = sum(part.explored(ever) for part, ever in pairs)
        return explored / sum(part.possible for part in self._parts)

    def state_dict(self) -> dict[str, Tensor | None]:
        """Return what was noted, by the name of the part."""
        return {part.name: ever for part, ever in zip(self._parts, self._ever, strict=True)}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Continue from `state_dict`."""
        self._ever = [state[part.name] for part in self._parts]
        self.is_noted = False
