"""The differential equation of a liquid-resistance liquid-capacitance circuit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elegans.ltc.dynamics import LiquidDynamics
from elegans.solvers import GatedLinearSystem
from elegans.synapses.elastic import elastance, elastance_slope
from elegans.synapses.liquid import SynapseValues
from elegans.synapses.sums import SynapticSum, places


class LRCDynamics(GatedLinearSystem):
    r"""A liquid circuit with saturated conductances and a liquid capacitance, under a held input.

    .. math::
        \dot x_i = \epsilon(z_i) \big( V_i \tanh A_i - \sigma(G_i)\, x_i \big), \qquad
        z_i = p_i + \sum_{k: j \to i} o_k x_j

    with total conductance G and drive A of `LiquidDynamics`, in which the leak draws to 1.

    Parameters
    ----------
    liquid
        G and A: the circuit without what is said here.
    potential
        V, shape (neuron,).
    level
        What inputs and bias contribute to z, shape (batch, neuron).
    elastic
        What arrives of z over the synapses between the neurons, a single map.
    weight
        o of the same synapses, in the order of those of `liquid`, shape (synapse,).
    width
        d of a symmetric elastance, (neuron,); None for an asymmetric one.

    References
    ----------
    Farsang, Neubauer, Grosu, "Liquid resistance liquid capacitance networks", 2024.
    """

    def __init__(
        self,
        liquid: LiquidDynamics,
        potential: Tensor,
        level: Tensor,
        elastic: SynapticSum,
        weight: Tensor,
        width: Tensor | None = None,
    ) -> None:
        self.liquid = liquid
        self.potential = potential
        self._level = level
        self.elastic = elastic
        self.weight = weight
        self.width = width

    @property
    def capacitance(self) -> Tensor:
        """1 for each neuron, shape (neuron,): the elastance is in conductance and drive."""
        return self.liquid.capacitance

    def level(self, state: Tensor) -> Tensor:
        """Return z, shape (batch, neuron)."""
        return self._level + self.elastic(state).squeeze(-2)

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance and drive, elastance included, both (batch, neuron)."""
        conductance, drive = self.liquid.conductance_and_drive(state)
        fast = elastance(self.level(state), self.width)
        return fast * torch.sigmoid(conductance), fast * torch.tanh(drive) * self.potential

    def _slopes(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each synapse adds to slopes of conductance and drive, (batch, synapse)."""
        target, erev = places(self.liquid.recurrent.target), self.liquid.recurrent.erev
        conductance, drive = self.liquid.conductance_and_drive(state)
        level, opening = self.level(state), self.liquid.opening(state)
        fast = elastance(level, self.width)
        faster = elastance_slope(level, self.width)
        saturated, driving = torch.sigmoid(conductance), torch.tanh(drive)

        def onto(values: Tensor) -> Tensor:
            return values.index_select(-1, target)

        return (
            onto(faster * saturated) * self.weight
            + onto(fast * saturated * torch.sigmoid(-conductance)) * opening,
            onto(faster * driving * self.potential) * self.weight
            + onto(fast * (1 - driving**2) * self.potential) * opening * erev,
        )

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron), in closed form.

        .. math::
            J_{ij} = \sum_{k: j \to i} \Big( \epsilon_i' o_k \big(V_i \tanh A_i - \sigma(G_i) x_i
                \big) + \epsilon_i c_k \big(V_i (1 - \tanh^2 A_i) E_k - \sigma'(G_i) x_i \big)
                \Big) - \delta_{ij} \epsilon_i \sigma(G_i)

        with c the slope of a synapse's open conductance.
        """
        conductance, _ = self.conductance_and_drive(state)
        conducting, driving = self._slopes(state)
        pulled = state.index_select(-1, places(self.liquid.recurrent.target))
        return self.liquid.matrix(driving - conducting * pulled, -conductance)

    def step_jacobian(self, state: Tensor, h: Tensor) -> Tensor:
        r"""Return the derivative of a semi-implicit step by the state it starts from.

        .. math::
            \frac{\partial x^+_i}{\partial x_j} = \frac{\delta_{ij} + h (\partial_j B_i - x^+_i
                \partial_j H_i)}{1 + h H_i}

        with conductance H and drive B, elastance included.

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
        conductance, drive = self.conductance_and_drive(state)
        conducting, driving = self._slopes(state)
        whole = 1 + h * conductance
        after = (state + h * drive) / whole
        pulled = after.index_select(-1, places(self.liquid.recurrent.target))
        entries = h * (driving - conducting * pulled)
        return self.liquid.matrix(entries, torch.ones_like(state)) / whole.unsqueeze(-1)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        rest = (self.potential, self._level, self.elastic.weight)
        return (*self.liquid.parameters(), *rest, *([] if self.width is None else [self.width]))


class SensedLRC(NamedTuple):
    """Contributions of a sequence of inputs and of the leak, and the effective parameters."""

    conductance: tuple[Tensor, ...]
    """Leak and open sensory conductance of each step, (batch, neuron)."""
    drive: tuple[Tensor, ...]
    """Leak and what sensory conductances drive in each step, (batch, neuron)."""
    level: tuple[Tensor, ...]
    """Of the elastance, from inputs and bias in each step, (batch, neuron)."""
    recurrent: SynapseValues
    elastic: SynapticSum
    weight: Tensor
    potential: Tensor
    width: Tensor | None

    def at(self, time: int) -> LRCDynamics:
        """Return the dynamics under the input of one time step."""
        liquid = LiquidDynamics(
            torch.ones_like(self.potential),
            self.conductance[time],
            self.drive[time],
            self.recurrent,
        )
        level, rest = self.level[time], (self.elastic, self.weight, self.width)
        return LRCDynamics(liquid, self.potential, level, *rest)
