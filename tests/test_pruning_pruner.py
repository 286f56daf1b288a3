"""The operator: schedules, growth, tickets, and what bad input gets."""

from __future__ import annotations

import copy

import pytest
import torch
from pruning_models import MODELS
from torch import Tensor, nn
from torch.nn.utils import prune

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning import (
    AtFractions,
    Cosine,
    CosineFraction,
    Cubic,
    IterativeSchedule,
    LotteryTicket,
    OneShot,
    Pruner,
    Scope,
)
from elegans.pruning.parts.synapses import StackedSynapsePart, SynapsePart
from elegans.wiring import AutoNCP, FullyConnected


def weights_of(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


# --- schedules ---------------------------------------------------------------------------


def test_cubic_follows_zhu_and_gupta() -> None:
    schedule = Cubic(0.9, begin=100, end=1100, every=100, initial=0.1)
    assert [step for step in range(1, 2000) if schedule.is_due(step)] == [*range(100, 1101, 100)]
    for step in (100, 350, 1100):
        left = 1 - (step - 100) / 1000
        assert schedule.sparsity(step) == pytest.approx(0.9 + (0.1 - 0.9) * left**3)


def test_the_last_step_of_a_gradual_schedule_is_due() -> None:
    schedule = Cosine(0.5, begin=1, end=10, every=4)
    assert [step for step in range(1, 20) if schedule.is_due(step)] == [1, 5, 9, 10]
    assert schedule.sparsity(10) == 0.5


def test_sequential_waits_for_convergence_on_every_level() -> None:
    model = nn.Linear(10, 10)
    pruner = Pruner(model, schedule=IterativeSchedule((0.2, 0.6), patience=2))
    reached = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7):
        pruner.report_metric(loss)
        pruner.step()
        reached.append(round(pruner.sparsity, 2))
    #            1.0  0.9  0.9  converged   0.8  0.7  0.7  converged   another level is not there
    assert reached == [0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 0.2, 0.6, 0.6]
    assert not pruner.schedule.finished
    pruner.report_metric(0.7)
    pruner.report_metric(0.7)
    assert pruner.schedule.finished


def test_schedules_of_two_pruners_do_not_share_their_state() -> None:
    schedule = IterativeSchedule((0.5,), patience=1)
    first, second = (
        Pruner(nn.Linear(4, 4), schedule=schedule),
        Pruner(nn.Linear(4, 4), None, schedule),
    )
    first.report_metric(1.0)
    first.report_metric(1.0)
    first.step()
    second.step()
    assert (first.sparsity, second.sparsity) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneShot(1.0), r"final must be a share of missing weights in \[0, 1\), got 1.0"),
        (lambda: OneShot(-0.1), "got -0.1"),
        (lambda: OneShot(90), "got 90; 90 % is 0.9"),
        (lambda: OneShot(float("nan")), "got nan"),
        (lambda: OneShot(0.5, at=0), "at must be an integer of at least 1, got 0"),
        (lambda: Cubic(0.5, begin=10, end=5), "ends at step 5, before it begins at step 10"),
        (lambda: Cubic(0.2, end=5, initial=0.4), "below the initial 0.4"),
        (lambda: AtFractions((0.5,), (0.5, 0.7), 10), "one fraction for each sparsity"),
        (lambda: AtFractions((0.5, 0.2), (0.5, 0.7), 10), "sparsities must rise"),
        (lambda: AtFractions((0.2, 0.5), (0.7, 0.5), 10), "fractions must rise"),
        (lambda: AtFractions((0.2,), (1.5,), 10), r"fractions must be in \(0, 1\]"),
        (lambda: IterativeSchedule(()), "at least one sparsity"),
        (lambda: IterativeSchedule((0.5, 0.5)), "levels must rise"),
        (lambda: IterativeSchedule((0.5,), improvement=1), "improvement must be a share"),
    ],
)
def test_schedules_that_make_no_sense(make: object, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        make()  # type: ignore[operator]


def test_a_loss_that_is_not_finite_is_no_convergence() -> None:
    with pytest.raises(PruningError, match="validation loss is nan"):
        Pruner(nn.Linear(4, 4), schedule=IterativeSchedule((0.5,))).report_metric(float("nan"))


# --- growth ------------------------------------------------------------------------------


def test_gradient_growth_takes_the_steepest_weight() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 5)
    x, y = torch.randn(32, 6), torch.randn(32, 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    pruner = Pruner(
        model, optimizer, growth="gradient", drop_fraction=CosineFraction(0.3, 100), every=1
    )
    pruner.prune(0.5)
    kept = model.weight_mask.clone()
    magnitude = model.weight.detach().abs()
    slope = torch.autograd.grad((model(x) - y).square().mean(), model.weight)[0].abs()
    count = round(CosineFraction(0.3, 100).fraction(1) * 15)
    assert pruner.step(lambda: (model(x) - y).square().mean()) == count
    lost, grown = kept & ~model.weight_mask, model.weight_mask & ~kept
    assert int(lost.sum()) == int(grown.sum()) == count
    assert magnitude[lost].max() < magnitude[kept & ~lost].min()
    assert slope[grown].min() > slope[~kept & ~grown].max()
    assert model.weight[grown].eq(0).all()


def test_exploration_counts_what_took_part() -> None:
    model = nn.Linear(10, 10)
    pruner = Pruner(
        model, growth="random", drop_fraction=CosineFraction(0.5, 10**6), every=1, seed=1
    )
    assert pruner.exploration_rate() == 0.0
    pruner.prune(0.9)
    ever = torch.zeros(10, 10, dtype=torch.bool)
    for step in range(6):
        ever |= model.weight_mask
        pruner.step()
        assert torch.equal(pruner.ever_active()["weight"], ever)
        assert step > 0 or pruner.exploration_rate() == pytest.approx(0.1)
    assert pruner.exploration_rate() > 0.15


def test_synapses_that_grow_keep_the_count_and_their_source() -> None:
    model, loss = MODELS["liquid"]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(
        model,
        optimizer,
        growth="gradient",
        drop_fraction=CosineFraction(0.4, 50),
        every=2,
        keep_sources=True,
    )
    pruner.prune(0.4)
    before = model.wiring
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        pruner.step(loss)
    after = model.wiring
    assert pruner.cut > 30
    assert after != before
    assert sorted(after.recurrent.source) == sorted(before.recurrent.source)
    assert not after.recurrent.has_parallel
    assert pruner.exploration_rate() > 0


def test_rewiring_leaves_closed_synapses_closed() -> None:
    model, _ = MODELS["liquid"]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(model, optimizer)
    pruner.prune(0.5)
    masks, before = pruner.masks(), model.wiring
    rewirer = elegans.PruneRewire(model, optimizer, CosineFraction(0.8, 100), every=1)
    assert len(rewirer.step()) > 5
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks().items())
    assert model.synapse_count == before.synapse_count
    assert model.wiring != before


# --- tickets and other ways to cut -------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_a_ticket_rewinds_values_and_keeps_the_mask(kind: str) -> None:
    model, loss = MODELS[kind]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    ticket, start = LotteryTicket(model, optimizer), weights_of(model)
    pruner = Pruner(model, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    pruner.prune(0.5)
    masks = pruner.masks()
    ticket.rewind(pruner)
    zeroed = {p.name for p in pruner.parts if not isinstance(p, SynapsePart | StackedSynapsePart)}
    for (name, value), was in zip(model.named_parameters(), start, strict=True):
        assert torch.equal(value, was * masks[name] if name in zeroed else was)
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks().items())
    assert not optimizer.state_dict()["state"]


def test_a_ticket_of_another_model_is_refused() -> None:
    model, other = nn.Linear(4, 3), nn.Linear(4, 3)
    with pytest.raises(PruningError, match="another model than the ticket"):
        LotteryTicket(model).rewind(Pruner(other))
    ticket = LotteryTicket(model)
    model.bias = None
    with pytest.raises(PruningError, match="changed at 'bias'"):
        ticket.rewind()


def test_masks_that_a_rule_has_decided() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    pruner = Pruner(model)
    mask = torch.rand(3, 4) > 0.5
    mask[0, 0] = True
    pruner.apply_masks({"0.weight": mask})
    pruner.apply_masks({"0.weight": torch.ones(3, 4, dtype=torch.bool)})  # nothing revives
    assert torch.equal(model[0].weight_mask, mask)
    assert model[1].weight_mask.all()
    with pytest.raises(PruningError, match=r"no weight is called '5\.weight'"):
        pruner.apply_masks({"5.weight": mask})
    with pytest.raises(PruningError, match=r"has shape \(2, 2\) of torch.bool, expected \(2, 3\)"):
        pruner.apply_masks({"1.weight": torch.ones(2, 2, dtype=torch.bool)})


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [1.0, -0.5, 1.5, float("nan"), "0.5", True])
def test_sparsities_outside_the_range(sparsity: object) -> None:
    model = nn.Linear(4, 3)
    before = weights_of(model)
    with pytest.raises(PruningError, match=r"share of missing weights in \[0, 1\)"):
        Pruner(model).prune(sparsity)  # type: ignore[arg-type]
    assert all(map(torch.equal, before, weights_of(model)))


def test_a_layer_that_would_lose_everything() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    with torch.no_grad():
        model[1].weight.mul_(1e-3)
    before = weights_of(model)
    pruner = Pruner(model, scope="global")
    with pytest.raises(PruningError, match=r"1\.weight would lose all its weights.*allow_empty"):
        pruner.prune(0.5)
    with pytest.raises(PruningError, match="would lose all its weights"):
        pruner.prune(0.5, rounds=7)
    assert all(map(torch.equal, before, weights_of(model)))
    assert pruner.sparsity == 0
    Pruner(model, scope="global", allow_empty=True).prune(0.5)
    assert not model[1].weight_mask.any()


def test_a_model_that_changed_since_the_mask_was_made() -> None:
    model = nn.Linear(4, 3)
    pruner = Pruner(model)
    pruner.prune(0.5)
    with torch.no_grad():
        model.weight.fill_(1.0)
    before = weights_of(model)
    with pytest.raises(
        PruningError, match=r"6 weights of weight have changed.*pruner.reapply_masks"
    ):
        pruner.prune(0.7)
    assert all(map(torch.equal, before, weights_of(model)))
    pruner.reapply_masks()
    assert int((model.weight != 0).sum()) == 6
    model.weight = nn.Parameter(torch.ones(3, 4))
    with pytest.raises(PruningError, match="another parameter than the one"):
        pruner.prune(0.7)


def test_an_optimiser_that_does_not_hold_the_parameters() -> None:
    model, other = nn.Linear(4, 3), nn.Linear(4, 3)
    with pytest.raises(PruningError, match="the optimiser does not hold weight"):
        Pruner(model, torch.optim.Adam(other.parameters()))
    optimizer = torch.optim.Adam(model.parameters())
    pruner = Pruner(model, optimizer)
    optimizer.param_groups[0]["params"] = [model.bias]
    before = weights_of(model)
    with pytest.raises(PruningError, match="the optimiser does not hold weight"):
        pruner.prune(0.5)
    assert all(map(torch.equal, before, weights_of(model)))
    with pytest.raises(PruningError, match="unknown optimiser LBFGS"):
        Pruner(model, torch.optim.LBFGS(model.parameters()))


def test_weights_that_are_not_finite() -> None:
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[1, 2] = torch.nan
    with pytest.raises(PruningError, match=r"weight holds nan at \(1, 2\); nothing was pruned"):
        Pruner(model).prune(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "best"}, "unknown criterion 'best', expected one of"),
        ({"scope": "neuron"}, "unknown scope 'neuron'"),
        ({"budget": "fair"}, "unknown budget 'fair'"),
        ({"budget": "erdos_renyi", "scope": "global"}, "weights that compete across layers"),
        ({"growth": "random"}, "expected both or neither"),
        ({"growth": "best", "drop_fraction": CosineFraction(0.1, 5)}, "unknown growth 'best'"),
        ({"growth": "random", "drop_fraction": 0.3}, "drop_fraction must be a CosineFraction"),
        ({"every": 0}, "every must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"schedule": 1.5}, "schedule must be a share"),
        ({"include": ["head"]}, "no weight fits 'head'"),
        ({"exclude": ["*"]}, "has nothing to prune"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        Pruner(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), **options)  # type: ignore[arg-type]


def test_names_choose_what_is_pruned() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2)))
    assert [part.name for part in Pruner(model, exclude=["2"]).parts] == ["0.weight", "1.weight"]
    assert [part.name for part in Pruner(model, include=["*.0"]).parts] == ["2.0.weight"]
    assert [part.name for part in Pruner(model, include=["1.weight"]).parts] == ["1.weight"]


def test_weights_that_are_computed_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(PruningError, match=r"is computed from other parameters"):
        Pruner(model)
    assert [part.name for part in Pruner(model, exclude=["0"]).parts] == ["1.weight"]
    prune.random_unstructured(model[1], "weight", 0.5)
    with pytest.raises(PruningError, match=r"1\.weight_orig is computed"):
        Pruner(model, exclude=["0"])


def test_growth_by_gradient_needs_the_loss() -> None:
    pruner = Pruner(
        nn.Linear(4, 4), growth="gradient", drop_fraction=CosineFraction(0.5, 10), every=1
    )
    pruner.prune(0.5)
    with pytest.raises(PruningError, match="growth by GradientGrowth needs the loss"):
        pruner.step()


def test_states_of_other_models_are_refused() -> None:
    pruner = Pruner(nn.Linear(4, 4))
    with pytest.raises(PruningError, match="not a state of Pruner"):
        pruner.load_state_dict({"steps": 3})
    with pytest.raises(PruningError, match="the state is of weights"):
        pruner.load_state_dict(Pruner(nn.Linear(4, 3)).state_dict())


def test_a_dense_circuit_can_be_pruned_and_proven() -> None:
    model = elegans.LTC(3, FullyConnected(6, 2))
    Pruner(model).prune(0.6)
    network = elegans.proofs.Network.of(model)
    assert int((network.recurrent.weight > 0).sum()) == model.synapse_count


def test_biases_are_left_alone_whatever_their_shape() -> None:
    names = [part.name for part in Pruner(elegans.CfC(3, FullyConnected(6, 2))).parts]
    assert names
    assert not any(name.endswith("bias") for name in names)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("path", ["reference", "fused"])
def test_a_mask_of_open_synapses_changes_no_bit_and_a_closed_one_no_current(
    implicit: bool, path: str
) -> None:
    recipe = AutoNCP(20, 3, seed=1)
    model = elegans.LTC(5, recipe, implicit_param_constraints=implicit)
    x = torch.randn(4, 6, 5)
    with elegans.backend(path):
        before = model(x)[0]
        pruner = Pruner(model)
        assert torch.equal(model(x)[0], before)
        pruner.prune(0.5)
        pruned = model(x)[0]
        assert not torch.equal(pruned, before)
        for synapses in model.cell.synapse_sets().values():
            with torch.no_grad():  # whatever a closed synapse holds, nothing flows
                synapses.erev[~synapses.mask] = 1e6
        assert torch.equal(model(x)[0], pruned)
        policy = elegans.Policy(model)
        steps = torch.stack([policy(x[:, t]) for t in range(6)], dim=1)
        torch.testing.assert_close(steps, pruned.detach())


@pytest.mark.parametrize("error", [PruningError, MemoryError])
def test_a_failure_in_a_later_round_undoes_the_earlier_ones(error: type[Exception]) -> None:
    model, loss = MODELS["perceptron"]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    loss().backward()
    optimizer.step()
    before, moments = weights_of(model), copy.deepcopy(optimizer.state_dict()["state"])
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    pruner = Pruner(model, optimizer, criterion="snip")
    calls = iter(range(10))

    def failing() -> torch.Tensor:
        if next(calls) == 3:
            raise error("out of memory")
        return loss()

    with pytest.raises(error, match="out of memory"):
        pruner.prune(0.5, failing, rounds=6)
    assert (pruner.sparsity, pruner.cut) == (0.0, 0)
    assert all(map(torch.equal, before, weights_of(model)))
    assert all(map(torch.equal, gradients, [p.grad for p in model.parameters()]))
    after = optimizer.state_dict()["state"]
    for key, state in moments.items():
        assert all(torch.equal(value, after[key][name]) for name, value in state.items())


def test_a_failure_of_the_exchange_undoes_the_cut() -> None:
    model = nn.Linear(4, 4)
    before = weights_of(model)
    exchange = CosineFraction(0.5, 10)
    pruner = Pruner(model, None, OneShot(0.5), growth="gradient", drop_fraction=exchange, every=1)
    with pytest.raises(PruningError, match="needs the loss"):
        pruner.step()
    assert (pruner.sparsity, pruner.steps) == (0.0, 0)
    assert all(map(torch.equal, before, weights_of(model)))


def test_sequential_converges_on_negative_losses() -> None:
    schedule = IterativeSchedule((0.5,), patience=2)
    for loss in (-1.0, -2.0, -2.0, -1.9995):
        schedule.report_metric(loss)
    assert schedule.converged


def test_states_of_other_settings_are_refused_and_change_nothing() -> None:
    pruner = Pruner(nn.Linear(4, 4), schedule=IterativeSchedule((0.5,), patience=1))
    other = Pruner(nn.Linear(4, 4), scope="unit")
    with pytest.raises(PruningError, match="not a state of Pruner"):
        pruner.load_state_dict(other.state_dict())
    state = pruner.state_dict() | {"settings": {"scope": "another"}}
    state["schedule"] = state["schedule"] | {"reached": 1}
    with pytest.raises(PruningError, match="saved with other settings"):
        pruner.load_state_dict(state)
    assert pruner.schedule.state_dict()["reached"] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"schedule": Cubic(0.5, end=9)}, {"schedule": Cubic(0.5, end=10)}),
        ({"schedule": Cubic(0.5, end=9)}, {"schedule": Cosine(0.5, end=9)}),
        ({"schedule": 0.5}, {}),
        ({"criterion": "magnitude"}, {"criterion": "random"}),
    ],
)
def test_states_of_other_rules_are_refused(one, other) -> None:
    state = Pruner(nn.Linear(4, 4), **one).state_dict()
    with pytest.raises(PruningError, match="saved with other settings"):
        Pruner(nn.Linear(4, 4), **other).load_state_dict(state)
    again = Pruner(nn.Linear(4, 4), **one)
    again.load_state_dict(state)
    assert again.state_dict()["settings"] == state["settings"]


def test_synaptic_flow_knows_the_inputs_of_an_ensemble() -> None:
    members = [nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)) for _ in range(3)]
    pruner = Pruner(Ensemble(members), criterion="synaptic_flow", scope="global")
    pruner.prune(0.5, rounds=5)
    for k, member in enumerate(members):
        alone = Pruner(member, criterion="synaptic_flow", scope="global")
        alone.prune(0.5, rounds=5)
        for name, mask in alone.masks().items():
            assert torch.equal(pruner.masks()[f"stacked.{name}"][k], mask)


def test_what_else_is_refused() -> None:
    with pytest.raises(PruningError, match="unknown pool 'blok'"):
        Scope("blok", units=False)
    with pytest.raises(PruningError, match="sequences of names, got '0'"):
        Pruner(nn.Sequential(nn.Linear(3, 2)), include="0")
    with pytest.raises(PruningError, match=r"unknown criterion CrossEntropyLoss"):
        Pruner(nn.Linear(3, 2), criterion=nn.CrossEntropyLoss())
    with pytest.raises(PruningError, match="transposed convolution"):
        Pruner(nn.ConvTranspose2d(3, 5, 2), scope="unit").prune(0.5)
    layer = nn.Linear(3, 2)
    layer.register_buffer("weight_mask", torch.ones(2, 3))
    with pytest.raises(PruningError, match="which is no mask of weight"):
        Pruner(layer)


def test_running_statistics_are_rewound_with_the_ticket() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ticket = LotteryTicket(model)
    model(torch.randn(8, 3))
    assert model[1].running_mean.abs().sum() > 0
    ticket.rewind()
    assert model[1].running_mean.eq(0).all()


@pytest.mark.parametrize("criterion", ["magnitude", "smoothed_saliency"])
def test_a_copy_of_model_optimiser_and_pruner_goes_on_by_itself(criterion: str) -> None:
    """Its hooks are its own: what is cut stays so, and gradients are seen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    pruner = Pruner(model, optimizer, Cubic(0.5, end=6), criterion)
    x = torch.randn(8, 4)

    def train(
        model: nn.Module, optimizer: torch.optim.Optimizer, pruner: Pruner, steps: int
    ) -> list[Tensor]:
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) - 1).square().mean().backward()
            optimizer.step()
            pruner.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    train(model, optimizer, pruner, 3)
    copied = copy.deepcopy((model, optimizer, pruner))
    expected = train(model, optimizer, pruner, 5)
    for own, other in zip(train(*copied, 5), expected, strict=True):
        assert torch.equal(own, other)
    for part in copied[2].parts:
        assert bool((part.parameter.detach()[~part.mask] == 0).all())
        assert bool((part.parameter.grad[~part.mask] == 0).all())  # type: ignore[index]
