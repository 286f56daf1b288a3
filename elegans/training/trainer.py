"""The training loop: steps, evaluations, checkpoints, and what stops it.

A training is a function of its settings and data: batches depend on seed and step alone, and
the only random state, that of the rewirer, is saved. Continuing from a checkpoint therefore ends
with the same weights, bit for bit, as never having stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from tqdm import tqdm

from elegans.arguments import checked
from elegans.data import Windows
from elegans.errors import InputError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.pruning import Edit
from elegans.training.callbacks import Callback
from elegans.training.config import TrainingConfig
from elegans.training.run_folder import RunFolder
from elegans.training.state import Condition, DivergenceError, TrainingState

STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that stop a training: Ctrl-C, the end that a system asks for, a terminal that closes."""


_HANGUP = getattr(signal, "SIGHUP", -1)


class TrainingStopped(KeyboardInterrupt):
    """A signal stopped a training, and its state is saved; the message says how to continue.

    Parameters
    ----------
    message
        What it says.
    signal
        The number of the signal.
    """

    def __init__(self, message: str, signal: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal = int(signal)


@dataclass(frozen=True)
class Result:
    """Outcome of a training.

    Parameters
    ----------
    steps
        Steps done.
    best_step, best_loss
        Where the mean squared error over the validation windows was least, and that error; of
        a circuit that was thinned, with the fewest synapses that it had.
    metrics
        One record an evaluation: step, train_loss (mean since the last, None at step 0),
        validation_loss, learning_rate, rewired (synapses so far), rollbacks (so far).
    ledger
        What prune-and-rewire did.
    seconds
        Time spent, earlier parts of a continued training included.
    rollbacks
        One record each time the training left the finite numbers and went back: at which ``step``,
        ``to`` which step, and ``what`` was not finite. Each has halved the learning rate.
    """

    steps: int
    best_step: int
    best_loss: float
    metrics: list[dict[str, Any]]
    ledger: list[Edit]
    seconds: float
    rollbacks: list[dict[str, Any]] = field(default_factory=list)


@checked(InputError)
def fit(
    model: SequenceLayer | Readout,
    train: Windows,
    validation: Windows,
    config: TrainingConfig,
    *,
    run: RunFolder | None = None,
    resume: bool = False,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
    condition: Condition | None = None,
) -> Result:
    """Train `model` on windows; it ends with the weights that were best in validation.

    Parameters
    ----------
    model
        The layer, with ``batch_first`` and ``return_sequences``, or one with a `Readout`; rewired
        in place.
    train, validation
        Windows with the numbers of inputs and outputs of the layer.
    config
        The settings.
    run
        Where to keep metrics, ledger, checkpoints and result; nothing is written without it.
    resume
        Whether to continue from the newest checkpoint of `run`; from the beginning if there is
        none. With more steps than before the run is extended: the learning rate is what it would
        be in a training of the new length, and rewiring ends when it would have ended.
    progress
        Whether to show a progress bar, where the output is a terminal.
    callbacks
        Told of every step and evaluation, in their order.
    condition
        What the layer must fulfil, such as `elegans.proofs.ContractionCondition`: established
        before the first step, kept by a penalty and a guard, and true of the result.

    Returns
    -------
    Result

    Raises
    ------
    DataError
        The windows do not fit the layer.
    InputError
        The condition is on another layer.
    SolveError
        Loss, gradient or layer left the finite numbers more often than `config.rollbacks` allows,
        or at the first step; the last checkpoint is kept.
    TrainingStopped
        Ctrl-C (SIGINT), SIGTERM or SIGHUP; a checkpoint was saved to `run`. A second one of the
        first two stops at once, without saving.
    """
    with nullcontext() if run is None else run.locked():
        return _fit(
            model, train, validation, config, run, resume, progress, tuple(callbacks), condition
        )


def _fit(
    model: SequenceLayer | Readout,
    train: Windows,
    validation: Windows,
    config: TrainingConfig,
    run: RunFolder | None,
    resume: bool,
    progress: bool,
    told: tuple[Callback, ...],
    condition: Condition | None,
) -> Result:
    if condition is not None and condition.model is not circuit_of(model):
        raise InputError(
            "got a condition on another layer, expected one on the layer that is trained; build it "
            "with this layer"
        )
    if run is not None and not resume:
        run.require_unused()
    if condition is not None and not (run is not None and resume and run.checkpoints.steps()):
        condition.establish()
    begun = run.checkpoints.load() if run is not None and resume else None
    training = TrainingState(model, train, validation, config, run, condition, begun)
    if run is not None and resume:
        training.restore(run, begun)
        run.extend(config.steps)

    def stopped(number: int) -> TrainingStopped:
        return TrainingStopped(
            f"stopped at step {training.step} of {config.steps}; everything is saved in "
            f"{'' if run is None else run.path}: repeat the command with --resume to continue",
            number,
        )

    stop = _StopRequests(stopped)
    bar = tqdm(
        total=config.steps,
        initial=training.step,
        disable=None if progress else True,
        unit="step",
        desc="training",
    )
    with nullcontext() if run is None else stop, bar:
        if training.step == 0:
            if not training.metrics:
                training.evaluate(told)
            training.take_point()
        while training.step < config.steps and not training.is_stuck:
            try:
                _take_step(training, stop, told)
            except DivergenceError as diverged:
                rollback = training.roll_back(diverged)
                for each in told:
                    each.on_rollback(dict(rollback))
            bar.n = training.step
            bar.update(0)
            bar.set_postfix(validation=f"{training.best_loss:.4g}", refresh=False)
            if run is not None and stop.requested is not None:
                training.save(run)
            stop.check()
        if run is not None:
            training.save(run)
        stop.check()
    model.load_state_dict(training.best)
    result = Result(
        training.step,
        training.best_step,
        training.best_loss,
        training.metrics,
        training.ledger,
        training.seconds,
        training.rollbacks,
    )
    for each in told:
        each.on_end(result)
    return result


def _take_step(training: TrainingState, stop: _StopRequests, told: tuple[Callback, ...]) -> None:
    """Take a step, and what is due after it; raise `DivergenceError` if a number is not finite."""
    config = training.config
    training.advance()
    stop.is_saved = False
    for each in told:
        each.on_step(training.step)
    if training.step % config.evaluate_every == 0 or training.step == config.steps:
        training.evaluate(told)
    if training.step % config.checkpoint_every == 0:
        training.take_point()
    elif stop.requested is not None:
        training.require_finite()


@checked(InputError)
def check_training(
    model: SequenceLayer | Readout, train: Windows, validation: Windows, config: TrainingConfig
) -> None:
    """Raise what `fit` would raise before its first step, so that no folder is made in vain.

    Raises
    ------
    DataError
        The windows do not fit the layer.
    PruningError
        Rewiring cannot be done with these settings.
    """
    TrainingState(model, train, validation, config, None)


class _StopRequests:
    """Turns the first of `STOPS` into a request that is asked for between two steps.

    A step that is interrupted halfway could not be continued exactly. As long as there is nothing
    to save, the signal stops the training at once: kernels may be compiled meanwhile, which takes
    longer than whoever sent it waits. The second signal does what it does elsewhere, unless it is
    SIGHUP.
    """

    def __init__(self, stopped: Callable[[int], TrainingStopped]) -> None:
        self.requested: int | None = None
        self.is_saved = True
        self._stopped = stopped
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _StopRequests:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            for number in STOPS:
                before = signal.getsignal(number)
                # What nohup has started goes on when its terminal is closed.
                if number == signal.SIGINT or before is not signal.SIG_IGN:
                    self._before[number] = signal.SIG_DFL if before is None else before
                    signal.signal(number, self._request)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self.__exit__()
        if _HANGUP in self._before:
            # A terminal that closes sends it twice, by its shell and by itself, and systemd sends
            # it after SIGTERM: nobody means by it that nothing shall be saved.
            signal.signal(_HANGUP, signal.SIG_IGN)
        if self.is_saved:
            raise self._stopped(number)

    def check(self) -> None:
        """Raise `TrainingStopped` if a signal has come; the state is saved by then."""
        if self.requested is not None:
            raise self._stopped(self.requested)
