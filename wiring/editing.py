"""Removing synapses from a set and adding new ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index

from elegans.errors import WiringError
from elegans.wiring.synapses import Synapses


def edited(
    kind: str,
    synapses: Synapses,
    remove: Iterable[tuple[int, int]],
    add: Iterable[tuple[int, int, int]],
) -> Synapses:
    """Return `synapses` without the pairs of `remove` and with the triples of `add`."""
    removed = {(j, i) for j, i in _rows(f"remove {kind} synapses", remove, 2)}
    added = [(j, i, p) for j, i, p in _rows(f"add {kind} synapses", add, 3)]
    if not removed and not added:
        return synapses
    present = {(j, i) for j, i, _ in synapses}
    for j, i in sorted(removed - present):
        raise WiringError(f"cannot remove {kind} synapse {j} -> {i}: there is none")
    kept = [(j, i, p) for j, i, p in synapses if (j, i) not in removed]
    occupied = present - removed
    for j, i, _ in added:
        if (j, i) in occupied:
            raise WiringError(
                f"cannot add {kind} synapse {j} -> {i}: there is one already; remove it in the "
                "same edit to replace it"
            )
        occupied.add((j, i))
    return Synapses.from_rows(kept + added)


def _rows(what: str, rows: Iterable[Sequence[int]], width: int) -> Iterable[tuple[int, ...]]:
    for row in rows:
        try:
            numbers = tuple(index(number) for number in row)
        except TypeError:
            numbers = ()
        if len(numbers) != width:
            columns = ("source", "target", "polarity")[:width]
            raise WiringError(
                f"to {what}, give rows ({', '.join(columns)}) of integers, got {row!r}"
            )
        yield numbers
