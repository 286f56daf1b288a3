r"""Sets of states as affine forms: zonotopes, each with a box besides.

.. math:: Z = \{ c + G e : e \in [-1, 1]^m \} \cap [lo, hi]

A column of G is a symbol: sets made from one another share their symbols, and what depends on a
symbol in two of them stays tied. Boxes alone lose that at each step, and grow where the set only
turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.network import SLACK, Array, Box, Index

FAR = 0.5
"""Share of the width of a zonotope below which the interval of a box stands in for its axis."""


@dataclass(frozen=True, eq=False)
class AffineSet:
    """A zonotope and a box, of which both hold what is meant.

    Parameters
    ----------
    centre
        c, (axis,).
    generators
        G, (axis, symbol); symbols beyond the last column have no part in the set.
    bounds
        Box that holds the set, no wider than the zonotope.

    Examples
    --------
    >>> square = AffineSet.of_box(Box(np.zeros(2), np.ones(2)))
    >>> turned = square.mapped(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))
    >>> back = turned.mapped(np.array([[0.5, 0.5], [0.5, -0.5]]), np.zeros(2))
    >>> turned.bounds.width.round(6), back.bounds.width.round(6)
    (array([2., 2.]), array([1., 1.]))
    """

    centre: Array
    generators: Array
    bounds: Box

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def symbols(self) -> int:
        """Number of columns of the generators."""
        return int(self.generators.shape[1])

    @classmethod
    def of_box(cls, box: Box, first: int = 0) -> AffineSet:
        """Return a box, with a symbol for each axis that has a width, from column `first` on."""
        centre, radius = middle(box)
        wide = np.flatnonzero(box.hi > box.lo)
        generators = np.zeros((len(centre), first + len(wide)))
        generators[wide, first + np.arange(len(wide))] = radius[wide]
        # What an end of an axis without width loses by rounding is nothing: lo = hi = centre.
        return cls(centre, generators, box)

    @classmethod
    def of(cls, centre: Array, generators: Array, error: Array, box: Box) -> AffineSet:
        """Return the zonotope with an error of its own on each axis, within a box that holds it.

        An axis on which the box is far narrower takes its interval, with a symbol of its own: what
        it was tied to is lost with the others.
        """
        reach = (1 + SLACK) * (np.abs(generators).sum(axis=1) + error)
        reach = reach + SLACK * np.abs(centre)
        boxed = box.width < FAR * 2 * reach
        inner, radius = middle(box)
        bounds = Box(np.maximum(box.lo, centre - reach), np.minimum(box.hi, centre + reach))
        own = np.diag(np.where(boxed, radius, error + SLACK * np.abs(centre)))
        kept = np.where(boxed[:, None], 0.0, generators)
        return cls(np.where(boxed, inner, centre), np.hstack([kept, own]), bounds)

    @classmethod
    def stacked(cls, sets: Sequence[AffineSet]) -> AffineSet:
        """Return the set of the axes of all of them."""
        symbols = max(one.symbols for one in sets)
        return cls(
            np.concatenate([one.centre for one in sets]),
            np.vstack([one.padded(symbols) for one in sets]),
            Box(
                np.concatenate([one.bounds.lo for one in sets]),
                np.concatenate([one.bounds.hi for one in sets]),
            ),
        )

    def padded(self, symbols: int) -> Array:
        """Return the generators with columns of 0 up to a number of symbols."""
        return np.pad(self.generators, ((0, 0), (0, symbols - self.symbols)))

    def take(self, axes: slice | Index) -> AffineSet:
        """Return some of the axes."""
        bounds = Box(self.bounds.lo[axes], self.bounds.hi[axes])
        return AffineSet(self.centre[axes], self.generators[axes], bounds)

    def mapped(self, matrix: Array, shift: Array) -> AffineSet:
        """Return the image under x -> matrix x + shift."""
        centre, generators = matrix @ self.centre + shift, matrix @ self.generators
        size = np.abs(matrix) @ np.maximum(np.abs(self.bounds.lo), np.abs(self.bounds.hi))
        parts = np.abs(matrix) @ (np.abs(self.centre) + np.abs(self.generators).sum(axis=1))
        rounding = SLACK * (parts + np.abs(shift))
        ends = np.stack([matrix * self.bounds.lo, matrix * self.bounds.hi])
        lo, hi = ends.min(axis=0).sum(axis=1) + shift, ends.max(axis=0).sum(axis=1) + shift
        wider = SLACK * (size + np.abs(shift))
        return AffineSet.of(centre, generators, rounding, Box(lo - wider, hi + wider))

    def reduced(self, order: int) -> AffineSet:
        """Return the set with at most `order` symbols an axis: the smallest become a box.

        Those go first whose sum of sizes is nearest to their largest one (Girard 2005).
        """
        sizes = np.abs(self.generators)
        present = np.flatnonzero(sizes.max(axis=0, initial=0.0) > 0)
        most = order * len(self)
        if len(present) <= most:
            return AffineSet(self.centre, self.generators[:, present], self.bounds)
        sizes = sizes[:, present]
        boxed = np.argsort(sizes.sum(axis=0) - sizes.max(axis=0), kind="stable")
        boxed, kept = np.split(boxed, [len(present) - (most - len(self))])
        error = (1 + SLACK) * sizes[:, boxed].sum(axis=1)
        generators = np.hstack([self.generators[:, present[kept]], np.diag(error)])
        return AffineSet(self.centre, generators, self.bounds)


def middle(box: Box) -> tuple[Array, Array]:
    """Return the centre of a box, and a radius about it that reaches both ends."""
    centre = 0.5 * box.lo + 0.5 * box.hi
    return centre, (1 + SLACK) * np.maximum(box.hi - centre, centre - box.lo)


def chord(
    lo: Array, hi: Array, values: Array, inner: Array | None = None
) -> tuple[Array, Array, Array]:
    r"""Return a, b and d with f(z) in a z + b ± d on [lo, hi], from the values of f at some places.

    Parameters
    ----------
    lo, hi
        Ends, of any shape.
    values
        f at the ends, and at places between them outside of which f(z) - a z is monotone,
        (place, ...); the first two are those of `lo` and `hi`.
    inner
        These places, (place - 2, ...).
    """
    slope = slope_between(lo, hi, values[0], values[1])
    places = np.concatenate([np.stack([lo, hi]), *([] if inner is None else [inner])])
    rest = values - slope * places
    most, least = rest.max(axis=0), rest.min(axis=0)
    size = np.abs(values).max(axis=0) + np.abs(slope) * np.maximum(np.abs(lo), np.abs(hi))
    centre = 0.5 * (most + least)
    # Below 1e-300 doubles lose their precision, and the share of a size means nothing.
    return slope, centre, 0.5 * (most - least) + SLACK * size + 1e-300


def slope_between(lo: Array, hi: Array, first: Array, last: Array) -> Array:
    """Return the slope of the chord, 0 over a point."""
    width = hi - lo
    some = width > 1e-9 * (1e-300 + np.abs(lo) + np.abs(hi))
    return np.divide(last - first, width, out=np.zeros_like(width), where=some)


def is_finite(one: AffineSet) -> bool:
    """Whether all numbers of a set are finite."""
    parts: tuple[NDArray[np.float64], ...] = (one.centre, one.generators, *one.bounds)
    return all(bool(np.isfinite(part).all()) for part in parts)
