"""Pictures of circuits, neuron by neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from elegans.errors import WiringError
from elegans.wiring.drawing.body import body_positions, paint_outline
from elegans.wiring.drawing.colors import CUT_COLOR, DARKEST, LIGHTEST
from elegans.wiring.drawing.joints import joints_of, paint_resistors, resistors
from elegans.wiring.drawing.layout import RADIUS, Points, curves, place
from elegans.wiring.drawing.page import Entry, Page, add_legend, legend_size, new_axes
from elegans.wiring.drawing.painting import (
    PLAIN,
    disc_colors,
    fits_inside,
    paint_headers,
    paint_labels,
    paint_neurons,
    paint_outputs,
    paint_spread_labels,
    paint_synapses,
    side_texts,
)
from elegans.wiring.drawing.strands import Drawing, all_synapses, output_entries, strands_of
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY_LABELS = 80
_MANY_SYNAPSES = 200_000
_INCHES_APART = 0.3  # of neighbouring neurons: names of 6 points, the least, fit beside them
_BODY_WIDTH = 20.0  # inches, at which the names of a whole worm can be read
_BESIDE, _ABOVE_AND_BELOW = 2.8, 1.4  # names and arcs; headers and legend


def draw_circuit(
    drawing: Drawing,
    ax: Axes | None,
    layout: str | tuple[Points, tuple[str, ...]],
    labels: bool | None,
    max_neurons: int,
) -> Axes:
    """Draw neurons and synapses; see `elegans.wiring.draw` for the arguments.

    Raises `WiringError` if the circuit is too large, or the layout is unknown.
    """
    wiring, weight = drawing.wiring, drawing.weight
    _check_drawable(wiring, max_neurons)
    largest = 0.0 if weight is None else float(weight.max(initial=0.0))
    if drawing.junction_weight is not None:
        largest = max(largest, float(drawing.junction_weight.max(initial=0.0)))
    relative = None if weight is None else weight / (largest or 1.0)
    strands = strands_of(wiring, drawing.before, relative)
    joints = drawing.joints(largest or 1.0)
    edges = np.concatenate([strand.edges for strand in strands])
    later = drawing.later
    arranged = strands if later is None else strands_of(later, wiring, None)
    tied = joints if later is None else joints_of(later, wiring, None)
    drawn = [strand.edges for strand in arranged] + [joint.edges for joint in tied]
    in_body = not isinstance(layout, str)
    if isinstance(layout, str):
        placement = place(wiring, layout, np.concatenate(drawn))
    else:
        placement = body_positions(wiring, *layout)
    if ax is None:
        widest = _BODY_WIDTH if in_body else 12.0
        ax = new_axes(placement, titled=drawing.title is not None, widest=widest)

    page = Page(ax, placement, synapses=len(edges) + sum(len(joint.edges) for joint in joints))
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
    entries += output_entries(wiring)
    columns, rows = legend_size(entries, page.width, page.font) if drawing.legend else (0, 0)
    # Arcs reach beyond the neurons; only their shapes tell by how much.
    reach = curves(placement, edges, np.ones(len(edges), np.int8), with_heads=False).lines
    ties = [tie for joint in joints for tie in resistors(placement, joint, detailed=False)]
    if ties:
        reach = np.concatenate([reach.reshape(-1, 2), *ties])
    page.fit(reach, legend_rows=rows)
    if labels is None:
        few = wiring.input_size + wiring.units <= _MANY_LABELS
        labels = in_body or (few and (page.name_size >= 6 or fits_inside(page, wiring)))
    crowded = in_body or wiring.input_size + wiring.units > _MANY_LABELS
    if labels and not crowded:  # names that do not fit into the neurons stand beside them
        page.fit(reach, legend_rows=rows, sides=side_texts(page, wiring))

    for strand in strands:
        cut = strand.kind == "cut"
        paint_synapses(page, strand, (CUT_COLOR, CUT_COLOR) if cut else drawing.synapse_colors)
    for joint in joints:
        paint_resistors(page, joint, drawing.junction_color, PLAIN)
    colors = disc_colors(drawing)
    paint_neurons(page, wiring, colors)
    paint_outputs(page, wiring)
    if in_body:
        paint_outline(ax, placement.position[wiring.input_size :])
    if labels and crowded and not fits_inside(page, wiring):
        paint_spread_labels(page, wiring)
    elif labels:
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
    synapses = wiring.synapse_count + wiring.sensory_synapse_count + wiring.gap_junction_count
    if synapses > _MANY_SYNAPSES:
        raise WiringError(
            f"a picture of {synapses:,} synapses would show nothing (at most {_MANY_SYNAPSES:,}); "
            f"{advice}"
        )
