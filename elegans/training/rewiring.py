"""What the settings of a training say about prune-and-rewire."""

from __future__ import annotations

from typing import Any

from elegans.pruning.amount.thresholds import Absolute, CosineFraction, Relative, Threshold
from elegans.pruning.rules import settings_of
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
    chosen = settings_of(rewire.rule, config.steps, 1 - rewire.keep)
    if rewire.every is not None:
        chosen["every"] = rewire.every
    if rewire.until is not None:
        chosen["until"] = max(chosen["every"], round(rewire.until * config.steps))
    if rewire.growth is not None:
        chosen["growth"] = rewire.growth
    chosen["threshold"] = _threshold(rewire, chosen["threshold"], chosen.get("until", config.steps))
    return chosen


def _threshold(rewire: RewireConfig, usual: Threshold, until: int) -> Threshold:
    """Return the threshold of the rule, or what replaces it; a falling one ends at `until`."""
    kind, value = rewire.threshold, rewire.value
    if kind is None and value is None:
        return CosineFraction(usual.initial, until) if isinstance(usual, CosineFraction) else usual
    kind = kind or "cosine"
    value = VALUES[kind] if value is None else value
    if kind == "cosine":
        return CosineFraction(value, until)
    return Absolute(value) if kind == "absolute" else Relative(value)
