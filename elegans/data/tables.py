"""From a user's file of rows to sequences with elapsed times."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from elegans.data.columns import ColumnChoice, Columns
from elegans.data.csv_file import csv_names, read_csv
from elegans.data.npz_file import npz_names, read_npz
from elegans.data.sequences import Array, Sequence, SequenceTable
from elegans.errors import DataError

_READERS = {".csv": read_csv, ".npz": read_npz}
_NAMES = {".csv": csv_names, ".npz": npz_names}

SUFFIXES = tuple(_READERS)


def read_table(
    path: str | Path,
    inputs: str | Iterable[str],
    targets: str | Iterable[str],
    *,
    time: str | None = None,
    sequence: str | None = None,
) -> SequenceTable:
    """Read columns of a CSV or npz file into sequences.

    A CSV file is UTF-8 text with commas, its first line the names of the columns; columns that
    are not chosen may hold anything. An npz file holds one array a column, all of one length,
    under the name of the column; a 2-D array ``x`` of shape (row, k) offers the columns
    ``x[0]`` to ``x[k-1]``, and naming ``x`` means all of them.

    Parameters
    ----------
    path
        The file, with suffix .csv or .npz.
    inputs, targets
        One name or several. A column may be in both.
    time
        The column of times, in any unit, strictly increasing within each sequence; gaps may be
        irregular. Without it every step lasts 1.
    sequence
        The column that says which sequence a row belongs to, as numbers or text; the rows of a
        sequence are consecutive. Without it the file is one sequence, named after the file.

    Returns
    -------
    SequenceTable
        Sequences in the order of the file. ``elapsed[t]`` is the time from step t - 1 to step t
        in the unit of the time column; no step precedes the first, so ``elapsed[0]`` is the
        median of the sequence's other gaps.

    Raises
    ------
    DataError
        When the file, a name, a row or a time is not as described; the message names file, line
        (or index) and column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "walk.csv"
    >>> rows = ["worm,t,speed,turn", "a,0,1,0", "a,2,3,1", "a,3,2,0", "b,7,5,1", "b,9,4,1"]
    >>> _ = file.write_text(chr(10).join(rows))
    >>> table = read_table(file, "speed", "turn", time="t", sequence="worm")
    >>> [(one.name, one.inputs[:, 0].tolist(), one.elapsed.tolist()) for one in table]
    [('a', [1.0, 3.0, 2.0], [1.5, 2.0, 1.0]), ('b', [5.0, 4.0], [2.0, 2.0])]
    >>> folder.cleanup()
    """
    path = _checked(path)
    choice = ColumnChoice.of(path, inputs, targets, time, sequence)
    columns = _READERS[path.suffix.lower()](path, choice)
    return SequenceTable(
        source=str(path),
        input_names=columns.choice.inputs,
        target_names=columns.choice.targets,
        time_name=time,
        sequence_name=sequence,
        sequences=tuple(_sequence(columns, name, rows) for name, rows in _runs(columns)),
    )


def column_names(path: str | Path) -> tuple[str, ...]:
    """Return the names that `read_table` accepts for the columns of a file.

    Raises
    ------
    DataError
        When there is no such file, or its format is not known or damaged.
    """
    path = _checked(path)
    return _NAMES[path.suffix.lower()](path)


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise DataError(
            f"{path}: got a file with suffix {path.suffix!r}, expected {' or '.join(SUFFIXES)}; "
            "convert the file"
        )
    if not path.is_file():
        raise DataError(
            f"{path}: got {'a folder' if path.is_dir() else 'no file of this name'}, expected a "
            "file; check the path"
        )
    return path


def _runs(columns: Columns) -> list[tuple[str, slice]]:
    """Return name and rows of each sequence."""
    ids = columns.ids
    if ids is None:
        return [(columns.path.stem, slice(0, len(columns)))]
    starts = [row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]]
    ends = {ids[row - 1]: row - 1 for row in reversed(starts[1:])}  # first end of each sequence
    seen: set[str] = set()
    for row in starts:
        if ids[row] in seen:
            raise DataError(
                f"{columns.path}, {columns.place(row)}, column {columns.choice.sequence!r}: got "
                f"sequence {ids[row]!r} again after it ended at {columns.place(ends[ids[row]])}, "
                "expected the rows of a sequence together; sort the rows by sequence, then by time"
            )
        seen.add(ids[row])
    stops = [*starts[1:], len(ids)]
    return [(ids[start], slice(start, stop)) for start, stop in zip(starts, stops, strict=True)]


def _sequence(columns: Columns, name: str, rows: slice) -> Sequence:
    return Sequence(
        name,
        columns.stack(columns.choice.inputs, rows),
        columns.stack(columns.choice.targets, rows),
        _elapsed(columns, name, rows),
    )


def _elapsed(columns: Columns, name: str, rows: slice) -> Array:
    if columns.choice.time is None:
        return np.ones(rows.stop - rows.start)
    time = columns.values[columns.choice.time][rows]
    with np.errstate(over="ignore"):  # an infinite gap is reported by Sequence
        gaps = np.diff(time)
    if not len(gaps):
        raise DataError(
            f"{columns.path}, {columns.place(rows.start)}: got sequence {name!r} with a single "
            "row, expected at least two to tell how long a step lasts; remove the row"
        )
    if (gaps <= 0).any():
        step = int(np.argmax(gaps <= 0)) + 1
        fault, remedy = (
            ("twice", "merge the two rows or drop one")
            if gaps[step - 1] == 0
            else (f"after {time[step - 1]}", "sort the rows of each sequence by time")
        )
        raise DataError(
            f"{columns.path}, {columns.place(rows.start + step)}, column "
            f"{columns.choice.time!r}: got time {time[step]} {fault} in sequence {name!r}, "
            f"expected times that increase; {remedy}"
        )
    return np.concatenate([[np.median(gaps)], gaps])
