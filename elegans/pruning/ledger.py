"""The ledger of edits: what was cut and grown, what had to stay, and what guards said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from elegans.arguments import shown
from elegans.errors import PruningError
from elegans.pruning.schemas import schema_of, validate

REWIRED = "rewired"
PRUNED = "pruned"
NO_FREE_TARGET = "kept: no free target"
LAST_INPUT = "kept: last input of its target"
REFUSED = "kept: refused"


@dataclass(frozen=True)
class ProposedEdit:
    """An edit that is about to happen: everything a guard needs to judge it.

    The weight in `slot` of `synapses` leads from `source` to `cut`. It would lead from
    `grown_source` to `grown` with fresh values, or be pruned where `grown` is None.

    Examples
    --------
    >>> ProposedEdit(5, "cell.recurrent", 3, source=1, cut=0, old_weight=0.01).is_pruning
    True
    """

    step: int
    synapses: str
    """Dotted name of the set of synapses, such as ``cell.recurrent``, or of the weight matrix."""
    slot: int
    """Slot of the synapse, or index of the entry in the flattened matrix."""
    source: int
    cut: int
    old_weight: float
    grown_source: int | None = None
    grown: int | None = None
    polarity: int | None = None
    weight: float = 0.0
    """Strength that the fresh synapse would have; entries of a matrix without signs grow at 0."""
    values: dict[str, float] = field(default_factory=dict)
    """Further fresh values, for a liquid synapse its ``gain`` and ``centre``."""
    grown_synapses: str | None = None
    """The set of synapses, or the matrix, that it would grow in, where that is another one."""
    grown_slot: int | None = None
    """Slot, or index of the entry, that it would grow in there."""

    @property
    def is_pruning(self) -> bool:
        """Whether nothing would grow."""
        return self.grown is None


@dataclass(frozen=True)
class GuardResult:
    """Answer of a guard to a proposed edit, with figures for the ledger; true if it consents.

    Parameters
    ----------
    accepted
        Whether the edit may happen.
    reason
        Why not, the same words for the same reason: the ledger lists a synapse that is kept again
        for the same reason once.
    notes
        Figures to be noted with the edit, whether it happens or not.

    Examples
    --------
    >>> bool(GuardResult(False, "the rate would fall", {"rate": 0.1}))
    False
    """

    accepted: bool
    reason: str = ""
    notes: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.accepted


Guard = Callable[[ProposedEdit], object]
"""Consents by returning None or anything true; anything false, or a reason as a text, refuses."""


@dataclass(frozen=True)
class Edit:
    """One weight that was to go, and what became of it.

    Examples
    --------
    >>> edit = Edit(50, "cell.recurrent", 4, 1, 4, 2, -1, 0.003, "rewired")
    >>> Edit.from_dict(edit.to_dict()) == edit
    True
    """

    step: int
    synapses: str
    """Dotted name of the set of synapses, such as ``cell.recurrent``, or of the weight matrix."""
    source: int
    cut: int
    """The target it led to."""
    grown_source: int | None
    """The source it leads from now; None where nothing grew."""
    grown: int | None
    """The target it leads to now; None where nothing grew."""
    polarity: int | None
    """The polarity it has now; None where nothing grew, or in a matrix without signs."""
    weight: float
    """Strength that it had."""
    outcome: str
    """``rewired``, ``pruned``, or ``kept:`` and the reason."""
    age: int | None = None
    """Optimiser steps since it grew; None if it was there from the start."""
    notes: dict[str, float] = field(default_factory=dict)
    """Figures of the guards that judged it; see `GuardResult`."""
    grown_synapses: str | None = None
    """The set of synapses, or the matrix, that it is in now, where that is another one."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, ready for JSON, without what is None or empty."""
        record = asdict(self)
        for name in ("age", "grown_synapses"):
            if record[name] is None:
                del record[name]
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
            validate(_record_schema(), record)
        except PruningError as error:
            raise PruningError(
                f"not a record of an edit: {shown(record)} ({error}); pass what to_dict() returned"
            ) from error
        notes = {
            name: -math.inf if value is None else float(value)
            for name, value in record.get("notes", {}).items()
        }
        kept = record["grown"] is None
        source = {"grown_source": None if kept else record["source"]}  # as it always was once
        return cls(**(source | record | {"notes": notes}))


@cache
def _record_schema() -> Any:
    """Return the schema of what `Edit.to_dict` writes."""
    from typing import NotRequired

    from pydantic import FiniteFloat, NonNegativeInt

    neuron = NonNegativeInt | None
    return schema_of(
        step=NonNegativeInt,
        synapses=str,
        source=NonNegativeInt,
        cut=NonNegativeInt,
        grown_source=NotRequired[neuron],
        grown=neuron,
        polarity=int | None,
        weight=FiniteFloat,
        outcome=str,
        age=NotRequired[int | None],
        notes=NotRequired[dict[str, float | None]],
        grown_synapses=NotRequired[str | None],
    )


class Ledger:
    """Edits in the order in which they happened, their counts by outcome, and the guards' word.

    A synapse that is kept again and again for the same reason is listed once and counted each time.
    """

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.counts: Counter[str] = Counter()
        self._last: dict[tuple[str, int, int], str] = {}  # why a synapse was kept last

    def record(self, edit: Edit) -> None:
        """Count an edit and list it."""
        self.counts[edit.outcome.partition(" (")[0]] += 1
        if edit.outcome.startswith("kept"):
            # One look back suffices: what happened to the synapse last.
            place = (edit.synapses, edit.source, edit.cut)
            if self._last.get(place) == edit.outcome:
                return
            self._last[place] = edit.outcome
        self.edits.append(edit)

    def state_dict(self, *, edits: bool = True) -> dict[str, Any]:
        """Return edits, unless they are left out, and counts as plain values."""
        listed = {"ledger": [edit.to_dict() for edit in self.edits]} if edits else {}
        return {**listed, "counts": dict(self.counts)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ledger:
        """Return the ledger that `state_dict` described."""
        ledger = cls()
        ledger.edits = [Edit.from_dict(record) for record in state["ledger"]]
        ledger.counts = Counter({str(k): int(n) for k, n in state["counts"].items()})
        ledger._last = {
            (edit.synapses, edit.source, edit.cut): edit.outcome
            for edit in ledger.edits
            if edit.outcome.startswith("kept")
        }
        return ledger


def ask(
    guards: Sequence[Guard], proposal: ProposedEdit, outcome: str
) -> tuple[str, dict[str, float]]:
    """Return `outcome`, or why a guard refuses, and what the guards note."""
    notes: dict[str, float] = {}
    for guard in guards:
        answer = guard(proposal)
        if isinstance(answer, GuardResult):
            notes |= answer.notes
            if not answer:
                return f"{REFUSED} ({answer.reason})" if answer.reason else REFUSED, notes
        elif isinstance(answer, str):
            return f"{REFUSED} ({answer})" if answer else REFUSED, notes
        elif answer is not None and not answer:
            return REFUSED, notes
    return outcome, notes
