"""Charts as plain values that plotly takes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from elegans.reporting.chart import (
    DIVERGING,
    INK,
    MUTED,
    SEEN,
    Axis,
    Band,
    Chart,
    Heatmap,
    Line,
    Points,
    Rule,
)

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_SYMBOLS = {
    "circle": "circle",
    "ring": "circle",
    "cross": "x-thin-open",
    "up": "triangle-up",
    "down": "triangle-down",
    "tick": "line-ns-open",
}


def to_plotly(chart: Chart) -> dict[str, Any]:
    """Return data and layout of a chart."""
    traces: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    scale = False
    for mark in chart.marks:
        named = {"name": _text(mark.label), "showlegend": bool(mark.label)}
        read = {"hovertemplate": _hover(mark.hover)} if mark.hover else {"hoverinfo": "skip"}
        match mark:
            case Line():
                trace = _line(mark)
            case Points():
                trace = _points(mark)
                scale |= mark.shade is not None
            case Heatmap():
                trace, scale = _heatmap(mark), True
                named = {}
            case Rule():
                shapes.append(_across(mark.axis, mark.at, mark.at, mark.color) | named)
                continue
            case Band():
                strip = {"fillcolor": mark.color, "opacity": 0.1, "layer": "below", "type": "rect"}
                across = _across("x", mark.lo, mark.hi, mark.color)
                shapes.append(across | strip | {"line": {"width": 0}} | named)
                continue
        traces.append(trace | named | read)
    margin, xaxis = {"t": 36 if chart.has_legend else 12}, _axis(chart.x)
    if scale:
        # Beside a colour bar, plotly would set a title at a given distance upon the ticks.
        del xaxis["title"]["standoff"]
        margin = {"t": 56, "b": 48}
    return {
        "data": traces,
        "layout": layout(
            chart.height,
            shapes=shapes,
            showlegend=chart.has_legend,
            hovermode="closest",
            margin=margin,
            xaxis=xaxis,
            yaxis=_axis(chart.y),
        ),
    }


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return what all charts share; a chart adds to its axes and overrides the rest."""
    axis = {
        "gridcolor": "#E9ECEF",
        "linecolor": "#C4CBD0",
        "zerolinecolor": MUTED,
        "zerolinewidth": 1,
        "tickfont": {"size": 12, "color": MUTED},
        "automargin": True,
    }
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": "white",
            "bordercolor": "#C4CBD0",
            "font": {"family": FONT, "size": 13, "color": INK},
            "align": "left",
        },
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.0,
            "xanchor": "left",
            "x": 0,
            "font": {"size": 12},
        },
        "xaxis": axis,
        "yaxis": axis,
    }
    for name, value in more.items():
        shared = base.get(name)
        base[name] = shared | value if isinstance(shared, dict) else value
    return base


def _axis(axis: Axis) -> dict[str, Any]:
    title = {"text": _text(axis.title), "font": {"size": 13, "color": INK}, "standoff": 8}
    shown: dict[str, Any] = {"title": title, "zeroline": axis.zero}
    if axis.zero:
        shown["rangemode"] = "tozero"
    if axis.log:
        shown["type"] = "log"
    if axis.range is not None:
        shown["range"] = [*(np.log10(axis.range) if axis.log else axis.range)]
    if axis.ticks:
        shown |= {"tickvals": [*axis.ticks], "ticktext": [*axis.ticks.values()]}
    if axis.rows:
        count = len(axis.rows)
        shown |= {"range": [count - 0.5, -0.5], "tickvals": [*range(count)]}
        shown["ticktext"] = [_text(row) for row in axis.rows]
    return shown


def _line(line: Line) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers(line.x),
        "y": _numbers(line.y),
        "line": {"color": line.color, "width": line.width},
    }


def _points(points: Points) -> dict[str, Any]:
    color = points.color if isinstance(points.color, str) else [*points.color]
    ring = points.symbol == "ring"
    marker: dict[str, Any] = {
        "size": points.size,
        "symbol": _SYMBOLS[points.symbol],
        "opacity": points.opacity,
        "color": "white" if ring else color,
        "line": {"color": color, "width": 2} if ring or points.symbol == "cross" else {},
    }
    if points.shade is not None:
        marker |= {"color": _numbers(points.shade), "colorscale": "Viridis", "showscale": True}
        marker |= {"colorbar": _color_bar(points.shade_title)}
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers+text" if points.texts else "markers",
        "x": _numbers(points.x),
        "y": _numbers(points.y),
        "marker": marker,
        "cliponaxis": False,
    }
    if points.texts:
        trace |= {"text": [*map(_text, points.texts)], "textposition": "top center"}
        trace["textfont"] = {"size": 12, "color": INK}
    if points.notes:
        trace["customdata"] = [*map(_text, points.notes)]
    for name, error in (("error_x", points.error_x), ("error_y", points.error_y)):
        if error is not None:
            bar = {"type": "data", "array": _numbers(error), "color": SEEN}
            trace[name] = bar | {"thickness": 1.5, "width": 4}
    return trace


def _heatmap(heatmap: Heatmap) -> dict[str, Any]:
    most = float(np.abs(heatmap.z).max(initial=1e-12))
    return {
        "type": "heatmap",
        "x": _numbers(heatmap.x),
        "z": [_numbers(row) for row in heatmap.z],
        "colorscale": DIVERGING,
        "zmin": -most,
        "zmax": most,
        "colorbar": _color_bar(heatmap.title),
    }


def _color_bar(title: str) -> dict[str, Any]:
    return {
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
        "title": {"text": title, "side": "top", "font": {"size": 12}},
    }


def _across(axis: str, lo: float, hi: float, color: str) -> dict[str, Any]:
    """Return a line across the chart from `lo` to `hi` of an axis, and over all of the other."""
    other = "y" if axis == "x" else "x"
    return {
        "type": "line",
        f"{axis}ref": axis,
        f"{other}ref": "paper",
        f"{axis}0": lo,
        f"{axis}1": hi,
        f"{other}0": 0,
        f"{other}1": 1,
        "line": {"color": color, "width": 2},
    }


def _hover(template: str) -> str:
    """Return the template in plotly's language."""
    first, *others = _text(template).replace("{note}", "{customdata}").split("<br>")
    lines = [f"<b>{first}</b>", *others] if others else [first]
    return "<br>".join(lines).replace("{", "%{") + "<extra></extra>"


def _text(text: str) -> str:
    """Return a text as plotly shows it literally: it reads a few tags of HTML."""
    return escape(text, quote=False).replace("\n", "<br>")


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Return numbers with the digits that a chart can show, None for nan."""
    return [None if value != value else float(f"{value:.7g}") for value in values]
