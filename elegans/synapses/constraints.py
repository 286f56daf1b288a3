"""Constraints: maps from free parameters to conductances, capacitances, reversal potentials."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor


class Positivity(ABC):
    """Maps free parameters to positive values, and values back to parameters."""

    closed: float
    """A parameter whose value is exactly zero, in every precision, and that has no gradient."""

    @abstractmethod
    def __call__(self, parameter: Tensor, floor: float = 0.0) -> Tensor:
        """Return the value, at least `floor`."""

    @abstractmethod
    def inverse(self, value: Tensor) -> Tensor:
        """Return a parameter whose value is `value` > 0."""

    def slope_of(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the value from that of the parameter.

        Zero where the value does not follow the parameter.
        """
        with torch.enable_grad():
            free = parameter.detach().requires_grad_()
            (rate,) = torch.autograd.grad(self(free).sum(), free)
        smallest = torch.finfo(rate.dtype).tiny
        return torch.where(rate > 0, gradient / rate.clamp(min=smallest), 0.0)


class Softplus(Positivity):
    """value = log(1 + exp(parameter)); positive by construction, so `floor` has no effect."""

    closed = -1e4  # exp underflows from -746 on in float64

    def __call__(self, parameter: Tensor, floor: float = 0.0) -> Tensor:
        """Return log(1 + exp(parameter))."""
        return F.softplus(parameter)

    def inverse(self, value: Tensor) -> Tensor:
        """Return log(exp(value) - 1), evaluated without overflow."""
        return value + torch.log(-torch.expm1(-value))


class Clip(Positivity):
    """value = max(parameter, floor).

    The gradient vanishes below the floor but not on it: call `apply_weight_constraints` of the
    layer after each optimiser step to bring parameters back to where they can recover.
    """

    closed = -1.0

    def __call__(self, parameter: Tensor, floor: float = 0.0) -> Tensor:
        """Return max(parameter, floor)."""
        return parameter.clamp(min=floor)

    def inverse(self, value: Tensor) -> Tensor:
        """Return the value itself."""
        return value


class Identity(Positivity):
    """value = parameter, which is positive already."""

    closed = 0.0

    def __call__(self, parameter: Tensor, floor: float = 0.0) -> Tensor:
        """Return the parameter."""
        return parameter

    def inverse(self, value: Tensor) -> Tensor:
        """Return the value itself."""
        return value


POSITIVITY: dict[str, Positivity] = {
    "softplus": Softplus(),
    "clip": Clip(),
    "identity": Identity(),
}

SMALLEST_CAPACITANCE = 1e-6
"""Floor of a clipped capacitance: with C = 0 a step of zero elapsed time would be 0 / 0."""


def signed(magnitude: Tensor, polarity: Tensor) -> Tensor:
    """Return polarity * abs(magnitude): a reversal potential that keeps its sign.

    The reflection at zero keeps the gradient alive, where clipping would kill it; at zero itself
    the slope is that of positive magnitudes, where that of `torch.abs` is none.
    """
    return polarity * torch.where(magnitude < 0, -magnitude, magnitude)
