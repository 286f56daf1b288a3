"""Wirings layer by layer: how many synapses, how strong, with which sign, from where to where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.wiring.drawing.colors import CUT_COLOR, HALO_COLOR, INK, MUTED, contrast
from elegans.wiring.drawing.layout import bezier, members
from elegans.wiring.drawing.page import POINTS, add_legend, legend_size, room_of
from elegans.wiring.drawing.strands import Drawing, Strand
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 3.1  # of neighbouring layers, in radii of their discs
_LOOP = 1.7  # height of an arc to its own layer; other heights leave room for what is written there
_NEAR, _FAR = (0.6, 1.85), (3.0, 3.6)  # heights to the next layer and the one after, there and back
_LANE = 1.1  # between arcs that reach one layer further
_ANGLE = np.deg2rad(52)  # where arcs leave a disc
_UNIT = 0.62  # inches of a radius at most
_LABELLED = 80  # arcs beyond which their numbers are left out
_LONGEST = 11  # letters of a layer's name

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Bundle:
    """The synapses of one sign from one layer to another.

    Attributes
    ----------
    source, target
        Places of the layers, from the input to the output.
    sign
        +1 or -1.
    count
        How many there are now.
    mean
        Their mean weight with its sign, or None.
    cut, grown
        How many fewer and more there are than before, synapse by synapse.
    """

    source: int
    target: int
    sign: int
    count: int
    mean: float | None
    cut: int
    grown: int

    @property
    def height(self) -> float:
        """How far from the line of discs the arc reaches, with its sign."""
        span, back = abs(self.target - self.source), self.target < self.source
        if not span:
            return self.sign * _LOOP
        height = _NEAR[back] if span == 1 else _FAR[back] + _LANE * (span - 2)
        return self.sign * height

    def curve(self) -> Points:
        """Return the arc, shape (point, 2), one unit the radius of a disc."""
        x0, x1, up = self.source * _APART, self.target * _APART, float(self.sign)
        if self.source == self.target:
            lean, out, side = 0.38, 0.95, np.sqrt(1 - 0.38**2)
            start, end = [x0 - lean, up * side], [x0 + 1.05 * lean, 1.05 * up * side]
            top = up * (side + (_LOOP - side) / 0.75)
            control = [[x0 - out, top], [x1 + out, top]]
        else:
            along = 1.0 if x1 > x0 else -1.0
            reach, rise = along * np.cos(_ANGLE), np.sin(_ANGLE)
            if abs(self.height) < 1:  # leaves the disc at its side
                reach, rise = along * np.cos(_ANGLE / 2), np.sin(_ANGLE / 2)
            start, end = [x0 + reach, up * rise], [x1 - 1.05 * reach, 1.05 * up * rise]
            top = up * (rise + (abs(self.height) - rise) / 0.75)
            control = [[start[0] + 0.2 * (end[0] - start[0]), top],
                       [end[0] - 0.2 * (end[0] - start[0]), top]]  # fmt: skip
        first, second, third, last = (np.array([p]) for p in (start, *control, end))
        return np.asarray(bezier(first, second, third, last, points=40)[0])

    def text(self) -> str:
        """Return what is written at the arc."""
        lines = [f"{self.count:,}"]
        if self.grown or self.cut:
            lines.append(f"+{self.grown:,} \N{MINUS SIGN}{self.cut:,}")
        if self.mean is not None and self.count:
            lines.append(f"{self.mean:+.2g}".replace("-", "\N{MINUS SIGN}"))
        return "\n".join(lines)


def bundles(drawing: Drawing, strands: list[Strand]) -> list[Bundle]:
    """Return the bundles that have synapses, or had some."""
    wiring = drawing.wiring
    layers = members(wiring)
    place = np.empty(wiring.input_size + wiring.units, np.int64)
    for k, inside in enumerate(layers.values()):
        place[inside.start : inside.stop] = k
    size = len(layers)
    shape = (size, size, 2)
    totals = {kind: np.zeros(shape, np.int64) for kind in ("synapses", "cut", "grown")}
    weight = np.zeros(shape)
    for strand in strands:
        source, target = place[strand.edges].T
        flat = (source * size + target) * 2 + (strand.polarity > 0)
        totals[strand.kind] += np.bincount(flat, minlength=2 * size**2).reshape(shape)
        if strand.weight is not None:
            weight += np.bincount(flat, strand.weight, minlength=2 * size**2).reshape(shape)
    now = totals["synapses"] + totals["grown"]
    found = []
    for source, target, positive in np.argwhere(now + totals["cut"] > 0).tolist():
        at, sign = (source, target, positive), 2 * positive - 1
        mean = None
        if drawing.weight is not None:
            mean = sign * float(weight[at]) / max(int(now[at]), 1)
        changes = int(totals["cut"][at]), int(totals["grown"][at])
        found.append(Bundle(source, target, sign, int(now[at]), mean, *changes))
    return found


def classes_size(wiring: Wiring) -> tuple[float, float]:
    """Return width and height in inches that suit a picture of the layers."""
    layers = members(wiring)
    unit = min(_UNIT, 12.0 / (len(layers) * _APART))
    plain = Drawing(wiring, None, None, None, "", {}, ("", ""), legend=False, title=None)
    highest = max((abs(arc.height) for arc in bundles(plain, plain.strands())), default=1.0)
    width = max(len(layers) * _APART * unit, 5.6)
    return width, float(np.clip(2 * max(highest + 0.4, 1.2) * unit + 1.7, 3.2, 9.0))


def draw_classes(drawing: Drawing, ax: Axes | None) -> Axes:
    """Draw the layers as discs, and synapses between them as arrows; see `elegans.wiring.draw`."""
    strands = drawing.strands()
    arcs = bundles(drawing, strands)
    layers = members(drawing.wiring)
    if ax is None:
        ax = _new_axes(drawing)
    width, height = room_of(ax)
    font = float(np.clip(0.03 * min(width, height), 5.0, 10.0))
    entries = drawing.entries(strands)
    columns, rows = legend_size(entries, width, font) if drawing.legend else (0, 0)
    notes = _notes(drawing, labelled=len(arcs) <= _LABELLED, letters=int(width / (0.52 * font)))
    footer = (1.75 * rows + 1.4 * len(notes) + 1.2) * font
    curves = [arc.curve() for arc in arcs]
    reach = np.concatenate([np.array([[-1, -1.2], [(len(layers) - 1) * _APART + 1, 1.2]]), *curves])
    low, high = reach.min(axis=0), reach.max(axis=0)
    text = 3.2 * font  # of the two lines at the outermost arcs
    room = max(height - footer - 2 * text, 0.3 * height)
    scale = min(0.94 * width / (high[0] - low[0]), room / (high[1] - low[1]), _UNIT * POINTS)
    middle = (high + low) / 2
    ax.set_xlim(middle[0] - width / scale / 2, middle[0] + width / scale / 2)
    bottom = middle[1] - (height + footer) / scale / 2
    ax.set_ylim(bottom, bottom + height / scale)
    ax.set_aspect("equal", adjustable="box")
    ax.set_axis_off()

    widths = _widths(arcs, min(0.11 * scale, 5.0))
    _paint_arcs(ax, drawing, arcs, curves, widths, scale)
    _paint_discs(ax, layers, drawing, scale)
    if len(arcs) <= _LABELLED:
        _paint_texts(ax, drawing, arcs, curves, widths, min(0.92 * font, 0.24 * scale))
    ax.annotate(
        "\n".join(notes),
        (0.5, 0),
        (0, (1.75 * rows + 0.9) * font),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=0.92 * font,
        color=MUTED,
    )
    if drawing.legend:
        add_legend(ax, entries, columns, font)
    if drawing.title is not None:
        ax.set_title(drawing.title)
    return ax


def _notes(drawing: Drawing, *, labelled: bool, letters: int) -> list[str]:
    """Return how to read the arrows, in lines of so many letters."""
    parts = ["arrows are as wide as the number of synapses"]
    if labelled:
        parts = ["at an arrow: the number of synapses, which is its width"]
        if drawing.before is not None:
            parts.append("below it how many have grown and were cut, net")
        if drawing.weight is not None:
            parts.append(f"then their mean {drawing.quantity}, signed")
    if drawing.wiring.has_outputs_elsewhere:
        read = Counter(map(str, drawing.wiring.layer_of[np.unique(drawing.wiring.outputs)]))
        parts.append("read as outputs: " + ", ".join(f"{n:,} {layer}" for layer, n in read.items()))
    pairs = _junction_counts(drawing.wiring)
    if pairs:
        told = ", ".join(f"{one} to {other} {n:,}" for (one, other), n in pairs.items())
        parts.append(f"gap junctions: {told}")
    return wrap((text := ", ".join(parts))[:1].upper() + text[1:], max(letters, 20))


def _junction_counts(wiring: Wiring) -> dict[tuple[str, str], int]:
    """Return how many gap junctions join two layers, from the input to the output."""
    order = {layer: k for k, layer in enumerate(members(wiring))}
    counts: dict[tuple[str, str], int] = {}
    for j, i, _ in wiring.electrical:
        layers = str(wiring.layer_of[j]), str(wiring.layer_of[i])
        first, second = sorted(layers, key=order.__getitem__)
        counts[first, second] = counts.get((first, second), 0) + 1
    return counts


def _new_axes(drawing: Drawing) -> Axes:
    import matplotlib.pyplot as plt

    width, height = classes_size(drawing.wiring)
    strip = 0.0 if drawing.title is None else 0.4
    figure = plt.figure(figsize=(width, height + strip))
    return figure.add_axes((0.01, 0.01, 0.98, height / (height + strip) - 0.02))


def _paint_arcs(
    ax: Axes,
    drawing: Drawing,
    arcs: list[Bundle],
    curves: list[Points],
    thickness: list[float],
    scale: float,
) -> None:
    """Draw the arrows; under them gold where synapses have grown, dashes where they were cut."""
    from matplotlib.collections import LineCollection, PolyCollection

    lines: dict[str, list[tuple[Points, float, str]]] = {"halo": [], "synapses": [], "cut": []}
    heads: list[tuple[Points, str]] = []
    bars: list[tuple[Points, float, str]] = []
    for arc, curve, width in zip(arcs, curves, thickness, strict=True):
        color = drawing.synapse_colors[0 if arc.sign > 0 else 1]
        along = curve[-1] - curve[-4]
        along /= np.linalg.norm(along)
        across = np.array([-along[1], along[0]])
        half = max(1.1 * width + 1.2, 2.6) / scale
        if arc.grown:
            lines["halo"].append((curve, width + 4, HALO_COLOR))
        if arc.count and arc.sign > 0:
            base = curve[-1] - 2 * half * along
            lines["synapses"].append((_until(curve, base, along), width, color))
            heads.append((np.stack([curve[-1], base + half * across, base - half * across]), color))
        elif arc.count:
            lines["synapses"].append((curve, width, color))
            bars.append((np.stack([curve[-1] + half * across, curve[-1] - half * across]),
                         max(0.6 * width, 1.4), color))  # fmt: skip
        if arc.cut:
            beside = curve + np.array([0.0, arc.sign * (width / 2 + 2.2) / scale])
            lines["cut"].append((beside, 1.1, CUT_COLOR))
    for k, (gid, drawn) in enumerate(lines.items()):
        if drawn:
            parts, widths, colors = zip(*drawn, strict=True)
            style: Any = [(0, (3.0, 1.6))] if gid == "cut" else "solid"
            ax.add_collection(
                LineCollection(
                    list(parts),
                    linewidths=widths,
                    colors=colors,
                    linestyles=style,
                    capstyle="butt",
                    zorder=1 + 0.1 * k,
                    gid=gid,
                ),
                autolim=False,
            )
    if heads:
        shapes, colors = zip(*heads, strict=True)
        ax.add_collection(
            PolyCollection(list(shapes), facecolors=colors, linewidths=0, zorder=2.5,
                           gid="synapses heads"), autolim=False,
        )  # fmt: skip
    if bars:
        ends, widths, colors = zip(*bars, strict=True)
        ax.add_collection(
            LineCollection(list(ends), linewidths=widths, colors=colors, zorder=2.5,
                           gid="synapses bars"), autolim=False,
        )  # fmt: skip


def _widths(arcs: list[Bundle], thick: float) -> list[float]:
    """Return the width of each arrow in points, linear in the number of its synapses."""
    most = max((arc.count for arc in arcs), default=1) or 1
    return [thick * (0.15 + 0.85 * arc.count / most) for arc in arcs]


def _until(curve: Points, end: Points, along: Points) -> Points:
    """Return the curve up to the base of its head."""
    before = (curve - end) @ along < 0
    last = int(np.flatnonzero(before[1:-1]).max(initial=0)) + 1
    return np.concatenate([curve[: last + 1], end[None]])


def _paint_discs(ax: Axes, layers: dict[str, range], drawing: Drawing, scale: float) -> None:
    from matplotlib.patches import Circle

    for k, (name, inside) in enumerate(layers.items()):
        color = drawing.neuron_colors[name]
        disc = Circle((k * _APART, 0), 1.0, facecolor=color, edgecolor="white", linewidth=1.2)
        disc.set(zorder=2, gid=name)
        ax.add_patch(disc)
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        size = min(1.7 * scale / (0.62 * max(len(short), 5)), 11.0)
        style: dict[str, Any] = {"ha": "center", "color": contrast(color), "zorder": 3}
        ax.text(k * _APART, 0.08, short, fontsize=size, va="bottom", parse_math=False, **style)
        ax.text(k * _APART, -0.08, f"{len(inside):,}", fontsize=size, va="top", **style)


def _paint_texts(
    ax: Axes,
    drawing: Drawing,
    arcs: list[Bundle],
    curves: list[Points],
    widths: list[float],
    font: float,
) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white")]
    for arc, curve, width in zip(arcs, curves, widths, strict=True):
        middle = curve[len(curve) // 2]
        color = drawing.synapse_colors[0 if arc.sign > 0 else 1]
        ax.annotate(
            arc.text(),
            (float(middle[0]), float(middle[1])),
            (0, arc.sign * (0.45 * font + 0.5 * width + 2.5 * (arc.cut > 0) + 1.5)),
            textcoords="offset points",
            ha="center",
            va="bottom" if arc.sign > 0 else "top",
            fontsize=font,
            linespacing=1.05,
            color=color if arc.count else INK,
            path_effects=halo,
            zorder=4,
        )
