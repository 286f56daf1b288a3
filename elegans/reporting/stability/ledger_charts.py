"""Charts of rewiring: the ledger as a timeline, and the slack of the rows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from elegans.pruning.ledger import REFUSED, REWIRED
from elegans.reporting.figures import MUTED
from elegans.reporting.stability.content import Content, EditLine
from elegans.reporting.stability.history import SLACKS
from elegans.reporting.stability.palette import PROVED, WEAK, layout
from elegans.reporting.stability.traces import MOST_ROWS, Chart, literal, names_axis, short
from elegans.wiring.drawing.circuit import SYNAPSE_COLORS


def draw_ledger(content: Content) -> Chart | None:
    """Return the edits over the steps of training, at the neurons that they reach."""
    history = content.history
    if history is None or not history.edits:
        return None
    kinds = (
        ("grown excitatory", SYNAPSE_COLORS["excitatory"], "triangle-up"),
        ("grown inhibitory", SYNAPSE_COLORS["inhibitory"], "triangle-down"),
        ("kept", MUTED, "line-ns-open"),
        ("refused", WEAK, "x-thin-open"),
    )
    order = {name: k for k, name in enumerate(content.names)}
    at = side_by_side(history.edits)
    data: list[dict[str, Any]] = []
    paths = [edit for edit in history.edits if edit.outcome == REWIRED and edit.grown is not None]
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": [value for edit in paths for value in (at[id(edit)], at[id(edit)], None)],
            "y": [
                value
                for edit in paths
                for value in (order[edit.cut], order[edit.grown or edit.cut], None)
            ],
            "line": {"color": "#B9C1C7", "width": 1},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    for name, color, symbol in kinds:
        mine = [edit for edit in history.edits if _kind(edit.outcome, edit.polarity) == name]
        if not mine:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [at[id(edit)] for edit in mine],
                "y": [order[edit.grown or edit.cut] for edit in mine],
                "marker": {
                    "size": 9,
                    "color": color,
                    "symbol": symbol,
                    "line": {"color": color, "width": 2},
                },
                "text": [
                    f"<b>step {edit.step}</b><br>{literal(edit.source)} → "
                    + (
                        f"{literal(edit.cut)} was cut, → {literal(edit.grown)} grew"
                        if edit.grown is not None
                        else f"{literal(edit.cut)}, {literal(edit.outcome)}"
                    )
                    + f"<br>conductance was {edit.conductance:.3g}"
                    for edit in mine
                ],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    if len(order) <= MOST_ROWS:
        names = [literal(short(name)) for name in order]
        axis = names_axis(names) | {
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "categoryarray": None,
            "categoryorder": None,
            "type": "linear",
            "zeroline": False,
        }
        axis = {name: value for name, value in axis.items() if value is not None}
    else:
        axis = {"title": {"text": "neuron"}}
    return Chart(
        "ledger",
        f"Timeline of {len(history.edits)} records of rewiring over the steps of the training.",
        "Each mark is a weak synapse, at the neuron where it grew anew; the thin line leads from "
        "the neuron where it was cut. Edits of one step stand side by side.",
        {
            "data": data,
            "layout": layout(
                120 + 18 * min(len(order), MOST_ROWS),
                xaxis={"title": {"text": "optimiser step"}, "rangemode": "tozero"},
                yaxis=axis,
                hovermode="closest",
                margin={"t": 44},
            ),
        },
    )


def draw_slacks(content: Content) -> Chart | None:
    """Return what the rows had to spare, before and after each edit that was judged."""
    history = content.history
    judged = [
        (edit, [edit.notes.get(name) for name in SLACKS])
        for edit in (history.edits if history is not None else [])
        if any(name in edit.notes for name in SLACKS)
    ]
    if not judged:
        return None
    data = []
    for which, label, color, symbol in (
        (("before",), "before", MUTED, "circle-open"),
        (("after",), "after", PROVED, "circle"),
    ):
        points = [
            (edit.step, value, name.split("_")[0], edit)
            for edit, _ in judged
            for name in SLACKS
            if name.endswith(which) and (value := edit.notes.get(name)) is not None
        ]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": [step for step, _, _, _ in points],
                "y": [float(f"{value:.5g}") for _, value, _, _ in points],
                "marker": {"size": 8, "color": color, "symbol": symbol, "opacity": 0.8},
                "text": [
                    f"{literal(edit.source)} → {literal(edit.cut)}, row where it was {end}, "
                    f"{literal(edit.outcome)}"
                    for _, _, end, edit in points
                ],
                "hovertemplate": f"step %{{x}}, {label}: %{{y}}<br>%{{text}}<extra></extra>",
            }
        )
    return Chart(
        "slacks",
        f"Row slack before and after {len(judged)} edits.",
        "How much the rows of the two neurons exceeded the certified rate, before and after each "
        "edit; below zero the certificate would not have survived.",
        {
            "data": data,
            "layout": layout(
                280,
                xaxis={"title": {"text": "optimiser step"}, "rangemode": "tozero"},
                yaxis={"title": {"text": "row slack"}, "rangemode": "tozero"},
                margin={"t": 36},
            ),
        },
    )


def side_by_side(edits: list[EditLine]) -> dict[int, float]:
    """Return where each edit stands: those of one step are spread over half of the way to the next.

    The keys are identities, because equal edits may occur.
    """
    steps = sorted({edit.step for edit in edits})
    gaps = [after - before for before, after in pairwise(steps)]
    room = 0.5 * min(gaps, default=1)
    count, placed = Counter(edit.step for edit in edits), {}
    so_far: Counter[int] = Counter()
    for edit in edits:
        shift = (so_far[edit.step] + 0.5) / count[edit.step] - 0.5
        placed[id(edit)] = float(f"{edit.step + room * shift:.7g}")
        so_far[edit.step] += 1
    return placed


def _kind(outcome: str, polarity: int | None) -> str:
    if outcome == REWIRED:
        return "grown excitatory" if (polarity or 0) > 0 else "grown inhibitory"
    return "refused" if outcome.startswith(REFUSED) else "kept"
