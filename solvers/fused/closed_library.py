"""The operator as `torch.compile` and `torch.export` see it: ``torch.ops.elegans.closed_form``.

What the backward pass needs is a result; see `elegans.solvers.fused.library`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from elegans.solvers.fused.cpu.closed_problem import closed_problem_of, closed_room_for
from elegans.solvers.fused.library import on_its_own, one_by_one
from elegans.solvers.fused.settings import ClosedSettings

_SETTINGS = "SymInt mode, SymInt activation, float height, float steepness"


def traced(
    tensors: Sequence[Tensor], connections: Sequence[Tensor], settings: ClosedSettings
) -> Tensor:
    """Return the states through the registered operator, for a graph."""
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    states, _ = torch.ops.elegans.closed_form(
        list(tensors), list(connections), *astuple(settings), needed
    )
    found: Tensor = states
    return found


@custom_op(
    "elegans::closed_form",
    mutates_args=(),
    schema=f"(Tensor[] tensors, Tensor[] connections, {_SETTINGS}, bool keep) -> (Tensor, Tensor)",
)
def _closed_form(
    tensors: list[Tensor], connections: list[Tensor], *settings_and_keep: Any
) -> tuple[Tensor, Tensor]:
    *settings, keep = settings_and_keep
    problem = closed_problem_of(tensors, connections, ClosedSettings(*settings))
    if not keep:
        return problem.run(False)[0], tensors[0].new_empty(0)
    room = tensors[0].new_empty(closed_room_for(tensors, not connections))
    return problem.run_into(room), room


@_closed_form.register_fake
def _(
    tensors: list[Tensor], connections: list[Tensor], *settings_and_keep: Any
) -> tuple[Tensor, Tensor]:
    x, initial = tensors[:2]
    room = closed_room_for(tensors, not connections) if settings_and_keep[-1] else 0
    return x.new_empty(x.shape[0], x.shape[1], initial.shape[1]), x.new_empty(room)


@custom_op(
    "elegans::closed_form_backward",
    mutates_args=(),
    schema="(Tensor from_states, Tensor[] tensors, Tensor[] connections, Tensor room, "
    f"{_SETTINGS}) -> Tensor[]",
)
def _closed_form_backward(
    from_states: Tensor,
    tensors: list[Tensor],
    connections: list[Tensor],
    room: Tensor,
    *settings: Any,
) -> list[Tensor]:
    problem = closed_problem_of(tensors, connections, ClosedSettings(*settings))
    kept = problem.kept_in(room) if room.numel() else None
    return [on_its_own(gradient) for gradient in problem.back(from_states, kept, True)]


@_closed_form_backward.register_fake
def _(_from_states: Tensor, tensors: list[Tensor], *_: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in tensors]


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    tensors, connections, *ctx.settings, _ = inputs
    ctx.count = len(tensors)
    ctx.save_for_backward(*tensors, *connections, output[1])


def _backward(ctx: Any, from_states: Tensor, _: Any) -> Any:
    *saved, room = ctx.saved_tensors
    tensors, connections = saved[: ctx.count], saved[ctx.count :]
    gradients = torch.ops.elegans.closed_form_backward(
        from_states, tensors, connections, room, *ctx.settings
    )
    return gradients, [None] * len(connections), *([None] * 5)


_closed_form.register_autograd(_backward, setup_context=_remember)

for _operator, _name in (
    (_closed_form, "closed_form"),
    (_closed_form_backward, "closed_form_backward"),
):
    _operator.register_vmap(partial(one_by_one, getattr(torch.ops.elegans, _name)))
