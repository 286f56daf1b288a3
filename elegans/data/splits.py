"""Splits that keep training, validation and test apart: sizes, order, whole sequences."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from elegans.data.sequences import Sequence
from elegans.errors import DataError

FRACTIONS = (0.7, 0.15, 0.15)
"""Shares of training, validation and test."""

_Part = TypeVar("_Part")


class Split(NamedTuple, Generic[_Part]):
    """Three parts of a data set, none of them empty."""

    train: _Part
    validation: _Part
    test: _Part


def part_sizes(
    total: int, parts: Collection[int] | Collection[float], *, fill: bool = False
) -> list[int]:
    """Return how many of `total` items each part gets, from numbers or from shares with sum 1.

    Parameters
    ----------
    total
        Number of items.
    parts
        Either whole numbers of items, in all at most `total`, or shares, which are rounded by
        largest remainders, so that the parts hold all items.
    fill
        Whether a part that shares would leave empty takes an item of the largest.

    Raises
    ------
    DataError
        When there is no part, a part would be empty, or the parts do not fit the items.

    Examples
    --------
    >>> part_sizes(333, (200, 100, 33)), part_sizes(9, (0.7, 0.2, 0.1))
    ([200, 100, 33], [6, 2, 1])
    >>> part_sizes(3, (0.8, 0.1, 0.1), fill=True)
    [1, 1, 1]
    """
    if not parts:
        raise DataError("got no parts, expected at least one; use (0.8, 0.2)")
    if all(isinstance(part, int | np.integer) for part in parts):
        sizes = [int(part) for part in parts]
        if min(sizes) < 1 or sum(sizes) > total:
            raise DataError(
                f"got parts of {sizes} rows, expected numbers of at least 1 with a sum of at most "
                f"{total}; use shares such as (0.8, 0.2) to divide all rows"
            )
        return sizes
    # The comparison is false for NaN, too.
    if not all(part > 0 for part in parts) or not abs(sum(parts) - 1) <= 1e-6:
        raise DataError(
            f"got shares {tuple(parts)}, expected numbers above 0 with sum 1, or whole numbers of "
            "rows; use (0.6, 0.2, 0.2)"
        )
    shares = [total * part / sum(parts) for part in parts]
    sizes = [int(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda part: sizes[part] - shares[part])
    for part in by_remainder[: total - sum(sizes)]:
        sizes[part] += 1
    while fill and 0 in sizes and total >= len(sizes):
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    if 0 in sizes:
        raise DataError(
            f"got shares {tuple(parts)} of {total} rows, of which one is empty, expected at least "
            "one row in each; use larger shares"
        )
    return sizes


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


def split_sequences(
    sequences: Iterable[Sequence],
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    *,
    classes: bool = False,
) -> Split[tuple[Sequence, ...]]:
    """Split sequences into training, validation and test parts.

    Whole sequences go to one part or another, because steps of one recording resemble each other
    and would leak from training into the test. A single sequence is cut in time order into three
    contiguous blocks instead, training first and test last; the seed has no effect then.

    Parameters
    ----------
    sequences
        One sequence, or at least three.
    seed
        Draws which sequence goes where, at least 0.
    fractions
        Training, validation and test as shares of the sequences (of the steps where there is one
        sequence), each above 0, with sum 1, or as whole numbers of them. No part is left empty.
    classes
        Whether targets are classes. If each sequence is of one class, the parts have the classes in
        proportion, as far as may be.

    Returns
    -------
    Split
        The parts, each in the order of `sequences`.

    Raises
    ------
    DataError
        When there are two sequences or none, a single one of fewer than three steps, or the
        fractions or the seed are not as described.

    Examples
    --------
    >>> import numpy as np
    >>> tens = [
    ...     Sequence(str(i), np.zeros((9, 1)), np.zeros((9, 1)), np.ones(9)) for i in range(10)
    ... ]
    >>> split = split_sequences(tens, seed=1)
    >>> len(split.train), len(split.validation), len(split.test)
    (7, 2, 1)
    >>> [part[0].name for part in split_sequences(tens[:1])]
    ['0[0:6]', '0[6:8]', '0[8:9]']
    """
    sequences = tuple(sequences)
    if seed < 0:
        raise DataError(f"got seed = {seed}, expected at least 0; choose another seed")
    if len(sequences) == 2 or not sequences:
        raise DataError(
            f"got {len(sequences)} sequences, expected one (cut into blocks of time) or at least "
            "three (training, validation, test); record more, cut the sequences into shorter ones, "
            "or read the file without a sequence column"
        )
    single = sequences[0] if len(sequences) == 1 else None
    if single is not None and len(single) < 3:
        raise DataError(
            f"got a single sequence {single.name!r} of {len(single)} steps, expected at least "
            "3, one each for training, validation and test; record more"
        )
    sizes = part_sizes(len(sequences) if single is None else len(single), fractions, fill=True)
    first, second, end = np.cumsum(sizes).tolist()
    if single is not None:
        return Split((single[:first],), (single[first:second],), (single[second:end],))
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sequences))
    labels = _labels(sequences) if classes else None
    if labels is not None:
        order = spread_order(labels, order, generator)
    order = order[:end]
    parts = np.split(order, [first, second])
    return Split(*(tuple(sequences[index] for index in sorted(part)) for part in parts))


def _labels(sequences: tuple[Sequence, ...]) -> NDArray[np.int64] | None:
    """Return the class of each sequence, (sequence,); None if one has several or none."""
    labels = [one.label for one in sequences]
    return None if None in labels else np.array(labels, dtype=np.int64)
