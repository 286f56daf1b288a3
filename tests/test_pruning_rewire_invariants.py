"""Prune-and-rewire keeps its invariants on thousands of random wirings."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elegans
from elegans.errors import PruningError
from elegans.pruning import Relative
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, REWIRED
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
    fresh = torch.tensor(rewirer.settings.weight)
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
    rewirer = elegans.PruneRewire(model, train_once(model), 1e-3, every=1, seed=seed)
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
    rewirer = elegans.PruneRewire(model, train_once(model), 1e-3, every=1)
    rewirer.step()
    assert rewirer.counts == {NO_FREE_TARGET: 3}
    assert model.wiring == wiring
