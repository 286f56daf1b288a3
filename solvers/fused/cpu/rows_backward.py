"""The backward pass of `elegans.solvers.fused.cpu.rows`.

The equations are those of `elegans.solvers.fused.cpu.lanes_backward`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.rows import (
    LANES,
    TILE,
    collect,
    sense,
    sum_gates,
    sum_part,
    unfold,
)
from elegans.solvers.fused.cpu.sigmoid import exponential, phi, phi_slope, sigmoid
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
    before: Array,
    state: Array,
    after: Array,
    aux: Array,
    synapses: Any,
    neuron: Array,
    h: Any,
    exponential_step: bool,
    value_gradient: Array,
    neuron_gradient: Array,
    base_gradient: Array,
    sums: Array,
    room: Array,
) -> None:
    """Carry `gradient` of `after` back over one solver step into `before`, all (neuron,).

    Adds to value_gradient (4, synapse), the capacitance's row of neuron_gradient (3, neuron) and
    base_gradient (2, neuron).
    """
    one = state.dtype.type(1)
    for i in range(0, len(state), len(LANES)):
        left = len(state) - i
        g, c = load_part(gradient, i, left, LANES), load_part(neuron[0], i, left, LANES)
        x, x_before = load_part(after, i, left, LANES), load_part(state, i, left, LANES)
        kept = load_part(aux, i, left, LANES)
        if exponential_step:
            rate = h / c
            z = kept * rate
            q = phi_slope(z)
            change = g * (x - x_before)
            store_part(before, i, left, g * exponential(-z))
            _add(neuron_gradient[0], i, left, -(change * (one + z * q) / c))
            from_a = g * rate * phi(z)
            from_g = change * rate * q - from_a * x_before
        else:
            scaled = g * kept
            store_part(before, i, left, scaled * c)
            _add(neuron_gradient[0], i, left, scaled * (x_before - x))
            from_a = scaled * h
            from_g = -(from_a * x)
        store_part(sums[0], i, left, from_g)
        store_part(sums[1], i, left, from_a)
        _add(base_gradient[0], i, left, from_g)
        _add(base_gradient[1], i, left, from_a)
    _gates_back(state, synapses, sums, before, value_gradient, room)


@njit(**OPTIONS)
def _from_h(
    gradient: Array,
    state: Array,
    after: Array,
    aux: Array,
    base: Array,
    synapses: Any,
    neuron: Array,
    h: Any,
    exponential_step: bool,
    sums: Array,
    room: Array,
) -> Any:
    """Return the gradient of the step length; sums the gates once more."""
    sums[:] = base
    sum_gates(state, synapses, sums, room, 0, len(state))
    for i in range(0, len(state), len(LANES)):
        left = len(state) - i
        g, a = load_part(sums[0], i, left, LANES), load_part(sums[1], i, left, LANES)
        from_after, kept = load_part(gradient, i, left, LANES), load_part(aux, i, left, LANES)
        if exponential_step:
            c = load_part(neuron[0], i, left, LANES)
            slope = (a - g * load_part(state, i, left, LANES)) / c
            found = from_after * slope * exponential(-(kept * h / c))
        else:
            found = from_after * (a - g * load_part(after, i, left, LANES)) * kept
        store_part(sums[0], i, left, found)
    return sum_part(sums[0], 0, len(state))


@kernel()
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
    states: Array,
    path: Array,
    auxes: Array,
    kept: bool,
    wants_h: bool,
    x_gradient: Array,
    initial_gradient: Array,
    elapsed_gradient: Array,
    mapping_gradient: Array,
    value_gradient: Array,
    sensory_gradient: Array,
    neuron_gradient: Array,
) -> None:
    """Carry gradients of output and states back to everything that `forward` was given.

    Either may be of length 0: there is none. The last four are (2, input + output), (4, synapse),
    (4, synapse) and (3, neuron). Where `path` and `auxes` were not `kept`, the steps of one element
    of the sequence are taken again from the state before it, into the arrays given, (1, unfolds +
    1, neuron) and (1, unfolds, neuron).
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    zero = x.dtype.type(0)
    row, row_gradient = np.empty(inputs, x.dtype), np.empty(inputs, x.dtype)
    base, base_gradient = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    sums, gradient = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    room = np.empty((3, TILE), x.dtype)
    value_gradient[:] = zero
    sensory_gradient[:] = zero
    neuron_gradient[:] = zero
    mapping_gradient[:] = zero
    for b in range(batch):
        gradient[:] = zero
        side = 0
        for t in range(time - 1, -1, -1):
            if len(states_gradient):
                for i in range(neurons):
                    gradient[side, i] += states_gradient[b, t, i]
            if len(output_gradient):
                for i in range(output_gradient.shape[2]):
                    m, given = inputs + i, output_gradient[b, t, i]
                    gradient[side, i] += given * mapping[0, m]
                    mapping_gradient[0, m] += given * states[b, t, i]
                    mapping_gradient[1, m] += given
            for i in range(inputs):
                row[i] = x[b, t, i] * mapping[0, i] + mapping[1, i]
            h = elapsed[b, t] / x.dtype.type(unfolds)
            base_gradient[:] = zero
            if wants_h or not kept:
                sense(row, sensory, neuron, base, room, 0, neurons)
            if not kept:
                path[0, 0] = states[b, t - 1] if t else initial[b]
                for u in range(unfolds):
                    unfold(
                        path[0, u], path[0, u + 1], auxes[0, u], base, synapses, neuron, h,
                        exponential_step, sums, room, 0, neurons,
                    )  # fmt: skip
            from_h = zero
            place, origin = (b, t * unfolds) if kept else (0, 0)
            for u in range(unfolds - 1, -1, -1):
                state, after = path[place, origin + u], path[place, origin + u + 1]
                aux = auxes[place, origin + u]
                _unfold_back(
                    gradient[side], gradient[1 - side], state, after, aux, synapses, neuron, h,
                    exponential_step, value_gradient, neuron_gradient, base_gradient, sums, room,
                )  # fmt: skip
                if wants_h:
                    from_h += _from_h(
                        gradient[side], state, after, aux, base, synapses, neuron, h,
                        exponential_step, sums, room,
                    )  # fmt: skip
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
