"""Sums of weighted vectors: parts of the products of a matrix with rows of memory."""

from __future__ import annotations

from typing import Any

from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE
from elegans.solvers.fused.cpu.vectors import item, load

Array = Any


@njit(**INLINE)
def four(
    weights: Array,
    first: int,
    apart: int,
    step: int,
    count: int,
    rows: Array,
    begin: int,
    pitch: int,
    sums: Any,
    lanes: Any,
) -> Any:
    """Add to four `sums` the vectors of `rows` at begin + k pitch, weighted.

    The weights of the first sum are at first + k step, those of the next ones `apart`.
    """
    a, b, c, d = sums
    for k in range(count):
        value, place = load(rows, begin + k * pitch, lanes), first + k * step
        a += item(weights, place) * value
        b += item(weights, place + apart) * value
        c += item(weights, place + 2 * apart) * value
        d += item(weights, place + 3 * apart) * value
    return a, b, c, d


@njit(**INLINE)
def one(
    weights: Array,
    first: int,
    step: int,
    count: int,
    rows: Array,
    begin: int,
    pitch: int,
    sums: Any,
    lanes: Any,
) -> Any:
    """Do the same for one sum."""
    for k in range(count):
        sums += item(weights, first + k * step) * load(rows, begin + k * pitch, lanes)
    return sums
