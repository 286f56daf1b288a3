"""Published rules of prune-and-rewire, and our own, as settings of one operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import Cubic, check_step
from elegans.pruning.amount.thresholds import CosineFraction
from elegans.pruning.criteria.activity import OpenConductance
from elegans.pruning.criteria.saliency import SmoothedSaliency
from elegans.pruning.growing.link_prediction import LinkPrediction
from elegans.pruning.growing.momentum import MomentumGrowth
from elegans.pruning.growing.rules import GradientGrowth, HebbianGrowth, StrengthGrowth
from elegans.pruning.growing.walk import RandomWalk

ROUNDS = 60
"""Rounds of exchange that a training would have if they went on to its end."""


@dataclass(frozen=True)
class Training:
    """Length of a training in optimiser steps, and the sparsity that it is to end at, or None.

    Examples
    --------
    >>> Training(steps=6000, sparsity=0.5).every
    100
    """

    steps: int
    sparsity: float | None

    @property
    def every(self) -> int:
        """Steps between two rounds."""
        return max(1, round(self.steps / ROUNDS))

    def until(self, share: float) -> int:
        """Return the last step of this share of the training, at least that of the first round."""
        return max(self.every, round(share * self.steps))

    def exchange(self, share: float, until: float) -> dict[str, Any]:
        """Return settings by which this share is exchanged at first, and none from `until` on."""
        last = self.until(until)
        return {"threshold": CosineFraction(share, last), "every": self.every, "until": last}

    def thinned(self, begin: float = 0.1, end: float = 0.6) -> dict[str, Any]:
        """Return a schedule that brings the circuit to its sparsity between two moments."""
        if not self.sparsity:
            return {}
        # On a multiple of `every`, so that cuts and exchanges fall on the same steps.
        first = round(begin * self.steps) // self.every * self.every or 1
        last = max(first, round(end * self.steps))
        return {"schedule": Cubic(self.sparsity, end=last, begin=first, every=self.every)}


def _published(training: Training) -> dict[str, Any]:
    return {"threshold": 1e-2, "every": 50, "keep_sources": True, "weight": 0.05}


def _free(training: Training) -> dict[str, Any]:
    return training.exchange(0.3, 0.6)


def _set(training: Training) -> dict[str, Any]:
    return _free(training) | {"weight": "initial"}


def _rigl(training: Training) -> dict[str, Any]:
    growth = GradientGrowth(candidates=None)
    return training.exchange(0.3, 0.75) | {"growth": growth, "weight": 0.3}


def _soft_rigl(training: Training) -> dict[str, Any]:
    return _free(training) | {"growth": GradientGrowth(candidates=None, temperature=1.0)}


def _hebbian(training: Training) -> dict[str, Any]:
    return _free(training) | {"growth": HebbianGrowth(candidates=None, temperature=1.0)}


def _srigl(training: Training) -> dict[str, Any]:
    return _rigl(training) | {"max_inputs": 12}


def _deep_r(training: Training) -> dict[str, Any]:
    walk = RandomWalk()
    last = training.until(0.8)
    return {"threshold": walk.floor, "every": 1, "until": last, "walk": walk, "weight": 0.05}


def _redistributed(training: Training) -> dict[str, Any]:
    return _free(training) | {"keep_blocks": False, "growth": StrengthGrowth()}


def _sparse_momentum(training: Training) -> dict[str, Any]:
    return _free(training) | {"keep_blocks": False, "growth": MomentumGrowth()}


def _cht(training: Training) -> dict[str, Any]:
    return _free(training) | {"growth": LinkPrediction()}


def _chts(training: Training) -> dict[str, Any]:
    return _free(training) | {"growth": LinkPrediction(temperature=1.0)}


def _saliency(training: Training) -> dict[str, Any]:
    return _free(training) | {"criterion": SmoothedSaliency()}


def _gradual(training: Training) -> dict[str, Any]:
    last = training.until(0.6)
    nothing = CosineFraction(0.0, last)
    still = {"threshold": nothing, "every": training.every, "until": last}
    return still | training.thinned()


def _development(training: Training) -> dict[str, Any]:
    return _free(training) | training.thinned()


def _active_development(training: Training) -> dict[str, Any]:
    return _development(training) | {"criterion": OpenConductance("std")}


def _migration(training: Training) -> dict[str, Any]:
    return _development(training) | {"keep_blocks": False, "keep_sets": False}


RULES: dict[str, Callable[[Training], dict[str, Any]]] = {
    "published": _published,
    "set": _set,
    "rigl": _rigl,
    "srigl": _srigl,
    "soft_rigl": _soft_rigl,
    "hebbian": _hebbian,
    "deep_r": _deep_r,
    "redistributed": _redistributed,
    "sparse_momentum": _sparse_momentum,
    "cht": _cht,
    "chts": _chts,
    "free": _free,
    "saliency": _saliency,
    "gradual": _gradual,
    "development": _development,
    "active_development": _active_development,
    "migration": _migration,
}
"""Settings of `elegans.PruneRewire` by the name of the rule, for a `Training`."""


def settings_of(
    rule: str, steps: int, sparsity: float | None = None, **changes: Any
) -> dict[str, Any]:
    """Return the arguments of `elegans.PruneRewire` that make it follow a rule.

    What is changed takes the rest along: rewiring lasts to the first round at least, and a share
    that falls reaches zero when rewiring ends.

    Parameters
    ----------
    rule
        A name in `RULES`.
    steps
        Optimiser steps of the training.
    sparsity
        The share of synapses that are to be missing in the end, for rules that thin a circuit.
    **changes
        Arguments that replace those of the rule.

    Raises
    ------
    PruningError
        There is no such rule, it does not thin a circuit and a sparsity is given, or the other way
        round; or steps are no positive integers.

    Examples
    --------
    >>> settings_of("set", steps=6000)["every"]
    100
    >>> settings_of("free", steps=6000, until=1500)["threshold"]
    CosineFraction(initial=0.3, steps=1500)
    """
    if rule not in RULES:
        raise PruningError(f"unknown rule {rule!r}, expected one of {tuple(RULES)}")
    check_step("steps", steps)
    settings = RULES[rule](Training(int(steps), sparsity))
    if sparsity and "schedule" not in settings:
        raise PruningError(
            f"the rule {rule!r} keeps the number of synapses, got a final sparsity of {sparsity}; "
            "leave it out, or take 'development' or 'gradual'"
        )
    if not sparsity and rule == "gradual":
        raise PruningError(
            "the rule 'gradual' thins a circuit, got no final sparsity; pass one, or take 'free'"
        )
    return changed(settings, int(steps), **changes)


def changed(usual: dict[str, Any], steps: int, **changes: Any) -> dict[str, Any]:
    """Return settings of a rule with some of them replaced, for a training of so many `steps`."""
    settings = usual | changes
    check_step("every", settings["every"])
    if settings.get("until") is not None:
        check_step("until", settings["until"])
    if "until" not in changes and settings.get("until") is not None:
        settings["until"] = max(settings["until"], settings["every"])
    threshold = settings["threshold"]
    if threshold is usual["threshold"] and isinstance(threshold, CosineFraction):
        settings["threshold"] = CosineFraction(threshold.initial, settings["until"] or steps)
    return settings
