"""Sequences of a recording, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elegans.errors import DataError, InputError

if TYPE_CHECKING:
    from elegans.data.reading import Reading

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sequence:
    """One recording: what a network is shown, what it should answer, and when.

    Parameters
    ----------
    name
        What errors and reports call it.
    inputs
        Shape (time, input), in the units of the file.
    targets
        Shape (time, output), in the units of the file; NaN where the answer is not known, which
        training and errors pass over.
    elapsed
        Time since the step before, shape (time,), at least 0. No step precedes the first, so
        its entry is a convention of whoever makes the sequence.

    Raises
    ------
    DataError
        When shapes do not fit together, there are no steps, or a number is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> walk = Sequence("walk", np.zeros((5, 2)), np.ones((5, 1)), np.full(5, 0.1))
    >>> len(walk), walk.inputs.shape, walk.targets.shape
    (5, (5, 2), (5, 1))
    >>> walk[1:4].name, len(walk[1:4])
    ('walk[1:4]', 3)
    """

    name: str
    inputs: Array
    targets: Array
    elapsed: Array

    def __post_init__(self) -> None:
        for field, ndim, shape in (
            ("inputs", 2, "(time, input)"),
            ("targets", 2, "(time, output)"),
            ("elapsed", 1, "(time,)"),
        ):
            value = np.asarray(getattr(self, field), dtype=np.float64)
            object.__setattr__(self, field, value)
            if value.ndim != ndim or 0 in value.shape:
                raise DataError(
                    f"sequence {self.name!r}: got {field} of shape {value.shape}, expected "
                    f"{shape} with no empty axis; reshape the array"
                )
            unusable = np.isinf(value) if field == "targets" else ~np.isfinite(value)
            if unusable.any():
                step = int(np.argwhere(unusable)[0, 0])
                raise DataError(
                    f"sequence {self.name!r}: got NaN or infinity in {field} at step {step}, "
                    "expected finite numbers; drop the step or fill it in"
                )
        if not len(self.inputs) == len(self.targets) == len(self.elapsed):
            raise DataError(
                f"sequence {self.name!r}: got {len(self.inputs)} steps of inputs, "
                f"{len(self.targets)} of targets and {len(self.elapsed)} of elapsed times, "
                "expected the same number of each; cut them to one length"
            )
        if (self.elapsed < 0).any():
            step = int(np.argmax(self.elapsed < 0))
            raise DataError(
                f"sequence {self.name!r}: got elapsed time {self.elapsed[step]} at step {step}, "
                "expected at least 0; sort the steps by time"
            )

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.elapsed)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether all targets of a step are known, shape (time,)."""
        return np.asarray(~np.isnan(self.targets).any(axis=1), dtype=np.bool_)

    @property
    def label(self) -> int | None:
        """The index of the class of all known steps, None if there are several or none."""
        found = np.unique(self.targets[self.is_known].argmax(axis=1))
        return int(found[0]) if len(found) == 1 else None

    def __getitem__(self, steps: slice) -> Sequence:
        """Return consecutive steps as a sequence; elapsed times stay as they were recorded."""
        start, stop, stride = steps.indices(len(self))
        if stride != 1:
            raise DataError(
                f"sequence {self.name!r}: got a slice with stride {stride}, expected 1, because "
                "skipping steps would falsify the elapsed times; slice with a stride of 1"
            )
        name = f"{self.name}[{start}:{stop}]"
        return Sequence(name, self.inputs[steps], self.targets[steps], self.elapsed[steps])


@dataclass(frozen=True, eq=False)
class SequenceTable:
    """The sequences of one file, with the names of the columns they came from.

    Parameters
    ----------
    source
        The file.
    input_names, target_names
        One name a column of `Sequence.inputs` and `Sequence.targets`.
    time_name, sequence_name
        The columns that held the times and the sequence identifiers, or None.
    sequences
        At least one, in the order of the file.
    reading
        How the file was understood; other files are read in the same way by it.
    places
        For each sequence the rows of the file that its steps are, (time,).
    row_names
        For each row of the file the name of its sequence.
    """

    source: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    time_name: str | None
    sequence_name: str | None
    sequences: tuple[Sequence, ...]
    reading: Reading
    places: tuple[NDArray[np.int64], ...]
    row_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.sequences)

    def __iter__(self) -> Iterator[Sequence]:
        """Iterate over the sequences in the order of the file."""
        return iter(self.sequences)

    @property
    def input_size(self) -> int:
        """The number of input columns."""
        return len(self.input_names)

    @property
    def output_size(self) -> int:
        """The number of target columns, or of classes."""
        return len(self.target_names)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the target, whose targets are 0 and 1; none for numbers."""
        return self.reading.classes

    def require_learnable(self) -> None:
        """Raise `DataError` if a target is the same everywhere, or a class is hardly there."""
        known = np.concatenate([one.targets[one.is_known] for one in self.sequences])
        if not len(known):
            raise DataError(
                f"{self.source}: got no step at which the targets are known, expected at least "
                "two; choose other columns, or a shorter --horizon"
            )
        if self.classes:
            counts = known.sum(axis=0).astype(int)
            if (counts < 2).any():
                rare = int(np.argmin(counts))
                raise DataError(
                    f"{self.source}: got class {self.classes[rare]!r} in {counts[rare]} rows, "
                    "expected at least two, for training and for the test; leave its rows out"
                )
            if len(counts) < 2:
                raise DataError(
                    f"{self.source}: got the class {self.classes[0]!r} in all rows, expected at "
                    "least two classes; choose another target"
                )
            return
        for name, column in zip(self.target_names, known.T, strict=True):
            if column.min() == column.max():
                raise DataError(
                    f"{self.source}: got the target {name!r} that is {column[0]} in all rows, "
                    "expected one that varies; choose another, there is nothing to learn"
                )


def averaged_targets(sequences: Iterable[Sequence], steps: int) -> tuple[Sequence, ...]:
    """Return the sequences with targets averaged over the last `steps` steps.

    A plant that can only be pushed to one side or the other jitters about the path it is kept
    on, and so does the force its expert asks for. Positions cannot show the jitter of the step
    they are observed in: of the raw force in `elegans.tasks.cartpole`, 12 % of the variance can
    be predicted linearly from the last four observations, of its mean over four steps 82 %. The
    mean asks for the same path and is learnt much faster.

    Parameters
    ----------
    sequences
        Whatever shall be imitated.
    steps
        At least 1. The first targets of a sequence are means over the steps that there are.

    Raises
    ------
    InputError
        `steps` is less than 1.

    Examples
    --------
    >>> target = np.array([[0.0], [2.0], [4.0], [6.0]])
    >>> ramp = Sequence("ramp", np.zeros((4, 1)), target, np.ones(4))
    >>> averaged_targets([ramp], 2)[0].targets[:, 0].tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    if steps < 1:
        raise InputError(f"got steps = {steps}, expected at least 1; 1 leaves targets as they are")
    return tuple(
        replace(sequence, targets=_running_mean(sequence.targets, steps)) for sequence in sequences
    )


def _running_mean(values: Array, steps: int) -> Array:
    """Return the mean over the last `steps` rows of `values`, shape (time, column)."""
    total = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - steps, 0)
    mean: Array = (total[end] - total[start]) / (end - start)[:, None]
    return mean
