"""Distinct numbers among many, by sorting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def distinct(numbers: Numbers) -> Numbers:
    """Return the different ones of `numbers` in ascending order; sorts them in place.

    Several times as fast as `numpy.unique`, which may build a hash table.
    """
    numbers.sort()
    first = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers[first]


def without(numbers: Numbers, known: Numbers) -> Numbers:
    """Return those of `numbers` that are not among `known`, which are in ascending order."""
    if not len(known):
        return numbers
    place = np.searchsorted(known, numbers)
    np.minimum(place, len(known) - 1, out=place)
    new: Numbers = numbers[known[place] != numbers]
    return new
