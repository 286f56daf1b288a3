"""Explicit Runge-Kutta methods, each a frozen tableau that checks its own order.

A tableau is data: a new method is a subclass with a `name` and a `tableau`, and a misprinted
coefficient is refused when the tableau is made instead of showing as a lower order later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import Tensor

from elegans.errors import SolverError
from elegans.solvers.base import Solver, System
from elegans.solvers.tableau import Coefficient, check_order, check_triangle, close, text


@dataclass(frozen=True)
class ButcherTableau:
    r"""The coefficients of an explicit Runge-Kutta method.

    .. math:: k_i = f(x + h \sum_{j<i} a_{ij} k_j), \qquad x^+ = x + h \sum_i b_i k_i

    Parameters
    ----------
    nodes
        The times c_i of the stages as fractions of the step; one a stage, c_0 = 0. An autonomous
        system does not need them; they are kept as a check sum of the rows.
    matrix
        The strictly lower triangle a_ij: row i holds i numbers, so the first row is empty.
    weights
        The weights b_i; one a stage.
    order
        The order claimed, 1 to 4.

    Raises
    ------
    SolverError
        When the shapes do not fit, when a row of `matrix` does not sum to its node, or when an
        order condition up to `order` fails; the message names the row or the condition.

    References
    ----------
    Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", second edition 1993,
    section II.1 for the form and section II.2 for the order conditions.

    Examples
    --------
    >>> ButcherTableau(nodes=(0, 1), matrix=((), (1,)), weights=(0.5, 0.5), order=2).order
    2
    >>> ButcherTableau(nodes=(0, 1), matrix=((), (1,)), weights=(0.5, 0.4), order=2)
    Traceback (most recent call last):
        ...
    elegans.errors.SolverError: got a tableau with sum b = 0.9, expected 1 for order 1; ...
    """

    nodes: tuple[Coefficient, ...]
    matrix: tuple[tuple[Coefficient, ...], ...]
    weights: tuple[Coefficient, ...]
    order: int

    def __post_init__(self) -> None:
        check_triangle("matrix", self.matrix, stages=len(self.weights))
        if len(self.nodes) != len(self.weights):
            raise SolverError(
                f"got a tableau with {len(self.nodes)} nodes and {len(self.weights)} weights, "
                "expected one of each a stage; the first node is 0"
            )
        for i, (node, row) in enumerate(zip(self.nodes, self.matrix, strict=True)):
            if not close(sum(row), node):
                raise SolverError(
                    f"got a tableau whose row {i} sums to {text(sum(row))}, expected its node "
                    f"{text(node)}; compare the row with its source"
                )
        check_order(self.order, self.weights, self.matrix, self.matrix, letters=("c", "c", "A"))


class RungeKutta(Solver):
    """Base of the explicit Runge-Kutta methods; a subclass states `name` and `tableau`.

    Explicit methods are stable only for h below a few of the smallest time constants; for a stiff
    circuit use "semi_implicit", "exponential" or "rosenbrock".

    Examples
    --------
    >>> class Heun(RungeKutta):
    ...     name = "heun"
    ...     tableau = ButcherTableau((0, 1), ((), (1,)), (0.5, 0.5), order=2)
    >>> Heun().order
    2
    """

    tableau: ClassVar[ButcherTableau]
    is_elementwise = True

    @property
    def order(self) -> int:
        """The order that the tableau states and has proved."""
        return self.tableau.order

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step; see `Solver.step`."""
        stages: list[Tensor] = []
        for row in self.tableau.matrix:
            stages.append(system.derivative(_shifted(state, h, row, stages)))
        return _shifted(state, h, self.tableau.weights, stages)


def _shifted(
    state: Tensor, h: Tensor, row: Sequence[Coefficient], stages: Sequence[Tensor]
) -> Tensor:
    """Return x + h sum_j row_j k_j without work for coefficients that are zero."""
    terms = [k if a == 1 else float(a) * k for a, k in zip(row, stages, strict=True) if a != 0]
    if not terms:
        return state
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return state + h * total


class Euler(RungeKutta):
    r"""Explicit Euler: :math:`x^+ = x + h f(x)`. First order, one stage.

    References
    ----------
    Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", 1993, section I.7.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import System
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> Euler().step(Decay(), torch.ones(1, 1), torch.tensor(0.5))
    tensor([[0.5000]])
    """

    name = "euler"
    tableau = ButcherTableau(nodes=(0,), matrix=((),), weights=(1,), order=1)


class Midpoint(RungeKutta):
    r"""The explicit midpoint rule: :math:`x^+ = x + h f(x + \tfrac h2 f(x))`.

    Second order, two stages.

    References
    ----------
    Runge, Mathematische Annalen 46 (1895); Hairer, Norsett, Wanner, "Solving Ordinary
    Differential Equations I", 1993, section II.1.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import System
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> Midpoint().step(Decay(), torch.ones(1, 1), torch.tensor(0.5))  # 1 - h + h^2/2
    tensor([[0.6250]])
    """

    name = "midpoint"
    tableau = ButcherTableau(
        nodes=(0, Fraction(1, 2)), matrix=((), (Fraction(1, 2),)), weights=(0, 1), order=2
    )


class RK4(RungeKutta):
    """The classical Runge-Kutta method. Fourth order, four stages.

    References
    ----------
    Kutta, Zeitschrift fuer Mathematik und Physik 46 (1901); Hairer, Norsett, Wanner, "Solving
    Ordinary Differential Equations I", 1993, table 1.2 of section II.1.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import System
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> RK4().step(Decay(), torch.ones(1, 1), torch.tensor(0.5))  # e^-0.5 = 0.6065
    tensor([[0.6068]])
    """

    name = "rk4"
    tableau = ButcherTableau(
        nodes=(0, Fraction(1, 2), Fraction(1, 2), 1),
        matrix=((), (Fraction(1, 2),), (0, Fraction(1, 2)), (0, 0, 1)),
        weights=(Fraction(1, 6), Fraction(1, 3), Fraction(1, 3), Fraction(1, 6)),
        order=4,
    )
