"""Interactive graph of a wiring whose neurons show the activity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.network import Array
from elegans.reporting.chart import DIVERGING, INK, MUTED
from elegans.reporting.interactive import layout
from elegans.reporting.stability.content import Activity, WeightedWiring
from elegans.wiring.drawing.colors import NEURON_COLORS, SYNAPSE_COLORS
from elegans.wiring.drawing.layout import NodePositions, curves, members, place
from elegans.wiring.drawing.painting import neuron_texts
from elegans.wiring.drawing.strands import all_synapses
from elegans.wiring.wiring import SENSORY, Wiring

MOST_SYNAPSES = 1500
"""The strongest of a larger circuit are drawn."""

_LABELLED = 60
_MARGIN = np.array([2.6, 2.6])  # for labels and headers
_LONGEST = 12  # letters of a label; the whole name shows when it is pointed at
_ROOM = {"l": 64, "r": 64, "t": 34, "b": 8}  # pixels, for the labels of the outermost neurons
_FINE = 400  # synapses whose curves are drawn with all points
_WIDTHS = (0.7, 1.2, 2.0, 3.2)
_OTHER = "#88CCEE"
_UNIT = 44  # pixels for the distance of two neurons, at most
_WIDE, _TALL = 1.9, 0.72  # width by height that suits a wide and a narrow screen
NODES = "neurons"
_RECTIFYING = 2  # in the place of a polarity
_KINDS = {1: "excitatory", -1: "inhibitory", 0: "gap junction", _RECTIFYING: "rectifying junction"}


@dataclass(frozen=True)
class Graph:
    """Two figures of one circuit, as plain values that plotly takes, and the frames.

    Parameters
    ----------
    wide, tall
        Data and layout for a wide and for a narrow screen.
    node_trace
        Which trace holds the neurons.
    colors
        Colour value of each node from -1 to 1, (frame, node): sensory neurons first.
    values
        Input or potential of each node, (frame, node).
    times
        Time of each frame.
    drawn, synapses
        Synapses that are drawn, of how many.
    layers
        Colour of each layer, inputs first.
    """

    wide: dict[str, Any]
    tall: dict[str, Any]
    node_trace: int
    colors: list[list[float]]
    values: list[list[float]]
    times: list[float]
    drawn: int
    synapses: int
    layers: dict[str, str]


def draw_graph(circuit: WeightedWiring, activity: Activity) -> Graph:
    """Return the interactive graph of a circuit and its activity over time."""
    wiring = circuit.wiring
    edges, polarity, weight = _strongest(circuit)
    placement = place(wiring, "layered", edges)
    turned = _turned(placement)
    values = np.concatenate([activity.inputs, activity.states], axis=1)  # (frame, node)
    scale = np.concatenate(
        [
            np.full(wiring.input_size, np.abs(activity.inputs).max(initial=1e-12)),
            np.full(wiring.units, np.abs(activity.states).max(initial=1e-12)),
        ]
    )
    colors = np.clip(values / scale, -1, 1)
    layers = {layer: NEURON_COLORS.get(layer, _OTHER) for layer in members(wiring)}
    figures = [
        _figure(fitted, wiring, edges, polarity, weight, colors[0], values[0], layers, tall=tall)
        for fitted, tall in (
            (_stretched(placement, _WIDE), False),
            (_stretched(turned, _TALL), True),
        )
    ]
    return Graph(
        wide=figures[0],
        tall=figures[1],
        node_trace=len(figures[0]["data"]) - 1,
        colors=colors.round(3).tolist(),
        values=[[float(f"{value:.4g}") for value in row] for row in values],
        times=[float(f"{time:.6g}") for time in activity.time],
        drawn=len(edges),
        synapses=wiring.synapse_count + wiring.sensory_synapse_count + wiring.gap_junction_count,
        layers=layers | ({"read as output": INK} if wiring.has_outputs_elsewhere else {}),
    )


def _strongest(circuit: WeightedWiring) -> tuple[NDArray[np.int64], NDArray[np.int8], Array]:
    """Return ends (synapse, 2) with sensory neurons counted first, polarity and conductance.

    Gap junctions come last; their polarity is 0, that of rectifying ones `_RECTIFYING`.
    """
    edges, polarity = all_synapses(circuit.wiring)
    weight = np.concatenate([circuit.sensory_weight, circuit.weight, circuit.electrical_weight])
    junctions = circuit.wiring.electrical
    ends = np.stack([junctions.source, junctions.target], axis=1) + circuit.wiring.input_size
    edges = np.concatenate([edges, ends.astype(edges.dtype)])
    polarity = np.append(polarity, np.where(junctions.rectifying, _RECTIFYING, 0))
    polarity = polarity.astype(np.int8)
    strongest = np.sort(np.argsort(-weight, kind="stable")[:MOST_SYNAPSES])
    return edges[strongest], polarity[strongest], weight[strongest]


def _turned(placement: NodePositions) -> NodePositions:
    """Return the placement from top to bottom in place of from left to right."""

    def turn(points: Array) -> Array:
        return -points[:, ::-1]

    return replace(placement, position=turn(placement.position), outward=turn(placement.outward))


def _stretched(placement: NodePositions, shape: float) -> NodePositions:
    """Return the placement with its layers further apart, if that brings it nearer to a shape."""
    span = np.ptp(placement.position, axis=0) + _MARGIN
    factor = np.clip([shape * span[1] / span[0], span[0] / (shape * span[1])], 1.0, 2.4)
    along = factor if span[0] < shape * span[1] else np.array([1.0, factor[1]])
    return replace(placement, position=placement.position * along)


def _figure(
    placement: NodePositions,
    wiring: Wiring,
    edges: NDArray[np.int64],
    polarity: NDArray[np.int8],
    weight: Array,
    colors: Array,
    values: Array,
    layers: dict[str, str],
    *,
    tall: bool,
) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    order = np.argsort(weight, kind="stable")  # strong ones last, so that they stay visible
    edges, polarity, weight = edges[order], polarity[order], weight[order]
    if len(edges):
        traces += _synapses(placement, edges, polarity, weight)
        traces.append(_hover_points(placement, wiring, edges, polarity, weight))
    traces.append(_neurons(placement, wiring, colors, values, layers, tall=tall))
    x, y = placement.position.T
    span = np.ptp(placement.position, axis=0) + _MARGIN
    pixels = 360 if tall else 1060
    height = int(np.clip(span[1] * min(_UNIT, pixels / span[0]), 260, 900 if tall else 640))
    hidden = {"visible": False, "fixedrange": True}
    return {
        "data": traces,
        "layout": layout(
            height,
            xaxis=hidden | {"range": [x.min() - 1.0, x.max() + 1.0]},
            yaxis=hidden
            | {"range": [y.min() - 1.0, y.max() + 1.0], "scaleanchor": "x", "scaleratio": 1},
            annotations=_headers(placement, wiring, tall=tall),
            showlegend=False,
            hovermode="closest",
            margin={"l": 4, "r": 4, "t": 26, "b": 14} if tall else _ROOM,
        ),
    }


def _headers(placement: NodePositions, wiring: Wiring, *, tall: bool) -> list[dict[str, Any]]:
    """Return name and size of each layer, above its column or at the left end of its row."""
    notes = []
    x, y = placement.position.T
    for layer, neurons in members(wiring).items():
        inside = slice(neurons.start, neurons.stop)
        centre = (x[inside].min() + x[inside].max()) / 2
        text = f"<b>{escape(layer, quote=False)}</b> {len(neurons)}"
        at = (
            {"x": 0, "xref": "paper", "y": y[inside].max(), "xanchor": "left"}
            if tall
            else {"x": centre, "y": 1, "yref": "paper", "xanchor": "center"}
        )
        notes.append(
            at
            | {
                "text": text,
                "showarrow": False,
                "yanchor": "bottom",
                "yshift": 16 if tall else 4,
                "font": {"size": 12, "color": MUTED},
                "bgcolor": "rgba(255,255,255,0.75)",
            }
        )
    return notes


def _synapses(
    placement: NodePositions, edges: NDArray[np.int64], polarity: NDArray[np.int8], weight: Array
) -> list[dict[str, Any]]:
    """Return lines in classes of width, arrow heads and bars; gap junctions are grey."""
    shape = curves(placement, edges, polarity, with_heads=True)
    lines = shape.lines if len(edges) <= _FINE else shape.lines[:, np.r_[0:23:2, 23]]
    share = weight / max(float(weight.max()), 1e-12)
    width = np.minimum((share * len(_WIDTHS)).astype(int), len(_WIDTHS) - 1)
    density = 1 / np.sqrt(len(edges))
    alpha, finer = float(np.clip(12 * density, 0.3, 0.8)), float(np.clip(14 * density, 0.25, 1.0))
    traces = []
    kind = np.where(polarity == _RECTIFYING, 0, polarity)
    of_heads, of_bars = kind[polarity > 0], kind[polarity <= 0]
    colors = {1: SYNAPSE_COLORS["excitatory"], -1: SYNAPSE_COLORS["inhibitory"], 0: MUTED}
    for sign, color in colors.items():
        for k, pixels in enumerate(_WIDTHS):
            chosen = (kind == sign) & (width == k)
            if chosen.any():
                x, y = _joined(lines[chosen])
                traces.append(
                    _silent(x, y)
                    | {"opacity": alpha, "line": {"color": color, "width": finer * pixels}}
                )
        heads = shape.bars[of_bars == sign] if sign < 0 else shape.heads[of_heads == sign]
        if len(heads):
            x, y = _joined(heads if sign < 0 else np.concatenate([heads, heads[:, :1]], axis=1))
            fill = {} if sign < 0 else {"fill": "toself", "fillcolor": color}
            line = {"color": color, "width": 1.8 * finer if sign < 0 else 0}
            traces.append(_silent(x, y) | fill | {"opacity": max(alpha, 0.55), "line": line})
    return traces


def _silent(x: list[float | None], y: list[float | None]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip"}


def _joined(lines: Array) -> tuple[list[float | None], list[float | None]]:
    """Return many polylines as one with gaps."""
    ends: list[list[float | None]] = []
    for axis in (0, 1):
        column: list[float | None] = []
        for line in lines[:, :, axis].round(3).tolist():
            column += [*line, None]
        ends.append(column)
    return ends[0], ends[1]


def _hover_points(
    placement: NodePositions,
    wiring: Wiring,
    edges: NDArray[np.int64],
    polarity: NDArray[np.int8],
    weight: Array,
) -> dict[str, Any]:
    """Return what a pointer finds in the middle of a synapse."""
    lines = curves(placement, edges, polarity, with_heads=True).lines
    middle = lines[:, lines.shape[1] // 2]
    names = [escape(name, quote=False) for name in wiring.sensory_names + wiring.names]
    texts = [
        f"<b>{names[source]} {'↔' if sign == 0 else '→'} {names[target]}</b><br>"
        f"{_KINDS[sign]}, conductance {value:.3g}"
        for (source, target), sign, value in zip(
            edges.tolist(), polarity.tolist(), weight.tolist(), strict=True
        )
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": middle[:, 0].round(3).tolist(),
        "y": middle[:, 1].round(3).tolist(),
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 11, "opacity": 0},
        "name": "synapses",
    }


def _neurons(
    placement: NodePositions,
    wiring: Wiring,
    colors: Array,
    values: Array,
    layers: dict[str, str],
    *,
    tall: bool,
) -> dict[str, Any]:
    count = wiring.input_size + wiring.units
    short, outline, layer_of = neuron_texts(wiring), [""] * count, [""] * count
    texts, text_sides = [""] * count, ["bottom center"] * count
    *_, last = members(wiring)
    for layer, neurons in members(wiring).items():
        for k in neurons:
            outline[k], layer_of[k] = layers[layer], layer
            if count <= _LABELLED or (layer in (SENSORY, last) and len(neurons) <= 24):
                texts[k] = escape(_brief(short[k]), quote=False)
            if layer in (SENSORY, last):
                first = layer == SENSORY
                aside = ("top center", "bottom center") if tall else ("middle left", "middle right")
                text_sides[k] = aside[0 if first else 1]
    read = wiring.input_size + wiring.outputs if wiring.has_outputs_elsewhere else np.empty(0)
    for k in read.astype(np.int64).tolist():
        outline[k] = INK
        texts[k] = escape(_brief(short[k]), quote=False)
    names = [escape(name, quote=False) for name in wiring.sensory_names + wiring.names]
    hover = [
        f"<b>{name}</b><br>{escape(layer, quote=False)}, "
        + ("read as output, " if k in read else "")
        + ("input" if layer == SENSORY else "potential")
        for k, (name, layer) in enumerate(zip(names, layer_of, strict=True))
    ]
    size = 19 if count <= 40 else 14 if count <= 120 else 9 if count <= 500 else 6
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": NODES,
        "x": placement.position[:, 0].round(3).tolist(),
        "y": placement.position[:, 1].round(3).tolist(),
        "text": texts,
        "textposition": text_sides,
        "textfont": {"size": 11, "color": INK},
        "hovertext": hover,
        "customdata": [float(f"{value:.4g}") for value in values],
        "hovertemplate": "%{hovertext} %{customdata}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "size": size,
            "opacity": 1,
            "color": colors.round(3).tolist(),
            "colorscale": DIVERGING,
            "cmin": -1,
            "cmax": 1,
            "line": {"color": outline, "width": 2.5 if count <= 120 else 1.2},
        },
    }


def _brief(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
