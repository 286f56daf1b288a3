"""Colours and type of the page, in one place, so that charts and text agree."""

from __future__ import annotations

from typing import Any

from elegans.reporting.figures import BLUE, GREEN, INK, MUTED, VERMILION

PROVED, WEAK, SEEN, UNKNOWN = GREEN, "#B35C00", BLUE, MUTED
"""Of statements that are proved, of proofs that failed, of what was measured, of what was not."""

PALE = "#D5DBDF"
CROSS = VERMILION

DIVERGING: list[tuple[float, str]] = [
    (0.0, "#40004B"),
    (0.15, "#762A83"),
    (0.32, "#AF8DC3"),
    (0.5, "#F4F4F4"),
    (0.68, "#7FBFA0"),
    (0.85, "#1B7837"),
    (1.0, "#00441B"),
]
"""Purple and green, told apart by every kind of colour vision; neither is a synapse's colour."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return what all charts share; a chart adds to its axes and overrides the rest."""
    axis = {
        "gridcolor": "#E9ECEF",
        "linecolor": "#C4CBD0",
        "zerolinecolor": "#9AA3A9",
        "zerolinewidth": 1,
        "tickfont": {"size": 12, "color": MUTED},
        "title": {"font": {"size": 13, "color": INK}, "standoff": 8},
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
        base[name] = _merged(shared, value) if isinstance(shared, dict) else value
    return base


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for name, value in new.items():
        inner = result.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict)
        result[name] = _merged(inner, value) if both and isinstance(inner, dict) else value
    return result
