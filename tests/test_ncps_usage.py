"""Programs for ncps run with one word of their imports changed, and return the same."""

import inspect
import re
import sys
import types
from pathlib import Path

import ncps_usage
import pytest
import torch

import elegans
from elegans.errors import RunError, WiringError
from elegans.wiring import AutoNCP, FullyConnected, Layered

SOURCE = Path(ncps_usage.__file__)
PAGE = SOURCE.parent.parent / "docs" / "from-ncps.md"
HELPERS = ("shapes", "trains")
PATTERNS = {
    name: inspect.getdoc(thing)
    for name, thing in vars(ncps_usage).items()
    if inspect.isfunction(thing) and thing.__module__ == "ncps_usage" and name not in HELPERS
}


@pytest.fixture(scope="module")
def moved():
    """Return the programs with their imports changed, and nothing else."""
    module = types.ModuleType("elegans_usage")
    source = SOURCE.read_text().replace("ncps", "elegans")
    sys.modules[module.__name__] = module
    exec(compile(source, str(SOURCE), "exec"), vars(module))
    return module


@pytest.mark.filterwarnings("ignore:as in ncps all 8 neurons:UserWarning")
@pytest.mark.parametrize("name", PATTERNS)
def test_a_program_returns_the_same(name, moved):
    assert getattr(moved, name)() == getattr(ncps_usage, name)()


def test_the_page_lists_them():
    listed = re.search(r"<!-- usage -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.DOTALL)[1]
    assert listed.splitlines() == [f"- {pattern}" for pattern in PATTERNS.values()]
    assert len(PATTERNS) >= 40


# --- what is not the same ----------------------------------------------------------------


def test_a_recipe_for_several_numbers_of_inputs_asks_for_the_wiring():
    recipe = AutoNCP(12, 2)
    with pytest.raises(WiringError, match=r"not built yet.*call build\(input_size\), or give it"):
        recipe.get_graph()
    first, second = elegans.LTC(3, recipe), elegans.LTC(4, recipe)
    with pytest.raises(WiringError, match=r"built for 3 and 4 inputs.*model\.wiring"):
        recipe.draw_graph()
    assert (first.wiring.input_dim, second.wiring.input_dim) == (3, 4)


def test_a_recipe_stays_what_it_was():
    recipe, fresh = AutoNCP(12, 2), AutoNCP(12, 2)
    before = hash(recipe), repr(recipe)
    recipe.build(3)
    assert (hash(recipe), repr(recipe)) == before
    assert recipe == fresh


@pytest.mark.parametrize(
    "name", ["add_synapse", "add_sensory_synapse", "set_input_dim", "set_output_dim"]
)
def test_what_cannot_be_changed_names_what_can(name):
    for wiring in (AutoNCP(12, 2), AutoNCP(12, 2).build(3)):
        with pytest.raises(AttributeError, match=rf"{name}.*immutable.*elegans\.wirings\.Wiring"):
            getattr(wiring, name)
        with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
            wiring.nothing  # noqa: B018


def test_matrices_are_copies():
    wiring = FullyConnected(4, 1).build(2)
    wiring.adjacency_matrix[:] = 0
    wiring.sensory_adjacency_matrix[:] = 0
    assert (wiring.synapse_count, abs(wiring.adjacency_matrix).sum()) == (16, 16)


def test_layers_of_other_families():
    blocks = {("sensory", "first"): 1.0, ("first", "second"): 1.0, ("second", "motor"): 1.0}
    wiring = Layered({"first": 4, "second": 3, "motor": 2}, blocks).build(2)
    layers = [wiring.get_neurons_of_layer(k) for k in range(wiring.num_layers)]
    assert layers == [[5, 6, 7, 8], [2, 3, 4], [0, 1]]
    back = wiring.edit(add=[(0, 5, 1)])
    assert (back.num_layers, back.get_neurons_of_layer(0)) == (1, list(range(9)))
    for wrong in (3, -1, "motor"):
        with pytest.raises(WiringError, match="layer_id must be from 0 to 2"):
            wiring.get_neurons_of_layer(wrong)


def test_a_graph_without_inputs():
    graph = AutoNCP(12, 2).build(3).get_graph(include_sensory_neurons=False)
    assert {name.partition("_")[0] for name in graph} == {"neuron"}


def test_a_cfc_of_ncps_warns_of_outputs_that_no_layer_separates():
    with pytest.warns(UserWarning, match="all 8 neurons .* not the 2"):
        theirs = elegans.torch.CfC(3, FullyConnected(8, 2))
    assert (theirs.output_size, elegans.CfC(3, FullyConnected(8, 2)).output_size) == (8, 2)
    own = elegans.torch.CfC(3, FullyConnected(8, 2), ncps_connections=False)
    assert own.output_size == 2


@pytest.mark.parametrize("units", [12, AutoNCP(12, 2)])
def test_a_layer_of_elegans_torch_is_saved(units, tmp_path):
    model, x = elegans.torch.CfC(3, units), torch.randn(2, 5, 3)
    elegans.save(model, tmp_path)
    again = elegans.load(tmp_path)
    assert type(again) is elegans.CfC
    assert torch.equal(again(x)[0], model(x)[0])


class Derived(elegans.torch.CfC):
    """A class that may compute something else."""


def test_a_class_derived_from_it_is_not_saved_as_another(tmp_path):
    with pytest.raises(RunError, match="layer of the class Derived"):
        elegans.save(Derived(3, 8), tmp_path)


# --- by hand -----------------------------------------------------------------------------


def test_a_layer_takes_a_wiring_as_it_is_at_that_moment():
    wiring = elegans.wirings.Wiring(3)
    with pytest.raises(WiringError, match=r"None inputs and None outputs, expected both"):
        wiring.as_built()
    wiring.set_output_dim(1)
    wiring.add_synapse(1, 0, 1)
    model = elegans.LTC(2, wiring)
    wiring.add_synapse(2, 0, 1)
    assert (model.synapse_count, wiring.synapse_count) == (1, 2)
    with pytest.raises(WiringError, match="made for 2 inputs, got 3"):
        elegans.LTC(3, wiring)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda w: w.add_synapse(3, 0, 1), "src must be from 0 to 2, got 3"),
        (lambda w: w.add_synapse(0, -1, 1), "dest must be from 0 to 2, got -1"),
        (lambda w: w.add_synapse(0, 1, 0), "polarity must be -1 or 1, got 0"),
        (lambda w: w.add_sensory_synapse(2, 0, 1), "src must be from 0 to 1, got 2"),
        (lambda w: w.set_output_dim(4), "output_dim must be at most 3 units, got 4"),
        (lambda w: w.set_output_dim(0), "output_dim"),
        (lambda w: w.set_input_dim(0), "input_dim"),
        (lambda w: w.build(3), "made for 2 inputs, got 3"),
    ],
)
def test_wrong_wirings_by_hand(call, said):
    wiring = elegans.wirings.Wiring(3)
    wiring.set_input_dim(2)
    with pytest.raises(WiringError, match=said):
        call(wiring)


def test_a_configuration_by_hand_comes_back():
    wiring = elegans.wirings.Wiring(3)
    for step in (lambda: None, lambda: wiring.set_input_dim(2), lambda: wiring.set_output_dim(1)):
        step()
        wiring.add_synapse(2, 1, -1)
        again = elegans.wirings.Wiring.from_config(wiring.get_config())
        assert again.get_config() == wiring.get_config()
    assert again.as_built() == wiring.as_built()


def test_weights_in_a_matrix_are_refused():
    wiring = elegans.wirings.Wiring(3)
    wiring.set_input_dim(2)
    wiring.set_output_dim(1)
    wiring.adjacency_matrix[0, 0] = 2
    with pytest.raises(WiringError, match=r"matrix of the polarities -1 and 1.*weights belong"):
        wiring.as_built()
