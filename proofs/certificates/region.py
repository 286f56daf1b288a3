"""The region of a certificate: a box of states, and the entry into it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from elegans.errors import InputError
from elegans.proofs.certificates.boxes import hull, nested_boxes
from elegans.proofs.certificates.contraction import PIECES, Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.verify import LEVELS

GROWN = 1.0
"""Magnitude of the reversal potential of a synapse that prune-and-rewire has just grown."""

_ROOM, _CLAIMED = 1 / 4, 1 / 64
"""Shares of the box before that roomy boxes hold besides all targets, and that are claimed."""


@dataclass(frozen=True, eq=False)
class Region:
    """A box of states with the ranges of the gates in it, and how it is entered.

    Parameters
    ----------
    boxes
        Boxes that are entered one after the other; the statements hold in the last.
    shares
        Between each box and the next, see `elegans.proofs.certificates.boxes.Nested`.
    entry_time
        Time from anywhere in the first to the last.
    gates
        Ranges of the gates in the last.
    """

    boxes: tuple[Box, ...]
    shares: tuple[float, ...]
    entry_time: float
    gates: GateRanges

    @property
    def box(self) -> Box:
        """The last box."""
        return self.boxes[-1]


def require_level(level: str) -> None:
    """Raise `InputError` unless `level` is one."""
    if level not in LEVELS:
        raise InputError(f"got level={level!r}, expected one of {LEVELS}")


def region_of(network: Network, inputs: Box, level: str, *, roomy: int | None = None) -> Region:
    """Return where the statements of a level hold, under a range of mapped inputs.

    For ``"exact"`` that is the hull of all potentials, with gates from 0 to 1, otherwise the
    smallest box that the circuit enters. `roomy` is the number of boxes to be entered at most, if
    they shall leave room for edits of the circuit: they hold the potentials of every synapse that
    could grow, and are fewer, larger, and claimed to be entered less closely than they are.
    """
    require_level(level)
    first = hull(network)
    if roomy is not None:
        first = Box(np.minimum(first.lo, -GROWN), np.maximum(first.hi, GROWN))
    if level == "exact":
        return Region((first,), (), 0.0, GateRanges.free(network, first))
    if roomy is None:
        nested = nested_boxes(network, inputs, start=first)
    else:
        nested = nested_boxes(network, inputs, start=first, entry_fraction=_ROOM, rounds=roomy)
        longer = math.log(_CLAIMED) / math.log(_ROOM)
        nested = replace(
            nested,
            shares=(_CLAIMED,) * len(nested.shares),
            times=tuple(longer * time for time in nested.times),
        )
    gates = GateRanges.over(network, nested.boxes[-1], inputs)
    return Region(nested.boxes, nested.shares, nested.entry_time, gates)


def pieces_of(level: str) -> int:
    """Return into how many pieces the interval of a neuron with a self-synapse is cut."""
    # At level "exact" a gate may be anything, at every potential.
    return 1 if level == "exact" else PIECES


def rows_of(network: Network, region: Region, level: str) -> Rows:
    """Return the rows of the contraction condition in a region."""
    return Rows.of(network, region.box, region.gates, pieces=pieces_of(level))
