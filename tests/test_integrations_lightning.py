"""Lightning trains, accumulates, rewires, saves and continues as one would by hand."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
from torch.utils.data import DataLoader, TensorDataset

import elegans
from elegans.errors import InputError, PruningError
from elegans.integrations.lightning import LiquidModule, RewireCallback
from elegans.pruning import PruneRewire
from elegans.wiring import AutoNCP, Random


def data(count=64, timespans=False, batch_size=16):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 8, 3, generator=generator)
    parts = [x, x[..., :2].cumsum(1).tanh()]
    if timespans:
        parts.append(torch.rand(count, 8, generator=generator))
    return DataLoader(TensorDataset(*parts), batch_size=batch_size)


def layer(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return elegans.LTC(3, AutoNCP(14, 2, seed=seed), generator=generator, **options)


def trainer(*callbacks, **settings):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"max_epochs": 3, "enable_checkpointing": False, "accelerator": "cpu"} | settings
    return Trainer(callbacks=list(callbacks), **quiet, **settings)


def by_hand(model, epochs, every=1, rule=None, average=None):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = data()
    steps = epochs * len(loader) // every
    rewirer = rule and PruneRewire.from_rule(rule, model, optimizer, steps)
    if average:
        rewirer.follow(average)
    for _ in range(epochs):
        for k, (x, y) in enumerate(loader, 1):

            def closure(x=x, y=y):
                return nn.functional.mse_loss(model(x)[0], y)

            (closure() / every).backward()
            if k % every == 0:
                optimizer.step()
                optimizer.zero_grad()
                if rewirer:
                    rewirer.step(closure)
                if average:
                    average.update_parameters(model)
    return rewirer


def assert_equal(a, b):
    for (name, mine), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("rule", [None, "free", "rigl"])
def test_training_is_that_by_hand(rule, every):
    ours, theirs = layer(), layer()
    rewirer = by_hand(theirs, 4, every, rule)
    callback = RewireCallback(rule) if rule else None
    callbacks = [callback] if callback else []
    done = trainer(*callbacks, max_epochs=4, accumulate_grad_batches=every)
    done.fit(LiquidModule(ours), data(), data())
    assert done.global_step == 16 // every
    if rule:
        assert callback.rewirer.steps == rewirer.steps == 16 // every
        edits = [replace(e, synapses=f"model.{e.synapses}") for e in rewirer.ledger]
        assert callback.rewirer.ledger == edits
        assert callback.rewirer.counts["rewired"] > 0
    assert_equal(ours, theirs)


@pytest.mark.parametrize("use_buffers", [True, False])
@pytest.mark.parametrize(
    ("callback", "options"),
    [
        (WeightAveraging, {}),
        (partial(EMAWeightAveraging, decay=0.9), {"avg_fn": get_ema_avg_fn(0.9)}),
    ],
)
def test_an_average_is_that_by_hand(callback, options, use_buffers):
    ours, theirs = layer(), layer()
    average = AveragedModel(theirs, **options)
    rewirer = by_hand(theirs, 4, rule="free", average=average)
    assert rewirer.counts["rewired"] > 0
    callbacks = RewireCallback("free"), callback(use_buffers=use_buffers)
    trainer(*callbacks, max_epochs=4).fit(LiquidModule(ours), data(), data())
    assert_equal(ours, average.module)
    assert ours.wiring == theirs.wiring


@pytest.mark.filterwarnings("ignore:Swapping scheduler")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["mean", "moving", "stochastic"])
def test_averages_hold_the_circuit_of_the_training(name, first):
    average = {
        "mean": WeightAveraging,
        "moving": partial(EMAWeightAveraging, decay=0.9),
        "stochastic": partial(StochasticWeightAveraging, 1e-2, swa_epoch_start=1),
    }[name]()
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append(pl_module.model.wiring)

    rewire = RewireCallback("free")
    callbacks = (average, rewire) if first else (rewire, average)
    module = LiquidModule(layer())
    trainer(*callbacks, Look(), max_epochs=4).fit(module, data(), data())
    assert rewire.rewirer.counts["rewired"] > 0
    assert module.model.wiring == seen[-1] != seen[0]
    held = average._average_model
    held = getattr(held, "module", held)
    assert_equal(held.model, module.model)


def test_averages_of_a_circuit_that_stays():
    model = layer()
    wiring = model.wiring
    trainer(EMAWeightAveraging(decay=0.9), max_epochs=8).fit(LiquidModule(model), data(), data())
    assert model.wiring == wiring


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("average", [None, partial(EMAWeightAveraging, decay=0.9)])
@pytest.mark.parametrize("rule", ["free", "development"])
def test_a_training_that_is_continued_ends_as_one_that_was_not_interrupted(rule, average, tmp_path):
    synapses = 30 if rule == "development" else None
    whole = layer()

    def usual():
        return RewireCallback(rule, synapses), *([average()] if average else [])

    trainer(*usual(), max_epochs=6).fit(LiquidModule(whole), data(), data())

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 2

    def part(*callbacks):
        kept = ModelCheckpoint(tmp_path, save_last=True)
        callbacks = *usual(), kept, *callbacks
        return trainer(*callbacks, max_epochs=6, enable_checkpointing=True)

    part(Stop()).fit(LiquidModule(layer()), data(), data())
    again, done = LiquidModule(layer()), part()
    done.fit(again, data(), data(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert done.global_step == 24
    assert_equal(again.model, whole)


def test_times_validation_and_constraints():
    model = layer(implicit_param_constraints=False)
    module = LiquidModule(model, learning_rate=1.0)
    done = trainer(max_epochs=2)
    done.fit(module, data(timespans=True), data(24, timespans=True))
    weight = model.cell.recurrent.weight
    assert (weight >= 0).all()
    assert (weight == 0).any()
    module.eval()
    with torch.no_grad():
        losses = [(float(module.loss_of(batch)), len(batch[0])) for batch in data(24, True)]
    mean = sum(loss * count for loss, count in losses) / 24
    assert done.callback_metrics["val_loss"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("timespans", [False, True])
def test_tests_and_predictions(timespans):
    module, done = LiquidModule(layer()), trainer(max_epochs=1)
    loader = data(24, timespans)
    (tested,) = done.test(module, loader, verbose=False)
    module.eval()
    with torch.no_grad():
        losses = [(float(module.loss_of(batch)), len(batch[0])) for batch in loader]
        outputs = [module(batch[0], *batch[2:]) for batch in loader]
    mean = sum(loss * count for loss, count in losses) / 24
    assert tested["test_loss"] == pytest.approx(mean, rel=1e-5)
    predicted = done.predict(module, loader)
    assert all(map(torch.equal, predicted, outputs))
    alone = done.predict(module, DataLoader(torch.cat([batch[0] for batch in loader])))
    torch.testing.assert_close(alone[0], module(next(iter(loader))[0][:1]).detach())


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(precision):
    model = layer()
    loader = data()
    if precision == "64-true":
        tensors = [tensor.double() for tensor in loader.dataset.tensors]
        loader = DataLoader(TensorDataset(*tensors), batch_size=16)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trainer(max_epochs=1, precision=precision).fit(LiquidModule(model), loader, loader)
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert all(changed)


def test_a_module_of_ones_own():
    class Own(LightningModule):
        def __init__(self):
            super().__init__()
            self.first = elegans.CTRNN(3, Random(10, sparsity_level=0.6))
            self.head = nn.Linear(10, 2)

        def training_step(self, batch, index):
            return nn.functional.mse_loss(self.head(self.first(batch[0])[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    callback = RewireCallback("free")
    trainer(callback).fit(Own(), data())
    assert callback.rewirer.counts["rewired"] > 0
    with pytest.raises(PruningError, match=r"needs.*loss"):
        trainer(RewireCallback("rigl")).fit(Own(), data())


@pytest.mark.parametrize("batch", [torch.zeros(2, 3, 3), [torch.zeros(2, 3, 3)], {"x": 1}])
def test_other_batches(batch):
    with pytest.raises(InputError, match=r"expected \(x, y\) or \(x, y, timespans\)"):
        LiquidModule(layer()).loss_of(batch)


def test_no_layer():
    with pytest.raises(InputError, match=r"got Linear, expected a layer such as elegans\.LTC"):
        LiquidModule(nn.Linear(2, 3))


def test_a_training_without_an_end():
    with pytest.raises(InputError, match=r"got a training without an end.*max_epochs="):
        trainer(RewireCallback(), max_epochs=-1).fit(LiquidModule(layer()), data(), data())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("rule", ["free", "development"])
def test_a_longer_training_from_a_checkpoint_ends_rewiring_where_it_would_have(rule, tmp_path):
    synapses = 30 if rule == "development" else None

    def part(epochs):
        callback, kept = RewireCallback(rule, synapses), ModelCheckpoint(tmp_path, save_last=True)
        return callback, trainer(callback, kept, max_epochs=epochs, enable_checkpointing=True)

    _, first = part(4)
    first.fit(LiquidModule(layer()), data(), data())
    callback, longer = part(9)
    longer.fit(LiquidModule(layer()), data(), data(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert longer.global_step == callback.rewirer.steps == 36
    assert max(edit.step for edit in callback.rewirer.ledger) <= 0.6 * 16
    kept = ModelCheckpoint(tmp_path, save_last=True)
    other = trainer(RewireCallback("set"), kept, max_epochs=12, enable_checkpointing=True)
    with pytest.raises(InputError, match=rf"got the rule 'set' for a checkpoint of '{rule}'"):
        other.fit(LiquidModule(layer()), data(), data(), ckpt_path=str(tmp_path / "last.ckpt"))


def test_smoothed_gradients_are_those_of_the_step():
    """Lightning computes them inside of the step, after what PyTorch calls before it."""
    ours, theirs = layer(), layer()
    rewirer = by_hand(theirs, 4, rule="saliency")
    callback = RewireCallback("saliency")
    trainer(callback, max_epochs=4).fit(LiquidModule(ours), data(), data())
    assert callback.rewirer.counts == rewirer.counts
    assert rewirer.counts["rewired"] > 0
    assert_equal(ours, theirs)
