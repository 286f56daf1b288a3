"""Layered wirings: exact counts, repair, and what the order of arguments means."""

import pickle

import numpy as np
import pytest

from elegans.wiring import Layered

LAYERS = {"first": 11, "second": 7, "motor": 3}


def block(wiring, source, target):
    adjacency = wiring.sensory_adjacency() if source == "sensory" else wiring.adjacency()
    j, i = wiring.layer_range(source), wiring.layer_range(target)
    return adjacency[j.start : j.stop, i.start : i.stop]


@pytest.mark.parametrize("self_synapses", [False, True])
@pytest.mark.parametrize("density", [0.15, 0.5, 0.77, 1.0])
def test_counts_are_exact(density, self_synapses):
    # One full input to each layer, so that nothing is left to repair.
    recipe = Layered(
        LAYERS,
        {
            ("sensory", "first"): 1.0, ("sensory", "second"): 1.0, ("sensory", "motor"): 1.0,
            ("first", "second"): density, ("second", "second"): density,
            ("motor", "first"): density,
        },
        self_synapses=self_synapses,
    )  # fmt: skip
    wiring = recipe.build(5)
    assert np.count_nonzero(block(wiring, "first", "second")) == round(density * 11 * 7)
    assert np.count_nonzero(block(wiring, "motor", "first")) == round(density * 3 * 11)
    inner = 7 * 7 if self_synapses else 7 * 6
    assert np.count_nonzero(block(wiring, "second", "second")) == round(density * inner)
    assert wiring.sensory_synapse_count == 5 * (11 + 7 + 3)
    drawn = round(density * 77) + round(density * 33) + round(density * inner)
    assert wiring.synapse_count == drawn


def test_no_neuron_reaches_itself_unless_asked():
    density = {("sensory", "motor"): 0.5, ("motor", "motor"): 1.0}
    without = Layered({"motor": 9}, density).build(2).adjacency()
    assert np.count_nonzero(without) == 72
    assert not np.diagonal(without).any()
    with_self = Layered({"motor": 9}, density, self_synapses=True).build(2).adjacency()
    assert np.count_nonzero(with_self) == 81


def test_pairs_that_are_left_out_or_have_density_zero_are_not_connected():
    density = {("sensory", "first"): 0.5, ("first", "motor"): 0.5, ("first", "second"): 0.0}
    wiring = Layered(LAYERS, density).build(4)
    assert not block(wiring, "first", "second").any()
    assert not block(wiring, "second", "motor").any()
    assert (wiring.in_degree()[list(wiring.layer_range("second"))] == 0).all()


def test_every_neuron_that_can_be_reached_is():
    density = {("sensory", "first"): 0.01, ("first", "second"): 0.01, ("second", "motor"): 0.01}
    for seed in range(20):
        wiring = Layered(LAYERS, density, seed=seed).build(3)
        assert wiring.in_degree().min() == 1
        assert np.count_nonzero(block(wiring, "first", "second")) == 7


def test_a_layer_fed_by_itself_alone_is_repaired_without_self_synapses():
    density = {("sensory", "motor"): 1.0, ("inner", "inner"): 0.01}
    for seed in range(50):
        wiring = Layered({"inner": 3, "motor": 1}, density, seed=seed).build(1)
        adjacency = block(wiring, "inner", "inner")
        assert np.abs(adjacency).sum(axis=0).tolist() == [1, 1, 1]
        assert not np.diagonal(adjacency).any()


def test_a_single_neuron_fed_by_itself_alone_stays_without():
    density = {("sensory", "motor"): 1.0, ("inner", "inner"): 1.0}
    assert Layered({"inner": 1, "motor": 1}, density).build(1).in_degree().tolist() == [1, 0]


def test_synapses_are_drawn_uniformly():
    counts = np.zeros((11, 7))
    density = {("sensory", "second"): 1.0, ("first", "second"): 0.3}
    density |= {("sensory", "first"): 0.0, ("second", "motor"): 0.0}
    for seed in range(400):
        counts += np.abs(block(Layered(LAYERS, density, seed=seed).build(1), "first", "second"))
    share = round(0.3 * 77) / 77
    deviation = np.sqrt(400 * share * (1 - share))
    assert counts.sum() == 400 * round(0.3 * 77)
    assert np.abs(counts - 400 * share).max() < 4.5 * deviation
    assert abs(((counts - 400 * share) / deviation).var() - 1) < 0.7


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_share_of_excitatory_synapses(share):
    density = {("sensory", "first"): 1.0, ("first", "first"): 1.0, ("first", "motor"): 1.0}
    wiring = Layered({"first": 60, "motor": 5}, density, excitatory=share).build(3)
    excitatory = (wiring.recurrent.polarity > 0).mean()
    assert abs(excitatory - share) <= 4 * np.sqrt(share * (1 - share) / wiring.synapse_count)


def test_the_order_of_the_densities_means_nothing_that_of_the_layers_does():
    density = {("sensory", "a"): 0.5, ("sensory", "b"): 0.5, ("a", "motor"): 0.5, ("b", "a"): 0.2}
    recipe = Layered({"a": 4, "b": 5, "motor": 2}, density)
    other = Layered({"a": 4, "b": 5, "motor": 2}, dict(reversed(density.items())))
    assert other == recipe
    assert hash(other) == hash(recipe)
    assert other.build(3) == recipe.build(3)
    swapped = Layered({"b": 5, "a": 4, "motor": 2}, density)
    assert swapped != recipe
    assert swapped.build(3) != recipe.build(3)
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_what_the_caller_goes_on_changing_does_not_reach_the_recipe():
    layers, density = dict(LAYERS), {("sensory", name): 1.0 for name in LAYERS}
    recipe = Layered(layers, density)
    before = recipe.build(2)
    layers["first"] = 1
    density["first", "motor"] = 1.0
    assert recipe.build(2) == before


@pytest.mark.slow
def test_memory_follows_synapses_not_pairs_of_neurons():
    density = {("sensory", "first"): 1e-4, ("first", "motor"): 1e-4}
    wiring = Layered({"first": 100_000, "motor": 10_000}, density).build(1000)
    assert wiring.synapse_count >= 100_000
    assert wiring.in_degree().min() == 1
