"""From what users have, a file, a folder, several files or a DataFrame, to one source of rows."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elegans.capacity import require_bytes
from elegans.data.npz_file import NpzSource
from elegans.data.sources import MISSING, MOST_COLUMNS, FrameSource, Source, listed
from elegans.data.text_file import Dialect, TextFile, stem_of, suffix_of
from elegans.errors import DataError
from elegans.extras import require_extra

if TYPE_CHECKING:
    import pandas as pd

_TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
_PARQUET = (".parquet", ".pq")
_EXCEL = (".xlsx", ".xlsm")

SUFFIXES = (*_TEXT, *_PARQUET, *_EXCEL, ".npz")
"""Files that can be read, by their names' ends; text may be compressed."""

Data = Any
"""A path, several paths, or a DataFrame of pandas."""


class JoinedSource(Source):
    """Sources with the same columns, one after another."""

    def __init__(self, label: str, parts: list[Source]) -> None:
        super().__init__(label, Path(label).stem)
        self.parts = parts
        self.names = parts[0].names
        for part in parts[1:]:
            other = set(part.names) ^ set(self.names)
            if other:
                raise DataError(
                    f"{part.label}: got the columns {listed(part.names)}, expected those of "
                    f"{parts[0].label}, which differ in {listed(sorted(other))}; leave the file "
                    "out, or name its columns alike"
                )
        self.notes = list(dict.fromkeys(note for part in parts for note in part.notes))
        self._begins: list[int] = []

    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns of all parts."""
        import pandas as pd

        frames = [part.load(names, text) for part in self.parts]
        for part, frame in zip(self.parts, frames, strict=True):
            if not len(frame):
                raise DataError(
                    f"{part.label}: got no rows of data, expected at least one; leave the file out"
                )
        self._begins = [0, *np.cumsum([len(frame) for frame in frames]).tolist()]
        return pd.concat(frames, ignore_index=True)

    def part_of(self, row: Any) -> Any:
        """Return which part holds a row, or each of several."""
        return np.searchsorted(self._begins, row, side="right") - 1

    def place(self, row: int) -> str:
        """Return file and line of a row."""
        part = self.part_of(row)
        return f"{self.parts[part].label}, {self.parts[part].place(row - self._begins[part])}"

    def written(self, row: int, name: str) -> str:
        """Return a cell as it is written."""
        part = self.part_of(row)
        cell: str = self.parts[part].written(row - self._begins[part], name)
        return cell


def open_data(data: Data, dialect: Dialect | None = None) -> Source:
    """Return the source of rows for a path, several paths, a folder of files, or a DataFrame.

    Raises
    ------
    DataError
        There is no such file, its format is not known, or it is damaged.
    MissingExtraError
        The package that reads such files is not installed.
    """
    dialect = dialect or Dialect()
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        if os.path.isdir(path):
            files = files_of(path)
            if not files:
                raise DataError(
                    f"{path}: got a folder without tables, expected files with the suffix "
                    f"{' or '.join(SUFFIXES)}; check the path"
                )
            return _joined(str(path), files, dialect)
        return _opened(path, dialect)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return FrameSource(data)
    if isinstance(data, list | tuple) and all(isinstance(one, str | os.PathLike) for one in data):
        paths = [Path(one) for one in data]
        if len(paths) == 1:
            return open_data(paths[0], dialect)
        if paths:
            return _joined(f"{len(paths)} files", paths, dialect)
    raise DataError(
        f"got {type(data).__name__} as data, expected a path, several, or a DataFrame; pass one"
    )


def files_of(path: Path) -> list[Path]:
    """Return the file itself, or the tables of a folder in the order of their names."""
    if not os.path.isdir(path):  # where pathlib would raise for a name that is too long
        return [path]
    try:
        return sorted(file for file in path.iterdir() if suffix_of(file) in SUFFIXES)
    except OSError as error:
        raise DataError(
            f"{path}: got a folder that cannot be read ({error.strerror}), expected tables in it; "
            "check its permissions"
        ) from error


def _joined(label: str, files: list[Path], dialect: Dialect) -> Source:
    return JoinedSource(label, [_opened(file, dialect) for file in files])


def _opened(path: Path, dialect: Dialect) -> Source:
    suffix = suffix_of(path)
    if os.path.isdir(path):
        raise DataError(f"{path}: got a folder, expected a file; check the path")
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: got a file with suffix {path.suffix!r}, expected {' or '.join(SUFFIXES)}; "
            "convert the file"
        )
    if not os.path.isfile(path):
        raise DataError(
            f"{path}: got no file of this name, expected a file or a folder; check the path"
        )
    if suffix == ".npz":
        return NpzSource(path)
    if suffix in _TEXT:
        return TextFile(path, dialect)
    import pandas as pd

    package, extra = ("pyarrow", "parquet") if suffix in _PARQUET else ("openpyxl", "excel")
    require_extra(package, extra)
    try:
        require_room = _parquet_room if suffix in _PARQUET else _excel_room
        require_room(path)
        if suffix in _PARQUET:
            whole = pd.read_parquet(path)
            for dtype, (_, column) in zip(whole.dtypes, whole.items(), strict=True):
                if dtype.kind == "O":
                    column.to_list()  # raises where bytes are no text
            return FrameSource(whole, str(path), stem_of(path))
        # Without a header pandas neither invents names nor makes equal ones differ.
        sheet = pd.read_excel(path, header=None, keep_default_na=False, na_values=list(MISSING))
    except DataError:
        raise
    except Exception as error:  # whatever the package that reads it raises
        raise DataError(
            f"{path}: got a file that cannot be read ({error}), expected a whole one; write it "
            "again"
        ) from error
    if not len(sheet):
        raise DataError(f"{path}: got an empty sheet, expected a line of names and rows; fill it")
    named = sheet.iloc[0].notna()
    frame = sheet.loc[1:, named].infer_objects().set_axis(sheet.iloc[0][named].map(str), axis=1)
    return FrameSource(frame, str(path), stem_of(path), first=2)


_MOST_CELLS = 20_000_000  # of a sheet, which takes a minute or two
_CELL_BYTES = 100  # of a cell in lists of Python, through which sheets are read
_XML_BYTES = 4  # of a byte of shared texts and styles, which are read whole
_LARGER = "cut the table into several files, or take a larger machine"


def _parquet_room(path: Path) -> None:
    """Raise `DataError` unless there is memory for what the file's own directory announces."""
    parquet = require_extra("pyarrow.parquet", "parquet")
    about = parquet.read_metadata(path)
    _require_columns(path, about.num_columns)
    # Of groups only the sizes: what they say of a column can end the process if it is damaged.
    size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
    needed = size + 8 * about.num_rows * about.num_columns
    require_bytes(needed, f"{path}: {about.num_rows} rows of parquet", _LARGER, DataError)


def _excel_room(path: Path) -> None:
    """Raise `DataError` unless there is memory for the members of the file and the first sheet."""
    openpyxl = require_extra("openpyxl", "excel")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    what = f"{path}: a workbook of {size} bytes"
    require_bytes(_XML_BYTES * size, what, _LARGER, DataError)
    book = openpyxl.load_workbook(path, read_only=True)
    try:
        cells = 0
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # which may say anything
        for row in sheet.iter_rows(values_only=True):
            cells += 1 + len(row)  # those before the last in a row count although they are empty
            if cells > _MOST_CELLS:
                raise DataError(
                    f"{path}: got a sheet of more than {_MOST_CELLS} cells, empty ones among them, "
                    "expected a smaller one; save it as csv"
                )
    finally:
        book.close()
    what = f"{path}: a sheet of {cells} cells"
    require_bytes(_CELL_BYTES * cells, what, _LARGER, DataError)


def _require_columns(path: Path, count: int) -> None:
    if count > MOST_COLUMNS:
        raise DataError(
            f"{path}: got {count} columns, expected at most {MOST_COLUMNS}; a row of the table is "
            "a line: transpose it"
        )
