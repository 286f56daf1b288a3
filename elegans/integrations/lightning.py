"""Liquid circuits in Lightning: a module that trains one, and a callback that rewires any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elegans.errors import InputError
from elegans.extras import require_extra
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.pruning import PruneRewire
from elegans.pruning.amount.schedules import last_sparsity
from elegans.pruning.averages import copy_integers
from elegans.pruning.rules import settings_of

require_extra("lightning", "lightning")

# Below the check, which names the extra where the package is missing.
from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402


class LiquidModule(LightningModule):
    """Trains a layer on batches (x, y) or (x, y, timespans) by Adam.

    Logs ``train_loss``, ``val_loss`` and ``test_loss``; ``trainer.predict`` returns the outputs.
    Derive from it and override ``configure_optimizers`` for
    another optimiser or a schedule.

    Parameters
    ----------
    model
        A layer such as `elegans.LTC`, or one with an `elegans.Readout`.
    loss
        A function of outputs and targets, both (batch, time, output) as the layer returns them.
    learning_rate
        Of Adam.

    Raises
    ------
    InputError
        `model` is no layer, or a batch is no tuple of two or three tensors.
    MissingExtraError
        On import, where Lightning is not installed: ``pip install 'elegans[lightning]'``.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> x = torch.randn(64, 10, 3)
    >>> data = DataLoader(TensorDataset(x, x[..., :1].cumsum(1)), batch_size=16)
    >>> module = LiquidModule(elegans.LTC(3, AutoNCP(12, 1)))
    >>> trainer = Trainer(
    ...     max_epochs=2,
    ...     callbacks=[RewireCallback()],
    ...     logger=False,
    ...     enable_checkpointing=False,
    ...     enable_progress_bar=False,
    ...     enable_model_summary=False,
    ... )
    >>> trainer.fit(module, data, data)
    >>> trainer.global_step
    8
    """

    def __init__(
        self,
        model: SequenceLayer | Readout,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.mse_loss,
        learning_rate: float = 1e-2,
    ) -> None:
        super().__init__()
        if not isinstance(model, SequenceLayer | Readout):
            raise InputError(
                f"got {type(model).__name__}, expected a layer such as elegans.LTC; build one"
            )
        self.model = model
        self.loss = loss
        self.learning_rate = learning_rate

    def forward(self, x: Tensor, timespans: Tensor | None = None) -> Tensor:
        """Return the outputs of the model."""
        output: Tensor = self.model(x, None, timespans)[0]
        return output

    def loss_of(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        x, y, *timespans = self._checked(batch)
        return self.loss(self(x, *timespans), y)

    def _checked(self, batch: Any) -> Any:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            got = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else batch
            raise InputError(
                f"got a batch that is a {got}, expected (x, y) or (x, y, timespans); let the "
                "loader yield tuples"
            )
        return batch

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return and log the loss of a batch."""
        loss = self.loss_of(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        """Log the loss of a batch, the mean over them weighted by their sizes."""
        self.log("val_loss", self.loss_of(batch), prog_bar=True, batch_size=len(batch[0]))

    def test_step(self, batch: Any, index: int) -> None:
        """Log the loss of a batch, the mean over them weighted by their sizes."""
        self.log("test_loss", self.loss_of(batch), batch_size=len(batch[0]))

    def predict_step(self, batch: Any, index: int = 0) -> Tensor:
        """Return the outputs for a batch (x, y), (x, y, timespans), or x alone."""
        if isinstance(batch, Tensor):
            outputs: Tensor = self(batch)
            return outputs
        x, _, *timespans = self._checked(batch)
        outputs = self(x, *timespans)
        return outputs

    def on_train_start(self) -> None:
        """Let averages over parameters and buffers copy connections, which no mean is one of."""
        for average in _averages(self.trainer):
            copy_integers(average)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and clip the parameters that must not be negative."""
        super().optimizer_step(*args, **kwargs)
        self.model.apply_weight_constraints()


def _averages(trainer: Trainer) -> list[nn.Module]:
    """Return the averages of Lightning's callbacks, which have no public name."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    held = [getattr(callback, "_average_model", None) for callback in callbacks]
    return [average for average in held if isinstance(average, nn.Module)]


class RewireCallback(Callback):
    """Lets the circuits of a module rewire themselves, after each optimiser step.

    Its state is in Lightning's checkpoints, so that a training that is continued makes the same
    edits as one that was not interrupted; in one that is longer than it was meant to be, rewiring
    ends where it would have ended. The averages of ``WeightAveraging``, ``EMAWeightAveraging`` and
    ``StochasticWeightAveraging`` follow every edit, see `elegans.Pruner.follow`.

    Parameters
    ----------
    rule
        A name in `elegans.pruning.RULES`.
    synapses
        How many synapses there are to be in the end, for rules that thin.
    loss
        The loss of a module and a batch, for rules that ask for it; by default the module's
        ``loss_of``, where it has one.
    seed
        Of all random choices.
    **changes
        Arguments of `elegans.PruneRewire` that replace those of the rule.

    Attributes
    ----------
    rewirer : PruneRewire or None
        The operator, from the first step on.

    Raises
    ------
    InputError
        When training begins: the module has several optimisers, or training has no last step.

    Examples
    --------
    >>> RewireCallback("development", synapses=60, seed=1).rewirer is None
    True
    """

    def __init__(
        self,
        rule: str = "free",
        synapses: int | None = None,
        *,
        loss: Callable[[Any, Any], Tensor] | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> None:
        self.rule, self.synapses, self.loss = rule, synapses, loss
        self.changes = {"seed": seed} | changes
        self.rewirer: PruneRewire | None = None
        self._saved: dict[str, Any] | None = None
        self._steps = self._done = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the operator for the length of the training, where it has come to."""
        steps = trainer.estimated_stepping_batches
        saved, self._saved = self._saved, None
        if saved is not None and saved["rule"] != self.rule:
            raise InputError(
                f"got the rule {self.rule!r} for a checkpoint of {saved['rule']!r}, expected the "
                "same; pass it to RewireCallback"
            )
        if steps == float("inf"):
            raise InputError(
                "got a training without an end, whose rounds of rewiring do not follow, expected "
                "one of known length; pass max_epochs= or max_steps= to the Trainer"
            )
        if len(trainer.optimizers) != 1:
            raise InputError(
                f"got {len(trainer.optimizers)} optimisers, expected one; rewire by "
                "elegans.PruneRewire in the module itself"
            )
        optimizer = trainer.optimizers[0]
        if saved is None:
            self._steps = int(steps) - trainer.global_step  # the trainer may have fitted before
            self.rewirer = PruneRewire.from_rule(
                self.rule, pl_module, optimizer, self._steps, self.synapses, **self.changes
            )
        else:  # the circuit may be thinned already, and the training be longer than it was
            self._steps = saved["steps"]
            settings = settings_of(self.rule, self._steps, saved["sparsity"], **self.changes)
            self.rewirer = PruneRewire(pl_module, optimizer, **settings)
            self.rewirer.load_state_dict(saved["rewirer"])
        for average in _averages(trainer):
            self.rewirer.follow(average)
        self._done = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count optimiser steps, of which there may be fewer than batches."""
        if self.rewirer is None or trainer.global_step == self._done:
            return
        self._done = trainer.global_step
        loss = self.loss or getattr(type(pl_module), "loss_of", None)
        with torch.enable_grad():
            self.rewirer.step(None if loss is None else lambda: loss(pl_module, batch))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the operator."""
        if self.rewirer is None:
            return {}
        schedule = self.rewirer.schedule
        sparsity = None if schedule is None else last_sparsity(schedule)
        return {
            "rule": self.rule,
            "steps": self._steps,
            "sparsity": sparsity,
            "rewirer": self.rewirer.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training begins."""
        self._saved = state_dict or None
