"""The linear quadratic regulator: the best linear feedback for a linear system."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, solve_discrete_are

from elegans.data.sequences import Array
from elegans.errors import InputError

_ROUNDING = 1e-12
"""Rounding allowed in a cost, as a share of its largest entry."""


def lqr_gain(
    dynamics: Array, control: Array, state_cost: Array, control_cost: Array
) -> tuple[Array, Array]:
    r"""Return the gain K of the feedback u = -K x and the matrix P of its cost.

    For x[t+1] = A x[t] + B u[t], among the feedbacks under which x goes to 0, this one minimises
    the sum over all steps of x' Q x + u' R u, and x' P x is that sum from x on. P is the
    stabilising solution of the discrete algebraic Riccati equation

    .. math:: P = Q + A^T P (A - B K), \quad K = (R + B^T P B)^{-1} B^T P A.

    Parameters
    ----------
    dynamics
        A, shape (state, state).
    control
        B, shape (state, control).
    state_cost
        Q, shape (state, state), symmetric and positive semi-definite.
    control_cost
        R, shape (control, control), symmetric and positive definite.

    Returns
    -------
    gain, cost
        K, shape (control, state), and P, shape (state, state).

    Raises
    ------
    InputError
        When shapes do not fit together, a number is not finite, a cost is not as described, or
        there is no stabilising solution: no feedback through B stabilises A, or Q gives no reason
        to stabilise a state that neither grows nor decays by itself.

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
    A, B, Q, R = (
        np.asarray(matrix, np.float64) for matrix in (dynamics, control, state_cost, control_cost)
    )
    states, controls = B.shape if B.ndim == 2 else (0, 0)
    sizes_fit = A.shape == Q.shape == (states, states) and R.shape == (controls, controls)
    if not sizes_fit or not B.size:
        raise InputError(
            f"got A {A.shape}, B {B.shape}, Q {Q.shape} and R {R.shape}, expected (n, n), (n, m), "
            "(n, n) and (m, m); write vectors as matrices of one column"
        )
    for name, matrix in zip("ABQR", (A, B, Q, R), strict=True):
        if not np.isfinite(matrix).all():
            raise InputError(
                f"got {name} with NaN or infinity, expected finite numbers; check how it was made"
            )
    for name, cost in (("Q", Q), ("R", R)):
        if np.abs(cost - cost.T).max() > _ROUNDING * np.abs(cost).max():
            raise InputError(
                f"got {name} that is not symmetric, expected a symmetric matrix; pass "
                f"({name} + {name}.T) / 2, which costs the same"
            )
    least = np.linalg.eigvalsh(Q)[0]
    if least < -_ROUNDING * np.abs(Q).max():
        raise InputError(
            f"got Q with the eigenvalue {least:.3g}, expected a positive semi-definite matrix; "
            "reward no state"
        )
    try:
        np.linalg.cholesky(R)
    except LinAlgError:
        raise InputError(
            f"got R with the eigenvalue {np.linalg.eigvalsh(R)[0]:.3g}, expected a positive "
            "definite matrix; let every control cost something"
        ) from None
    try:
        P = solve_discrete_are(A, B, Q, R)
        K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        # The solver may also end at a solution that stabilises nothing.
        stabilises = np.abs(np.linalg.eigvals(A - B @ K)).max() < 1
    except LinAlgError:
        stabilises = False
    if not stabilises:
        raise InputError(
            "got a system whose cost of control grows without end, expected one that feedback "
            "through B can stabilise, and Q above 0 for states that neither grow nor decay; check "
            "the signs and units of A and B"
        )
    return K, P
