"""Recurrences that are solved for all time steps at once.

Newton's method on a whole sequence: each round is one linear recurrence, a scan of logarithmic
depth. Where each neuron reads itself alone the Jacobian of a step is diagonal, and a scan takes as
many operations as a loop; else products of matrices are scanned, for machines that are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Step = Callable[..., Tensor]
"""Takes states (sample, neuron), elapsed times (sample, 1), what moves in time (sample, ...) and
what does not; returns the next states. Neuron i of them depends on neuron i alone, unless
`coupled` says that neurons depend on each other."""

BLOCK = 2**18
"""Numbers of a block of time on a CPU: all that a round makes of them stays in the cache."""

LEAST = 64
"""Steps that a block has at least."""

ROUNDS = 40
"""Rounds of Newton's method before the loop over time takes over; a few are enough as a rule."""

TOLERANCE = 32
"""Units of rounding, relative to 1 + abs(x), by which a state may miss the step that leads to it.

A step that Python takes by itself rounds as much.
"""


def linear_scan(factor: Tensor, term: Tensor) -> Tensor:
    r"""Return the states of a linear recurrence that begins at 0, shape (batch, time, ...).

    .. math:: x_t = a_t x_{t-1} + b_t, \qquad x_{-1} = 0

    Two steps in one are again such a step, of a sequence of half the length: work is proportional
    to the time, depth to its logarithm. Any number of steps will do, also none.

    Parameters
    ----------
    factor, term
        a and b, both (batch, time, ...); or matrices a (batch, time, n, n) and b (batch, time, n).

    References
    ----------
    Blelloch, "Prefix sums and their applications", 1990, section 1.4.

    Examples
    --------
    >>> half, one = torch.full((1, 5), 0.5), torch.ones(1, 5)
    >>> linear_scan(half, one)
    tensor([[1.0000, 1.5000, 1.7500, 1.8750, 1.9375]])
    """
    time = term.shape[1]
    if time < 2:
        return term
    last = time - time % 2
    first_factor, second_factor = factor[:, 0:last:2], factor[:, 1:last:2]
    second_term = _applied(second_factor, term[:, 0:last:2]) + term[:, 1:last:2]
    both = (
        second_factor @ first_factor if factor.dim() > term.dim() else second_factor * first_factor
    )
    odd = linear_scan(both, second_term)  # the states at 1, 3, 5, ...
    even = term[:, 2::2] + _applied(factor[:, 2::2], odd[:, : (time - 1) // 2])
    even = torch.cat([term[:, :1], even], dim=1)
    pairs = torch.stack([even[:, : last // 2], odd], dim=2).flatten(1, 2)
    return pairs if last == time else torch.cat([pairs, even[:, -1:]], dim=1)


def _applied(factor: Tensor, term: Tensor) -> Tensor:
    """Return a b, for numbers or for matrices a."""
    if factor.dim() == term.dim():
        return factor * term
    return (factor @ term.unsqueeze(-1)).squeeze(-1)


def _slopes(after: Tensor, start: Tensor, coupled: bool, **options: Any) -> Tensor:
    """Return the Jacobians of steps: their diagonals (..., n), or (..., n, n) if `coupled`."""
    if not coupled:
        (slope,) = torch.autograd.grad(after.sum(), start, **options)
        return slope
    rows = [
        torch.autograd.grad(after[..., i].sum(), start, retain_graph=True)[0]
        for i in range(after.shape[-1])
    ]
    return torch.stack(rows, dim=-2)


def loop(
    step: Step,
    initial: Tensor,
    elapsed: Tensor,
    moving: Sequence[Tensor],
    fixed: Sequence[Tensor],
) -> Tensor:
    """Take step after step: what `solve` computes, in the order of time; see there."""
    state, states = initial, []
    for now, *values in zip(elapsed.unbind(1), *(m.unbind(1) for m in moving), strict=True):
        state = step(state, now.unsqueeze(-1), *values, *fixed)
        states.append(state)
    return torch.stack(states, dim=1)


def solve(
    step: Step,
    initial: Tensor,
    elapsed: Tensor,
    moving: Sequence[Tensor],
    fixed: Sequence[Tensor],
    *,
    coupled: bool = False,
) -> Tensor:
    r"""Return the states after each step of a sequence, (batch, time, neuron), all at once.

    .. math::
        x_t = F_t(x_{t-1}), \qquad
        \delta_t = F_t'(x_{t-1}) \, \delta_{t-1} + F_t(x_{t-1}) - x_t, \qquad x_t \leftarrow
        x_t + \delta_t

    until every state is, within rounding, what the step makes of the one before. Where that does
    not happen in `ROUNDS` rounds, or numbers leave the finite ones, steps are taken in the order
    of time instead. Gradients are those of the solution, by one scan backwards: rounds are neither
    stored nor differentiated. A step that lasts 0 must leave the state as it is, and does here.

    Parameters
    ----------
    step
        F; see `Step`.
    initial
        The state before the first step, (batch, neuron).
    elapsed
        Time that each step lasts, (batch, time), time at least 1.
    moving
        What else differs from step to step, each (batch, time, ...).
    fixed
        What does not, such as parameters.
    coupled
        Whether neurons depend on each other. Then a round takes products of matrices, and
        neuron times neuron numbers for each step.

    References
    ----------
    Lim, Zhu, Selfridge, Kasim, "Parallelizing non-linear sequential models over the sequence
    length", ICLR 2024. Gonzalez, Warrington, Smith, Linderman, "Towards scalable and stable
    parallelization of nonlinear RNNs", NeurIPS 2024.

    Examples
    --------
    >>> def step(state, elapsed, drive):
    ...     return state + elapsed * (torch.tanh(drive - state) - state) / 2
    >>> time, drive = torch.ones(1, 100), torch.ones(1, 100, 1)
    >>> states = solve(step, torch.zeros(1, 1), time, [drive], [])
    >>> expected = loop(step, torch.zeros(1, 1), time, [drive], [])
    >>> torch.allclose(states, expected)
    True
    """
    tensors = initial, elapsed, *moving, *fixed
    kind = step, len(moving), coupled
    states: Tensor = _Solution.apply(kind, *tensors)  # type: ignore[no-untyped-call]
    return states


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: tuple[Step, int, bool], *tensors: Tensor) -> Tensor:
        step, count, coupled = kind
        initial, elapsed, moving, fixed = _parts(count, tensors)
        state, blocks = initial, []
        for block in _blocks(initial, elapsed, coupled):
            given = state, elapsed[:, block], [values[:, block] for values in moving], fixed
            found = _newton(step, *given, coupled)
            blocks.append(loop(step, *given) if found is None else found)
            state = blocks[-1][:, -1]
        states = torch.cat(blocks, dim=1)
        ctx.kind = kind
        ctx.save_for_backward(*tensors, states)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        *tensors, states = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        step, count, _ = ctx.kind

        def in_order(*given: Tensor) -> Tensor:
            initial, elapsed, moving, fixed = _parts(count, given)
            return loop(step, initial, elapsed, moving, fixed)

        if torch.is_grad_enabled():  # somebody wants to differentiate the gradient
            found = torch.func.vjp(in_order, *tensors)[1](*gradients)
        else:
            found = _pulled_back(ctx.kind, tensors, states, *gradients)
        return None, *(g if want else None for g, want in zip(found, wanted, strict=True))


def _parts(count: int, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    initial, elapsed, *others = tensors
    return initial, elapsed, others[:count], others[count:]


def _before(initial: Tensor, states: Tensor) -> Tensor:
    """Return the states that the steps begin with, (batch, time, neuron)."""
    return torch.cat([initial.unsqueeze(1), states[:, :-1]], dim=1)


def _flat(elapsed: Tensor, moving: Sequence[Tensor]) -> list[Tensor]:
    """Return elapsed times and what moves with batch and time in one axis."""
    return [elapsed.reshape(-1, 1), *(values.flatten(0, 1) for values in moving)]


def _newton(
    step: Step,
    initial: Tensor,
    elapsed: Tensor,
    moving: Sequence[Tensor],
    fixed: Sequence[Tensor],
    coupled: bool,
) -> Tensor | None:
    """Return the solution, or None where Newton's method does not find it."""
    with torch.inference_mode(False), torch.no_grad():
        given = [_differentiable(t) for t in (*_flat(elapsed, moving), *fixed)]
        states = initial.unsqueeze(1).repeat(1, elapsed.shape[1], 1)
        tolerance = TOLERANCE * torch.finfo(states.dtype).eps
        for _ in range(ROUNDS):
            before = _before(initial, states)
            with torch.enable_grad():
                start = before.requires_grad_()
                after = step(start.flatten(0, 1), *given).view_as(start)
                slope = _slopes(after, start, coupled)
            missed = after.detach() - states
            worst = float((missed.abs() / (1 + states.abs())).max())
            if worst <= tolerance:
                return _standing_still(initial, states, elapsed)
            if not worst < float("inf"):
                return None
            states = states + linear_scan(slope, missed)
    return None


def _differentiable(values: Tensor) -> Tensor:
    """Return values, apart from any graph, that a new graph may hold."""
    return values.clone() if values.is_inference() else values.detach()


def _standing_still(initial: Tensor, states: Tensor, elapsed: Tensor) -> Tensor:
    """Return the states with those of steps that last 0 exactly as before these steps."""
    moves = elapsed > 0
    if bool(moves.all()):
        return states
    number = torch.arange(1, elapsed.shape[1] + 1, device=elapsed.device)
    last = torch.cummax(torch.where(moves, number, 0), dim=1).values  # 0: still at the beginning
    path = torch.cat([initial.unsqueeze(1), states], dim=1)
    return path.gather(1, last.unsqueeze(-1).expand_as(states))


def _blocks(initial: Tensor, elapsed: Tensor, coupled: bool) -> list[slice]:
    """Return parts of the time that are solved one after another: a single one on a GPU."""
    time, numbers = elapsed.shape[1], max(1, initial.numel())
    if coupled:
        numbers *= initial.shape[-1]
    size = max(LEAST, BLOCK // numbers) if initial.device.type == "cpu" else time
    return [slice(start, min(start + size, time)) for start in range(0, time, size)]


def _pulled_back(
    kind: tuple[Step, int, bool], tensors: Sequence[Tensor], states: Tensor, gradient: Tensor
) -> list[Tensor]:
    r"""Return the gradients by the tensors, through the solution.

    .. math:: \lambda_t = g_t + F_{t+1}'(x_t) \lambda_{t+1}

    is the derivative of the loss by x_t; the rest is one pass backwards through all steps.
    """
    step, count, coupled = kind
    initial, elapsed, moving, fixed = _parts(count, tensors)
    before = _before(initial, states)
    carried = torch.zeros_like(initial)
    by_time: list[Sequence[Tensor]] = []
    by_fixed = [torch.zeros_like(value) for value in fixed]
    for block in reversed(_blocks(initial, elapsed, coupled)):
        apart = [t[:, block].detach().requires_grad_() for t in (before, elapsed, *moving)]
        shared = [value.detach().requires_grad_() for value in fixed]
        with torch.enable_grad():
            start, now, *others = apart
            after = step(start.flatten(0, 1), *_flat(now, others), *shared).view_as(start)
            slope = _slopes(after, start, coupled, retain_graph=True)
        slope = slope.transpose(-1, -2) if coupled else slope
        arriving = gradient[:, block].clone()
        arriving[:, -1] += carried
        onwards = torch.cat([slope[:, 1:], torch.zeros_like(slope[:, :1])], dim=1)
        pull = linear_scan(onwards.flip(1), arriving.flip(1)).flip(1)
        by_start, *found = torch.autograd.grad(
            after, [*apart, *shared], pull, allow_unused=True, materialize_grads=True
        )
        carried = by_start[:, 0]
        by_time.append(found[: 1 + count])
        by_fixed = [a + b for a, b in zip(by_fixed, found[1 + count :], strict=True)]
    columns = zip(*reversed(by_time), strict=True)
    return [carried, *(torch.cat(column, dim=1) for column in columns), *by_fixed]
