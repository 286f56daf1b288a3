"""The closed form of a CfC on vectors, and its derivatives.

The maps y of a neuron are heads f and g and gates a and b, or f alone in mode ``"pure"``; see
`elegans.cfc.closed_form` for the equations. Four vectors are kept of each step of a neuron: tanh f,
tanh g, the gate s and a, or f and its decay twice in mode ``"pure"``. Four vectors come back as
well: the derivatives by f, g, a and b, or by f, asymptote and rate, the latter twice.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE
from elegans.solvers.fused.cpu.sigmoid import exponential, sigmoid, tanh
from elegans.solvers.fused.cpu.vectors import load, splat, store, where_less

Array = Any

DEFAULT, PURE, NO_GATE = range(3)

KEPT = 4
"""Vectors that are kept of each step of a neuron, and that come back."""


@njit(**INLINE)
def solved(mode: int, maps: Any, h: Any, rate: Any, asymptote: Any, unit: Any) -> Any:
    """Return the state after the time h, and what is kept; `unit` is 1 in their type."""
    f, g, a, b = maps
    zero = unit - unit
    if mode == PURE:
        size = where_less(f, zero, -f, f)
        decay = exponential(-(h * (size + abs(rate))))
        return asymptote - f * asymptote * decay, (f, decay, f, decay)
    f, g, s = tanh(f), tanh(g), sigmoid(a * h + b)
    near = f if mode == NO_GATE else f * (unit - s)
    return near + s * g, (f, g, s, a)


@njit(**INLINE)
def gone_back(
    mode: int, gradient: Any, kept: Any, h: Any, rate: Any, asymptote: Any, unit: Any
) -> Any:
    """Return the derivatives by the maps, as the module says, and that by h."""
    f, g, s, a = kept
    zero = unit - unit
    if mode == PURE:
        size, decay = where_less(f, zero, -f, f), g
        shrinking = gradient * asymptote * f * decay  # by minus the exponent
        sign = unit if rate > zero else -unit if rate < zero else zero
        by_rate = shrinking * h * sign
        by_f = -(gradient * asymptote * decay * (unit - h * size))
        return (by_f, gradient * (unit - f * decay), by_rate, by_rate), shrinking * (
            size + abs(rate)
        )
    swing = gradient * s * (unit - s) * (g if mode == NO_GATE else g - f)
    near = gradient if mode == NO_GATE else gradient * (unit - s)
    return (near * (unit - f * f), gradient * s * (unit - g * g), swing * h, swing), swing * a


@njit(**INLINE)
def load_four(array: Array, row: int, apart: int, lanes: Any) -> Any:
    """Return the vectors in `row` and in three rows more, `apart` from each other."""
    return (
        load(array, row, lanes),
        load(array, row + apart, lanes),
        load(array, row + 2 * apart, lanes),
        load(array, row + 3 * apart, lanes),
    )


@njit(**INLINE)
def store_four(array: Array, row: int, apart: int, vectors: Any) -> None:
    """Write four vectors to the rows that `load_four` reads."""
    p, q, r, s = vectors
    store(array, row, p)
    store(array, row + apart, q)
    store(array, row + 2 * apart, r)
    store(array, row + 3 * apart, s)


@njit(**INLINE)
def if_lasting(h: Any, yes: Any, no: Any, zero: Any) -> Any:
    """Return `yes` in the lanes whose step lasts any time, and `no` elsewhere."""
    return where_less(-h, zero, yes, no)


@njit(**INLINE)
def copy_step(values: Array, first: int, t: int, into: Array, row: int) -> None:
    """Copy values (batch, time, feature) of a step to rows (feature, lane); 0 if missing."""
    zero = into.dtype.type(0)
    for i in range(values.shape[2]):
        for b in range(into.shape[1]):
            into[row + i, b] = values[first + b, t, i] if first + b < values.shape[0] else zero


@njit(**INLINE)
def copy_lengths(elapsed: Array, first: int, t: int, h: Array) -> None:
    """Copy the elapsed times of a step to h (lane,); 0 if missing."""
    for b in range(len(h)):
        h[b] = elapsed[first + b, t] if first + b < elapsed.shape[0] else h.dtype.type(0)


@njit(**INLINE)
def write_step(rows: Array, row: int, first: int, t: int, into: Array) -> None:
    """Write rows (feature, lane) from `row` on to values (batch, time, feature) of a step."""
    for b in range(min(rows.shape[1], into.shape[0] - first)):
        for i in range(into.shape[2]):
            into[first + b, t, i] = rows[row + i, b]


@njit(**INLINE)
def nothing(like: Array, lanes: Any) -> Any:
    """Return a vector of zeros in the type of an array."""
    return splat(like.dtype.type(0), lanes)
