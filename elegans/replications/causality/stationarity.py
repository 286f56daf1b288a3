"""The augmented Dickey-Fuller test of thousands of series, and their differences.

Granger's test takes for granted that cause and effect are stationary: two independent random walks
"cause" each other far too often.
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

# MacKinnon, Journal of Business & Economic Statistics 12 (1994) 167, table 3: one series, with a
# constant. The p-value is Phi(polynomial of the statistic), one polynomial for each tail.
_LEFT = (2.1659, 1.4412, 0.038269)
_RIGHT = (1.7339, 0.93202, -0.12745, -0.010368)
_BETWEEN, _LOWEST, _HIGHEST = -1.61, -18.83, 2.74
_BLOCK = 1 << 22  # numbers in a batch of factorisations: 32 MB


def unit_root_p(statistic: ArrayLike) -> NDArray[np.float64]:
    """Return MacKinnon's p-value of a Dickey-Fuller statistic, with a constant.

    References
    ----------
    MacKinnon, "Approximate asymptotic distribution functions for unit-root and cointegration
    tests", Journal of Business & Economic Statistics 12 (1994) 167, table 3.

    Examples
    --------
    The critical values at 1, 5 and 10 % for long series:

    >>> unit_root_p([-3.43, -2.86, -2.57]).round(2).tolist()
    [0.01, 0.05, 0.1]
    """
    tau = np.asarray(statistic, dtype=np.float64)
    left = np.polynomial.polynomial.polyval(tau, _LEFT)
    right = np.polynomial.polynomial.polyval(tau, _RIGHT)
    p = stats.norm.cdf(np.where(tau <= _BETWEEN, left, right))
    p = np.where(tau > _HIGHEST, 1.0, np.where(tau < _LOWEST, 0.0, p))
    return np.where(np.isnan(tau), np.nan, p)


def default_lags(time: int) -> int:
    """Return the number of lagged differences for a series: the cube root of time - 1, cut off.

    It grows as Said and Dickey, Biometrika 71 (1984) 599, ask for.

    Examples
    --------
    >>> default_lags(101)
    4
    """
    return int(np.floor(round((time - 1) ** (1 / 3), 9)))


@dataclass(frozen=True, eq=False)
class DickeyFuller:
    """Statistics and p-values of "the series has a unit root", shape (series,).

    NaN for a series that fits perfectly, such as a constant one.
    """

    statistic: NDArray[np.float64]
    p: NDArray[np.float64]


def dickey_fuller(series: ArrayLike, lags: int | None = None) -> DickeyFuller:
    r"""Test each series for a unit root: a small p-value says that it is stationary.

    .. math:: \Delta y_t = c + \gamma y_{t-1} + \sum_{l=1}^k b_l \Delta y_{t-l} + e_t

    The statistic is the t-statistic of :math:`\gamma`.

    Parameters
    ----------
    series
        Shape (series, time).
    lags
        k; `default_lags` by default.

    Raises
    ------
    PruningError
        The array has other axes, is too short (2 k + 4 values), or holds a value that is not
        finite.

    References
    ----------
    Dickey, Fuller, Journal of the American Statistical Association 74 (1979) 427.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((1, 200))
    >>> both = np.concatenate([noise, noise.cumsum(axis=1)])
    >>> (dickey_fuller(both).p < 0.05).tolist()
    [True, False]
    """
    y = np.asarray(series, dtype=np.float64)
    if y.ndim != 2:
        raise PruningError(f"got series of shape {y.shape}, expected (series, time)")
    time = y.shape[1]
    k = default_lags(max(1, time)) if lags is None else lags
    if k < 0 or time < 2 * k + 4:
        raise PruningError(
            f"got {time} values and lags={k}, expected lags >= 0 and at least {2 * max(k, 0) + 4} "
            "values; take fewer lags, shorter windows, or log more iterates"
        )
    check_finite_series("series", y)
    scale = y.std(axis=1, keepdims=True)
    y = (y - y.mean(axis=1, keepdims=True)) / np.where(scale > 0, scale, 1.0)
    n = time - 1 - k
    statistic = np.full(len(y), np.nan)
    together = max(1, _BLOCK // (n * (k + 3)))
    for begin in range(0, len(y), together):
        part = y[begin : begin + together]
        change = np.diff(part, axis=1)
        table = np.ones((len(part), n, k + 3))  # (series, time, regressor), y_{t-1} the last
        if k:
            table[..., 1 : k + 1] = sliding_window_view(change[:, :-1], k, axis=1)
        table[..., k + 1] = part[:, k:-1]
        table[..., k + 2] = change[:, k:]
        upper = torch.linalg.qr(torch.from_numpy(table), mode="r").R.numpy()
        # The regressor in question stands last, so that one row of R holds all about it.
        pivot, share, residual = upper[:, k + 1, k + 1], upper[:, k + 1, k + 2], upper[:, -1, -1]
        eps = n * np.finfo(np.float64).eps
        diagonal = np.abs(np.diagonal(upper, axis1=1, axis2=2))
        size = np.sqrt((table * table).sum(axis=1))
        good = (diagonal > eps * size).all(axis=1)
        error = np.abs(residual) / np.sqrt(n - k - 2)
        statistic[begin : begin + together] = np.where(
            good, np.sign(pivot) * share / np.where(good, error, 1.0), np.nan
        )
    return DickeyFuller(statistic, unit_root_p(statistic))


@dataclass(frozen=True, eq=False)
class Stationary:
    """Series after as many differences as they needed."""

    values: NDArray[np.float64]
    """Shape (series, time); a series that was differenced d times begins with d NaN."""
    differences: NDArray[np.int64]
    """Times each was differenced; -1 where it never became stationary, shape (series,)."""

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Series that never became stationary, shape (series,)."""
        return self.differences < 0


def make_stationary(
    series: ArrayLike, max_differences: int = 2, alpha: float = 0.05, lags: int | None = None
) -> Stationary:
    """Difference each series until the Dickey-Fuller test finds it stationary.

    A series that is not stationary after `max_differences` keeps its original values and is marked
    as failed: `LyapunovGranger` does not test it and keeps its weight. A constant series counts as
    stationary.

    Parameters
    ----------
    series
        Shape (series, time).
    max_differences
        At least 0.
    alpha
        A p-value below it means stationary.
    lags
        See `dickey_fuller`.

    Raises
    ------
    PruningError
        As `dickey_fuller`, or `max_differences` is negative.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((1, 200))
    >>> walk = noise.cumsum(axis=1)
    >>> make_stationary(np.concatenate([noise, walk, walk.cumsum(axis=1)])).differences.tolist()
    [0, 1, 2]
    """
    if max_differences < 0:
        raise PruningError(f"got max_differences={max_differences}, expected at least 0")
    values = np.array(series, dtype=np.float64)
    if values.ndim != 2:
        raise PruningError(f"got series of shape {values.shape}, expected (series, time)")
    differences = np.full(len(values), -1)
    waiting, current = np.arange(len(values)), values.copy()
    noise = rounding(values) * 2.0**max_differences  # each difference doubles it at most
    for count in range(max_differences + 1):
        if not len(waiting):
            break
        if count:
            current = np.diff(current, axis=1)
        still = np.ptp(current, axis=1) <= noise[waiting]
        done = still | (dickey_fuller(current, lags).p < alpha)
        values[waiting[done], count:] = current[done]
        values[waiting[done], :count] = np.nan
        differences[waiting[done]] = count
        waiting, current = waiting[~done], current[~done]
    return Stationary(values, differences)
