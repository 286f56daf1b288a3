"""Means over seeds with their deviations, and differences between two trials of the same seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from elegans.errors import PruningError


@dataclass(frozen=True)
class Spread:
    r"""Mean and standard deviation of a figure over independent runs.

    .. math:: \bar x = \frac1n \sum x_k, \quad s^2 = \frac1{n-1} \sum (x_k - \bar x)^2

    Parameters
    ----------
    mean
        In the unit of the figure.
    deviation
        Standard deviation s of the runs, NaN for a single one.
    count
        Number of runs n.

    Examples
    --------
    >>> Spread.of([0.40, 0.36, 0.38])
    Spread(mean=0.38, deviation=0.02, count=3)
    >>> print(Spread.of([0.40, 0.36, 0.38]))
    0.380 ± 0.020
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of `values`, rounded to twelve digits.

        Raises
        ------
        PruningError
            There is no value, or one is not finite.
        """
        numbers = _finite(values)
        deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
        return cls(float(f"{numbers.mean():.12g}"), float(f"{deviation:.12g}"), len(numbers))

    @property
    def standard_error(self) -> float:
        """The standard deviation of the mean itself, s / sqrt(n)."""
        return self.deviation / math.sqrt(self.count)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the mean by Student's t with n - 1 degrees."""
        reach = stats.t.ppf((1 + level) / 2, self.count - 1) * self.standard_error
        return self.mean - float(reach), self.mean + float(reach)

    def __str__(self) -> str:
        if self.count == 1:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference of two trials that share their seeds, with its interval.

    What varies with the seed alone (initialisation, split, order of batches) is the same in both
    trials of a pair and cancels, so that the interval is narrower than that of two samples.

    Parameters
    ----------
    mean
        Mean of first less second, in the unit of the figure.
    low, high
        Ends of the confidence interval of the mean, by Student's t over the pairs.
    level
        Probability of the interval.
    count
        Number of pairs.
    """

    mean: float
    low: float
    high: float
    level: float
    count: int

    @classmethod
    def of(
        cls, first: Iterable[float], second: Iterable[float], level: float = 0.95
    ) -> PairedDifference:
        """Return the paired difference of two figures of the same seeds.

        Raises
        ------
        PruningError
            There are fewer than two pairs, the lengths differ, a value is not finite, or the level
            is not between 0 and 1.

        Examples
        --------
        >>> print(PairedDifference.of([1.2, 2.1, 3.3], [1.0, 2.0, 3.0]))
        +0.200 [-0.048, +0.448]
        """
        minuend, subtrahend = _finite(first), _finite(second)
        if len(minuend) != len(subtrahend) or len(minuend) < 2:
            raise PruningError(
                f"got {len(minuend)} and {len(subtrahend)} values, expected the same "
                "number of at least two; run both trials with the same seeds"
            )
        if not 0 < level < 1:
            raise PruningError(f"got level = {level}, expected it between 0 and 1; use 0.95")
        difference = Spread.of(minuend - subtrahend)
        return cls(difference.mean, *difference.interval(level), level, len(minuend))

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, float]:
        """Return the fields as plain numbers."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def _finite(values: Iterable[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers = np.array(list(values), dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise PruningError(
            f"got values {numbers[:5].tolist()}, expected at least one, all finite; a run that "
            "diverged has no mean, so lower its learning rate"
        )
    return numbers
