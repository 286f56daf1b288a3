"""Graphs, files and matrices carry gap junctions, and say what is wrong with damaged ones."""

import json
import re

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.cli.building import named_wiring
from elegans.errors import InputError, WiringError
from elegans.wiring import AutoNCP, GapJunctions, Synapses, Wiring
from elegans.wiring.exchange.csv_edges import from_csv, to_csv
from elegans.wiring.exchange.networkx_graph import from_graphml, to_graphml

FORMATS = {
    "json": (Wiring.to_json, Wiring.from_json),
    "csv": (to_csv, from_csv),
    "graphml": (to_graphml, from_graphml),
    "networkx": (Wiring.to_networkx, Wiring.from_networkx),
}


@st.composite
def wirings(draw):
    units = draw(st.integers(1, 5))
    pairs = [(j, i) for i in range(units) for j in range(i)]
    rows = [
        (j, i, one_way) if draw(st.booleans()) else (i, j, one_way)
        for j, i in pairs
        if draw(st.booleans())
        for one_way in [draw(st.booleans())]
    ]
    row = st.tuples(st.integers(0, units - 1), st.integers(0, units - 1), st.sampled_from([-1, 1]))
    return Wiring(
        1,
        {"motor": 1} | ({"inter": units - 1} if units > 1 else {}),
        Synapses.from_rows(draw(st.lists(row, max_size=8))),
        Synapses.from_rows([(0, 0, 1)]),
        electrical=GapJunctions.from_rows(rows),
    )


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40, deadline=None)
@given(wiring=wirings())
def test_junctions_come_back(form, wiring):
    write, read = FORMATS[form]
    again = read(write(wiring))
    assert again == wiring
    assert again.electrical == wiring.electrical


@settings(max_examples=40, deadline=None)
@given(wiring=wirings())
def test_matrices_keep_junctions(wiring):
    flows = wiring.electrical_adjacency()
    for k in range(wiring.units):
        for m in range(wiring.units):
            ways = {(j, i) for j, i, _ in wiring.electrical}
            ways |= {(i, j) for j, i, one_way in wiring.electrical if not one_way}
            assert flows[k, m] == ((k, m) in ways)
    again = Wiring.from_adjacency(
        np.zeros((wiring.units, wiring.units)),
        wiring.sensory_adjacency(),
        1,
        flows,
        rectifying=True,
    )
    assert again.electrical == wiring.electrical


CHAIN = Wiring(
    1,
    {"motor": 1, "inter": 3},
    Synapses.from_rows([(1, 0, 1), (2, 1, -1)]),
    Synapses.from_rows([(0, 3, 1)]),
    electrical=GapJunctions.from_rows([(1, 2, False), (3, 0, True)]),
)
PLAIN = CHAIN.with_synapses(CHAIN.recurrent, CHAIN.sensory, GapJunctions.empty())


@pytest.mark.parametrize("form", ["json", "csv", "graphml"])
def test_without_junctions_a_text_says_nothing_of_them(form):
    text = FORMATS[form][0](PLAIN)
    assert not re.search("electrical|kind|junction|rectifying", text)
    assert Wiring.from_networkx(PLAIN.to_networkx()).gap_junction_count == 0


def test_texts_without_junctions_are_as_they_were():
    wiring = Wiring(1, {"motor": 1}, Synapses([0], [0], [-1]), Synapses([0], [0], [1]))
    assert to_csv(wiring) == (
        "# elegans.wiring,1,synapses,2\n# sensory,sensory_0\n# motor,motor_0\n"
        "source,target,polarity\nsensory_0,motor_0,1\nmotor_0,motor_0,-1\n"
    )
    assert list(json.loads(wiring.to_json())) == [
        *("format", "version", "input_size", "layers", "names", "sensory_names"),
        *("recurrent", "sensory"),
    ]
    assert json.loads(wiring.to_json())["version"] == 1


def test_a_text_with_junctions_is_of_a_version_that_older_programs_refuse():
    assert json.loads(CHAIN.to_json())["version"] == 2
    assert to_csv(CHAIN).startswith("# elegans.wiring,2,synapses,3,junctions,2\n")
    assert CHAIN.to_networkx().graph["version"] == 2
    assert json.loads(CHAIN.to_json())["electrical"] == {
        "source": [3, 1],
        "target": [0, 2],
        "rectifying": [True, False],
    }


def test_a_junction_is_an_edge_each_way_and_a_rectifying_one_an_edge():
    graph = CHAIN.to_networkx(electrical_weights=[0.25, 2.0])
    assert type(graph) is nx.MultiDiGraph  # inter_1 has a chemical synapse onto inter_0, too
    told = [
        (source, target, data["rectifying"], data["weight"])
        for source, target, data in graph.edges(data=True)
        if data["kind"] == "electrical"
    ]
    assert sorted(told) == [
        ("inter_0", "inter_1", False, 2.0),
        ("inter_1", "inter_0", False, 2.0),
        ("inter_2", "motor_0", True, 0.25),
    ]
    assert {data["kind"] for *_, data in graph.edges(data=True)} == {"chemical", "electrical"}
    apart = CHAIN.edit(remove=[(2, 1)])
    assert type(apart.to_networkx()) is nx.DiGraph
    assert Wiring.from_networkx(apart.to_networkx()) == apart
    with pytest.raises(WiringError, match="electrical_weights must hold one number for each of"):
        CHAIN.to_networkx(electrical_weights=[1.0])


def test_identifiers_of_edges_are_unique_in_graphml():
    identifiers = re.findall(r'<edge [^>]*\bid="([^"]*)"', to_graphml(CHAIN))
    assert len(identifiers) == len(set(identifiers)) == 6


def _edge(source, target, **data):
    return lambda graph: graph.add_edge(source, target, kind="electrical", **data)


def _rectifying(value):
    def change(graph):
        for _source, target, data in graph.edges(data=True):
            if data["kind"] == "electrical" and target == "motor_0":
                data["rectifying"] = value

    return change


def _without_a_way(graph):
    key = next(
        key for key, data in graph["inter_1"]["inter_0"].items() if data["kind"] == "electrical"
    )
    graph.remove_edge("inter_1", "inter_0", key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edge("inter_0", "inter_0"), "'inter_0' -- 'inter_0' joins a neuron to itself"),
        (_edge("inter_0", "inter_1"), "'inter_0' -- 'inter_1' has two edges that way"),
        (_edge("sensory_0", "inter_1"), "joins the input 'sensory_0', which has no state"),
        (_edge("inter_1", "sensory_0"), "joins the input 'sensory_0', which has no state"),
        (_edge("inter_1", "nobody"), "node 'nobody' must have the attribute 'layer'"),
        (_edge("motor_0", "inter_2"), "'inter_2' -- 'motor_0' is rectifying, but has an edge each"),
        (_without_a_way, "'inter_0' -- 'inter_1' has no edge back, expected one each way"),
        (_rectifying(False), "'inter_2' -- 'motor_0' has no edge back"),
        (_rectifying(None), "'inter_2' -- 'motor_0' has no edge back"),
        (_rectifying("maybe"), "must have rectifying true or false, got 'maybe'"),
    ],
)
def test_damaged_graphs(change, message):
    graph = CHAIN.to_networkx()
    change(graph)
    with pytest.raises(WiringError, match=message):
        Wiring.from_networkx(graph)


@pytest.mark.parametrize("truth", [True, "true", "True", 1, 1.0, "1", np.True_])
def test_other_programs_write_truth_in_other_ways(truth):
    graph = CHAIN.to_networkx()
    _rectifying(truth)(graph)
    assert Wiring.from_networkx(graph) == CHAIN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": [1, 1], "target": [1, 0]}, "'electrical': a gap junction joins neuron 1 to"),
        ({"source": [1, 2], "target": [2, 1]}, "'electrical': the pair 1 -- 2 has two"),
        ({"source": [9, 1]}, "gap junction 9 -- 0 has source 9, expected an index from 0 to 3"),
        ({"source": [-1, 1]}, "source"),
        ({"source": [1]}, "'electrical': a gap junction needs two ends, got 1 sources and 2"),
        ({"source": [True, 1]}, "'electrical.source' must hold integers of 64 bits, got True"),
        ({"rectifying": [True]}, "'electrical': rectifying must hold True or False for each"),
        ({"rectifying": [1, 0]}, "'electrical.rectifying' must hold true and false, got 1"),
        ({"rectifying": None}, "'electrical.rectifying' must be a list of true and false"),
    ],
)
def test_damaged_json(change, message):
    data = json.loads(CHAIN.to_json())
    data["electrical"] |= change
    with pytest.raises(WiringError, match=message):
        Wiring.from_json(json.dumps(data))


def test_json_of_either_version_is_read_with_its_junctions():
    data = json.loads(CHAIN.to_json())
    assert Wiring.from_json(json.dumps(data | {"version": 1})) == CHAIN
    with pytest.raises(WiringError, match="field 'electrical' is missing"):
        Wiring.from_json(json.dumps({k: v for k, v in data.items() if k != "electrical"}))


TABLE = to_csv(CHAIN)
ROW = "inter_2,motor_0,,electrical,true\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.replace(ROW, ""), "line 1 announces 2 junctions, but the table holds 1"),
        (TABLE + ROW, "line 11: the pair 'inter_2' -- 'motor_0' has a gap junction already"),
        (TABLE + "motor_0,inter_2,,electrical,false\n", "line 11: the pair 'motor_0' -- 'inter_2'"),
        (TABLE.replace(ROW, ROW.replace("motor_0", "X")), "line 9: the target 'X' is no neuron"),
        (TABLE.replace(ROW, ROW.replace("inter_2", "X")), "line 9: the source 'X' is no neuron"),
        (TABLE.replace(ROW, ROW.replace("inter_2", "motor_0")), "joins 'motor_0' to itself"),
        (TABLE.replace(ROW, ROW.replace("motor_0", "sensory_0")), "can join the input 'sensory_0'"),
        (TABLE.replace(",true", ",perhaps"), "rectifying must be true or false, got 'perhaps'"),
        (TABLE.replace(",,electrical,t", ",1,electrical,t"), "has no polarity, got '1'"),
        (TABLE.replace("electrical,t", "magnetic,t"), "must be chemical or electrical, got 'magn"),
        (TABLE.replace(",kind,rectifying", ""), "missing: kind, rectifying"),
        (TABLE.replace("wiring,2", "wiring,1"), "line 1 must go on with 'synapses,' and their num"),
        (TABLE.replace(",junctions,2", ""), "'synapses,' and their number and 'junctions,'"),
    ],
)
def test_damaged_csv(text, message):
    assert text != TABLE
    with pytest.raises(WiringError, match=message):
        from_csv(text)


def test_a_table_by_hand_needs_no_numbers_and_may_shout():
    text = TABLE.replace(",synapses,3,junctions,2", "").replace(",true", ",TRUE")
    assert from_csv(text) == CHAIN


def test_an_older_table_may_have_a_column_of_any_kind():
    lines = to_csv(PLAIN).splitlines()
    rows = [line if line.startswith("#") else f"{line},kind" for line in lines]
    assert from_csv("\n".join(rows)) == PLAIN


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0, 1], [0, 0]], "current from neuron 0 to 1 but not back; give a symmetric"),
        ([[0, 0], [1, 0]], "current from neuron 1 to 0 but not back"),
        ([[0, 2], [2, 0]], r"with 1 where current may flow from row to column, else 0"),
        ([[0, -1], [-1, 0]], "conductances belong to a layer"),
        ([[0]], r"a matrix of shape \(2, 2\)"),
        ([[0], [0, 1]], r"a matrix of shape \(2, 2\)"),
        ([[1, 0], [0, 0]], "joins neuron 0 to itself"),
    ],
)
def test_matrices_that_are_no_junctions(matrix, message):
    with pytest.raises(WiringError, match=message):
        Wiring.from_adjacency(np.zeros((2, 2)), [[1, 0]], 1, electrical=matrix)


def test_labels_of_the_matrices_must_agree():
    frame = pd.DataFrame(np.zeros((2, 2), int), ["a", "b"], ["a", "b"])
    sensory = pd.DataFrame([[1, 0]], ["in"], ["a", "b"])
    pair = pd.DataFrame([[0, 1], [1, 0]], ["a", "b"], ["a", "b"])
    wiring = Wiring.from_adjacency(frame, sensory, 1, pair)
    assert wiring.names == ("a", "b")
    assert wiring.gap_junction_count == 1
    with pytest.raises(WiringError, match="must name the same neurons as adjacency"):
        Wiring.from_adjacency(frame, sensory, 1, pair.loc[["b", "a"], ["b", "a"]])


@pytest.mark.filterwarnings("ignore:as in ncps all")
def test_what_rebuilds_a_wiring_keeps_junctions_or_refuses():
    import elegans.torch

    wiring = AutoNCP(units=8, output_size=2).build(2).edit(add_electrical=[(0, 5, True)])
    named = named_wiring(wiring, ["speed", "angle"], ["left", "right"])
    assert named.electrical == wiring.electrical
    flat = Wiring(2, {"motor": 8}, wiring.recurrent, wiring.sensory, electrical=wiring.electrical)
    for units in (wiring, flat):
        with pytest.raises((InputError, WiringError), match="junction"):
            elegans.torch.CfC(2, units)
    for read in (wiring.get_graph, wiring.draw_graph, wiring.get_config):
        with pytest.raises(WiringError, match="1 gap junctions, which the"):
            read()


def test_a_junction_between_layers_lets_them_not_follow_one_another():
    wiring = AutoNCP(units=8, output_size=2, seed=1).build(2)
    forward = wiring.edit(remove=[(j, i) for j, i, _ in wiring.recurrent if j < i])
    assert forward.num_layers == 3
    assert forward.edit(add_electrical=[(0, 7, False)]).num_layers == 1
    assert forward.edit(add_electrical=[(0, 1, False)]).num_layers == 3  # both are motor neurons
