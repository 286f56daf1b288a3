"""Liquid circuits over whole sequences as one differentiable PyTorch operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elegans.solvers.circuit import Circuit
from elegans.solvers.fused.cpu.problem import CpuProblem
from elegans.solvers.fused.settings import COUNT, ENDS, POSITIVITY, Settings

Reference = Callable[..., tuple[Tensor, Tensor]]


def sequence(
    x: Tensor,
    initial: Tensor,
    elapsed: Tensor,
    circuit: Circuit,
    *,
    unfolds: int,
    exponential: bool,
    reference: Reference,
) -> tuple[Tensor, Tensor]:
    """Run a liquid circuit over sequences.

    Returns its outputs, (batch, time, output), and its states, (batch, time, neuron).

    Parameters
    ----------
    x
        Inputs, (batch, time, input).
    initial
        (batch, neuron).
    elapsed
        (batch, time), >= 0.
    circuit
        Connections and parameters.
    unfolds
        Solver steps in each element of the sequence.
    exponential
        Whether steps are exponential, or else semi-implicit.
    reference
        Computes the same in plain PyTorch from (x, initial, elapsed, circuit); second derivatives
        use it.
    """
    settings = Settings(
        circuit.outputs,
        unfolds,
        exponential,
        POSITIVITY.index(circuit.positivity),
        circuit.floor,
        circuit.epsilon,
    )
    if torch.compiler.is_compiling():
        from elegans.solvers.fused.library import traced  # registers the operator, once

        return traced((x, initial, elapsed, *circuit.parameters), circuit.connections, settings)
    results: tuple[Tensor, Tensor] = _Sequence.apply(
        x, initial, elapsed, *circuit.parameters, *circuit.connections, settings, circuit, reference
    )
    return results


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        tensors, connections = arguments[:COUNT], arguments[COUNT : COUNT + ENDS]
        settings, circuit, reference = arguments[COUNT + ENDS :]
        needs_gradient = any(ctx.needs_input_grad)
        problem = problem_of(tensors, connections, settings)
        output, states, kept = problem.run(needs_gradient)
        if needs_gradient:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*tensors, *connections, states)
            ctx.problem, ctx.circuit, ctx.reference = problem, circuit, reference
            ctx.kept = kept
        return output, states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        saved = ctx.saved_tensors
        tensors, connections, states = saved[:COUNT], saved[COUNT : COUNT + ENDS], saved[-1]
        flags = ctx.needs_input_grad[:COUNT]
        again = torch.is_grad_enabled()  # somebody wants to differentiate the gradient
        if again or any(g is not None and is_batch_of_gradients(g) for g in gradients):
            tensor_gradients = _by_reference(ctx, tensors, connections, gradients, again)
        else:
            # Should the graph be walked again, the kernel takes the steps again.
            kept, ctx.kept = ctx.kept, None
            all_gradients = ctx.problem.back(*gradients, states, kept, flags[2])
            ctx.problem.give_back(kept)
            tensor_gradients = [
                g if needed else None for g, needed in zip(all_gradients, flags, strict=True)
            ]
        return (*tensor_gradients, *([None] * (ENDS + 3)))


def _by_reference(
    ctx: Any, tensors: Any, connections: Any, gradients: Any, again: bool
) -> list[Any]:
    """Return the gradients, differentiable themselves, through plain PyTorch."""
    circuit = ctx.circuit.holding(tensors[3:], connections)
    flags = ctx.needs_input_grad[:COUNT]
    inputs = [t for t, w in zip(tensors, flags, strict=True) if w]
    with torch.enable_grad():
        results = ctx.reference(*tensors[:3], circuit)
    given = [(r, g) for r, g in zip(results, gradients, strict=True) if g is not None]
    input_gradients = iter(
        torch.autograd.grad(
            [r for r, _ in given],
            inputs,
            [g for _, g in given],
            create_graph=again,
            allow_unused=True,
        )
    )
    return [next(input_gradients) if w else None for w in flags]


def is_batch_of_gradients(gradient: Tensor) -> bool:
    """Whether `gradient` is one of `torch.autograd.grad(..., is_grads_batched=True)`."""
    try:
        gradient.data_ptr()
    except RuntimeError:  # PyTorch has no question that all its ways of batching answer
        return True
    return False


def problem_of(tensors: Any, connections: Any, settings: Settings) -> Any:
    """Return what runs on the device of the tensors."""
    if tensors[0].is_cuda:
        from elegans.solvers.fused.gpu.problem import GpuProblem  # imports Triton

        return GpuProblem(tensors, connections, settings)
    return CpuProblem(tensors, connections, settings)
