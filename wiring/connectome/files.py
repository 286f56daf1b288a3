"""Connectomes in files of NumPy: flat arrays, uncompressed, written whole or not at all."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.files import open_file, write_bytes
from elegans.wiring.connectome.connectome import TEXTS, Connectome
from elegans.wiring.connectome.edges import Edges

FORMAT = "elegans.connectome"
VERSION = 1


def save(connectome: Connectome, path: str | os.PathLike[str]) -> None:
    """Write `connectome` to `path`; an old file stays as it was until the new one is complete."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise WiringError(f"a connectome is saved as .npz, got {str(path)!r}")
    arrays: dict[str, NDArray[np.generic]] = {
        "format": _bytes([FORMAT, str(VERSION)]),
        "notes": _bytes([note.replace("\n", " ") for note in connectome.notes]),
        "positions": connectome.positions,
        "guessed": connectome.guessed,
        **{name: _bytes(getattr(connectome, name)) for name in ("names", *TEXTS)},
    }
    for kind in ("chemical", "electrical"):
        edges = getattr(connectome, kind)
        for column in ("pre", "post", "count", "sign"):
            arrays[f"{kind}_{column}"] = getattr(edges, column)
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise WiringError(
            f"cannot write a connectome to {path}: {error.strerror or error}; the folder must "
            "exist, be writable and have room"
        ) from error


def load_saved(path: Path) -> Connectome:
    """Return the connectome that `save` wrote."""
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            require_bytes(2 * size, f"{path}", "load it on a larger machine", WiringError)
            with zipfile.ZipFile(file) as archive:
                packed = [i for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
            if packed:  # a compressed file may be a thousand times as large as it looks
                raise WiringError(f"{path}: expected an uncompressed .npz, as save writes it")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
    except OSError as error:
        raise WiringError(
            f"cannot read a connectome from {path}: {error.strerror or error}; check the path"
        ) from error
    except WiringError:
        raise
    except Exception as error:  # whatever zipfile and NumPy raise where bytes have changed
        raise WiringError(f"{path}: damaged ({error}); save it again") from error
    try:
        if _texts(arrays["format"]) != [FORMAT, str(VERSION)]:
            raise WiringError(
                f"{path}: expected {FORMAT} of version {VERSION}, got {_texts(arrays['format'])}"
            )
        edges = {
            kind: Edges(
                *(arrays[f"{kind}_{column}"] for column in ("pre", "post", "count", "sign"))
            )
            for kind in ("chemical", "electrical")
        }
        notes = _texts(arrays["notes"])
        return Connectome(
            _texts(arrays["names"]),
            edges["chemical"],
            edges["electrical"],
            positions=arrays["positions"],
            guessed=arrays["guessed"],
            notes=notes if notes != [""] else [],
            **{name: _texts(arrays[name]) for name in TEXTS},
        )
    except (KeyError, UnicodeDecodeError, TypeError) as error:
        raise WiringError(
            f"{path}: expected a connectome that save wrote, but {error!r} is missing or damaged"
        ) from error


def _bytes(texts: list[str] | tuple[str, ...]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)


def _texts(array: NDArray[np.generic]) -> list[str]:
    return array.tobytes().decode().split("\n")
