r"""Disturbances of a flying moth: gusts and sensor noise.

A gust is a velocity of the air. It acts through the drag of the body, which asks for the speed
against the air; the published equations know still air only, but they are the same in all frames
that move uniformly. So `simulate_in_air` flies the moth in the frame of the air and goes back to
that of the ground: exact where the air's velocity is constant, as it is here for one wing stroke.
The drag of flapping wings is not a part of the equations, so gusts push this moth less than an
animal of its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import InputError
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.simulation import simulate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gusts:
    r"""Air whose velocity wanders about a mean wind: an Ornstein-Uhlenbeck process.

    Both components, independent of each other, have the stationary deviation σ and forget within
    the time T:

    .. math:: w_{t+h} = \bar w + e^{-h/T} (w_t - \bar w) + σ \sqrt{1 - e^{-2h/T}}\, ξ_t

    with standard normal ξ. Its spectrum is that of Dryden's longitudinal gusts; T is the length
    of an eddy divided by the speed at which it is carried past.

    Parameters
    ----------
    strength
        σ, in cm/s, at least 0.
    time
        T, in s, above 0.
    wind
        The mean, horizontal and upwards, in cm/s.

    Raises
    ------
    InputError
        A number is out of range.

    Examples
    --------
    >>> Gusts(strength=150.0).air(3, 0.02, np.random.default_rng(0)).shape
    (3, 2)
    >>> Gusts(strength=0.0, wind=(50.0, 0.0)).air(2, 0.02, np.random.default_rng(0)).tolist()
    [[50.0, 0.0], [50.0, 0.0]]

    References
    ----------
    MIL-F-8785C, "Flying qualities of piloted airplanes", 1980, section 3.7.1.2: the Dryden form.
    """

    strength: float = 150.0
    time: float = 0.3
    wind: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        _check_at_least_zero("strength of gusts", self.strength, "cm/s")
        if not (self.time > 0 and math.isfinite(self.time)):
            raise InputError(f"got time = {self.time}, expected seconds above 0; use 0.3")
        if len(self.wind) != 2 or not all(math.isfinite(speed) for speed in self.wind):
            raise InputError(
                f"got wind = {self.wind}, expected two finite speeds in cm/s, horizontal and "
                "upwards; use (0.0, 0.0)"
            )

    def air(self, strokes: int, period: float, generator: np.random.Generator) -> Array:
        """Return the velocity of the air in each stroke, (stroke, 2), in cm/s.

        Parameters
        ----------
        strokes
            How many, at least 0.
        period
            Duration of a stroke in s.
        generator
            Draws the gusts; a longer series begins with the shorter one.
        """
        kept = math.exp(-period / self.time)
        fresh = math.sqrt(1 - kept**2)
        velocity = generator.standard_normal((strokes, 2))
        for stroke in range(1, strokes):
            velocity[stroke] = kept * velocity[stroke - 1] + fresh * velocity[stroke]
        return np.asarray(self.wind) + self.strength * velocity


@dataclass(frozen=True)
class Sensors:
    """Senses by which a moth measures its deviation from its goal, with their accuracy.

    Noise is normal and independent from stroke to stroke.

    Parameters
    ----------
    position
        Deviation of the noise of x and y, in cm.
    angle
        That of θ and φ, in rad.
    velocity
        That of both velocities, in cm/s.
    rate
        That of both angular velocities, in rad/s.
    full
        Whether the four velocities are sensed at all.

    Raises
    ------
    InputError
        A deviation is negative or not finite.

    Examples
    --------
    >>> Sensors().size, Sensors(full=False).size, Sensors().noise.tolist()[:4]
    (8, 4, [0.1, 0.1, 0.03, 0.03])
    """

    position: float = 0.1
    angle: float = 0.03
    velocity: float = 5.0
    rate: float = 1.0
    full: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "full":
                _check_at_least_zero(f"noise of {field.name}", getattr(self, field.name), "it")

    @classmethod
    def exact(cls, full: bool = True) -> Sensors:
        """Return sensors without noise."""
        return cls(0.0, 0.0, 0.0, 0.0, full)

    @property
    def size(self) -> int:
        """The number of things sensed: 8, in the order of the state, or the first 4."""
        return 8 if self.full else 4

    @property
    def noise(self) -> Array:
        """The deviations of the noise, (size,)."""
        pairs = (self.position, self.angle, self.velocity, self.rate)
        return np.repeat(pairs, 2)[: self.size]

    def errors(self, strokes: int, generator: np.random.Generator) -> Array:
        """Return the noise of each stroke, (stroke, size).

        The generator draws it: that of a longer series begins with the shorter one, and sensors
        without velocities have the same noise in what they sense.
        """
        drawn = generator.standard_normal((strokes, 8))
        return drawn[:, : self.size] * self.noise


def simulate_in_air(
    moth: Moth, states: ArrayLike, controls: ArrayLike, air: ArrayLike, duration: float
) -> Array:
    """Return the states (..., 8) of moths after `duration` in air that moves uniformly.

    Parameters
    ----------
    moth, states, controls, duration
        As for `elegans.replications.hawkmoth.simulate`.
    air
        Velocity of the air, (..., 2), in cm/s.

    Raises
    ------
    InputError
        Shapes do not fit or numbers are not finite.
    SolveError
        The integration failed.

    Examples
    --------
    Without a moth's own force, wind takes it along, slowly: its drag is small.

    >>> floating = Moth(gravity=0.0)
    >>> still = np.array([0, 0, 0, np.pi, 0, 0, 0, 0.0])
    >>> simulate_in_air(floating, still, np.zeros(3), [300.0, 0.0], 0.02).round(4).tolist()[:2]
    [0.0054, 0.0]
    """
    states = np.array(states, np.float64)
    air = np.asarray(air, np.float64)
    if states.shape[-1:] != (8,) or air.shape[-1:] != (2,):
        raise InputError(
            f"got states of shape {states.shape} and air of shape {air.shape}, expected (..., 8) "
            "and (..., 2); give one velocity of the air a moth"
        )
    states[..., 4:6] -= air
    after = np.array(simulate(moth, states, controls, duration))
    after[..., 4:6] += air
    after[..., :2] += duration * air
    return after


def _check_at_least_zero(name: str, value: Any, unit: str) -> None:
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise InputError(
            f"got a {name} of {value}, expected a finite number of at least 0; "
            + ("use 0 for still air" if unit == "cm/s" else "use 0 for exact sensors")
        )
