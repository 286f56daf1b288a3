"""Rules of rewiring: growth, criteria of liquid synapses, fresh values, turnover, named rules."""

import copy
import json

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import PruningError
from elegans.pruning import (
    CRITERIA,
    RULES,
    Absolute,
    AtFractions,
    CosineFraction,
    Cubic,
    GradientGrowth,
    GrowthContext,
    HebbianGrowth,
    LinkPrediction,
    OpenConductance,
    OutputSensitivity,
    Pruner,
    PruneRewire,
    RandomWalk,
    Relative,
    ReversalWeight,
    SmoothedSaliency,
    StrengthGrowth,
)
from elegans.pruning.growing.link_prediction import path_scores
from elegans.pruning.growing.rules import softened
from elegans.pruning.ledger import PRUNED, REWIRED
from elegans.pruning.rules import Training
from elegans.synapses.slots import FreshSynapses
from elegans.wiring import AutoNCP, Layered, Random

LAYERS = {
    "liquid": lambda wiring: elegans.LTC(3, wiring),
    "clipped": lambda wiring: elegans.LTC(3, wiring, implicit_param_constraints=False),
    "signed": lambda wiring: elegans.CTRNN(3, wiring),
    "wired": lambda wiring: elegans.CfC(3, wiring),
}


def make(kind="liquid", seed=0, wiring=None, **options):
    torch.manual_seed(seed)
    model = LAYERS[kind](wiring or AutoNCP(16, 2, seed=seed))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    settings = {"threshold": Relative(0.8), "every": 2, "keep_sources": False, "seed": seed}
    return model, optimizer, PruneRewire(model, optimizer, **(settings | options))


def train(model, optimizer, rewirer, steps, start=0):
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, 3, generator=generator)
        y = x[..., : model.motor_size].cumsum(1).tanh()

        def loss(x=x, y=y):
            return (model(x)[0][..., : y.shape[-1]] - y).square().mean()

        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        before = rewirer.budget
        rewirer.step(loss)
        assert rewirer.budget == before or rewirer.schedule is not None


# --- growth ------------------------------------------------------------------------------


def paths_one_by_one(links, u, v):
    """CH3-L3 from its definition: all paths u - t - s - v, with links as a set of pairs."""
    paths = [
        (s, t) for (s, t) in links if (u, t) in links and (s, v) in links and s != u and t != v
    ]
    sources, targets = {s for s, _ in paths}, {t for _, t in paths}
    total = 0.0
    for s, t in paths:
        outside_s = sum(a == s and b not in targets and b != v for a, b in links)
        outside_t = sum(b == t and a not in sources and a != u for a, b in links)
        total += 1 / np.sqrt((1 + outside_s) * (1 + outside_t))
    return total


@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 0.9])
def test_link_prediction_counts_paths_of_length_three(density):
    rng = np.random.default_rng(0)
    linked = rng.random((7, 9)) < density
    source, target = np.nonzero(linked)
    absent = np.argwhere(~linked)
    links = set(zip(source.tolist(), target.tolist(), strict=True))
    expected = [paths_one_by_one(links, u, v) for u, v in absent.tolist()]
    assert path_scores(source, target, *absent.T) == pytest.approx(expected)


def test_link_prediction_closes_a_square():
    """Of two absent pairs the one with a path of length three grows."""
    model = torch.nn.Linear(4, 4, bias=False)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.weight[3, 3] = 0.1
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    drop = Relative(0.5)
    pruner = Pruner(model, optimizer, growth=LinkPrediction(), drop_fraction=drop, every=1)
    pruner.apply_masks({"weight": mask})
    assert pruner.step() == 1
    mask[3, 3], mask[1, 1] = False, True  # 0 -> 0, 1 -> 0 and 0 -> 1 are there
    assert torch.equal(model.weight_mask, mask)


def test_soft_growth_draws_in_proportion():
    """The first place drawn is i with probability score_i / sum; those below 0 come last."""
    score = torch.tensor([4.0, 2.0, 1.0, 1.0, 0.0, -3.0])
    nothing = torch.zeros(len(score), dtype=torch.long)
    rng = np.random.default_rng(0)
    context = GrowthContext("w", nothing, nothing, nothing, rng, lambda: score)
    draws = 20_000
    order = torch.stack(
        [softened(score, 1.0, context).argsort(descending=True) for _ in range(draws)]
    )
    first = torch.bincount(order[:, 0], minlength=6) / draws
    assert first.tolist() == pytest.approx([0.5, 0.25, 0.125, 0.125, 0, 0], abs=0.015)
    assert set(order[:, 4:].flatten().tolist()) == {4, 5}
    colder = torch.stack([softened(score, 0.5, context).argmax() for _ in range(draws)])
    assert (colder == 0).double().mean() == pytest.approx(16 / 22, abs=0.015)
    assert softened(score, 0.0, context) is score


def test_growth_over_all_places_finds_the_best_one():
    """One weak synapse: it becomes the steepest of all legal ones in its block."""
    seen = []

    class Look(GradientGrowth):
        def interest(self, context):
            if len(context):
                seen.append((context.source, context.target, context.polarity, context.slopes()))
            return super().interest(context)

    model, optimizer, rewirer = make(growth=Look(candidates=None), threshold=1e-3)
    with torch.no_grad():
        for synapses in model.cell.synapse_sets().values():
            synapses.weight.fill_(1.0)
        model.cell.recurrent.weight[0] = -20.0
    before = model.wiring
    train(model, optimizer, rewirer, 2)
    (edit,) = [e for e in rewirer.ledger if e.outcome == REWIRED]
    source, target, polarity, slopes = seen[0]
    places = set(zip(source.tolist(), target.tolist(), strict=True))
    assert len(slopes) == 2 * len(places)
    best = int(slopes.argmin())
    grown = int(source[best]), int(target[best]), int(polarity[best])
    assert (edit.grown_source, edit.grown, edit.polarity) == grown
    there = {(j, i) for j, i, _ in before.recurrent}
    layer = before.layer_of
    legal = {
        (j, i)
        for j in range(before.units)
        for i in range(before.units)
        if layer[j] == layer[edit.source] and layer[i] == layer[edit.cut] and i != j
    }
    assert places == legal - there


def test_hebbian_growth_is_what_current_would_do():
    """The interest is minus the slope of the loss when a synapse drives current without damping.

    A pair of synapses of one gate and opposite potentials: their slopes differ by that alone.
    """
    model = elegans.LTC(3, AutoNCP(12, 2), dtype=torch.float64)
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    synapses = model.cell.recurrent
    pairs = [(3, 0), (5, 1), (7, 4)]
    source, target = (
        torch.tensor(end).repeat_interleave(2).int() for end in zip(*pairs, strict=True)
    )
    polarity = torch.tensor([1, -1] * len(pairs), dtype=torch.int8)
    gates = {
        "gain": torch.full((6,), 4.0, dtype=torch.float64),
        "centre": torch.full((6,), 0.4, dtype=torch.float64),
    }

    def loss(strength):
        fresh = FreshSynapses(source, target, polarity, strength, gates)
        with synapses.with_candidates(fresh):
            return model(x)[0].square().mean()

    zero = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(loss(zero), zero)
    rng = np.random.default_rng(0)
    context = GrowthContext("w", source, target, polarity, rng, lambda: slopes)
    interest = HebbianGrowth(candidates=None).interest(context)
    for k in range(3):
        step = torch.zeros(6, dtype=torch.float64)
        step[2 * k], step[2 * k + 1] = 1e-4, 0.0
        up = loss(step)
        step[2 * k], step[2 * k + 1] = 0.0, 1e-4
        down = loss(step)
        expected = float((down - up).detach()) / 2e-4
        assert float(interest[2 * k]) == pytest.approx(expected, rel=1e-3, abs=1e-9)
        assert float(interest[2 * k + 1]) == -float(interest[2 * k])


def test_both_polarities_of_a_place_have_one_gate():
    seen = []

    class Look(GradientGrowth):
        def interest(self, context):
            seen.append((context.source, context.target, context.polarity))
            return super().interest(context)

    model, optimizer, rewirer = make(growth=Look(candidates=4))
    gates = []
    original = model.cell.recurrent.with_candidates

    def noted(candidates):
        gates.append(candidates.values)
        return original(candidates)

    model.cell.recurrent.with_candidates = noted
    train(model, optimizer, rewirer, 2)
    for source, target, polarity in seen:
        assert polarity.tolist() == [1, -1] * (len(polarity) // 2)
        assert torch.equal(source[::2], source[1::2])
        assert torch.equal(target[::2], target[1::2])
    for values in gates:
        for value in values.values():
            assert torch.equal(value[::2], value[1::2])
            assert len(value[::2].unique()) == len(value) // 2


def test_strong_blocks_grow():
    """Where one block is three times as strong as the other, it gets three of four synapses."""
    wiring = Layered(
        {"inter": 30, "motor": 30},
        {("sensory", "inter"): 0.5, ("inter", "inter"): 0.1, ("inter", "motor"): 0.1},
    )
    torch.manual_seed(0)
    model = elegans.LTC(3, wiring)
    part = next(part for part in Pruner(model).parts if part.kind == "recurrent")
    blocks = part.block_of()
    inner = blocks == blocks[model.cell.recurrent.target >= 30][0]
    with torch.no_grad():
        model.cell.recurrent.set_strength(torch.where(inner, 0.9, 0.3))
    source = torch.arange(30, 60).repeat(2 * 30)
    target = torch.arange(60).repeat_interleave(30)
    rng = np.random.default_rng(0)
    first = []
    for _ in range(4000):
        context = GrowthContext(
            part.name, source, target, torch.ones_like(source), rng, lambda: source, part,
            part.blocks_between(source, target),
        )  # fmt: skip
        first.append(int(target[StrengthGrowth().interest(context).argmax()]) >= 30)
    assert np.mean(first) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("kind", LAYERS)
def test_strengths_are_set_where_synapses_are_open(kind):
    _, _, rewirer = make(kind)
    for part in rewirer.parts:
        mask = torch.ones_like(part.mask)
        mask[0] = False
        part.synapses.set_mask(mask)
        before = {k: v.detach().clone() for k, v in part.synapses.named_parameters()}
        polarity = part.synapses.current_polarity().clone()
        wanted = torch.linspace(0.1, 2.0, part.size)
        part.synapses.set_strength(wanted)
        assert torch.allclose(part.weights()[1:], wanted[1:], rtol=1e-5)
        assert torch.equal(part.synapses.current_polarity(), polarity)
        for name, value in part.synapses.named_parameters():
            assert torch.equal(value[..., 0], before[name][..., 0])


@pytest.mark.parametrize("kind", LAYERS)
def test_a_walk_has_its_drift_and_noise_and_stops_at_the_floor(kind):
    _, optimizer, rewirer = make(kind, wiring=Random(60, 2, sparsity_level=0.5))
    walk = RandomWalk(l1=2.0, temperature=0.005, floor=0.01)
    parts = rewirer.parts
    for part in parts:
        part.synapses.set_strength(torch.full((part.size,), 0.5))
    walk.take(parts, optimizer, np.random.default_rng(0), {})
    strength = torch.cat([part.weights() for part in parts])
    assert float(strength.mean()) == pytest.approx(0.5 - 0.01 * 2.0, abs=1e-3)
    assert float(strength.std()) == pytest.approx(np.sqrt(2 * 0.01 * 0.005), rel=0.1)
    for _ in range(60):
        walk.take(parts, optimizer, np.random.default_rng(1), {})
    assert float(torch.cat([part.weights() for part in parts]).min()) == pytest.approx(
        0.005, rel=1e-4
    )


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("weight", [0.3, "initial", "median"])
def test_fresh_strengths(kind, weight):
    model, _, rewirer = make(kind, weight=weight, every=1)
    part = rewirer.parts[0]
    median = float(part.weights().median())
    rewirer.step()
    grown = [p.weights()[rewirer._births.ages(p, 1) == 0] for p in rewirer.parts]
    assert len(grown[0])
    if weight == 0.3:
        assert torch.cat(grown).tolist() == pytest.approx([0.3] * len(torch.cat(grown)), rel=1e-5)
    elif weight == "median":
        assert grown[0].tolist() == pytest.approx([median] * len(grown[0]), rel=1e-5)
    else:
        strengths = torch.cat(grown)
        assert 0 < strengths.min() < strengths.max() < 3
        assert len(strengths.unique()) == len(strengths)
    assert model.synapse_count == len(model.wiring.recurrent)


def test_a_median_of_nothing_is_not_the_strength_of_what_grows():
    model, _, rewirer = make("clipped", weight="median", threshold=Absolute(1e-9), every=1)
    with torch.no_grad():
        for synapses in model.cell.synapse_sets().values():
            synapses.weight[: len(synapses) * 2 // 3] = 0.0
    assert rewirer.step()
    for part in rewirer.parts:
        assert (part.weights()[rewirer._births.ages(part, 1) == 0] > 0.1).all()


# --- criteria ----------------------------------------------------------------------------


def scores_of(model, criterion, loss=None):
    pruner = Pruner(model, criterion=criterion)
    return dict(zip(("recurrent", "sensory"), pruner._scores(loss), strict=True))


def test_reversal_weight_is_the_product():
    model, _, _ = make()
    for name, score in scores_of(model, ReversalWeight()).items():
        values = model.cell.synapse_sets()[name].values()
        assert torch.allclose(score, (values.weight * values.erev.abs()).detach())


@pytest.mark.parametrize("path", ["fused", "reference"])
@pytest.mark.parametrize("statistic", ["mean", "std"])
def test_open_conductance_is_that_of_the_data(path, statistic):
    model, _, _ = make()
    x = torch.randn(5, 7, 3)
    with elegans.backend(path):
        scores = scores_of(model, OpenConductance(statistic), lambda: model(x)[0].square().mean())
    states = model(x, return_states=True)[2]
    sources = {"recurrent": states, "sensory": model.cell.input_mapping(x)}
    for name, score in scores.items():
        synapses = model.cell.synapse_sets()[name]
        for k in range(0, len(synapses), 5):
            w, s, m, e = (float(v[k].detach()) for v in synapses.values()[2:])
            potential = sources[name][..., int(synapses.source[k])].detach().double().numpy()
            opened = w / (1 + np.exp(-s * (potential - m)))
            assert float(score[k]) == pytest.approx(
                abs(e) * getattr(opened, statistic)(), rel=1e-4, abs=1e-6
            )
    assert "run" not in vars(model.cell)


def test_open_conductance_with_a_memory_cell():
    """Steps are taken one by one there; the states are those that synapses read."""
    torch.manual_seed(0)
    model = elegans.LTC(3, AutoNCP(16, 2), mixed_memory=True)
    x = torch.randn(5, 7, 3)
    scores = scores_of(model.cell, OpenConductance(), lambda: model(x)[0].square().mean())
    states = model(x, return_states=True)[2].flatten(0, 1)
    for name, potentials in (
        ("recurrent", states),
        ("sensory", model.cell.input_mapping(x).flatten(0, 1)),
    ):
        synapses = model.cell.synapse_sets()[name]
        opened = synapses.open_conductance(potentials).mean(0) * synapses.values().erev.abs()
        assert torch.allclose(scores[name].float(), opened.detach(), rtol=1e-4)
    assert not {"run", "sense", "step_of"} & set(vars(model.cell))


def test_open_conductance_leaves_the_cell_as_it_is_when_the_loss_fails():
    model, _, _ = make()

    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Pruner(model, criterion=OpenConductance()).prune(0.5, fails)
    assert "run" not in vars(model.cell)


@pytest.mark.parametrize("kind", ["liquid", "signed"])
def test_output_sensitivity_is_a_norm_of_the_jacobian(kind):
    """Over all signs the mean square is the sum of squares of the columns w dy/dw."""
    model, _, _ = make(kind, wiring=AutoNCP(8, 1))
    x = torch.randn(1, 3, 3)
    score = (
        torch.stack(
            [
                torch.cat(
                    list(
                        scores_of(model, OutputSensitivity(64), lambda: model(x)[0].sum()).values()
                    )
                )
                for _ in range(4)
            ]
        )
        .square()
        .mean(0)
        .sqrt()
    )
    expected = []
    for synapses in (model.cell.recurrent, model.cell.sensory):
        total = torch.zeros(len(synapses))
        for output in model(x)[0].flatten():
            (gradient,) = torch.autograd.grad(output, synapses.weight, retain_graph=True)
            total += (synapses.strength() * synapses.slope_of(synapses.weight, gradient)).square()
        expected.append(total.sqrt())
    # Three outputs: the cross terms of 256 random signs average out to some per cent.
    assert torch.allclose(score.float(), torch.cat(expected).detach(), rtol=0.35, atol=1e-6)
    exact = OutputSensitivity(1)
    one = scores_of(model, exact, lambda: model(x[:, :1])[0].sum())
    (single,) = model(x[:, :1])[0].flatten()
    (gradient,) = torch.autograd.grad(single, model.cell.recurrent.weight)
    synapses = model.cell.recurrent
    column = (synapses.strength() * synapses.slope_of(synapses.weight, gradient)).abs()
    assert torch.allclose(one["recurrent"].float(), column.detach(), rtol=1e-4, atol=1e-8)


def test_output_sensitivity_needs_the_outputs():
    model, _, _ = make()
    with pytest.raises(PruningError, match="the closure does not call LTC"):
        Pruner(model, criterion=OutputSensitivity()).prune(0.5, lambda: torch.zeros(()))
    with pytest.raises(PruningError, match="output sensitivity needs data"):
        Pruner(model, criterion=OutputSensitivity()).prune(0.5)


def test_a_saliency_is_smoothed():
    """The mean follows its recursion; what has grown begins with the median."""
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = Pruner(model, optimizer, criterion=SmoothedSaliency(0.75))
    expected = None
    for seed in range(4):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        now = (model.weight * model.weight.grad).abs().detach()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
        optimizer.step()
    (score,) = pruner._scores(None)
    assert torch.allclose(score, expected, rtol=1e-5)
    changed = torch.zeros(2, 3, dtype=torch.bool)
    changed[0, 0] = True
    pruner.criterion.forget(pruner.parts[0], changed)
    (after,) = pruner._scores(None)
    assert float(after[0, 0]) == pytest.approx(float(expected[~changed].median()))
    assert torch.equal(after[~changed], score[~changed])


# --- age and turnover ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS)
def test_turnover_tells_the_same_story_as_the_ledger(kind):
    model, optimizer, rewirer = make(kind)
    train(model, optimizer, rewirer, 20)
    moved = [edit for edit in rewirer.ledger if edit.outcome == REWIRED]
    born = {}
    for edit in moved:
        key = edit.synapses, edit.source, edit.cut
        step = born.pop(key, None)
        assert edit.age == (None if step is None else edit.step - step)
        born[edit.synapses, edit.grown_source, edit.grown] = edit.step
    turnover = rewirer.turnover()
    ages = [edit.age for edit in moved if edit.age is not None]
    assert turnover.cut == len(moved) == rewirer.counts[REWIRED]
    assert turnover.cut_grown == len(ages) > 0
    assert sum(turnover.ages.values()) == len(ages)
    assert turnover.median_age == np.median(ages)
    assert turnover.churn == len(ages) / len(moved)
    assert turnover.present_grown == len(born)
    assert turnover.present == rewirer.budget


def test_turnover_counts_the_entries_of_matrices_too():
    model = torch.nn.Linear(20, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = Pruner(
        model, optimizer, 0.5, growth="random", drop_fraction=CosineFraction(0.4, 100), every=1
    )
    for _ in range(5):
        pruner.step()
    turnover = pruner.turnover()
    assert turnover.cut == pruner.cut == 100 + pruner.counts[REWIRED]
    assert turnover.churn > 0.3  # they come at zero, and are the weakest
    assert turnover.present == 100
    assert turnover.present_grown <= 100


@pytest.mark.parametrize("threshold", [CosineFraction(0.5, 1000), Relative(0.9)], ids=str)
@pytest.mark.parametrize("grace", [0, 3, 8])
def test_newborns_are_spared(grace, threshold):
    model, optimizer, rewirer = make(grace=grace, threshold=threshold)
    train(model, optimizer, rewirer, 20)
    youngest = min(rewirer.turnover().ages)
    assert youngest == max(2, 2 * -(-grace // 2))  # rounds are every two steps


def test_newborns_that_are_spared_make_nobody_weak():
    """Weak is what lies below a share of the median of those that may go."""
    seen = []

    class Look:
        def weak(self, weight, step):
            seen.append(weight)
            return weight < 0.2 * np.median(weight) if len(weight) else weight < 0

    _, _, rewirer = make(grace=100, threshold=Relative(1.0), every=1)
    young = len(rewirer.step())
    object.__setattr__(rewirer.settings, "drop_fraction", Look())
    rewirer.step()
    (judged,) = seen
    assert np.isfinite(judged).all()
    assert len(judged) == rewirer.budget - young


def test_without_growth_nothing_is_young():
    pruner = Pruner(torch.nn.Linear(4, 4))
    pruner.prune(0.5)
    turnover = pruner.turnover()
    assert (turnover.cut, turnover.cut_grown, turnover.churn) == (8, 0, 0.0)
    assert np.isnan(turnover.median_age)


# --- rules by name ------------------------------------------------------------------------


def ruled(rule, kind="liquid", steps=30, seed=0):
    torch.manual_seed(seed)
    model = LAYERS[kind](Random(12, 2, sparsity_level=0.4, random_seed=seed))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    synapses = 60 if "schedule" in RULES[rule](Training(steps, 0.5)) else None
    return model, optimizer, PruneRewire.from_rule(rule, model, optimizer, steps, synapses)


def straight_and_resumed(make, train):
    """Return what 30 steps make, and 13 steps that are saved and continued; weights are equal."""
    straight, first, second = make(), make(), make()
    train(*straight, 30)
    train(*first, 13)
    saved = copy.deepcopy([part.state_dict() for part in first])
    saved[2] = json.loads(json.dumps(saved[2]))
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    train(*second, 17, start=13)
    for name, value in straight[0].state_dict().items():
        assert torch.equal(value, second[0].state_dict()[name]), name
    return straight, second


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_resumes_and_keeps_its_budget(rule):
    before = ruled(rule)[2].budget
    straight, second = straight_and_resumed(lambda: ruled(rule), train)
    assert straight[2].ledger == second[2].ledger
    assert straight[2].turnover() == second[2].turnover()
    after = straight[0].synapse_count + straight[0].sensory_synapse_count
    assert straight[2].budget == after
    assert after == (60 if straight[2].schedule is not None else before)
    if rule != "published":  # its threshold is below all conductances of so short a training
        assert straight[2].turnover().cut


@pytest.mark.parametrize("kind", ["signed", "wired"])
@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.startswith("active")])
def test_rules_serve_other_circuits(rule, kind):
    parts = ruled(rule, kind)
    before = parts[2].budget
    train(*parts, 30)
    after = parts[0].synapse_count + parts[0].sensory_synapse_count
    assert after == (60 if parts[2].schedule is not None else before)
    if rule not in ("published", "deep_r"):
        assert parts[2].turnover().cut


def ruled_matrices(rule, steps=30):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    Pruner(model, optimizer).prune(0.5)
    synapses = 32 if "schedule" in RULES[rule](Training(steps, 0.5)) else None
    return model, optimizer, PruneRewire.from_rule(rule, model, optimizer, steps, synapses)


def train_matrices(model, optimizer, rewirer, steps, start=0):
    for step in range(start, start + steps):
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))

        def loss(x=x):
            return (model(x) - x[:, :2].square()).square().mean()

        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        before = rewirer.budget
        rewirer.step(loss)
        assert rewirer.budget == before or rewirer.schedule is not None
        for part in rewirer.parts:
            assert (part.weights()[~part.mask] == 0).all()
            assert bool(part.mask.any())


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.startswith("active")])
def test_every_rule_trains_matrices_resumes_and_keeps_its_budget(rule):
    straight, second = straight_and_resumed(lambda: ruled_matrices(rule), train_matrices)
    for name, mask in straight[2].masks().items():
        assert torch.equal(mask, second[2].masks()[name])
    assert straight[2].ledger == second[2].ledger
    assert straight[2].exploration_rate() == second[2].exploration_rate()
    assert straight[2].budget == (32 if straight[2].schedule is not None else 48)
    if rule != "published":  # no weight of so short a training is below its threshold
        assert straight[2].turnover().cut


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "synaptic_flow"])
def test_every_criterion_resumes_exactly(criterion):
    options = {"criterion": criterion, "threshold": CosineFraction(0.4, 100)}
    straight = make(**options)
    train(*straight, 10)
    first = make(**options)
    train(*first, 5)
    saved = copy.deepcopy([part.state_dict() for part in first])
    saved[2] = json.loads(json.dumps(saved[2]))
    second = make(**options)
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    train(*second, 5, start=5)
    assert straight[2].ledger == second[2].ledger
    assert straight[2].cut == second[2].cut
    assert straight[2].exploration_rate() == second[2].exploration_rate()
    for name, value in straight[0].state_dict().items():
        assert torch.equal(value, second[0].state_dict()[name]), name


def test_a_state_of_a_larger_circuit_or_other_criterion_is_refused():
    larger = make(wiring=AutoNCP(40, 2), threshold=Relative(1.0), every=1)[2]
    larger.step()
    with pytest.raises(PruningError, match="not a state of PruneRewire"):
        make(threshold=Relative(1.0), every=1)[2].load_state_dict(larger.state_dict())
    mean, variation = (make(criterion=OpenConductance(s))[2] for s in ("mean", "std"))
    with pytest.raises(PruningError, match=r"'mean'.*'std'"):
        variation.load_state_dict(mean.state_dict())


def test_resuming_with_another_rule_names_both():
    first, second = ruled("free"), ruled("chts")
    with pytest.raises(PruningError, match=r"saved, here.*RandomGrowth.*LinkPrediction"):
        second[2].load_state_dict(first[2].state_dict())


WRONG = {
    "an unknown rule": ({"rule": "best"}, r"unknown rule 'best', expected one of \('published', "),
    "a rule that keeps the number": ({"synapses": 60}, "'free' keeps the number of synapses"),
    "thinning without an end": ({"rule": "gradual"}, "'gradual' thins a circuit, got no final"),
    "more than there are": ({"rule": "development", "synapses": 10**6}, "expected from 1 to the"),
    "none": ({"rule": "development", "synapses": 0}, "got synapses=0 in the end"),
    "fewer than connect": ({"rule": "development", "synapses": 3}, "keep every neuron connected"),
    "no steps": ({"steps": 0}, "steps must be an integer of at least 1"),
    "an unknown strength": ({"weight": "large"}, "unknown weight 'large' of a fresh synapse"),
    "sources kept, blocks free": (
        {"keep_sources": True, "keep_blocks": False},
        "pass keep_sources=False as well",
    ),
    "a limit of none": ({"max_inputs": 0}, "max_inputs must be an integer of at least 1"),
    "a grace of less than none": ({"grace": -1}, "grace must be a number of optimiser steps"),
    "an unknown growth": ({"growth": "soft"}, "unknown growth 'soft'"),
    "no number of synapses": ({"rule": "development", "synapses": "60"}, "got synapses='60'"),
    "a walk that moves nothing": (
        {"threshold": 1e-4, "weight": 0.1, "walk": RandomWalk()},
        r"got the threshold 0.0001 with a walk that stops at 0.0005",
    ),
    "a late end that cannot be connected": (
        {"schedule": AtFractions((0.5, 0.99), (0.3, 0.6), 30)},
        "keep every neuron connected",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rules_are_refused_before_training(case):
    options, message = WRONG[case]
    torch.manual_seed(0)
    model = elegans.LTC(3, Random(12, 2, sparsity_level=0.4))
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with pytest.raises(PruningError, match=message):
        PruneRewire.from_rule(**({"rule": "free", "model": model, "optimizer": optimizer,
                                  "steps": 30} | options))  # fmt: skip
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GradientGrowth(temperature=-1), "temperature must be a number >= 0"),
        (lambda: LinkPrediction(float("nan")), "temperature must be a number >= 0"),
        (lambda: GradientGrowth(candidates=0), "or None for all"),
        (lambda: OpenConductance("median"), "unknown statistic 'median'"),
        (lambda: SmoothedSaliency(1.0), r"share in \[0, 1\)"),
        (lambda: OutputSensitivity(0), "probes must be an integer of at least 1"),
        (lambda: RandomWalk(l1=-1), "l1 must be a finite number of at least 0"),
        (lambda: RandomWalk(floor=0), "floor must be a finite number above 0"),
        (lambda: StrengthGrowth(0), "or None for all"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(PruningError, match=message):
        build()


@pytest.mark.parametrize("rule", ["rigl", "soft_rigl", "active_development"])
def test_rules_that_need_the_loss_say_so(rule):
    model, optimizer, rewirer = ruled(rule)
    model(torch.randn(2, 3, 3))[0].sum().backward()
    optimizer.step()
    before = model.wiring

    def steps():
        for _ in range(30):
            rewirer.step()

    with pytest.raises(PruningError, match=r"call step\(lambda: loss of the batch\)"):
        steps()
    assert model.wiring == before


def test_a_schedule_and_an_exchange_on_one_step_cut_first():
    schedule = Cubic(0.5, end=8, begin=4, every=4)
    model, optimizer, rewirer = make(
        wiring=Random(12, 2, sparsity_level=0.4),
        schedule=schedule,
        threshold=CosineFraction(0.3, 1000),
        every=4,
    )
    full = rewirer.budget
    train(model, optimizer, rewirer, 8)
    assert rewirer.budget == full // 2
    outcomes = [edit.outcome for edit in rewirer.ledger if edit.step == 8]
    pruned = outcomes.count(PRUNED)
    assert pruned
    assert REWIRED in outcomes
    assert set(outcomes[:pruned]) == {PRUNED}


def test_the_length_of_a_training_is_enough_and_means_the_rule_free():
    model = elegans.LTC(3, AutoNCP(16, 2))
    optimizer = torch.optim.Adam(model.parameters())
    rule = PruneRewire.from_rule("free", model, optimizer, steps=600)
    assert PruneRewire(model, optimizer, steps=600).settings == rule.settings
    other = PruneRewire(model, optimizer, Relative(0.4), steps=600, until=500).settings
    assert (other.drop_fraction, other.every, other.until) == (Relative(0.4), 10, 500)
    later = PruneRewire(model, optimizer, steps=600, until=590).settings
    assert later.drop_fraction == CosineFraction(0.3, 590)
    rare = PruneRewire(model, optimizer, steps=60, every=50).settings
    assert (rare.drop_fraction, rare.every, rare.until) == (CosineFraction(0.3, 50), 50, 50)
    ruled = PruneRewire.from_rule("rigl", model, optimizer, steps=600, until=100).settings
    assert ruled.drop_fraction == CosineFraction(0.3, 100)


def test_newborns_of_median_strength_below_the_threshold_are_refused():
    model = elegans.LTC(3, AutoNCP(16, 2))
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(PruningError, match=r"would be weak at once, below the threshold 5.0"):
        PruneRewire(model, optimizer, threshold=5.0)


@pytest.mark.parametrize("name", ["steps", "every", "until"])
@pytest.mark.parametrize("value", ["5", 2.5, 0])
def test_steps_are_positive_integers(name, value):
    model = elegans.LTC(3, AutoNCP(16, 2))
    with pytest.raises(PruningError, match=f"{name} must be"):
        PruneRewire(model, torch.optim.Adam(model.parameters()), **({"steps": 60} | {name: value}))


def test_neither_a_length_nor_a_threshold_is_refused():
    model = elegans.LTC(3, AutoNCP(16, 2))
    with pytest.raises(PruningError, match="got neither steps nor a threshold"):
        PruneRewire(model, torch.optim.Adam(model.parameters()))
