"""Keeping training, validation and test apart, by whole sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from elegans.data.sequences import Sequence
from elegans.errors import DataError

FRACTIONS = (0.7, 0.15, 0.15)


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of a data set, each with at least one sequence."""

    train: tuple[Sequence, ...]
    validation: tuple[Sequence, ...]
    test: tuple[Sequence, ...]


def split_sequences(
    sequences: Iterable[Sequence],
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Split:
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
        Shares of training, validation and test in the number of sequences (of steps where there
        is one sequence), each above 0, with sum 1. No part is left empty.

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
    >>> [part[0].name for part in vars(split_sequences(tens[:1])).values()]
    ['0[0:6]', '0[6:8]', '0[8:9]']
    """
    sequences = tuple(sequences)
    if not all(share > 0 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(
            f"got fractions {fractions} for training, validation and test, expected three numbers "
            f"above 0 with sum 1; use {FRACTIONS}"
        )
    if seed < 0:
        raise DataError(f"got seed = {seed}, expected at least 0; choose another seed")
    if len(sequences) == 1:
        return _blocks(sequences[0], fractions)
    if len(sequences) < 3:
        raise DataError(
            f"got {len(sequences)} sequences, expected one (cut into blocks of time) or at least "
            "three (training, validation, test); record more, cut the sequences into shorter ones, "
            "or read the file without a sequence column"
        )
    order = np.random.default_rng(seed).permutation(len(sequences))
    ends = np.cumsum(_counts(len(sequences), fractions))
    train, validation, test = (
        tuple(sequences[index] for index in sorted(part)) for part in np.split(order, ends[:-1])
    )
    return Split(train, validation, test)


def _blocks(sequence: Sequence, fractions: tuple[float, float, float]) -> Split:
    if len(sequence) < 3:
        raise DataError(
            f"got a single sequence {sequence.name!r} of {len(sequence)} steps, expected at least "
            "3, one each for training, validation and test; record more"
        )
    train, validation, _ = _counts(len(sequence), fractions)
    return Split(
        (sequence[:train],),
        (sequence[train : train + validation],),
        (sequence[train + validation :],),
    )


def _counts(total: int, fractions: tuple[float, float, float]) -> list[int]:
    """Share `total` by largest remainders, then let the largest part fill empty ones."""
    shares = [total * fraction / sum(fractions) for fraction in fractions]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(3), key=lambda part: counts[part] - shares[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    while 0 in counts:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return counts
