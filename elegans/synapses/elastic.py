"""Synapses that act on the capacitance of their target, and the elastance of a neuron."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from elegans.checks import Placement
from elegans.synapses.initial import Initializer, draw_uniform, glorot_bound
from elegans.synapses.liquid import LiquidSynapses
from elegans.synapses.slots import FreshSynapses
from elegans.synapses.sums import SynapticSum
from elegans.wiring import Synapses

ELASTANCES = ("asymmetric", "symmetric")
"""Forms of a liquid capacitance."""


def elastance(level: Tensor, width: Tensor | None) -> Tensor:
    r"""Return the elastance 1 / C of a liquid capacitance, from 0 to 1, in the shape of `level`.

    .. math:: \epsilon = \sigma(z) \quad\text{or}\quad \epsilon = \sigma(z + d) - \sigma(z - d)

    with a width d > 0: the second one closes on both sides.

    Examples
    --------
    >>> elastance(torch.zeros(1), None), elastance(torch.tensor([9.0]), torch.ones(1)) < 0.01
    (tensor([0.5000]), tensor([True]))
    """
    if width is None:
        return torch.sigmoid(level)
    return torch.sigmoid(level + width) - torch.sigmoid(level - width)


def elastance_slope(level: Tensor, width: Tensor | None) -> Tensor:
    """Return the derivative of `elastance` by its level, in the shape of `level`."""
    if width is None:
        return torch.sigmoid(level) * torch.sigmoid(-level)
    above, below = level + width, level - width
    return torch.sigmoid(above) * torch.sigmoid(-above) - (
        torch.sigmoid(below) * torch.sigmoid(-below)
    )


class ElasticSynapses(LiquidSynapses):
    r"""Liquid synapses with one more value each: what their source adds to the elastance's level.

    .. math:: z_i = \sum_{k: j \to i} o_k x_j

    A fresh synapse begins with o = 0, and a pruned one has none.

    Parameters
    ----------
    synapses, initial, fixed_polarity, generator, **factory_kwargs
        As in `LiquidSynapses`.
    sources, targets
        Number of neurons, or inputs, that synapses may leave and reach.

    Examples
    --------
    >>> from elegans.synapses.constraints import POSITIVITY
    >>> initial = Initializer(POSITIVITY["softplus"])
    >>> synapses = ElasticSynapses(Synapses([0, 1], [1, 1], [1, -1]), initial, 2, 2)
    >>> synapses.level()(torch.zeros(3, 2)).shape
    torch.Size([3, 1, 2])
    """

    VALUES = (*LiquidSynapses.VALUES, "elastance")

    elastance: Tensor

    def __init__(
        self,
        synapses: Synapses,
        initial: Initializer,
        sources: int,
        targets: int,
        *,
        fixed_polarity: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        self.sizes = sources, targets
        super().__init__(
            synapses, initial, fixed_polarity=fixed_polarity, generator=generator, **factory_kwargs
        )

    @torch.no_grad()
    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn values."""
        super().reset_parameters(synapses, generator)
        draw_uniform(self.elastance, glorot_bound(self, *self.sizes), generator)

    def elastances(self) -> Tensor:
        """Return o of each synapse, zero where pruned; of candidates, too, which have none."""
        weight = self.masked(self.elastance)
        fresh = self._candidates
        return weight if fresh is None else torch.cat([weight, weight.new_zeros(len(fresh))])

    def level(self) -> SynapticSum:
        """Return the sum z over the synapses onto each neuron, a single map."""
        weight = self.masked(self.elastance).unsqueeze(0)
        return SynapticSum.of(weight, self.source, self.target, *self.sizes)

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw gains and centres, and no say in the elastance, each of shape (count,)."""
        return super().draw(count, rng) | {"elastance": self.elastance.new_zeros(count)}

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        super()._write(slots, fresh)
        self.elastance[slots] = fresh.values["elastance"].to(self.elastance)
