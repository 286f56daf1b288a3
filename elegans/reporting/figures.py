"""Charts and circuits as matplotlib figures, the style of all figures, and their files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from elegans.errors import InputError
from elegans.files import make_folder, write_bytes, writing
from elegans.layers.sequence_layer import SequenceLayer
from elegans.reporting.chart import (
    BLUE,
    DIVERGING,
    FAINT,
    GREEN,
    INK,
    MUTED,
    SEEN,
    VERMILION,
    Axis,
    Band,
    Chart,
    Heatmap,
    Line,
    Mark,
    Points,
    Rule,
)
from elegans.wiring import Wiring, draw
from elegans.wiring.drawing.views import View, paper_size, view_of

__all__ = [
    "BLUE",
    "GREEN",
    "INK",
    "MUTED",
    "STYLE",
    "VERMILION",
    "figure_of",
    "new_figure",
    "save_figure",
]

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
PIXELS_PER_INCH = 160

_WIDTH = 7.2  # inches
_PAGE_PIXELS_PER_INCH = 96
_POINT = 0.75  # for a pixel of the page
_TITLE = 0.4  # inches that the page does not need
_DIVERGING = LinearSegmentedColormap.from_list("diverging", DIVERGING)
_SYMBOLS = {"circle": "o", "ring": "o", "cross": "x", "up": "^", "down": "v", "tick": "|"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, whole or not at all; the suffix chooses the format.

    Raises
    ------
    InputError
        The format is not known.
    """
    picture = io.BytesIO()
    kind = path.suffix.removeprefix(".").lower()
    formats = figure.canvas.get_supported_filetypes()
    if kind not in formats:
        raise InputError(
            f"got a picture named {path.name!r}, expected one of the suffixes "
            f"{', '.join(f'.{name}' for name in sorted(formats))}; use .png"
        )
    with rc_context(STYLE):
        figure.savefig(picture, format=kind, dpi=PIXELS_PER_INCH)
    make_folder(path.parent)
    with writing(path):
        write_bytes(path, picture.getvalue())


def figure_of(charts: Sequence[Chart]) -> Figure:
    """Return charts below each other as a figure."""
    heights = [chart.height / _PAGE_PIXELS_PER_INCH + _TITLE for chart in charts]
    with rc_context(STYLE):
        figure = new_figure(_WIDTH, sum(heights))
        column = figure.subplots(len(charts), squeeze=False, height_ratios=heights)[:, 0]
        for axes, chart in zip(column, charts, strict=True):
            for layer, mark in enumerate(chart.marks):
                _draw(axes, mark, 2 + layer / 100)
            _set_up(axes, chart.x, "x")
            _set_up(axes, chart.y, "y")
            axes.set_title(chart.title, parse_math=False)
        if any(chart.has_legend for chart in charts):
            figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw(axes: Axes, mark: Mark, layer: float) -> None:
    options: dict[str, Any] = {"zorder": layer, "label": mark.label or "_"}
    match mark:
        case Line():
            options |= {"color": mark.color, "linewidth": _POINT * mark.width}
            axes.plot(mark.x, mark.y, solid_capstyle="butt", **options)
        case Points():
            _draw_points(axes, mark, options)
        case Heatmap():
            _draw_heatmap(axes, mark)
        case Rule():
            draw = axes.axvline if mark.axis == "x" else axes.axhline
            draw(mark.at, color=mark.color, linewidth=1.5, **options)
        case Band():
            axes.axvspan(mark.lo, mark.hi, color=mark.color, alpha=0.12, linewidth=0)


def _draw_points(axes: Axes, points: Points, options: dict[str, Any]) -> None:
    color = points.color if isinstance(points.color, str) else [*points.color]
    if points.error_x is not None or points.error_y is not None:
        axes.errorbar(
            points.x,
            points.y,
            points.error_y,
            points.error_x,
            fmt="none",
            ecolor=SEEN,
            elinewidth=1.2,
            capsize=3,
            zorder=options["zorder"],
        )
    if points.shade is not None:
        options |= {"c": points.shade, "cmap": "viridis"}
    elif points.symbol == "ring":
        options |= {"facecolors": "white", "edgecolors": color}
    else:
        options["color"] = color
    drawn = axes.scatter(
        points.x,
        points.y,
        s=(_POINT * points.size) ** 2,
        marker=_SYMBOLS[points.symbol],
        alpha=points.opacity,
        linewidths=0 if points.symbol in ("circle", "up", "down") else 1.2,
        **options,
    )
    if points.shade is not None:
        axes.figure.colorbar(drawn, ax=axes, label=points.shade_title)
    for x, y, text in zip(points.x, points.y, points.texts, strict=False):
        axes.annotate(text, (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=9)


def _draw_heatmap(axes: Axes, heatmap: Heatmap) -> None:
    x, count = heatmap.x, len(heatmap.z)
    middle = (x[1:] + x[:-1]) / 2 if len(x) > 1 else x[:1] + 0.5
    edges = np.concatenate([2 * x[:1] - middle[:1], middle, 2 * x[-1:] - middle[-1:]])
    most = float(np.abs(heatmap.z).max(initial=1e-12))
    cells = axes.pcolormesh(
        edges if len(x) > 1 else edges[:2],
        np.arange(count + 1) - 0.5,
        heatmap.z,
        cmap=_DIVERGING,
        vmin=-most,
        vmax=most,
        rasterized=True,
    )
    axes.figure.colorbar(cells, ax=axes, label=heatmap.title)


def _set_up(axes: Axes, axis: Axis, name: str) -> None:
    scale = axes.xaxis if name == "x" else axes.yaxis
    scale.set_label_text(axis.title, parse_math=False)
    if axis.zero:
        (axes.axvline if name == "x" else axes.axhline)(0, color=INK, linewidth=1, zorder=1.5)
    if axis.log:
        axes.set(**{f"{name}scale": "log"})
    if axis.ticks:
        scale.set_ticks([*axis.ticks], [*axis.ticks.values()])
        scale.set_ticks([], minor=True)
    ends = axis.range
    if axis.rows:
        scale.set_ticks(range(len(axis.rows)), axis.rows, parse_math=False)
        scale.set_tick_params(labelsize=8)
        ends = (len(axis.rows) - 0.5, -0.5)
    if ends is not None:
        axes.set(**{f"{name}lim": ends})


_TITLE = 0.35
"""Inches for the title above a circuit."""


def draw_circuit(circuit: SequenceLayer | Wiring, *, view: View = "auto", **options: Any) -> Figure:
    """Draw a circuit; lines of a layer are as wide as its conductances.

    Parameters
    ----------
    circuit
        A layer or a wiring.
    view
        ``"circuit"``, ``"matrix"`` or ``"classes"``; ``"auto"``, the circuit up to 100 neurons,
        inputs included, and the matrix beyond.
    **options
        As in `elegans.wiring.draw`.

    Raises
    ------
    WiringError
        The circuit is too large for the view, or the view is unknown.
    """
    with rc_context(STYLE):
        figure, (axes,) = _panels(1, *_paper(circuit, view, least=7.6, most=12.0))
        circuit.draw(ax=axes, view=view, **options)
    return _with_plain_names(figure)


def draw_changes(circuit: SequenceLayer | Wiring, before: Wiring, *, view: View = "auto") -> Figure:
    """Draw a circuit as it was and, beside it, as it is: what was cut and what has grown.

    This is the net change: a synapse that went and came back between the two is neither.

    Parameters
    ----------
    circuit
        The circuit now; lines of a layer are as wide as its conductances.
    before
        The wiring of the same neurons before.
    view
        As in `draw_circuit`.

    Raises
    ------
    WiringError
        The two have different neurons, they are too large for the view, or it is unknown.
    """
    with rc_context(STYLE):
        # The least width is what a legend of five entries needs.
        after = circuit if isinstance(circuit, Wiring) else circuit.wiring
        sizes = [_paper(each, view, least=6.5, most=10.0) for each in (before, after)]
        figure, panels = _panels(2, sizes[0][0], max(height for _, height in sizes))
        draw(before, ax=panels[0], later=after, view=view, title="before training")
        circuit.draw(
            ax=panels[1], before=before, view=view, title="after training, with the net change"
        )
        if view_of(before, view) != "matrix":
            # Legends differ in height: the smaller scale leaves room for both, at one place.
            widest = max(panels, key=lambda axes: float(np.ptp(axes.get_xlim())))
            for axes in panels:
                axes.set(xlim=widest.get_xlim(), ylim=widest.get_ylim())
    return _with_plain_names(figure)


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes side by side, of a size each that nothing changes later.

    A circuit is fitted into the axes when it is drawn, sizes of names included.
    """
    figure = Figure(figsize=(count * width, height))
    top = 1 - _TITLE / height
    rects = [((k + 0.01) / count, 0.01, 0.98 / count, top - 0.02) for k in range(count)]
    return figure, [figure.add_axes(rect) for rect in rects]


def _paper(
    circuit: SequenceLayer | Wiring, view: str, *, least: float, most: float
) -> tuple[float, float]:
    """Return inches that a picture with names needs, its width within limits."""
    width, height = paper_size(circuit if isinstance(circuit, Wiring) else circuit.wiring, view)
    fitting = min(max(width, least), most)
    return fitting, min(max(height * min(fitting / width, 1.0), 3.4), 12.0)


def _with_plain_names(figure: Figure) -> Figure:
    """Return the figure with names that matplotlib does not read as mathematics."""
    for axes in figure.axes:
        for text in axes.texts:
            text.set_parse_math(False)
    return figure
