"""Whole sequences of a few samples, with the synapses as the vector axis.

Samples go one after the other. Synapses pass in tiles: presynaptic potentials are collected, the
gates of the tile computed as vectors, and summed over each target's part of the tile. Arguments are
those of `elegans.solvers.fused.cpu.lanes`, a block being one sample, without an axis of lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.equations import advance
from elegans.solvers.fused.cpu.junctions import sum_rows
from elegans.solvers.fused.cpu.sigmoid import sigmoid
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
    whole = values.dtype.type(0)
    if end - begin >= len(LANES):
        sums = splat(whole, LANES)
        while end - begin >= len(LANES):
            sums += load_part(values, begin, len(LANES), LANES)
            begin += len(LANES)
        whole = total(sums)
    for k in range(begin, end):
        whole += values[k]
    return whole


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


@njit(**INLINE)
def map_inputs(x: Array, mapping: Array, b: int, t: int, row: Array) -> None:
    """Write the mapped inputs of one sample and time step to row (input,)."""
    for i in range(len(row)):
        row[i] = x[b, t, i] * mapping[0, i] + mapping[1, i]


@njit(**INLINE)
def write(results: Any, mapping: Array, path: Array, b: int, t: int, unfolds: int) -> None:
    """Write output and states of one sample after time step t."""
    output, states = results
    states[b, t] = path[b, (t + 1) * unfolds % path.shape[1]]
    for i in range(output.shape[2]):
        m = mapping.shape[1] - output.shape[2] + i
        output[b, t, i] = states[b, t, i] * mapping[0, m] + mapping[1, m]


@njit(**OPTIONS)
def sense(row: Array, sensory: Any, neuron: Array, work: Any, first: int, last: int) -> None:
    """Sum leak and sensory synapses of targets first..last.

    `work` is the tuple base (2, neuron), which takes the sums, sums (2, neuron) and room (3, TILE).
    """
    base, _, room = work
    for i in range(first, last):
        base[0, i] = neuron[1, i]
        base[1, i] = neuron[2, i]
    sum_gates(row, sensory, base, room, first, last)


@njit(**OPTIONS)
def unfold(
    kept: Any,
    b: int,
    k: int,
    recurrent: Any,
    neuron: Array,
    step: Any,
    work: Any,
    first: int,
    last: int,
) -> None:
    """Take step k of sample b, for targets first..last.

    `step` is the tuple of its length and whether it is exponential; `work` is that of `sense`.
    """
    (path, auxes), (synapses, junctions) = kept, recurrent
    base, sums, room = work
    h, exponential_step = step
    state, after = path[b, k % path.shape[1]], path[b, (k + 1) % path.shape[1]]
    aux, one = auxes[b, k % auxes.shape[1]], path.dtype.type(1)
    for i in range(first, last):
        sums[0, i] = base[0, i]
        sums[1, i] = base[1, i]
    sum_gates(state, synapses, sums, room, first, last)
    sum_rows(state, junctions, sums, first, last)
    for i in range(first, last, len(LANES)):
        left = last - i
        g, a = load_part(sums[0], i, left, LANES), load_part(sums[1], i, left, LANES)
        x, c = load_part(state, i, left, LANES), load_part(neuron[0], i, left, LANES)
        x, aside = advance(x, g, a, c, h, exponential_step, one)
        store_part(after, i, left, x)
        store_part(aux, i, left, aside)


@kernel()
def forward(given: Any, results: Any, kept: Any) -> None:
    """Run the sequences; see `lanes.forward`."""
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    (batch, time, inputs), neurons = x.shape, neuron.shape[1]
    row = np.empty(inputs, x.dtype)
    base, sums = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    work = base, sums, np.empty((3, TILE), x.dtype)
    for b in range(batch):
        kept[0][b, 0] = initial[b]
        for t in range(time):
            map_inputs(x, mapping, b, t, row)
            sense(row, sensory, neuron, work, 0, neurons)
            step = elapsed[b, t] / x.dtype.type(unfolds), exponential_step
            for k in range(t * unfolds, (t + 1) * unfolds):
                unfold(kept, b, k, recurrent, neuron, step, work, 0, neurons)
            write(results, mapping, kept[0], b, t, unfolds)
