"""From the values of a circuit to the arrays of a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.dynamics import Leak, sense
from elegans.solvers import Solver
from elegans.synapses import SynapseValues


def run_fused(
    inputs: Tensor,
    state: Tensor,
    elapsed: Tensor,
    recurrent: SynapseValues,
    sensory: SynapseValues,
    leak: Leak,
    *,
    solver: Solver,
    unfolds: int,
) -> Tensor:
    """Run mapped inputs through a kernel and return the states, (batch, time, neuron).

    The arguments are those of the reference path, which this must equal: mapped `inputs` (batch,
    time, input), `state` (batch, neuron), `elapsed` (batch, time).
    """
    from elegans.solvers.fused import Plan, sequence  # imports numba, only where a kernel runs

    neurons = len(leak.capacitance)
    order, source, start = _by_target(recurrent, neurons)
    sensory_order, sensory_source, sensory_start = _by_target(sensory, neurons)
    plan = Plan(
        source, start, sensory_source, sensory_start, unfolds, solver.kernel == "exponential"
    )

    def reference(
        x: Tensor, h: Tensor, dt: Tensor, value: Tensor, sensory_value: Tensor, neuron: Tensor
    ) -> Tensor:
        sorted_recurrent = SynapseValues(recurrent.source[order], recurrent.target[order], *value)
        sorted_sensory = SynapseValues(
            sensory.source[sensory_order], sensory.target[sensory_order], *sensory_value
        )
        sensed = sense(x, sorted_recurrent, sorted_sensory, Leak(*neuron))
        states = []
        for t in range(x.shape[1]):
            h = solver.advance(sensed.at(t), h, dt[:, t : t + 1], unfolds)
            states.append(h)
        return torch.stack(states, dim=1)

    return sequence(
        inputs,
        state,
        elapsed,
        torch.stack(recurrent[2:])[:, order],
        torch.stack(sensory[2:])[:, sensory_order],
        torch.stack(leak),
        plan,
        reference,
    )


def _by_target(synapses: SynapseValues, neurons: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slots sorted by target, their sources, and where each target's begin."""
    order = torch.argsort(synapses.target, stable=True)
    ends = torch.bincount(synapses.target, minlength=neurons).cumsum(0)
    start = torch.cat([ends.new_zeros(1), ends]).int()
    return order, synapses.source[order].int(), start
