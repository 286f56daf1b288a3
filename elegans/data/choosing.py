"""What a user asks of a table, and how its columns are understood."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from elegans.checks import check_choice
from elegans.data.kinds import (
    MOST_CATEGORIES,
    Column,
    Kind,
    categories_of,
    epoch_unit,
    kind_of,
    numbers_of,
    per_second,
)
from elegans.data.opening import JoinedSource
from elegans.data.reading import Missing, Reading
from elegans.data.sources import Source
from elegans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["auto", "regression", "classification"]


@dataclass(frozen=True)
class Choice:
    """What a user asks of a table; see `elegans.data.read_table`."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    time: str | None = None
    sequence: str | None = None
    exclude: tuple[str, ...] = ()
    missing: Missing = "error"
    sort: bool = False
    task: Task = "auto"
    horizon: int = 0
    time_unit: str | None = None
    date_format: str | None = None

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, ("error", "fill", "drop"))
        check_choice("task", self.task, ("auto", "regression", "classification"))
        if self.horizon < 0:
            raise DataError(
                f"got horizon = {self.horizon}, expected at least 0, the steps that the targets "
                "are ahead; choose another"
            )


def understood(source: Source, choice: Choice) -> Reading:
    """Find out how the rows of `source` are to be read.

    Raises
    ------
    DataError
        A column is not there, chosen twice, or of a kind that cannot serve.
    """
    targets = _resolved(source, "target", choice.targets, ())
    others = {choice.time, choice.sequence, *_excluded(source, choice.exclude)}
    # What is ahead may be told from what was.
    answers_only = () if choice.horizon else targets
    inputs = _resolved(source, "input", choice.inputs, {*answers_only, *others})
    roles = [name for name in (choice.time, choice.sequence) if name is not None]
    absent = [name for name in (*inputs, *targets, *roles) if name not in source.names]
    if absent:
        raise source.no_such(dict.fromkeys(absent))
    frame = source.load(
        (*inputs, *targets, *roles), () if choice.sequence is None else (choice.sequence,)
    )
    if not len(frame):
        raise DataError(
            f"{source.label}: got no rows of data, expected at least one; check that the file "
            "was written to the end"
        )
    kinds = {name: kind_of(frame[name], source.decimal) for name in (*inputs, *targets)}
    # Words are those of the file, not of the numbers that some of them may look like.
    worded = [
        name
        for name, kind in kinds.items()
        if kind in ("category", "boolean") or (name in targets and choice.task != "regression")
    ]
    written = source.load(tuple(worded), tuple(worded)) if worded else frame
    for name in worded:
        if kinds[name] != "number":
            frame[name] = written[name]
    notes = list(source.notes)
    named = set(choice.inputs)
    chosen = [
        column
        for name in inputs
        if (column := _input(source, frame[name], kinds[name], choice, name in named, notes))
        is not None
    ]
    if not chosen:
        raise DataError(
            f"{source.label}: got no input column of numbers or categories, expected at least "
            "one; name the columns that hold the inputs"
        )
    asked = [Column(name, kinds[name]) for name in targets]
    answers, classifies = _targets(source, frame, written, asked, choice)
    time_kind, unit = _time(source, frame, choice, notes)
    if isinstance(source, JoinedSource):
        notes.append(f"{len(source.parts)} files, each a sequence of its own")
    return Reading(
        tuple(chosen),
        answers,
        choice.time,
        choice.sequence,
        time_kind,
        unit,
        choice.missing,
        choice.sort,
        choice.horizon,
        classifies,
        choice.date_format,
        source.decimal,
        tuple(notes),
    )


def _resolved(
    source: Source, role: str, asked: Iterable[str], others: Iterable[Any]
) -> tuple[str, ...]:
    """Return the columns that names, patterns and ``all`` stand for."""
    found: list[str] = []
    taken = set(others)
    for each in asked:
        of_array = [name for name in source.names if name.startswith(f"{each}[")]
        if each in source.names:
            found.append(each)
        elif of_array:
            found += of_array
        else:
            pattern = "*" if each == "all" else each
            fitting = [name for name in source.names if fnmatch.fnmatchcase(name, pattern)]
            found += [name for name in fitting if name not in taken] or [each]
    if role == "excluded":
        return tuple(dict.fromkeys(found))
    if not found:
        raise DataError(
            f"{source.label}: got no {role} column, expected at least one; name the columns that "
            f"hold the {role}s"
        )
    name, count = Counter(found).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{source.label}: got {role} column {name!r} {count} times, expected each once; remove "
            "the repetition"
        )
    return tuple(found)


def _excluded(source: Source, asked: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that names and patterns exclude; each must mean one."""
    asked = tuple(asked)
    found = _resolved(source, "excluded", asked, ()) if asked else ()
    absent = [name for name in found if name not in source.names]
    if absent:
        raise source.no_such(absent)
    return found


def _input(
    source: Source, cells: pd.Series, kind: Kind, choice: Choice, is_named: bool, notes: list[str]
) -> Column | None:
    """Return the column as an input; None, and a note, where a pattern has named it in vain."""
    name = str(cells.name)
    if kind in ("date", "text", "empty"):
        what = {
            "date": "dates; make it the --time, or leave it out",
            "text": f"text of more than {MOST_CATEGORIES} words; leave it out",
            "empty": "no cells that are filled; leave it out",
        }[kind]
        if is_named:
            raise DataError(
                f"{source.label}: got the input column {name!r} with {what}, expected numbers, "
                "booleans or categories"
            )
        notes.append(f"{name!r} is left out: {what.split(';')[0]}")
        return None
    missing = int(cells.isna().sum())
    categories = categories_of(cells) if kind == "category" else ()
    if kind == "category":
        notes.append(f"{name!r} is shown as {len(categories)} inputs, one for each word")
    elif kind == "boolean":
        notes.append(f"{name!r} is shown as 0 and 1")
    if cells.nunique() == 1:
        notes.append(f"{name!r} is the same in all rows")
    start = 0.0
    if missing and choice.missing == "fill":
        notes.append(
            f"{name!r} has {missing} missing cells: the last value stands for them, with a mask "
            "and the time since then as further inputs"
        )
        if kind != "category":
            start = float(np.nanmean(numbers_of(source, cells, kind)))
    has_gaps = bool(missing) and choice.missing == "fill"
    return Column(name, kind, categories, has_gaps, start)


def _targets(
    source: Source,
    frame: pd.DataFrame,
    written: pd.DataFrame,
    columns: list[Column],
    choice: Choice,
) -> tuple[tuple[Column, ...], bool]:
    """Return the columns that are asked for, and whether they are a class.

    The classes are the words of `written`.
    """
    name = columns[0].name
    for column in columns:
        if column.kind in ("date", "text", "empty"):
            raise DataError(
                f"{source.label}: got the target column {column.name!r} of kind {column.kind}, "
                f"expected numbers, or at most {MOST_CATEGORIES} classes; choose another"
            )
    classifies = choice.task == "classification"
    if choice.task == "auto":
        classifies = any(column.kind == "category" for column in columns) or (
            len(columns) == 1 and is_binary(frame[name], columns[0].kind)
        )
    if not classifies:
        words = [column.name for column in columns if column.kind == "category"]
        if words:
            raise DataError(
                f"{source.label}: got words in the target column {words[0]!r}, expected numbers "
                "for a regression; pass --task classification"
            )
        return tuple(columns), False
    if len(columns) > 1:
        raise DataError(
            f"{source.label}: got {len(columns)} target columns with classes, expected one; train "
            "a circuit for each"
        )
    classes = categories_of(written[name])
    if len(classes) > MOST_CATEGORIES:
        raise DataError(
            f"{source.label}, column {name!r}: got {len(classes)} classes, expected at most "
            f"{MOST_CATEGORIES}; pass --task regression if they are amounts, or choose another"
        )
    return (Column(name, "category", classes),), True


def is_binary(cells: pd.Series, kind: str) -> bool:
    """Whether a column is booleans, or 0 and 1 in whole numbers."""
    if kind == "boolean":
        return True
    return cells.dtype.kind in "iuf" and set(cells.dropna().unique().tolist()) == {0, 1}


def _time(
    source: Source, frame: pd.DataFrame, choice: Choice, notes: list[str]
) -> tuple[str, str | None]:
    """Return the kind of times and the unit of elapsed times."""
    if choice.time is None:
        return "number", None
    column = frame[choice.time]
    kind = "date" if choice.date_format else kind_of(column, source.decimal)
    if kind == "date":
        notes.append(f"{choice.time!r} holds dates: times are in seconds")
        return "date", "s"
    if choice.time_unit is not None:
        per_second(choice.time_unit)
        return "number", choice.time_unit
    unit = epoch_unit(numbers_of(source, column, "number"))
    if unit is None:
        return "number", None
    notes.append(f"{choice.time!r} counts from 1970 in {unit}: times are in seconds")
    return unit, "s"
