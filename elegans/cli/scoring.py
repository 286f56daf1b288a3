"""What commands say of predictions: scores, and those of simple predictions beside them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf

import numpy as np

from elegans.data import Reading, Scales, Sequence
from elegans.data.sequences import Array
from elegans.training.scores import (
    ClassificationScores,
    classification_scores,
    of_sequences,
    regression_scores,
)

_MOST_SHOWN = 12
_CLASS_NAMES = {"mean": "majority class"}


def score_rows(
    reading: Reading,
    scales: Scales,
    answers: SequenceOf[Array],
    sequences: SequenceOf[Sequence],
    baselines: Mapping[str, SequenceOf[Array]] | None = None,
) -> dict[str, str]:
    """Return the scores of answers in words, and which simple predictions are not beaten."""
    if reading.classes:
        return _of_classes(reading, answers, sequences, baselines or {})
    scores = regression_scores(answers, sequences)
    simple = {name: regression_scores(some, sequences).rmse for name, some in _known(baselines)}
    rows = {}
    for k, (name, unit) in enumerate(zip(reading.target_names, scales.targets.unit, strict=True)):
        mse = scores.mse[k]
        rows[f"test {name}" if baselines else name] = (
            f"RMSE {scores.rmse[k]:.6g}, MAE {scores.mae[k]:.6g}, R2 {scores.r2[k]:.4g}; "
            f"mean squared error {mse:.6g}, {mse / unit**2:.4g} in the scaled units of training"
        )
        if simple:
            told = ", ".join(f"{key} {rmse[k]:.6g}" for key, rmse in simple.items())
            better = [key for key, rmse in simple.items() if rmse[k] <= scores.rmse[k]]
            rows[f"baselines {name}"] = f"RMSE of {told}{_not_beaten(better)}"
    return rows


def _of_classes(
    reading: Reading,
    answers: SequenceOf[Array],
    sequences: SequenceOf[Sequence],
    baselines: Mapping[str, SequenceOf[Array]],
) -> dict[str, str]:
    scores = classification_scores(answers, sequences)
    name = reading.targets[0].name
    rows = {f"test {name}" if baselines else name: _told(scores)}
    simple = {
        _CLASS_NAMES.get(key, key): classification_scores(some, sequences, graded=False).accuracy
        for key, some in _known(baselines)
    }
    if simple:
        told = ", ".join(f"{key} {share:.4g}" for key, share in simple.items())
        better = [key for key, share in simple.items() if share >= scores.accuracy]
        rows[f"baselines {name}"] = f"accuracy of {told}{_not_beaten(better)}"
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


def _not_beaten(names: list[str]) -> str:
    return f"; the circuit does not beat: {', '.join(names)}" if names else ""
