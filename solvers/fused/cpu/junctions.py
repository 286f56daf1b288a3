"""Gap junctions in kernels: their currents forward and backward, and their parameters.

A junction stands twice in lists by target, once at each end. `junctions` is the tuple source
(entry,), the other end, start (neuron + 1,), where the entries of each neuron begin, weight
(entry,), and way (entry,): 0 if current flows both ways, 1 if only from the other end, -1 if only
to it. An entry adds its conductance w to G and w x_j to A, so that the solver's step stays an
average of potentials; through the question who has the higher one there is no gradient.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, kernel
from elegans.solvers.fused.cpu.parameters import positive, positive_back
from elegans.solvers.fused.cpu.vectors import add, item, load, splat, total, where_less

Array = Any


@njit(**INLINE)
def _conducting(x: Any, other: Any, weight: Any, way: int, zero: Any, lanes: Any) -> Any:
    """Return the conductance in each lane of a junction that may rectify; `zero` has its type."""
    here = splat(weight, lanes)
    if way == 0:
        return here
    rise = x - other if way > 0 else other - x
    return where_less(rise, zero, here, splat(zero, lanes))


@njit(**INLINE)
def sum_lanes(
    rows: Array, first: int, junctions: Any, i: int, x: Any, g: Any, a: Any, lanes: Any
) -> Any:
    """Add to g and a what the junctions of neuron i, of potential x, conduct and drive.

    Potentials are rows `first` and following of `rows`.
    """
    source, start, weight, way = junctions
    zero = rows.dtype.type(0)
    for e in range(item(start, i), item(start, i + 1)):
        other = load(rows, first + item(source, e), lanes)
        conductance = _conducting(x, other, item(weight, e), item(way, e), zero, lanes)
        g += conductance
        a += conductance * other
    return g, a


@njit(**INLINE)
def lanes_back(
    rows: Array,
    first: int,
    junctions: Any,
    i: int,
    from_sums: Any,
    rows_gradient: Array,
    first_gradient: int,
    weight_gradient: Array,
    lanes: Any,
) -> None:
    """Carry from_sums, the gradients of neuron i's G and A, back through its junctions.

    Adds to rows_gradient (neuron, lane), from its row `first_gradient` on, and to weight_gradient
    (entry,).
    """
    source, start, weight, way = junctions
    from_g, from_a = from_sums
    if item(start, i) == item(start, i + 1):
        return
    x, zero, one = load(rows, first + i, lanes), rows.dtype.type(0), rows.dtype.type(1)
    for e in range(item(start, i), item(start, i + 1)):
        j = item(source, e)
        other = load(rows, first + j, lanes)
        is_open = _conducting(x, other, one, item(way, e), zero, lanes)
        add(rows_gradient, first_gradient + j, from_a * is_open * item(weight, e))
        weight_gradient[e] += total((from_g + from_a * other) * is_open)


@njit(**INLINE)
def _flows(x: Any, other: Any, way: int) -> bool:
    return way == 0 or (x < other if way > 0 else other < x)


@njit(**INLINE)
def sum_rows(row: Array, junctions: Any, sums: Array, first: int, last: int) -> None:
    """Add to sums (2, neuron) what junctions of the neurons first..last conduct and drive.

    `row` (neuron,) holds the potentials.
    """
    source, start, weight, way = junctions
    for i in range(first, last):
        x, g, a = row[i], sums[0, i], sums[1, i]
        for e in range(item(start, i), item(start, i + 1)):
            other, w = item(row, item(source, e)), item(weight, e)
            if _flows(x, other, item(way, e)):
                g += w
                a += w * other
        sums[0, i], sums[1, i] = g, a


@njit(**INLINE)
def rows_back(
    row: Array, junctions: Any, from_sums: Array, row_gradient: Array, weight_gradient: Array
) -> None:
    """Carry from_sums (2, neuron), the gradients of G and A, back through the junctions.

    Adds to row_gradient (neuron,) and weight_gradient (entry,).
    """
    source, start, weight, way = junctions
    for i in range(len(row)):
        x, from_g, from_a, from_x = row[i], from_sums[0, i], from_sums[1, i], row_gradient[i]
        for e in range(item(start, i), item(start, i + 1)):
            j, w = item(source, e), item(weight, e)
            other = item(row, j)
            if _flows(x, other, item(way, e)):
                from_x += w * from_sums[1, j]  # of the same junction at its other end
                weight_gradient[e] += from_g + from_a * other
        row_gradient[i] = from_x


@kernel()
def values(raw: Array, slot: Array, kind: int, room: Array, into: Array) -> None:
    """Fill the conductances of the entries, `into`; `slot` (entry,) holds the junction of each.

    `raw` (junction,) are the parameters, `room` (junction,) takes their positive values.
    """
    positive(raw, kind, raw.dtype.type(0), room)
    for e in range(len(slot)):
        into[e] = room[slot[e]]


@kernel()
def gradients(parts: Array, slot: Array, raw: Array, kind: int, into: Array) -> None:
    """Sum `parts` (part, entry) into the gradients of the parameters, `into` (junction,)."""
    into[:] = raw.dtype.type(0)
    for part in range(len(parts)):
        for e in range(len(slot)):
            into[slot[e]] += parts[part, e]
    positive_back(raw, kind, raw.dtype.type(0), into)
