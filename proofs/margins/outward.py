"""Arithmetic on arrays of doubles, each operation rounded away from the claim.

Sums, differences, products and quotients of doubles are correctly rounded to nearest, so that the
exact result lies between the two neighbours of the rounded one. A gate is enclosed as
`elegans.proofs.verify.sigmoid` does it, with its tables.
"""

from __future__ import annotations

import numpy as np

from elegans.proofs import verify
from elegans.proofs.certificates.intervals import Span
from elegans.proofs.certificates.network import Array, Index

_PAD = 2.0**-45
_FARTHEST = 700.0
_UNIT = 2.0**-52


def up(x: Array | float) -> Array:
    """Return the next double above."""
    return np.asarray(np.nextafter(x, np.inf))


def down(x: Array | float) -> Array:
    """Return the next double below."""
    return np.asarray(np.nextafter(x, -np.inf))


def minus(a: Span, b: Span) -> Span:
    """Return an enclosure of all differences."""
    return Span(down(a.lo - b.hi), up(a.hi - b.lo))


def plus(a: Span, b: Span) -> Span:
    """Return an enclosure of all sums."""
    return Span(down(a.lo + b.lo), up(a.hi + b.hi))


def times(a: Span, b: Span) -> Span:
    """Return an enclosure of all products."""
    products = np.stack([x * y for x in a for y in b])
    return Span(down(products.min(axis=0)), up(products.max(axis=0)))


def greatest(a: Span) -> Array:
    """Return the largest absolute value."""
    return np.maximum(np.abs(a.lo), np.abs(a.hi))


def sum_above(index: Index, terms: Array, count: int) -> Array:
    """Return upper bounds of the sums of terms with the same index, shape (count,)."""
    sums, sizes = (
        np.bincount(index, each, minlength=count).astype(np.float64)
        for each in (terms, np.abs(terms))
    )
    # A sum of n numbers is off by n half units of the sum of their absolute values at most.
    off = up(_UNIT * np.bincount(index, minlength=count) * up(sizes))
    return np.where(sizes == 0, 0.0, up(sums + off))


def sum_below(index: Index, terms: Array, count: int) -> Array:
    """Return lower bounds of the sums of terms with the same index, shape (count,)."""
    return -sum_above(index, -terms, count)


def sigmoid(z: Span) -> Span:
    """Return an enclosure of 1 / (1 + exp(-z))."""
    lo = np.where(z.lo < -_FARTHEST, 0.0, _sigmoid(z.lo) * (1.0 - _PAD))
    hi = np.where(z.hi > _FARTHEST, 1.0, np.minimum(_sigmoid(z.hi) * (1.0 + _PAD), 1.0))
    return Span(lo, hi)


def _sigmoid(z: Array) -> Array:
    z = np.clip(z, -_FARTHEST, _FARTHEST)
    y = np.abs(z)
    n = y.astype(np.int64)
    rest = y - n
    k = (256.0 * rest).astype(np.int64)
    t = rest - k / 256.0
    series = 1.0 - t * (1.0 - t / 2.0 * (1.0 - t / 3.0 * (1.0 - t / 4.0 * (1.0 - t / 5.0))))
    closed = _WHOLE[n] * _PARTS[k] * series
    return np.asarray(np.where(z >= 0, 1.0, closed) / (1.0 + closed))


_WHOLE, _PARTS = np.array(verify._WHOLE), np.array(verify._PARTS)
