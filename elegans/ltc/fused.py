"""Calls of the kernels for a liquid circuit."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.layers.mapping import mapped
from elegans.ltc.dynamics import effective, read, sense
from elegans.solvers import Solver
from elegans.solvers.circuit import Circuit


def run_fused(
    inputs: Tensor,
    state: Tensor,
    elapsed: Tensor,
    circuit: Circuit,
    solver: Solver,
    unfolds: int,
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
