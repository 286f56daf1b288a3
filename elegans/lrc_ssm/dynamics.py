"""The differential equation of a neuron of LrcSSM, which reads its inputs and itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from elegans.solvers import GatedLinearSystem
from elegans.synapses.elastic import elastance, elastance_slope


class Own(NamedTuple):
    """What each neuron makes of itself: parameters of the neurons, each (neuron,)."""

    gain: Tensor
    """s of the gate that reads the own state."""
    centre: Tensor
    """m of the same gate."""
    forget: Tensor
    """w: what the open gate adds to the conductance."""
    update: Tensor
    """v: what it adds to the drive."""
    potential: Tensor
    """V: what the drive pulls to."""
    elastance_gain: Tensor
    elastance_bias: Tensor
    elastance_width: Tensor | None

    @classmethod
    def of(cls, given: Sequence[Tensor]) -> Own:
        """Return what `given` returned the tensors of."""
        values: list[Tensor | None] = [*given, None]
        return cls(*values[: len(cls._fields)])  # type: ignore[arg-type]

    def given(self) -> tuple[Tensor, ...]:
        """Return the tensors that are there."""
        return tuple(value for value in self if value is not None)


class LrcSSMDynamics(GatedLinearSystem):
    r"""Neurons of LrcSSM under an input that is held constant; no neuron reads another.

    .. math::
        \dot x_i = \epsilon(k_i x_i + b_i) \big( V_i \tanh(U_i + v_i q_i) - \sigma(F_i + w_i q_i)\,
            x_i \big), \qquad q_i = \sigma(s_i (x_i - m_i))

    Parameters
    ----------
    forget, update
        What leak and inputs contribute to conductance and drive, F and U, each (batch, neuron).
    own
        The parameters of the neurons.

    References
    ----------
    Farsang, Hasani, Rus, Grosu, "Scaling up liquid-resistance liquid-capacitance networks for
    efficient sequence modeling", NeurIPS 2025.

    Examples
    --------
    A neuron whose parameters are 0 but for the potential, 2, and the drive; sigma(0) = 1/2:

    >>> zero, two = torch.zeros(1), torch.full((1,), 2.0)
    >>> own = Own(zero, zero, zero, zero, two, zero, zero, None)
    >>> dynamics = LrcSSMDynamics(torch.zeros(1, 1), torch.full((1, 1), 9.0), own)
    >>> dynamics.derivative(torch.ones(1, 1))  # (2 tanh 9 - 1/2) / 2
    tensor([[0.7500]])
    """

    def __init__(self, forget: Tensor, update: Tensor, own: Own) -> None:
        self.forget = forget
        self.update = update
        self.own = own

    @property
    def capacitance(self) -> Tensor:
        """1 for each neuron, shape (neuron,): the elastance is in conductance and drive."""
        return torch.ones_like(self.own.potential)

    def _opened(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return elastance, conductance and drive before it multiplies them, (batch, neuron)."""
        own = self.own
        gate = torch.sigmoid(own.gain * (state - own.centre))
        return (
            elastance(own.elastance_gain * state + own.elastance_bias, own.elastance_width),
            torch.sigmoid(self.forget + own.forget * gate),
            torch.tanh(self.update + own.update * gate),
        )

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance and drive, both (batch, neuron)."""
        fast, conductance, drive = self._opened(state)
        return fast * conductance, fast * drive * self.own.potential

    def slopes(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives of conductance and drive by the own state, (batch, neuron)."""
        own = self.own
        fast, conductance, drive = self._opened(state)
        level = own.elastance_gain * state + own.elastance_bias
        faster = own.elastance_gain * elastance_slope(level, own.elastance_width)
        shifted = own.gain * (state - own.centre)
        opening = own.gain * torch.sigmoid(shifted) * torch.sigmoid(-shifted)
        conducting = conductance * (1 - conductance) * own.forget * opening
        driving = (1 - drive**2) * own.update * opening
        return (
            faster * conductance + fast * conducting,
            (faster * drive + fast * driving) * own.potential,
        )

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, diagonal, (batch, neuron, neuron), in closed form.

        .. math:: J_{ii} = A_i' - G_i' x_i - G_i

        with conductance G and drive A.
        """
        conductance, _ = self.conductance_and_drive(state)
        conducting, driving = self.slopes(state)
        return torch.diag_embed(driving - conducting * state - conductance)

    def step_jacobian(self, state: Tensor, h: Tensor) -> Tensor:
        r"""Return the derivative of a semi-implicit step by the state it starts from.

        .. math::
            \frac{\partial x^+_i}{\partial x_i} = \frac{1 + h A_i' - h G_i' x^+_i}{1 + h G_i}

        Parameters
        ----------
        state
            Shape (batch, neuron).
        h
            Length of the step, shape (batch, 1).

        Returns
        -------
        Tensor
            ``[:, i, j]`` is the derivative of x⁺_i by x_j, diagonal, (batch, neuron, neuron).
        """
        conductance, drive = self.conductance_and_drive(state)
        conducting, driving = self.slopes(state)
        after = (state + h * drive) / (1 + h * conductance)
        return torch.diag_embed((1 + h * (driving - conducting * after)) / (1 + h * conductance))

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        return self.forget, self.update, *self.own.given()


@dataclass(frozen=True)
class SensedLrcSSM:
    """Contributions of a sequence of inputs and of the leak, and the parameters of the neurons."""

    forget: Tensor
    """(batch, time, neuron)."""
    update: Tensor
    """(batch, time, neuron)."""
    own: Own

    @cached_property
    def _steps(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        # Taken apart at once: the gradient of a slice for each step would be as long as the whole.
        return self.forget.unbind(1), self.update.unbind(1)

    def at(self, time: int) -> LrcSSMDynamics:
        """Return the dynamics under the input of one time step."""
        forget, update = self._steps
        return LrcSSMDynamics(forget[time], update[time], self.own)
