"""Flights of hawkmoths in closed loop: a pilot senses, the wings answer, the air disturbs.

Once a wing stroke, a pilot is shown how far a moth is from hovering over its goal, and chooses
the controls (F, α, τ) of the stroke. All moths fly in lock-step, so that a network is called once
a stroke with a batch. Flights become `lessons` when a teacher says what it would have done; those
of the circuit itself, so labelled, teach it to recover from its own mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.data.sequences import Array, Sequence
from elegans.errors import InputError
from elegans.replications.hawkmoth.dynamics import CONTROLS
from elegans.replications.hawkmoth.gusts import Gusts, Sensors, simulate_in_air
from elegans.replications.hawkmoth.teacher import (
    MAX_FORCE,
    MAX_TORQUE,
    STROKE,
    Hover,
    Teacher,
    controls_of,
    thrust_of,
)

STARTS = (3.0, 3.0, 0.3, 0.3, 20.0, 20.0, 3.0, 3.0)
"""Largest deviations from hovering at the start: cm, rad, cm/s, rad/s."""

BOX = 15.0
"""A moth further than this from its goal, in cm to any side, is lost."""

STROKES = 150

Pilot = Callable[[NDArray[np.float64]], Any]
"""A `Controller` that returns controls (episode, 3) for observations (episode, size) of a stroke.

A plain function may do without ``reset(batch)``, which is called before the flight. Rows of lost
moths repeat their last observation; what is commanded there is ignored.
"""

_START, _AIR, _SENSES = 0, 1, 2  # the random streams of a moth


@dataclass(frozen=True, eq=False)
class Flights:
    """Flights of moths under a pilot, with their ends.

    Parameters
    ----------
    hover
        What they should do.
    states
        (episode, stroke + 1, 8): at the beginning, then after each stroke. A lost moth stays
        where it was lost.
    observations
        What the pilot saw before each stroke, (episode, stroke, size).
    controls
        What the wings did, (episode, stroke, 3), within the published ranges.
    air
        Velocity of the air, (episode, stroke, 2), in cm/s.
    goals
        Where the moths should have been, (stroke + 1, 2), in cm.
    flown
        Strokes that each moth flew, (episode,); the last one of a lost moth led out of its box.
    survived
        Whether each moth stayed in its box for the whole flight, (episode,).
    period
        Duration of a stroke in s.
    """

    hover: Hover
    states: Array
    observations: Array
    controls: Array
    air: Array
    goals: Array
    flown: NDArray[np.int64]
    survived: NDArray[np.bool_]
    period: float

    @property
    def deviations(self) -> Array:
        """Deviation of the states from hovering over the goal, (episode, stroke + 1, 8)."""
        return self.states - _goal_states(self.hover, self.goals, self.period)

    @property
    def errors(self) -> Array:
        """Distance from the goal, (episode, stroke + 1), in cm."""
        return np.hypot(self.deviations[..., 0], self.deviations[..., 1])

    @property
    def survival(self) -> float:
        """The share of moths that stayed in their boxes."""
        return float(self.survived.mean())

    def rms_error(self, after: float = 0.0) -> float:
        """Return the root mean square of the distance from the goal, in cm.

        Over all moths and over the time from `after` seconds on. A lost moth counts with the
        distance at which it was lost, at least the size of its box, until the end.

        Raises
        ------
        InputError
            No flight lasts so long.
        """
        first = int(np.ceil(after / self.period - 1e-9))
        if not 0 <= first < self.errors.shape[1]:
            raise InputError(
                f"got after = {after}, expected seconds from 0 to "
                f"{self.controls.shape[1] * self.period:g}, the length of the flights"
            )
        return float(np.sqrt(np.square(self.errors[:, first:]).mean()))


def fly(
    pilot: Pilot,
    episodes: int = 20,
    seed: int | tuple[int, ...] = 0,
    *,
    hover: Hover | None = None,
    strokes: int = STROKES,
    period: float = STROKE,
    gusts: Gusts | None = None,
    sensors: Sensors | None = None,
    goals: ArrayLike = (0.0, 0.0),
    starts: ArrayLike | None = None,
    box: float = BOX,
) -> Flights:
    """Let a pilot fly moths in the simulator, against gusts and noise.

    Parameters
    ----------
    pilot
        See `Pilot`: a formula, a `Teacher`, or a circuit in a `CircuitPilot`. Controls are cut to
        the published ranges: F from 0 to `MAX_FORCE`, τ within ± `MAX_TORQUE`.
    episodes
        Number of moths, at least 1.
    seed
        One number or several, at least 0; draws starts, gusts and noise. Each moth has streams of
        its own: the first ones of more moths, or of longer flights, are the same.
    hover
        The moth and its equilibrium; the published moth by default.
    strokes
        Wing strokes of a flight, at least 1.
    period
        Duration of a stroke in s.
    gusts, sensors
        What disturbs; ``Gusts()`` and ``Sensors()`` by default. ``Gusts(0)`` is still air and
        ``Sensors.exact()`` has no noise.
    goals
        Where the moths should be, in cm: a point (2,), or (strokes + 1, 2) for one that moves.
        Then velocities, too, are sensed against those of the goal.
    starts
        Deviations from hovering over the first goal at which the moths begin, (8,) or
        (episode, 8); by default uniform within ± `STARTS`.
    box
        How far a moth may be from its goal to any side, in cm; then it is lost.

    Raises
    ------
    InputError
        A number or shape is out of range, or the pilot answers with the wrong shape or with a
        number that is not finite.
    SolveError
        The integration failed.

    Examples
    --------
    The optimal feedback hovers exactly in still air; without feedback no moth stays:

    >>> still = {"gusts": Gusts(0.0), "sensors": Sensors.exact()}
    >>> teacher = Teacher.of()
    >>> flights = fly(teacher, episodes=5, **still)
    >>> flights.survival, bool(flights.errors[:, -1].max() < 1e-4)
    (1.0, True)
    >>> fly(lambda observed: np.tile(teacher.hover.controls, (5, 1)), episodes=5, **still).survival
    0.0
    """
    hover = Hover.of() if hover is None else hover
    gusts = Gusts() if gusts is None else gusts
    sensors = Sensors() if sensors is None else sensors
    keys = _keys(episodes, seed)
    _check_sizes(strokes, period, box)
    goals = _checked_goals(goals, strokes)
    aims = _goal_states(hover, goals, period)
    air = np.stack([gusts.air(strokes, period, _stream(key, _AIR)) for key in keys])
    noise = np.stack([sensors.errors(strokes, _stream(key, _SENSES)) for key in keys])
    state = aims[0] + _checked_starts(starts, keys)  # (episode, 8)

    states = np.empty((episodes, strokes + 1, 8))
    observations = np.empty((episodes, strokes, sensors.size))
    controls = np.empty((episodes, strokes, 3))
    flown = np.zeros(episodes, np.int64)
    flying = _inside(box, state - aims[0])
    if not flying.all():
        raise InputError(
            f"got a start outside the box of ± {box} cm about the first goal for moth "
            f"{int(np.argmin(flying))}, expected one inside; raise box"
        )
    states[:, 0] = state
    reset = getattr(pilot, "reset", None)
    if reset is not None:
        reset(episodes)
    for stroke in range(strokes):
        seen = (state - aims[stroke])[:, : sensors.size] + noise[:, stroke]
        if stroke:
            seen[~flying] = observations[~flying, stroke - 1]
        observations[:, stroke] = seen
        controls[:, stroke] = _checked_controls(pilot(seen), episodes, stroke, flying)
        if flying.any():
            state = state.copy()
            state[flying] = simulate_in_air(
                hover.moth, state[flying], controls[flying, stroke], air[flying, stroke], period
            )
            flown[flying] += 1
            flying &= _inside(box, state - aims[stroke + 1])
        states[:, stroke + 1] = state
    return Flights(hover, states, observations, controls, air, goals, flown, flying, period)


def lessons(flights: Flights, teacher: Teacher) -> tuple[Sequence, ...]:
    """Return what a circuit can learn from flights of whatever pilot.

    Parameters
    ----------
    flights
        The flights.
    teacher
        Is shown the true states, without noise, so that a circuit learns to see through it.

    Returns
    -------
    tuple of Sequence
        One a moth, of the strokes before it was lost. Inputs are the observations, (time, size);
        targets the thrust of the teacher, (time, 3), as far as wings and hinge can give it;
        elapsed times are the period in s.

    Examples
    --------
    >>> teacher = Teacher.of()
    >>> one, two = lessons(fly(teacher, episodes=2, strokes=40), teacher)
    >>> one.inputs.shape, two.targets.shape
    ((40, 8), (40, 3))
    """
    thrusts = thrust_of(controls_of(teacher.thrust(flights.deviations[:, :-1])))
    return tuple(
        Sequence(
            f"moth-{episode}",
            flights.observations[episode, :flown],
            thrusts[episode, :flown],
            np.full(flown, flights.period),
        )
        for episode, flown in enumerate(flights.flown)
    )


def _goal_states(hover: Hover, goals: Array, period: float) -> Array:
    """Return the states that hover over the goals and move with them, (stroke + 1, 8)."""
    aims = np.tile(hover.state, (len(goals), 1))
    aims[:, :2] += goals
    aims[:-1, 4:6] += np.diff(goals, axis=0) / period
    aims[-1, 4:6] = aims[-2, 4:6]
    return aims


def _inside(box: float, deviations: Array) -> NDArray[np.bool_]:
    """Return which of `deviations` (episode, 8) are in the box, (episode,)."""
    inside: NDArray[np.bool_] = np.abs(deviations[:, :2]).max(axis=1) <= box
    return inside


def _keys(episodes: int, seed: int | tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return what names the random streams of each moth."""
    seeds = (seed,) if isinstance(seed, int) else tuple(seed)
    for name, value, least in (
        ("episodes", episodes, 1),
        ("seeds", len(seeds), 1),
        ("seed", min(seeds, default=0), 0),
    ):
        if value < least:
            raise InputError(
                f"got {name} = {value}, expected at least {least}; choose a larger number"
            )
    # NumPy fills short seeds with zeros, so that (1,) and (1, 0) would be the same.
    return [(len(seeds), *seeds, episode) for episode in range(episodes)]


def _check_sizes(strokes: int, period: float, box: float) -> None:
    if strokes < 1:
        raise InputError(f"got strokes = {strokes}, expected at least 1; use {STROKES}")
    if not (np.isfinite(period) and period > 0):
        raise InputError(f"got period = {period}, expected seconds above 0; use {STROKE}")
    if not (np.isfinite(box) and box > 0):
        raise InputError(f"got box = {box}, expected cm above 0; use {BOX}")


def _stream(key: tuple[int, ...], part: int) -> np.random.Generator:
    return np.random.default_rng((*key, part))


def _checked_goals(goals: ArrayLike, strokes: int) -> Array:
    goals = np.asarray(goals, np.float64)
    if goals.shape not in ((2,), (strokes + 1, 2)) or not np.isfinite(goals).all():
        raise InputError(
            f"got goals of shape {goals.shape}, expected finite places in cm, (2,) or "
            f"({strokes + 1}, 2): one at the beginning and one after each of {strokes} strokes"
        )
    return np.array(np.broadcast_to(goals, (strokes + 1, 2)))


def _checked_starts(starts: ArrayLike | None, keys: list[tuple[int, ...]]) -> Array:
    if starts is None:
        return np.stack([_stream(key, _START).uniform(-1, 1, 8) for key in keys]) * STARTS
    starts = np.asarray(starts, np.float64)
    if starts.shape not in ((8,), (len(keys), 8)) or not np.isfinite(starts).all():
        raise InputError(
            f"got starts of shape {starts.shape}, expected finite deviations from hovering, (8,) "
            f"or ({len(keys)}, 8); leave them out for random ones"
        )
    return np.array(np.broadcast_to(starts, (len(keys), 8)))


def _checked_controls(answer: Any, episodes: int, stroke: int, flying: NDArray[np.bool_]) -> Array:
    """Return the controls of a stroke, checked and within the published ranges."""
    controls = np.array(answer, np.float64)
    if controls.shape != (episodes, 3):
        raise InputError(
            f"got controls of shape {controls.shape} at stroke {stroke}, expected ({episodes}, 3): "
            f"{', '.join(CONTROLS)} of each moth; stack them on the last axis"
        )
    controls[~flying] = 0.0  # of no effect, and no reason to stop the flight of the others
    if not np.isfinite(controls).all():
        episode, which = np.argwhere(~np.isfinite(controls))[0]
        raise InputError(
            f"got {CONTROLS[which]} = {controls[episode, which]} for moth {episode} at "
            f"stroke {stroke}, expected a finite number; check that training did not diverge"
        )
    controls[:, 0] = np.clip(controls[:, 0], 0.0, MAX_FORCE)
    controls[:, 2] = np.clip(controls[:, 2], -MAX_TORQUE, MAX_TORQUE)
    return controls
