"""Optimisers by name, what a checkpoint keeps of them, and schedules of their learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

FINAL_RATE = 0.02
"""The learning rate at the last step, as a share of the first, where it falls."""


@dataclass(frozen=True)
class OptimizerKind:
    """One of PyTorch's optimisers.

    Parameters
    ----------
    make
        Its class.
    settings
        Arguments beside learning rate, weight decay and fused steps.
    memory
        What it remembers of each parameter.
    fuses
        Whether it can step all parameters at once.
    """

    make: type[Optimizer]
    settings: dict[str, Any]
    memory: tuple[str, ...]
    fuses: bool = True

    def of(
        self, parameters: Iterable[nn.Parameter], rate: float, decay: float, *, fused: bool
    ) -> Optimizer:
        """Return an optimiser of the parameters.

        Examples
        --------
        >>> weights = [nn.Parameter(torch.ones(2))]
        >>> OPTIMIZERS["sgd"].of(weights, 0.1, 0.0, fused=False).defaults["momentum"]
        0.9
        """
        # A circuit has many small parameters: one by one they would take a fifth of a step.
        settings = self.settings | {"weight_decay": decay}
        if self.fuses:
            settings["fused"] = fused
        made: Optimizer = self.make(parameters, lr=rate, **settings)  # type: ignore[call-arg]
        return made


_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
OPTIMIZERS = {
    "adam": OptimizerKind(torch.optim.Adam, {}, _MOMENTS),
    "adamw": OptimizerKind(torch.optim.AdamW, {}, _MOMENTS),
    "sgd": OptimizerKind(torch.optim.SGD, {"momentum": 0.9}, ("momentum_buffer",)),
    "rmsprop": OptimizerKind(torch.optim.RMSprop, {}, ("step", "square_avg"), fuses=False),
}
"""Optimisers by the names of `TrainingConfig`."""


def _cosine(progress: float) -> float:
    late = max(0.0, 2.0 * progress - 1.0)
    return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * late)) / 2


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": _cosine,
    "linear": lambda progress: 1 - (1 - FINAL_RATE) * progress,
    "constant": lambda progress: 1.0,
}
"""Share of the learning rate at a share of the training, by the names of `TrainingConfig`."""
