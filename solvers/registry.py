"""Solvers by name: the one list from which messages, tests and documents are derived."""

from __future__ import annotations

import difflib

from elegans.errors import SolverError
from elegans.solvers.adaptive import ADAPTIVE_ORDERS, TorchDiffEq
from elegans.solvers.base import Solver
from elegans.solvers.exponential import Exponential, ExponentialMidpoint
from elegans.solvers.rosenbrock import Rosenbrock
from elegans.solvers.runge_kutta import RK4, Euler, Midpoint
from elegans.solvers.semi_implicit import SemiImplicit

# Solvers hold settings only, so one object of each serves everybody.
_SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        SemiImplicit(),
        Exponential(),
        ExponentialMidpoint(),
        Euler(),
        Midpoint(),
        RK4(),
        Rosenbrock(),
        *(TorchDiffEq(method) for method in ADAPTIVE_ORDERS),
        *(TorchDiffEq(method, adjoint=True) for method in ADAPTIVE_ORDERS),
    )
}


def solver_names() -> tuple[str, ...]:
    """Return the name of every solver, fixed-step solvers first.

    Examples
    --------
    >>> solver_names()[:3]
    ('semi_implicit', 'exponential', 'exponential_midpoint')
    """
    return tuple(_SOLVERS)


def get_solver(solver: str | Solver) -> Solver:
    """Return the solver of that name, or the object itself when it already is one.

    A solver of your own, or one with other settings such as ``TorchDiffEq("dopri5", rtol=1e-3)``,
    is passed as an object; it needs no registration.

    Parameters
    ----------
    solver
        One of `solver_names`, or a `Solver`.

    Raises
    ------
    SolverError
        When the name is unknown or the argument is neither a name nor a solver.

    Examples
    --------
    >>> get_solver("rk4").order
    4
    >>> get_solver("semi-implicit")
    Traceback (most recent call last):
        ...
    elegans.errors.SolverError: got solver 'semi-implicit', did you mean 'semi_implicit'? ...
    """
    if isinstance(solver, Solver):
        return solver
    if not isinstance(solver, str):
        raise SolverError(_wrong_type(solver))
    if solver not in _SOLVERS:
        near = difflib.get_close_matches(solver.lower(), _SOLVERS, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise SolverError(
            f"got solver {solver!r},{hint} expected a Solver or one of the names "
            f"{', '.join(_SOLVERS)}"
        )
    return _SOLVERS[solver]


def _wrong_type(got: object) -> str:
    if isinstance(got, type) and issubclass(got, Solver):
        return f"got the class {got.__name__}, expected a solver object; write {got.__name__}()"
    return (
        f"got a solver of type {type(got).__name__}, expected a Solver or one of the names "
        f"{', '.join(_SOLVERS)}"
    )
