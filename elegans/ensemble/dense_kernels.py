"""Chains of dense layers, many members at once, forward and backward, in numba.

A thread takes one member after the other through all layers, so that what a member needs stays in
the near cache. The batch is the vector axis: activations of a member are (feature, sample), a
weight is one number for a whole vector. Samples are padded to whole vectors; their gradients are 0.

Arguments common to both kernels: `x` (member or 1, input, sample); `sizes` (layer + 1,), the number
of features before and after each layer; `places` (layer, 2), the addresses of the weights (member,
output, input) and of the biases (member, output), 0 for none; `kinds` (layer,), the index of the
activation after each layer in `ACTIVATIONS`; `kept` (member, rows, sample), the activations of all
layers below each other. `lanes` is a tuple as long as a vector is wide.
"""

from __future__ import annotations

from typing import Any

from numba import extending, njit, prange, types
from numba.np.numpy_support import carray

from elegans.solvers.fused.cpu.compiling import INLINE, OPTIONS, kernel
from elegans.solvers.fused.cpu.products import four, one
from elegans.solvers.fused.cpu.sigmoid import sigmoid, tanh
from elegans.solvers.fused.cpu.vectors import item, splat, store, where_less

Array = Any

ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu")
"""Activations that may follow a layer; kernels know the index."""

IDENTITY, TANH, SIGMOID, RELU = range(len(ACTIVATIONS))

_intrinsic: Any = extending.intrinsic


@_intrinsic
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """Return `address`, an integer, as a pointer to numbers of the type of the array `like`."""
    kind: Any = types.CPointer

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = context.get_value_type(signature.return_type)
        return builder.inttoptr(arguments[0], place)

    return kind(like.dtype)(types.intp, like), codegen


@njit(**INLINE)
def _activated(value: Any, kind: int, zero: Any, lanes: Any) -> Any:
    if kind == TANH:
        return tanh(value)
    if kind == SIGMOID:
        return sigmoid(value)
    if kind == RELU:
        return where_less(value, zero, splat(zero, lanes), value)
    return value


@njit(**OPTIONS)
def _layer(
    weights: Array,
    first: int,
    biases: Array,
    first_bias: int,
    has_bias: bool,
    inputs: int,
    outputs: int,
    rows: Array,
    begin: int,
    into: Array,
    place: int,
    pitch: int,
    kind: int,
    lanes: Any,
) -> None:
    """Fill the rows of `into` at `place` with one layer's activations (output, sample)."""
    zero = rows.dtype.type(0)
    for c in range(pitch):
        for o in range(0, outputs - 3, 4):
            nothing = splat(zero, lanes)
            sums = nothing, nothing, nothing, nothing
            if has_bias:
                b = first_bias + o
                sums = (
                    splat(item(biases, b), lanes),
                    splat(item(biases, b + 1), lanes),
                    splat(item(biases, b + 2), lanes),
                    splat(item(biases, b + 3), lanes),
                )
            p, q, r, s = four(
                weights, first + o * inputs, inputs, 1, inputs, rows, begin + c, pitch, sums, lanes
            )
            row = place + o * pitch + c
            store(into, row, _activated(p, kind, zero, lanes))
            store(into, row + pitch, _activated(q, kind, zero, lanes))
            store(into, row + 2 * pitch, _activated(r, kind, zero, lanes))
            store(into, row + 3 * pitch, _activated(s, kind, zero, lanes))
        for o in range(outputs - outputs % 4, outputs):
            p = splat(item(biases, first_bias + o) if has_bias else zero, lanes)
            p = one(weights, first + o * inputs, 1, inputs, rows, begin + c, pitch, p, lanes)
            store(into, place + o * pitch + c, _activated(p, kind, zero, lanes))


@kernel(parallel=True)
def forward(
    x: Array,
    places: Array,
    sizes: Array,
    kinds: Array,
    lanes: Any,
    kept: Array,
    output: Array,
) -> None:
    """Fill kept (member, rows, sample) and output (member, batch, output)."""
    members, batch, outputs = output.shape
    width = len(lanes)
    pitch = kept.shape[2] // width
    for m in prange(members):
        rows = x
        begin = (m if x.shape[0] > 1 else 0) * sizes[0] * pitch
        place = m * kept.shape[1] * pitch
        for n in range(len(kinds)):
            inputs, after = sizes[n], sizes[n + 1]
            weights = carray(pointer(places[n, 0], x), members * after * inputs)
            biases = carray(pointer(places[n, 1], x), members * after)
            _layer(
                weights, m * after * inputs, biases, m * after, places[n, 1] != 0, inputs, after,
                rows, begin, kept, place, pitch, kinds[n], lanes,
            )  # fmt: skip
            rows, begin = kept, place
            place += after * pitch
        last = kept.shape[1] - outputs
        for b in range(batch):
            for o in range(outputs):
                output[m, b, o] = kept[m, last + o, b]
