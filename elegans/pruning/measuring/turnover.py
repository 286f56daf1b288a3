"""Turnover: when weights grew, and how old those became that went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.schemas import numbers


@dataclass(frozen=True)
class Turnover:
    """What has become of the weights that grew; see `Pruner.turnover`.

    Examples
    --------
    >>> turnover = Turnover(cut=10, cut_grown=8, ages={50: 6, 100: 2}, present=20, present_grown=5)
    >>> turnover.churn, turnover.median_age, turnover.grown_share
    (0.8, 50.0, 0.25)
    """

    cut: int
    """Weights that went, exchanged or pruned."""
    cut_grown: int
    """Those of them that had grown during the training."""
    ages: Mapping[int, int]
    """How many of these went at which age, in optimiser steps."""
    present: int
    """Weights that are there."""
    present_grown: int
    """Those of them that have grown during the training."""

    @property
    def churn(self) -> float:
        """Share of the cuts that hit a weight that had grown; 0 if there were none."""
        return self.cut_grown / self.cut if self.cut else 0.0

    @property
    def grown_share(self) -> float:
        """Share of the present weights that have grown; 0 if there are none."""
        return self.present_grown / self.present if self.present else 0.0

    @property
    def median_age(self) -> float:
        """Median age, in optimiser steps, of the grown weights that went; NaN if none did."""
        ages = np.repeat(list(self.ages), list(self.ages.values()))
        return float(np.median(ages)) if len(ages) else float("nan")


class Births:
    """The optimiser step at which each weight grew, 0 if it was there from the start."""

    def __init__(self, parts: Sequence[PrunableWeight]) -> None:
        self._parts = parts
        self._born = {part.name: torch.zeros_like(part.mask, dtype=torch.int32) for part in parts}
        self._cut = 0
        self._ages: Counter[int] = Counter()

    def ages(self, part: PrunableWeight, step: int) -> Tensor:
        """Return the age of each weight in steps, -1 for those from the start, (weight,)."""
        born = self._of(part).reshape(-1)
        return torch.where(born > 0, step - born, -1)

    def _of(self, part: PrunableWeight) -> Tensor:
        """Return the births of a part, where its weights are now."""
        born = self._born[part.name] = self._born[part.name].to(part.mask.device)
        return born

    def note(self, part: PrunableWeight, step: int, going: Tensor, coming: Tensor) -> None:
        """Note that weights went and others grew at `step`; masks, or indices of a flat part."""
        born = self._of(part)
        gone = born[going]
        self._cut += gone.numel()
        self._ages.update((step - gone[gone > 0]).tolist())
        born[going] = 0
        born[coming] = step

    def turnover(self) -> Turnover:
        """Return the counts."""
        born = {part.name: self._of(part) for part in self._parts}
        masks = {part.name: part.mask for part in self._parts}
        return Turnover(
            self._cut,
            self._ages.total(),
            dict(sorted(self._ages.items())),
            sum(int(mask.sum()) for mask in masks.values()),
            sum(int((born[name] > 0)[mask].sum()) for name, mask in masks.items()),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: when the weights that grew did so, by their flat index."""
        grown = {name: born.reshape(-1).nonzero().squeeze(-1) for name, born in self._born.items()}
        return {
            "born": {
                name: [index.tolist(), self._born[name].reshape(-1)[index].tolist()]
                for name, index in grown.items()
            },
            "cut": self._cut,
            "ages": [list(pair) for pair in sorted(self._ages.items())],
        }

    def loaded(self, state: Mapping[str, Any] | None) -> Births:
        """Return the births that `state_dict` described; without one, nothing has grown."""
        births = Births(self._parts)
        if state is not None:
            if state["born"].keys() != births._born.keys():
                raise PruningError(
                    f"births: got those of {sorted(state['born'])}, expected {sorted(births._born)}"
                    "; pass what state_dict() returned"
                )
            for name, born in births._born.items():
                what = f"births of {name}"
                index, step = (numbers(what, x, torch.int64) for x in state["born"][name])
                numbers(what, step.tolist(), torch.int32, index.shape)
                inside = (index >= 0) & (index < born.numel()) & (step > 0)
                if index.dim() != 1 or not bool(inside.all()):
                    raise PruningError(
                        f"{what}: got weights {index.tolist()} at steps {step.tolist()}, expected "
                        f"places from 0 to {born.numel() - 1} and steps of at least 1; pass what "
                        "state_dict() returned"
                    )
                born.view(-1)[index.to(born.device)] = step.to(born)
            births._cut = state["cut"]
            ages = numbers("ages", state["ages"], torch.int64).reshape(-1, 2)
            if bool((ages < 0).any()):
                raise PruningError(
                    f"ages: got {ages.tolist()}, expected ages and numbers of at least 0; pass "
                    "what state_dict() returned"
                )
            births._ages = Counter(dict(ages.tolist()))
        return births
