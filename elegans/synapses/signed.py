"""Synapses with one signed weight each, as in firing-rate models."""

from __future__ import annotations

import math
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.synapses.initial import draw_uniform, glorot_bound, mean_glorot_bound
from elegans.synapses.plain import PlainSynapses, plain
from elegans.synapses.slots import FreshSynapses, SynapseSlots
from elegans.synapses.sums import SynapticSum
from elegans.wiring import Synapses


@checked(InputError)
class SignedSynapses(SynapseSlots):
    """Connections with a weight whose sign is the polarity; a pruned one has weight zero.

    Training may change the sign: the polarity that a wiring shows is that of the weight now, and
    that of the slot where the weight is zero.

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    sources, targets
        Number of neurons, or inputs, that synapses may leave and reach.
    gain
        Factor of the initial weights, which follow `glorot_bound` and carry the polarity of their
        synapse.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the weights.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> synapses = SignedSynapses(Synapses([0, 1], [1, 0], [-1, 1]), 2, 2)
    >>> synapses.weights().sign().tolist()
    [1.0, -1.0]
    """

    VALUES = ("weight",)
    signed = True

    weight: Tensor

    def __init__(
        self,
        synapses: Synapses,
        sources: int,
        targets: int,
        *,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        super().__init__(synapses, device=factory_kwargs.get("device"))
        self.sources, self.targets, self.gain = sources, targets, gain
        self.weight = nn.Parameter(torch.empty(len(synapses), **factory_kwargs))
        self.reset_parameters(synapses, generator)

    @torch.no_grad()
    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn weights."""
        self.connect(synapses)
        bound = glorot_bound(self, self.sources, self.targets)
        draw_uniform(self.weight, self.gain * bound, generator)
        self.weight.abs_().mul_(self.polarity)

    def forward(self) -> Tensor:
        """Return the weights, shape (synapse,), zero where pruned."""
        return self.masked(self.weight)

    def weights(self) -> Tensor:
        """Return the weights; calls the module, so that hooks take part."""
        weights: Tensor = self()
        return weights

    def total(self) -> SynapticSum:
        """Return the sum over the synapses onto each neuron, as a single map."""
        weight, source, target = self.weights(), self.source, self.target
        fresh = self._candidates
        if fresh is not None:
            weight = torch.cat([weight, fresh.strength * fresh.polarity])
            source, target = torch.cat([source, fresh.source]), torch.cat([target, fresh.target])
        return SynapticSum.of(weight.unsqueeze(0), source, target, self.sources, self.targets)

    def current_polarity(self) -> Tensor:
        """Return +1 or -1 for each slot: the sign of its weight, shape (synapse,)."""
        sign = self.weight.detach().sign().to(self.polarity.dtype)
        return torch.where(sign == 0, self.polarity, sign)

    @torch.no_grad()
    def plain(self, neurons: int) -> PlainSynapses:
        """Return the open synapses onto so many neurons as plain numbers."""
        is_open = self.is_open.cpu().numpy()
        source, target = (end.cpu().numpy()[is_open] for end in (self.source, self.target))
        weight = plain(self.weights())[is_open]
        return PlainSynapses.sorted(source, target, neurons, weight=weight)

    # --- values for operators ------------------------------------------------------------

    def strength_of(self, weight: Tensor) -> Tensor:
        """Return the magnitudes of weights, in their shape."""
        return weight.abs()

    def slope_of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return d loss / d magnitude from weights and gradient, in their shape."""
        return gradient * torch.where(weight.detach() < 0, -1.0, 1.0)

    @torch.no_grad()
    def set_strength(self, strength: Tensor) -> None:
        """Let the weights of open synapses have the magnitudes `strength` > 0 and their signs."""
        weight = strength.to(self.weight) * self.current_polarity()
        self.weight.copy_(torch.where(self.mask, weight, self.weight))

    def draw_strength(self, count: int, rng: np.random.Generator) -> Tensor:
        """Draw magnitudes below the mean bound of initial weights, (count,)."""
        bound = self.gain * mean_glorot_bound(self, self.sources, self.targets)
        return self.weight.new_tensor(rng.uniform(0, bound, size=count))

    def realised(self, strength: float) -> float:
        """Return the magnitude in the precision of the weights."""
        rounded = float(torch.tensor(strength, dtype=self.weight.dtype))
        return rounded if math.isfinite(rounded) else math.nan

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        self.weight[slots] = (fresh.strength * fresh.polarity).to(self.weight)
