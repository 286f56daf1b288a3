r"""Steps of solvers for a leak with a drive, as weighted sums of the old state and the drives.

For tau x' = A(x) - x every stage of a step of length h is, with z = h / tau,

.. math:: y_s = r_s(z)\, x + \sum_{q < s} a_{sq}(z)\, A(y_q), \qquad r_s + \sum_q a_{sq} = 1

and so is its end, x+ = R(z) x + sum of b_s(z) A(y_s). The coefficients are polynomials for explicit
Runge-Kutta methods, rational or exponential for the solvers that know the leak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.polynomial import Polynomial

from elegans.proofs.certificates.network import SLACK, Array
from elegans.solvers import Exponential, ExponentialMidpoint, SemiImplicit, Solver
from elegans.solvers.runge_kutta import RungeKutta

Ends = tuple[Array, Array]
"""Least and largest values, of one shape."""

Coefficient = Callable[[Array, Array], Ends]
"""From least and largest z to least and largest value, in their shape."""


@dataclass(frozen=True)
class LeakyStage:
    """One state as a sum: what is kept of the old state, and taken of the drives before.

    Parameters
    ----------
    keep
        r, or R.
    takes
        a, or b: one coefficient for each stage before.
    """

    keep: Coefficient
    takes: tuple[Coefficient, ...]


@dataclass(frozen=True)
class LeakySteps:
    """A solver's step.

    Parameters
    ----------
    stages
        States at which the drive is evaluated; the first is the old state.
    end
        The state after the step.
    """

    stages: tuple[LeakyStage, ...]
    end: LeakyStage

    @property
    def is_single(self) -> bool:
        """Whether the drive is evaluated once: then R + b = 1, and b tells everything."""
        return len(self.stages) == 1


def leaky_steps(solver: Solver) -> LeakySteps | None:
    """Return the step of a solver, None where it has no such form that is known.

    Examples
    --------
    >>> from elegans.solvers import get_solver
    >>> euler, z = leaky_steps(get_solver("euler")), np.array([0.25])
    >>> euler.end.keep(z, z)[0].round(6).tolist(), euler.end.takes[0](z, z)[0].round(6).tolist()
    ([0.75], [0.25])
    >>> leaky_steps(get_solver("rosenbrock")) is None
    True
    """
    if isinstance(solver, RungeKutta):
        inherited = type(solver).step is RungeKutta.step and type(solver).advance is Solver.advance
        return _explicit(solver) if inherited else None
    first = LeakyStage(_constant(1.0), ())
    if type(solver) is SemiImplicit:
        return LeakySteps(
            (first,),
            LeakyStage(_falling(lambda z: 1 / (1 + z)), (_rising(lambda z: 1 - 1 / (1 + z)),)),
        )
    whole = (_falling(lambda z: np.exp(-z)), _rising(lambda z: -np.expm1(-z)))
    if type(solver) is Exponential:
        return LeakySteps((first,), LeakyStage(whole[0], (whole[1],)))
    if type(solver) is ExponentialMidpoint:
        half = (_falling(lambda z: np.exp(-z / 2)), _rising(lambda z: -np.expm1(-z / 2)))
        middle = LeakyStage(half[0], (half[1],))
        return LeakySteps((first, middle), LeakyStage(whole[0], (_constant(0.0), whole[1])))
    return None


def _explicit(solver: RungeKutta) -> LeakySteps:
    """Return the step of an explicit Runge-Kutta method, from its tableau.

    With k_s = A_s - y_s the sums y_s = x + z sum of a_sq k_q are polynomials in z.
    """
    table, z = solver.tableau, Polynomial([0.0, 1.0])
    one, none = Polynomial([1.0]), Polynomial([0.0])
    rates: list[list[Polynomial]] = []  # of k_q: of x first, then of each drive
    count = len(table.weights)

    def sums(row: tuple[float | Fraction, ...]) -> list[Polynomial]:
        total = [one, *[none] * count]
        for share, rate in zip(row, rates, strict=False):
            total = [a + (float(share) * z) * b for a, b in zip(total, rate, strict=True)]
        return total

    stages = []
    for number, row in enumerate(table.matrix):
        state = sums(tuple(row))
        stages.append(_stage(state, number))
        rate = [-part for part in state]
        rate[number + 1] = rate[number + 1] + one
        rates.append(rate)
    return LeakySteps(tuple(stages), _stage(sums(tuple(table.weights)), count))


def _stage(parts: list[Polynomial], before: int) -> LeakyStage:
    return LeakyStage(
        _polynomial(parts[0]), tuple(_polynomial(part) for part in parts[1 : before + 1])
    )


def _constant(value: float) -> Coefficient:
    return lambda low, high: (np.full_like(low, value), np.full_like(high, value))


def _falling(function: Callable[[Array], Array]) -> Coefficient:
    return lambda low, high: _widened(function(high), function(low))


def _rising(function: Callable[[Array], Array]) -> Coefficient:
    return lambda low, high: _widened(function(low), function(high))


def _polynomial(function: Polynomial) -> Coefficient:
    turns = [
        root.real
        for root in map(complex, function.trim().deriv().roots())
        if abs(root.imag) <= 1e-6 * (1 + abs(root))
    ]
    size = Polynomial(np.abs(function.coef))

    def ends(low: Array, high: Array) -> Ends:
        with np.errstate(over="ignore", invalid="ignore"):
            at = np.stack([low, high, *(np.clip(turn, low, high) for turn in turns)])
            values = np.asarray(function(at))
            slack = SLACK * np.asarray(size(high))
        return values.min(axis=0) - slack, values.max(axis=0) + slack

    return ends


def _widened(low: Array, high: Array) -> Ends:
    return low - SLACK * np.abs(low), high + SLACK * np.abs(high)
