"""The backward pass of `elegans.solvers.fused.cpu.lanes`.

With D = C + h G the semi-implicit step is x+ = (C x + h A) / D, so for a gradient g of x+

    dA = g h / D,   dG = -x+ dA,   dx = g C / D (and through the gates),
    dC = g (x - x+) / D,   dh = g (A - G x+) / D.

With P = (h / C) phi(z), z = G h / C, the exponential step is x+ = x + (A - G x) P, so

    dA = g P,   dG = -x dA + g (x+ - x) (h / C) q(z),   dx = g (1 - G P) (and through the gates),
    dC = -g (x+ - x) (1 + z q(z)) / C,   dh = g (A - G x) e^-z / C,

where q(z) = (z / (e^z - 1) - 1) / z. A gate w s, s = sigmoid(sigma (x_j - mu)), contributes
(erev dA + dG) times its own derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.lanes import NEAR, gather, sense, step_lengths, sum_gates, unfold
from elegans.solvers.fused.cpu.sigmoid import exponential, phi, phi_slope, sigmoid
from elegans.solvers.fused.cpu.vectors import add, item, load, narrowed, store, total, totals

Array = Any

SUMS = (0,) * 16
"""Lanes of a sum whose lanes are added up at the end only."""


@njit(**INLINE)
def _gates_back(
    rows: Array,
    first: int,
    synapses: Any,
    begin: int,
    end: int,
    from_g: Any,
    from_a: Any,
    rows_gradient: Array,
    first_gradient: int,
    value_gradients: Array,
    first_value: int,
    lanewise: bool,
    lanes: Any,
) -> None:
    """Carry the gradients of one target's G and A back through its gates.

    Adds to rows_gradient (source, lane) and to value_gradients (synapse, 4), or (synapse, 4, SUMS)
    if `lanewise`, which lack factors as `elegans.solvers.fused.cpu.parameters` says. Arrays are
    read and written from their row `first` on.
    """
    source, _, weight, sigma, mu, erev = synapses
    one = rows.dtype.type(1)
    for e in range(begin, end):
        j, gain = item(source, e), item(sigma, e)
        distance = load(rows, first + j, lanes) - item(mu, e)
        s = sigmoid(gain * distance)
        from_gate = from_a * item(erev, e) + from_g
        slope = from_gate * s * (one - s)
        add(rows_gradient, first_gradient + j, slope * (item(weight, e) * gain))
        if lanewise:
            row = 4 * (first_value + e)
            add(value_gradients, row, narrowed(from_gate * s, SUMS))
            add(value_gradients, row + 1, narrowed(slope * distance, SUMS))
            add(value_gradients, row + 2, narrowed(slope, SUMS))
            add(value_gradients, row + 3, narrowed(from_a * s, SUMS))
        else:
            sums = totals(from_gate * s, slope * distance, slope, from_a * s)
            add(value_gradients, first_value + e, sums)


@njit(**OPTIONS)
def _unfold_back(
    gradient: Array,
    given: int,
    found: int,
    path: Array,
    before: int,
    after: int,
    auxes: Array,
    aux: int,
    synapses: Any,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    value_gradients: Array,
    first_value: int,
    lanewise: bool,
    from_neurons: Array,
    base_gradient: Array,
    lanes: Any,
) -> None:
    """Carry the rows `given` of gradient (2, neuron, lane) back over a solver step to `found`.

    The step led from the rows `before` of `path` to `after`. Adds to value_gradients, to the
    gradient of capacitances in from_neurons (3, neuron, lane) and to base_gradient (neuron, 2,
    lane).
    """
    one = h.dtype.type(1)
    start, step = synapses[1], load(h, 0, lanes)
    neurons = neuron.shape[1]
    for i in range(neurons):  # the direct part first: gates add to any row
        g, c = load(gradient, given + i, lanes), neuron[0, i]
        change = load(path, after + i, lanes) - load(path, before + i, lanes)
        if exponential_step:
            z = load(auxes, aux + i, lanes) * step / c
            store(gradient, found + i, g * exponential(-z))
            add(from_neurons, i, -(g * change * (one + z * phi_slope(z)) / c))
        else:
            g = g * load(auxes, aux + i, lanes)
            store(gradient, found + i, g * c)
            add(from_neurons, i, -(g * change))
    for i in range(neurons):
        g, x = load(gradient, given + i, lanes), load(path, after + i, lanes)
        if exponential_step:
            rate = step / neuron[0, i]
            z = load(auxes, aux + i, lanes) * rate
            x_before = load(path, before + i, lanes)
            from_a = g * rate * phi(z)
            from_g = g * (x - x_before) * rate * phi_slope(z) - from_a * x_before
        else:
            from_a = g * step * load(auxes, aux + i, lanes)
            from_g = -from_a * x
        add(base_gradient, 2 * i, from_g)
        add(base_gradient, 2 * i + 1, from_a)
        _gates_back(
            path, before, synapses, item(start, i), item(start, i + 1), from_g, from_a,
            gradient, found, value_gradients, first_value, lanewise, lanes,
        )  # fmt: skip


@njit(**OPTIONS)
def _h_back(
    gradient: Array,
    given: int,
    path: Array,
    before: int,
    after: int,
    auxes: Array,
    aux: int,
    base: Array,
    synapses: Any,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    h_gradient: Array,
    lanes: Any,
) -> None:
    """Add the gradient of the step length to h_gradient (lane,); sums the gates once more."""
    start, step, found = synapses[1], load(h, 0, lanes), load(h_gradient, 0, lanes)
    for i in range(neuron.shape[1]):
        g, a = load(base, 2 * i, lanes), load(base, 2 * i + 1, lanes)
        begin, end = item(start, i), item(start, i + 1)
        g, a = sum_gates(path, before, synapses, begin, end, g, a, lanes, NEAR)
        c, from_after = neuron[0, i], load(gradient, given + i, lanes)
        kept = load(auxes, aux + i, lanes)
        if exponential_step:
            slope = a - g * load(path, before + i, lanes)
            found += from_after * slope * exponential(-kept * step / c) / c
        else:
            found += from_after * (a - g * load(path, after + i, lanes)) * kept
    store(h_gradient, 0, found)


@njit(**INLINE)
def _add_given(
    output_gradient: Array,
    states_gradient: Array,
    path: Array,
    last: int,
    first: int,
    present: int,
    t: int,
    inputs: int,
    mapping: Array,
    gradient: Array,
    side: int,
    outputs: Array,
    from_mapping: Array,
    lanes: Any,
) -> None:
    """Add what is given for one time step to gradient[side], the states being rows of `path`.

    Adds to the outputs' part of from_mapping (2, input + output, lane), too; outputs (output,
    lane), 0 in lanes that are missing, is to work in.
    """
    if len(states_gradient):
        for b in range(present):
            for i in range(gradient.shape[1]):
                gradient[side, i, b] += states_gradient[first + b, t, i]
    if len(output_gradient):
        for b in range(present):
            for i in range(outputs.shape[0]):
                outputs[i, b] = output_gradient[first + b, t, i]
        for i in range(outputs.shape[0]):
            given = load(outputs, i, lanes)
            add(gradient, side * gradient.shape[1] + i, given * mapping[0, inputs + i])
            add(from_mapping, inputs + i, given * load(path, last + i, lanes))
            add(from_mapping, mapping.shape[1] + inputs + i, given)


@njit(**INLINE)
def _sum_in_place(values: Array, first: int, count: int) -> None:
    """Turn `count` rows (4, SUMS) from `first` on into their sums, rows of 4, at the beginning."""
    for e in range(count):
        row = 4 * (first + e)
        sums = totals(
            load(values, row, SUMS),
            load(values, row + 1, SUMS),
            load(values, row + 2, SUMS),
            load(values, row + 3, SUMS),
        )
        store(values, len(SUMS) * first + e, sums)


@njit(**INLINE)
def _sum_lanes(values: Array, into: Array, lanes: Any) -> None:
    """Write the sums over lanes of values (rows, column, lane) to into (rows, column)."""
    for r in range(into.shape[0]):
        for i in range(into.shape[1]):
            into[r, i] = total(load(values, r * into.shape[1] + i, lanes))


@kernel(parallel=True)
def backward(
    output_gradient: Array,
    states_gradient: Array,
    x: Array,
    initial: Array,
    elapsed: Array,
    mapping: Array,
    synapses: Any,
    sensory: Any,
    neuron: Array,
    unfolds: int,
    exponential_step: bool,
    lanes: Any,
    states: Array,
    path: Array,
    auxes: Array,
    kept: bool,
    wants_h: bool,
    lanewise: bool,
    x_gradient: Array,
    initial_gradient: Array,
    elapsed_gradient: Array,
    mapping_gradients: Array,
    value_gradients: Array,
    sensory_gradients: Array,
    neuron_gradients: Array,
) -> None:
    """Carry gradients of output and states back to everything that `forward` was given.

    Either may be of length 0: there is none. The last four come in parts, (part, 2, input +
    output), (part, 4 synapses), (part, 4 synapses) and (part, 3, neuron), to be summed by the
    caller; blocks are dealt out to parts. If `lanewise`, those of synapses have SUMS times the
    room, and sums over samples are put off to the end, which is faster while it fits into the
    cache. Where `path` and `auxes` were not `kept`, the steps of one element of the sequence are
    taken again from the state before it, into the arrays given, (part, unfolds + 1, neuron, lane)
    and (part, unfolds, neuron, lane).
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    zero = x.dtype.type(0)
    blocks, parts = (batch + width - 1) // width, len(neuron_gradients)
    for part in prange(parts):
        raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
        row_gradient = np.empty((inputs, width), x.dtype)
        outputs = np.empty((mapping.shape[1] - inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        base_gradient = np.empty((neurons, 2, width), x.dtype)
        h, h_gradient = np.empty(width, x.dtype), np.empty(width, x.dtype)
        gradient = np.empty((2, neurons, width), x.dtype)
        from_neurons = np.zeros((3, neurons, width), x.dtype)
        from_mapping = np.zeros((2, mapping.shape[1], width), x.dtype)
        value_gradients[part] = zero
        sensory_gradients[part] = zero
        first_value, first_sensory = part * len(synapses[0]), part * len(sensory[0])
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * width
            present = min(width, batch - first)
            place = block if kept else part
            gradient[:] = zero
            outputs[:] = zero
            side = 0
            for t in range(time - 1, -1, -1):
                origin = t * unfolds if kept else 0
                rows = (place * path.shape[1] + origin) * neurons
                aux = (place * auxes.shape[1] + origin) * neurons
                step_lengths(elapsed, first, t, unfolds, h)
                gather(x, first, t, mapping, raw, row)
                if wants_h or not kept:
                    sense(row, sensory, neuron, base, 0, neurons, lanes)
                if not kept:
                    path[part, 0] = zero
                    for b in range(present):
                        for i in range(neurons):
                            path[part, 0, i, b] = (
                                states[first + b, t - 1, i] if t else initial[first + b, i]
                            )
                    for u in range(0, unfolds * neurons, neurons):
                        unfold(
                            path, rows + u, rows + u + neurons, auxes, aux + u, base, synapses,
                            neuron, h, exponential_step, 0, neurons, lanes, NEAR,
                        )  # fmt: skip
                _add_given(
                    output_gradient, states_gradient, path, rows + unfolds * neurons, first,
                    present, t, inputs, mapping, gradient, side, outputs, from_mapping, lanes,
                )  # fmt: skip
                base_gradient[:] = zero
                h_gradient[:] = zero
                for u in range((unfolds - 1) * neurons, -1, -neurons):
                    given, found = side * neurons, (1 - side) * neurons
                    _unfold_back(
                        gradient, given, found, path, rows + u, rows + u + neurons, auxes, aux + u,
                        synapses, neuron, h, exponential_step, value_gradients, first_value,
                        lanewise, from_neurons, base_gradient, lanes,
                    )  # fmt: skip
                    if wants_h:
                        _h_back(
                            gradient, given, path, rows + u, rows + u + neurons, auxes, aux + u,
                            base, synapses, neuron, h, exponential_step, h_gradient, lanes,
                        )  # fmt: skip
                    side = 1 - side
                row_gradient[:] = zero
                for i in range(neurons):
                    from_g = load(base_gradient, 2 * i, lanes)
                    from_a = load(base_gradient, 2 * i + 1, lanes)
                    add(from_neurons, neurons + i, from_g)
                    add(from_neurons, 2 * neurons + i, from_a)
                    _gates_back(
                        row, 0, sensory, item(sensory[1], i), item(sensory[1], i + 1), from_g,
                        from_a, row_gradient, 0, sensory_gradients, first_sensory,
                        lanewise, lanes,
                    )  # fmt: skip
                for i in range(inputs):
                    found_here = load(row_gradient, i, lanes)
                    add(from_mapping, i, found_here * load(raw, i, lanes))
                    add(from_mapping, mapping.shape[1] + i, found_here)
                    for b in range(present):
                        x_gradient[first + b, t, i] = row_gradient[i, b] * mapping[0, i]
                for b in range(present):
                    elapsed_gradient[first + b, t] = h_gradient[b] / x.dtype.type(unfolds)
            for b in range(present):
                for i in range(neurons):
                    initial_gradient[first + b, i] = gradient[side, i, b]
        if lanewise:
            _sum_in_place(value_gradients, first_value, len(synapses[0]))
            _sum_in_place(sensory_gradients, first_sensory, len(sensory[0]))
        _sum_lanes(from_neurons, neuron_gradients[part], lanes)
        _sum_lanes(from_mapping, mapping_gradients[part], lanes)
