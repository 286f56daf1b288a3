"""Parts of a connectome: by names, classes, neighbourhoods and paths; classes in place of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import TEXTS, Connectome
from elegans.wiring.connectome.edges import Edges, narrow, order_of, repeated


def keep_cells(connectome: Connectome, cells: ArrayLike) -> Connectome:
    """Return the connectome of the cells of these indices, in this order, and what joins them."""
    index = np.asarray(cells, dtype=np.int64)
    if not len(index):
        raise WiringError("a part of a connectome needs a cell at least, got none")
    place = np.full(len(connectome), -1, dtype=np.int64)
    place[index] = np.arange(len(index))
    inside = [
        (place[edges.pre] >= 0) & (place[edges.post] >= 0)
        for edges in (connectome.chemical, connectome.electrical)
    ]
    chemical, moved = connectome.chemical, connectome.electrical
    pre, post = place[chemical.pre[inside[0]]], place[chemical.post[inside[0]]]
    sign, guessed = chemical.sign[inside[0]], connectome.guessed[inside[0]]
    order = order_of(pre, post, sign)
    one, other = place[moved.pre[inside[1]]], place[moved.post[inside[1]]]
    return Connectome(
        [connectome.names[i] for i in index],
        Edges(pre, post, chemical.count[inside[0]], sign),
        Edges(np.minimum(one, other), np.maximum(one, other), moved.count[inside[1]]),
        positions=connectome.positions[index],
        guessed=guessed if order is None else guessed[order],
        notes=connectome.notes,
        **{name: [getattr(connectome, name)[i] for i in index] for name in TEXTS},
    )


@checked(WiringError)
def select(connectome: Connectome, names: Sequence[str]) -> Connectome:
    """Return the circuit of some cells, by their names or those of their classes, in this order.

    Parameters
    ----------
    connectome
        Where to take them from.
    names
        Names of cells or classes.

    Raises
    ------
    WiringError
        A name is not there; the message has similar ones.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> select(tap_withdrawal(), ["AVA", "AVB"])
    Connectome(2 cells; 29 synapses in 2 connections, 0 gap junctions in 0 pairs)
    """
    return keep_cells(connectome, connectome.indices(names))


@checked(WiringError)
def neurons_only(connectome: Connectome) -> Connectome:
    """Return the connectome without muscles and other cells that are not neurons.

    Examples
    --------
    >>> from elegans.wiring.connectome import Connectome
    >>> body = Connectome(["VA1", "MDL1"], Edges([0], [1], [3]), kinds=["neuron", "muscle"])
    >>> neurons_only(body).names
    ('VA1',)
    """
    return keep_cells(connectome, connectome.neurons)


@checked(WiringError)
def neighborhood(
    connectome: Connectome,
    names: Sequence[str],
    hops: int = 1,
    *,
    direction: str = "both",
    least_synapses: float = 1,
    electrical: bool = True,
) -> Connectome:
    """Return the circuit of some cells and of those within some connections from them.

    Parameters
    ----------
    connectome
        Where to take them from.
    names
        Names of cells or classes.
    hops
        Number of connections that may be passed, from 0.
    direction
        ``"out"`` follows synapses, ``"in"`` goes against them, ``"both"`` either way.
    least_synapses
        Connections of fewer synapses are not passed; they stay between cells that are in.
    electrical
        Whether gap junctions are passed, in either direction.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> neighborhood(tap_withdrawal(), ["PVD"], direction="out").names
    ('PVD', 'DVA', 'PVC', 'AVA')
    """
    if direction not in ("in", "out", "both"):
        raise WiringError(f"direction must be in, out or both, got {direction!r}")
    if isinstance(hops, bool) or not isinstance(hops, int | np.integer) or hops < 0:
        raise WiringError(f"hops must be a whole number from 0, got {hops!r}")
    inside = np.zeros(len(connectome), dtype=np.bool_)
    inside[connectome.indices(names)] = True
    arrows = _arrows(connectome, direction, least_synapses, electrical)
    for _ in range(hops):
        before = int(inside.sum())
        reached = inside.copy()
        for source, target in arrows:
            reached[target[inside[source]]] = True
        inside = reached
        if int(inside.sum()) == before:
            break
    return keep_cells(connectome, np.flatnonzero(inside))


@checked(WiringError)
def between(
    connectome: Connectome,
    inputs: Sequence[str],
    outputs: Sequence[str],
    hops: int,
    *,
    least_synapses: float = 1,
    electrical: bool = True,
) -> Connectome:
    """Return the circuit of the cells on walks from inputs to outputs.

    A cell is on one if the shortest way from an input to it and the shortest way from it to an
    output have no more than `hops` connections together.

    Parameters
    ----------
    connectome
        Where to take them from.
    inputs, outputs
        Names of cells or classes.
    hops
        Number of connections of a walk, at most.
    least_synapses, electrical
        As in `neighborhood`.

    Raises
    ------
    WiringError
        No walk is that short.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> between(tap_withdrawal(), ["PLM"], ["AVB"], hops=2).names
    ('PLM', 'AVD', 'DVA', 'PVC', 'AVA', 'AVB')
    """
    if isinstance(hops, bool) or not isinstance(hops, int | np.integer) or hops < 0:
        raise WiringError(f"hops must be a whole number from 0, got {hops!r}")
    arrows = _arrows(connectome, "out", least_synapses, electrical)
    ahead = _distances(len(connectome), connectome.indices(inputs), arrows, hops)
    back = _distances(
        len(connectome), connectome.indices(outputs), [(t, s) for s, t in arrows], hops
    )
    cells = np.flatnonzero(ahead + back <= hops)
    if not len(cells):
        raise WiringError(
            f"no walk of {hops} connections leads from {', '.join(inputs)} to "
            f"{', '.join(outputs)}; allow more hops, or fewer least_synapses"
        )
    return keep_cells(connectome, cells)


def _arrows(
    connectome: Connectome, direction: str, least: float, electrical: bool
) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    strong = connectome.chemical.count >= least
    pre, post = connectome.chemical.pre[strong], connectome.chemical.post[strong]
    arrows = [(pre, post)] if direction in ("out", "both") else []
    arrows += [(post, pre)] if direction in ("in", "both") else []
    if electrical:
        firm = connectome.electrical.count >= least
        one, other = connectome.electrical.pre[firm], connectome.electrical.post[firm]
        arrows += [(one, other), (other, one)]
    return arrows


def _distances(
    cells: int,
    start: NDArray[np.int64],
    arrows: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]],
    most: int,
) -> NDArray[np.float64]:
    distance = np.full(cells, np.inf)
    distance[start] = 0
    for hop in range(1, most + 1):
        last = distance == hop - 1
        if not last.any():
            break
        for source, target in arrows:
            reached = target[last[source]]
            distance[reached] = np.minimum(distance[reached], hop)
    return distance


@checked(WiringError)
def collapse(connectome: Connectome, groups: Sequence[str] | None = None) -> Connectome:
    """Return the connectome of classes in place of cells, with the sums of their counts.

    Cells without a class stay as they are. Gap junctions within a class are left out, with a note:
    they would join it to itself. A class has a transmitter, side or kind that all its cells have,
    and stands in the middle of their positions.

    Parameters
    ----------
    connectome
        Of cells.
    groups
        The class of each cell, shape (cell,); by default `Connectome.classes`.

    Examples
    --------
    >>> from elegans.wiring.connectome import Connectome
    >>> cells = Connectome.from_rows(["AVAL", "AVAR"], ["PVCL", "PVCR"], [3, 4], naming="worm")
    >>> collapse(cells).synapses("AVA", "PVC")
    7
    """
    given = connectome.classes if groups is None else tuple(groups)
    if isinstance(groups, str) or len(given) != len(connectome):
        raise WiringError(
            f"groups must hold a class for each of {len(connectome)} cells, got {len(given)}"
        )
    called = [group or name for group, name in zip(given, connectome.names, strict=True)]
    names = list(dict.fromkeys(called))
    place = {name: i for i, name in enumerate(names)}
    index = np.array([place[name] for name in called], dtype=np.int64)
    members: list[list[int]] = [[] for _ in names]
    for i, k in enumerate(index):
        members[k].append(i)
    chemical, guessed = merged(
        index[connectome.chemical.pre],
        index[connectome.chemical.post],
        connectome.chemical.count,
        connectome.chemical.sign,
        connectome.guessed,
    )
    one, other = index[connectome.electrical.pre], index[connectome.electrical.post]
    apart = one != other
    pairs, _ = merged(
        np.minimum(one, other)[apart],
        np.maximum(one, other)[apart],
        connectome.electrical.count[apart],
        connectome.electrical.sign[apart],
        np.zeros(int(apart.sum()), dtype=np.bool_),
    )
    within = connectome.electrical.count[~apart].sum()
    notes = [f"{len(connectome)} cells were collapsed to {len(names)} classes"]
    if within:
        notes.append(f"{within:g} gap junctions within a class were left out")
    columns = {
        name: [_common([getattr(connectome, name)[i] for i in cells]) for cells in members]
        for name in TEXTS
    }
    columns["kinds"] = [kind or "other" for kind in columns["kinds"]]
    columns["classes"] = names
    return Connectome(
        names,
        chemical,
        pairs,
        positions=[connectome.positions[cells].mean(axis=0) for cells in members],
        guessed=guessed,
        notes=(*connectome.notes, *notes),
        **columns,
    )


def merged(
    pre: NDArray[Any],
    post: NDArray[Any],
    count: NDArray[Any],
    sign: NDArray[np.int8],
    guessed: NDArray[np.bool_],
) -> tuple[Edges, NDArray[np.bool_]]:
    """Return the sums of equal pairs, and whether any part of one is a guess."""
    order = order_of(pre, post, sign)
    if order is not None:
        pre, post, sign = pre[order], post[order], sign[order]
        count, guessed = count[order], guessed[order]
    starts = np.flatnonzero(~repeated(pre, post, sign))
    if not len(starts):
        return Edges.empty(), np.zeros(0, dtype=np.bool_)
    total = narrow(np.add.reduceat(count.astype(np.float64), starts))
    edges = Edges(pre[starts], post[starts], total, sign[starts])
    return edges, np.logical_or.reduceat(guessed, starts)


def _common(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""
