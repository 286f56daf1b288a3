"""Synapses with several signed weights each, one for each map that is computed along them."""

from __future__ import annotations

import math
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.synapses.initial import draw_uniform, glorot_bound, mean_glorot_bound
from elegans.synapses.slots import FreshSynapses, SynapseSlots
from elegans.wiring import Synapses


class MappedSynapses(SynapseSlots):
    r"""Connections along which several maps read their sources, each with weights of its own.

    .. math:: y_{mi} = \sum_{k: j \to i} w_{mk} x_j

    A synapse is as strong as the Euclidean norm of its weights; pruned, it has none in any map.
    Its polarity has no meaning.

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    maps
        Number of maps; 0 is a number, too.
    sources, targets
        Number of neurons, or inputs, that synapses may leave and reach.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the weights.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> synapses = MappedSynapses(Synapses([0, 1], [1, 0], [1, 1]), 3, 2, 2)
    >>> synapses.weights().shape
    torch.Size([3, 2])
    """

    VALUES = ("weight",)
    STRENGTH = "norm of the weights (signs: wiring)"
    keeps_blocks = True

    weight: Tensor

    def __init__(
        self,
        synapses: Synapses,
        maps: int,
        sources: int,
        targets: int,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__(synapses, device=factory_kwargs.get("device"))
        self.sources, self.targets = sources, targets
        self.weight = nn.Parameter(torch.empty(maps, len(synapses), **factory_kwargs))
        self.reset_parameters(synapses, generator)

    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn weights."""
        self.connect(synapses)
        draw_uniform(self.weight, glorot_bound(self, self.sources, self.targets), generator)

    def extra_repr(self) -> str:
        """Return the sizes for ``print(model)``."""
        maps, synapses = self.weight.shape
        return f"{maps} maps along {synapses} synapses"

    def forward(self) -> Tensor:
        """Return the weights, shape (map, synapse), zero where pruned."""
        weight = self.masked(self.weight)
        fresh = self._candidates
        if fresh is None:
            return weight
        more = fresh.values["direction"].to(weight) * fresh.strength * fresh.polarity
        return torch.cat([weight, more], dim=-1)

    def weights(self) -> Tensor:
        """Return the weights, those of candidates last; calls the module, hooks included."""
        weights: Tensor = self()
        return weights

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return source and target of all weights, those of candidates last."""
        fresh = self._candidates
        if fresh is None:
            return self.source, self.target
        return torch.cat([self.source, fresh.source]), torch.cat([self.target, fresh.target])

    # --- values for operators ------------------------------------------------------------

    def strength_of(self, weight: Tensor) -> Tensor:
        """Return the norms of weights (..., map, synapse), shape (..., synapse)."""
        norm: Tensor = torch.linalg.vector_norm(weight, dim=-2)
        return norm

    def slope_of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        r"""Return d loss / d norm along the present direction, shape (..., synapse).

        .. math:: \sum_m \frac{w_{mk}}{\lVert w_k \rVert} \frac{\partial L}{\partial w_{mk}}
        """
        return (torch.nn.functional.normalize(weight.detach(), dim=-2) * gradient).sum(-2)

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw directions, (map, count), uniformly on the sphere."""
        direction = rng.standard_normal((len(self.weight), count))
        length = np.linalg.norm(direction, axis=0, keepdims=True)
        return {"direction": self.weight.new_tensor(direction / np.where(length > 0, length, 1))}

    @torch.no_grad()
    def set_strength(self, strength: Tensor) -> None:
        """Let the weights of open synapses have the norms `strength` > 0 and their directions."""
        direction = torch.nn.functional.normalize(self.weight, dim=-2)
        weight = direction * strength.to(self.weight)
        self.weight.copy_(torch.where(self.mask, weight, self.weight))

    def draw_strength(self, count: int, rng: np.random.Generator) -> Tensor:
        """Draw norms of weights below the mean bound of initial ones, (count,)."""
        bound = mean_glorot_bound(self, self.sources, self.targets)
        drawn = rng.uniform(0, bound, size=(len(self.weight), count))
        return self.weight.new_tensor(np.linalg.norm(drawn, axis=0))

    def realised(self, strength: float) -> float:
        """Return the norm in the precision of the weights."""
        rounded = float(torch.tensor(strength, dtype=self.weight.dtype))
        return rounded if math.isfinite(rounded) else math.nan

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        direction = fresh.values["direction"].to(self.weight)
        self.weight[:, slots] = direction * fresh.strength.to(self.weight) * fresh.polarity
