"""Everything that prune-and-rewire did to a circuit, with names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elegans.errors import InputError
from elegans.pruning import Edit
from elegans.pruning.ledger import PRUNED, REFUSED, REWIRED
from elegans.wiring import Wiring

SLACKS = ("cut_slack_before", "cut_slack_after", "grown_slack_before", "grown_slack_after")
"""Notes of a certificate's guard on an edit: the slack of each of the two rows."""


@dataclass(frozen=True)
class EditLine:
    """One line of the ledger, with names."""

    step: int
    kind: str
    """recurrent, sensory or electrical."""
    source: str
    cut: str
    grown_source: str | None
    grown: str | None
    polarity: int | None
    conductance: float
    outcome: str
    age: int | None
    """Optimiser steps since it had grown; None for a synapse from the start."""
    notes: dict[str, float | None]


@dataclass(frozen=True)
class History:
    """Everything that prune-and-rewire did and left alone."""

    edits: list[EditLine]
    rewired: int
    pruned: int
    kept: int
    refused: int
    judged: int
    """Edits that a certificate's guard has judged."""
    least_slack: float | None
    """Least row slack after an edit that happened."""
    churn: float
    """Share of the cuts that hit a synapse that had grown; 0 without cuts."""
    median_age: float | None
    """Median age, in optimiser steps, of the grown synapses that went."""
    grown_share: float
    """Share of the synapses of the circuit that have grown."""


def read_history(ledger: Iterable[Edit | Mapping[str, Any]], wiring: Wiring) -> History:
    """Return the edits of a circuit, or what `Edit.to_dict` made of them, with names.

    Raises `InputError` for a neuron that the circuit has not, `PruningError` for no edit.
    """
    edits, slacks = [], []
    for record in ledger:
        edit = record if isinstance(record, Edit) else Edit.from_dict(dict(record))
        kind = edit.synapses.rpartition(".")[2]
        sources = wiring.sensory_names if kind == "sensory" else wiring.names
        grown, where = edit.grown, edit.grown_synapses or edit.synapses
        origins = wiring.sensory_names if where.endswith("sensory") else wiring.names
        notes = edit.to_dict().get("notes", {})
        try:
            line = EditLine(
                edit.step,
                kind,
                sources[edit.source],
                wiring.names[edit.cut],
                None if edit.grown_source is None else origins[edit.grown_source],
                None if grown is None else wiring.names[grown],
                edit.polarity,
                edit.weight,
                edit.outcome,
                edit.age,
                notes,
            )
        except IndexError as error:
            raise InputError(
                f"got a ledger with {record!r}, expected neurons of this circuit of "
                f"{wiring.units} neurons; pass the ledger of the rewirer of this model"
            ) from error
        edits.append(line)
        if edit.outcome == REWIRED:
            slacks += [
                notes[name] for name in SLACKS if "after" in name and notes.get(name) is not None
            ]
    rewired = sum(edit.outcome == REWIRED for edit in edits)
    pruned = sum(edit.outcome == PRUNED for edit in edits)
    refused = sum(edit.outcome.startswith(REFUSED) for edit in edits)
    went = [edit.age for edit in edits if edit.outcome in (REWIRED, PRUNED)]
    ages = [age for age in went if age is not None]
    synapses = wiring.synapse_count + wiring.sensory_synapse_count + wiring.gap_junction_count
    return History(
        edits,
        rewired,
        pruned,
        len(edits) - rewired - pruned - refused,
        refused,
        sum(any(name in edit.notes for name in SLACKS) for edit in edits),
        min(slacks, default=None),
        len(ages) / max(1, len(went)),
        float(np.median(ages)) if ages else None,
        (rewired - len(ages)) / max(1, synapses),
    )
