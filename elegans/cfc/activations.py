"""The activations of a CfC backbone, with their derivatives in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor

_HEIGHT, _STEEPNESS = 1.7159, 0.666  # LeCun's, with the digits that ncps gives them


class Activation(NamedTuple):
    """An element-wise function and its derivative."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _lecun_tanh(x: Tensor) -> Tensor:
    return _HEIGHT * torch.tanh(_STEEPNESS * x)


def _lecun_tanh_slope(x: Tensor) -> Tensor:
    return _HEIGHT * _STEEPNESS * _tanh_slope(_STEEPNESS * x)


def _tanh_slope(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x) ** 2


def _silu_slope(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate + x * gate * torch.sigmoid(-x)


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    slope: Tensor = torch.special.ndtr(x) + x * density
    return slope


def _relu_slope(x: Tensor) -> Tensor:
    return (x > 0).to(x)


ACTIVATIONS = {
    "lecun_tanh": Activation(_lecun_tanh, _lecun_tanh_slope),
    "silu": Activation(F.silu, _silu_slope),
    "relu": Activation(F.relu, _relu_slope),
    "tanh": Activation(torch.tanh, _tanh_slope),
    "gelu": Activation(F.gelu, _gelu_slope),
}
"""Activations by the names that ``ncps`` gives them."""
