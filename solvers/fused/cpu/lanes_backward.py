"""The backward pass of `elegans.solvers.fused.cpu.lanes`.

A gate w s, s = sigmoid(sigma (x_j - mu)), contributes (erev dA + dG) times its own derivatives,
where dA and dG are those of `elegans.solvers.fused.cpu.equations`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.equations import length_back, step_back
from elegans.solvers.fused.cpu.junctions import lanes_back, sum_lanes
from elegans.solvers.fused.cpu.lanes import (
    NEAR,
    copy_states,
    gather,
    places,
    sense,
    sum_gates,
    unfold,
)
from elegans.solvers.fused.cpu.sigmoid import sigmoid
from elegans.solvers.fused.cpu.vectors import add, item, load, narrowed, store, total, totals

Array = Any

SUMS = 16
"""Lanes, at most, of a sum whose lanes are added up at the end only."""


@njit(**INLINE)
def _gates_back(
    rows: Array,
    first: int,
    synapses: Any,
    i: int,
    from_sums: Any,
    rows_gradient: Array,
    first_gradient: int,
    into: Any,
    lanes: Any,
) -> None:
    """Carry from_sums, the gradients of target i's G and A, back through its gates.

    Adds to rows_gradient (source, lane); arrays of rows are read and written from their row `first`
    on. `into` is the tuple value_gradients (synapse, 4), which lack factors as
    `elegans.solvers.fused.cpu.parameters` says, their first row, whether they are lanewise,
    (synapse, 4, lane of `narrow`), and `narrow`, see `backward`.
    """
    source, start, weight, sigma, mu, erev = synapses
    value_gradients, first_value, lanewise, narrow = into
    from_g, from_a = from_sums
    one = rows.dtype.type(1)
    for e in range(item(start, i), item(start, i + 1)):
        j, gain = item(source, e), item(sigma, e)
        distance = load(rows, first + j, lanes) - item(mu, e)
        s = sigmoid(gain * distance)
        from_gate = from_a * item(erev, e) + from_g
        slope = from_gate * s * (one - s)
        add(rows_gradient, first_gradient + j, slope * (item(weight, e) * gain))
        if lanewise:
            row = 4 * (first_value + e)
            add(value_gradients, row, narrowed(from_gate * s, narrow))
            add(value_gradients, row + 1, narrowed(slope * distance, narrow))
            add(value_gradients, row + 2, narrowed(slope, narrow))
            add(value_gradients, row + 3, narrowed(from_a * s, narrow))
        else:
            sums = totals(from_gate * s, slope * distance, slope, from_a * s)
            add(value_gradients, first_value + e, sums)


@njit(**OPTIONS)
def _unfold_back(
    gradient: Array,
    side: int,
    kept: Any,
    block: int,
    k: int,
    recurrent: Any,
    neuron: Array,
    step: Any,
    into: Any,
    from_neurons: Array,
    base_gradient: Array,
    lanes: Any,
) -> None:
    """Carry gradient[side] of gradient (2, neuron, lane) back over step k to the other side.

    Adds to the gradients `into` of values and of junctions, to that of capacitances in from_neurons
    (3, neuron, lane) and to base_gradient[0] of base_gradient (2, neuron, 2, lane); the other half
    is to work in.
    """
    (path, auxes), (synapses, junctions) = kept, recurrent
    into_values, from_junctions = into
    lengths, exponential_step = step
    before, after, aux = places(kept, block, k)
    h, one = load(lengths, 0, lanes), lengths.dtype.type(1)
    neurons = neuron.shape[1]
    after_rows, before_rows = side * neurons, (1 - side) * neurons
    for i in range(neurons):  # the direct part first: gates add to any row
        direct, from_c, from_g, from_a = step_back(
            load(gradient, after_rows + i, lanes), load(path, before + i, lanes),
            load(path, after + i, lanes), load(auxes, aux + i, lanes), neuron[0, i], h,
            exponential_step, one,
        )  # fmt: skip
        store(gradient, before_rows + i, direct)
        add(from_neurons, i, from_c)
        add(base_gradient, 2 * i, from_g)
        add(base_gradient, 2 * i + 1, from_a)
        store(base_gradient, 2 * (neurons + i), from_g)
        store(base_gradient, 2 * (neurons + i) + 1, from_a)
    for i in range(neurons):
        row = 2 * (neurons + i)
        from_sums = load(base_gradient, row, lanes), load(base_gradient, row + 1, lanes)
        _gates_back(path, before, synapses, i, from_sums, gradient, before_rows, into_values, lanes)
        lanes_back(
            path, before, junctions, i, from_sums, gradient, before_rows, from_junctions, lanes
        )


@njit(**OPTIONS)
def _h_back(
    gradient: Array,
    side: int,
    kept: Any,
    block: int,
    k: int,
    base: Array,
    recurrent: Any,
    neuron: Array,
    step: Any,
    h_gradient: Array,
    lanes: Any,
) -> None:
    """Add the gradient of the length of step k to h_gradient (lane,); sums the gates once more."""
    (path, auxes), (synapses, junctions) = kept, recurrent
    lengths, exponential_step = step
    before, after, aux = places(kept, block, k)
    h, from_h = load(lengths, 0, lanes), load(h_gradient, 0, lanes)
    for i in range(neuron.shape[1]):
        g, a = load(base, 2 * i, lanes), load(base, 2 * i + 1, lanes)
        g, a = sum_gates(path, before, synapses, i, g, a, lanes, NEAR)
        g, a = sum_lanes(path, before, junctions, i, load(path, before + i, lanes), g, a, lanes)
        from_h += length_back(
            load(gradient, side * neuron.shape[1] + i, lanes), load(path, before + i, lanes),
            load(path, after + i, lanes), load(auxes, aux + i, lanes), g, a, neuron[0, i], h,
            exponential_step,
        )  # fmt: skip
    store(h_gradient, 0, from_h)


@njit(**INLINE)
def _add_given(
    results: Any,
    rows: Array,
    first: int,
    t: int,
    mapping: Array,
    gradient: Array,
    side: int,
    outputs: Array,
    from_mapping: Array,
    lanes: Any,
) -> None:
    """Add what is given for one time step to gradient[side]; `rows` (neuron, lane) are its states.

    Adds to the outputs' part of from_mapping (2, input + output, lane), too; outputs (output,
    lane), 0 in lanes that are missing, is to work in.
    """
    output_gradient, states_gradient, states = results
    present = min(len(lanes), states.shape[0] - first)
    if len(states_gradient):
        for b in range(present):
            for i in range(gradient.shape[1]):
                gradient[side, i, b] += states_gradient[first + b, t, i]
    if len(output_gradient):
        inputs = mapping.shape[1] - outputs.shape[0]
        for b in range(present):
            for i in range(outputs.shape[0]):
                outputs[i, b] = output_gradient[first + b, t, i]
        for i in range(outputs.shape[0]):
            given = load(outputs, i, lanes)
            add(gradient, side * gradient.shape[1] + i, given * mapping[0, inputs + i])
            add(from_mapping, inputs + i, given * load(rows, i, lanes))
            add(from_mapping, mapping.shape[1] + inputs + i, given)


@njit(**INLINE)
def _sum_in_place(values: Array, first: int, count: int, narrow: Any) -> None:
    """Turn `count` rows (4, lane) from `first` on into their sums, rows of 4, at the beginning."""
    for e in range(count):
        row = 4 * (first + e)
        sums = totals(
            load(values, row, narrow),
            load(values, row + 1, narrow),
            load(values, row + 2, narrow),
            load(values, row + 3, narrow),
        )
        store(values, len(narrow) * first + e, sums)


@njit(**INLINE)
def _sum_lanes(values: Array, into: Array, lanes: Any) -> None:
    """Write the sums over lanes of values (rows, column, lane) to into (rows, column)."""
    for r in range(into.shape[0]):
        for i in range(into.shape[1]):
            into[r, i] = total(load(values, r * into.shape[1] + i, lanes))


@kernel(parallel=True)
def backward(
    results: Any, given: Any, lanes: Any, narrow: Any, kept: Any, flags: Any, into: Any
) -> None:
    """Carry gradients of output and states back to everything that `forward` was given.

    `results` are these gradients, of length 0 where there is none, and the states. `into` takes the
    gradients of x, initial and elapsed and, in parts to be summed by the caller, (part, 2, input +
    output), (part, 4 synapses), (part, 4 synapses), (part, 3, neuron) and (part, entry) of
    junctions; blocks are dealt out to parts. `flags`: whether `kept` is what `forward` left,
    whether the gradient of elapsed is wanted, and `lanewise`: those of synapses are lanes of
    `narrow`, a tuple like `lanes` of at most SUMS, and sums over samples are put off to the end,
    which is faster while it fits into the cache. Where `kept` is not what `forward` left, the steps
    of one element of the sequence are taken again from the state before it, into (part, unfolds +
    1, neuron, lane) and (part, unfolds, neuron, lane).
    """
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    synapses, junctions = recurrent  # parallel loops take no tuple of tuples from outside
    is_kept, wants_h, lanewise = flags
    x_gradient, initial_gradient, elapsed_gradient = into[:3]
    mapping_gradients, value_gradients, sensory_gradients, neuron_gradients = into[3:7]
    junction_gradients = into[7]
    states, path = results[2], kept[0]
    (batch, time, inputs), neurons, width = x.shape, neuron.shape[1], len(lanes)
    zero = x.dtype.type(0)
    blocks, parts = (batch + width - 1) // width, len(neuron_gradients)
    for part in prange(parts):
        circuit = synapses, junctions
        raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
        row_gradient = np.empty((inputs, width), x.dtype)
        outputs = np.empty((mapping.shape[1] - inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        base_gradient = np.empty((2, neurons, 2, width), x.dtype)
        h, h_gradient = np.empty(width, x.dtype), np.empty(width, x.dtype)
        gradient = np.empty((2, neurons, width), x.dtype)
        from_neurons = np.zeros((3, neurons, width), x.dtype)
        from_mapping = np.zeros((2, mapping.shape[1], width), x.dtype)
        value_gradients[part] = zero
        sensory_gradients[part] = zero
        junction_gradients[part] = zero
        count = len(synapses[0])
        first_value, first_sensory = part * count, part * len(sensory[0])
        into_values = value_gradients, first_value, lanewise, narrow
        into_circuit = into_values, junction_gradients[part]
        into_senses = sensory_gradients, first_sensory, lanewise, narrow
        step = h, exponential_step
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * width
            present = min(width, batch - first)
            place = block if is_kept else np.int64(part)  # prange counts unsigned
            gradient[:] = zero
            outputs[:] = zero
            side = 0
            for t in range(time - 1, -1, -1):
                begin = t * unfolds if is_kept else 0
                end = begin + unfolds
                gather(x, elapsed, mapping, first, t, unfolds, raw, row, h)
                if wants_h or not is_kept:
                    sense(row, sensory, neuron, base, 0, neurons, lanes)
                if not is_kept:
                    if t:
                        copy_states(states[:, t - 1], first, path[part, 0])
                    else:
                        copy_states(initial, first, path[part, 0])
                    for k in range(unfolds):
                        unfold(kept, part, k, base, circuit, neuron, step, 0, neurons, lanes, NEAR)
                _add_given(
                    results, path[place, end], first, t, mapping, gradient, side, outputs,
                    from_mapping, lanes,
                )  # fmt: skip
                base_gradient[0] = zero
                h_gradient[:] = zero
                for k in range(end - 1, begin - 1, -1):
                    _unfold_back(
                        gradient, side, kept, place, k, circuit, neuron, step, into_circuit,
                        from_neurons, base_gradient, lanes,
                    )  # fmt: skip
                    if wants_h:
                        _h_back(
                            gradient, side, kept, place, k, base, circuit, neuron, step,
                            h_gradient, lanes,
                        )  # fmt: skip
                    side = 1 - side
                row_gradient[:] = zero
                for i in range(neurons):
                    from_g = load(base_gradient, 2 * i, lanes)
                    from_a = load(base_gradient, 2 * i + 1, lanes)
                    add(from_neurons, neurons + i, from_g)
                    add(from_neurons, 2 * neurons + i, from_a)
                    _gates_back(
                        row, 0, sensory, i, (from_g, from_a), row_gradient, 0, into_senses, lanes
                    )
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
            _sum_in_place(value_gradients, first_value, count, narrow)
            _sum_in_place(sensory_gradients, first_sensory, len(sensory[0]), narrow)
        _sum_lanes(from_neurons, neuron_gradients[part], lanes)
        _sum_lanes(from_mapping, mapping_gradients[part], lanes)
