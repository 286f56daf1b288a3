"""The table that a command reads, and what a run keeps of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from elegans.cli.commands import TableOptions, TextOptions
from elegans.data import Dialect, SequenceTable, read_table
from elegans.data.opening import files_of


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
        dialect=Dialect.of(**vars(text)),
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
