"""Removal of synapses from a set and addition of new ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index

import numpy as np
from numpy.typing import NDArray

from elegans.errors import WiringError
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.names import LARGEST
from elegans.wiring.synapses import Synapses


def edited(
    kind: str,
    synapses: Synapses,
    remove: Iterable[tuple[int, int]],
    add: Iterable[tuple[int, int, int]],
) -> Synapses:
    """Return `synapses` without the pairs of `remove` and with the triples of `add`."""
    columns = "source", "target", "polarity"
    removed = {(j, i) for j, i in _rows(f"remove {kind} synapses", remove, columns[:2])}
    added = [(j, i, p) for j, i, p in _rows(f"add {kind} synapses", add, columns)]
    if not removed and not added:
        return synapses
    # Only what is asked about is looked at in Python; of synapses there may be millions.
    asked = sorted(removed | {(j, i) for j, i, _ in added})
    which, existing = _look_up(synapses, asked)
    present = {pair for pair, exists in zip(asked, existing, strict=True) if exists}
    for j, i in sorted(removed - present):
        raise WiringError(f"cannot remove {kind} synapse {j} -> {i}: there is none")
    occupied = present - removed
    for j, i, _ in added:
        if (j, i) in occupied:
            raise WiringError(
                f"cannot add {kind} synapse {j} -> {i}: there is one already; remove it in the "
                "same edit to replace it"
            )
        occupied.add((j, i))
    # The last of `goes` is for synapses that nobody asked about.
    goes = np.array([pair in removed for pair in asked] + [False])
    kept = ~goes[which]
    rows = [synapses.source[kept], synapses.target[kept], synapses.polarity[kept]]
    if added:
        pairs = zip(rows, zip(*added, strict=True), strict=True)
        return Synapses(*(np.concatenate([column, more]) for column, more in pairs))
    return Synapses(*rows)


def edited_junctions(
    junctions: GapJunctions,
    remove: Iterable[tuple[int, int]],
    add: Iterable[tuple[int, int, bool]],
) -> GapJunctions:
    """Return `junctions` without the pairs of `remove` and with the triples of `add`."""
    columns = "source", "target", "rectifying"
    removed = {_pair(j, i) for j, i in _rows("remove gap junctions", remove, columns[:2])}
    added = [(j, i, bool(p)) for j, i, p in _rows("add gap junctions", add, columns)]
    if not removed and not added:
        return junctions
    present = {_pair(j, i): (j, i, one_way) for j, i, one_way in junctions}
    for j, i in sorted(removed - set(present)):
        raise WiringError(f"cannot remove the gap junction {j} -- {i}: there is none")
    kept = {pair: row for pair, row in present.items() if pair not in removed}
    for j, i, one_way in added:
        if _pair(j, i) in kept:
            raise WiringError(
                f"cannot add the gap junction {j} -- {i}: there is one already; remove it in the "
                "same edit to replace it"
            )
        kept[_pair(j, i)] = j, i, one_way
    return GapJunctions.from_rows(kept.values())


def _pair(j: int, i: int) -> tuple[int, int]:
    return min(j, i), max(j, i)


def _look_up(
    synapses: Synapses, asked: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the place in `asked` of each synapse, -1 without one, and which pairs exist."""
    valid = [0 <= j <= LARGEST and 0 <= i <= LARGEST for j, i in asked]
    keys = np.array([i << 31 | j if ok else -1 for (j, i), ok in zip(asked, valid, strict=True)])
    order = np.argsort(keys, kind="stable")
    # Synapses are sorted by target, then by source, and so are their keys.
    have = synapses.target.astype(np.int64) << 31 | synapses.source
    first = np.searchsorted(have, keys[order], side="left")
    last = np.searchsorted(have, keys[order], side="right")
    which = np.full(len(have), -1)
    for place, start, stop in zip(order.tolist(), first.tolist(), last.tolist(), strict=True):
        which[start:stop] = place
    existing = np.empty(len(asked), dtype=bool)
    existing[order] = last > first
    return which, existing


def _rows(
    what: str, rows: Iterable[Sequence[int]], columns: Sequence[str]
) -> Iterable[tuple[int, ...]]:
    if not isinstance(rows, Iterable):
        raise WiringError(f"to {what}, give a list of rows ({', '.join(columns)}), got {rows!r}")
    for row in rows:
        try:
            numbers = tuple(index(number) for number in row)
        except TypeError:
            numbers = ()
        if len(numbers) != len(columns):
            held = "integers and True or False" if "rectifying" in columns else "integers"
            raise WiringError(f"to {what}, give rows ({', '.join(columns)}) of {held}, got {row!r}")
        yield numbers
