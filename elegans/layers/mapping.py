"""Surroundings of a cell: element-wise maps of inputs and outputs, and mixed memory."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement
from elegans.errors import InputError

MAPPINGS = ("affine", "linear", None)


@checked(InputError)
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

    def __init__(self, kind: str | None, size: int, **factory_kwargs: Unpack[Placement]) -> None:
        super().__init__()
        kind = None if kind == "none" else kind  # as ncps has it
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


@checked(InputError)
class MemoryCell(nn.Module):
    """An LSTM step that carries long-term memory beside a liquid state.

    c' = sigmoid(f + 1) c + sigmoid(i) tanh(z),  h' = sigmoid(o) tanh(c'), where z, i, f, o are
    the four parts of input_map(x) + recurrent_map(h). The unit added to the forget gate keeps
    memories at the beginning of training.

    References
    ----------
    Lechner, Hasani, "Learning long-term dependencies in irregularly-sampled time series",
    arXiv:2006.04418 (2020).
    """

    def __init__(
        self,
        input_size: int,
        state_size: int,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        # Without their own initialisation, which would draw from the global generator.
        self.input_map, self.recurrent_map = (
            _linear(size, 4 * state_size, bias=bias, **factory_kwargs)
            for size, bias in ((input_size, True), (state_size, False))
        )
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or PyTorch's default one."""
        draws = (
            (self.input_map.weight, nn.init.xavier_uniform_),
            (
                self.input_map.bias,
                lambda bias, generator: bias.uniform_(-0.1, 0.1, generator=generator),
            ),
            (self.recurrent_map.weight, _orthogonal),
        )
        home = torch.device("cpu") if generator is None else generator.device
        for parameter, draw in draws:
            if parameter.is_meta:
                continue
            value = torch.empty(parameter.shape, device=home)  # the same numbers in any precision
            draw(value, generator=generator)
            parameter.copy_(value)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Take one step from (h, c), each (batch, neuron), and return the new pair."""
        h, c = state
        z, i, f, o = (self.input_map(x) + self.recurrent_map(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(z)
        return torch.sigmoid(o) * torch.tanh(c), c


def _orthogonal(value: Tensor, generator: torch.Generator | None) -> None:
    """Fill `value` with orthogonal columns, as `torch.nn.init.orthogonal_` does.

    Its last bits depend on the number of threads; rounded from double precision they do not.
    """
    q, r = torch.linalg.qr(value.normal_(generator=generator).double())
    value.copy_(q * r.diagonal().sign())


def _linear(
    inputs: int, outputs: int, *, bias: bool, **factory_kwargs: Unpack[Placement]
) -> nn.Linear:
    """Return a linear map whose parameters are not drawn yet."""
    linear = nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=factory_kwargs.get("dtype"))
    device = factory_kwargs.get("device")
    return linear.to_empty(device=torch.get_default_device() if device is None else device)
