"""CfCs behind a backbone over whole sequences, forward and backward, the batch as vector axis.

Arguments common to the kernels: `given`, the tuple x (batch, time, input), initial (batch, neuron),
elapsed (batch, time), weights, those of all layers (output, input) one after the other, in the
backward pass (input, output), biases, sizes (layer + 1,), the rows before and after each layer, of
which the first are inputs and state and the last the maps, neuron (2, neuron), the rows rate and
asymptote, form, the pair mode and activation, and tanh, its height and steepness.

What is kept has the shape (block * step, row, lane); gradients of weights are products of such
matrices, summed over steps, which PyTorch computes. The rows are, of `tape`, inputs and states
before a step; of `activations` and `slopes`, those of the hidden layers; of `kept`, four for each
neuron as `closed_form` keeps them; of `back`, gradients before the activation of each hidden layer,
then the four that come back. Where no gradient is wanted there are no steps.
"""

from __future__ import annotations

import math
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
from elegans.solvers.fused.cpu.products import four, one
from elegans.solvers.fused.cpu.sigmoid import sigmoid, tanh
from elegans.solvers.fused.cpu.vectors import add, item, load, splat, store, where_less
from elegans.solvers.fused.settings import ACTIVATIONS

Array = Any

_TANH, _RELU, _SILU, _GELU = range(len(ACTIVATIONS))


@njit(**OPTIONS)
def _product(
    weights: Array,
    first: int,
    biases: Array,
    first_bias: int,
    sizes: Any,
    rows: Array,
    begin: int,
    place: int,
    lanes: Any,
) -> None:
    """Fill the vectors at `place` with a matrix (output, input) times those at `begin`.

    No biases are added where `first_bias` is negative.
    """
    inputs, outputs = sizes
    zero = rows.dtype.type(0)
    for o in range(0, outputs - 3, 4):
        none = splat(zero, lanes)
        sums = none, none, none, none
        if first_bias >= 0:
            b = first_bias + o
            sums = (
                splat(item(biases, b), lanes),
                splat(item(biases, b + 1), lanes),
                splat(item(biases, b + 2), lanes),
                splat(item(biases, b + 3), lanes),
            )
        sums = four(weights, first + o * inputs, inputs, 1, inputs, rows, begin, 1, sums, lanes)
        store_four(rows, place + o, 1, sums)
    for o in range(outputs - outputs % 4, outputs):
        p = splat(item(biases, first_bias + o) if first_bias >= 0 else zero, lanes)
        p = one(weights, first + o * inputs, 1, inputs, rows, begin, 1, p, lanes)
        store(rows, place + o, p)


@njit(**OPTIONS)
def _gelu(rows: Array, row: int, slopes: Array) -> None:
    """Replace a row (lane,) by its activations; write their slopes."""
    number = rows.dtype.type
    for b in range(rows.shape[1]):
        x = rows[row, b]
        share = number(0.5) * (number(1) + number(math.erf(x * number(math.sqrt(0.5)))))
        density = number(math.exp(-x * x / number(2))) * number(1 / math.sqrt(2 * math.pi))
        rows[row, b] = x * share
        slopes[b] = share + x * density


@njit(**INLINE)
def _activated(value: Any, activation: int, height: Any, steepness: Any, unit: Any) -> Any:
    """Return the activation and its slope."""
    zero = unit - unit
    if activation == _TANH:
        curve = tanh(value * steepness)
        return curve * height, (unit - curve * curve) * (height * steepness)
    if activation == _SILU:
        gate = sigmoid(value)
        return value * gate, gate + value * gate * (unit - gate)
    none = value * zero
    return where_less(-value, zero, value, none), where_less(-value, zero, none + unit, none)


@njit(**OPTIONS)
def _activate(
    rows: Array, begin: int, count: int, kept: Any, place: int, form: Any, lanes: Any
) -> None:
    """Apply the activation to the vectors at `begin`; `kept` takes results and slopes."""
    activations, slopes = kept
    activation, height, steepness = form
    slope = np.empty(rows.shape[1], rows.dtype)
    for i in range(count):
        if activation == _GELU:
            _gelu(rows, begin + i, slope)
            value, by = load(rows, begin + i, lanes), load(slope, 0, lanes)
        else:
            value = load(rows, begin + i, lanes)
            value, by = _activated(value, activation, height, steepness, rows.dtype.type(1))
            store(rows, begin + i, value)
        if len(activations):
            store(activations, place + i, value)
            store(slopes, place + i, by)


@njit(**OPTIONS)
def _solve(
    rows: Array, first: int, maps: int, neuron: Array, h: Array, kept: Array, place: int,
    mode: int, lanes: Any,
) -> None:  # fmt: skip
    """Replace the states at `first` by those after a step, from the vectors at `maps`."""
    neurons, lengths = neuron.shape[1], load(h, 0, lanes)
    unit, zero = h.dtype.type(1), h.dtype.type(0)
    for i in range(neurons):
        apart = 0 if mode == PURE else neurons
        read = load_four(rows, maps + i, apart, lanes)
        new, aside = solved(mode, read, lengths, neuron[0, i], neuron[1, i], unit)
        state = if_lasting(lengths, new, load(rows, first + i, lanes), zero)
        store(rows, first + i, state)
        if len(kept):
            store_four(kept, place + i, neurons, aside)


@kernel(parallel=True)
def forward(given: Any, lanes: Any, states: Array, kept: Any, work: Array) -> None:
    """Run the sequences and write the states (batch, time, neuron).

    `kept` has tape, activations, slopes and kept; `work` (block, row, lane) has room for inputs and
    state and twice for the widest layer.
    """
    x, initial, elapsed, weights, biases, sizes, neuron, form, tanh_of = given
    tape, activations, slopes, aside = kept
    (_, time, inputs), neurons, width = x.shape, initial.shape[1], len(lanes)
    height, steepness = x.dtype.type(tanh_of[0]), x.dtype.type(tanh_of[1])
    layers, room, hidden = len(sizes) - 1, work.shape[1], slopes.shape[1]
    most, flat = (room - sizes[0]) // 2, work.reshape((-1, width))
    for block in prange(work.shape[0]):
        first, h = block * width, np.empty(width, x.dtype)
        begin = block * room
        copy_states(initial, first, work[block, inputs : inputs + neurons])
        for t in range(time):
            column = block * time + t
            copy_step(x, first, t, work[block], 0)
            copy_lengths(elapsed, first, t, h)
            if len(tape):
                for i in range(sizes[0]):
                    store(tape, column * sizes[0] + i, load(work, begin + i, lanes))
            read, place, other = begin, begin + sizes[0], begin + sizes[0] + most
            weight, bias = 0, 0
            for k in range(layers):
                both = sizes[k], sizes[k + 1]
                _product(weights, weight, biases, bias, both, work, read, place, lanes)
                if k + 1 < layers:
                    into = activations, slopes
                    how = form[1], height, steepness
                    _activate(
                        flat, place, both[1], into, column * hidden + bias,
                        how, lanes,
                    )  # fmt: skip
                weight += both[0] * both[1]
                bias += both[1]
                read, place, other = place, other, place
            _solve(
                work,
                begin + inputs,
                read,
                neuron,
                h,
                aside,
                column * KEPT * neurons,
                form[0],
                lanes,
            )
            write_step(work[block], inputs, first, t, states)


@njit(**OPTIONS)
def _solve_back(
    rows: Array, first: int, maps: int, neuron: Array, h: Array, kept: Array, place: int,
    back: Array, into: int, mode: int, lanes: Any,
) -> Any:  # fmt: skip
    """Replace gradients of states after a step, at `first`, by those of states that stay.

    Gradients by the maps are written to the vectors at `maps`; that by the length is returned.
    """
    neurons, lengths = neuron.shape[1], load(h, 0, lanes)
    unit, zero = h.dtype.type(1), h.dtype.type(0)
    none = nothing(h, lanes)
    to_h = none
    for i in range(neurons):
        gradient = load(rows, first + i, lanes)
        store(rows, first + i, if_lasting(lengths, none, gradient, zero))
        gradient = if_lasting(lengths, gradient, none, zero)
        found = load_four(kept, place + i, neurons, lanes)
        by, by_h = gone_back(mode, gradient, found, lengths, neuron[0, i], neuron[1, i], unit)
        to_h += by_h
        store_four(back, into + i, neurons, by)
        store(rows, maps + i, by[0])
        if mode != PURE:
            store(rows, maps + neurons + i, by[1])
            store(rows, maps + 2 * neurons + i, by[2])
            store(rows, maps + 3 * neurons + i, by[3])
    return to_h


@kernel(parallel=True)
def backward(
    from_states: Array, given: Any, lanes: Any, kept: Any, back: Array, wants_x: bool, into: Any,
    work: Array,
) -> None:  # fmt: skip
    """Fill `back` and the gradients of x, initial state and elapsed times.

    `kept` has slopes and kept; `work` is as large as in `forward`, with gradients in its rows.
    """
    x, initial, elapsed, weights, _, sizes, neuron, form, _ = given
    to_x, to_initial, to_elapsed = into
    slopes, aside = kept
    (batch, time, inputs), neurons, width = x.shape, initial.shape[1], len(lanes)
    layers, room, hidden = len(sizes) - 1, work.shape[1], slopes.shape[1]
    most, rows = (room - sizes[0]) // 2, back.shape[1]
    for block in prange(work.shape[0]):
        first, begin = block * width, block * room
        h, to_h = np.empty(width, x.dtype), np.empty(width, x.dtype)
        work[block, :] = x.dtype.type(0)
        for t in range(time - 1, -1, -1):
            column = block * time + t
            copy_lengths(elapsed, first, t, h)
            for b in range(min(width, batch - first)):
                for i in range(neurons):
                    work[block, inputs + i, b] += from_states[first + b, t, i]
            read, place, other = begin + sizes[0], begin + sizes[0] + most, begin + sizes[0]
            by_h = _solve_back(
                work, begin + inputs, read, neuron, h, aside,
                column * KEPT * neurons, back, column * rows + hidden, form[0], lanes,
            )  # fmt: skip
            store(to_h, 0, by_h)
            weight, row = len(weights), hidden
            for k in range(layers - 1, -1, -1):
                weight -= sizes[k] * sizes[k + 1]
                both = sizes[k + 1], sizes[k]
                if k == 0:
                    skipped = 0 if wants_x else inputs
                    both = sizes[1], sizes[0] - skipped
                    from_ = weight + skipped * sizes[1]
                    _product(weights, from_, weights, -1, both, work, read, place, lanes)
                    for i in range(skipped, inputs):
                        store(work, begin + i, load(work, place + i, lanes))
                    for i in range(neurons):
                        add(
                            work,
                            begin + inputs + i,
                            load(work, place + inputs - skipped + i, lanes),
                        )
                else:
                    _product(weights, weight, weights, -1, both, work, read, place, lanes)
                    row -= sizes[k]
                    for i in range(sizes[k]):
                        slope = load(slopes, column * hidden + row + i, lanes)
                        by = load(work, place + i, lanes) * slope
                        store(work, place + i, by)
                        store(back, column * rows + row + i, by)
                    read, place, other = place, other, place
            write_step(work[block], 0, first, t, to_x)
            for b in range(min(width, batch - first)):
                to_elapsed[first + b, t] = to_h[b]
        for b in range(min(width, batch - first)):
            for i in range(neurons):
                to_initial[first + b, i] = work[block, inputs + i, b]
