"""Steps of circuits as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elegans.errors import InputError
from elegans.export.portable import Portable
from elegans.synapses.plain import ELECTRICAL, PlainSynapses

MOST_ENTRIES = 50_000_000
"""Of a table of synapses, which has as many columns as the neuron with the most synapses."""

_MAPS = {"default": "fgab", "no_gate": "fgab", "pure": "f"}


class OnnxGraph:
    """Nodes and constants of a graph, as they come up."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, values: Any) -> str:
        """Return the name of a constant: numbers in single precision, indices in 64 bits."""
        if name not in self.constants:
            array = np.asarray(values)
            kind = np.int64 if array.dtype.kind == "i" else np.float32
            tensor = self.library.numpy_helper.from_array(array.astype(kind), name)
            self.constants[name] = tensor
        return name

    def used(self) -> list[Any]:
        """Return the constants that a node reads."""
        read = {name for node in self.nodes for name in node.input}
        return [tensor for name, tensor in self.constants.items() if name in read]

    def __call__(self, kind: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its value."""
        name = to or f"{kind.lower()}_{len(self.nodes)}"
        node = self.library.helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def part(self, values: str, first: int, last: int) -> str:
        """Return columns of (batch, column)."""
        ends = (self.constant(f"at_{k}", np.array([k])) for k in (first, last, 1))
        start, stop, axis = ends
        return self("Slice", values, start, stop, axis)


Step = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
"""Nodes, inputs and outputs."""


def step_of(graph: OnnxGraph, circuit: Portable) -> Step:
    """Return the step of a circuit."""
    value, real = graph.library.helper.make_tensor_value_info, graph.library.TensorProto.FLOAT
    inputs = [
        value("input", real, ["batch", len(circuit.origin)]),
        value("state", real, ["batch", circuit.state_size]),
    ]
    u = "input"
    if circuit.clamp is not None:
        for kind, end, name in zip(
            ("Max", "Min"), circuit.clamp, ("lowest_input", "highest_input"), strict=True
        ):
            u = graph(kind, u, graph.constant(name, end))
    u = graph("Sub", u, graph.constant("origin", circuit.origin))
    u = graph("Mul", u, graph.constant("factor", circuit.factor))
    u = graph("Add", u, graph.constant("shift", circuit.shift), to="mapped_input")
    if circuit.elapsed is None:
        inputs.append(value("elapsed", real, ["batch"]))
        column = graph("Unsqueeze", "elapsed", graph.constant("last_axis", np.array([1])))
        elapsed = graph("Div", column, graph.constant("unit", circuit.unit))
    else:
        elapsed = graph.constant("time_step", circuit.time_step)
    kinds = {"closed_form": _wired, "dense_closed_form": _dense}
    new = kinds.get(circuit.step.equation, _integrated)(graph, circuit, u, elapsed)
    if circuit.integration is None and circuit.elapsed is None:
        passes = graph("Greater", elapsed, graph.constant("zero", 0.0))
        new = graph("Where", passes, new, "state")
    new = graph("Identity", new, to="new_state")
    _read(graph, circuit, new)
    outputs = [
        value("output", real, ["batch", len(circuit.bias)]),
        value("new_state", real, ["batch", circuit.state_size]),
    ]
    return graph.nodes, inputs, outputs


def _read(graph: OnnxGraph, circuit: Portable, state: str) -> None:
    """Append the outputs of a state."""
    weight, read = circuit.weight, circuit.weight.shape[-1]
    if circuit.read is not None:
        x = graph("Gather", state, graph.constant("output_source", circuit.read), axis=1)
    else:
        x = state if read == circuit.state_size else graph.part(state, 0, read)
    if weight.ndim == 2:
        y = graph("MatMul", x, graph.constant("output_weight", weight.T))
    else:
        y = graph("Mul", x, graph.constant("output_weight", weight))
    bias = graph.constant("output_bias", circuit.bias)
    if circuit.limits is None:
        graph("Add", y, bias, to="output")
        return
    low, high = circuit.limits
    y = graph("Max", graph("Add", y, bias), graph.constant("least_output", low))
    graph("Min", y, graph.constant("greatest_output", high), to="output")


# --- synapses --------------------------------------------------------------------------------


def _table(slots: PlainSynapses, name: str) -> dict[str, Any]:
    """Return what synapses have as tables (neuron, synapse), zeros where there are none."""
    counts = np.diff(slots.start)
    neurons, most = len(counts), int(counts.max())
    if neurons * most > MOST_ENTRIES:
        raise InputError(
            f"got {most} {name} synapses onto one of {neurons} neurons, expected tables of at "
            f"most {MOST_ENTRIES} entries; export to C or NumPy, which follow the synapses"
        )
    row = slots.target
    column = np.arange(len(slots)) - np.repeat(slots.start[:-1], counts)
    tables = {}
    for name, values in {"source": slots.source, **slots.values}.items():
        tables[name] = np.zeros((neurons, most), values.dtype)
        tables[name][row, column] = values
    return tables


def _total(graph: OnnxGraph, arriving: str) -> str:
    """Sum (batch, neuron, synapse) to (batch, neuron)."""
    axis = graph.constant("synapse_axis", np.array([2]))
    return graph("ReduceSum", arriving, axis, keepdims=0)


def _liquid(graph: OnnxGraph, slots: PlainSynapses, name: str, x: str) -> tuple[str, str]:
    """Return conductances and currents, (batch, neuron), for sources (batch, source)."""
    tables = {k: graph.constant(f"{name}_{k}", v) for k, v in _table(slots, name).items()}
    pre = graph("Gather", x, tables["source"], axis=1)
    opening = graph("Mul", graph("Sub", pre, tables["centre"]), tables["gain"])
    gate = graph("Mul", graph("Sigmoid", opening), tables["weight"])
    return _total(graph, gate), _total(graph, graph("Mul", gate, tables["potential"]))


def _electrical(graph: OnnxGraph, slots: PlainSynapses, x: str) -> tuple[str, str]:
    """Return conductances and currents, (batch, neuron), of gap junctions at (batch, neuron)."""
    tables = {
        k: graph.constant(f"{ELECTRICAL}_{k}", v) for k, v in _table(slots, ELECTRICAL).items()
    }
    other = graph("Gather", x, tables["source"], axis=1)
    total = graph.constant(f"{ELECTRICAL}_total", slots.onto(slots.values["weight"]))
    if slots.values["way"].any():
        axis, zero = graph.constant("synapse_axis", np.array([2])), graph.constant("zero", 0.0)
        here = graph("Unsqueeze", x, axis)
        falls = graph("Greater", graph("Mul", tables["way"], graph("Sub", other, here)), zero)
        flows = graph("Or", falls, graph("Equal", tables["way"], zero))
        other = graph("Where", flows, other, here)
    return total, _total(graph, graph("Mul", tables["weight"], other))


def _weighted(graph: OnnxGraph, slots: PlainSynapses, name: str, x: str) -> dict[str, str]:
    """Return the weighted sums (batch, neuron) of sources (batch, source), by their maps."""
    tables = {k: graph.constant(f"{name}_{k}", v) for k, v in _table(slots, name).items()}
    pre = graph("Gather", x, tables.pop("source"), axis=1)
    return {k: _total(graph, graph("Mul", pre, weight)) for k, weight in tables.items()}


# --- differential equations --------------------------------------------------------------------


class _Flow:
    """Conductance G and drive A of each neuron: C dx/dt = A - G x."""

    def __init__(self, graph: OnnxGraph, circuit: Portable, u: str) -> None:
        self.graph, self.step = graph, circuit.step
        self.neurons = {n: graph.constant(n, v) for n, v in circuit.step.neurons.items()}
        self.capacitance = self.neurons["capacitance"]
        self.recurrent, sensory = (circuit.step.synapses[k] for k in ("recurrent", "sensory"))
        self.electrical = circuit.step.synapses.get(ELECTRICAL)
        if circuit.step.equation == "liquid":
            self.sensed = self.neurons["conductance"], self.neurons["drive"]
            if len(sensory):
                self.sensed = self._plus(_liquid(graph, sensory, "sensory", u))
            return
        arriving = graph.constant("nothing", 0.0)
        if len(sensory):
            arriving = _weighted(graph, sensory, "sensory", u)["weight"]
        self.sensed = graph.constant("one", 1.0), arriving

    def _plus(self, *arriving: tuple[str, str]) -> tuple[str, str]:
        sums = self.sensed
        for each in arriving:
            sums = self._sum(sums, each)
        return sums

    def _sum(self, first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
        conductance, drive = zip(first, second, strict=True)
        return self.graph("Add", *conductance), self.graph("Add", *drive)

    def __call__(self, x: str) -> tuple[str, str]:
        """Return both at the state x."""
        graph = self.graph
        if self.step.equation == "liquid":
            arrived = []
            if len(self.recurrent):
                arrived.append(_liquid(graph, self.recurrent, "recurrent", x))
            if self.electrical is not None and len(self.electrical):
                arrived.append(_electrical(graph, self.electrical, x))
            return self._plus(*arrived)
        if not len(self.recurrent):
            return self.sensed
        kind = {"sigmoid": "Sigmoid", "tanh": "Tanh"}[self.step.choices["activation"]]
        rate = graph(kind, graph("Add", x, self.neurons["bias"]))
        arriving = _weighted(graph, self.recurrent, "recurrent", rate)["weight"]
        return self.sensed[0], graph("Add", self.sensed[1], arriving)

    def excess(self, x: str, conductance: str, drive: str) -> str:
        """Return A - G x."""
        return self.graph("Sub", drive, self.graph("Mul", conductance, x))


def _integrated(graph: OnnxGraph, circuit: Portable, u: str, elapsed: str) -> str:
    """Return the state after all unfolds of a solver."""
    integration = circuit.integration
    assert integration is not None
    h = graph("Div", elapsed, graph.constant("unfolds", float(integration.unfolds)))
    flow, x = _Flow(graph, circuit, u), "state"
    half = quarter = ""
    if integration.solver.startswith("exponential"):
        half = graph("Div", h, graph.constant("two", 2.0))
    if integration.solver == "exponential_midpoint":
        quarter = graph("Div", half, graph.constant("two", 2.0))
    for _ in range(integration.unfolds):
        if integration.solver == "semi_implicit":
            conductance, drive = flow(x)
            gone = graph("Mul", h, flow.excess(x, conductance, drive))
            over = graph("Add", flow.capacitance, graph("Mul", h, conductance))
            x = graph("Add", x, graph("Div", gone, over))
        elif integration.solver == "exponential":
            x = _relax(flow, x, h, half, *flow(x))
        elif integration.solver == "exponential_midpoint":
            x = _relax(flow, x, h, half, *flow(_relax(flow, x, half, quarter, *flow(x))))
        else:
            stages: list[str] = []
            for row in (*integration.rows, integration.weights):
                at = _shifted(graph, x, h, row, stages)
                if len(stages) == len(integration.rows):
                    x = at
                else:
                    stages.append(graph("Div", flow.excess(at, *flow(at)), flow.capacitance))
    return x


def _relax(flow: _Flow, x: str, h: str, half: str, conductance: str, drive: str) -> str:
    r"""Follow C dx/dt = A - G x for the time h with G and A held constant.

    .. math:: x + \frac hC (A - G x) \varphi_1(-2y), \quad y = \frac{h G}{2 C}, \quad
        \varphi_1(-2y) = \frac{\tanh y}{y (1 + \tanh y)}

    which is accurate for small y, and ONNX has no ``expm1``.
    """
    graph = flow.graph
    y = graph("Div", graph("Mul", half, conductance), flow.capacitance)
    tanh = graph("Tanh", y)
    one = graph.constant("one", 1.0)
    is_zero = graph("Equal", y, graph.constant("zero", 0.0))
    ratio = graph("Where", is_zero, one, graph("Div", tanh, graph("Where", is_zero, one, y)))
    phi = graph("Div", ratio, graph("Add", one, tanh))
    rate = graph("Div", h, flow.capacitance)
    return graph(
        "Add", x, graph("Mul", graph("Mul", rate, flow.excess(x, conductance, drive)), phi)
    )


def _shifted(graph: OnnxGraph, x: str, h: str, row: Sequence[float], stages: Sequence[str]) -> str:
    """Return x + h sum_j row_j k_j."""
    total = None
    for a, stage in zip(row, stages, strict=True):
        if a != 0:
            term = graph("Mul", graph.constant(f"coefficient_{a}", a), stage)
            total = term if total is None else graph("Add", total, term)
    return x if total is None else graph("Add", x, graph("Mul", h, total))


# --- closed forms ------------------------------------------------------------------------------


def _wired(graph: OnnxGraph, circuit: Portable, u: str, elapsed: str) -> str:
    """Return the new state of a closed form along synapses, layer by layer."""
    step = circuit.step
    sensed: dict[str, str] = {}
    for name, slots in step.synapses.items():
        if name.endswith("sensory") and len(slots):
            sensed |= _weighted(graph, slots, name, u)
    order, read = step.neurons["order"], "state"
    new: dict[int, str] = {}
    place = np.arange(2 * len(order))  # of old states and of new ones in what is read
    known = len(order)
    for number, rank in enumerate(np.unique(order)):
        neurons = np.flatnonzero(order == rank)
        first, last = int(neurons[0]), int(neurons[-1]) + 1
        maps = {
            m: graph.constant(f"layer_{number}_{m}", step.neurons[m][first:last])
            for m in _MAPS[step.choices["mode"]]
        }
        maps = {
            m: graph("Add", graph.part(sensed[m], first, last), v) if m in sensed else v
            for m, v in maps.items()
        }
        for name, slots in step.synapses.items():
            start = slots.start[first : last + 1]
            own = slice(start[0], start[-1])
            if name.endswith("sensory") or start[0] == start[-1]:
                continue
            values = {column: value[own] for column, value in slots.values.items()}
            part = PlainSynapses(start - start[0], place[slots.source[own]], values)
            arriving = _weighted(graph, part, f"layer_{number}_{name}", read)
            maps |= {m: graph("Add", maps[m], total) for m, total in arriving.items()}
        pure = {
            n: graph.constant(f"layer_{number}_{n}", step.neurons[n][first:last])
            for n in ("rate", "asymptote")
            if n in step.neurons
        }
        new[first] = _closed_form(graph, step.choices["mode"], maps, elapsed, pure)
        if not (maps.keys() & sensed.keys()) and not _reads(step.synapses, first, last):
            new[first] = graph(
                "Expand", new[first], graph("Shape", graph.part("state", first, last))
            )
        place[len(order) + first : len(order) + last] = known + np.arange(last - first)
        known += last - first
        read = graph("Concat", read, new[first], axis=1)
    return graph("Concat", *(new[first] for first in sorted(new)), axis=1)


def _reads(sets: Any, first: int, last: int) -> bool:
    """Whether neurons read others, so that their states have the axis of the batch."""
    return any(
        slots.start[last] > slots.start[first]
        for name, slots in sets.items()
        if not name.endswith("sensory")
    )


def _dense(graph: OnnxGraph, circuit: Portable, u: str, elapsed: str) -> str:
    """Return the new state of a closed form behind a backbone."""
    step, y = circuit.step, graph("Concat", u, "state", axis=1)
    for number, (weight, bias) in enumerate(step.layers, start=1):
        y = graph("MatMul", y, graph.constant(f"map_{number}_weight", weight.T))
        y = graph("Add", y, graph.constant(f"map_{number}_bias", bias))
        if number < len(step.layers):
            y = _activation(graph, step.choices["activation"], y)
    size = circuit.state_size
    maps = {
        m: graph.part(y, k * size, (k + 1) * size)
        for k, m in enumerate(_MAPS[step.choices["mode"]])
    }
    pure = {n: graph.constant(n, v) for n, v in step.neurons.items()}
    return _closed_form(graph, step.choices["mode"], maps, elapsed, pure)


def _closed_form(
    graph: OnnxGraph, mode: str, maps: dict[str, str], elapsed: str, pure: dict[str, str]
) -> str:
    """Return the states (batch, neuron) after the elapsed time; see `elegans.cfc.closed_form`."""
    if mode == "pure":
        size = graph("Add", graph("Abs", pure["rate"]), graph("Abs", maps["f"]))
        decay = graph("Exp", graph("Neg", graph("Mul", elapsed, size)))
        gone = graph("Mul", graph("Mul", pure["asymptote"], maps["f"]), decay)
        return graph("Sub", pure["asymptote"], gone)
    f, g = graph("Tanh", maps["f"]), graph("Tanh", maps["g"])
    s = graph("Sigmoid", graph("Add", graph("Mul", maps["a"], elapsed), maps["b"]))
    near = f
    if mode == "default":
        near = graph("Mul", graph("Sub", graph.constant("one", 1.0), s), f)
    return graph("Add", near, graph("Mul", s, g))


def _activation(graph: OnnxGraph, name: str, x: str) -> str:
    if name == "lecun_tanh":
        inner = graph("Mul", graph.constant("steepness", 0.666), x)
        return graph("Mul", graph.constant("height", 1.7159), graph("Tanh", inner))
    if name == "silu":
        return graph("Mul", x, graph("Sigmoid", x))
    if name == "gelu":
        below = graph("Erf", graph("Div", x, graph.constant("root_of_two", np.sqrt(2.0))))
        share = graph("Add", below, graph.constant("one", 1.0))
        return graph("Mul", graph("Mul", graph.constant("half", 0.5), x), share)
    return graph({"relu": "Relu", "tanh": "Tanh"}[name], x)
