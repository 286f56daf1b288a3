"""Integrators for liquid circuits.

A `System` says how states move, a `Solver` moves them. Solvers are chosen by name
(`get_solver`) or as objects; `integrate` runs one over a grid of times.
"""

if __name__ != "elegans.solvers":
    raise ImportError(
        f"this folder is the package 'elegans.solvers', but was imported as {__name__!r}; "
        "install the project (pip install -e .) and import elegans.solvers"
    )

from elegans.solvers.adaptive import TorchDiffEq
from elegans.solvers.base import GatedLinearSystem, Solver, System
from elegans.solvers.exponential import Exponential, ExponentialMidpoint, phi1
from elegans.solvers.integrate import integrate
from elegans.solvers.non_finite import locate_non_finite, require_finite
from elegans.solvers.registry import get_solver, solver_names
from elegans.solvers.rosenbrock import RODAS3, Rosenbrock, RosenbrockTableau
from elegans.solvers.runge_kutta import RK4, ButcherTableau, Euler, Midpoint, RungeKutta
from elegans.solvers.semi_implicit import SemiImplicit

__all__ = [
    "RK4",
    "RODAS3",
    "ButcherTableau",
    "Euler",
    "Exponential",
    "ExponentialMidpoint",
    "GatedLinearSystem",
    "Midpoint",
    "Rosenbrock",
    "RosenbrockTableau",
    "RungeKutta",
    "SemiImplicit",
    "Solver",
    "System",
    "TorchDiffEq",
    "get_solver",
    "integrate",
    "locate_non_finite",
    "phi1",
    "require_finite",
    "solver_names",
]
