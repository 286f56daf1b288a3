"""Moves between the recurrent and the sensory synapses of a circuit."""

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import PruningError
from elegans.pruning import CosineFraction, GradientGrowth, Pruner, PruneRewire, Relative
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, REWIRED
from elegans.reporting.stability.gathering import read_history
from elegans.wiring import Random

FREE = {"keep_blocks": False, "keep_sets": False, "every": 1}
KINDS = ("recurrent", "sensory")
LAYERS = {
    "liquid": lambda wiring: elegans.LTC(4, wiring),
    "signed": lambda wiring: elegans.CTRNN(4, wiring),
}


def make(kind="liquid", seed=0, thinned=0.5, threshold=None, sparsity=0.3, **options):
    """Return a circuit of which a half is gone, so that there are empty slots in both sets."""
    torch.manual_seed(seed)
    model = LAYERS[kind](Random(10, 2, sparsity_level=sparsity, random_seed=seed))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    if thinned:
        Pruner(model, optimizer, criterion="random", seed=seed).prune(thinned)
    threshold = threshold or CosineFraction(0.4, 1000)
    settings = FREE | {"seed": seed} | options
    return model, optimizer, PruneRewire(model, optimizer, threshold, **settings)


def loss_of(model, step=0):
    x = torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(step))
    return (model(x)[0] - x[..., :2].cumsum(1).tanh()).square().mean()


def train(model, optimizer, rewirer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        rewirer.step(lambda step=step: loss_of(model, step))


def weaken(model, kind, number, first=0):
    """Let some open synapses of a set be as good as absent, all others strong."""
    weak = model.cell.synapse_sets()[kind].open_slots().roll(-first)[:number]
    with torch.no_grad():
        for name in KINDS:
            synapses = model.cell.synapse_sets()[name]
            strength = torch.ones(len(synapses))
            if name == kind:
                strength[weak] = 1e-4
            synapses.set_strength(strength)


def free_pairs(wiring):
    """Count the pairs of each set that have no synapse, those of a neuron with itself left out."""
    units, inputs = wiring.units, wiring.input_size
    own = int((wiring.recurrent.source == wiring.recurrent.target).sum())
    recurrent = units * (units - 1) - (len(wiring.recurrent) - own)
    return {"recurrent": recurrent, "sensory": units * inputs - len(wiring.sensory)}


@pytest.mark.slow
@pytest.mark.parametrize("origin", KINDS)
def test_every_free_place_is_as_likely(origin):
    arrived, expected, total = 0, 0.0, 300
    for seed in range(total):
        model, _, rewirer = make(seed=seed, threshold=1e-3, weight=0.5)
        weaken(model, origin, 1, seed)
        free = free_pairs(model.wiring)
        edits = rewirer.step()
        if not edits:  # the last input of its target
            total -= 1
            continue
        (edit,) = edits
        arrived += (edit.grown_synapses or edit.synapses) == "cell.sensory"
        expected += free["sensory"] / sum(free.values())
    assert total > 100
    assert arrived == pytest.approx(expected, abs=3.3 * np.sqrt(total / 4))
    assert 0.2 < expected / total < 0.4


def test_the_steepest_place_of_both_sets_is_taken():
    seen = {}

    class Look(GradientGrowth):
        def interest(self, context):
            seen[context.name] = context
            return super().interest(context)

    crossed = set()
    for seed in range(12):
        model, _, rewirer = make(
            seed=seed, threshold=1e-3, weight=0.5, growth=Look(candidates=None)
        )
        weaken(model, "recurrent", 1, seed)
        edits = rewirer.step(lambda model=model: loss_of(model))
        if not edits:
            continue
        (edit,) = edits
        best = min(seen.values(), key=lambda context: float(context.slopes().min()))
        k = int(best.slopes().argmin())
        assert (edit.grown_synapses or edit.synapses) == best.name
        place = int(best.source[k]), int(best.target[k]), int(best.polarity[k])
        assert (edit.grown_source, edit.grown, edit.polarity) == place
        crossed.add(best.name)
    assert crossed == {"cell.recurrent", "cell.sensory"}


@pytest.mark.parametrize("growth", ["random", GradientGrowth()], ids=str)
def test_without_empty_slots_synapses_move_within_their_sets(growth):
    model, optimizer, rewirer = make(
        thinned=0, threshold=Relative(1.0), sparsity=0.6, growth=growth
    )
    before = {kind: len(getattr(model.wiring, kind)) for kind in KINDS}
    train(model, optimizer, rewirer, 4)
    assert rewirer.counts[REWIRED] > 20
    assert rewirer.counts[NO_FREE_TARGET] == 0
    assert all(edit.grown_synapses is None for edit in rewirer.ledger)
    assert {kind: len(getattr(model.wiring, kind)) for kind in KINDS} == before


def test_synapses_that_cannot_leave_their_set_find_its_places():
    """However many of the places that were drawn lie in the other set."""
    for seed in range(5):
        model, _, rewirer = make(seed=seed, thinned=0, threshold=1e-3, sparsity=0.6, weight=0.5)
        weaken(model, "sensory", 8)
        edits = rewirer.step()
        assert len(edits) + rewirer.counts[LAST_INPUT] == 8
        assert len(edits) >= 2


def test_the_last_empty_slot_is_used_once():
    model, _, rewirer = make(thinned=0, threshold=1e-3, weight=0.5)
    mask = torch.ones(len(model.cell.sensory), dtype=torch.bool)
    mask[3] = False
    model.cell.sensory.set_mask(mask)
    weaken(model, "recurrent", 30)
    edits = rewirer.step()
    crossing = [edit for edit in edits if edit.grown_synapses == "cell.sensory"]
    assert len(crossing) == 1
    assert len(edits) + rewirer.counts[LAST_INPUT] == 30
    assert bool(model.cell.sensory.mask.all())
    ends = int(model.cell.sensory.source[3]), int(model.cell.sensory.target[3])
    assert ends == (crossing[0].grown_source, crossing[0].grown)


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_remembered_of_both_slots_is_forgotten(kind):
    model, optimizer, rewirer = make(kind)
    budget = rewirer.budget
    train(model, optimizer, rewirer, 1)
    masks = {part.kind: part.mask.clone() for part in rewirer.parts}
    train(model, optimizer, rewirer, 1)
    assert rewirer.budget == budget
    changed = 0
    for part in rewirer.parts:
        slots = part.mask ^ masks[part.kind]
        changed += int(slots.sum())
        for _, parameter in part.named_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                assert not optimizer.state[parameter][moment][slots].any()
            assert not parameter.grad[slots].any()
    crossing = [e for e in rewirer.ledger if e.step == 2 and e.grown_synapses is not None]
    assert changed == 2 * len(crossing) > 0


@pytest.mark.parametrize("kind", LAYERS)
def test_the_ledger_tells_where_synapses_went(kind):
    model, optimizer, rewirer = make(kind)
    start = model.wiring
    there = {("cell." + k, j, i) for k in KINDS for j, i, _ in getattr(model.wiring, k)}
    born = {}
    train(model, optimizer, rewirer, 12)
    for edit in rewirer.ledger:
        if edit.outcome != REWIRED:
            continue
        old = edit.synapses, edit.source, edit.cut
        new = edit.grown_synapses or edit.synapses, edit.grown_source, edit.grown
        there.remove(old)
        assert edit.age == (edit.step - born.pop(old) if old in born else None)
        born[new] = edit.step
        assert new not in there
        there.add(new)
    assert there == {("cell." + k, j, i) for k in KINDS for j, i, _ in getattr(model.wiring, k)}
    turnover = rewirer.turnover()
    assert turnover.cut == rewirer.counts[REWIRED] > 50
    assert (turnover.present, turnover.present_grown) == (rewirer.budget, len(born))
    lines = read_history([edit.to_dict() for edit in rewirer.ledger], start).edits
    for line, edit in zip(lines, rewirer.ledger, strict=True):
        if edit.grown_synapses is not None:
            names = start.names if line.kind == "sensory" else start.sensory_names
            assert line.grown_source == names[edit.grown_source]


def test_the_blocks_of_a_wired_cfc_keep_their_synapses():
    torch.manual_seed(0)
    model = elegans.CfC(4, Random(10, 2, sparsity_level=0.5))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    Pruner(model, optimizer).prune(0.3)
    rewirer = PruneRewire(model, optimizer, Relative(0.8), **FREE)
    before = {part.name: int(part.mask.sum()) for part in rewirer.parts}
    assert rewirer.step()
    assert {part.name: int(part.mask.sum()) for part in rewirer.parts} == before


def test_sets_are_free_only_where_blocks_are():
    with pytest.raises(PruningError, match=r"keep_blocks=True, .*; pass keep_blocks=False"):
        make(keep_blocks=True)


def test_a_state_from_before_sets_could_be_left_is_loaded():
    model, optimizer, rewirer = make(keep_sets=True)
    train(model, optimizer, rewirer, 3)
    state = rewirer.state_dict()
    del state["settings"]["keep_sets"]
    rewirer.load_state_dict(state)
    other = make()[2]
    with pytest.raises(PruningError, match=r"'keep_sets': \(True, False\)"):
        other.load_state_dict(state)
