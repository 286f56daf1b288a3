"""`elegans export`: a trained circuit in another language."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from elegans.cli.certifying import CERTIFICATE
from elegans.cli.commands import Export
from elegans.cli.printing import print_files
from elegans.control.policy import Policy
from elegans.errors import InputError
from elegans.export.c99 import c
from elegans.export.files import ExportedFiles
from elegans.export.javascript import js
from elegans.export.numpy_file import numpy
from elegans.export.onnx_graph import onnx
from elegans.proofs import Certificate

_TARGETS: Mapping[str, tuple[Callable[..., ExportedFiles], tuple[str, ...]]] = {
    "c": (c, ("sigmoid", "numbers", "clamp", "flash", "ram")),
    "numpy": (numpy, ("clamp",)),
    "onnx": (onnx, ("sequence", "clamp")),
    "js": (js, ("clamp",)),
}
"""Writers by target, and the settings that only some of them have."""

_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20}


def run(command: Export) -> None:
    """Write the files and say what they are."""
    policy = Policy.load(command.run)
    path = command.run / CERTIFICATE
    settings = {
        "sigmoid": command.sigmoid,
        "numbers": command.numbers,
        "clamp": command.clamp,
        "sequence": command.sequence,
        "flash": _bytes("flash", command.flash),
        "ram": _bytes("ram", command.ram),
    }
    writer, own = _TARGETS[command.to]
    exported = writer(
        policy,
        name=command.name,
        elapsed=_elapsed(command.elapsed),
        certificate=Certificate.load(path) if os.path.exists(path) else None,
        **{name: settings[name] for name in own},
    )
    out: Path = command.run / "export" if command.out is None else command.out
    paths = exported.save(out, overwrite=command.overwrite)
    print(exported.summary)
    print_files(out, [path.name for path in paths])


def _elapsed(given: str | None) -> Any:
    if given is None or given == "argument":
        return given
    try:
        return float(given)
    except ValueError as error:
        raise InputError(
            f"got --elapsed {given}, expected the length of a step in the unit of the data, or "
            "'argument' where each call is given one"
        ) from error


def _bytes(name: str, given: str | None) -> int | None:
    """Return a size such as 32k in bytes."""
    if given is None:
        return None
    parts = re.fullmatch(r"(\d{1,12})([km]?)b?", given.strip().lower())
    if parts is None:
        raise InputError(f"got --{name} {given}, expected bytes, such as 32768 or 32k")
    return int(parts[1]) * _BYTES[parts[2]]
