"""The backward pass of `elegans.solvers.fused.cpu.rows`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.equations import length_back, step_back
from elegans.solvers.fused.cpu.junctions import rows_back, sum_rows
from elegans.solvers.fused.cpu.rows import (
    LANES,
    TILE,
    collect,
    map_inputs,
    sense,
    sum_gates,
    sum_part,
    unfold,
)
from elegans.solvers.fused.cpu.sigmoid import sigmoid
from elegans.solvers.fused.cpu.vectors import load_part, store_part

Array = Any


@njit(**INLINE)
def _add(values: Array, first: int, left: int, vector: Any) -> None:
    store_part(values, first, left, load_part(values, first, left, LANES) + vector)


@njit(**OPTIONS)
def _gates_back(
    rows: Array,
    synapses: Any,
    from_sums: Array,
    rows_gradient: Array,
    value_gradient: Array,
    room: Array,
) -> None:
    """Carry from_sums (2, neuron), the gradients of G and A, back through the gates.

    Adds to rows_gradient (source,) and to value_gradient (4, synapse), which lacks factors as
    `elegans.solvers.fused.cpu.parameters` says. `room` (3, TILE) is to work in.
    """
    source, start, weight, sigma, mu, erev = synapses
    one = rows.dtype.type(1)
    i = 0
    for first in range(0, len(weight), TILE):
        count = min(TILE, len(weight) - first)
        collect(rows, source, first, count, room[0])
        while start[i + 1] <= first:
            i += 1
        while i < len(start) - 1 and start[i] < first + count:
            for k in range(max(start[i] - first, 0), min(start[i + 1] - first, count)):
                room[1, k] = from_sums[0, i]
                room[2, k] = from_sums[1, i]
            if start[i + 1] > first + count:
                break
            i += 1
        for k in range(0, count, len(LANES)):
            e, left = first + k, count - k
            gain = load_part(sigma, e, left, LANES)
            distance = load_part(room[0], k, left, LANES) - load_part(mu, e, left, LANES)
            s = sigmoid(gain * distance)
            from_g, from_a = load_part(room[1], k, left, LANES), load_part(room[2], k, left, LANES)
            from_gate = from_a * load_part(erev, e, left, LANES) + from_g
            slope = from_gate * s * (one - s)
            _add(value_gradient[0], e, left, from_gate * s)
            _add(value_gradient[1], e, left, slope * distance)
            _add(value_gradient[2], e, left, slope)
            _add(value_gradient[3], e, left, from_a * s)
            store_part(room[0], k, left, slope * load_part(weight, e, left, LANES) * gain)
        for k in range(count):
            rows_gradient[source[first + k]] += room[0, k]


@njit(**OPTIONS)
def _unfold_back(
    gradient: Array,
    side: int,
    kept: Any,
    place: int,
    k: int,
    recurrent: Any,
    neuron: Array,
    step: Any,
    into: Any,
    work: Any,
) -> None:
    """Carry gradient[side] of gradient (2, neuron) back over step k to the other side.

    `into` is the tuple value_gradient (4, synapse), that of the junctions (entry,), neuron_gradient
    (3, neuron), whose row of capacitances is added to, and base_gradient (2, neuron).
    """
    (path, auxes), (h, exponential_step), (synapses, junctions) = kept, step, recurrent
    value_gradient, junction_gradient, neuron_gradient, base_gradient = into
    _, sums, room = work
    from_after, from_before = gradient[side], gradient[1 - side]
    state, after, aux = path[place, k], path[place, k + 1], auxes[place, k]
    one = path.dtype.type(1)
    for i in range(0, len(state), len(LANES)):
        left = len(state) - i
        direct, from_c, from_g, from_a = step_back(
            load_part(from_after, i, left, LANES), load_part(state, i, left, LANES),
            load_part(after, i, left, LANES), load_part(aux, i, left, LANES),
            load_part(neuron[0], i, left, LANES), h, exponential_step, one,
        )  # fmt: skip
        store_part(from_before, i, left, direct)
        _add(neuron_gradient[0], i, left, from_c)
        store_part(sums[0], i, left, from_g)
        store_part(sums[1], i, left, from_a)
        _add(base_gradient[0], i, left, from_g)
        _add(base_gradient[1], i, left, from_a)
    _gates_back(state, synapses, sums, from_before, value_gradient, room)
    rows_back(state, junctions, sums, from_before, junction_gradient)


@njit(**OPTIONS)
def _h_back(
    given: Array, kept: Any, place: int, k: int, recurrent: Any, neuron: Array, step: Any, work: Any
) -> Any:
    """Return the gradient of the length of step k; sums the gates once more."""
    (path, auxes), (h, exponential_step), (synapses, junctions) = kept, step, recurrent
    base, sums, room = work
    state, after, aux = path[place, k], path[place, k + 1], auxes[place, k]
    sums[:] = base
    sum_gates(state, synapses, sums, room, 0, len(state))
    sum_rows(state, junctions, sums, 0, len(state))
    for i in range(0, len(state), len(LANES)):
        left = len(state) - i
        g, a = load_part(sums[0], i, left, LANES), load_part(sums[1], i, left, LANES)
        from_h = length_back(
            load_part(given, i, left, LANES), load_part(state, i, left, LANES),
            load_part(after, i, left, LANES), load_part(aux, i, left, LANES), g, a,
            load_part(neuron[0], i, left, LANES), h, exponential_step,
        )  # fmt: skip
        store_part(sums[0], i, left, from_h)
    return sum_part(sums[0], 0, len(state))


@kernel()
def backward(results: Any, given: Any, kept: Any, flags: Any, into: Any) -> None:
    """Carry gradients back; see `lanes_backward.backward`.

    There is one part; gradients of values are (4, synapse) in it, and never lanewise.
    """
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    output_gradient, states_gradient, states = results
    is_kept, wants_h, _ = flags
    x_gradient, initial_gradient, elapsed_gradient = into[:3]
    mapping_gradient, neuron_gradient, junction_gradient = into[3][0], into[6][0], into[7][0]
    value_gradient = into[4].reshape((4, len(recurrent[0][0])))
    sensory_gradient = into[5].reshape((4, len(sensory[0])))
    (batch, time, inputs), neurons = x.shape, neuron.shape[1]
    zero = x.dtype.type(0)
    value_gradient[:] = zero
    sensory_gradient[:] = zero
    neuron_gradient[:] = zero
    junction_gradient[:] = zero
    mapping_gradient[:] = zero
    row, row_gradient = np.empty(inputs, x.dtype), np.empty(inputs, x.dtype)
    base, base_gradient = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    sums, gradient = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    room = np.empty((3, TILE), x.dtype)
    work = base, sums, room
    into_values = value_gradient, junction_gradient, neuron_gradient, base_gradient
    for b in range(batch):
        gradient[:] = zero
        side = 0
        for t in range(time - 1, -1, -1):
            if len(states_gradient):
                for i in range(neurons):
                    gradient[side, i] += states_gradient[b, t, i]
            if len(output_gradient):
                for i in range(output_gradient.shape[2]):
                    m, from_output = inputs + i, output_gradient[b, t, i]
                    gradient[side, i] += from_output * mapping[0, m]
                    mapping_gradient[0, m] += from_output * states[b, t, i]
                    mapping_gradient[1, m] += from_output
            map_inputs(x, mapping, b, t, row)
            step = elapsed[b, t] / x.dtype.type(unfolds), exponential_step
            base_gradient[:] = zero
            if wants_h or not is_kept:
                sense(row, sensory, neuron, work, 0, neurons)
            if not is_kept:
                kept[0][0, 0] = states[b, t - 1] if t else initial[b]
                for k in range(unfolds):
                    unfold(kept, 0, k, recurrent, neuron, step, work, 0, neurons)
            from_h = zero
            place, begin = (b, t * unfolds) if is_kept else (0, 0)
            for k in range(begin + unfolds - 1, begin - 1, -1):
                _unfold_back(
                    gradient, side, kept, place, k, recurrent, neuron, step, into_values, work
                )
                if wants_h:
                    from_h += _h_back(gradient[side], kept, place, k, recurrent, neuron, step, work)
                side = 1 - side
            elapsed_gradient[b, t] = from_h / x.dtype.type(unfolds)
            for i in range(neurons):
                neuron_gradient[1, i] += base_gradient[0, i]
                neuron_gradient[2, i] += base_gradient[1, i]
            row_gradient[:] = zero
            _gates_back(row, sensory, base_gradient, row_gradient, sensory_gradient, room)
            for i in range(inputs):
                mapping_gradient[0, i] += row_gradient[i] * x[b, t, i]
                mapping_gradient[1, i] += row_gradient[i]
                x_gradient[b, t, i] = row_gradient[i] * mapping[0, i]
        initial_gradient[b] = gradient[side]
