"""The legend of a picture: small synapses with their heads, and the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Entry:
    """One line of the legend: a synapse, or a neuron if it has no `width`."""

    label: str
    color: str
    width: float | None = None
    head: str = ""  # "arrow", "bar" or none
    halo: str | None = None
    dashed: bool = False


def legend_size(entries: Sequence[Entry], width: float, font: float) -> tuple[int, int]:
    """Return the number of columns and of rows that fit into `width` points."""
    widest = max(len(entry.label) for entry in entries) * 0.56 * font + 4.6 * font
    columns = max(1, min(len(entries), int(width / widest)))
    rows = -(-len(entries) // columns)
    return -(-len(entries) // rows), rows


def add_legend(ax: Axes, entries: Sequence[Entry], columns: int, font: float) -> None:
    """Put the legend at the lower edge, where the drawing has left room."""
    from matplotlib.legend_handler import HandlerBase
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Polygon

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
            y = height / 2 - ydescent
            left, right = -xdescent, width - xdescent
            if entry.width is None:
                dot = Circle(((left + right) / 2, y), 0.36 * fontsize, facecolor=entry.color)
                dot.set_transform(trans)
                return [dot]
            line: dict[str, Any] = {"transform": trans, "solid_capstyle": "butt"}
            ends = [left, right - (0.4 * fontsize if entry.head == "arrow" else 0)]
            artists: list[Any] = []
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
        loc="lower center",
        ncols=columns,
        frameon=False,
        fontsize=font,
        handlelength=2.4,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0.2,
    )
