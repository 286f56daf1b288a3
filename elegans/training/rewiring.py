"""What the settings of a training say about prune-and-rewire."""

from __future__ import annotations

from typing import Any

from elegans.pruning.amount.thresholds import Absolute, CosineFraction, Relative, Threshold
from elegans.pruning.rules import changed, settings_of
from elegans.training.config import RewireConfig, TrainingConfig

VALUES = {"absolute": 1e-2, "relative": 0.2, "cosine": 0.3}
"""The number that a threshold has where none is given."""


def rewirer_settings(config: TrainingConfig) -> dict[str, Any]:
    """Return the arguments of `elegans.PruneRewire`: those of the rule, and what replaces them.

    Raises
    ------
    PruningError
        There is no such rule, or it does not go with the share that is to be kept.

    Examples
    --------
    >>> config = TrainingConfig(steps=1000, rewire=RewireConfig(threshold="relative", until=0.5))
    >>> rewirer_settings(config)
    {'threshold': Relative(share=0.2), 'every': 17, 'until': 500}
    """
    rewire = config.rewire
    usual = settings_of(rewire.rule, config.steps, 1 - rewire.keep)
    changes: dict[str, Any] = {"every": rewire.every, "growth": rewire.growth}
    if rewire.until is not None:
        first = usual["every"] if rewire.every is None else rewire.every
        changes["until"] = max(first, round(rewire.until * config.steps))
    if rewire.threshold is not None or rewire.value is not None:
        end = changes.get("until", usual.get("until") or config.steps)
        changes["threshold"] = _threshold(rewire, usual["threshold"], end)
    changes = {name: value for name, value in changes.items() if value is not None}
    return changed(usual, config.steps, **changes)


def _threshold(rewire: RewireConfig, usual: float | Threshold, until: int) -> Threshold:
    """Return what replaces the threshold of the rule, of whose kind it is if none is given."""
    kind: str | None = rewire.threshold
    if kind is None and isinstance(usual, CosineFraction):
        kind = "cosine"
    elif kind is None:
        kind = "relative" if isinstance(usual, Relative) else "absolute"
    value = VALUES[kind] if rewire.value is None else rewire.value
    if kind == "cosine":
        return CosineFraction(value, until)
    return Absolute(value) if kind == "absolute" else Relative(value)
