"""Graphs of NetworkX; GraphML and GEXF of Gephi, Cytoscape, igraph and graph-tool."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import networkx as nx
import numpy as np

from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.neuron_tables import FIELDS
from elegans.wiring.connectome.rows import TYPES, EdgeRows
from elegans.wiring.exchange.networkx_graph import parsed_graph

NAMES = ("name", "label", "shared name", "_graphml_vertex_id")
COUNTS = ("synapses", "weight", "syn_count", "count")
KINDS = ("type", "synapse_type", "interaction", "kind")  # the last in graphs of wirings


def from_text(
    text: str, form: str, columns: Mapping[str, str | None] | None, **known: Any
) -> Connectome:
    """Return the connectome of a text of GraphML or GEXF."""
    return from_networkx(parsed_graph(text, form, skip_types=True), columns, **known)


def from_networkx(
    graph: nx.Graph, columns: Mapping[str, str | None] | None = None, **known: Any
) -> Connectome:
    """Return the connectome of a graph; attributes that are not known are skipped.

    Parameters
    ----------
    columns
        The attributes of nodes that hold their ``name``, and of edges that hold their ``count``
        and ``type``, where they are not called as usual; None leaves one out.
    known
        ``rules``, ``neurons`` and ``naming`` as in `load`.
    """
    named = dict(columns or {})
    unknown = set(named) - {"name", "count", "type"}
    if unknown:
        raise WiringError(
            f"columns of a graph may name 'name', 'count' and 'type', got {sorted(unknown)[0]!r}"
        )
    names = _names(graph, named.get("name"), named.get("name", "") is not None)
    edges = list(graph.edges(data=True))
    count = _attribute([data for *_, data in edges], "count", COUNTS, named)
    types = _attribute([data for *_, data in edges], "type", KINDS, named)
    directed = graph.is_directed()
    rows = EdgeRows()
    cells = list(graph.nodes)
    rows.cells([names[node] for node in cells])
    rows.add(
        [names[source] for source, *_ in edges],
        [names[target] for _, target, _ in edges],
        [1 if value is None else value for value in count],
        [_type(value, directed, "type" in named) for value in types],
    )
    about = {names[node]: _known(data) for node, data in graph.nodes(data=True)}
    if "neurons" not in known or known["neurons"] is None:
        known["neurons"] = about
    else:
        tables = known["neurons"]
        known["neurons"] = [*(tables if isinstance(tables, list | tuple) else [tables]), about]
    return rows.connectome(**known)


def to_networkx(connectome: Connectome) -> nx.MultiDiGraph:
    """Return the graph; see `Connectome.to_networkx`."""
    graph = nx.MultiDiGraph()
    for i, name in enumerate(connectome.names):
        texts = {
            "class": connectome.classes[i],
            "transmitter": connectome.transmitters[i],
            "side": connectome.sides[i],
            "kind": connectome.kinds[i],
        }
        place = dict(zip("xyz", connectome.positions[i].tolist(), strict=True))
        graph.add_node(
            name,
            **{key: text for key, text in texts.items() if text},
            **{axis: value for axis, value in place.items() if not math.isnan(value)},
        )
    edges = connectome.chemical
    for j, i, count, sign in zip(
        edges.pre.tolist(),
        edges.post.tolist(),
        edges.count.tolist(),
        edges.sign.tolist(),
        strict=True,
    ):
        kind = {1: "excitatory", -1: "inhibitory"}.get(sign, "chemical")
        graph.add_edge(connectome.names[j], connectome.names[i], weight=count, type=kind, sign=sign)
    pairs = connectome.electrical
    for j, i, count in zip(
        pairs.pre.tolist(), pairs.post.tolist(), pairs.count.tolist(), strict=True
    ):
        for one, other in ((j, i), (i, j)):
            graph.add_edge(
                connectome.names[one],
                connectome.names[other],
                weight=count,
                type="electrical",
                sign=0,
            )
    return graph


def _names(graph: nx.Graph, attribute: str | None, ask: bool) -> dict[Hashable, str]:
    """Return the name of each node: an attribute that differs for each, or the node itself."""
    for key in (attribute,) if attribute else NAMES if ask else ():
        values = [data.get(key) for _, data in graph.nodes(data=True)]
        if all(value not in (None, "") for value in values):
            texts = [str(value).strip() for value in values]
            if len(set(texts)) == len(texts):
                return dict(zip(graph.nodes, texts, strict=True))
        if attribute:
            raise WiringError(
                f"the attribute {attribute!r} must name each node, each by another name; without "
                "columns={'name': ...} nodes are called by their names or numbers"
            )
    return {node: str(node).strip() for node in graph.nodes}


def _attribute(
    rows: list[dict[str, Any]], field: str, usual: tuple[str, ...], named: Mapping[str, str | None]
) -> list[Any]:
    """Return the attribute of each edge, None where it has none."""
    if field in named:
        key = named[field]
        if key is not None and rows and not any(key in row for row in rows):
            there = sorted({name for row in rows for name in row})
            raise WiringError(
                f"no edge has the attribute {key!r} for {field!r}; the attributes are "
                f"{', '.join(there) or 'none'}"
            )
        return [None if key is None else row.get(key) for row in rows]
    for key in usual:
        if any(key in row for row in rows):
            return [row.get(key) for row in rows]
    return [None] * len(rows)


def _type(value: Any, directed: bool, asked: bool) -> str:
    text = "" if value is None else str(value).strip().lower()
    if text not in TYPES:
        if asked:
            raise WiringError(
                f"an edge has the type {value!r}, expected one of {', '.join(filter(None, TYPES))}"
            )
        text = ""  # an attribute of this name that tells another thing
    if not directed and text in ("", "chemical", "chem", "undirected", "directed"):
        return "undirected"
    return text


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the attributes of a node say of a cell."""
    small = {str(key).strip().lower(): value for key, value in data.items()}
    row: dict[str, Any] = {}
    for field, keys in FIELDS.items():
        value = next((small[key] for key in keys if key in small), None)
        if isinstance(value, str) and value.strip():
            row[field] = value.strip()
    place = [small.get(axis) for axis in "xyz"]
    if small.get("viz"):  # GEXF of Gephi
        place = [small["viz"].get("position", {}).get(axis) for axis in "xyz"]
    if all(isinstance(value, int | float) and np.isfinite(value) for value in place):
        row["position"] = tuple(float(value) for value in place if value is not None)
    return row
