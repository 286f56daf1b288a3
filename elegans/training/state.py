"""The state of a training between two steps: taking one, evaluating, saving, restoring."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from elegans.checkpoints.saving import restore
from elegans.data import Windows, batches
from elegans.errors import (
    DataError,
    ElegansError,
    InputError,
    PruningError,
    RunError,
    SolveError,
)
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.pruning import Edit, GuardResult, ProposedEdit, PruneRewire
from elegans.training.callbacks import Callback
from elegans.training.checkpoint import Checkpoint
from elegans.training.config import TrainingConfig
from elegans.training.evaluation import WindowTensors
from elegans.training.optimizers import OPTIMIZERS
from elegans.training.points import RollbackPoints
from elegans.training.rewiring import rewirer_settings
from elegans.training.run_folder import RunFolder
from elegans.training.schemas import LedgerMark, Progress

_LARGEST_BATCH = 256


@runtime_checkable
class Condition(Protocol):
    """A condition on a layer that training keeps; see `elegans.proofs.ContractionCondition`.

    `fit` establishes it before the first step, adds the penalty to every loss, lets the guard judge
    every rewiring, and takes only weights for which it holds.
    """

    @property
    def model(self) -> nn.Module:
        """The layer that the condition is on."""

    def establish(self) -> None:
        """Change the layer until the condition holds."""

    def penalty(self) -> Tensor:
        """Return what is added to the loss, a differentiable scalar, zero where all is well."""

    def guard(self, proposal: ProposedEdit) -> GuardResult | None:
        """Judge a rewiring."""

    def holds(self) -> bool:
        """Whether the layer fulfils the condition as it is now."""


class DivergenceError(SolveError):
    """A training left the finite numbers.

    Parameters
    ----------
    message
        What it says.
    what
        What is not finite.
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


class TrainingState:
    """The state of a training between two steps.

    Parameters
    ----------
    model, train, validation, config, run, condition
        As in `elegans.training.fit`.
    begun
        The checkpoint that will be restored, whose rewiring is laid out already.
    """

    def __init__(
        self,
        model: SequenceLayer | Readout,
        train: Windows,
        validation: Windows,
        config: TrainingConfig,
        run: RunFolder | None,
        condition: Condition | None = None,
        begun: Checkpoint | None = None,
    ) -> None:
        like = next(model.parameters())
        self.model = model
        self.config = config
        self.run = run
        self.condition = condition
        kind = "mse" if config.loss == "auto" else config.loss
        self.train, self.validation = (
            WindowTensors.of(_checked(model, windows), like, kind)
            for windows in (train, validation)
        )
        for windows in (self.train, self.validation):
            if not bool(windows.is_known.any()):
                raise DataError(
                    "got windows without a known target for training or validation, expected some "
                    "in both; choose other sequences, or a shorter horizon"
                )
        if config.class_weights == "balanced" and kind != "cross_entropy":
            raise InputError(
                f"got class_weights 'balanced' with the loss {kind!r}, expected 'cross_entropy', "
                "as numbers have no classes; leave it out"
            )
        if config.class_weights == "balanced":
            self.train = self.train.balanced()
            self.validation = replace(self.validation, weights=self.train.weights)
        self.rewiring_steps = _rewiring_steps(config, begun, run)
        self._lay_out()
        self.step = 0
        self.best = _copy(model)
        self.best_step, self.best_loss = 0, float("inf")
        self.best_synapses = self.synapses
        self._patient_from = 0
        self.rollbacks: list[dict[str, Any]] = []
        self._initial = self.best
        self._points = RollbackPoints(
            None if run is None else run.checkpoints, config.checkpoint_every
        )
        self._mark = LedgerMark()
        self.metrics: list[dict[str, Any]] = []
        self._loss_sum = torch.zeros((), dtype=torch.float64)
        self._losses = 0
        self._earlier_seconds = 0.0
        self._started = time.monotonic()
        self._epoch: int | None = None
        self._order: list[Any] = []

    def _lay_out(self) -> None:
        """Make optimiser and rewirer for the layer as it is before training."""
        self.optimizer = OPTIMIZERS[self.config.optimizer].of(
            self.model.parameters(),
            self.config.learning_rate,
            self.config.weight_decay,
            fused=next(self.model.parameters()).device.type in ("cpu", "cuda"),
        )
        self.rewirer: PruneRewire | None = None
        if self.config.rewire.enabled:
            chosen = rewirer_settings(replace(self.config, steps=self.rewiring_steps))
            self.rewirer = PruneRewire(self.model, self.optimizer, seed=self.config.seed, **chosen)
        if self.rewirer is not None and self.condition is not None:
            self.rewirer.add_guard(self.condition.guard)

    @property
    def ledger(self) -> list[Edit]:
        """What prune-and-rewire has done."""
        return [] if self.rewirer is None else self.rewirer.ledger

    @property
    def rewired(self) -> int:
        """How many synapses have grown."""
        return sum(edit.grown is not None for edit in self.ledger)

    @property
    def synapses(self) -> int:
        """How many synapses there are, where they are rewired."""
        return 0 if self.rewirer is None else self.rewirer.budget

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of `step`, which every rollback has halved."""
        return self.config.learning_rate_at(step) * 0.5 ** len(self.rollbacks)

    @property
    def is_stuck(self) -> bool:
        """Whether `patience` evaluations have brought nothing better."""
        patience, every = self.config.patience, self.config.evaluate_every
        since = max(self.best_step, self._patient_from)
        return patience is not None and self.step // every - since // every >= patience

    @property
    def seconds(self) -> float:
        """Time spent so far."""
        return self._earlier_seconds + time.monotonic() - self._started

    # --- steps ---------------------------------------------------------------------------

    def advance(self) -> None:
        """Take one optimiser step."""
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate_at(self.step)
        self.optimizer.zero_grad()
        count = config.accumulate
        for k in range(count):
            which = self._batch(self.step * count + k)
            loss = self._finite_loss(self.train, which)
            whole = loss / count if count > 1 else loss
            if self.condition is not None and k + 1 == count:
                whole = whole + self.condition.penalty()
            whole.backward()  # type: ignore[no-untyped-call]
            self._loss_sum += loss.detach().double().cpu()
            self._losses += 1
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        if not bool(torch.isfinite(norm)):
            raise self._diverged("the gradient is not finite")
        self.optimizer.step()
        model.apply_weight_constraints()
        if self.rewirer is not None:
            try:
                self.rewirer.step(lambda: self.train.loss(model, which))
            except (PruningError, SolveError):
                self.require_finite()
                raise
        self.step += 1

    def evaluate(self, told: Iterable[Callback] = ()) -> None:
        """Measure the validation windows, remember the best weights, and note it all down."""
        with torch.no_grad():
            total, count = 0.0, 0
            for which in torch.split(torch.arange(len(self.validation)), _LARGEST_BATCH):
                counted = self.validation.count(which)
                total += float(self._finite_loss(self.validation, which)) * counted
                count += counted
        loss = total / count
        # A circuit that is still to be thinned would win with synapses that it will not have.
        is_thinner = self.synapses < self.best_synapses
        if (is_thinner or loss < self.best_loss) and (
            self.condition is None or self.condition.holds()
        ):
            self.best, self.best_step, self.best_loss = _copy(self.model), self.step, loss
            self.best_synapses = self.synapses
        line = {
            "step": self.step,
            "train_loss": float(self._loss_sum) / self._losses if self._losses else None,
            "validation_loss": loss,
            "learning_rate": self.learning_rate_at(max(0, self.step - 1)),
            "rewired": self.rewired,
            "rollbacks": len(self.rollbacks),
        }
        self._loss_sum.zero_()
        self._losses = 0
        self.metrics.append(line)
        if self.run is not None:
            self.run.append_metrics({**line, "seconds": round(self.seconds, 3)})
        for each in told:
            each.on_evaluation(dict(line))

    def _batch(self, index: int) -> Tensor:
        """Return the windows of a batch, counted from the first, shape (batch,)."""
        count, size = len(self.train), self.config.batch_size
        epoch, place = divmod(index, -(-count // size))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = list(batches(count, size, epoch, self.config.seed))
        return torch.from_numpy(self._order[place])

    def _finite_loss(self, windows: WindowTensors, which: Tensor) -> Tensor:
        try:
            loss = windows.loss(self.model, which)
        except SolveError as error:
            raise self._diverged(str(error)) from error
        if not bool(torch.isfinite(loss)):
            raise self._diverged(f"the loss is {loss.item()}")
        return loss

    def _diverged(self, what: str) -> DivergenceError:
        kept = times = ""
        if self.run is not None and (saved := self.run.checkpoints.steps()):
            kept = f"; the checkpoint of step {saved[-1]} in {self.run.path} stays"
        if self.rollbacks:
            steps = ", ".join(str(rollback["step"]) for rollback in self.rollbacks)
            times = (
                f", after {len(self.rollbacks)} rollbacks (from step {steps}) with half the rate"
            )
        return DivergenceError(
            f"training diverged at step {self.step}: {what}, expected finite numbers{times}{kept}; "
            "lower the learning rate or clip_norm",
            what,
        )

    # --- rolling back --------------------------------------------------------------------

    def take_point(self) -> None:
        """Make the state as it is now one that a rollback may lead to, and save it to the run.

        Raises
        ------
        DivergenceError
            The layer holds numbers that are not finite.
        """
        self.require_finite()
        if self.run is not None and self.step > 0:
            point = self.save(self.run)
        elif self.config.rollbacks:
            point = self._checkpoint()
        else:
            return
        if self.config.rollbacks:
            self._points.add(point)

    def require_finite(self) -> None:
        """Raise `DivergenceError` if the layer holds numbers that are not finite."""
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise self._diverged(f"{name} is not finite")

    def roll_back(self, diverged: DivergenceError) -> dict[str, Any]:
        """Go back to the last point, to go on from there with half the learning rate.

        Batches depend on seed and step alone, so the same ones come again.

        Returns
        -------
        dict
            The record of it, see `elegans.training.Result`.

        Raises
        ------
        DivergenceError
            It was done as often as it may be, or there is no earlier point.
        """
        tried = self.rollbacks[-1]["to"] if self.rollbacks else None
        point = self._points.last(self.step, tried)
        if point is None or len(self.rollbacks) >= self.config.rollbacks:
            raise diverged
        record = {"step": self.step, "to": point.step, "what": diverged.what}
        rollbacks, seconds = [*self.rollbacks, record], self.seconds
        edits = [edit.to_dict() for edit in self.ledger]
        metrics = [line for line in self.metrics if line["step"] <= point.step]
        # As a run is continued that was killed: so it ends alike, whether it is killed now or not.
        rewirer = json.loads(json.dumps(point.progress.rewirer))
        as_read = replace(point, progress=replace(point.progress, rewirer=rewirer))
        self.model.load_state_dict(self._initial)
        self._lay_out()
        self._continue_from(as_read, Path("the last point"), lambda mark: edits[: mark.lines])
        self.metrics, self.rollbacks = metrics, rollbacks
        self._earlier_seconds, self._started = seconds, time.monotonic()
        self._points.add(point)
        if self.run is not None:
            self.run.checkpoints.drop(after=self.step)
            self.run.cut_metrics(self.step)
            self._write_ledger(self.run)
        return record

    # --- saving --------------------------------------------------------------------------

    def _checkpoint(self) -> Checkpoint:
        """Return everything that continuing needs."""
        moments = {
            f"{name}/{key}": value.detach().clone()
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }
        rewirer = None if self.rewirer is None else self.rewirer.state_dict(ledger=False)
        progress = Progress(
            step=self.step,
            best_step=self.best_step,
            best_loss=self.best_loss,
            best_synapses=self.best_synapses,
            loss_sum=float(self._loss_sum),
            losses=self._losses,
            seconds=self.seconds,
            steps=self.config.steps,
            rewiring_steps=self.rewiring_steps,
            patient_from=self._patient_from,
            rollbacks=self.rollbacks,
            ledger=replace(self._mark, lines=len(self.ledger)),
            rewirer=rewirer,
        )
        return Checkpoint(_copy(self.model), self.best, moments, progress)

    def save(self, run: RunFolder) -> Checkpoint:
        """Write a checkpoint, then what follows from it."""
        every = self.config.checkpoint_every
        is_stop = self.step < self.config.steps and self.step % every > 0 and not self.is_stuck
        if is_stop and self._points.beginning is not None:
            run.checkpoints.save(self._points.beginning, every)
        self._write_ledger(run)
        checkpoint = self._checkpoint()
        run.checkpoints.save(checkpoint, every, is_stop=is_stop)
        try:
            self.model.load_state_dict(self.best)
            run.write_result(self.model)
        finally:
            self.model.load_state_dict(checkpoint.model)
        return checkpoint

    def _write_ledger(self, run: RunFolder) -> None:
        """Write the edits that are not yet in the file."""
        edits = [edit.to_dict() for edit in self.ledger[self._mark.lines :]]
        self._mark = run.append_ledger(self._mark, edits)

    def restore(self, run: RunFolder, checkpoint: Checkpoint | None) -> None:
        """Continue from a checkpoint of `run`, or from its beginning."""
        if checkpoint is None:
            run.cut_metrics(-1)
            run.append_ledger(LedgerMark(), ())
            return
        place = run.checkpoints.path(checkpoint.step)
        try:
            self._continue_from(checkpoint, place, run.marked_ledger)
        except (
            ArithmeticError, AttributeError, ElegansError, LookupError, TypeError, ValueError
        ) as error:  # fmt: skip
            raise RunError(
                f"{place}: got a checkpoint that cannot be continued from ({error}), expected a "
                "whole one of the same circuit and settings; repeat the command that began the "
                "run, or, if the file is damaged, delete this folder to continue from the one "
                "before"
            ) from error
        if self.step % self.config.checkpoint_every == 0:
            self._points.add(checkpoint)
        run.cut_metrics(self.step)
        self._write_ledger(run)
        self.metrics = run.metrics()
        for line in self.metrics:
            line.pop("seconds", None)

    def _continue_from(
        self,
        checkpoint: Checkpoint,
        place: Path,
        edits: Callable[[LedgerMark], list[dict[str, Any]]],
    ) -> None:
        restore(self.model, checkpoint.best, place / "best.safetensors")
        restore(self.model, checkpoint.model, place / "model.safetensors")
        parameters = dict(self.model.named_parameters())
        memory = OPTIMIZERS[self.config.optimizer].memory
        saved = set(checkpoint.optimizer)
        # Parameters that no gradient reaches are remembered by no optimiser.
        reached = {key.rpartition("/")[0] for key in saved}
        expected = {f"{name}/{field}" for name in reached & parameters.keys() for field in memory}
        if saved != expected:
            wrong = sorted(saved ^ expected)[0]
            raise ValueError(f"training.safetensors does not fit the layer at {wrong!r}")
        for key, value in checkpoint.optimizer.items():
            name, _, field = key.rpartition("/")
            # Steps count in float32: where the parameter lives if fused, or else on the CPU.
            fused = self.optimizer.defaults.get("fused")
            count = value.to(parameters[name].device) if fused else value
            # A copy, as the optimiser changes it, and a rollback may lead here again.
            self.optimizer.state[parameters[name]][field] = (
                count if field == "step" else value.to(parameters[name])
            ).clone()
        progress = checkpoint.progress
        self._mark = progress.ledger or LedgerMark()
        if self.rewirer is not None:
            # Older checkpoints hold the ledger themselves.
            listed = {} if progress.ledger is None else {"ledger": edits(progress.ledger)}
            self.rewirer.load_state_dict((progress.rewirer or {}) | listed)
        self.step = progress.step
        self.best = checkpoint.best
        self.best_step, self.best_loss = progress.best_step, progress.best_loss
        self.best_synapses = (
            self.synapses if progress.best_synapses is None else progress.best_synapses
        )
        self._loss_sum.fill_(progress.loss_sum)
        self._losses = progress.losses
        self._earlier_seconds = progress.seconds
        self._patient_from = progress.patient_from
        self.rollbacks = list(progress.rollbacks)
        if progress.steps is not None and self.config.steps > progress.steps:  # it is extended
            self._patient_from = self.step


def _checked(model: SequenceLayer | Readout, windows: Windows) -> Windows:
    sizes = windows.inputs.shape[-1], windows.targets.shape[-1]
    if sizes != (model.input_size, model.output_size):
        raise DataError(
            f"got windows of {sizes[0]} inputs and {sizes[1]} outputs, expected "
            f"{model.input_size} and {model.output_size} as the layer has; build the layer for the "
            "data"
        )
    return windows


def _rewiring_steps(config: TrainingConfig, begun: Checkpoint | None, run: RunFolder | None) -> int:
    """Return the length of the training for which rewiring is laid out."""
    if begun is None:
        return config.steps
    if config.steps < begun.step:
        raise RunError(
            f"got {config.steps} steps for a run that has done {begun.step}, expected at least as "
            "many; ask for more to extend it"
        )
    recorded = None if run is None else run.steps  # as older checkpoints do not say it
    return begun.progress.rewiring_steps or recorded or config.steps


def _copy(model: SequenceLayer | Readout) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
