"""One way in: a file by its suffix and columns, a DataFrame, a matrix, a graph, or a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elegans.arguments import checked
from elegans.capacity import available_bytes
from elegans.errors import WiringError
from elegans.wiring.connectome import cect_data, graphs, neuroml
from elegans.wiring.connectome.cleaning import Rules
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.files import load_saved
from elegans.wiring.connectome.matrices import from_adjacency, looks_like_matrix, matrix_of_file
from elegans.wiring.connectome.tables import (
    ARROW,
    CHUNK,
    EXCEL,
    TEXTS,
    excel,
    first_line,
    opened_text,
    read_arrow,
    read_text,
    rows_of_frame,
    separator_of,
)

GRAPHS = {".graphml": "GraphML", ".gexf": "GEXF"}
NETWORKS = (".nml", ".xml")


@checked(WiringError)
def load(
    source: Any,
    *,
    neurons: Any = None,
    rules: Rules | None = None,
    columns: Mapping[str, str | None] | None = None,
    naming: str | None = None,
    progress: bool | None = None,
    chunk_rows: int = CHUNK,
) -> Connectome:
    """Return the connectome of a file, a table, a graph, or a dataset of cect.

    Parameters
    ----------
    source
        A path, whose suffix chooses the reader: ``.csv``, ``.tsv`` or ``.txt`` (also ``.gz``),
        ``.xlsx``, ``.parquet`` and ``.feather`` for edge lists and matrices, ``.graphml``,
        ``.gexf``, ``.nml`` for NeuroML, ``.npz`` for what `Connectome.save` wrote. Or a DataFrame
        (an edge list, or a matrix with the same names on both sides), a graph of NetworkX, or the
        name of a dataset of cect, such as ``"Cook2019Herm"``.
    neurons
        What is known of the cells: a table with a column of names (``name``, ``root_id``,
        ``bodyId``, …) and any of class, transmitter, side, position and kind; a list of several,
        of which the first says which cells there are; or a mapping of names to such fields.
    rules
        What bad rows get; see `Rules`.
    columns
        Which column, or attribute of a graph, holds ``pre``, ``post``, ``count``, ``type`` and
        ``transmitter`` (and ``name`` of a graph), where they are not called as usual; None leaves
        one out.
    naming
        ``"worm"`` reads class, side and kind off the names of cells of C. elegans.
    progress
        Whether to show a bar for text and Parquet; by default on a terminal.
    chunk_rows
        How many rows are read at a time; memory grows with it.

    Raises
    ------
    WiringError
        The file is damaged or not understood, or holds what `rules` refuse.
    MissingExtraError
        Excel, Parquet or a dataset of cect without the package that reads it.

    Examples
    --------
    >>> import pandas as pd
    >>> edges = pd.DataFrame({"pre": ["AVM"], "post": ["PVC"], "synapses": [9]})
    >>> load(edges)
    Connectome(2 cells; 9 synapses in 1 connections, 0 gap junctions in 0 pairs)
    """
    known = {"neurons": neurons, "rules": rules, "naming": naming}
    if hasattr(source, "is_directed"):
        return graphs.from_networkx(source, columns, **known)
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        above = [str(name) for name in source.columns]
        if columns is None and sorted(above) == sorted(str(name) for name in source.index):
            return from_adjacency(source, **known)
        return rows_of_frame(source, columns).connectome(**known)
    if not isinstance(source, str | os.PathLike):
        raise WiringError(
            f"load takes a path, a DataFrame, a graph or the name of a dataset, got "
            f"{type(source).__name__}; Connectome.from_adjacency takes a matrix"
        )
    if not isinstance(chunk_rows, int) or isinstance(chunk_rows, bool) or chunk_rows < 1:
        raise WiringError(f"chunk_rows must be a whole number of at least 1, got {chunk_rows!r}")
    path = Path(source)
    suffix = _suffix(path)
    if not suffix and not path.exists():
        return cect_data.from_name(str(source), **known)
    try:
        return _of_file(path, suffix, columns, known, progress, chunk_rows)
    except OSError as error:
        raise WiringError(
            f"cannot read a connectome from {path}: {error.strerror or error}; check the path, "
            f"which starts at {Path.cwd()} unless it is absolute"
        ) from error
    except WiringError as error:
        if str(error).startswith(f"{path}"):
            raise
        raise WiringError(f"{path}: {error}") from error


def _suffix(path: Path) -> str:
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    known = (*TEXTS, *ARROW, *EXCEL, *GRAPHS, *NETWORKS, ".npz")
    if suffix in known:
        return suffix
    if path.exists():
        raise WiringError(
            f"the suffix of a connectome's file chooses its format and must be one of "
            f"{', '.join(known)}, got {str(path)!r}"
        )
    return ""


def _of_file(
    path: Path,
    suffix: str,
    columns: Mapping[str, str | None] | None,
    known: dict[str, Any],
    progress: bool | None,
    chunk: int,
) -> Connectome:
    if suffix == ".npz":
        return load_saved(path)
    if suffix in GRAPHS:
        return graphs.from_text(_text(path), GRAPHS[suffix], columns, **known)
    if suffix in NETWORKS:
        return neuroml.from_text(_text(path), **known)
    if suffix in EXCEL:
        frame = excel(path)
        if looks_like_matrix(list(frame.columns)):
            return from_adjacency(matrix_of_file(path, None), **known)
        return rows_of_frame(frame, columns).connectome(**known)
    if suffix in ARROW:
        return read_arrow(path, columns, progress, chunk).connectome(**known)
    with opened_text(path) as file:
        separator = separator_of(path, file)
        header = first_line(file)
    if looks_like_matrix(header.replace('"', "").split(separator)):
        return from_adjacency(matrix_of_file(path, separator), **known)
    return read_text(path, columns, progress, chunk).connectome(**known)


def _text(path: Path) -> str:
    available = available_bytes()
    most = -1 if available is None else available // 10  # a graph takes ten times its text
    with opened_text(path) as file:
        content = file.read(most)
        if available is not None and file.read(1):
            raise WiringError(
                f"the text has more than {most} bytes, for whose graph there is no memory; load it "
                "on a larger machine, or export an edge list"
            )
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise WiringError(
                f"expected UTF-8 text, but byte {error.start} is none; is this the file you meant?"
            ) from error
