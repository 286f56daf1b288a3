"""Charts as values, drawn by matplotlib in `figures` and by plotly in `interactive`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Symbol = Literal["circle", "ring", "cross", "up", "down", "tick"]

# Okabe and Ito's palette, told apart by every kind of colour vision and in print.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, MUTED, FAINT = "#222222", "#6B6B6B", "#DDDDDD"

PROVED, WEAK, SEEN, UNKNOWN = GREEN, "#B35C00", BLUE, MUTED
"""Of statements that are proved, of proofs that failed, of what was measured, of what was not."""

PALE, PALE_GREEN = "#D5DBDF", "#9FD8C5"

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


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Parameters
    ----------
    title
        Quantity and unit.
    range
        Both ends; by default wide enough for the marks.
    ticks
        Places and their labels; by default round numbers.
    rows
        Names of the places 0, 1, …, which then run from top to bottom.
    log
        Whether it is logarithmic.
    zero
        Whether it shows 0, with a line across the chart.
    """

    title: str = ""
    range: tuple[float, float] | None = None
    ticks: Mapping[float, str] = field(default_factory=dict)
    rows: tuple[str, ...] = ()
    log: bool = False
    zero: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Mark:
    """Something drawn in a chart.

    Parameters
    ----------
    label
        Its name in the legend, which it is left out of without one.
    hover
        What a pointer reads, with ``{x}``, ``{y}``, ``{z}`` and ``{note}`` for the values of the
        point; the first of several lines is bold.
    """

    label: str = ""
    hover: str = ""


@dataclass(frozen=True, eq=False)
class Line(Mark):
    """A polyline, interrupted where a value is nan; widths are in pixels of the page."""

    x: Array
    y: Array
    color: str
    width: float = 2.0


@dataclass(frozen=True, eq=False)
class Points(Mark):
    """Markers at points.

    Parameters
    ----------
    x, y
        Shape (point,).
    color
        Of all, or of each.
    symbol
        Their form; a ring is white inside.
    size
        In pixels of the page.
    shade
        Numbers that choose the colours instead, from dark to bright, shape (point,).
    shade_title
        What these numbers are.
    error_x, error_y
        Half-widths of error bars, shape (point,).
    texts
        Written above the points.
    notes
        What a pointer reads as ``{note}``.
    """

    x: Array
    y: Array
    color: str | Sequence[str] = SEEN
    symbol: Symbol = "circle"
    size: float = 8.0
    opacity: float = 1.0
    shade: Array | None = None
    shade_title: str = ""
    error_x: Array | None = None
    error_y: Array | None = None
    texts: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Heatmap(Mark):
    """Cells (row, column) in colours that diverge from 0, around the places `x` of the columns."""

    x: Array
    z: Array
    title: str


@dataclass(frozen=True)
class Rule(Mark):
    """A line across the chart at a value of one of its axes."""

    axis: Literal["x", "y"]
    at: float
    color: str


@dataclass(frozen=True)
class Band(Mark):
    """A strip from top to bottom between two values of x."""

    lo: float
    hi: float
    color: str


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart.

    Parameters
    ----------
    name
        Of its section and its file.
    title
        Written above it where nothing else says what it shows.
    alt
        What is to be seen, for those who do not see it.
    caption
        How to read it.
    x, y
        Its axes.
    marks
        From the lowest to the uppermost.
    height
        In pixels of the page.
    """

    name: str
    title: str
    alt: str
    caption: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    height: int

    @property
    def has_legend(self) -> bool:
        """Whether any mark has a label."""
        return any(mark.label for mark in self.marks)


def segments(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return coordinates of one line of many segments, from both ends in each coordinate."""
    gap = np.full(len(x[0]), np.nan)
    return np.stack([*x, gap], axis=1).ravel(), np.stack([*y, gap], axis=1).ravel()


def spans(
    lo: Array, hi: Array, color: str, width: float, *, label: str = "", hover: str = ""
) -> Line:
    """Return thick lines from `lo` to `hi`, one in each row."""
    rows = np.arange(len(lo), dtype=np.float64)
    x, y = segments((lo, hi), (rows, rows))
    return Line(x, y, color, width, label=label, hover=hover)


def around(lo: Array, hi: Array, *, log: bool = False) -> tuple[float, float]:
    """Return the ends of an axis on which spans from `lo` to `hi` do not touch the frame."""
    least, most = float(np.nanmin(lo)), float(np.nanmax(hi))
    if log:
        room = max(most / least, 1.01) ** 0.03
        return least / room, most * room
    room = 0.03 * max(most - least, 1e-9)
    return least - room, most + room


def imaginary_axis(values: Array, title: str = "imaginary part") -> Axis:
    """Return the upright axis of a complex plane, of some height even for real numbers."""
    height = 1.2 * max(float(np.abs(values).max()), 0.1)
    return Axis(title, range=(-height, height), zero=True)


def log_ticks(lo: float, hi: float) -> list[float]:
    """Return round numbers between two numbers above 0: fewer in each decade of a longer range.

    Examples
    --------
    >>> log_ticks(0.2, 4), log_ticks(0.01, 40)
    ([0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0], [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
    """
    ratio = hi / lo
    factors: Sequence[float] = (1, 3) if ratio < 3e4 else (1,)
    if ratio < 30:
        factors = (1, 2, 3, 5, 7) if ratio > 5 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    powers = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
    ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [tick for tick in ticks if lo <= tick <= hi]
