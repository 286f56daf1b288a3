r"""The best weights eta: a nonlinear Perron problem, one for each strongly connected component.

F is convex, homogeneous and cooperative, F(eta) = max over policies of A eta with off-diagonal
elements >= 0. For any eta > 0 the best rate of a component lies between -max F_i / eta_i and
-min F_i / eta_i (Collatz and Wielandt), so that every iterate brackets it and proves its lower end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigs, gmres

from elegans.proofs.certificates.contraction import Rows, WorstCase
from elegans.proofs.certificates.network import Array, Index

DENSE = 400
"""Neurons up to which a component is solved by dense elimination at each round."""

LEAST = 1e-12
"""The least weight of a component, as a share of its largest."""

_ROOM = 1e-9
"""Share of its speed that each neuron's row has room for: more than its rounding."""

_ROUNDS = 60
_INNER = 6
_ARNOLDI = 100
_STIFF = 1e4

_Member = tuple[int, Index]


@dataclass(frozen=True, eq=False)
class Components:
    """Rates of the strongly connected components of a circuit.

    Parameters
    ----------
    of
        The component of each neuron, shape (neuron,).
    rate
        The rate that the weights prove for each component, shape (component,).
    ceiling
        The rate that no weights can exceed, shape (component,).
    eta
        The weights, shape (neuron,), the largest of each component 1.
    """

    of: Index
    rate: Array
    ceiling: Array
    eta: Array

    @property
    def sizes(self) -> Index:
        """Neurons of each component, shape (component,)."""
        return np.bincount(self.of, minlength=len(self.rate))

    @property
    def slowest(self) -> int:
        """The component that binds the whole circuit."""
        return int(self.rate.argmin())

    @property
    def best_rate(self) -> float:
        """Rate that the weights prove for the whole circuit, up to an arbitrarily small loss."""
        return float(self.rate.min())


def components_of(rows: Rows) -> Index:
    """Return the strongly connected component of each neuron, shape (neuron,)."""
    present = rows.weight > 0
    n = rows.neurons
    graph = coo_array(
        (np.ones(int(present.sum())), (rows.source[present], rows.target[present])), shape=(n, n)
    )
    _, labels = connected_components(graph, directed=True, connection="strong")
    return np.asarray(labels, dtype=np.int64)


def best_rates(rows: Rows, *, start: Array | None = None, tolerance: float = 1e-6) -> Components:
    """Return the best provable rate of every component, with weights that prove it.

    Each round solves the linear problem of the worst gates: small components by inverse iteration,
    which converges quadratically (Noda 1971), large ones by Arnoldi's method, O(synapses) a step,
    or by inverse iteration, too. It ends when rate and ceiling of each component agree to
    `tolerance`, relative to the rate. Weights of a component differ by at most 1 / `LEAST`: where
    better ones would differ by more, rate and ceiling stay apart. `start` are weights > 0 to begin
    with, such as those of a similar circuit, (neuron,).

    References
    ----------
    Noda, "Note on the computation of the maximal eigenvalue of a non-negative irreducible matrix",
    Numerische Mathematik 17 (1971); Gaubert and Gunawardena, "The Perron-Frobenius theorem for
    homogeneous, monotone functions", Transactions of the AMS 356 (2004), for nonlinear maps.
    """
    component = components_of(rows)
    count = int(component.max(initial=-1)) + 1
    apart = rows.apart(component)
    eta = np.ones(rows.neurons) if start is None else _normalised(start, component, count)
    small, large = _members(component, count)
    best = (np.full(count, -np.inf), np.full(count, np.inf), eta.copy())
    slowest = np.full(count, np.inf)  # no rate exceeds the speed of a neuron
    np.minimum.at(slowest, component, apart.speed)
    for _ in range(_ROUNDS):
        quotient = apart.value(eta) / eta
        highest, lowest = _extremes(quotient, component, count)
        better = -highest > best[0]
        best[0][better] = -highest[better]
        best[1][:] = np.minimum(best[1], -lowest)
        best[2][better[component]] = eta[better[component]]
        scale = np.abs(best[0]) + 1e-6 * slowest
        open_ = best[1] - best[0] > tolerance * scale
        if not open_.any():
            break
        policy = apart.policy(eta)
        moved = eta.copy()
        for label, neurons in small:
            if open_[label]:
                moved[neurons] = _inverse_step(policy, neurons, eta, float(highest[label]))
        for label, neurons in large:
            if open_[label]:
                moved[neurons] = _large_step(policy, neurons, eta, float(highest[label]))
        eta = _normalised(moved, component, count)
    return Components(component, *best)


def weights_for(
    rows: Rows, rate: float, *, rhs: Array | None = None, tolerance: float = 0.5
) -> Array | None:
    r"""Solve F(eta) + rate eta + rhs = 0 by policy iteration; return None if there is no eta > 0.

    For a rate below the best one there is exactly one solution, and it is positive wherever a
    right-hand side > 0 reaches. The default gives weights of moderate spread that prove a
    little more than `rate`; with the effect of a unit input and a rate of 0, the largest deviation
    that inputs can cause. Each round solves the linear problem of the worst gates, which raises
    eta towards the solution, until F(eta) + rate eta + (1 - tolerance) rhs <= 0. `rhs` is
    (neuron,), >= 0, by default |rate|, and a share of a neuron's speed for rounding.
    """
    ones = np.ones(rows.neurons)
    right = abs(rate) + _ROOM * rows.speed if rhs is None else rhs
    eta = ones
    for _ in range(50):
        policy = rows.policy(np.maximum(eta, 1e-300))
        new = _solve(policy, rate, right, eta, 0.1 * tolerance)
        if new is None or not np.isfinite(new).all() or (new < 0).any():
            return None
        eta = new
        if (rows.value(eta) + rate * eta + (1 - tolerance) * right <= 0).all():
            return eta
    return None


def left_weights(policy: WorstCase, eta: Array, rate: float) -> Array:
    """Return the left Perron vector y >= 0 of a policy whose right one is `eta`, sum(y eta) = 1.

    By two rounds of inverse iteration from the uniform vector, slightly above the eigenvalue.
    """
    n = len(eta)
    # The self-synapses' gains belong to the diagonal, and may cancel against it.
    size = max(np.abs(values).max(initial=0.0) for values in (policy.diagonal, policy.gain))
    shift = -rate + 1e-9 * max(float(size), 1e-300)
    y = np.ones(n) / n
    if n <= DENSE:
        matrix = (shift * np.eye(n) - policy.matrix()).T
        for _ in range(2):
            y = np.abs(np.linalg.solve(matrix, y))
            y = y / y.max()
    else:
        y = _perron(_sparse(policy).T.tocsr(), y, shift, 1e-8)
    return np.asarray(y / (y @ eta))


def _members(component: Index, count: int) -> tuple[list[_Member], list[_Member]]:
    """Return label and neurons of the components of 2 to `DENSE` neurons, and of the larger."""
    sizes = np.bincount(component, minlength=count)
    order = np.argsort(component, kind="stable")
    starts = np.cumsum(np.concatenate([[0], sizes]))
    members = [
        (int(label), order[starts[label] : starts[label + 1]])
        for label in np.flatnonzero(sizes > 1)
    ]
    small = [member for member in members if len(member[1]) <= DENSE]
    return small, [member for member in members if len(member[1]) > DENSE]


def _extremes(quotient: Array, component: Index, count: int) -> tuple[Array, Array]:
    highest, lowest = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(highest, component, quotient)
    np.minimum.at(lowest, component, quotient)
    return highest, lowest


def _normalised(eta: Array, component: Index, count: int) -> Array:
    """Divide by the largest of each component; no weight falls below `LEAST` of it."""
    largest = np.zeros(count)
    np.maximum.at(largest, component, eta)
    return np.maximum(eta / largest[component], LEAST)


def _inverse_step(policy: WorstCase, neurons: Index, eta: Array, highest: float) -> Array:
    """Return (highest - A)^-1 eta for the neurons of a component."""
    n = len(neurons)
    place = np.full(len(eta), -1)
    place[neurons] = np.arange(n)
    mine = place[policy.target] >= 0
    matrix = np.zeros((n, n))
    np.add.at(matrix, (place[policy.target[mine]], place[policy.source[mine]]), policy.gain[mine])
    matrix[np.arange(n), np.arange(n)] += policy.diagonal[neurons]
    # Slightly above the upper bound of the eigenvalue, where the inverse exists and is positive;
    # relative to each row, since time constants may differ by many orders of magnitude.
    size = np.abs(np.diag(matrix)) + 1e-300
    x = eta[neurons]
    system = np.diag(highest + 1e-10 * size) - matrix
    try:
        y = np.linalg.solve(system / size[:, None], x / size)
    except np.linalg.LinAlgError:
        y = np.zeros(n)
    return np.asarray(y if np.isfinite(y).all() and (y > 0).all() else x + 0.5 * matrix @ x / size)


def _large_step(policy: WorstCase, neurons: Index, eta: Array, highest: float) -> Array:
    """Return an approximate Perron vector of a large component."""
    return _perron(_sparse(policy)[neurons][:, neurons], eta[neurons], highest)


def _perron(matrix: csr_array, x: Array, highest: float, tolerance: float = 1e-10) -> Array:
    """Return an approximate Perron vector of a large matrix whose eigenvalues are below `highest`.

    By Arnoldi's method; where time constants differ too much for that, by inverse iteration, which
    fast neurons do not hold up.
    """
    size = np.abs(matrix.diagonal())
    if size.max() < _STIFF * size.min():
        try:
            _, vectors = eigs(matrix, k=1, which="LR", v0=x, maxiter=_ARNOLDI, tol=tolerance)
        except ArpackError:
            vectors = np.zeros((len(x), 1))
        y = np.abs(vectors[:, 0])
        if np.isfinite(y).all() and (y > 0).all():
            return np.asarray(y)
    shifted = (highest + 0.1 * float(size.min())) * eye_array(len(x), format="csr") - matrix
    y = x
    for _ in range(_INNER):
        new = _solve_scaled(shifted, y, y, 1e-6)
        if new is None or not np.isfinite(new).all() or not (new > 0).all():
            break
        y = new / new.max()
    return np.asarray(y)


def _sparse(policy: WorstCase) -> csr_array:
    n = len(policy.diagonal)
    every = np.arange(n)
    return csr_array(
        coo_array(
            (
                np.concatenate([policy.gain, policy.diagonal]),
                (np.concatenate([policy.target, every]), np.concatenate([policy.source, every])),
            ),
            shape=(n, n),
        )
    )


def _solve(
    policy: WorstCase, rate: float, rhs: Array, guess: Array, tolerance: float
) -> Array | None:
    """Return the solution of (A + rate) eta = -rhs, None if there is none that is found."""
    n = len(rhs)
    if n <= DENSE:
        matrix = policy.matrix() + rate * np.eye(n)
        size = np.abs(matrix).max(axis=1)  # rows of all magnitudes count alike
        try:
            return np.asarray(np.linalg.solve(matrix / size[:, None], -rhs / size))
        except np.linalg.LinAlgError:
            return None
    matrix = -(_sparse(policy) + rate * eye_array(n, format="csr"))
    return _solve_scaled(matrix, rhs, guess, tolerance)


def _solve_scaled(matrix: csr_array, rhs: Array, guess: Array, tolerance: float) -> Array | None:
    """Solve a large system whose rows may be of all magnitudes, None where that fails."""
    diagonal = matrix.diagonal()
    if (diagonal <= 0).any():
        return None
    matrix, right = diags_array(1 / diagonal) @ matrix, rhs / diagonal
    # Small right-hand sides count as much as large ones: each row is a condition of its own.
    within = min(1e-10, tolerance * float(right.min() / np.linalg.norm(right)))
    solution, failed = gmres(
        matrix, right, x0=guess, rtol=max(within, 1e-15), restart=100, maxiter=20
    )
    return None if failed and within > 1e-14 else np.asarray(solution)
