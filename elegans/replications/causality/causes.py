"""Causes of the risk among logged weights: p-values from series, every choice in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import PruningError
from elegans.replications.causality.corrections import LAG_RULES, TEST_RULES, over_lags, over_tests
from elegans.replications.causality.exponents import (
    ExponentSettings,
    WindowedExponents,
    check_finite_series,
    rounding,
    windowed_exponents,
)
from elegans.replications.causality.granger import STATISTICS, granger_causality
from elegans.replications.causality.stationarity import make_stationary

MOST_LAGS = 14
_SMALLEST_P = 1e-300


class NotStationaryError(PruningError):
    """The risk did not become stationary, so that nothing can be tested against it."""


@dataclass(frozen=True)
class Choices:
    """Every choice between a logged series and a verdict.

    Parameters
    ----------
    exponents
        How windows become exponents; None for `ExponentSettings` with the longest window from 50
        to 250 that leaves at least 60 windows, else 50.
    max_lag
        The most past windows that may matter; None for a tenth of the windows, from 1 to 14.
    statistic
        "f", or "chi2", which is for long series only.
    lags
        How p-values of 1 ... max_lag become one: see `over_lags`.
    tests
        How p-values of all weights are corrected for their number: see `over_tests`.
    alpha
        A corrected p-value below it makes a weight a cause.
    max_differences
        How often series may be differenced to become stationary; None for no such test.
    keep_constant
        Whether weights that hardly change are kept: the published programs gave them p = 0.
    decimals
        Places that p-values of single lags are rounded to; None for no rounding.

    Raises
    ------
    PruningError
        A rule is unknown, or a number out of its range.

    Examples
    --------
    >>> Choices().lags, Choices.published().lags
    ('bonferroni', 'minimum')
    """

    exponents: ExponentSettings | None = None
    max_lag: int | None = None
    statistic: str = "f"
    lags: str = "bonferroni"
    tests: str = "benjamini_hochberg"
    alpha: float = 0.05
    max_differences: int | None = 2
    keep_constant: bool = False
    decimals: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("statistic", STATISTICS),
            ("lags", LAG_RULES),
            ("tests", TEST_RULES),
        ):
            if getattr(self, name) not in allowed:
                raise PruningError(f"got {name}={getattr(self, name)!r}, expected one of {allowed}")
        if not 0 < self.alpha < 1:
            raise PruningError(f"got alpha={self.alpha}, expected a number in (0, 1), such as 0.05")
        if self.max_lag is not None and self.max_lag < 1:
            raise PruningError(f"got max_lag={self.max_lag}, expected at least 1, or None")
        if self.max_differences is not None and self.max_differences < 0:
            raise PruningError(
                f"got max_differences={self.max_differences}, expected at least 0, or None for "
                "no test of stationarity"
            )

    @classmethod
    def published(cls, window: int = 200) -> Choices:
        """Return what the programs of the published work do.

        S(1) - S(0) without a Theiler window; chi-squared tests of 1 ... 14 lags and the smallest of
        their p-values, rounded to four decimals; no correction for the number of weights; no test
        of stationarity (their notebook has one, switched off); tests that cannot be made count as
        causes, constant weights among them. Their risk is that of the test split: what is logged
        is up to the user, see `WeightLog`.

        References
        ----------
        Sahu et al., "To prune or not to prune: a chaos-causality approach to principled pruning of
        dense neural networks", arXiv 2308.09955.
        """
        return cls(
            ExponentSettings.published(window),
            max_lag=MOST_LAGS,
            statistic="chi2",
            lags="minimum",
            tests="none",
            max_differences=None,
            keep_constant=True,
            decimals=4,
        )

    def exponents_for(self, iterates: int) -> ExponentSettings:
        """Return how a series of `iterates` is cut into windows."""
        return self.exponents or ExponentSettings(window=choose_window(iterates))

    def max_lag_for(self, windows: int) -> int:
        """Return the most lags for a series of `windows` exponents."""
        return self.max_lag or min(MOST_LAGS, max(1, windows // 10))


def choose_window(iterates: int, windows: int = 60) -> int:
    """Return the longest window from 50 to 250, in tens, that leaves `windows` of them; else 50.

    Examples
    --------
    >>> choose_window(21_840), choose_window(2_000)
    (250, 50)
    """
    for window in range(250, 50, -10):
        if ExponentSettings(window=window).windows(iterates) >= windows:
            return window
    return 50


@dataclass(frozen=True, eq=False)
class Causes:
    """Findings about each series; arrays have the shape (series,)."""

    p: NDArray[np.float64]
    """p-value over all lags, not corrected for the number of series; NaN where not tested."""
    adjusted: NDArray[np.float64]
    """p-value corrected for the number of series; NaN where not tested."""
    score: NDArray[np.float64]
    """Evidence that the series is a cause, at least 0, low is cut first: see `find_causes`."""
    cause: NDArray[np.bool_]
    """Series that must be kept: significant ones and those that could not be judged."""
    constant: NDArray[np.bool_]
    non_stationary: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    significant: NDArray[np.bool_]
    windows: int
    max_lag: int
    exponents: WindowedExponents = field(repr=False)


def find_causes(series: ArrayLike, risk: ArrayLike, choices: Choices | None = None) -> Causes:
    r"""Test whether the windowed Lyapunov exponents of each series Granger-cause the risk.

    The risk of a window is the one at its last iterate. The score of a tested series is
    :math:`-\log_{10}(p / L)`, with p over all lags and before it is cut off at 1, and L the number
    of lags (1 if their p-values are not multiplied): it orders series as their p-values do.
    Series that are cut for being constant have 0, series that are kept without a test have 1000.

    Parameters
    ----------
    series
        Values of the weights, shape (series, time).
    risk
        Shape (time,).
    choices
        See `Choices`.

    Raises
    ------
    PruningError
        Shapes do not fit, a value is not finite, there are too few iterates for the windows and
        lags, or the risk is constant or never stationary.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> walks = rng.standard_normal((20, 3000)).cumsum(axis=1)
    >>> found = find_causes(walks, rng.standard_normal(3000).cumsum())
    >>> found.windows, found.max_lag, int(found.tested.sum()), int(found.significant.sum())
    (66, 6, 20, 0)
    """
    choices = choices or Choices()
    values, effect = np.asarray(series), np.asarray(risk, dtype=np.float64)
    if values.ndim != 2 or effect.shape != values.shape[1:]:
        raise PruningError(
            f"got series of shape {values.shape} and a risk of shape {effect.shape}, expected "
            "(series, time) and (time,): one risk an iterate"
        )
    check_finite_series("the risk at", effect[None])
    settings = choices.exponents_for(len(effect))
    needed = 3 * choices.max_lag_for(settings.windows(len(effect))) + 2
    needed += choices.max_differences or 0
    if settings.windows(len(effect)) < needed:
        raise PruningError(
            f"got {len(effect)} iterates, which make {settings.windows(len(effect))} windows of "
            f"{settings.window}, expected at least {needed} windows; log more iterates, or take "
            "shorter windows or a smaller max_lag"
        )
    exponents = windowed_exponents(values, settings)
    return judge_exponents(exponents, effect[settings.ends(len(effect))], choices)


def judge_exponents(exponents: WindowedExponents, risk: ArrayLike, choices: Choices) -> Causes:
    """Return the verdict on series of exponents; `risk` has one value a window.

    See `find_causes`, which computes the exponents first.
    """
    effect = np.asarray(risk, dtype=np.float64)
    values, constant = exponents.values, exponents.constant
    if np.ptp(effect) <= rounding(effect):
        raise PruningError(
            f"the risk is {effect[0]} in all {len(effect)} windows, expected one that changes; log "
            "a loss in place of a count of mistakes, judge it by more samples, or log training "
            "from its beginning"
        )
    non_stationary = np.zeros_like(constant)
    if choices.max_differences is not None:
        values, effect, non_stationary = _differenced(values, effect, choices.max_differences)
        non_stationary &= ~constant
    max_lag = choices.max_lag_for(exponents.values.shape[1])
    p = np.full(len(constant), np.nan)
    asked = ~constant & ~non_stationary
    lag_p = granger_causality(values[asked], effect, max_lag, choices.statistic).p
    if choices.decimals is not None:
        lag_p = np.round(lag_p, choices.decimals)
    p[asked] = over_lags(lag_p, choices.lags)
    tested = ~np.isnan(p)
    adjusted = over_tests(np.minimum(p, 1.0), choices.tests)
    significant = np.zeros_like(tested)
    significant[tested] = adjusted[tested] < choices.alpha
    cause = significant | ~(tested | constant)
    if choices.keep_constant:
        cause |= constant
    factor = 1 if choices.lags in ("longest", "minimum") else max_lag
    score = np.where(cause, 1000.0, 0.0)
    score[tested] = -np.log10(np.maximum(p[tested] / factor, _SMALLEST_P))
    return Causes(
        p=np.minimum(p, 1.0),
        adjusted=adjusted,
        score=np.abs(score),
        cause=cause,
        constant=constant,
        non_stationary=non_stationary,
        tested=tested,
        significant=significant,
        windows=exponents.values.shape[1],
        max_lag=max_lag,
        exponents=exponents,
    )


def _differenced(
    values: NDArray[np.float64], effect: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return stationary series, a stationary effect of the same times, and which series failed."""
    target = make_stationary(effect[None], most)
    if target.failed[0]:
        raise NotStationaryError(
            f"the risk is not stationary after {most} differences, expected that its changes "
            "settle; log more iterates, allow more differences, or pass max_differences=None"
        )
    causes = make_stationary(values, most)
    # All keep the times that are left of the one differenced most often.
    cut = max(int(target.differences[0]), int(causes.differences.max(initial=0)))
    return causes.values[:, cut:], target.values[0, cut:], causes.failed
