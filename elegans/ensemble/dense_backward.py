"""The backward pass of `elegans.ensemble.dense_kernels`.

A gradient of a weight is a sum over all samples: sixteen of them are summed at a time in as many
registers, each a vector of samples, and the lanes are added up at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numba.np.numpy_support import carray

from elegans.ensemble import dense_kernels
from elegans.ensemble.dense_kernels import IDENTITY, RELU, SIGMOID, TANH, pointer
from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.products import four, one
from elegans.solvers.fused.cpu.vectors import (
    load,
    splat,
    store,
    store_part,
    total,
    totals,
    where_less,
)

Array = Any


@njit(**INLINE)
def _slope(gradient: Any, value: Any, kind: int, zero: Any, unit: Any, lanes: Any) -> Any:
    """Return the gradient before an activation from that after it, where it was `value`."""
    if kind == TANH:
        return gradient * (unit - value * value)
    if kind == SIGMOID:
        return gradient * (value * (unit - value))
    if kind == RELU:
        return where_less(-value, zero, gradient, splat(zero, lanes))
    return gradient


@njit(**INLINE)
def _plus_products(sums: Any, factor: Any, values: Any) -> Any:
    a, b, c, d = sums
    p, q, r, s = values
    return a + factor * p, b + factor * q, c + factor * r, d + factor * s


@njit(**OPTIONS)
def _weights_back(
    gradient: Array,
    rows: Array,
    begin: int,
    inputs: int,
    outputs: int,
    pitch: int,
    into: Array,
    first: int,
    biases: Array,
    first_bias: int,
    has_bias: bool,
    lanes: Any,
) -> None:
    """Sum the gradients of weights and biases of a layer over all samples."""
    zero = rows.dtype.type(0)
    for o in range(0, outputs - 3, 4):
        for i in range(0, inputs - 3, 4):
            nothing = splat(zero, lanes)
            a = b = c = d = nothing, nothing, nothing, nothing
            for k in range(pitch):
                values = (
                    load(rows, begin + i * pitch + k, lanes),
                    load(rows, begin + (i + 1) * pitch + k, lanes),
                    load(rows, begin + (i + 2) * pitch + k, lanes),
                    load(rows, begin + (i + 3) * pitch + k, lanes),
                )
                a = _plus_products(a, load(gradient, o * pitch + k, lanes), values)
                b = _plus_products(b, load(gradient, (o + 1) * pitch + k, lanes), values)
                c = _plus_products(c, load(gradient, (o + 2) * pitch + k, lanes), values)
                d = _plus_products(d, load(gradient, (o + 3) * pitch + k, lanes), values)
            place = first + o * inputs + i
            store_part(into, place, 4, totals(*a))
            store_part(into, place + inputs, 4, totals(*b))
            store_part(into, place + 2 * inputs, 4, totals(*c))
            store_part(into, place + 3 * inputs, 4, totals(*d))
    for o in range(outputs):
        seen = inputs - inputs % 4 if o < outputs - outputs % 4 else 0
        for i in range(seen, inputs):
            e = splat(zero, lanes)
            for k in range(pitch):
                e += load(gradient, o * pitch + k, lanes) * load(rows, begin + i * pitch + k, lanes)
            into[first + o * inputs + i] = total(e)
        if has_bias:
            e = splat(zero, lanes)
            for k in range(pitch):
                e += load(gradient, o * pitch + k, lanes)
            biases[first_bias + o] = total(e)


@njit(**OPTIONS)
def _inputs_back(
    weights: Array,
    first: int,
    gradient: Array,
    inputs: int,
    outputs: int,
    pitch: int,
    into: Array,
    place: int,
    values: Array,
    begin: int,
    kind: int,
    lanes: Any,
) -> None:
    """Fill the rows of `into` at `place` with the gradient before a layer's own activation."""
    zero, unit = values.dtype.type(0), values.dtype.type(1)
    for c in range(pitch):
        for i in range(0, inputs - 3, 4):
            nothing = splat(zero, lanes)
            sums = nothing, nothing, nothing, nothing
            p, q, r, s = four(
                weights, first + i, 1, inputs, outputs, gradient, c, pitch, sums, lanes
            )
            row, seen = place + i * pitch + c, begin + i * pitch + c
            store(into, row, _slope(p, load(values, seen, lanes), kind, zero, unit, lanes))
            seen += pitch
            store(into, row + pitch, _slope(q, load(values, seen, lanes), kind, zero, unit, lanes))
            seen += pitch
            row += 2 * pitch
            store(into, row, _slope(r, load(values, seen, lanes), kind, zero, unit, lanes))
            seen += pitch
            store(into, row + pitch, _slope(s, load(values, seen, lanes), kind, zero, unit, lanes))
        for i in range(inputs - inputs % 4, inputs):
            p = splat(zero, lanes)
            p = one(weights, first + i, inputs, outputs, gradient, c, pitch, p, lanes)
            value = load(values, begin + i * pitch + c, lanes)
            store(into, place + i * pitch + c, _slope(p, value, kind, zero, unit, lanes))


@kernel(parallel=True, made_of=(dense_kernels.__file__,))
def backward(
    x: Array,
    places: Array,
    sizes: Array,
    kinds: Array,
    lanes: Any,
    narrow: Any,
    kept: Array,
    gradient: Array,
    into: Array,
    x_gradient: Array,
) -> None:
    """Carry gradient (member, batch, output) back.

    Writes to the addresses `into` (layer, 2) what `places` has for the parameters, and to
    x_gradient (member, input, sample), which is empty where nobody wants it.
    """
    members, batch, outputs = gradient.shape
    width = len(lanes)
    pitch = kept.shape[2] // width
    depth, wider = len(kinds), width // len(narrow)
    zero, unit = x.dtype.type(0), x.dtype.type(1)
    widest = 0
    for n in range(1, depth + 1):
        widest = max(widest, sizes[n])
    for m in prange(members):
        slopes = np.zeros((widest, pitch * width), x.dtype)
        for b in range(batch):
            for o in range(outputs):
                slopes[o, b] = gradient[m, b, o]
        place = (m + 1) * kept.shape[1] * pitch - outputs * pitch
        for o in range(outputs * pitch):
            value = load(kept, place + o, lanes)
            store(slopes, o, _slope(load(slopes, o, lanes), value, kinds[-1], zero, unit, lanes))
        input_slopes = np.empty((widest, pitch * width), x.dtype)
        for k in range(depth):
            n = depth - 1 - k
            inputs, after = sizes[n], sizes[n + 1]
            weights = carray(pointer(places[n, 0], x), members * after * inputs)
            weight_gradient = carray(pointer(into[n, 0], x), members * after * inputs)
            bias_gradient = carray(pointer(into[n, 1], x), members * after)
            rows = x
            begin = (m if x.shape[0] > 1 else 0) * sizes[0] * pitch
            if n > 0:
                place -= inputs * pitch
                rows, begin = kept, place
            _weights_back(
                slopes, rows, begin * wider, inputs, after, pitch * wider, weight_gradient,
                m * after * inputs, bias_gradient, m * after, into[n, 1] != 0, narrow,
            )  # fmt: skip
            if n > 0:
                _inputs_back(
                    weights, m * after * inputs, slopes, inputs, after, pitch, input_slopes, 0,
                    kept, place, kinds[n - 1], lanes,
                )  # fmt: skip
                slopes, input_slopes = input_slopes, slopes
            elif len(x_gradient):
                _inputs_back(
                    weights, m * after * inputs, slopes, inputs, after, pitch, x_gradient,
                    m * inputs * pitch, x, begin, IDENTITY, lanes,
                )  # fmt: skip
