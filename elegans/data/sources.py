"""Where rows come from: a contract of files and frames, whatever format they are in."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from elegans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("", "?", "NA", "N/A", "nan", "NaN", "null", "NULL")
"""Cells that count as missing."""

MOST_COLUMNS = 20_000
"""Columns of which a file with more is no table."""

_LISTED = 20


class Source(ABC):
    """Rows with named columns.

    Parameters
    ----------
    label
        What errors call it.
    stem
        What the sequence is called if all rows are one.
    """

    names: tuple[str, ...] = ()
    """The columns."""

    decimal: str = "."
    """The mark between units and tenths in cells that are text."""

    def __init__(self, label: str, stem: str) -> None:
        self.label, self.stem = label, stem
        self.notes: list[str] = []
        """Rules of reading that were applied."""

    def set_names(self, names: Sequence[str], where: str = "", remedy: str = "") -> None:
        """Take the names of the columns; raise `DataError` if there are too many or two alike."""
        if len(names) > MOST_COLUMNS:
            raise DataError(
                f"{self.label}{where}: got {len(names)} columns, expected at most {MOST_COLUMNS}; "
                "a row of the table is a line: transpose it"
            )
        name, count = (Counter(names).most_common(1) or [("", 0)])[0]
        if count > 1:
            raise DataError(
                f"{self.label}{where}: got {count} columns named {name!r}, expected each name "
                f"once; rename one of them{remedy}"
            )
        self.names = tuple(names)

    @abstractmethod
    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns, those of `text` as text; missing cells are NaN."""

    def place(self, row: int) -> str:
        """Return where a row is, for errors."""
        return f"row {row}"

    def written(self, row: int, name: str) -> str:
        """Return a cell as it is written."""
        cell = self.load((name,))[name].iloc[row]
        return "" if cell is None or cell != cell else str(cell)

    def fault(self, row: int, name: str, got: str, expected: str) -> DataError:
        """Return an error about a cell."""
        return DataError(
            f"{self.label}, {self.place(row)}, column {name!r}: got {got}, expected {expected}"
        )

    def no_such(self, missing: Collection[str]) -> DataError:
        """Return the error for columns that are not there, with the likely names."""
        near = [_nearest(name, self.names) for name in missing]
        likely = ", ".join(repr(name) for name in dict.fromkeys(near) if name is not None)
        remedy = f"did you mean {likely}?" if likely else "correct the name"
        if self.names and self.names[0] == "column1":
            remedy += " (its first line holds no names; if it does, pass --header yes)"
        return DataError(
            f"{self.label}: got {listed(missing)}, not among the columns of the file, expected "
            f"names from {listed(self.names)}; {remedy}"
        )


class FrameSource(Source):
    """A DataFrame of pandas."""

    def __init__(
        self, frame: pd.DataFrame, label: str = "data", stem: str = "data", first: int | None = None
    ) -> None:
        super().__init__(label, stem)
        self._first = first  # the number of the first row in its sheet
        self.set_names([str(name) for name in frame.columns])
        self._frame = frame.set_axis(list(self.names), axis=1)

    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns."""
        frame = self._frame[list(dict.fromkeys(names))].reset_index(drop=True)
        return prepared(frame, text)

    def place(self, row: int) -> str:
        """Return the place and the label of a row."""
        if self._first is not None:
            return f"row {row + self._first}"
        return f"row {row} (index {self._frame.index[row]!r})"


def prepared(frame: pd.DataFrame, text: Collection[str]) -> pd.DataFrame:
    """Return the frame with marks of missing cells as such, and the columns `text` as words."""
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "O":
            marks = column.map(lambda cell: isinstance(cell, str) and cell.strip() in MISSING)
            if marks.any():
                column = column.where(~marks.astype(bool), None)
        if name in text:
            column = column.astype(object).map(as_word).where(column.notna(), None)
        frame[name] = column
    return frame


def as_word(cell: object) -> str:
    """Return a cell as a word; a whole number has no point, also where gaps made it a float."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def number_in(cell: str, decimal: str = ".") -> float | None:
    """Return the number that a cell holds, or None.

    Examples
    --------
    >>> number_in("-1.5e3"), number_in("1,5", ","), number_in("1_000"), number_in("lots")
    (-1500.0, 1.5, None, None)
    """
    # Python reads '1_000' as 1000, but no program that writes tables means that.
    if "_" in cell or (decimal == "," and "." in cell):
        return None
    try:
        return float(cell.replace(",", ".") if decimal == "," else cell)
    except ValueError:
        return None


def listed(names: Collection[str]) -> str:
    """Return names in quotes, the first twenty of many."""
    shown = ", ".join(repr(name) for name in list(names)[:_LISTED])
    more = len(names) - _LISTED
    return (shown + (f" and {more} more" if more > 0 else "")) or "no names at all"


def _nearest(name: str, available: Collection[str]) -> str | None:
    # Capitals, and an index on a 1-D array, can outweigh the rest of a short name.
    same = {column.lower(): column for column in available}
    of_array = [column for column in available if column.startswith(f"{name}[")]
    if of_array:
        return of_array[0]
    for spelling in (name.lower(), name.lower().split("[")[0]):
        if spelling in same:
            return same[spelling]
    close = difflib.get_close_matches(name, available, n=1)
    return close[0] if close else None
