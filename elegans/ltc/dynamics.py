"""The differential equation of a liquid time-constant circuit, and its run by kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elegans.layers.mapping import mapped
from elegans.solvers import GatedLinearSystem, Solver
from elegans.solvers.circuit import Circuit
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.liquid import SynapseValues, values_of
from elegans.synapses.sums import places

MULTIPLY_ADDS = 3
"""Of a synapse: s x - s m in the gate, its conductance and its current. The sigmoid between them
is not counted."""


class LiquidDynamics(GatedLinearSystem):
    r"""A liquid time-constant circuit under an input that is held constant.

    .. math::
        C_i \dot x_i = g_i (V_i - x_i) + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)) (E_k - x_i)

    Leak and sensory synapses do not depend on the state; their sums are given.

    Parameters
    ----------
    capacitance
        C, shape (neuron,).
    conductance
        Leak and open sensory conductances of each neuron, shape (batch, neuron).
    drive
        The same conductances times their potentials, shape (batch, neuron).
    recurrent
        Synapses between the neurons.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021.
    """

    def __init__(
        self, capacitance: Tensor, conductance: Tensor, drive: Tensor, recurrent: SynapseValues
    ) -> None:
        self._capacitance = capacitance
        self._conductance = conductance
        self._drive = drive
        self.recurrent = recurrent

    @property
    def capacitance(self) -> Tensor:
        """The capacitance C of each neuron, shape (neuron,)."""
        return self._capacitance

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance G and drive A at `state`, both (batch, neuron)."""
        return self.recurrent.add_to(self._conductance, self._drive, state)

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron), in closed form.

        .. math::
            J_{ij} = C_i^{-1} \sum_{k: j \to i} w s \sigma (1 - \sigma) (E - x_i)
            - \delta_{ij} G_i / C_i
        """
        conductance, _ = self.conductance_and_drive(state)
        jacobian = self.matrix(self.coupling(state, state), -conductance)
        return jacobian / self.capacitance.unsqueeze(-1)

    def coupling(self, state: Tensor, pulled: Tensor) -> Tensor:
        r"""Return what a change of x_j does to the current through each synapse, by its gate.

        .. math:: w_k s_k \sigma_k (1 - \sigma_k) (E_k - y_i)

        with gates at `state` and the potentials y = `pulled` of the targets, both (batch, neuron);
        the result has the shape (batch, synapse).
        """
        synapses = self.recurrent
        pull = synapses.erev - pulled.index_select(-1, places(synapses.target))
        return self.opening(state) * pull

    def opening(self, state: Tensor) -> Tensor:
        """Return what a change of x_j does to each open conductance, shape (batch, synapse)."""
        synapses = self.recurrent
        gain = synapses.sigma * (state.index_select(-1, places(synapses.source)) - synapses.mu)
        # sigma(-z) and not 1 - sigma(z), which cancels where the gate is open.
        return synapses.weight * synapses.sigma * torch.sigmoid(gain) * torch.sigmoid(-gain)

    def matrix(self, entries: Tensor, diagonal: Tensor) -> Tensor:
        """Return `entries` of synapses at (target, source), parallel ones summed, plus a diagonal.

        Shapes (batch, synapse) and (batch, neuron) make (batch, neuron, neuron).
        """
        neurons = diagonal.shape[-1]
        place = self.recurrent.target.long() * neurons + self.recurrent.source  # beyond 32 bits
        flat = diagonal.new_zeros(*diagonal.shape[:-1], neurons * neurons)
        flat = flat.index_add(-1, place, entries)
        return flat.reshape(*diagonal.shape, neurons) + torch.diag_embed(diagonal)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        _, _, *values = self.recurrent
        return (self._capacitance, self._conductance, self._drive, *values)


class Sensed(NamedTuple):
    """Contributions of a sequence of inputs and of the leak, and the effective parameters."""

    capacitance: Tensor
    """(neuron,)."""
    conductance: tuple[Tensor, ...]
    """Leak and open sensory conductance of each step, (batch, neuron)."""
    drive: tuple[Tensor, ...]
    """The same conductances times their potentials of each step, (batch, neuron)."""
    recurrent: SynapseValues

    def at(self, time: int) -> LiquidDynamics:
        """Return the dynamics under the input of one time step."""
        return LiquidDynamics(
            self.capacitance, self.conductance[time], self.drive[time], self.recurrent
        )


def effective(circuit: Circuit) -> Circuit:
    """Return the circuit with constraints applied and without scales and shifts."""
    positivity = POSITIVITY[circuit.positivity]
    return circuit._replace(
        scale=None,
        shift=None,
        out_scale=None,
        out_shift=None,
        recurrent=values_of(circuit.recurrent, positivity).slots(),
        sensory=values_of(circuit.sensory, positivity).slots(),
        gleak=positivity(circuit.gleak),
        cm=positivity(circuit.cm, floor=circuit.floor),
        positivity="identity",
    )


def sense(inputs: Tensor, circuit: Circuit) -> Sensed:
    """Return what inputs (batch, time, input) and the leak contribute to every step."""
    inputs = mapped(inputs, circuit.scale, circuit.shift)
    circuit = effective(circuit)
    shape = (*inputs.shape[:-1], len(circuit.gleak))
    conductance, drive = SynapseValues.of(circuit.sensory).add_to(
        (circuit.gleak + circuit.epsilon).expand(shape),
        (circuit.gleak * circuit.vleak).expand(shape),
        inputs,
    )
    # Taken apart at once: the gradient of a slice for each step would be as long as the sequence.
    return Sensed(
        circuit.cm, conductance.unbind(-2), drive.unbind(-2), SynapseValues.of(circuit.recurrent)
    )


def read(states: Tensor, circuit: Circuit) -> Tensor:
    """Return the mapped potentials of the motor neurons, (..., output)."""
    return mapped(states[..., : circuit.outputs], circuit.out_scale, circuit.out_shift)


def run_fused(
    inputs: Tensor, state: Tensor, elapsed: Tensor, circuit: Circuit, solver: Solver, unfolds: int
) -> tuple[Tensor, Tensor]:
    """Run inputs through a kernel; return outputs (batch, time, output) and states.

    The result equals that of the reference path: `inputs` (batch, time, input), `state` (batch,
    neuron), `elapsed` (batch, time).
    """
    from elegans.solvers.fused import sequence  # imports numba, only where a kernel runs

    def reference(x: Tensor, h: Tensor, dt: Tensor, circuit: Circuit) -> tuple[Tensor, Tensor]:
        sensed = sense(x, circuit)
        states = []
        for t in range(x.shape[1]):
            h = solver.advance(sensed.at(t), h, dt[:, t : t + 1], unfolds)
            states.append(h)
        path = torch.stack(states, dim=1)
        return read(path, circuit), path

    given = inputs, circuit
    if inputs.is_cuda:  # what comes before and after the kernel is left to PyTorch there
        given = mapped(inputs, circuit.scale, circuit.shift), effective(circuit)
    output, states = sequence(
        given[0],
        state,
        elapsed,
        given[1],
        unfolds=unfolds,
        exponential=solver.kernel == "exponential",
        reference=reference,
    )
    if inputs.is_cuda:
        output = mapped(output, circuit.out_scale, circuit.out_shift)
    return output, states
