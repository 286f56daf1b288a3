"""What simple predictions reach on the same sequences, for a circuit to be compared with."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import numpy as np
from numpy.typing import NDArray

from elegans.data import Sequence
from elegans.data.sequences import Array
from elegans.errors import DataError

RIDGE = 1e-6
"""Weight of the squared coefficients, as a share of the variance of an input."""


def baseline_errors(
    train: SequenceOf[Sequence], test: SequenceOf[Sequence], lags: int
) -> dict[str, NDArray[np.float64]]:
    r"""Return the mean squared errors of simple predictions, each of shape (target,).

    ``"mean"`` answers the mean of the training targets; ``"last value"`` the target of the step
    before, which is known where the future of a target is asked for, and whose own first step does
    not count; ``"linear"`` is the least-squares fit

    .. math:: \hat y(t) = b + \sum_{k=0}^{K-1} A_k u(t - k)

    to the training sequences, in which the first input stands for all before it.

    Parameters
    ----------
    train, test
        Sequences in any units, at least one of each.
    lags
        The number K of inputs that the linear prediction looks at, at least 1.

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
        self._lags = lags
        rows = np.concatenate([one.inputs for one in sequences])
        self._origin = rows.mean(axis=0)
        spread = rows.std(axis=0)
        self._unit = np.where(spread > 0, spread, 1.0)
        width = 1 + lags * rows.shape[1]
        squares = np.zeros((width, width))
        products = np.zeros((width, sequences[0].targets.shape[1]))
        for one in sequences:
            seen = self._seen(one)
            squares += seen.T @ seen
            products += seen.T @ one.targets
        # The constant is not held back: targets may lie anywhere.
        squares[range(1, width), range(1, width)] += RIDGE * len(rows)
        self._coefficients = np.linalg.solve(squares, products)

    def _seen(self, one: Sequence) -> Array:
        """Return a one and the last inputs, scaled, of each step: (time, 1 + lags x input)."""
        scaled = (one.inputs - self._origin) / self._unit
        step = np.arange(len(one))[:, None] - np.arange(self._lags)
        seen = scaled[np.maximum(step, 0)].reshape(len(one), -1)
        return np.concatenate([np.ones((len(one), 1)), seen], axis=1)

    def __call__(self, one: Sequence) -> Array:
        """Return the predictions of a sequence, (time, target)."""
        answer: Array = self._seen(one) @ self._coefficients
        return answer
