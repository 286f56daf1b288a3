"""Prune-and-rewire: weak synapses are cut and grow elsewhere during training."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from elegans.errors import PruningError
from elegans.pruning.amount.thresholds import Threshold, as_threshold
from elegans.pruning.criteria.gradients import Closure
from elegans.pruning.growing.legality import Legality, Slot, has_room
from elegans.pruning.growing.rules import GROWTHS, Choose, Fresh, Round
from elegans.pruning.ledger import (
    LAST_INPUT,
    NO_FREE_TARGET,
    REFUSED,
    REWIRED,
    Edit,
    GuardResult,
    ProposedEdit,
)
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.site import Site, is_open, sites_of
from elegans.pruning.rewire_settings import RewireSettings, checked_seed

Guard = Callable[[ProposedEdit], object]


class PruneRewire:
    """Cuts weak synapses and lets their sources grow new ones, every few optimiser steps.

    For each existing synapse j -> i that the threshold calls weak, weakest first: cut it and
    insert a synapse from the same source j to another neuron of the layer of i, one that j does
    not reach and has not just lost. The synapse is a tuple (conductance, centre, gain, reversal
    potential, polarity) and is replaced as a whole; the optimiser's moments of its slot are
    zeroed. The number of synapses of every block (source layer, target layer) is conserved, no
    target loses its last input, no source its last output. A weak synapse that cannot move is
    kept, and the ledger says why. Sets of synapses whose weights do not require gradients are left
    alone.

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
        A conductance (a number), `Absolute`, `Relative` to the median conductance, or a
        `CosineFraction` of all synapses.
    every
        Edit once in so many calls of `step`.
    until
        Last step at which synapses are edited; no limit by default.
    growth
        ``"random"``: a legal target and a polarity at random. ``"gradient"``: the target and
        polarity whose conductance would lower the loss fastest, among `candidates` legal targets
        at random; `step` then needs a closure. (RigL's rule, kept inside the block. A
        conductance cannot be negative, so the steepest descent counts, not the magnitude.)
    candidates
        How many legal targets a weak synapse considers under gradient growth.
    weight
        Conductance of a fresh synapse.
    excitatory
        Probability that a fresh synapse is excitatory, under random growth.
    self_synapses
        Whether a neuron may grow a synapse onto itself. Off by default: self-synapses weaken what
        can be proven of a circuit.
    guards
        Called with each `ProposedEdit` before it happens; see `add_guard`.
    optimizer_state_names
        Names of the per-weight state tensors of an optimiser of another kind.
    seed
        Seed of all random choices. Replicas with equal weights and seeds make equal edits.

    Raises
    ------
    PruningError
        There is nothing to rewire, no synapse could move, a parameter is computed from others
        (parametrize), the optimiser is of an unknown kind or does not hold the parameters, or an
        argument is not valid.

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
    >>> rewirer = elegans.PruneRewire(model, optimizer, threshold=1e-2, every=50)
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
        threshold: float | Threshold = 1e-2,
        every: int = 50,
        *,
        until: int | None = None,
        growth: str = "random",
        candidates: int = 32,
        weight: float = 0.05,
        excitatory: float = 0.5,
        self_synapses: bool = False,
        guards: Sequence[Guard] = (),
        optimizer_state_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = RewireSettings(
            as_threshold(threshold),
            every,
            until,
            growth,
            candidates,
            weight,
            excitatory,
            self_synapses,
        )
        self._guards = list(guards)
        self._rng = np.random.default_rng(checked_seed(seed))
        self._sites = sites_of(model)
        self._moments = Moments(optimizer, optimizer_state_names)
        self._check_sites()
        if not any(has_room(site.cell.wiring, site.sets, self_synapses) for site in self._sites):
            raise PruningError(
                "every synapse that could grow exists already, so none can move; take a sparser "
                "wiring such as AutoNCP, Random or Layered"
            )
        self.steps = 0
        self.ledger: list[Edit] = []
        self.counts: Counter[str] = Counter()
        self._last: dict[tuple[str, int, int], str] = {}  # why a synapse was kept last

    def add_guard(self, guard: Guard) -> None:
        """Ask `guard` before every edit.

        It consents by returning None or anything true; anything false, or a reason as a text,
        refuses. With a `elegans.pruning.GuardResult` it adds figures to the ledger.
        """
        self._guards.append(guard)

    def step(self, closure: Closure | None = None) -> list[Edit]:
        """Count one optimiser step and, when it is time, rewire.

        Parameters
        ----------
        closure
            Returns the loss of the current batch, differentiable; needed for gradient growth
            and called only when synapses are edited.

        Returns
        -------
        list of Edit
            The synapses rewired now; empty, hence false, when there were none. Those kept are
            in `ledger` only.

        Raises
        ------
        PruningError
            Growth is by gradient and there is no loss to differentiate, a conductance is not
            finite, or the optimiser no longer holds the parameters. Nothing is edited then. When
            a guard raises, the edits made before stay, in the circuit and in the ledger.
        """
        if self.settings.is_due(self.steps + 1):
            self._check_sites()
            weights = [site.weights(self.steps + 1) for site in self._sites]
            random = copy.deepcopy(self._rng.bit_generator.state)
            first = len(self.ledger)
            try:
                rounds = [
                    self._prepare(site, weight, closure)
                    for site, weight in zip(self._sites, weights, strict=True)
                ]
            except BaseException:
                self._rng.bit_generator.state = random
                raise
            self.steps += 1
            for site, weight, round_ in zip(self._sites, weights, rounds, strict=True):
                self._rewire(site, weight, *round_)
            return [edit for edit in self.ledger[first:] if edit.outcome == REWIRED]
        self.steps += 1
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return step, random state, ledger, counts and settings as plain values."""
        return {
            "steps": self.steps,
            "random": copy.deepcopy(self._rng.bit_generator.state),
            "ledger": [edit.to_dict() for edit in self.ledger],
            "counts": dict(self.counts),
            "settings": self.settings.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; model and optimiser are restored by their own.

        Raises
        ------
        PruningError
            It is no such state, or of a rewirer with other settings; nothing is changed then.
        """
        generator = np.random.default_rng()
        try:
            steps, settings = int(state["steps"]), state["settings"]
            ledger = [Edit.from_dict(record) for record in state["ledger"]]
            counts = Counter({str(k): int(n) for k, n in state["counts"].items()})
            generator.bit_generator.state = copy.deepcopy(state["random"])
            if steps < 0 or not isinstance(settings, dict):
                raise ValueError(f"steps={steps}, settings={settings}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a state of PruneRewire ({error!r}); pass what state_dict() returned"
            ) from error
        mine = self.settings.to_dict()
        if settings != mine:
            differ = {k: (settings.get(k), v) for k, v in mine.items() if settings.get(k) != v}
            raise PruningError(
                f"the state was saved with other settings (saved, here): {differ}; make the "
                "rewirer with those it was saved with"
            )
        self.steps, self.ledger, self.counts, self._rng = steps, ledger, counts, generator
        self._last = {
            (edit.synapses, edit.source, edit.cut): edit.outcome
            for edit in ledger
            if edit.outcome != REWIRED
        }

    # --- one round -----------------------------------------------------------------------

    def _check_sites(self) -> None:
        for site in self._sites:
            self._moments.check(site.named_parameters())
            for rounded in site.rounded(self.settings.weight):
                self.settings.check_weight(rounded)

    def _prepare(
        self, site: Site, weight: dict[str, NDArray[np.float64]], closure: Closure | None
    ) -> tuple[list[Slot], Legality, Choose]:
        """Return the weak slots of a cell, what is legal, and the growth rule's chooser."""
        weak = self._weak(site, weight)
        settings = self.settings
        legality = Legality(
            site.cell.wiring, site.connections(), weak, self_synapses=settings.self_synapses
        )
        growth = GROWTHS[settings.growth]
        return (
            weak,
            legality,
            growth(
                Round(
                    site.sets,
                    weak,
                    legality,
                    self._rng,
                    settings.excitatory,
                    settings.candidates,
                    closure,
                )
            ),
        )

    def _rewire(
        self,
        site: Site,
        weight: dict[str, NDArray[np.float64]],
        weak: list[Slot],
        legality: Legality,
        choose: Choose,
    ) -> None:
        """Rewire one cell and record every weak synapse."""
        pending: dict[Slot, Fresh] = {}
        try:
            for slot in weak:
                source, cut = legality.ends(slot)
                name, old = site.path(slot.kind), float(weight[slot.kind][slot.index])
                fresh, outcome = None, LAST_INPUT
                notes: dict[str, float] = {}
                if legality.may_cut(slot):
                    fresh, outcome = choose(slot), NO_FREE_TARGET
                if fresh is not None:
                    if self._guards:  # which see the model with all edits so far
                        site.apply(pending, self.settings.weight, self._moments)
                    outcome, notes = self._ask_guards(
                        ProposedEdit(
                            step=self.steps,
                            synapses=name,
                            slot=slot.index,
                            source=source,
                            cut=cut,
                            grown=fresh.target,
                            old_weight=old,
                            polarity=fresh.polarity,
                            weight=self.settings.weight,
                            sigma=fresh.sigma,
                            mu=fresh.mu,
                        )
                    )
                if fresh is None or outcome != REWIRED:
                    self._record(
                        Edit(self.steps, name, source, cut, None, None, old, outcome, notes)
                    )
                    continue
                legality.move(slot, fresh.target)
                pending[slot] = fresh
                ends = source, cut, fresh.target
                self._record(Edit(self.steps, name, *ends, fresh.polarity, old, outcome, notes))
        finally:
            site.apply(pending, self.settings.weight, self._moments)

    def _record(self, edit: Edit) -> None:
        """Count an outcome; a synapse that is kept again and again stands in the ledger once."""
        self.counts[edit.outcome.partition(" (")[0]] += 1
        if edit.outcome != REWIRED:
            # One look back suffices: what happened to the synapse last.
            place = (edit.synapses, edit.source, edit.cut)
            if self._last.get(place) == edit.outcome:
                return
            self._last[place] = edit.outcome
        self.ledger.append(edit)

    def _weak(self, site: Site, weights: dict[str, NDArray[np.float64]]) -> list[Slot]:
        """Return the weak slots, weakest first; all sets of a cell are judged together.

        Closed synapses are not there: they count in no median and no fraction.
        """
        pooled = np.concatenate(list(weights.values()))
        there = np.flatnonzero(np.concatenate([is_open(site.sets[kind]) for kind in weights]))
        weak = there[self.settings.threshold.weak(pooled[there], self.steps + 1)]
        order = weak[np.argsort(pooled[weak], kind="stable")]
        kinds = list(weights)
        starts = np.cumsum([0, *(len(weights[kind]) for kind in kinds)])
        which = np.searchsorted(starts, order, side="right") - 1
        return [
            Slot(kinds[k], int(index))
            for k, index in zip(which, order - starts[which], strict=True)
        ]

    def _ask_guards(self, proposal: ProposedEdit) -> tuple[str, dict[str, float]]:
        """Return the outcome of a proposal, and the figures that the guards want noted."""
        notes: dict[str, float] = {}
        for guard in self._guards:
            answer = guard(proposal)
            if isinstance(answer, GuardResult):
                notes |= answer.notes
                if not answer and answer.reason:
                    return f"{REFUSED} ({answer.reason})", notes
            if isinstance(answer, str):
                return f"{REFUSED} ({answer})" if answer else REFUSED, notes
            if answer is not None and not bool(answer):
                return REFUSED, notes
        return REWIRED, notes
