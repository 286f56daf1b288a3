"""Wirings in files: JSON, a CSV edge list, or GraphML, chosen by the suffix.

Every format is lossless: what is loaded equals what was saved, with names, parallel synapses,
neurons without synapses, and the order of the layers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.files import open_file, write_bytes
from elegans.wiring.exchange.csv_edges import from_csv, to_csv
from elegans.wiring.exchange.json_text import from_json, to_json
from elegans.wiring.exchange.networkx_graph import from_graphml, to_graphml
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
    content = write(wiring).encode()
    try:
        write_bytes(path, content)
    except OSError as error:
        raise WiringError(
            f"cannot write a wiring to {path}: {error.strerror or error}; the folder must exist, "
            "be writable and have room"
        ) from error


def load(path: str | os.PathLike[str]) -> Wiring:
    """Read the wiring in `path`."""
    path = Path(path)
    _, read = _format(path)
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            require_bytes(size, f"{path}: the file", "it holds another thing", WiringError)
            content = file.read()
    except OSError as error:
        raise WiringError(
            f"cannot read a wiring from {path}: {error.strerror or error}; check the path, which "
            f"starts at {Path.cwd()} unless it is absolute"
        ) from error
    try:
        # Spreadsheets put a byte order mark before UTF-8; the codec drops it if there is one.
        return read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise WiringError(
            f"cannot read a wiring from {path}: expected UTF-8 text, but byte {error.start} is "
            "none; is this the file you meant?"
        ) from error
    except WiringError as error:
        raise WiringError(f"cannot read a wiring from {path}: {error}") from error


def _format(path: Path) -> tuple[Callable[[Wiring], str], Callable[[str], Wiring]]:
    codec = _FORMATS.get(path.suffix.lower())
    if codec is None:
        raise WiringError(
            f"the suffix of a wiring's file chooses its format and must be one of "
            f"{', '.join(_FORMATS)}, got {str(path)!r}"
        )
    return codec
