"""Kinds of columns, and the numbers that a circuit is shown for them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from elegans.data.sequences import Array
from elegans.data.sources import Source, as_word, listed, number_in
from elegans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "boolean", "category", "date", "text", "empty"]

MOST_CATEGORIES = 50
"""Words of which a column has more are text."""

_BOOLEANS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_DATE = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[-+]?[€$£]?\d[\d_., ']*%?")
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$", re.IGNORECASE)
_EPOCHS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_YEAR_2000, _YEAR_2100 = 946_684_800.0, 4_102_444_800.0


@dataclass(frozen=True)
class Column:
    """A column as it was understood, so that other files are understood in the same way.

    Parameters
    ----------
    name
        As in the file.
    kind
        What its cells are.
    categories
        The words of a category, sorted.
    has_gaps
        Whether cells may be missing; the circuit is then told which, and since when.
    start
        What stands for cells that are missing before the first one: the mean, or 0.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    has_gaps: bool = False
    start: float = 0.0

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the numbers that a circuit is shown for it."""
        if self.kind == "category":
            return tuple(f"{self.name}={category}" for category in self.categories)
        return (self.name,)


def kind_of(column: pd.Series, decimal: str = ".") -> Kind:
    """Return what the cells of a column are.

    Words are booleans if they are true and false or yes and no, dates if all begin with year, month
    and day, numbers (maybe with a fault) if at least half of them are numbers or made of digits,
    or else categories if there are at most 50 of them.
    """
    kind = column.dtype.kind
    if kind == "b":
        return "boolean"
    if kind in "iuf":
        return "number" if column.notna().any() else "empty"
    if kind == "M":
        return "date"
    try:
        words = [str(word).strip() for word in column.dropna().unique()]
    except TypeError:  # lists and the like
        return "text"
    if not words:
        return "empty"
    if {word.lower() for word in words} <= _BOOLEANS.keys():
        return "boolean"
    if all(_DATE.fullmatch(word) for word in words):
        return "date"
    if 2 * sum(_is_numeric(word, decimal) for word in words) >= len(words):
        return "number"
    return "category" if len(words) <= MOST_CATEGORIES else "text"


def categories_of(column: pd.Series) -> tuple[str, ...]:
    """Return the words of a column: numbers in their order, then other words in theirs."""
    words = {as_word(cell) for cell in column.dropna().unique()}
    return tuple(sorted(words, key=lambda word: (number_in(word) is None, _order(word), word)))


def words_of(source: Source, column: pd.Series, known: Column) -> NDArray[np.int64]:
    """Return which category of `known` each cell is, (row,); -1 where it is missing.

    Raises
    ------
    DataError
        A word is not among the categories.
    """
    index = {word: k for k, word in enumerate(known.categories)}
    codes = column.map(lambda cell: index.get(as_word(cell), -2)).where(column.notna(), -1)
    found = codes.to_numpy(np.int64)
    if (found == -2).any():
        row = int(np.argmax(found == -2))
        raise source.fault(
            row,
            known.name,
            repr(as_word(column.iloc[row])),
            f"one of {listed(known.categories)}, which were there before; correct the cell, or "
            "train on data that have it",
        )
    return found


def numbers_of(source: Source, column: pd.Series, kind: Kind) -> Array:
    """Return the cells as numbers, (row,); NaN where they are missing.

    Raises
    ------
    DataError
        A cell is no number, or infinite.
    """
    if kind == "boolean":
        convert: Callable[[Any, str], float | None] = _boolean
        expected = "true or false; the column changed its kind: correct the cell"
    else:
        convert = _number
        expected = (
            "a number such as -1.5e3; correct the cell, leave it empty where it is missing, or "
            "pass --task classification where it is a class"
        )
    if column.dtype.kind in "iuf" or (column.dtype.kind == "b" and kind == "boolean"):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    else:
        numbers = np.empty(len(column))
        missing = column.isna().to_numpy()
        for row, cell in enumerate(column):
            number = math.nan if missing[row] else convert(cell, source.decimal)
            if number is None:
                got = repr(source.written(row, str(column.name)))
                raise source.fault(row, str(column.name), _short(got), expected)
            numbers[row] = number
    odd = ~(np.isnan(numbers) | np.isin(numbers, (0.0, 1.0)))
    if kind == "boolean" and odd.any():
        row = int(np.argmax(odd))
        raise source.fault(row, str(column.name), f"{numbers[row]:g}", expected)
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise source.fault(
            row,
            str(column.name),
            str(numbers[row]),
            "a finite number; drop the row or fill the value in",
        )
    return numbers


def seconds_of(source: Source, column: pd.Series, format: str | None = None) -> Array:
    """Return dates as seconds since the first one, (row,); NaN where they are missing.

    Dates are ISO 8601, or as `format` says. Where all have an offset from UTC, it is taken into
    account.

    Raises
    ------
    DataError
        A date cannot be read, or some have an offset and others have none.
    """
    import pandas as pd

    name = str(column.name)
    if column.dtype.kind == "M":
        dates = column
    else:
        words = column.map(lambda cell: None if pd.isna(cell) else str(cell).strip())
        if format is None:
            zoned = words.map(lambda word: word is not None and bool(_ZONE.search(word[10:])))
            there = words.notna()
            if zoned.any() and (there & ~zoned).any():
                row = int(np.argmax((there & ~zoned).to_numpy()))
                raise source.fault(
                    row,
                    name,
                    repr(words.iloc[row]),
                    "an offset from UTC as in other rows, such as +01:00; write all times with it, "
                    "or none",
                )
        try:
            dates = pd.to_datetime(
                words,
                format=format or "ISO8601",
                errors="coerce",
                utc="%z" in format if format is not None else bool(zoned.any()),
            )
        except ValueError as error:
            raise DataError(
                f"got the date format {format!r}, expected one of Python's, such as "
                f"'%d/%m/%Y %H:%M' ({error}); correct it"
            ) from error
        if (dates.isna() & words.notna()).any():
            row = int(np.argmax((dates.isna() & words.notna()).to_numpy()))
            raise source.fault(
                row,
                name,
                repr(words.iloc[row]),
                "a date such as 2015-02-04 17:51:00; correct the cell, or pass --date-format, such "
                "as '%d/%m/%Y'",
            )
    first = dates.min()
    seconds: Array = (dates - first).dt.total_seconds().to_numpy(np.float64)
    return seconds


def epoch_unit(times: Array) -> str | None:
    """Return the unit of times that are counted from 1970, None if they are not.

    Examples
    --------
    >>> epoch_unit(np.array([1.4e12, 1.5e12])), epoch_unit(np.array([0.0, 0.1]))
    ('ms', None)
    """
    known = times[np.isfinite(times)]
    for unit, factor in _EPOCHS.items():
        if (
            len(known)
            and (known >= _YEAR_2000 * factor).all()
            and (known < _YEAR_2100 * factor).all()
        ):
            return unit
    return None


def per_second(unit: str) -> float:
    """Return how many of a unit of time are a second."""
    longer = {"min": 1 / 60, "h": 1 / 3600, "d": 1 / 86400}
    known = _EPOCHS | longer
    if unit not in known:
        raise DataError(
            f"got the unit of time {unit!r}, expected one of {', '.join(known)}; choose one"
        )
    return known[unit]


def _is_numeric(word: str, decimal: str) -> bool:
    """Whether a word is a number, or was meant to be one."""
    return number_in(word, decimal) is not None or bool(_DIGITS.fullmatch(word))


def _number(cell: Any, decimal: str) -> float | None:
    if isinstance(cell, str):
        return number_in(cell.strip(), decimal)
    if isinstance(cell, bool | np.bool_):
        return None  # the column changed its kind
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _boolean(cell: Any, _decimal: str) -> float | None:
    return _BOOLEANS.get(str(cell).strip().lower())


def _order(word: str) -> float:
    number = number_in(word)
    return 0.0 if number is None else number


def _short(text: str) -> str:
    return text if len(text) <= 42 else text[:41] + "…"
