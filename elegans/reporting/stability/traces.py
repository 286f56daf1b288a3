"""What the charts are made of: a chart as a value, rows of neurons, spans, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.network import Array
from elegans.reporting.stability.content import Content

MOST_ROWS = 40
"""Neurons in a chart with a row for each; the JSON has all of them."""

ROW = 20
"""Pixels of a row."""

_LONGEST = 18


@dataclass(frozen=True)
class Chart:
    """One chart.

    Parameters
    ----------
    name
        Of the section that it belongs to.
    alt
        What is to be seen, for those who do not see it.
    caption
        How to read it.
    figure
        Data and layout.
    """

    name: str
    alt: str
    caption: str
    figure: dict[str, Any]


def rows_shown(content: Content, importance: Array) -> NDArray[np.int64]:
    """Return the neurons that a chart shows: all of a small circuit, or the most important."""
    if len(importance) <= MOST_ROWS:
        return np.arange(len(importance))
    return np.sort(np.argsort(-importance, kind="stable")[:MOST_ROWS])


def labels(content: Content, chosen: NDArray[np.int64]) -> list[str]:
    """Return the names of some neurons, cut short but still unique."""
    names, seen = [], set()
    for neuron in chosen:
        name = literal(short(content.names[neuron]))
        names.append(f"{name} ({neuron})" if name in seen else name)
        seen.add(name)
    return names


def short(name: str) -> str:
    """Return a name that fits beside its row."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def literal(text: str | None) -> str:
    """Return a text as plotly shows it literally: it reads a few tags of HTML."""
    return escape(text or "", quote=False)


def some_of(content: Content, chosen: NDArray[np.int64], which: str) -> str:
    """Say which neurons are shown where not all are."""
    total = len(content.names)
    return "" if len(chosen) == total else f"; {len(chosen)} of {total:,} are shown, those {which}"


def time_title(content: Content) -> str:
    """Return the title of an axis of time."""
    unit = content.subject.time_unit
    return "time" if unit == "time unit" else f"time (in {unit})"


def numbers(values: Array) -> list[float]:
    """Return numbers with the digits that a chart can show."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def padded(lo: Array, hi: Array) -> list[float]:
    """Return the ends of an axis on which bars from `lo` to `hi` do not touch the frame."""
    least, most = float(lo.min()), float(hi.max())
    room = 0.03 * max(most - least, 1e-9)
    return [least - room, most + room]


def spans(
    name: str,
    names: list[str],
    lo: Array,
    hi: Array,
    chosen: NDArray[np.int64],
    color: str,
    width: int,
) -> dict[str, Any]:
    """Return thick lines from `lo` to `hi`, one a row."""
    low, high = numbers(lo[chosen]), numbers(hi[chosen])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [value for pair in zip(low, high, strict=True) for value in (*pair, None)],
        "y": [value for row in names for value in (row, row, None)],
        "line": {"color": color, "width": width},
        "hovertemplate": f"<b>%{{y}}</b><br>{name} %{{x}}<extra></extra>",
    }


def upright(x: float, color: str, dash: str) -> dict[str, Any]:
    """Return an upright line across a chart."""
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": color, "width": 1.5, "dash": dash},
    }


def names_axis(names: list[str]) -> dict[str, Any]:
    """Return an axis with a row for each name, from top to bottom."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "autorange": "reversed",
        "tickfont": {"size": 12},
        "dtick": 1,
    }
