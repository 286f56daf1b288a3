"""The graph and the picture of a wiring as ``ncps`` has them."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
from matplotlib.patches import Patch

from elegans.errors import WiringError
from elegans.wiring.wiring import SENSORY, Wiring

_LAYOUTS = {
    "kamada": nx.kamada_kawai_layout,
    "circular": nx.circular_layout,
    "random": nx.random_layout,
    "shell": nx.shell_layout,
    "spring": nx.spring_layout,
    "spectral": nx.spectral_layout,
    "spiral": nx.spiral_layout,
}
_NEURON_COLORS = {"inter": "tab:blue", "motor": "tab:orange", SENSORY: "tab:olive"}
_SYNAPSE_COLORS = {"excitatory": "tab:green", "inhibitory": "tab:red"}


def graph_of(wiring: Wiring, include_sensory_neurons: bool = True) -> nx.DiGraph:
    """Return the graph; see `NcpsNames.get_graph`."""
    if wiring.gap_junction_count:
        raise WiringError(
            f"the wiring has {wiring.gap_junction_count} gap junctions, which the graphs of ncps "
            "have no place for; to_networkx and draw keep them"
        )
    graph = nx.DiGraph()
    for i, layer in enumerate(wiring.layer_of):
        graph.add_node(f"neuron_{i}", neuron_type=str(layer))
    sets = [("neuron", wiring.recurrent)]
    if include_sensory_neurons:
        for j in range(wiring.input_size):
            graph.add_node(f"sensory_{j}", neuron_type=SENSORY)
        sets.insert(0, ("sensory", wiring.sensory))
    for kind, synapses in sets:
        for j, i, polarity in synapses:
            sign = "excitatory" if polarity > 0 else "inhibitory"
            graph.add_edge(f"{kind}_{j}", f"neuron_{i}", polarity=sign)
    return graph


def draw_graph(
    wiring: Wiring,
    layout: str,
    neuron_colors: Mapping[str, str] | None,
    synapse_colors: str | Mapping[str, str] | None,
    draw_labels: bool,
) -> list[Patch]:
    """Draw the graph and return handles for the legend; see `NcpsNames.draw_graph`."""
    if layout not in _LAYOUTS:
        raise WiringError(f"unknown layout {layout!r}, expected one of {', '.join(_LAYOUTS)}")
    colors = {**_NEURON_COLORS, **(neuron_colors or {})}
    if isinstance(synapse_colors, str):
        synapse_colors = dict.fromkeys(_SYNAPSE_COLORS, synapse_colors)
    lines = {**_SYNAPSE_COLORS, **(synapse_colors or {})}
    graph = graph_of(wiring)
    place = _LAYOUTS[layout](graph)
    kinds = graph.nodes(data="neuron_type")
    nodes = [colors.get(kind, _NEURON_COLORS["inter"]) for _, kind in kinds]
    edges = [lines[polarity] for _, _, polarity in graph.edges(data="polarity")]
    nx.draw_networkx_nodes(graph, place, node_color=nodes)
    nx.draw_networkx_edges(graph, place, edge_color=edges)
    if draw_labels:
        nx.draw_networkx_labels(graph, place)
    return [Patch(color=color, label=f"{kind.title()} neurons") for kind, color in colors.items()]
