"""Pictures of circuits, neuron by neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from elegans.errors import WiringError
from elegans.wiring.drawing.colors import CUT_COLOR, DARKEST, LIGHTEST
from elegans.wiring.drawing.layout import RADIUS, curves, place
from elegans.wiring.drawing.page import Entry, Page, add_legend, legend_size, new_axes
from elegans.wiring.drawing.painting import (
    disc_colors,
    fits_inside,
    paint_headers,
    paint_labels,
    paint_neurons,
    paint_synapses,
    side_texts,
)
from elegans.wiring.drawing.strands import Drawing, all_synapses, strands_of
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY_LABELS = 80
_MANY_SYNAPSES = 200_000
_INCHES_APART = 0.3  # of neighbouring neurons: names of 6 points, the least, fit beside them
_BESIDE, _ABOVE_AND_BELOW = 2.8, 1.4  # names and arcs; headers and legend


def draw_circuit(
    drawing: Drawing, ax: Axes | None, layout: str, labels: bool | None, max_neurons: int
) -> Axes:
    """Draw neurons and synapses; see `elegans.wiring.draw` for the arguments.

    Raises `WiringError` if the circuit is too large, or the layout is unknown.
    """
    wiring, weight = drawing.wiring, drawing.weight
    _check_drawable(wiring, max_neurons)
    largest = 0.0 if weight is None else float(weight.max(initial=0.0))
    relative = None if weight is None else weight / (largest or 1.0)
    strands = strands_of(wiring, drawing.before, relative)
    edges = np.concatenate([strand.edges for strand in strands])
    later = drawing.later
    arranged = strands if later is None else strands_of(later, wiring, None)
    placement = place(wiring, layout, np.concatenate([strand.edges for strand in arranged]))
    if ax is None:
        ax = new_axes(placement, titled=drawing.title is not None)

    page = Page(ax, placement, synapses=len(edges))
    entries = drawing.entries(strands)
    if largest:
        widest = float(page.line_width(1.0))
        entries.append(Entry(f"|{drawing.quantity}| = {largest:.3g}", "#555555", widest))
    if drawing.neuron_weight is not None:
        most = float(np.nanmax(drawing.neuron_weight, initial=0.0))
        marks = {0.0: LIGHTEST} | ({most: DARKEST} if most else {})
        entries += [
            Entry(f"neuron: {drawing.quantity} = {mark:.3g}", color)
            for mark, color in marks.items()
        ]
    elif not placement.columns:  # the columns' headers name the layers
        entries += [Entry(layer, color) for layer, color in drawing.neuron_colors.items()]
    columns, rows = legend_size(entries, page.width, page.font) if drawing.legend else (0, 0)
    # Arcs reach beyond the neurons; only their shapes tell by how much.
    reach = curves(placement, edges, np.ones(len(edges), np.int8), with_heads=False).lines
    page.fit(reach, legend_rows=rows)
    if labels is None:
        few = wiring.input_size + wiring.units <= _MANY_LABELS
        labels = few and (page.name_size >= 6 or fits_inside(page, wiring))
    if labels:  # names that do not fit into the neurons stand beside them
        page.fit(reach, legend_rows=rows, sides=side_texts(page, wiring))

    for strand in strands:
        cut = strand.kind == "cut"
        paint_synapses(page, strand, (CUT_COLOR, CUT_COLOR) if cut else drawing.synapse_colors)
    colors = disc_colors(drawing)
    paint_neurons(page, wiring, colors)
    if labels:
        paint_labels(page, wiring, colors)
    paint_headers(page, wiring)
    if drawing.legend:
        add_legend(ax, entries, columns, page.font)
    if drawing.title is not None:
        ax.set_title(drawing.title)
    return ax


def circuit_size(wiring: Wiring) -> tuple[float, float]:
    """Return width and height in inches at which the names in a layered picture can be read."""
    placement = place(wiring, "layered", all_synapses(wiring)[0])
    extent = np.ptp(placement.position, axis=0) + 4 * RADIUS
    width, height = extent * _INCHES_APART + [_BESIDE, _ABOVE_AND_BELOW]
    return float(width), float(height)


def _check_drawable(wiring: Wiring, max_neurons: int) -> None:
    advice = (
        "take view='matrix' or 'classes', or save it as .graphml and open it in Gephi or Cytoscape"
    )
    neurons = wiring.input_size + wiring.units
    if neurons > max_neurons:
        raise WiringError(
            f"a picture of {neurons:,} neurons would show nothing (max_neurons={max_neurons:,}); "
            f"{advice}"
        )
    synapses = wiring.synapse_count + wiring.sensory_synapse_count
    if synapses > _MANY_SYNAPSES:
        raise WiringError(
            f"a picture of {synapses:,} synapses would show nothing (at most {_MANY_SYNAPSES:,}); "
            f"{advice}"
        )
