"""The page of a picture: its scale, its margins, and the sizes that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elegans.wiring.drawing.layout import RADIUS, NodePositions, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 72  # of typography in an inch


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
        per_pixel = _POINTS / ax.figure.dpi
        self.ax = ax
        self.placement = placement
        self.width = ax.bbox.width * per_pixel
        self.height = ax.bbox.height * per_pixel
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


def new_axes(placement: NodePositions, *, titled: bool) -> Axes:
    """Open a figure whose size suits the drawing."""
    import matplotlib.pyplot as plt

    extent = np.ptp(placement.position, axis=0) + np.array([2.5, 3.0])
    unit = min(0.42, 8.0 / extent[1], 12.0 / extent[0])  # inches
    width, height = np.maximum(extent * unit, [5.0, 2.6]) + np.array([0.0, 0.7])
    strip = 0.4 if titled else 0.0
    figure = plt.figure(figsize=(width, height + strip))
    top = height / (height + strip)
    return figure.add_axes((0.01, 0.01, 0.98, top - 0.02))
