"""Pruning level after level, with training to convergence in between, of one network or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import IterativeSchedule
from elegans.pruning.pruner import Pruner

Array = NDArray[np.float64]
Batches = Callable[[int], tuple[Tensor, Tensor]]
"""Returns the inputs and the targets of a step, counted from 0."""


class Stage(NamedTuple):
    """Outcome of training on one level."""

    sparsity: float
    """The share of missing weights that was asked for."""
    steps: int
    """Optimiser steps that training on it took."""
    losses: tuple[float, ...]
    """The validation loss at its end, one for each network."""


@dataclass(frozen=True)
class SequentialPruning:
    """The validation loss of every network on every level of sparsity.

    Parameters
    ----------
    stages
        One for each level, rising; the first is the dense network.

    Examples
    --------
    >>> dense, half = Stage(0.0, 500, (1e-4, 2e-4)), Stage(0.5, 100, (1e-4, 9e-4))
    >>> result = SequentialPruning((dense, half, Stage(0.9, 80, (9e-4, 0.1))))
    >>> result.optima(limit=1e-3).tolist()
    [0.9, 0.5]
    >>> result.losses.shape
    (3, 2)
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages or len({len(stage.losses) for stage in self.stages}) > 1:
            raise PruningError(
                "got stages of different numbers of networks, or none, expected the same networks "
                "on every level"
            )

    @property
    def sparsities(self) -> Array:
        """The levels, shape (level,)."""
        return np.array([stage.sparsity for stage in self.stages])

    @property
    def losses(self) -> Array:
        """The validation losses, shape (level, network)."""
        return np.array([stage.losses for stage in self.stages])

    def optima(self, limit: float) -> Array:
        """Return the optimum of each network: the last level with a loss of at most `limit`.

        Levels after the first that exceeds the limit do not count, so that a lucky level does not
        hide a failure. NaN where the dense network exceeds it already. Shape (network,).
        """
        good = np.logical_and.accumulate(self.losses <= limit, axis=0)  # (level, network)
        last = good.sum(axis=0) - 1
        return np.where(last >= 0, self.sparsities[np.maximum(last, 0)], np.nan)

    @classmethod
    def joined(cls, results: Sequence[SequentialPruning]) -> SequentialPruning:
        """Return one result of the networks of several, which took the same levels and steps."""
        results = tuple(results)
        courses = {tuple((s.sparsity, s.steps) for s in result.stages) for result in results}
        if len(courses) != 1:
            raise PruningError(
                f"got {len(results)} results of {len(courses)} different courses of levels and "
                "steps, expected one course; join only runs of the same protocol"
            )
        return cls(
            tuple(
                level[0]._replace(losses=tuple(chain.from_iterable(s.losses for s in level)))
                for level in zip(*(result.stages for result in results), strict=True)
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"stages": [stage._asdict() for stage in self.stages]}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> SequentialPruning:
        """Return the result that `to_dict` wrote."""
        try:
            return cls(
                tuple(
                    Stage(float(s["sparsity"]), int(s["steps"]), tuple(map(float, s["losses"])))
                    for s in record["stages"]
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a record of sequential pruning ({error!r}); pass what to_dict() returned"
            ) from error


def squared_error(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error; of an ensemble, the sum over its members, so that none mix."""
    error: Tensor = (model(inputs) - targets).square()
    is_ensemble = callable(getattr(model, "prunable_weights", None))
    return error.flatten(1).mean(dim=1).sum() if is_ensemble else error.mean()


def prune_sequentially(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    validate: Callable[[nn.Module], float | Sequence[float] | Tensor],
    levels: Sequence[float],
    *,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] = squared_error,
    dense_steps: int = 0,
    evaluate_every: int = 1000,
    patience: int = 5,
    improvement: float = 1e-3,
    longest: int | None = None,
    cooling: float = 1.0,
    autocast: torch.dtype | None = None,
    criterion: str = "magnitude",
    scope: str = "layer",
    exclude: Sequence[str] = (),
    watch: Callable[[Stage], None] | None = None,
    progress: bool = True,
) -> SequentialPruning:
    r"""Train a network to convergence, then prune it to each level and retrain it, in turn.

    Masks are monotone: what is cut on one level stays cut on the next. The network ends as it was
    after the last level.

    Parameters
    ----------
    model
        A network, or an `elegans.ensemble.Ensemble` of several that see the same batches.
    optimizer
        Holds its parameters.
    batches
        Returns inputs and targets of a step.
    validate
        Returns the validation loss, over all validation data: one number, or one a network.
    levels
        The shares of missing weights, rising, each in [0, 1).
    loss
        From model, inputs and targets to the loss that is minimised.
    dense_steps
        Steps that the dense network is trained before its convergence is looked at.
    evaluate_every
        Steps between two validations.
    patience, improvement, longest
        When training on a level has converged; see `IterativeSchedule`, counted in validations.
    cooling
        On each level, the learning rate falls from its value to this share of it on half a wave of
        a cosine over `longest` validations. With 1 it is constant, as published.
    autocast
        Precision of the training's matrix products, such as ``torch.bfloat16``; parameters and
        validation keep theirs.
    criterion, scope, exclude
        See `Pruner`.
    watch
        Called with each stage when it is over; what it keeps is not lost if a later one fails.
    progress
        Whether to show a progress bar, where the output is a terminal.

    Raises
    ------
    PruningError
        An argument is not valid, or the loss leaves the finite numbers.
    """
    schedule = IterativeSchedule(tuple(levels), patience, improvement, longest)
    if not 0 < cooling <= 1 or (cooling < 1 and longest is None):
        raise PruningError(
            f"got cooling={cooling} with longest={longest}, expected a share in (0, 1], and a "
            "longest stage where it is below 1"
        )
    pruner = Pruner(model, optimizer, schedule, criterion, scope, exclude=exclude)
    waiting = pruner.schedule
    assert isinstance(waiting, IterativeSchedule)
    rates = [group["lr"] for group in optimizer.param_groups]
    stages: list[Stage] = []
    reached, in_stage, step = 0.0, 0, 0
    device = next(model.parameters()).device.type
    bar = tqdm(total=len(levels) + 1, disable=None if progress else True, unit="level")
    try:
        with bar:
            while len(stages) <= len(levels):
                if cooling < 1 and longest is not None:
                    length = longest * evaluate_every + (0 if stages else dense_steps)
                    place = min(1.0, in_stage / length)
                    share = cooling + (1 - cooling) * (1 + np.cos(np.pi * place)) / 2
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * float(share)
                inputs, targets = batches(step)
                optimizer.zero_grad()
                with torch.autocast(device, dtype=autocast, enabled=autocast is not None):
                    value = loss(model, inputs, targets)
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step, in_stage = step + 1, in_stage + 1
                if step % evaluate_every == 0 and step > dense_steps:
                    with torch.no_grad():
                        losses = torch.as_tensor(validate(model), dtype=torch.float64).reshape(-1)
                    pruner.report_metric(losses)
                    bar.set_postfix(sparsity=reached, loss=f"{float(losses.mean()):.3g}")
                    if waiting.converged:
                        stages.append(Stage(reached, in_stage, tuple(losses.tolist())))
                        bar.update()
                        if watch is not None:
                            watch(stages[-1])
                        if len(stages) > len(levels):
                            break
                        in_stage, reached = 0, levels[len(stages) - 1]
                pruner.step(partial(loss, model, inputs, targets))
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
    return SequentialPruning(tuple(stages))
