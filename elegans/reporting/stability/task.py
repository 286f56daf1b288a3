"""Error of a circuit at its task, beside that of simple predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TaskScore:
    """How well one target was predicted, by the circuit and by simple predictions.

    Parameters
    ----------
    target
        Its name.
    measure
        ``"RMSE"``, in the unit of the target, or ``"accuracy"``, of classes.
    circuit
        The score of the circuit.
    baselines
        Those of simple predictions, by name; empty where they are not known.
    unit
        Deviation of the target in training, by which errors can be compared; 1 for classes.

    Examples
    --------
    >>> score = TaskScore("depth", "RMSE", 0.3, {"mean": 0.5, "linear": 0.2})
    >>> score.unbeaten, score.best
    (('linear',), 'linear')
    """

    target: str
    measure: Literal["RMSE", "accuracy"]
    circuit: float
    baselines: dict[str, float]
    unit: float = 1.0

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """Names of the simple predictions that are at least as good."""
        larger_is_better = self.measure == "accuracy"
        return tuple(
            name
            for name, score in self.baselines.items()
            if (score >= self.circuit if larger_is_better else score <= self.circuit)
        )

    @property
    def best(self) -> str | None:
        """The best of the simple predictions."""
        if not self.baselines:
            return None
        choose = max if self.measure == "accuracy" else min
        return choose(self.baselines, key=lambda name: self.baselines[name])


@dataclass(frozen=True)
class Task:
    """The scores of all targets.

    Parameters
    ----------
    part
        Which sequences they are about, in words.
    scores
        One of each target, at least one.
    """

    part: str
    scores: tuple[TaskScore, ...]

    @property
    def compared(self) -> bool:
        """Whether there are simple predictions to compare with."""
        return any(score.baselines for score in self.scores)

    @property
    def beaten_by(self) -> tuple[str, ...]:
        """Names of the simple predictions that are at least as good at some target."""
        return tuple(dict.fromkeys(name for score in self.scores for name in score.unbeaten))
