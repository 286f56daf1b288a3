"""Gap junctions in pictures: resistors between neurons, marks in the cells of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.wiring.drawing.colors import CUT_COLOR, HALO_COLOR
from elegans.wiring.drawing.layout import RADIUS, NodePositions, Points
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from elegans.wiring.drawing.page import Page

_TEETH = 6
_HEIGHT = 0.13  # of a tooth
_LENGTH = 1.0  # of the teeth at most, and as a share of the way
_SHARE = 0.5
_ARC_BEND = 0.34  # of ways inside a column, on the other side than synapses of a pair
_HEAD = (0.26, 0.12)  # length and half width of the triangle of a rectifying junction


@dataclass(frozen=True)
class Joints:
    """Gap junctions that are drawn alike.

    Attributes
    ----------
    kind
        ``"electrical"``, ``"cut"`` or ``"grown"``.
    edges
        Both ends, shape (junction, 2), numbered as in `NodePositions`.
    rectifying
        Whether current flows from the first to the second end only, shape (junction,).
    weight
        Magnitude, shape (junction,), or None.
    faint
        Whether they stand behind others.
    """

    kind: str
    edges: NDArray[np.int64]
    rectifying: NDArray[np.bool_]
    weight: NDArray[np.float64] | None
    faint: bool = False

    def ways(self) -> NDArray[np.int64]:
        """Return rows (from, to) for each way of current, shape (way, 2)."""
        back = self.edges[~self.rectifying, ::-1]
        return np.concatenate([self.edges, back])


def joints_of(
    wiring: Wiring, before: Wiring | None, weight: NDArray[np.float64] | None
) -> list[Joints]:
    """Return the gap junctions that are drawn alike: those that stay, were cut, have grown."""
    edges, rectifying = _shifted(wiring, wiring.electrical)
    if before is None:
        return [Joints("electrical", edges, rectifying, weight)]
    rows, old = set(wiring.electrical), set(before.electrical)
    kept = np.array([row in old for row in wiring.electrical], dtype=np.bool_)
    lost = np.array([row not in rows for row in before.electrical], dtype=np.bool_)
    old_edges, old_rectifying = _shifted(before, before.electrical)
    of_kept, of_grown = (None if weight is None else weight[which] for which in (kept, ~kept))
    faint = bool(lost.any() or not kept.all())
    return [
        Joints("electrical", edges[kept], rectifying[kept], of_kept, faint),
        Joints("cut", old_edges[lost], old_rectifying[lost], None),
        Joints("grown", edges[~kept], rectifying[~kept], of_grown),
    ]


def _shifted(
    wiring: Wiring, junctions: GapJunctions
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ends = np.stack([junctions.source, junctions.target], axis=1).astype(np.int64)
    return ends + wiring.input_size, junctions.rectifying


def resistors(placement: NodePositions, joints: Joints, *, detailed: bool) -> list[Points]:
    """Return a line for each junction, with teeth in its middle if `detailed`, (point, 2) each.

    Inside a column a junction swings out to the right of its way, where few synapses are;
    elsewhere it runs straight, between the two curves of the synapses of the pair.
    """
    lines = []
    for j, i in joints.edges.tolist():
        start, end = placement.position[[j, i]]
        along = end - start
        length = float(np.linalg.norm(along)) or 1e-9
        unit = along / length
        right = np.array([unit[1], -unit[0]])
        inside = placement.group[j] == placement.group[i] >= 0
        swing = min(0.55 + _ARC_BEND * length, placement.gap) if inside else 0.0
        t = np.linspace(0, 1, 49)[:, None]
        control = (start + end) / 2 + swing * right
        way = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        done = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
        total = float(done[-1]) or 1e-9
        low = min(0.9 * RADIUS, 0.4 * total)
        if not detailed:
            lines.append(_at(way, done, np.linspace(low, total - low, 25)))
            continue
        half = 0.5 * min(_LENGTH, _SHARE * (total - 2 * low))
        stops = np.linspace(total / 2 - half, total / 2 + half, 2 * _TEETH + 1)
        teeth = _at(way, done, stops)
        slope = _at(way, done, stops + 1e-3 * total) - _at(way, done, stops - 1e-3 * total)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
        height = min(_HEIGHT, 0.28 * half)
        tooth = height * np.sin(np.arange(2 * _TEETH + 1) * np.pi / 2)[:, None]
        teeth = teeth + tooth * np.stack([-slope[:, 1], slope[:, 0]], axis=1)
        first = _at(way, done, np.linspace(low, total / 2 - half, 12))
        last = _at(way, done, np.linspace(total / 2 + half, total - low, 12))
        lines.append(np.concatenate([first, teeth[1:-1], last]))
    return lines


def _at(way: Points, done: NDArray[np.float64], stops: NDArray[np.float64]) -> Points:
    """Return the points of a way at these lengths from its start."""
    return np.stack([np.interp(stops, done, way[:, axis]) for axis in (0, 1)], axis=1)


def paint_resistors(page: Page, joints: Joints, color: str, plain: float) -> None:
    """Draw gap junctions; the width of one without a weight is that of the share `plain`."""
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgba

    if not len(joints.edges):
        return
    cut, grown = joints.kind == "cut", joints.kind == "grown"
    weight = np.full(len(joints.edges), plain) if joints.weight is None else joints.weight
    width = page.line_width(weight) * (1.6 if grown else 1.0)
    alpha = 1.0 if grown else max(page.alpha, 0.8 if cut else 0.0)
    paint = to_rgba(CUT_COLOR if cut else color, alpha * (0.4 if joints.faint else 1.0))
    lines = resistors(page.placement, joints, detailed=page.heads)
    zorder = {"electrical": 1.1, "cut": 1.25, "grown": 1.65}[joints.kind]
    gid = {"electrical": "electrical", "cut": "electrical cut", "grown": "electrical grown"}
    style: dict[str, Any] = {"linestyles": [(0, (3.5, 2.0))] if cut else "solid"}
    drawn = LineCollection(lines, colors=[paint], linewidths=width, zorder=zorder, **style)
    drawn.set(gid=gid[joints.kind], joinstyle="miter")
    page.ax.add_collection(drawn, autolim=False)
    if grown:
        halo = LineCollection(lines, colors=HALO_COLOR, linewidths=width + 3.5, zorder=1.45)
        halo.set(gid="electrical halo", capstyle="round")
        page.ax.add_collection(halo, autolim=False)
    if page.heads and joints.rectifying.any():
        heads = [_head(lines[k]) for k in np.flatnonzero(joints.rectifying)]
        hollow = PolyCollection(heads, facecolors="white", edgecolors=[paint])
        hollow.set(linewidths=page.bar_width, zorder=zorder + 0.05, gid=f"{gid[joints.kind]} heads")
        page.ax.add_collection(hollow, autolim=False)


def _head(line: Points) -> Points:
    """Return the hollow triangle at the end of a line."""
    along = line[-1] - line[-2]
    along /= max(float(np.linalg.norm(along)), 1e-12)
    across = np.array([-along[1], along[0]])
    length, half = _HEAD
    base = line[-1] - length * along
    return np.stack([line[-1], base + half * across, base - half * across])
