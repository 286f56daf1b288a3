"""A circuit as a policy: it learns what to command from an expert and then drives by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elegans.control.policy import Policy
from elegans.data import Sequence, Standardiser
from elegans.errors import InputError
from elegans.layers.sequence_layer import SequenceLayer


class CircuitPolicy:
    """Drives many episodes in lock-step, one step of the circuit for each observation.

    Parameters
    ----------
    model
        A layer with one output; the state begins at zero and is kept from step to step.
    standardiser
        What the circuit's inputs were scaled by in training; None if they were not.
    elapsed
        Duration of a control step, in the unit of the training data.

    Examples
    --------
    >>> from elegans import LTC
    >>> policy = CircuitPolicy(LTC(2, 1))
    >>> policy.reset(batch=3)
    >>> policy(np.zeros((3, 2), np.float32)).shape
    (3,)
    """

    def __init__(
        self, model: SequenceLayer, standardiser: Standardiser | None = None, elapsed: float = 1.0
    ) -> None:
        if model.output_size != 1:
            raise InputError(
                f"got a circuit with {model.output_size} outputs, expected 1, the command; build "
                "it with one motor neuron"
            )
        self.model = model
        self.standardiser = standardiser
        self.elapsed = elapsed
        self._policy = Policy(model)

    def reset(self, batch: int) -> None:
        """Forget everything."""
        self._policy.reset()

    def __call__(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return commands (batch,) for observations (batch, input) of one step."""
        if self.standardiser is not None:
            observations = self.standardiser.apply(observations)
        return self._policy(observations, self.elapsed)[:, 0]


def averaged_targets(sequences: Iterable[Sequence], steps: int) -> tuple[Sequence, ...]:
    """Return the sequences with targets averaged over the last `steps` steps.

    A plant that can only be pushed to one side or the other jitters about the path it is kept
    on, and so does the force its expert asks for. Positions cannot show the jitter of the step
    they are observed in: of the raw force in `elegans.tasks.cartpole`, 12 % of the variance can
    be predicted linearly from the last four observations, of its mean over four steps 82 %. The
    mean asks for the same path and is learnt much faster.

    Parameters
    ----------
    sequences
        Whatever shall be imitated.
    steps
        At least 1. The first targets of a sequence are means over the steps that there are.

    Raises
    ------
    InputError
        `steps` is less than 1.

    Examples
    --------
    >>> target = np.array([[0.0], [2.0], [4.0], [6.0]])
    >>> ramp = Sequence("ramp", np.zeros((4, 1)), target, np.ones(4))
    >>> averaged_targets([ramp], 2)[0].targets[:, 0].tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    if steps < 1:
        raise InputError(f"got steps = {steps}, expected at least 1; 1 leaves targets as they are")
    return tuple(replace(one, targets=_running_mean(one.targets, steps)) for one in sequences)


def _running_mean(values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return the mean over the last `steps` rows of `values`, shape (time, column)."""
    total = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - steps, 0)
    mean: NDArray[np.float64] = (total[end] - total[start]) / (end - start)[:, None]
    return mean
