"""Tables of a command: of a file, and of another file for a run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elegans.cli.commands import TableOptions, TextOptions
from elegans.data import Dialect, Reading, Scales, SequenceTable, read_table
from elegans.data.opening import files_of, open_data
from elegans.errors import DataError, RunError
from elegans.training import RunFolder

_MARKS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


def dialect_of(options: TextOptions) -> Dialect:
    """Return how a text file is written, as far as it was said."""
    separator = options.separator
    header = None if options.header is None else options.header == "yes"
    return Dialect(
        None if separator is None else _MARKS.get(separator, separator),
        options.decimal,
        header,
        options.encoding or Dialect.encoding,
    )


def read_new(data: Path, options: TableOptions, text: TextOptions) -> SequenceTable:
    """Read a table for training."""
    return read_table(
        data,
        options.inputs,
        options.targets,
        time=options.time,
        sequence=options.sequence,
        exclude=options.exclude,
        missing=options.missing,
        sort=options.sort,
        task=options.task,
        horizon=options.horizon,
        time_unit=options.time_unit,
        date_format=options.date_format,
        dialect=dialect_of(text),
    )


def hash_of(data: Path) -> str:
    """Return the hash of a file, or of the files of a folder in their order."""
    total = hashlib.sha256()
    for file in files_of(data):
        total.update(file.read_bytes())
    return total.hexdigest()


def settings_of(data: Path, table: SequenceTable, text: TextOptions) -> dict[str, Any]:
    """Return what a run keeps of its data: where they are, and how they were understood."""
    written = {"text": {k: v for k, v in vars(text).items() if v is not None}}
    return {"path": str(data), "sha256": hash_of(data), **table.reading.to_plain(), **written}


@dataclass(frozen=True)
class RunData:
    """Sequences of a file for the circuit of a run.

    Parameters
    ----------
    table
        The sequences; none of their targets is known unless `has_targets`.
    scales
        Those of the run.
    reading
        How the run's own data were understood.
    has_targets
        Whether the file holds targets.
    """

    table: SequenceTable
    scales: Scales
    reading: Reading
    has_targets: bool

    @classmethod
    def read(cls, run: Path, path: Path, *, needs_targets: bool = False) -> RunData:
        """Read the columns of a file that the run was trained on; targets may be missing.

        Raises
        ------
        RunError
            The run was not trained on columns of a file.
        DataError
            A column is missing; of the targets, some but not all, or all with `needs_targets`.
        """
        folder = RunFolder.open(run)
        data = folder.config.get("data")
        if not isinstance(data, dict):
            raise RunError(
                f"{run}: got a run that was not trained on columns of a file, expected one of "
                "'elegans train'; pass its folder"
            )
        reading = Reading.from_plain(data)
        dialect = dialect_of(TextOptions(**data.get("text", {})))
        if reading.decimal == "," and dialect.decimal is None:
            dialect = replace(dialect, decimal=",")  # a point would be one of thousands
        source = open_data(path, dialect)
        shown = {column.name for column in reading.inputs}
        asked = [c.name for c in reading.targets if c.name not in shown]  # those are there
        missing = [name for name in asked if name not in source.names]
        if 0 < len(missing) < len(asked):
            raise DataError(
                f"{path}: got a file without the target {missing[0]!r}, expected all of "
                f"{', '.join(asked)} or none; add the column, or drop the others"
            )
        has_targets = needs_targets or not missing
        wanted = reading if has_targets else reading.without_targets()
        table = wanted.read(source, answers_known=needs_targets)
        known = any(not np.isnan(one.targets).all() for one in table)
        return cls(table, folder.scales, reading, known)
