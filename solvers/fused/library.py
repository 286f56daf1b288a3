"""The operator as `torch.compile` and `torch.export` see it: ``torch.ops.elegans.sequence``.

The same kernels under the same rules; PyTorch's operators take tensors and numbers alone, so a
tensor that is not there is one without elements, and what the backward pass needs is a result.
"""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from elegans.solvers.fused.cpu.problem import room_for
from elegans.solvers.fused.operator import problem_of
from elegans.solvers.fused.settings import COUNT, Settings

OPTIONAL = (3, 4, 5, 6, 18)
"""Indices of the tensors with gradients that may be missing: scales, shifts, gap junctions."""

MAY_MISS = (2, 5, 6, 7, 8)
"""Indices of the connections that may be missing."""


def traced(
    tensors: tuple[Any, ...], connections: tuple[Any, ...], settings: Settings
) -> tuple[Tensor, Tensor]:
    """Return output and states through the registered operator, for a graph."""
    x = tensors[0]
    needed = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    given = [x.new_empty(0) if t is None else t for t in tensors]
    ends = [x.new_empty(0, dtype=torch.int8) if t is None else t for t in connections]
    output, states, _ = torch.ops.elegans.sequence(given, ends, *astuple(settings), needed)
    return output, states


def _problem(tensors: Any, connections: Any, settings: Settings) -> Any:
    given, ends = (
        [None if k in optional and not t.numel() else t for k, t in enumerate(group)]
        for group, optional in ((tensors, OPTIONAL), (connections, MAY_MISS))
    )
    return problem_of(given, ends, settings)


def _registered(name: str, arguments: str, results: str) -> Any:
    settings = "SymInt outputs, SymInt unfolds, bool exponential, SymInt positivity"
    schema = f"({arguments}, {settings}, float floor, float epsilon{results}"
    return custom_op(name, mutates_args=(), schema=schema)


@_registered(
    "elegans::sequence",
    "Tensor[] tensors, Tensor[] connections",
    ", bool keep) -> (Tensor, Tensor, Tensor)",
)
def _sequence(
    tensors: list[Tensor], connections: list[Tensor], *settings_and_keep: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *settings, keep = settings_and_keep
    problem = _problem(tensors, connections, Settings(*settings))
    x = tensors[0]
    if not keep or x.is_cuda:
        output, states, _ = problem.run(False)
        return output, states, x.new_empty(0)
    room = x.new_empty(_room(tensors, *settings_and_keep))
    output, states, _ = problem.run_into(room)
    return output, states, room


def _room(tensors: list[Tensor], outputs: int, unfolds: int, *rest: Any) -> Any:
    """Return how many numbers are kept for the backward pass; sizes may be symbols."""
    x, initial = tensors[:2]
    is_kept = rest[-1] and not x.is_cuda
    return room_for(x.shape[0], x.shape[1] * unfolds, initial.shape[1]) if is_kept else 0


@_sequence.register_fake
def _(
    tensors: list[Tensor], connections: list[Tensor], *settings_and_keep: Any
) -> tuple[Tensor, Tensor, Tensor]:
    x, initial = tensors[:2]
    batch, time = x.shape[:2]
    output = x.new_empty(batch, time, settings_and_keep[0])
    room = x.new_empty(_room(tensors, *settings_and_keep))
    return output, x.new_empty(batch, time, initial.shape[1]), room


@_registered(
    "elegans::sequence_backward",
    "Tensor from_output, Tensor from_states, Tensor[] tensors, Tensor[] connections, "
    "Tensor states, Tensor room",
    ") -> Tensor[]",
)
def _sequence_backward(
    from_output: Tensor,
    from_states: Tensor,
    tensors: list[Tensor],
    connections: list[Tensor],
    states: Tensor,
    room: Tensor,
    *settings: Any,
) -> list[Tensor]:
    problem = _problem(tensors, connections, Settings(*settings))
    kept = problem.kept_in(room) if room.numel() else None
    gradients = problem.back(from_output, from_states, states, kept, True)
    return [
        torch.empty_like(tensor) if gradient is None or not tensor.numel() else on_its_own(gradient)
        for gradient, tensor in zip(gradients, tensors, strict=True)
    ]


def on_its_own(gradient: Tensor) -> Tensor:
    """Return `gradient` in memory of its own, as the results of an operator must be."""
    is_part = gradient.untyped_storage().nbytes() > gradient.nbytes
    return gradient.clone() if is_part else gradient


@_sequence_backward.register_fake
def _(_from_output: Tensor, _from_states: Tensor, tensors: list[Tensor], *_: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in tensors]


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    tensors, connections, *ctx.settings, _ = inputs
    ctx.save_for_backward(*tensors, *connections, *output[1:])


def _backward(ctx: Any, from_output: Tensor, from_states: Tensor, _: Any) -> Any:
    saved = list(ctx.saved_tensors)
    tensors, connections, (states, room) = saved[:COUNT], saved[COUNT:-2], saved[-2:]
    gradients = torch.ops.elegans.sequence_backward(
        from_output, from_states, tensors, connections, states, room, *ctx.settings
    )
    return gradients, [None] * len(connections), *([None] * 7)


_sequence.register_autograd(_backward, setup_context=_remember)


def one_by_one(operator: Any, info: Any, in_dims: Any, *arguments: Any) -> Any:
    """Run the operator for each element of `torch.func.vmap` and stack the results."""

    def pick(value: Any, dim: Any, k: int) -> Any:
        if isinstance(value, list | tuple):
            dims = dim if isinstance(dim, list | tuple) else [dim] * len(value)
            return [pick(v, d, k) for v, d in zip(value, dims, strict=True)]
        return value if dim is None else value.select(dim, k)

    elements = [
        operator(*(pick(a, d, k) for a, d in zip(arguments, in_dims, strict=True)))
        for k in range(info.batch_size)
    ]
    results = [torch.stack(column) for column in zip(*elements, strict=True)]
    if isinstance(elements[0], tuple):
        return tuple(results), (0,) * len(results)
    return results, [0] * len(results)


_sequence.register_vmap(partial(one_by_one, torch.ops.elegans.sequence))
_sequence_backward.register_vmap(partial(one_by_one, torch.ops.elegans.sequence_backward))
