"""Tables in text files as people have them: separator, decimal mark and header are found out."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from elegans.data.metered import Metered
from elegans.data.sources import MISSING, Source, number_in
from elegans.errors import DataError
from elegans.files import open_file

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LOOKED_AT = 50
_LONGEST_LINE = 1 << 24


_MARKS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; what is None is found out from its first lines.

    Parameters
    ----------
    separator
        What stands between cells, one character; a space stands for any number of them.
    decimal
        ``"."`` or ``","``.
    header
        Whether the first line holds the names of the columns; otherwise they are called column1,
        column2 and so on.
    encoding
        Of the text.
    """

    separator: str | None = None
    decimal: Literal[".", ","] | None = None
    header: bool | None = None
    encoding: str = "utf-8-sig"  # with and without the mark that spreadsheets put first

    @classmethod
    def of(
        cls,
        separator: str | None = None,
        decimal: Literal[".", ","] | None = None,
        header: Literal["yes", "no"] | None = None,
        encoding: str | None = None,
    ) -> Dialect:
        """Return the dialect that commands and runs describe in words.

        Examples
        --------
        >>> Dialect.of(separator="semicolon", header="no")
        Dialect(separator=';', decimal=None, header=False, encoding='utf-8-sig')
        """
        mark = None if separator is None else _MARKS.get(separator, separator)
        return cls(
            mark, decimal, None if header is None else header == "yes", encoding or cls.encoding
        )


class TextFile(Source):
    """A text file of rows of cells, possibly compressed."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        super().__init__(str(path), stem_of(path))
        self.path, self._dialect = path, dialect
        if dialect.separator is not None and len(dialect.separator) != 1:
            raise DataError(
                f"got the separator {dialect.separator!r}, expected one character, or tab, space, "
                "comma or semicolon in words; pass one"
            )
        try:
            codecs.lookup(dialect.encoding)
        except (LookupError, ValueError) as error:
            raise self._no_encoding() from error
        lines = self._first_lines()
        if not lines or not lines[0].strip():
            raise DataError(
                f"{path}, line 1: got nothing, expected the names of the columns; the file is "
                "empty or starts with a blank line"
            )
        self.separator = dialect.separator or _separator(lines)
        rows = [row for row in self._rows(lines) if row]
        if not rows:
            raise self._damaged(csv.Error("unbalanced quotes in the first line"))
        first, others = [cell.strip() for cell in rows[0]], rows[1:]
        self.decimal = dialect.decimal or self._decimal_mark(rows)
        has_header = dialect.header
        if has_header is None:
            has_header = _is_header(first, self.decimal)
        self._skipped = 1 if has_header else 0
        width = len(first)
        if has_header and others and all(len(row) == width + 1 for row in others):
            if not any(row[-1].strip() for row in others):  # lines end with a separator
                first = [*first, ""]
            elif len({row[0] for row in others}) == len(others):  # as R writes row names
                first = ["", *first]
        if not has_header:
            first = [f"column{k + 1}" for k in range(width)]
            self.notes.append("no line of names: columns are called column1, column2, ...")
        elif "" in first:
            self.notes.append("columns without a name are left out")
        self._header = first
        if self.separator != ",":
            self.notes.append(f"cells are separated by {SEPARATORS.get(self.separator, 'marks')}")
        if self.decimal == ",":
            self.notes.append("decimal commas")
        self.set_names([name for name in first if name], ", line 1", ", or pass --header no")

    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns, those of `text` as they are written."""
        import pandas as pd

        header = self._header
        at = {name: k for k, name in enumerate(header) if name}
        # Cells beyond the last tell rows that are too long, a last cell that is missing those that
        # are too short: pandas by itself passes over both.
        last, beyond = len(header) - 1, len(header)
        try:
            with self._opened() as file, warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    file,
                    sep=r"\s+" if self.separator == " " else self.separator,
                    header=None,
                    names=range(len(header) + 1),
                    index_col=False,
                    skiprows=self._skipped,
                    dtype={at[name]: str for name in text} | {beyond: str},
                    decimal=self.decimal,
                    skipinitialspace=True,
                    keep_default_na=False,
                    na_values=list(MISSING),
                    skip_blank_lines=False,
                    low_memory=False,
                    **_exact(pd.__version__),
                )
        except pd.errors.EmptyDataError:
            frame = pd.DataFrame({k: [] for k in range(len(header) + 1)})
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            self._check_rows()
            raise self._damaged(error) from error
        frame = frame.iloc[: self._end(frame)]
        suspicious = frame[last].isna().any() or frame[beyond].notna().any()
        if suspicious or any(frame[at[name]].isna().any() for name in names):
            self._check_rows()
        # Position k stands for a name; names are chosen twice where a column is in two roles.
        return pd.DataFrame({name: frame[at[name]] for name in dict.fromkeys(names)})

    def place(self, row: int) -> str:
        """Return where a row is in the file."""
        return f"line {self._lines[row]}"

    def written(self, row: int, name: str) -> str:
        """Return a cell as it is written."""
        with self._opened() as file:
            reader = self._reader(file)
            cells: list[str] = next(islice(filter(None, reader), row + self._skipped, None), [])
        k = self._header.index(name)
        return cells[k].strip() if k < len(cells) else ""

    # --- the first lines -----------------------------------------------------------------

    def _first_lines(self) -> list[str]:
        with self._opened() as file:
            lines: list[str] = []
            for line in islice(self._lines_of(file), _LOOKED_AT):
                lines.append(line)
                if sum(map(len, lines)) > _LONGEST_LINE:
                    break
            return lines

    def _lines_of(self, file: TextIO) -> Iterator[str]:
        """Return the lines; raise `DataError` at one that would not end."""
        while line := file.readline(_LONGEST_LINE + 1):
            if len(line) > _LONGEST_LINE:
                raise DataError(
                    f"{self.path}: got a line of more than {_LONGEST_LINE:,} characters, expected "
                    "a shorter one; this is no table, or its lines end in another way"
                )
            yield line

    def _rows(self, lines: list[str]) -> list[list[str]]:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # a quoted cell may go on after these lines
            rows.extend(self._reader(iter(lines)))
        return rows

    def _decimal_mark(self, rows: list[list[str]]) -> Literal[".", ","]:
        if self.separator == ",":
            return "."
        cells = [cell.strip() for row in rows for cell in row]
        with_comma = [cell for cell in cells if "," in cell]
        if not with_comma or any(number_in(cell, ",") is None for cell in with_comma):
            return "."
        return "," if not any("." in c and number_in(c, ".") is not None for c in cells) else "."

    # --- reading -------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        opener = _OPENERS.get(self.path.suffix.lower())
        separator = getattr(self, "separator", ",")  # not known yet for the first lines
        encoding = self._dialect.encoding
        try:
            with ExitStack() as opened:
                packed = opened.enter_context(open_file(self.path))
                plain = packed if opener is None else opened.enter_context(opener(packed, "rb"))
                size = os.fstat(packed.fileno()).st_size if opener is None else None
                metered = Metered(plain, self.path, separator, size)
                buffered = io.BufferedReader(metered, 1 << 18)
                yield opened.enter_context(io.TextIOWrapper(buffered, encoding, newline=""))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: got bytes that are not UTF-8 ({error.reason} at byte {error.start} "
                "of a block), expected UTF-8 text; save the file as 'CSV UTF-8', or pass "
                "--encoding latin-1 or what it is"
            ) from error
        except (LookupError, UnicodeError) as error:
            raise self._no_encoding() from error
        except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
            raise self._not_whole(error) from error
        except OSError as error:
            if opener is not None and error.strerror is None:  # how bz2 says so
                raise self._not_whole(error) from error
            raise DataError(
                f"{self.path}: got a file that cannot be opened ({error.strerror or error}), "
                "expected one that may be read; check its permissions"
            ) from error
        except csv.Error as error:
            raise self._damaged(error) from error
        except MemoryError as error:
            raise DataError(
                f"{self.path}: got a file that needs more memory than there is, expected a smaller "
                "one; cut the table into several files, or take a larger machine"
            ) from error

    def _no_encoding(self) -> DataError:
        return DataError(
            f"{self.path}: got the encoding {self._dialect.encoding!r}, expected one of text that "
            "Python knows, such as utf-8 or latin-1; choose one"
        )

    def _not_whole(self, error: Exception) -> DataError:
        return DataError(
            f"{self.path}: got a damaged compressed file ({error}), expected a whole one; compress "
            "the file again"
        )

    def _damaged(self, error: Exception) -> DataError:
        return DataError(
            f"{self.path}: got text that is not CSV ({error}), expected cells with balanced "
            "quotes; write it again"
        )

    def _reader(self, source: TextIO | Iterator[str]) -> Any:
        lines = self._lines_of(source) if isinstance(source, io.TextIOWrapper) else source
        if self.separator == " ":
            lines = (" ".join(line.split()) + "\n" for line in lines)
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)

    def _end(self, frame: pd.DataFrame) -> int:
        """Return the number of rows without the blank lines at the end of the file."""
        filled = frame.notna().any(axis=1).to_numpy()
        if filled.all():
            return len(frame)
        with self._opened() as file:
            return sum(1 for row in self._reader(file) if row) - self._skipped

    def _check_rows(self) -> None:
        """Raise at the first line that is blank or has more or fewer cells than the header."""
        blank = None
        header = self._header
        with self._opened() as file:
            reader = self._reader(file)
            rows = islice(reader, self._skipped, None)
            for row in rows:
                if not row:
                    blank = reader.line_num if blank is None else blank
                    continue
                if blank is not None:
                    raise DataError(
                        f"{self.path}, line {blank}: got a blank line between rows, expected a "
                        "row; remove the line"
                    )
                if len(row) != len(header):
                    raise DataError(
                        f"{self.path}, line {reader.line_num}: got {len(row)} cells, expected "
                        f"{len(header)} as in the first line; quote cells that hold a separator"
                    )

    @cached_property
    def _lines(self) -> NDArray[np.int64]:
        """The line on which each row ends, found out when it is asked for."""
        with self._opened() as file:
            reader = self._reader(file)
            lines = [reader.line_num for row in reader if row]
        return np.array(lines[self._skipped :], dtype=np.int64)


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffixes."""
    inner = path.with_suffix("") if path.suffix.lower() in _OPENERS else path
    return inner.stem


def suffix_of(path: Path) -> str:
    """Return the suffix that says what a file holds, compression aside."""
    inner = path.with_suffix("") if path.suffix.lower() in _OPENERS else path
    return inner.suffix.lower()


def _separator(lines: list[str]) -> str:
    """Return the separator by which all first lines have the same number of cells."""
    for names_rows in (False, True):  # R gives row names no name: a first line a cell short
        for separator in ("\t", ";", "|", ",", " "):
            texts = [" ".join(line.split()) for line in lines] if separator == " " else lines
            try:
                rows = list(csv.reader(texts, delimiter=separator, skipinitialspace=True))
            except csv.Error:
                continue
            rows = [row for row in rows if row]
            widths = {len(row) for row in rows[1:]} or {len(rows[0])}
            expected = len(rows[0]) + names_rows
            if widths == {expected} and expected > 1 and _stands_alone(separator, rows):
                return separator
    return ","


def _stands_alone(separator: str, rows: list[list[str]]) -> bool:
    """Whether commas that are left inside cells are decimal ones."""
    if separator == ",":
        return True
    left = [cell for row in rows for cell in row if "," in cell]
    others = separator == " " and any(mark in cell for cell in rows[0] for mark in ";\t|")
    return not others and all(number_in(cell.strip(), ",") is not None for cell in left)


def _exact(version: str) -> dict[str, Any]:
    """Return the option by which pandas reads numbers as Python does; 3.1 does so by itself."""
    known = tuple(int(part) for part in version.split(".")[:2])
    return {} if known >= (3, 1) else {"float_precision": "round_trip"}


def _is_header(first: list[str], decimal: str) -> bool:
    """Whether the first line holds names: no cell is a number, or they count the columns."""
    numbers = [number_in(cell, decimal) for cell in first]
    counted = [number for number in numbers if number is not None]
    if not counted:
        return True
    return counted in ([float(k) for k in range(len(first))], _counted(first)) and len(first) > 1


def _counted(first: list[str]) -> list[float]:
    """Return 0, 1, ... for a line of names that begins with an empty cell."""
    return [float(k) for k in range(len(first) - 1)] if first[0] == "" else []
