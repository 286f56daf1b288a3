"""The files that a command reads a table from, and what a run keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elegans.cli.commands import TableOptions, TextOptions
from elegans.data import Dialect, SequenceTable, read_table
from elegans.data.opening import files_of
from elegans.errors import InputError
from elegans.files import read_bytes

Files = Sequence[Path]
"""A file, a folder, or several files."""


def files_in(data: Files) -> Files:
    """Return the files; raise `InputError` if there are none."""
    if not data:
        raise InputError("got no data, expected a file, several, or a folder; name them")
    return data


def label_of(data: Files) -> str:
    """Return what messages call the files."""
    return str(data[0]) if len(data) == 1 else f"{len(data)} files"


def name_of(data: Files) -> str:
    """Return the name of the file without its folder, or how many there are."""
    return data[0].name if len(data) == 1 else f"{len(data)} files"


def read_new(data: Files, options: TableOptions, text: TextOptions) -> SequenceTable:
    """Read a table for training."""
    return read_table(
        list(files_in(data)),
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


def hash_of(data: Files) -> str:
    """Return the hash of the files, those of a folder in their order."""
    total = hashlib.sha256()
    for path in data:
        for file in files_of(path):
            total.update(read_bytes(file, "check the path"))
    return total.hexdigest()


def settings_of(data: Files, table: SequenceTable, text: TextOptions) -> dict[str, Any]:
    """Return what a run keeps of its data: where they are, and how they were understood."""
    written = {"text": {k: v for k, v in vars(text).items() if v is not None}}
    paths = [str(path) for path in data]
    where = paths[0] if len(paths) == 1 else paths
    return {"path": where, "sha256": hash_of(data), **table.reading.to_plain(), **written}


def files_of_run(recorded: str | Sequence[str]) -> Files:
    """Return the files that `settings_of` has recorded as the path of the data."""
    return [Path(recorded)] if isinstance(recorded, str) else [Path(each) for each in recorded]
