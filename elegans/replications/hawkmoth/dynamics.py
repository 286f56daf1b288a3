r"""The equations of motion of a hawkmoth in its plane: the reference of all faster paths.

The hinge is at (x, y). The centre of head and thorax is L1 (cos θ, sin θ) away from it, that of
the abdomen L2 (cos φ, sin φ). The wings pull with the force F, at the point L3 (cos θ, sin θ), in
the direction α against the thorax; muscles turn the thorax against the abdomen with the torque τ.
From the Lagrangian of both bodies, with C and S for cosine and sine,

.. math::
    M \ddot q = r, \qquad q = (x, y, θ, φ), \qquad M = \begin{pmatrix}
        m & 0 & -L_1 m_1 Sθ & -L_2 m_2 Sφ \\
        0 & m & L_1 m_1 Cθ & L_2 m_2 Cφ \\
        -L_1 m_1 Sθ & L_1 m_1 Cθ & I_1 + L_1^2 m_1 & 0 \\
        -L_2 m_2 Sφ & L_2 m_2 Cφ & 0 & I_2 + L_2^2 m_2 \end{pmatrix}

.. math::
    r_1 &= F \cos(α + θ) - R_x + L_1 m_1 Cθ \dot θ^2 + L_2 m_2 Cφ \dot φ^2 \\
    r_2 &= F \sin(α + θ) - m g - R_y + L_1 m_1 Sθ \dot θ^2 + L_2 m_2 Sφ \dot φ^2 \\
    r_3 &= T - g L_1 m_1 Cθ + F L_3 \sin α \\
    r_4 &= -T - g L_2 m_2 Cφ \\
    T &= τ + K (φ - θ - π - β) + c (\dot φ - \dot θ)

with the drag R of `drag`. Units are CGS: cm, g, s, dyn.

A state is (x, y, θ, φ, ẋ, ẏ, θ̇, φ̇) and controls are (F, α, τ), always in this order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import InputError
from elegans.replications.hawkmoth.body import Moth

Array = NDArray[np.float64]

STATE = ("x", "y", "theta", "phi", "xdot", "ydot", "thetadot", "phidot")
"""Names of the state's components, in cm, rad, cm/s and rad/s."""

CONTROLS = ("F", "alpha", "tau")
"""Names of the controls: dyn, rad, dyn cm."""


def derivative(moth: Moth, state: ArrayLike, controls: ArrayLike) -> Array:
    """Return the time derivative of the state, (..., 8): velocities, then accelerations.

    Parameters
    ----------
    moth
        The body.
    state
        (..., 8), in the order of `STATE`.
    controls
        (..., 3), in the order of `CONTROLS`; leading axes are broadcast against the state's.

    Raises
    ------
    InputError
        When the last axes are not 8 and 3, or the leading axes do not fit together.

    Examples
    --------
    A moth that falls from rest with its abdomen in line does not turn:

    >>> import numpy as np
    >>> derivative(Moth(), [0, 0, 0, np.pi, 0, 0, 0, 0], [0, 0, 0]).round(9) + 0.0
    array([   0.,    0.,    0.,    0.,    0., -980.,    0.,    0.])
    """
    state, controls = broadcast(state, controls)
    return np.concatenate([state[..., 4:], acceleration(moth, state, controls)], axis=-1)


def acceleration(moth: Moth, state: ArrayLike, controls: ArrayLike) -> Array:
    """Return q'' = M⁻¹ r, (..., 4), in cm/s² and rad/s²; arguments as for `derivative`.

    Examples
    --------
    Muscles turn thorax and abdomen against each other, without a push on the whole:

    >>> import numpy as np
    >>> moth = Moth(gravity=0)
    >>> x, y, theta, phi = acceleration(moth, [0, 0, 0, np.pi, 0, 0, 0, 0], [0, 0, 1000])
    >>> bool(theta > 0 > phi), abs(float(x)) < 1e-9
    (True, True)
    """
    state, controls = broadcast(state, controls)
    M, r = mass_matrix(moth, state), forces(moth, state, controls)
    solved: Array = np.linalg.solve(M, r[..., None])[..., 0].astype(np.float64, copy=False)
    return solved


def mass_matrix(moth: Moth, state: ArrayLike) -> Array:
    """Return M, (..., 4, 4), symmetric and positive definite; see the head of this module."""
    state = _last_axis("state", state, len(STATE))
    theta, phi = state[..., 2], state[..., 3]
    first, second = moth.L1 * moth.m1, moth.L2 * moth.m2
    M = np.zeros((*state.shape[:-1], 4, 4))
    M[..., 0, 0] = M[..., 1, 1] = moth.mass
    M[..., 0, 2] = M[..., 2, 0] = -first * np.sin(theta)
    M[..., 1, 2] = M[..., 2, 1] = first * np.cos(theta)
    M[..., 0, 3] = M[..., 3, 0] = -second * np.sin(phi)
    M[..., 1, 3] = M[..., 3, 1] = second * np.cos(phi)
    M[..., 2, 2] = moth.I1 + moth.L1 * first
    M[..., 3, 3] = moth.I2 + moth.L2 * second
    return M


def forces(moth: Moth, state: ArrayLike, controls: ArrayLike) -> Array:
    """Return r, (..., 4), in dyn and dyn cm; see the head of this module."""
    state, controls = broadcast(state, controls)
    _, _, theta, phi, _, _, thetadot, phidot = np.moveaxis(state, -1, 0)
    F, alpha, tau = np.moveaxis(controls, -1, 0)
    first, second = moth.L1 * moth.m1, moth.L2 * moth.m2
    against = drag(moth, state[..., 4:6])
    torque = tau + moth.damping * (phidot - thetadot)
    torque = torque + moth.stiffness * (phi - theta - np.pi - moth.rest_angle)
    return np.stack(
        [
            F * np.cos(alpha + theta)
            - against[..., 0]
            + first * np.cos(theta) * thetadot**2
            + second * np.cos(phi) * phidot**2,
            F * np.sin(alpha + theta)
            - moth.mass * moth.gravity
            - against[..., 1]
            + first * np.sin(theta) * thetadot**2
            + second * np.sin(phi) * phidot**2,
            torque - moth.gravity * first * np.cos(theta) + F * moth.L3 * np.sin(alpha),
            -torque - moth.gravity * second * np.cos(phi),
        ],
        axis=-1,
    )


def drag(moth: Moth, velocity: ArrayLike) -> Array:
    r"""Return the drag of both bodies against the velocity of the hinge, (..., 2), in dyn.

    .. math::
        R_x = D \, |\dot x| \dot x, \quad R_y = D \, |\dot y| \dot y, \quad
        D = \sum_b \tfrac{1}{2} ϱ\, π b^2 \Big( \frac{24}{Re_b} + \frac{6}{1 + \sqrt{Re_b}}
            + 0.4 \Big), \quad Re_b = \frac{2 b ϱ\, v}{μ}, \quad v^2 = \dot x^2 + \dot y^2

    The coefficient is that of a sphere at the speed v, and the square is taken of each component,
    as published, so that the drag across the axes is less than along them, by a factor of up to
    √2. Where v = 0 it is 0; the term 24/Re grows there without bound, its product does not.

    Parameters
    ----------
    moth
        The body, with its air.
    velocity
        The components ẋ and ẏ, (..., 2), in cm/s.

    Examples
    --------
    >>> drag(Moth(), [[0, 0], [-1500, 0], [900, 1200]]).round(1).tolist()
    [[0.0, 0.0], [-1542.3, 0.0], [555.2, 987.1]]

    References
    ----------
    White, "Viscous Fluid Flow", McGraw-Hill, for the fit of a sphere's coefficient, up to Re 2e5.
    The published simulator is github.com/oliviatessa/MothPruning.
    """
    velocity = np.asarray(velocity, np.float64)
    speed = np.hypot(velocity[..., 0], velocity[..., 1])[..., None]  # (..., 1)
    size = np.abs(velocity)
    share = np.divide(size, speed, out=np.zeros_like(size), where=speed > 0)
    total = np.zeros_like(velocity)
    for b in (moth.b1, moth.b2):
        rate = 2 * moth.air_density * b / moth.air_viscosity if moth.air_viscosity > 0 else 0.0
        fit = 6 / (1 + np.sqrt(rate * speed)) + 0.4
        # 24/Re, with the area before it, is 6 π μ b / v: the law of Stokes.
        total += 6 * np.pi * moth.air_viscosity * b * share * velocity
        total += 0.5 * moth.air_density * np.pi * b**2 * fit * size * velocity
    return total


def energy(moth: Moth, state: ArrayLike) -> Array:
    """Return kinetic and potential energy with that of the spring, (...,), in erg.

    It is constant in vacuum, without damping and controls.

    Examples
    --------
    The weight of 2.639 g lifted by 10 cm, with the spring at rest:

    >>> import numpy as np
    >>> round(float(energy(Moth(), [0, 10, 0, np.pi, 0, 0, 0, 0])))
    25862
    """
    state = _last_axis("state", state, len(STATE))
    y, theta, phi, velocity = state[..., 1], state[..., 2], state[..., 3], state[..., 4:]
    motion = 0.5 * np.einsum("...i,...ij,...j->...", velocity, mass_matrix(moth, state), velocity)
    height = moth.mass * y + moth.L1 * moth.m1 * np.sin(theta) + moth.L2 * moth.m2 * np.sin(phi)
    strain = phi - theta - np.pi - moth.rest_angle
    total: Array = motion + moth.gravity * height + 0.5 * moth.stiffness * strain**2
    return total


def broadcast(state: ArrayLike, controls: ArrayLike) -> tuple[Array, Array]:
    """Return states (..., 8) and controls (..., 3) with the same leading axes.

    Raises
    ------
    InputError
        As for `derivative`.
    """
    state, controls = _last_axis("state", state, 8), _last_axis("controls", controls, 3)
    try:
        leading = np.broadcast_shapes(state.shape[:-1], controls.shape[:-1])
    except ValueError as error:
        raise InputError(
            f"got states of shape {state.shape} and controls of shape {controls.shape}, expected "
            "leading axes that fit together; give one control a trajectory"
        ) from error
    return np.broadcast_to(state, (*leading, 8)), np.broadcast_to(controls, (*leading, 3))


def _last_axis(name: str, values: Any, length: int) -> Array:
    array = np.asarray(values, np.float64)
    if array.ndim == 0 or array.shape[-1] != length:
        order = STATE if length == len(STATE) else CONTROLS
        raise InputError(
            f"got {name} of shape {array.shape}, expected (..., {length}) in the order "
            f"{', '.join(order)}"
        )
    return array
