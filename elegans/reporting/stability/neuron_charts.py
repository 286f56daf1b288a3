"""Charts with a row for each neuron: activity, boxes, time constants, gains."""

from __future__ import annotations

import numpy as np

from elegans.reporting.figures import INK
from elegans.reporting.stability.content import Content
from elegans.reporting.stability.palette import DIVERGING, PALE, PROVED, SEEN, layout
from elegans.reporting.stability.traces import (
    ROW,
    Chart,
    labels,
    names_axis,
    numbers,
    padded,
    rows_shown,
    some_of,
    spans,
    time_title,
)
from elegans.reporting.stability.wording import number, plural

_ROUND = [factor * 10.0**power for power in range(-9, 9) for factor in (1, 3)]
"""Ticks of a logarithmic axis; plotly writes its own too small to read."""


def draw_activity(content: Content) -> Chart:
    """Return the potentials over time as a heat map."""
    activity = content.activity
    chosen = rows_shown(content, np.ptp(activity.states, axis=0))
    values = activity.states[:, chosen].T  # (neuron, frame)
    most = float(np.abs(values).max(initial=1e-12))
    names = labels(content, chosen)
    heatmap = {
        "type": "heatmap",
        "x": numbers(activity.time),
        "y": names,
        "z": [numbers(row) for row in values],
        "colorscale": DIVERGING,
        "zmin": -most,
        "zmax": most,
        "colorbar": {
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "len": 0.6,
            "lenmode": "fraction",
            "thickness": 10,
            "outlinewidth": 0,
            "nticks": 5,
            "title": {"text": "potential", "side": "top", "font": {"size": 12}},
        },
        "hovertemplate": "<b>%{y}</b><br>time %{x}<br>potential %{z}<extra></extra>",
    }
    cursor = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": float(activity.time[0]),
        "x1": float(activity.time[0]),
        "y0": 0,
        "y1": 1,
        "line": {"color": INK, "width": 1.5, "dash": "dot"},
    }
    some = some_of(content, chosen, "whose potentials move most")
    return Chart(
        "activity",
        f"Heat map of the potentials of {len(chosen)} neurons over {len(activity.time)} moments.",
        f"Each row is a neuron{some}; the dotted line is the moment that the graph above shows.",
        {
            "data": [heatmap],
            "layout": layout(
                150 + ROW * len(chosen),
                xaxis={"showgrid": False},
                yaxis=names_axis(names) | {"showgrid": False},
                # plotly sets the title of this axis upon its ticks.
                annotations=[
                    {
                        "text": time_title(content),
                        "xref": "paper",
                        "yref": "paper",
                        "x": 0.5,
                        "y": 0,
                        "yshift": -38,
                        "showarrow": False,
                    }
                ],
                shapes=[cursor],
                margin={"t": 56, "b": 48},
            ),
        },
    )


def draw_boxes(content: Content) -> Chart | None:
    """Return the first box, the last, and what was seen."""
    boxes, activity = content.boxes, content.activity
    if boxes is None:
        return None
    chosen = rows_shown(content, boxes.box_hi - boxes.box_lo)
    names = labels(content, chosen)
    some = some_of(content, chosen, "with the widest intervals")
    return Chart(
        "boxes",
        f"Bars of the intervals of {len(chosen)} potentials: first box, last box and measured.",
        f"Pale: the box that holds for any input. Green: the box entered in the end, under inputs "
        f"in the range. Blue: what was seen, which begins at zero and may come from outside{some}.",
        {
            "data": [
                spans("any input", names, boxes.hull_lo, boxes.hull_hi, chosen, PALE, 12),
                spans("in the end", names, boxes.box_lo, boxes.box_hi, chosen, PROVED, 8),
                spans("measured", names, activity.state_lo, activity.state_hi, chosen, SEEN, 3),
            ],
            "layout": layout(
                90 + ROW * len(chosen),
                xaxis={
                    "title": {"text": "potential"},
                    "range": padded(boxes.hull_lo, boxes.hull_hi),
                },
                yaxis=names_axis(names),
                margin={"t": 36},
            ),
        },
    )


def draw_time_constants(content: Content) -> Chart | None:
    """Return the proved and the measured ranges of the time constants."""
    constants, boxes = content.activity.time_constants, content.boxes
    middle = np.median(constants, axis=0)
    chosen = rows_shown(content, middle)
    names = labels(content, chosen)
    data = []
    if boxes is not None:
        finite = np.where(np.isfinite(boxes.tau_hi), boxes.tau_hi, 10 * constants.max())
        data.append(spans("proved range", names, boxes.tau_lo, finite, chosen, PROVED, 8))
    data.append(
        spans("measured", names, constants.min(axis=0), constants.max(axis=0), chosen, SEEN, 3)
    )
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "median",
            "x": numbers(middle[chosen]),
            "y": names,
            "marker": {"size": 7, "color": "white", "line": {"color": SEEN, "width": 2}},
            "hovertemplate": "<b>%{y}</b><br>median %{x}<extra></extra>",
        }
    )
    some = some_of(content, chosen, "that are slowest")
    return Chart(
        "time-constants",
        f"Bars of the time constants of {len(chosen)} neurons on a logarithmic axis.",
        "How long a neuron needs to forget: its capacitance over all open conductances. Liquid "
        "neurons change it with their inputs, within the green range once the box is entered"
        f"{some}.",
        {
            "data": data,
            "layout": layout(
                90 + ROW * len(chosen),
                xaxis={
                    "type": "log",
                    "title": {"text": f"time constant (in {plural(content.subject.time_unit)})"},
                    "tickmode": "array",
                    "tickvals": _ROUND,
                    "ticktext": [number(value) for value in _ROUND],
                },
                yaxis=names_axis(names),
                margin={"t": 36},
            ),
        },
    )


def draw_gains(content: Content) -> Chart | None:
    """Return how far inputs can move each neuron."""
    proof = content.contraction
    if proof is None or proof.gain is None:
        return None
    chosen = rows_shown(content, proof.gain)
    names = labels(content, chosen)
    motor = content.subject.outputs
    some = some_of(content, chosen, "with the largest gains")
    return Chart(
        "gains",
        f"Bars of the input gains of {len(chosen)} neurons.",
        f"How far inputs that differ by 1 can move each potential at most; outputs are dark{some}.",
        {
            "data": [
                {
                    "type": "bar",
                    "orientation": "h",
                    "x": numbers(proof.gain[chosen]),
                    "y": names,
                    "marker": {
                        "color": [PROVED if neuron < motor else "#9FD8C5" for neuron in chosen]
                    },
                    "hovertemplate": "<b>%{y}</b><br>at most %{x}<extra></extra>",
                }
            ],
            "layout": layout(
                80 + ROW * len(chosen),
                xaxis={"title": {"text": "potential per unit of input"}},
                yaxis=names_axis(names),
                bargap=0.35,
            ),
        },
    )
