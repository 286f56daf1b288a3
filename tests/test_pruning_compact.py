"""Compacted chains of linear layers: equal to the masked ones, and nothing left to remove."""

import copy
import itertools
import json
import re
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import elegans
from elegans.errors import InputError, PruningError
from elegans.hooks import ELEMENTWISE
from elegans.pruning import Pruner
from elegans.pruning.compact import Compacted, SparseLinear, compact, linear_chain
from elegans.pruning.compact.linear_chain import fold
from elegans.pruning.compact.sparse_linear import sparse_pays

ARGUMENTS = {nn.Threshold: (0.1, 0.7)}
SLOPE = 2.0  # no activation is steeper, apart from jumps


def random_chain(seed, *, dead=0.4, activation=None):
    """A chain of 1 to 5 layers whose masks leave out single weights, rows, columns, layers."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    widths = rng.integers(1, 8, rng.integers(2, 7))
    modules = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(int(inputs), int(outputs), bias=bool(rng.random() < 0.7)).double()
        mask = rng.random((outputs, inputs)) < rng.choice([0.1, 0.4, 0.9])
        mask[rng.random(outputs) < dead] = False
        mask[:, rng.random(inputs) < dead] = False
        if rng.random() < 0.05:
            mask[:] = False
        with torch.no_grad():
            linear.weight.uniform_(-1, 1, generator=generator).mul_(torch.from_numpy(mask))
        kind = activation or ELEMENTWISE[rng.integers(len(ELEMENTWISE))]
        modules += [linear, kind(*ARGUMENTS.get(kind, ())).double()]
    model = nn.Sequential(*modules[:-1])
    x = torch.randn(4, int(widths[0]), dtype=torch.float64, generator=generator)
    return model, x


def rounding(model, x):
    """How far two orders of summation may lie apart, in each output.

    A sum of n products is off by n eps times the sum of their magnitudes; an activation multiplies
    what came before by its slope and adds a few roundings of its own. Both models are off.
    """
    eps, error = torch.finfo(x.dtype).eps, torch.zeros_like(x)
    for module in model:
        y = module(x)
        if isinstance(module, nn.Linear):
            size = module.weight.abs()
            terms = x.abs() @ size.t() + (0 if module.bias is None else module.bias.abs())
            error = error @ size.t() + (module.in_features + 2) * eps * terms
        else:
            error = SLOPE * error + 8 * eps * (1 + y.abs())
        x = y
    return 2 * error


def assert_equal_outputs(model, small, x):
    with torch.no_grad():
        difference = (model(x) - small(x)).abs()
        assert (difference <= rounding(model, x)).all()


# --- equality -----------------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), sparse=st.sampled_from(["auto", True, False]))
@settings(max_examples=150, deadline=None)
def test_outputs_are_equal(seed, sparse):
    model, x = random_chain(seed)
    small = compact(model, sparse=sparse, allow_empty=True).model
    assert_equal_outputs(model, small, x)
    first, last = small[0], small[-1]
    assert first.in_features == model[0].in_features
    assert last.out_features == model[-1].out_features


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_every_activation_is_folded(kind):
    for seed in range(8):
        model, x = random_chain(seed, activation=kind)
        assert_equal_outputs(model, compact(model, allow_empty=True).model, x)


def test_the_slope_of_the_bound_holds():
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64, requires_grad=True)
    for kind in ELEMENTWISE:
        (slope,) = torch.autograd.grad(kind(*ARGUMENTS.get(kind, ()))(x).sum(), x)
        assert slope.abs().max() < SLOPE


def test_without_the_constants_outputs_differ(monkeypatch):
    def forgetful(links):
        return [
            found._replace(bias=link.bias) for link, found in zip(links, fold(links), strict=True)
        ]

    monkeypatch.setattr(linear_chain, "fold", forgetful)
    wrong = 0
    for seed in range(30):
        model, x = random_chain(seed, activation=nn.Sigmoid)
        small = compact(model, allow_empty=True).model
        wrong += bool(((model(x) - small(x)).abs() > rounding(model, x)).any())
    assert wrong >= 10


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_gradients_of_what_stays_are_equal(seed):
    model, x = random_chain(seed, activation=nn.Tanh)
    for linear in model[::2]:
        linear.register_buffer("weight_mask", linear.weight != 0, persistent=False)
    compacted = compact(model, sparse=False, allow_empty=True)
    for net in (model, compacted.model):
        net(x).square().sum().backward()
    reads = slice(None)
    for old, new, record in zip(model[::2], compacted.model[::2], compacted.record, strict=True):
        keeps = slice(None) if record.kept is None else list(record.kept)
        # The remaining weights lie in a chain of at most 40 products of numbers below 10.
        expected = (old.weight.grad * old.weight_mask)[keeps][:, reads]
        got = new.weight.grad * (new.weight != 0)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
        reads = keeps


# --- nothing is left to remove ------------------------------------------------------------------


def reachable(model):
    """Which neurons of each hidden layer lie on a path from an input to an output."""
    graph, linears = nx.DiGraph(), list(model[::2])
    for depth, linear in enumerate(linears):
        graph.add_nodes_from((depth, j) for j in range(linear.in_features))
        graph.add_nodes_from((depth + 1, i) for i in range(linear.out_features))
        pairs = linear.weight.nonzero().tolist()
        graph.add_edges_from(((depth, j), (depth + 1, i)) for i, j in pairs)
    graph.add_edges_from(("in", (0, j)) for j in range(linears[0].in_features))
    depth = len(linears)
    graph.add_edges_from(((depth, i), "out") for i in range(linears[-1].out_features))
    alive = nx.descendants(graph, "in") & nx.ancestors(graph, "out")
    return [
        [i for i in range(linear.out_features) if (k, i) in alive]
        for k, linear in enumerate(linears[:-1], start=1)
    ]


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_what_stays_lies_between_input_and_output(seed):
    model, _ = random_chain(seed)
    compacted = compact(model, allow_empty=True)
    hidden = compacted.record[:-1]
    kept = [
        list(range(record.shape[0]) if record.kept is None else record.kept) for record in hidden
    ]
    assert kept == reachable(model)
    for record, staying in zip(hidden, kept, strict=True):
        gone = set(record.without_inputs) | set(record.without_outputs)
        assert gone == {f"{record.name}[{k}]" for k in range(record.shape[0]) if k not in staying}


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_once_is_enough(seed):
    model, _ = random_chain(seed)
    once = compact(model, allow_empty=True)
    twice = compact(once.model, allow_empty=True)
    assert all(record.removed == 0 for record in twice.record)
    assert str(twice.model) == str(once.model)


# --- the model that was given -------------------------------------------------------------------


def pruned(share=0.8, *sizes, bias=True):
    sizes = sizes or (6, 8, 8, 3)
    modules = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.Linear(inputs, outputs, bias=bias)
        with torch.no_grad():
            linear.weight.mul_(torch.rand_like(linear.weight) > share)
            linear.weight[0, 0] = 1.0
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def test_the_model_given_stays_as_it_is():
    model = pruned().train()
    state, modules = copy.deepcopy(model.state_dict()), list(model)
    x = torch.randn(5, 6)
    model(x).sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    compacted = compact(model, x)
    compacted.gain(x, repeats=2, training=True)
    with torch.no_grad():
        for parameter in compacted.model.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(one is other for one, other in zip(model, modules, strict=True))
    assert all(module.training for module in model.modules())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_model_without_zeros_comes_back_equal():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    compacted = compact(model, torch.randn(5, 3))
    assert compacted.difference == 0
    assert [record.outcome for record in compacted.record] == ["unchanged", "unchanged"]
    for name, value in compacted.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
        assert value.data_ptr() != model.state_dict()[name].data_ptr()


def test_modes_types_and_frozen_parameters_carry_over():
    model = pruned().to(torch.bfloat16)
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    model[2].eval()
    new = compact(model).model
    assert {parameter.dtype for parameter in new.parameters()} == {torch.bfloat16}
    trains = {name: parameter.requires_grad for name, parameter in new.named_parameters()}
    assert trains == {name: p.requires_grad for name, p in model.named_parameters()}
    assert [module.training for module in new] == [module.training for module in model]


def test_units_can_stay():
    compacted = compact(pruned(0.9), units=False, sparse=False)
    assert all(record.removed == 0 for record in compacted.record)
    assert any(record.without_inputs for record in compacted.record)


# --- biases -------------------------------------------------------------------------------------


def test_a_bias_comes_only_where_constants_need_one():
    for activation, needed in ((nn.ReLU(), False), (nn.Sigmoid(), True)):
        model = nn.Sequential(nn.Linear(2, 3, bias=False), activation, nn.Linear(3, 2, bias=False))
        with torch.no_grad():
            model[0].weight[1].zero_()
        compacted = compact(model, torch.randn(4, 2))
        assert (compacted.model[2].bias is not None) == needed
        assert ("has a bias now" in str(compacted)) == needed
        constants = compacted.record[0].constants
        assert constants == ({"0[1]": 0.5} if needed else {})
        if needed:
            assert compacted.model[2].bias.requires_grad


# --- what stands between ------------------------------------------------------------------------


def test_nested_chains_are_one():
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Tanh(), nn.Identity())),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Sequential(nn.Linear(5, 2)),
    )
    with torch.no_grad():
        model[0][0].weight[2].zero_()
    compacted = compact(model, torch.randn(6, 4))
    assert compacted.model[0][0].out_features == 4
    assert compacted.model[3][0].in_features == 4
    assert "dropout no longer drops" in str(compacted)


def test_flatten_that_mixes_positions_ends_a_chain():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[1].zero_()
    compacted = compact(model, torch.randn(5, 2, 4))
    assert compacted.record[0].removed == 0


@pytest.mark.parametrize(
    "between", [nn.Softmax(-1), nn.LayerNorm(3), nn.BatchNorm1d(3), nn.PReLU(3), nn.RReLU()]
)
def test_modules_that_mix_or_draw_end_a_chain(between):
    model = nn.Sequential(nn.Linear(4, 3), between, nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[1].zero_()
    compacted = compact(model, torch.randn(5, 4))
    assert {record.removed for record in compacted.record} == {0}


class Own(nn.Module):
    """Calls its layers itself."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)
        self.net = pruned(0.9, 2, 9, 3)

    def forward(self, x):
        return self.net(self.second(torch.relu(self.first(x))))


def test_layers_that_a_module_calls_itself_keep_their_neurons():
    model = Own()
    with torch.no_grad():
        model.first.weight[:3].zero_()
    compacted = compact(model, torch.randn(5, 4), sparse=True)
    removed = {record.name: record.removed for record in compacted.record}
    assert removed["first"] == removed["second"] == 0
    assert removed["net.0"] > 0
    assert isinstance(compacted.model.first, SparseLinear)


def test_what_is_left_alone_is_said():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.gru = nn.LSTM(3, 4), nn.GRU(3, 4)
            self.conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
            self.attention = nn.TransformerEncoderLayer(8, 2, 16)
            self.cfc = elegans.CfC(3, 5)

    compacted = compact(Mixed())
    alone = {r.name for r in compacted.record if r.outcome == "left alone"}
    assert alone == {"lstm", "gru", "conv.0", "attention", "cfc"}
    assert "gru: GRU has no smaller form here, so it is copied as it is" in str(compacted)


def test_shared_tied_and_hooked_layers_are_left_alone():
    shared = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = nn.Linear(4, 4).weight
    other = nn.Linear(4, 4)
    other.weight = tied.weight
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), tied, nn.ReLU(), other, hooked)
    with torch.no_grad():
        for linear in (shared, tied, hooked):
            linear.weight[0].zero_()
            linear.weight[:, 1].zero_()
    compacted = compact(model, torch.randn(3, 4), sparse=True)
    assert {record.outcome for record in compacted.record} == {"left alone"}
    text = str(compacted)
    for reason in ("used in several places", "shares a parameter", "has hooks"):
        assert reason in text
    assert compacted.model[0] is compacted.model[2]
    assert compacted.model[4].weight is compacted.model[6].weight


def test_a_module_that_reads_in_between_is_found_out():
    class Peeks(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 6))

        def forward(self, x):
            hidden = self.net[1](self.net[0](x))
            return self.net[2](hidden) + hidden.sum(-1, keepdim=True)

    model = Peeks()
    with torch.no_grad():
        model.net[0].weight[2].zero_()
    with pytest.raises(PruningError, match=r"differs by .*units=False"):
        compact(model, torch.randn(3, 4))
    compact(model, torch.randn(3, 4), units=False)


def test_a_module_that_returns_what_lies_between_is_found_out():
    class Shows(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 6))

        def forward(self, x):
            hidden = self.net[0](x)
            return self.net[2](self.net[1](hidden)), hidden

    model = Shows()
    with torch.no_grad():
        model.net[0].weight[2].zero_()
    with pytest.raises(PruningError, match=r"expected \[\(3, 6\), \(3, 6\)\].*were removed"):
        compact(model, torch.randn(3, 4))


# --- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["layer", "global", "unit"])
def test_after_a_pruner(scope):
    model = pruned(0.0, 20, 30, 30, 5)
    Pruner(model, scope=scope).prune(0.7)
    compacted = compact(model, torch.randn(9, 20))
    kept = sum(record.weights for record in compacted.record)
    assert kept == sum(int((linear.weight != 0).sum()) for linear in model[::2])
    if scope == "unit":
        assert sum(record.removed for record in compacted.record) >= 21
        assert compacted.model[0].out_features <= 9
    again = Pruner(compacted.model)  # dense layers keep their masks
    assert sum(int(mask.sum()) for mask in again.masks().values()) == sum(
        record.weights_after for record in compacted.record
    )


def test_masks_of_torch_become_permanent():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    prune.random_unstructured(model[0], "weight", 0.7)
    prune.random_unstructured(model[0], "bias", 0.5)
    x = torch.randn(3, 5)
    model(x).sum().backward()  # the weights carry a graph now, which cannot be copied
    compacted = compact(model, x)
    assert not compacted.model[0]._forward_pre_hooks
    assert set(compacted.model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_fresh_weight_of_zero_is_there_by_its_mask():
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight.zero_()[0, 0] = 1
    linear.register_buffer("weight_mask", linear.weight != 0, persistent=False)
    linear.weight_mask[1, 2] = True
    sparse = compact(linear, sparse=True).model
    assert sparse.mask().nonzero().tolist() == [[0, 0], [1, 2]]


def test_a_mask_that_disagrees_is_refused():
    model = pruned(0.0)
    Pruner(model).prune(0.5)
    with torch.no_grad():
        model[0].weight.add_(1)
    with pytest.raises(PruningError, match=r"weights of 0 are cut by weight_mask and yet not zero"):
        compact(model)


@pytest.mark.parametrize("which", [0, 2, 4])
def test_an_empty_layer_is_refused_unless_asked_for(which):
    model = pruned(0.3)
    with torch.no_grad():
        model[which].weight.zero_()
    with pytest.raises(PruningError, match=rf"{which}: all its weights are gone.*allow_empty=True"):
        compact(model)
    compacted = compact(model, torch.randn(4, 6), allow_empty=True)
    outputs = compacted.model(torch.randn(5, 6))
    assert torch.equal(outputs, outputs[:1].expand(5, 3))


def test_layers_that_do_not_meet_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight[0].zero_()
        model[2].weight[0, 1] = 0
    with pytest.raises(PruningError, match="0: none of its neurons is read and reached"):
        compact(model)
    compacted = compact(model, torch.randn(4, 2), allow_empty=True)
    assert compacted.model[0].out_features == 0


# --- which layers become sparse -----------------------------------------------------------------


def test_the_rule():
    assert sparse_pays(1000, 1000, 100_000)
    assert not sparse_pays(1000, 1000, 100_001)
    assert not sparse_pays(100, 100, 10)
    assert not sparse_pays(1000, 1000, 10, device="cuda")


def test_sparse_layers_where_the_rule_says_so():
    model = pruned(0.97, 600, 600, 20)
    kinds = [type(module) for module in compact(model, units=False).model]
    assert kinds == [SparseLinear, nn.ReLU, nn.Linear]
    kinds = [type(module) for module in compact(model, sparse=True).model]
    assert kinds == [SparseLinear, nn.ReLU, SparseLinear]
    kinds = [type(module) for module in compact(model, sparse=False).model]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear]


def test_sparse_layers_where_a_measurement_says_so(monkeypatch):
    asked = []

    def measured(dense, sparse, x):
        asked.append(tuple(x.shape))
        return 2.0 if dense.in_features == 6 else 0.5

    monkeypatch.setattr(linear_chain, "measured_ratio", measured)
    model = pruned(0.5)
    made = compact(model, torch.randn(7, 5, 6), sparse="measured", units=False).model
    assert [type(layer) for layer in made[::2]] == [SparseLinear, nn.Linear, nn.Linear]
    assert asked == [(35, 6), (35, 8), (35, 8)]
    monkeypatch.undo()
    compact(model, torch.randn(7, 6), sparse="measured")


def test_bad_arguments():
    with pytest.raises(InputError, match=r"expected a torch.nn.Module, got dict"):
        compact({})
    with pytest.raises(InputError, match=r"sparse must be one of .* got 'always'"):
        compact(pruned(), sparse="always")
    with pytest.raises(InputError, match="needs inputs"):
        compact(pruned(), sparse="measured")
    with pytest.raises(InputError, match="repeats must be an integer of at least 1, got 0"):
        compact(pruned()).gain(torch.randn(2, 6), repeats=0)


# --- what is said -------------------------------------------------------------------------------


def test_record_and_gain():
    model = pruned(0.8, 40, 60, 10)
    compacted = compact(model, (torch.randn(3, 40),))
    assert isinstance(compacted, Compacted)
    plain = json.loads(json.dumps(compacted.to_dict()))
    assert plain["record"][0]["shape"] == [60, 40]
    assert plain["record"][0]["removed"] == compacted.record[0].removed
    first = compacted.record[0]
    assert first.density == first.weights / (60 * 40)
    assert first.removed == 60 - first.shape_after[0]
    gain = compacted.gain({"input": torch.randn(3, 40)}, repeats=4)
    assert gain.parameters_before == 40 * 60 + 60 + 600 + 10
    assert gain.parameters_after == sum(p.numel() for p in compacted.model.parameters())
    assert gain.bytes_before == 4 * gain.parameters_before
    assert gain.bytes_after == 4 * gain.parameters_after
    assert gain.low <= gain.ratio <= gain.high
    assert gain.memory_ratio == gain.bytes_before / gain.bytes_after
    assert json.loads(json.dumps(gain.to_dict()))["repeats"] == 4
    assert "ms (forward)" in str(gain)


def test_bytes_of_sparse_layers_hold_their_indices():
    model = pruned(0.9, 50, 40)
    gain = compact(model, sparse=True).gain(torch.randn(2, 50), repeats=1)
    weights = int((model[0].weight != 0).sum())
    # Values and columns of 4 bytes, 41 starts of rows, 40 biases.
    assert gain.bytes_after == 4 * (2 * weights + 41 + 40)


@pytest.mark.slow
def test_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "docs" / "compact.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(compile(block, "docs/compact.md", "exec"), names)
