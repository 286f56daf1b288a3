"""The training loop: steps, evaluations, checkpoints, and what stops it.

A training is a function of its settings and data: batches depend on seed and step alone, and
the only random state, that of the rewirer, is saved. Continuing from a checkpoint therefore ends
with the same weights, bit for bit, as never having stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from elegans.training.state import Condition, TrainingState


class TrainingStopped(KeyboardInterrupt):
    """The user stopped a training, and its state is saved; the message says how to continue."""


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
        validation_loss, learning_rate, rewired (synapses so far).
    ledger
        What prune-and-rewire did.
    seconds
        Time spent, earlier parts of a continued training included.
    """

    steps: int
    best_step: int
    best_loss: float
    metrics: list[dict[str, Any]]
    ledger: list[Edit]
    seconds: float


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
        Loss or gradient left the finite numbers; the last checkpoint is kept.
    TrainingStopped
        Ctrl-C (SIGINT); a checkpoint was saved to `run`. A second Ctrl-C stops at once, without
        saving.
    """
    if condition is not None and condition.model is not circuit_of(model):
        raise InputError(
            "got a condition on another layer, expected one on the layer that is trained; build it "
            "with this layer"
        )
    if run is not None and not resume:
        run.require_unused()
    if condition is not None and not (run is not None and resume and run.checkpoints()):
        condition.establish()
    told = tuple(callbacks)
    begun = run.load_checkpoint() if run is not None and resume else None
    training = TrainingState(model, train, validation, config, run, condition, begun)
    if run is not None and resume:
        training.restore(run, begun)
        run.extend(config.steps)
    with _stop_requests(listen=run is not None) as stop_requested:
        bar = tqdm(
            total=config.steps,
            initial=training.step,
            disable=None if progress else True,
            unit="step",
            desc="training",
        )
        with bar:
            if training.step == 0:
                training.evaluate(told)
            while training.step < config.steps and not training.is_stuck:
                training.advance()
                bar.update()
                for each in told:
                    each.on_step(training.step)
                if training.step % config.evaluate_every == 0 or training.step == config.steps:
                    training.evaluate(told)
                    bar.set_postfix(validation=f"{training.best_loss:.4g}")
                if stop_requested() and run is not None:
                    training.save(run)
                    raise TrainingStopped(
                        f"stopped at step {training.step} of {config.steps}; everything is saved "
                        f"in {run.path}: repeat the command with --resume to continue"
                    )
                if run is not None and training.step % config.checkpoint_every == 0:
                    training.save(run)
    if run is not None:
        training.save(run)
    model.load_state_dict(training.best)
    result = Result(
        training.step,
        training.best_step,
        training.best_loss,
        training.metrics,
        training.ledger,
        training.seconds,
    )
    for each in told:
        each.on_end(result)
    return result


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


@contextmanager
def _stop_requests(*, listen: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request that is asked for between two steps.

    A step that is interrupted halfway could not be continued exactly. The second Ctrl-C does
    what it always does.
    """
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signal.SIGINT, before)

    if not listen or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)
    if before is None:
        before = signal.SIG_DFL
    signal.signal(signal.SIGINT, request)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, before)
