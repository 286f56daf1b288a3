"""The cart and pole as a control engineer sees them: linear model, optimal feedback, limits.

Every physical number is read from Gymnasium's environment, so that there is one source for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.control.lqr import lqr_gain
from elegans.data.sequences import Array
from elegans.errors import InputError

# Costs of a metre, a metre per second, a radian and a radian per second; and of a newton. They
# keep the cart within 0.7 m of the middle even when 30 % of the actions are random.
STATE_COST = (1.0, 1.0, 10.0, 1.0)
FORCE_COST = 0.1

# Newtons that a command of 1 stands for. With random actions mixed in, the expert asks for more
# in 3 % of the steps; in units of the simulator's 10 N most commands would be near 0.
COMMAND_FORCE = 5.0


@dataclass(frozen=True, eq=False)
class CartPolePlant:
    """The linear model about the upright pole at rest, and the expert that follows from it.

    States are (cart position in m, cart velocity in m/s, pole angle in rad, pole angular velocity
    in rad/s); angles grow clockwise and forces push to the right, as in the simulator.

    Parameters
    ----------
    dynamics, control
        A (4, 4) and B (4, 1) of x[t+1] = A x[t] + B u[t], with the force u in N.
    gain
        K of the expert's force u = -K x, shape (4,).
    limits
        Position in m and angle in rad beyond which an episode ends to either side, shape (2,).
    """

    dynamics: Array
    control: Array
    gain: Array
    limits: Array

    @classmethod
    def of(cls, environment: Any) -> CartPolePlant:
        """Return the plant of a Gymnasium CartPole environment.

        Raises
        ------
        InputError
            When the environment does not integrate by the explicit Euler rule of CartPole-v1.
        """
        physics = environment.unwrapped
        if physics.kinematics_integrator != "euler":
            raise InputError(
                f"got a simulator with the integrator {physics.kinematics_integrator!r}, expected "
                "'euler'; make it with gymnasium.make('CartPole-v1')"
            )
        dynamics, control = linearise(
            gravity=physics.gravity,
            cart_mass=physics.masscart,
            pole_mass=physics.masspole,
            half_length=physics.length,
            step=physics.tau,
        )
        gain, _ = lqr_gain(dynamics, control, np.diag(STATE_COST), np.array([[FORCE_COST]]))
        limits = np.array([physics.x_threshold, physics.theta_threshold_radians])
        return cls(dynamics, control, gain[0], limits)

    def command(self, states: NDArray[Any]) -> Array:
        """Return the expert's command for states (..., 4): its force / 5 N, clipped to ±1."""
        return np.clip(-(states @ self.gain) / COMMAND_FORCE, -1.0, 1.0)

    def observe(self, states: NDArray[Any], full: bool) -> Array:
        """Return what a policy sees of states (..., 4): all with `full`, or position and angle."""
        return states if full else states[..., [0, 2]]


def linearise(
    *, gravity: float, cart_mass: float, pole_mass: float, half_length: float, step: float
) -> tuple[Array, Array]:
    """Return A (4, 4) and B (4, 1) of one control step about the upright pole at rest.

    The equations of motion of the reference, to first order in the state,

        angle'' = (g angle - u / M) / (l (4/3 - m / M))
        position'' = (u - m l angle'') / M

    with total mass M, pole mass m and half-length l, in one explicit Euler step: A = 1 + step f_x
    and B = step f_u. This is the exact derivative of the simulator's step.

    Parameters
    ----------
    gravity
        In m/s².
    cart_mass, pole_mass
        In kg.
    half_length
        From the joint to the middle of the pole, in m.
    step
        Duration of a control step, in s.

    Examples
    --------
    >>> A, B = linearise(gravity=9.8, cart_mass=1, pole_mass=0.1, half_length=0.5, step=0.02)
    >>> A[3].round(4).tolist(), B[:, 0].round(4).tolist()
    ([0.0, 0.0, 0.3155, 1.0], [0.0, 0.0195, 0.0, -0.0293])

    References
    ----------
    Florian, "Correct equations for the dynamics of the cart-pole system", 2007, without friction.
    """
    mass = cart_mass + pole_mass
    leverage = half_length * (4.0 / 3.0 - pole_mass / mass)
    turn = np.array([0.0, 0.0, gravity / leverage, 0.0])  # angle'' per unit of each state
    turn_by_force = -1.0 / (mass * leverage)
    coupling = pole_mass * half_length / mass
    slope = np.array([[0.0, 1.0, 0.0, 0.0], -coupling * turn, [0.0, 0.0, 0.0, 1.0], turn])
    by_force = np.array([0.0, 1.0 / mass - coupling * turn_by_force, 0.0, turn_by_force])
    return np.eye(4) + step * slope, step * by_force[:, None]
