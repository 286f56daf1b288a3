"""What synapses with a positive conductance share: liquid ones and electrical ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.checks import Device
from elegans.hooks import is_plain
from elegans.synapses.constraints import Positivity
from elegans.synapses.initial import Initializer
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Synapses


class ConductanceSynapses(SynapseSlots):
    """Slots whose first parameter stands for a conductance; a pruned one has conductance zero.

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    initial
        Draws the initial conductances, and says how they are kept positive.
    device
        Where they live.
    """

    STRENGTH = "conductance"

    weight: Tensor

    def __init__(self, synapses: Synapses, initial: Initializer, *, device: Device = None) -> None:
        super().__init__(synapses, device=device)
        self._initial = initial

    def values(self) -> Any:
        """Return the effective values; calls the module, so that hooks and masks take part."""
        return self()

    def is_plain(self) -> bool:
        """Whether the values follow from `slots` alone: no hooks or candidates."""
        return self._candidates is None and is_plain(self)

    @property
    def positivity(self) -> Positivity:
        """Constraint that keeps conductances positive."""
        return self._initial.positivity

    @torch.no_grad()
    def apply_weight_constraints(self) -> None:
        """Bring clipped conductances back to zero."""
        self.weight.clamp_(min=0.0)

    @torch.no_grad()
    def _draw(self, name: str, generator: torch.Generator | None) -> None:
        parameter = getattr(self, name)
        drawn = self._initial.draw(
            name, len(self), generator=generator, device=parameter.device, dtype=parameter.dtype
        )
        parameter.copy_(drawn)

    # --- values for operators ------------------------------------------------------------

    def strength_of(self, weight: Tensor) -> Tensor:
        """Return the conductances of parameters, in their shape."""
        return self.positivity(weight)

    def slope_of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return d loss / d conductance from parameter and gradient, in their shape."""
        return self.positivity.slope_of(weight, gradient)

    def strength(self) -> Tensor:
        """Return the conductances, zero where pruned, detached, shape (synapse,)."""
        weight: Tensor = self.values().weight
        return weight.detach()

    @torch.no_grad()
    def set_strength(self, strength: Tensor) -> None:
        """Let the open synapses have the conductances `strength` > 0, shape (synapse,)."""
        parameter = self.positivity.inverse(strength.to(self.weight))
        self.weight.copy_(torch.where(self.mask, parameter, self.weight))

    def draw_strength(self, count: int, rng: np.random.Generator) -> Tensor:
        """Draw conductances from the law of the initial ones, (count,)."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        drawn = self._initial.draw("weight", count, generator=generator)
        return self.positivity(drawn).to(self.weight)

    def realised(self, strength: float) -> float:
        """Return what a parameter makes of the conductance; NaN where no finite one stands for it.

        A conductance passes through a parameter of the layer's precision, which rounds it.
        """
        parameter = self.positivity.inverse(torch.tensor(strength, dtype=self.weight.dtype))
        return float(self.positivity(parameter)) if bool(parameter.isfinite()) else math.nan
