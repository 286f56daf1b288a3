"""The first non-finite state of a solve, and the message that locates it.

Solvers and layers do not look at each state on the way, which would cost a synchronisation a
step; they check the whole trajectory once at its end and search only when it is broken.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from elegans.errors import SolveError, SolverError


def locate_non_finite(states: Tensor) -> tuple[int, int, int] | None:
    """Return (time, batch, neuron) indices of the first nan or infinity, or None.

    First means the earliest time; at the same time the lowest sample, then the lowest neuron.

    Parameters
    ----------
    states
        Shape (time, batch, neuron).

    Raises
    ------
    SolverError
        When `states` does not have three axes.

    Examples
    --------
    >>> import torch
    >>> states = torch.zeros(4, 2, 3)
    >>> locate_non_finite(states)
    >>> states[3, 0, 0], states[2, 1, 1] = float("nan"), float("inf")
    >>> locate_non_finite(states)
    (2, 1, 1)
    """
    if states.ndim != 3:
        raise SolverError(
            f"got states of shape {tuple(states.shape)}, expected (time, batch, neuron); "
            "add the missing axis, as in states[:, None]"
        )
    finite = states.detach().isfinite()
    if bool(finite.all()):
        return None
    time, sample, neuron = (~finite).nonzero()[0].tolist()  # nonzero is sorted by index
    return time, sample, neuron


def require_finite(
    states: Tensor,
    *,
    times: Tensor | None = None,
    solver: str | None = None,
    neuron_names: Sequence[str] | None = None,
) -> None:
    """Raise `SolveError` that names time, step, sample and neuron of the first non-finite state.

    Parameters
    ----------
    states
        Shape (time, batch, neuron); row 0 is the state before the first step.
    times
        The times of the rows, shape (time,), or (time, batch) when they differ by sample. Without
        it the message gives the step alone.
    solver
        The name of the solver, for the message.
    neuron_names
        A name for each neuron, for the message.

    Raises
    ------
    SolveError
        When a state is nan or infinite.
    SolverError
        When `states` does not have three axes.

    Examples
    --------
    >>> import torch
    >>> states = torch.zeros(3, 1, 2)
    >>> states[2, 0, 1] = float("nan")
    >>> require_finite(states, times=torch.tensor([0.0, 0.1, 0.2]), neuron_names=["AVA", "AVB"])
    Traceback (most recent call last):
        ...
    elegans.errors.SolveError: got nan at time 0.2 (step 2 of 2), sample 0, neuron 'AVB' (1), ...
    """
    first = locate_non_finite(states)
    if first is None:
        return
    step, sample, neuron = first
    rows = states.detach()
    when = f"step {step} of {len(rows) - 1}"
    if times is not None:
        time = times[step] if times.ndim == 1 else times[step, sample]
        when = f"time {time.item():.6g} ({when})"
    who = f"neuron {neuron}"
    if neuron_names is not None:
        who = f"neuron {neuron_names[neuron]!r} ({neuron})"
    by = f" from solver {solver!r}" if solver is not None else ""
    if step == 0:
        advice = "it is in the initial state, check where that comes from"
    else:
        advice = (
            f"one step earlier it was {rows[step - 1, sample, neuron].item():.6g}; check inputs "
            "and parameters for nan, take shorter steps, or choose the unconditionally stable "
            "'semi_implicit'"
        )
    raise SolveError(
        f"got {rows[first].item()} at {when}, sample {sample}, {who},{by} expected finite "
        f"potentials; {advice}"
    )
