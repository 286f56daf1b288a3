"""The exchange of weak weights for as many others.

In a weight matrix, weights that were missing come back at zero: at random (SET) or where the slope
of the loss is steepest (RigL). In a liquid circuit the synapse moves: its source reaches out for
another neuron of the same layer, by the rules of prune-and-rewire.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.criteria.gradients import Closure, slopes_of
from elegans.pruning.growing.legality import Legality, Slot
from elegans.pruning.growing.rules import GROWTHS, Fresh, Round
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.site import Site
from elegans.pruning.parts.synapses import SynapsePart

FRESH_CONDUCTANCE = 0.05
"""Conductance of a synapse that grows, as in prune-and-rewire."""


def exchange(
    parts: Sequence[PrunableWeight],
    scores: Sequence[Tensor],
    share: float,
    growth: str,
    closure: Closure | None,
    generator: torch.Generator,
    moments: Moments,
    forget: Callable[[PrunableWeight, Tensor], None],
) -> int:
    """Cut the `share` of the remaining weights with the lowest scores, and grow as many.

    Each part, and each member of an ensemble, keeps its number of weights. Returns the number of
    weights that were exchanged.
    """
    matrices = [k for k, part in enumerate(parts) if not isinstance(part, SynapsePart)]
    circuits: dict[int, list[int]] = defaultdict(list)
    for k, part in enumerate(parts):
        if isinstance(part, SynapsePart):
            circuits[id(part.cell)].append(k)
    chosen = [parts[k] for k in matrices]
    if growth == "gradient":
        if closure is None:
            raise PruningError(
                "growth='gradient' needs the loss: call step(lambda: loss of the batch)"
            )
        interest = [slope.abs() for slope in slopes_of(chosen, closure)] if chosen else []
    else:
        interest = [
            torch.rand(part.mask.shape, generator=generator).to(part.mask.device) for part in chosen
        ]
    masks = [
        _swap(part, scores[k], wanted, share)
        for k, part, wanted in zip(matrices, chosen, interest, strict=True)
    ]
    plans = [
        _plan([parts[k] for k in group], [scores[k] for k in group], share, growth, closure, seed)
        for group, seed in zip(
            circuits.values(),
            torch.randint(2**31, (len(circuits),), generator=generator).tolist(),
            strict=True,
        )
    ]
    # Nothing is changed before everything is known to be possible.
    count = 0
    for part, mask in zip(chosen, masks, strict=True):
        count += int((part.mask & ~mask).sum())
        forget(part, part.mask ^ mask)
        part.hold(mask, moments)
    for (site, pending), group in zip(plans, circuits.values(), strict=True):
        count += len(pending)
        for part in (parts[k] for k in group):
            moved = torch.zeros_like(part.mask)
            kind = next(kind for kind, s in site.sets.items() if s.weight is part.parameter)
            moved[[slot.index for slot in pending if slot.kind == kind]] = True
            forget(part, moved)
        site.apply(pending, FRESH_CONDUCTANCE, moments)
    return count


def _swap(part: PrunableWeight, score: Tensor, interest: Tensor, share: float) -> Tensor:
    """Return the mask after the exchange inside one weight tensor."""
    alive, score, interest = (part.flat(t) for t in (part.mask, score, interest))
    # As many as are free can come, and no more can go.
    wanted = (share * alive.sum(dim=1).double() + 0.5).floor()
    number = torch.minimum(wanted.long(), (~alive).sum(dim=1)).unsqueeze(1)  # (member, 1)
    going = torch.where(alive, score.double(), torch.inf)
    coming = torch.where(alive, -torch.inf, interest.double())
    after = (alive & (_rank(going) >= number)) | (_rank(-coming) < number)
    return after.reshape(part.mask.shape)


def _rank(values: Tensor) -> Tensor:
    """Return the place of each value in ascending order, along the last axis."""
    return values.argsort(dim=-1, stable=True).argsort(dim=-1)


def _plan(
    parts: Sequence[PrunableWeight],
    scores: Sequence[Tensor],
    share: float,
    growth: str,
    closure: Closure | None,
    seed: int,
) -> tuple[Site, dict[Slot, Fresh]]:
    """Return which synapses of one circuit move where."""
    sets = {part.kind: part.synapses for part in parts if isinstance(part, SynapsePart)}
    first = parts[0]
    assert isinstance(first, SynapsePart)
    site = Site(first.owner.rpartition(".")[0], first.cell, sets)
    slots = []
    for part, score, kind in zip(parts, scores, sets, strict=True):
        number = round(share * int(part.mask.sum()))
        order = torch.where(part.mask, score.double(), torch.inf).argsort(stable=True)
        slots += [Slot(kind, index) for index in order[:number].tolist()]
    legality = Legality(first.cell.wiring, site.connections(), slots, self_synapses=False)
    rng = np.random.default_rng(seed)
    choose = GROWTHS[growth](Round(sets, slots, legality, rng, 0.5, 32, closure))
    pending: dict[Slot, Fresh] = {}
    for slot in slots:
        if legality.may_cut(slot):
            fresh = choose(slot)
            if fresh is not None:
                legality.move(slot, fresh.target)
                pending[slot] = fresh
    return site, pending
