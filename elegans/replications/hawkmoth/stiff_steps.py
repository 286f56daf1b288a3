r"""Compiled integration of many hawkmoths, each with steps of its own: RODAS4 in numba.

The method is a Rosenbrock method of order 4 with 6 stages, stiffly accurate, so that it damps
modes that are much faster than the step (the damper of the hinge settles in 40 microseconds). Its
stages solve

.. math::
    \Big(\frac{1}{γ h} - J\Big) u_i = f\Big(s + \sum_{j<i} a_{ij} u_j\Big)
        + \frac{1}{h} \sum_{j<i} c_{ij} u_j

and the last one, u_6, is the difference to a solution of order 3 within the same step, which
chooses its length. The state is s = (q, v) with q' = v and M(q) v' = r(q, v), so with the exact
derivatives G = ∂r/∂q - (∂M/∂q) v' and V = ∂r/∂v, u_i = (γ h (w + b_q), w) where

.. math::
    \Big(\frac{M}{γ h} - V - γ h\, G\Big) w = M b_v + γ h\, G b_q

and b is the right-hand side above: four equations in place of eight, solved by blocks of two.

References
----------
Hairer, Wanner, "Solving Ordinary Differential Equations II", second edition 1996: section IV.7
for this form and the control of the step, section VI.4 for RODAS4 and its coefficients.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, kernel

OK, TOO_SHORT, TOO_MANY, NOT_FINITE = 0, 1, 2, 3
"""Ends of a trajectory: well, with a step lost in rounding, out of steps, or not finite."""

GAMMA = 0.25

A = np.array(
    (
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (1.544, 0.0, 0.0, 0.0, 0.0),
        (0.9466785280815826, 0.2557011698983284, 0.0, 0.0, 0.0),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817, 0.0, 0.0),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 0.0),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0),
    )
)
"""a_ij of the stages; the new state is the last stage's argument plus u_6.

It is an array because compiled code reads nested tuples at half the speed of everything else.
"""

C = np.array(
    (
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (-5.6688, 0.0, 0.0, 0.0, 0.0),
        (-2.430093356833875, -0.2063599157091915, 0.0, 0.0, 0.0),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616, 0.0, 0.0),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160, 0.0),
        (
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ),
    )
)
"""c_ij of the stages."""

_SHRINK, _GROW, _SAFETY = 0.2, 6.0, 0.9
_SHORTEST = 1e-15  # of the duration: shorter steps are lost in the rounding of the time

_FAST: dict[str, Any] = {"fastmath": {"contract"}}

Array = Any


class Numbers(NamedTuple):
    """Numbers of a moth that the equations need."""

    mass: float
    first: float  # L1 m1
    second: float  # L2 m2
    J1: float  # I1 + L1^2 m1
    J2: float  # I2 + L2^2 m2
    L3: float
    K: float
    c: float
    rest: float  # π + β
    g: float
    stokes: float  # drag per speed, at rest
    rate1: float  # Reynolds numbers per speed
    rate2: float
    area1: float  # ½ ϱ π b^2
    area2: float
    first_step: float  # where the search for the length of the first step begins, in s


def _part(function: Any) -> Any:
    """Return `function` as a part of compiled ones."""
    return njit(**INLINE, **_FAST)(function)


@_part
def _drag(x: float, y: float, moth: Numbers) -> Any:
    """Return v, D without the part of Stokes, and v dD/dv without it, at the velocity (x, y)."""
    v = math.sqrt(x * x + y * y)
    root1, root2 = math.sqrt(moth.rate1 * v), math.sqrt(moth.rate2 * v)
    fit1, fit2 = 6.0 / (1.0 + root1), 6.0 / (1.0 + root2)
    D = moth.area1 * (fit1 + 0.4) + moth.area2 * (fit2 + 0.4)
    growth = moth.area1 * fit1 * root1 / (1.0 + root1) + moth.area2 * fit2 * root2 / (1.0 + root2)
    return v, D, -0.5 * growth


@_part
def accelerate(s: Array, wings: Any, moth: Numbers, out: Array) -> None:
    """Write M^-1 r at the state s to out[:4]."""
    m, first, second, J1, J2 = moth.mass, moth.first, moth.second, moth.J1, moth.J2
    force_x, force_y, turn, tau = wings
    sin1, cos1, sin2, cos2 = math.sin(s[2]), math.cos(s[2]), math.sin(s[3]), math.cos(s[3])
    v, D, _ = _drag(s[4], s[5], moth)
    share = moth.stokes / v if v > 0.0 else 0.0
    drag_x, drag_y = (share + D) * abs(s[4]) * s[4], (share + D) * abs(s[5]) * s[5]
    pull1, pull2 = first * s[6] * s[6], second * s[7] * s[7]
    torque = tau + moth.K * (s[3] - s[2] - moth.rest) + moth.c * (s[7] - s[6])
    r1 = force_x * cos1 - force_y * sin1 - drag_x + cos1 * pull1 + cos2 * pull2
    r2 = force_x * sin1 + force_y * cos1 - drag_y + sin1 * pull1 + sin2 * pull2 - moth.g * m
    r3 = torque - moth.g * first * cos1 + turn
    r4 = -torque - moth.g * second * cos2
    # Rows 1 and 2 give the accelerations of the hinge, which leaves a symmetric pair for the
    # angles.
    r3 += first / m * (sin1 * r1 - cos1 * r2)
    r4 += second / m * (sin2 * r1 - cos2 * r2)
    d1, d2 = J1 - first * first / m, J2 - second * second / m
    across = -first * second / m * (sin1 * sin2 + cos1 * cos2)
    determinant = d1 * d2 - across * across
    out[2] = (d2 * r3 - across * r4) / determinant
    out[3] = (d1 * r4 - across * r3) / determinant
    out[0] = (r1 + first * sin1 * out[2] + second * sin2 * out[3]) / m
    out[1] = (r2 - first * cos1 * out[2] - second * cos2 * out[3]) / m


@_part
def linearise(s: Array, a: Array, wings: Any, moth: Numbers, parts: Any) -> None:
    """Write M, G, V and R at the state s with the accelerations a; see the head of this module.

    M (2, 2) holds the block of rows x, y and columns θ, φ; G (4, 2) the columns θ, φ, because the
    place of the hinge changes nothing; V (4, 2) too, and R (2, 2) the rest of it, without sign:
    the slopes of the drag.
    """
    M, G, V, R = parts
    first, second, K, c, g = moth.first, moth.second, moth.K, moth.c, moth.g
    sin1, cos1 = first * math.sin(s[2]), first * math.cos(s[2])
    sin2, cos2 = second * math.sin(s[3]), second * math.cos(s[3])
    force_x, force_y, _, _ = wings
    lift_x = force_x * math.cos(s[2]) - force_y * math.sin(s[2])
    lift_y = force_x * math.sin(s[2]) + force_y * math.cos(s[2])
    M[0, 0], M[0, 1], M[1, 0], M[1, 1] = -sin1, -sin2, cos1, cos2
    v, D, growth = _drag(s[4], s[5], moth)
    if v > 0.0:
        x, y = s[4] / v, s[5] / v
        D, growth = v * D + moth.stokes, v * growth - moth.stokes
        R[0, 0], R[0, 1] = abs(x) * (2.0 * D + growth * x * x), abs(x) * growth * x * y
        R[1, 0], R[1, 1] = abs(y) * growth * x * y, abs(y) * (2.0 * D + growth * y * y)
    else:
        R[:] = 0.0
    G[0, 0] = -lift_y - sin1 * s[6] * s[6] + cos1 * a[2]
    G[1, 0] = lift_x + cos1 * s[6] * s[6] + sin1 * a[2]
    G[0, 1] = -sin2 * s[7] * s[7] + cos2 * a[3]
    G[1, 1] = cos2 * s[7] * s[7] + sin2 * a[3]
    G[2, 0] = -K + g * sin1 + cos1 * a[0] + sin1 * a[1]
    G[3, 1] = -K + g * sin2 + cos2 * a[0] + sin2 * a[1]
    G[2, 1] = G[3, 0] = K
    V[0, 0], V[0, 1] = 2.0 * cos1 * s[6], 2.0 * cos2 * s[7]
    V[1, 0], V[1, 1] = 2.0 * sin1 * s[6], 2.0 * sin2 * s[7]
    V[2, 0] = V[3, 1] = -c
    V[2, 1] = V[3, 0] = c


@_part
def _attempt(
    s: Array,
    a: Array,
    h: float,
    wings: Any,
    moth: Numbers,
    parts: Any,
    U: Array,
    stage: Array,
    b: Array,
) -> None:
    """Take one step: leave the new state in `stage` (8,) and the estimate of its error in U[5]."""
    M, G, V, R = parts
    short = GAMMA * h
    # The block of ẋ and ẏ is inverted, those left of and above the block of the angles follow.
    t00, t11 = moth.mass / short + R[0, 0], moth.mass / short + R[1, 1]
    inverse = 1.0 / (t00 * t11 - R[0, 1] * R[1, 0])
    w02 = M[0, 0] / short - V[0, 0] - short * G[0, 0]
    w03 = M[0, 1] / short - V[0, 1] - short * G[0, 1]
    w12 = M[1, 0] / short - V[1, 0] - short * G[1, 0]
    w13 = M[1, 1] / short - V[1, 1] - short * G[1, 1]
    factor = inverse / short
    l20 = factor * (M[0, 0] * t11 - M[1, 0] * R[1, 0])
    l21 = factor * (M[1, 0] * t00 - M[0, 0] * R[0, 1])
    l30 = factor * (M[0, 1] * t11 - M[1, 1] * R[1, 0])
    l31 = factor * (M[1, 1] * t00 - M[0, 1] * R[0, 1])
    w22 = moth.J1 / short - V[2, 0] - short * G[2, 0] - l20 * w02 - l21 * w12
    w23 = -V[2, 1] - short * G[2, 1] - l20 * w03 - l21 * w13
    w32 = -V[3, 0] - short * G[3, 0] - l30 * w02 - l31 * w12
    w33 = moth.J2 / short - V[3, 1] - short * G[3, 1] - l30 * w03 - l31 * w13
    determinant = w22 * w33 - w23 * w32

    for i in range(6):
        for k in range(8):
            added, carried = 0.0, 0.0
            for j in range(i):
                added += A[i, j] * U[j, k]
                carried += C[i, j] * U[j, k]
            stage[k] = s[k] + added
            b[k] = carried / h
        if i == 0:
            for k in range(4):
                b[4 + k] += a[k]
        else:
            accelerate(stage, wings, moth, U[i])
            for k in range(4):
                b[4 + k] += U[i, k]
        for k in range(4):
            b[k] += stage[4 + k]
        # M b_v + short G b_q
        p, q = short * b[2], short * b[3]
        x = moth.mass * b[4] + M[0, 0] * b[6] + M[0, 1] * b[7] + G[0, 0] * p + G[0, 1] * q
        y = moth.mass * b[5] + M[1, 0] * b[6] + M[1, 1] * b[7] + G[1, 0] * p + G[1, 1] * q
        t = M[0, 0] * b[4] + M[1, 0] * b[5] + moth.J1 * b[6] + G[2, 0] * p + G[2, 1] * q
        f = M[0, 1] * b[4] + M[1, 1] * b[5] + moth.J2 * b[7] + G[3, 0] * p + G[3, 1] * q
        t -= l20 * x + l21 * y
        f -= l30 * x + l31 * y
        turn1, turn2 = (w33 * t - w23 * f) / determinant, (w22 * f - w32 * t) / determinant
        x -= w02 * turn1 + w03 * turn2
        y -= w12 * turn1 + w13 * turn2
        U[i, 4] = (t11 * x - R[0, 1] * y) * inverse
        U[i, 5] = (t00 * y - R[1, 0] * x) * inverse
        U[i, 6], U[i, 7] = turn1, turn2
        for k in range(4):
            U[i, k] = short * (U[i, 4 + k] + b[k])
    for k in range(8):
        stage[k] += U[5, k]


@_part
def _error(s: Array, new: Array, difference: Array, rtol: float, atol: Array) -> Any:
    """Return the greatest error of a component as a multiple of what it may be."""
    error = 0.0
    for k in range(8):
        if not (math.isfinite(new[k]) and math.isfinite(difference[k])):
            return np.inf
        error = max(error, abs(difference[k]) / (atol[k] + rtol * max(abs(s[k]), abs(new[k]))))
    return error


@_part
def _factor(error: float) -> Any:
    """Return what makes the next error as great as it may be; errors are of order h^4."""
    return _SAFETY * max(error, 1e-12) ** -0.25


@kernel(**_FAST)
def integrate(
    moth: Numbers,
    states: Array,
    controls: Array,
    times: Array,
    rtol: float,
    atol: Array,
    most_steps: int,
    out: Array,
    ended: Array,
    reached: Array,
    steps: Array,
) -> None:
    """Integrate each row of `states` (trajectory, 8) to `times` (time,).

    `controls` is (trajectory, 3) and `atol` (8,) holds the absolute tolerances. States go to `out`
    (trajectory, time, 8); how a trajectory ended to `ended` (trajectory,), the time it reached to
    `reached` and the steps it took, with those refused, to `steps`.
    """
    s, stage, b, U = np.empty(8), np.empty(8), np.empty(8), np.empty((6, 8))
    M, G, V, R, a = (
        np.empty((2, 2)),
        np.zeros((4, 2)),
        np.zeros((4, 2)),
        np.empty((2, 2)),
        np.empty(4),
    )
    parts = (M, G, V, R)
    for row in range(len(states)):
        F, alpha, tau = controls[row, 0], controls[row, 1], controls[row, 2]
        force_y = F * math.sin(alpha)
        wings = (F * math.cos(alpha), force_y, force_y * moth.L3, tau)
        for k in range(8):
            s[k] = states[row, k]
        t, length, taken, verdict = 0.0, moth.first_step, 0, OK
        moved, refused = True, False
        for place in range(len(times)):
            while t < times[place] and verdict == OK:
                if moved:
                    accelerate(s, wings, moth, a)
                    linearise(s, a, wings, moth, parts)
                left = times[place] - t
                h = min(length, left)
                if length < left < 2.0 * length:
                    h = 0.5 * left  # two like steps rather than one and a crumb
                _attempt(s, a, h, wings, moth, parts, U, stage, b)
                taken += 1
                error = _error(s, stage, U[5], rtol, atol)
                moved = error <= 1.0
                if moved:
                    t = times[place] if h == left else t + h
                    for k in range(8):
                        s[k] = stage[k]
                    grown = h * min(1.0 if refused else _GROW, _factor(error))
                    # A step cut short by a time to report says nothing against longer ones.
                    length = max(length, grown) if h < length else grown
                else:
                    length = h * max(_SHRINK, _factor(error))
                    if not length > _SHORTEST * times[-1]:
                        verdict = TOO_SHORT if error < np.inf else NOT_FINITE
                refused = not moved
                if verdict == OK and taken >= most_steps and t < times[-1]:
                    verdict = TOO_MANY
            for k in range(8):
                out[row, place, k] = s[k]
        ended[row], reached[row], steps[row] = verdict, t, taken
