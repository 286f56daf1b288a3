"""What a pruner knows: masks, ledger, and random state; saved, loaded, and undone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, Literal

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
from elegans.pruning.schemas import check_nothing_kept, numbers, schema_of, table, validate
from elegans.pruning.settings import PrunerSettings, own_generator, rng_of


@cache
def _schema() -> Any:
    """Return the schema of a state; what the parts of a pruner keep is checked by them."""
    from typing import NotRequired

    from annotated_types import Ge, Interval, Len

    count, word = Annotated[int, Ge(0)], Annotated[int, Interval(ge=0, lt=2**128)]
    half_word = Annotated[int, Interval(ge=0, lt=2**32)]
    pair = Annotated[list[Any], Len(2, 2)]
    anything = dict[str, Any]
    random = table(
        bit_generator=Literal["PCG64"],
        state=table(state=word, inc=word),
        has_uint32=Literal[0, 1],
        uinteger=half_word,
    )
    return schema_of(
        steps=count,
        cut=count,
        masks=NotRequired[anything],
        ever=anything,
        births=table(born=dict[str, pair], cut=count, ages=list[pair]) | None,
        schedule=anything,
        criterion=anything,
        momentum=NotRequired[anything],
        newborn=NotRequired[anything],
        random=random,
        drawing=Any,
        settings=anything,
        ledger=list[Any],
        counts=dict[str, Annotated[int, Ge(0)]],
    )


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
            validate(_schema(), state)
            masks = self._saved_masks(state)
            ever = {part.name: part.saved_joined(state["ever"][part.name]) for part in self.parts}
            generator = torch.Generator()
            generator.set_state(numbers("drawing", state["drawing"], torch.uint8).cpu())
            rng, ledger = rng_of(state["random"]), Ledger.from_state(state)
            births = self._births.loaded(state["births"])
            schedule, criterion = copy.deepcopy((self.schedule, self.criterion))
            if schedule is None:
                check_nothing_kept(schedule, state["schedule"])
            else:
                schedule.load_state_dict(dict(state["schedule"]))
            gathered = state["criterion"]
            for part in self.parts:
                if part.name in gathered:
                    numbers(part.name, gathered[part.name], torch.float64, part.mask.shape)
            criterion.load_state_dict(dict(gathered))
            momentum = copy.copy(self._momentum)
            if momentum is not None:
                momentum.load_state_dict(state["momentum"])
            newborn = {
                name: numbers(name, state["newborn"][name], value.dtype, value.shape).to(value)
                for name, value in self._newborn.items()
            }
            # Sets were kept always, once.
            settings = {"keep_sets": True} | state["settings"]
            own = self._described()
            differ = {
                name: (settings.get(name), own.get(name))
                for name in {**own, **settings}
                if settings.get(name) != own.get(name)
            }
        except PruningError as error:
            raise PruningError(f"not a state of {type(self).__name__}: {error}") from error
        except (
            ArithmeticError,
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
        if differ:
            raise PruningError(
                f"the state was saved with other settings (saved, here): {differ}; make the "
                f"{type(self).__name__} with those it was saved with"
            )
        self.schedule, self.criterion = schedule, criterion
        self.steps, self.cut, self._generator = state["steps"], state["cut"], generator
        self._rng, self._ledger, self._births = rng, ledger, births
        self._explored.load_state_dict(ever)
        self._newborn = newborn
        if self._momentum is not None and momentum is not None:
            self._momentum.load_state_dict(momentum.means)
        for part in self.parts:
            # What the optimiser remembers is restored by itself.
            part.hold(masks[part.name].to(part.mask), Moments(None))

    def _saved_masks(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """Return the masks of a state; raise `PruningError` unless they are of the weights here."""
        # One that was saved without masks is of a circuit, with which its masks travel.
        masks = state.get("masks", self.masks())
        mine = {part.name: tuple(part.mask.shape) for part in self.parts}
        remedy = "make it with the model, include and exclude that it was saved with"
        if masks.keys() != mine.keys() or state["ever"].keys() != mine.keys():
            names = sorted({*masks, *state["ever"]})
            raise PruningError(f"the state is of weights {names}, this pruner has {mine}; {remedy}")
        try:
            return {part.name: part.saved_mask(masks[part.name]) for part in self.parts}
        except PruningError as error:
            raise PruningError(
                f"the state is of weights of other shapes ({error}), this pruner has {mine}; "
                f"{remedy}"
            ) from error

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
