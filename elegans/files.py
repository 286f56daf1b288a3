"""Files: written beside their place and moved there in one step, and read within bounds.

What a file decides, its size, the depth of its JSON, the numbers in it, is compared with the memory
there is and with what is expected before it is used; only regular files are opened.

Like `elegans.errors` this file stands under every floor of the library: it imports the standard
library alone, and torch, safetensors and pydantic only where they are needed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from elegans.capacity import require_bytes
from elegans.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


def _check_name(path: str | os.PathLike[str]) -> None:
    """Raise `OSError` for a name that the system cannot have, for which Python has `ValueError`."""
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "the name holds a zero byte")


ABANDONED = 3600.0
"""Seconds after which a file that is still being written has no writer any more."""

_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")

_MOST_TRIES = 3


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`; an old file stays as it was until the new one is complete.

    What writers of the same file have left that were killed an hour ago or earlier is removed.
    """
    _check_name(path)
    path = Path(os.path.realpath(path))  # through a link, to the file that is meant
    for tries in range(1, _MOST_TRIES + 1):
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
            break
        except BaseException as error:
            beside.unlink(missing_ok=True)
            # Somebody who takes over the folder may have taken this writer for a dead one.
            if not isinstance(error, FileNotFoundError) or tries == _MOST_TRIES:
                raise
    remove_parts(path.parent, path.name)


def remove_parts(folder: Path, name: str | None = None) -> None:
    """Remove what writers that were killed have left in a folder: `.NAME.xxxxxxxx.part`.

    Parameters
    ----------
    folder
        Where they wrote.
    name
        Look at those of this NAME, and take them to have a writer until nothing was written for an
        hour. By default all are removed, at once: a writer who is alive begins anew.
    """
    with suppress(OSError), os.scandir(folder) as entries:  # what stays, the next one removes
        for entry in entries:
            part = _PART.fullmatch(entry.name)
            if part is None or not entry.is_file(follow_symlinks=False):
                continue
            old = time.time() - entry.stat().st_mtime > ABANDONED
            if name is None or (part[1] == name and old):
                os.unlink(entry.path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system while `path` is written into `RunError`."""
    try:
        _check_name(path)
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


# --- reading -------------------------------------------------------------------------------


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; raise `OSError` whatever else it is.

    A pipe would wait for somebody to write, and a device need not end.
    """
    _check_name(path)
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, no regular file")
    return open(path, "rb")


def read_bytes(path: Path, remedy: str) -> bytes:
    """Return the content of `path`.

    Raises
    ------
    RunError
        It is missing, no regular file, or larger than the memory; the message ends with `remedy`.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            require_bytes(size, f"{path}: the file", remedy, RunError)
            return file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise RunError(f"{path}: got no such file, expected one; {remedy}") from error
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror or error}), expected a file; {remedy}"
        ) from error


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON text; raise `ValueError` if there is none to rely on.

    That is if it does not parse, names a field twice, holds numbers that are not finite, is nested
    too deeply, or would need more memory than there is.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    # Lists and objects of Python are larger than brackets, and numbers than their digits.
    needed = len(text) + 72 * (text.count("[") + text.count("{")) + 40 * text.count(",")
    require_bytes(needed, "the JSON", "this is another file, or for a larger machine")
    try:
        return json.loads(
            text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is not finite")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object names a field twice")
    return fields


def read_json(path: Path, remedy: str, schema: Any = None) -> dict[str, Any]:
    """Return the object in the JSON file `path`; its fields are as `schema` says, if it is given.

    Raises
    ------
    RunError
        The file is missing or damaged, or a field is not as expected; the message ends with
        `remedy`.
    """
    content = read_bytes(path, remedy)
    try:
        value = parse_json(content)
    except ValueError as error:
        raise RunError(
            f"{path}: got text that does not parse ({error}), expected JSON, so the file is "
            f"damaged or cut off; {remedy}"
        ) from error
    if not isinstance(value, dict):
        raise RunError(
            f"{path}: got JSON of type {type(value).__name__}, expected an object; {remedy}"
        )
    if schema is not None:
        validated(value, schema, str(path), remedy)
    return value


def read_json_lines(path: Path, schema: Any) -> list[dict[str, Any]]:
    """Return the objects in a file of JSON lines up to the first that is not whole.

    A file that is missing has none. An object has a whole number `step`, and fields as `schema`
    says.

    Raises
    ------
    RunError
        A field is not as expected, or the file cannot be read.
    """
    if not os.path.exists(path):
        return []
    remedy = "restore the file, or delete its lines from this one on"
    records = []
    content = read_bytes(path, "restore the file, or delete it")
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            record = parse_json(line)
        except ValueError:  # of the text or of its encoding
            break
        whole = line.endswith(b"\n") and isinstance(record, dict)
        if not whole or not isinstance(record.get("step"), int):
            break
        validated(record, schema, f"{path}, line {number}", remedy)
        records.append(record)
    return records


def validated(value: Any, schema: type[T], source: str, remedy: str) -> T:
    """Return plain values as a `schema`, a dataclass; other fields are left out, no type is cast.

    Raises
    ------
    RunError
        A field is missing, or not as the annotations of `schema` say; the message begins with
        `source` and ends with `remedy`.
    """
    from pydantic import ValidationError

    try:
        # From JSON, where a dataclass may be an object and a tuple a list although nothing is cast.
        text = json.dumps(value, allow_nan=False)
        adapter = _adapter(schema)  # type: ignore[arg-type]  # classes are hashable
        result: T = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        if first["type"] == "value_error":  # of a dataclass's own checks
            raise RunError(f"{source}: {first['ctx']['error']}; {remedy}") from error
        if first["type"].startswith("missing"):
            got, expected = f"no {place}", "one"
        else:
            got = f"{_short(first['input'])} as {place}"
            expected = first["msg"].removeprefix("Input should be ")
        raise RunError(f"{source}: got {got}, expected {expected}; {remedy}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{source}: got values that do not fit ({error}); {remedy}") from error
    return result


@cache
def _adapter(schema: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the named tensors of the safetensors file `path`; raises as `read_json` does."""
    import safetensors.torch
    from safetensors import SafetensorError

    content = read_bytes(path, remedy)
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _no_tensors(path, error, remedy) from error


def tensor_shapes(path: Path, remedy: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in `path` by its header alone, which fits the file's size.

    Raises as `read_json` does.
    """
    from safetensors import SafetensorError, safe_open

    try:
        open_file(path).close()
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise RunError(f"{path}: got no such file, expected one; {remedy}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise _no_tensors(path, error, remedy) from error


def _no_tensors(path: Path, error: Exception, remedy: str) -> RunError:
    return RunError(
        f"{path}: got a file that holds no tensors ({error}), expected one of safetensors, so it "
        f"is damaged or cut off; {remedy}"
    )
