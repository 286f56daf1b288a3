"""Prune-and-rewire: weak synapses are cut and grow elsewhere while the network learns."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from elegans.cell import Cell
from elegans.errors import PruningError
from elegans.pruning.growth import GROWTHS, Closure, Fresh, Round, fresh_values
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, REFUSED, REWIRED, Edit, Proposal
from elegans.pruning.legal import Connections, Legality, Slot
from elegans.pruning.moments import Moments
from elegans.pruning.thresholds import Absolute, Threshold, as_threshold
from elegans.synapses import SynapseParameters

Guard = Callable[[Proposal], bool | str | None]


class _Site(NamedTuple):
    """A cell that can be rewired, with its dotted name in the model."""

    name: str
    cell: Cell

    def path(self, kind: str) -> str:
        """Return the dotted name of a set of synapses."""
        return f"{self.name}.{kind}" if self.name else kind


class PruneRewire:
    """Cuts weak synapses and lets their sources grow new ones, every few optimiser steps.

    For each existing synapse j -> i that the threshold calls weak, weakest first: cut it and
    insert a synapse from the same source j to another neuron of the layer of i, one that j does
    not reach and has not just lost. The synapse is a tuple (conductance, centre, gain, reversal
    potential, polarity) and is replaced as a whole; the optimiser's moments of its slot are
    zeroed. The number of synapses of every block (source layer, target layer) is conserved, no
    target loses its last input, no source its last output. A weak synapse that cannot move is
    kept, and the ledger says why.

    Adam counts steps per parameter, not per synapse: the first updates of a fresh synapse are
    not bias-corrected and up to about three times as large as the learning rate.

    Parameters
    ----------
    model
        A layer such as `elegans.LTC`, or a module that holds some. The topology is live:
        ``model.wiring``, counts and drawings follow.
    optimizer
        Holds the model's parameters: SGD, Adam, AdamW or RMSprop, in any parameter groups.
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
        Whether a neuron may grow a synapse onto itself.
    guards
        Called with each `Proposal` before it happens; one that returns False, or a reason as a
        text, refuses it. See also `add_guard`.
    moments
        Names of the per-weight state tensors of an optimiser of another kind.
    seed
        Seed of all random choices. Replicas with equal weights and seeds make equal edits.

    Raises
    ------
    PruningError
        There is nothing to rewire, the optimiser is of an unknown kind or does not hold the
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
        self_synapses: bool = True,
        guards: Sequence[Guard] = (),
        moments: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.threshold = as_threshold(threshold)
        _check_settings(every, until, growth, candidates, weight, excitatory, self.threshold)
        self.every = every
        self.until = until
        self.growth = growth
        self.candidates = candidates
        self.weight = weight
        self.excitatory = excitatory
        self.self_synapses = self_synapses
        self._guards = list(guards)
        self._rng = np.random.default_rng(seed)
        self._sites = [
            _Site(name, module)
            for name, module in model.named_modules()
            if isinstance(module, Cell) and module.synapse_sets()
        ]
        if not self._sites:
            raise PruningError(
                f"{type(model).__name__} holds no layer whose synapses could be rewired; pass a "
                "model that contains elegans.LTC"
            )
        self._moments = Moments(optimizer, moments)
        for site in self._sites:
            for kind, synapses in site.cell.synapse_sets().items():
                self._moments.check_holds(
                    (f"{site.path(kind)}.{name}", parameter)
                    for name, parameter in synapses.named_parameters()
                )
        self.steps = 0
        self.ledger: list[Edit] = []

    def add_guard(self, guard: Guard) -> None:
        """Ask `guard` before every edit; it refuses by returning False or a reason."""
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
            Growth is by gradient and there is no closure, or a conductance is not finite.
        """
        self.steps += 1
        if self.steps % self.every or (self.until is not None and self.steps > self.until):
            return []
        edits = [edit for site in self._sites for edit in self._rewire(site, closure)]
        self.ledger.extend(edits)
        return [edit for edit in edits if edit.outcome == REWIRED]

    @property
    def counts(self) -> Counter[str]:
        """How often each outcome occurred so far: ``rewired`` and the reasons for keeping."""
        return Counter(edit.outcome.partition(" (")[0] for edit in self.ledger)

    def state_dict(self) -> dict[str, Any]:
        """Return the step, the random state and the ledger as plain values."""
        return {
            "steps": self.steps,
            "random": copy.deepcopy(self._rng.bit_generator.state),
            "ledger": [edit.to_dict() for edit in self.ledger],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; model and optimiser are restored by their own."""
        try:
            steps, random = int(state["steps"]), state["random"]
            ledger = [Edit.from_dict(record) for record in state["ledger"]]
            self._rng.bit_generator.state = copy.deepcopy(random)
        except (KeyError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a state of PruneRewire ({error!r}); pass what state_dict() returned"
            ) from error
        self.steps, self.ledger = steps, ledger

    # --- one round -----------------------------------------------------------------------

    def _rewire(self, site: _Site, closure: Closure | None) -> list[Edit]:
        """Rewire one cell and return a record of every weak synapse."""
        sets = site.cell.synapse_sets()
        wiring = site.cell.wiring
        weight = self._weights(site)
        weak = self._weak(weight)
        if not weak:
            return []
        connections = {
            kind: Connections(kind, wiring, _numpy(synapses.source), _numpy(synapses.target))
            for kind, synapses in sets.items()
        }
        legality = Legality(wiring, connections, weak, self_synapses=self.self_synapses)
        choose = GROWTHS[self.growth](
            Round(sets, weak, legality, self._rng, self.excitatory, self.candidates, closure)
        )

        edits = []
        pending: dict[Slot, Fresh] = {}
        for slot in weak:
            source, cut = legality.ends(slot)
            name, old = site.path(slot.kind), float(weight[slot.kind][slot.index])
            fresh, outcome = None, LAST_INPUT
            if legality.may_cut(slot):
                fresh, outcome = choose(slot), NO_FREE_TARGET
            if fresh is not None:
                if self._guards:
                    self._apply(sets, pending)  # a guard sees the model with all edits so far
                outcome = self._ask_guards(
                    Proposal(
                        step=self.steps,
                        synapses=name,
                        slot=slot.index,
                        source=source,
                        cut=cut,
                        grown=fresh.target,
                        old_weight=old,
                        polarity=fresh.polarity,
                        weight=self.weight,
                        sigma=fresh.sigma,
                        mu=fresh.mu,
                    )
                )
            if fresh is None or outcome != REWIRED:
                edits.append(Edit(self.steps, name, source, cut, None, None, old, outcome))
                continue
            legality.move(slot, fresh.target)
            pending[slot] = fresh
            edits.append(
                Edit(self.steps, name, source, cut, fresh.target, fresh.polarity, old, outcome)
            )
        self._apply(sets, pending)
        return edits

    def _weights(self, site: _Site) -> dict[str, NDArray[np.float64]]:
        """Return the conductances of a cell by kind, each of shape (synapse,)."""
        weights = {}
        for kind, synapses in site.cell.synapse_sets().items():
            weights[kind] = _numpy(synapses.values().weight.double())
            broken = ~np.isfinite(weights[kind])
            if broken.any():
                raise PruningError(
                    f"{site.path(kind)}.weight holds {weights[kind][broken][0]} in slot "
                    f"{int(np.argmax(broken))} at step {self.steps}; nothing was rewired: lower "
                    "the learning rate or clip the gradients"
                )
        return weights

    def _weak(self, weights: dict[str, NDArray[np.float64]]) -> list[Slot]:
        """Return the weak slots, weakest first; all sets of a cell are judged together."""
        pooled = np.concatenate(list(weights.values()))
        weak = np.flatnonzero(self.threshold.weak(pooled, self.steps))
        order = weak[np.argsort(pooled[weak], kind="stable")]
        kinds = list(weights)
        starts = np.cumsum([0, *(len(weights[kind]) for kind in kinds)])
        which = np.searchsorted(starts, order, side="right") - 1
        return [
            Slot(kinds[k], int(index))
            for k, index in zip(which, order - starts[which], strict=True)
        ]

    def _ask_guards(self, proposal: Proposal) -> str:
        """Return the outcome of a proposal."""
        for guard in self._guards:
            answer = guard(proposal)
            if isinstance(answer, str):
                return f"{REFUSED} ({answer})"
            if answer is False:
                return REFUSED
        return REWIRED

    def _apply(self, sets: dict[str, SynapseParameters], pending: dict[Slot, Fresh]) -> None:
        """Write `pending` into the slots, forget the moments of the old, and empty it."""
        for kind, synapses in sets.items():
            moved = {slot.index: fresh for slot, fresh in pending.items() if slot.kind == kind}
            if moved:
                index = torch.tensor(list(moved), device=synapses.weight.device)
                weight = torch.full_like(synapses.weight[index], self.weight)
                fresh = fresh_values(synapses, list(moved), list(moved.values()), weight)
                synapses.rewire(index, fresh)
                for parameter in synapses.parameters():
                    self._moments.reset(parameter, index)
        pending.clear()


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


def _check_settings(
    every: int,
    until: int | None,
    growth: str,
    candidates: int,
    weight: float,
    excitatory: float,
    threshold: Threshold,
) -> None:
    for name, value, least in (("every", every, 1), ("candidates", candidates, 1)):
        if value < least:
            raise PruningError(f"{name} must be at least {least}, got {value}")
    if until is not None and until < every:
        raise PruningError(
            f"until={until} ends before the first edit at step every={every}; raise until"
        )
    if growth not in GROWTHS:
        raise PruningError(f"unknown growth {growth!r}, expected one of {tuple(GROWTHS)}")
    if not (weight > 0 and math.isfinite(weight)):
        raise PruningError(f"the weight of a fresh synapse must be a number > 0, got {weight}")
    if not 0 <= excitatory <= 1:
        raise PruningError(f"excitatory must be a probability from 0 to 1, got {excitatory}")
    if isinstance(threshold, Absolute) and weight < threshold.value:
        raise PruningError(
            f"a fresh synapse of weight={weight} would be weak at once, below the threshold "
            f"{threshold.value}; raise weight or lower the threshold"
        )
