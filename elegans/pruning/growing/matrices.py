"""A round of exchange in a weight matrix: entries that go, and absent ones that come at zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    Parameters
    ----------
    part
        The weight, of one matrix or of all members of an ensemble.
    weak
        Which entries are weak, bool, in the shape of the weight.
    score
        What orders them, in the shape of the weight.
    rng
        Source of randomness.
    listed
        Whether the ledger lists every entry or counts them.
    """

    def __init__(
        self,
        part: PrunableWeight,
        weak: Tensor,
        score: Tensor,
        rng: np.random.Generator,
        *,
        listed: bool,
    ) -> None:
        self._part, self._rng, self._listed = part, rng, listed
        self._alive = part.flat(part.mask)  # (member, weight)
        ranked = torch.where(part.flat(weak) & self._alive, part.flat(score).double(), torch.inf)
        number = (ranked < torch.inf).sum(1).minimum((~self._alive).sum(1)).tolist()
        order = ranked.argsort(dim=1, stable=True)
        self._going = [row[:n] for row, n in zip(order, number, strict=True)]
        self._coming: list[Tensor] = []

    def draw(self, rule: GrowthRule) -> None:
        """Consider every absent entry."""

    @contextmanager
    def probed(self) -> Iterator[list[Tensor]]:
        """Yield the parameter itself: an absent entry has a slope at zero."""
        yield [self._part.parameter]

    def rank(self, rule: GrowthRule, slopes: Callable[[], list[Tensor]]) -> None:
        """Choose the absent entries of the highest interest."""
        member, place = (~self._alive).nonzero(as_tuple=True)
        source, target = self._part.ends(place)

        def of_candidates() -> Tensor:
            slope = self._part.slopes(slopes()[0])
            return self._part.flat(slope)[member, place]

        none = torch.zeros_like(source)  # polarities
        context = GrowthContext(
            self._part.name, source, target, none, self._rng, of_candidates, self._part
        )
        interest = rule.interest(context).detach().double()
        everywhere = interest.new_full(self._alive.shape, -torch.inf)
        everywhere[member, place] = interest
        order = everywhere.argsort(dim=1, descending=True, stable=True)
        self._coming = [row[: len(n)] for row, n in zip(order, self._going, strict=True)]

    def carry_out(self, log: Log) -> int:
        """Exchange the entries; one after the other where guards look at them."""
        count = sum(map(len, self._going))
        if not log.guards and not self._listed:
            after = self._alive.clone()
            for row, going, coming in zip(after, self._going, self._coming, strict=True):
                row[going], row[coming] = False, True
            log.hold(self._part, after.reshape(self._part.mask.shape))
            log.count(REWIRED, count)
            return count
        weights = self._part.flat(self._part.weights()).clone()
        ages = log.ages(self._part).tolist()
        after, done = self._alive.clone(), 0
        for m, (going, coming) in enumerate(zip(self._going, self._coming, strict=True)):
            columns = (going, coming, *self._part.ends(going), *self._part.ends(coming))
            for old, new, j, i, to_j, to_i in zip(*(c.tolist() for c in columns), strict=True):
                slot, strength = m * self._alive.shape[1] + old, float(weights[m, old])
                proposal = ProposedEdit(
                    log.step, self._part.name, slot, j, i, strength, grown_source=to_j, grown=to_i
                )
                if log.ask(proposal, REWIRED, age=ages[slot]) == REWIRED:
                    after[m, old], after[m, new] = False, True
                    done += 1
                    if log.guards:  # the next one sees the model with all edits so far
                        log.hold(self._part, after.reshape(self._part.mask.shape))
        log.hold(self._part, after.reshape(self._part.mask.shape))
        return done
