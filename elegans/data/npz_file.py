"""Columns of a NumPy npz file, never unpickling anything."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError  # NumPy reads headers of Python 2 by its tokens
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from elegans.capacity import DEFLATE_GROWTH, require_bytes
from elegans.data.sources import MOST_COLUMNS, Source, listed, prepared
from elegans.errors import DataError
from elegans.files import open_file

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_HEADER = 1 << 16
_BLOCK = 1 << 24
_DAMAGE = (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile and NumPy raise for archives that are damaged, encrypted or of another kind."""


@dataclass(frozen=True)
class Header:
    """What the first bytes of an array in an archive say, compared with the archive's directory."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    begin: int
    member: zipfile.ZipInfo

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpzArchive:
    """The arrays of an npz file: their headers at once, their numbers when they are asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        It cannot be opened, or is no archive. What is wrong with a single array is raised when it
        is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        self.faults: dict[str, DataError] = {}
        with ExitStack() as opened:
            try:
                file = opened.enter_context(open_file(path))
            except OSError as error:
                raise DataError(
                    f"{path}: cannot be read ({error.strerror or error}), expected an npz archive; "
                    "check the path"
                ) from error
            begin = file.read(6)
            if begin == b"\x93NUMPY":
                raise DataError(
                    f"{path}: got a single array, expected an npz archive of named arrays; write "
                    "it with numpy.savez(file, name=array)"
                )
            try:
                self._archive = opened.enter_context(zipfile.ZipFile(file))
            except _DAMAGE as error:
                raise DataError(
                    f"{path}: got {'a damaged file' if begin else 'an empty file'}, expected an "
                    "npz archive; write it again with numpy.savez"
                ) from error
            for member in self._archive.infolist()[: MOST_COLUMNS + 1]:
                self._look_at(member)
            self._opened = opened.pop_all()

    def __enter__(self) -> NpzArchive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def read(self, name: str) -> NDArray[Any]:
        """Return an array; raise `DataError` if it is damaged or not there."""
        if name in self.faults:
            raise self.faults[name]
        if name not in self.headers:
            raise DataError(f"{self.path}: got no array {name!r}, expected one; write it again")
        header = self.headers[name]
        require_bytes(
            header.size, f"{self.path}: array {name!r}", "read it on a larger machine", DataError
        )
        numbers = np.empty(header.size, np.uint8)
        view = memoryview(numbers)  # type: ignore[arg-type]  # which NumPy's types do not say
        try:
            with self._archive.open(header.member) as member:
                member.read(header.begin)
                at = 0
                while at < header.size:
                    block = member.read(min(_BLOCK, header.size - at))
                    if not block:
                        raise EOFError(f"{at} of {header.size} bytes")
                    view[at : at + len(block)] = block
                    at += len(block)
                member.read(1)  # at its end the sum is checked
        except _DAMAGE as error:
            raise self._damaged(name, error) from error
        if not header.size:
            return np.empty(header.shape, header.dtype)
        array: NDArray[Any] = numbers.view(header.dtype)
        if header.by_columns:
            return array.reshape(header.shape[::-1]).T
        return array.reshape(header.shape)

    def _look_at(self, member: zipfile.ZipInfo) -> None:
        """Read the header of a member, or note what is wrong with it."""
        name = member.filename.removesuffix(".npy")
        try:
            if name in self.headers or name in self.faults:
                self.headers.pop(name, None)
                raise EOFError("two of this name")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise EOFError(f"compression method {member.compress_type}")
            with self._archive.open(member) as file:
                begin = io.BytesIO(file.read(_LONGEST_HEADER))
            if not begin.getvalue().startswith(npy.MAGIC_PREFIX):
                self.faults[name] = DataError(
                    f"{self.path}: got {name!r} that is no array, expected one; write the file "
                    "with numpy.savez"
                )
                return
            version = npy.read_magic(begin)
            if version not in ((1, 0), (2, 0)):
                raise EOFError(f"version {version} of the format")
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read(begin)
            header = Header(dtype, shape, by_columns, begin.tell(), member)
            if min(shape, default=0) < 0 or dtype.subdtype is not None:
                raise EOFError(f"shape {shape} of {dtype}")
        except (*_DAMAGE, TypeError, RecursionError, MemoryError, TokenError) as error:
            self.faults[name] = self._damaged(name, error)
            return
        growth = 1 if member.compress_type == zipfile.ZIP_STORED else DEFLATE_GROWTH
        if dtype.hasobject:
            self.faults[name] = DataError(
                f"{self.path}: got array {name!r} that cannot be read without unpickling objects, "
                "expected numbers or text; convert it with astype before saving"
            )
        elif not header.size == member.file_size - header.begin <= growth * member.compress_size:
            self.faults[name] = DataError(
                f"{self.path}: got array {name!r} that takes {header.size} bytes by its shape "
                f"{shape} and {member.file_size - header.begin} by the directory of the archive, "
                f"of {member.compress_size} packed ones, expected them to agree; write the file "
                "again with numpy.savez"
            )
        else:
            self.headers[name] = header

    def _damaged(self, name: str, error: BaseException) -> DataError:
        return DataError(
            f"{self.path}: got a damaged array {name!r} ({error}), expected an intact one, plain "
            "or deflated; write the file again with numpy.savez"
        )


class NpzSource(Source):
    """An npz file of columns: x, or x[0], x[1]... where an array x is 2-D."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.stem)
        self._path = path
        self._at: dict[str, tuple[str, int | None]] = {}  # array and column of each name
        with NpzArchive(path) as archive:
            self._faults = archive.faults  # nothing to offer; asked for by name, it is reported
            for key, header in archive.headers.items():
                shape = header.shape
                if (
                    len(shape) not in (1, 2)
                    or 0 in shape[1:]
                    or max(shape[1:], default=0) > (MOST_COLUMNS)
                ):
                    self._faults[key] = DataError(
                        f"{path}: got array {key!r} of shape {shape}, expected (row,) or (row, "
                        f"column) of 1 to {MOST_COLUMNS} columns; flatten sequences one below the "
                        "other and name them in a sequence column"
                    )
                elif len(shape) == 1:
                    self._at[key] = key, None
                else:
                    self._at |= {f"{key}[{k}]": (key, k) for k in range(shape[1])}
        self.set_names(tuple(self._at))

    def load(self, names: tuple[str, ...], text: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the named columns."""
        import pandas as pd

        keys = dict.fromkeys(self._at[name][0] for name in names)
        with NpzArchive(self._path) as archive:
            absent = [key for key in keys if key not in archive.headers]
            if absent:  # the file has changed
                archive.read(absent[0])
            headers = {key: archive.headers[key] for key in keys}
            lengths = {key: header.shape[0] for key, header in headers.items()}
            if len(set(lengths.values())) > 1:
                told = ", ".join(f"{key!r} of length {length}" for key, length in lengths.items())
                raise DataError(
                    f"{self.label}: got arrays {told}, expected one length; a row of the table is "
                    "the entry with the same index of each array, so cut or pad them"
                )
            for name in names:
                dtype = headers[self._at[name][0]].dtype
                if dtype.kind not in "biufUM":
                    raise DataError(
                        f"{self.label}: got column {name!r} of type {dtype}, expected real "
                        "numbers, text or dates; convert it with astype"
                    )
            cells = max(lengths.values(), default=0) * len(names)
            require_bytes(
                sum(header.size for header in headers.values()) + 8 * cells,
                f"{self.label}: the columns {listed(names)}",
                "name fewer columns, or read it on a larger machine",
                DataError,
            )
            arrays = {key: archive.read(key) for key in keys}
        columns: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys(names):
            key, k = self._at[name]
            array = arrays[key] if k is None else arrays[key][:, k]
            if array.dtype.kind == "U" and not _is_text(array):
                raise DataError(
                    f"{self.label}: got column {name!r} whose text holds numbers that are no "
                    "characters, expected text; write the file again with numpy.savez"
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


def _is_text(array: NDArray[np.str_]) -> bool:
    """Whether all numbers of an array of text are characters."""
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    codes = native.view(np.uint32) if native.size and native.itemsize else np.zeros(0, np.uint32)
    return not bool(((codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)).any())
