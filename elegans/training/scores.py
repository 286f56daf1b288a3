"""Scores of predictions under the names that people give them, and classes from logits."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import rankdata

from elegans.data.sequences import Array, Sequence
from elegans.errors import DataError


@dataclass(frozen=True, eq=False)
class RegressionScores:
    """Errors of predicted numbers, each of shape (target,).

    Parameters
    ----------
    mse, mae
        Mean squared and mean absolute error, in the units of the targets.
    r2
        1 - MSE / variance of the truth; NaN where that does not vary.
    """

    mse: Array
    mae: Array
    r2: Array

    @property
    def rmse(self) -> Array:
        """Root of the mean squared error."""
        return np.sqrt(self.mse)


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """Scores of predicted classes.

    Parameters
    ----------
    confusion
        How often a class (row) was taken for another (column), shape (class, class).
    auroc
        Area under the curve of true over false positives, the mean over the classes that are there,
        each against the others; NaN without probabilities.
    """

    confusion: NDArray[np.int64]
    auroc: float

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def f1(self) -> float:
        """The mean over classes of 2 TP / (2 TP + FP + FN); a class that is nowhere has no part."""
        right = self.confusion.diagonal()
        both = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return float(np.mean(2 * right[both > 0] / both[both > 0]))


def regression_scores(
    answers: SequenceOf[Array], sequences: SequenceOf[Sequence]
) -> RegressionScores:
    """Return the errors of answers (time, target), over all steps at which both are known.

    Raises
    ------
    DataError
        There is no such step.

    Examples
    --------
    >>> truth = np.array([[1.0], [2.0], [np.nan]])
    >>> walk = Sequence("walk", np.zeros((3, 1)), truth, np.ones(3))
    >>> scores = regression_scores([np.array([[1.0], [4.0], [9.0]])], [walk])
    >>> scores.mse.tolist(), scores.mae.tolist(), scores.r2.tolist()
    ([2.0], [1.0], [-7.0])
    """
    answer, truth = _known(answers, sequences)
    error = answer - truth
    mse = np.square(error).mean(axis=0)
    variance = truth.var(axis=0)
    varies = variance > 0
    r2 = np.where(varies, 1 - mse / np.where(varies, variance, 1.0), np.nan)
    return RegressionScores(mse, np.abs(error).mean(axis=0), r2)


def classification_scores(
    answers: SequenceOf[Array], sequences: SequenceOf[Sequence], *, graded: bool = True
) -> ClassificationScores:
    """Return the scores of logits, probabilities or votes (time, class); the largest is the answer.

    Parameters
    ----------
    answers
        For each sequence.
    sequences
        With targets of 0 and 1.
    graded
        Whether the answers order the steps, so that there is an area under their curve.

    Raises
    ------
    DataError
        There is no step at which both are known.

    Examples
    --------
    >>> truth = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> walk = Sequence("walk", np.zeros((3, 1)), truth, np.ones(3))
    >>> scores = classification_scores([np.array([[2.0, 1], [0, 3], [1, 0]])], [walk])
    >>> scores.confusion.tolist(), round(scores.accuracy, 3), scores.auroc
    ([[1, 0], [1, 1]], 0.667, 0.75)
    """
    answer, truth = _known(answers, sequences)
    classes = truth.shape[1]
    given, taken = truth.argmax(axis=1), answer.argmax(axis=1)
    confusion = np.bincount(given * classes + taken, minlength=classes**2).reshape(classes, classes)
    areas = [np.nan]
    if graded:
        chance = softmax(answer, axis=1)
        areas = [_area(chance[:, k], given == k) for k in range(classes)]
    known = [area for area in areas if not np.isnan(area)]
    return ClassificationScores(confusion, float(np.mean(known)) if known else float("nan"))


def of_sequences(
    answers: SequenceOf[Array], sequences: SequenceOf[Sequence]
) -> tuple[list[Array], list[Sequence]] | None:
    """Return the mean answer and the class of each sequence; None if one has several classes."""
    means, whole = [], []
    for answer, one in zip(answers, sequences, strict=True):
        if one.label is None:
            return None
        means.append(np.log(softmax(answer, axis=1)).mean(axis=0, keepdims=True))
        first = int(one.is_known.argmax())
        whole.append(one[first : first + 1])
    return means, whole


def _known(answers: SequenceOf[Array], sequences: SequenceOf[Sequence]) -> tuple[Array, Array]:
    """Return answers and targets, (step, target), where both are known."""
    answer = np.concatenate(list(answers)) if len(answers) else np.zeros((0, 1))
    truth = np.concatenate([one.targets for one in sequences]) if len(answer) else answer
    known = ~(np.isnan(answer) | np.isnan(truth)).any(axis=1)
    if not known.any():
        raise DataError(
            "got no step at which both the target and an answer are known, expected at least one; "
            "check the targets of the file"
        )
    return answer[known], truth[known]


def _area(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive has a higher score than a negative, ties counting half."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))
