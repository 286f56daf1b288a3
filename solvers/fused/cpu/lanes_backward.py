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
from elegans.solvers.fused.cpu.lanes import gather, sense, step_lengths, sum_gates, unfold
from elegans.solvers.fused.cpu.sigmoid import exponential, phi, phi_slope, sigmoid
from elegans.solvers.fused.cpu.vectors import load, store, total, totals

Array = Any


@njit(**INLINE)
def _gates_back(
    rows: Array,
    synapses: Any,
    begin: int,
    end: int,
    from_g: Any,
    from_a: Any,
    rows_gradient: Array,
    value_gradient: Array,
    lanes: Any,
) -> None:
    """Carry the gradients of one target's G and A back through its gates.

    Adds to rows_gradient (source, lane) and to value_gradient (4 synapses,), which lacks factors
    as `elegans.solvers.fused.cpu.parameters` says.
    """
    source, _, weight, sigma, mu, erev = synapses
    one = rows.dtype.type(1)
    for e in range(begin, end):
        j = source[e]
        distance = load(rows, j, lanes) - mu[e]
        s = sigmoid(sigma[e] * distance)
        from_gate = from_a * erev[e] + from_g
        slope = from_gate * s * (one - s)
        store(rows_gradient, j, load(rows_gradient, j, lanes) + slope * (weight[e] * sigma[e]))
        sums = totals(from_gate * s, slope * distance, slope, from_a * s)
        store(value_gradient, e, load(value_gradient, e, (0, 0, 0, 0)) + sums)


@njit(**OPTIONS)
def _unfold_back(
    gradient: Array,
    before: Array,
    state: Array,
    after: Array,
    aux: Array,
    synapses: Any,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    value_gradient: Array,
    neuron_gradient: Array,
    base_gradient: Array,
    lanes: Any,
) -> None:
    """Carry `gradient` of `after` back over one solver step into `before`, all (neuron, lane).

    Adds to value_gradient (4 synapses,), the capacitance's row of neuron_gradient (3, neuron) and
    base_gradient (neuron, 2, lane).
    """
    one = h.dtype.type(1)
    start, step = synapses[1], load(h, 0, lanes)
    for i in range(state.shape[0]):  # the direct part first: gates add to any row of `before`
        g, c = load(gradient, i, lanes), neuron[0, i]
        change = load(after, i, lanes) - load(state, i, lanes)
        if exponential_step:
            z = load(aux, i, lanes) * step / c
            store(before, i, g * exponential(-z))
            neuron_gradient[0, i] -= total(g * change * (one + z * phi_slope(z))) / c
        else:
            g = g * load(aux, i, lanes)
            store(before, i, g * c)
            neuron_gradient[0, i] -= total(g * change)
    for i in range(state.shape[0]):
        g, x = load(gradient, i, lanes), load(after, i, lanes)
        if exponential_step:
            rate = step / neuron[0, i]
            z = load(aux, i, lanes) * rate
            x_before = load(state, i, lanes)
            from_a = g * rate * phi(z)
            from_g = g * (x - x_before) * rate * phi_slope(z) - from_a * x_before
        else:
            from_a = g * step * load(aux, i, lanes)
            from_g = -from_a * x
        store(base_gradient, 2 * i, load(base_gradient, 2 * i, lanes) + from_g)
        store(base_gradient, 2 * i + 1, load(base_gradient, 2 * i + 1, lanes) + from_a)
        _gates_back(
            state, synapses, start[i], start[i + 1], from_g, from_a, before, value_gradient, lanes
        )


@njit(**OPTIONS)
def _h_back(
    gradient: Array,
    state: Array,
    after: Array,
    aux: Array,
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
    for i in range(state.shape[0]):
        g, a = load(base, 2 * i, lanes), load(base, 2 * i + 1, lanes)
        g, a = sum_gates(state, synapses, start[i], start[i + 1], g, a, lanes)
        c, from_after = neuron[0, i], load(gradient, i, lanes)
        if exponential_step:
            slope = a - g * load(state, i, lanes)
            found += from_after * slope * exponential(-load(aux, i, lanes) * step / c) / c
        else:
            found += from_after * (a - g * load(after, i, lanes)) * load(aux, i, lanes)
    store(h_gradient, 0, found)


@njit(**OPTIONS)
def add_given(
    output_gradient: Array,
    states_gradient: Array,
    states: Array,
    first: int,
    present: int,
    t: int,
    inputs: int,
    mapping: Array,
    gradient: Array,
    mapping_gradient: Array,
) -> None:
    """Add the gradients given for one time step to gradient (neuron, lane)."""
    for b in range(first, first + present if len(states_gradient) else first):
        for i in range(states_gradient.shape[2]):
            gradient[i, b - first] += states_gradient[b, t, i]
    for b in range(first, first + present if len(output_gradient) else first):
        for i in range(output_gradient.shape[2]):
            given = output_gradient[b, t, i]
            gradient[i, b - first] += given * mapping[0, inputs + i]
            mapping_gradient[0, inputs + i] += given * states[b, t, i]
            mapping_gradient[1, inputs + i] += given


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
    wants_h: bool,
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
    caller; blocks are dealt out to parts. Where `path` was
    not kept, the steps of one element of the sequence are taken again from the state before it.
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    zero = x.dtype.type(0)
    kept = auxes.shape[1] > 0
    blocks, parts = (batch + width - 1) // width, len(neuron_gradients)
    for part in prange(parts):
        raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
        row_gradient = np.empty((inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        base_gradient = np.empty((neurons, 2, width), x.dtype)
        h = np.empty(width, x.dtype)
        h_gradient = np.empty(width, x.dtype)
        gradient = np.empty((2, neurons, width), x.dtype)
        walk = np.empty((0 if kept else unfolds + 1, neurons, width), x.dtype)
        walk_aux = np.empty((0 if kept else unfolds, neurons, width), x.dtype)
        value_gradient, sensory_gradient = value_gradients[part], sensory_gradients[part]
        neuron_gradient, mapping_gradient = neuron_gradients[part], mapping_gradients[part]
        value_gradient[:] = zero
        sensory_gradient[:] = zero
        neuron_gradient[:] = zero
        mapping_gradient[:] = zero
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * width
            present = min(width, batch - first)
            gradient[:] = zero
            side = 0
            for t in range(time - 1, -1, -1):
                add_given(
                    output_gradient, states_gradient, states, first, present, t, inputs, mapping,
                    gradient[side], mapping_gradient,
                )  # fmt: skip
                base_gradient[:] = zero
                step_lengths(elapsed, first, t, unfolds, h)
                gather(x, first, t, mapping, raw, row)
                if wants_h or not kept:
                    sense(row, sensory, neuron, base, lanes)
                if not kept:
                    walk[0] = zero
                    for b in range(present):
                        for i in range(neurons):
                            walk[0, i, b] = (
                                states[first + b, t - 1, i] if t else initial[first + b, i]
                            )
                    for u in range(unfolds):
                        unfold(
                            walk[u], walk[u + 1], walk_aux[u], base, synapses, neuron, h,
                            exponential_step, lanes,
                        )  # fmt: skip
                h_gradient[:] = zero
                for u in range(unfolds - 1, -1, -1):
                    k = t * unfolds + u
                    state = path[block, k] if kept else walk[u]
                    after = path[block, k + 1] if kept else walk[u + 1]
                    aux = auxes[block, k] if kept else walk_aux[u]
                    _unfold_back(
                        gradient[side], gradient[1 - side], state, after, aux, synapses, neuron, h,
                        exponential_step, value_gradient, neuron_gradient, base_gradient, lanes,
                    )  # fmt: skip
                    if wants_h:
                        _h_back(
                            gradient[side], state, after, aux, base, synapses, neuron, h,
                            exponential_step, h_gradient, lanes,
                        )  # fmt: skip
                    side = 1 - side
                row_gradient[:] = zero
                for i in range(neurons):
                    from_g = load(base_gradient, 2 * i, lanes)
                    from_a = load(base_gradient, 2 * i + 1, lanes)
                    neuron_gradient[1, i] += total(from_g)
                    neuron_gradient[2, i] += total(from_a)
                    _gates_back(
                        row, sensory, sensory[1][i], sensory[1][i + 1], from_g, from_a,
                        row_gradient, sensory_gradient, lanes,
                    )  # fmt: skip
                for i in range(inputs):
                    found = load(row_gradient, i, lanes)
                    mapping_gradient[0, i] += total(found * load(raw, i, lanes))
                    mapping_gradient[1, i] += total(found)
                    for b in range(present):
                        x_gradient[first + b, t, i] = row_gradient[i, b] * mapping[0, i]
                for b in range(present):
                    elapsed_gradient[first + b, t] = h_gradient[b] / x.dtype.type(unfolds)
            for b in range(present):
                for i in range(neurons):
                    initial_gradient[first + b, i] = gradient[side, i, b]
