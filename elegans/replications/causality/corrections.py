"""Corrections of p-values: over the lags of one test, and over thousands of tests.

A p-value that is NaN stands for a test that could not be made: it stays NaN and counts nowhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import PruningError

LAG_RULES = ("bonferroni", "holm", "simes", "longest", "minimum")
"""Rules of `over_lags`."""

TEST_RULES = ("benjamini_hochberg", "benjamini_yekutieli", "holm", "bonferroni", "none")
"""Rules of `over_tests`."""


def over_lags(p: ArrayLike, rule: str = "bonferroni") -> NDArray[np.float64]:
    r"""Return one p-value a row for "some lag matters" from the p-values of its L lags.

    The result is not cut off at 1, so that it orders rows; use ``np.minimum(result, 1)``.

    =============  ====================================  ==========================================
    rule           p                                     error of the first kind below alpha
    =============  ====================================  ==========================================
    bonferroni     :math:`L \min_l p_l`                  always
    holm           the same: its first step              always
    simes          :math:`\min_k L \, p_{(k)} / k`       independent or positively dependent lags
    longest        p of the longest lag, which nests     always: one test
                   all others
    minimum        :math:`\min_l p_l`                    no: this is the published choice
    =============  ====================================  ==========================================

    Parameters
    ----------
    p
        p-values, shape (test, lag).
    rule
        One of the above.

    Raises
    ------
    PruningError
        The rule is unknown or the array has other axes.

    References
    ----------
    Simes, Biometrika 73 (1986) 751.

    Examples
    --------
    >>> p = np.array([[0.01, 0.04, 0.5, 0.04]])
    >>> [float(over_lags(p, rule)[0].round(3)) for rule in LAG_RULES]
    [0.04, 0.04, 0.04, 0.04, 0.01]
    """
    p = np.asarray(p, dtype=np.float64)
    if rule not in LAG_RULES:
        raise PruningError(f"got the rule {rule!r} over lags, expected one of {LAG_RULES}")
    if p.ndim != 2 or not p.shape[1]:
        raise PruningError(f"got p-values of shape {p.shape}, expected (test, lag)")
    lags = p.shape[1]
    combined: NDArray[np.float64]
    if rule == "longest":
        combined = p[:, -1].copy()
    elif rule == "simes":
        combined = (np.sort(p, axis=1) * lags / np.arange(1, lags + 1)).min(axis=1)
    else:
        combined = p.min(axis=1) * (1 if rule == "minimum" else lags)
    combined[np.isnan(p).any(axis=1)] = np.nan
    return combined


def over_tests(p: ArrayLike, rule: str = "benjamini_hochberg") -> NDArray[np.float64]:
    """Return adjusted p-values: those below alpha are significant among all tests.

    Parameters
    ----------
    p
        p-values, shape (test,).
    rule
        "benjamini_hochberg" keeps the share of false discoveries below alpha if tests are
        independent or positively dependent, "benjamini_yekutieli" always; "holm" and "bonferroni"
        keep the chance of a single one below alpha; "none" leaves p as it is.

    Returns
    -------
    numpy.ndarray
        Between 0 and 1, in the order of `p`, shape (test,).

    Raises
    ------
    PruningError
        The rule is unknown or the array has other axes.

    References
    ----------
    Holm, Scandinavian Journal of Statistics 6 (1979) 65. Benjamini, Hochberg, Journal of the Royal
    Statistical Society B 57 (1995) 289. Benjamini, Yekutieli, Annals of Statistics 29 (2001) 1165.

    Examples
    --------
    >>> over_tests([0.01, 0.04, 0.03, 0.5]).round(3).tolist()
    [0.04, 0.053, 0.053, 0.5]
    """
    p = np.asarray(p, dtype=np.float64)
    if rule not in TEST_RULES:
        raise PruningError(f"got the rule {rule!r} over tests, expected one of {TEST_RULES}")
    if p.ndim != 1:
        raise PruningError(f"got p-values of shape {p.shape}, expected (test,)")
    adjusted = np.full_like(p, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    ranked, count = p[order], len(order)
    rank = np.arange(1, count + 1)
    if rule == "none":
        adjusted[order] = ranked
    elif rule == "bonferroni":
        adjusted[order] = ranked * count
    elif rule == "holm":
        adjusted[order] = np.maximum.accumulate(ranked * (count + 1 - rank))
    else:
        factor = count / rank
        if rule == "benjamini_yekutieli":
            factor = factor * (1 / rank).sum()
        adjusted[order] = np.minimum.accumulate((ranked * factor)[::-1])[::-1]
    np.minimum(adjusted, 1.0, out=adjusted)
    return adjusted
