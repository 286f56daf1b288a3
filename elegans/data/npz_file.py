"""Columns of a NumPy npz file, never unpickling anything."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from elegans.data.sources import Source, prepared
from elegans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class NpzSource(Source):
    """An npz file of columns: x, or x[0], x[1]... where an array x is 2-D."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.stem)
        self._path = path
        self._keys: dict[str, str] = {}
        self._faults: dict[str, DataError] = {}
        with _opened(path) as file:
            for key in file.files:
                try:
                    columns = _named_columns(key, _load(path, file, key))
                except DataError as error:  # nothing to offer; asked for by name, it is reported
                    self._faults[key] = error
                else:
                    self._keys |= dict.fromkeys(columns, key)
        self.names = tuple(self._keys)

    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns."""
        import pandas as pd

        keys = dict.fromkeys(self._keys[name] for name in names)
        with _opened(self._path) as file:
            arrays = {key: _load(self._path, file, key) for key in keys}
        lengths = {key: len(array) for key, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key!r} of length {length}" for key, length in lengths.items())
            raise DataError(
                f"{self.label}: got arrays {told}, expected one length; a row of the table is the "
                "entry with the same index of each array, so cut or pad them"
            )
        columns: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys(names):
            array = _named_columns(self._keys[name], arrays[self._keys[name]])[name]
            if array.dtype.kind not in "biufUM":
                raise DataError(
                    f"{self.label}: got column {name!r} of type {array.dtype}, expected real "
                    "numbers, text or dates; convert it with astype"
                )
            # Numbers of pandas are of one byte order, and its text is made of objects.
            columns[name] = array.astype(object if array.dtype.kind == "U" else array.dtype.type)
        return prepared(pd.DataFrame(columns), text)

    def place(self, row: int) -> str:
        """Return the index of a row."""
        return f"index {row}"

    def no_such(self, missing: Any) -> DataError:
        """Return the error for columns that are not there; an array that is no column says why."""
        for name in missing:
            if name in self._faults:
                return self._faults[name]
        return super().no_such(missing)


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


def _named_columns(key: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if array.ndim == 1:
        return {key: array}
    return {f"{key}[{index}]": array[:, index] for index in range(array.shape[1])}
