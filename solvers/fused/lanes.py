"""Whole sequences, forward and backward, with the batch as the vector axis.

A block of samples (one sample a *lane*) runs through the whole sequence on one thread. States of
a block are (neuron, lane): a synapse reads one row, its source, and adds to one row, its target,
each a few vector registers wide. The backward pass recomputes gates, which costs less than loading
them would.

Arrays common to all functions here: `source` (synapse,), sorted by target; `start` (neuron + 1,),
where the synapses of each target begin; `value` (4, synapse), the rows weight, sigma, mu, erev; the
same for sensory synapses; `neuron` (3, neuron), the rows capacitance, leak conductance (epsilon
included) and leak drive. `lanes` is a tuple as long as a block is wide: the compiler knows its
length, and loops of known length become straight vector code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.sigmoid import OPTIONS, phi, sigmoid

Array = Any


@njit(**OPTIONS)
def _gather(x: Array, first: int, t: int, block: Array, lanes: Any) -> None:
    """Copy one time step of x (batch, time, row) into block (row, lane); missing lanes are 0."""
    for i in range(block.shape[0]):
        for b in range(len(lanes)):
            block[i, b] = x[first + b, t, i] if first + b < x.shape[0] else x.dtype.type(0)


@njit(**OPTIONS)
def _sum_gates(
    rows: Array, source: Array, value: Array, begin: int, end: int, into: Array, lanes: Any
) -> None:
    """Add to into (2, lane) the open conductances of synapses begin..end and what they drive."""
    for e in range(begin, end):
        weight, sigma, mu, erev = value[0, e], value[1, e], value[2, e], value[3, e]
        j = source[e]
        for b in range(len(lanes)):
            gate = weight * sigmoid(sigma * (rows[j, b] - mu))
            into[0, b] += gate
            into[1, b] += gate * erev


@njit(**OPTIONS)
def _sense(
    block: Array, source: Array, start: Array, value: Array, neuron: Array, base: Array, lanes: Any
) -> None:
    """Sum leak and sensory synapses into base (neuron, 2, lane): conductance and drive."""
    for i in range(neuron.shape[1]):
        for b in range(len(lanes)):
            base[i, 0, b] = neuron[1, i]
            base[i, 1, b] = neuron[2, i]
        _sum_gates(block, source, value, start[i], start[i + 1], base[i], lanes)


@njit(**OPTIONS)
def _unfold(
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
    total: Array,
    lanes: Any,
) -> None:
    """Take one solver step from `state` to `after`, both (neuron, lane).

    `aux` (neuron, lane) keeps what the backward pass needs: 1 / (C + h G), or G for the
    exponential step. `total` (2, lane) is room to work in.
    """
    one = h.dtype.type(1)
    for i in range(state.shape[0]):
        for b in range(len(lanes)):
            total[0, b] = base[i, 0, b]
            total[1, b] = base[i, 1, b]
        _sum_gates(state, source, value, start[i], start[i + 1], total, lanes)
        c = neuron[0, i]
        if exponential_step:
            for b in range(len(lanes)):
                x, g, rate = state[i, b], total[0, b], h[b] / c
                after[i, b] = x + (total[1, b] - g * x) * rate * phi(g * rate)
                aux[i, b] = g
        else:
            for b in range(len(lanes)):
                x, g = state[i, b], total[0, b]
                inverse = one / (c + h[b] * g)
                after[i, b] = x + h[b] * (total[1, b] - g * x) * inverse
                aux[i, b] = inverse


@njit(parallel=True, cache=True, **OPTIONS)
def forward(
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
) -> None:
    """Run the sequences x (batch, time, input); fill states (batch, time, neuron).

    `path` (block, time * unfolds + 1, neuron, lane) and `auxes` (block, time * unfolds, neuron,
    lane) are filled for the backward pass, or of length 1 along time if nothing shall be kept.
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    keep = auxes.shape[1] == time * unfolds and time > 0
    for block in prange((batch + width - 1) // width):
        first = block * width
        row = np.empty((inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        total = np.empty((2, width), x.dtype)
        h = np.empty(width, x.dtype)
        room = np.empty((3, neurons, width), x.dtype)
        for i in range(neurons):
            for b in range(width):
                lane = initial[first + b, i] if first + b < batch else x.dtype.type(0)
                room[0, i, b] = lane
                if keep:
                    path[block, 0, i, b] = lane
        for t in range(time):
            _gather(x, first, t, row, lanes)
            _sense(row, sensory_source, sensory_start, sensory_value, neuron, base, lanes)
            for b in range(width):
                h[b] = (
                    elapsed[first + b, t] / x.dtype.type(unfolds)
                    if first + b < batch
                    else x.dtype.type(0)
                )
            for u in range(unfolds):
                k = t * unfolds + u
                state = path[block, k] if keep else room[k % 2]
                after = path[block, k + 1] if keep else room[(k + 1) % 2]
                aux = auxes[block, k] if keep else room[2]
                _unfold(
                    state, after, aux, base, source, start, value, neuron, h,
                    exponential_step, total, lanes,
                )  # fmt: skip
            k = (t + 1) * unfolds
            last = path[block, k] if keep else room[k % 2]
            for b in range(min(width, batch - first)):
                for i in range(neurons):
                    states[first + b, t, i] = last[i, b]
