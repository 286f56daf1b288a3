"""Element-wise maps from the user's units to the circuit's potentials and back."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.errors import InputError

MAPPINGS = ("affine", "linear", None)


class ElementwiseMapping(nn.Module):
    """y = weight * x + bias (``"affine"``), y = weight * x (``"linear"``), or y = x (None).

    Parameters
    ----------
    kind
        One of ``"affine"``, ``"linear"``, None.
    size
        Number of elements; weight begins at 1 and bias at 0.

    Raises
    ------
    InputError
        `kind` is none of these.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        kind: str | None,
        size: int,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        if kind not in MAPPINGS:
            raise InputError(f"unknown mapping {kind!r}, expected one of {MAPPINGS}")
        self.kind = kind
        for name, present in (("weight", kind is not None), ("bias", kind == "affine")):
            parameter = nn.Parameter(torch.empty(size, **factory_kwargs)) if present else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Return to the identity."""
        if self.weight is not None:
            self.weight.fill_(1)
        if self.bias is not None:
            self.bias.fill_(0)

    def extra_repr(self) -> str:
        """Return the kind for ``print(model)``."""
        return repr(self.kind)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis of `x`."""
        return mapped(x, self.weight, self.bias)


def mapped(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Return scale * x + shift along the last axis; what is None is left out."""
    if scale is not None:
        x = x * scale
    return x if shift is None else x + shift
