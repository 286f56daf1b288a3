"""Columns of CSV and npz files: the user's choice of them, and their values."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elegans.data.sequences import Array
from elegans.errors import DataError

_LISTED = 20


@dataclass(frozen=True)
class ColumnChoice:
    """The columns that a user chose, by name."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    time: str | None = None
    sequence: str | None = None

    @classmethod
    def of(
        cls,
        path: Path,
        inputs: str | Iterable[str],
        targets: str | Iterable[str],
        time: str | None,
        sequence: str | None,
    ) -> ColumnChoice:
        """Collect the names of columns of `path`; a single text counts as one name."""
        # A text is itself an iterable of letters, which would be read as one name each.
        named = [
            (names,) if isinstance(names, str) else tuple(names) for names in (inputs, targets)
        ]
        return cls(named[0], named[1], time, sequence).checked(path)

    def checked(self, path: Path) -> ColumnChoice:
        """Return the choice itself, or raise when it is empty or names a column twice."""
        for role, names in (("input", self.inputs), ("target", self.targets)):
            if not names:
                raise DataError(
                    f"{path}: got no {role} column, expected at least one; name the columns that "
                    f"hold the {role}s"
                )
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise DataError(
                    f"{path}: got {role} column {twice[0]!r} {names.count(twice[0])} times, "
                    "expected each once; remove the repetition"
                )
        return self

    def expanded(self, path: Path, inputs: Iterable[str], targets: Iterable[str]) -> ColumnChoice:
        """Return the choice with other names of inputs and targets, checked."""
        return replace(self, inputs=tuple(inputs), targets=tuple(targets)).checked(path)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Every column that must hold numbers, each once."""
        time = () if self.time is None else (self.time,)
        return tuple(dict.fromkeys(self.inputs + self.targets + time))

    @property
    def all(self) -> tuple[str, ...]:
        """Every chosen column, each once."""
        sequence = () if self.sequence is None else (self.sequence,)
        return tuple(dict.fromkeys(self.numeric + sequence))


@dataclass(frozen=True, eq=False)
class Columns:
    """The chosen columns of one file, not yet cut into sequences.

    Parameters
    ----------
    path
        The file, for errors.
    choice
        The chosen columns, after names that stand for several columns are spelt out.
    values
        One array a numeric column, each of shape (row,).
    ids
        The sequence identifier of each row, or None when the file is one sequence.
    lines
        The line of each row in a text file, shape (row,), or None in a file without lines.
    """

    path: Path
    choice: ColumnChoice
    values: dict[str, Array]
    ids: list[str] | None
    lines: NDArray[np.int64] | None

    def __post_init__(self) -> None:
        if len(self) == 0:
            raise DataError(
                f"{self.path}: got no rows of data, expected at least one; check that the file "
                "was written to the end"
            )
        for name, column in self.values.items():
            if not np.isfinite(column).all():
                row = int(np.argmin(np.isfinite(column)))
                raise DataError(
                    f"{self.path}, {self.place(row)}, column {name!r}: got {column[row]}, expected "
                    "a finite number; drop the row or fill the value in"
                )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.values.values())))

    def place(self, row: int) -> str:
        """Say where a row is, in the words of the file's format."""
        return f"index {row}" if self.lines is None else f"line {self.lines[row]}"

    def stack(self, names: Iterable[str], rows: slice) -> Array:
        """Return the named columns side by side, shape (time, column)."""
        return np.stack([self.values[name][rows] for name in names], axis=1)


def missing_columns(path: Path, missing: Collection[str], available: Collection[str]) -> DataError:
    """Return the error for columns that the file does not have, with the likely names."""
    near = [_nearest(name, available) for name in missing]
    remedy = ", ".join(repr(name) for name in dict.fromkeys(near) if name is not None)
    return DataError(
        f"{path}: got {_listed(missing)}, not among the columns of the file, expected names from "
        f"{_listed(available)}; " + (f"did you mean {remedy}?" if remedy else "correct the name")
    )


def _nearest(name: str, available: Collection[str]) -> str | None:
    # Capitals, and an index on a 1-D array, can outweigh the rest of a short name.
    same = {column.lower(): column for column in available}
    for spelling in (name.lower(), name.lower().split("[")[0]):
        if spelling in same:
            return same[spelling]
    close = difflib.get_close_matches(name, available, n=1)
    return close[0] if close else None


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:_LISTED])
    more = len(names) - _LISTED
    return (shown + (f" and {more} more" if more > 0 else "")) or "no names at all"
