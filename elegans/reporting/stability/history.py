"""Ledger of prune-and-rewire with the names of the neurons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from elegans.errors import InputError
from elegans.pruning import Edit
from elegans.pruning.ledger import REFUSED, REWIRED
from elegans.reporting.stability.content import EditLine, History
from elegans.wiring import Wiring

SLACKS = (
    "cut_slack_before",
    "cut_slack_after",
    "grown_slack_before",
    "grown_slack_after",
)
"""What a certificate's guard notes of an edit: how much each of the two rows has to spare."""


def read_history(ledger: Iterable[Edit | Mapping[str, Any]], wiring: Wiring) -> History:
    """Return the edits of the circuit itself, with names.

    Parameters
    ----------
    ledger
        Edits, or what `Edit.to_dict` made of them, such as `RunFolder.ledger` returns.
    wiring
        The circuit, for the names.

    Raises
    ------
    InputError
        A record names a neuron that the circuit has not.
    PruningError
        A record is none of an edit.
    """
    edits, slacks = [], []
    for record in ledger:
        edit = record if isinstance(record, Edit) else Edit.from_dict(dict(record))
        kind = edit.synapses.rpartition(".")[2]
        sources = wiring.sensory_names if kind == "sensory" else wiring.names
        grown = edit.grown
        notes = edit.to_dict().get("notes", {})
        try:
            line = EditLine(
                edit.step,
                kind,
                sources[edit.source],
                wiring.names[edit.cut],
                None if grown is None else wiring.names[grown],
                edit.polarity,
                edit.weight,
                edit.outcome,
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
    refused = sum(edit.outcome.startswith(REFUSED) for edit in edits)
    return History(
        edits,
        rewired,
        len(edits) - rewired - refused,
        refused,
        sum(any(name in edit.notes for name in SLACKS) for edit in edits),
        min(slacks, default=None),
    )
