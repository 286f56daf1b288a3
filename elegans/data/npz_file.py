"""Reading chosen columns of a NumPy npz file, never unpickling anything."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from elegans.data.columns import ColumnChoice, Columns, missing_columns
from elegans.data.sequences import Array
from elegans.errors import DataError

_INDEXED = re.compile(r"(?P<key>.+)\[(?P<index>\d+)\]")


def npz_names(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of an npz file: x, or x[0], x[1]... where x is 2-D."""
    with _opened(path) as file:
        return tuple(name for key in file.files for name in _column_names(file, key))


def read_npz(path: Path, choice: ColumnChoice) -> Columns:
    """Read the chosen columns of an npz file; the format is described at `read_table`."""
    with _opened(path) as file:
        arrays: dict[str, NDArray[Any]] = {}
        for name in choice.all:
            key = _key(file, name)
            if key is not None and key not in arrays:
                arrays[key] = _load(path, file, key)
        columns: dict[str, dict[str, NDArray[Any]]] = {}  # the columns that each name stands for
        for name in choice.all:
            key = _key(file, name)
            spelt_out = {} if key is None else _named_columns(key, arrays[key])
            if name != key:
                spelt_out = {name: spelt_out[name]} if name in spelt_out else {}
            columns[name] = spelt_out
        missing = [name for name, spelt_out in columns.items() if not spelt_out]
        if missing:
            keys = dict.fromkeys(file.files)
            available = [name for key in keys for name in _column_names(file, key)]
            raise missing_columns(path, missing, available)

    lengths = {key: len(value) for key, value in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key!r} of length {length}" for key, length in lengths.items())
        raise DataError(
            f"{path}: got arrays {listed}, expected one length; a row of the table is the entry "
            "with the same index of each array, so cut or pad them"
        )
    for role, single in (("time", choice.time), ("sequence", choice.sequence)):
        if single is not None and len(columns[single]) > 1:
            raise DataError(
                f"{path}: got {single!r} with {len(columns[single])} columns as the {role} column, "
                f"expected one column; name one of them, such as {next(iter(columns[single]))!r}"
            )
    values = {
        column: _numbers(path, column, array)
        for name in choice.numeric
        for column, array in columns[name].items()
    }
    ids = None
    if choice.sequence is not None:
        ids = _ids(path, choice.sequence, *columns[choice.sequence].values())
    if choice.time is not None:
        values[choice.time] = _numbers(path, choice.time, *columns[choice.time].values())
    chosen = choice.expanded(
        path,
        (column for name in choice.inputs for column in columns[name]),
        (column for name in choice.targets for column in columns[name]),
    )
    return Columns(path, chosen, values, ids, None)


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    # numpy.load leaves a file that it opened itself open when the archive is damaged.
    with path.open("rb") as handle:
        try:
            # Pickles in a data file would run code of whoever wrote it.
            file = np.load(handle, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            raise DataError(
                f"{path}: got {'a damaged file' if path.stat().st_size else 'an empty file'}, "
                "expected an npz archive; write it again with numpy.savez"
            ) from error
        if not isinstance(file, NpzFile):
            raise DataError(
                f"{path}: got a single array, expected an npz archive of named arrays; write it "
                "with numpy.savez(file, name=array)"
            )
        with file:
            yield file


def _load(path: Path, file: NpzFile, key: str) -> NDArray[Any]:
    try:
        array: Any = file[key]
    except ValueError as error:
        # allow_pickle=False turns arrays of objects, and damaged headers, into this error.
        raise DataError(
            f"{path}: got array {key!r} that cannot be read without unpickling objects ({error}), "
            "expected numbers or text; convert it with astype before saving"
        ) from error
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: got a damaged array {key!r} ({error}), expected an intact archive; write the "
            "file again with numpy.savez"
        ) from error
    # Members of the archive that are no arrays are handed over as bytes.
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"{path}: got {key!r} that is no array, expected one; write the file with numpy.savez"
        )
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise DataError(
            f"{path}: got array {key!r} of shape {array.shape}, expected (row,) or (row, column); "
            "flatten sequences one below the other and name them in a sequence column"
        )
    columns: NDArray[Any] = array
    return columns


def _key(file: NpzFile, name: str) -> str | None:
    """Return the array that holds the column called `name`; a whole key goes before an index."""
    if name in file.files:
        return name
    match = _INDEXED.fullmatch(name)
    return match["key"] if match and match["key"] in file.files else None


def _named_columns(key: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if array.ndim == 1:
        return {key: array}
    return {f"{key}[{index}]": array[:, index] for index in range(array.shape[1])}


def _column_names(file: NpzFile, key: str) -> list[str]:
    try:
        return list(_named_columns(key, _load(Path(), file, key)))
    except DataError:  # not a column, so nothing to offer; chosen by name, it is reported
        return []


def _numbers(path: Path, name: str, array: NDArray[Any]) -> Array:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: got column {name!r} of type {array.dtype}, expected real numbers; convert "
            "it with astype, dates to seconds and classes to numbers"
        )
    return array.astype(np.float64)


def _ids(path: Path, name: str, array: NDArray[Any]) -> list[str]:
    if array.dtype.kind == "f" and np.isfinite(array).all():
        return [str(value) for value in array.tolist()]
    if array.dtype.kind not in "biuU":
        raise DataError(
            f"{path}: got sequence column {name!r} of type {array.dtype} or with NaN, expected "
            "integers or text; convert it with astype(str)"
        )
    return [str(value) for value in array.tolist()]
