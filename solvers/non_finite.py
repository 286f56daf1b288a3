"""The first non-finite state of a solve, and the message that locates it.

Solvers and layers do not look at each state on the way, which would cost a synchronisation a
step; they check the whole trajectory once at its end and search only when it is broken.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from elegans.errors import SolveError, SolverError
from elegans.solvers.base import Solver


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
    solver: Solver | None = None,
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
        What took the steps, for the message and its advice.
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
    by = f" from solver {solver.name!r}" if solver is not None else ""
    if step == 0:
        advice = "it is in the initial state, check where that comes from"
    else:
        before = rows[step - 1, sample, neuron].item()
        advice = f"one step earlier it was {before:.6g}; {_remedy(solver)}"
    raise SolveError(
        f"got {rows[first].item()} at {when}, sample {sample}, {who},{by} expected finite "
        f"potentials; {advice}"
    )


def _remedy(solver: Solver | None) -> str:
    if solver is None or solver.is_stable:
        steps = "" if solver is None else "shorter steps would not help, "
        return (
            f"{steps}check inputs and parameters for nan and for very large values, which a lower "
            "learning rate or clipped gradients avoid"
        )
    others = (f"{name!r}" for name in ("semi_implicit", "rosenbrock") if name != solver.name)
    return (
        "check inputs and parameters for nan, take shorter steps (more unfolds or substeps, or "
        f"less time at once), or for a stiff system choose {' or '.join(others)}"
    )
