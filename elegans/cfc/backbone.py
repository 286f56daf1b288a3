"""The parts of a dense network: affine maps, the projection behind the neurons, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn

from elegans.capacity import require_bytes
from elegans.checks import Placement, check_count
from elegans.synapses.initial import draw_uniform


class DenseMap(nn.Module):
    """y = W x + b, a ``torch.nn.Linear`` that draws from a generator.

    Weights begin within sqrt(6 / fans), Glorot's bound where fans is the sum of both sizes, biases
    within 1 / sqrt(inputs).

    Examples
    --------
    >>> DenseMap(3, 2, fans=5)(torch.zeros(4, 3)).shape
    torch.Size([4, 2])
    """

    bias: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        fans: int,
        bias: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        require_bytes(2 * inputs * outputs, "a dense map", "take fewer neurons, inputs or outputs")
        self.fans = fans
        self.weight = nn.Parameter(torch.empty(outputs, inputs, **factory_kwargs))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(outputs, **factory_kwargs)) if bias else None
        )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        draw_uniform(self.weight, math.sqrt(6 / self.fans), generator)
        if self.bias is not None:
            draw_uniform(self.bias, 1 / math.sqrt(self.weight.shape[1]), generator)

    def extra_repr(self) -> str:
        """Return the sizes for ``print(model)``."""
        outputs, inputs = self.weight.shape
        return f"{inputs} -> {outputs}"

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis of `x`."""
        return F.linear(x, self.weight, self.bias)


def output_projection(
    motor_size: int,
    proj_size: int | None,
    generator: torch.Generator | None = None,
    **factory_kwargs: Unpack[Placement],
) -> DenseMap | None:
    """Return a map to `proj_size` outputs, or None when `proj_size` is None.

    Weights begin within 1 / sqrt(motor_size), as those of ``torch.nn.Linear``.
    """
    outputs = check_outputs(proj_size)
    if outputs is None:
        return None
    return DenseMap(motor_size, outputs, fans=6 * motor_size, generator=generator, **factory_kwargs)


def check_outputs(proj_size: int | None) -> int | None:
    """Return `proj_size`; raise `InputError` unless it is a positive integer or None."""
    return None if proj_size is None else check_count("proj_size", proj_size)


HEIGHT, STEEPNESS = 1.7159, 0.666  # LeCun's, with the digits that ncps gives them


class Activation(NamedTuple):
    """An element-wise function and its derivative."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _tanh_slope(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x) ** 2


def _silu_slope(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate + x * gate * torch.sigmoid(-x)


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    slope: Tensor = torch.special.ndtr(x) + x * density
    return slope


ACTIVATIONS = {
    "lecun_tanh": Activation(
        lambda x: HEIGHT * torch.tanh(STEEPNESS * x),
        lambda x: HEIGHT * STEEPNESS * _tanh_slope(STEEPNESS * x),
    ),
    "silu": Activation(F.silu, _silu_slope),
    "relu": Activation(F.relu, lambda x: (x > 0).to(x)),
    "tanh": Activation(torch.tanh, _tanh_slope),
    "gelu": Activation(F.gelu, _gelu_slope),
}
"""Activations by the names that ``ncps`` gives them."""
