"""The picture of a flight: the path with the moth drawn to scale, and curves over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke

from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.flight import Flights
from elegans.reporting.figures import BLUE, GREEN, INK, MUTED, STYLE, VERMILION, new_figure

_EARLY = "#A9CBE4"
_THORAX, _ABDOMEN = "#7A4B2A", "#C08A5B"
_TIME = LinearSegmentedColormap.from_list("time", [_EARLY, BLUE, "#00304A"])
_APART = 1.15  # bodies stand at least so many lengths of a moth apart


def draw_flight(flights: Flights, episode: int = 0, title: str = "") -> Figure:
    """Draw one flight: the path of the hinge with the moth to scale, gusts, errors and controls.

    Along the path the moth is drawn where it has moved far enough from where it was drawn before,
    darker with time, with an arrow for the velocity of the air it flies in. At the right, over
    time: the distance from the goal, the velocity of the air, the force in weights with the torque
    in the hinge, and the angles of thorax and abdomen.

    Parameters
    ----------
    flights
        What `elegans.replications.hawkmoth.flight.fly` returned.
    episode
        Which of its moths.
    title
        Stands above the picture.

    Raises
    ------
    InputError
        There is no such moth.

    Examples
    --------
    >>> from elegans.replications.hawkmoth.flight import fly
    >>> from elegans.replications.hawkmoth.teacher import Teacher
    >>> figure = draw_flight(fly(Teacher.of(), episodes=1, strokes=50), title="a teacher")
    >>> len(figure.axes)
    5
    """
    if not 0 <= episode < len(flights.states):
        raise InputError(
            f"got episode {episode}, expected one from 0 to {len(flights.states) - 1}; these are "
            "the moths that flew"
        )
    flown = int(flights.flown[episode])
    with rc_context(STYLE):
        figure = new_figure(11.5, 7.0)
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.35, 1.0])[0]
        _draw_path(left.subplots(), flights, episode, flown)
        _draw_courses(right.subplots(4, sharex=True), flights, episode, flown)
        right.align_ylabels()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    return figure


def _draw_path(axes: Axes, flights: Flights, episode: int, flown: int) -> None:
    moth, states = flights.hover.moth, flights.states[episode, : flown + 1]
    goals = flights.goals[: flown + 1]
    path = states[:, :2]
    if np.ptp(goals, axis=0).max() > 0:
        axes.plot(*goals.T, color=GREEN, linewidth=1.2, linestyle=(0, (3, 2)), zorder=1)
    pieces = np.stack([path[:-1], path[1:]], axis=1)  # (stroke, end, 2)
    line = LineCollection(list(pieces), cmap=_TIME, linewidth=1.8, zorder=4, capstyle="round")
    line.set_array(np.arange(flown))
    axes.add_collection(line)

    drawn = _places(moth, path)
    for stroke in drawn:
        share = stroke / max(flown, 1)
        opacity, order = (0.92, 5) if stroke == flown else (0.22 + 0.3 * share, 2)
        _draw_moth(axes, moth, states[stroke], opacity, order)
    _draw_air(axes, flights.air[episode], path, drawn, flown)

    axes.plot(*goals[-1], "+", color=GREEN, markersize=18, markeredgewidth=2, zorder=7)
    axes.plot(*path[0], "o", color=INK, markersize=4, zorder=6)
    _note(axes, "start", path[0], INK)
    _note(axes, "goal", goals[-1], GREEN)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x (cm)")
    axes.set_ylabel("y (cm)")
    end = f"after {flown * flights.period:.1f} s"
    kept = "in its box" if flights.survived[episode] else "lost"
    axes.set_title(f"the moth to scale; darker is later; {kept} {end}", color=MUTED)
    axes.margins(0.12)


def _places(moth: Moth, path: Array) -> list[int]:
    """Return the strokes at which the moth is drawn: the first, the last, and some between."""
    apart = _APART * moth.scale * (moth.head_half_length + moth.abdomen_half_length)
    chosen = [0]
    for stroke in range(1, len(path) - 1):
        near_others = min(np.hypot(*(path[stroke] - path[earlier])) for earlier in (*chosen, -1))
        if near_others > apart:
            chosen.append(stroke)
    return [*chosen, len(path) - 1]


def _draw_moth(axes: Axes, moth: Moth, state: Array, opacity: float, order: int) -> None:
    """Draw thorax and abdomen as the ellipses that they are in the equations."""
    hinge = state[:2]
    for angle, arm, length, width, color in (
        (state[3], moth.L2, moth.scale * moth.abdomen_half_length, moth.b2, _ABDOMEN),
        (state[2], moth.L1, moth.scale * moth.head_half_length, moth.b1, _THORAX),
    ):
        middle = hinge + arm * np.array([np.cos(angle), np.sin(angle)])
        axes.add_patch(
            Ellipse(
                (float(middle[0]), float(middle[1])),
                2 * length,
                2 * width,
                angle=float(np.degrees(angle)),
                facecolor=color,
                edgecolor=INK,
                linewidth=0.8,
                alpha=opacity,
                zorder=order,
            )
        )


def _draw_air(axes: Axes, air: Array, path: Array, drawn: list[int], flown: int) -> None:
    strokes = np.array([min(stroke, flown - 1) for stroke in drawn])
    fastest = max(float(np.hypot(*air[strokes].T).max()), 1e-9)
    unit = 50.0 * max(1, round(fastest / 100.0))
    arrows = axes.quiver(
        *path[drawn].T, *air[strokes].T,
        color=VERMILION, width=0.005, scale=fastest / 3.0, scale_units="xy", angles="xy", zorder=6,
    )  # fmt: skip
    if fastest > 1.0:
        axes.quiverkey(
            arrows, 0.09, 0.04, unit, f"air, {unit:.0f} cm/s", labelpos="E", color=VERMILION,
            labelcolor=INK, coordinates="axes",
        )  # fmt: skip


def _draw_courses(panels: Any, flights: Flights, episode: int, flown: int) -> None:
    moth, period = flights.hover.moth, flights.period
    ends = np.arange(flown + 1) * period
    begins = ends[:-1]
    distance, air, control, angle = panels
    distance.plot(ends, flights.errors[episode, : flown + 1], color=BLUE, linewidth=1.6)
    distance.set_ylabel("from goal (cm)")
    distance.set_ylim(bottom=0)

    velocity = flights.air[episode, :flown]
    for column, color, name in ((0, VERMILION, "horizontal"), (1, MUTED, "upwards")):
        air.step(begins, velocity[:, column], where="post", color=color, linewidth=1.2, label=name)
    air.set_ylabel("air (cm/s)")

    controls = flights.controls[episode, :flown]
    weights = controls[:, 0] / (moth.mass * moth.gravity)
    torque = controls[:, 2] / moth.stiffness
    control.step(begins, weights, where="post", color=BLUE, linewidth=1.2, label="F / weight")
    control.step(begins, torque, where="post", color=GREEN, linewidth=1.2, label="τ / K (rad)")
    control.set_ylabel("controls")

    states = flights.states[episode, : flown + 1]
    bend = np.degrees(states[:, 3] - states[:, 2] - np.pi - moth.rest_angle)
    angle.plot(ends, np.degrees(states[:, 2]), color=_THORAX, linewidth=1.6, label="thorax")
    angle.plot(ends, bend, color=_ABDOMEN, linewidth=1.6, label="bend of the hinge")
    angle.set_ylabel("angles (°)")
    angle.set_xlabel("time (s)")
    angle.set_xlim(0, max(ends[-1], period))
    for axes in (air, control, angle):
        axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1.0, 0.97), borderaxespad=0.0)


def _note(axes: Axes, text: str, place: Array, color: str) -> None:
    # To the left: the thorax leans to the right.
    note = axes.annotate(
        text, (float(place[0]), float(place[1])), xytext=(-9, 7), textcoords="offset points",
        ha="right", color=color, fontsize=10, zorder=8,
    )  # fmt: skip
    note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
