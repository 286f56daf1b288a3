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

_sense_lanes, _unfold_lanes, _FAR = by_lanes.sense, by_lanes.unfold, by_lanes.FAR
_copy_states, _gather, _write_lanes = by_lanes.copy_states, by_lanes.gather, by_lanes.write
_sense_rows, _unfold_rows, _TILE = by_rows.sense, by_rows.unfold, by_rows.TILE
_map_inputs, _write_rows = by_rows.map_inputs, by_rows.write


@kernel(parallel=True)
def forward_lanes(given: Any, lanes: Any, bounds: Array, results: Any, kept: Any) -> None:
    """Run the sequences, block after block; see `lanes.forward`."""
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    synapses, junctions = recurrent  # parallel loops take no tuple of tuples from outside
    (batch, time, inputs), neurons, width = x.shape, neuron.shape[1], len(lanes)
    path, chunks = kept[0], len(bounds) - 1
    raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
    base, h = np.empty((neurons, 2, width), x.dtype), np.empty(width, x.dtype)
    for block in range(path.shape[0]):
        first = block * width
        _copy_states(initial, first, path[block, 0])
        for t in range(time):
            _gather(x, elapsed, mapping, first, t, unfolds, raw, row, h)
            for c in prange(chunks):
                _sense_lanes(row, sensory, neuron, base, bounds[c], bounds[c + 1], lanes)
            for k in range(t * unfolds, (t + 1) * unfolds):
                for c in prange(chunks):
                    circuit = synapses, junctions
                    _unfold_lanes(
                        kept, block, k, base, circuit, neuron, (h, exponential_step), bounds[c],
                        bounds[c + 1], lanes, _FAR,
                    )  # fmt: skip
            rows = path[block, (t + 1) * unfolds % path.shape[1]]
            for b in prange(min(width, batch - first)):
                _write_lanes(results, mapping, rows, first, b, t)


@kernel(parallel=True)
def forward_rows(given: Any, bounds: Array, results: Any, kept: Any) -> None:
    """Run the sequences, one after the other; see `rows.forward`."""
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    synapses, junctions = recurrent  # parallel loops take no tuple of tuples from outside
    (batch, time, inputs), neurons, chunks = x.shape, neuron.shape[1], len(bounds) - 1
    row = np.empty(inputs, x.dtype)
    base, sums = np.empty((2, neurons), x.dtype), np.empty((2, neurons), x.dtype)
    room = np.empty((chunks, 3, _TILE), x.dtype)
    for b in range(batch):
        kept[0][b, 0] = initial[b]
        for t in range(time):
            _map_inputs(x, mapping, b, t, row)
            h = elapsed[b, t] / x.dtype.type(unfolds)
            for c in prange(chunks):
                work = base, sums, room[c]
                _sense_rows(row, sensory, neuron, work, bounds[c], bounds[c + 1])
            for k in range(t * unfolds, (t + 1) * unfolds):
                for c in prange(chunks):
                    work, step = (base, sums, room[c]), (h, exponential_step)
                    first, last, circuit = bounds[c], bounds[c + 1], (synapses, junctions)
                    _unfold_rows(kept, b, k, circuit, neuron, step, work, first, last)
            _write_rows(results, mapping, kept[0], b, t, unfolds)
