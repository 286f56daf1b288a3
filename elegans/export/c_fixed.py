"""Steps of circuits in whole numbers, for chips without a floating-point unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from elegans.errors import InputError
from elegans.export.c_equations import add_junctions, add_read
from elegans.export.c_fixed_closed import closed
from elegans.export.c_numbers import (
    MARGIN,
    Format,
    NumberRanges,
    input_ranges,
    mapped,
)
from elegans.export.c_tables import Piece, Table, number, part
from elegans.export.portable import Portable
from elegans.synapses.plain import ELECTRICAL, Array, PlainSynapses


def fixed(circuit: Portable, form: Format) -> tuple[Piece, str, list[str]]:
    """Return the step of a circuit in whole numbers, its test, and lines about the numbers.

    Raises
    ------
    InputError
        The circuit has neither semi-implicit steps nor a closed form along synapses, or the length
        of its steps is passed in.
    """
    time, flow = _time_of(circuit), circuit.integration
    inputs = input_ranges(circuit)
    piece = Piece(tables=[form.sigmoid()], text=part(f"fixed_gate_{form.bits}"))
    if flow is None:
        bound, work = closed(piece, circuit, time, form, inputs), "    advance(state, input);\n"
    else:
        bound = _flow(piece, circuit, flow.unfolds, time, form, inputs)
        work = "    sense(state, input);\n    advance(state);\n"
    outputs, more = _outputs(piece, circuit, form, bound)
    step = {"WORK": work, "OUTPUT": part("fixed_output", form.words() | more)}
    piece.text += part("fixed_step", form.words() | step)
    about = [f"Inputs and outputs are whole numbers n from {-form.most} to {form.most}:"]
    about += inputs.lines(circuit.input_names, form)
    return (
        piece,
        _main(circuit, form, inputs, outputs),
        about + outputs.lines(circuit.output_names, form),
    )


def _time_of(circuit: Portable) -> float:
    """Return the length of a step; raise `InputError` if it is not written in whole numbers."""
    flow, choices = circuit.integration, circuit.step.choices
    got = None
    if circuit.time_step is None:
        got = "a time that is passed in"
    elif flow is not None and flow.solver != "semi_implicit":
        got = f"solver {flow.solver!r}"
    elif flow is None and circuit.step.equation != "closed_form":
        got = "a closed form behind a backbone"
    elif choices.get("mode") == "pure":
        got = "a closed form of mode 'pure'"
    if got is not None or circuit.time_step is None:
        raise InputError(
            f"got {got}, expected semi-implicit steps or a closed form along synapses, of a fixed "
            "length, for whole numbers; choose numbers='float', or train another layer"
        )
    return circuit.time_step


def _flow(
    piece: Piece,
    circuit: Portable,
    unfolds: int,
    time: float,
    form: Format,
    inputs: NumberRanges,
) -> float:
    """Add the steps of a differential equation; return the bound of its potentials."""
    each = (circuit.state_size,)
    per_unfold = circuit.step.neurons["capacitance"] * unfolds / time
    write = _liquid if circuit.step.equation == "liquid" else _rates
    bound, codes = write(piece, circuit, form, inputs, per_unfold)
    words = form.words() | {"JUNCTIONS": ""} | codes
    small = words["SMALL"]
    piece.constants["UNFOLDS"] = unfolds
    piece.fields = {"x": each, "next": each, "conductance": each, "drive": each}
    piece.types = {"x": small, "next": small}
    piece.types |= {"conductance": words["UWIDE"], "drive": words["WIDE"]}
    piece.text += part("fixed", words)
    return bound


def _liquid(
    piece: Piece, circuit: Portable, form: Format, inputs: NumberRanges, capacitance: Array
) -> tuple[float, dict[str, Any]]:
    """Add the tables of a liquid circuit; return the bound of its potentials, and its code."""
    step = circuit.step
    chemical = {name: each for name, each in step.synapses.items() if name != ELECTRICAL}
    conductance, drive = step.neurons["conductance"], step.neurons["drive"]
    leak = np.where(conductance > 0, drive / np.where(conductance > 0, conductance, 1), 0)
    potentials = [leak, *(synapses.values["potential"] for synapses in chemical.values())]
    # A step is a mean of potentials before and of those that the neuron is pulled to.
    bound = max(float(np.abs(values).max(initial=0)) for values in potentials) or 1.0
    bound *= 1 + MARGIN
    total = (
        capacitance
        + conductance
        + sum(synapses.onto(synapses.values["weight"]) for synapses in step.synapses.values())
    )
    count = sum(np.diff(synapses.start) for synapses in step.synapses.values())
    total = total * (1 + MARGIN + count / 2.0**form.bits)
    codes = _neurons(piece, form, capacitance, conductance, drive, total, bound)
    junctions = step.synapses.get(ELECTRICAL)
    if junctions is not None and len(junctions):
        add_junctions(piece, junctions)
        share = junctions.values["weight"] / total[junctions.target]
        piece.add("electrical_weight", form.unsigned(share), "conductances")
        codes["JUNCTIONS"] = part("fixed_junctions", form.words())
    for kind, synapses in chemical.items():
        values, target = synapses.values, synapses.target
        if kind == "sensory":
            seen, reach = mapped(circuit, inputs, synapses)
            slope = values["gain"] * reach
        else:
            slope, seen = values["gain"] * bound, np.zeros(len(synapses))
        offset = values["gain"] * (seen - values["centre"])
        codes[kind.upper()] = _gates(piece, form, kind, synapses, slope, offset, opens=True)
        piece.add(f"{kind}_weight", form.unsigned(values["weight"] / total[target]))
        current = values["weight"] * values["potential"] / (total[target] * bound)
        piece.add(f"{kind}_current", form.small(current), "what they add")
    return bound, codes


def _rates(
    piece: Piece, circuit: Portable, form: Format, inputs: NumberRanges, capacitance: Array
) -> tuple[float, dict[str, Any]]:
    """Add the tables of a circuit of firing rates; return the bound of its states, and its code."""
    step = circuit.step
    sensory, recurrent = step.synapses["sensory"], step.synapses["recurrent"]
    seen, reach = mapped(circuit, inputs, sensory)
    reach = reach * sensory.values["weight"]
    drive = sensory.onto(sensory.values["weight"] * seen)
    weight, slope = recurrent.values["weight"], 1.0
    if step.choices["activation"] == "tanh":  # 2 sigmoid(2 z) - 1
        drive = drive - recurrent.onto(weight)
        weight, slope = 2 * weight, 2.0
    largest = np.abs(drive) + recurrent.onto(np.abs(weight)) + sensory.onto(np.abs(reach))
    bound = (float(largest.max(initial=0)) or 1.0) * (1 + MARGIN)
    count = np.diff(recurrent.start) + np.diff(sensory.start)
    total = (capacitance + 1) * (1 + MARGIN + count / 2.0**form.bits)
    codes = _neurons(piece, form, capacitance, np.ones_like(capacitance), drive, total, bound)
    _ends(piece, "sensory", sensory)
    piece.add("sensory_weight", form.small(reach / (total[sensory.target] * bound)))
    codes["SENSORY"] = _indented(
        f"driven += 2 * value * (int{form.bits}_t)READ_{form.bits}(sensory_weight[k]);", 12
    )
    size = len(recurrent)
    offset = slope * step.neurons["bias"][recurrent.source]
    codes["RECURRENT"] = _gates(
        piece, form, "recurrent", recurrent, np.full(size, slope * bound), offset, opens=False
    )
    current = weight / (total[recurrent.target] * bound)
    piece.add("recurrent_current", form.small(current), "what they add")
    return bound, codes


def _neurons(
    piece: Piece,
    form: Format,
    capacitance: Array,
    conductance: Array,
    drive: Array,
    total: Array,
    bound: float,
) -> dict[str, Any]:
    """Add what each neuron has; return how the constant parts of its sums are read."""
    share = (capacitance + conductance) / total
    if share.min() < 2.0 ** (6 - form.bits):
        neuron = int(np.argmin(share))
        raise InputError(
            f"got neuron {neuron}, whose capacitance and leak are {share[neuron]:.2g} of all its "
            f"conductances, expected at least {2.0 ** (6 - form.bits):.2g} for whole numbers of "
            f"{form.bits} bits; choose more bits, or numbers='float'"
        )
    held = form.unsigned(capacitance / total)
    piece.add("capacitance", held, "capacitance of each neuron over an unfold's length")
    # The same number stands in both sums, so that a neuron without currents keeps its potential.
    leak = conductance / total + held.astype(np.float64) / 2.0**form.bits
    base = np.round(leak * 2.0**32).clip(0, 2**32 - 1).astype(np.uint32)
    driven = np.round(drive / (total * bound) * 2.0**31).clip(-(2**31) + 1, 2**31 - 1)
    piece.add("base", base, "the same and the leak")
    piece.add("leak_drive", driven.astype(np.int32), "what does not depend on anything")
    if form.bits == 16:
        return {"BASE": "READ_32(base[i])", "DRIVE": "(int32_t)READ_32(leak_drive[i])"}
    return {
        "BASE": "(uint64_t)READ_32(base[i]) << 32",
        "DRIVE": "(int64_t)(int32_t)READ_32(leak_drive[i]) * 4294967296",
    }


def _gates(
    piece: Piece,
    form: Format,
    kind: str,
    synapses: PlainSynapses,
    slope: Array,
    offset: Array,
    *,
    opens: bool,
) -> str:
    """Add gates whose argument is slope * (source / its half) + offset; return their code."""
    _ends(piece, kind, synapses)
    steep = np.abs(slope).max(initial=0) * form.unit / 2.0 ** (form.bits - 1)
    shift = int(np.floor(np.log2(form.most / steep))) if steep > 0 else 0
    shift = int(np.clip(shift, 0, form.bits - 1))
    gain = slope * form.unit / 2.0 ** (form.bits - 1) * 2.0**shift
    whole = np.round(gain).clip(-form.most, form.most).astype(f"int{form.bits}")
    place = np.round(offset * form.unit).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
    piece.add(f"{kind}_gain", whole, "factor of what they read, in a gate")
    piece.add(f"{kind}_offset", place, "and what is added to it")
    opened = f"opened += (@UWIDE@)READ_{form.bits}({kind}_weight[k]) * open;\n" if opens else "\n"
    code = part("fixed_synapse", form.words() | {"KIND": kind, "SHIFT": shift, "OPENED": opened})
    return _indented(
        code.replace("@UWIDE@", form.words()["UWIDE"]), 12 if kind == "sensory" else 16
    )


def _ends(piece: Piece, kind: str, synapses: PlainSynapses) -> None:
    piece.add(f"{kind}_count", np.diff(synapses.start), f"{kind} synapses onto each neuron")
    piece.add(f"{kind}_source", synapses.source, "what each of them reads")


def _outputs(
    piece: Piece, circuit: Portable, form: Format, bound: float
) -> tuple[NumberRanges, dict[str, Any]]:
    """Add the tables of the outputs; return their ranges, and how they are written."""
    weight, column = circuit.weight, add_read(piece, circuit)
    if weight.ndim == 1:
        ranges, sum_ = NumberRanges(circuit.bias, weight * bound), f"state->x[{column}]"
        columns = ""
    else:
        half = np.abs(weight).sum(axis=1) * bound * (1 + MARGIN)
        half = np.where(half > 0, half, 1.0)
        piece.add("output_weight", form.small(weight * bound / half[:, None]), "of the outputs")
        ranges, sum_ = NumberRanges(circuit.bias, half), ""
        columns_of = {"COLUMNS": weight.shape[1], "COLUMN": column}
        columns = part("fixed_matrix", form.words() | columns_of)
    ends = ""
    if circuit.limits is not None:
        unit = np.where(ranges.half == 0, 1.0, ranges.unit(form))
        bounds = np.stack([(end - ranges.middle) / unit for end in circuit.limits])
        bounds = np.sort(bounds, axis=0).clip(-form.most, form.most)
        kind = f"int{form.bits}"
        piece.add("output_least", np.ceil(bounds[0]).astype(kind), "outputs are between these")
        piece.add("output_greatest", np.floor(bounds[1]).astype(kind))
        ends = part("fixed_limits", form.words())
    return ranges, {"VALUE": f" = {sum_}" if sum_ else "", "MATRIX": columns, "ENDS": ends}


def _main(circuit: Portable, form: Format, inputs: NumberRanges, outputs: NumberRanges) -> str:
    check = circuit.check
    tables = [
        Table.of("check_input", check.inputs, "recorded steps"),
        Table.of("check_output", check.outputs),
        Table.of("input_middle", inputs.middle, "a number stands for middle + unit * number"),
        Table.of("input_unit", inputs.unit(form)),
        Table.of("output_middle", outputs.middle),
        Table.of("output_unit", outputs.unit(form)),
    ]
    return part(
        "fixed_main",
        form.words()
        | {
            "STEPS": len(check.inputs),
            "TOLERANCE": number(form.tolerance * check.scale),
            "TABLES": "\n".join(table.text() for table in tables) + "\n",
        },
    )


def _indented(code: str, spaces: int) -> str:
    lines = code.rstrip("\n").split("\n")
    return "".join(f"{' ' * spaces}{line}".rstrip() + "\n" for line in lines)
