"""Exchange of weak weights for others: a round for each cell and for each matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from elegans.pruning.growing.circuits import CircuitRound
from elegans.pruning.growing.legality import Freedom, Legality, Slot
from elegans.pruning.growing.matrices import MatrixRound
from elegans.pruning.growing.round import Round
from elegans.pruning.measuring.turnover import Births
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.settings import PrunerSettings


def rounds_of(
    parts: Sequence[PrunableWeight],
    scores: Sequence[Tensor],
    settings: PrunerSettings,
    step: int,
    rng: np.random.Generator,
    births: Births,
    newborn: Mapping[str, Tensor],
) -> list[Round]:
    """Return a round for each cell and for each matrix in which a weight is weak at `step`.

    The sets of synapses of a cell are judged together, the members of an ensemble one by one. What
    has grown within the time of grace is not judged. Matrices that compete for places have one
    round together.
    """
    threshold, growth = settings.drop_fraction, settings.growth
    assert threshold is not None
    assert growth is not None
    compete = growth.across_layers and not settings.freedom.keep_blocks
    rounds: list[Round] = []
    matrices: list[tuple[PrunableWeight, Tensor, Tensor]] = []
    for group in _groups(parts):
        alive = [parts[k].flat(parts[k].mask).cpu().numpy() for k in group]
        score = [parts[k].flat(scores[k]).double().cpu().numpy() for k in group]
        may_go = []
        for k, there in zip(group, alive, strict=True):
            age = births.ages(parts[k], step).cpu().numpy().reshape(there.shape)
            may_go.append(there & ((age < 0) | (age >= settings.grace)))
        weak = [np.zeros_like(mask) for mask in alive]
        for m in range(parts[group[0]].members):
            pooled = np.concatenate([s[m][g[m]] for s, g in zip(score, may_go, strict=True)])
            splits = np.cumsum([int(g[m].sum()) for g in may_go])[:-1]
            chosen = np.split(threshold.weak(pooled, step), splits)
            for w, g, own in zip(weak, may_go, chosen, strict=True):
                w[m][g[m]] = own
        matrix = not isinstance(parts[group[0]], SynapsePart)
        if not any(mask.any() for mask in weak) and not (matrix and compete):
            continue
        circuit = [part for k in group if isinstance(part := parts[k], SynapsePart)]
        if circuit:
            rounds.append(
                CircuitRound(
                    circuit,
                    [mask[0] for mask in weak],
                    [values[0] for values in score],
                    rng,
                    fresh=settings.fresh,
                    freedom=settings.freedom,
                )
            )
        else:
            part = parts[group[0]]
            mask = torch.from_numpy(weak[0]).to(part.mask.device).reshape(part.mask.shape)
            matrices.append((part, mask, scores[group[0]]))
        if matrices and not compete:
            rounds.append(_of_matrices(matrices, settings, rng, newborn))
            matrices = []
    if any(bool(mask.any()) for _, mask, _ in matrices):
        rounds.append(_of_matrices(matrices, settings, rng, newborn))
    return rounds


def _of_matrices(
    matrices: Sequence[tuple[PrunableWeight, Tensor, Tensor]],
    settings: PrunerSettings,
    rng: np.random.Generator,
    newborn: Mapping[str, Tensor],
) -> MatrixRound:
    parts, weak, scores = zip(*matrices, strict=True)
    listed = settings.lists(parts[0])
    return MatrixRound(parts, weak, scores, rng, listed=listed, newborn=newborn)


def budget_of(parts: Sequence[PrunableWeight], sparsity: float) -> int:
    """Return how many weights are left at a sparsity, each cell or matrix by itself."""
    return sum(
        round((1 - sparsity) * sum(parts[k].size for k in group)) for group in _groups(parts)
    )


def connected_masks(
    parts: Sequence[PrunableWeight], scores: Sequence[Tensor], sparsity: float, freedom: Freedom
) -> list[Tensor]:
    """Return masks of circuits that keep the share 1 - `sparsity` of the slots of each cell.

    The lowest scores of all its sets go first; a synapse that its ends need is passed over, see
    `Legality`, so that more may stay than the share. Matrices keep their masks.
    """
    masks = [part.mask.clone() for part in parts]
    for group in _groups(parts):
        circuit = [part for k in group if isinstance(part := parts[k], SynapsePart)]
        if not circuit:
            continue
        cell = circuit[0].cell
        left, budget = sum(int(part.mask.sum()) for part in circuit), budget_of(circuit, sparsity)
        legality = Legality(cell.wiring, cell.synapse_sets(), freedom)
        which = [(k, slot) for k in group for slot in parts[k].mask.nonzero().squeeze(-1).tolist()]
        order = torch.cat([scores[k][parts[k].mask].double() for k in group]).argsort(stable=True)
        for number in order.tolist():
            if left <= budget:
                break
            k, index = which[number]
            part = parts[k]
            assert isinstance(part, SynapsePart)
            slot = Slot(part.kind, index)
            if legality.may_cut(slot, moves=False):
                legality.cut(slot)
                masks[k][index] = False
                left -= 1
    return masks


def any_room(parts: Sequence[PrunableWeight], freedom: Freedom) -> bool:
    """Whether some weight could grow."""
    for group in _groups(parts):
        first = parts[group[0]]
        if not isinstance(first, SynapsePart):
            if not bool(first.mask.all()):
                return True
            continue
        kinds = [part.kind for k in group if isinstance(part := parts[k], SynapsePart)]
        if Legality(first.cell.wiring, first.cell.synapse_sets(), freedom).has_room(kinds):
            return True
    return False


def _groups(parts: Sequence[PrunableWeight]) -> list[list[int]]:
    """Return the numbers of the parts that exchange weights together: those of one cell."""
    groups: dict[int, list[int]] = defaultdict(list)
    for k, part in enumerate(parts):
        groups[id(part.cell) if isinstance(part, SynapsePart) else id(part)].append(k)
    return list(groups.values())
