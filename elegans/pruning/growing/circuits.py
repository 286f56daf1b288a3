"""A round of exchange in a circuit: weak synapses, and what each of them may become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.pruning.growing.legality import Connections, Legality, Slot
from elegans.pruning.growing.round import Log, Round
from elegans.pruning.growing.rules import GrowthContext, GrowthRule
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, REWIRED, ProposedEdit
from elegans.pruning.parts.synapses import SynapsePart
from elegans.synapses.slots import FreshSynapses


class CircuitRound(Round):
    """The weak synapses of a cell, weakest first, and where each may grow again.

    The source of a synapse stays, and its new target lies in the layer of the old one; see
    `Legality`. When all candidates of a synapse have been taken by stronger claims, another legal
    target is drawn.

    Parameters
    ----------
    parts
        The sets of synapses of one cell that are edited.
    weak
        Of each part, which synapses are weak, shape (synapse,).
    scores
        Of each part, what orders them, shape (synapse,).
    rng
        Source of randomness.
    weight
        How strong a fresh synapse is.
    excitatory
        Probability that a fresh synapse is excitatory, where the rule does not choose.
    self_synapses
        Whether a neuron may grow a synapse onto itself.
    """

    def __init__(
        self,
        parts: Sequence[SynapsePart],
        weak: Sequence[NDArray[np.bool_]],
        scores: Sequence[NDArray[np.float64]],
        rng: np.random.Generator,
        *,
        weight: float,
        excitatory: float,
        self_synapses: bool,
    ) -> None:
        self._parts = {part.kind: part for part in parts}
        self._rng, self._weight, self._excitatory = rng, weight, excitatory
        kinds = list(self._parts)
        which = np.repeat(np.arange(len(kinds)), [len(mask) for mask in weak])
        index = np.concatenate([np.arange(len(mask)) for mask in weak])
        chosen = np.flatnonzero(np.concatenate(weak))
        order = chosen[np.argsort(np.concatenate(scores)[chosen], kind="stable")]
        self._slots = [Slot(kinds[which[k]], int(index[k])) for k in order]
        cell = parts[0].cell
        connections = {
            name: Connections(name, cell.wiring, synapses)
            for name, synapses in cell.synapse_sets().items()
        }
        self._legality = Legality(
            cell.wiring, connections, self._slots, self_synapses=self_synapses
        )
        self._strengths = {kind: part.weights().tolist() for kind, part in self._parts.items()}
        self._candidates: dict[str, FreshSynapses] = {}
        self._targets: dict[str, list[int]] = {}
        self._polarities: dict[str, list[int]] = {}
        self._interest: dict[str, list[float]] = {}
        self._rows: dict[Slot, range] = {}

    def draw(self, rule: GrowthRule) -> None:
        """Draw candidates for every weak synapse."""
        for kind in self._parts:
            source: list[int] = []
            target: list[int] = []
            polarity: list[int] = []
            for slot in self._slots:
                if slot.kind != kind:
                    continue
                first = len(target)
                free = self._legality.free_targets(slot, self._rng)
                for neuron in islice(free, rule.candidates):
                    signs = [1, -1] if rule.both_polarities else [self._drawn_polarity()]
                    target += [neuron] * len(signs)
                    polarity += signs
                source += [self._legality.ends(slot)[0]] * (len(target) - first)
                self._rows[slot] = range(first, len(target))
            self._targets[kind], self._polarities[kind] = target, polarity
            self._candidates[kind] = self._made(kind, source, target, polarity)

    @contextmanager
    def probed(self) -> Iterator[list[Tensor]]:
        """Let all candidates take part with strength zero, and yield their strengths."""
        probes = []
        with ExitStack() as stack:
            for kind, candidates in self._candidates.items():
                synapses = self._parts[kind].synapses
                probes.append(torch.zeros_like(candidates.strength).requires_grad_())
                stack.enter_context(synapses.with_candidates(candidates.with_strength(probes[-1])))
            yield probes

    def rank(self, rule: GrowthRule, slopes: Callable[[], list[Tensor]]) -> None:
        """Ask the rule for its interest in each candidate."""
        for k, (kind, candidates) in enumerate(self._candidates.items()):
            context = GrowthContext(
                self._parts[kind].owner,
                candidates.source,
                candidates.target,
                candidates.polarity,
                self._rng,
                lambda k=k: slopes()[k],  # type: ignore[misc]
            )
            self._interest[kind] = rule.interest(context).detach().tolist()

    def carry_out(self, log: Log) -> int:
        """Move the weak synapses, weakest first; return how many have moved."""
        moved: dict[Slot, tuple[FreshSynapses, int]] = {}
        count = 0
        try:
            for slot in self._slots:
                source, cut = self._legality.ends(slot)
                place = self._parts[slot.kind].owner, source, cut
                strength = self._strengths[slot.kind][slot.index]
                choice, outcome = None, LAST_INPUT
                if self._legality.may_cut(slot):
                    choice, outcome = self._best(slot), NO_FREE_TARGET
                if choice is None:
                    log.record(place, strength, outcome)
                    continue
                if log.guards:  # which see the model with all edits so far
                    self._apply(moved, log)
                fresh, row, grown, polarity = choice
                values: dict[str, float] = {}
                if log.guards:
                    values = {k: float(v[row]) for k, v in fresh.values.items() if v.dim() == 1}
                proposal = ProposedEdit(
                    log.step, place[0], slot.index, source, cut, strength, source, grown, polarity,
                    self._weight, values,
                )  # fmt: skip
                if log.ask(proposal, REWIRED) == REWIRED:
                    self._legality.move(slot, grown)
                    moved[slot] = fresh, row
                    count += 1
        finally:
            self._apply(moved, log)
        return count

    # --- one synapse ---------------------------------------------------------------------

    def _best(self, slot: Slot) -> tuple[FreshSynapses, int, int, int] | None:
        """Return the legal candidate of the highest interest, or another, or None.

        As the set that it is in and its row there, with target and polarity.
        """
        targets, interest = self._targets[slot.kind], self._interest[slot.kind]
        legal = [row for row in self._rows[slot] if self._legality.is_free(slot, targets[row])]
        if legal:
            row = max(legal, key=interest.__getitem__)
            return self._candidates[slot.kind], row, targets[row], self._polarities[slot.kind][row]
        target = next(self._legality.free_targets(slot, self._rng), None)
        if target is None:
            return None
        source = self._legality.ends(slot)[0]
        polarity = self._drawn_polarity()
        return self._made(slot.kind, [source], [target], [polarity]), 0, target, polarity

    def _drawn_polarity(self) -> int:
        return 1 if self._rng.random() < self._excitatory else -1

    def _made(
        self, kind: str, source: list[int], target: list[int], polarity: list[int]
    ) -> FreshSynapses:
        """Return fresh synapses, whose further values are drawn."""
        synapses = self._parts[kind].synapses
        device = synapses.source.device
        source_, target_, polarity_ = (
            torch.tensor(column, dtype=getattr(synapses, name).dtype, device=device)
            for name, column in (("source", source), ("target", target), ("polarity", polarity))
        )
        strength = self._parts[kind].parameter.detach().new_full((len(target),), self._weight)
        values = synapses.draw(len(target), self._rng)
        return FreshSynapses(source_, target_, polarity_, strength, values)

    def _apply(self, moved: dict[Slot, tuple[FreshSynapses, int]], log: Log) -> None:
        """Write what has moved into the slots, forget what is remembered of the old, empty it."""
        for kind, part in self._parts.items():
            device = part.synapses.source.device
            rows: dict[int, list[tuple[int, int]]] = {}  # slot and row by the set of candidates
            sets: dict[int, FreshSynapses] = {}
            for slot, (fresh, row) in moved.items():
                if slot.kind == kind:
                    rows.setdefault(id(fresh), []).append((slot.index, row))
                    sets[id(fresh)] = fresh
            if rows:
                slots, chosen = [], []
                for place, pairs in rows.items():
                    index = torch.tensor(pairs, device=device)  # (synapse, 2)
                    slots.append(index[:, 0])
                    chosen.append(sets[place].take(index[:, 1]))
                part.synapses.rewire(torch.cat(slots), FreshSynapses.joined(chosen))
                log.forget(part, torch.cat(slots))
        moved.clear()
