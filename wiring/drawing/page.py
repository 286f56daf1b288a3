"""The page of a picture: its scale, its margins, the sizes that follow, and the legend below."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.html import picture_html
from elegans.wiring.drawing.layout import RADIUS, NodePositions, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 72  # of typography in an inch
_NOTEBOOK_DPI = 100


def room_of(ax: Axes) -> tuple[float, float]:
    """Return width and height of the axes in points, those of an earlier drawing forgotten."""
    outside: Any = ax.get_axes_locator()
    if isinstance(outside, Inside):
        outside = outside.outside
        ax.set_axes_locator(outside)
    ax.set_aspect("auto")
    ax.apply_aspect(None if outside is None else outside(ax, None))
    per_pixel = POINTS / ax.figure.dpi
    return ax.bbox.width * per_pixel, ax.bbox.height * per_pixel


@dataclass(frozen=True)
class Inside:
    """A locator of axes that leaves margins, in points, inside the place that they would have.

    It is asked whenever the figure is drawn, so margins stay as they are if the figure grows.
    """

    outside: Any
    left: float
    bottom: float
    right: float
    top: float

    def __call__(self, ax: Any, renderer: Any) -> Any:
        """Return the place in the figure."""
        from matplotlib.transforms import Bbox

        box: Any = ax.get_position(original=True)
        if self.outside is not None:
            box = self.outside(ax, renderer)
        whole = ax.figure.bbox
        x, y = POINTS * whole.width / ax.figure.dpi, POINTS * whole.height / ax.figure.dpi
        return Bbox.from_extents(
            box.x0 + self.left / x,
            box.y0 + self.bottom / y,
            box.x1 - self.right / x,
            box.y1 - self.top / y,
        )


class Page:
    """Lengths on paper for one drawing.

    The drawing has its own unit, the distance of neighbouring neurons. Text and lines are
    measured in points. `fit` sets the limits of the axes so that the drawing, its headers above
    and its legend below all have their room, and thereby the scale.

    Parameters
    ----------
    ax
        The axes to fill.
    placement
        Positions of the neurons.
    synapses
        How many there are to draw: many are drawn finer.

    Attributes
    ----------
    width, height
        Of the axes in points.
    font
        Size of the text in points.
    scale
        Points for one unit of the drawing, known after `fit`.
    alpha
        Opacity of the synapses.
    """

    def __init__(self, ax: Axes, placement: NodePositions, synapses: int) -> None:
        self.ax = ax
        self.placement = placement
        self.width, self.height = room_of(ax)
        self.font = float(np.clip(0.032 * min(self.width, self.height), 5.0, 10.0))
        self.top = 0.0
        self.scale = 1.0
        density = 1 / np.sqrt(max(synapses, 1))
        small = float(np.clip(min(self.width, self.height) / 400, 0.4, 1.0))
        self._line = float(np.clip(18 * density, 0.4, 1.3)) * small
        self.alpha = float(np.clip(15 * density, 0.12, 0.85))

    def fit(
        self, reach: Points, *, legend_rows: int, sides: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Set the limits of the axes.

        Parameters
        ----------
        reach
            The synapses, shape (synapse, point, 2).
        legend_rows
            Lines of the legend.
        sides
            Points to leave for text on the left and on the right of the outermost neurons.
        """
        points = np.concatenate([self.placement.position, reach.reshape(-1, 2)])
        low, high = points.min(axis=0) - 2 * RADIUS, points.max(axis=0) + 2 * RADIUS
        header = 3.2 * self.font if self.placement.columns else 0.0
        footer = (1.75 * legend_rows + 0.6) * self.font if legend_rows else 0.0
        room = self.height - header - footer
        left, right = self._side_margins(sides)
        self.scale = float(
            min(
                max(self.width - left - right, 0.3 * self.width) / (high[0] - low[0]),
                max(room, 0.3 * self.height) / (high[1] - low[1]),
            )
        )
        self.top = float(high[1])
        # What the scale leaves over is empty on both sides.
        center = (low[0] + high[0] + (right - left) / self.scale) / 2
        width = self.width / self.scale
        self.ax.set_xlim(center - width / 2, center + width / 2)
        spare = max(room / self.scale - (high[1] - low[1]), 0.0)
        bottom = low[1] - footer / self.scale - spare / 2
        self.ax.set_ylim(bottom, bottom + self.height / self.scale)
        self.ax.set_aspect("equal", adjustable="box")
        self.ax.set_axis_off()

    def _side_margins(self, sides: tuple[float, float]) -> tuple[float, float]:
        """Widen the sides for the headers of the outermost columns, which are centred on them."""
        if not self.placement.columns:
            return sides
        first, last = (self.placement.columns[k][0] for k in (0, -1))
        left, right = (0.36 * self.font * len(name) for name in (first, last))
        return max(sides[0], left), max(sides[1], right)

    @property
    def heads(self) -> bool:
        """Whether arrow heads would be large enough to be seen."""
        return RADIUS * self.scale > 2.2

    @property
    def bar_width(self) -> float:
        """Width in points of the bars in which inhibitory synapses end."""
        return float(np.clip(0.055 * self.scale, 0.5, 1.8))

    @property
    def name_size(self) -> float:
        """Size of a name that stands beside its neuron."""
        return float(np.clip(0.3 * self.scale, 4.0, 8.0))

    def line_width(self, weight: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return widths in points for weights relative to the largest."""
        return np.asarray(self._line * (0.25 + 1.9 * np.asarray(weight)))

    def label_size(self, texts: Iterable[str]) -> float:
        """Return the size at which all texts fit into their neurons."""
        room = 2 * RADIUS * self.scale
        longest = max(len(text) for text in texts)
        return min(0.6 * room, 0.88 * room / (0.62 * longest), 10.0)


def new_axes(placement: NodePositions, *, titled: bool, widest: float = 12.0) -> Axes:
    """Open a figure whose size suits the drawing."""
    import matplotlib.pyplot as plt

    extent = np.ptp(placement.position, axis=0) + np.array([2.5, 3.0])
    unit = min(0.42, 8.0 / extent[1], widest / extent[0])  # inches
    width, height = np.maximum(extent * unit, [5.0, 2.6]) + np.array([0.0, 0.7])
    strip = 0.4 if titled else 0.0
    figure = plt.figure(figsize=(width, height + strip))
    top = height / (height + strip)
    return figure.add_axes((0.01, 0.01, 0.98, top - 0.02))


@dataclass(frozen=True)
class Entry:
    """One line of the legend: a synapse, a cell of a matrix, or a neuron if it has no `width`.

    A neuron is a disc, or with the head ``"ring"`` a circle.
    """

    label: str
    color: str
    width: float | None = None
    head: str = ""  # "arrow", "bar", "resistor", "diode"; "square", "cross" or "diamond" of a cell
    halo: str | None = None
    dashed: bool = False


def legend_size(entries: Sequence[Entry], width: float, font: float) -> tuple[int, int]:
    """Return the number of columns and of rows that fit into `width` points."""
    widest = max(len(entry.label) for entry in entries) * 0.56 * font + 4.6 * font
    columns = max(1, min(len(entries), int(width / widest)))
    rows = -(-len(entries) // columns)
    return -(-len(entries) // rows), rows


def add_legend(
    ax: Axes, entries: Sequence[Entry], columns: int, font: float, *, below: float | None = None
) -> None:
    """Put the legend at the lower edge, where the drawing has left room, or `below` the axes.

    `below` is a share of the height of the axes.
    """
    from matplotlib.legend_handler import HandlerBase
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Polygon, Rectangle

    class SynapseHandler(HandlerBase):
        def create_artists(
            self,
            legend: Any,
            orig_handle: Any,
            xdescent: float,
            ydescent: float,
            width: float,
            height: float,
            fontsize: float,
            trans: Any,
        ) -> list[Any]:
            entry: Entry = orig_handle.entry
            artists: list[Any]
            y = height / 2 - ydescent
            left, right = -xdescent, width - xdescent
            if entry.width is None:
                dot = Circle(((left + right) / 2, y), 0.36 * fontsize, facecolor=entry.color)
                dot.set_transform(trans)
                if entry.head == "ring":
                    dot.set(facecolor="white", edgecolor=entry.color, linewidth=1.2)
                return [dot]
            if entry.head in ("square", "cross"):
                side, middle = 0.8 * fontsize, (left + right) / 2
                corner = (middle - side / 2, y - side / 2)
                if entry.head == "square":
                    edge = entry.halo or entry.color
                    box = Rectangle(corner, side, side, facecolor=entry.color, edgecolor=edge)
                    box.set(transform=trans, linewidth=2.5 if entry.halo else 0)
                    return [box]
                across, up = ([low, low + side] for low in corner)
                pairs = ((across, up), (across, up[::-1]))
                mark = {"color": entry.color, "linewidth": entry.width, "transform": trans}
                return [Line2D(*pair, **mark) for pair in pairs]
            if entry.head == "diamond":
                x, half = (left + right) / 2, 0.36 * fontsize
                corners = [(x + half, y), (x, y + half), (x - half, y), (x, y - half)]
                shape = Polygon(corners, facecolor=entry.color, linewidth=0, transform=trans)
                return [shape]
            line: dict[str, Any] = {"transform": trans, "solid_capstyle": "butt"}
            if entry.head in ("resistor", "diode"):
                stops = np.linspace(0.25, 0.75, 9) * (right - left) + left
                teeth = 0.3 * fontsize * np.sin(np.arange(9) * np.pi / 2)
                xs, ys = [left, *stops, right], [y, *(y + teeth), y]
                artists = [Line2D(xs, ys, color=entry.color, linewidth=entry.width, **line)]
                if entry.head == "diode":
                    back, half = right - 0.6 * fontsize, 0.28 * fontsize
                    corners = [(right, y), (back, y + half), (back, y - half)]
                    hollow = Polygon(corners, facecolor="white", edgecolor=entry.color)
                    hollow.set(linewidth=entry.width, transform=trans)
                    artists.append(hollow)
                return artists
            ends = [left, right - (0.4 * fontsize if entry.head == "arrow" else 0)]
            artists = []
            if entry.halo:
                wide = entry.width + 4
                artists.append(Line2D(ends, [y, y], color=entry.halo, linewidth=wide, **line))
            style: Any = (0, (3, 2)) if entry.dashed else "-"
            artists.append(
                Line2D(
                    ends, [y, y], color=entry.color, linewidth=entry.width, linestyle=style, **line
                )
            )
            if entry.head == "arrow":
                back, half = right - 0.55 * fontsize, 0.24 * fontsize
                corners = [(right, y), (back, y + half), (back, y - half)]
                artists.append(
                    Polygon(corners, facecolor=entry.color, linewidth=0, transform=trans)
                )
            elif entry.head == "bar":
                rise = [y - 0.36 * fontsize, y + 0.36 * fontsize]
                artists.append(Line2D([right] * 2, rise, color=entry.color, linewidth=1.8, **line))
            return artists

    handles = []
    for entry in entries:
        handle = Line2D([], [], label=entry.label)
        handle.entry = entry  # type: ignore[attr-defined]
        handles.append(handle)
    handlers: Mapping[Any, Any] = {Line2D: SynapseHandler()}
    ax.legend(
        handles=handles,
        handler_map=handlers,
        loc="lower center" if below is None else "upper center",
        bbox_to_anchor=None if below is None else (0.5, -below),
        ncols=columns,
        frameon=False,
        fontsize=font,
        handlelength=2.4,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0.2,
    )


def as_image(axes: Axes, description: str) -> str:
    """Return a drawing as an image inside an HTML page, and close its figure."""
    from matplotlib import pyplot

    figure: Any = axes.figure  # which matplotlib does not tell from a part of a figure
    content = io.BytesIO()
    try:
        figure.savefig(content, format="png", dpi=_NOTEBOOK_DPI)
    finally:
        pyplot.close(figure)
    return picture_html(content.getvalue(), description)
