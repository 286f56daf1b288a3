r"""Weights of the maximum norm in which a bound of a Jacobian is smallest.

A bound F(eta) says how far a difference of at most eta_i at each neuron i reaches: it is the
largest of several maps A eta, row by row, whose elements off the diagonal are not negative. If
F(eta) <= kappa eta for some eta > 0, a step shrinks distances by kappa in the norm max |d_i| /
eta_i; for the bound of a flow, whose diagonal is that of the Jacobian itself, kappa is minus the
rate. The least kappa is the Perron root, which no eta need attain, and near which weights may
differ by any factor. So weights are the solution of (a - A) eta = 1 for an a somewhat above it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from elegans.proofs.certificates.network import SLACK, Array

DENSE = 400
"""Neurons up to which the linear problems are solved by elimination."""

_ROUNDS = 6
_ITERATIONS = 2_000
_LEAST = 1e-12


class RowBound(ABC):
    """A bound F of the rows of a Jacobian: monotone, convex and homogeneous in the weights."""

    neurons: int

    @abstractmethod
    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""

    @abstractmethod
    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""

    def heaviest(self, neuron: int, eta: Array, most: int = 8) -> list[dict[str, Any]]:
        """Return the neurons that weigh on a row, with their shares, the heaviest first."""
        if self.neurons > DENSE:
            return []
        row = self.matrix(eta)[neuron] * eta
        row[neuron] = max(float(row[neuron]), 0.0)
        total = float(row.sum())
        order = [int(j) for j in np.argsort(-row, kind="stable")[:most] if row[j] > 0]
        return [{"source": j, "target": neuron, "share": float(row[j]) / total} for j in order]

    def factors(self, eta: Array) -> Array:
        """Return F_i(eta) / eta_i, shape (neuron,), rounded up."""
        quotient = self.apply(eta) / eta
        return np.asarray(quotient + SLACK * np.abs(quotient))

    def factor(self, eta: Array) -> float:
        """Return the factor that the weights prove, infinite where numbers overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            worst = float(self.factors(eta).max(initial=-np.inf))
        return worst if np.isfinite(worst) else np.inf


def best_weights(
    bound: RowBound, limit: float, fraction: float, *, start: tuple[Array, ...] = ()
) -> tuple[Array, float]:
    """Return weights, the largest 1, and the factor that they prove, small though not the least.

    Parameters
    ----------
    bound
        Of a step, or of a flow.
    limit
        What the factor has to be below: 1 for a step, 0 for a flow.
    fraction
        Of the distance between the least factor and the limit, so much is proved.
    start
        Further weights to try.
    """
    ones = np.ones(bound.neurons)
    proved = [(bound.factor(eta), eta) for eta in (ones, *start)]
    eta = min(proved, key=lambda pair: pair[0])[1]
    for _ in range(_ROUNDS if bound.neurons <= DENSE else 1):
        found = (
            _by_elimination(bound.matrix(eta), limit, fraction)
            if bound.neurons <= DENSE
            else _by_iteration(bound, limit, fraction, eta)
        )
        if found is None:
            break
        proved.append((bound.factor(found), found))
        if np.allclose(found, eta, rtol=1e-6, atol=0.0):
            break
        eta = found
    factor, eta = min(proved, key=lambda pair: pair[0])
    return eta, factor


def _by_elimination(matrix: Array, limit: float, fraction: float) -> Array | None:
    """Return eta > 0 with (a - A) eta = 1, for an a between the Perron root and the limit."""
    try:
        root = float(np.linalg.eigvals(matrix).real.max())
        above = root + max((1 - fraction) * abs(limit - root), 1e-9 * np.abs(matrix).max())
        eta = np.linalg.solve(above * np.eye(len(matrix)) - matrix, np.ones(len(matrix)))
    except np.linalg.LinAlgError:
        return None
    return _normalised(eta)


def _by_iteration(bound: RowBound, limit: float, fraction: float, start: Array) -> Array | None:
    """Return the Perron vector of F with something of every neuron added to each.

    What is added bounds the spread of the weights. A share of the old weights stays, so that rings
    do not turn them about.
    """
    ones = np.ones(bound.neurons)
    size = float(np.abs(bound.apply(ones)).max(initial=0.0)) + abs(limit)
    eta, best, least = start, start, np.inf
    for _ in range(_ITERATIONS):
        moved = bound.apply(eta) + size * (eta + 1e-3 * (1 - fraction) * eta.max())
        moved = moved / moved.max()
        if not np.isfinite(moved).all() or (moved <= 0).any():
            return None
        change, eta = float(np.abs(moved / eta - 1).max()), moved
        factor = bound.factor(eta)
        if factor < least:
            least, best = factor, eta
        if change < 1e-9:
            break
    return best


def _normalised(eta: Array) -> Array | None:
    if not np.isfinite(eta).all() or (eta <= 0).any():
        return None
    return np.asarray(np.maximum(eta / eta.max(), _LEAST))
