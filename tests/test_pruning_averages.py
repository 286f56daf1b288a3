"""Averages over parameters of a circuit hold its synapses, and each synapse's own values."""

import copy
import pickle

import pruning_models
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    update_bn,
)

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import InputError, PruningError
from elegans.pruning import OneShot, Pruner, PruneRewire
from elegans.wiring import AutoNCP

KINDS = {
    "swa": ({}, lambda a, p, n: a + (p - a) / (n + 1)),
    "ema": ({"avg_fn": get_ema_avg_fn(0.9)}, lambda a, p, n: 0.9 * a + (1 - 0.9) * p),
    "ema of lists": (
        {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
        lambda a, p, n: torch.lerp(a, p, 1 - 0.9),
    ),
}


def readout():
    model, _ = pruning_models.liquid()
    model = elegans.Readout(model, 3)
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


def mixed_memory():
    torch.manual_seed(0)
    model = elegans.CfC(5, AutoNCP(20, 3, seed=1), mixed_memory=True)
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


def dense():
    torch.manual_seed(0)
    model = elegans.CfC(5, 12, proj_size=3)
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


MODELS = pruning_models.MODELS | {
    "readout": readout,
    "mixed_memory": mixed_memory,
    "dense": dense,
}
CIRCUITS = ["liquid", "signed", "wired", "readout", "mixed_memory"]
MATRICES = ["perceptron", "convolution", "memory", "dense", "ensemble"]


def rewirer_of(model, optimizer, **settings):
    settings = {"threshold": elegans.pruning.CosineFraction(0.3, 100), "every": 2} | settings
    return PruneRewire(model, optimizer, **settings)


class Training:
    """A model, its optimiser, and an average that is computed again, entry by entry."""

    def __init__(self, name, kind="swa", *, use_buffers=False):
        self.model, self.loss = MODELS[name]()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.options, self.mean = KINDS[kind]
        self.use_buffers = use_buffers
        self.count = 0
        self.expected = {}

    def averaged(self):
        self.average = AveragedModel(self.model, use_buffers=self.use_buffers, **self.options)
        self.expected = {n: p.detach().clone() for n, p in self.model.named_parameters()}

    def wiring(self):
        """Return where every entry leads, by the name of its parameter."""
        told = {}
        for path, module in self.model.named_modules():
            buffers = {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}
            for name, _ in module.named_parameters(recurse=False):
                key = f"{path}.{name}" if path else name
                if "source" in buffers:
                    columns = [buffers[c] for c in ("source", "target", "polarity", "mask")]
                    told[key] = torch.stack([column.long() for column in columns])
                elif name + "_mask" in buffers:
                    told[key] = buffers[name + "_mask"].long()[None]
        return told

    def edit(self, edit):
        before = self.wiring()
        result = edit()
        changed = 0
        with torch.no_grad():
            for name, after in self.wiring().items():
                differs = (before[name] != after).any(0)
                weight = name.endswith("weight")  # one of the values of a synapse
                changed += int(differs.sum()) if weight else 0
                parameter = self.model.get_parameter(name)
                self.expected[name][..., differs] = parameter[..., differs]
        return result, changed

    def step(self, pruner):
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()
        result, changed = self.edit(pruner.step)
        self.update()
        return result, changed

    @torch.no_grad()
    def update(self):
        self.average.update_parameters(self.model)
        for name, parameter in self.model.named_parameters():
            a = self.expected[name]
            a.copy_(self.mean(a, parameter, self.count) if self.count else parameter)
        self.count += 1

    def check(self):
        for name, parameter in self.average.module.named_parameters():
            torch.testing.assert_close(parameter.detach(), self.expected[name], rtol=0, atol=0)
        buffers = dict(self.model.named_buffers())
        for name, buffer in self.average.module.named_buffers():
            assert torch.equal(buffer, buffers[name]), name


@pytest.mark.parametrize("made", ["before", "after", "late"])
@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_average_of_a_new_synapse_begins_with_it(kind, use_buffers, made):
    training = Training("liquid", kind, use_buffers=use_buffers)
    if made == "before":
        training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer)
    if made == "late":
        rewirer.prune(0.1)
    if made != "before":
        training.averaged()
    rewirer.follow(training.average)
    moved = 0
    for _ in range(6):
        edits, changed = training.step(rewirer)
        assert changed == len(edits)
        moved += changed
    assert moved > 30
    training.check()
    for set_name in ("recurrent", "sensory"):
        theirs = getattr(training.average.module.cell, set_name)
        assert theirs.synapses() == getattr(training.model.cell, set_name).synapses()


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", CIRCUITS)
def test_every_kind_of_circuit(name, use_buffers):
    training = Training(name, "ema", use_buffers=use_buffers)
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer)
    rewirer.follow(training.average)
    assert sum(training.step(rewirer)[1] for _ in range(5)) > 10
    training.check()
    training.average(torch.randn(2, 3, 5))


def test_synapses_that_move_between_sets():
    training = Training("liquid")
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer, keep_blocks=False, keep_sets=False)
    rewirer.follow(training.average)
    training.edit(lambda: rewirer.prune(0.3))
    for _ in range(6):
        training.step(rewirer)
    assert any(edit.grown_synapses not in (None, edit.synapses) for edit in rewirer.ledger)
    training.check()


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["global", "unit"])
@pytest.mark.parametrize("name", [*MATRICES, "liquid", "liquid_ensemble"])
def test_what_is_pruned_is_missing_in_the_average(name, scope, kind, use_buffers):
    if name == "liquid_ensemble" and scope == "unit":
        pytest.skip("slots of members lead to different neurons")
    training = Training(name, kind, use_buffers=use_buffers)
    training.averaged()
    pruner = Pruner(training.model, training.optimizer, OneShot(0.5, at=3), scope=scope)
    pruner.follow(training.average)
    for _ in range(6):
        training.step(pruner)
    assert pruner.sparsity > 0.2
    training.check()
    for part in pruner.parts:
        if part.buffers != ("source", "target", "polarity", "mask"):
            assert not training.average.module.get_parameter(part.name)[~part.mask].any()


def test_weights_that_grow_in_matrices():
    training = Training("perceptron")
    training.averaged()
    pruner = Pruner(
        training.model,
        training.optimizer,
        growth="random",
        drop_fraction=elegans.pruning.CosineFraction(0.3, 100),
        every=2,
    )
    training.edit(lambda: pruner.prune(0.5))
    pruner.follow(training.average)  # later than the cut
    assert sum(training.step(pruner)[1] for _ in range(6)) > 10
    training.check()


def test_a_cut_of_every_synapse():
    training = Training("liquid")
    training.averaged()
    pruner = Pruner(training.model, allow_empty=True)
    pruner.follow(training.average)
    training.update()
    nothing = {name: torch.zeros_like(mask) for name, mask in pruner.masks().items()}
    training.edit(lambda: pruner.apply_masks(nothing))
    training.check()
    assert training.average.module.synapse_count == 0


def test_a_round_in_which_every_synapse_is_weak():
    training = Training("liquid", "ema")
    training.averaged()
    everything = elegans.pruning.CosineFraction(1.0, 10**6)
    rewirer = rewirer_of(training.model, training.optimizer, threshold=everything, every=5)
    rewirer.follow(training.average)
    for _ in range(4):
        training.step(rewirer)
    edits, changed = training.edit(rewirer.step)
    slots = sum(len(part.mask) for part in rewirer.parts)
    assert len(edits) == changed > slots / 2
    training.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_without_edits_it_is_the_plain_average(name, kind):
    model, _ = MODELS[name]()
    twin = copy.deepcopy(model)
    plain, followed = (AveragedModel(each, **KINDS[kind][0]) for each in (twin, model))
    for k in range(4):
        if k == 2:
            Pruner(model).follow(followed)
        plain.update_parameters(twin)
        followed.update_parameters(model)
        with torch.no_grad():
            for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
                mine.add_(torch.randn_like(mine), alpha=0.1)
                theirs.copy_(mine)
    state = followed.state_dict()
    assert list(state) == list(plain.state_dict())
    for path, value in plain.state_dict().items():
        assert torch.equal(value, state[path]), path


def test_statistics_are_averaged_and_their_count_is_copied():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    average = AveragedModel(model, use_buffers=True)
    Pruner(model).follow(average)
    means = []
    for _ in range(3):
        model(torch.randn(8, 3))
        means.append(model[1].running_mean.clone())
        average.update_parameters(model)
    mean = torch.stack(means).mean(0)
    torch.testing.assert_close(average.module[1].running_mean, mean)
    assert average.module[1].num_batches_tracked == 3
    update_bn([torch.randn(8, 3) for _ in range(2)], average)
    assert average.module[1].num_batches_tracked == 2


def test_nothing_averaged_yet():
    training = Training("liquid")
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer, every=1)
    rewirer.follow(training.average)
    training.loss().backward()
    training.optimizer.step()
    assert training.edit(rewirer.step)[1]
    training.check()
    training.update()
    training.check()
    assert training.average.n_averaged == 1


# --- an average that nobody lets follow ----------------------------------------------------


@pytest.mark.parametrize("name", CIRCUITS)
def test_values_that_belong_to_other_synapses_are_refused(name):
    training = Training(name)
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer, every=1)
    training.average.update_parameters(training.model)
    x = torch.randn(2, 3, 5)
    training.average(x)
    training.loss().backward()
    training.optimizer.step()
    assert rewirer.step()
    training.average(x)  # as it was before the edit
    training.average.update_parameters(training.model)
    with pytest.raises(InputError, match=r"other connections .* pruner.follow\(average\)"):
        training.average(x)
    with pytest.raises(InputError, match="other connections"):
        training.average.state_dict()
    with pytest.raises(InputError, match="other connections"):
        _ = (getattr(training.average.module, "layer", training.average.module)).wiring
    training.model(x)


def test_averaged_connections_are_refused():
    model, _ = MODELS["liquid"]()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(30):
        average.update_parameters(model)
    source, averaged = model.cell.recurrent.source, average.module.cell.recurrent.source
    assert not torch.equal(source, averaged)
    with pytest.raises(InputError, match="use_buffers=False"):
        average(torch.randn(2, 3, 5))


@pytest.mark.parametrize("layer", [elegans.LTC, elegans.CTRNN])
def test_averaged_connections_of_members_are_refused(layer):
    model = Ensemble.of(lambda seed: layer(5, AutoNCP(20, 3, seed=1)), range(2))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    x = torch.randn(2, 3, 5)
    average(x)
    for _ in range(30):
        average.update_parameters(model)
    with pytest.raises(InputError, match="other connections"):
        average(x)
    with pytest.raises(InputError, match="other connections"):
        average.module.member(0)
    with pytest.raises(InputError, match="other connections"):
        average.state_dict()
    average.load_state_dict(AveragedModel(model).state_dict())
    average(x)


def test_a_circuit_moves_is_copied_saved_and_called_with_other_states():
    model, _ = MODELS["liquid"]()
    other = copy.deepcopy(model)
    assert rewirer_of(other, torch.optim.SGD(other.parameters()), every=1).step()
    x = torch.randn(2, 3, 5)
    state = dict(other.named_parameters()) | {n: b.clone() for n, b in other.named_buffers()}
    assert torch.equal(torch.func.functional_call(model, state, (x,))[0], other(x)[0])
    for twin in (
        copy.deepcopy(model).double().float(),
        pickle.loads(pickle.dumps(model)),
        copy.copy(model),
    ):
        assert torch.equal(twin(x)[0], model(x)[0])
    meta = elegans.LTC(5, AutoNCP(20, 3, seed=1), device="meta")
    meta.load_state_dict(model.state_dict(), assign=True)
    assert meta.wiring == model.wiring
    empty = elegans.LTC(5, AutoNCP(20, 3, seed=1), device="meta").to_empty(device="cpu")
    empty.cell.reset_parameters()
    assert empty.wiring == model.wiring


# --- errors, and what travels --------------------------------------------------------------


def test_an_average_of_another_model_is_refused():
    model, _ = MODELS["liquid"]()
    pruner = Pruner(model)
    average = AveragedModel(elegans.Readout(copy.deepcopy(model), 3))
    with pytest.raises(PruningError, match=r"expected .* of the same module"):
        pruner.follow(average)
    pruner.prune(0.5)
    assert average.module.layer.cell.recurrent.mask.all()


def test_a_cut_that_is_undone_leaves_the_average():
    training = Training("liquid")
    training.averaged()
    rewirer = rewirer_of(
        training.model, training.optimizer, growth="gradient", schedule=OneShot(0.2, at=1), every=1
    )
    rewirer.follow(training.average)
    training.update()
    with pytest.raises(PruningError, match="needs the loss"):
        rewirer.step()
    training.check()


def test_edits_before_a_guard_raised_are_in_the_average():
    training = Training("liquid")
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer, every=1)
    rewirer.follow(training.average)
    training.update()
    seen = []

    def guard(proposal):
        seen.append(proposal)
        if len(seen) == 3:
            raise ValueError("enough")

    rewirer.add_guard(guard)

    def raising():
        with pytest.raises(ValueError, match="enough"):
            rewirer.step()

    assert training.edit(raising)[1] == 2
    training.check()


@pytest.mark.parametrize("use_buffers", [False, True])
def test_states_copies_and_pickles_of_an_average(use_buffers):
    training = Training("readout", use_buffers=use_buffers)
    training.averaged()
    rewirer = rewirer_of(training.model, training.optimizer)
    rewirer.follow(training.average)
    for _ in range(4):
        training.step(rewirer)
    x = torch.randn(2, 3, 5)
    expected = training.average(x)[0]
    fresh = AveragedModel(readout()[0], use_buffers=use_buffers)
    fresh.load_state_dict(training.average.state_dict())
    for twin in (
        fresh,
        copy.deepcopy(training.average),
        pickle.loads(pickle.dumps(training.average)),
    ):
        assert torch.equal(twin(x)[0], expected)
        assert twin.n_averaged == 4
    saved = copy.deepcopy((training.model.state_dict(), rewirer.state_dict()))
    again = Training("readout", use_buffers=use_buffers)
    again.averaged()
    resumed = rewirer_of(again.model, again.optimizer)
    resumed.follow(again.average)
    again.model.load_state_dict(saved[0])
    again.optimizer.load_state_dict(copy.deepcopy(training.optimizer.state_dict()))
    resumed.load_state_dict(saved[1])
    again.average.load_state_dict(training.average.state_dict())
    again.expected, again.count = copy.deepcopy(training.expected), training.count
    again.loss, training.loss = (
        lambda: again.model(x)[0].square().mean(),
        lambda: training.model(x)[0].square().mean(),
    )
    for run, pruner in ((training, rewirer), (again, resumed)):
        for _ in range(4):
            run.step(pruner)
        run.check()
    for mine, theirs in zip(
        training.average.state_dict().values(), again.average.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)
