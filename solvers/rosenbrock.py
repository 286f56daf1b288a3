"""Rosenbrock methods for stiff systems: linearly implicit, one matrix factorised a step.

The coefficients are rational data in the form of the literature and check their own order and
their damping of stiff modes; the form that the step uses is derived from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from elegans.errors import SolverError
from elegans.solvers.base import Solver, System
from elegans.solvers.tableau import check_order, check_triangle, dot

Row = tuple[Fraction, ...]


@dataclass(frozen=True)
class RosenbrockTableau:
    r"""The coefficients of a stiffly accurate Rosenbrock method, as exact rational numbers.

    .. math::
        (I - \gamma h J)\,k_i = h f\Big(x + \sum_{j<i} \alpha_{ij} k_j\Big)
            + h J \sum_{j<i} \gamma_{ij} k_j, \qquad x^+ = x + \sum_i b_i k_i

    Parameters
    ----------
    diagonal
        The number gamma > 0, the same for each stage so that one factorisation serves all.
    alpha
        The strictly lower triangle alpha_ij: row i holds i fractions, so the first row is empty.
    gamma
        The strictly lower triangle gamma_ij, in the same form.
    weights
        The weights b_i; one a stage.
    order
        The order claimed, 1 to 4, for autonomous systems and an exact Jacobian.

    Raises
    ------
    SolverError
        When the shapes do not fit, when an order condition up to `order` fails, or when the
        method is not stiffly accurate (b_i = alpha_si + gamma_si and sum_j alpha_sj = 1), which
        makes its stability function vanish at infinity.

    References
    ----------
    Hairer, Wanner, "Solving Ordinary Differential Equations II", second edition 1996, section
    IV.7 for the form and the order conditions, section IV.15 for stiff accuracy.

    Examples
    --------
    The linearly implicit Euler method:

    >>> from fractions import Fraction
    >>> one = Fraction(1)
    >>> RosenbrockTableau(one, alpha=((),), gamma=((),), weights=(one,), order=2)
    Traceback (most recent call last):
        ...
    elegans.errors.SolverError: got a tableau with sum b beta = 1, expected 1/2 for order 2; ...
    """

    diagonal: Fraction
    alpha: tuple[Row, ...]
    gamma: tuple[Row, ...]
    weights: Row
    order: int

    def __post_init__(self) -> None:
        check_triangle("alpha", self.alpha, stages=len(self.weights))
        check_triangle("gamma", self.gamma, stages=len(self.weights))
        if self.diagonal <= 0:
            raise SolverError(
                f"got a tableau with diagonal {self.diagonal}, expected a positive "
                "fraction; it is the gamma that multiplies h J in the matrix"
            )
        letters = ("alpha", "beta", "B")
        check_order(self.order, self.weights, self.alpha, self._beta, letters=letters)
        self._check_stiff_accuracy()

    def _check_stiff_accuracy(self) -> None:
        last_node = sum(self.alpha[-1], Fraction(0)) if len(self.weights) > 1 else Fraction(1)
        if self._beta[-1] != self.weights or last_node != 1:
            raise SolverError(
                f"got a tableau whose last stage is alpha + gamma = "
                f"{[str(x) for x in self._beta[-1]]} at node {last_node}, expected the weights "
                f"{[str(x) for x in self.weights]} at node 1; only stiffly accurate methods damp "
                "infinitely stiff modes, compare the last row with its source"
            )

    @cached_property
    def _gamma_rows(self) -> tuple[Row, ...]:
        """The triangle gamma with its diagonal."""
        return tuple((*row, self.diagonal) for row in self.gamma)

    @cached_property
    def _beta(self) -> tuple[Row, ...]:
        """The triangle alpha + gamma with its diagonal."""
        pairs = zip(self.alpha, self._gamma_rows, strict=True)
        return tuple(
            tuple(a + g for a, g in zip((*x, Fraction(0)), y, strict=True)) for x, y in pairs
        )

    @cached_property
    def stages(self) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
        """Return, for each stage, the rows a_ij and c_ij of the form without products J k.

        With u = Gamma k the method reads (I - gamma h J) u_i = gamma (h f(x + sum a_ij u_j) +
        sum c_ij u_j), where a = alpha Gamma^-1 and c = diag(1/gamma) - Gamma^-1: the form of Hairer
        and Wanner 1996, section IV.7, multiplied by gamma h so that h = 0 divides nothing.
        """
        inverse = _inverse_of_triangle(self._gamma_rows)
        rows = []
        for i, alpha in enumerate(self.alpha):
            a = tuple(float(dot(alpha, [inverse[k][j] for k in range(i)])) for j in range(i))
            c = tuple(-float(inverse[i][j]) for j in range(i))
            rows.append((a, c))
        return tuple(rows)

    @cached_property
    def output(self) -> tuple[float, ...]:
        """Return the weights m_j of x+ = x + sum m_j u_j, that is b Gamma^-1."""
        columns = zip(*_inverse_of_triangle(self._gamma_rows), strict=True)
        return tuple(float(dot(self.weights, column)) for column in columns)


def _inverse_of_triangle(matrix: tuple[Row, ...]) -> list[list[Fraction]]:
    """Invert a lower triangle with its diagonal exactly, by forward substitution."""
    size = len(matrix)
    inverse = [[Fraction(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            partial_sum = sum((matrix[i][k] * inverse[k][j] for k in range(j, i)), Fraction(0))
            inverse[i][j] = (Fraction(int(i == j)) - partial_sum) / matrix[i][i]
    return inverse


RODAS3 = RosenbrockTableau(
    diagonal=Fraction(1, 2),
    alpha=(
        (),
        (Fraction(0),),
        (Fraction(1), Fraction(0)),
        (Fraction(3, 4), Fraction(-1, 4), Fraction(1, 2)),
    ),
    gamma=(
        (),
        (Fraction(1),),
        (Fraction(-1, 4), Fraction(-1, 4)),
        (Fraction(1, 12), Fraction(1, 12), Fraction(-2, 3)),
    ),
    weights=(Fraction(5, 6), Fraction(-1, 6), Fraction(-1, 6), Fraction(1, 2)),
    order=3,
)
"""The coefficients of `Rosenbrock`."""


class Rosenbrock(Solver):
    r"""RODAS3: a stiffly accurate, L-stable Rosenbrock method with the system's Jacobian.

    .. math::
        (I - \gamma h J)\,u_i = \gamma \Big( h f\Big(x + \sum_{j<i} a_{ij} u_j\Big)
            + \sum_{j<i} c_{ij} u_j \Big), \qquad x^+ = x + \sum_i m_i u_i, \qquad J = f'(x)

    Third order, four stages, three evaluations of f, one Jacobian and one factorisation a step,
    no iteration. Use it when time constants differ by orders of magnitude and the coupling itself
    is stiff. It works on the dense Jacobian: memory grows with batch x neuron^2, so it is meant
    for some hundreds of neurons.

    References
    ----------
    Sandu, Verwer, Blom, Spee, Carmichael, Potra, "Benchmarking stiff ODE solvers for atmospheric
    chemistry problems II: Rosenbrock solvers", Atmospheric Environment 31 (1997) 3459-3472.

    Examples
    --------
    A mode a million times faster than the step is damped, not amplified:

    >>> import torch
    >>> from elegans.solvers import Rosenbrock, System
    >>> class Stiff(System):
    ...     def derivative(self, state):
    ...         return torch.tensor([-1.0, -1e6]) * state
    >>> Rosenbrock().step(Stiff(), torch.ones(1, 2), torch.tensor(1.0)).abs() < 0.5
    tensor([[True, True]])
    """

    name = "rosenbrock"
    order = RODAS3.order

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step; see `Solver.step`."""
        gamma = float(RODAS3.diagonal)
        wide = torch.promote_types(state.dtype, torch.float32)  # no LU in half precision
        jacobian = system.jacobian(state).to(wide)  # (batch, neuron, neuron)
        identity = torch.eye(state.shape[-1], dtype=wide, device=state.device)
        # No check for singularity here: it would wait for the device at each step. A singular
        # matrix gives non-finite states, which `integrate` finds and locates.
        scale = gamma * h.reshape(-1, 1, 1).to(wide)  # () counts as one sample for all
        factors, pivots, _ = torch.linalg.lu_factor_ex(identity - scale * jacobian)
        stages: list[Tensor] = []
        at_start = system.derivative(state)
        for a, c in RODAS3.stages:
            slope = system.derivative(_plus(state, a, stages)) if any(a) else at_start
            right = gamma * _plus(h * slope, c, stages)
            solved = torch.linalg.lu_solve(factors, pivots, right.unsqueeze(-1).to(wide))
            stages.append(solved.squeeze(-1).to(state.dtype))
        return _plus(state, RODAS3.output, stages)


def _plus(start: Tensor, row: tuple[float, ...], stages: list[Tensor]) -> Tensor:
    """Return start + sum_j row_j u_j without work for coefficients that are zero."""
    for coefficient, stage in zip(row, stages, strict=True):
        if coefficient != 0:
            start = start + coefficient * stage
    return start
