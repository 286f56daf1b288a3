"""The backward pass of `elegans.solvers.fused.lanes`.

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

from elegans.solvers.fused.lanes import _gather, _sense, _sum_gates, _unfold
from elegans.solvers.fused.sigmoid import OPTIONS, exponential, phi, phi_slope, sigmoid

Array = Any


@njit(**OPTIONS)
def _gates_back(
    rows: Array,
    source: Array,
    value: Array,
    begin: int,
    end: int,
    from_total: Array,
    rows_gradient: Array,
    value_gradient: Array,
    lanes: Any,
) -> None:
    """Carry from_total (2, lane), the gradients (dG, dA) of one target, back through its gates.

    Adds to rows_gradient (source, lane) and to value_gradient (4, synapse).
    """
    zero = rows.dtype.type(0)
    one = rows.dtype.type(1)
    for e in range(begin, end):
        weight, sigma, mu, erev = value[0, e], value[1, e], value[2, e], value[3, e]
        j = source[e]
        from_g, from_a, from_mu, from_sigma = zero, zero, zero, zero
        for b in range(len(lanes)):
            distance = rows[j, b] - mu
            s = sigmoid(sigma * distance)
            g, a = from_total[0, b], from_total[1, b]
            slope = (a * erev + g) * weight * s * (one - s)
            from_g += g * s
            from_a += a * s
            from_mu += slope
            from_sigma += slope * distance
            rows_gradient[j, b] += slope * sigma
        value_gradient[0, e] += erev * from_a + from_g
        value_gradient[1, e] += from_sigma
        value_gradient[2, e] -= sigma * from_mu
        value_gradient[3, e] += weight * from_a


@njit(**OPTIONS)
def _unfold_back(
    gradient: Array,
    before: Array,
    state: Array,
    after: Array,
    aux: Array,
    base: Array,
    source: Array,
    start: Array,
    value: Array,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    wants_h: bool,
    value_gradient: Array,
    neuron_gradient: Array,
    base_gradient: Array,
    h_gradient: Array,
    total: Array,
    lanes: Any,
) -> None:
    """Carry `gradient` of `after` back over one solver step into `before`, all (neuron, lane).

    Adds to value_gradient (4, synapse), the capacitance's row of neuron_gradient (3, neuron),
    base_gradient (neuron, 2, lane) and, if wanted, h_gradient (lane,).
    """
    one = h.dtype.type(1)
    for i in range(state.shape[0]):  # the direct part first: gates add to any row of `before`
        c = neuron[0, i]
        from_c = h.dtype.type(0)
        if exponential_step:
            for b in range(len(lanes)):
                z = aux[i, b] * h[b] / c
                before[i, b] = gradient[i, b] * exponential(-z)
                change = after[i, b] - state[i, b]
                from_c -= gradient[i, b] * change * (one + z * phi_slope(z)) / c
        else:
            for b in range(len(lanes)):
                g = gradient[i, b] * aux[i, b]
                before[i, b] = g * c
                from_c += g * (state[i, b] - after[i, b])
        neuron_gradient[0, i] += from_c
    for i in range(state.shape[0]):
        c = neuron[0, i]
        if exponential_step:
            for b in range(len(lanes)):
                rate = h[b] / c
                z = aux[i, b] * rate
                g = gradient[i, b]
                from_drive = g * rate * phi(z)
                change = after[i, b] - state[i, b]
                total[0, b] = g * change * rate * phi_slope(z) - from_drive * state[i, b]
                total[1, b] = from_drive
        else:
            for b in range(len(lanes)):
                from_drive = gradient[i, b] * h[b] * aux[i, b]
                total[0, b] = -from_drive * after[i, b]
                total[1, b] = from_drive
        for b in range(len(lanes)):
            base_gradient[i, 0, b] += total[0, b]
            base_gradient[i, 1, b] += total[1, b]
        _gates_back(
            state, source, value, start[i], start[i + 1], total, before, value_gradient, lanes
        )
    if wants_h:
        _h_back(
            gradient, state, after, aux, base, source, start, value, neuron, h,
            exponential_step, h_gradient, total, lanes,
        )  # fmt: skip


@njit(**OPTIONS)
def _h_back(
    gradient: Array,
    state: Array,
    after: Array,
    aux: Array,
    base: Array,
    source: Array,
    start: Array,
    value: Array,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    h_gradient: Array,
    total: Array,
    lanes: Any,
) -> None:
    """Add the gradient of the step length to h_gradient (lane,); sums the gates once more."""
    for i in range(state.shape[0]):
        for b in range(len(lanes)):
            total[0, b] = base[i, 0, b]
            total[1, b] = base[i, 1, b]
        _sum_gates(state, source, value, start[i], start[i + 1], total, lanes)
        c = neuron[0, i]
        for b in range(len(lanes)):
            if exponential_step:
                slope = total[1, b] - total[0, b] * state[i, b]
                decay = exponential(-aux[i, b] * h[b] / c) / c
                h_gradient[b] += gradient[i, b] * slope * decay
            else:
                slope = total[1, b] - total[0, b] * after[i, b]
                h_gradient[b] += gradient[i, b] * slope * aux[i, b]


@njit(parallel=True, cache=True, **OPTIONS)
def backward(
    states_gradient: Array,
    x: Array,
    initial: Array,
    elapsed: Array,
    source: Array,
    start: Array,
    value: Array,
    sensory_source: Array,
    sensory_start: Array,
    sensory_value: Array,
    neuron: Array,
    unfolds: int,
    exponential_step: bool,
    lanes: Any,
    states: Array,
    path: Array,
    auxes: Array,
    wants_h: bool,
    x_gradient: Array,
    initial_gradient: Array,
    elapsed_gradient: Array,
    value_gradients: Array,
    sensory_value_gradients: Array,
    neuron_gradients: Array,
) -> None:
    """Carry states_gradient (batch, time, neuron) back to everything that `forward` was given.

    The last three are per block, (block, rows, columns), zero at the call, and are to be summed
    over blocks by the caller in a fixed order. Where `path` was not kept, the steps of one element
    of the sequence are taken again from the state before it.
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    zero = x.dtype.type(0)
    kept = auxes.shape[1] == time * unfolds and time > 0
    for block in prange((batch + width - 1) // width):
        first = block * width
        present = min(width, batch - first)
        row = np.empty((inputs, width), x.dtype)
        row_gradient = np.empty((inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        base_gradient = np.empty((neurons, 2, width), x.dtype)
        total = np.empty((2, width), x.dtype)
        h = np.empty(width, x.dtype)
        h_gradient = np.empty(width, x.dtype)
        gradient = np.zeros((2, neurons, width), x.dtype)
        walk = np.empty((unfolds + 1, neurons, width), x.dtype)
        walk_aux = np.empty((unfolds, neurons, width), x.dtype)
        side = 0
        for t in range(time - 1, -1, -1):
            for i in range(neurons):
                for b in range(present):
                    gradient[side, i, b] += states_gradient[first + b, t, i]
            base_gradient[:] = zero
            h_gradient[:] = zero
            for b in range(width):
                h[b] = elapsed[first + b, t] / x.dtype.type(unfolds) if b < present else zero
            _gather(x, first, t, row, lanes)
            if wants_h or not kept:
                _sense(row, sensory_source, sensory_start, sensory_value, neuron, base, lanes)
            if not kept:
                for i in range(neurons):
                    for b in range(width):
                        if b >= present:
                            walk[0, i, b] = zero
                        elif t:
                            walk[0, i, b] = states[first + b, t - 1, i]
                        else:
                            walk[0, i, b] = initial[first + b, i]
                for u in range(unfolds):
                    _unfold(
                        walk[u], walk[u + 1], walk_aux[u], base, source, start, value, neuron, h,
                        exponential_step, total, lanes,
                    )  # fmt: skip
            for u in range(unfolds - 1, -1, -1):
                k = t * unfolds + u
                _unfold_back(
                    gradient[side],
                    gradient[1 - side],
                    path[block, k] if kept else walk[u],
                    path[block, k + 1] if kept else walk[u + 1],
                    auxes[block, k] if kept else walk_aux[u],
                    base, source, start, value, neuron, h, exponential_step, wants_h,
                    value_gradients[block], neuron_gradients[block], base_gradient, h_gradient,
                    total, lanes,
                )  # fmt: skip
                side = 1 - side
            row_gradient[:] = zero
            for i in range(neurons):
                from_leak, from_drive = zero, zero
                for b in range(width):
                    from_leak += base_gradient[i, 0, b]
                    from_drive += base_gradient[i, 1, b]
                neuron_gradients[block, 1, i] += from_leak
                neuron_gradients[block, 2, i] += from_drive
                _gates_back(
                    row, sensory_source, sensory_value, sensory_start[i], sensory_start[i + 1],
                    base_gradient[i], row_gradient, sensory_value_gradients[block], lanes,
                )  # fmt: skip
            for b in range(present):
                for i in range(inputs):
                    x_gradient[first + b, t, i] = row_gradient[i, b]
                elapsed_gradient[first + b, t] = h_gradient[b] / x.dtype.type(unfolds)
        for b in range(present):
            for i in range(neurons):
                initial_gradient[first + b, i] = gradient[side, i, b]
