"""Closed forms along synapses in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from elegans.export.c_numbers import MARGIN, Format, NumberRanges, mapped
from elegans.export.c_tables import Piece, part
from elegans.export.portable import Portable
from elegans.synapses.plain import Array, PlainSynapses

BOUNDS = {"default": 1.0, "no_gate": 2.0}
"""Of states: a mean of two tanh, or one and a part of another."""


def closed(
    piece: Piece, circuit: Portable, time: float, form: Format, inputs: NumberRanges
) -> float:
    """Add the steps of a closed form; return the bound of its states.

    Steps have the fixed length t = `time`, so that a t + b is a single map. Maps are whole numbers
    of twice as
    many bits, in units of the largest that each map of each neuron may be.
    """
    step = circuit.step
    mode, neurons = step.choices["mode"], circuit.state_size
    bound = BOUNDS[mode]
    order = np.argsort(step.neurons["order"], kind="stable")
    bias = _maps(step.neurons, time)
    largest, terms = np.zeros_like(bias), {}
    for kind, synapses in step.synapses.items():
        weights, reach = _maps(synapses.values, time), np.full(len(synapses), bound)
        if kind.endswith("sensory"):
            seen, reach = mapped(circuit, inputs, synapses)
            for m, row in enumerate(weights, _first(synapses)):
                bias[m] += synapses.onto(row * seen)
        terms[kind] = weights * reach
        for m, row in enumerate(terms[kind], _first(synapses)):
            largest[m] += synapses.onto(np.abs(row))
    count = sum(np.diff(synapses.start) for synapses in step.synapses.values())
    largest = (np.maximum(np.abs(bias) + largest, 1e-6)) * (
        1 + MARGIN + (1 + count) / 2.0**form.bits
    )
    piece.add("order", order, "neurons in the order in which they are updated")
    whole = np.round(bias / largest * 2.0**30).astype(np.int32).T[order]
    piece.add("map_bias", whole, "bias of each map of a neuron, in that order")
    slope = largest * np.array([[2.0], [2.0], [1.0]]) * form.unit / 2.0 ** (form.bits - 1)
    shift = int(np.clip(np.floor(np.log2(form.most / slope.max())), 0, form.bits - 1))
    factor = np.round(slope * 2.0**shift).clip(0, form.most).astype(f"int{form.bits}")
    piece.add("map_factor", factor.T[order], "factor of each map, in its sigmoid")
    sums = ""
    for rank, (kind, synapses) in enumerate(step.synapses.items()):
        first, onto_each = _first(synapses), synapses.target
        slots = [np.arange(synapses.start[i], synapses.start[i + 1]) for i in order]
        taken = np.concatenate(slots)
        shares = terms[kind] / largest[first : first + len(terms[kind]), onto_each]
        piece.add(f"{kind}_count", np.diff(synapses.start)[order], f"{kind} synapses onto each")
        piece.add(f"{kind}_source", synapses.source[taken], "what each of them reads")
        piece.add(f"{kind}_weight", form.small(shares.T[taken]), "its weight in each map")
        sums += part(
            "fixed_closed_sum",
            form.words()
            | {
                "KIND": kind,
                "CURSOR": f"k{rank}",
                "READ": "input" if kind.endswith("sensory") else "state->x",
                "COUNT": len(terms[kind]),
                "PLACE": f"{first} + m" if first else "m",
            },
        )
    cursors = ", ".join(f"k{rank} = 0" for rank in range(len(step.synapses)))
    wide = "" if form.bits == 16 else " * 4294967296"
    words = form.words() | {"CURSORS": cursors, "SUMS": sums, "SHIFT": shift, "WIDER": wide}
    piece.text += part(f"fixed_{mode}", words) + part("fixed_closed", words)
    piece.constants["MAPS"] = 3
    piece.fields, piece.types = {"x": (2 * neurons,)}, {"x": words["SMALL"]}
    return bound


def _maps(values: Mapping[str, Array], time: float) -> Array:
    """Return f, g and a t + b, or those of them that there are, (map, ...)."""
    heads = [values[name] for name in ("f", "g") if name in values]
    gates = [values["a"] * time + values["b"]] if "a" in values else []
    return np.stack([*heads, *gates])


def _first(synapses: PlainSynapses) -> int:
    """Return the first map that synapses take part in."""
    return 0 if "f" in synapses.values else 2
