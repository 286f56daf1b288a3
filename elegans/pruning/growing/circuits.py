"""A round of exchange in a circuit: weak synapses, and what each of them may become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.pruning.growing.fresh import Fresh
from elegans.pruning.growing.legality import Freedom, Legality, Places, Pool, Slot
from elegans.pruning.growing.round import Log, Round
from elegans.pruning.growing.rules import GrowthContext, GrowthRule
from elegans.pruning.ledger import LAST_INPUT, NO_FREE_TARGET, REWIRED, ProposedEdit
from elegans.pruning.parts.synapses import SynapsePart
from elegans.synapses.slots import FreshSynapses


class _Ranking:
    """Candidates of one set in a pool, the highest interest first; those before `at` are gone."""

    def __init__(self, interest: NDArray[np.float64], rows: range) -> None:
        interest = interest[rows.start : rows.stop]
        order = np.argsort(-interest, kind="stable")
        self._interest, self._rows = interest[order], (order + rows.start).tolist()
        self.at = 0

    @property
    def row(self) -> int | None:
        """The best row that is left."""
        return self._rows[self.at] if self.at < len(self._rows) else None

    @property
    def interest(self) -> float:
        """The interest in it."""
        return float(self._interest[self.at])


class CircuitRound(Round):
    """The weak synapses of a cell, weakest first, and where they may grow again.

    Synapses that may go to the same places, a pool of `Legality`, share candidates: the weakest
    takes the place of the highest interest. One that goes to another set closes its slot, and takes
    one there that was empty when the round began.

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
    fresh
        What a synapse begins with that grows.
    freedom
        Where it may grow.
    """

    def __init__(
        self,
        parts: Sequence[SynapsePart],
        weak: Sequence[NDArray[np.bool_]],
        scores: Sequence[NDArray[np.float64]],
        rng: np.random.Generator,
        *,
        fresh: Fresh,
        freedom: Freedom,
    ) -> None:
        self._parts = {part.kind: part for part in parts}
        self._rng, self._fresh = rng, fresh
        kinds = list(self._parts)
        which = np.repeat(np.arange(len(kinds)), [len(mask) for mask in weak])
        index = np.concatenate([np.arange(len(mask)) for mask in weak])
        chosen = np.flatnonzero(np.concatenate(weak))
        order = chosen[np.argsort(np.concatenate(scores)[chosen], kind="stable")]
        self._slots = [Slot(kinds[which[k]], int(index[k])) for k in order]
        cell = parts[0].cell
        self._legality = Legality(cell.wiring, cell.synapse_sets(), freedom)
        self._pools = {slot: self._legality.pools(slot, self._parts) for slot in self._slots}
        self._spare = {kind: self._legality.spare(kind) for kind in self._parts}
        self._strengths = {kind: part.weights().tolist() for kind, part in self._parts.items()}
        self._candidates: dict[str, FreshSynapses] = {}
        self._ends: dict[str, list[tuple[int, int, int]]] = {}  # source, target and polarity
        self._rows: dict[tuple[Pool, str], range] = {}
        self._ranked: dict[Pool, dict[str, _Ranking]] = {}

    def draw(self, rule: GrowthRule) -> None:
        """Draw candidates for every pool."""
        slots: dict[Pool, int] = {}
        for pools in self._pools.values():
            # The first one has all places there are where no number of them is drawn.
            for pool in pools[:1] if rule.candidates is None else pools:
                slots[pool] = slots.get(pool, 0) + 1
        drawn: dict[Pool, Places] = {}
        for kind, part in self._parts.items():
            columns: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
            first, own = 0, self._legality.kinds.index(kind)
            for pool, count in slots.items():
                if all(block[0] != own for block in pool.blocks):
                    continue
                if pool not in drawn:
                    number = None if rule.candidates is None else count * rule.candidates
                    drawn[pool] = self._legality.free_places(pool, number, self._rng)
                source, target = (end[drawn[pool][0] == own] for end in drawn[pool][1:])
                if part.is_mutual:  # which has no sign
                    polarity = np.ones(len(source), np.int64)
                elif rule.both_polarities:
                    source, target = np.repeat(source, 2), np.repeat(target, 2)
                    polarity = np.tile([1, -1], len(source) // 2)
                else:
                    polarity = self._fresh.polarities(len(source), self._rng)
                columns.append(np.stack([source, target, polarity]))
                self._rows[pool, kind] = range(first, first := first + len(source))
            ends = np.concatenate(columns, axis=1)
            alike = 2 if rule.both_polarities and not part.is_mutual else 1
            self._candidates[kind] = self._fresh.synapses(part, ends, self._rng, alike)
            self._ends[kind] = [(j, i, p) for j, i, p in ends.T.tolist()]

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

    def rank(
        self,
        rule: GrowthRule,
        slopes: Callable[[], list[Tensor]],
        momentum: Mapping[str, Tensor],
    ) -> None:
        """Ask the rule for its interest in each candidate."""
        for k, (kind, candidates) in enumerate(self._candidates.items()):
            context = GrowthContext(
                self._parts[kind].owner,
                candidates.source,
                candidates.target,
                candidates.polarity,
                self._rng,
                lambda k=k: slopes()[k],  # type: ignore[misc]
                self._parts[kind],
                self._parts[kind].blocks_between(candidates.source, candidates.target),
                momentum.get(self._parts[kind].name),
            )
            interest = rule.interest(context).detach().double().cpu().numpy()
            for (pool, own), rows in self._rows.items():
                if own == kind:
                    self._ranked.setdefault(pool, {})[kind] = _Ranking(interest, rows)

    def carry_out(self, log: Log) -> int:
        """Move the weak synapses, weakest first; return how many have moved."""
        moved: dict[str, list[tuple[int, int]]] = {kind: [] for kind in self._parts}  # slot, row
        left: dict[str, list[int]] = {kind: [] for kind in self._parts}  # slots that are empty now
        ages = {kind: log.ages(part).tolist() for kind, part in self._parts.items()}
        count = 0
        try:
            for slot in self._slots:
                kind = slot.kind
                source, cut = self._legality.ends(slot)
                place = self._parts[kind].owner, source, cut
                strength, age = self._strengths[kind][slot.index], ages[kind][slot.index]
                choice, outcome = None, LAST_INPUT
                if self._legality.may_cut(slot):
                    choice, outcome = self._next(slot), NO_FREE_TARGET
                if choice is None:
                    log.record(place, strength, outcome, age=age)
                    continue
                if log.guards:  # which see the model with all edits so far
                    self._apply(moved, left, log)
                to_kind, row = choice
                stays = to_kind == kind
                to = slot if stays else Slot(to_kind, self._spare[to_kind][-1])
                fresh = self._candidates[to_kind]
                grown_source, grown, polarity = self._ends[to_kind][row]
                values: dict[str, float] = {}
                if log.guards:
                    values = {k: float(v[row]) for k, v in fresh.values.items() if v.dim() == 1}
                proposal = ProposedEdit(
                    log.step, place[0], slot.index, source, cut, strength, grown_source, grown,
                    polarity, float(fresh.strength[row]) if log.guards else 0.0, values,
                    None if stays else self._parts[to_kind].owner, None if stays else to.index,
                )  # fmt: skip
                if log.ask(proposal, REWIRED, age=age) == REWIRED:
                    self._legality.move(slot, to, grown_source, grown)
                    moved[to_kind].append((to.index, row))
                    if not stays:
                        self._spare[to_kind].pop()
                        left[kind].append(slot.index)
                    count += 1
        finally:
            self._apply(moved, left, log)
        return count

    def _next(self, slot: Slot) -> tuple[str, int] | None:
        """Return set and row of the candidate of the highest interest that is left for a slot."""
        for pool in self._pools[slot]:
            best: tuple[float, str, int] | None = None
            for kind, ranking in self._ranked.get(pool, {}).items():
                if kind != slot.kind and not self._spare[kind]:
                    continue
                while (row := ranking.row) is not None:
                    source, target, _ = self._ends[kind][row]
                    if self._legality.is_free_still(kind, source, target):
                        break
                    ranking.at += 1
                if row is not None and (best is None or ranking.interest > best[0]):
                    best = ranking.interest, kind, row
            if best is not None:
                return best[1:]
        return None

    def _apply(
        self, moved: dict[str, list[tuple[int, int]]], left: dict[str, list[int]], log: Log
    ) -> None:
        """Write what has moved into the slots, forget what is remembered of the old, empty both."""
        for kind, slots_left in left.items():
            if slots_left:
                mask = self._parts[kind].mask.clone()
                mask[slots_left] = False
                log.hold(self._parts[kind], mask)
                slots_left.clear()
        for kind, pairs in moved.items():
            if pairs:
                part = self._parts[kind]
                slots, rows = torch.tensor(pairs, device=part.synapses.source.device).T
                log.replace(part, slots)
                part.synapses.rewire(slots, self._candidates[kind].take(rows))
                pairs.clear()
