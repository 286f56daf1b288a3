"""Compression, speed-up and exploration, counted against hand and brute force."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import elegans
from elegans import LTC
from elegans.errors import PruningError
from elegans.pruning import Pruner
from elegans.pruning.compact import compact
from elegans.pruning.measuring import counting
from elegans.pruning.measuring.efficiency import efficiency
from elegans.wiring import AutoNCP


def figures(model, x, **options):
    return efficiency(model, x, **({"measured": False} | options))


def by_name(result):
    return {layer.name: layer for layer in result.layers}


# --- compression --------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), share=st.floats(0.0, 0.9))
@settings(max_examples=40, deadline=None)
def test_compression_counts_biases(seed, share):
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 9, 3)]
    model = nn.Sequential(nn.Linear(*sizes[:2]), nn.ReLU(), nn.Linear(*sizes[1:]))
    with torch.no_grad():
        for linear in model[::2]:
            linear.weight.fill_(1.0).mul_(torch.from_numpy(rng.random(linear.weight.shape) > share))
    result = figures(model, torch.zeros(1, sizes[0]))
    zeros = sum(int((linear.weight == 0).sum()) for linear in model[::2])
    total = sizes[0] * sizes[1] + sizes[1] + sizes[1] * sizes[2] + sizes[2]
    assert (result.parameters, result.parameters_remaining) == (total, total - zeros)
    assert result.compression == total / (total - zeros)


def test_a_closed_synapse_is_four_parameters_less():
    model = LTC(3, 6)
    before = sum(parameter.numel() for parameter in model.parameters())
    mask = torch.ones(len(model.cell.recurrent), dtype=torch.bool)
    mask[:5] = False
    model.cell.recurrent.set_mask(mask)
    result = figures(model, torch.zeros(2, 4, 3))
    assert result.parameters_remaining == before - 20
    # The compacted layer holds just these, unless it could remove neurons as well.
    small = compact(model, units=False).model
    assert sum(p.numel() for p in small.parameters()) == result.parameters_remaining


# --- theoretical speed-up -----------------------------------------------------------------------


class Counter(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts multiply-adds of matrix products and convolutions from the shapes PyTorch sees."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        output = function(*arguments, **(named or {}))
        name = function.name()
        if name in ("aten::mm", "aten::addmm", "aten::bmm"):
            one, other = arguments[-2:]
            self.count += one.numel() * other.shape[-1]
        if name == "aten::convolution":
            _, weight, *_, transposed, _, _ = arguments
            own = arguments[0] if transposed else output
            self.count += weight.numel() * own.numel() // weight.shape[0]
        return output


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Linear(4, 3), (5, 4)),
        (nn.Linear(4, 3, bias=False), (2, 6, 4)),
        (nn.Conv1d(2, 3, 3, padding=1), (5, 2, 7)),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), (5, 4, 9, 8)),
        (nn.Conv2d(1, 6, (2, 3), dilation=2), (1, 9, 8)),
        (nn.ConvTranspose2d(4, 3, 3), (2, 4, 5, 5)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)), (2, 1, 8, 8)),
    ],
    ids=str,
)
def test_multiply_adds_as_pytorch_sees_them(model, shape):
    x = torch.randn(shape)
    with Counter() as counter, torch.no_grad():
        model(x)
    assert figures(model, x).multiply_adds == counter.count > 0


def test_recurrent_layers_count_steps():
    model = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)
    result = figures(model, torch.zeros(5, 7, 4))
    weights = sum(p.numel() for name, p in model.named_parameters() if "weight" in name)
    assert result.multiply_adds == 5 * 7 * weights
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(2, 7, 4), [7, 3], batch_first=True)
    assert figures(model, (packed,)).multiply_adds == 10 * weights
    cell = nn.GRUCell(4, 3)
    assert figures(cell, torch.zeros(6, 4)).multiply_adds == 6 * 3 * 3 * (4 + 3)


def test_circuits_count_synapses_and_unfolds():
    model = LTC(3, AutoNCP(12, 2), ode_unfolds=4)
    result = figures(model, torch.zeros(2, 5, 3))
    synapses, sensory = model.synapse_count, model.sensory_synapse_count
    assert result.multiply_adds == 3 * 2 * 5 * (4 * synapses + sensory)
    result = figures(model.cell, (torch.zeros(2, 3), torch.zeros(2, 12)))
    assert result.multiply_adds == 3 * 2 * (4 * synapses + sensory)
    rates = elegans.CTRNN(3, AutoNCP(12, 2), ode_unfolds=2)
    result = figures(rates, {"input": torch.zeros(2, 5, 3)})
    assert result.multiply_adds == 10 * (2 * rates.synapse_count + rates.sensory_synapse_count)


def test_a_layer_called_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(self.linear(x))

    assert figures(Twice(), torch.zeros(5, 3)).multiply_adds == 2 * 5 * 9


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_speed_up_weighs_layers_by_their_use(seed):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5))
    kept = []
    for layer in (model[0], model[2]):
        mask = torch.from_numpy(rng.random(layer.weight.shape) < 0.5)
        mask.flatten()[0] = True
        layer.weight.data.fill_(2.0).mul_(mask)
        kept.append(int(mask.sum()))
    result = figures(model, torch.zeros(3, 2, 6))
    positions = 3 * 4
    assert result.multiply_adds == positions * 18 + 3 * 60
    assert result.multiply_adds_remaining == positions * kept[0] + 3 * kept[1]
    assert result.theoretical_speed_up == result.multiply_adds / result.multiply_adds_remaining
    assert by_name(result)["0.weight"].speed_up == 18 / kept[0]


def test_counting_positions_wrongly_is_noticed(monkeypatch):
    right = counting._times
    monkeypatch.setattr(counting, "_times", lambda *given: dict.fromkeys(right(*given), 1))
    x = torch.randn(5, 2, 7)
    model = nn.Conv1d(2, 3, 3)
    with Counter() as counter, torch.no_grad():
        model(x)
    assert figures(model, x).multiply_adds != counter.count


def test_what_is_not_counted_is_said():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2), elegans.CfC(2, 3))
    result = figures(model, torch.zeros(2, 3, dtype=torch.long))
    assert result.not_counted == ("0", "2.cell")
    assert result.multiply_adds == 6 * 8
    assert by_name(result)["0.weight"].speed_up is None
    assert "multiply-adds not counted: 0, 2.cell" in str(result)
    alone = figures(nn.Embedding(5, 4), torch.zeros(2, dtype=torch.long))
    assert alone.theoretical_speed_up is None
    assert "not counted: (model)" in str(alone)


# --- masks --------------------------------------------------------------------------------------


def test_masks_in_the_model_given_and_as_zeros_say_the_same():
    def fresh():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))

    x = torch.zeros(4, 6)
    model = fresh()
    pruner = Pruner(model)
    pruner.prune(0.5)
    expected = figures(model, x)
    assert expected.parameters_remaining == 74 - 32
    masks = pruner.masks()
    assert figures(fresh(), x, masks=masks) == expected
    for linear in model[::2]:
        del linear._buffers["weight_mask"]
    assert figures(model, x) == expected
    hooked = fresh()
    for name, mask in masks.items():
        prune.custom_from_mask(hooked.get_submodule(name.rpartition(".")[0]), "weight", mask)
    assert figures(hooked, x) == expected


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)), (4, 6)),
        (lambda: LTC(6, AutoNCP(12, 2)), (2, 3, 6)),
        (lambda: elegans.CTRNN(6, AutoNCP(12, 2)), (2, 3, 6)),
        (lambda: elegans.CfC(6, AutoNCP(12, 2)), (2, 3, 6)),
        (lambda: nn.GRU(6, 4), (2, 3, 6)),
    ],
)
def test_the_names_are_those_of_a_pruner(make, shape):
    model = make()
    pruner = Pruner(model)
    pruner.step()
    pruner.prune(0.4)
    given = {"masks": pruner.masks(), "ever_active": pruner.ever_active()}
    result = efficiency(model, torch.randn(shape), repeats=1, **given)
    remaining = sum(layer.remaining for layer in result.layers)
    assert remaining == sum(int(mask.sum()) for mask in pruner.masks().values())
    assert result.exploration == pytest.approx(pruner.exploration_rate(), abs=1e-12)
    assert figures(model, torch.randn(shape)).parameters_remaining == result.parameters_remaining


def test_an_ensemble_has_the_names_of_a_pruner():
    from elegans.ensemble import Ensemble

    members = [nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(3)]
    ensemble = Ensemble(members)
    pruner = Pruner(ensemble)
    pruner.prune(0.5)
    result = figures(ensemble, torch.randn(7, 4), masks=pruner.masks())
    assert result.parameters == 3 * 37
    assert result.parameters - result.parameters_remaining == 45
    assert result == figures(ensemble, torch.randn(7, 4))
    circuits = Ensemble([LTC(3, 4, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    pruner = Pruner(circuits)
    pruner.prune(0.5)
    result = figures(circuits, torch.randn(2, 3, 3), masks=pruner.masks())
    # 16 synapses between four neurons and 12 from three inputs, half of them closed.
    assert result.parameters - result.parameters_remaining == 2 * 4 * (8 + 6)
    assert result == figures(circuits, torch.randn(2, 3, 3))


# --- exploration --------------------------------------------------------------------------------


def test_exploration_is_the_share_of_all_weights_ever_active():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    ever = {
        "0.weight": torch.arange(20).reshape(5, 4) < 5,
        "2.weight": torch.ones(2, 5, dtype=torch.bool),
    }
    result = figures(model, torch.zeros(1, 4), ever_active=ever)
    assert result.exploration == 15 / 30
    assert by_name(result)["0.weight"].explored == 0.25
    assert figures(model, torch.zeros(1, 4)).exploration is None


def test_exploration_of_a_circuit_counts_possible_pairs():
    model = LTC(2, 4)
    ever = {"cell.recurrent.weight": torch.arange(100) < 30}
    assert figures(model, torch.zeros(1, 1, 2), ever_active=ever).exploration == 0.3


# --- measured -----------------------------------------------------------------------------------


def test_the_dense_model_runs_against_the_compacted_one():
    model = LTC(4, 12)
    pruner = Pruner(model)
    pruner.prune(0.8)
    result = efficiency(model, torch.randn(2, 5, 4), repeats=3)
    gain = result.measured
    assert result.measured_speed_up == gain.ratio > 0
    assert gain.parameters_before == result.parameters
    assert gain.parameters_after <= result.parameters_remaining
    # What the masks close is closed in what is measured, if only `masks` say so.
    dense = LTC(4, 12)
    given = efficiency(dense, torch.randn(2, 5, 4), masks=pruner.masks(), repeats=1)
    assert given.measured.parameters_after == gain.parameters_after
    assert dense.synapse_count > model.synapse_count


def test_an_empty_layer_has_an_infinite_speed_up_and_is_not_measured():
    model = nn.Linear(3, 2)
    model.weight.data.zero_()
    result = figures(model, torch.zeros(1, 3))
    assert result.theoretical_speed_up == float("inf")
    assert json.loads(json.dumps(result.to_dict()))["theoretical_speed_up"] is None
    with pytest.raises(PruningError, match="all its weights are gone"):
        efficiency(model, torch.zeros(1, 3))


# --- what is said, and bad input ----------------------------------------------------------------


def test_tables_and_plain_values():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    model[0].weight.data[:, 1:] = 0
    result = efficiency(model, torch.zeros(3, 4), repeats=2)
    text = str(result)
    assert "0.weight    20     5    25.0%             60      4.00" in text
    assert "compression 1.68 (37 -> 22 parameters), theoretical speed-up 2.00, measured " in text
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["layers"][0]["speed_up"] == 4
    assert plain["measured"]["repeats"] == 2


def test_bad_input():
    model, x = nn.Sequential(nn.Linear(4, 5)), torch.zeros(1, 4)
    right = torch.ones(5, 4, dtype=torch.bool)
    with pytest.raises(PruningError, match=r"masks holds '1.weight', expected names among"):
        figures(model, x, masks={"1.weight": right})
    with pytest.raises(PruningError, match=r"boolean tensor, got torch.float32"):
        figures(model, x, masks={"0.weight": right.float()})
    with pytest.raises(PruningError, match=r"has shape \(4,\), expected \(5, 4\)"):
        figures(model, x, masks={"0.weight": right[0]})
    with pytest.raises(PruningError, match=r"ever_active\['0.weight'\] has shape \(4, 5\)"):
        figures(model, x, ever_active={"0.weight": right.t()})
    with pytest.raises(PruningError, match="boolean tensor, got list"):
        figures(model, x, ever_active={"0.weight": [True]})
