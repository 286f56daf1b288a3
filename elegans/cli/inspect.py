"""`elegans inspect`: how a table is understood, and a command to train on it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from elegans.cli.commands import Inspect
from elegans.cli.printing import print_table
from elegans.cli.table import files_in, label_of
from elegans.data import Dialect
from elegans.data.choosing import is_binary
from elegans.data.kinds import Kind, categories_of, epoch_unit, kind_of, numbers_of, seconds_of
from elegans.data.opening import JoinedSource, open_data
from elegans.data.sequences import Array
from elegans.data.sources import Source
from elegans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_TIMES = ("t", "time", "timestamp", "date", "datetime", "seconds", "ms")
_SEQUENCES = (
    "sequence", "series", "episode", "trial", "run", "session", "subject", "participant",
    "recording", "id", "group", "worm", "case",
)  # fmt: skip
_WORDS = 6


@dataclass(frozen=True)
class Parts:
    """What the columns of a table seem to be."""

    time: str | None
    sequence: str | None
    target: str | None
    classifies: bool
    has_gaps: bool
    is_sorted: bool


def run(command: Inspect) -> None:
    """Print columns, kinds, missing cells and times, and a command that trains."""
    source = open_data(list(files_in(command.data)), Dialect.of(**vars(command.text)))
    frame = source.load(source.names)
    if not len(frame):
        raise DataError(
            f"{source.label}: got no rows of data, expected at least one; check that the file was "
            "written to the end"
        )
    kinds = {name: kind_of(frame[name], source.decimal) for name in source.names}
    files = ""
    if isinstance(source, JoinedSource) and len(command.data) == 1:  # a folder
        files = f"{len(source.parts)} files, "
    print(f"{label_of(command.data)}: {files}{len(frame):,} rows, {len(kinds)} columns")
    for note in source.notes:
        print(f"note: {note}")
    print()
    print_table({name: _told(source, frame[name], kind) for name, kind in kinds.items()})
    parts = guess(source, frame, kinds)
    print()
    if parts.time is not None:
        print_table({f"time {parts.time}": _sampling(source, frame, parts, kinds[parts.time])})
        print()
    if parts.target is None:
        print("No column can be a target: there are no numbers and no words.")
        return
    words = ["elegans", "train", *map(str, command.data), "--targets", parts.target]
    words += [] if parts.time is None else ["--time", parts.time]
    words += [] if parts.sequence is None else ["--sequence", parts.sequence]
    words += ["--missing", "fill"] if parts.has_gaps else []
    words += [] if parts.is_sorted else ["--sort"]
    for name, value in vars(command.text).items():
        words += [] if value is None else [f"--{name}", str(value)]
    print("classes are predicted" if parts.classifies else "numbers are predicted", "by:")
    print("  " + shlex.join(words))


def guess(source: Source, frame: pd.DataFrame, kinds: dict[str, Kind]) -> Parts:
    """Return what the columns seem to be: by their kinds, their order, and usual names."""
    time = next((name for name, kind in kinds.items() if kind == "date"), None)
    numeric = [name for name, kind in kinds.items() if kind == "number"]
    if time is None:
        usual = [name for name in numeric if name.lower() in _TIMES]
        epochs = [n for n in numeric if _epoch(source, frame[n]) is not None]
        time = next(iter((*epochs, *usual)), None)
    sequence = next(
        (
            name
            for name in kinds
            if name.lower() in _SEQUENCES
            and name != time
            and 1 < frame[name].nunique() < len(frame)
        ),
        None,
    )
    usable = [
        name
        for name, kind in kinds.items()
        if kind in ("number", "boolean", "category")
        and name not in (time, sequence)
        and frame[name].nunique() > 1
    ]
    target = usable[-1] if usable else None
    classifies = target is not None and (
        kinds[target] == "category" or is_binary(frame[target], kinds[target])
    )
    shown = [name for name in kinds if kinds[name] != "empty" and kinds[name] != "text"]
    return Parts(
        time,
        sequence,
        target,
        classifies,
        bool(frame[shown].isna().any().any()),
        _is_sorted(source, frame, time, sequence, kinds),
    )


def _told(source: Source, cells: pd.Series, kind: Kind) -> str:
    """Return what is known of a column, in a line."""
    missing = int(cells.isna().sum())
    gaps = f", {missing:,} missing" if missing else ""
    if kind == "number":
        try:
            numbers = numbers_of(source, cells, kind)
        except DataError as fault:
            return f"{kind}{gaps}, but {str(fault).partition(', expected')[0]}"
        known = numbers[~np.isnan(numbers)]
        span = f"{known.min():.6g} to {known.max():.6g}"
        constant = ", the same in all rows" if known.min() == known.max() else ""
        return f"{kind}, {span}{constant}{gaps}"
    if kind == "category":
        words = categories_of(cells)
        more = f", ... ({len(words)})" if len(words) > _WORDS else ""
        return f"{kind}, {', '.join(words[:_WORDS])}{more}{gaps}"
    if kind == "date":
        return f"{kind}, {cells.dropna().iloc[0]} to {cells.dropna().iloc[-1]}{gaps}"
    if kind == "text":
        return f"{kind}, {cells.nunique():,} different{gaps}; cannot be an input"
    return kind + gaps


def _sampling(source: Source, frame: pd.DataFrame, parts: Parts, kind: Kind) -> str:
    """Return how long steps last."""
    times, unit = _clock(source, frame[parts.time], kind)
    gaps = np.concatenate([np.diff(times[rows]) for rows in _rows(source, frame, parts.sequence)])
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return "no two rows are apart"
    middle, low, high = np.median(gaps), gaps.min(), gaps.max()
    if high - low <= 1e-6 * middle:
        return f"regular, a step of {middle:.6g}{unit}"
    return f"irregular, steps of {low:.6g} to {high:.6g}{unit}, in the middle {middle:.6g}"


def _clock(source: Source, cells: pd.Series, kind: Kind) -> tuple[Array, str]:
    if kind == "date":
        return seconds_of(source, cells), " s"
    unit = _epoch(source, cells)
    return numbers_of(source, cells, "number"), "" if unit is None else f" {unit}"


def _epoch(source: Source, cells: pd.Series) -> str | None:
    try:
        return epoch_unit(numbers_of(source, cells, "number"))
    except DataError:
        return None


def _rows(source: Source, frame: pd.DataFrame, sequence: str | None) -> list[Array]:
    """Return the rows of each sequence, in the order of the table."""
    codes = np.zeros(len(frame), dtype=np.int64)
    if isinstance(source, JoinedSource):
        codes = source.part_of(np.arange(len(frame)))
    if sequence is not None:
        words = frame[sequence].map(str).factorize()[0]
        codes = codes * (words.max() + 1) + words
    order = np.argsort(codes, kind="stable")
    return list(np.split(order, np.flatnonzero(np.diff(codes[order])) + 1))


def _is_sorted(
    source: Source,
    frame: pd.DataFrame,
    time: str | None,
    sequence: str | None,
    kinds: dict[str, Kind],
) -> bool:
    """Whether the rows of sequences are together, and their times increase."""
    rows = _rows(source, frame, sequence)
    together = all(len(some) == some[-1] - some[0] + 1 for some in rows)
    if time is None or frame[time].isna().any():
        return together
    times, _ = _clock(source, frame[time], kinds[time])
    return together and all((np.diff(times[some]) > 0).all() for some in rows)
