"""The settings of a training, as frozen values that code, shell and run folder share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from elegans.arguments import checked
from elegans.errors import InputError


@checked(InputError)
@dataclass(frozen=True)
class RewireConfig:
    """Schedule by which weak synapses are cut and grow elsewhere; see `elegans.PruneRewire`.

    Values are checked when this becomes a part of a `TrainingConfig`.

    Parameters
    ----------
    enabled
        Whether the circuit rewires itself at all.
    rule
        A rule of `elegans.pruning.RULES`, such as ``"free"`` or ``"development"``, for the length
        of the training.
    keep
        Share of its synapses that the circuit keeps in the end, above 0 and at most 1, where the
        rule thins it. The best weights are the best of those with the fewest synapses.
    threshold
        What weak means, where not as the rule says: ``"absolute"`` below the conductance `value`,
        ``"relative"`` below that share of the median conductance, ``"cosine"`` the weakest share of
        all synapses, falling from `value` to 0 when rewiring ends.
    value
        The number that the threshold needs; 0.01, 0.2 and 0.3 by default.
    every
        Steps from one round of rewiring to the next, where not as the rule says.
    until
        Share of the training, above 0 and at most 1, after which the wiring stays, where not as the
        rule says; the rest trains the last synapses that grew.
    growth
        ``"random"``, or ``"gradient"``: where the loss would fall fastest; where not as the rule
        says.
    """

    enabled: bool = True
    rule: str = "free"
    keep: float = 1.0
    threshold: Literal["absolute", "relative", "cosine"] | None = None
    value: float | None = None
    every: int | None = None
    until: float | None = None
    growth: Literal["random", "gradient"] | None = None

    def check(self) -> None:
        """Raise `InputError` if a number is out of range."""
        if not 0 < self.keep <= 1 or (self.keep < 1 and not self.enabled):
            raise InputError(
                f"got rewire.keep = {self.keep}, expected a share of the synapses above 0 and at "
                "most 1, and below 1 only where the circuit rewires itself"
            )
        if self.every is not None:
            _check_at_least("rewire.every", self.every, 1)
        if self.until is not None and not 0 < self.until <= 1:
            raise InputError(
                f"got rewire.until = {self.until}, expected a share of the training above 0 and at "
                "most 1; use 1 to rewire to the end"
            )
        most = 1.0 if self.threshold in ("relative", "cosine") else math.inf
        value = self.value
        if value is not None and not (0 <= value <= most and math.isfinite(value)):
            kind = "share from 0 to 1" if most == 1 else "finite number of at least 0"
            raise InputError(
                f"got rewire.value = {value}, expected a {kind} for the threshold "
                f"{self.threshold or 'of the rule'!r}; leave it out for the usual one"
            )


@checked(InputError)
@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the training of a circuit on windows of sequences.

    Parameters
    ----------
    steps
        Optimiser steps.
    batch_size
        Windows in a batch.
    accumulate
        Batches whose mean gradient a step takes.
    optimizer
        ``"adam"``, ``"adamw"``, ``"sgd"`` (momentum 0.9) or ``"rmsprop"``.
    learning_rate
        Learning rate at the first step.
    weight_decay
        As the optimiser has it.
    schedule
        ``"cosine"``: constant for the first half, then along a half cosine to 2 %; ``"linear"``:
        in a straight line to 2 %; ``"constant"``.
    clip_norm
        Largest norm of the gradient of all parameters together.
    window
        Steps of a window; the state begins at zero in each.
    stride
        Steps from one training window to the next; a quarter of `window` when not given.
    evaluate_every
        Steps from one look at the validation windows to the next.
    checkpoint_every
        Steps from one checkpoint to the next.
    seed
        Draws initial values, the order of the windows, and the synapses that grow.
    loss
        ``"mse"``, ``"mae"``, ``"huber"``, or ``"cross_entropy"`` where targets are classes;
        ``"auto"`` is the first for numbers and the last for classes.
    class_weights
        ``"balanced"`` lets rare classes count as much as frequent ones.
    patience
        Evaluations without a better one after which training ends before its last step.
    rollbacks
        How often a training that leaves the finite numbers goes back to its last checkpoint, and on
        from there with half the learning rate.
    rewire
        Prune-and-rewire.

    Raises
    ------
    InputError
        A number is out of range.
    PruningError
        There is no such rule of rewiring, or it does not go with `keep`.
    """

    steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: float = 0.02
    weight_decay: float = 0.0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip_norm: float = 1.0
    window: int = 32
    stride: int | None = None
    evaluate_every: int = 50
    checkpoint_every: int = 250
    seed: int = 0
    loss: Literal["auto", "mse", "mae", "huber", "cross_entropy"] = "auto"
    class_weights: Literal["equal", "balanced"] = "equal"
    patience: int | None = None
    rollbacks: int = 3
    rewire: RewireConfig = field(default_factory=RewireConfig)

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("accumulate", 1),
            ("window", 1),
            ("evaluate_every", 1),
            ("checkpoint_every", 1),
            ("seed", 0),
            ("rollbacks", 0),
        ):
            _check_at_least(name, getattr(self, name), least)
        if self.patience is not None:
            _check_at_least("patience", self.patience, 1)
        if self.stride is not None:
            _check_at_least("stride", self.stride, 1)
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise InputError(
                    f"got {name} = {value}, expected a finite number above 0; the default is "
                    f"{getattr(TrainingConfig, name)}"
                )
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise InputError(
                f"got weight_decay = {self.weight_decay}, expected a finite number of at least 0"
            )
        if self.class_weights == "balanced" and self.loss in ("mse", "mae", "huber"):
            raise InputError(
                f"got class_weights 'balanced' with the loss {self.loss!r}, expected "
                "'cross_entropy', as numbers have no classes; leave it out"
            )
        self.rewire.check()
        if self.rewire != RewireConfig():
            # Not above: it loads PyTorch, for which the command line's help shall not wait.
            from elegans.training.rewiring import rewirer_settings

            rewirer_settings(self)

    @property
    def training_stride(self) -> int:
        """Steps from one training window to the next."""
        return max(1, self.window // 4) if self.stride is None else self.stride

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0.

        Examples
        --------
        >>> config = TrainingConfig(steps=100, learning_rate=1.0)
        >>> [round(config.learning_rate_at(step), 3) for step in (0, 50, 75, 99)]
        [1.0, 1.0, 0.51, 0.021]
        """
        from elegans.training.optimizers import SCHEDULES  # loads PyTorch, as above

        return self.learning_rate * SCHEDULES[self.schedule](step / self.steps)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"got {name} = {value}, expected at least {least}; choose a larger number")
