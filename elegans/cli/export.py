"""`elegans export`: a trained circuit in another language."""

from __future__ import annotations

import os
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
from elegans.export.numpy_file import numpy
from elegans.export.onnx_graph import onnx
from elegans.proofs import Certificate

Writer = Callable[[Policy, dict[str, Any]], ExportedFiles]

_TARGETS: Mapping[str, tuple[Callable[..., ExportedFiles], tuple[str, ...]]] = {
    "c": (c, ("sigmoid", "clamp", "flash", "ram")),
    "numpy": (numpy, ("clamp",)),
    "onnx": (onnx, ("sequence", "clamp")),
}
"""Writers by target, and the settings that only some of them have."""


def run(command: Export) -> None:
    """Write the files and say what they are."""
    policy = Policy.load(command.run)
    writer, own = _TARGETS[command.to]
    options = {name: getattr(command, name) for name in own}
    certificate = _certificate_of(command.run, policy)
    exported = writer(
        policy,
        name=command.name,
        elapsed=_elapsed(command.elapsed),
        certificate=certificate,
        **options,
    )
    out: Path = command.run / "export" if command.out is None else command.out
    paths = exported.save(out, overwrite=command.overwrite)
    print(exported.summary)
    print_files(out, [path.name for path in paths])


def _certificate_of(run: Path, policy: Policy) -> Certificate | None:
    """Return the certificate in the folder of a run if it is about the circuit as it is."""
    path = run / CERTIFICATE
    return Certificate.load(path) if os.path.exists(path) else None


def _elapsed(given: str | None) -> Any:
    if given is None or given == "argument":
        return given
    try:
        return float(given)
    except ValueError as error:
        raise InputError(
            f"got --elapsed {given}, expected the length of a step in the unit of the data, or "
            "'argument'"
        ) from error
