"""Graphs and files carry wirings without loss."""

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.errors import WiringError
from elegans.wiring import AutoNCP, Synapses, Wiring
from elegans.wiring.exchange.csv_edges import from_csv, to_csv
from elegans.wiring.exchange.networkx_graph import from_graphml, to_graphml

WRITABLE = st.characters(
    exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029\ufffe\uffff"
)
NASTY = ["a,b", '"', "'", "#x", " x ", "<&>", "ü→é", "1", "+1", "null", "a;b", "=A1", "]]>"]
NAMES = st.one_of(st.text(WRITABLE, min_size=1, max_size=6), st.sampled_from(NASTY))


@st.composite
def synapse_sets(draw, sources, targets):
    row = st.tuples(
        st.integers(0, sources - 1), st.integers(0, targets - 1), st.sampled_from([-1, 1])
    )
    rows = draw(st.lists(row, max_size=12))  # with parallel ones, and neurons without any
    return Synapses(*(zip(*rows, strict=True) if rows else ((), (), ())))


@st.composite
def wirings(draw):
    others = draw(st.lists(NAMES, max_size=3, unique=True))
    others = [name for name in others if name not in ("motor", "sensory")]
    layers = {name: draw(st.integers(1, 3)) for name in ("motor", *others)}
    input_size, units = draw(st.integers(1, 3)), sum(layers.values())
    names = sensory_names = None
    if draw(st.booleans()):
        count = input_size + units
        chosen = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
        names, sensory_names = chosen[:units], chosen[units:]
    return Wiring(
        input_size,
        layers,
        draw(synapse_sets(units, units)),
        draw(synapse_sets(input_size, units)),
        names=names,
        sensory_names=sensory_names,
    )


def assert_same(again, wiring):
    assert again == wiring
    assert list(again.layers.items()) == list(wiring.layers.items())


@pytest.mark.slow
@settings(deadline=None)
@given(wirings())
def test_networkx_round_trip(wiring):
    graph = wiring.to_networkx()
    assert_same(Wiring.from_networkx(graph), wiring)
    assert graph.number_of_edges() == wiring.synapse_count + wiring.sensory_synapse_count
    parallel = wiring.recurrent.has_parallel or wiring.sensory.has_parallel
    assert graph.is_multigraph() == parallel


@pytest.mark.slow
@settings(deadline=None)
@given(wirings())
def test_json_round_trip(wiring):
    assert_same(Wiring.from_json(wiring.to_json()), wiring)
    assert_same(Wiring.from_json(json.dumps(json.loads(wiring.to_json()))), wiring)


@pytest.mark.slow
@settings(deadline=None)
@given(wirings())
def test_csv_round_trip(wiring):
    text = to_csv(wiring)
    assert_same(from_csv(text), wiring)
    assert_same(from_csv(text.replace("\n", "\r\n")), wiring)


@pytest.mark.slow
@settings(deadline=None)
@given(wirings())
def test_graphml_round_trip(wiring):
    assert_same(from_graphml(to_graphml(wiring)), wiring)


@settings(max_examples=20, deadline=None)
@given(wiring=wirings(), suffix=st.sampled_from([".json", ".csv", ".graphml", ".JSON"]))
def test_file_round_trip(tmp_path_factory, wiring, suffix):
    path = tmp_path_factory.mktemp("wiring") / f"circuit{suffix}"
    wiring.save(path)
    assert_same(Wiring.load(path), wiring)
    wiring.save(str(path))  # over the old one
    assert_same(Wiring.load(str(path)), wiring)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def wiring():
    return AutoNCP(units=8, output_size=1).build(input_size=2)


def test_graph_attributes(wiring):
    graph = wiring.to_networkx()
    assert type(graph) is nx.DiGraph
    assert graph.graph == {"format": "elegans.wiring", "version": 1}
    assert len(graph) == 10
    assert graph.nodes["sensory_1"] == {"layer": "sensory", "index": 1, "name": "sensory_1"}
    assert graph.nodes["inter_0"] == {"layer": "inter", "index": 3, "name": "inter_0"}
    j, i, polarity = next(iter(wiring.recurrent))
    assert graph.edges[wiring.names[j], wiring.names[i]] == {"polarity": polarity}
    assert all(type(data["polarity"]) is int for _, _, data in graph.edges(data=True))


def test_weights_become_an_attribute_of_the_edges(wiring):
    weights = np.linspace(0.5, 1.5, wiring.synapse_count)
    graph = wiring.to_networkx(weights=weights)
    for (j, i, _), weight in zip(wiring.recurrent, weights, strict=True):
        assert graph.edges[wiring.names[j], wiring.names[i]]["weight"] == weight
    assert "weight" not in graph.edges["sensory_0", next(iter(graph["sensory_0"]))]
    assert Wiring.from_networkx(graph) == wiring
    with pytest.raises(WiringError, match=r"one number for each of the 11 .* shape \(3,\)"):
        wiring.to_networkx(weights=[1, 2, 3])
    with pytest.raises(WiringError, match="sensory_weights must be an array of numbers"):
        wiring.to_networkx(sensory_weights="abc")


def test_a_graph_made_by_hand_needs_layers_and_polarities_only():
    graph = nx.DiGraph()
    graph.add_node("AFD", layer="sensory", colour="red")
    graph.add_node(7, layer="inter")
    graph.add_node("M1", layer="motor")
    graph.add_node("AIY", layer="inter")
    graph.add_node("M2", layer="motor")
    graph.add_edge("AFD", "AIY", polarity=1.0)
    graph.add_edge("AIY", 7, polarity=np.int64(-1))
    graph.add_edge(7, "M1", polarity=1)
    wiring = Wiring.from_networkx(graph)
    assert wiring.names == ("M1", "M2", "7", "AIY")
    assert dict(wiring.layers) == {"motor": 2, "inter": 2}
    assert list(wiring.recurrent) == [(2, 0, 1), (3, 2, -1)]
    assert list(wiring.sensory) == [(0, 3, 1)]


@pytest.mark.parametrize("version", ["1", 1.0, np.int64(1)])
def test_the_version_may_be_written_in_other_ways(wiring, version):
    graph = wiring.to_networkx()
    graph.graph["version"] = version
    assert Wiring.from_networkx(graph) == wiring


def _graph_without(attribute, node="inter_1"):
    def change(graph):
        del graph.nodes[node][attribute]

    return change


def _graph_with(attribute, value, node="inter_1"):
    def change(graph):
        graph.nodes[node][attribute] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_graph_without("layer"), "node 'inter_1' must have the attribute 'layer'.* got None"),
        (_graph_with("layer", 3), "attribute 'layer', .* got 3"),
        (_graph_without("index"), "node 'inter_1' has index None; without any attribute 'index'"),
        (_graph_with("index", 3), "index 3, which 'inter_0' has too"),
        (_graph_with("index", 99), "must have each index from 0 to 7 once, but .* index 99"),
        (_graph_with("index", "x"), "has index 'x'"),
        (_graph_with("index", True), "has index True"),
        (_graph_with("name", "inter_2"), "unique, got 'inter_2' more than once"),
        (_graph_with("layer", "command"), "indices of a layer must follow one another"),
        (_graph_with("layer", "command", "motor_0"), "layers must begin with 'motor'"),
        (lambda g: g.remove_node("motor_0"), "must have each index from 0 to 6 once"),
        (lambda g: g.remove_nodes_from(["sensory_0", "sensory_1"]), "input_size .* got 0"),
        (lambda g: g.add_edge("inter_0", "sensory_0", polarity=1), "leads to an input"),
        (lambda g: g.add_edge("inter_0", "motor_0"), "attribute 'polarity', 1 or -1, got None"),
        (lambda g: g.add_edge("inter_0", "motor_0", polarity="+"), r"got '\+'"),
        (lambda g: g.add_edge("inter_0", "motor_0", polarity=float("nan")), "got nan"),
        (lambda g: g.add_edge("inter_0", "new", polarity=1), "node 'new' must have the attribute"),
        (lambda g: g.graph.update(version=4), "reads versions 1 to 3 of the format, got 4"),
        (lambda g: g.graph.update(version="4"), "reads versions 1 to 3 of the format, got '4'"),
    ],
)
def test_graphs_that_are_no_wirings(wiring, change, message):
    graph = wiring.to_networkx()
    change(graph)
    with pytest.raises(WiringError, match=message):
        Wiring.from_networkx(graph)


@pytest.mark.parametrize("graph", [nx.Graph(), {"nodes": []}, None])
def test_only_directed_graphs(graph):
    with pytest.raises(WiringError, match="expected a DiGraph or MultiDiGraph"):
        Wiring.from_networkx(graph)


def test_an_empty_graph_is_no_wiring():
    with pytest.raises(WiringError, match=r"input_size|layers must begin with 'motor'"):
        Wiring.from_networkx(nx.DiGraph())


def test_json_is_readable_and_sorted(wiring):
    text = wiring.to_json()
    data = json.loads(text)
    assert list(data)[:3] == ["format", "version", "input_size"]
    assert data["version"] == 1
    assert data["names"] is None
    keys = list(zip(data["recurrent"]["target"], data["recurrent"]["source"], strict=True))
    assert keys == sorted(keys)
    assert len(text.splitlines()) == 18  # one line for each array
    assert max(map(len, text.splitlines())) < 120


def test_csv_is_an_edge_list_that_people_can_read():
    wiring = Wiring(
        1, {"motor": 1, "inter": 2}, Synapses([1, 2], [0, 1], [1, -1]), Synapses([0], [2], [1])
    )
    assert to_csv(wiring).splitlines() == [
        "# elegans.wiring,1,synapses,3",
        "# sensory,sensory_0",
        "# motor,motor_0",
        "# inter,inter_0,inter_1",
        "source,target,polarity",
        "sensory_0,inter_1,1",
        "inter_0,motor_0,1",
        "inter_1,inter_0,-1",
    ]


def test_csv_that_a_spreadsheet_has_changed():
    text = (
        "# elegans.wiring,1,,\r\n# sensory,in,,\r\n#motor,M,,\r\n# inter,A,B,\r\n"
        "weight,target,source,polarity\r\n0.5,A,in,+1\r\n,,,\r\n0.1,M,B, -1\r\n"
    )
    wiring = from_csv(text)
    assert wiring.names == ("M", "A", "B")
    assert list(wiring.sensory) == [(0, 1, 1)]
    assert list(wiring.recurrent) == [(2, 0, -1)]


def test_matrices_keep_the_names_of_frames():
    frame = pd.DataFrame([[0, 1], [-1, 0]], index=["AVA", "AVB"], columns=["AVA", "AVB"])
    inputs = pd.DataFrame([[1, 0]], index=["touch"], columns=["AVA", "AVB"])
    made = Wiring.from_adjacency(frame, inputs, outputs=1)
    assert (made.names, made.sensory_names) == (("AVA", "AVB"), ("touch",))
    plain = Wiring.from_adjacency(frame.to_numpy(), inputs.to_numpy(), outputs=1)
    assert made.recurrent == plain.recurrent
    assert plain.names == ("motor_0", "inter_0")
    counted = Wiring.from_adjacency(pd.DataFrame(frame.to_numpy()), inputs.to_numpy(), outputs=1)
    assert counted == plain
    for neurons, channels in ((frame[["AVB", "AVA"]], inputs), (frame, inputs[["AVB", "AVA"]])):
        with pytest.raises(WiringError, match="the same neurons in the same order"):
            Wiring.from_adjacency(neurons, channels, outputs=1)
