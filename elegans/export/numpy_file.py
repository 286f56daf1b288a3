"""Circuits as one file of Python that needs NumPy alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.export import numpy_code as code
from elegans.export.files import ExportedFiles
from elegans.export.literals import array, assignment, names
from elegans.export.portable import Integration, Model, Portable, portable
from elegans.export.statement import checked_name, require_equal, statement, tolerance
from elegans.proofs.certificates.certificate import Certificate
from elegans.synapses.plain import ELECTRICAL, Array, PlainStep, PlainSynapses


@checked(InputError)
def numpy(
    model: Model,
    *,
    name: str = "circuit",
    elapsed: float | Literal["argument"] | None = None,
    certificate: Certificate | None = None,
    clamp: bool = False,
) -> ExportedFiles:
    """Return a circuit as a file of Python on NumPy.

    The file holds the numbers of the circuit and a class ``Circuit``: called with inputs,
    (input,) or (batch, input), it takes a step and returns outputs, in double precision or in the
    one that it is given. Only the code that the circuit needs is written. Run as a program the
    file compares itself with recorded steps of the model; with the argument ``-`` it reads a row
    of inputs a line, and a last column of elapsed times where they are an argument, and prints the
    outputs. It runs under Python 3.9 and NumPy 1.20 or later.

    Parameters
    ----------
    model, elapsed, certificate, clamp
        As in `elegans.export.portable.portable`.
    name
        Of the file, a word.

    Raises
    ------
    InputError
        The circuit cannot be written, or an argument is not valid.
    RunError
        What was written does not compute what was recorded.

    Examples
    --------
    >>> import elegans
    >>> policy = elegans.Policy(elegans.LTC(2, 5))
    >>> exported = numpy(policy)
    >>> module = {}
    >>> exec(exported.text("circuit.py"), module)
    >>> circuit = module["Circuit"]()
    >>> bool(np.allclose(circuit([0.5, -1.0]), policy(np.array([0.5, -1.0])), atol=1e-5))
    True
    """
    checked_name(name)
    circuit = portable(model, elapsed=elapsed, certificate=certificate, clamp=clamp)
    stated = statement(circuit, "float64")
    text = _written(circuit, stated, name, tolerance(model))
    module: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"{name}.py", "exec"), module)
    with np.errstate(all="ignore"):
        require_equal(float(module["check"]()), module["CHECK_TOLERANCE"], "a file")
    summary = f"A {stated['kind']} for NumPy: import {name}, or run {name}.py."
    return ExportedFiles({f"{name}.py": text.encode()}, summary)


def _written(circuit: Portable, stated: Mapping[str, str], name: str, allowed: float) -> str:
    """Return the text of the file."""
    functions = _functions(circuit)
    checks = "\n\n" + _checks(circuit, allowed) + "\n"
    body = "".join([_code(circuit), checks, code.MAIN.format(call=_call(circuit))])
    imports = ["import math"] * ("math." in functions) + ["import sys"]
    return "\n".join(
        [
            _docstring(circuit, stated, name),
            *imports,
            "",
            "import numpy as np",
            "",
            _tables(circuit) + functions + body,
        ]
    )


def _docstring(circuit: Portable, stated: Mapping[str, str], name: str) -> str:
    """Return the docstring of the module, which says what the circuit is."""
    argument = "" if circuit.elapsed is not None else ", elapsed"
    title = stated["kind"][0].upper() + stated["kind"][1:]
    lines = [
        f"{title} on NumPy, written by elegans.",
        "",
        f"    from {name} import Circuit",
        "",
        "    circuit = Circuit()",
        f"    outputs = circuit(inputs{argument})  # a step; the state stays in the circuit",
        "    circuit.reset(batch=3)  # three circuits side by side, at rest",
        "",
    ]
    for subject, sentence in stated.items():
        if subject != "kind":
            indent = " " * 13
            first = f"{subject.capitalize():13}"
            text = " ".join(sentence.split()) or "none"
            lines += textwrap.wrap(text, 96, initial_indent=first, subsequent_indent=indent)
    lines += [
        "",
        f"``python {name}.py`` compares the circuit with recorded steps of the trained one;",
        f"``python {name}.py - < rows.csv`` reads rows of inputs"
        + (" and, last, elapsed times" if argument else "")
        + " and prints outputs.",
    ]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"', "'")
    return f'"""{text}\n"""\n'


# --- numbers ---------------------------------------------------------------------------------


def _tables(circuit: Portable) -> str:
    """Return the assignments of what the code reads."""
    step = circuit.step
    rows = [
        f"INPUTS = {names(circuit.input_names)}",
        f"OUTPUTS = {names(circuit.output_names)}",
        f"NEURONS = {circuit.state_size}",
    ]
    if circuit.elapsed is None:
        rows.append(f"UNIT = {circuit.unit!r}  # of the elapsed time: what counts as 1")
    else:
        rows.append(f"ELAPSED = {circuit.time_step!r}  # length of a step for the circuit")
    if circuit.integration is not None:
        rows.append(f"UNFOLDS = {circuit.integration.unfolds}  # steps of the solver in each")
    rows += ["", "# inputs of the circuit: (input - ORIGIN) * FACTOR + SHIFT"]
    rows += [array(n.upper(), getattr(circuit, n)) for n in ("origin", "factor", "shift")]
    if circuit.clamp is not None:
        rows += [array(n, v) for n, v in zip(("LOWEST", "HIGHEST"), circuit.clamp, strict=True)]
    which = "the first neurons" if circuit.read is None else "the neurons READ"
    reading = f"outputs: WEIGHT times the states of {which}, plus BIAS"
    rows += ["", f"# {reading}", array("WEIGHT", circuit.weight), array("BIAS", circuit.bias)]
    rows += [] if circuit.read is None else [assignment("READ", circuit.read, "np.array(", ")")]
    if circuit.limits is not None:
        rows += [array(n, v) for n, v in zip(("LEAST", "MOST"), circuit.limits, strict=True)]
    rows += ["", "# neurons"] if step.neurons.keys() - {"order"} else []
    rows += [array(f"NEURON_{n.upper()}", v) for n, v in _neurons(step).items()]
    if step.equation == "dense_closed_form":
        rows += ["", "# maps one after the other: weights (output, input) and biases"]
        rows.append(assignment("LAYERS", step.layers))
    elif step.equation == "closed_form":
        rows += ["", "# synapses in the order of their targets; weights are (map, synapse)"]
        for name in _sets(step, sensory=True):
            rows.append(assignment(name.upper(), _table(step.synapses[name])))
        rows += ["# layers from the inputs to the outputs; sources from NEURONS on are new states"]
        rows.append(assignment("LAYERS", _layers(step)))
    else:
        rows += ["", "# synapses in the order of their targets"]
        for name, slots in step.synapses.items():
            if len(slots):
                rows.append(assignment(name.upper(), _table(slots)))
    return "\n".join(rows) + "\n"


def _checks(circuit: Portable, allowed: float) -> str:
    check = circuit.check
    return "\n".join(
        [
            "# steps of the trained circuit from rest, to compare with",
            array("CHECK_INPUTS", check.inputs),
            array("CHECK_OUTPUTS", check.outputs),
            f"CHECK_SCALE = {check.scale!r}  # of the outputs",
            f"CHECK_TOLERANCE = {allowed!r}  # of the scale",
            "",
        ]
    )


def _neurons(step: PlainStep) -> dict[str, Array]:
    """Return what neurons have, the maps of a closed form side by side, (map, neuron)."""
    if step.equation != "closed_form":
        return dict(step.neurons)
    maps = [values for name, values in step.neurons.items() if name in ("f", "g", "a", "b")]
    pure = {n: v for n, v in step.neurons.items() if n in ("rate", "asymptote")}
    return {"bias": np.stack(maps), **pure}


def _sets(step: PlainStep, *, sensory: bool) -> list[str]:
    """Return the names of sets of synapses: heads, then gates."""
    return [name for name in step.synapses if name.endswith("sensory") == sensory]


def _table(slots: PlainSynapses) -> dict[str, Any]:
    """Return the columns of synapses; weights of several maps are (map, synapse)."""
    columns: dict[str, Any] = {"start": slots.start, "source": slots.source}
    if not slots.values.keys() & {"weight"}:
        return columns | {"weight": np.stack(list(slots.values.values()))}
    return columns | dict(slots.values)


def _layers(step: PlainStep) -> list[dict[str, Any]]:
    """Return the layers of a wired closed form in the order of their updates."""
    order = step.neurons["order"]
    layers = []
    for rank in np.unique(order):
        neurons = np.flatnonzero(order == rank)
        first, last = int(neurons[0]), int(neurons[-1]) + 1
        layer: dict[str, Any] = {"first": first, "last": last}
        for name in _sets(step, sensory=False):
            slots = step.synapses[name]
            start = slots.start[first : last + 1]
            own = slice(start[0], start[-1])
            values = {column: value[own] for column, value in slots.values.items()}
            layer[name] = _table(PlainSynapses(start - start[0], slots.source[own], values))
        layers.append(layer)
    return layers


# --- code ------------------------------------------------------------------------------------


def _functions(circuit: Portable) -> str:
    """Return the functions that the class calls, each after what it calls itself."""
    step, integration = circuit.step, circuit.integration
    pieces = []
    if integration is None:
        pieces.append(code.CLOSED_FORMS[step.choices["mode"]])
    elif integration.solver.startswith("exponential"):
        pieces += [code.PHI1, code.RELAX]
    if len(step.layers) > 1:
        pieces.insert(0, code.ACTIVATIONS[step.choices["activation"]])
    text = "\n".join(pieces)
    if "sigmoid(" in text + _class(circuit) + _synapses(step):
        text = code.SIGMOID + "\n" * bool(text) + text
    return "\n" + text if text else ""


def _code(circuit: Portable) -> str:
    classes = [_synapses(circuit.step), _class(circuit)]
    return "".join("\n" + text for text in classes if text)


def _call(circuit: Portable) -> str:
    return "circuit(row)" if circuit.elapsed is not None else "circuit(row[:-1], row[-1])"


def _synapses(step: PlainStep) -> str:
    """Return the class of synapses, nothing where there are none."""
    if not any(map(len, step.synapses.values())) and step.equation != "closed_form":
        return ""
    values, call = {
        "liquid": (code.LIQUID_VALUES, code.LIQUID_CALL),
        "rates": (code.WEIGHT_VALUE, code.RATES_CALL),
        "closed_form": (code.MAPS_VALUE, code.MAPS_CALL),
    }[step.equation]
    names = {"name": "Synapses", "what": "Synapses"}
    chemical = code.SYNAPSES.format(**names, values=values, call=call)
    if not len(step.synapses.get(ELECTRICAL, ())):
        return chemical
    names = {"name": "Junctions", "what": "Gap junctions, each at both its ends,"}
    junctions = code.SYNAPSES.format(**names, values=code.JUNCTION_VALUES, call=code.JUNCTION_CALL)
    others = any(len(slots) for name, slots in step.synapses.items() if name != ELECTRICAL)
    return f"{chemical}\n{junctions}" if others else junctions


def _class(circuit: Portable) -> str:
    """Return the class of the circuit."""
    is_given = circuit.elapsed is None
    elapsed = "elapsed" if is_given else "ELAPSED"
    integrate = code.EVALUATE if circuit.integration is None else code.INTEGRATE
    read = circuit.weight.shape[-1]
    states = "x" if read == circuit.state_size else f"x[..., :{read}]"
    states = states if circuit.read is None else "x[..., READ]"
    product = f"{states} @ WEIGHT.T" if circuit.weight.ndim == 2 else f"{states} * WEIGHT"
    clamp = "        inputs = np.clip(inputs, LOWEST, HIGHEST)\n"
    return code.CIRCUIT.format(
        tables=_converted(circuit.step),
        elapsed_argument=", elapsed=UNIT" if is_given else "",
        elapsed_text=code.ELAPSED_TEXT if is_given else "",
        elapsed_check=code.ELAPSED_CHECK if is_given else "",
        clamp="" if circuit.clamp is None else clamp,
        integrate=integrate.format(elapsed=elapsed),
        outputs=f"{product} + BIAS",
        limits="outputs" if circuit.limits is None else "np.clip(outputs, LEAST, MOST)",
        methods=_methods(circuit),
    )


def _converted(step: PlainStep) -> str:
    """Return the lines that bring the tables to the precision of the circuit."""
    lines = [f"self.{n} = np.array(NEURON_{n.upper()}, dtype)" for n in _neurons(step)]
    if step.equation == "dense_closed_form":
        pair = "(np.array(weight, dtype), np.array(bias, dtype))"
        lines.append(f"self.layers = [{pair} for weight, bias in LAYERS]")
    elif step.equation == "closed_form":
        for name in _sets(step, sensory=True):
            lines.append(f"self.{name} = Synapses({name.upper()}, dtype)")
        parts = [f'Synapses(layer["{name}"], dtype)' for name in _sets(step, sensory=False)]
        parts = ['slice(layer["first"], layer["last"])', *parts]
        lines += ["self.layers = [", "    ("]
        lines += [f"        {part}," for part in parts]
        lines += ["    )", "    for layer in LAYERS", "]"]
    else:
        lines += [
            f"self.{name} = {_class_of(name)}({name.upper()}, dtype)"
            for name, slots in step.synapses.items()
            if len(slots)
        ]
    return textwrap.indent("\n".join(lines), " " * 8)


def _class_of(name: str) -> str:
    return "Junctions" if name == ELECTRICAL else "Synapses"


def _methods(circuit: Portable) -> str:
    """Return how the circuit takes a step."""
    step = circuit.step
    kept = "np.where(elapsed > 0, {new}, x)" if circuit.elapsed is None else "{new}"
    is_pure = step.choices.get("mode") == "pure"
    if step.equation == "dense_closed_form":
        return code.DENSE_STEP.format(
            backbone=code.DEEP if len(step.layers) > 1 else code.SHALLOW,
            pure=", self.rate, self.asymptote" if is_pure else "",
            kept=kept.format(new="new"),
        )
    if step.equation == "closed_form":
        return _wired(step, kept.format(new="new"))
    has = {name: len(slots) > 0 for name, slots in step.synapses.items()}
    if step.equation == "liquid":
        sense = code.LIQUID_SENSE if has["sensory"] else code.LIQUID_NO_SENSE
        within = [name for name in ("recurrent", ELECTRICAL) if has.get(name)]
        flow = code.LIQUID_FLOW.format(set=within[0]) if within else code.LIQUID_NO_FLOW
        flow = code.LIQUID_JOINED_FLOW if len(within) > 1 else flow
    else:
        sense = code.RATES_SENSE if has["sensory"] else code.RATES_NO_SENSE
        flow = code.RATES_FLOW if has["recurrent"] else code.RATES_NO_FLOW
        activation = {"sigmoid": "sigmoid", "tanh": "np.tanh"}[step.choices["activation"]]
        flow = flow.format(activation=activation)
    return sense + flow + _integrator(circuit.integration)


def _integrator(integration: Integration | None) -> str:
    """Return a step of the solver."""
    assert integration is not None
    if integration.solver != "runge_kutta":
        return code.STEPS[integration.solver]
    lines = []
    for k, row in enumerate((*integration.rows, integration.weights), start=1):
        terms = [
            f"{'' if a == 1 else f'{a!r} * '}k{j}" for j, a in enumerate(row, start=1) if a != 0
        ]
        total = " + ".join(terms)
        if len(terms) > 3:  # a line each
            total = "\n    " + "\n    + ".join(terms) + "\n"
        total = f"({total})" if " " in total else total
        to = f"x + h * {total}" if terms else "x"
        is_last = k > len(integration.rows)
        lines.append(f"return {to}" if is_last else f"k{k} = self.slope({to}, sensed)")
    stages = textwrap.indent("\n".join(lines), " " * 8)
    return code.RUNGE_KUTTA.format(stages=stages).rstrip() + "\n"


def _wired(step: PlainStep, kept: str) -> str:
    """Return a step of a closed form along synapses."""
    sensory, recurrent = (_sets(step, sensory=sensory) for sensory in (True, False))
    arriving = [f"self.{name}(u)" for name in sensory]
    sums = [f"{name}(both)" for name in recurrent]
    joined = [
        parts[0] if len(parts) == 1 else f"np.concatenate([{', '.join(parts)}], axis=-2)"
        for parts in (arriving, sums)
    ]
    is_pure = step.choices["mode"] == "pure"
    return code.WIRED_STEP.format(
        drive=f"self.bias + {joined[0]}",
        sums=", ".join(recurrent),
        arriving=joined[1],
        pure=", *own" if is_pure else "",
        own=code.OWN if is_pure else "",
        kept=kept,
    )
