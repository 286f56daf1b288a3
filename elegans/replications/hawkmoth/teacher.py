r"""The teacher of hovering: the moth's equilibrium and the best linear feedback about it.

Whoever steers a moth chooses the *thrust* of a wing stroke: (F cos α, F sin α, τ), the force of
the wings along the thorax and across it, and the torque in the hinge. It is (F, α, τ) in
coordinates in which small changes are small and a force of 0 has no direction. Thrust is held
for one wing stroke, and so are the controls that follow from it.

Only the place of the hinge leaves the equations of motion alone, so one equilibrium and one gain
serve a moth anywhere; the heading does not, because weight has a direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from elegans.control.plants import LinearPlant
from elegans.errors import InputError
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.dynamics import mass_matrix
from elegans.replications.hawkmoth.simulation import DURATION
from elegans.replications.hawkmoth.trajectories import Ranges

Array = NDArray[np.float64]

STROKE = DURATION
"""Duration of a wing stroke in s, for which controls are held."""

MAX_FORCE = Ranges.F[1]
"""Greatest force of the wings in dyn: 17 times the weight of the moth."""

MAX_TORQUE = Ranges.tau[1]
"""Greatest torque in the hinge in dyn cm, to either side."""

PITCH = math.pi / 4
"""Angle of the thorax while hovering, in rad."""

# Costs of the squares of a cm, a rad of thorax and abdomen, a cm/s, a rad/s of both; and what of
# thrust costs as much as a cm: a share of the weight, along and across, and a share of the
# spring's torque at 1 rad.
STATE_COST = (1.0, 1.0, 100.0, 20.0, 0.002, 0.002, 0.1, 0.02)
THRUST_UNIT = (0.4, 0.4, 0.9)


@dataclass(frozen=True, eq=False)
class Hover:
    """A moth that stays where it is.

    Parameters
    ----------
    moth
        The body.
    state
        The equilibrium (8,), with the hinge at the origin and all velocities 0.
    thrust
        What holds it there, (3,).

    Examples
    --------
    >>> from elegans.replications.hawkmoth.dynamics import acceleration
    >>> hover = Hover.of(Moth())
    >>> bool(np.abs(acceleration(hover.moth, hover.state, hover.controls)).max() < 1e-9)
    True
    >>> round(float(hover.controls[0])), round(math.degrees(hover.state[3]))
    (2586, 285)
    """

    moth: Moth
    state: Array
    thrust: Array

    @classmethod
    def of(cls, moth: Moth | None = None, pitch: float = PITCH) -> Hover:
        r"""Return the equilibrium with a thorax at the angle `pitch`.

        Without motion, the equations of motion ask for a force that is
        vertical and bears the weight, F = m g and α = π/2 - θ. The sum of the equations of both
        angles puts the centre of mass under the point where it acts, and that of the abdomen
        leaves the torque:

        .. math::
            L_2 m_2 \cos φ = (L_3 m - L_1 m_1) \cos θ, \qquad
            τ = -g L_2 m_2 \cos φ - K (φ - θ - π - β).

        Of the two abdomens the one is taken that hangs down.

        Parameters
        ----------
        moth
            The body; the published one by default.
        pitch
            θ in rad, between 0 and π: the thorax points upwards.

        Raises
        ------
        InputError
            There is no such equilibrium, or it needs more than the wings or the hinge can give.
        """
        moth = Moth() if moth is None else moth
        if not 0 < pitch < math.pi:
            raise InputError(
                f"got pitch = {pitch}, expected an angle between 0 and π, at which the thorax "
                f"points upwards; use {PITCH:.4f}"
            )
        weight = moth.mass * moth.gravity
        lever = (moth.L3 * moth.mass - moth.L1 * moth.m1) * math.cos(pitch)
        if abs(lever) > moth.L2 * moth.m2:
            raise InputError(
                f"got pitch = {pitch:.4f}, at which no angle of the abdomen brings the centre of "
                "mass under the wings, expected a steeper one; use π/2"
            )
        phi = 2 * math.pi - math.acos(lever / (moth.L2 * moth.m2))
        strain = phi - pitch - math.pi - moth.rest_angle
        tau = -moth.gravity * lever - moth.stiffness * strain
        if weight > MAX_FORCE or abs(tau) > MAX_TORQUE:
            raise InputError(
                f"got a moth that needs {weight:.0f} dyn and {tau:.0f} dyn cm to hover, expected "
                f"at most {MAX_FORCE:.0f} and {MAX_TORQUE:.0f}; take a smaller one, or a pitch "
                "nearer to π/2"
            )
        along, across = weight * math.sin(pitch), weight * math.cos(pitch)
        return cls(
            moth,
            np.array([0.0, 0.0, pitch, phi, 0.0, 0.0, 0.0, 0.0]),
            np.array([along, across, tau]),
        )

    @property
    def unit(self) -> Array:
        """The thrust that is counted as 1, (3,): `THRUST_UNIT` in dyn, dyn and dyn cm."""
        weight = self.moth.mass * self.moth.gravity
        return np.array(THRUST_UNIT) * (weight, weight, self.moth.stiffness)

    def plant(self, period: float = STROKE) -> LinearPlant:
        """Return the linear model about hovering, of deviations of the state (8,).

        A step is a period, for which the thrust is held; controls are the deviations of the thrust
        in `unit`, and the outputs x, y, θ and φ, in cm and rad.

        Examples
        --------
        >>> Hover.of().plant().sizes
        (8, 3, 4)
        """
        A, B = held(*linearise(self), period)
        return LinearPlant(A, B * self.unit, np.eye(4, 8))

    @property
    def controls(self) -> Array:
        """The controls (F, α, τ) that hold the moth, (3,)."""
        return controls_of(self.thrust)


def controls_of(thrust: ArrayLike) -> Array:
    """Return the controls (..., 3) of thrusts (..., 3), within what wings and hinge can give.

    A force above `MAX_FORCE` keeps its direction, α is from 0 to 2π, and τ is cut at
    ± `MAX_TORQUE`.

    Raises
    ------
    InputError
        The last axis is not 3.

    Examples
    --------
    >>> controls_of([0.0, 60_000.0, -2e5]).round(3).tolist()
    [44300.0, 1.571, -100000.0]
    """
    thrust = _last_axis("thrust", thrust, 3)
    along, across, tau = np.moveaxis(thrust, -1, 0)
    force = np.minimum(np.hypot(along, across), MAX_FORCE)
    alpha = np.arctan2(across, along) % (2 * np.pi)
    return np.stack([force, alpha, np.clip(tau, -MAX_TORQUE, MAX_TORQUE)], axis=-1)


def thrust_of(controls: ArrayLike) -> Array:
    """Return the thrusts (..., 3) of controls (..., 3).

    Examples
    --------
    >>> hover = Hover.of(Moth())
    >>> bool(np.allclose(thrust_of(hover.controls), hover.thrust))
    True
    """
    force, alpha, tau = np.moveaxis(_last_axis("controls", controls, 3), -1, 0)
    return np.stack([force * np.cos(alpha), force * np.sin(alpha), tau], axis=-1)


def linearise(hover: Hover) -> tuple[Array, Array]:
    r"""Return A (8, 8) and B (8, 3) of s' = A s + B u about hovering, by exact derivatives.

    s is the deviation from the state and u that from the thrust. At rest the accelerations are 0,
    so that the derivative of M q'' = r is M q'' = δr, with, at the equilibrium,

    .. math::
        δr_1 &= -m g\, δθ - k\, δ\dot x + \cos θ\, u_1 - \sin θ\, u_2 \\
        δr_2 &= -k\, δ\dot y + \sin θ\, u_1 + \cos θ\, u_2 \\
        δr_3 &= δT + g L_1 m_1 \sin θ\, δθ + L_3 u_2 \\
        δr_4 &= -δT + g L_2 m_2 \sin φ\, δφ \\
        δT &= u_3 + K (δφ - δθ) + c (δ\dot φ - δ\dot θ)

    and k = 6πμ (b1 + b2), which Stokes found, the slope of the drag at rest along either axis.
    Between the axes the published drag is up to √2 smaller and so has no derivative at rest; k / m
    is 0.002 per second and neither matters.
    """
    moth = hover.moth
    theta, phi = hover.state[2], hover.state[3]
    stokes = 6 * np.pi * moth.air_viscosity * (moth.b1 + moth.b2)
    hinge = np.array([0.0, 0.0, 1.0, -1.0])  # the torque T turns both bodies against each other
    by_place = np.zeros((4, 4))  # row: equation, column: x, y, θ, φ
    by_place[0, 2] = -moth.mass * moth.gravity
    by_place[2, 2] = moth.gravity * moth.L1 * moth.m1 * np.sin(theta)
    by_place[3, 3] = moth.gravity * moth.L2 * moth.m2 * np.sin(phi)
    by_place -= moth.stiffness * np.outer(hinge, hinge)
    by_speed = -np.diag([stokes, stokes, 0.0, 0.0]) - moth.damping * np.outer(hinge, hinge)
    by_thrust = np.array(
        [
            [np.cos(theta), -np.sin(theta), 0.0],
            [np.sin(theta), np.cos(theta), 0.0],
            [0.0, moth.L3, 1.0],
            [0.0, 0.0, -1.0],
        ]
    )
    M = mass_matrix(moth, hover.state)
    A, B = np.zeros((8, 8)), np.zeros((8, 3))
    A[:4, 4:] = np.eye(4)
    A[4:] = np.linalg.solve(M, np.hstack([by_place, by_speed]))
    B[4:] = np.linalg.solve(M, by_thrust)
    return A, B


def held(A: Array, B: Array, period: float) -> tuple[Array, Array]:
    r"""Return A and B of the step over `period` seconds with a thrust that is held.

    .. math:: \begin{pmatrix} A_h & B_h \\ 0 & 1 \end{pmatrix}
        = \exp \begin{pmatrix} h A & h B \\ 0 & 0 \end{pmatrix}

    Raises
    ------
    InputError
        `period` is not a finite number above 0.

    Examples
    --------
    A mass without friction, pushed for half a second:

    >>> A, B = held(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [1.0]]), 0.5)
    >>> A.tolist(), B.tolist()
    ([[1.0, 0.5], [0.0, 1.0]], [[0.125], [0.5]])
    """
    if not (period > 0 and math.isfinite(period)):
        raise InputError(
            f"got period = {period}, expected a finite duration above 0 s; use {STROKE}"
        )
    states, controls = B.shape
    whole = np.zeros((states + controls, states + controls))
    whole[:states] = period * np.hstack([A, B])
    step: Array = expm(whole)
    return step[:states, :states], step[:states, states:]


@dataclass(frozen=True, eq=False)
class Teacher:
    """Hovers by the linear quadratic regulator; it needs to see the whole state.

    Parameters
    ----------
    hover
        Where it hovers.
    gain
        K of the thrust u = -K s against the deviation s from hovering, (3, 8).
    period
        Duration for which a thrust is held, in s.

    Examples
    --------
    >>> teacher = Teacher.of(Hover.of(Moth()))
    >>> teacher.radius < 0.9
    True
    >>> bool(np.allclose(teacher(np.zeros((2, 8)))[0], teacher.hover.controls))
    True
    """

    hover: Hover
    gain: Array
    period: float = STROKE

    @classmethod
    def of(cls, hover: Hover | None = None, period: float = STROKE) -> Teacher:
        """Return the teacher with the gain that is optimal for `STATE_COST` and `THRUST_UNIT`.

        Raises
        ------
        InputError
            The period is not above 0.
        """
        hover = Hover.of() if hover is None else hover
        # In units of the thrust's costs: the numbers of dyn would spoil the regulator's rounding.
        gain = hover.plant(period).feedback(STATE_COST, np.ones(3))
        return cls(hover, hover.unit[:, None] * gain, period)

    @property
    def radius(self) -> float:
        """The spectral radius of the linear model in closed loop; it hovers where that is below 1.

        Examples
        --------
        >>> Teacher(Hover.of(Moth()), np.zeros((3, 8))).radius > 1
        True
        """
        A, B = held(*linearise(self.hover), self.period)
        return float(np.abs(np.linalg.eigvals(A - B @ self.gain)).max())

    def thrust(self, deviations: NDArray[Any]) -> Array:
        """Return the thrust (..., 3) for deviations (..., 8) of the state from hovering."""
        return self.hover.thrust - _last_axis("deviations", deviations, 8) @ self.gain.T

    def __call__(self, observations: NDArray[Any]) -> Array:
        """Return the controls (..., 3) for observed deviations (..., 8)."""
        return controls_of(self.thrust(observations))


def _last_axis(name: str, values: ArrayLike, length: int) -> Array:
    array = np.asarray(values, np.float64)
    if array.ndim == 0 or array.shape[-1] != length:
        raise InputError(
            f"got {name} of shape {array.shape}, expected (..., {length}); "
            + (
                "the teacher needs the whole state: fly it with full sensors"
                if length == 8
                else "stack the three numbers on the last axis"
            )
        )
    return array
