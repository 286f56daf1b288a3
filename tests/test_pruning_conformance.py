"""What every pruning rule must do, over all criteria, scopes, schedules, growths and models."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from degenerate import covering_array, name_of
from pruning_models import MODELS, Loss
from torch import nn

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning import (
    CRITERIA,
    SCOPES,
    AtFractions,
    Cosine,
    CosineFraction,
    Cubic,
    IterativeSchedule,
    LotteryTicket,
    OneShot,
    Pruner,
    Schedule,
    SynapticFlow,
)
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import StackedSynapsePart, SynapsePart
from elegans.synapses.liquid import LiquidSynapses
from elegans.wiring import AutoNCP

Closing = SynapsePart | StackedSynapsePart
"""Parts whose weights are closed by a mask and keep the parameter under the conductance."""

SCHEDULES: dict[str, Schedule] = {
    "one_shot": OneShot(0.5, at=4),
    "at_fractions": AtFractions((0.2, 0.5), (0.3, 0.6), steps=12),
    "cubic": Cubic(0.5, begin=2, end=9, every=3),
    "cosine": Cosine(0.5, begin=2, end=9, every=3),
    "sequential": IterativeSchedule((0.3, 0.5), patience=1),
}
OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "sgd": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.5, centered=True),
}


SHORT_SCHEDULES: dict[str, Schedule] = {
    "one_shot": OneShot(0.4, at=2),
    "at_fractions": AtFractions((0.2, 0.4), (0.4, 0.8), steps=5),
    "cubic": Cubic(0.4, begin=1, end=5, every=2),
    "cosine": Cosine(0.4, begin=1, end=5, every=2),
    "sequential": IterativeSchedule((0.2, 0.4), patience=1),
}
GROWTHS = (None, "random", "gradient")

CUTS = {"kind": tuple(MODELS), "criterion": tuple(CRITERIA), "scope": tuple(SCOPES)}
TRAININGS = {"kind": tuple(MODELS), "schedule": tuple(SCHEDULES), "growth": GROWTHS}
ENGINE = CUTS | TRAININGS | {"kind": ("perceptron", "liquid")}
"""Factors of which every two values meet in a case."""

LIQUID_CRITERIA = ("open_conductance", "conductance_variation", "reversal_weight")
"""Criteria that ask for gates and reversal potentials; other weights have none."""

CIRCUITS = ("liquid", "signed", "wired")
"""Models whose synapses may lie between many more pairs of neurons than do."""

EXAMPLES = {
    "convolution": (1, 1, 5, 5),
    "memory": (1, 6, 3),
    "ensemble": (1, 6),
    "liquid_ensemble": (1, 6, 5),
}
"""Shapes of inputs of the models that synaptic flow cannot guess."""


def criterion_of(kind: str, name: str) -> str | SynapticFlow:
    if name == "synaptic_flow" and kind in EXAMPLES:
        return SynapticFlow(torch.ones(EXAMPLES[kind]))
    return name


def train(
    model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, pruner: Pruner, steps: int
) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        if hasattr(model, "apply_weight_constraints"):
            model.apply_weight_constraints()
        pruner.report_metric(1.0)  # no progress: a schedule that waits for convergence goes on
        pruner.step(loss)


def free_values(part: PrunableWeight) -> list[torch.Tensor]:
    """Return the parameters of a part, each with the weight's axes last."""
    return [parameter for _, parameter in part.named_parameters()]


def assert_closed(part: PrunableWeight, optimizer: torch.optim.Optimizer) -> None:
    """What is cut is zero, has no gradient, and is not remembered.

    The parameter under a closed conductance is not zero, so weight decay goes on to move it.
    """
    decays = any(group["weight_decay"] for group in optimizer.param_groups)
    gone = ~part.mask
    assert part.weights()[gone].eq(0).all()
    for parameter in free_values(part):
        if parameter.grad is not None:
            assert parameter.grad[..., gone].eq(0).all()
        if decays and isinstance(part, Closing):
            continue
        for value in optimizer.state.get(parameter, {}).values():
            if value.shape == parameter.shape:
                assert value[..., gone].eq(0).all()


def cases_of(factors: dict[str, tuple[str | None, ...]]) -> pytest.MarkDecorator:
    """Return a parametrisation by cases in which every two values of `factors` meet."""
    cases = covering_array(**factors)
    return pytest.mark.parametrize(
        tuple(factors), [tuple(case.values()) for case in cases], ids=map(name_of, cases)
    )


@cases_of(CUTS)
def test_a_cut_reaches_its_sparsity_and_touches_nothing_else(
    kind: str, criterion: str, scope: str
) -> None:
    model, loss = MODELS[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(
        model, optimizer, None, criterion_of(kind, criterion), scope, allow_empty=True, seed=3
    )
    train(model, loss, optimizer, pruner, 3)
    if criterion in LIQUID_CRITERIA and kind != "liquid":
        with pytest.raises(PruningError, match="liquid synapses"):
            pruner.prune(0.5, loss)
        assert pruner.sparsity == 0
        return
    if kind == "liquid_ensemble" and (
        scope in ("block", "unit", "global_unit") or criterion == "synaptic_flow"
    ):
        with pytest.raises(PruningError, match="one member at a time"):
            pruner.prune(0.5, loss)
        return
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    pruner.prune(0.5, loss)

    pools: dict[str, list[PrunableWeight]] = defaultdict(list)
    for part in pruner.parts:
        name = {"layer": part.name, "block": part.owner, "global": ""}[SCOPES[scope].pool]
        pools[name].append(part)
    for parts in pools.values():
        missing = sum(int((~part.mask).sum()) for part in parts)
        total = sum(part.mask.numel() for part in parts)
        members = parts[0].members
        largest = 1.0
        if SCOPES[scope].units:
            largest = max(int(torch.bincount(part.unit_of()).max()) for part in parts)
        blocks = 1
        if SCOPES[scope].pool == "block":
            blocks = sum(len(torch.unique(part.block_of())) for part in parts)
        slack = 0.5 * largest * blocks
        assert abs(missing - 0.5 * total) <= slack * members
    for part in pruner.parts:
        assert_closed(part, optimizer)
        name = part.name
        value = dict(model.named_parameters())[name]
        if isinstance(part, Closing):  # the conductance closes, its parameter may stay
            assert torch.equal(value, before[name])
        else:
            assert torch.equal(value, torch.where(part.mask, before[name], 0.0))
    pruned = {part.name for part in pruner.parts}
    for name, value in model.named_parameters():
        assert name in pruned or torch.equal(value, before[name])


@cases_of(TRAININGS)
def test_masks_only_lose_weights_while_training(
    kind: str, schedule: str, growth: str | None
) -> None:
    model, loss = MODELS[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    exchange = None if growth is None else CosineFraction(0.3, steps=10)
    if kind == "liquid_ensemble" and growth is not None:
        with pytest.raises(PruningError, match="let one member at a time grow"):
            Pruner(model, optimizer, growth=growth, drop_fraction=exchange)
        return
    pruner = Pruner(
        model, optimizer, SCHEDULES[schedule], growth=growth, drop_fraction=exchange, every=4
    )
    sparsity, masks = 0.0, pruner.masks()
    for _ in range(12):
        train(model, loss, optimizer, pruner, 1)
        after = pruner.masks()
        assert pruner.sparsity >= sparsity
        if growth is None:
            assert all(not bool((after[name] & ~masks[name]).any()) for name in masks)
        sparsity, masks = pruner.sparsity, after
        for part in pruner.parts:
            assert_closed(part, optimizer)
    assert sparsity == pytest.approx(0.5, abs=0.05)
    assert 0.5 < pruner.exploration_rate() <= 1.0 or kind in CIRCUITS


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_pruned_weight_never_revives(kind: str, name: str) -> None:
    model, loss = MODELS[kind]()
    optimizer = OPTIMIZERS[name](model.parameters())
    pruner = Pruner(model, optimizer)
    train(model, loss, optimizer, pruner, 3)
    pruner.prune(0.6)
    masks = pruner.masks()
    changed = [part.weights().clone() for part in pruner.parts]
    train(model, loss, optimizer, pruner, 5)
    for part, before in zip(pruner.parts, changed, strict=True):
        assert torch.equal(part.mask, masks[part.name])
        assert_closed(part, optimizer)
        assert not torch.equal(part.weights(), before)  # the others go on learning


@pytest.mark.parametrize("kind", MODELS)
def test_a_training_goes_on_bit_for_bit_from_a_saved_state(kind: str) -> None:
    def built() -> tuple[nn.Module, Loss, torch.optim.Optimizer, Pruner]:
        model, loss = MODELS[kind]()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        grows = kind != "liquid_ensemble"
        pruner = Pruner(
            model,
            optimizer,
            Cubic(0.6, begin=2, end=12, every=3),
            "movement",
            growth="random" if grows else None,
            drop_fraction=CosineFraction(0.3, steps=20) if grows else None,
            every=4,
        )
        return model, loss, optimizer, pruner

    whole, loss, optimizer, pruner = built()
    train(whole, loss, optimizer, pruner, 7)
    saved = copy.deepcopy([part.state_dict() for part in (whole, optimizer, pruner)])
    train(whole, loss, optimizer, pruner, 7)

    again, loss_again, optimizer_again, pruner_again = built()
    again.load_state_dict(saved[0])
    optimizer_again.load_state_dict(saved[1])
    pruner_again.load_state_dict(saved[2])
    train(again, loss_again, optimizer_again, pruner_again, 7)
    for (name, one), other in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name
    masks = pruner_again.masks()
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks().items())


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_that_accumulate_stay_closed(kind: str) -> None:
    model, loss = MODELS[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(model, optimizer)
    pruner.prune(0.5)
    once = []
    loss().backward()
    once = [parameter.grad.clone() for parameter in model.parameters()]
    loss().backward()
    for parameter, single in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * single)
    for part in pruner.parts:
        assert_closed(part, optimizer)


def test_mixed_precision_and_a_gradient_scaler() -> None:
    model, loss = MODELS["perceptron"]()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
    pruner = Pruner(model, optimizer, Cubic(0.5, begin=2, end=8, every=2), "movement")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        pruner.step()
    assert pruner.sparsity == pytest.approx(0.5, abs=0.02)
    for part in pruner.parts:
        assert_closed(part, optimizer)


def test_parameter_groups() -> None:
    model, loss = MODELS["perceptron"]()
    groups = [
        {"params": [model[0].weight], "lr": 1e-2},
        {"params": [p for p in model.parameters() if p is not model[0].weight], "lr": 1e-3},
    ]
    optimizer = torch.optim.Adam(groups)
    pruner = Pruner(model, optimizer, OneShot(0.5, at=2))
    train(model, loss, optimizer, pruner, 5)
    assert pruner.sparsity == pytest.approx(0.5, abs=0.01)
    for part in pruner.parts:
        assert_closed(part, optimizer)


def test_the_state_of_a_pruned_circuit_brings_its_mask() -> None:
    model, _ = MODELS["liquid"]()
    Pruner(model).prune(0.5)
    fresh, _ = MODELS["liquid"]()
    x = torch.randn(2, 5, 5)
    assert not torch.equal(fresh(x)[0], model(x)[0])
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x)[0], model(x)[0])
    assert fresh.wiring == model.wiring
    dense, _ = MODELS["liquid"]()
    fresh.load_state_dict(dense.state_dict())  # and a state without mask opens all synapses
    torch.testing.assert_close(fresh(x)[0], dense(x)[0])
    assert fresh.wiring == dense.wiring


def test_synapses_are_named_as_they_are() -> None:
    model, _ = MODELS["liquid"]()
    pruner = Pruner(model)
    names = [name for part in pruner.parts for name, _ in part.named_parameters()]
    assert names == [
        f"cell.{kind}.{v}" for kind in ("recurrent", "sensory") for v in LiquidSynapses.VALUES
    ]
    held = dict(model.named_parameters())
    assert all(held[name] is p for part in pruner.parts for name, p in part.named_parameters())
    assert np.isclose(pruner.sparsity, 0.0)


def test_members_of_an_ensemble_have_their_own_sparsity_and_order() -> None:
    model, _ = MODELS["ensemble"]()
    alone = list(model)
    Pruner(model).prune((0.0, 0.5, 0.8))
    for member, sparsity, pruned in zip(alone, (0.0, 0.5, 0.8), model, strict=True):
        Pruner(member).prune(sparsity)
        for one, other in zip(member.parameters(), pruned.parameters(), strict=True):
            assert torch.equal(one, other)
    assert [part.name for part in Pruner(model, exclude=["0"]).parts] == ["stacked.2.weight"]
    circuits, _ = MODELS["liquid_ensemble"]()
    alone = list(circuits)
    Pruner(circuits).prune((0.0, 0.5, 0.8))
    x = torch.randn(2, 4, 5)
    for member, sparsity, pruned in zip(alone, (0.0, 0.5, 0.8), circuits(x)[0], strict=True):
        Pruner(member).prune(sparsity)
        torch.testing.assert_close(member(x)[0], pruned)
    with pytest.raises(PruningError, match="got 2 sparsities, expected one number or one for each"):
        Pruner(circuits).prune((0.1, 0.2))


@cases_of(ENGINE)
def test_every_two_options_of_the_engine_work_together(
    kind: str, criterion: str, scope: str, schedule: str, growth: str | None
) -> None:
    model, loss = MODELS[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(
        model,
        optimizer,
        SHORT_SCHEDULES[schedule],
        criterion,
        scope,
        growth=growth,
        drop_fraction=None if growth is None else CosineFraction(0.4, steps=8),
        every=2,
        allow_empty=True,
    )
    if criterion in LIQUID_CRITERIA and kind != "liquid":
        with pytest.raises(PruningError, match="liquid synapses"):
            train(model, loss, optimizer, pruner, 6)
        return
    train(model, loss, optimizer, pruner, 6)
    units = SCOPES[scope].units
    assert pruner.sparsity == pytest.approx(0.4, abs=0.15 if units else 0.05)
    assert pruner.cut >= pruner.sparsity * sum(p.mask.numel() for p in pruner.parts) - 1e-6
    assert torch.isfinite(loss())
    for part in pruner.parts:
        assert_closed(part, optimizer)


def test_neurons_of_an_ensemble_of_signed_circuits_are_not_cut_as_a_whole() -> None:
    model = Ensemble.of(lambda seed: elegans.CTRNN(3, AutoNCP(12, 2)), range(2))
    Pruner(model, budget="erdos_renyi").prune(0.5)
    with pytest.raises(PruningError, match=r"neurons of .* differ between the members"):
        Pruner(model, scope="unit").prune(0.7)


# --- ways in which a cut weight might come back ----------------------------------------------


def trained_and_pruned(
    optimizer_of: Callable[..., torch.optim.Optimizer],
) -> tuple[nn.Module, Loss, torch.optim.Optimizer, Pruner]:
    model, loss = MODELS["perceptron"]()
    optimizer = optimizer_of(model.parameters())
    pruner = Pruner(model, optimizer)
    train(model, loss, optimizer, pruner, 3)
    return model, loss, optimizer, pruner


def test_gradients_made_by_hand_and_old_moments_revive_nothing() -> None:
    model, loss, optimizer, pruner = trained_and_pruned(lambda p: torch.optim.Adam(p, 1e-2))
    remembered = copy.deepcopy(optimizer.state_dict())
    pruner.prune(0.5)
    optimizer.load_state_dict(remembered)  # knows the moments of all weights
    for _ in range(3):
        parameters = list(model.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss(), parameters), strict=True
        ):
            parameter.grad = gradient  # no hook of the gradient has seen it
        optimizer.step()
        assert all(part.weights()[~part.mask].eq(0).all() for part in pruner.parts)


def test_a_ticket_of_a_later_step_revives_nothing() -> None:
    model, loss, optimizer, pruner = trained_and_pruned(lambda p: torch.optim.Adam(p, 1e-2))
    ticket = LotteryTicket(model, optimizer)
    train(model, loss, optimizer, pruner, 3)
    pruner.prune(0.5)
    ticket.rewind(pruner)
    for part in pruner.parts:
        assert_closed(part, optimizer)
    assert optimizer.state[model[0].weight]["exp_avg"].abs().sum() > 0
    train(model, loss, optimizer, pruner, 2)
    for part in pruner.parts:
        assert_closed(part, optimizer)


def test_an_infinite_gradient_of_a_cut_weight_is_nothing() -> None:
    layer = nn.Linear(3, 2, bias=False)
    pruner = Pruner(layer, torch.optim.SGD(layer.parameters(), 0.1))
    pruner.apply_masks({"weight": torch.tensor([[True, False, True]] * 2)})
    x = torch.tensor([[1.0, float("inf"), 1.0]])
    (layer.weight * x).sum().backward()
    assert torch.equal(layer.weight.grad, torch.tensor([[1.0, 0.0, 1.0]] * 2))


def test_a_skipped_step_of_a_fused_optimiser_moves_nothing() -> None:
    model, loss, optimizer, _ = trained_and_pruned(
        lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, fused=True)
    )
    pruner = Pruner(model, optimizer, criterion="movement")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(loss() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
    pruner.prune(0.5)
    assert pruner.sparsity == pytest.approx(0.5, abs=0.01)


def test_newcomers_do_not_inherit_what_was_gathered_of_others() -> None:
    model, loss = MODELS["perceptron"]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(
        model,
        optimizer,
        criterion="movement",
        growth="random",
        drop_fraction=CosineFraction(0.3, 100),
        every=3,
    )
    train(model, loss, optimizer, pruner, 2)
    pruner.apply_masks({part.name: torch.rand(part.mask.shape) > 0.5 for part in pruner.parts})
    masks = pruner.masks()
    train(model, loss, optimizer, pruner, 1)
    for part in pruner.parts:
        grown = part.mask & ~masks[part.name]
        assert grown.any()
        assert pruner.criterion._gathered[part.name][grown].eq(0).all()


def test_a_copy_has_the_masks_and_a_new_pruner_guards_it() -> None:
    model, _, _, pruner = trained_and_pruned(lambda p: torch.optim.Adam(p, 1e-2))
    pruner.prune(0.5)
    again = copy.deepcopy(model)
    optimizer = torch.optim.Adam(again.parameters(), 1e-2)
    guard = Pruner(again, optimizer)
    assert guard.sparsity == pruner.sparsity
    again(torch.randn(5, 6)).square().sum().backward()
    optimizer.step()
    for part in guard.parts:
        assert_closed(part, optimizer)


def test_a_pruned_ensemble_of_circuits_brings_its_mask() -> None:
    model, _ = MODELS["liquid_ensemble"]()
    pruner = Pruner(model)
    pruner.prune(0.5)
    fresh, _ = MODELS["liquid_ensemble"]()
    Pruner(fresh)
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(2, 4, 5)
    assert torch.equal(fresh(x)[0], model(x)[0])


def test_only_a_cut_changes_a_circuit() -> None:
    model, _ = MODELS["liquid"]()
    keys = list(model.state_dict())
    Pruner(model)
    assert list(model.state_dict()) == keys
    with pytest.raises(PruningError, match="does not hold"):
        Pruner(nn.Sequential(layer := nn.Linear(3, 2)), torch.optim.Adam(model.parameters()))
    assert not list(layer.buffers())
