"""Steps of circuits in C, with the tables they read: one function for each equation."""

from __future__ import annotations

import re

import numpy as np

from elegans.export.c_tables import Piece, number, part, sigmoid_table
from elegans.export.portable import Integration, Portable
from elegans.synapses.plain import ELECTRICAL, Array, PlainStep, PlainSynapses

TABLE_UNIT = 8192
"""Of arguments of a sigmoid in a table: 32 entries for each 1, and 256 places between."""


def equation(circuit: Portable, sigmoid: str) -> Piece:
    """Return ``advance`` and, for a differential equation, ``sense``."""
    if circuit.integration is not None:
        return _flow(circuit, circuit.integration, whole=sigmoid == "table")
    mode = circuit.step.choices["mode"]
    piece = Piece(part(f"closed_{mode}"), constants={"MAPS": 1 if mode == "pure" else 4})
    if mode == "pure":
        piece.add("rate_size", np.abs(circuit.step.neurons["rate"]), "size of each neuron's rate")
        piece.add("asymptote", circuit.step.neurons["asymptote"], "where each neuron tends to")
    solved = "solved(map, t, i)" if mode == "pure" else "solved(map, t)"
    wired = circuit.step.equation == "closed_form"
    (_wired if wired else _dense)(piece, circuit.step, circuit.state_size, solved)
    return piece


# --- differential equations --------------------------------------------------------------


def _flow(circuit: Portable, integration: Integration, *, whole: bool) -> Piece:
    """Return a flow; of a liquid one synapses are `whole` numbers where that is asked for."""
    step, each = circuit.step, (circuit.state_size,)
    liquid = step.equation == "liquid"
    rosenbrock = integration.solver == "rosenbrock"
    whole = whole and liquid and not rosenbrock
    piece = Piece(constants={"UNFOLDS": integration.unfolds})
    for kind in ("sensory", "recurrent"):
        (_add_whole if whole else _add_synapses)(piece, kind, step.synapses[kind])
    junctions = step.synapses.get(ELECTRICAL, ())
    if len(junctions):
        add_junctions(piece, step.synapses[ELECTRICAL])
        piece.add("electrical_weight", step.synapses[ELECTRICAL].values["weight"], "conductances")
    capacitance = step.neurons["capacitance"]
    if circuit.time_step is None:
        rate, argument = "(READ(capacitance[i]) * inverse_step)", ", float inverse_step"
        piece.add("capacitance", capacitance, "capacitance of each neuron")
    else:
        rate, argument = "READ(capacitance[i])", ""
        per_unfold = capacitance * integration.unfolds / circuit.time_step
        piece.add("capacitance", per_unfold, "capacitance of each neuron over an unfold's length")
    if liquid:
        piece.add("leak_conductance", step.neurons["conductance"], "leak of each neuron")
        piece.add("leak_drive", step.neurons["drive"], "the same times its potential")
        piece.fields |= {"x": each, "conductance": each, "drive": each}
    else:
        piece.add("bias", step.neurons["bias"], "bias of each neuron")
        piece.fields |= {"x": each, "drive": each, "rate": each}
    if integration.weights:
        stages = len(integration.weights)
        piece.add("stage_row", _triangle(integration.rows), "coefficients of the stages")
        piece.add("stage_weight", np.array(integration.weights), "weights of the stages")
        piece.constants["STAGES"] = stages
        piece.fields |= {"next": each, "slope": (stages, *each)}
        if rosenbrock:
            piece.add("stage_mix", _triangle(integration.mixes), "what they take from each other")
            piece.constants["DIAGONAL"] = number(integration.diagonal)
            piece.fields |= {"matrix": each * 2, "pivot": each}
            piece.types["pivot"] = "uint16_t"
    else:
        middle = integration.solver == "exponential_midpoint"
        piece.fields["middle" if middle else "next"] = each
    if whole:
        piece.tables.append(sigmoid_table())
    passed = ", inverse_step" if argument else ""
    solver = part(integration.solver, {"RATE_ARGUMENT": argument, "RATE_PASSED": passed})
    if rosenbrock:
        tanh = step.choices.get("activation") == "tanh"
        slope = "1.0f - rate * rate" if tanh else "rate * (1.0f - rate)"
        coupled = part("rosenbrock_junctions") if len(junctions) else ""
        names = {"RATE_ARGUMENT": argument, "SLOPE": slope, "JUNCTIONS": coupled}
        solver = part(f"rosenbrock_{step.equation}", names) + solver
    solver = solver.replace("RATE(i)", rate)
    # Rates of firing are found once for all synapses, gates for each of them.
    solver = re.sub(r"\n *FIRE\(.*\);", "", solver) if liquid else solver.replace("FIRE(", "fire(")
    relax = part("relax") if "relaxed(" in solver else ""
    joined = {"JUNCTIONS": part("junctions") if len(junctions) else ""}
    piece.text = part("liquid_table" if whole else step.equation, joined) + relax + solver
    return piece


def add_junctions(piece: Piece, junctions: PlainSynapses) -> None:
    """Add the ends of gap junctions and the way that current may flow."""
    piece.add("electrical_start", junctions.start, "first gap junction of each neuron")
    piece.add("electrical_source", junctions.source, "the neuron at the other end")
    ways = np.where(junctions.values["way"] < 0, 2, junctions.values["way"]).astype(np.int64)
    piece.add("electrical_way", ways, "0 both, 1 to this neuron only, 2 from it only")


def add_read(piece: Piece, circuit: Portable) -> str:
    """Add which neurons the weights of the outputs read; return the index of a weight's neuron."""
    place = "k" if circuit.weight.ndim == 1 else "j"
    if circuit.read is None:
        return place
    piece.add("output_source", circuit.read, "the neuron that each weight of the outputs reads")
    return f"READ_INDEX(output_source[{place}])"


def _triangle(rows: tuple[tuple[float, ...], ...]) -> Array:
    """Return the rows of a strictly lower triangle as a square."""
    square = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        square[i, : len(row)] = row
    return square


def _add_synapses(piece: Piece, kind: str, synapses: PlainSynapses) -> None:
    piece.add(f"{kind}_count", np.diff(synapses.start), f"{kind} synapses onto each neuron")
    piece.add(f"{kind}_source", synapses.source, "what each of them reads")
    for name, values in synapses.values.items():
        piece.add(f"{kind}_{name}", values, f"{name} of each synapse")


def _add_whole(piece: Piece, kind: str, synapses: PlainSynapses) -> None:
    """Add liquid synapses whose conductances and currents are whole numbers of 16 bits."""
    counts, values = np.diff(synapses.start), synapses.values
    piece.add(f"{kind}_count", counts, f"{kind} synapses onto each neuron")
    piece.add(f"{kind}_source", synapses.source, "what each of them reads")
    piece.add(f"{kind}_centre", values["centre"], "centre of each synapse")
    piece.add(f"{kind}_gain", values["gain"] * TABLE_UNIT, f"its gain, times {TABLE_UNIT}")
    units = np.zeros((len(counts), 2))
    for column, (name, numbers, most, number_type) in enumerate(
        (
            ("weight", values["weight"], 65535, np.uint16),
            ("current", values["weight"] * values["potential"], 32767, np.int16),
        )
    ):
        sums = synapses.onto(np.abs(numbers))
        # The sum over a neuron's synapses fits: each may be rounded up.
        unit = np.where(sums > 0, sums, 1.0) / np.maximum(most - counts, 1)
        whole = np.round(numbers / unit[synapses.target]).astype(number_type)
        piece.add(f"{kind}_{name}", whole, f"its {name}, in units of its neuron")
        units[:, column] = unit / 65536
    piece.add(f"{kind}_unit", units, "units of each neuron: of conductances and of currents")


# --- closed forms ------------------------------------------------------------------------


def _wired(piece: Piece, step: PlainStep, neurons: int, solved: str) -> None:
    names = ("f", "g", "a", "b")[: piece.constants["MAPS"]]
    order = np.argsort(step.neurons["order"], kind="stable")
    piece.add("order", order, "neurons in the order in which they are updated")
    bias = np.stack([step.neurons[name] for name in names], axis=1)[order]
    piece.add("map_bias", bias, "bias of each map of a neuron, in that order")
    piece.fields = {"x": (2 * neurons,)}
    sums = ""
    for rank, (kind, synapses) in enumerate(step.synapses.items()):
        own = list(synapses.values)
        slots = [np.arange(synapses.start[i], synapses.start[i + 1]) for i in order]
        taken = np.concatenate(slots)
        weight = np.stack([synapses.values[each][taken] for each in own], axis=1)
        piece.add(f"{kind}_count", np.diff(synapses.start)[order], f"{kind} synapses onto each")
        piece.add(f"{kind}_source", synapses.source[taken], "what each of them reads")
        piece.add(f"{kind}_weight", weight, "weight of each synapse in its maps")
        first = names.index(own[0])
        sums += part(
            "closed_sum",
            {
                "KIND": kind,
                "CURSOR": f"k{rank}",
                "READ": "u" if kind.endswith("sensory") else "state->x",
                "COUNT": len(own),
                "PLACE": f"{first} + m" if first else "m",
            },
        )
    cursors = ", ".join(f"k{rank} = 0" for rank in range(len(step.synapses)))
    piece.text += part("closed_wired", {"CURSORS": cursors, "SUMS": sums, "SOLVED": solved})


def _dense(piece: Piece, step: PlainStep, neurons: int, solved: str) -> None:
    widths = [step.layers[0][0].shape[1], *(len(bias) for _, bias in step.layers)]
    places = "one", "other"
    piece.fields = {"x": (neurons,)}
    piece.fields |= {place: (max(widths[k::2]),) for k, place in enumerate(places)}
    lines = ""
    for k, (weight, bias) in enumerate(step.layers):
        piece.add(f"layer_{k}_weight", weight.ravel(), f"weights of layer {k}")
        piece.add(f"layer_{k}_bias", bias, f"biases of layer {k}")
        written = f"state->{places[(k + 1) % 2]}"
        lines += (
            f"    dense(layer_{k}_weight, layer_{k}_bias, state->{places[k % 2]}, {widths[k]}, "
            f"{written}, {widths[k + 1]});\n"
        )
        if k + 1 < len(step.layers):
            lines += f"    for (i = 0; i < {widths[k + 1]}; i++) {{\n"
            lines += f"        {written}[i] = activation({written}[i]);\n    }}\n"
    last = places[len(step.layers) % 2]
    piece.text += part("closed_dense", {"LAYERS": lines, "LAST": last, "SOLVED": solved})


# --- functions of a number ---------------------------------------------------------------


def functions(piece: Piece, activation: str | None, sigmoid: str) -> Piece:
    """Return the functions of a number that a piece calls, those that they call first."""
    calls = {name: f"{name}(" in piece.text for name in ("sigmoid", "hyperbolic", "exponential")}
    chosen = activation if "activation(" in piece.text else None
    own = sigmoid != "expf"
    calls["hyperbolic"] |= chosen in ("tanh", "lecun_tanh")
    calls["sigmoid"] |= chosen in ("sigmoid", "silu") or (calls["hyperbolic"] and own)
    by_polynomial = calls["sigmoid"] and sigmoid == "poly"
    calls["exponential"] |= by_polynomial or (chosen == "gelu" and own)
    kind = "own" if own else "expf"
    names = [f"exponential_{kind}"] if calls["exponential"] else []
    names += [f"sigmoid_{sigmoid}"] if calls["sigmoid"] else []
    names += [f"tanh_{kind}"] if calls["hyperbolic"] else []
    names += [] if chosen is None else [f"activation_{chosen}"]
    names = [f"{name}_{kind}" if name.endswith("gelu") else name for name in names]
    texts = [part(name).strip("\n") for name in names]
    if re.search(r"\b(expf|tanhf|erff)\(", "".join(texts)):
        texts.insert(0, "#include <math.h>")
    tables = [sigmoid_table()] if "sigmoid_table" in names else []
    return Piece("".join(f"\n{text}\n" for text in texts), tables)
