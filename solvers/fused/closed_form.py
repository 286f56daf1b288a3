"""CfCs over whole sequences as one differentiable PyTorch operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from elegans.solvers.fused.cpu.closed_problem import closed_problem_of
from elegans.solvers.fused.operator import is_batch_of_gradients
from elegans.solvers.fused.settings import ACTIVATIONS, CLOSED_MODES, ClosedSettings


def closed_form(
    tensors: Sequence[Tensor],
    connections: Sequence[Tensor],
    mode: str,
    *,
    activation: str = "tanh",
    height: float = 1.0,
    steepness: float = 1.0,
    reference: Callable[..., Tensor],
) -> Tensor:
    """Run a CfC over sequences and return its states, (batch, time, neuron).

    Parameters
    ----------
    tensors
        Inputs, (batch, time, input), initial state, (batch, neuron), elapsed times, (batch, time),
        rate and asymptote, (neuron,), without elements unless the mode is ``"pure"``; then weights.
        Along synapses: the bias (map, neuron), recurrent and sensory weights (map, synapse), and
        again those of gates with synapses of their own. Behind a backbone: weight (output, input)
        and bias (output,) of each layer, the first of which reads inputs and state.
    connections
        Source and target of each set of synapses, then the number of neurons of each layer, the
        last to be updated first. Nothing behind a backbone.
    mode
        One of `CLOSED_MODES`.
    activation, height, steepness
        One of `ACTIVATIONS`; ``"tanh"`` is height * tanh(steepness * x).
    reference
        Computes the same in plain PyTorch from `tensors`; second derivatives use it.
    """
    indices = CLOSED_MODES.index(mode), ACTIVATIONS.index(activation)
    settings = ClosedSettings(*indices, height, steepness)
    if torch.compiler.is_compiling():
        from elegans.solvers.fused.closed_library import traced  # registers the operator, once

        return traced(tensors, connections, settings)
    apply: Any = _Closed.apply
    states: Tensor = apply(list(connections), settings, reference, *tensors)
    return states


class _Closed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        connections: list[Tensor],
        settings: ClosedSettings,
        reference: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> Tensor:
        needs_gradient = any(ctx.needs_input_grad)
        problem = closed_problem_of(tensors, connections, settings)
        states, kept = problem.run(needs_gradient)
        if needs_gradient:
            ctx.save_for_backward(*tensors, *connections)
            ctx.problem, ctx.reference, ctx.kept = problem, reference, kept
            ctx.count = len(tensors)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        tensors = ctx.saved_tensors[: ctx.count]  # an edit in place is noticed here
        flags = ctx.needs_input_grad[3:]
        again = torch.is_grad_enabled()  # somebody wants to differentiate the gradient
        if again or is_batch_of_gradients(gradient):
            found = _by_reference(ctx.reference, tensors, flags, gradient, again)
        else:
            # Should the graph be walked again, the kernel takes the steps again.
            kept, ctx.kept = ctx.kept, None
            found = ctx.problem.back(gradient, kept, flags[0])
            ctx.problem.give_back(kept)
        return (None, None, None, *(g if w else None for g, w in zip(found, flags, strict=True)))


def _by_reference(
    reference: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    flags: Sequence[bool],
    gradient: Tensor,
    again: bool,
) -> list[Tensor | None]:
    """Return the gradients, differentiable themselves, through plain PyTorch."""
    with torch.enable_grad():
        states = reference(*tensors)
    wanted = [tensor for tensor, flag in zip(tensors, flags, strict=True) if flag]
    gradients = iter(
        torch.autograd.grad(states, wanted, gradient, create_graph=again, allow_unused=True)
    )
    return [next(gradients) if flag else None for flag in flags]
