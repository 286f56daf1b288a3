"""Prune-and-rewire keeps its invariants on thousands of random wirings."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elegans
from elegans.errors import PruningError
from elegans.pruning import LinkPrediction, Pruner, Relative, StrengthGrowth
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, PRUNED, REWIRED
from elegans.wiring import AutoNCP, BinomialNCP, FullyConnected, Layered, Random, Synapses, Wiring

PARAMETERS = ("weight", "sigma", "mu", "erev")


@st.composite
def wirings(draw):
    """Small circuits of every family; single motor neurons and saturated blocks among them."""
    seed = draw(st.integers(0, 2**32 - 1))
    inputs = draw(st.integers(1, 6))
    outputs = draw(st.integers(1, 3))
    more = draw(st.integers(3, 8))
    density = draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
    layers = {"inter": more, "motor": outputs}
    blocks = [(j, i) for j in ("sensory", *layers) for i in layers]
    recipe = draw(
        st.sampled_from(
            [
                AutoNCP(outputs + more, outputs, max(0.1, 1 - density), seed),
                BinomialNCP(more, 3, outputs, p1=density, p4=density, seed=seed),
                Random(more + outputs, outputs, min(0.95, 1 - density), seed),
                FullyConnected(outputs + 1, outputs, seed, self_connections=density > 0.5),
                Layered(layers, dict.fromkeys(blocks, density), self_synapses=True, seed=seed),
            ]
        )
    )
    return recipe.build(inputs)


def blocks(wiring):
    """Count the synapses of each block (source layer, target layer)."""
    layer = wiring.layer_of
    recurrent = zip(layer[wiring.recurrent.source], layer[wiring.recurrent.target], strict=True)
    sensory = (("sensory", i) for i in layer[wiring.sensory.target])
    return Counter([*recurrent, *sensory])


def inputs_by_layer(wiring):
    """Return the pairs (source layer, target) that have a synapse."""
    layer = wiring.layer_of
    recurrent = zip(layer[wiring.recurrent.source], wiring.recurrent.target, strict=True)
    return {*recurrent, *(("sensory", i) for i in wiring.sensory.target)}


def reached_by_others(wiring):
    """Return the neurons that have an input besides their own."""
    own = wiring.recurrent.source == wiring.recurrent.target
    return {*wiring.recurrent.target[~own].tolist(), *wiring.sensory.target.tolist()}


def is_saturated(wiring, self_synapses):
    """Whether no source could reach another neuron of a layer that it reaches."""
    reached = [
        (kind, j, i)
        for kind, synapses in (("recurrent", wiring.recurrent), ("sensory", wiring.sensory))
        for j, i, _ in synapses
    ]
    return not any(
        other != i
        and wiring.layer_of[other] == wiring.layer_of[i]
        and (kind, j, other) not in reached
        and (self_synapses or kind == "sensory" or other != j)
        for kind, j, i in reached
        for other in range(wiring.units)
    )


def train_once(model):
    """Give the parameters gradients and the optimiser moments, without a forward pass."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, database=None, derandomize=True)
@given(
    wiring=wirings(),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    self_synapses=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_invariants(wiring, share, self_synapses, seed):
    torch.manual_seed(seed)
    model = elegans.LTC(wiring.input_size, wiring)
    optimizer = train_once(model)
    options = {"every": 1, "self_synapses": self_synapses, "seed": seed}
    options |= {"keep_sources": True, "weight": 0.05}
    if is_saturated(wiring, self_synapses):
        with pytest.raises(PruningError, match=r"could grow exists already|nothing to prune"):
            elegans.PruneRewire(model, optimizer, Relative(share), **options)
        return
    rewirer = elegans.PruneRewire(model, optimizer, Relative(share), **options)
    for _ in range(3):
        before = model.wiring
        pooled = np.concatenate([weights(model, kind) for kind in KINDS])
        held = {
            kind: {name: getattr(synapses(model, kind), name).clone() for name in SLOT_VALUES}
            for kind in KINDS
        }
        seen, counted = len(rewirer.ledger), rewirer.counts.total()
        edits = rewirer.step()
        records = rewirer.ledger[seen:]
        after = model.wiring

        assert edits == [edit for edit in records if edit.outcome == REWIRED]
        weak = int((pooled < share * np.median(pooled)).sum()) if len(pooled) else 0
        assert rewirer.counts.total() - counted == weak
        assert len(edits) <= len(records) <= weak
        assert all(edit.weight < share * np.median(pooled) for edit in records)
        assert blocks(after) == blocks(before)
        assert np.array_equal(after.out_degree(), before.out_degree())
        assert np.array_equal(after.sensory_out_degree(), before.sensory_out_degree())
        reached_before = before.in_degree() > 0
        assert (after.in_degree()[reached_before] > 0).all()
        assert reached_by_others(before) <= reached_by_others(after)
        across = {(j, i) for j, i in inputs_by_layer(before) if j != before.layer_of[i]}
        assert across <= inputs_by_layer(after)
        assert not after.recurrent.has_parallel
        assert not after.sensory.has_parallel
        if not self_synapses:
            assert loops(after) <= loops(before)

        for kind in KINDS:
            mine = synapses(model, kind)
            path = f"cell.{kind}"
            edited = mine.sigma.detach() != held[kind]["sigma"]
            moved = [edit for edit in edits if edit.synapses == path]
            assert int(edited.sum()) == len(moved)
            for name in SLOT_VALUES:
                value, old = getattr(mine, name).detach(), held[kind][name].detach()
                assert torch.equal(value[~edited], old[~edited])
            for parameter in PARAMETERS:
                state = optimizer.state[getattr(mine, parameter)]
                for moment in ("exp_avg", "exp_avg_sq"):
                    assert not state[moment][edited].any()
                    assert state[moment][~edited & ~fresh_slots(rewirer, mine)].all()
            layer = before.layer_of
            now = {(j, i): p for j, i, p in mine.synapses()}
            for edit in moved:
                assert edit.cut != edit.grown
                assert layer[edit.cut] == layer[edit.grown]
                assert now[edit.source, edit.grown] == edit.polarity


KINDS = ("recurrent", "sensory")
SLOT_VALUES = ("source", "target", "polarity", *PARAMETERS)


def synapses(model, kind):
    return getattr(model.cell, kind)


def weights(model, kind):
    return synapses(model, kind).values().weight.detach().double().numpy()


def loops(wiring):
    own = wiring.recurrent.source == wiring.recurrent.target
    return set(wiring.recurrent.source[own].tolist())


def fresh_slots(rewirer, mine):
    """Where a slot holds the conductance of a fresh synapse."""
    fresh = torch.tensor(rewirer.settings.fresh.strength)
    return torch.isclose(mine.values().weight.detach(), fresh, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(wiring=wirings(), seed=st.integers(0, 1000))
def test_a_kept_synapse_could_not_have_moved(wiring, seed):
    torch.manual_seed(seed)
    if is_saturated(wiring, self_synapses=False):
        return
    model = elegans.LTC(wiring.input_size, wiring)
    with torch.no_grad():  # exactly one weak synapse, so that no other edit is in the way
        for kind in KINDS:
            synapses(model, kind).weight.fill_(5.0)
        kind = KINDS[seed % 2] if wiring.synapse_count else "sensory"
        if not len(synapses(model, kind)):
            return
        slot = seed % len(synapses(model, kind))
        synapses(model, kind).weight[slot] = -20.0
    options = {"every": 1, "keep_sources": True, "weight": 0.05, "seed": seed}
    rewirer = elegans.PruneRewire(model, train_once(model), 1e-3, **options)
    before = model.wiring
    source = int(synapses(model, kind).source[slot])
    target = int(synapses(model, kind).target[slot])
    rewirer.step()
    (edit,) = rewirer.ledger
    assert (edit.source, edit.cut) == (source, target)

    layer = before.layer_of
    listed = before.sensory if kind == "sensory" else before.recurrent
    source_layers = ["sensory"] * len(listed) if kind == "sensory" else layer[listed.source]
    own = "sensory" if kind == "sensory" else layer[source]
    taken = {i for j, i, _ in listed if j == source}
    if kind == "recurrent":
        taken.add(source)  # self-synapses do not grow unless asked for
    free = [i for i in range(before.units) if layer[i] == layer[target] and i not in taken]
    if own == layer[target]:
        pairs = [(j, i) for j, i, _ in before.recurrent if j != i]
        others = sum(i == target for _, i in pairs) + sum(before.sensory.target == target)
        others -= source != target
    else:
        others = (
            sum(
                i == target and name == own
                for (_, i, _), name in zip(listed, source_layers, strict=True)
            )
            - 1
        )
    if not others:
        assert edit.outcome == LAST_INPUT
    elif not free:
        assert edit.outcome == NO_FREE_TARGET
    else:
        assert edit.outcome == REWIRED
        assert edit.grown in free


def sources_that_reach_others(wiring):
    """Return the neurons and inputs that have an output besides their own."""
    own = wiring.recurrent.source == wiring.recurrent.target
    neurons = {("neuron", j) for j in wiring.recurrent.source[~own].tolist()}
    return neurons | {("input", j) for j in wiring.sensory.source.tolist()}


def has_free_place(wiring, self_synapses, max_inputs):
    """Whether a synapse could grow between two layers that have one, or from the inputs."""
    layer, degree = wiring.layer_of, wiring.in_degree()
    there = {("neuron", j, i) for j, i in pairs(wiring.recurrent)}
    there |= {("input", j, i) for j, i in pairs(wiring.sensory)}
    sources = [("neuron", j, layer[j]) for j in range(wiring.units)]
    sources += [("input", j, "sensory") for j in range(wiring.input_size)]
    return any(
        (own, layer[i]) in blocks(wiring)
        and (kind, j, i) not in there
        and (self_synapses or kind == "input" or j != i)
        and (max_inputs is None or degree[i] < max_inputs)
        for kind, j, own in sources
        for i in range(wiring.units)
    )


def pairs(synapses):
    return set(zip(synapses.source.tolist(), synapses.target.tolist(), strict=True))


def keeps_connected(before, after):
    """Assert that no neuron has lost its last input, by layer, or its last output."""
    assert reached_by_others(before) <= reached_by_others(after)
    across = {(j, i) for j, i in inputs_by_layer(before) if j != before.layer_of[i]}
    assert across <= inputs_by_layer(after)
    assert sources_that_reach_others(before) <= sources_that_reach_others(after)


def stays_legal(before, after, self_synapses, max_inputs):
    assert set(blocks(after)) == set(blocks(before))
    keeps_connected(before, after)
    assert not after.recurrent.has_parallel
    assert not after.sensory.has_parallel
    if not self_synapses:
        assert loops(after) <= loops(before)
    if max_inputs is not None:
        assert (after.in_degree() <= np.maximum(before.in_degree(), max_inputs)).all()


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, database=None, derandomize=True)
@given(
    wiring=wirings(),
    share=st.sampled_from([0.3, 1.0]),
    growth=st.sampled_from(["random", LinkPrediction(), LinkPrediction(1.0)]),
    keep_blocks=st.booleans(),
    max_inputs=st.sampled_from([None, 1, 3]),
    self_synapses=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_invariants_of_free_sources(
    wiring, share, growth, keep_blocks, max_inputs, self_synapses, seed
):
    torch.manual_seed(seed)
    model = elegans.LTC(wiring.input_size, wiring)
    options = {
        "every": 1,
        "growth": growth,
        "keep_sources": False,
        "keep_blocks": keep_blocks,
        "max_inputs": max_inputs,
        "self_synapses": self_synapses,
        "seed": seed,
    }
    if not has_free_place(wiring, self_synapses, max_inputs):
        with pytest.raises(PruningError, match=r"could grow exists already|nothing to prune"):
            elegans.PruneRewire(model, train_once(model), Relative(share), **options)
        return
    rewirer = elegans.PruneRewire(model, train_once(model), Relative(share), **options)
    for _ in range(3):
        before = model.wiring
        edits = rewirer.step()
        after = model.wiring
        assert len(after.recurrent) == len(before.recurrent)
        assert len(after.sensory) == len(before.sensory)
        if keep_blocks:
            assert blocks(after) == blocks(before)
        stays_legal(before, after, self_synapses, max_inputs)
        there = {kind: pairs(getattr(before, kind)) for kind in KINDS}
        now = {kind: pairs(getattr(after, kind)) for kind in KINDS}
        for edit in edits:
            kind = edit.synapses.removeprefix("cell.")
            assert (edit.source, edit.cut) in there[kind]
            assert (edit.grown_source, edit.grown) not in there[kind]
            assert (edit.grown_source, edit.grown) in now[kind]


@pytest.mark.slow
@settings(max_examples=600, deadline=None, database=None, derandomize=True)
@given(
    wiring=wirings(),
    share=st.sampled_from([0.3, 1.0]),
    growth=st.sampled_from(["random", LinkPrediction(), StrengthGrowth()]),
    thinned=st.sampled_from([0.0, 0.2, 0.5]),
    max_inputs=st.sampled_from([None, 3]),
    self_synapses=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_invariants_of_free_sets(wiring, share, growth, thinned, max_inputs, self_synapses, seed):
    torch.manual_seed(seed)
    model = elegans.LTC(wiring.input_size, wiring)
    options = {
        "every": 1,
        "growth": growth,
        "keep_blocks": False,
        "keep_sets": False,
        "max_inputs": max_inputs,
        "self_synapses": self_synapses,
        "seed": seed,
    }
    rewirer, message = None, ""
    try:
        everything = {"scope": "global", "allow_empty": True}
        Pruner(model, criterion="random", seed=seed, **everything).prune(thinned)
        optimizer = train_once(model)
        rewirer = elegans.PruneRewire(model, optimizer, Relative(share), **options)
    except PruningError as error:
        message = str(error)
    if rewirer is None:
        assert "could grow exists already" in message or "nothing to prune" in message
        return
    for _ in range(3):
        before, budget = model.wiring, rewirer.budget
        open_before = {part.kind: part.mask.clone() for part in rewirer.parts}
        edits = rewirer.step()
        after = model.wiring
        assert rewirer.budget == budget == len(after.recurrent) + len(after.sensory)
        stays_legal(before, after, self_synapses, max_inputs)
        there = {(kind, *pair) for kind in KINDS for pair in pairs(getattr(before, kind))}
        now = {(kind, *pair) for kind in KINDS for pair in pairs(getattr(after, kind))}
        gone = {(edit.synapses[5:], edit.source, edit.cut) for edit in edits}
        come = {
            ((edit.grown_synapses or edit.synapses)[5:], edit.grown_source, edit.grown)
            for edit in edits
        }
        assert gone <= there
        assert not come & there
        assert now == (there - gone) | come
        for part in rewirer.parts:
            arrivals = [edit for edit in edits if edit.grown_synapses == part.owner]
            assert len(arrivals) <= int((~open_before[part.kind]).sum())
            changed = part.mask ^ open_before[part.kind]
            for name in PARAMETERS:
                state = optimizer.state[getattr(part.synapses, name)]
                assert not state["exp_avg"][changed].any()


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    wiring=wirings(),
    sparsity=st.sampled_from([0.1, 0.5, 0.9]),
    keep_sources=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_circuit_that_is_thinned_stays_connected(wiring, sparsity, keep_sources, seed):
    torch.manual_seed(seed)
    model = elegans.LTC(wiring.input_size, wiring)
    count = wiring.synapse_count + wiring.sensory_synapse_count
    options = {"every": 1, "keep_sources": keep_sources, "schedule": sparsity, "seed": seed}
    rewirer, message = None, ""
    try:
        rewirer = elegans.PruneRewire(model, train_once(model), Relative(0.5), **options)
    except PruningError as error:
        message = str(error)
    if rewirer is None:
        assert "keep every neuron connected" in message or not count
        assert model.wiring == wiring
        return
    rewirer.step()
    keeps_connected(wiring, model.wiring)
    assert rewirer.budget == round((1 - sparsity) * count)
    assert model.synapse_count + model.sensory_synapse_count == rewirer.budget
    assert rewirer.counts[PRUNED] == count - rewirer.budget


def test_a_single_motor_neuron_has_nowhere_to_go():
    wiring = Wiring(
        2,
        {"motor": 1, "inter": 3},
        Synapses([1, 2, 3], [0, 0, 0], [1, 1, -1]),
        Synapses([0, 1], [1, 2], [1, -1]),
    )
    model = elegans.LTC(2, wiring)
    with torch.no_grad():
        model.cell.recurrent.weight.fill_(-20.0)
        model.cell.sensory.weight.fill_(5.0)
    options = {"every": 1, "keep_sources": True, "weight": 0.05}
    rewirer = elegans.PruneRewire(model, train_once(model), 1e-3, **options)
    rewirer.step()
    assert rewirer.counts == {NO_FREE_TARGET: 3}
    assert model.wiring == wiring
