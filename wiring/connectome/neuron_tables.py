"""Tables of neurons: what files say of each cell beside its connections."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegans.errors import WiringError
from elegans.wiring.connectome.rows import transmitter_of

if TYPE_CHECKING:
    import pandas as pd

NAME = ("name", "root_id", "pt_root_id", "bodyid", "neuron", "cell", "cell name", "cell_name", "id")
FIELDS = {
    "class": ("class_name", "cell_type", "primary_type", "type", "cell_class", "class", "instance"),
    "transmitter": ("transmitter", "neurotransmitter", "nt_type", "top_nt", "predictednt", "nt"),
    "side": ("side", "somaside", "soma_side"),
    "kind": ("kind", "cell_kind"),
}
"""Columns of a table of neurons, in small letters; the first that is there is read."""

_SIDES = {"l": "left", "r": "right", "lhs": "left", "rhs": "right", "m": "center", "c": "center"}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def read_neurons(source: Any) -> dict[str, dict[str, Any]]:
    """Return what tables say of each cell of the first; later ones fill in what is missing.

    Parameters
    ----------
    source
        A file (text or Excel), a DataFrame, a mapping of names to fields, or a list of these.
    """
    several = source if isinstance(source, list | tuple) else [source]
    known: dict[str, dict[str, Any]] = {}
    for k, one in enumerate(several):
        cells = one if isinstance(one, Mapping) else _of_frame(_frame(one))
        for name, row in cells.items():
            if not isinstance(row, Mapping):
                raise WiringError(
                    f"neurons must map names to fields, such as {{'AVA': {{'class': 'AVA'}}}}, got "
                    f"{row!r:.60} for {name!r}"
                )
            text = str(name).strip()
            if k and text not in known:
                continue
            here = known.setdefault(text, {})
            for field, value in row.items():
                if value and not here.get(field):
                    here[field] = transmitter_of(value) if field == "transmitter" else value
    return known


def _frame(source: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source.astype(str)
    if not isinstance(source, str | os.PathLike):
        raise WiringError(
            f"neurons must be a table (a path, a DataFrame, or a mapping of names to fields) or a "
            f"list of tables, got {type(source).__name__}"
        )
    path = Path(source)
    try:
        return _read(path)
    except OSError as error:
        raise WiringError(
            f"cannot read a table of neurons from {path}: {error.strerror or error}; check the path"
        ) from error


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    from elegans.wiring.connectome.tables import opened_text, separator_of

    if path.suffix.lower() in (".xlsx", ".xls"):
        from elegans.wiring.connectome.tables import excel

        return excel(path)
    with opened_text(path) as file:
        separator = separator_of(path, file)
        try:
            return pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
        except (ValueError, UnicodeDecodeError) as error:
            raise WiringError(f"cannot read a table of neurons from {path}: {error}") from error


def _of_frame(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    columns = {str(column).strip().lower(): column for column in frame.columns}
    name = next((columns[key] for key in NAME if key in columns), None)
    if name is None:
        raise WiringError(
            f"a table of neurons needs a column of their names, one of {', '.join(NAME)}, got "
            f"{', '.join(columns)}"
        )
    fields = {
        field: columns[key]
        for field, keys in FIELDS.items()
        for key in [next((key for key in keys if key in columns), None)]
        if key is not None
    }
    texts = {
        field: [str(value).strip() for value in frame[column]] for field, column in fields.items()
    }
    positions = _positions(frame, columns)
    cells: dict[str, dict[str, Any]] = {}
    for i, cell in enumerate(frame[name]):
        row: dict[str, Any] = {
            field: "" if values[i].lower() in ("nan", "none", "<na>") else values[i]
            for field, values in texts.items()
        }
        row["transmitter"] = transmitter_of(row.get("transmitter", ""))
        side = row.get("side", "").lower()
        row["side"] = _SIDES.get(side, side)
        row["kind"] = row.get("kind", "").lower()
        row["position"] = positions[i] if positions else None
        here = cells.setdefault(str(cell).strip(), {})  # a cell may have several positions
        here.update({field: value for field, value in row.items() if not here.get(field)})
    return cells


def _positions(
    frame: pd.DataFrame, columns: Mapping[str, Any]
) -> Sequence[tuple[float, ...] | None]:
    if all(axis in columns for axis in "xyz"):
        rows = zip(*(frame[columns[axis]] for axis in "xyz"), strict=True)
        texts = [" ".join(map(str, row)) for row in rows]
    else:
        column = next(
            (columns[k] for k in ("position", "soma", "somalocation") if k in columns), None
        )
        if column is None:
            return []
        texts = list(map(str, frame[column]))
    places = [tuple(map(float, _NUMBER.findall(text))) for text in texts]
    return [place if len(place) == 3 else None for place in places]
