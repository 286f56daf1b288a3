"""How many rows each part of a data set gets, and an order that mixes the classes evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elegans.errors import DataError


def counts_of(name: str, parts: Sequence[int] | Sequence[float], rows: int) -> list[int]:
    """Return the number of rows of each part, from numbers or from shares with sum 1.

    Shares are rounded by largest remainders, so that the parts hold all rows.

    Raises
    ------
    DataError
        When there is no part, a part would be empty, or the parts do not fit the rows.

    Examples
    --------
    >>> counts_of("worms", (200, 100, 33), 333), counts_of("worms", (0.7, 0.2, 0.1), 9)
    ([200, 100, 33], [6, 2, 1])
    """
    if not len(parts):
        raise DataError(f"data set {name!r}: got no parts, expected at least one; use (0.8, 0.2)")
    if all(isinstance(part, (int, np.integer)) for part in parts):
        counts = [int(part) for part in parts]
        if min(counts) < 1 or sum(counts) > rows:
            raise DataError(
                f"data set {name!r}: got parts of {counts} rows, expected numbers of at least 1 "
                f"with a sum of at most {rows}; use shares such as (0.8, 0.2) to divide all rows"
            )
        return counts
    # The comparison is false for NaN, too.
    if not all(part > 0 for part in parts) or not abs(sum(parts) - 1) <= 1e-6:
        raise DataError(
            f"data set {name!r}: got shares {tuple(parts)}, expected numbers above 0 with sum 1, "
            "or whole numbers of rows; use (0.6, 0.2, 0.2)"
        )
    shares = [rows * part / sum(parts) for part in parts]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda part: counts[part] - shares[part])
    for part in by_remainder[: rows - sum(counts)]:
        counts[part] += 1
    if 0 in counts:
        raise DataError(
            f"data set {name!r}: got shares {tuple(parts)} of {rows} rows, of which one is empty, "
            "expected at least one row in each; use larger shares"
        )
    return counts


def spread_order(
    labels: NDArray[np.int64], order: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return `order` rearranged so that every run of it has the classes in proportion.

    The r-th of the n rows of a class takes the place (r + 1/2) / n between 0 and 1, and all rows
    are sorted by place: up to any place t, a class has n t rows within a half.

    Parameters
    ----------
    labels
        Shape (row,).
    order
        A random order of the rows; rows of one class keep theirs.
    generator
        Draws which class comes first where places are equal.
    """
    places = np.empty(len(order))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels[order] == label)
        places[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    chosen: NDArray[np.int64] = order[np.lexsort((generator.random(len(order)), places))]
    return chosen
