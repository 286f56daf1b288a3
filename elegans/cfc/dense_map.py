"""An affine map between all elements of two vectors."""

from __future__ import annotations

import math
from typing import Unpack

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.synapses.initial import draw_uniform


class DenseMap(nn.Module):
    """y = W x + b, a ``torch.nn.Linear`` that draws from a generator.

    Parameters
    ----------
    inputs, outputs
        Sizes of x and y.
    bias
        Whether there is a b.
    fans
        Bound of the initial weights is sqrt(6 / fans), Glorot's for the sum of both sizes. Biases
        begin within 1 / sqrt(inputs).
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

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
