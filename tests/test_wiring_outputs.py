"""Wirings whose outputs read neurons anywhere: values, files, graphs, pictures, connectomes."""

import json
import pickle
import re

import matplotlib
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pictures import collection, gids, legend, texts

import elegans
from elegans.errors import WiringError
from elegans.wiring import AutoNCP, GapJunctions, Overgrown, Synapses, Wiring, save_page
from elegans.wiring.connectome import Connectome, Edges, tap_withdrawal, to_wiring
from elegans.wiring.exchange.csv_edges import from_csv, to_csv
from elegans.wiring.exchange.networkx_graph import from_graphml, to_graphml

matplotlib.use("Agg")

FORMATS = {
    "json": (Wiring.to_json, Wiring.from_json),
    "csv": (to_csv, from_csv),
    "graphml": (to_graphml, from_graphml),
    "networkx": (Wiring.to_networkx, Wiring.from_networkx),
}
NONE = Synapses.empty()


@st.composite
def wirings(draw):
    first, second = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    units = first + second
    names = draw(st.permutations(["motor", "outputs", "inter"]))
    layers = {names[0]: first} | ({names[1]: second} if second else {})
    row = st.tuples(st.integers(0, units - 1), st.integers(0, units - 1), st.sampled_from([-1, 1]))
    electrical = GapJunctions([0], [1]) if units > 1 and draw(st.booleans()) else None
    return Wiring(
        1,
        layers,
        Synapses.from_rows(draw(st.lists(row, max_size=8))),
        Synapses.from_rows([(0, 0, 1)]),
        electrical=electrical,
        outputs=draw(st.lists(st.integers(0, units - 1), min_size=1, max_size=5)),
        names=[f"a, b {k}" for k in range(units)] if draw(st.booleans()) else None,
    )


def wiring(outputs=(2, 0, 2), electrical=None, layers=None):
    layers = {"command": 1, "motor": 2} if layers is None else layers
    recurrent, sensory = (
        Synapses([0, 1, 1], [1, 0, 2], [1, -1, 1]),
        Synapses([0, 1], [1, 2], [1, 1]),
    )
    return Wiring(2, layers, recurrent, sensory, electrical=electrical, outputs=outputs)


# --- values ----------------------------------------------------------------------------------


def test_outputs_are_an_array_that_cannot_be_changed():
    one = wiring()
    assert one.outputs.tolist() == [2, 0, 2]
    assert one.outputs.dtype == np.int64
    assert one.output_size == one.output_dim == 3
    assert one.has_outputs_elsewhere
    assert not one.reads_first_neurons
    with pytest.raises(ValueError, match="read-only"):
        one.outputs[0] = 1
    with pytest.raises(AttributeError, match="immutable"):
        one.outputs = [0]


def test_motor_neurons_are_the_outputs_of_all_others():
    sets = AutoNCP(9, 3).build(2).recurrent, AutoNCP(9, 3).build(2).sensory
    plain = Wiring(2, AutoNCP(9, 3).build(2).layers, *sets)
    named = Wiring(2, plain.layers, *sets, outputs=[0, 1, 2])
    assert plain.outputs.tolist() == [0, 1, 2]
    assert not named.has_outputs_elsewhere
    assert named == plain
    assert hash(named) == hash(plain)
    assert pickle.dumps(named) == pickle.dumps(plain)
    assert repr(named) == repr(plain)
    assert named.get_config() == plain.get_config()
    for write, _ in list(FORMATS.values())[:3]:
        assert write(named) == write(plain)
        assert "outputs" not in write(named)
    assert '"version": 1' in plain.to_json()


def test_what_is_read_is_part_of_the_value():
    values = [wiring(read) for read in ([0], [0, 0], [1], [1, 0], [0, 1], [2])]
    values += [wiring([0, 1], layers={"motor": 3}), wiring([0, 1, 2], layers={"motor": 3})]
    assert len({*values}) == len(values)
    for value in values:
        again = pickle.loads(pickle.dumps(value))
        assert again == value
        assert hash(again) == hash(value)
        assert again.outputs.tolist() == value.outputs.tolist()


def test_first_neurons_are_told_from_others():
    assert wiring([0, 1]).reads_first_neurons  # of layers that do not begin with motor
    assert wiring([0, 1]).has_outputs_elsewhere
    assert not wiring([1, 0]).reads_first_neurons
    assert not wiring([0, 0]).reads_first_neurons


def test_editing_keeps_them():
    one = wiring()
    edited = one.edit(remove=[(0, 1)], add=[(2, 2, 1)], add_electrical=[(0, 2, False)])
    assert edited.outputs.tolist() == [2, 0, 2]
    assert (
        edited.edit(remove=[(2, 2)]).with_synapses(one.recurrent, one.sensory, one.electrical)
        == one
    )
    assert repr(one).endswith("2 sensory synapses, 3 outputs)")


@pytest.mark.parametrize("given", [[1], [0, 2], np.array([2, 1]), (np.int32(1),)])
def test_matrices_take_them(given):
    one = wiring()
    again = Wiring.from_adjacency(one.adjacency(), one.sensory_adjacency(), given)
    assert again.outputs.tolist() == list(given)
    assert again.layers == {"inter": 3}
    assert again.recurrent == one.recurrent
    with pytest.raises(WiringError, match="from 0 to 2, got 3 for channel 1"):
        Wiring.from_adjacency(one.adjacency(), one.sensory_adjacency(), [0, 3])


@pytest.mark.parametrize(
    "wrong", [[], [0.0], [[0]], "0", [True], [None], {0}, 2, [2**70], [[0], [0, 1]], np.zeros(2)]
)
def test_what_is_no_list_of_neurons_is_refused(wrong):
    with pytest.raises(WiringError, match=r"outputs must hold the index of a neuron for each"):
        wiring(wrong)


@pytest.mark.parametrize(("wrong", "got"), [([3], 3), ([0, -1], -1), ([2**40], 2**40)])
def test_neurons_that_are_not_there_are_refused(wrong, got):
    message = f"from 0 to 2, got {got} for channel {len(wrong) - 1}"
    with pytest.raises(WiringError, match=message):
        wiring(wrong)


def test_layers_without_motor_neurons_need_them():
    with pytest.raises(WiringError, match=r"begin with 'motor' .* outputs=\[...\] reads neurons"):
        wiring(None)
    for layers in ({}, {"sensory": 3}, {"command": 1, "sensory": 2}):
        with pytest.raises(WiringError, match="leave out 'sensory'"):
            wiring([0], layers=layers)


def test_configurations_of_ncps_have_no_place_for_them():
    with pytest.raises(
        WiringError, match=r"read the neurons \[2, 0, 2\], but the matrices of ncps"
    ):
        wiring().get_config()
    assert wiring([0, 1]).get_config()["output_dim"] == 2


def test_recipes_that_grow_a_wiring_keep_them():
    class Fixed(elegans.wiring.Recipe):
        units, output_size = 3, 3

        def build(self, input_size):
            return wiring()

    grown = Overgrown(Fixed(), 1.5).build(2)
    assert grown.outputs.tolist() == [2, 0, 2]


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=60, deadline=None)
@given(one=wirings())
def test_they_come_back(form, one):
    write, read = FORMATS[form]
    again = read(write(one))
    assert again == one
    assert again.outputs.tolist() == one.outputs.tolist()


@pytest.mark.parametrize("suffix", ["json", "csv", "graphml"])
def test_files_have_a_version_that_older_programs_refuse(suffix, tmp_path):
    path = tmp_path / f"wiring.{suffix}"
    for electrical in (None, GapJunctions([0], [1])):
        one = wiring(electrical=electrical)
        one.save(path)
        text = path.read_text()
        assert re.search(r'"version": 3|elegans.wiring,3|>3</data>', text)
        assert Wiring.load(path) == one


def changed(path, value, *, version=3):
    """Return the JSON of a wiring with a value at a path replaced, or removed by ``...``."""
    data = json.loads(wiring().to_json()) | {"version": version}
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(["outputs"], ...), "field 'outputs' is missing"),
        (changed(["outputs"], None), "'outputs' must be a list of integers"),
        (changed(["outputs"], []), "index of a neuron for each output channel, one at least"),
        (changed(["outputs"], [0.0]), "'outputs' must hold integers of 64 bits"),
        (changed(["outputs"], [True]), "'outputs' must hold integers of 64 bits"),
        (changed(["outputs"], [2**64]), "'outputs' must hold integers of 64 bits"),
        (changed(["outputs"], [3]), "from 0 to 2, got 3"),
        (changed(["electrical"], ...), "field 'electrical' is missing"),
        (changed(["version"], 4), r"reads versions 1 to 3 .* got 4"),
        (changed(["outputs"], ..., version=2), "layers must begin with 'motor'"),
    ],
)
def test_damaged_json_is_refused(text, message):
    with pytest.raises(WiringError, match=message):
        Wiring.from_json(text)


CSV = to_csv(wiring())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("# outputs,motor_1,command_0,motor_1\n", ""), "line 2 must be '# outputs"),
        (CSV.replace("outputs,motor_1,command_0,motor_1", "outputs"), "line 2 must be '# outputs"),
        (CSV.replace("# outputs,motor_1", "# outputs,motor_7"), "line 2: the output 'motor_7'"),
        (CSV.replace("# outputs,motor_1", "# outputs,sensory_0"), "line 2: the output 'sensory_0'"),
        (CSV.replace("wiring,3", "wiring,2"), "layers must begin with|must be|names of neurons"),
        (CSV.split("\n")[0], "line 2 must be '# outputs"),
    ],
)
def test_damaged_tables_are_refused(text, message):
    with pytest.raises(WiringError, match=message):
        from_csv(text)


def test_spreadsheets_may_pad_the_line_of_outputs():
    padded = CSV.replace("outputs,motor_1,command_0,motor_1", "outputs,motor_1,command_0,motor_1,,")
    assert from_csv(padded) == wiring()
    table = pd.read_csv(pd.io.common.StringIO(CSV), comment="#")
    assert len(table) == 5


def graph(**channels):
    made = wiring().to_networkx()
    for name, value in channels.items():
        if value is None:
            del made.nodes[name]["output_channels"]
        else:
            made.nodes[name]["output_channels"] = value
    return made


def test_graphs_say_which_channels_read_a_neuron():
    made = graph()
    assert made.nodes["motor_1"]["output_channels"] == "0 2"
    assert made.nodes["command_0"]["output_channels"] == "1"
    assert "output_channels" not in made.nodes["motor_0"]
    renamed = nx.relabel_nodes(made, {"motor_1": "AVA"})
    assert Wiring.from_networkx(renamed).outputs.tolist() == [2, 0, 2]


@pytest.mark.parametrize("value", [1, 1.0, np.int64(1), "1", "01"])
def test_other_programs_may_write_one_channel_as_a_number(value):
    assert Wiring.from_networkx(graph(command_0=value)) == wiring()
    assert Wiring.from_networkx(graph(motor_0=float("nan"))) == wiring()
    assert Wiring.from_networkx(graph(motor_0="")) == wiring()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (graph(command_0="2"), "numbers of the channels that read it, each channel at one node"),
        (graph(command_0="one"), "numbers of the channels"),
        (graph(command_0="-1"), "numbers of the channels"),
        (graph(command_0=1.5), "numbers of the channels"),
        (graph(command_0="5"), "got 3 at the nodes up to channel 5, but no channel 1"),
        (graph(command_0=None), "no channel 1"),
        (graph(sensory_0="3"), "node 'sensory_0' is an input"),
        (graph(command_0=None, motor_1=None), "no node has the attribute 'output_channels'"),
    ],
)
def test_damaged_graphs_are_refused(made, message):
    with pytest.raises(WiringError, match=message):
        Wiring.from_networkx(made)


def test_a_graph_made_by_hand_may_name_them():
    made = nx.DiGraph()
    made.add_node("u", layer="sensory")
    made.add_node("a", layer="receptor", output_channels=1)
    made.add_node("b", layer="command", output_channels=0)
    made.add_edge("u", "a", polarity=1)
    made.add_edge("a", "b", polarity=-1)
    one = Wiring.from_networkx(made)
    assert [one.names[i] for i in one.outputs] == ["b", "a"]
    assert list(one.layers) == ["receptor", "command"]


# --- pictures --------------------------------------------------------------------------------


@pytest.fixture
def ax():
    return Figure(figsize=(7, 6)).add_axes((0, 0, 1, 1))


def test_rings_stand_around_what_is_read(ax):
    one = wiring()
    one.draw(ax=ax)
    rings = collection(ax, "outputs")
    discs = np.concatenate([collection(ax, layer).get_offsets() for layer in one.layers])
    order = [n for layer in one.layers for n in one.layer_range(layer)]
    expected = {tuple(discs[order.index(i)]) for i in (0, 2)}
    assert {tuple(place) for place in rings.get_offsets()} == expected
    assert "read as output (2)" in legend(ax)


def test_pictures_of_motor_neurons_stay_as_they_are(ax):
    AutoNCP(9, 2).build(2).draw(ax=ax)
    assert "outputs" not in gids(ax)
    assert not any("output" in text for text in legend(ax))


def test_names_stand_beside_the_first_and_the_last_column(ax):
    named = Wiring(
        1,
        {"command": 1, "receptor": 1},
        Synapses([1], [0], [1]),
        Synapses([0], [1], [1]),
        outputs=[1],
        names=["a long name of a neuron", "another long name"],
    )
    named.draw(ax=ax, labels=True)
    sides = {text.get_text(): text.get_ha() for text in ax.texts}
    assert sides["a long name of a neuron"] == "left"


def test_matrices_mark_rows_and_columns(ax):
    wiring().draw(ax=ax, view="matrix")
    rows, columns = [c for c in ax.collections if c.get_gid() == "outputs"]
    assert len(rows.get_offsets()) == len(columns.get_offsets()) == 2
    assert "read as output (2)" in legend(ax)


def test_classes_say_how_many_are_read(ax):
    wiring().draw(ax=ax, view="classes")
    assert "read as outputs: 1 command, 1 motor" in " ".join(texts(ax)).replace("\n", " ")


def test_a_page_knows_the_channels(tmp_path):
    save_page(wiring(), tmp_path / "page.html")
    assert '"channels":[[],[],[1],[],[0,2]]' in (tmp_path / "page.html").read_text()
    save_page(AutoNCP(9, 2).build(2), tmp_path / "page.html")
    assert '"channels"' not in (tmp_path / "page.html").read_text()


# --- connectomes -----------------------------------------------------------------------------

TOUCH = {"inputs": ["ALM", "PLM"], "outputs": ["AVB", "PLM", "AVB"]}
LAYERS = {"motor": ["AVA", "AVB"], "receptor": ["PLM", "ALM"], "inter": ["AVD"]}


def test_cells_keep_their_layers():
    built = to_wiring(tap_withdrawal(), **TOUCH, layers=LAYERS, keep_layers=True)
    one = built.wiring
    assert [one.names[i] for i in one.outputs] == TOUCH["outputs"]
    assert list(one.layers.items())[:2] == [("motor", 2), ("receptor", 2)]
    assert one.names[:5] == ("AVA", "AVB", "PLM", "ALM", "AVD")
    assert one.layers["inter"] == one.units - 4
    driven = [one.names[i] for i in one.sensory.target]
    assert sorted(driven) == ["ALM", "PLM"]
    assert one.in_degree()[one.names.index("PLM")] >= 1
    without = to_wiring(tap_withdrawal(), **TOUCH, keep_layers=True).wiring
    assert without.layers == {"inter": one.units}
    assert [without.names[i] for i in without.outputs] == TOUCH["outputs"]


def test_the_same_circuit_with_motor_neurons_in_front_computes_the_same():
    read = {"inputs": ["ALM", "PLM"], "outputs": ["AVB", "PLM"]}
    front, kept = (
        to_wiring(tap_withdrawal(), **read, keep_layers=keep).wiring for keep in (False, True)
    )
    assert front.layers["motor"] == 2
    ends = [
        {(w.names[j], w.names[i], p) for j, i, p in w.recurrent}
        | {(w.sensory_names[j], w.names[i], p) for j, i, p in w.sensory}
        for w in (front, kept)
    ]
    assert ends[0] == ends[1]
    assert [front.names[i] for i in front.outputs] == [kept.names[i] for i in kept.outputs]


def test_conductances_reach_the_synapses_that_they_are_of():
    built = to_wiring(tap_withdrawal(), **TOUCH, layers=LAYERS, keep_layers=True)
    other = to_wiring(tap_withdrawal(), ["ALM", "PLM"], ["AVB"])
    found = [
        {
            (b.wiring.names[j], b.wiring.names[i]): value
            for (j, i, _), value in zip(b.wiring.recurrent, b.conductance, strict=True)
        }
        for b in (built, other)
    ]
    assert found[0] == found[1]
    elegans.set_conductances(elegans.LTC(2, built.wiring), built)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": []}, "outputs must name a cell at least"),
        ({"outputs": ["nobody"]}, "nobody"),
        ({"layers": {"sensory": ["ALM"]}}, "layers must not hold 'sensory'"),
        ({"layers": {"a": ["ALM"], "b": ["ALM"]}}, "'ALM' of layer 'b' stands in another"),
    ],
)
def test_wrong_names_are_refused(options, message):
    with pytest.raises(WiringError, match=message):
        to_wiring(tap_withdrawal(), **(TOUCH | options), keep_layers=True)


def test_layers_that_hold_motor_neurons_need_to_be_kept():
    with pytest.raises(WiringError, match=r"must not hold 'motor'.* keep_layers=True"):
        to_wiring(tap_withdrawal(), **TOUCH, layers={"motor": ["AVA"]})


def test_muscles_that_are_read_stay():
    worm = Connectome(
        ["A", "M"], Edges(pre=[0], post=[1], count=[3], sign=[1]), kinds=["neuron", "muscle"]
    )
    one = to_wiring(worm, ["A"], ["M", "A"], keep_layers=True).wiring
    assert one.names == ("A", "M")
    assert one.outputs.tolist() == [1, 0]
