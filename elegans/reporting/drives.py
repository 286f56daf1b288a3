"""Closed-loop episodes of the cart and pole."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from elegans.reporting.figures import BLUE, INK, MUTED, STYLE, VERMILION, new_figure
from elegans.tasks.cartpole import MAX_STEPS, Rollouts

SECONDS_PER_STEP = 0.02
POSITION_LIMIT = 2.4  # m
ANGLE_LIMIT = 12.0  # degrees


def draw_drives(rollouts: Rollouts, *, max_steps: int = MAX_STEPS) -> Figure:
    """Draw position and angle over time for all episodes, with the limits that end them.

    Parameters
    ----------
    rollouts
        What `elegans.tasks.cartpole.drive` returned. The episode in the middle of the returns
        stands out; episodes that ended before `max_steps` end in a cross.
    max_steps
        Steps of an episode that nothing ended.
    """
    order = np.argsort(rollouts.returns, kind="stable")
    typical = int(order[len(order) // 2])
    longest = max(len(states) for states in rollouts.observations)
    with rc_context(STYLE):
        figure = new_figure(7.2, 5.0)
        position, angle = figure.subplots(2, sharex=True)
        for episode, states in enumerate(rollouts.observations):
            fell = len(states) < max_steps
            for axes, values, color in (
                (position, states[:, 0], BLUE),
                (angle, np.degrees(states[:, 2]), VERMILION),
            ):
                time = np.arange(len(states)) * SECONDS_PER_STEP
                chosen = episode == typical
                axes.plot(
                    time,
                    values,
                    color=color,
                    linewidth=1.6 if chosen else 0.7,
                    alpha=1.0 if chosen else 0.35,
                    zorder=3 if chosen else 2,
                    label="one episode" if chosen else "_",
                )
                if fell:
                    axes.plot(time[-1], values[-1], "x", color=INK, markersize=6, zorder=4)
        _limits(position, POSITION_LIMIT, "cart position (m)")
        _limits(angle, ANGLE_LIMIT, "pole angle (°)")
        angle.set_xlabel("time (s)")
        angle.set_xlim(0, longest * SECONDS_PER_STEP)
        position.set_title(
            f"{len(rollouts.returns)} episodes from fresh starts: mean return "
            f"{rollouts.mean_return:.1f}, least {rollouts.returns.min():.0f}"
        )
        figure.align_ylabels()
    return figure


def _limits(axes: Axes, limit: float, label: str) -> None:
    for side in (-limit, limit):
        axes.axhline(side, color=MUTED, linewidth=1.2, linestyle=(0, (6, 3)))
    axes.annotate(
        "an episode ends beyond",
        (1.0, limit),
        xycoords=("axes fraction", "data"),
        xytext=(-3, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        color=MUTED,
        fontsize=9,
    )
    axes.set_ylim(-1.12 * limit, 1.12 * limit)
    axes.set_ylabel(label)
