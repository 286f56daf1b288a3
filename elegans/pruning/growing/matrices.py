"""A round of exchange in weight matrices: entries that go, and absent ones that come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from elegans.pruning.growing.round import Log, Round
from elegans.pruning.growing.rules import GrowthContext, GrowthRule
from elegans.pruning.ledger import REWIRED, ProposedEdit
from elegans.pruning.parts.part import PrunableWeight


class MatrixRound(Round):
    """Exchange of weak entries for absent ones, as many as can come; each member by itself.

    Of several matrices that compete for places, each keeps an entry at least.

    Parameters
    ----------
    parts
        The weights, each of one matrix or of all members of an ensemble.
    weak
        Which entries are weak, bool, in the shapes of the weights.
    scores
        What orders them, in the shapes of the weights.
    rng
        Source of randomness.
    listed
        Whether the ledger lists every entry or counts them.
    newborn
        By the name of the weight, what each entry begins with when it comes; at zero by default.
    """

    def __init__(
        self,
        parts: Sequence[PrunableWeight],
        weak: Sequence[Tensor],
        scores: Sequence[Tensor],
        rng: np.random.Generator,
        *,
        listed: bool,
        newborn: Mapping[str, Tensor],
    ) -> None:
        self._parts, self._rng, self._listed, self._newborn = parts, rng, listed, newborn
        self._sizes = [part.size for part in parts]
        self._alive = self._joined([part.mask for part in parts])  # (member, weight of all parts)
        ranked = torch.where(
            self._joined(weak) & self._alive, self._joined(scores).double(), torch.inf
        )
        if len(parts) > 1:
            self._keep_strongest(ranked)
        number = (ranked < torch.inf).sum(1).minimum((~self._alive).sum(1)).tolist()
        order = ranked.argsort(dim=1, stable=True)
        self._going = [row[:n] for row, n in zip(order, number, strict=True)]
        self._coming: list[Tensor] = []

    def _joined(self, values: Sequence[Tensor]) -> Tensor:
        pairs = zip(self._parts, values, strict=True)
        return torch.cat([part.flat(value) for part, value in pairs], dim=1)

    def _keep_strongest(self, ranked: Tensor) -> None:
        """Let the strongest entry stay of matrices of which all would go."""
        pairs = (torch.split(values, self._sizes, dim=1) for values in (ranked, self._alive))
        for rank, alive in zip(*pairs, strict=True):
            emptied = ((rank < torch.inf) == alive).all(dim=1) & alive.any(dim=1)
            strongest = rank.masked_fill(~alive, -torch.inf).argmax(dim=1)
            rank[emptied, strongest[emptied]] = torch.inf

    def draw(self, rule: GrowthRule) -> None:
        """Consider every absent entry."""

    @contextmanager
    def probed(self) -> Iterator[list[Tensor]]:
        """Yield the parameters themselves: an absent entry has a slope at zero."""
        yield [part.parameter for part in self._parts]

    def rank(
        self,
        rule: GrowthRule,
        slopes: Callable[[], list[Tensor]],
        momentum: Mapping[str, Tensor],
    ) -> None:
        """Choose the absent entries of the highest interest."""
        pairs = zip(self._parts, torch.split(self._alive, self._sizes, dim=1), strict=True)
        interest = [
            self._interest(part, alive, rule, lambda k=k: slopes()[k], momentum)  # type: ignore[misc]
            for k, (part, alive) in enumerate(pairs)
        ]
        order = torch.cat(interest, dim=1).argsort(dim=1, descending=True, stable=True)
        self._coming = [row[: len(n)] for row, n in zip(order, self._going, strict=True)]

    def _interest(
        self,
        part: PrunableWeight,
        alive: Tensor,
        rule: GrowthRule,
        slope: Callable[[], Tensor],
        momentum: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the interest in the absent entries of a part, (member, weight); none elsewhere."""
        member, place = (~alive).nonzero(as_tuple=True)
        source, target = part.ends(place)
        context = GrowthContext(
            part.name,
            source,
            target,
            torch.zeros_like(source),  # polarities
            self._rng,
            lambda: part.flat(part.slopes(slope()))[member, place],
            part,
            momentum=momentum.get(part.name),
        )
        interest = rule.interest(context).detach().double()
        everywhere = interest.new_full(alive.shape, -torch.inf)
        everywhere[member, place] = interest
        return everywhere

    def carry_out(self, log: Log) -> int:
        """Exchange the entries; one after the other where guards look at them."""
        after, count = self._alive.clone(), sum(map(len, self._going))
        if not log.guards and not self._listed:
            for row, going, coming in zip(after, self._going, self._coming, strict=True):
                row[going], row[coming] = False, True
            self._hold(after, log)
            log.count(REWIRED, count)
            return count
        count = 0
        weights = [part.weights().reshape(-1).clone() for part in self._parts]
        ages = [log.ages(part).tolist() for part in self._parts]
        for m, (going, coming) in enumerate(zip(self._going, self._coming, strict=True)):
            rows = going.tolist(), coming.tolist(), self._places(m, going), self._places(m, coming)
            for old, new, place, to in zip(*rows, strict=True):
                (k, slot, source, cut), (to_k, to_slot, grown_source, grown) = place, to
                part, to_part = self._parts[k], self._parts[to_k]
                fresh = 0.0
                if to_part.name in self._newborn:
                    fresh = float(self._newborn[to_part.name].reshape(-1)[to_slot])
                proposal = ProposedEdit(
                    log.step,
                    part.name,
                    slot,
                    source,
                    cut,
                    float(weights[k][slot]),
                    grown_source,
                    grown,
                    int(np.sign(fresh)) or None,
                    abs(fresh),
                    grown_synapses=None if to_k == k else to_part.name,
                    grown_slot=None if to_k == k else to_slot,
                )
                if log.ask(proposal, REWIRED, age=ages[k][slot]) == REWIRED:
                    after[m, old], after[m, new] = False, True
                    count += 1
                    if log.guards:  # the next one sees the model with all edits so far
                        self._hold(after, log)
        self._hold(after, log)
        return count

    def _places(self, member: int, row: Tensor) -> list[list[int]]:
        """Return the part of each weight, its index there, its source and its target."""
        places, start = row.new_empty((4, len(row))), 0
        for k, part in enumerate(self._parts):
            own = (row >= start) & (row < start + part.size)
            index = row[own] - start
            ends = part.ends(index)
            places[:, own] = torch.stack(
                [torch.full_like(index, k), index + member * part.size, *ends]
            )
            start += part.size
        rows: list[list[int]] = places.T.tolist()
        return rows

    @torch.no_grad()
    def _hold(self, after: Tensor, log: Log) -> None:
        """Let `after` be the masks, and entries that come begin with their values."""
        for part, mask in zip(self._parts, torch.split(after, self._sizes, dim=1), strict=True):
            mask = mask.reshape(part.mask.shape)
            grown = mask & ~part.mask
            log.hold(part, mask)
            if part.name in self._newborn:
                part.parameter[grown] = self._newborn[part.name].to(part.parameter)[grown]
