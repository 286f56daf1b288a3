"""Cutting sequences into windows of one length, and the order in which training sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.data.sequences import Array, Sequence
from elegans.errors import DataError


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal length, stacked.

    Parameters
    ----------
    inputs
        Shape (window, time, input), float32.
    targets
        Shape (window, time, output), float32; NaN where they are not known.
    elapsed
        Time since the step before, shape (window, time), float32. At the first step of a window
        it is the time since the step before the window.
    sequence
        Which sequence each window was cut from, shape (window,).
    start
        The step of that sequence at which the window starts, shape (window,).
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    elapsed: NDArray[np.float32]
    sequence: NDArray[np.int64]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.start)


def cut_windows(sequences: Iterable[Sequence], length: int, stride: int | None = None) -> Windows:
    """Cut each sequence into windows of `length` steps, one every `stride` steps.

    Where the stride does not lead there, one more window ends with the sequence, so that its
    last steps are not lost.

    Parameters
    ----------
    sequences
        At least one, all with the same numbers of inputs and outputs.
    length
        Steps of a window, at least 1.
    stride
        Steps from one window to the next, at least 1; half of `length` when not given.

    Returns
    -------
    Windows
        The windows in the order of the sequences and of time.

    Raises
    ------
    DataError
        When a sequence is shorter than a window, when the sequences do not match each other, or
        when a value is too large for float32.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = Sequence("ramp", np.arange(7.0)[:, None], np.zeros((7, 1)), np.ones(7))
    >>> windows = cut_windows([ramp], length=4, stride=2)
    >>> windows.inputs[..., 0].tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0], [3.0, 4.0, 5.0, 6.0]]
    """
    sequences = tuple(sequences)
    if stride is None:
        stride = max(1, length // 2)
    for name, value in (("length", length), ("stride", stride)):
        if value < 1:
            raise DataError(
                f"got a window {name} of {value}, expected at least 1; choose a positive number"
            )
    _check_match(sequences)
    short = [sequence for sequence in sequences if len(sequence) < length]
    if short:
        shortest = min(short, key=len)
        raise DataError(
            f"got {len(short)} of {len(sequences)} sequences shorter than a window, the shortest "
            f"{shortest.name!r} with {len(shortest)} steps, expected at least {length}; choose "
            f"windows of {len(shortest)} steps or fewer, or remove short sequences"
        )
    places = [
        (which, start)
        for which, sequence in enumerate(sequences)
        for start in _starts(len(sequence), length, stride)
    ]

    def stacked(field: str) -> NDArray[np.float32]:
        arrays = [_single(sequence, field) for sequence in sequences]
        return np.stack([arrays[which][start : start + length] for which, start in places])

    which, start = np.array(places, dtype=np.int64).T
    return Windows(stacked("inputs"), stacked("targets"), stacked("elapsed"), which, start)


def batches(n_windows: int, batch_size: int, epoch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Return an iterator over the windows of one epoch in random order, as arrays of indices.

    The order depends on `seed` and `epoch` alone, not on what was drawn before, so that a
    resumed training sees the batches it would have seen. The last batch may be smaller.

    Parameters
    ----------
    n_windows
        Number of windows, at least 1.
    batch_size
        Windows in a batch, at least 1.
    epoch, seed
        Whole numbers of at least 0.

    Raises
    ------
    DataError
        When a number is too small.

    Examples
    --------
    >>> epoch = list(batches(5, 2, epoch=3, seed=0))
    >>> [len(batch) for batch in epoch]
    [2, 2, 1]
    >>> sorted(int(index) for batch in epoch for index in batch)
    [0, 1, 2, 3, 4]
    """
    for name, value, least in (
        ("windows", n_windows, 1),
        ("batch_size", batch_size, 1),
        ("epoch", epoch, 0),
        ("seed", seed, 0),
    ):
        if value < least:
            raise DataError(
                f"got {name} = {value}, expected at least {least}; choose a larger number"
            )
    # The checks above run at the call, not at the first batch, because this is no generator.
    order: NDArray[np.int64] = np.random.default_rng([seed, epoch]).permutation(n_windows)
    return iter([order[at : at + batch_size] for at in range(0, n_windows, batch_size)])


def _starts(steps: int, length: int, stride: int) -> list[int]:
    starts = list(range(0, steps - length + 1, stride))
    last = steps - length
    return starts if starts[-1] == last else [*starts, last]


def _check_match(sequences: tuple[Sequence, ...]) -> None:
    if not sequences:
        raise DataError("got no sequences, expected at least one; check the split and its source")
    first = sequences[0]
    sizes = first.inputs.shape[1], first.targets.shape[1]
    for sequence in sequences:
        if (sequence.inputs.shape[1], sequence.targets.shape[1]) != sizes:
            raise DataError(
                f"got sequence {sequence.name!r} with {sequence.inputs.shape[1]} inputs and "
                f"{sequence.targets.shape[1]} outputs, expected {sizes[0]} and {sizes[1]} as in "
                f"{first.name!r}; choose the same columns for all"
            )


def _single(sequence: Sequence, field: str) -> NDArray[np.float32]:
    value: Array = getattr(sequence, field)
    largest = np.fmax.reduce(np.abs(value), axis=None)  # NaN is a target that is not known
    if largest > np.finfo(np.float32).max:
        raise DataError(
            f"sequence {sequence.name!r}: got {largest:.3g} in {field}, expected at "
            f"most {np.finfo(np.float32).max:.3g}, the range of float32; standardise the data first"
        )
    return value.astype(np.float32)
