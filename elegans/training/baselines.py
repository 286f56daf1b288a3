"""What simple predictions reach on the same sequences, for a circuit to be compared with."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf

import numpy as np
from numpy.typing import NDArray

from elegans.data import Scale, Sequence
from elegans.data.sequences import Array
from elegans.errors import DataError

RIDGE = 1e-9
"""Weight of the squared coefficients, as a share of the variance of an input."""

_COEFFICIENTS = 2048
_ROWS = 4096
"""Limits of memory: coefficients of a target, and steps that are summed at once."""


def baseline_errors(
    train: SequenceOf[Sequence], test: SequenceOf[Sequence], lags: int
) -> dict[str, NDArray[np.float64]]:
    r"""Return the mean squared errors of simple predictions, each of shape (target,).

    ``"mean"`` answers the mean of the training targets; ``"last value"`` the target of the step
    before, which is known where the future of a target is asked for, and whose own first step does
    not count; ``"linear"`` is the least-squares fit

    .. math:: \hat y(t) = b + \sum_{k=0}^{K-1} A_k u(t - k)

    to the training sequences, in which the first input stands for all before it, with a ridge of
    1e-9 of the variance of an input.

    Parameters
    ----------
    train, test
        Sequences in any units, at least one of each.
    lags
        The number K of inputs that the linear prediction looks at, at least 1; fewer where it
        would have more than 2,048 coefficients.

    Raises
    ------
    DataError
        There are no sequences, or `lags` is below 1.

    Examples
    --------
    >>> ramp = np.arange(6.0)[:, None]
    >>> one = Sequence("ramp", ramp, 2 * ramp + 1, np.ones(6))
    >>> errors = baseline_errors([one], [one], lags=2)
    >>> {name: round(float(error[0]), 6) for name, error in errors.items()}
    {'mean': 11.666667, 'last value': 4.0, 'linear': 0.0}
    """
    if not train or not test or lags < 1:
        raise DataError(
            f"got {len(train)} and {len(test)} sequences and {lags} lags, expected at least one of "
            "each; give sequences"
        )
    mean = np.concatenate([one.targets for one in train]).mean(axis=0)
    predict = _Linear(train, lags)
    steps = [np.diff(one.targets, axis=0) for one in test]
    return {
        "mean": _mean_square([mean - one.targets for one in test]),
        "last value": _mean_square(steps),
        "linear": _mean_square([predict(one) - one.targets for one in test]),
    }


def _mean_square(errors: list[Array]) -> Array:
    """Return the mean of squares over all rows; NaN without a row."""
    rows = np.concatenate(errors)
    return np.square(rows).mean(axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


class _Linear:
    """The least-squares prediction from the last inputs; sums are taken sequence by sequence."""

    def __init__(self, sequences: SequenceOf[Sequence], lags: int) -> None:
        inputs = sequences[0].inputs.shape[1]
        self._lags = max(1, min(lags, _COEFFICIENTS // inputs))
        self._scale = Scale.standard(one.inputs for one in sequences)
        width = 1 + self._lags * inputs
        squares = np.zeros((width, width))
        products = np.zeros((width, sequences[0].targets.shape[1]))
        for one in sequences:
            for first, seen in self._seen(one):
                squares += seen.T @ seen
                products += seen.T @ one.targets[first : first + _ROWS]
        # The constant is not held back: targets may lie anywhere.
        squares[range(1, width), range(1, width)] += RIDGE * sum(map(len, sequences))
        self._coefficients = np.linalg.solve(squares, products)

    def _seen(self, one: Sequence) -> Iterator[tuple[int, Array]]:
        """Iterate over parts: the first step, and a one and the last inputs, (step, number)."""
        scaled = self._scale.apply(one.inputs)
        for first in range(0, len(one), _ROWS):
            step = np.arange(first, min(first + _ROWS, len(one)))[:, None] - np.arange(self._lags)
            rows = scaled[np.maximum(step, 0)].reshape(len(step), -1)
            yield first, np.concatenate([np.ones((len(step), 1)), rows], axis=1)

    def __call__(self, one: Sequence) -> Array:
        """Return the predictions of a sequence, (time, target)."""
        return np.concatenate([seen @ self._coefficients for _, seen in self._seen(one)])
