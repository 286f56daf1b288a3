"""Gap junctions in kernels: their currents forward and backward, and their parameters.

A junction stands twice in lists by target, once at each end. `junctions` is the tuple source
(entry,), the other end, start (neuron + 1,), where the entries of each neuron begin, weight
(entry,), and way (entry,): 0 if current flows both ways, 1 if only from the other end, -1 if only
to it. An entry adds its conductance w to G and w times the potential that pulls to A, so that the
solver's step stays an average of potentials. The other end pulls while current flows; else, at a
junction that rectifies, the neuron's own potential does, which adds no current but keeps the step
continuous.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, kernel
from elegans.solvers.fused.cpu.parameters import positive, positive_back
from elegans.solvers.fused.cpu.vectors import add, item, load, splat, total, where_less

Array = Any


@njit(**INLINE)
def _chosen(x: Any, other: Any, way: int, flows: Any, rests: Any, zero: Any) -> Any:
    """Return in each lane `flows` where current flows between potentials x and other, or `rests`.

    `zero` has the type of a lane.
    """
    if way == 0:
        return flows
    rise = x - other if way > 0 else other - x
    return where_less(rise, zero, flows, rests)


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
        w = splat(item(weight, e), lanes)
        g += w
        a += w * _chosen(x, other, item(way, e), other, x, zero)
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
    x, zero = load(rows, first + i, lanes), rows.dtype.type(0)
    for e in range(item(start, i), item(start, i + 1)):
        j, kind = item(source, e), item(way, e)
        other = load(rows, first + j, lanes)
        from_pull = from_a * item(weight, e)
        to_other = _chosen(x, other, kind, from_pull, splat(zero, lanes), zero)
        add(rows_gradient, first_gradient + j, to_other)
        if kind != 0:
            add(rows_gradient, first_gradient + i, from_pull - to_other)
        weight_gradient[e] += total(from_g + from_a * _chosen(x, other, kind, other, x, zero))


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
            g += w
            a += w * (other if _flows(x, other, item(way, e)) else x)
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
            flows = _flows(x, other, item(way, e))
            pulled = other if flows else x
            # Of the same junction at its other end, which x pulls at while current flows.
            from_x += w * (from_sums[1, j] if flows else from_a)
            weight_gradient[e] += from_g + from_a * pulled
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
