"""Drawing of synapses, neurons and names, each kind as one collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elegans.wiring.drawing.body import spread_labels
from elegans.wiring.drawing.colors import HALO_COLOR, INK, MUTED, UNKNOWN, contrast, shades
from elegans.wiring.drawing.layout import RADIUS, curves, members
from elegans.wiring.drawing.page import Page
from elegans.wiring.drawing.strands import Drawing, Strand
from elegans.wiring.wiring import SENSORY, Wiring

if TYPE_CHECKING:
    from matplotlib.collections import Collection

PLAIN = 0.4  # the relative weight of a synapse whose weight is not known
_LEAST_FONT = 4.0


def paint_synapses(page: Page, strand: Strand, colors: Sequence[str]) -> None:
    """Draw a strand in the colours of its excitatory and its inhibitory synapses."""
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgba_array

    if not len(strand.edges):
        return
    weight = np.full(len(strand.edges), PLAIN) if strand.weight is None else strand.weight
    order = np.argsort(weight, kind="stable")  # weak ones first, so that strong ones stay visible
    excitatory = strand.polarity[order] > 0
    shape = curves(
        page.placement, strand.edges[order], strand.polarity[order], with_heads=page.heads
    )
    width = page.line_width(weight[order]) * (1.6 if strand.kind == "grown" else 1.0)
    alpha = {"synapses": page.alpha, "cut": max(page.alpha, 0.8), "grown": 1.0}[strand.kind]
    paint = to_rgba_array(list(colors), alpha * (0.4 if strand.faint else 1.0))
    color = paint[np.where(excitatory, 0, 1)]
    zorder = {"synapses": 1.0, "cut": 1.2, "grown": 1.6}[strand.kind]
    lines = list(shape.lines)
    collections: list[Collection] = [
        LineCollection(
            lines,
            colors=color,
            linewidths=width,
            linestyles=[(0, (3.5, 2.0))] if strand.kind == "cut" else "solid",
            capstyle="butt",
            zorder=zorder,
            gid=strand.kind,
        )
    ]
    if strand.kind == "grown":
        halo = LineCollection(lines, colors=HALO_COLOR, linewidths=width + 3.5, zorder=1.4)
        halo.set(gid="halo", capstyle="round")
        collections.append(halo)
    if page.heads:
        heads = PolyCollection(list(shape.heads), facecolors=color[excitatory], linewidths=0)
        bars = LineCollection(
            list(shape.bars), colors=color[~excitatory], linewidths=page.bar_width
        )
        heads.set(gid=f"{strand.kind} heads", zorder=zorder + 0.05)
        bars.set(gid=f"{strand.kind} bars", zorder=zorder + 0.05)
        collections += [heads, bars]
    for collection in collections:
        page.ax.add_collection(collection, autolim=False)


def disc_colors(drawing: Drawing) -> list[str]:
    """Return the colour of each neuron, sensory ones first: of its layer, or by its weight."""
    weight = drawing.neuron_weight
    if weight is not None:
        return shades(weight / (float(np.nanmax(weight, initial=0.0)) or 1.0))
    layer_of = {k: layer for layer, neurons in members(drawing.wiring).items() for k in neurons}
    return [drawing.neuron_colors[layer_of[k]] for k in range(len(layer_of))]


def paint_neurons(page: Page, wiring: Wiring, colors: Sequence[str]) -> None:
    """Draw the neurons, one collection for each layer."""
    from matplotlib.collections import EllipseCollection

    for layer, neurons in members(wiring).items():
        size = np.full(len(neurons), 2 * RADIUS)
        discs = EllipseCollection(
            size,
            size,
            np.zeros(len(neurons)),
            units="xy",
            offsets=page.placement.position[neurons.start : neurons.stop],
            offset_transform=page.ax.transData,
            facecolors=colors[neurons.start : neurons.stop],
            edgecolors=[MUTED if colors[k] == UNKNOWN else "white" for k in neurons],
            linewidths=min(0.06 * page.scale, 1.2),
            zorder=3,
            gid=layer,
        )
        page.ax.add_collection(discs, autolim=False)


def paint_outputs(page: Page, wiring: Wiring) -> None:
    """Draw a ring around each neuron that is read, where these are not the motor neurons."""
    from matplotlib.collections import EllipseCollection

    if not wiring.has_outputs_elsewhere:
        return
    read = wiring.input_size + np.unique(wiring.outputs)
    size = np.full(len(read), 2.5 * RADIUS)
    rings = EllipseCollection(
        size,
        size,
        np.zeros(len(read)),
        units="xy",
        offsets=page.placement.position[read],
        offset_transform=page.ax.transData,
        facecolors="none",
        edgecolors=INK,
        linewidths=float(np.clip(0.07 * page.scale, 0.6, 1.5)),
        zorder=2.9,
        gid="outputs",
    )
    page.ax.add_collection(rings, autolim=False)


def paint_labels(page: Page, wiring: Wiring, colors: Sequence[str]) -> None:
    """Write the names, inside the neurons where they fit, else beside them."""
    from matplotlib.patheffects import withStroke

    texts = neuron_texts(wiring)
    inside = fits_inside(page, wiring)
    *_, last = members(wiring)
    for layer, neurons in members(wiring).items():
        for k in neurons:
            x, y = page.placement.position[k]
            if inside:
                style: dict[str, Any] = {
                    "ha": "center",
                    "va": "center_baseline",
                    "fontsize": page.label_size(texts.values()),
                    "color": contrast(colors[k]),
                }
            else:
                halo = withStroke(linewidth=2, foreground="white", alpha=0.85)
                style = {"fontsize": page.name_size, "color": INK, "path_effects": [halo]}
                beside = 1.3 * RADIUS
                if layer == SENSORY and page.placement.columns:
                    x, style["ha"], style["va"] = x - beside, "right", "center"
                elif layer == last and page.placement.columns:
                    x, style["ha"], style["va"] = x + beside, "left", "center"
                else:  # below, because a synapse onto itself stands above
                    y, style["ha"], style["va"] = y - 1.1 * RADIUS, "center", "top"
            page.ax.text(x, y, texts[k], zorder=4, parse_math=False, **style)  # a name may hold $


def paint_spread_labels(page: Page, wiring: Wiring) -> None:
    """Write the names for which there is room, so that they cover nothing but synapses."""
    from matplotlib.patheffects import withStroke

    texts = neuron_texts(wiring)
    size = float(np.clip(0.3 * page.scale, _LEAST_FONT, 8.0))
    halo = [withStroke(linewidth=0.25 * size, foreground="white", alpha=0.85)]
    for k, (x, y) in spread_labels(page, texts, size).items():
        style: dict[str, Any] = {"ha": "left", "va": "baseline", "path_effects": halo}
        label = page.ax.text(x, y, texts[k], fontsize=size, color=INK, zorder=4, **style)
        label.set(parse_math=False, gid="name")


def neuron_texts(wiring: Wiring) -> dict[int, str]:
    """Return what is written at each neuron: its name, or its number in the layer."""
    names = wiring.sensory_names + wiring.names
    return {
        k: str(n) if names[k] == f"{layer}_{n}" else names[k]
        for layer, neurons in members(wiring).items()
        for n, k in enumerate(neurons)
    }


def fits_inside(page: Page, wiring: Wiring) -> bool:
    """Return whether the neurons' texts fit into them at a size that can be read."""
    return page.label_size(neuron_texts(wiring).values()) >= _LEAST_FONT


def side_texts(page: Page, wiring: Wiring) -> tuple[float, float]:
    """Return the points that names need beside the first and the last column."""
    texts = neuron_texts(wiring)
    if fits_inside(page, wiring) or not page.placement.columns:
        return 0.0, 0.0
    first, *_, last = members(wiring).values()
    left, right = (
        max(0.6 * page.name_size * len(texts[k]) for k in neurons) for neurons in (first, last)
    )
    return left, right


def paint_headers(page: Page, wiring: Wiring) -> None:
    """Write name and size of each layer above its column."""
    for layer, x in page.placement.columns:
        size = len(wiring.layer_range(layer))
        above: dict[str, Any] = {"ha": "center", "va": "bottom", "zorder": 4, "xycoords": "data"}
        page.ax.annotate(
            layer,
            (x, page.top),
            (0, 1.5 * page.font),
            textcoords="offset points",
            fontsize=page.font,
            fontweight="bold",
            color=INK,
            **above,
        )
        page.ax.annotate(
            f"{size}",
            (x, page.top),
            (0, 0.35 * page.font),
            textcoords="offset points",
            fontsize=0.9 * page.font,
            color=MUTED,
            **above,
        )
