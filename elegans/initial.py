"""Initial values of the parameters of liquid cells."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from elegans.constraints import Positivity
from elegans.errors import InputError
from elegans.placement import Placement

INITIAL_RANGES = {
    "gleak": (0.001, 1.0),
    "vleak": (-0.2, 0.2),
    "cm": (0.4, 0.6),
    "weight": (0.001, 1.0),
    "sigma": (3.0, 8.0),
    "mu": (0.3, 0.8),
}
"""Uniform ranges of the effective values (conductances, potentials, capacitance, gain, centre).

Source: the reference implementation of Lechner et al. 2020, as published in ``ncps``.
"""

POSITIVE = frozenset({"gleak", "cm", "weight"})

_PART = 2**20
"""Values whose inverses are computed at once: the intermediate results of millions are large."""

INITIALIZATIONS = ("effective", "ncps")


class Initializer:
    """Draws initial parameters.

    Parameters
    ----------
    positivity
        How positive values are parametrised.
    initialization
        ``"effective"``: conductances and capacitances themselves lie in `INITIAL_RANGES`.
        ``"ncps"``: their parameters do, before the softplus, as in ``ncps``.
    """

    def __init__(self, positivity: Positivity, initialization: str = "effective") -> None:
        if initialization not in INITIALIZATIONS:
            raise InputError(
                f"unknown initialization {initialization!r}, expected one of {INITIALIZATIONS}"
            )
        self.positivity = positivity
        self.initialization = initialization

    def draw(
        self,
        name: str,
        count: int,
        *,
        generator: torch.Generator | None = None,
        **where: Unpack[Placement],
    ) -> Tensor:
        """Return `count` initial parameters of the kind `name`, shape (count,).

        Randomness comes from `generator`, PyTorch's default generator when None.
        """
        device = where.get("device")
        if device is not None and torch.device(device).type == "meta":
            return torch.empty(count, **where)
        low, high = INITIAL_RANGES[name]
        home = None if generator is None else generator.device
        value = torch.rand(count, generator=generator, device=home)
        value.mul_(high - low).add_(low)
        if name in POSITIVE and self.initialization == "effective":
            for part in torch.split(value, _PART):
                part.copy_(self.positivity.inverse(part))
        return value.to(**where)
