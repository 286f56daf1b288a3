"""The settings of a pruner, validated in one place, and the criteria by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from elegans.errors import PruningError
from elegans.pruning.amount.budgets import check_budget
from elegans.pruning.amount.schedules import OneShot, Schedule, check_sparsity, check_step
from elegans.pruning.amount.scopes import Scope
from elegans.pruning.amount.thresholds import CosineFraction
from elegans.pruning.criteria.magnitude import (
    Criterion,
    FunctionCriterion,
    LargestFirst,
    Magnitude,
    RandomScore,
)
from elegans.pruning.criteria.saliency import GradientWeight, Movement, Snip
from elegans.pruning.criteria.synaptic_flow import SynapticFlow
from elegans.pruning.growing.rules import GROWTHS

CRITERIA: dict[str, Callable[[], Criterion]] = {
    "magnitude": Magnitude,
    "l1": lambda: Magnitude("l1"),
    "l2": lambda: Magnitude("l2"),
    "linf": lambda: Magnitude("linf"),
    "largest_first": LargestFirst,
    "random": RandomScore,
    "gradient_weight": GradientWeight,
    "movement": Movement,
    "snip": Snip,
    "synaptic_flow": SynapticFlow,
}
"""Criteria by name."""


@dataclass(frozen=True)
class PrunerSettings:
    """What `elegans.pruning.Pruner` was asked to do; see there."""

    scope: Scope
    budget: str
    growth: str | None
    drop_fraction: CosineFraction | None
    every: int
    allow_empty: bool
    seed: int

    def __post_init__(self) -> None:
        check_budget(self.budget)
        if self.budget != "uniform" and self.scope.pool != "layer":
            raise PruningError(
                f"got budget={self.budget!r} with weights that compete across layers, expected "
                "scope='layer' or 'unit', where each layer has a budget of its own"
            )
        if (self.growth is None) != (self.drop_fraction is None):
            raise PruningError(
                f"got growth={self.growth!r} and drop_fraction={self.drop_fraction!r}, expected "
                "both or neither: what grows takes the place of what is exchanged"
            )
        if self.growth is not None and self.growth not in GROWTHS:
            raise PruningError(
                f"unknown growth {self.growth!r}, expected None or one of {tuple(GROWTHS)}"
            )
        if self.drop_fraction is not None and not isinstance(self.drop_fraction, CosineFraction):
            raise PruningError(
                f"drop_fraction must be a CosineFraction, got {self.drop_fraction!r}; for a "
                "threshold on conductances see PruneRewire"
            )
        check_step("every", self.every)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, to be compared when training is resumed."""
        return vars(self) | {"scope": vars(self.scope), "drop_fraction": repr(self.drop_fraction)}

    def exchanged(self, step: int) -> float:
        """Return the share of the remaining weights that is exchanged after optimiser `step`."""
        if self.drop_fraction is None or step % self.every:
            return 0.0
        return self.drop_fraction.fraction(step)


def as_schedule(schedule: Any) -> Schedule | None:
    """Return a copy of the schedule, or the one that a sparsity stands for."""
    if schedule is None or isinstance(schedule, Schedule):
        return copy.deepcopy(schedule)
    check_sparsity("schedule", schedule)
    return OneShot(schedule)


def as_criterion(criterion: Any) -> Criterion:
    """Return the criterion that a name or a function stands for."""
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, str) and criterion in CRITERIA:
        return CRITERIA[criterion]()
    if callable(criterion) and not isinstance(criterion, nn.Module):
        return FunctionCriterion(criterion)
    raise PruningError(
        f"unknown criterion {criterion!r}, expected one of {tuple(CRITERIA)}, a Criterion or a "
        "function of a part"
    )
