"""Thresholds: rules from conductances to weak synapses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import PruningError


@runtime_checkable
class Threshold(Protocol):
    """Says which synapses are weak.

    Examples
    --------
    Weak is what is strong, for a control:

    >>> class Above:
    ...     def weak(self, weight, step):
    ...         return weight > 1.0
    >>> isinstance(Above(), Threshold), Above().weak(np.array([0.5, 2.0]), step=0)
    (True, array([False,  True]))
    """

    def weak(self, weight: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Return a mask over the conductances `weight`, shape (synapse,), at optimiser `step`."""


@checked(PruningError)
@dataclass(frozen=True)
class Absolute:
    """Weak is a conductance below `value`.

    Examples
    --------
    >>> Absolute(0.1).weak(np.array([0.05, 0.2]), step=0)
    array([ True, False])
    """

    value: float

    def __post_init__(self) -> None:
        if not (self.value >= 0 and math.isfinite(self.value)):
            raise PruningError(f"a threshold must be a finite number >= 0, got {self.value}")

    def weak(self, weight: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Return where weight < value."""
        return weight < self.value


@checked(PruningError)
@dataclass(frozen=True)
class Relative:
    """Weak is a conductance below `share` of the median conductance.

    Examples
    --------
    >>> Relative(0.5).weak(np.array([0.4, 1.0, 2.0]), step=0)
    array([ True, False, False])
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise PruningError(f"the share of the median must be from 0 to 1, got {self.share}")

    def weak(self, weight: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Return where weight < share * median(weight)."""
        return weight < self.share * np.median(weight) if len(weight) else weight < 0


@checked(PruningError)
@dataclass(frozen=True)
class CosineFraction:
    r"""Weak are the smallest conductances, a fraction that falls to zero over `steps`.

    .. math:: f(t) = f_0 \, (1 + \cos(\pi t / T)) / 2 \quad (t < T), \qquad f(t) = 0 \quad (t \ge T)

    Parameters
    ----------
    initial
        The fraction f0 at step 0, in [0, 1].
    steps
        The step T from which on nothing is weak.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery", ICML 2020, section 3.

    Examples
    --------
    >>> CosineFraction(initial=0.5, steps=100).weak(np.array([3.0, 1.0, 4.0, 2.0]), step=0)
    array([False,  True, False,  True])
    """

    initial: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= 1:
            raise PruningError(f"the initial fraction must be from 0 to 1, got {self.initial}")
        if self.steps < 1:
            raise PruningError(f"steps must be at least 1, got {self.steps}")

    def fraction(self, step: int) -> float:
        """Return f(step)."""
        if step >= self.steps:
            return 0.0
        return self.initial * (1 + math.cos(math.pi * step / self.steps)) / 2

    def weak(self, weight: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Return where the smallest round(f(step) * synapses) conductances are."""
        mask = np.zeros(len(weight), dtype=bool)
        count = round(self.fraction(step) * len(weight))
        mask[np.argsort(weight, kind="stable")[:count]] = True
        return mask


def as_threshold(threshold: Any) -> Threshold:
    """Return the rule that a number or a rule stands for."""
    if not isinstance(threshold, bool) and isinstance(threshold, Real):
        return Absolute(float(threshold))
    if isinstance(threshold, Threshold) and not isinstance(threshold, type):
        return threshold
    raise PruningError(
        f"threshold must be a number, Absolute, Relative or CosineFraction, got {threshold!r}"
    )
