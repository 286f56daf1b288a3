"""Deep rewiring of matrices: fixed signs, a walk, and dormant entries that wake by chance."""

import copy
import json

import numpy as np
import pytest
import torch

from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning import Pruner, PruneRewire, RandomWalk
from elegans.pruning.ledger import REWIRED

FLOOR = 1e-9


def make(walk, rows=6, columns=8, sparsity=0.5, rate=0.05, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(columns, rows, bias=False, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    Pruner(model, optimizer, criterion="random").prune(sparsity)
    rewirer = PruneRewire(model, optimizer, walk.floor, every=1, walk=walk, **options)
    return model, optimizer, rewirer


def test_it_is_the_published_algorithm():
    """Strengths follow gradient, pull and noise; those below zero sleep, as many others wake."""
    walk = RandomWalk(l1=0.3, temperature=0.02, floor=FLOOR)
    model, optimizer, rewirer = make(walk)
    sign = rewirer._newborn["weight"].sign().numpy()
    start = model.weight.detach().numpy()
    assert (sign[start != 0] == np.sign(start[start != 0])).all()
    assert set(np.unique(sign[start == 0])) == {-1.0, 1.0}
    slept = 0
    for step in range(80):
        active = model.weight_mask.numpy().copy()
        strength = sign * model.weight.detach().numpy()
        assert (strength[active] > 0).all()
        assert (strength[~active] == 0).all()
        x = torch.randn(16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x[:, :6]).square().mean().backward()
        slope = sign * model.weight.grad.numpy()
        noise = copy.deepcopy(rewirer._rng).standard_normal(active.shape)
        expected = strength - 0.05 * slope - 0.05 * 0.3 + np.sqrt(2 * 0.05 * 0.02) * noise
        optimizer.step()
        edits = rewirer.step()
        after, now = sign * model.weight.detach().numpy(), model.weight_mask.numpy()
        sleeps = active & (expected < 0)
        assert np.array_equal(active & ~now, sleeps)
        assert after[active & now] == pytest.approx(expected[active & now])
        assert now.sum() == active.sum() == rewirer.budget == 24
        assert after[now & ~active] == pytest.approx(FLOOR)
        assert len(edits) == sleeps.sum()
        for edit in edits:
            assert sleeps[edit.cut, edit.source]
            assert edit.polarity == sign[edit.grown, edit.grown_source]
        slept += len(edits)
    assert slept > 40


def test_what_wakes_is_drawn_uniformly():
    walk = RandomWalk(l1=0.0, temperature=0.0, floor=FLOOR)
    drawn = np.zeros(8)
    for seed in range(1600):
        model, _, rewirer = make(walk, rows=1, columns=9, sparsity=8 / 9, seed=seed)
        dormant = (~model.weight_mask[0]).nonzero().squeeze(1).tolist()
        with torch.no_grad():
            model.weight.neg_()
        (edit,) = rewirer.step()
        drawn[dormant.index(edit.grown_source)] += 1
    assert ((drawn - 200) ** 2 / 200).sum() < 24.3  # chi-square with 7 degrees, p = 0.001


@pytest.mark.parametrize(("excitatory", "signs"), [(1.0, {1}), (0.0, {-1})])
def test_signs_of_absent_entries_are_drawn(excitatory, signs):
    walk = RandomWalk(floor=FLOOR)
    model, _, rewirer = make(walk, excitatory=excitatory)
    with torch.no_grad():
        model.weight.neg_()  # all of them sleep
    edits = rewirer.step()
    assert {edit.polarity for edit in edits} == signs
    assert len(edits) == rewirer.counts[REWIRED] == 24
    grown = model.weight[model.weight_mask]
    assert (grown == FLOOR * signs.copy().pop()).all()


def test_every_member_of_an_ensemble_walks_by_itself():
    torch.manual_seed(0)
    model = Ensemble.of(lambda seed: torch.nn.Linear(8, 6), range(3))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    Pruner(model, optimizer).prune(0.5)
    walk = RandomWalk(l1=0.5, temperature=0.02)
    rewirer = PruneRewire(model, optimizer, walk.floor, every=1, walk=walk)
    sign = rewirer._newborn[rewirer.parts[0].name].sign()
    x, y = torch.randn(16, 8), torch.randn(16, 6)
    for _ in range(20):
        optimizer.zero_grad()
        model.losses(x, y).sum().backward()
        optimizer.step()
        rewirer.step()
        (part,) = rewirer.parts
        assert part.mask.flatten(1).sum(1).tolist() == [24, 24, 24]
        assert (part.weights() * sign >= 0).all()
    assert rewirer.counts[REWIRED] > 20


def test_signs_go_with_the_state():
    """To a rewirer that was made for the trained weights, and would draw others."""
    walk = RandomWalk(l1=0.3, temperature=0.02, floor=FLOOR)
    model, optimizer, rewirer = make(walk, rate=0.1)
    for _ in range(20):
        model(torch.ones(1, 8, dtype=torch.float64)).sum().backward()
        optimizer.step()
        rewirer.step()
    other, again, _ = make(walk, rate=0.1)
    other.load_state_dict(model.state_dict())
    resumed = PruneRewire(other, again, walk.floor, every=1, walk=walk)
    assert not torch.equal(resumed._newborn["weight"], rewirer._newborn["weight"])
    resumed.load_state_dict(json.loads(json.dumps(rewirer.state_dict())))
    assert torch.equal(resumed._newborn["weight"], rewirer._newborn["weight"])
    assert torch.equal(other.weight_mask, model.weight_mask)


def test_a_state_without_signs_is_refused():
    _, _, rewirer = make(RandomWalk(floor=FLOOR))
    state = rewirer.state_dict() | {"newborn": {}}
    with pytest.raises(PruningError, match="not a state of PruneRewire"):
        rewirer.load_state_dict(state)
