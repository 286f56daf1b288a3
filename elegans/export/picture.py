"""Where the neurons and synapses of an exported circuit stand in a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.export.portable import Portable
from elegans.synapses.plain import ELECTRICAL, PlainSynapses
from elegans.wiring import Wiring
from elegans.wiring.drawing.colors import neuron_colors
from elegans.wiring.drawing.layout import members, place
from elegans.wiring.drawing.painting import neuron_texts

MOST_NEURONS = 200
"""A circuit with more is drawn without synapses."""

MOST_SYNAPSES = 3000
"""The same for synapses."""

Row = tuple[str, int, int, int, int]
"""Set of synapses, place there, source and target with sensory neurons first, and sign."""


def picture_of(circuit: Portable) -> dict[str, Any]:
    """Return nodes, layers and edges as plain values; edges are empty where they are too many."""
    wiring = circuit.wiring
    rows = _rows(circuit)
    few = wiring.units <= MOST_NEURONS and len(rows) <= MOST_SYNAPSES
    return nodes_of(wiring, _ends(rows)) | {
        "edges": [list(row) for row in rows] if few else [],
        "synapses": len(rows),
        "too_many": bool(rows) and not few,
        "signed": circuit.step.equation in ("liquid", "rates"),
    }


def nodes_of(wiring: Wiring, edges: NDArray[np.int64]) -> dict[str, Any]:
    """Return nodes and layers of a wiring, placed for edges of shape (synapse, 2)."""
    placement = place(wiring, "layered", edges)
    colors, texts = neuron_colors(wiring, None), neuron_texts(wiring)
    names = wiring.sensory_names + wiring.names
    layer_of = {k: number for number, inside in enumerate(members(wiring).values()) for k in inside}
    return {
        "nodes": [
            [*placement.position[k].round(3).tolist(), layer_of[k], int(placement.group[k])]
            for k in range(len(names))
        ],
        "names": list(names),
        "texts": [texts[k] for k in range(len(names))],
        **_read(wiring),
        "layers": [
            {"name": name, "color": colors[name], "size": len(inside)}
            for name, inside in members(wiring).items()
        ],
    }


def _read(wiring: Wiring) -> dict[str, list[int]]:
    """Return the neurons that are read, nothing where these are the motor neurons."""
    if not wiring.has_outputs_elsewhere:
        return {}
    return {"read": (wiring.input_size + np.unique(wiring.outputs)).tolist()}


def _rows(circuit: Portable) -> list[Row]:
    """Return the synapses that carry states and inputs, not those of time gates alone."""
    rows: list[Row] = []
    shift, units = circuit.wiring.input_size, circuit.wiring.units
    for name in ("sensory", "recurrent"):
        synapses = circuit.step.synapses.get(name)
        if synapses is None:  # dense maps
            continue
        source = synapses.source % units + shift if name == "recurrent" else synapses.source
        target = synapses.target + shift
        signs = _signs(circuit.step.equation, synapses)
        ends = zip(source.tolist(), target.tolist(), signs.tolist(), strict=True)
        rows += [(name, k, *each) for k, each in enumerate(ends)]
    junctions = circuit.step.synapses.get(ELECTRICAL)
    if junctions is not None:
        way, target = junctions.values["way"], junctions.target
        drawn = (way > 0) | ((way == 0) & (junctions.source < target))  # each at one of its ends
        for k in np.flatnonzero(drawn).tolist():
            rows.append(
                (ELECTRICAL, k, int(junctions.source[k]) + shift, int(target[k]) + shift, 0)
            )
    return rows


def _signs(equation: str, synapses: PlainSynapses) -> NDArray[np.int64]:
    """Return 1 for excitation, -1 for inhibition, 0 where a synapse has neither meaning."""
    column = {"liquid": "potential", "rates": "weight"}.get(equation)
    values = synapses.values[column] if column else np.zeros(len(synapses))
    return np.sign(values).astype(np.int64)


def _ends(rows: list[Row]) -> NDArray[np.int64]:
    return np.array([row[2:4] for row in rows], np.int64).reshape(-1, 2)
