"""The differential equations of neural ODEs and of LTC in the form of its first publication."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elegans.solvers import GatedLinearSystem
from elegans.synapses.sums import SynapticSum

ACTIVATIONS = ("sigmoid", "tanh")
"""What a neuron makes of what arrives, by the names that `NeuralDynamics` knows."""


class NeuralDynamics(GatedLinearSystem):
    r"""A neural ODE, or a liquid one, under an input that is held constant.

    .. math::
        \dot x_i = f_i A_i - \Big(\frac{1}{\tau_i} + f_i\Big) x_i \quad\text{or}\quad
        \dot x_i = f_i, \qquad f_i = \varphi\Big(\sum_{k: j \to i} w_k x_j + I_i\Big)

    Parameters
    ----------
    drive
        What inputs and bias contribute, I, shape (batch, neuron).
    recurrent
        What arrives over the synapses between the neurons, a single map.
    activation
        phi: ``"sigmoid"`` or ``"tanh"``.
    liquid
        Time constants tau > 0 and potentials A, each (neuron,); None for a neural ODE.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021, equation 1.
    Chen, Rubanova, Bettencourt, Duvenaud, "Neural ordinary differential equations", NeurIPS 2018.

    Examples
    --------
    One neuron that nothing reaches, in a liquid equation: f = 1/2 draws it to A = 3.

    >>> nothing = SynapticSum.of(torch.zeros(1, 1), torch.tensor([0]), torch.tensor([0]), 1, 1)
    >>> one = torch.ones(1)
    >>> dynamics = NeuralDynamics(torch.zeros(1, 1), nothing, "sigmoid", (2 * one, 3 * one))
    >>> dynamics.derivative(torch.ones(1, 1))  # 3/2 - (1/2 + 1/2)
    tensor([[0.5000]])
    """

    def __init__(
        self,
        drive: Tensor,
        recurrent: SynapticSum,
        activation: str,
        liquid: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.drive = drive
        self.recurrent = recurrent
        self.activation = activation
        self.liquid = liquid

    @property
    def capacitance(self) -> Tensor:
        """1 for each neuron, shape (neuron,)."""
        return torch.ones_like(self.drive[0])

    def rate(self, state: Tensor) -> Tensor:
        """Return f, shape (batch, neuron)."""
        arriving = self.recurrent(state).squeeze(-2) + self.drive
        return torch.tanh(arriving) if self.activation == "tanh" else torch.sigmoid(arriving)

    def slope(self, rate: Tensor) -> Tensor:
        """Return the derivative of f by what arrives where f is `rate`, shape (batch, neuron)."""
        return 1 - rate**2 if self.activation == "tanh" else rate * (1 - rate)

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1/tau + f and f A, or 0 and f, both (batch, neuron)."""
        rate = self.rate(state)
        if self.liquid is None:
            return torch.zeros_like(rate), rate
        tau, reversal = self.liquid
        return 1 / tau + rate, rate * reversal

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron), in closed form.

        .. math::
            J_{ij} = (A_i - x_i) \varphi'_i \sum_{k: j \to i} w_k
                - \delta_{ij} \Big(\frac{1}{\tau_i} + f_i\Big) \quad\text{or}\quad
            J_{ij} = \varphi'_i \sum_{k: j \to i} w_k
        """
        weight, rate = self.recurrent.matrix().squeeze(0), self.rate(state)  # (neuron, source)
        coupling = self.slope(rate)
        if self.liquid is None:
            return coupling.unsqueeze(-1) * weight
        tau, reversal = self.liquid
        pull = ((reversal - state) * coupling).unsqueeze(-1) * weight
        return pull - torch.diag_embed(1 / tau + rate)

    def step_jacobian(self, state: Tensor, h: Tensor) -> Tensor:
        r"""Return the derivative of a semi-implicit step by the state it starts from.

        .. math::
            \frac{\partial x^+_i}{\partial x_j} = \frac{\delta_{ij} + h (A_i - x^+_i) \varphi'_i
                \sum_{k: j \to i} w_k}{1 + h (1/\tau_i + f_i)} \quad\text{or}\quad
            \delta_{ij} + h \varphi'_i \sum_{k: j \to i} w_k

        Parameters
        ----------
        state
            Shape (batch, neuron).
        h
            Length of the step, shape (batch, 1).

        Returns
        -------
        Tensor
            ``[:, i, j]`` is the derivative of x⁺_i by x_j, shape (batch, neuron, neuron).
        """
        weight, rate = self.recurrent.matrix().squeeze(0), self.rate(state)
        identity = torch.eye(len(weight), dtype=state.dtype, device=state.device)
        coupling = h * self.slope(rate)
        if self.liquid is None:
            return identity + coupling.unsqueeze(-1) * weight
        tau, reversal = self.liquid
        whole = 1 + h * (1 / tau + rate)
        after = (state + h * rate * reversal) / whole
        pull = ((reversal - after) * coupling).unsqueeze(-1) * weight
        return (identity + pull) / whole.unsqueeze(-1)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        return self.drive, self.recurrent.weight, *(self.liquid or ())


class SensedNeural(NamedTuple):
    """Contributions of a sequence of inputs, and the effective parameters."""

    drive: tuple[Tensor, ...]
    """Inputs and bias of each time step, (batch, neuron)."""
    recurrent: SynapticSum
    activation: str
    liquid: tuple[Tensor, Tensor] | None

    def at(self, time: int) -> NeuralDynamics:
        """Return the dynamics under the input of one time step."""
        drive, recurrent, activation, liquid = self
        return NeuralDynamics(drive[time], recurrent, activation, liquid)
