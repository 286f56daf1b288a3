"""Chart of the error at the task, beside that of simple predictions."""

from __future__ import annotations

import numpy as np

from elegans.reporting.chart import MUTED, SEEN, VERMILION, Axis, Chart, Mark, Points, Symbol
from elegans.reporting.stability.content import Content
from elegans.reporting.wording import number, short

_MOST_ROWS = 40
_SYMBOLS: tuple[Symbol, ...] = ("ring", "up", "down", "tick", "cross")


def task_chart(content: Content) -> Chart | None:
    """Return the scores of the circuit and of simple predictions, a row for each target."""
    task = content.task
    if task is None:
        return None
    scores = task.scores[:_MOST_ROWS]
    accuracy = scores[0].measure == "accuracy"
    names = list(dict.fromkeys(name for score in scores for name in score.baselines))
    rows = np.arange(len(scores), dtype=np.float64)
    marks: list[Mark] = []
    for k, name in enumerate(names):
        values = np.array([s.baselines.get(name, np.nan) / s.unit for s in scores])
        notes = [number(s.baselines.get(name)) for s in scores]
        marks.append(
            Points(
                values,
                rows,
                MUTED,
                _SYMBOLS[k % len(_SYMBOLS)],
                size=11,
                notes=notes,
                label=name,
                hover=f"{{y}}\n{name}: {{note}}",
            )
        )
    marks.append(
        Points(
            np.array([score.circuit / score.unit for score in scores]),
            rows,
            [VERMILION if score.unbeaten else SEEN for score in scores],
            size=12,
            notes=[number(score.circuit) for score in scores],
            texts=[number(score.circuit) for score in scores],
            label="the circuit",
            hover="{y}\nthe circuit: {note}",
        )
    )
    better = "right" if accuracy else "left"
    shown = [v for mark in marks if isinstance(mark, Points) for v in mark.x if v == v]
    most = max(shown, default=1.0) or 1.0
    of = "share of right answers" if accuracy else "RMSE, in deviations of the target"
    taken = "" if len(scores) == len(task.scores) else f" ({len(scores)} of {len(task.scores)})"
    return Chart(
        "task",
        f"{scores[0].measure} on {task.part}{taken}",
        "Dot chart of the errors: "
        + "; ".join(f"{score.target} {number(score.circuit)}" for score in scores[:8]),
        f"Further to the {better} is better; the number is that of the circuit, in the unit of the "
        "target. A circuit that a simple prediction equals or beats is drawn in vermilion.",
        Axis(of, range=(-0.03 * most, 1.1 * most), zero=True),
        Axis(rows=tuple(short(score.target) for score in scores)),
        marks,
        130 + 40 * len(scores),
    )
