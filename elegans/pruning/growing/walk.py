"""Deep rewiring: strengths walk at random, and a synapse that reaches zero moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import Optimizer

from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart


@dataclass(frozen=True)
class RandomWalk:
    r"""What DEEP R adds to an optimiser step: a pull towards zero, and noise.

    .. math:: w \leftarrow w - \eta \alpha + \sqrt{2 \eta T} \, \nu, \qquad \nu \sim N(0, 1)

    for the strength w of each synapse, with the learning rate eta of the optimiser. Signs do not
    change: a strength stops at half of `floor`, so that a synapse that gets there is weak for the
    threshold `floor`, and moves. Give it to `elegans.PruneRewire` as `walk`.

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

    def take(
        self, parts: Sequence[PrunableWeight], optimizer: Optimizer, rng: np.random.Generator
    ) -> None:
        """Take one step of the walk with all strengths of `parts`."""
        rates = {
            id(parameter): float(group["lr"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for part in parts:
            assert isinstance(part, SynapsePart)  # checked when the rewirer was made
            rate = rates[id(part.parameter)]
            noise = torch.from_numpy(rng.standard_normal(part.size)).to(part.parameter)
            strength = part.weights() - rate * self.l1
            strength = strength + math.sqrt(2 * rate * self.temperature) * noise
            part.synapses.set_strength(strength.clamp(min=self.floor / 2))
