"""Bytes of a table on their way: counted against the memory there is, and shown as a bar."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from elegans import capacity
from elegans.errors import DataError

CELL_BYTES = 24  # what pandas needs for a cell besides its text
PATIENCE = 1.0
"""Seconds of reading after which a bar appears."""

_is_shown: ContextVar[bool] = ContextVar("reading is shown", default=False)


@contextmanager
def reading_shown() -> Iterator[None]:
    """Show a bar while a large file is read, on a terminal."""
    token = _is_shown.set(True)
    try:
        yield
    finally:
        _is_shown.reset(token)


class Metered(io.RawIOBase):
    """A text file whose size is not known in advance, as it may be compressed.

    Parameters
    ----------
    file
        The text, in bytes.
    path
        What errors and the bar call it.
    separator
        What stands between cells.
    size
        Bytes of the text where they are known.

    Raises
    ------
    DataError
        While it is read, if the cells so far need more memory than there is.
    """

    def __init__(self, file: BinaryIO, path: Path, separator: str, size: int | None) -> None:
        super().__init__()
        self._file, self._path, self._separator = file, path, separator.encode()
        self._available = capacity.available_bytes()
        self._size = self._cells = 0
        self._bar: tqdm[Any] = tqdm(
            desc=f"reading {path.name}",
            total=size,
            unit="B",
            unit_scale=True,
            delay=PATIENCE,
            leave=False,
            disable=None if _is_shown.get() else True,  # None: where there is no terminal
        )

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; return how many bytes there were."""
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._size += len(block)
        self._cells += block.count(b"\n") + block.count(self._separator)
        needed = self._size + CELL_BYTES * self._cells
        if self._available is not None and needed > self._available:
            raise DataError(
                f"{self._path}: got {self._size:,} bytes of text and more, whose "
                f"{self._cells:,} cells need {needed:,} bytes of memory, expected at most the "
                f"{self._available:,} there are; cut the table into several files"
            )
        self._bar.update(len(block))
        return len(block)

    def close(self) -> None:
        """Take the bar away."""
        if not self.closed:
            self._bar.close()
        super().close()
