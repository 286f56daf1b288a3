"""A cut: weights that go for good, with the word of guards and a record of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.growing.round import Log
from elegans.pruning.ledger import PRUNED, ProposedEdit
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.settings import PrunerSettings


def check_not_empty(parts: Sequence[PrunableWeight], after: Sequence[Tensor]) -> None:
    """Raise `PruningError` if a part would lose everything with the masks `after`."""
    for part, mask in zip(parts, after, strict=True):
        empty = ~part.flat(mask).any(dim=1) & part.flat(part.mask).any(dim=1)
        if bool(empty.any()):
            member = f" of member {int(empty.nonzero()[0])}" if len(empty) > 1 else ""
            raise PruningError(
                f"{part.name}{member} would lose all its weights; nothing was pruned: "
                "lower the sparsity, prune by layer, exclude it, or pass allow_empty=True"
            )


def cut(part: PrunableWeight, mask: Tensor, log: Log, settings: PrunerSettings) -> int:
    """Leave only the weights of `mask`, as far as guards consent; return how many were cut.

    Each guard sees the cuts before its own.
    """
    going = part.mask & ~mask
    if log.guards:
        left, count = part.mask.clone(), 0
        for slot, place, strength, age in _listed(part, going, log):
            proposal = ProposedEdit(log.step, place[0], slot, *place[1:], strength)
            if log.ask(proposal, PRUNED, age=age) == PRUNED:
                left.view(-1)[slot] = False
                count += 1
                log.hold(part, left)
        return count
    if settings.lists(part):
        for _, place, strength, age in _listed(part, going, log):
            log.record(place, strength, PRUNED, age=age)
    else:
        log.count(PRUNED, int(going.sum()))
    log.hold(part, mask)
    return int(going.sum())


def _listed(
    part: PrunableWeight, going: Tensor, log: Log
) -> Iterator[tuple[int, tuple[str, int, int], float, int]]:
    """Iterate over flat index, name and ends, strength, and age of the weights `going`."""
    name = part.owner if isinstance(part, SynapsePart) else part.name
    slots = going.reshape(-1).nonzero().squeeze(-1)
    columns = (slots, *part.ends(slots), part.weights().abs().reshape(-1)[slots])
    rows = zip(*(column.tolist() for column in (*columns, log.ages(part)[slots])), strict=True)
    for slot, source, target, strength, age in rows:
        yield slot, (name, source, target), strength, age
