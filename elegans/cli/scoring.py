"""What commands say of predictions: scores, and those of simple predictions beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf

import numpy as np

from elegans.data import Reading, Scales, Sequence
from elegans.data.sequences import Array
from elegans.reporting.stability.task import TaskScore
from elegans.training.scores import (
    ClassificationScores,
    classification_scores,
    of_sequences,
    regression_scores,
)

_MOST_SHOWN = 12
_CLASS_NAMES = {"mean": "majority class"}


def task_scores(
    names: SequenceOf[str],
    units: Iterable[float],
    answers: SequenceOf[Array],
    sequences: SequenceOf[Sequence],
    baselines: Mapping[str, SequenceOf[Array]] | None = None,
    *,
    classes: bool = False,
) -> tuple[TaskScore, ...]:
    """Return the score of each target, named and with its deviation, and of simple predictions."""
    known = _known(baselines)
    if classes:
        simple = {
            _CLASS_NAMES.get(key, key): classification_scores(
                some, sequences, graded=False
            ).accuracy
            for key, some in known
        }
        accuracy = classification_scores(answers, sequences).accuracy
        return (TaskScore(names[0], "accuracy", accuracy, simple),)
    errors = regression_scores(answers, sequences).rmse
    others = {key: regression_scores(some, sequences).rmse for key, some in known}
    return tuple(
        TaskScore(
            name,
            "RMSE",
            float(errors[k]),
            {key: float(rmse[k]) for key, rmse in others.items()},
            float(unit),
        )
        for k, (name, unit) in enumerate(zip(names, units, strict=True))
    )


def score_rows(
    reading: Reading,
    scales: Scales,
    answers: SequenceOf[Array],
    sequences: SequenceOf[Sequence],
    baselines: Mapping[str, SequenceOf[Array]] | None = None,
) -> dict[str, str]:
    """Return the scores of answers in words, and which simple predictions are not beaten."""
    if reading.classes:
        return _of_classes(reading, answers, sequences, baselines)
    scores = regression_scores(answers, sequences)
    tasks = task_scores(reading.target_names, scales.targets.unit, answers, sequences, baselines)
    rows = {}
    for k, task in enumerate(tasks):
        name, mse = task.target, scores.mse[k]
        rows[f"test {name}" if baselines else name] = (
            f"RMSE {scores.rmse[k]:.6g}, MAE {scores.mae[k]:.6g}, R2 {scores.r2[k]:.4g}; "
            f"mean squared error {mse:.6g}, {mse / task.unit**2:.4g} in the scaled units of "
            "training"
        )
        if task.baselines:
            told = ", ".join(f"{key} {rmse:.6g}" for key, rmse in task.baselines.items())
            rows[f"baselines {name}"] = f"RMSE of {told}{_not_beaten(task.unbeaten)}"
    return rows


def _of_classes(
    reading: Reading,
    answers: SequenceOf[Array],
    sequences: SequenceOf[Sequence],
    baselines: Mapping[str, SequenceOf[Array]] | None,
) -> dict[str, str]:
    scores = classification_scores(answers, sequences)
    name = reading.targets[0].name
    rows = {f"test {name}" if baselines else name: _told(scores)}
    (task,) = task_scores((name,), (1.0,), answers, sequences, baselines, classes=True)
    if task.baselines:
        told = ", ".join(f"{key} {share:.4g}" for key, share in task.baselines.items())
        rows[f"baselines {name}"] = f"accuracy of {told}{_not_beaten(task.unbeaten)}"
    whole = of_sequences(answers, sequences)
    if whole is not None and len(whole[0]) > 1:
        rows["by sequence"] = _told(classification_scores(*whole)) + " (mean of log probabilities)"
    if len(reading.classes) <= _MOST_SHOWN:
        rows["confusion"] = "rows are the truth, columns the answers"
        width = max(len(word) for word in reading.classes)
        for word, counts in zip(reading.classes, scores.confusion, strict=True):
            rows[f"  {word:<{width}}"] = " ".join(f"{count:>6}" for count in counts)
    return rows


def _told(scores: ClassificationScores) -> str:
    area = "" if np.isnan(scores.auroc) else f", AUROC {scores.auroc:.4g}"
    return f"accuracy {scores.accuracy:.4g}, F1 {scores.f1:.4g}{area}"


def _known(
    baselines: Mapping[str, SequenceOf[Array]] | None,
) -> list[tuple[str, SequenceOf[Array]]]:
    """Return the predictions that answer at all: none is before the first step."""
    return [
        (name, some)
        for name, some in (baselines or {}).items()
        if any(not np.isnan(one).all() for one in some)
    ]


def _not_beaten(names: SequenceOf[str]) -> str:
    return f"; the circuit does not beat: {', '.join(names)}" if names else ""
