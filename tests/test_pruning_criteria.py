"""Scores and selection against what they should be by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_models import MODELS
from torch import nn

import elegans
from elegans.errors import PruningError
from elegans.pruning import (
    FunctionCriterion,
    GradientWeight,
    Magnitude,
    Movement,
    Pruner,
    ScoringContext,
    Snip,
    SynapticFlow,
    parts_of,
)
from elegans.pruning.amount.scopes import spread
from elegans.pruning.parts.synapses import SynapsePart
from elegans.wiring import NCP


def scene_of(model: nn.Module, closure: object = None) -> ScoringContext:
    return ScoringContext(model, parts_of(model), closure, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), sparsity=st.floats(0, 0.99), outputs=st.integers(1, 7),
    inputs=st.integers(1, 7),
)  # fmt: skip
def test_the_smallest_weights_go(seed: int, sparsity: float, outputs: int, inputs: int) -> None:
    generator = np.random.default_rng(seed)
    layer = nn.Linear(inputs, outputs)
    values = generator.permutation(inputs * outputs).reshape(outputs, inputs) + 1.0
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(values * generator.choice([-1, 1], values.shape)))
    Pruner(layer, allow_empty=True).prune(sparsity)
    count = int(np.floor(sparsity * values.size + 0.5))
    assert torch.equal(layer.weight_mask, torch.from_numpy(values > count))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), sparsity=st.floats(0, 0.95), norm=st.sampled_from([1, 2, np.inf])
)
def test_the_neurons_of_the_smallest_norm_go(seed: int, sparsity: float, norm: float) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(5, 9)
    norms = np.linalg.norm(layer.weight.detach().numpy(), ord=norm, axis=1)
    name = {1: "l1", 2: "l2", np.inf: "linf"}[norm]
    Pruner(layer, criterion=name, scope="unit", allow_empty=True).prune(sparsity)
    count = int(np.floor(sparsity * 9 + 0.5))
    gone = np.argsort(norms)[:count]
    expected = np.ones((9, 5), dtype=bool)
    expected[gone] = False
    assert np.array_equal(layer.weight_mask.numpy(), expected)


def test_the_global_scope_compares_all_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight.mul_(100.0)
    Pruner(model, scope="global", allow_empty=True).prune(0.5)
    assert not model[0].weight_mask.any()
    assert model[1].weight_mask.all()


def test_blocks_of_a_circuit_lose_the_same_share() -> None:
    recipe = NCP(
        inter_neurons=10,
        command_neurons=8,
        motor_neurons=4,
        sensory_fanout=4,
        inter_fanout=4,
        recurrent_command_synapses=20,
        motor_fanin=4,
    )
    model = elegans.LTC(6, recipe)

    def blocks() -> dict[tuple[str, str], int]:
        wiring, counts = model.wiring, {}
        for s, t in itertools.product(wiring.layers, wiring.layers):
            inside = (wiring.layer_of[wiring.recurrent.source] == s) & (
                wiring.layer_of[wiring.recurrent.target] == t
            )
            counts[s, t] = int(inside.sum())
        return counts

    before = blocks()
    Pruner(model, scope="block").prune(0.5)
    for block, count in blocks().items():
        assert count == before[block] - int(np.floor(0.5 * before[block] + 0.5))


def test_a_unit_of_a_gated_layer_is_a_neuron() -> None:
    model = nn.LSTM(3, 5)
    Pruner(model, scope="unit", include=["weight_ih_l0"]).prune(0.4)
    gates = model.weight_ih_l0_mask.reshape(4, 5, 3)
    assert all(torch.equal(gates[0], gate) for gate in gates)
    assert int(gates[0].all(dim=1).sum()) == 3


@pytest.mark.parametrize("kind", ["perceptron", "liquid", "memory"])
def test_gradient_times_weight_is_what_the_loss_loses(kind: str) -> None:
    model, loss = _double(kind)
    context = scene_of(model, loss)
    scores = GradientWeight().scores(context)
    shares = Snip().scores(context)
    whole = sum(float(score.sum()) for score in scores)
    step = 1e-6
    for part, score, share in zip(context.parts, scores, shares, strict=True):
        torch.testing.assert_close(share, score / whole)
        for index in (0, part.size // 2, part.size - 1):
            place = np.unravel_index(index, part.mask.shape)
            slope = _difference(part, place, loss, step)
            assert float(score[place]) == pytest.approx(abs(slope), rel=1e-4, abs=1e-9)


def _double(kind: str) -> tuple[nn.Module, object]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return MODELS[kind]()
    finally:
        torch.set_default_dtype(default)


def _difference(part: object, place: tuple[int, ...], loss: object, step: float) -> float:
    """Return the central difference of the loss by a factor c = 1 of one effective weight."""
    losses = []
    with torch.no_grad():
        for sign in (1, -1):
            kept = part.parameter.clone()
            weight = part.weights()[place] * (1 + sign * step)
            if isinstance(part, SynapsePart):
                weight = part.synapses.positivity.inverse(weight)
            part.parameter[place] = weight
            losses.append(float(loss()))
            part.parameter.copy_(kept)
    return (losses[0] - losses[1]) / (2 * step)


def test_movement_adds_up_what_training_does() -> None:
    model, loss = _double("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = Pruner(model, optimizer, criterion="movement")
    expected = torch.zeros_like(model[0].weight)
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        expected -= (model[0].weight * model[0].weight.grad).detach()
        optimizer.step()
        pruner.step()
    scores = pruner.criterion.scores(scene_of(model))
    torch.testing.assert_close(scores[0], expected)


def test_synaptic_flow_of_a_chain_is_conserved_and_counts_paths() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    first, second = SynapticFlow().scores(scene_of(model))
    assert all(map(torch.equal, before, [p.detach() for p in model.parameters()]))
    one, two = (parameter.detach().abs() for parameter in model.parameters())
    torch.testing.assert_close(first, one * two.sum(dim=0)[:, None])
    torch.testing.assert_close(second, two * one.sum(dim=1)[None, :])
    torch.testing.assert_close(first.sum(dim=1), second.sum(dim=0))  # in equals out


def test_synaptic_flow_of_a_circuit_sums_over_its_paths() -> None:
    model = elegans.LTC(2, NCP(3, 2, 1, 2, 1, 1, 2))
    recurrent, sensory = SynapticFlow().scores(scene_of(model))
    cell = model.cell
    r, s = cell.recurrent.values(), cell.sensory.values()
    weight = r.weight.detach()

    def paths(neuron: int, left: int) -> list[tuple[list[int], float]]:
        """Return all ways from `neuron` to a motor neuron of at most `left` synapses."""
        found = [([], 1.0)] if neuron < cell.motor_size else []
        if left:
            for k in range(len(r.source)):
                if int(r.source[k]) == neuron:
                    for way, product in paths(int(r.target[k]), left - 1):
                        found.append(([k, *way], product * float(weight[k])))
        return found

    through = torch.zeros(len(r.source), dtype=torch.float64)
    entering = torch.zeros(len(s.source), dtype=torch.float64)
    for k in range(len(s.source)):
        for way, product in paths(int(s.target[k]), len(cell.wiring.layers) - 1):
            flow = product * float(s.weight[k].detach())
            entering[k] += flow
            for slot in way:
                through[slot] += flow
    torch.testing.assert_close(sensory, entering)
    torch.testing.assert_close(recurrent, through)


def test_rounds_of_synaptic_flow_avoid_the_collapse_of_a_layer() -> None:
    torch.manual_seed(1)
    wide = [nn.Linear(100, 100, bias=False), nn.Linear(100, 5, bias=False)]
    model = nn.Sequential(*wide, nn.Linear(5, 100, bias=False), nn.Linear(100, 10, bias=False))
    pruner = Pruner(model, criterion="synaptic_flow", scope="global")
    with pytest.raises(PruningError, match="would lose all its weights"):
        pruner.prune(0.99)
    pruner.prune(0.99, rounds=100)
    assert pruner.sparsity == pytest.approx(0.99, abs=1e-4)


def test_erdos_renyi_keeps_more_of_small_layers() -> None:
    model = nn.Sequential(nn.Linear(100, 400), nn.Linear(400, 50), nn.Linear(50, 2))
    parts = parts_of(model)
    wanted = torch.tensor([0.9], dtype=torch.float64)
    density = torch.tensor([1 - float(s) for s in spread(parts, wanted, "erdos_renyi")])
    size = torch.tensor([40000.0, 20000.0, 100.0])
    assert float((density * size).sum() / size.sum()) == pytest.approx(0.1)
    assert float(density[2]) == 1.0
    epsilon = (density * size)[:2] / torch.tensor([500.0, 450.0])
    assert float(epsilon[0]) == pytest.approx(float(epsilon[1]))
    pruner = Pruner(model, budget="erdos_renyi")
    pruner.prune(0.9)
    assert pruner.sparsity == pytest.approx(0.9, abs=1e-4)


def test_a_function_is_a_criterion() -> None:
    layer = nn.Linear(4, 3)
    order = torch.randperm(12).reshape(3, 4)
    Pruner(layer, criterion=lambda part: order).prune(0.25)
    assert torch.equal(layer.weight_mask, order >= 3)
    assert FunctionCriterion(lambda part: order).norm == "sum"
    with pytest.raises(PruningError, match=r"\(2,\) for weight, expected a tensor of shape \(3, 4"):
        Pruner(nn.Linear(4, 3), criterion=lambda part: torch.zeros(2)).prune(0.5)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("movement", "movement has seen no optimiser step"),
        ("snip", "SNIP needs the loss"),
        ("gradient_weight", "has no gradient: call"),
    ],
)
def test_criteria_say_what_they_lack(criterion: str, message: str) -> None:
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    pruner = Pruner(layer, torch.optim.Adam(layer.parameters()), criterion=criterion)
    with pytest.raises(PruningError, match=message):
        pruner.prune(0.5)
    assert torch.equal(layer.weight, before)


def test_other_errors_of_criteria() -> None:
    with pytest.raises(PruningError, match="synaptic flow cannot guess the input of GRU"):
        Pruner(nn.GRU(2, 3), criterion=SynapticFlow()).prune(0.5)
    with pytest.raises(PruningError, match="unknown norm 'l3'"):
        Magnitude("l3")
    layer = nn.Linear(4, 3)
    with pytest.raises(PruningError, match="must return the loss as a differentiable scalar"):
        Pruner(layer, criterion="snip").prune(0.5, lambda: torch.zeros(3))
    with pytest.raises(PruningError, match="loss of nan"):
        Pruner(layer, criterion="snip").prune(0.5, lambda: layer.weight.sum() * torch.nan)
    with pytest.raises(PruningError, match="score that is not a number"):
        Pruner(layer, criterion=lambda part: part.weights() * torch.nan).prune(0.5)
    with pytest.raises(PruningError, match="does not depend on any weight"):
        Pruner(layer, criterion="snip").prune(0.5, lambda: layer.bias.sum())
    assert Movement().state_dict() == {}


def test_random_is_random_even_with_the_seed_of_the_weights() -> None:
    torch.manual_seed(5)
    layer = nn.Linear(200, 200)
    Pruner(layer, criterion="random", seed=5).prune(0.5)
    kept = layer.weight.detach()[layer.weight_mask]
    bound = 200**-0.5  # weights are uniform in this range, with deviation bound / sqrt(3)
    assert abs(float(kept.mean())) < 5 * bound / (3 * len(kept)) ** 0.5
