"""The wiring and its synapses as values: checks, arrays, edits, names."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from elegans.errors import ElegansError, WiringError
from elegans.wiring import FullyConnected, Neuron, Synapses, Wiring


@pytest.fixture
def wiring():
    return Wiring(
        input_size=2,
        layers={"motor": 1, "command": 2, "inter": 2},
        recurrent=Synapses([1, 2, 3, 3, 4, 1], [0, 0, 1, 2, 2, 1], [1, -1, 1, 1, -1, -1]),
        sensory=Synapses([0, 1, 1], [3, 3, 4], [1, -1, 1]),
    )


def test_synapses_are_sorted_by_target_then_source_then_polarity():
    synapses = Synapses([3, 0, 3, 1], [1, 2, 0, 1], [-1, 1, 1, 1])
    assert list(synapses) == [(3, 0, 1), (1, 1, 1), (3, 1, -1), (0, 2, 1)]
    assert synapses == Synapses([0, 1, 3, 3], [2, 1, 0, 1], [1, 1, 1, -1])
    assert synapses.source.dtype == synapses.target.dtype == np.int32
    assert synapses.polarity.dtype == np.int8


def test_synapses_from_rows():
    rows = [(3, 1, -1), (0, 2, 1), (0, 2, 1)]
    assert Synapses.from_rows(iter(rows)) == Synapses([3, 0, 0], [1, 2, 2], [-1, 1, 1])
    assert Synapses.from_rows([]) == Synapses.empty()
    with pytest.raises(WiringError, match=r"rows \(source, target, polarity\), got \(0, 1\)"):
        Synapses.from_rows([(3, 1, -1), (0, 1)])
    with pytest.raises(WiringError, match="source must be a flat array of integers"):
        Synapses.from_rows([(0.5, 1, 1)])


def test_parallel_synapses_are_kept_and_summed_in_the_adjacency():
    synapses = Synapses([0, 0, 0, 1], [1, 1, 1, 0], [1, -1, 1, -1])
    assert len(synapses) == 4
    assert synapses.has_parallel
    assert not Synapses([0, 1], [1, 1], [1, 1]).has_parallel
    assert synapses.adjacency(2, 2).tolist() == [[0, 1], [-1, 0]]


def test_dense_adjacency_of_a_huge_circuit_is_refused():
    with pytest.raises(WiringError, match=r"100000 x 100000 would take 74.5 GiB; work with the"):
        Synapses.empty().adjacency(100_000, 100_000)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1], [0], [1]), r"arrays of length \{'source': 2, 'target': 1, 'polarity': 1\}"),
        (([0.5], [0], [1]), r"source must be a flat array of integers, got shape \(1,\) of float"),
        (([True], [0], [1]), r"source must be a flat array of integers, got .* of bool"),
        (([[0]], [[0]], [[1]]), r"flat array of integers, got shape \(1, 1\)"),
        (([[0], [1, 2]], [0, 1], [1, 1]), "source must be a flat array of integers"),
        ((["0"], [0], [1]), "source must be a flat array of integers"),
        (([4], [2], [0]), r"synapse 4 -> 2 has polarity 0, expected \+1 .* leave an absent"),
        (([4], [2], [2]), "has polarity 2"),
    ],
)
def test_synapses_check_their_columns(columns, message):
    with pytest.raises(WiringError, match=message):
        Synapses(*columns)


def test_representations():
    assert repr(Synapses([0], [1], [-1])) == "Synapses(0 -> 1 (-))"
    assert repr(FullyConnected(4).build(1).recurrent).startswith("Synapses(16: ")
    assert repr(FullyConnected(4, 2).build(1)) == (
        "Wiring(1 sensory, 2 inter, 2 motor; 16 synapses, 4 sensory synapses)"
    )


def test_nothing_can_be_set(wiring):
    for value, attribute in [
        (wiring, "input_size"), (wiring, "layers"), (wiring, "names"), (wiring, "layer_of"),
        (wiring, "recurrent"), (wiring, "anything"), (wiring.recurrent, "source"),
        (wiring.recurrent, "anything"),
    ]:  # fmt: skip
        with pytest.raises(AttributeError, match=f"immutable.*'{attribute}'"):
            setattr(value, attribute, 1)
    for array in (*_columns(wiring.recurrent), *_columns(wiring.sensory), wiring.layer_of):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]
    with pytest.raises(TypeError):
        wiring.layers["motor"] = 7


def test_what_the_caller_goes_on_changing_does_not_reach_the_wiring():
    layers, source = {"motor": 1, "inter": 1}, np.array([1, 1])
    wiring = Wiring(1, layers, Synapses(source, [0, 1], [1, 1]), Synapses.empty())
    layers["inter"] = 9
    source[0] = 0
    assert wiring.units == 2
    assert list(wiring.recurrent) == [(1, 0, 1), (1, 1, 1)]


def test_equality_hash_pickle_and_copy(wiring):
    same = Wiring(2, dict(wiring.layers), wiring.recurrent, wiring.sensory)
    assert same == wiring
    assert hash(same) == hash(wiring)
    for again in (pickle.loads(pickle.dumps(wiring)), copy.copy(wiring), copy.deepcopy(wiring)):
        assert again == wiring
        assert hash(again) == hash(wiring)
        assert list(again.layers.items()) == list(wiring.layers.items())
        assert not again.recurrent.source.flags.writeable
    others = [
        Wiring(3, wiring.layers, wiring.recurrent, wiring.sensory),
        Wiring(2, {"motor": 1, "inter": 2, "command": 2}, wiring.recurrent, wiring.sensory),
        wiring.edit(remove=[(1, 0)]),
        wiring.edit(remove_sensory=[(0, 3)]),
        wiring.edit(remove=[(1, 0)], add=[(1, 0, -1)]),
        Wiring(2, wiring.layers, wiring.recurrent, wiring.sensory, names="abcde"),
        Wiring(2, wiring.layers, wiring.recurrent, wiring.sensory, sensory_names="xy"),
    ]
    assert len({wiring, *others}) == 1 + len(others)
    assert wiring != "wiring"
    assert wiring.recurrent != [(1, 0, 1)]


def test_default_names_are_not_spelt_out_unless_asked_for():
    def make(**names):
        return Wiring(2**31 - 1, {"motor": 2}, Synapses.empty(), Synapses.empty(), **names)

    huge = make()
    assert huge == make()
    assert hash(huge) == hash(make())
    assert pickle.loads(pickle.dumps(huge)) == huge
    assert Wiring.from_json(huge.to_json()) == huge
    others = ["a", "sensory_2147483647"], ["a", "sensory_01"], ["motor_1", "motor_0"]
    assert len({huge, *(make(names=names) for names in others)}) == 4
    with pytest.raises(WiringError, match="unique, got 'sensory_2147483646' more than once"):
        make(names=["a", "sensory_2147483646"])


def test_sizes_layers_and_names(wiring):
    assert (wiring.units, wiring.input_size, wiring.output_size) == (5, 2, 1)
    assert wiring.layer_range("command") == range(1, 3)
    assert wiring.layer_range("sensory") == range(2)
    assert wiring.layer_of.tolist() == ["motor", "command", "command", "inter", "inter"]
    assert wiring.names == ("motor_0", "command_0", "command_1", "inter_0", "inter_1")
    assert wiring.neurons[4] == Neuron(4, "inter_1", "inter")
    assert wiring.sensory_neurons == (
        Neuron(0, "sensory_0", "sensory"),
        Neuron(1, "sensory_1", "sensory"),
    )
    with pytest.raises(WiringError, match=r"no layer 'hidden'; the layers are \['sensory', 'mot"):
        wiring.layer_range("hidden")


def test_custom_names_survive_an_edit_and_default_ones_may_be_spelt_out(wiring):
    parts = (2, wiring.layers, wiring.recurrent, wiring.sensory)
    named = Wiring(*parts, names=["M", "AVA", "AVB", "AIY", "AIZ"], sensory_names=["AFD", "AWC"])
    edited = named.edit(remove=[(1, 1)])
    assert edited.names == ("M", "AVA", "AVB", "AIY", "AIZ")
    assert edited.sensory_names == ("AFD", "AWC")
    assert Wiring(*parts, names=wiring.names, sensory_names=wiring.sensory_names) == wiring


def test_counts_degrees_and_densities(wiring):
    assert (wiring.synapse_count, wiring.sensory_synapse_count) == (6, 3)
    assert wiring.density == 6 / 25
    assert wiring.sensory_density == 3 / 10
    assert wiring.in_degree().tolist() == [2, 2, 2, 2, 1]
    assert wiring.out_degree().tolist() == [0, 2, 1, 2, 1]
    assert wiring.sensory_out_degree().tolist() == [1, 2]


def test_adjacency_is_indexed_by_source_then_target(wiring):
    adjacency = wiring.adjacency()
    assert adjacency.shape == (5, 5)
    assert (adjacency[1, 0], adjacency[2, 0], adjacency[0, 1], adjacency[1, 1]) == (1, -1, 0, -1)
    assert np.abs(adjacency).sum() == 6
    assert wiring.sensory_adjacency().tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, -1, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 0}, "input_size must be an integer of at least 1, got 0"),
        ({"input_size": 2**31}, "input_size must be at most 2147483647, got 2147483648; no memory"),
        ({"input_size": 1.0}, "input_size must be an integer of at least 1, got 1.0"),
        ({"input_size": True}, "input_size must be an integer"),
        ({"layers": {"motor": 0}}, "layer 'motor' must be an integer of at least 1, got 0"),
        ({"layers": [("motor", 5)]}, r"a dictionary of names and sizes, .* got list; dict\("),
        ({"recurrent": [(0, 0, 1)]}, "recurrent must be Synapses, got list; Synapses.from_rows"),
        ({"sensory": None}, "sensory must be Synapses, got NoneType"),
        ({"layers": {}}, r"layers must begin with 'motor' .* got \[\]"),
        ({"layers": {"inter": 4, "motor": 1}}, r"begin with 'motor' .* got \['inter', 'motor'\]"),
        ({"layers": {"motor": 4, "sensory": 1}}, "leave out 'sensory'"),
        ({"layers": {"motor": 4, "": 1}}, "a layer must have a name that is not empty"),
        ({"layers": {"motor": 4, "a\nb": 1}}, r"no control characters, got 'a\\nb'"),
        (
            {"recurrent": Synapses([5], [0], [1])},
            "recurrent synapse 5 -> 0 has source 5, expected an index from 0 to 4",
        ),
        ({"recurrent": Synapses([0], [-1], [1])}, "0 -> -1 has target -1, expected"),
        ({"sensory": Synapses([2], [0], [1])}, "sensory synapse 2 -> 0 has source 2, .* 0 to 1"),
        ({"names": ["a"]}, "names must hold 5 names, one a neuron, got 1"),
        ({"names": list("abcda")}, "must be unique, got 'a' more than once"),
        ({"names": [*"abcd", ""]}, "not empty"),
        ({"names": [*"abcd", "\ud800"]}, "control characters"),
        ({"names": [*"abcd", "sensory_1"]}, "unique, got 'sensory_1'"),
        ({"sensory_names": ["x"]}, "sensory_names must hold 2 names"),
    ],
)
def test_a_wiring_checks_its_parts(wiring, changes, message):
    parts = {
        "input_size": 2,
        "layers": wiring.layers,
        "recurrent": wiring.recurrent,
        "sensory": wiring.sensory,
    }
    with pytest.raises(WiringError, match=message) as caught:
        Wiring(**(parts | changes))
    assert isinstance(caught.value, ElegansError)
    assert isinstance(caught.value, ValueError)


def test_edit_removes_and_adds(wiring):
    before = copy.deepcopy(wiring)
    edited = wiring.edit(
        remove=[(2, 0), (3, 2)],
        add=[(4, 1, 1), (0, 0, -1), (2, 0, 1)],
        remove_sensory=[(1, 3)],
        add_sensory=[(0, 0, -1)],
    )
    assert wiring == before
    assert set(edited.recurrent) - set(wiring.recurrent) == {(4, 1, 1), (0, 0, -1), (2, 0, 1)}
    assert set(wiring.recurrent) - set(edited.recurrent) == {(2, 0, -1), (3, 2, 1)}
    assert list(edited.sensory) == [(0, 0, -1), (0, 3, 1), (1, 4, 1)]
    assert edited.edit(
        remove=[(4, 1), (0, 0), (2, 0)], add=[(3, 2, 1), (2, 0, -1)],
        remove_sensory=[(0, 0)], add_sensory=[(1, 3, -1)],
    ) == wiring  # fmt: skip
    assert wiring.edit() == wiring


def test_edit_removes_all_parallel_synapses_of_a_pair():
    wiring = Wiring(1, {"motor": 2}, Synapses([0, 0, 1], [1, 1, 1], [1, 1, -1]), Synapses.empty())
    assert list(wiring.edit(remove=[(0, 1)]).recurrent) == [(1, 1, -1)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"remove": [(0, 1)]}, "cannot remove recurrent synapse 0 -> 1: there is none"),
        ({"remove_sensory": [(0, 0)]}, "cannot remove sensory synapse 0 -> 0: there is none"),
        ({"add": [(1, 0, 1)]}, "cannot add recurrent synapse 1 -> 0: there is one already; remove"),
        ({"add": [(0, 1, 1), (0, 1, -1)]}, "0 -> 1: there is one already"),
        ({"add_sensory": [(0, 3, 1)]}, "cannot add sensory synapse 0 -> 3: there is one"),
        ({"add": [(0, 1, 2)]}, "synapse 0 -> 1 has polarity 2"),
        ({"add": [(0, 5, 1)]}, "has target 5, expected an index from 0 to 4"),
        ({"add": [(0, 1)]}, r"rows \(source, target, polarity\) of integers, got \(0, 1\)"),
        ({"remove": [(1.5, 0)]}, r"rows \(source, target\) of integers, got \(1.5, 0\)"),
        ({"remove": 3}, r"a list of rows \(source, target\), got 3"),
        ({"add": [3]}, r"rows \(source, target, polarity\) of integers, got 3"),
        ({"add_electrical": [(0, 1)]}, r"rectifying\) of integers and True or False, got \(0, 1\)"),
    ],
)
def test_edit_refuses_what_is_not_there_or_there_already(wiring, edit, message):
    with pytest.raises(WiringError, match=message):
        wiring.edit(**edit)


def test_importing_wirings_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, elegans.wiring as w; w.AutoNCP(8, 1).build(2).to_json();"
        "print([name for name in ('torch', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _columns(synapses):
    return synapses.source, synapses.target, synapses.polarity
