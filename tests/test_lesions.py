"""Lesion studies: equal to each lesion made by hand and run alone, and the model left as it was."""

import electric_circuits
import numpy as np
import pytest
import torch
from pictures import collection
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_sequence

import elegans
from elegans.ensemble import Ensemble
from elegans.ensemble.stacking import copied
from elegans.errors import InputError
from elegans.layers.readout import circuit_of
from elegans.wiring import AutoNCP, Synapses, Wiring

ALL = ("neurons", "synapses", "inputs")
WIRING = AutoNCP(9, 2, seed=0)
# Kernels and reference agree to 1e-10 in float64 (the bound of docs/kernels.md).
CLOSE = {"abs": 1e-10, "rel": 1e-10}

MODELS = {
    "LTC": lambda: elegans.LTC(3, WIRING),
    "LTC, linear": lambda: elegans.LTC(3, WIRING, output_mapping="linear"),
    "LTC, no mapping": lambda: elegans.LTC(3, WIRING, output_mapping=None),
    "LTC, clipped": lambda: elegans.LTC(3, WIRING, implicit_param_constraints=False),
    "LTC, gap junctions": electric_circuits.circuit,
    "LTC, gap junctions, some pruned": electric_circuits.CIRCUITS["some pruned"],
    "LTC, outputs anywhere": lambda: elegans.LTC(3, read_anywhere()),
    "LTC, outputs anywhere, memory": lambda: elegans.LTC(3, read_anywhere(), mixed_memory=True),
    "CfC, outputs anywhere": lambda: elegans.CfC(3, read_anywhere()),
    "LTC, readout": lambda: elegans.Readout(elegans.LTC(3, WIRING), 2),
    "LTC, memory": lambda: elegans.LTC(3, WIRING, mixed_memory=True),
    "LTC, memory, readout": lambda: elegans.Readout(elegans.LTC(3, WIRING, mixed_memory=True), 2),
    "LTC, rk4": lambda: elegans.LTC(3, WIRING, solver="rk4"),
    "CTRNN": lambda: elegans.CTRNN(3, WIRING),
    "CfC": lambda: elegans.CfC(3, WIRING),
    "CfC, projected": lambda: elegans.CfC(3, WIRING, proj_size=2),
    "CfC, gates of ncps": lambda: elegans.CfC(3, WIRING, ncps_connections=True),
    "LRC": lambda: elegans.LRC(3, WIRING),
    "LrcSSM": lambda: elegans.LrcSSM(3, 2),
    "NeuralLTC": lambda: elegans.NeuralLTC(3, WIRING),
    "NeuralODE, readout": lambda: elegans.Readout(elegans.NeuralODE(3, WIRING), 2),
}


def read_anywhere():
    """Return a wiring with two outputs that read one neuron, which sends to others."""
    wiring = WIRING.build(3)
    read = int(wiring.recurrent.source[0])
    sets = wiring.recurrent, wiring.sensory
    return Wiring(3, wiring.layers, *sets, outputs=[read, read])


def made(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    with torch.no_grad():  # mappings that are the identity would hide whether they are read
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return model


def data(outputs=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 6, 3, generator=generator).double()
    return x, torch.randn(4, 6, outputs, generator=generator).double()


def by_hand(model, record):
    """Return a copy whose synapses are pruned, and which neuron is not read."""
    lesioned = copied(model)
    for name, slots in circuit_of(lesioned).cell.synapse_sets().items():
        mask = slots.mask.clone()
        if record.kind == "synapse" and record.set == name:
            mask[record.index] = False
        if record.kind == ("input" if "sensory" in name else "neuron"):
            mask &= slots.source != record.index
            if name == "electrical":
                mask &= slots.target != record.index
        slots.set_mask(mask)
    return lesioned


def answer(lesioned, x, record):
    """Return outputs step by step, the silent neuron or input set to zero before it is read."""
    layer = circuit_of(lesioned)
    neuron = record.index if record.kind == "neuron" else None
    seen = x.clone()
    if record.kind == "input" and layer.memory is not None:
        # The memory reads raw inputs; a circuit whose synapses from it are closed cannot tell.
        seen[..., record.index] = 0
    state, outputs = None, []
    for t in range(x.shape[1]):
        if neuron is not None and state is not None and layer.memory is not None:
            h, c = state
            state = h.clone(), c
            state[0][:, neuron] = 0  # before the memory reads it
        _, state = layer(seen[:, t : t + 1], state)
        potentials = (state[0] if isinstance(state, tuple) else state).clone()
        if neuron is not None:
            potentials[:, neuron] = 0
        reader = layer.cell.read if lesioned is layer else lesioned.head
        outputs.append(reader(potentials))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("path", ["auto", "reference"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_equal_to_each_lesion_by_hand(name, path):
    model, (x, y) = made(name), data()
    with elegans.backend(path):
        study = elegans.lesion(model, (x, y), kinds=ALL)
        layer = circuit_of(model)
        counts = {kind: [one.kind for one in study].count(kind[:-1]) for kind in ALL}
        sets = layer.cell.synapse_sets()
        assert counts == {
            "neurons": layer.state_size,
            "synapses": sum(slots.open_count for slots in sets.values()),
            "inputs": 3,
        }
        intact = torch.nn.functional.mse_loss(model(x)[0], y)
        assert study.intact == pytest.approx(float(intact), **CLOSE)
        for record in study:
            output = answer(by_hand(model, record), x, record)
            alone = float(torch.nn.functional.mse_loss(output, y))
            assert record.score == pytest.approx(alone, **CLOSE), record
            assert record.change == record.need == record.score - study.intact
    assert sum(abs(record.need) > 1e-6 for record in study) > 3
    needs = [record.need for record in study]
    assert needs == sorted(needs, reverse=True)


@pytest.mark.parametrize("name", ["LTC", "CTRNN", "LTC, memory, readout"])
@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_groups_give_the_same_scores(name, at_once):
    """Chance included: each group begins at the same random state."""
    model, (x, _) = made(name), data()
    sizes = []

    def noisy(network):
        sizes.append(len(network))
        return network(x + torch.randn_like(x))[0].square().flatten(1).mean(1)

    torch.manual_seed(3)
    grouped = elegans.lesion(model, noisy, kinds=ALL, at_once=at_once)
    assert max(sizes) == min(at_once, len(grouped) + 1)
    assert sum(sizes) == len(grouped) + 1
    torch.manual_seed(3)
    whole = elegans.lesion(model, noisy, kinds=ALL)
    scores = {(one.kind, one.set, one.index): one.score for one in whole}
    for one in grouped:
        assert one.score == pytest.approx(scores[one.kind, one.set, one.index], **CLOSE)


def test_groups_follow_the_memory(monkeypatch):
    model, (x, y) = made("LTC"), data()
    sizes = []

    def scored(network):
        sizes.append(len(network))
        return torch.zeros(len(network))

    each = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    monkeypatch.setattr("elegans.lesions.experiment.available_bytes", lambda: 32 * 5 * each)
    elegans.lesion(model, scored)
    assert set(sizes[:-1]) == {5}
    monkeypatch.setattr("elegans.lesions.experiment.available_bytes", lambda: 0)
    assert len(elegans.lesion(model, (x, y), kinds="inputs")) == 3
    monkeypatch.setattr("elegans.lesions.experiment.available_bytes", lambda: None)
    sizes.clear()
    elegans.lesion(model, scored)
    assert len(sizes) == 1


# --- the model stays as it is ------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["LTC", "LTC, no mapping", "CTRNN", "CfC, projected"])
def test_the_model_is_left_as_it_was(name, training, fails):
    model, (x, _) = made(name).train(training), data()
    slots = circuit_of(model).cell.synapse_sets()["recurrent"]
    slots.set_mask(torch.arange(len(slots)) != 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    objects = [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    chance, modules = torch.get_rng_state(), str(model)

    def evaluate(network):
        assert not network.training
        assert not network.template.training
        torch.rand(7)
        if fails:
            raise ZeroDivisionError
        with torch.enable_grad():
            loss = network(x)[0].square().flatten(1).mean(1)
            loss.sum().backward()
        return loss

    if fails:
        with pytest.raises(ZeroDivisionError):
            elegans.lesion(model, evaluate)
    else:
        elegans.lesion(model, evaluate)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert objects == [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training == training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), chance)
    assert str(model) == modules


def test_a_state_is_carried_from_call_to_call():
    """The network is called like the layer, whichever way the ensemble computes."""
    x, _ = data()
    for name in ("LTC", "CTRNN", "LTC, memory"):
        model = made(name)

        def in_parts(network):
            state = None
            for part in x.split(2, dim=1):
                output, state = network(part, state)
            return output.square().flatten(1).mean(1)

        def at_once(network):
            return network(x)[0][:, :, -2:].square().flatten(1).mean(1)

        first, second = (elegans.lesion(model, way).to_frame() for way in (in_parts, at_once))
        np.testing.assert_allclose(first["score"], second["score"], rtol=1e-9)


# --- degenerate circuits -----------------------------------------------------------------


def layer_on(recurrent, sensory, layers, inputs=1):
    torch.manual_seed(0)
    wiring = Wiring(inputs, layers, Synapses(*recurrent), Synapses(*sensory))
    return elegans.LTC(inputs, wiring, dtype=torch.float64)


def score(network):
    return network(torch.ones(1, 4, 1, dtype=torch.float64))[0].flatten(1).sum(1)


def test_one_synapse():
    model = layer_on(([1], [0], [1]), ([], [], []), {"motor": 1, "inter": 1})
    study = elegans.lesion(model, score, kinds=["synapses"])
    (only,) = study
    assert only.name == "inter_0 -> motor_0"
    assert (only.source, only.target, only.layer) == ("inter_0", "motor_0", "motor")
    assert (only.set, only.index) == ("recurrent", 0)
    assert only.need != 0


def test_a_neuron_that_sends_nothing_is_not_needed():
    ends = ([0], [2], [1])  # only the neuron at the end of the chain is reached
    model = layer_on(([1], [0], [1]), ends, {"motor": 1, "inter": 2})
    study = elegans.lesion(model, score, kinds=["neurons", "inputs"])
    needs = {one.name: one.need for one in study}
    assert needs["inter_1"] == needs["sensory_0"] == 0
    assert needs["inter_0"] != 0
    assert needs["motor_0"] != 0  # it sends nothing either, but is read


def test_parallel_synapses_are_silenced_one_by_one():
    parallel = ([1, 1, 1], [0, 0, 0], [1, 1, -1])
    model = layer_on(parallel, ([0], [1], [1]), {"motor": 1, "inter": 1})
    study = elegans.lesion(model, score, kinds="synapses")
    recurrent = [one for one in study if one.set == "recurrent"]
    assert sorted(one.index for one in recurrent) == [0, 1, 2]
    assert len({one.score for one in recurrent}) == 3
    drawn = study.draw()
    assert len(collection(drawn, "synapses").get_segments()) == 4


@pytest.mark.parametrize("mask", ["own", "of torch"])
def test_pruned_synapses_are_left_out(mask):
    model, (x, y) = made("LTC"), data()
    slots = model.cell.recurrent
    kept = torch.arange(len(slots)) % 3 > 0
    if mask == "own":
        slots.set_mask(kept)
    else:
        prune.custom_from_mask(slots, "weight", kept)
    study = elegans.lesion(model, (x, y), kinds=["synapses"])
    found = {one.index for one in study if one.set == "recurrent"}
    assert found == set(kept.nonzero()[:, 0].tolist())
    for record in study.lesions[:3]:
        alone = by_hand(model, record)(x)[0].detach()
        assert record.score == pytest.approx(float((alone - y).square().mean()), **CLOSE)
    slots.set_mask(torch.zeros_like(kept))
    model.cell.sensory.set_mask(torch.zeros(len(model.cell.sensory), dtype=torch.bool))
    with pytest.raises(InputError, match=r"a circuit without any open synapses, expected at least"):
        elegans.lesion(model, (x, y), kinds=["synapses"])
    assert all(one.need == 0 for one in elegans.lesion(model, (x, y)) if one.layer != "motor")


# --- scores ------------------------------------------------------------------------------


def test_a_greater_score_may_be_the_better_one():
    model, (x, y) = made("LTC"), data()
    losses = elegans.lesion(model, (x, y))
    returns = elegans.lesion(model, lambda net: -net.losses(x, y), greater_is_better=True)
    assert [one.name for one in returns] == [one.name for one in losses]
    for mine, other in zip(returns, losses, strict=True):
        assert (mine.need, mine.change) == (other.need, -other.change)
    assert returns.intact == -losses.intact


@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray, list, tuple])
def test_scores_may_be_tensors_arrays_or_lists(kind):
    model = made("CTRNN")
    study = elegans.lesion(model, lambda net: kind([float(k) for k in range(len(net))]))
    assert [one.score for one in study] == [*range(len(study), 0, -1)]
    assert study.intact == 0


def test_other_losses():
    model, (x, _) = made("LTC"), data()
    label = torch.randint(2, (4, 6))

    def loss(output, label):
        return torch.nn.functional.cross_entropy(output.flatten(0, 1), label.flatten())

    study = elegans.lesion(model, (x.numpy(), label.numpy()), loss=loss, kinds=["inputs"])
    assert study.intact == pytest.approx(float(loss(model(x)[0].detach(), label)), **CLOSE)


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": torch.nn.Linear(3, 2)}, r"got Linear, expected a layer on a wiring"),
        ({"model": Ensemble([elegans.CTRNN(3, 2)])}, r"got Ensemble, expected a layer on a wiring"),
        ({"model": elegans.CfC(3, 4)}, r"got CfC of CfCCell, .* connected by dense maps"),
        ({"model": elegans.CTGRU(3, 4)}, r"got CTGRU of CTGRUCell, .*as elegans.LTC\(inputs"),
        ({"kinds": ["muscles"]}, r"unknown kinds 'muscles', expected one of"),
        ({"kinds": []}, r"got kinds=\[\], expected at least one of"),
        ({"kinds": ["inputs", "inputs"]}, r"each of them once"),
        ({"kinds": None}, r"got kinds=None"),
        ({"at_once": 0}, r"at_once must be .*, got 0"),
        ({"evaluate": (1, 2, 3)}, r"got evaluate=\(1, 2, 3\), expected a function of the network"),
        ({"evaluate": None}, r"got evaluate=None"),
        ({"evaluate": (data()[0], "y")}, r"y must hold numbers, got str; pass a tensor"),
        (
            {"evaluate": (pack_sequence([torch.zeros(2, 3)]), torch.zeros(1))},
            r"x must hold numbers, got PackedSequence",
        ),
        (
            {"evaluate": (torch.zeros(4, 6, 3), torch.zeros(4, 6))},
            r"y has shape \(4, 6\), expected \(4, 6, 2\).*; pass loss=",
        ),
        ({"evaluate": lambda net: 1.0}, r"scores of shape \(\) of \d+ members, expected one real"),
        ({"evaluate": lambda net: torch.zeros(len(net), 2)}, r"reduce over all axes but the first"),
        ({"evaluate": lambda net: torch.zeros(len(net) - 1)}, r"expected one real number each"),
        ({"evaluate": lambda net: "good"}, r"got 'good' of \d+ members"),
        ({"evaluate": lambda net: torch.zeros(len(net), dtype=torch.cfloat)}, r"one real number"),
        (
            {"evaluate": lambda net: torch.arange(1.0 * len(net)).log()},
            r"got a score of -inf for the intact circuit, expected a finite number",
        ),
        (
            {"evaluate": lambda net: [0.0, torch.nan, *[0.0] * (len(net) - 2)]},
            r"got a score of nan for the circuit without neuron 'motor_0', expected a finite",
        ),
        ({"evaluate": lambda net: net.losses(*data()), "loss": torch.sub}, r"and a function that"),
    ],
)
def test_refusals(changed, message):
    with pytest.raises(InputError, match=message):
        elegans.lesion(**{"model": made("LTC"), "evaluate": data()} | changed)


def test_motor_neurons_that_are_read_through_a_mask_are_refused():
    model = made("LTC")
    prune.identity(model.cell.output_mapping, "weight")
    with pytest.raises(InputError, match=r"output_mapping.weight is computed .* prune.remove"):
        elegans.lesion(model, data())
    assert len(elegans.lesion(model, data(), kinds=["synapses"]))
