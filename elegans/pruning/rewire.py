"""Prune-and-rewire: weak synapses are cut and grow elsewhere during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.amount.schedules import Schedule, Sparsity, last_sparsity
from elegans.pruning.amount.thresholds import Absolute, Threshold, as_threshold
from elegans.pruning.criteria.magnitude import Closure, Criterion
from elegans.pruning.growing.exchange import any_room, budget_of, connected_masks
from elegans.pruning.growing.rules import GrowthRule
from elegans.pruning.growing.walk import RandomWalk
from elegans.pruning.ledger import PRUNED, REWIRED, Edit, Guard
from elegans.pruning.parts.finding import parts_of
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.pruner import Pruner
from elegans.pruning.rules import settings_of


@checked(PruningError)
class PruneRewire(Pruner):
    """Cuts weak synapses and lets others grow in their place, every few optimiser steps.

    A `Pruner` that exchanges weights and, without a `schedule`, never changes their number. For
    each existing synapse j -> i that the threshold calls weak, weakest first: cut it and insert
    another, from and to any neurons of the two layers; as published, with ``keep_sources=True``,
    from the same source j. It never grows where a synapse is, or was when the round began.

    A liquid synapse is the tuple (conductance, centre, gain, reversal potential, polarity) and is
    replaced as a whole; the optimiser's memory of its slot is zeroed. The number of synapses of
    every block (source layer, target layer) is conserved, unless ``keep_blocks=False``; no target
    loses its last input, no source its last output. A weak synapse that cannot move is kept, and
    the ledger says why. Sets of synapses whose weights do not require gradients are left alone.
    With ``steps`` 30 % of the synapses are exchanged every sixtieth of the training, falling to
    none at 60 % of it, the rule ``"free"``; `from_rule` takes the settings from other rules.

    In a model without synapses, the entries of masked weight matrices are exchanged; they come at
    zero, or, with a `walk`, at its floor.

    Adam counts steps per parameter, not per synapse: the first updates of a fresh synapse are
    not bias-corrected and up to about three times as large as the learning rate.

    Parameters
    ----------
    model
        A layer such as `elegans.LTC`, or a module that holds some. The topology is live:
        ``model.wiring``, counts and drawings follow.
    optimizer
        Holds the model's parameters, in any groups: one of PyTorch's that keep their memory weight
        by weight, or see `optimizer_state_names`.
    threshold
        A strength (a number), `Absolute`, `Relative` to the median strength, or a `CosineFraction`
        of all synapses; needed unless `steps` is given. The strength of a liquid synapse is its
        conductance, of a CT-RNN's the magnitude of its weight, of a wired CfC's the norm of its
        weights.
    every
        Edit once in so many calls of `step`; 50 by default.
    steps
        Optimiser steps of the training, from which `threshold`, `every` and `until` follow where
        they are not given.
    until
        Last step at which synapses are edited; no limit by default. What grows late has no time to
        learn.
    growth
        ``"random"``: a legal place and a polarity at random. ``"gradient"``: the place and
        polarity whose strength would lower the loss fastest; `step` then needs a closure. Or a
        `GrowthRule`.
    criterion
        What the threshold looks at: the strength, or see `Pruner`.
    schedule
        A `Schedule` of sparsity that thins the circuit while it rewires, of all its sets of
        synapses together. Synapses that keep the circuit connected stay.
    weight
        Strength of a fresh synapse: ``"median"``, that of the synapses of its set; ``"initial"``,
        drawn as the circuit's first strengths were; or a number.
    excitatory
        Probability that a fresh synapse is excitatory, under random growth.
    keep_sources
        Whether a synapse keeps its source when it moves.
    keep_blocks
        Whether the number of synapses of each block stays; without, blocks compete for places.
    keep_sets
        Whether recurrent synapses stay recurrent, and sensory ones sensory. Without, and with
        ``keep_blocks=False``, one may grow in the other set, too, as long as that has an empty
        slot. Slots are emptied when a circuit is thinned; none is added. Gap junctions stay gap
        junctions.
    self_synapses
        Whether a neuron may grow a synapse onto itself. Off by default: self-synapses weaken what
        can be proven of a circuit.
    max_inputs
        How many synapses may reach a neuron for another to grow there; no limit by default.
    grace
        Optimiser steps for which a synapse that has grown is not weak, however weak it is.
    walk
        A `RandomWalk` of strengths before each round (DEEP R); the entries of matrices keep their
        signs then.
    guards
        Called with each `ProposedEdit` before it happens; see `add_guard`.
    include, exclude
        Names of weights or modules, with wildcards, that are rewired, or are not.
    optimizer_state_names
        Names of the per-weight state tensors of an optimiser of another kind.
    seed
        Seed of all random choices. Replicas with equal weights and seeds make equal edits.

    Raises
    ------
    PruningError
        There is nothing to rewire, no synapse could move, neither `threshold` nor `steps` is given,
        the schedule leaves fewer synapses than keep the circuit connected, a parameter is computed
        from others (parametrize), the optimiser is of an unknown kind or does not hold the
        parameters, or an argument is not valid.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery: making all tickets winners", ICML
    2020, for growth by gradient and the cosine schedule; Mocanu et al., "Scalable training of
    artificial neural networks with adaptive sparse connectivity", Nature Communications 9:2383
    (2018), for random growth.

    Examples
    --------
    >>> import torch, elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(8, AutoNCP(units=19, output_size=4))
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    >>> rewirer = elegans.PruneRewire(model, optimizer, steps=100)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = model(torch.randn(4, 5, 8))[0].square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     edits = rewirer.step()
    >>> rewirer.steps, model.synapse_count
    (100, 45)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        threshold: float | Threshold | None = None,
        every: int | None = None,
        *,
        steps: int | None = None,
        until: int | None = None,
        growth: str | GrowthRule = "random",
        criterion: str | Criterion | Callable[[PrunableWeight], Tensor] = "magnitude",
        schedule: Schedule | Sparsity | None = None,
        weight: float | str = "median",
        excitatory: float = 0.5,
        keep_sources: bool = False,
        keep_blocks: bool = True,
        keep_sets: bool = True,
        self_synapses: bool = False,
        max_inputs: int | None = None,
        grace: int = 0,
        walk: RandomWalk | None = None,
        guards: Sequence[Guard] = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        optimizer_state_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        if steps is not None:
            given: dict[str, Any] = {"threshold": threshold, "every": every, "until": until}
            given = {name: value for name, value in given.items() if value is not None}
            usual = settings_of("free", steps, **given)
            threshold, every, until = usual["threshold"], usual["every"], usual["until"]
        if threshold is None:
            raise PruningError(
                "got neither steps nor a threshold, so that nothing says what is weak; pass "
                "steps=, the optimiser steps of the training, or threshold=, such as Relative(0.5)"
            )
        super().__init__(
            model,
            optimizer,
            schedule,
            criterion,
            "global",
            growth=growth,
            drop_fraction=as_threshold(threshold),
            every=50 if every is None else every,
            until=until,
            weight=weight,
            excitatory=excitatory,
            keep_sources=keep_sources,
            keep_blocks=keep_blocks,
            keep_sets=keep_sets,
            self_synapses=self_synapses,
            max_inputs=max_inputs,
            grace=grace,
            guards=guards,
            include=include,
            exclude=exclude,
            list_edits="all",
            optimizer_state_names=optimizer_state_names,
            seed=seed,
        )
        self._walk = walk
        if walk is not None:
            self._newborn = {
                part.name: walk.newborn(part, self.settings.fresh.excitatory, self._rng)
                for part in self.parts
                if not isinstance(part, SynapsePart)
            }
        weak = self.settings.drop_fraction
        if walk is not None and isinstance(weak, Absolute) and weak.value <= walk.floor / 2:
            raise PruningError(
                f"got the threshold {weak.value} with a walk that stops at {walk.floor / 2}, so "
                f"that nothing would move; pass threshold={walk.floor}"
            )
        if self.schedule is not None:
            self._check_budget(self.schedule)
        elif not any_room(self.parts, self.settings.freedom):
            if not any(isinstance(part, SynapsePart) for part in self.parts):
                raise PruningError(
                    f"{type(model).__name__} holds no synapses, and its weight matrices are full, "
                    "so nothing can move; pass a layer such as elegans.LTC, or prune weights first"
                )
            raise PruningError(
                "every synapse that could grow exists already, so none can move; take a sparser "
                "wiring such as AutoNCP, Random or Layered"
            )

    @classmethod
    def from_rule(
        cls,
        rule: str,
        model: nn.Module,
        optimizer: Optimizer,
        steps: int,
        synapses: int | None = None,
        **changes: Any,
    ) -> PruneRewire:
        """Return a rewirer that follows a rule of `RULES` over a training of known length.

        Parameters
        ----------
        rule
            The name of the rule.
        model, optimizer
            As in `PruneRewire`.
        steps
            Optimiser steps of the whole training.
        synapses
            How many synapses (or weights) there are to be in the end, where a rule thins a circuit
            that begins with more.
        **changes
            Arguments of `PruneRewire` that replace those of the rule.

        Raises
        ------
        PruningError
            There is no such rule, it does not change the number of synapses, or more are asked for
            than there are; and as in `PruneRewire`.

        Examples
        --------
        >>> import torch, elegans
        >>> from elegans.wiring import Random
        >>> model = elegans.LTC(8, Random(16, sparsity_level=0.5))
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        >>> rewirer = PruneRewire.from_rule("development", model, optimizer, steps=60, synapses=96)
        >>> rewirer.budget
        192
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     model(torch.randn(4, 5, 8))[0].square().mean().backward()
        ...     optimizer.step()
        ...     edits = rewirer.step()
        >>> rewirer.budget, model.synapse_count + model.sensory_synapse_count
        (96, 96)
        """
        sparsity = None
        if synapses is not None:
            parts = parts_of(model, changes.get("include"), changes.get("exclude", ()))
            slots = sum(part.mask.numel() for part in _rewired(parts))
            present = sum(int(part.mask.sum()) for part in _rewired(parts))
            whole = isinstance(synapses, int | np.integer) and not isinstance(synapses, bool)
            if not whole or not 0 < synapses <= present:
                raise PruningError(
                    f"got synapses={synapses!r} in the end, expected from 1 to the {present} that "
                    "the model begins with; begin with a denser wiring"
                )
            sparsity = 1 - synapses / slots if synapses < present else None
        return cls(model, optimizer, **settings_of(rule, steps, sparsity, **changes))

    @property
    def budget(self) -> int:
        """How many weights there are: what the schedule leaves, or as many as at the beginning."""
        return sum(int(part.mask.sum()) for part in self.parts)

    def _check_budget(self, schedule: Schedule) -> None:
        """Raise `PruningError` if what the schedule leaves in the end cannot be connected."""
        final = last_sparsity(schedule)
        if final is None or not isinstance(self.parts[0], SynapsePart):
            return
        scores = [part.weights().abs() for part in self.parts]
        masks = connected_masks(self.parts, scores, final, self.settings.freedom)
        left = sum(int(mask.sum()) for mask in masks)
        budget = budget_of(self.parts, final)
        if left > budget:
            raise PruningError(
                f"got a schedule that ends with {budget} synapses, expected at least {left} or so, "
                "which keep every neuron connected; lower the final sparsity"
            )

    def _masks_after(self, sparsity: Tensor, scores: Sequence[Tensor]) -> list[Tensor]:
        if not isinstance(self.parts[0], SynapsePart):
            return super()._masks_after(sparsity, scores)
        return connected_masks(self.parts, scores, float(sparsity), self.settings.freedom)

    def _described(self) -> dict[str, Any]:
        return super()._described() | {"walk": None if self._walk is None else repr(self._walk)}

    def _chosen(self, parts: list[PrunableWeight]) -> list[PrunableWeight]:
        return _rewired(parts)

    def step(self, closure: Closure | None = None) -> list[Edit]:  # type: ignore[override]
        """Count one optimiser step and, when it is time, rewire.

        Parameters
        ----------
        closure
            Returns the loss of the current batch, differentiable; for growth rules that look at
            gradients, and called only when synapses are edited.

        Returns
        -------
        list of Edit
            The synapses rewired or pruned now; empty, hence false, when there were none. Those
            kept are in `ledger` only.

        Raises
        ------
        PruningError
            The growth rule needs the loss and there is none to differentiate, a weight is not
            finite, or the optimiser no longer holds the parameters. Nothing is edited then. When a
            guard raises, the edits made before stay, in the circuit and in the ledger.
        """
        first = len(self.ledger)
        until = self.settings.until
        if self._walk is not None and (until is None or self.steps < until):
            for part in self.parts:
                part.check_same()
            self._walk.take(self.parts, self._optimizer, self._rng, self._newborn)
        super().step(closure)
        return [edit for edit in self.ledger[first:] if edit.outcome in (REWIRED, PRUNED)]

    def state_dict(self, *, ledger: bool = True) -> dict[str, Any]:
        """Return what `Pruner.state_dict` does, as plain values that JSON can hold."""
        state: dict[str, Any] = _plain(super().state_dict(ledger=ledger))
        return state


def _plain(value: Any) -> Any:
    """Return a value with lists in place of its tensors."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value.tolist() if isinstance(value, Tensor) else value


def _rewired(parts: list[PrunableWeight]) -> list[PrunableWeight]:
    """Return the sets of synapses of a model, or its matrices if it has none."""
    return [part for part in parts if isinstance(part, SynapsePart)] or parts
