"""The closed-form solution that a CfC evaluates in place of integrating."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from elegans.checks import Placement, check_choice
from elegans.synapses.initial import draw_uniform
from elegans.synapses.plain import Array, plain

HEADS = {"default": 2, "pure": 1, "no_gate": 2}
"""Number of maps, besides the gates, that each mode reads."""

GATES = {"default": 2, "pure": 0, "no_gate": 2}
"""Number of maps that the time gate of each mode reads."""

MAP_NAMES = {"default": ("f", "g", "a", "b"), "pure": ("f",), "no_gate": ("f", "g", "a", "b")}
"""The maps of each mode in their order: heads, then gates."""


class ClosedForm(nn.Module):
    r"""State after the elapsed time t, from affine maps of inputs and old state.

    .. math::
        \text{default:}\quad x^+ &= (1 - s) \tanh f + s \tanh g, \qquad s = \sigma(a t + b) \\
        \text{no gate:}\quad x^+ &= \tanh f + s \tanh g \\
        \text{pure:}\quad x^+ &= A - A f e^{-t (|w| + |f|)}

    with heads f and g, gates a and b, and two parameters of each neuron in mode ``"pure"``: the
    rate w and the asymptote A.

    Parameters
    ----------
    mode
        ``"default"``, ``"pure"`` or ``"no_gate"``.
    units
        Number of neurons.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError
        There is no such mode.

    Notes
    -----
    ``ncps`` means to begin with w = 0 and A = 1, but draws both from the range that Glorot gives a
    row, within sqrt(6 / (1 + units)). So does this class: at w = 0 its size has no slope, and w
    would stay there.

    References
    ----------
    Hasani, Lechner, Amini, Liebenwein, Ray, Tschaikowski, Teschl, Rus, "Closed-form
    continuous-time neural networks", Nature Machine Intelligence 4 (2022) 992-1003.

    Examples
    --------
    With both gates at 0 the default is halfway between the two heads:

    >>> heads = torch.tensor([[[0.0], [100.0]]])  # (batch, head, neuron)
    >>> ClosedForm("default", 1)(heads, torch.zeros(1, 2, 1), torch.ones(1, 1))
    tensor([[0.5000]])
    """

    rate: Tensor | None
    asymptote: Tensor | None

    def __init__(
        self,
        mode: str,
        units: int,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, HEADS)
        for name in ("rate", "asymptote"):
            parameter = (
                nn.Parameter(torch.empty(units, **factory_kwargs)) if mode == "pure" else None
            )
            self.register_parameter(name, parameter)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        for parameter in self.parameters():
            draw_uniform(parameter, math.sqrt(6 / (1 + len(parameter))), generator)

    def plain(self) -> dict[str, Array]:
        """Return rate and asymptote, where there are any, as plain numbers."""
        return {name: plain(parameter) for name, parameter in self.named_parameters()}

    def extra_repr(self) -> str:
        """Return the mode for ``print(model)``."""
        return repr(self.mode)

    def forward(
        self, heads: Tensor, gates: Tensor, elapsed: Tensor, neurons: slice = slice(None)
    ) -> Tensor:
        """Return the new states of `neurons`, shape (batch, neuron).

        Parameters
        ----------
        heads
            f and g, or f alone, shape (batch, head, neuron).
        gates
            a and b, or nothing, shape (batch, gate, neuron).
        elapsed
            Shape (batch, 1).
        neurons
            Which neurons these are.
        """
        rate, asymptote = (None if p is None else p[neurons] for p in (self.rate, self.asymptote))
        return solve(self.mode, heads, gates, elapsed, rate, asymptote)

    def slopes(
        self, heads: Tensor, gates: Tensor, elapsed: Tensor, neurons: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Return the derivatives of `forward` by heads and gates, in their shapes."""
        if self.rate is not None and self.asymptote is not None:
            f = heads[..., 0, :]
            decay = _decay(f, elapsed, self.rate[neurons])
            slope = -self.asymptote[neurons] * decay * (1 - elapsed * f.abs())
            return slope.unsqueeze(-2), gates
        f, g = torch.tanh(heads).unbind(-2)
        s = _gate(gates, elapsed)
        near = torch.ones_like(s) if self.mode == "no_gate" else 1 - s
        far = g if self.mode == "no_gate" else g - f
        swing = far * s * (1 - s)
        return (
            torch.stack([near * (1 - f**2), s * (1 - g**2)], dim=-2),
            torch.stack([swing * elapsed, swing], dim=-2),
        )


def solve(
    mode: str,
    heads: Tensor,
    gates: Tensor,
    elapsed: Tensor,
    rate: Tensor | None,
    asymptote: Tensor | None,
) -> Tensor:
    """Return the new states (batch, neuron); see `ClosedForm.forward`."""
    if rate is not None and asymptote is not None:
        f = heads[..., 0, :]
        return asymptote - asymptote * f * _decay(f, elapsed, rate)
    f, g = torch.tanh(heads).unbind(-2)
    s = _gate(gates, elapsed)
    return f + s * g if mode == "no_gate" else f * (1 - s) + s * g


def _decay(f: Tensor, elapsed: Tensor, rate: Tensor) -> Tensor:
    return torch.exp(-elapsed * (rate.abs() + f.abs()))


def _gate(gates: Tensor, elapsed: Tensor) -> Tensor:
    a, b = gates.unbind(-2)
    return torch.sigmoid(a * elapsed + b)
