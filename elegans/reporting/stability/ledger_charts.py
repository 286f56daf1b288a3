"""Charts of rewiring: the ledger as a timeline, and the slack of the rows."""

from __future__ import annotations

import numpy as np

from elegans.pruning.ledger import PRUNED, REFUSED, REWIRED
from elegans.reporting.chart import (
    MUTED,
    PROVED,
    WEAK,
    Array,
    Axis,
    Chart,
    Line,
    Mark,
    Points,
    Symbol,
    segments,
)
from elegans.reporting.stability.content import Content
from elegans.reporting.stability.history import SLACKS, EditLine
from elegans.reporting.wording import short
from elegans.wiring.drawing.colors import SYNAPSE_COLORS

_MOST_ROWS = 40
"""Neurons of a circuit whose names stand at the timeline; those of a larger one are numbered."""


def ledger_chart(content: Content) -> Chart | None:
    """Return the edits over the steps of training, at the neurons that they reach."""
    history, names = content.history, content.names
    if history is None or not history.edits:
        return None
    edits = history.edits
    row = {name: k for k, name in enumerate(names)}
    x = _side_by_side(edits)
    cut = np.array([float(row[edit.cut]) for edit in edits])
    reached = np.array([float(row[edit.grown or edit.cut]) for edit in edits])
    kinds = np.array([_kind(edit) for edit in edits])
    moved = [edit.outcome == REWIRED for edit in edits]
    paths = segments((x, x), (cut, np.where(moved, reached, cut)))
    marks: list[Mark] = [Line(*paths, color="#B9C1C7", width=1.0)]
    looks: dict[str, tuple[str, Symbol]] = {
        "grown excitatory": (SYNAPSE_COLORS["excitatory"], "up"),
        "grown inhibitory": (SYNAPSE_COLORS["inhibitory"], "down"),
        "pruned": (MUTED, "ring"),
        "kept": (MUTED, "tick"),
        "refused": (WEAK, "cross"),
    }
    for kind, (color, symbol) in looks.items():
        chosen = np.flatnonzero(kinds == kind)
        if len(chosen):
            marks.append(
                Points(
                    x[chosen],
                    reached[chosen],
                    color,
                    symbol,
                    size=10,
                    notes=[_note(edits[k]) for k in chosen],
                    label=kind,
                    hover="{note}",
                )
            )
    few = len(names) <= _MOST_ROWS
    return Chart(
        "ledger",
        f"{history.rewired} synapses rewired",
        f"Timeline of {len(edits)} records of rewiring over the steps of the training.",
        "Each mark is a weak synapse, at the neuron where it grew anew; the thin line leads from "
        "the neuron where it was cut. Edits of one step stand side by side.",
        Axis("optimiser step", zero=True),
        Axis(rows=tuple(map(short, names))) if few else Axis("neuron"),
        marks,
        120 + 18 * min(len(names), _MOST_ROWS),
    )


def slack_chart(content: Content) -> Chart | None:
    """Return what the rows had to spare, before and after each edit that was judged."""
    edits = content.history.edits if content.history is not None else []
    marks = []
    looks: dict[str, tuple[str, Symbol]] = {"before": (MUTED, "ring"), "after": (PROVED, "circle")}
    for when, (color, symbol) in looks.items():
        slacks = [
            (edit, name.split("_")[0], slack)
            for edit in edits
            for name in SLACKS
            if name.endswith(when) and (slack := edit.notes.get(name)) is not None
        ]
        if slacks:
            marks.append(
                Points(
                    np.array([float(edit.step) for edit, _, _ in slacks]),
                    np.array([slack for _, _, slack in slacks]),
                    color,
                    symbol,
                    opacity=0.8,
                    notes=[
                        f"{edit.source} → {edit.cut}, row where it was {end}, {edit.outcome}"
                        for edit, end, _ in slacks
                    ],
                    label=when,
                    hover=f"step {{x}}, {when}: {{y}}\n{{note}}",
                )
            )
    if not marks:
        return None
    judged = sum(any(name in edit.notes for name in SLACKS) for edit in edits)
    return Chart(
        "slacks",
        "Row slack before and after each edit",
        f"Row slack before and after {judged} edits.",
        "How much the rows of the two neurons exceeded the certified rate, before and after each "
        "edit; below zero the certificate would not have survived.",
        Axis("optimiser step", zero=True),
        Axis("row slack", zero=True),
        marks,
        280,
    )


def _side_by_side(edits: list[EditLine]) -> Array:
    """Return places (edit,): edits of one step are spread over half of the way to the next."""
    steps, of, count = np.unique(
        [float(edit.step) for edit in edits], return_inverse=True, return_counts=True
    )
    order = np.argsort(of, kind="stable")
    rank = np.empty(len(edits))  # among the edits of the same step
    rank[order] = np.arange(len(edits)) - np.repeat(count.cumsum() - count, count)
    room = 0.5 * min(np.diff(steps), default=1.0)
    return np.asarray(steps[of] + room * ((rank + 0.5) / count[of] - 0.5))


def _kind(edit: EditLine) -> str:
    if edit.outcome == REWIRED:
        return "grown excitatory" if (edit.polarity or 0) > 0 else "grown inhibitory"
    if edit.outcome == PRUNED:
        return "pruned"
    return "refused" if edit.outcome.startswith(REFUSED) else "kept"


def _note(edit: EditLine) -> str:
    change = edit.outcome
    if edit.grown is not None:
        origin = "" if edit.grown_source == edit.source else f"{edit.grown_source} "
        change = f"was cut, {origin}→ {edit.grown} grew"
    if edit.age is not None:
        change += f", {edit.age} steps after it had grown itself"
    return (
        f"step {edit.step}: {edit.source} → {edit.cut}, {change}\n"
        f"conductance was {edit.conductance:.3g}"
    )
