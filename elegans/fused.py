"""From the values of a circuit to the arrays of a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.dynamics import Leak, sense
from elegans.solvers import Solver
from elegans.synapses import ByTarget, SynapseValues


def run_fused(
    inputs: Tensor,
    state: Tensor,
    elapsed: Tensor,
    recurrent: SynapseValues,
    sensory: SynapseValues,
    leak: Leak,
    *,
    order: ByTarget,
    sensory_order: ByTarget,
    solver: Solver,
    unfolds: int,
) -> Tensor:
    """Run mapped inputs through a kernel and return the states, (batch, time, neuron).

    The arguments are those of the reference path, which this must equal: mapped `inputs` (batch,
    time, input), `state` (batch, neuron), `elapsed` (batch, time). `order` and `sensory_order` are
    the synapses by target.
    """
    from elegans.solvers.fused import Plan, sequence  # imports numba, only where a kernel runs

    plan = Plan(
        order.source,
        order.start,
        sensory_order.source,
        sensory_order.start,
        unfolds,
        solver.kernel == "exponential",
    )

    def reference(
        x: Tensor, h: Tensor, dt: Tensor, value: Tensor, sensory_value: Tensor, neuron: Tensor
    ) -> Tensor:
        # From copies: the wiring may have been edited since.
        sensed = sense(
            x,
            SynapseValues(*order.ends(), *value),
            SynapseValues(*sensory_order.ends(), *sensory_value),
            Leak(*neuron),
        )
        states = []
        for t in range(x.shape[1]):
            h = solver.advance(sensed.at(t), h, dt[:, t : t + 1], unfolds)
            states.append(h)
        return torch.stack(states, dim=1)

    return sequence(
        inputs,
        state,
        elapsed,
        order.sort(torch.stack(recurrent[2:])),
        sensory_order.sort(torch.stack(sensory[2:])),
        torch.stack(leak),
        plan,
        reference,
    )
