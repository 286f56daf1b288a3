"""Whole sequences, forward and backward, with the batch as the vector axis.

A block of samples (one sample a *lane*) runs through the whole sequence on one thread. States of
a block are (neuron, lane): a synapse reads one row, its source, and adds to one row, its target,
each a few vector registers wide. The backward pass recomputes gates, which costs less than loading
them would.

Arguments common to all kernels: `mapping` (2, input + output), scale and shift of inputs, then of
outputs; `synapses`, the tuple source (synapse,), sorted by target, start (neuron + 1,), where the
synapses of each target begin, and the values weight, sigma, mu, erev (synapse,); `sensory`, the
same; `neuron` (3, neuron), the rows capacitance, leak conductance (with epsilon) and leak drive.
`lanes` is a tuple as long as a block is wide: the compiler knows its length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.sigmoid import phi, sigmoid
from elegans.solvers.fused.cpu.vectors import item, load, prefetch, splat, store

Array = Any

NEAR, FAR = (0,), (0,) * 24
"""As many synapses ahead rows are asked for, where they do not lie in a near cache anyway."""


@njit(**INLINE)
def gather(x: Array, first: int, t: int, mapping: Array, raw: Array, row: Array) -> None:
    """Copy one time step of x (batch, time, input) into raw (input, lane), mapped into row.

    Missing lanes are 0.
    """
    for i in range(raw.shape[0]):
        scale, shift = mapping[0, i], mapping[1, i]
        for b in range(raw.shape[1]):
            raw[i, b] = x[first + b, t, i] if first + b < x.shape[0] else x.dtype.type(0)
            row[i, b] = raw[i, b] * scale + shift


@njit(**INLINE)
def step_lengths(elapsed: Array, first: int, t: int, unfolds: int, h: Array) -> None:
    """Fill h (lane,) with the length of a solver step; 0 for missing lanes."""
    number = h.dtype.type
    for b in range(len(h)):
        present = first + b < elapsed.shape[0]
        h[b] = elapsed[first + b, t] / number(unfolds) if present else number(0)


@njit(**INLINE)
def sum_gates(
    rows: Array,
    first: int,
    synapses: Any,
    begin: int,
    end: int,
    g: Any,
    a: Any,
    lanes: Any,
    ahead: Any,
) -> Any:
    """Add to g and a the open conductances of synapses begin..end and what they drive.

    Presynaptic potentials are rows `first` and following of `rows`.
    """
    source, _, weight, sigma, mu, erev = synapses
    for e in range(begin, end):
        if len(ahead) > 1 and e + len(ahead) < len(source):  # the first is known to the compiler
            prefetch(rows, first + item(source, e + len(ahead)), lanes)
        distance = load(rows, first + item(source, e), lanes) - item(mu, e)
        gate = item(weight, e) * sigmoid(item(sigma, e) * distance)
        g += gate
        a += gate * item(erev, e)
    return g, a


@njit(**OPTIONS)
def sense(
    row: Array,
    sensory: Any,
    neuron: Array,
    base: Array,
    first_row: int,
    last_row: int,
    lanes: Any,
) -> None:
    """Sum leak and sensory synapses of some targets into base (neuron, 2, lane)."""
    start = sensory[1]
    for i in range(first_row, last_row):
        g, a = splat(neuron[1, i], lanes), splat(neuron[2, i], lanes)
        g, a = sum_gates(row, 0, sensory, item(start, i), item(start, i + 1), g, a, lanes, NEAR)
        store(base, 2 * i, g)
        store(base, 2 * i + 1, a)


@njit(**OPTIONS)
def unfold(
    path: Array,
    before: int,
    after: int,
    auxes: Array,
    aux: int,
    base: Array,
    synapses: Any,
    neuron: Array,
    h: Array,
    exponential_step: bool,
    first_row: int,
    last_row: int,
    lanes: Any,
    ahead: Any,
) -> None:
    """Take one solver step from the rows of `path` at `before` to those at `after`, (neuron, lane).

    The step is that of the targets from `first_row` to before `last_row`. The rows of `auxes` at
    `aux` keep what the backward pass needs: 1 / (C + h G), or G for the exponential step.
    """
    one = h.dtype.type(1)
    start, step = synapses[1], load(h, 0, lanes)
    for i in range(first_row, last_row):
        g, a = load(base, 2 * i, lanes), load(base, 2 * i + 1, lanes)
        begin, end = item(start, i), item(start, i + 1)
        g, a = sum_gates(path, before, synapses, begin, end, g, a, lanes, ahead)
        x, c = load(path, before + i, lanes), neuron[0, i]
        if exponential_step:
            rate = step / c
            store(path, after + i, x + (a - g * x) * rate * phi(g * rate))
            store(auxes, aux + i, g)
        else:
            inverse = one / (c + step * g)
            store(path, after + i, x + step * (a - g * x) * inverse)
            store(auxes, aux + i, inverse)


@kernel(parallel=True)
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
    lanes: Any,
    output: Array,
    states: Array,
    path: Array,
    auxes: Array,
) -> None:
    """Run the sequences x (batch, time, input).

    Fills output (batch, time, output) and states (batch, time, neuron). `path` (block, time *
    unfolds + 1, neuron, lane) and `auxes` (block, time * unfolds, neuron, lane) are filled for the
    backward pass; if they are shorter along time, at least 2 and 1, they are written in turn.
    """
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    width = len(lanes)
    for block in prange(path.shape[0]):
        first = block * width
        present = min(width, batch - first)
        raw, row = np.empty((inputs, width), x.dtype), np.empty((inputs, width), x.dtype)
        base = np.empty((neurons, 2, width), x.dtype)
        h = np.empty(width, x.dtype)
        path[block, 0] = x.dtype.type(0)
        for b in range(present):
            for i in range(neurons):
                path[block, 0, i, b] = initial[first + b, i]
        for t in range(time):
            gather(x, first, t, mapping, raw, row)
            sense(row, sensory, neuron, base, 0, neurons, lanes)
            step_lengths(elapsed, first, t, unfolds, h)
            for k in range(t * unfolds, (t + 1) * unfolds):
                before = block * path.shape[1] + k % path.shape[1]
                after = block * path.shape[1] + (k + 1) % path.shape[1]
                aux = block * auxes.shape[1] + k % auxes.shape[1]
                unfold(
                    path, before * neurons, after * neurons, auxes, aux * neurons, base, synapses,
                    neuron, h, exponential_step, 0, neurons, lanes, NEAR,
                )  # fmt: skip
            last = (t + 1) * unfolds % path.shape[1]
            for b in range(present):
                for i in range(neurons):
                    states[first + b, t, i] = path[block, last, i, b]
                for i in range(output.shape[2]):
                    m = inputs + i
                    value = path[block, last, i, b]
                    output[first + b, t, i] = value * mapping[0, m] + mapping[1, m]
