"""Integration of a system over a grid of times, with errors that locate a failed solve."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elegans.errors import SolveError, SolverError
from elegans.solvers.base import Solver, System
from elegans.solvers.non_finite import require_finite
from elegans.solvers.registry import get_solver


def integrate(
    system: System,
    state: Tensor,
    times: Tensor | Sequence[float],
    solver: str | Solver = "semi_implicit",
    substeps: int = 1,
    *,
    neuron_names: Sequence[str] | None = None,
) -> Tensor:
    r"""Return the states of an autonomous system at given times.

    .. math:: x(t_0) = \texttt{state}, \qquad \frac{dx}{dt} = f(x)

    Parameters
    ----------
    system
        The right-hand side f.
    state
        The states at the first time, shape (batch, neuron), floating.
    times
        At least one time, strictly increasing, shape (time,), in the unit of time of the system.
        Differences are taken in the dtype of `times`, then cast to that of `state`.
    solver
        A name out of `solver_names` or a `Solver`.
    substeps
        How many equal steps a fixed-step solver takes from one time to the next; adaptive solvers
        do not use it.
    neuron_names
        A name for each neuron, used in error messages only.

    Returns
    -------
    Tensor
        Shape (time, batch, neuron), dtype of `state`; row 0 is `state`. Differentiable with
        respect to the state, the times and whatever the system depends on.

    Raises
    ------
    SolverError
        When an argument is not valid or the solver cannot integrate the system.
    SolveError
        When a state is not finite (checked once, at the end) or an adaptive solver gives up; the
        message names time, step, sample and neuron as far as they are known.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import System, integrate
    >>> class Oscillator(System):
    ...     def derivative(self, state):
    ...         position, velocity = state.unbind(-1)
    ...         return torch.stack([velocity, -position], dim=-1)
    >>> start = torch.tensor([[1.0, 0.0]])
    >>> integrate(Oscillator(), start, [0.0, torch.pi / 2, torch.pi], "rk4", substeps=20).round(
    ...     decimals=3
    ... ).squeeze(1).abs()
    tensor([[1., 0.],
            [0., 1.],
            [1., 0.]])
    """
    chosen = get_solver(solver)
    chosen.check(system)
    _check_state(state)
    grid = _checked_times(times, state)
    if isinstance(substeps, bool) or not isinstance(substeps, int) or substeps < 1:
        raise SolverError(
            f"got substeps={substeps!r}, expected a positive integer; 1 takes one step from each "
            "time to the next"
        )
    if neuron_names is not None and len(neuron_names) != state.shape[-1]:
        raise SolverError(
            f"got {len(neuron_names)} neuron names, expected {state.shape[-1]}, one a neuron of "
            "the state; leave them out to have neurons named by index"
        )
    states = [state]
    for step, elapsed in enumerate(grid.diff().to(state.dtype).unbind(), start=1):
        try:
            states.append(chosen.advance(system, states[-1], elapsed, substeps))
        except SolveError as error:
            raise SolveError(
                f"step {step} of {len(grid) - 1}, from time {grid[step - 1].item():.6g} to "
                f"{grid[step].item():.6g}: {error}"
            ) from error
    trajectory = torch.stack(states)
    require_finite(trajectory, times=grid, solver=chosen, neuron_names=neuron_names)
    return trajectory


def _check_state(state: Tensor) -> None:
    if not isinstance(state, Tensor) or state.ndim != 2 or not state.is_floating_point():
        got = (
            f"a {state.dtype} tensor of shape {tuple(state.shape)}"
            if isinstance(state, Tensor)
            else type(state).__name__
        )
        raise SolverError(
            f"got a state that is {got}, expected a floating tensor of shape (batch, neuron); "
            "write state[None] for a single sample"
        )


def _checked_times(times: Tensor | Sequence[float], state: Tensor) -> Tensor:
    grid = times if isinstance(times, Tensor) else torch.tensor(times, dtype=torch.float64)
    if not grid.is_floating_point():
        grid = grid.double()
    if grid.ndim != 1 or len(grid) == 0:
        raise SolverError(
            f"got times of shape {tuple(grid.shape)}, expected (time,) with at least one time; "
            "samples with times of their own go through Solver.advance"
        )
    values = grid.detach().cpu()
    if not values.isfinite().all():
        raise SolverError(
            f"got {values[~values.isfinite()][0].item()} among the times, expected finite numbers; "
            "drop or fill the missing time stamps"
        )
    backward = (values.diff() <= 0).nonzero().flatten().tolist()
    if backward:
        i = backward[0]
        raise SolverError(
            f"got time {values[i + 1].item():g} at index {i + 1} after {values[i].item():g}, "
            "expected strictly increasing times; sort them and drop repeated ones"
        )
    return grid.to(state.device)
