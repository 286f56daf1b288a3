"""Whole sequences of a few samples, with the synapses as the vector axis.

Samples go one after the other. Synapses pass in tiles: presynaptic potentials are collected, the
gates of the tile computed as vectors, and summed over each target's part of the tile. Arguments are
those of `elegans.solvers.fused.cpu.lanes`, a block being one sample and its width 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.sigmoid import phi, sigmoid
from elegans.solvers.fused.cpu.vectors import item, load_part, splat, store_part, total

Array = Any

LANES = (0,) * 16
TILE = 512
"""Synapses of a tile, a multiple of the lanes; a few rows of so many stay in the first cache."""


@njit(**INLINE)
def collect(rows: Array, source: Array, first: int, count: int, into: Array) -> None:
    """Copy the presynaptic potentials of synapses first..first + count."""
    for k in range(count):
        into[k] = item(rows, item(source, first + k))


@njit(**INLINE)
def sum_part(values: Array, begin: int, end: int) -> Any:
    """Return the sum of values[begin:end]."""
    found = values.dtype.type(0)
    if end - begin >= len(LANES):
        sums = splat(found, LANES)
        while end - begin >= len(LANES):
            sums += load_part(values, begin, len(LANES), LANES)
            begin += len(LANES)
        found = total(sums)
    for k in range(begin, end):
        found += values[k]
    return found


@njit(**OPTIONS)
def sum_gates(
    rows: Array, synapses: Any, sums: Array, room: Array, first_row: int, last_row: int
) -> None:
    """Add to sums (2, neuron) the open conductances of each target's synapses and their drive.

    Targets are those from `first_row` to before `last_row`; `rows` holds the presynaptic
    potentials, `room` (3, TILE) is to work in.
    """
    source, start, weight, sigma, mu, erev = synapses
    i, last = first_row, start[last_row]
    for first in range(start[first_row], last, TILE):
        count = min(TILE, last - first)
        collect(rows, source, first, count, room[0])
        for k in range(0, count, len(LANES)):
            e, left = first + k, count - k
            distance = load_part(room[0], k, left, LANES) - load_part(mu, e, left, LANES)
            gate = load_part(weight, e, left, LANES) * sigmoid(
                load_part(sigma, e, left, LANES) * distance
            )
            store_part(room[1], k, left, gate)
            store_part(room[2], k, left, gate * load_part(erev, e, left, LANES))
        while start[i + 1] <= first:  # targets that ended in earlier tiles, or have no synapses
            i += 1
        while i < last_row and start[i] < first + count:
            begin, end = max(start[i] - first, 0), min(start[i + 1] - first, count)
            sums[0, i] += sum_part(room[1], begin, end)
            sums[1, i] += sum_part(room[2], begin, end)
            if start[i + 1] > first + count:
                break
            i += 1


@njit(**OPTIONS)
def sense(
    row: Array,
    sensory: Any,
    neuron: Array,
    base: Array,
    room: Array,
    first_row: int,
    last_row: int,
) -> None:
    """Sum leak and sensory synapses of some targets into base (2, neuron)."""
    for i in range(first_row, last_row):
        base[0, i] = neuron[1, i]
        base[1, i] = neuron[2, i]
    sum_gates(row, sensory, base, room, first_row, last_row)


@njit(**OPTIONS)
def unfold(
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
    first_row: int,
    last_row: int,
) -> None:
    """Take one solver step of some targets from `state` to `after`, both (neuron,).

    `aux` (neuron,) keeps what the backward pass needs: 1 / (C + h G), or G for the exponential
    step. `sums` (2, neuron) and `room` are to work in.
    """
    one = state.dtype.type(1)
    for i in range(first_row, last_row):
        sums[0, i] = base[0, i]
        sums[1, i] = base[1, i]
    sum_gates(state, synapses, sums, room, first_row, last_row)
    for i in range(first_row, last_row, len(LANES)):
        left = last_row - i
        g, a = load_part(sums[0], i, left, LANES), load_part(sums[1], i, left, LANES)
        x, c = load_part(state, i, left, LANES), load_part(neuron[0], i, left, LANES)
        if exponential_step:
            rate = h / c
            store_part(after, i, left, x + (a - g * x) * rate * phi(g * rate))
            store_part(aux, i, left, g)
        else:
            inverse = one / (c + h * g)
            store_part(after, i, left, x + h * (a - g * x) * inverse)
            store_part(aux, i, left, inverse)


@kernel()
def forward(
    x: Array,
    initial: Array,
    elapsed: Array,
    mapping: Array,
    synapses: Any,
    sensory: Any,
    neuron: Array,
    unfolds: int,
    exponential_step: bool,
    output: Array,
    states: Array,
    path: Array,
    auxes: Array,
) -> None:
    """Run the sequences x (batch, time, input).

    Fills output (batch, time, output) and states (batch, time, neuron). `path` (batch, time *
    unfolds + 1, neuron) and `auxes` (batch, time * unfolds, neuron) are filled for the backward
    pass; if they are shorter along time, at least 2 and 1, they are written in turn.
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    row = np.empty(inputs, x.dtype)
    base, sums = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    room = np.empty((3, TILE), x.dtype)
    for b in range(batch):
        path[b, 0] = initial[b]
        for t in range(time):
            for i in range(inputs):
                row[i] = x[b, t, i] * mapping[0, i] + mapping[1, i]
            sense(row, sensory, neuron, base, room, 0, neurons)
            h = elapsed[b, t] / x.dtype.type(unfolds)
            for k in range(t * unfolds, (t + 1) * unfolds):
                unfold(
                    path[b, k % path.shape[1]],
                    path[b, (k + 1) % path.shape[1]],
                    auxes[b, k % auxes.shape[1]],
                    base, synapses, neuron, h, exponential_step, sums, room,
                    0, neurons,
                )  # fmt: skip
            states[b, t] = path[b, (t + 1) * unfolds % path.shape[1]]
            for i in range(output.shape[2]):
                m = inputs + i
                output[b, t, i] = states[b, t, i] * mapping[0, m] + mapping[1, m]
