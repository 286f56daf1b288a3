"""Damped Newton iterations from many starts at once, and the clusters of their ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.checks import check_seed
from elegans.errors import InputError
from elegans.proofs.certificates.network import Box
from elegans.proofs.dynamics.spectra import PIECE

_HALVINGS = 6
_ROUND = 20
_POLISHING = 3


@dataclass(frozen=True, eq=False)
class Roots:
    """The ends of Newton iterations."""

    states: Tensor
    """Distinct roots, in the order of their hits, shape (root, neuron)."""
    residuals: Tensor
    """Largest entry of |F| at each, shape (root,)."""
    hits: Tensor
    """Number of starts that ended at each, integers of shape (root,)."""
    failed: Tensor
    """The starts that ended nowhere, shape (failed, neuron)."""
    left: Tensor
    """Largest entry of |F| where these gave up, shape (failed,)."""


@dataclass(frozen=True, eq=False)
class RootProblem:
    """F(x) = 0, where F is what a map moves x by: x + F(x) is the image of x.

    Both functions take and return batches: F of shape (batch, neuron), and its Jacobian of shape
    (batch, neuron, neuron).
    """

    residual: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]


@torch.no_grad()
def find_roots(
    problem: RootProblem,
    starts: Tensor,
    *,
    scale: float,
    tolerance: float = 1e-12,
    merge_tolerance: float = 1e-6,
    iterations: int = 100,
) -> Roots:
    r"""Solve F(x) = 0 from many starts.

    .. math:: x \leftarrow x - t\, F'(x)^{-1} F(x), \qquad t \in \{1, 1/2, 1/4, \dots\}

    The first t is taken that lowers the Euclidean norm of F enough (Armijo's rule). Where none
    does, or the matrix is singular, the map itself is applied, half way: x + F(x) / 2. Starts that
    have not ended after ten steps take ten of the map alone, and so on in turn.

    Parameters
    ----------
    problem
        F and its Jacobian.
    starts
        Shape (start, neuron), float64.
    scale
        The size of differences that matter, such as the width of the box of all states. No step
        is longer.
    tolerance
        A root has no entry of |F| above this share of `scale`.
    merge_tolerance
        Roots nearer than this share of `scale` in every neuron are the same, and so are those
        that a chain of such steps connects.
    iterations
        Largest number of steps from each start.

    Raises
    ------
    InputError
        Not 0 < tolerance <= merge_tolerance, or there are no starts.
    """
    if not 0 < tolerance <= merge_tolerance:
        raise InputError(
            f"got tolerance={tolerance} and merge_tolerance={merge_tolerance}, expected "
            "0 < tolerance <= merge_tolerance: roots that are not known better than their distance "
            "cannot be told apart"
        )
    if not len(starts):
        raise InputError("got no starts, expected at least 1")
    x, residual = starts.clone(), problem.residual(starts)
    goal = tolerance * scale
    for turn in range(iterations):
        (moving,) = torch.nonzero(~(residual.abs().amax(dim=-1) <= goal), as_tuple=True)
        if not len(moving):
            break
        if turn % _ROUND >= _ROUND // 2:
            # Newton's method creeps towards minima of |F| that are no roots: the map leads away.
            x[moving] += residual[moving] / 2
            residual[moving] = problem.residual(x[moving])
        else:
            x[moving], residual[moving] = _step(problem, x[moving], residual[moving], scale)
    largest = residual.abs().amax(dim=-1)
    done = largest <= goal
    states, rest = x[done], residual[done]
    for _ in range(_POLISHING):  # quadratic: what is near ends at rounding, so copies coincide
        if not len(states):
            break
        after = states + _direction(problem, states, rest, scale)
        rest_after = problem.residual(after)
        better = (rest_after.abs().amax(dim=-1) < rest.abs().amax(dim=-1)).unsqueeze(-1)
        states, rest = torch.where(better, after, states), torch.where(better, rest_after, rest)
    return _distinct(
        states,
        rest.abs().amax(dim=-1),
        merge_tolerance * scale,
        failed=starts[~done],
        left=largest[~done],
    )


def _step(problem: RootProblem, x: Tensor, residual: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Take one damped step and return states and residuals, (batch, neuron) each."""
    direction = _direction(problem, x, residual, scale)
    norm = torch.linalg.vector_norm(residual, dim=-1)
    after, residual_after = x + residual / 2, torch.empty_like(residual)
    waiting = torch.arange(len(x))
    t = 1.0
    for _ in range(_HALVINGS):
        trial = x[waiting] + t * direction[waiting]
        at_trial = problem.residual(trial)
        enough = torch.linalg.vector_norm(at_trial, dim=-1) <= (1 - 1e-4 * t) * norm[waiting]
        after[waiting[enough]], residual_after[waiting[enough]] = trial[enough], at_trial[enough]
        waiting = waiting[~enough]
        if not len(waiting):
            return after, residual_after
        t /= 2
    residual_after[waiting] = problem.residual(after[waiting])
    return after, residual_after


def _direction(problem: RootProblem, x: Tensor, residual: Tensor, scale: float) -> Tensor:
    """Return -F'(x)⁻¹ F(x), no longer than `scale`, or F(x) where the matrix is singular."""
    chunk = max(1, PIECE // x.shape[-1] ** 2)
    solved = []
    for begin in range(0, len(x), chunk):
        states, right = x[begin : begin + chunk], -residual[begin : begin + chunk]
        # The variant without checks: a singular matrix of one start must not stop the others.
        solution, _ = torch.linalg.solve_ex(problem.jacobian(states), right.unsqueeze(-1))
        solved.append(solution.squeeze(-1))
    direction = torch.cat(solved)
    finite = torch.isfinite(direction).all(dim=-1, keepdim=True)
    direction = torch.where(finite, direction, residual)
    length = direction.abs().amax(dim=-1, keepdim=True)
    return direction * (scale / length.clamp(min=scale))


def _distinct(
    states: Tensor, residuals: Tensor, distance: float, *, failed: Tensor, left: Tensor
) -> Roots:
    """Keep the best of each cluster; single linkage, in the maximum norm."""
    from scipy.sparse.csgraph import connected_components

    if not len(states):
        none = torch.zeros(0, dtype=torch.int64)
        return Roots(states, residuals, none, failed, left)
    near = torch.cdist(states, states, p=float("inf")) <= distance  # (root, root)
    _, label = connected_components(near.numpy(), directed=False)
    clusters = torch.from_numpy(label).long()
    hits = torch.bincount(clusters)
    order = torch.argsort(hits, descending=True, stable=True)
    best = []
    for cluster in order.tolist():
        (members,) = torch.nonzero(clusters == cluster, as_tuple=True)
        best.append(int(members[residuals[members].argmin()]))
    return Roots(states[best], residuals[best], hits[order], failed, left)


def spread(box: Box, count: int, seed: int) -> NDArray[np.float64]:
    """Return a Latin hypercube sample of a box, shape (count, neuron).

    Each of `count` equal slices of each axis holds one point, so that every neuron is tried over
    its whole range, however many neurons there are.

    References
    ----------
    McKay, Beckman, Conover, "A comparison of three methods for selecting values of input
    variables", Technometrics 21 (1979) 239-245.

    Examples
    --------
    >>> points = spread(Box(np.zeros(2), np.ones(2)), 4, seed=0)
    >>> np.sort(np.floor(4 * points), axis=0).T.tolist()
    [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]
    """
    rng = np.random.default_rng(check_seed(seed))
    slices = rng.permuted(np.tile(np.arange(count), (len(box.lo), 1)), axis=1).T
    return box.lo + (slices + rng.random(slices.shape)) / count * box.width
