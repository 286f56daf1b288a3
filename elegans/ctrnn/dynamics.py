"""The differential equation of a continuous-time recurrent neural network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elegans.solvers import GatedLinearSystem
from elegans.synapses.sums import SynapticSum

ACTIVATIONS = ("sigmoid", "tanh")
"""Functions of a neuron's state plus bias, by the names that `CTRNNDynamics` knows."""


class CTRNNDynamics(GatedLinearSystem):
    r"""A continuous-time recurrent neural network under an input that is held constant.

    .. math::
        \tau_i \dot x_i = -x_i + \sum_{k: j \to i} w_k \varphi(x_j + \theta_j) + I_i

    It is a `GatedLinearSystem` of capacitance tau and conductance 1, so that the semi-implicit
    and exponential solvers, which treat the leak without error of sign for steps of any length,
    integrate it as well as the general ones.

    Parameters
    ----------
    tau
        Time constants > 0, shape (neuron,).
    bias
        theta, shape (neuron,).
    drive
        What the inputs contribute, I, shape (batch, neuron).
    recurrent
        What arrives over the synapses between the neurons, a single map.
    activation
        The firing rate phi: ``"sigmoid"`` or ``"tanh"``.

    References
    ----------
    Beer, "On the dynamics of small continuous-time recurrent neural networks", Adaptive Behavior
    3 (1995) 469-509, equation 1 with unit gains: a gain is a change of the unit of a state.

    Examples
    --------
    One neuron that excites itself:

    >>> one = torch.ones(1)
    >>> loop = SynapticSum.of(4 * one.reshape(1, 1), torch.tensor([0]), torch.tensor([0]), 1, 1)
    >>> self_excited = CTRNNDynamics(2 * one, -2 * one, torch.zeros(1, 1), loop)
    >>> state = torch.full((1, 1), 2.0)
    >>> self_excited.derivative(state), self_excited.jacobian(state)  # 4 sigma(0) = 2
    (tensor([[0.]]), tensor([[[0.]]]))
    """

    def __init__(
        self,
        tau: Tensor,
        bias: Tensor,
        drive: Tensor,
        recurrent: SynapticSum,
        activation: str = "sigmoid",
    ) -> None:
        self.tau = tau
        self.bias = bias
        self.drive = drive
        self.recurrent = recurrent
        self.activation = activation

    @property
    def capacitance(self) -> Tensor:
        """The time constants, shape (neuron,)."""
        return self.tau

    def rate(self, state: Tensor) -> Tensor:
        """Return the firing rate phi(x + theta) of each neuron, shape (batch, neuron)."""
        shifted = state + self.bias
        return torch.tanh(shifted) if self.activation == "tanh" else torch.sigmoid(shifted)

    def slope(self, state: Tensor) -> Tensor:
        """Return the derivative of `rate` by the state, shape (batch, neuron)."""
        shifted = state + self.bias
        if self.activation == "tanh":
            return 1 - torch.tanh(shifted) ** 2
        return torch.sigmoid(shifted) * torch.sigmoid(-shifted)

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return conductance 1 and everything but the leak, both (batch, neuron)."""
        current = self.recurrent(self.rate(state)).squeeze(-2)  # (batch, neuron)
        return torch.ones_like(state), self.drive + current

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron), in closed form.

        .. math::
            J_{ij} = \tau_i^{-1} \Big( \sum_{k: j \to i} w_k \varphi'(x_j + \theta_j)
            - \delta_{ij} \Big)
        """
        weight = self.recurrent.matrix().squeeze(0)  # (neuron, source)
        leak = torch.eye(len(weight), dtype=state.dtype, device=state.device)
        return (weight * self.slope(state).unsqueeze(-2) - leak) / self.tau.unsqueeze(-1)

    def step_jacobian(self, state: Tensor, h: Tensor) -> Tensor:
        r"""Return the derivative of a semi-implicit step by the state it starts from.

        .. math::
            \frac{\partial x^+_i}{\partial x_j} = \frac{1}{\tau_i + h} \Big(
                \delta_{ij} \tau_i + h \sum_{k: j \to i} w_k \varphi'(x_j + \theta_j) \Big)

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
        weight = self.recurrent.matrix().squeeze(0)  # (neuron, source)
        coupling = h.unsqueeze(-1) * weight * self.slope(state).unsqueeze(-2)
        return (coupling + torch.diag(self.tau)) / (self.tau + h).unsqueeze(-1)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        return self.tau, self.bias, self.drive, self.recurrent.weight


class SensedCTRNN(NamedTuple):
    """Contributions of a sequence of inputs, and the effective parameters."""

    tau: Tensor
    """(neuron,)."""
    bias: Tensor
    """(neuron,)."""
    drive: tuple[Tensor, ...]
    """Contribution of the inputs of each time step, (batch, neuron)."""
    recurrent: SynapticSum
    activation: str

    def at(self, time: int) -> CTRNNDynamics:
        """Return the dynamics under the input of one time step."""
        tau, bias, drive, recurrent, activation = self
        return CTRNNDynamics(tau, bias, drive[time], recurrent, activation)
