"""Explicit Runge-Kutta: tableaus that refuse misprints, steps equal to their Taylor polynomials."""

from dataclasses import replace
from fractions import Fraction
from math import factorial

import pytest
import torch

from elegans.errors import SolverError
from elegans.solvers import RK4, ButcherTableau, Euler, Midpoint, RungeKutta, System

TABLEAUS = {solver.name: solver.tableau for solver in (Euler, Midpoint, RK4)}


class Linear(System):
    def derivative(self, state):
        return -1.5 * state


@pytest.mark.parametrize("solver", [Euler(), Midpoint(), RK4()], ids=lambda s: s.name)
def test_a_step_on_a_linear_system_is_the_taylor_polynomial_of_the_order(solver):
    state = torch.tensor([[0.8]], dtype=torch.float64)
    moved = solver.step(Linear(), state, torch.tensor(0.7, dtype=torch.float64))
    z = -1.5 * 0.7
    taylor = sum(z**n / factorial(n) for n in range(solver.order + 1))
    assert moved.item() == pytest.approx(0.8 * taylor, rel=1e-15)


def test_order_and_tableau_are_one_fact():
    assert [(s.name, s().order) for s in (Euler, Midpoint, RK4)] == [
        ("euler", 1),
        ("midpoint", 2),
        ("rk4", 4),
    ]


def _every_misprint():
    for name, tableau in TABLEAUS.items():
        for i, row in enumerate(tableau.matrix):
            for j in range(len(row)):
                yield pytest.param(tableau, i, j, id=f"{name}-a{i}{j}")
        for j in range(len(tableau.weights)):
            yield pytest.param(tableau, None, j, id=f"{name}-b{j}")


@pytest.mark.parametrize(("tableau", "i", "j"), list(_every_misprint()))
def test_every_misprinted_coefficient_is_refused(tableau, i, j):
    def misprint(row):
        return tuple(x + Fraction(1, 1000) if k == j else x for k, x in enumerate(row))

    if i is None:
        with pytest.raises(SolverError, match=r"got a tableau with sum b = .*, expected 1 for"):
            replace(tableau, weights=misprint(tableau.weights))
        return
    matrix = tuple(misprint(row) if k == i else row for k, row in enumerate(tableau.matrix))
    with pytest.raises(SolverError, match=rf"row {i} sums to .*, expected its node"):
        replace(tableau, matrix=matrix)
    nodes = tuple(sum(row) for row in matrix)  # a misprint that the row sums do not show
    with pytest.raises(SolverError, match=r"expected 1/\d+ for order \d; compare the coefficients"):
        replace(tableau, matrix=matrix, nodes=nodes)


@pytest.mark.parametrize("order", [3, 4])
def test_an_order_claimed_too_high_is_refused(order):
    with pytest.raises(SolverError, match=r"sum b c\^2 = 1/4, expected 1/3 for order 3"):
        replace(Midpoint.tableau, order=order)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": (0,)}, "got a tableau with 1 nodes and 2 weights, expected one of each a stage"),
        ({"weights": (0, 1, 0)}, r"3 weights and matrix rows of lengths \[0, 1\]"),
        ({"weights": (), "matrix": ()}, "0 weights and matrix rows .* expected rows of lengths 0"),
        ({"matrix": ((0, 0), (0.5, 0))}, "rows of lengths \\[2, 2\\].*strictly lower triangle"),
        ({"nodes": (0.25, 0.5)}, "row 0 sums to 0, expected its node 0.25"),
        ({"order": 5}, "got a tableau of order 5, expected 1 to 4"),
        ({"order": 0}, "got a tableau of order 0, expected 1 to 4"),
        ({"weights": (0, float("nan"))}, "sum b = nan, expected 1"),
    ],
)
def test_malformed_tableaus_are_refused(change, message):
    with pytest.raises(SolverError, match=message):
        replace(Midpoint.tableau, **change)


def test_a_method_of_ones_own_needs_a_name_and_a_tableau():
    class ThreeEighths(RungeKutta):
        """Kutta's 3/8 rule in floats, as a user would type it."""

        name = "three_eighths"
        tableau = ButcherTableau(
            nodes=(0, 1 / 3, 2 / 3, 1),
            matrix=((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)),
            weights=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
            order=4,
        )

    state, h = torch.tensor([[0.8]], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    own, classical = ThreeEighths().step(Linear(), state, h), RK4().step(Linear(), state, h)
    torch.testing.assert_close(own, classical, rtol=1e-15, atol=0)


def test_a_solver_without_a_name_cannot_be_made():
    class Nameless(RungeKutta):
        tableau = Euler.tableau

    with pytest.raises(TypeError, match=r"abstract .*name"):
        Nameless()
