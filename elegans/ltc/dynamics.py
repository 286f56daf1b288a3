"""The differential equation of a liquid time-constant circuit, and its run by kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elegans.layers.mapping import mapped
from elegans.solvers import GatedLinearSystem, Solver
from elegans.solvers.circuit import Circuit
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.electrical import JunctionValues
from elegans.synapses.liquid import SynapseValues, values_of
from elegans.synapses.sums import places

MULTIPLY_ADDS = 3
"""Of a synapse: s x - s m in the gate, its conductance and its current. The sigmoid between them
is not counted."""


class LiquidDynamics(GatedLinearSystem):
    r"""A liquid time-constant circuit under an input that is held constant.

    .. math::
        C_i \dot x_i = g_i (V_i - x_i) + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)) (E_k - x_i)
            + \sum_{k: i - j} \hat w_k (x_j - x_i)

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
    electrical
        Gap junctions, the last sum, if there are any; a rectifying one takes part while its source
        has the higher potential.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021.
    """

    def __init__(
        self,
        capacitance: Tensor,
        conductance: Tensor,
        drive: Tensor,
        recurrent: SynapseValues,
        electrical: JunctionValues | None = None,
    ) -> None:
        self._capacitance = capacitance
        self._conductance = conductance
        self._drive = drive
        self.recurrent = recurrent
        self.electrical = electrical

    @property
    def capacitance(self) -> Tensor:
        """The capacitance C of each neuron, shape (neuron,)."""
        return self._capacitance

    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance G and drive A at `state`, both (batch, neuron)."""
        sums = self.recurrent.add_to(self._conductance, self._drive, state)
        return sums if self.electrical is None else self.electrical.add_to(*sums, state)

    def time_constant(self, state: Tensor) -> Tensor:
        """Return C / G, (batch, neuron), without junctions through which no current flows."""
        conductance, _ = self.recurrent.add_to(self._conductance, self._drive, state)
        if self.electrical is not None:
            conducting = self.electrical.conducting(state)
            for end in self.electrical[:2]:
                conductance = conductance.index_add(-1, places(end), conducting)
        return self.capacitance / conductance

    def jacobian(self, state: Tensor) -> Tensor:
        r"""Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron), in closed form.

        .. math::
            J_{ij} = C_i^{-1} \sum_{k: j \to i} w s \sigma (1 - \sigma) (E - x_i)
            + C_i^{-1} \sum_{k: i - j} \hat w_k - \delta_{ij} G_i / C_i
        """
        conductance, _ = self.conductance_and_drive(state)
        jacobian = self.matrix(self.coupling(state, state), -conductance)
        return jacobian / self.capacitance.unsqueeze(-1)

    def coupling(self, state: Tensor, pulled: Tensor) -> Tensor:
        r"""Return what a change of x_j does to the current into x_i along each of `ends`.

        .. math:: w_k s_k \sigma_k (1 - \sigma_k) (E_k - y_i) \text{ or } \hat w_k

        with gates at `state` and the potentials y = `pulled` of the targets, both (batch, neuron);
        the result has the shape (batch, end). The conductance of a junction that rectifies pulls
        its ends to each other or, while no current flows, each to itself.
        """
        synapses = self.recurrent
        pull = synapses.erev - pulled.index_select(-1, places(synapses.target))
        by_gates = self.opening(state) * pull
        if self.electrical is None:
            return by_gates
        conducting = self.electrical.conducting(state)
        resting = self.electrical.weight - conducting
        return torch.cat([by_gates, conducting, conducting, resting, resting], -1)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return source and target of each synapse, then of each junction.

        These are one way and back, then from either end to itself.
        """
        source, target = self.recurrent.source, self.recurrent.target
        if self.electrical is None:
            return source, target
        one, other = self.electrical.source, self.electrical.target
        itself = one, other
        return torch.cat([source, one, other, *itself]), torch.cat([target, other, one, *itself])

    def opening(self, state: Tensor) -> Tensor:
        """Return what a change of x_j does to each open conductance, shape (batch, synapse)."""
        synapses = self.recurrent
        gain = synapses.sigma * (state.index_select(-1, places(synapses.source)) - synapses.mu)
        # sigma(-z) and not 1 - sigma(z), which cancels where the gate is open.
        return synapses.weight * synapses.sigma * torch.sigmoid(gain) * torch.sigmoid(-gain)

    def matrix(self, entries: Tensor, diagonal: Tensor) -> Tensor:
        """Return the entries of `ends` at (target, source), parallel ones summed, plus a diagonal.

        Shapes (batch, end) and (batch, neuron) make (batch, neuron, neuron).
        """
        neurons, (source, target) = diagonal.shape[-1], self.ends()
        place = target.long() * neurons + source  # beyond 32 bits
        flat = diagonal.new_zeros(*diagonal.shape[:-1], neurons * neurons)
        flat = flat.index_add(-1, place, entries)
        return flat.reshape(*diagonal.shape, neurons) + torch.diag_embed(diagonal)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that the derivative depends on."""
        _, _, *values = self.recurrent
        junctions = () if self.electrical is None else (self.electrical.weight,)
        return (self._capacitance, self._conductance, self._drive, *values, *junctions)


class Sensed(NamedTuple):
    """Contributions of a sequence of inputs and of the leak, and the effective parameters."""

    capacitance: Tensor
    """(neuron,)."""
    conductance: tuple[Tensor, ...]
    """Leak and open sensory conductance of each step, (batch, neuron)."""
    drive: tuple[Tensor, ...]
    """The same conductances times their potentials of each step, (batch, neuron)."""
    recurrent: SynapseValues
    electrical: JunctionValues | None = None

    def at(self, time: int) -> LiquidDynamics:
        """Return the dynamics under the input of one time step."""
        return LiquidDynamics(
            self.capacitance,
            self.conductance[time],
            self.drive[time],
            self.recurrent,
            self.electrical,
        )


def effective(circuit: Circuit) -> Circuit:
    """Return the circuit with constraints applied and without scales and shifts."""
    positivity, junctions = POSITIVITY[circuit.positivity], circuit.electrical
    if junctions is not None:
        junctions = junctions._replace(weight=positivity(junctions.weight))
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
        electrical=junctions,
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
        circuit.cm,
        conductance.unbind(-2),
        drive.unbind(-2),
        SynapseValues.of(circuit.recurrent),
        None if circuit.electrical is None else JunctionValues(*circuit.electrical),
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
