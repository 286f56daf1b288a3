"""How rows become sequences: chosen columns, their kinds, times, gaps, and what is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from elegans.data.kinds import (
    Column,
    epoch_unit,
    numbers_of,
    per_second,
    seconds_of,
    words_of,
)
from elegans.data.opening import JoinedSource
from elegans.data.sequences import Array, Sequence, SequenceTable
from elegans.data.sources import Source
from elegans.errors import DataError, RunError
from elegans.files import validated

if TYPE_CHECKING:
    import pandas as pd

Missing = Literal["error", "fill", "drop"]


@dataclass(frozen=True)
class Reading:
    """How rows become sequences, found out on one table and then the same for others.

    Parameters
    ----------
    inputs, targets
        The columns, as they were understood.
    time, sequence
        The columns of times and of sequences, or None.
    time_kind
        ``"number"``, ``"date"``, or the unit of times that are counted from 1970.
    time_unit
        The unit of elapsed times, None where the table does not say.
    missing
        ``"error"``; ``"fill"``, the last value, with a mask and the time since then as further
        inputs (GRU-D); or ``"drop"``, the rows, so that elapsed times are longer.
    sort
        Whether rows are sorted by sequence and time.
    horizon
        How many steps ahead the targets are.
    classifies
        Whether the one target is a class.
    date_format
        Of the times.
    decimal
        The mark between units and tenths of numbers in text.
    notes
        Rules that were applied, for reports.

    References
    ----------
    Che, Purushotham, Cho, Sontag, Liu, "Recurrent neural networks for multivariate time series with
    missing values", Scientific Reports 2018: GRU-D.
    """

    inputs: tuple[Column, ...]
    targets: tuple[Column, ...]
    time: str | None = None
    sequence: str | None = None
    time_kind: str = "number"
    time_unit: str | None = None
    missing: Missing = "error"
    sort: bool = False
    horizon: Annotated[int, Ge(0)] = 0
    classifies: bool = False
    date_format: str | None = None
    decimal: str = "."
    notes: tuple[str, ...] = field(default=(), compare=False)

    # --- names ---------------------------------------------------------------------------

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input of the circuit is."""
        names: list[str] = []
        for column in self.inputs:
            names += column.numbers
            if column.has_gaps:
                names += [f"{column.name} seen", f"{column.name} age"]
        return tuple(names)

    @property
    def target_names(self) -> tuple[str, ...]:
        """What each output of the circuit is."""
        ahead = f" (+{self.horizon})" if self.horizon else ""
        return tuple(name + ahead for column in self.targets for name in column.numbers)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the target, none for numbers."""
        return self.targets[0].categories if self.classifies else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table, each once."""
        chosen = [column.name for column in (*self.inputs, *self.targets)]
        chosen += [name for name in (self.time, self.sequence) if name is not None]
        return tuple(dict.fromkeys(chosen))

    def without_targets(self) -> Reading:
        """Return the reading of tables in which what is asked for is not known."""
        return replace(self, targets=())

    # --- as plain values -----------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Reading:
        """Return the reading that `to_plain` wrote.

        Raises
        ------
        RunError
            The values are not those of a reading.
        """
        source, remedy = "the reading of the data", "the file is damaged: train again"
        given = dict(plain)
        for role in ("inputs", "targets"):
            if isinstance(plain.get(role), list | tuple):
                given[role] = [  # as runs kept them at first: names of numbers
                    {"name": each} if isinstance(each, str) else each for each in plain[role]
                ]
        reading = validated(given, cls, source, remedy)
        columns = (*reading.inputs, *reading.targets)
        if not reading.inputs or any((c.kind == "category") != bool(c.categories) for c in columns):
            raise RunError(f"{source}: got no inputs, or a category without words; {remedy}")
        if reading.classifies and [c.kind for c in reading.targets] != ["category"]:
            raise RunError(f"{source}: got targets that are no class, expected one; {remedy}")
        return reading

    # --- reading -------------------------------------------------------------------------

    def read(self, source: Source, *, answers_known: bool = True) -> SequenceTable:
        """Return the sequences of a source.

        Parameters
        ----------
        source
            The rows.
        answers_known
            Whether a missing target is a missing cell, and not just what is asked for.

        Raises
        ------
        DataError
            A column is missing or changed its kind, a cell cannot be read, or times do not
            increase.
        """
        absent = [name for name in self.columns if name not in source.names]
        if absent:
            raise source.no_such(absent)
        frame = source.load(self.columns, self._as_text())
        if not len(frame):
            raise DataError(
                f"{source.label}: got no rows, expected at least one; check that it is whole"
            )
        # In the order of the source, so that faults are named where they are.
        values = [self.values(source, frame, column) for column in self.inputs]
        answers = [self.values(source, frame, column, answers_known) for column in self.targets]
        time = self._times(source, frame)
        ids, names = self._ids(source, frame)
        rows = np.arange(len(frame))
        if self.sort:
            rows = np.lexsort((rows if time is None else time, ids))
        runs = _runs(ids[rows])
        self._check_runs(source, runs, ids[rows], names, rows)
        kept = np.ones(len(rows), dtype=bool)
        if self.missing == "drop":
            for each in values:
                kept &= ~np.isnan(each).any(axis=1)
        notes = list(self.notes)
        if not kept.all():
            notes.append(f"{int((~kept).sum())} rows with missing cells are left out")
        sequences, places = [], []
        for run in runs:
            name = names[ids[rows[run.start]]]
            every = rows[run]
            at = every[kept[every]]
            if not len(at):
                continue
            clock = np.arange(len(every), dtype=np.float64) if time is None else time[every]
            self._check_times(source, name, clock, every)
            shown = clock[kept[every]]
            inputs = [
                self._shown(each[at], column, shown)
                for each, column in zip(values, self.inputs, strict=True)
            ]
            targets = self._ahead([each[at] for each in answers], len(at))
            elapsed = self._elapsed(source, name, shown, int(at[0]))
            sequences.append(Sequence(name, np.concatenate(inputs, axis=1), targets, elapsed))
            places.append(at)
        if not sequences:
            raise DataError(
                f"{source.label}: got no rows without missing cells, expected at least one; pass "
                "--missing fill, or leave columns out"
            )
        return SequenceTable(
            source=source.label,
            input_names=self.input_names,
            target_names=self.target_names,
            time_name=self.time,
            sequence_name=self.sequence,
            sequences=tuple(sequences),
            reading=replace(self, notes=tuple(dict.fromkeys(notes))),
            places=tuple(places),
            row_names=tuple(names[k] for k in ids),
        )

    def _as_text(self) -> tuple[str, ...]:
        """Return the columns whose cells are words, as they are written."""
        words = [c.name for c in (*self.inputs, *self.targets) if c.kind in ("category", "boolean")]
        numbers = {c.name for c in (*self.inputs, *self.targets) if c.kind == "number"}
        return (*(name for name in words if name not in numbers), *_text(self.sequence))

    def values(
        self, source: Source, frame: pd.DataFrame, column: Column, must_be_there: bool = True
    ) -> Array:
        """Return the numbers of a column, (row, number); NaN where they are missing.

        Raises
        ------
        DataError
            A cell cannot be read, or is missing where the reading allows none.
        """
        cells = frame[column.name]
        if column.kind == "category":
            words = words_of(source, cells, column)
            numbers = np.eye(len(column.categories))[np.maximum(words, 0)]
            numbers[words < 0] = np.nan
        else:
            numbers = numbers_of(source, cells, column.kind)[:, None]
        missing = np.isnan(numbers).any(axis=1)
        if missing.any() and self.missing == "error" and must_be_there:
            row = int(np.argmax(missing))
            raise _gap(source, row, column.name, "or pass --missing fill or --missing drop")
        is_input = column in self.inputs
        if missing.any() and is_input and self.missing == "fill" and not column.has_gaps:
            row = int(np.argmax(missing))
            raise _gap(
                source, row, column.name, "no cell was missing where the circuit was trained"
            )
        return numbers

    def _shown(self, values: Array, column: Column, clock: Array) -> Array:
        """Return what a circuit is shown of a column: values, and mask and age if it has gaps."""
        if not column.has_gaps:
            return values
        seen = np.isfinite(values[:, 0])  # words are missing as a whole
        last = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), -1))
        start = np.full(values.shape[1], column.start)
        filled = np.where((last >= 0)[:, None], values[np.maximum(last, 0)], start)
        age = clock - np.where(last >= 0, clock[np.maximum(last, 0)], clock[0])
        return np.concatenate([filled, seen[:, None], age[:, None]], axis=1)

    def _ahead(self, answers: list[Array], steps: int) -> Array:
        """Return the targets, (time, output), NaN where they are not known."""
        if not answers:
            return np.full((steps, 1), np.nan)
        targets = np.concatenate(answers, axis=1)
        if self.horizon:
            later = np.full_like(targets, np.nan)
            later[: -self.horizon] = targets[self.horizon :]
            return later
        return targets

    # --- sequences and times -------------------------------------------------------------

    def _ids(self, source: Source, frame: pd.DataFrame) -> tuple[NDArray[np.int64], list[str]]:
        """Return the sequence of each row, (row,), numbered as they begin, and their names."""
        import pandas as pd

        count = len(frame)
        parts = source.parts if isinstance(source, JoinedSource) else [source]
        stems = [part.stem for part in parts]
        called = [
            part.label if stems.count(stem) > 1 else stem
            for part, stem in zip(parts, stems, strict=True)
        ]
        codes = np.zeros(count, dtype=np.int64)
        if isinstance(source, JoinedSource):
            codes = np.asarray(source.part_of(np.arange(count)), dtype=np.int64)
        if self.sequence is None:
            return codes, called
        cells = frame[self.sequence]
        if cells.isna().any():
            row = int(np.argmax(cells.isna().to_numpy()))
            raise _gap(source, row, self.sequence, "name its sequence")
        words, known = pd.factorize(cells.map(lambda cell: str(cell).strip()))
        pairs, which = np.unique(codes * len(known) + words, return_inverse=True)
        begins = np.full(len(pairs), count)
        np.minimum.at(begins, which, np.arange(count))
        order = np.argsort(begins)  # sequences are numbered as they begin
        places = np.empty(len(pairs), dtype=np.int64)
        places[order] = np.arange(len(pairs))
        joined = isinstance(source, JoinedSource)
        names = [
            f"{called[pair // len(known)]}/{known[pair % len(known)]}"
            if joined
            else str(known[pair % len(known)])
            for pair in pairs[order]
        ]
        return places[which.reshape(-1)], names

    def _check_runs(
        self,
        source: Source,
        runs: list[slice],
        ids: NDArray[np.int64],
        names: list[str],
        rows: NDArray[np.int64],
    ) -> None:
        ends: dict[int, int] = {}
        for run in runs:
            which = int(ids[run.start])
            if which in ends:
                raise source.fault(
                    int(rows[run.start]),
                    self.sequence or "file",
                    f"sequence {names[which]!r} again after it ended at "
                    f"{source.place(int(rows[ends[which]]))}",
                    "the rows of a sequence together; sort the rows by sequence, then by time, or "
                    "pass --sort",
                )
            ends[which] = run.stop - 1

    def _times(self, source: Source, frame: pd.DataFrame) -> Array | None:
        """Return the time of each row in `time_unit`, (row,), or None."""
        if self.time is None:
            return None
        column = frame[self.time]
        if column.isna().any():
            row = int(np.argmax(column.isna().to_numpy()))
            raise _gap(source, row, self.time, "give its time")
        if self.time_kind == "date":
            return seconds_of(source, column, self.date_format)
        times = numbers_of(source, column, "number")
        if self.time_kind == "number":
            return times
        if epoch_unit(times) != self.time_kind:
            raise source.fault(
                0,
                self.time,
                f"{times[0]:g}",
                f"times in {self.time_kind} since 1970, as where the circuit was trained; write "
                "them so",
            )
        seconds: Array = (times - times.min()) / per_second(self.time_kind)
        return seconds

    def _check_times(self, source: Source, name: str, time: Array, rows: NDArray[np.int64]) -> None:
        with np.errstate(over="ignore"):  # an infinite gap is reported by Sequence
            gaps = np.diff(time)
        if (gaps <= 0).any():
            step = int(np.argmax(gaps <= 0)) + 1
            fault, remedy = (
                ("twice", "merge the two rows or drop one")
                if gaps[step - 1] == 0
                else (
                    f"after {time[step - 1]}",
                    "sort the rows of each sequence by time, or pass --sort",
                )
            )
            raise source.fault(
                int(rows[step]),
                self.time or "time",
                f"time {time[step]} {fault} in sequence {name!r}",
                f"times that increase; {remedy}",
            )

    def _elapsed(self, source: Source, name: str, time: Array, row: int) -> Array:
        """Return the time since the step before, (time,); the first entry is the median."""
        with np.errstate(over="ignore"):
            gaps = np.diff(time)
        if not len(gaps):
            if self.time is None:
                return np.ones(1)
            raise DataError(
                f"{source.label}, {source.place(int(row))}: got sequence {name!r} with a single "
                "row, expected at least two to tell how long a step lasts; remove the row"
            )
        return np.concatenate([[np.median(gaps)], gaps])


def _text(sequence: str | None) -> tuple[str, ...]:
    return () if sequence is None else (sequence,)


def _runs(ids: NDArray[np.int64]) -> list[slice]:
    """Return the rows of each sequence."""
    begins = np.flatnonzero(np.diff(ids, prepend=-1))
    return [slice(int(a), int(b)) for a, b in zip(begins, [*begins[1:], len(ids)], strict=True)]


def _gap(source: Source, row: int, name: str, remedy: str) -> DataError:
    written = source.written(row, name)
    got = repr(written) if written else "an empty cell"
    return source.fault(row, name, got, f"a value; drop the row or fill the value in, {remedy}")
