"""Forward kernels of large circuits, with the threads over targets.

The arguments are those of `elegans.solvers.fused.cpu.lanes` and `rows`; `bounds` (chunk + 1,) cuts
the targets into chunks of about as many synapses each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from elegans.solvers.fused.cpu import lanes as by_lanes
from elegans.solvers.fused.cpu import rows as by_rows
from elegans.solvers.fused.cpu.compiling import kernel

Array = Any

_sense_lanes, _unfold_lanes = by_lanes.sense, by_lanes.unfold
_FAR = by_lanes.FAR
_gather, _step_lengths = by_lanes.gather, by_lanes.step_lengths
_sense_rows, _unfold_rows, _TILE = by_rows.sense, by_rows.unfold, by_rows.TILE


@kernel(parallel=True)
def forward_lanes(
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
    bounds: Array,
    output: Array,
    states: Array,
    path: Array,
    auxes: Array,
) -> None:
    """Run the sequences x (batch, time, input), block after block; see `lanes.forward`."""
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    chunks = len(bounds) - 1
    raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
    base = np.empty((neurons, 2, width), x.dtype)
    h = np.empty(width, x.dtype)
    for block in range(path.shape[0]):
        first = block * width
        present = min(width, batch - first)
        path[block, 0] = x.dtype.type(0)
        for b in range(present):
            for i in range(neurons):
                path[block, 0, i, b] = initial[first + b, i]
        for t in range(time):
            _gather(x, first, t, mapping, raw, row)
            _step_lengths(elapsed, first, t, unfolds, h)
            for c in prange(chunks):
                _sense_lanes(row, sensory, neuron, base, bounds[c], bounds[c + 1], lanes)
            for k in range(t * unfolds, (t + 1) * unfolds):
                before = (block * path.shape[1] + k % path.shape[1]) * neurons
                after = (block * path.shape[1] + (k + 1) % path.shape[1]) * neurons
                aux = (block * auxes.shape[1] + k % auxes.shape[1]) * neurons
                for c in prange(chunks):
                    _unfold_lanes(
                        path, before, after, auxes, aux, base, synapses, neuron, h,
                        exponential_step, bounds[c], bounds[c + 1], lanes, _FAR,
                    )  # fmt: skip
            last = (t + 1) * unfolds % path.shape[1]
            for b in prange(present):
                for i in range(neurons):
                    states[first + b, t, i] = path[block, last, i, b]
                for i in range(output.shape[2]):
                    m = inputs + i
                    value = path[block, last, i, b]
                    output[first + b, t, i] = value * mapping[0, m] + mapping[1, m]


@kernel(parallel=True)
def forward_rows(
    x: Array,
    initial: Array,
    elapsed: Array,
    mapping: Array,
    synapses: Any,
    sensory: Any,
    neuron: Array,
    unfolds: int,
    exponential_step: bool,
    bounds: Array,
    output: Array,
    states: Array,
    path: Array,
    auxes: Array,
) -> None:
    """Run the sequences x (batch, time, input), one after the other; see `rows.forward`."""
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    chunks = len(bounds) - 1
    row = np.empty(inputs, x.dtype)
    base, sums = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    room = np.empty((chunks, 3, _TILE), x.dtype)
    for b in range(batch):
        path[b, 0] = initial[b]
        for t in range(time):
            for i in range(inputs):
                row[i] = x[b, t, i] * mapping[0, i] + mapping[1, i]
            h = elapsed[b, t] / x.dtype.type(unfolds)
            for c in prange(chunks):
                _sense_rows(row, sensory, neuron, base, room[c], bounds[c], bounds[c + 1])
            for k in range(t * unfolds, (t + 1) * unfolds):
                before, after = path[b, k % path.shape[1]], path[b, (k + 1) % path.shape[1]]
                aux = auxes[b, k % auxes.shape[1]]
                for c in prange(chunks):
                    _unfold_rows(
                        before, after, aux, base, synapses, neuron, h, exponential_step, sums,
                        room[c], bounds[c], bounds[c + 1],
                    )  # fmt: skip
            states[b, t] = path[b, (t + 1) * unfolds % path.shape[1]]
            for i in range(output.shape[2]):
                m = inputs + i
                output[b, t, i] = states[b, t, i] * mapping[0, m] + mapping[1, m]
