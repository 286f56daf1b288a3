"""The settings of prune-and-rewire, validated in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import check_step
from elegans.pruning.amount.thresholds import Absolute, Threshold
from elegans.pruning.growing.rules import GROWTHS


@dataclass(frozen=True)
class RewireSettings:
    """What `elegans.PruneRewire` was asked to do; see there."""

    threshold: Threshold
    every: int
    until: int | None
    growth: str
    candidates: int
    weight: float
    excitatory: float
    self_synapses: bool

    def __post_init__(self) -> None:
        for name in ("every", "candidates"):
            check_step(name, getattr(self, name))
        if self.until is not None:
            check_step("until", self.until)
            if self.until < self.every:
                raise PruningError(
                    f"until={self.until} ends before the first edit at step every={self.every}; "
                    "raise until"
                )
        if self.growth not in GROWTHS:
            raise PruningError(f"unknown growth {self.growth!r}, expected one of {tuple(GROWTHS)}")
        if not (_is_number(self.weight) and 0 < self.weight < math.inf):
            raise PruningError(
                f"the weight of a fresh synapse must be a number > 0, got {self.weight!r}"
            )
        if not (_is_number(self.excitatory) and 0 <= self.excitatory <= 1):
            raise PruningError(
                f"excitatory must be a probability from 0 to 1, got {self.excitatory!r}"
            )
        self.check_weight(float(self.weight))

    def check_weight(self, weight: float) -> None:
        """Raise `PruningError` when a fresh synapse of the conductance `weight` would be weak.

        A conductance passes through a parameter of the layer's precision, which rounds it.
        """
        if not math.isfinite(weight):
            raise PruningError(
                f"a fresh synapse of weight={self.weight} is not finite in the layer's precision; "
                "raise weight"
            )
        if isinstance(self.threshold, Absolute) and weight < self.threshold.value:
            raise PruningError(
                f"a fresh synapse of weight={weight:.9g} would be weak at once, below the "
                f"threshold {self.threshold.value}; raise weight or lower the threshold"
            )

    def is_due(self, step: int) -> bool:
        """Whether synapses are edited at optimiser `step`, counted from 1."""
        return step % self.every == 0 and (self.until is None or step <= self.until)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, to be compared when training is resumed."""
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in vars(self).items()
        }
        return plain | {"threshold": repr(self.threshold)}


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def checked_seed(seed: Any) -> int:
    """Return the seed; raise `PruningError` unless it is an integer of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise PruningError(f"seed must be an integer of at least 0, got {seed!r}")
    return int(seed)
