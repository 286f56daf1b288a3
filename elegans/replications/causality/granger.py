"""Granger's test of thousands of causes of one effect.

All causes share the regression of the effect on its own past. What it leaves is regressed on what
it leaves of each cause, in one batch of orthogonal factorisations a lag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from elegans.errors import PruningError
from elegans.replications.causality.exponents import check_finite_series, rounding

STATISTICS = ("f", "chi2")
_NUMBERS = 1 << 22  # numbers in a batch of factorisations: 32 MB


@dataclass(frozen=True, eq=False)
class GrangerResult:
    """Statistics and p-values, shape (series, lag); lags are 1, 2, ..."""

    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    """NaN where the test cannot be made: the regressors are dependent, or the fit is perfect."""


def granger_causality(
    series: ArrayLike, effect: ArrayLike, max_lag: int, statistic: str = "f"
) -> GrangerResult:
    r"""Test whether the past of each series helps to predict `effect`, for each number of lags.

    For p = 1 ... max_lag the effect y is regressed on a constant and p of its own past values, and
    on p past values of the series x besides:

    .. math::
        y_t = c + \sum_{l=1}^p a_l y_{t-l} + \sum_{l=1}^p b_l x_{t-l} + e_t, \qquad b = 0\ ?

    With the sums of squared residuals R without and U with x, and n = time - p observations,

    .. math::
        F = \frac{(R - U) / p}{U / (n - 2p - 1)} \sim F(p, n - 2p - 1), \qquad
        \chi^2 = n \frac{R - U}{U} \sim \chi^2(p) .

    The second holds for long series only: for short ones its p-values are too small.

    Parameters
    ----------
    series
        Possible causes, shape (series, time).
    effect
        The one effect, shape (time,).
    max_lag
        The largest number p of lags.
    statistic
        "f" or "chi2".

    Raises
    ------
    PruningError
        Shapes do not fit, a value is not finite, the effect is constant or the series are not
        longer than 3 max_lag + 1.

    References
    ----------
    Granger, Econometrica 37 (1969) 424. Hamilton, Time Series Analysis, 1994, section 11.2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 100))
    >>> y = np.concatenate([[0.0], x[0, :-1]]) + rng.standard_normal(100)
    >>> (granger_causality(x, y, max_lag=3).p < 0.01).tolist()
    [[True, True, True], [False, False, False]]
    """
    x = np.asarray(series, dtype=np.float64)
    y = np.asarray(effect, dtype=np.float64)
    if statistic not in STATISTICS:
        raise PruningError(f"got the statistic {statistic!r}, expected one of {STATISTICS}")
    if x.ndim != 2 or y.shape != x.shape[1:]:
        raise PruningError(
            f"got series of shape {x.shape} and an effect of shape {y.shape}, expected "
            "(series, time) and (time,), equally long"
        )
    time = len(y)
    if max_lag < 1 or time <= 3 * max_lag + 1:
        raise PruningError(
            f"got max_lag={max_lag} for {time} values, expected 1 to {max(0, (time - 2) // 3)}; "
            "take fewer lags, shorter windows, or log more iterates"
        )
    check_finite_series("series", x)
    check_finite_series("the effect", y)
    if np.ptp(y) <= rounding(y):
        raise PruningError(
            f"the effect is {y[0]} throughout, expected one that changes; log a loss in place of "
            "a count of mistakes, more samples to judge it by, or an earlier part of training"
        )
    # Neither scale nor origin matters; near 1 and 0 they cost no digits.
    scale = x.std(axis=1, keepdims=True)
    x = (x - x.mean(axis=1, keepdims=True)) / np.where(scale > 0, scale, 1.0)
    y = (y - y.mean()) / y.std()
    values, p = np.full((2, len(x), max_lag), np.nan)
    for lags in range(1, max_lag + 1):
        gained, left = _sums_of_squares(x, y, lags)
        n, free = time - lags, time - 3 * lags - 1
        ratio = gained / left
        if statistic == "f":
            values[:, lags - 1] = ratio * free / lags
            p[:, lags - 1] = stats.f.sf(values[:, lags - 1], lags, free)
        else:
            values[:, lags - 1] = ratio * n
            p[:, lags - 1] = stats.chi2.sf(values[:, lags - 1], lags)
    return GrangerResult(values, p)


def _lagged(x: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Return the values 1 ... `lags` before each, shape (..., time - lags, lag)."""
    return sliding_window_view(x[..., :-1], lags, axis=-1)[..., ::-1]


def _sums_of_squares(
    x: NDArray[np.float64], y: NDArray[np.float64], lags: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return R - U and U for each series, NaN where its past is dependent, shape (series,)."""
    n = len(y) - lags
    shared, _ = np.linalg.qr(np.column_stack([np.ones(n), _lagged(y, lags)]))  # (time, 1 + lag)
    target = y[lags:] - shared @ (shared.T @ y[lags:])
    gained, left = np.full((2, len(x)), np.nan)
    total = float(((y[lags:] - y[lags:].mean()) ** 2).sum())
    together = max(1, _NUMBERS // (n * (lags + 1)))
    for begin in range(0, len(x), together):
        own = _lagged(x[begin : begin + together], lags)  # (series, time, lag)
        table = np.empty((*own.shape[:2], lags + 1))
        table[..., :lags] = own - shared @ (shared.T @ own)
        table[..., lags] = target
        before = np.sqrt((own * own).sum(axis=1))  # (series, lag)
        # With [X y] = QR, the last column of R holds the fit, and in its last row the residual.
        upper = torch.linalg.qr(torch.from_numpy(table), mode="r").R.numpy()
        pivot = np.abs(np.diagonal(upper, axis1=1, axis2=2)[:, :lags])
        independent = (pivot > n * np.finfo(np.float64).eps * before).all(axis=1)
        residual = upper[:, lags, lags] ** 2
        fit = (upper[:, :lags, lags] ** 2).sum(axis=1)
        good = independent & (residual > np.finfo(np.float64).eps * total)
        part = slice(begin, begin + together)
        gained[part] = np.where(good, fit, np.nan)
        left[part] = np.where(good, residual, np.nan)
    return gained, left
