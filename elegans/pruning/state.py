"""What a pruner knows: masks, ledger, and random state; saved, loaded, and undone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import Schedule, described
from elegans.pruning.criteria.magnitude import Criterion
from elegans.pruning.growing.momentum import Momentum
from elegans.pruning.ledger import Edit, Ledger
from elegans.pruning.measuring.exploration import Exploration
from elegans.pruning.measuring.turnover import Births, Turnover
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.settings import PrunerSettings, own_generator, rng_of


class PrunerState:
    """What `elegans.Pruner` knows of its weights, and may be asked.

    Parameters
    ----------
    parts
        What is pruned.
    settings, schedule, criterion
        How; schedule and criterion have a state of their own.
    moments
        What the optimiser remembers of the parts.
    """

    def __init__(
        self,
        parts: Sequence[PrunableWeight],
        settings: PrunerSettings,
        schedule: Schedule | None,
        criterion: Criterion,
        moments: Moments,
    ) -> None:
        self.parts, self.settings = list(parts), settings
        self.schedule, self.criterion = schedule, criterion
        self.steps = 0
        self.cut = 0
        """Weights cut so far, those exchanged included."""
        self._moments = moments
        self._generator = own_generator(settings.seed)
        self._rng = np.random.default_rng(settings.seed)
        self._ledger = Ledger()
        self._explored = Exploration(self.parts)
        self._births = Births(self.parts)
        self._newborn: dict[str, Tensor] = {}  # what entries of a matrix grow with, if not zero
        decay = None if settings.growth is None else settings.growth.decay
        self._momentum = None if decay is None else Momentum(self.parts, decay)

    @property
    def ledger(self) -> list[Edit]:
        """The edits so far, in their order."""
        return self._ledger.edits

    @property
    def counts(self) -> Counter[str]:
        """How many weights were rewired, pruned, or kept, and why."""
        return self._ledger.counts

    @property
    def sparsity(self) -> float:
        """The share of missing weights in all parts; their mean over members of an ensemble."""
        missing = sum(int((~part.mask).sum()) for part in self.parts)
        return missing / sum(part.mask.numel() for part in self.parts)

    def sparsities(self) -> dict[str, float]:
        """Return the share of missing weights of each part."""
        return {part.name: float((~part.mask).double().mean()) for part in self.parts}

    def masks(self) -> dict[str, Tensor]:
        """Return which weights are there, bool, in the shape of each weight."""
        return {part.name: part.mask.clone() for part in self.parts}

    def ever_active(self) -> dict[str, Tensor]:
        """Return which weights took part in at least one optimiser step, as `step` counted them.

        By name, a mask in the shape of the weight. Of a set of synapses, one entry for each pair
        of neurons that could be connected, in no particular order.
        """
        return self._explored.masks()

    def exploration_rate(self) -> float:
        """Return the share of all possible weights that took part in at least one step.

        References
        ----------
        Liu, Yin, Mocanu, Pechenizkiy, "Do we actually need dense over-parameterization?
        In-time over-parameterization in sparse training", ICML 2021, definition 1.
        """
        return self._explored.rate()

    def turnover(self) -> Turnover:
        """Return how many weights went that had grown, at which age, and how many are there."""
        return self._births.turnover()

    def state_dict(self, *, ledger: bool = True) -> dict[str, Any]:
        """Return step, masks, ledger, births, schedule, criterion, settings and random states.

        Without the `ledger`, its edits are to be kept elsewhere, as what `Edit.to_dict` returns,
        and to be under ``"ledger"`` again for `load_state_dict`.
        """
        return {
            "steps": self.steps,
            "cut": self.cut,
            "masks": self.masks(),
            "ever": self._explored.state_dict(),
            "births": self._births.state_dict(),
            "schedule": {} if self.schedule is None else self.schedule.state_dict(),
            "criterion": self.criterion.state_dict(),
            "momentum": {} if self._momentum is None else self._momentum.state_dict(),
            "newborn": {name: value.clone() for name, value in self._newborn.items()},
            "random": copy.deepcopy(self._rng.bit_generator.state),
            "drawing": self._generator.get_state(),
            "settings": self._described(),
            **self._ledger.state_dict(edits=ledger),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`, or from what JSON made of it.

        Model and optimiser are restored by their own.

        Raises
        ------
        PruningError
            It is no such state, or of another model, or of a pruner with other settings, another
            criterion or another schedule; nothing is changed then.
        """
        try:
            steps, cut = int(state["steps"]), int(state["cut"])
            settings = {"keep_sets": True} | dict(state["settings"])  # sets were kept always, once
            if steps < 0:
                raise ValueError(f"steps={steps}")
            masks = {
                name: torch.as_tensor(mask, dtype=torch.bool)
                # One that was saved without is of a circuit, with which its masks travel.
                for name, mask in state.get("masks", self.masks()).items()
            }
            ever = {
                name: None if known is None else torch.as_tensor(known)
                for name, known in state["ever"].items()
            }
            generator = torch.Generator()
            generator.set_state(torch.as_tensor(state["drawing"], dtype=torch.uint8).cpu())
            rng, ledger = rng_of(state["random"]), Ledger.from_state(state)
            births = self._births.loaded(state["births"])
            schedule, criterion = copy.deepcopy((self.schedule, self.criterion))
            if schedule is not None:
                schedule.load_state_dict(dict(state["schedule"]))
            criterion.load_state_dict(dict(state["criterion"]))
            momentum = copy.copy(self._momentum)
            if momentum is not None:
                momentum.load_state_dict(dict(state["momentum"]))
            newborn = {
                name: torch.as_tensor(state["newborn"][name], dtype=torch.float64).to(value)
                for name, value in self._newborn.items()
            }
        except (
            AttributeError,
            IndexError,
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise PruningError(
                f"not a state of {type(self).__name__} ({error!r}); pass what state_dict() returned"
            ) from error
        shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
        mine = {part.name: tuple(part.mask.shape) for part in self.parts}
        if shapes != mine or set(ever) != set(mine):
            raise PruningError(
                f"the state is of weights {shapes}, this pruner has {mine}; make it with the "
                "model, include and exclude that it was saved with"
            )
        own = self._described()
        differ = {k: (settings.get(k), v) for k, v in own.items() if settings.get(k) != v}
        if differ:
            raise PruningError(
                f"the state was saved with other settings (saved, here): {differ}; make the "
                f"{type(self).__name__} with those it was saved with"
            )
        self.schedule, self.criterion = schedule, criterion
        self.steps, self.cut, self._generator = steps, cut, generator
        self._rng, self._ledger, self._births = rng, ledger, births
        self._explored.load_state_dict(ever)
        self._newborn = newborn
        if self._momentum is not None and momentum is not None:
            self._momentum.load_state_dict(momentum.means)
        for part in self.parts:
            # What the optimiser remembers is restored by itself.
            part.hold(masks[part.name].to(part.mask), Moments(None))

    def _described(self) -> dict[str, Any]:
        """Return plain values that say what this pruner does."""
        return self.settings.to_dict() | {
            "criterion": repr(self.criterion),
            "schedule": described(self.schedule),
        }

    @contextmanager
    def _undone_on_error(self, several: bool) -> Iterator[None]:
        """Undo all if one of `several` changes fails; a single one fails before it begins."""
        if not several:
            yield
            return
        kept = self.cut, self._explored.is_noted, self._generator.get_state()
        ledger, births = copy.deepcopy(self._ledger), self._births.state_dict()
        criterion = copy.deepcopy(self.criterion.state_dict())
        momentum = {} if self._momentum is None else self._momentum.state_dict()
        masks = [part.mask.clone() for part in self.parts]
        tensors = [
            (tensor, tensor.detach().clone())
            for part in self.parts
            for _, parameter in part.named_parameters()
            for tensor in self._moments.tensors(parameter)
        ]
        try:
            yield
        except BaseException:
            self.cut, self._explored.is_noted = kept[:2]
            self._ledger = ledger
            self._births = self._births.loaded(births)
            self.criterion.load_state_dict(criterion)
            if self._momentum is not None:
                self._momentum.load_state_dict(momentum)
            self._generator.set_state(kept[2])
            for part, mask in zip(self.parts, masks, strict=True):
                part.hold(mask, Moments(None))
            with torch.no_grad():
                for tensor, value in tensors:
                    tensor.copy_(value)
            raise
