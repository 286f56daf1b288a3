"""The ledger of a run in `ledger.jsonl`: appended to, and cut to what a checkpoint counts on."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elegans.errors import RunError
from elegans.files import json_line, writing
from elegans.training.schemas import LedgerMark


def append_edits(path: Path, mark: LedgerMark, records: Iterable[dict[str, Any]]) -> LedgerMark:
    """Write edits behind those that `mark` counts, drop what else is there, and count them all.

    They are on the disk before this returns, so that a checkpoint may count on them.

    Raises
    ------
    RunError
        The file is shorter than it was, or cannot be written.
    """
    lines = [json_line(record) for record in records]
    content = "".join(lines).encode()
    with writing(path), open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        length = file.seek(0, os.SEEK_END)
        if length < mark.bytes:
            raise _short(path, mark)
        if content or length > mark.bytes:
            file.truncate(mark.bytes)
            file.seek(mark.bytes)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return LedgerMark(
        mark.lines + len(lines), mark.bytes + len(content), zlib.crc32(content, mark.crc32)
    )


def read_edits(path: Path, mark: LedgerMark) -> list[dict[str, Any]]:
    """Return the edits that `mark` counts.

    Raises
    ------
    RunError
        They are not all there as they were.
    """
    content = path.read_bytes()[: mark.bytes] if path.exists() else b""
    if len(content) < mark.bytes or zlib.crc32(content) != mark.crc32:
        raise _short(path, mark)
    return [json.loads(line) for line in content.splitlines()]


def _short(path: Path, mark: LedgerMark) -> RunError:
    return RunError(
        f"{path}: got a ledger that is cut off or changed, expected the {mark.lines} edits in "
        f"{mark.bytes:,} bytes that the checkpoint counts on; restore the file"
    )
