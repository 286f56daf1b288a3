"""NetworkX graphs: one node a neuron, one edge a synapse, an edge each way a gap junction."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Hashable, Mapping
from io import BytesIO
from typing import Any
from xml.parsers import expat

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring.exchange.json_text import (
    FORMAT,
    VERSION,
    VERSIONS,
    WITH_OUTPUTS,
    check_version,
    version_of,
)
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import MOTOR, SENSORY, Wiring

ELECTRICAL = "electrical"
OUTPUTS = "output_channels"


def to_networkx(
    wiring: Wiring,
    weights: ArrayLike | None = None,
    sensory_weights: ArrayLike | None = None,
    electrical_weights: ArrayLike | None = None,
) -> nx.DiGraph:
    """Return the graph of `wiring`; see `Wiring.to_networkx`."""
    currents = _currents(wiring, electrical_weights)
    joined = {(j, i) for j, i, _ in currents}
    parallel = wiring.recurrent.has_parallel or wiring.sensory.has_parallel
    parallel |= bool(joined) and any((j, i) in joined for j, i, _ in wiring.recurrent)
    graph = nx.MultiDiGraph() if parallel else nx.DiGraph()
    graph.graph.update(format=FORMAT, version=version_of(wiring))
    chemical = {"kind": "chemical"} if currents else {}
    for neuron in (*wiring.sensory_neurons, *wiring.neurons):
        graph.add_node(neuron.name, layer=neuron.layer, index=neuron.index, name=neuron.name)
    if wiring.has_outputs_elsewhere:
        for i in np.unique(wiring.outputs):
            channels = np.flatnonzero(wiring.outputs == i)
            graph.nodes[wiring.names[i]][OUTPUTS] = " ".join(map(str, channels))
    for kind, sources, synapses, weight in (
        ("sensory_weights", wiring.sensory_names, wiring.sensory, sensory_weights),
        ("weights", wiring.names, wiring.recurrent, weights),
    ):
        weight = check_weights(kind, weight, len(synapses))
        for k, (j, i, polarity) in enumerate(synapses):
            attributes: dict[str, Any] = {} if weight is None else {"weight": float(weight[k])}
            attributes |= chemical
            graph.add_edge(sources[j], wiring.names[i], polarity=polarity, **attributes)
    for j, i, known in currents:
        graph.add_edge(wiring.names[j], wiring.names[i], kind=ELECTRICAL, **known)
    return graph


def _currents(wiring: Wiring, weights: ArrayLike | None) -> list[tuple[int, int, dict[str, Any]]]:
    """Return the ways of current through gap junctions, with what edges say of them."""
    weight = check_weights("electrical_weights", weights, wiring.gap_junction_count)
    ways = []
    for k, (j, i, one_way) in enumerate(wiring.electrical):
        attributes: dict[str, Any] = {"rectifying": one_way}
        if weight is not None:
            attributes["weight"] = float(weight[k])
        ways.append((j, i, attributes))
        if not one_way:
            ways.append((i, j, attributes))
    return ways


def from_networkx(graph: nx.DiGraph) -> Wiring:
    """Return the wiring of `graph`; see `Wiring.from_networkx`."""
    if not isinstance(graph, nx.Graph) or not graph.is_directed():
        raise WiringError(
            f"expected a DiGraph or MultiDiGraph of networkx, got {type(graph).__name__}; "
            "synapses have a direction"
        )
    version = graph.graph.get("version", VERSION)
    if graph.graph.get("format") == FORMAT:
        check_version(version, *VERSIONS, *map(str, VERSIONS))  # other programs may write text
    layer_of = {node: _layer(node, data) for node, data in graph.nodes(data=True)}
    nodes = _in_order(graph, layer_of)
    sensory = [node for node in nodes if layer_of[node] == SENSORY]
    neurons = [node for node in nodes if layer_of[node] != SENSORY]
    layers: dict[str, int] = {}
    for previous, node in zip([None, *neurons], neurons, strict=False):
        layer = layer_of[node]
        if layer in layers and layer_of.get(previous) != layer:
            raise WiringError(
                f"the indices of a layer must follow one another, but neuron {node!r} of layer "
                f"{layer!r} comes after neuron {previous!r} of layer {layer_of[previous]!r}"
            )
        layers[layer] = layers.get(layer, 0) + 1
    position = {node: i for members in (sensory, neurons) for i, node in enumerate(members)}
    rows: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
    currents: list[tuple[Hashable, Hashable, Mapping[str, Any]]] = []
    outputs = _outputs(graph, position)
    if outputs is None and str(version) == str(WITH_OUTPUTS):
        raise WiringError(
            f"no node has the attribute {OUTPUTS!r}, which a graph of version {version} has at the "
            "neurons that are read; it may have been left out when the graph was copied"
        )
    for source, target, data in graph.edges(data=True):
        if data.get("kind") == ELECTRICAL:
            inputs = [node for node in (source, target) if layer_of[node] == SENSORY]
            if inputs:
                raise WiringError(
                    f"gap junction {source!r} -- {target!r} joins the input {inputs[0]!r}, which "
                    "has no state; join neurons"
                )
            currents.append((source, target, data))
            continue
        if layer_of[target] == SENSORY:
            raise WiringError(f"edge {source!r} -> {target!r} leads to an input, which none can")
        row = position[source], position[target], _polarity(source, target, data)
        rows[layer_of[source] == SENSORY].append(row)
    return Wiring(
        len(sensory),
        layers,
        Synapses.from_rows(rows[False]),
        Synapses.from_rows(rows[True]),
        electrical=_junctions(currents, position),
        outputs=outputs,
        names=[_name(node, graph.nodes[node]) for node in neurons],
        sensory_names=[_name(node, graph.nodes[node]) for node in sensory],
    )


def _outputs(graph: nx.DiGraph, position: Mapping[Hashable, int]) -> list[int] | None:
    """Return the neuron that each channel reads, None if no node says that one does."""
    readers: dict[int, Hashable] = {}
    for node, data in graph.nodes(data=True):
        value = data.get(OUTPUTS)
        if value is None or value == "" or value != value:  # NaN where a table has an empty cell
            continue
        if data.get("layer") == SENSORY:
            raise WiringError(
                f"node {node!r} is an input and has {OUTPUTS} {value!r}; neurons alone are read"
            )
        for text in str(_integer(value) if _integer(value) is not None else value).split():
            if not (text.isascii() and text.isdecimal()) or int(text) in readers:
                raise WiringError(
                    f"node {node!r} must have as {OUTPUTS} the numbers of the channels that read "
                    f"it, each channel at one node, such as '0 2', got {value!r}"
                )
            readers[int(text)] = node
    if not readers:
        return None
    missing = next((k for k in range(len(readers)) if k not in readers), None)
    if missing is not None:
        raise WiringError(
            f"output channels must be numbered from 0, got {len(readers)} at the nodes up to "
            f"channel {max(readers)}, but no channel {missing}"
        )
    return [position[readers[k]] for k in range(len(readers))]


def _junctions(
    currents: list[tuple[Hashable, Hashable, Mapping[str, Any]]], position: Mapping[Hashable, int]
) -> GapJunctions:
    """Return the junctions of electrical edges; raise `WiringError` if one lacks its way back."""
    ways: dict[tuple[Hashable, Hashable], bool | None] = {}
    for source, target, data in currents:
        told = f"gap junction {source!r} -- {target!r}"
        if source == target:
            raise WiringError(f"{told} joins a neuron to itself; leave it out")
        if (source, target) in ways:
            raise WiringError(f"{told} has two edges that way, expected one; remove one of them")
        ways[source, target] = _truth(told, data.get("rectifying"))
    rows = []
    for (source, target), rectifying in ways.items():
        back = (target, source) in ways
        told = f"gap junction {source!r} -- {target!r}"
        if rectifying and (back or (target, source) in ways):
            raise WiringError(f"{told} is rectifying, but has an edge each way; remove one of them")
        if not rectifying and not back:
            raise WiringError(
                f"{told} has no edge back, expected one each way; add it, or set "
                "rectifying=True on an edge through which current flows one way only"
            )
        row = position[source], position[target], bool(rectifying)
        if rectifying or row[0] < row[1]:
            rows.append(row)
    return GapJunctions.from_rows(rows)


def _truth(told: str, value: object) -> bool | None:
    """Return what an attribute says, which other programs may write as number or text."""
    known = {"true": True, "1": True, "false": False, "0": False, "none": None}
    text = str(_integer(value)) if _integer(value) is not None else str(value).lower()
    if text not in known:
        raise WiringError(f"{told} must have rectifying true or false, got {value!r}")
    return known[text]


def check_weights(kind: str, weights: ArrayLike | None, count: int) -> NDArray[np.float64] | None:
    """Return one finite number a synapse, shape (synapse,), or None if none are given."""
    if weights is None:
        return None
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: torch wants detach()
        raise WiringError(f"{kind} must be an array of numbers: {error}") from error
    if array.shape != (count,):
        raise WiringError(
            f"{kind} must hold one number for each of the {count} synapses, in their order, got "
            f"shape {array.shape}"
        )
    if not np.isfinite(array).all():
        k = int(np.argmin(np.isfinite(array)))
        raise WiringError(f"{kind} must be finite, got {array[k]} at position {k}")
    return array


def _layer(node: Hashable, data: Mapping[str, Any]) -> str:
    layer = data.get("layer")
    if not isinstance(layer, str):
        raise WiringError(
            f"node {node!r} must have the attribute 'layer', such as {SENSORY!r} or {MOTOR!r}, "
            f"got {layer!r}"
        )
    return layer


def _in_order(graph: nx.DiGraph, layer_of: Mapping[Hashable, str]) -> list[Hashable]:
    """Return the nodes by their index, or as they come, motor first, if none has an index."""
    index = {
        node: data["index"]
        for node, data in graph.nodes(data=True)
        if data.get("index") is not None
    }
    if not index:
        order = dict.fromkeys((MOTOR, *layer_of.values()))
        rank = {layer: k for k, layer in enumerate(order)}
        return sorted(graph.nodes, key=lambda node: rank[layer_of[node]])
    for kind, members in (
        ("inputs", [node for node in graph.nodes if layer_of[node] == SENSORY]),
        ("neurons", [node for node in graph.nodes if layer_of[node] != SENSORY]),
    ):
        taken: dict[int, Hashable] = {}
        for node in members:
            i = _integer(index.get(node))
            if i is None or not 0 <= i < len(members) or i in taken:
                also = f", which {taken[i]!r} has too" if i in taken else ""
                raise WiringError(
                    f"the {kind} must have each index from 0 to {len(members) - 1} once, but node "
                    f"{node!r} has index {index.get(node)!r}{also}; without any attribute 'index' "
                    "nodes are numbered as they come"
                )
            taken[i] = node
            index[node] = i
    return sorted(graph.nodes, key=lambda node: index[node])


def _polarity(source: Hashable, target: Hashable, data: Mapping[str, Any]) -> int:
    polarity = _integer(data.get("polarity"))
    if polarity not in (1, -1):
        raise WiringError(
            f"edge {source!r} -> {target!r} must have the attribute 'polarity', 1 or -1, got "
            f"{data.get('polarity')!r}"
        )
    return polarity


def _name(node: Hashable, data: Mapping[str, Any]) -> str:
    return str(data.get("name", node))


def _integer(value: object) -> int | None:
    """Return `value` as an integer if it is one; other programs write 1 as 1.0."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    return None


def to_graphml(wiring: Wiring) -> str:
    """Return `wiring` as text; nodes and edges have the attributes of `to_networkx`."""
    graph = to_networkx(wiring)
    if wiring.gap_junction_count and graph.is_multigraph():
        # Keys become identifiers of edges; Gephi skips an edge whose identifier is taken.
        edges = [(j, i, f"e{k}", data) for k, (j, i, data) in enumerate(graph.edges(data=True))]
        graph.remove_edges_from(list(graph.edges(keys=True)))
        graph.add_edges_from(edges)
    lines = nx.generate_graphml(graph)
    return "\n".join(('<?xml version="1.0" encoding="utf-8"?>', *lines, ""))


def from_graphml(text: str) -> Wiring:
    """Return the wiring written in `text`."""
    return from_networkx(parsed_graph(text, "GraphML"))


_TYPES = {"int", "long", "float", "double", "boolean", "string", "integer"}
_SAME_TYPES = {"short": "int", "uint8_t": "int", "int16_t": "int", "int32_t": "int"}
_NAMESPACE = "{http://graphml.graphdrawing.org/xmlns}"


def parsed_graph(text: str, form: str, *, skip_types: bool = False) -> nx.Graph:
    """Return the graph of a text of GraphML or GEXF, as `form` says.

    Parameters
    ----------
    skip_types
        Whether attributes of types that NetworkX does not know, as graph-tool writes them, are
        skipped; else they are an error.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # they let a small file grow without end
        raise WiringError(f"expected {form} without a document type declaration; remove it")
    needed = len(text) + 500 * text.count("<")  # of elements, nodes and edges
    require_bytes(needed, "the graph", "load it on a larger machine", WiringError)
    try:
        _check_depth(text)
        with warnings.catch_warnings():  # about types that are missing: callers check all
            warnings.simplefilter("ignore", UserWarning)
            if form == "GEXF":
                return nx.read_gexf(BytesIO(text.encode()))
            return nx.parse_graphml(_with_known_types(text) if skip_types else text)
    except (
        ElementTree.ParseError,
        expat.ExpatError,
        nx.NetworkXError,
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        # NetworkX lets these escape when keys, types or values in the file are not valid.
        raise WiringError(
            f"expected {form}, but it does not parse ({type(error).__name__}: {error}); the file "
            "may be cut off"
        ) from error


def _with_known_types(text: str) -> str:
    """Return GraphML without the attributes whose type NetworkX refuses."""
    if set(re.findall(r'attr\.type="([^"]*)"', text)) <= _TYPES:
        return text
    root = ElementTree.fromstring(text.encode())
    strange: set[str | None] = set()
    for key in root.findall(f"{_NAMESPACE}key"):
        kind = key.get("attr.type", "string")
        key.set("attr.type", _SAME_TYPES.get(kind, kind))
        if key.get("attr.type") not in _TYPES:
            strange.add(key.get("id"))
            root.remove(key)
    for parent in list(root.iter()):
        for data in parent.findall(f"{_NAMESPACE}data"):
            if data.get("key") in strange:
                parent.remove(data)
    return ElementTree.tostring(root, encoding="unicode")


_DEEPEST = 32  # GraphML nests graph, node and data


def _check_depth(text: str) -> None:
    """Raise `ValueError` if elements are nested as in no GraphML, before a tree is made of them."""
    depth = 0

    def enter(name: str, attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"elements nested {depth} deep")

    def leave(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    parser.Parse(text, True)
