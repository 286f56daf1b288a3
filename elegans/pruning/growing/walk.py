"""Deep rewiring: strengths walk at random, and a synapse that reaches zero moves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart


@checked(PruningError)
@dataclass(frozen=True)
class RandomWalk:
    r"""What DEEP R adds to an optimiser step: a pull towards zero, and noise.

    .. math:: w \leftarrow w - \eta \alpha + \sqrt{2 \eta T} \, \nu, \qquad \nu \sim N(0, 1)

    for the strength w of each synapse, with the learning rate eta of the optimiser. Signs do not
    change: a strength stops at half of `floor`, so that a synapse that gets there is weak for the
    threshold `floor`, and moves. Give it to `elegans.PruneRewire` as `walk`.

    An entry of a matrix is :math:`s w` with a sign s that is fixed when the rewirer is made, that
    of its initial weight, or drawn where it is absent; w may fall below zero in the optimiser's
    step. Then the entry is dormant, and another one, uniformly drawn of those that were, becomes
    active with its own sign at the strength `floor`. The paper has zero in place of `floor`, and
    may draw again what has just become dormant.

    Parameters
    ----------
    l1
        The pull alpha, an L1 penalty.
    temperature
        The temperature T of the noise.
    floor
        The strength below which a synapse moves.

    Raises
    ------
    PruningError
        A number is negative or not finite, or the floor is not above zero.

    References
    ----------
    Bellec, Kappel, Maass, Legenstein, "Deep rewiring: training very sparse deep networks", ICLR
    2018, algorithm 1.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import Random
    >>> model = elegans.LTC(4, Random(16, sparsity_level=0.8))
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    >>> walk = RandomWalk(l1=0.1, temperature=1e-3)
    >>> rewirer = elegans.PruneRewire(
    ...     model, optimizer, walk.floor, every=1, keep_sources=False, walk=walk
    ... )
    >>> moved = sum(len(rewirer.step()) for _ in range(100))
    >>> moved > 0
    True

    In matrices, by the rule of this name:

    >>> from elegans.pruning import Pruner
    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> _ = Pruner(model, optimizer).prune(0.75)
    >>> rewirer = elegans.PruneRewire.from_rule(
    ...     "deep_r", model, optimizer, steps=50, walk=RandomWalk(l1=0.5)
    ... )
    >>> for _ in range(50):
    ...     optimizer.zero_grad()
    ...     x = torch.randn(16, 8)
    ...     (model(x) - x).square().mean().backward()
    ...     optimizer.step()
    ...     edits = rewirer.step()
    >>> rewirer.budget, rewirer.counts["rewired"] > 0
    (16, True)
    """

    l1: float = 0.01
    temperature: float = 1e-5
    floor: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("l1", "temperature", "floor"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value < math.inf or (name == "floor" and value == 0):
                least = "above 0" if name == "floor" else "of at least 0"
                raise PruningError(f"{name} must be a finite number {least}, got {value!r}")

    @torch.no_grad()
    def take(
        self,
        parts: Sequence[PrunableWeight],
        optimizer: Optimizer,
        rng: np.random.Generator,
        newborn: Mapping[str, Tensor],
    ) -> None:
        """Take one step of the walk with all strengths of `parts`.

        The signs of the entries of a matrix are those of `newborn`, by the name of the weight.
        """
        rates = {
            id(parameter): float(group["lr"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for part in parts:
            rate = rates[id(part.parameter)]
            noise = torch.from_numpy(rng.standard_normal(part.mask.shape)).to(part.parameter)
            is_synapse = isinstance(part, SynapsePart)
            sign = 1.0 if is_synapse else newborn[part.name].to(part.parameter).sign()
            strength = sign * part.weights() - rate * self.l1
            strength = strength + math.sqrt(2 * rate * self.temperature) * noise
            strength = strength.clamp(min=self.floor / 2)
            if isinstance(part, SynapsePart):
                part.synapses.set_strength(strength)
            else:
                part.parameter.copy_(torch.where(part.mask, sign * strength, 0.0))

    def newborn(self, part: PrunableWeight, excitatory: float, rng: np.random.Generator) -> Tensor:
        """Return what each entry of a matrix begins with: its sign times the floor.

        The sign is that of the weight; where it is zero, +1 with the probability `excitatory`.
        """
        drawn = np.where(rng.random(part.mask.shape) < excitatory, 1.0, -1.0)
        sign = part.weights().sign()
        return self.floor * torch.where(sign == 0, torch.from_numpy(drawn).to(sign), sign)
