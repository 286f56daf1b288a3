"""Sparse momentum: smoothed gradients of what is cut, shares of layers, and the steepest places."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import functional_call

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning import CosineFraction, MomentumGrowth, Pruner, PruneRewire
from elegans.pruning.ledger import REWIRED
from elegans.wiring import Layered, Random

SIZES = (7, 9, 6, 4)


def make(threshold=None, sparsity=0.6, **options):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(SIZES)]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    Pruner(model, optimizer, criterion="random").prune(sparsity)
    threshold = threshold or CosineFraction(0.4, 1000)
    settings = {"growth": MomentumGrowth(0.75), "keep_blocks": False, "every": 1}
    return model, optimizer, PruneRewire(model, optimizer, threshold, **(settings | options))


def loss_of(model, seed, parameters=None):
    x = torch.randn(8, SIZES[0], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = model(x) if parameters is None else functional_call(model, parameters, (x,))
    return (y - x[:, : SIZES[-1]].sin()).square().mean()


def dense_gradients(model, seeds):
    """Gradients of the summed losses at copies of the weights, which have no mask."""
    copies = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    total = sum(loss_of(model, seed, copies) for seed in seeds)
    return dict(zip(copies, torch.autograd.grad(total, list(copies.values())), strict=True))


@pytest.mark.parametrize("to_none", [True, False])
def test_the_gradients_of_absent_entries_are_smoothed(to_none):
    """Over accumulated batches, whatever becomes of gradients that no step has used."""
    model, optimizer, rewirer = make(every=3)
    means = {}
    for step in range(9):
        optimizer.zero_grad(set_to_none=to_none)
        loss_of(model, 100 + step).backward()  # thrown away
        optimizer.zero_grad(set_to_none=to_none)
        seeds = [step, 50 + step]
        for name, now in dense_gradients(model, seeds).items():
            means[name] = now if step == 0 else 0.75 * means[name] + 0.25 * now
        for seed in seeds:
            loss_of(model, seed).backward()
        for part in rewirer.parts:
            assert (part.parameter.grad[~part.mask] == 0).all()
        optimizer.step()
        for part in rewirer.parts:
            mean = rewirer._momentum.means[part.name]
            torch.testing.assert_close(mean, means[part.name])
            assert (mean[~part.mask] != 0).any()
        rewirer.step(lambda step=step: loss_of(model, step))
    assert rewirer.counts[REWIRED] > 10


def by_webster(number, shares, room):
    """Give places one by one to the layer of the largest share / (2 places + 1) with room left."""
    given = dict.fromkeys(shares, 0)
    for _ in range(number):
        open_ones = [name for name in shares if given[name] < room[name]]
        given[max(open_ones, key=lambda name: shares[name] / (2 * given[name] + 1))] += 1
    return given


@pytest.mark.parametrize("scale", [(1.0, 2.0, 3.0), (1.0, 0.05, 0.3), (0.0, 1.0, 100.0)])
def test_matrices_get_their_shares_of_the_places(scale):
    model, optimizer, rewirer = make()
    loss_of(model, 0).backward()
    optimizer.step()
    before = {part.name: part.mask.clone() for part in rewirer.parts}
    momentum = rewirer._momentum.means
    for part, factor in zip(rewirer.parts, scale, strict=True):
        drawn = torch.rand(part.mask.shape, dtype=torch.float64)
        momentum[part.name] = factor * torch.where(part.mask, 1.0, drawn)
    edits = rewirer.step()
    shares = dict(zip(before, scale, strict=True))
    room = {name: int((~mask).sum()) for name, mask in before.items()}
    expected = by_webster(len(edits), shares, room)
    assert len(edits) == sum(round(0.4 * int(mask.sum())) for mask in before.values())
    for part in rewirer.parts:
        grown = part.mask & ~before[part.name]
        assert int(grown.sum()) == expected[part.name]
        absent = momentum[part.name][~before[part.name]].abs().sort(descending=True).values
        chosen = momentum[part.name][grown].abs().sort(descending=True).values
        if scale[rewirer.parts.index(part)]:
            assert torch.equal(chosen, absent[: len(chosen)])
    assert rewirer.budget == sum(int(mask.sum()) for mask in before.values())
    moved = [edit for edit in edits if edit.grown_synapses is not None]
    assert moved
    assert all(edit.grown_synapses != edit.synapses for edit in moved)
    arrived = sum((edit.grown_synapses or edit.synapses) == "1.weight" for edit in edits)
    assert arrived == expected["1.weight"]


def test_smoothed_gradients_of_double_precision_survive_json():
    model, optimizer, rewirer = make()
    loss_of(model, 0).backward()
    optimizer.step()
    other = make()[2]
    other.load_state_dict(json.loads(json.dumps(rewirer.state_dict())))
    for name, mean in rewirer._momentum.means.items():
        assert torch.equal(other._momentum.means[name], mean)


class Everything:
    """Calls all weights weak."""

    def weak(self, weight, step):
        return np.ones(len(weight), dtype=bool)


def test_a_matrix_keeps_an_entry():
    model, optimizer, rewirer = make(Everything(), sparsity=0.75)
    loss_of(model, 0).backward()
    optimizer.step()
    for part in rewirer.parts:
        rewirer._momentum.means[part.name].fill_(float(part.name == "0.weight"))
    strongest = model[1].weight.abs().argmax()
    budget = rewirer.budget
    rewirer.step()
    assert int(model[1].weight_mask.sum()) == 1
    assert bool(model[1].weight_mask.flatten()[strongest])
    assert rewirer.budget == budget


def test_matrices_keep_their_numbers_where_blocks_do():
    model, optimizer, rewirer = make(keep_blocks=True)
    before = [int(part.mask.sum()) for part in rewirer.parts]
    for step in range(5):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        assert rewirer.step()
    assert [int(part.mask.sum()) for part in rewirer.parts] == before


def test_blocks_of_a_circuit_get_their_shares_and_the_steepest_places():
    wiring = Layered(
        {"inter": 12, "motor": 8},
        {("sensory", "inter"): 0.5, ("inter", "inter"): 0.3, ("inter", "motor"): 0.3},
    )
    torch.manual_seed(0)
    model = elegans.LTC(3, wiring)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    seen = {}

    class Look(MomentumGrowth):
        def interest(self, context):
            seen[context.name] = context
            return super().interest(context)

    rewirer = PruneRewire(
        model, optimizer, CosineFraction(0.3, 100), every=1, growth=Look(), keep_blocks=False
    )
    x = torch.randn(8, 5, 3)

    def loss():
        return (model(x)[0] - 0.3).square().mean()

    loss().backward()
    optimizer.step()
    part = next(part for part in rewirer.parts if part.kind == "recurrent")
    blocks = part.block_of()
    inner, outer = torch.unique(blocks).tolist()
    rewirer._momentum.means[part.name] = torch.where(blocks == inner, 1.0, -3.0)
    edits = [edit for edit in rewirer.step(loss) if edit.synapses == "cell.recurrent"]
    expected = by_webster(len(edits), {inner: 1, outer: 3}, {inner: 99, outer: 99})
    context = seen["cell.recurrent"]
    slopes = context.slopes()
    for block, number in expected.items():
        own = context.block == block
        places = context.source[own], context.target[own], context.polarity[own]
        steepest = slopes[own].argsort()[:number]
        best = set(zip(*(end[steepest].tolist() for end in places), strict=True))
        grown = [(edit.grown_source, edit.grown, edit.polarity) for edit in edits]
        assert len(best & set(grown)) == number > 2
    assert (rewirer._momentum.means[part.name] == 0).sum() == len(edits)


def test_an_error_leaves_the_smoothed_gradients_as_they_were():
    """A cut that is undone, since the exchange of the same step fails, has forgotten nothing."""
    torch.manual_seed(0)
    model = elegans.LTC(3, Random(12, 2, sparsity_level=0.4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    settings = {"growth": MomentumGrowth(), "keep_blocks": False, "schedule": 0.3, "every": 1}
    rewirer = PruneRewire(model, optimizer, CosineFraction(0.3, 100), **settings)
    model(torch.randn(4, 5, 3))[0].square().mean().backward()
    optimizer.step()
    before, full = rewirer._momentum.state_dict(), rewirer.budget
    with pytest.raises(PruningError, match="needs the loss"):
        rewirer.step()
    assert rewirer.budget == full
    for name, value in before.items():
        assert torch.equal(rewirer._momentum.means[name], value)
    rewirer.prune(0.3)
    means = rewirer._momentum.means
    assert any(not torch.equal(means[name], value) for name, value in before.items())


def ensemble():
    model = Ensemble.of(lambda seed: torch.nn.Linear(8, 6), range(3))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    Pruner(model, optimizer).prune(0.5)
    return PruneRewire(model, optimizer, steps=100, growth=MomentumGrowth())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MomentumGrowth(1.0), r"got decay=1.0, expected a share .* in \[0, 1\); 0.9 looks"),
        (lambda: MomentumGrowth(True), "got decay=True"),
        (lambda: MomentumGrowth(candidates=0), "or None for all"),
        (lambda: make()[2].step(), "has seen no optimiser step with a gradient of 0.weight"),
        (ensemble, r"stacked.*weight of 3 members of an ensemble, expected one network"),
        (
            lambda: Pruner(
                torch.nn.Linear(4, 4), growth=MomentumGrowth(), drop_fraction=CosineFraction(0.5, 9)
            ),
            r"MomentumGrowth\(decay=0.9, candidates=None\) and no optimizer, .*; pass optimizer=",
        ),
    ],
)
def test_wrong_uses_are_refused(build, message):
    with pytest.raises(PruningError, match=message):
        build()
