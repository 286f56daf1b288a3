r"""Schedules of sparsity over optimiser steps.

A schedule says which share of the weights shall be missing after each optimiser step. Steps count
from 1; a schedule is asked only at steps at which it is due.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from numbers import Integral, Real
from typing import Any

import numpy as np

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.schemas import check_nothing_kept, schema_of, validate

Sparsity = float | Sequence[float]
"""A share of missing weights in [0, 1), or one for each member of an ensemble."""


class Schedule(ABC):
    """Says which share of the weights shall be missing after an optimiser step.

    Examples
    --------
    >>> class Staircase(Schedule):
    ...     def is_due(self, step):
    ...         return step % 100 == 0 and step <= 400
    ...
    ...     def sparsity(self, step):
    ...         return step / 500
    >>> stairs = Staircase()
    >>> [stairs.sparsity(step) for step in range(1, 1000) if stairs.is_due(step)]
    [0.2, 0.4, 0.6, 0.8]
    """

    @abstractmethod
    def is_due(self, step: int) -> bool:
        """Whether something is to be cut after optimiser `step`."""

    @abstractmethod
    def sparsity(self, step: int) -> Sparsity:
        """Return the share of weights that shall be missing after optimiser `step`."""

    def report_metric(self, loss: float) -> None:  # noqa: B027  # may be left as it is
        """Take note of a validation loss; schedules that do not wait for one ignore it."""

    def advance(self) -> None:  # noqa: B027
        """Take note that what was due has been cut."""

    def state_dict(self) -> dict[str, Any]:
        """Return what changes while the schedule is followed, as plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises `PruningError` if it is none."""
        check_nothing_kept(self, state)


def last_sparsity(schedule: Schedule) -> float | None:
    """Return the share of missing weights at the end, None where a schedule does not say it."""
    for name in ("final", "sparsities", "levels"):
        value = getattr(schedule, name, None)
        if isinstance(value, Real):
            return float(value)
        if name != "final" and isinstance(value, Sequence) and value:
            return float(value[-1])
    return None


def described(schedule: Schedule | None) -> dict[str, str] | None:
    """Return kind and arguments of a schedule as plain values; not how far it has come."""
    if schedule is None:
        return None
    declared = getattr(schedule, "__dataclass_fields__", {})  # one's own need not be a dataclass
    arguments = {name: repr(getattr(schedule, name)) for name in declared if declared[name].init}
    return {"kind": type(schedule).__name__} | arguments


@checked(PruningError)
@dataclass(frozen=True)
class OneShot(Schedule):
    """Everything at once.

    Parameters
    ----------
    final
        The share of missing weights, in [0, 1), or one for each member of an ensemble.
    at
        The optimiser step after which it is cut.

    Examples
    --------
    >>> [step for step in range(1, 200) if OneShot(0.9, at=100).is_due(step)]
    [100]
    """

    final: Sparsity
    at: int = 1

    def __post_init__(self) -> None:
        check_sparsity("final", self.final)
        check_step("at", self.at)

    def is_due(self, step: int) -> bool:
        """Whether `step` is the one."""
        return step == self.at

    def sparsity(self, step: int) -> Sparsity:
        """Return the final sparsity."""
        return self.final


@checked(PruningError)
@dataclass(frozen=True)
class AtFractions(Schedule):
    """Given shares at given fractions of the training.

    Parameters
    ----------
    sparsities
        The share of missing weights from each point on, rising.
    fractions
        The points, as fractions in (0, 1] of the training, rising.
    steps
        Optimiser steps of the whole training.

    Examples
    --------
    Seventeen per cent of what is there, after one and after two thirds of the training:

    >>> schedule = AtFractions((0.17, 1 - 0.83**2), (1 / 3, 2 / 3), steps=4000)
    >>> due = [step for step in range(1, 4001) if schedule.is_due(step)]
    >>> [(step, round(schedule.sparsity(step), 4)) for step in due]
    [(1333, 0.17), (2667, 0.3111)]
    """

    sparsities: Sequence[float]
    fractions: Sequence[float]
    steps: int

    def __post_init__(self) -> None:
        check_step("steps", self.steps)
        if len(self.sparsities) != len(self.fractions) or not self.sparsities:
            raise PruningError(
                f"got {len(self.sparsities)} sparsities and {len(self.fractions)} fractions, "
                "expected one fraction for each sparsity, and at least one"
            )
        for sparsity in self.sparsities:
            check_sparsity("sparsities", sparsity)
        if list(self.sparsities) != sorted(set(self.sparsities)):
            raise PruningError(f"sparsities must rise, got {tuple(self.sparsities)}")
        if not all(0 < fraction <= 1 for fraction in self.fractions):
            raise PruningError(f"fractions must be in (0, 1], got {tuple(self.fractions)}")
        if self._pruning_steps != sorted(set(self._pruning_steps)):
            raise PruningError(
                f"fractions must rise and fall on different steps, got {tuple(self.fractions)} of "
                f"{self.steps} steps"
            )

    @property
    def _pruning_steps(self) -> list[int]:
        return [max(1, round(fraction * self.steps)) for fraction in self.fractions]

    def is_due(self, step: int) -> bool:
        """Whether `step` is one of the points."""
        return step in self._pruning_steps

    def sparsity(self, step: int) -> float:
        """Return the sparsity from the last point on."""
        passed = [
            s for s, at in zip(self.sparsities, self._pruning_steps, strict=True) if at <= step
        ]
        return passed[-1] if passed else 0.0


@dataclass(frozen=True)
class _Gradual(Schedule):
    """A curve from `initial` at step `begin` to `final` at step `end`, once every `every` steps."""

    final: Sparsity
    end: int
    begin: int = 1
    every: int = 1
    initial: Sparsity = 0.0

    def __post_init__(self) -> None:
        for name in ("final", "initial"):
            check_sparsity(name, getattr(self, name))
        for name in ("begin", "end", "every"):
            check_step(name, getattr(self, name))
        if self.end < self.begin:
            raise PruningError(
                f"the schedule ends at step {self.end}, before it begins at step {self.begin}; "
                "raise end"
            )
        if np.any(np.asarray(self.final) < np.asarray(self.initial)):
            raise PruningError(
                f"the schedule ends at sparsity {self.final}, below the initial {self.initial}: "
                "a pruned weight does not revive; raise final"
            )

    def is_due(self, step: int) -> bool:
        """Whether `step` is the first, the last, or on the way."""
        on_the_way = (step - self.begin) % self.every == 0
        return self.begin <= step <= self.end and (on_the_way or step == self.end)

    def sparsity(self, step: int) -> Sparsity:
        """Return the sparsity at `step` on the curve."""
        length = self.end - self.begin
        progress = 1.0 if length == 0 else min(1.0, max(0.0, (step - self.begin) / length))
        initial, final = np.asarray(self.initial), np.asarray(self.final)
        value = final + (initial - final) * self.remaining(progress)
        return float(value) if value.ndim == 0 else [float(v) for v in value]

    def remaining(self, progress: float) -> float:
        """Return the share of the way that is left, from 1 to 0, at `progress` from 0 to 1."""
        raise NotImplementedError


@checked(PruningError)
@dataclass(frozen=True)
class Cubic(_Gradual):
    r"""Fast at first, slower towards the end.

    .. math:: s(t) = s_f + (s_0 - s_f) \left(1 - \frac{t - t_0}{T - t_0}\right)^3

    Parameters
    ----------
    final
        The share of missing weights at the end, in [0, 1), or one for each member of an ensemble.
    end
        The last step T at which weights are cut.
    begin
        The first, t_0.
    every
        Weights are cut once in so many steps.
    initial
        The share at the beginning, s_0.

    References
    ----------
    Zhu, Gupta, "To prune, or not to prune", 2017, equation 1.

    Examples
    --------
    >>> schedule = Cubic(0.8, end=101, every=50)
    >>> [(step, round(schedule.sparsity(step), 3)) for step in (1, 51, 101)]
    [(1, 0.0), (51, 0.7), (101, 0.8)]
    """

    def remaining(self, progress: float) -> float:
        """Return (1 - progress)^3."""
        return (1.0 - progress) ** 3


@checked(PruningError)
@dataclass(frozen=True)
class Cosine(_Gradual):
    r"""Slow at both ends: half a wave of a cosine.

    .. math:: s(t) = s_f + (s_0 - s_f) \, \tfrac12 \left(1 + \cos \pi \frac{t - t_0}{T - t_0}\right)

    Parameters are those of `Cubic`.

    Examples
    --------
    >>> schedule = Cosine(0.8, end=101, every=50)
    >>> [(step, round(schedule.sparsity(step), 3)) for step in (1, 51, 101)]
    [(1, 0.0), (51, 0.4), (101, 0.8)]
    """

    def remaining(self, progress: float) -> float:
        """Return (1 + cos(pi progress)) / 2."""
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@checked(PruningError)
@dataclass
class IterativeSchedule(Schedule):
    """One level after the other, each when training has converged on the one before.

    Converged is a training whose validation loss has not fallen by `improvement` (a share of the
    best loss) for `patience` observations, which `elegans.pruning.Pruner.report_metric` brings. The
    first level is cut when the dense model has converged.

    Parameters
    ----------
    levels
        The shares of missing weights, rising, each in [0, 1).
    patience
        Observations without improvement that mean convergence.
    improvement
        The share of the best loss that counts as improvement.
    longest
        Observations after which training on a level ends in any case; no limit by default.

    Examples
    --------
    >>> schedule = IterativeSchedule((0.5, 0.9), patience=2)
    >>> for loss in (1.0, 0.5, 0.5, 0.5):
    ...     schedule.report_metric(loss)
    >>> schedule.is_due(step=4), schedule.sparsity(step=4), schedule.finished
    (True, 0.5, False)
    """

    levels: Sequence[float]
    patience: int = 5
    improvement: float = 1e-3
    longest: int | None = None
    _reached: int = field(default=0, init=False)
    _best: float = field(default=math.inf, init=False)
    _waited: int = field(default=0, init=False)
    _observed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_step("patience", self.patience)
        if self.longest is not None:
            check_step("longest", self.longest)
        if not self.levels:
            raise PruningError("levels must hold at least one sparsity, got none")
        for level in self.levels:
            check_sparsity("levels", level)
        if list(self.levels) != sorted(set(self.levels)):
            raise PruningError(f"levels must rise, got {tuple(self.levels)}")
        if not 0 <= self.improvement < 1:
            raise PruningError(f"improvement must be a share in [0, 1), got {self.improvement!r}")

    @property
    def converged(self) -> bool:
        """Whether training has converged on the present level, or took long enough."""
        exhausted = self.longest is not None and self._observed >= self.longest
        return exhausted or self._waited >= self.patience

    @property
    def finished(self) -> bool:
        """Whether training has converged on the last level."""
        return self.converged and self._reached == len(self.levels)

    def report_metric(self, loss: float) -> None:
        """Take note of a validation loss."""
        if not math.isfinite(loss):
            raise PruningError(
                f"the validation loss is {loss}, expected a finite number; lower the learning rate"
            )
        self._observed += 1
        gained = self._best - loss
        if math.isinf(gained) or gained > self.improvement * abs(self._best):
            self._best, self._waited = loss, 0
        else:
            self._waited += 1

    def is_due(self, step: int) -> bool:
        """Whether training has converged and there is another level."""
        return self.converged and self._reached < len(self.levels)

    def sparsity(self, step: int) -> float:
        """Return the next level."""
        return self.levels[min(self._reached, len(self.levels) - 1)]

    def advance(self) -> None:
        """Begin to wait for convergence on the level that was just cut."""
        self._reached += 1
        self._best, self._waited, self._observed = math.inf, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return level, best loss, and observations waited and made."""
        return {
            "reached": self._reached,
            "best": None if math.isinf(self._best) else self._best,
            "waited": self._waited,
            "observed": self._observed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises `PruningError` if it is none of as many levels."""
        validate(_iterative_schema(), state)
        if state["reached"] > len(self.levels):
            raise PruningError(
                f"the state has reached {state['reached']} levels, expected at most "
                f"{len(self.levels)}; make the schedule with those that it was saved with"
            )
        self._reached, self._waited = state["reached"], state["waited"]
        self._observed = state["observed"]
        self._best = math.inf if state["best"] is None else float(state["best"])


@cache
def _iterative_schema() -> Any:
    from pydantic import FiniteFloat, NonNegativeInt

    count = NonNegativeInt
    return schema_of(reached=count, best=FiniteFloat | None, waited=count, observed=count)


def check_sparsity(name: str, sparsity: Any) -> None:
    """Raise `PruningError` unless `sparsity` is a share in [0, 1), or several."""
    values = sparsity if isinstance(sparsity, Sequence | np.ndarray) else [sparsity]
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0 <= float(value) < 1:
            raise PruningError(
                f"{name} must be a share of missing weights in [0, 1), got {value!r}"
                + ("; 90 % is 0.9" if number and float(value) > 1 else "")
            )


def check_step(name: str, value: Any) -> None:
    """Raise `PruningError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise PruningError(f"{name} must be an integer of at least 1, got {value!r}")
