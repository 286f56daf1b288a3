"""The order conditions of one-step methods, one for each rooted tree.

A condition sums products along a tree: the weights b at its root, and from each vertex to its
children the matrix alpha where there are several and the matrix beta where there is one. With
alpha = beta these are the conditions of Runge-Kutta methods, otherwise those of Rosenbrock
methods (Hairer, Wanner, "Solving Ordinary Differential Equations II", 1996, section IV.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from elegans.errors import SolverError

Coefficient = Fraction | float
HIGHEST_CHECKED_ORDER = 4

# Float coefficients are published with 15 digits or more; rational ones pass with zero defect.
_TOLERANCE = 1e-12


def check_triangle(name: str, rows: Sequence[Sequence[Coefficient]], stages: int) -> None:
    """Raise `SolverError` unless `rows` is the strictly lower triangle of so many stages."""
    lengths = [len(row) for row in rows]
    if lengths != list(range(stages)) or stages == 0:
        raise SolverError(
            f"got a tableau with {stages} weights and {name} rows of lengths {lengths}, expected "
            "rows of lengths 0 to s - 1 for s weights; write the strictly lower triangle, with () "
            "as its first row"
        )


def check_order(
    order: int,
    weights: Sequence[Coefficient],
    alpha: Sequence[Sequence[Coefficient]],
    beta: Sequence[Sequence[Coefficient]],
    letters: tuple[str, str, str],
) -> None:
    """Raise `SolverError` unless the eight conditions up to `order` hold; it names the first.

    The rows of the triangles alpha and beta may leave out zeros at their end. `letters` are what
    the message calls the row sums of alpha, the row sums of beta, and beta.
    """
    if not 1 <= order <= HIGHEST_CHECKED_ORDER:
        raise SolverError(
            f"got a tableau of order {order}, expected 1 to {HIGHEST_CHECKED_ORDER}, the orders "
            "whose conditions are checked; use a torchdiffeq method for higher orders"
        )
    b, a, c = weights, [sum(row) for row in alpha], [sum(row) for row in beta]
    squares, chain = [x * x for x in a], product(beta, c)
    x, y, B = letters
    for tree, density, condition, got in (
        (1, 1, "b", dot(b)),
        (2, 2, f"b {y}", dot(b, c)),
        (3, 3, f"b {x}^2", dot(b, squares)),
        (3, 6, f"b {B} {y}", dot(b, chain)),
        (4, 4, f"b {x}^3", dot(b, squares, a)),
        (4, 8, f"b {x} A {y}", dot(b, a, product(alpha, c))),
        (4, 12, f"b {B} {x}^2", dot(b, product(beta, squares))),
        (4, 24, f"b {B} {B} {y}", dot(b, product(beta, chain))),
    ):
        expected = Fraction(1, density)
        if tree <= order and not close(got, expected):
            raise SolverError(
                f"got a tableau with sum {condition} = {text(got)}, expected {expected} for order "
                f"{tree}; compare the coefficients with their source or claim less than order "
                f"{order}"
            )


def close(got: Coefficient, expected: Coefficient) -> bool:
    """Whether two coefficients agree as far as they are published; nan agrees with nothing."""
    return abs(float(got) - float(expected)) <= _TOLERANCE


def dot(*factors: Sequence[Coefficient]) -> Coefficient:
    """Return the sum over stages of the product of all factors."""
    total: Coefficient = Fraction(0)
    for values in zip(*factors, strict=True):
        term: Coefficient = Fraction(1)
        for value in values:
            term = term * value
        total = total + term
    return total


def product(
    matrix: Sequence[Sequence[Coefficient]], vector: Sequence[Coefficient]
) -> list[Coefficient]:
    """Return the product of a triangle with a vector, which is longer than its rows."""
    return [dot(row, vector[: len(row)]) for row in matrix]


def text(coefficient: Coefficient) -> str:
    """Return a fraction as it is and a float in short."""
    return f"{coefficient:g}" if isinstance(coefficient, float) else str(coefficient)
