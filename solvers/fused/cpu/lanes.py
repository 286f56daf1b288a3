"""Whole sequences, forward and backward, with the batch as the vector axis.

A block of samples (one sample a *lane*) runs through the whole sequence on one thread. States of
a block are (neuron, lane): a synapse reads one row, its source, and adds to one row, its target,
each a few vector registers wide. The backward pass recomputes gates, which costs less than loading
them would.

Arguments common to all kernels: `given`, the tuple x (batch, time, input), initial (batch, neuron),
elapsed (batch, time), mapping, recurrent, sensory, neuron, unfolds (solver steps in each element of
the sequence), and whether steps are exponential. Of these, `mapping` (2, input + output) is scale
and shift of inputs, then of outputs; `recurrent`, the pair of synapses, the tuple source
(synapse,), sorted by target, start (neuron + 1,), where the synapses of each target begin, and the
values weight, sigma, mu, erev (synapse,), and of the tuple that the file on junctions explains;
`sensory`, synapses alone; `neuron` (3, neuron), the rows capacitance, leak conductance (with
epsilon) and leak drive. `lanes` is a tuple as long as a block is wide: the compiler knows its
length. `kept`, the tuple `path` (block, step + 1, neuron, lane) and `auxes` (block, step, neuron,
lane), takes the states before and after each step and what `equations` keeps; where it is shorter
along steps, at least 2 and 1, it is written in turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.equations import advance
from elegans.solvers.fused.cpu.junctions import sum_lanes
from elegans.solvers.fused.cpu.sigmoid import sigmoid
from elegans.solvers.fused.cpu.vectors import item, load, prefetch, splat, store

Array = Any

NEAR, FAR = (0,), (0,) * 24
"""As many synapses ahead rows are asked for, where they do not lie in a near cache anyway."""


@njit(**INLINE)
def gather(
    x: Array,
    elapsed: Array,
    mapping: Array,
    first: int,
    t: int,
    unfolds: int,
    raw: Array,
    row: Array,
    h: Array,
) -> None:
    """Copy one time step of x into raw (input, lane), mapped into row, step lengths into h (lane,).

    Missing lanes are 0.
    """
    number = x.dtype.type
    for i in range(raw.shape[0]):
        scale, shift = mapping[0, i], mapping[1, i]
        for b in range(raw.shape[1]):
            raw[i, b] = x[first + b, t, i] if first + b < x.shape[0] else number(0)
            row[i, b] = raw[i, b] * scale + shift
    for b in range(len(h)):
        present = first + b < elapsed.shape[0]
        h[b] = elapsed[first + b, t] / number(unfolds) if present else number(0)


@njit(**INLINE)
def copy_states(states: Array, first: int, into: Array) -> None:
    """Copy states (batch, neuron), from sample `first` on, to (neuron, lane); 0 if missing."""
    into[:] = into.dtype.type(0)
    for b in range(min(into.shape[1], states.shape[0] - first)):
        for i in range(states.shape[1]):
            into[i, b] = states[first + b, i]


@njit(**INLINE)
def write(results: Any, mapping: Array, rows: Array, first: int, b: int, t: int) -> None:
    """Write lane b of the states `rows` (neuron, lane) to output and states of one time step."""
    output, states = results
    for i in range(states.shape[2]):
        states[first + b, t, i] = rows[i, b]
    for i in range(output.shape[2]):
        m = mapping.shape[1] - output.shape[2] + i
        output[first + b, t, i] = rows[i, b] * mapping[0, m] + mapping[1, m]


@njit(**INLINE)
def sum_gates(
    rows: Array, first: int, synapses: Any, i: int, g: Any, a: Any, lanes: Any, ahead: Any
) -> Any:
    """Add to g and a the open conductances of the synapses of target i and what they drive.

    Presynaptic potentials are rows `first` and following of `rows`.
    """
    source, start, weight, sigma, mu, erev = synapses
    for e in range(item(start, i), item(start, i + 1)):
        if len(ahead) > 1 and e + len(ahead) < len(source):  # the first is known to the compiler
            prefetch(rows, first + item(source, e + len(ahead)), lanes)
        distance = load(rows, first + item(source, e), lanes) - item(mu, e)
        gate = item(weight, e) * sigmoid(item(sigma, e) * distance)
        g += gate
        a += gate * item(erev, e)
    return g, a


@njit(**OPTIONS)
def sense(
    row: Array, sensory: Any, neuron: Array, base: Array, first: int, last: int, lanes: Any
) -> None:
    """Sum leak and sensory synapses of targets first..last into base (neuron, 2, lane)."""
    for i in range(first, last):
        g, a = splat(neuron[1, i], lanes), splat(neuron[2, i], lanes)
        g, a = sum_gates(row, 0, sensory, i, g, a, lanes, NEAR)
        store(base, 2 * i, g)
        store(base, 2 * i + 1, a)


@njit(**INLINE)
def places(kept: Any, block: int, k: int) -> tuple[int, int, int]:
    """Return the rows of `path` before and after step k of a block, and those of `auxes`."""
    path, auxes = kept
    before = block * path.shape[1] + k % path.shape[1]
    after = block * path.shape[1] + (k + 1) % path.shape[1]
    aux = block * auxes.shape[1] + k % auxes.shape[1]
    return before * path.shape[2], after * path.shape[2], aux * path.shape[2]


@njit(**OPTIONS)
def unfold(
    kept: Any,
    block: int,
    k: int,
    base: Array,
    recurrent: Any,
    neuron: Array,
    step: Any,
    first: int,
    last: int,
    lanes: Any,
    ahead: Any,
) -> None:
    """Take step k of a block, for targets first..last.

    `step` is the tuple h (lane,), its length, and whether it is exponential.
    """
    (path, auxes), (synapses, junctions) = kept, recurrent
    lengths, exponential_step = step
    before, after, aux = places(kept, block, k)
    h, one = load(lengths, 0, lanes), lengths.dtype.type(1)
    for i in range(first, last):
        g, a = load(base, 2 * i, lanes), load(base, 2 * i + 1, lanes)
        g, a = sum_gates(path, before, synapses, i, g, a, lanes, ahead)
        x = load(path, before + i, lanes)
        g, a = sum_lanes(path, before, junctions, i, x, g, a, lanes)
        x, aside = advance(x, g, a, neuron[0, i], h, exponential_step, one)
        store(path, after + i, x)
        store(auxes, aux + i, aside)


@kernel(parallel=True)
def forward(given: Any, lanes: Any, results: Any, kept: Any) -> None:
    """Run the sequences; what `kept` takes is for the backward pass.

    `results` are output (batch, time, output) and states (batch, time, neuron).
    """
    x, initial, elapsed, mapping, recurrent, sensory, neuron, unfolds, exponential_step = given
    synapses, junctions = recurrent  # parallel loops take no tuple of tuples from outside
    (batch, time, inputs), neurons, width = x.shape, neuron.shape[1], len(lanes)
    path = kept[0]
    for block in prange(path.shape[0]):
        first, circuit = block * width, (synapses, junctions)
        raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
        base, h = np.empty((neurons, 2, width), x.dtype), np.empty(width, x.dtype)
        copy_states(initial, first, path[block, 0])
        for t in range(time):
            gather(x, elapsed, mapping, first, t, unfolds, raw, row, h)
            sense(row, sensory, neuron, base, 0, neurons, lanes)
            for k in range(t * unfolds, (t + 1) * unfolds):
                unfold(
                    kept, block, k, base, circuit, neuron, (h, exponential_step), 0, neurons,
                    lanes, NEAR,
                )  # fmt: skip
            rows = path[block, (t + 1) * unfolds % path.shape[1]]
            for b in range(min(width, batch - first)):
                write(results, mapping, rows, first, b, t)
