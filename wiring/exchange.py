"""Wirings in files: JSON, a CSV edge list, or GraphML, chosen by the suffix.

Every format is lossless: what is loaded equals what was saved, with names, parallel synapses,
neurons without synapses, and the order of the layers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from elegans.errors import WiringError
from elegans.wiring.exchange_csv import from_csv, to_csv
from elegans.wiring.exchange_graphml import from_graphml, to_graphml
from elegans.wiring.exchange_json import from_json, to_json
from elegans.wiring.wiring import Wiring

_FORMATS: dict[str, tuple[Callable[[Wiring], str], Callable[[str], Wiring]]] = {
    ".json": (to_json, from_json),
    ".csv": (to_csv, from_csv),
    ".graphml": (to_graphml, from_graphml),
}


def save(wiring: Wiring, path: str | os.PathLike[str]) -> None:
    """Write `wiring` to `path`; an old file stays as it was until the new one is complete."""
    path = Path(path)
    write, _ = _format(path)
    _replace(path, write(wiring))


def load(path: str | os.PathLike[str]) -> Wiring:
    """Read the wiring in `path`."""
    path = Path(path)
    _, read = _format(path)
    try:
        # Spreadsheets put a byte order mark before UTF-8; the codec drops it if there is one.
        return read(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise WiringError(
            f"cannot read a wiring from {path}: expected UTF-8 text, but byte {error.start} is "
            "none; is this the file you meant?"
        ) from error
    except WiringError as error:
        raise WiringError(f"cannot read a wiring from {path}: {error}") from error


def _format(path: Path) -> tuple[Callable[[Wiring], str], Callable[[str], Wiring]]:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise WiringError(
            f"the suffix of a wiring's file chooses its format and must be one of "
            f"{', '.join(_FORMATS)}, got {str(path)!r}"
        )
    return found


def _replace(path: Path, text: str) -> None:
    """Write beside `path`, then put the complete file in its place in one step."""
    path = path.resolve()  # through a link, to the file that is meant
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
