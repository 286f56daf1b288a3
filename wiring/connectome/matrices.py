"""Matrices of counts, from presynaptic cells in rows to postsynaptic cells in columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.rows import EdgeRows

if TYPE_CHECKING:
    import pandas as pd


def from_adjacency(
    matrix: Any, names: Sequence[str] | None = None, *, electrical: Any = None, **known: Any
) -> Connectome:
    """Return the connectome; see `Connectome.from_adjacency`."""
    rows = EdgeRows()
    for what, table, kind in (
        ("matrix", matrix, None),
        ("electrical", electrical, "electrical"),
    ):
        if table is not None:
            _add(rows, what, table, names, kind)
    return rows.connectome(**known)


def _add(
    rows: EdgeRows, what: str, table: Any, names: Sequence[str] | None, kind: str | None
) -> None:
    called: list[str] | None = None if names is None else [str(name) for name in names]
    if hasattr(table, "columns") and hasattr(table, "index"):
        above = [str(name).strip() for name in table.columns]
        beside = [str(name).strip() for name in table.index]
        if sorted(above) != sorted(beside) or len(set(above)) < len(above):
            odd = sorted(set(above) ^ set(beside)) or ["a name that stands twice"]
            raise WiringError(
                f"{what} must name the same cells in its index and its columns, each once, got "
                f"{len(beside)} and {len(above)}, which differ in {', '.join(odd[:3])}; fill it up "
                "with zeros by reindex, or pass an edge list"
            )
        table = table.to_numpy()[:, [above.index(name) for name in beside]]
        if called is None:
            called = beside
    numbers = _square(what, table)
    if called is None:
        called = [f"cell_{k}" for k in range(len(numbers))]
    if len(called) != len(numbers):
        raise WiringError(
            f"names must hold one for each of {len(numbers)} cells of {what}, got {len(called)}"
        )
    here = rows.cells(called)
    if len(set(here.tolist())) < len(here):
        raise WiringError(f"{what} names a cell twice, expected each once")
    pre, post = np.nonzero(numbers)
    called_array = np.array(called, dtype=object)
    types = None if kind is None else [kind] * len(pre)
    rows.add(called_array[pre], called_array[post], numbers[pre, post], types)


def _square(what: str, table: Any) -> NDArray[Any]:
    try:
        numbers = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WiringError(f"{what} must be a matrix of counts: {error}") from error
    if numbers.ndim != 2 or numbers.shape[0] != numbers.shape[1]:
        raise WiringError(
            f"{what} must be square, from cells in rows to cells in columns, got shape "
            f"{numbers.shape}"
        )
    if np.isnan(numbers).any():
        raise WiringError(f"{what} must hold numbers, got NaN; fill empty cells with 0")
    return numbers


def looks_like_matrix(header: Sequence[Any]) -> bool:
    """Whether the first line of a table is that of a matrix: nothing, then names of cells."""
    return len(header) > 1 and str(header[0]).strip().lower() in ("", "unnamed: 0")


def matrix_of_file(path: Path, separator: str | None) -> pd.DataFrame:
    """Return a matrix with names in its first row and its first column."""
    import pandas as pd

    from elegans.wiring.connectome.tables import excel, opened_text

    if separator is None:
        frame = excel(path, index_col=0)
    else:
        with opened_text(path) as file:
            try:
                frame = pd.read_csv(
                    file, sep=separator, index_col=0, dtype=str, keep_default_na=False
                )
            except (ValueError, UnicodeDecodeError) as error:
                raise WiringError(f"expected a matrix of text: {error}") from error
    return frame.replace({"": "0"})
