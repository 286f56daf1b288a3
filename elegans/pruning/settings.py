"""Settings of a pruner, validated in one place, and its sources of randomness."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import OneShot, Schedule, check_sparsity, check_step
from elegans.pruning.amount.scopes import Scope, check_budget
from elegans.pruning.amount.thresholds import Absolute, Threshold
from elegans.pruning.growing.fresh import Fresh
from elegans.pruning.growing.legality import Freedom
from elegans.pruning.growing.rules import GrowthRule
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import StackedSynapsePart, SynapsePart

LISTED = ("all", "synapses", "none")
"""Choices of the edits that the ledger lists."""


@dataclass(frozen=True)
class PrunerSettings:
    """Settings of a pruner; see `Pruner`."""

    scope: Scope
    budget: str
    growth: GrowthRule | None
    drop_fraction: Threshold | None
    every: int
    until: int | None
    fresh: Fresh
    freedom: Freedom
    grace: int
    allow_empty: bool
    list_edits: str
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
                "both or neither: what grows takes the place of what is dropped"
            )
        if self.drop_fraction is not None and not isinstance(self.drop_fraction, Threshold):
            raise PruningError(
                f"drop_fraction must be a CosineFraction or another threshold, got "
                f"{self.drop_fraction!r}; CosineFraction(0.3, steps) begins with 30 %"
            )
        if self.list_edits not in LISTED:
            raise PruningError(f"list_edits must be one of {LISTED}, got {self.list_edits!r}")
        check_step("every", self.every)
        if self.until is not None:
            check_step("until", self.until)
            if self.until < self.every:
                raise PruningError(
                    f"until={self.until} ends before the first edit at step every={self.every}; "
                    "raise until"
                )
        if isinstance(self.grace, bool) or not isinstance(self.grace, int) or self.grace < 0:
            raise PruningError(
                f"grace must be a number of optimiser steps of at least 0, got {self.grace!r}"
            )
        if not isinstance(self.fresh.strength, str):
            self._check_weight(float(self.fresh.strength))

    def _check_weight(self, weight: float) -> None:
        """Raise `PruningError` when a fresh synapse as strong as `weight` would be weak at once."""
        if not math.isfinite(weight):
            raise PruningError(
                f"a fresh synapse of weight={self.fresh.strength} is not finite in the layer's "
                "precision; raise weight"
            )
        if isinstance(self.drop_fraction, Absolute) and weight < self.drop_fraction.value:
            raise PruningError(
                f"a fresh synapse of weight={weight:.9g} would be weak at once, below the "
                f"threshold {self.drop_fraction.value}; raise weight or lower the threshold"
            )

    def lists(self, part: PrunableWeight) -> bool:
        """Whether the ledger lists the edits of a part, or only counts them."""
        return self.list_edits == "all" or (
            self.list_edits == "synapses" and isinstance(part, SynapsePart)
        )

    def check_growth(self, part: PrunableWeight) -> None:
        """Raise `PruningError` unless weights of a part can grow as asked."""
        if isinstance(part, StackedSynapsePart):
            raise PruningError(
                f"synapses of {part.name} would have to grow in several circuits at once; let one "
                "member at a time grow, or prune the ensemble without growth"
            )
        if not isinstance(part, SynapsePart):
            return
        strength = self.fresh.known_strength(part)
        if strength is not None:
            self._check_weight(part.synapses.realised(strength))

    def exchanges_at(self, step: int) -> bool:
        """Whether weights are exchanged after optimiser `step`, counted from 1."""
        due = step % self.every == 0 and (self.until is None or step <= self.until)
        return self.growth is not None and due

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, to be compared when training is resumed."""
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in vars(self).items()
        }
        del plain["fresh"], plain["freedom"]
        return plain | {
            "scope": vars(self.scope),
            "weight": self.fresh.strength,
            "excitatory": self.fresh.excitatory,
            **vars(self.freedom),
            "growth": None if self.growth is None else repr(self.growth),
            "drop_fraction": None if self.drop_fraction is None else repr(self.drop_fraction),
        }


def own_generator(seed: int) -> torch.Generator:
    """Return a generator whose numbers are not those that the model was drawn from.

    With the same seed for both, PyTorch's generator would repeat the very numbers that became the
    initial weights, and "at random" would mean "the smallest first".
    """
    mixed = np.random.SeedSequence((seed, 0x7072756E65)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


def checked_seed(seed: Any) -> int:
    """Return the seed; raise `PruningError` unless it is an integer of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise PruningError(f"seed must be an integer of at least 0, got {seed!r}")
    return int(seed)


def as_schedule(schedule: Any) -> Schedule | None:
    """Return a copy of the schedule, or the one that a sparsity stands for."""
    if schedule is None or isinstance(schedule, Schedule):
        return copy.deepcopy(schedule)
    check_sparsity("schedule", schedule)
    return OneShot(schedule)


def rng_of(state: Any) -> np.random.Generator:
    """Return the generator that a saved state describes."""
    rng = np.random.default_rng()
    rng.bit_generator.state = copy.deepcopy(state)
    return rng
