"""Wirings as matrices of signed synapses, binned where there are many neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.wiring.drawing.colors import CUT_COLOR, HALO_COLOR, INK, MUTED
from elegans.wiring.drawing.joints import Joints
from elegans.wiring.drawing.layout import members
from elegans.wiring.drawing.page import Inside, add_legend, legend_size, room_of
from elegans.wiring.drawing.painting import neuron_texts
from elegans.wiring.drawing.strands import Drawing, Strand, output_entries
from elegans.wiring.wiring import SENSORY, Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

CELLS = 400
"""Rows or columns of a matrix beyond which neurons share them."""

MATRIX_SIZE = (7.6, 6.9)
"""Width and height in inches."""

_CANCELLED = "#C8C8C8"  # of cells whose synapses cancel; white is for those without any
_NAMED = 32  # neurons of a side that are named
_LONGEST = 16  # letters of a name
_LEAST = 0.09  # share of a side that a layer takes at least
_MANY_MARKS = 500  # beyond these, marks of changes are small, and pixels even in vector formats
_FAINT = 0.45

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """The rows or the columns of a matrix.

    Attributes
    ----------
    layers
        Neurons of each layer, in the order of the side, the sensory ones counted first.
    per
        Neurons that share a row or column.
    cell
        Row or column of each neuron, shape (sensory + neuron,); -1 for one that has none.
    edges
        Ends of the rows or columns, from 0 to 1, shape (cell + 1,).
    spans
        Where each layer begins and ends.
    stretched
        Whether small layers take more room than is theirs.
    """

    layers: dict[str, range]
    per: int
    cell: NDArray[np.int64]
    edges: Array
    spans: dict[str, tuple[float, float]]
    stretched: bool

    @classmethod
    def of(cls, layers: dict[str, range], neurons: int) -> Side:
        """Return the side of some layers of a circuit of `neurons`."""
        sizes = np.array([len(inside) for inside in layers.values()])
        per = -(-int(sizes.sum()) // CELLS)
        own = sizes / sizes.sum()
        least = min(_LEAST, 0.5 / len(sizes))
        share = least + own * (1 - least * len(sizes))  # in all 1, and none below the least
        cell, edges, spans, count, start = np.full(neurons, -1), [np.zeros(1)], {}, 0, 0.0
        for (name, inside), part in zip(layers.items(), share, strict=True):
            cells = -(-len(inside) // per)
            cell[inside.start : inside.stop] = count + np.arange(len(inside)) // per
            ends = np.minimum(np.arange(1, cells + 1) * per, len(inside)) / len(inside)
            edges.append(start + part * ends)
            spans[name] = (start, float(start + part))
            count, start = count + cells, float(start + part)
        stretched = bool((share > 1.5 * own).any())
        return cls(layers, per, cell, np.concatenate(edges), spans, stretched)

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def middle(self) -> Array:
        """Middle of each row or column, shape (cell,)."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)


@dataclass(frozen=True)
class Cells:
    """What the cells of a matrix hold, each of shape (row, column)."""

    net: Array
    """Sum of the signed weights of the synapses, or of their signs."""
    count: NDArray[np.int64]
    """How many synapses there are."""

    @classmethod
    def of(cls, strands: list[Strand], rows: Side, columns: Side) -> Cells:
        """Return the sums over the synapses of some strands; memory O(synapses + cells)."""
        net = np.zeros(len(rows) * len(columns))
        count = np.zeros(len(net), np.int64)
        for strand in strands:
            place = _places(strand, rows, columns)
            signed = strand.polarity.astype(np.float64)
            if strand.weight is not None:
                signed *= strand.weight
            net += np.bincount(place, signed, minlength=len(net))
            count += np.bincount(place, minlength=len(net))
        shape = len(rows), len(columns)
        return cls(net.reshape(shape), count.reshape(shape))

    @property
    def cancelled(self) -> NDArray[np.bool_]:
        """Whether there are synapses whose sum is 0 but for rounding."""
        most = float(np.abs(self.net).max(initial=0.0))
        return (self.count > 0) & (np.abs(self.net) <= 1e-9 * most)


def draw_matrix(drawing: Drawing, ax: Axes | None, labels: bool | None) -> Axes:
    """Draw the synapses as a matrix; see `elegans.wiring.draw`."""
    wiring, strands = drawing.wiring, drawing.strands()
    layers, neurons = members(wiring), wiring.input_size + wiring.units
    columns = Side.of(layers, neurons)
    rows = Side.of({name: each for name, each in layers.items() if name != SENSORY}, neurons)
    present = [strand for strand in strands if strand.kind != "cut"]
    cells = Cells.of(present, rows, columns)
    if ax is None:
        ax = _new_axes(titled=drawing.title is not None)
    frame = _Frame(ax, drawing, strands, rows, columns, cells, labels)
    cmap, norm = _shades(drawing.synapse_colors, cells)
    _paint_cells(ax, rows, columns, cells, cmap, norm, faint=any(one.faint for one in strands))
    for strand in strands:
        if strand.kind != "synapses" and len(strand.edges):
            _mark(frame, strand, cmap(norm(cells.net)))
    for joint in drawing.joints():
        if len(joint.edges):
            _mark_junctions(frame, joint, drawing.junction_color)
    frame.paint_borders(drawing)
    frame.paint_names(drawing)
    frame.paint_scale(drawing, cmap, norm)
    frame.paint_foot(drawing)
    return ax


class _Frame:
    """The frame of a matrix: lengths on paper in points, and all that stands around the cells."""

    def __init__(
        self,
        ax: Axes,
        drawing: Drawing,
        strands: list[Strand],
        rows: Side,
        columns: Side,
        cells: Cells,
        labels: bool | None,
    ) -> None:
        width, height = room_of(ax)
        self.ax, self.rows, self.columns, self.cells = ax, rows, columns, cells
        self.font = font = float(np.clip(0.028 * min(width, height), 4.0, 9.0))
        self.texts = neuron_texts(drawing.wiring)
        self.named = tuple(
            side.per == 1 and (labels or (labels is None and len(side) <= _NAMED))
            for side in (rows, columns)
        )
        self.name_font = 0.85 * font
        longest = min(max(map(len, self.texts.values())), _LONGEST)
        room = [0.62 * self.name_font * longest + 0.9 * font if n else 0.0 for n in self.named]
        self.upright = len(columns.layers) > 6
        widest = max(len(name) for name in columns.layers)
        count = max(len(f"{len(each):,}") for each in columns.layers.values())
        # Beside the cells, from within: names of neurons, a strip of colour, names of layers.
        self.inner = np.array(room) + 1.1 * font
        self.note = self._note()
        self.foot = foot = 1.9 * font
        self.entries = entries = drawing.entries(strands, cells=True)
        entries += output_entries(drawing.wiring)
        self.legend_columns, legend_rows = legend_size(entries, width, font)
        if drawing.later is not None:  # the picture beside has two lines more, and the same place
            legend_rows = legend_size([*entries, *entries], width, font)[1]
        left = self.inner[0] + 0.64 * font * max(widest, count) + font
        above = 0.64 * font * (widest + count + 2) if self.upright else 2.9 * font
        top = self.inner[1] + above + 1.8 * font
        bottom = foot + (1.75 * legend_rows + 0.6) * font * drawing.legend
        right = 8.2 * font
        sides = np.array([left + right, top + bottom])
        shrink = np.minimum(0.7 * np.array([width, height]) / sides, 1.0)
        self.width, self.height = np.array([width, height]) - sides * shrink
        self.top = top
        margins = np.array([left, bottom, right, top]) * [*shrink, *shrink]
        inside = Inside(ax.get_axes_locator(), *margins.tolist())
        ax.set_axes_locator(inside)
        ax.apply_aspect(inside(ax, None))
        ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="auto", facecolor="white")
        ax.grid(visible=False)

    def _note(self) -> str:
        parts = []
        if max(self.rows.per, self.columns.per) > 1:
            to = f"{self.rows.per} neuron{'s' if self.rows.per > 1 else ''}"
            parts.append(f"a cell sums the synapses from {self.columns.per} to {to}")
        if self.cells.cancelled.any():
            parts.append("grey: excitation and inhibition cancel")
        if self.rows.stretched or self.columns.stretched:
            parts.append("small layers are stretched")
        text = "; ".join(parts)
        return text[:1].upper() + text[1:]

    def paint_borders(self, drawing: Drawing) -> None:
        """Draw the boundaries of the layers, and strips in their colours."""
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Rectangle

        inner = [[(0.0, end), (1.0, end)] for _, end in list(self.rows.spans.values())[:-1]]
        inner += [[(end, 0.0), (end, 1.0)] for _, end in list(self.columns.spans.values())[:-1]]
        lines = LineCollection(inner, colors=INK, linewidths=0.7, zorder=3, gid="boundaries")
        self.ax.add_collection(lines, autolim=False)
        for spine in self.ax.spines.values():
            spine.set(visible=True, color=INK, linewidth=0.9, zorder=3)
        thick = 0.5 * self.font
        wide, high = thick / self.width, thick / self.height
        for side, along in ((self.columns, "x"), (self.rows, "y")):
            for name, (start, end) in side.spans.items():
                box = (start, -1.4 * high, end - start, high)
                if along == "y":
                    box = (-1.4 * wide, start, wide, end - start)
                strip = Rectangle(box[:2], box[2], box[3], color=drawing.neuron_colors[name])
                strip.set(linewidth=0, clip_on=False, zorder=3)
                self.ax.add_patch(strip)
        if drawing.wiring.has_outputs_elsewhere:
            self._mark_outputs(drawing.wiring)

    def _mark_outputs(self, wiring: Wiring) -> None:
        """Mark the rows and columns of neurons that are read by circles on the strips."""
        thick = 0.5 * self.font
        read = wiring.input_size + np.unique(wiring.outputs)
        style: dict[str, Any] = {"s": (1.1 * thick) ** 2, "facecolor": "white", "edgecolor": INK}
        style |= {"linewidths": 0.15 * thick, "clip_on": False, "zorder": 3.1, "gid": "outputs"}
        rows = self.rows.middle[self.rows.cell[read]]
        columns = self.columns.middle[self.columns.cell[read]]
        aside, above = 0.9 * thick / self.width, 0.9 * thick / self.height
        self.ax.scatter(np.full(len(read), -aside), rows, **style)
        self.ax.scatter(columns, np.full(len(read), -above), **style)

    def _write(self, text: str, x: float, y: float, **style: Any) -> None:
        """Write a text at a place of the axes, `right` and `up` of it by so many points."""
        offset = style.pop("right", 0.0), style.pop("up", 0.0)
        style = {"fontsize": self.font, "color": INK, **style}
        self.ax.annotate(
            text, (x, y), offset, textcoords="offset points", annotation_clip=False, **style
        )

    def paint_names(self, drawing: Drawing) -> None:
        """Write the names of layers, and those of neurons where there are few."""
        font, upright = self.font, self.upright
        aside, above = self.inner.tolist()
        for name, (start, end) in self.columns.spans.items():
            size = len(self.columns.layers[name])
            text = f"{name} ({size:,})" if upright else f"{name}\n{size:,}"
            turn = 90 if upright else 0
            self._write(
                text, (start + end) / 2, 0, up=above, ha="center", va="bottom", rotation=turn
            )
        for name, (start, end) in self.rows.spans.items():
            size = len(self.rows.layers[name])
            text = f"{name} ({size:,})" if len(self.rows.layers) > 9 else f"{name}\n{size:,}"
            self._write(text, 0, (start + end) / 2, right=-aside, ha="right", va="center")
        title = {"color": MUTED}
        self._write("source", 0.5, 0, up=self.top - 0.4 * font, ha="center", va="top", **title)
        self._write(
            "target", 0, 0, right=-aside, up=above + 0.6 * font, ha="right", va="bottom", **title
        )
        if drawing.title is not None:
            self.ax.set_title(drawing.title, pad=self.top)
        small = {"fontsize": self.name_font, "parse_math": False}
        for side, named, along in (
            (self.rows, self.named[0], False),
            (self.columns, self.named[1], True),
        ):
            for k in np.flatnonzero(side.cell >= 0) if named else ():
                middle, text = float(side.middle[side.cell[k]]), self.texts[int(k)]
                text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
                if along:
                    style = {"up": 0.9 * font, "rotation": 90, "ha": "center", "va": "bottom"}
                    self._write(text, middle, 0, **style, **small)
                else:
                    style = {"right": -0.9 * font, "ha": "right", "va": "center"}
                    self._write(text, 0, middle, **style, **small)

    def paint_scale(self, drawing: Drawing, cmap: Colormap, norm: Normalize) -> None:
        """Draw the scale of the colours at the right."""
        from matplotlib.cm import ScalarMappable

        font, most = self.font, float(norm.vmax or 1.0)
        across = font / self.width
        bar = self.ax.inset_axes((1 + 1.2 * across, 0.15, 1.1 * across, 0.7))
        scale = self.ax.figure.colorbar(ScalarMappable(norm, cmap), cax=bar)
        plain = drawing.weight is None
        steps = [-1.0, 0.0, 1.0] if plain and most < 4 else [-1, -0.25, 0, 0.25, 1]
        ticks = [step * most for step in steps]
        scale.set_ticks(
            ticks, labels=[f"{tick:.3g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
        )
        what = "number of synapses" if plain else drawing.quantity
        several = bool((self.cells.count > 1).any())
        text = f"net {what}" if several or plain else f"signed {what}"
        if several and max(self.rows.per, self.columns.per) > 1:
            text += " of a cell"
        scale.set_label(text, fontsize=font, color=INK)
        scale.outline.set(linewidth=0.6)
        bar.tick_params(labelsize=0.9 * font, width=0.6, length=2.5, colors=INK)

    def paint_foot(self, drawing: Drawing) -> None:
        """Write how to read the cells, and the legend, below them."""
        if self.note:
            style = {"up": -0.6 * self.font, "ha": "center", "va": "top", "color": MUTED}
            self._write(self.note, 0.5, 1, fontsize=0.95 * self.font, **style)
        if drawing.legend:
            below = self.foot / self.height
            add_legend(self.ax, self.entries, self.legend_columns, self.font, below=below)


def _new_axes(*, titled: bool) -> Axes:
    import matplotlib.pyplot as plt

    width, height = MATRIX_SIZE
    strip = 0.4 if titled else 0.0
    figure = plt.figure(figsize=(width, height + strip))
    return figure.add_axes((0.01, 0.01, 0.98, height / (height + strip) - 0.02))


def _shades(colors: tuple[str, str], cells: Cells) -> tuple[Colormap, Normalize]:
    """Return colours from inhibition over white to excitation, and the scale from weights to them.

    Differences from 0 are drawn by their square roots, so that weak synapses stay visible.
    """
    from matplotlib.colors import FuncNorm, LinearSegmentedColormap

    excitatory, inhibitory = colors
    cmap = LinearSegmentedColormap.from_list("signed", [inhibitory, "white", excitatory], N=511)
    most = float(np.abs(cells.net).max(initial=0.0)) or 1.0
    both = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda y: np.sign(y) * np.square(y))
    return cmap, FuncNorm(both, vmin=-most, vmax=most)


def _places(strand: Strand, rows: Side, columns: Side) -> NDArray[np.int64]:
    """Return the number of each synapse's cell, row by row, shape (synapse,)."""
    source, target = strand.edges.T
    return np.asarray(rows.cell[target] * len(columns) + columns.cell[source])


def _paint_cells(
    ax: Axes,
    rows: Side,
    columns: Side,
    cells: Cells,
    cmap: Colormap,
    norm: Normalize,
    *,
    faint: bool,
) -> None:
    from matplotlib.colors import ListedColormap

    # One picture element a cell even in vector formats: a path for each would be megabytes.
    common: dict[str, Any] = {"rasterized": True, "alpha": _FAINT if faint else None}
    cancelled = cells.cancelled
    shown = np.ma.masked_array(cells.net, (cells.count == 0) | cancelled)
    mesh = ax.pcolormesh(columns.edges, rows.edges, shown, cmap=cmap, norm=norm, **common)
    mesh.set(gid="synapses", zorder=1)
    if cancelled.any():
        grey = np.ma.masked_array(np.zeros(cancelled.shape), ~cancelled)
        mesh = ax.pcolormesh(
            columns.edges, rows.edges, grey, cmap=ListedColormap([_CANCELLED]), **common
        )
        mesh.set(gid="cancelled", zorder=1)


def _mark(frame: _Frame, strand: Strand, colors: NDArray[np.float64]) -> None:
    """Mark the cells where synapses were cut or have grown, each once."""
    rows, columns = frame.rows, frame.columns
    row, column = np.divmod(np.unique(_places(strand, rows, columns)), len(columns))
    x, y = columns.middle[column], rows.middle[row]
    cell = np.minimum(
        np.diff(columns.edges)[column] * frame.width, np.diff(rows.edges)[row] * frame.height
    )
    many = len(x) > _MANY_MARKS
    side = np.clip(0.8 * cell, 1.3 if many else 2.6, 8.0)
    common: dict[str, Any] = {"rasterized": many, "clip_on": False}
    if strand.kind == "cut":
        width = np.clip(side / 5, 0.5, 1.2)
        cut = frame.ax.scatter(x, y, s=side**2, c=CUT_COLOR, marker="x", linewidths=width)
        cut.set(gid="cut", zorder=2.2, **common)
        return
    wide = side + (1.4 if many else 2.6)
    halo = frame.ax.scatter(x, y, s=wide**2, c=HALO_COLOR, marker="s", linewidths=0)
    halo.set(gid="halo", zorder=2, **common)
    grown = frame.ax.scatter(x, y, s=side**2, c=colors[row, column], marker="s", linewidths=0)
    grown.set(gid="grown", zorder=2.1, **common)


def _mark_junctions(frame: _Frame, joints: Joints, color: str) -> None:
    """Mark each cell by which a current of a gap junction flows, in its middle, once."""
    rows, columns = frame.rows, frame.columns
    source, target = joints.ways().T
    cells = np.unique(rows.cell[target] * len(columns) + columns.cell[source])
    row, column = np.divmod(cells, len(columns))
    cell = np.minimum(
        np.diff(columns.edges)[column] * frame.width, np.diff(rows.edges)[row] * frame.height
    )
    side = np.clip(0.5 * cell, 0.8, 7.0)
    at = columns.middle[column], rows.middle[row]
    common: dict[str, Any] = {"rasterized": len(cells) > _MANY_MARKS, "clip_on": False}
    if joints.kind == "grown":
        wide = side + 2.6
        halo = frame.ax.scatter(*at, s=wide**2, c=HALO_COLOR, marker="D", linewidths=0)
        halo.set(gid="electrical halo", zorder=2.25, **common)
    cut = joints.kind == "cut"
    paint = CUT_COLOR if cut else color
    marks = frame.ax.scatter(*at, s=side**2, marker="D", linewidths=0.7 if cut else 0)
    marks.set(facecolor="none" if cut else paint, zorder=2.3, **common)
    if cut:
        marks.set_edgecolor(paint)
    marks.set_alpha(_FAINT if joints.faint else None)
    marks.set_gid("electrical" if joints.kind == "electrical" else f"electrical {joints.kind}")
