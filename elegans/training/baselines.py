"""What simple predictions reach on the same sequences, for a circuit to be compared with."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf

import numpy as np

from elegans.arguments import checked
from elegans.data import Scale, Sequence
from elegans.data.sequences import Array
from elegans.errors import DataError, InputError

RIDGE = 1e-9
"""Weight of the squared coefficients, as a share of the variance of an input."""

_COEFFICIENTS = 2048
_ROWS = 4096
"""Limits of memory: coefficients of a target, and steps that are summed at once."""


@checked(InputError)
def baseline_answers(
    train: SequenceOf[Sequence], test: SequenceOf[Sequence], lags: int, horizon: int = 0
) -> dict[str, list[Array]]:
    r"""Return what simple predictions answer to the test sequences, each (time, target).

    ``"mean"`` answers the mean of the training targets, of classes their shares; ``"last value"``
    the last target that is known at the step, NaN where there is none: the one of `horizon` steps
    before, or of the step before where targets are not ahead. ``"linear"`` is the least-squares fit

    .. math:: \hat y(t) = b + \sum_{k=0}^{K-1} A_k u(t - k)

    to the training sequences, in which the first input stands for all before it, with a ridge of
    1e-9 of the variance of an input; of classes, its largest answer.

    Parameters
    ----------
    train, test
        Sequences in any units, at least one of each.
    lags
        The number K of inputs that the linear prediction looks at, at least 1; fewer where it
        would have more than 2,048 coefficients.
    horizon
        How many steps ahead the targets are.

    Raises
    ------
    DataError
        There are no sequences, or `lags` is below 1.

    Examples
    --------
    >>> ramp = np.arange(6.0)[:, None]
    >>> one = Sequence("ramp", ramp, 2 * ramp + 1, np.ones(6))
    >>> answers = baseline_answers([one], [one], lags=2)
    >>> {name: round(float(answer[0][-1, 0]), 6) for name, answer in answers.items()}
    {'mean': 6.0, 'last value': 9.0, 'linear': 11.0}
    """
    if not train or not test or lags < 1:
        raise DataError(
            f"got {len(train)} and {len(test)} sequences and {lags} lags, expected at least one of "
            "each; give sequences"
        )
    mean = np.concatenate([one.targets[one.is_known] for one in train]).mean(axis=0)
    predict, before = _Linear(train, lags), max(1, horizon)
    last = [np.full_like(one.targets, np.nan) for one in test]
    for answer, one in zip(last, test, strict=True):
        answer[before:] = one.targets[:-before]
    return {
        "mean": [np.tile(mean, (len(one), 1)) for one in test],
        "last value": last,
        "linear": [predict(one) for one in test],
    }


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
            is_known = one.is_known
            for first, seen in self._seen(one):
                asked, known = (some[first : first + _ROWS] for some in (one.targets, is_known))
                seen, asked = (seen, asked) if known.all() else (seen[known], asked[known])
                squares += seen.T @ seen
                products += seen.T @ asked
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
