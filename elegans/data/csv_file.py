"""Reading chosen columns of a CSV file, in one pass and without holding its text."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from elegans.data.columns import ColumnChoice, Columns, missing_columns
from elegans.errors import DataError


class _Commas(csv.excel):
    """Commas, double quotes, and spaces allowed after a comma."""

    strict = True  # an unbalanced quote would swallow the rest of the file
    skipinitialspace = True


def csv_names(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a CSV file, those without a name left out."""
    with _opened(path) as file:
        return tuple(name for name in _header(path, csv.reader(file, _Commas)) if name)


def read_csv(path: Path, choice: ColumnChoice) -> Columns:
    """Read the chosen columns of a CSV file; the format is described at `read_table`."""
    numbers = array("d")  # row after row, one entry a numeric column
    lines = array("q")
    ids: list[str] | None = None if choice.sequence is None else []
    with _opened(path) as file:
        reader = csv.reader(file, _Commas)
        header = _header(path, reader)
        missing = [name for name in choice.all if name not in header]
        if missing:
            raise _no_such_columns(path, missing, header)
        numeric = [header.index(name) for name in choice.numeric]
        id_at = None if choice.sequence is None else header.index(choice.sequence)
        blank = None
        for row in reader:
            if not row:
                blank = reader.line_num if blank is None else blank
                continue
            # In a file of one column a blank line is an empty cell, so none may be skipped.
            if blank is not None:
                raise DataError(
                    f"{path}, line {blank}: got a blank line between rows, expected a row; "
                    "remove the line"
                )
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: got {len(row)} cells, expected "
                    f"{len(header)} as in the header; quote cells that hold a comma"
                )
            try:
                numbers.extend([_number(row[at]) for at in numeric])
            except ValueError:
                raise _not_a_number(path, reader.line_num, header, row, numeric) from None
            if ids is not None and id_at is not None:
                ids.append(row[id_at].strip())
                if not ids[-1]:
                    raise _empty_cell(path, reader.line_num, header[id_at])
            lines.append(reader.line_num)
    values = np.array(numbers, dtype=np.float64).reshape(-1, len(numeric))  # (row, column)
    return Columns(
        path,
        choice,
        {name: values[:, at].copy() for at, name in enumerate(choice.numeric)},
        ids,
        np.array(lines, dtype=np.int64),
    )


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        # Spreadsheets put a byte-order mark before UTF-8; this codec reads files with and without.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: got bytes that are not UTF-8 ({error.reason} at byte {error.start} of a "
            "block), expected UTF-8 text; save the file as 'CSV UTF-8'"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}: got text that is not CSV ({error}), expected comma-separated cells with "
            "balanced quotes; write the file again"
        ) from error


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise DataError(
            f"{path}, line 1: got nothing, expected the names of the columns; the file is empty or "
            "starts with a blank line"
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DataError(
            f"{path}, line 1: got {header.count(twice[0])} columns named {twice[0]!r}, expected "
            "each name once; rename one of them"
        )
    return header


def _no_such_columns(path: Path, missing: list[str], header: list[str]) -> DataError:
    """Explain the two usual reasons for names that are absent, before falling back to a list."""
    if len(header) == 1:
        for separator, called in ((";", "semicolons"), ("\t", "tabs")):
            if separator in header[0]:
                return DataError(
                    f"{path}, line 1: got cells separated by {called}, expected commas; save the "
                    "file as comma-separated values"
                )
    try:
        for name in header:
            _number(name)
    except ValueError:
        return missing_columns(path, missing, [name for name in header if name])
    return DataError(
        f"{path}, line 1: got numbers only, expected the names of the columns; add a header line"
    )


def _number(cell: str) -> float:
    # Python reads '1_000' as 1000, but no program that writes CSV means that.
    if "_" in cell:
        raise ValueError
    return float(cell)


def _not_a_number(
    path: Path, line: int, header: list[str], row: list[str], numeric: list[int]
) -> DataError:
    for at in numeric:
        try:
            _number(row[at])
        except ValueError:
            break
    if not row[at].strip():
        return _empty_cell(path, line, header[at])
    cell = row[at] if len(row[at]) <= 40 else row[at][:40] + "…"
    return DataError(
        f"{path}, line {line}, column {header[at]!r}: got {cell!r}, expected a number such as "
        "-1.5e3; correct the cell, and write dates as seconds and classes as numbers"
    )


def _empty_cell(path: Path, line: int, name: str) -> DataError:
    return DataError(
        f"{path}, line {line}, column {name!r}: got an empty cell, expected a value; drop the row "
        "or fill the value in"
    )
