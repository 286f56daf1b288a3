"""Atomic writing: a file is written beside its place and moved there in one step.

Like `elegans.errors` this file stands under every floor of the library: it imports the standard
library alone, and torch and safetensors only where tensors are written or read.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegans.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


ABANDONED = 3600.0
"""Seconds after which a file that is still being written has no writer any more."""

_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`; an old file stays as it was until the new one is complete.

    What writers of the same file have left that were killed an hour ago or earlier is removed.
    """
    path = path.resolve()  # through a link, to the file that is meant
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    remove_parts(path.parent, lambda name: name == path.name)


def remove_parts(
    folder: Path, wanted: Callable[[str], bool], dead: Callable[[str], bool] = lambda name: False
) -> None:
    """Remove what writers that were killed have left in a folder: `.NAME.xxxxxxxx.part`.

    Parameters
    ----------
    folder
        Where they wrote.
    wanted
        Whether those of a NAME are looked at.
    dead
        Whether those of a NAME are known to have no writer; others are taken to have one until
        nothing was written for an hour.
    """
    with suppress(OSError), os.scandir(folder) as entries:  # what stays, the next one removes
        for entry in entries:
            part = _PART.fullmatch(entry.name)
            if part is None or not wanted(part[1]) or not entry.is_file(follow_symlinks=False):
                continue
            if dead(part[1]) or time.time() - entry.stat().st_mtime > ABANDONED:
                os.unlink(entry.path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system while `path` is written into `RunError`."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); choose a place that exists, "
            "may be written and has room"
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that is there already is fine."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with writing(path):
        write_bytes(path, f"{text}\n".encode())


def json_line(value: object) -> str:
    """Return `value` as a line of a .jsonl file; NaN and infinity are refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as a safetensors file, whole or not at all."""
    import safetensors.torch

    # Views would be written with the whole storage they look at, or refused where they share it.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with writing(path):
        write_bytes(path, safetensors.torch.save(own))


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in the JSON file `path`.

    Raises
    ------
    RunError
        The file is missing or damaged; the message ends with `remedy`.
    """
    content = read_bytes(path, remedy)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: got text that does not parse ({error}), expected JSON, so the file is "
            f"damaged or cut off; {remedy}"
        ) from error
    if not isinstance(value, dict):
        raise RunError(
            f"{path}: got JSON of type {type(value).__name__}, expected an object; {remedy}"
        )
    return value


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the named tensors of the safetensors file `path`; raises as `read_json` does."""
    import safetensors.torch
    from safetensors import SafetensorError

    content = read_bytes(path, remedy)
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: got {len(content):,} bytes that are no safetensors file ({error}), so the "
            f"file is damaged or cut off; {remedy}"
        ) from error


def read_bytes(path: Path, remedy: str) -> bytes:
    """Return the content of `path`; raises `RunError`, ending with `remedy`, if it is missing."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise RunError(f"{path}: got no such file, expected one; {remedy}") from error
