"""CfCs along synapses over whole sequences, forward and backward, with the batch as vector axis.

Arguments common to the kernels: `given`, the tuple x (batch, time, input), initial (batch, neuron),
elapsed (batch, time), bias (map, neuron), recurrent and sensory synapses of the heads, then of the
gates, neuron (2, neuron), the rows rate and asymptote, order (neuron,), in which neurons are
updated, and mode. Synapses are the tuple reads (synapse,), start (neuron + 1,) and weight (2 *
synapse,), sorted by target; in mode ``"pure"`` the heads have (synapse,), and gates are not read.

`tape` (block, step + 1, input + neuron, lane) has inputs and states before each step; what a
synapse reads is counted from the first row of its step, so that what lies beyond the rows of that
step is the new state. `kept` and `back` (block, step, 4, neuron, lane) have what `closed_form`
keeps and what comes back. Where no gradient is wanted, `tape` has 2 steps and `kept` 1, written in
turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.cpu.closed_form import (
    KEPT,
    PURE,
    copy_lengths,
    copy_step,
    gone_back,
    if_lasting,
    load_four,
    nothing,
    solved,
    store_four,
    write_step,
)
from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.lanes import copy_states
from elegans.solvers.fused.cpu.vectors import add, item, load, splat, store, total

Array = Any


@njit(**INLINE)
def _two_sums(tape: Array, base: int, synapses: Any, i: int, p: Any, q: Any, lanes: Any) -> Any:
    """Add to p and q what two maps read along the synapses of target i."""
    reads, start, weight = synapses
    count = len(reads)
    for e in range(item(start, i), item(start, i + 1)):
        value = load(tape, base + item(reads, e), lanes)
        p += item(weight, e) * value
        q += item(weight, count + e) * value
    return p, q


@njit(**INLINE)
def _one_sum(tape: Array, base: int, synapses: Any, i: int, p: Any, lanes: Any) -> Any:
    reads, start, weight = synapses
    for e in range(item(start, i), item(start, i + 1)):
        p += item(weight, e) * load(tape, base + item(reads, e), lanes)
    return p


@njit(**INLINE)
def _maps(tape: Array, base: int, given: Any, i: int, lanes: Any) -> Any:
    """Return the maps of neuron i."""
    bias, head, head_sensory, gate, gate_sensory, mode = given
    f = splat(bias[0, i], lanes)
    if mode == PURE:
        f = _one_sum(tape, base, head_sensory, i, f, lanes)
        f = _one_sum(tape, base, head, i, f, lanes)
        return f, f, f, f
    g, a, b = splat(bias[1, i], lanes), splat(bias[2, i], lanes), splat(bias[3, i], lanes)
    f, g = _two_sums(tape, base, head_sensory, i, f, g, lanes)
    f, g = _two_sums(tape, base, head, i, f, g, lanes)
    a, b = _two_sums(tape, base, gate_sensory, i, a, b, lanes)
    a, b = _two_sums(tape, base, gate, i, a, b, lanes)
    return f, g, a, b


@njit(**OPTIONS)
def _step(
    tape: Array, base: int, kept: Array, aside: int, h: Array, given: Any, lanes: Any
) -> None:
    """Take a step whose rows of `tape` begin at `base`, those of `kept` at `aside`."""
    inputs, bias, head, head_sensory, gate, gate_sensory, neuron, order, mode = given
    neurons = len(order)
    rows, lengths = inputs + neurons, load(h, 0, lanes)
    unit, zero = h.dtype.type(1), h.dtype.type(0)
    for n in range(neurons):
        i = item(order, n)
        synapses = bias, head, head_sensory, gate, gate_sensory, mode
        maps = _maps(tape, base, synapses, i, lanes)
        new, aside_of = solved(mode, maps, lengths, neuron[0, i], neuron[1, i], unit)
        place = base + inputs + i
        store(tape, place + rows, if_lasting(lengths, new, load(tape, place, lanes), zero))
        store_four(kept, aside + i, neurons, aside_of)


@kernel(parallel=True)
def forward(given: Any, lanes: Any, states: Array, tape: Array, kept: Array) -> None:
    """Run the sequences and write the states (batch, time, neuron)."""
    x, initial, elapsed, bias, head, head_sensory, gate, gate_sensory, neuron, order, mode = given
    (_, time, inputs), neurons, width = x.shape, initial.shape[1], len(lanes)
    rows, slots, asides = inputs + neurons, tape.shape[1], kept.shape[1]
    for block in prange(tape.shape[0]):
        first, h = block * width, np.empty(width, x.dtype)
        copy_states(initial, first, tape[block, 0, inputs:])
        for t in range(time):
            slot = min(t, slots - 2)
            copy_step(x, first, t, tape[block, slot], 0)
            copy_lengths(elapsed, first, t, h)
            aside = (block * asides + min(t, asides - 1)) * KEPT * neurons
            step = inputs, bias, head, head_sensory, gate, gate_sensory, neuron, order, mode
            _step(tape, (block * slots + slot) * rows, kept, aside, h, step, lanes)
            write_step(tape[block, slot + 1], inputs, first, t, states)
            if slots < time + 1:
                tape[block, 0] = tape[block, 1]
        # The last state has no inputs; what an operator returns is not left to chance.
        tape[block, slots - 1, :inputs] = x.dtype.type(0)


@njit(**INLINE)
def _spread_two(to_rows: Array, synapses: Any, i: int, by_p: Any, by_q: Any) -> None:
    """Add to the rows that the synapses of target i read what comes back through two maps."""
    reads, start, weight = synapses
    count = len(reads)
    for e in range(item(start, i), item(start, i + 1)):
        add(to_rows, item(reads, e), item(weight, e) * by_p + item(weight, count + e) * by_q)


@njit(**INLINE)
def _spread_one(to_rows: Array, synapses: Any, i: int, by_p: Any) -> None:
    reads, start, weight = synapses
    for e in range(item(start, i), item(start, i + 1)):
        add(to_rows, item(reads, e), item(weight, e) * by_p)


@njit(**OPTIONS)
def _step_back(
    to_rows: Array, kept: Array, back: Array, aside: int, h: Array, given: Any, wants_x: bool,
    lanes: Any,
) -> Any:  # fmt: skip
    """Take a step back and return the gradient of its length.

    `to_rows` (2 (input + neuron), lane) takes the gradients of rows, those of new states last.
    """
    inputs, head, head_sensory, gate, gate_sensory, neuron, order, mode = given
    neurons = len(order)
    rows, lengths = inputs + neurons, load(h, 0, lanes)
    unit, zero = h.dtype.type(1), h.dtype.type(0)
    none = nothing(h, lanes)
    to_h = none
    for n in range(neurons - 1, -1, -1):
        i = item(order, n)
        gradient = load(to_rows, rows + inputs + i, lanes)
        add(to_rows, inputs + i, if_lasting(lengths, none, gradient, zero))
        gradient = if_lasting(lengths, gradient, none, zero)
        found = load_four(kept, aside + i, neurons, lanes)
        by, by_h = gone_back(mode, gradient, found, lengths, neuron[0, i], neuron[1, i], unit)
        store_four(back, aside + i, neurons, by)
        to_h += by_h
        f, g, a, b = by
        if mode == PURE:
            _spread_one(to_rows, head, i, f)
            if wants_x:
                _spread_one(to_rows, head_sensory, i, f)
        else:
            _spread_two(to_rows, head, i, f, g)
            _spread_two(to_rows, gate, i, a, b)
            if wants_x:
                _spread_two(to_rows, head_sensory, i, f, g)
                _spread_two(to_rows, gate_sensory, i, a, b)
    return to_h


@kernel(parallel=True)
def backward(
    from_states: Array, given: Any, lanes: Any, kept: Array, back: Array, wants_x: bool, into: Any
) -> None:
    """Fill `back` and the gradients of x, initial state and elapsed times."""
    x, initial, elapsed, _, head, head_sensory, gate, gate_sensory, neuron, order, mode = given
    to_x, to_initial, to_elapsed = into
    (batch, time, inputs), neurons, width = x.shape, initial.shape[1], len(lanes)
    rows = inputs + neurons
    for block in prange(kept.shape[0]):
        first, h = block * width, np.empty(width, x.dtype)
        to_h = np.empty(width, x.dtype)
        to_rows = np.zeros((2 * rows, width), x.dtype)
        for t in range(time - 1, -1, -1):
            copy_lengths(elapsed, first, t, h)
            for b in range(min(width, batch - first)):
                for i in range(neurons):
                    to_rows[rows + inputs + i, b] += from_states[first + b, t, i]
            aside = (block * time + t) * KEPT * neurons
            step = inputs, head, head_sensory, gate, gate_sensory, neuron, order, mode
            store(to_h, 0, _step_back(to_rows, kept, back, aside, h, step, wants_x, lanes))
            write_step(to_rows, 0, first, t, to_x)
            for b in range(min(width, batch - first)):
                to_elapsed[first + b, t] = to_h[b]
            to_rows[rows:] = to_rows[:rows]
            to_rows[:rows] = x.dtype.type(0)
        for b in range(min(width, batch - first)):
            for i in range(neurons):
                to_initial[first + b, i] = to_rows[rows + inputs + i, b]


@njit(**OPTIONS)
def _weights_back(
    tape: Array, back: Array, synapses: Any, i: int, m: int, maps: int, to_weight: Array, lanes: Any
) -> None:
    """Sum the gradients of the weights of maps m and, if `maps` is 2, m + 1 onto target i."""
    reads, start, _ = synapses
    blocks, time, count = back.shape[0], back.shape[1], len(reads)
    rows, apart = tape.shape[2], back.shape[3]
    for e in range(item(start, i), item(start, i + 1)):
        p, q = nothing(tape, lanes), nothing(tape, lanes)
        for block in range(blocks):
            read = block * tape.shape[1] * rows + item(reads, e)
            from_ = block * time * KEPT * apart + m * apart + i
            for t in range(time):
                value = load(tape, read + t * rows, lanes)
                place = from_ + t * KEPT * apart
                p += value * load(back, place, lanes)
                if maps == 2:
                    q += value * load(back, place + apart, lanes)
        to_weight[e] = total(p)
        if maps == 2:
            to_weight[count + e] = total(q)


@kernel(parallel=True)
def weights_back(given: Any, lanes: Any, tape: Array, back: Array, into: Any) -> None:
    """Sum the gradients of weights, and of each neuron's four values that come back.

    A sum runs over samples and steps in an order that no number of threads changes.
    """
    head, head_sensory, gate, gate_sensory, mode = given
    to_neuron, to_head, to_head_sensory, to_gate, to_gate_sensory = into
    blocks, time, neurons = back.shape[0], back.shape[1], back.shape[3]
    maps = 1 if mode == PURE else 2
    for i in prange(neurons):
        for m in range(KEPT):
            p = nothing(tape, lanes)
            for k in range(blocks * time):
                p += load(back, (k * KEPT + m) * neurons + i, lanes)
            to_neuron[m, i] = total(p)
        _weights_back(tape, back, head, i, 0, maps, to_head, lanes)
        _weights_back(tape, back, head_sensory, i, 0, maps, to_head_sensory, lanes)
        if mode != PURE:
            _weights_back(tape, back, gate, i, 2, maps, to_gate, lanes)
            _weights_back(tape, back, gate_sensory, i, 2, maps, to_gate_sensory, lanes)
