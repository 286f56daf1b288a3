"""Records of edits by prune-and-rewire, and of weak synapses that it kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from elegans.errors import PruningError

REWIRED = "rewired"
NO_FREE_TARGET = "kept: no free target"
LAST_INPUT = "kept: last input of its target"
REFUSED = "kept: refused"


@dataclass(frozen=True)
class ProposedEdit:
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
class GuardResult:
    """What a guard thinks of a proposal, with figures for the ledger; true if it consents.

    Parameters
    ----------
    accepted
        Whether the edit may happen.
    reason
        Why not, the same words for the same reason: the ledger lists a synapse that is kept again
        for the same reason once.
    notes
        Figures to be noted with the edit, whether it happens or not.
    """

    accepted: bool
    reason: str = ""
    notes: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.accepted


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
    notes: dict[str, float] = field(default_factory=dict)
    """Figures of the guards that judged it; see `GuardResult`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, ready for JSON; without notes if there are none."""
        record = asdict(self)
        if not self.notes:
            del record["notes"]
        # A test that a box fails has the slack minus infinity, for which JSON has no number.
        elif not all(map(math.isfinite, self.notes.values())):
            record["notes"] = {k: v if math.isfinite(v) else None for k, v in self.notes.items()}
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Edit:
        """Return the edit that `to_dict` wrote."""
        try:
            notes = {
                name: -math.inf if value is None else float(value)
                for name, value in record.get("notes", {}).items()
            }
            return cls(**(record | {"notes": notes}))
        except (AttributeError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a record of an edit: {record!r} ({error}); pass what to_dict() returned"
            ) from error
