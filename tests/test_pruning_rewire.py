"""Prune-and-rewire during training: thresholds, growth, optimisers, ledger, resume, guards."""

import copy
import json

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import PruningError
from elegans.pruning import Absolute, CosineFraction, Edit, GradientGrowth, Relative
from elegans.pruning.ledger import REFUSED, REWIRED
from elegans.synapses.slots import FreshSynapses
from elegans.wiring import AutoNCP, FullyConnected, Random

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "Adam, amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "RMSprop, all": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
}


def make(seed=0, optimizer="Adam", **options):
    torch.manual_seed(seed)
    model = elegans.LTC(3, AutoNCP(16, 2, seed=seed))
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    settings = {"threshold": Relative(0.5), "every": 5, "seed": seed} | options
    return model, optimizer, elegans.PruneRewire(model, optimizer, **settings)


def batch(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 6, 3, generator=generator)
    return x, x[..., :2].cumsum(1).tanh()


def train(model, optimizer, rewirer, steps, start=0):
    for step in range(start, start + steps):
        x, y = batch(step)

        def loss(x=x, y=y):
            return (model(x)[0] - y).square().mean()

        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        rewirer.step(loss)


# --- when and what -----------------------------------------------------------------------


def test_it_edits_every_so_many_steps_until_the_end():
    model, optimizer, rewirer = make(every=4, until=9)
    train(model, optimizer, rewirer, 20)
    assert {edit.step for edit in rewirer.ledger} == {4, 8}
    assert rewirer.steps == 20


@pytest.mark.parametrize(
    ("threshold", "step", "weak"),
    [
        (Absolute(0.25), 0, [0, 2]),
        (Absolute(0.0), 0, []),
        (Relative(0.5), 0, [0]),
        (Relative(1.0), 0, [0, 2]),
        (CosineFraction(0.4, 100), 0, [0, 2]),
        (CosineFraction(0.4, 100), 50, [0]),
        (CosineFraction(0.4, 100), 99, []),
        (CosineFraction(0.4, 100), 100, []),
    ],
)
def test_thresholds(threshold, step, weak):
    weight = np.array([0.1, 0.3, 0.2, 0.4, 0.5])
    assert np.flatnonzero(threshold.weak(weight, step)).tolist() == weak


def test_the_cosine_fraction_falls_as_published():
    schedule = CosineFraction(0.3, 200)
    for step in (0, 37, 100, 199):
        expected = 0.3 * (1 + np.cos(np.pi * step / 200)) / 2
        assert schedule.fraction(step) == pytest.approx(expected)
    assert schedule.fraction(200) == 0


def test_a_number_is_an_absolute_threshold():
    _, _, rewirer = make(threshold=0.01)
    assert rewirer.settings.drop_fraction == Absolute(0.01)


def test_the_weakest_go_first():
    model, optimizer, rewirer = make(threshold=Relative(1.0), every=1)
    train(model, optimizer, rewirer, 1)
    weights = [edit.weight for edit in rewirer.ledger]
    assert len(weights) > 10
    assert weights == sorted(weights)


# --- the edited slots --------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_exactly_the_edited_slots_are_reset(name):
    model, optimizer, rewirer = make(optimizer=name, every=4)
    train(model, optimizer, rewirer, 3)
    before = copy.deepcopy(optimizer.state)
    keys = dict(zip(optimizer.state, before, strict=True))
    old = {p: p.detach().clone() for p in model.parameters()}
    rewirer.step()
    assert rewirer.counts[REWIRED] > 0
    moments = 0
    for kind in ("recurrent", "sensory"):
        synapses = getattr(model.cell, kind)
        edited = synapses.weight.detach() != old[synapses.weight]
        for parameter in synapses.parameters():
            assert torch.equal(parameter[~edited], old[parameter][~edited])
            assert not parameter.grad[edited].any()
            for key, value in optimizer.state[parameter].items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    moments += 1
                    assert not value[edited].any()
                    assert torch.equal(value[~edited], before[keys[parameter]][key][~edited])
    per_parameter = {
        "SGD": 0, "Adam": 2, "AdamW": 2, "Adam, fused": 2, "Adam, amsgrad": 3, "RMSprop": 1,
        "SGD with momentum": 1, "RMSprop, all": 3,
    }  # fmt: skip
    assert moments == 8 * per_parameter[name]
    others = [p for n, p in model.named_parameters() if "recurrent" not in n and "sensory" not in n]
    for parameter in others:
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(
                torch.as_tensor(value), torch.as_tensor(before[keys[parameter]][key])
            )


def test_the_whole_tuple_is_fresh():
    model, optimizer, rewirer = make(weight=0.07)
    train(model, optimizer, rewirer, 4)
    old = copy.deepcopy(model)
    train(model, optimizer, rewirer, 1, start=4)
    (edit, *_) = [edit for edit in rewirer.ledger if edit.outcome == REWIRED]
    kind = edit.synapses.rpartition(".")[2]
    mine, theirs = getattr(model.cell, kind), getattr(old.cell, kind)
    slot = int(torch.nonzero((mine.source == edit.grown_source) & (mine.target == edit.grown)))
    assert mine.values().weight[slot].item() == pytest.approx(0.07)
    assert 3 <= mine.sigma[slot] <= 8
    assert 0.3 <= mine.mu[slot] <= 0.8
    assert mine.erev[slot].item() == mine.polarity[slot].item() == edit.polarity
    assert mine.sigma[slot] != theirs.sigma[slot]
    assert (theirs.source[slot], theirs.target[slot]) == (edit.source, edit.cut)


def test_parameter_groups_are_found():
    model = elegans.LTC(3, AutoNCP(16, 2))
    groups = [
        {"params": model.cell.recurrent.parameters(), "lr": 1e-3},
        {"params": [p for n, p in model.named_parameters() if "recurrent" not in n]},
    ]
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    rewirer = elegans.PruneRewire(model, optimizer, Relative(0.5), every=1)
    train(model, optimizer, rewirer, 2)
    assert rewirer.counts[REWIRED] > 0


@pytest.mark.slow
def test_training_goes_on_in_the_same_optimiser():
    model, optimizer, rewirer = make(threshold=CosineFraction(0.3, 80), every=10)
    x, y = batch(0)
    first = (model(x)[0] - y).square().mean().item()
    train(model, optimizer, rewirer, 300)
    assert rewirer.counts[REWIRED] > 20
    assert (model(x)[0] - y).square().mean().item() < 0.6 * first


# --- the live topology -------------------------------------------------------------------


def test_wiring_counts_and_ledger_tell_the_same_story():
    model, optimizer, rewirer = make(every=1, threshold=Relative(0.3))
    wiring = model.wiring
    counts = (model.synapse_count, model.sensory_synapse_count)
    for step in range(6):
        train(model, optimizer, rewirer, 1, start=step)
        now = [e for e in rewirer.ledger if e.step == step + 1 and e.outcome == REWIRED]
        changes = {}
        for kind, suffix in (("recurrent", ""), ("sensory", "_sensory")):
            mine = [edit for edit in now if edit.synapses == f"cell.{kind}"]
            changes["remove" + suffix] = [(edit.source, edit.cut) for edit in mine]
            changes["add" + suffix] = [(e.grown_source, e.grown, e.polarity) for e in mine]
        wiring = replay(wiring, now)
        assert model.wiring == wiring
    assert (model.synapse_count, model.sensory_synapse_count) == counts


def replay(wiring, edits):
    """Apply edits one by one: a target that one synapse leaves may be taken by the next."""
    for edit in edits:
        suffix = "_sensory" if edit.synapses.endswith("sensory") else ""
        wiring = wiring.edit(
            **{
                "remove" + suffix: [(edit.source, edit.cut)],
                "add" + suffix: [(edit.grown_source, edit.grown, edit.polarity)],
            }
        )
    return wiring


def test_several_layers_are_rewired():
    model = torch.nn.Sequential()
    model.first = elegans.LTC(3, AutoNCP(12, 4))
    model.second = elegans.LTC(4, Random(8, 2, 0.5))
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), every=1)
    rewirer.step()
    names = {edit.synapses for edit in rewirer.ledger}
    assert {"first.cell.recurrent", "second.cell.recurrent", "second.cell.sensory"} <= names


def test_a_bare_cell_is_rewired():
    cell = elegans.LTCCell(AutoNCP(12, 4), in_features=3)
    rewirer = elegans.PruneRewire(cell, torch.optim.Adam(cell.parameters()), Relative(1.0), every=1)
    assert rewirer.step()
    assert {edit.synapses for edit in rewirer.ledger} <= {"recurrent", "sensory"}


# --- growth by gradient ------------------------------------------------------------------


def test_gradient_growth_takes_the_steepest_descent():
    model, _, rewirer = make(growth=GradientGrowth(candidates=100), every=1)
    x, y = batch(0)

    def loss():
        return (model(x)[0] - y).square().mean()

    before = copy.deepcopy(model)
    proposals = []
    rewirer.add_guard(lambda proposal: proposals.append(proposal) or len(proposals) == 1)
    rewirer.step(loss)
    first = proposals[0]

    # By hand: put the synapse into the untouched model with a small conductance and see.
    def change(polarity):
        twin = copy.deepcopy(before).double()
        synapses = twin.get_submodule(first.synapses)
        like, epsilon = synapses.weight, 1e-5
        candidate = FreshSynapses(
            torch.tensor([first.source]),
            torch.tensor([first.grown]),
            torch.tensor([polarity]),
            like.new_tensor([epsilon]),
            {name: like.new_tensor([value]) for name, value in first.values.items()},
        )
        with torch.no_grad():
            plain = (twin(x.double())[0] - y).square().mean()
            with synapses.with_candidates(candidate):
                return float(((twin(x.double())[0] - y).square().mean() - plain) / epsilon)

    chosen, opposite = change(first.polarity), change(-first.polarity)
    assert chosen < 0
    assert chosen < opposite


def test_gradient_growth_lowers_the_loss_more_than_random_growth():
    gains = {}
    for growth in ("random", "gradient"):
        gains[growth] = []
        for seed in range(8):
            model, _, rewirer = make(
                seed, growth=growth, every=1, threshold=Relative(0.7), weight=0.3
            )
            x, y = batch(seed)

            def loss(model=model, x=x, y=y):
                return (model(x)[0] - y).square().mean()

            before = loss().item()
            rewirer.step(loss)
            gains[growth].append(before - loss().item())
    assert np.mean(gains["gradient"]) > np.mean(gains["random"])


def test_candidates_leave_no_trace():
    model, optimizer, rewirer = make(growth="gradient")
    train(model, optimizer, rewirer, 5)
    assert all(s._candidates is None for s in model.cell.synapse_sets().values())
    assert model.cell.recurrent.values().weight.shape == (model.synapse_count,)


@pytest.mark.parametrize(
    ("closure", "message"),
    [
        (None, "growth by GradientGrowth needs the loss: call step"),
        (lambda: 1.0, "must return the loss as a differentiable scalar"),
        (lambda: torch.zeros(()), "must return the loss as a differentiable scalar"),
        (lambda: torch.full((), torch.nan, requires_grad=True) * 1, "returned a loss of nan"),
    ],
)
def test_gradient_growth_needs_a_loss(closure, message):
    model, _, rewirer = make(growth="gradient", every=1)
    before = copy.deepcopy(model.state_dict())
    random = rewirer.state_dict()
    with pytest.raises(PruningError, match=message):
        rewirer.step(closure)
    assert rewirer.state_dict() == random
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


# --- guards ------------------------------------------------------------------------------


def test_guards_refuse_with_and_without_a_reason():
    def odd(proposal):
        return "odd targets are taken" if proposal.grown % 2 else None

    model, _, rewirer = make(every=1, threshold=Relative(1.0), guards=[odd])
    rewirer.add_guard(lambda proposal: proposal.source != 7)
    edits = rewirer.step()
    assert edits
    assert all(edit.grown % 2 == 0 and edit.source != 7 for edit in edits)
    assert rewirer.counts[REFUSED] == sum(e.outcome.startswith(REFUSED) for e in rewirer.ledger)
    assert any("odd targets are taken" in edit.outcome for edit in rewirer.ledger)
    assert model.synapse_count == AutoNCP(16, 2, seed=0).build(3).synapse_count


@pytest.mark.parametrize("no", [False, 0, np.False_, torch.tensor(False), ""])
def test_everything_false_refuses(no):
    model, _, rewirer = make(every=1, threshold=Relative(1.0), guards=[lambda proposal: no])
    before = model.wiring
    assert not rewirer.step()
    assert model.wiring == before
    assert rewirer.counts[REFUSED] > 3


@pytest.mark.parametrize("yes", [None, True, 1, np.True_, torch.tensor(True)])
def test_everything_else_consents(yes):
    _, _, rewirer = make(every=1, threshold=Relative(1.0), guards=[lambda proposal: yes])
    assert rewirer.step()
    assert not rewirer.counts[REFUSED]


def test_a_guard_that_fails_leaves_circuit_and_ledger_in_step():
    def third_time_fails(proposal):
        calls.append(proposal)
        if len(calls) == 3:
            raise RuntimeError("the guard is broken")

    calls = []
    model, _, rewirer = make(every=1, threshold=Relative(1.0), guards=[third_time_fails])
    before = model.wiring
    with pytest.raises(RuntimeError, match="the guard is broken"):
        rewirer.step()
    edits = [edit for edit in rewirer.ledger if edit.outcome == REWIRED]
    assert len(edits) == 2
    assert model.wiring == replay(before, edits)


def test_a_synapse_that_is_kept_again_and_again_stands_in_the_ledger_once():
    _, _, rewirer = make(every=1, threshold=Relative(1.0), guards=[lambda proposal: False])
    rewirer.step()
    first = len(rewirer.ledger)
    for _ in range(5):
        rewirer.step()
    assert len(rewirer.ledger) == first
    assert rewirer.counts.total() == 6 * first


def test_self_synapses_grow_only_if_asked_for():
    for asked in (False, True):
        model, _, rewirer = make(every=1, threshold=Relative(1.0), self_synapses=asked)
        before = loops(model.wiring)
        for _ in range(30):
            rewirer.step()
        grown = [
            e
            for e in rewirer.ledger
            if e.synapses == "cell.recurrent" and e.grown_source == e.grown is not None
        ]
        assert bool(grown) == asked
        assert asked or loops(model.wiring) <= before


def loops(wiring):
    return int((wiring.recurrent.source == wiring.recurrent.target).sum())


def test_a_guard_sees_the_model_with_all_edits_so_far():
    seen = []
    model, _, rewirer = make(every=1, threshold=Relative(1.0))
    wiring = model.wiring
    rewirer.add_guard(lambda proposal: seen.append(model.wiring))
    edits = rewirer.step()
    assert len(seen) == len(edits) > 3
    for before, edit in zip(seen, edits, strict=True):
        assert before == wiring
        wiring = replay(wiring, [edit])


# --- saving ------------------------------------------------------------------------------


@pytest.mark.parametrize("growth", ["random", "gradient"])
@pytest.mark.parametrize("name", ["Adam", "SGD with momentum", "RMSprop, all"])
def test_resume_is_exact(name, growth):
    straight = make(optimizer=name, growth=growth)
    train(*straight, 23)

    first = make(optimizer=name, growth=growth)
    train(*first, 12)
    saved = copy.deepcopy([part.state_dict() for part in first])
    second = make(seed=0, optimizer=name, growth=growth)
    second[2]._rng = np.random.default_rng(99)
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    train(*second, 11, start=12)

    for name_, value in straight[0].state_dict().items():
        assert torch.equal(value, second[0].state_dict()[name_]), name_
    assert straight[2].ledger == second[2].ledger
    assert straight[0].wiring == second[0].wiring


def test_the_state_is_plain_json():
    model, optimizer, rewirer = make()
    train(model, optimizer, rewirer, 10)
    state = json.loads(json.dumps(rewirer.state_dict()))
    _, _, other = make()
    other.load_state_dict(state)
    assert other.ledger == rewirer.ledger
    assert other.steps == 10
    assert other._rng.random() == rewirer._rng.random()
    edit = rewirer.ledger[0]
    assert Edit.from_dict(json.loads(json.dumps(edit.to_dict()))) == edit


@pytest.mark.parametrize(
    "change",
    [
        {"steps": "x"},
        {"steps": -5},
        {"random": {}},
        {"ledger": [{"step": 1}]},
        {"ledger": [3]},
        {"counts": None},
    ],
)
def test_a_foreign_state_is_refused(change):
    _, _, rewirer = make()
    state = rewirer.state_dict()
    rewirer.steps = 7
    with pytest.raises(PruningError, match="not a state of PruneRewire"):
        rewirer.load_state_dict(state | change)
    with pytest.raises(PruningError, match="not a state of PruneRewire"):
        rewirer.load_state_dict({})
    assert rewirer.steps == 7


def test_a_state_of_other_settings_is_refused():
    _, _, first = make(every=5)
    _, _, second = make(every=6)
    with pytest.raises(PruningError, match=r"other settings .*'every': \(5, 6\)"):
        second.load_state_dict(first.state_dict())


# --- bad input ---------------------------------------------------------------------------


class Accumulating(torch.optim.Optimizer):
    """Divides by the root of the summed squares; of a kind that the library does not know."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["sum"] = state.get("sum", 0) + parameter.grad.square()
                parameter -= group["lr"] * parameter.grad / state["sum"].sqrt()


def test_an_unknown_optimiser_is_refused_with_advice():
    model = elegans.LTC(3, AutoNCP(16, 2))
    unknown = Accumulating(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    unknown.step()
    with pytest.raises(
        PruningError, match=r"unknown optimiser Accumulating.*pass optimizer_state_names="
    ):
        elegans.PruneRewire(model, unknown, steps=100)
    with pytest.raises(PruningError, match="must be a sequence of names, got the text 'sum'"):
        elegans.PruneRewire(model, unknown, steps=100, optimizer_state_names="sum")
    with pytest.raises(
        PruningError, match=r"optimizer_state_names has \['summ'\], but .* remembers \['sum"
    ):
        elegans.PruneRewire(model, unknown, steps=100, optimizer_state_names=("summ",))
    rewirer = elegans.PruneRewire(
        model, unknown, Relative(1.0), every=1, optimizer_state_names=("sum",)
    )
    unknown.step()
    assert rewirer.step()
    assert (unknown.state[model.cell.recurrent.weight]["sum"] == 0).any()


def test_an_optimiser_of_other_parameters_is_refused():
    model, other = elegans.LTC(3, AutoNCP(16, 2)), elegans.LTC(3, AutoNCP(16, 2))
    with pytest.raises(PruningError, match=r"does not hold cell.recurrent.weight; make it from"):
        elegans.PruneRewire(model, torch.optim.Adam(other.parameters()), steps=100)
    model.cell.recurrent.requires_grad_(False)
    trainable = [p for p in model.parameters() if p.requires_grad]
    before = copy.deepcopy(model.cell.recurrent.state_dict())
    rewirer = elegans.PruneRewire(model, torch.optim.Adam(trainable), Relative(1.0), every=1)
    assert rewirer.step()
    assert {edit.synapses for edit in rewirer.ledger} == {"cell.sensory"}
    for name, value in model.cell.recurrent.state_dict().items():
        assert torch.equal(value, before[name])


def test_parameters_that_were_replaced_are_noticed():
    model, _, rewirer = make(every=1)
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    before = model.wiring
    with pytest.raises(PruningError, match=r"does not hold cell.recurrent.weight"):
        rewirer.step()
    assert model.wiring == before


def test_computed_parameters_are_refused():
    class Same(torch.nn.Module):
        def forward(self, value):
            return value

    model = elegans.LTC(3, AutoNCP(16, 2))
    torch.nn.utils.parametrize.register_parametrization(model.cell.recurrent, "weight", Same())
    with pytest.raises(PruningError, match=r"cell.recurrent.weight is computed from other"):
        elegans.PruneRewire(model, torch.optim.Adam(model.parameters()), steps=100)


def test_a_circuit_without_room_is_refused():
    model = elegans.LTC(3, FullyConnected(6, 2))
    with pytest.raises(PruningError, match="every synapse that could grow exists already"):
        elegans.PruneRewire(model, torch.optim.Adam(model.parameters()), steps=100)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_fresh_synapse_is_not_weak_in_any_precision(dtype):
    model = elegans.LTC(3, AutoNCP(16, 2), dtype=dtype)
    optimizer = torch.optim.Adam(model.parameters())
    softplus = torch.nn.functional.softplus
    value = torch.tensor(0.05, dtype=dtype)
    rounded = softplus(value + torch.log(-torch.expm1(-value))).item()
    if rounded < 0.05:
        with pytest.raises(PruningError, match="would be weak at once"):
            elegans.PruneRewire(model, optimizer, 0.05, every=1, weight=0.05)
    rewirer = elegans.PruneRewire(model, optimizer, min(rounded, 0.05), every=1, weight=0.05)
    with torch.no_grad():
        model.cell.recurrent.weight.fill_(-8.0)
    first = rewirer.step()
    again = rewirer.step()
    assert first
    moved = {(edit.synapses, edit.source, edit.grown) for edit in first}
    assert not moved & {(edit.synapses, edit.source, edit.cut) for edit in again}


def test_a_weight_below_the_precision_is_refused():
    model = elegans.LTC(3, AutoNCP(16, 2), dtype=torch.float16)
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(PruningError, match="not finite in the layer's precision; raise weight"):
        elegans.PruneRewire(model, optimizer, 0.0, weight=1e-9)


def test_a_model_without_synapses_is_refused():
    linear = torch.nn.Linear(2, 2)
    with pytest.raises(
        PruningError, match="Linear holds no synapses, and its weight matrices are full"
    ):
        elegans.PruneRewire(linear, torch.optim.Adam(linear.parameters()), steps=100)


def test_a_closure_that_calls_backward_is_told_not_to():
    model, _, rewirer = make(growth="gradient", every=1)

    def loss():
        value = model(batch(0)[0])[0].square().mean()
        value.backward()
        return value

    with pytest.raises(PruningError, match=r"do not call backward\(\) in it"):
        rewirer.step(loss)


def test_a_conductance_that_is_not_finite_stops_the_round_before_it_begins():
    model = torch.nn.ModuleList([elegans.LTC(3, AutoNCP(16, 2)), elegans.LTC(2, AutoNCP(16, 2))])
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), every=1)
    with torch.no_grad():
        model[1].cell.sensory.weight[3] = float("nan")
    before, state = [layer.wiring for layer in model], rewirer.state_dict()
    with pytest.raises(PruningError, match=r"1.cell.sensory.weight holds nan at \(3,\)"):
        rewirer.step()
    assert [layer.wiring for layer in model] == before
    assert rewirer.state_dict() == state


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -1.0}, "a threshold must be a finite number >= 0"),
        ({"threshold": "small"}, "threshold must be a number, Absolute, Relative"),
        ({"threshold": 0.1, "weight": 0.05}, "would be weak at once"),
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"every": 50, "until": 10}, "ends before the first edit"),
        (
            {"growth": "towards the light"},
            r"unknown growth .* expected a GrowthRule or one of \('random', ",
        ),
        ({"weight": 0.0}, "must be a number > 0"),
        ({"excitatory": 1.5}, "probability from 0 to 1"),
        ({"every": 2.5}, r"every must be an integer of at least 1, got 2.5"),
        ({"every": "5"}, "every must be an integer"),
        ({"threshold": Relative}, "threshold must be a number, Absolute, Relative"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(PruningError, match=message):
        make(**options)


def test_a_wrong_seed():
    model = elegans.LTC(3, AutoNCP(16, 2))
    with pytest.raises(PruningError, match="seed must be an integer of at least 0, got '5'"):
        elegans.PruneRewire(model, torch.optim.Adam(model.parameters()), steps=100, seed="5")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Relative(1.5), "share of the median must be from 0 to 1"),
        (lambda: CosineFraction(2.0, 10), "initial fraction must be from 0 to 1"),
        (lambda: CosineFraction(0.3, 0), "steps must be at least 1"),
        (lambda: GradientGrowth(0), "candidates must be an integer of at least 1"),
    ],
)
def test_wrong_thresholds(build, message):
    with pytest.raises(PruningError, match=message):
        build()
