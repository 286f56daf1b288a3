"""What prune-and-rewire did and what it left alone, one record a synapse."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from elegans.errors import PruningError

REWIRED = "rewired"
NO_FREE_TARGET = "kept: no free target"
LAST_INPUT = "kept: last input of its target"
REFUSED = "kept: refused"


@dataclass(frozen=True)
class Proposal:
    """A rewiring that is about to happen: everything a guard needs to judge it.

    The synapse in `slot` of the set `synapses` leads from `source` to `cut`; it would lead to
    `grown`, as a fresh synapse of the given values.
    """

    step: int
    synapses: str
    """Dotted name of the set of synapses in the model, such as ``cell.recurrent``."""
    slot: int
    source: int
    cut: int
    grown: int
    old_weight: float
    polarity: int
    weight: float
    sigma: float
    mu: float

    @property
    def erev(self) -> float:
        """The reversal potential of the fresh synapse."""
        return float(self.polarity)


@dataclass(frozen=True)
class Edit:
    """One weak synapse and what became of it."""

    step: int
    synapses: str
    """Dotted name of the set of synapses in the model, such as ``cell.recurrent``."""
    source: int
    cut: int
    """The target it led to."""
    grown: int | None
    """The target it leads to now; None where the synapse was kept."""
    polarity: int | None
    """The polarity it has now; None where the synapse was kept."""
    weight: float
    """The conductance that made it weak."""
    outcome: str
    """``rewired``, or ``kept: `` and the reason."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Edit:
        """Return the edit that `to_dict` wrote."""
        try:
            return cls(**record)
        except TypeError as error:
            raise PruningError(f"not a record of an edit: {record!r} ({error})") from error
