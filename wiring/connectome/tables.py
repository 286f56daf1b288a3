"""Edge lists: text, Excel, Parquet, Feather and DataFrames, read in parts with a bar."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.extras import require_extra
from elegans.files import open_file
from elegans.wiring.connectome.rows import EdgeRows

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "pre": (
        "pre", "source", "pre_root_id", "pre_pt_root_id", "bodyid_pre", "presynaptic", "pre_name",
        "from",
    ),
    "post": (
        "post", "target", "post_root_id", "post_pt_root_id", "bodyid_post", "postsynaptic",
        "post_name", "to",
    ),
    "count": ("synapses", "weight", "syn_count", "count", "number", "nsyn", "n_synapses"),
    "type": ("type", "synapse_type", "syntype"),
    "transmitter": ("nt_type", "transmitter", "neurotransmitter"),
}  # fmt: skip
"""Columns of edge lists, in small letters; the first that is there is read."""

_IDS = ("root_id", "pt_root_id", "bodyid")
"""Endings and beginnings of columns of whole numbers, which are read as such: it takes a third."""

CHUNK = 1_000_000
_LONGEST = 2**24
"""Bytes of a line of columns: a matrix of a million cells has no more."""
TEXTS = (".csv", ".tsv", ".txt", ".tab", ".edgelist")
ARROW = (".parquet", ".feather", ".arrow")
EXCEL = (".xlsx", ".xls")


def chosen_columns(
    header: Iterator[Any] | list[Any], columns: Mapping[str, str | None] | None
) -> dict[str, Any]:
    """Return the column of the file for each field of `COLUMNS` that it has.

    Parameters
    ----------
    header
        The columns of the file.
    columns
        Names that the user gives, by field; None leaves a field out.
    """
    header = list(header)
    small = {str(column).strip().lower(): column for column in header}
    named = dict(columns or {})
    unknown = set(named) - set(COLUMNS)
    if unknown:
        raise WiringError(f"columns may name {', '.join(COLUMNS)}, got {sorted(unknown)[0]!r}")
    chosen: dict[str, Any] = {}
    for field, known in COLUMNS.items():
        if field in named:
            name = named[field]
            if name is None:
                continue
            if name not in header and str(name).strip().lower() not in small:
                raise WiringError(
                    f"no column {name!r} for {field!r} in the file, which has "
                    f"{', '.join(map(str, header))}"
                )
            chosen[field] = name if name in header else small[str(name).strip().lower()]
            continue
        found = next((small[key] for key in known if key in small), None)
        if found is not None:
            chosen[field] = found
    missing = [field for field in ("pre", "post") if field not in chosen]
    if missing:
        raise WiringError(
            f"expected a column for {' and '.join(map(repr, missing))}, such as "
            f"{', '.join(COLUMNS[missing[0]][:4])}, got {', '.join(map(str, header)) or 'none'}; "
            f"name it by columns={{{missing[0]!r}: ...}}"
        )
    return chosen


def rows_of_frame(frame: pd.DataFrame, columns: Mapping[str, str | None] | None) -> EdgeRows:
    """Return the rows of a DataFrame."""
    rows = EdgeRows()
    _add(rows, frame, chosen_columns(list(frame.columns), columns))
    return rows


def _add(rows: EdgeRows, frame: pd.DataFrame, chosen: Mapping[str, Any]) -> None:
    count = np.ones(len(frame)) if "count" not in chosen else frame[chosen["count"]].to_numpy()
    rows.add(
        _exact(frame[chosen["pre"]], chosen["pre"]),
        _exact(frame[chosen["post"]], chosen["post"]),
        count,
        frame[chosen["type"]] if "type" in chosen else None,
        frame[chosen["transmitter"]] if "transmitter" in chosen else None,
    )


def _exact(names: pd.Series[Any], column: Any) -> pd.Series[Any]:
    """Return names, unless they are numbers that have lost digits, as 720575940621280688.0."""
    if len(names) and names.dtype.kind == "f":
        raise WiringError(
            f"column {column!r} holds fractional numbers, expected names or whole numbers: a float "
            "keeps 15 digits of an identifier; read it as text or as int64"
        )
    return names


def read_text(
    path: Path, columns: Mapping[str, str | None] | None, progress: bool | None, chunk: int
) -> EdgeRows:
    """Return the rows of a text with a header, read in parts of `chunk` rows."""
    import pandas as pd

    rows = EdgeRows()
    with opened_text(path, progress) as file:
        separator = separator_of(path, file)
        header = _header(file, separator)
        chosen = chosen_columns(header, columns)
        types: dict[Any, Any] = dict.fromkeys(header, "category")
        for field in ("pre", "post"):
            column = chosen[field]
            types[column] = np.int64 if _is_id(column) else str
        if "count" in chosen:
            del types[chosen["count"]]
        try:
            # All columns are read, not those alone that are used: rows that are too long are
            # noticed only then.
            reader = pd.read_csv(
                file,
                sep=separator,
                dtype=types,
                index_col=False,
                keep_default_na=False,
                na_values={chosen["count"]: [""]} if "count" in chosen else None,
                chunksize=chunk,
                skipinitialspace=True,
                low_memory=False,
            )
            with reader, warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                for part in reader:
                    _add(rows, part, chosen)
        except WiringError:
            raise
        except (
            ValueError,
            OverflowError,
            UnicodeDecodeError,
            EOFError,
            OSError,
            zlib.error,
            pd.errors.ParserWarning,
        ) as error:
            raise WiringError(
                f"after row {len(rows)}: {str(error).splitlines()[0]}; expected a table of text "
                f"with the columns {', '.join(map(str, header))} and whole numbers as identifiers"
            ) from error
    return rows


def _header(file: BinaryIO, separator: str) -> list[str]:
    text = first_line(file)
    # As pandas names them, spaces and all, for it is told which to read.
    return [cell.lstrip() for cell in next(csv.reader([text], delimiter=separator), [])]


def _is_id(column: Any) -> bool:
    small = str(column).strip().lower()
    return small.endswith(_IDS) or small.startswith("bodyid")


def first_line(file: BinaryIO) -> str:
    """Return the first line, its end left out; raise `WiringError` if it has no end."""
    line = file.readline(_LONGEST)
    file.seek(0)
    if len(line) == _LONGEST:
        raise WiringError(f"the first line has {_LONGEST} bytes or more, expected names of columns")
    return line.decode("utf-8-sig", errors="replace").rstrip("\r\n")


def separator_of(path: Path, file: BinaryIO) -> str:
    """Return what separates the cells of the first line: a tab, semicolon or comma."""
    line = first_line(file)
    counts = {sign: line.count(sign) for sign in "\t;,"}
    best = max(counts, key=lambda sign: counts[sign])
    if not counts[best]:
        raise WiringError(
            f"expected a line of columns, separated by comma, semicolon or tab, got {line[:60]!r}"
        )
    return best


@contextmanager
def opened_text(path: Path, progress: bool | None = False) -> Iterator[BinaryIO]:
    """Open a text that may be compressed by gzip, with a bar of the bytes read.

    Parameters
    ----------
    progress
        Whether to show the bar; None shows it on a terminal.
    """
    from tqdm import tqdm

    with open_file(path) as file:
        size = path.stat().st_size
        with tqdm(
            total=size,
            unit="B",
            unit_scale=True,
            desc=path.name,
            disable=None if progress is None else not progress,
        ) as bar:
            metered = io.BufferedReader(_Metered(file, bar), 1 << 20)
            if path.suffix.lower() == ".gz":
                try:
                    with gzip.GzipFile(fileobj=metered) as inflated:
                        yield inflated  # type: ignore[misc]
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise WiringError(
                        f"expected a file that gzip has compressed ({error}); it may be cut off"
                    ) from error
            else:
                yield metered


class _Metered(io.RawIOBase):
    """A file that tells a bar how far it was read; going back is not told."""

    def __init__(self, file: BinaryIO, bar: Any) -> None:
        self._file, self._bar, self._most = file, bar, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        read = self._file.readinto(buffer)  # type: ignore[attr-defined]
        here = self._file.tell()
        self._bar.update(max(0, here - self._most))
        self._most = max(here, self._most)
        return int(read)


def read_arrow(
    path: Path, columns: Mapping[str, str | None] | None, progress: bool | None, chunk: int
) -> EdgeRows:
    """Return the rows of a Parquet or Feather file, read in parts."""
    from tqdm import tqdm

    dataset = require_extra("pyarrow.dataset", "parquet")
    rows = EdgeRows()
    kind = "parquet" if path.suffix.lower() == ".parquet" else "feather"
    with open_file(path):  # a regular file
        pass
    try:
        source = dataset.dataset(path, format=kind)
        chosen = chosen_columns(source.schema.names, columns)
        with tqdm(
            total=source.count_rows(),
            unit=" rows",
            unit_scale=True,
            desc=path.name,
            disable=None if progress is None else not progress,
        ) as bar:
            for batch in source.to_batches(columns=list(chosen.values()), batch_size=chunk):
                _add(rows, batch.to_pandas(), chosen)
                bar.update(batch.num_rows)
    except WiringError:
        raise
    except Exception as error:  # whatever the package that reads it raises
        raise WiringError(f"expected a file of {kind}, but it does not read: {error}") from error
    return rows


def excel(path: Path, **options: Any) -> pd.DataFrame:
    """Return the first sheet of an Excel file as text."""
    import pandas as pd

    if path.suffix.lower() == ".xlsx":
        require_extra("openpyxl", "excel")
    with open_file(path) as file:
        try:
            if path.suffix.lower() == ".xlsx":
                with zipfile.ZipFile(file) as archive:
                    size = sum(member.file_size for member in archive.infolist())
                # A cell of 10 bytes or more takes about 100 in lists of Python.
                require_bytes(10 * size, "the sheet", "save it as csv", WiringError)
                file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about styles
                frame: pd.DataFrame = pd.read_excel(
                    file, dtype=str, keep_default_na=False, **options
                )
        except WiringError:
            raise
        except Exception as error:  # whatever the package that reads it raises
            raise WiringError(
                f"expected an Excel file, but it does not read ({error}); save it again, or as csv"
            ) from error
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame
