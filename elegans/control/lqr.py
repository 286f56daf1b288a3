"""The linear quadratic regulator: the best linear feedback for a linear system."""

from __future__ import annotations

import numpy as np

from elegans.data.sequences import Array
from elegans.errors import InputError

_MAX_ITERATIONS = 100_000


def lqr_gain(
    dynamics: Array, control: Array, state_cost: Array, control_cost: Array
) -> tuple[Array, Array]:
    r"""Return the gain K of the feedback u = -K x and the matrix P of its cost.

    For x[t+1] = A x[t] + B u[t], the feedback minimises the sum over all steps of
    x' Q x + u' R u, and x' P x is the minimum from x on. P is the limit of the value iteration

    .. math:: P \leftarrow Q + A^T P (A - B K), \quad K = (R + B^T P B)^{-1} B^T P A.

    Parameters
    ----------
    dynamics
        A, shape (state, state).
    control
        B, shape (state, control).
    state_cost
        Q, shape (state, state), symmetric and positive definite.
    control_cost
        R, shape (control, control), symmetric and positive definite.

    Returns
    -------
    gain, cost
        K, shape (control, state), and P, shape (state, state).

    Raises
    ------
    InputError
        When shapes do not fit together, or the iteration does not settle because no feedback
        through B stabilises A.

    Examples
    --------
    A unit of x costs 1 and a unit of u costs 1 in x[t+1] = x[t] + u[t]; P is the golden ratio.

    >>> import numpy as np
    >>> one = np.eye(1)
    >>> gain, cost = lqr_gain(one, one, one, one)
    >>> round(float(cost[0, 0]), 6), round(float(gain[0, 0]), 6)
    (1.618034, 0.618034)

    References
    ----------
    Bertsekas, "Dynamic Programming and Optimal Control", vol. 1, section 3.1 (4th edition).
    """
    A, B, Q, R = dynamics, control, state_cost, control_cost
    states, controls = B.shape if B.ndim == 2 else (0, 0)
    if A.shape != (states, states) or Q.shape != A.shape or R.shape != (controls, controls):
        raise InputError(
            f"got A {A.shape}, B {B.shape}, Q {Q.shape} and R {R.shape}, expected (n, n), (n, m), "
            "(n, n) and (m, m); write vectors as matrices of one column"
        )
    P = Q
    for _ in range(_MAX_ITERATIONS):
        K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        improved = Q + A.T @ P @ (A - B @ K)
        improved = (improved + improved.T) / 2  # rounding would otherwise grow an asymmetry
        if not np.isfinite(improved).all() or np.abs(improved).max() > 1e100:
            break
        if np.abs(improved - P).max() <= 1e-13 * np.abs(improved).max():
            gain = np.linalg.solve(R + B.T @ improved @ B, B.T @ improved @ A)
            return gain.astype(np.float64), improved
        P = improved
    raise InputError(
        "got a system whose cost of control grows without end, expected one that feedback through "
        "B can stabilise; check the signs and units of A and B"
    )
