"""Datasets of OpenWorm's ConnectomeToolbox (cect), read from the package where it is installed.

Nothing of its data is part of this library. Its readers are not run: the package holds what each
has read as JSON, so that its own dependencies are not needed (``pip install --no-deps cect``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.extras import require_extra
from elegans.files import open_file, parse_json
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.rows import TYPES, EdgeRows, transmitter_of

NO_SYNAPSES = ("Contact", "Functional", "Peptidergic")
"""Layers of datasets that are no synapses: touching membranes, responses, diffusing peptides."""


def folder() -> Path:
    """Return where cect keeps what its readers have read; raise `MissingExtraError` without it."""
    package = require_extra("cect", "connectome")
    return Path(next(iter(package.__path__))) / "cache"


def datasets() -> list[str]:
    """Return the names of the datasets of the installed cect, as `load` takes them.

    Raises
    ------
    MissingExtraError
        The package cect is not installed.

    Examples
    --------
    >>> datasets()[:2]  # doctest: +SKIP
    ['Bentley2016MAReader', 'Bentley2016PepReader']
    """
    return sorted(path.stem for path in folder().glob("*Reader*.json")) + sorted(
        path.stem for path in folder().glob("White*.json")
    )


def from_name(name: str, **known: Any) -> Connectome:
    """Return a dataset by the name of its reader, of which ``Reader`` may be left out."""
    place = folder()
    files = [place / f"{name}{end}.json" for end in ("", "Reader", "DataReader")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise WiringError(
            f"{name!r} is neither a file nor a dataset of cect, which has {', '.join(datasets())}"
        )
    with open_file(path) as file:
        require_bytes(10 * path.stat().st_size, f"{path}", "free some", WiringError)
        data = parse_json(file.read())
    names = data["nodes"]
    rows = EdgeRows()
    rows.cells(names)
    called = np.array([str(cell).strip() for cell in names], dtype=object)
    skipped = []
    for layer, matrix in data["connections"].items():
        if layer in NO_SYNAPSES:
            skipped.append(layer)
            continue
        numbers = np.asarray(matrix, dtype=np.float64)
        pre, post = np.nonzero(numbers)
        kind = layer.lower() if layer.lower() in TYPES else ""
        released = None if kind else [transmitter_of(layer)] * len(pre)
        rows.add(
            called[pre],
            called[post],
            numbers[pre, post],
            [kind] * len(pre),
            released,
        )
    if not len(rows):
        raise WiringError(
            f"{path.stem} holds {', '.join(skipped)} and no synapses; choose another dataset"
        )
    notes = [f"read from cect's {path.stem}"]
    if skipped:
        notes.append(f"layers that are no synapses were left out: {', '.join(skipped)}")
    return rows.connectome(naming=known.pop("naming", None) or "worm", notes=notes, **known)
