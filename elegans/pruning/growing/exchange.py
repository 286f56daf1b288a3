"""Exchange of weak weights for others: a round for each cell and for each matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from elegans.pruning.growing.circuits import CircuitRound
from elegans.pruning.growing.legality import Connections, has_room
from elegans.pruning.growing.matrices import MatrixRound
from elegans.pruning.growing.round import Round
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.settings import PrunerSettings


def rounds_of(
    parts: Sequence[PrunableWeight],
    scores: Sequence[Tensor],
    settings: PrunerSettings,
    step: int,
    rng: np.random.Generator,
) -> list[Round]:
    """Return a round for each cell and for each matrix in which a weight is weak at `step`.

    The sets of synapses of a cell are judged together, the members of an ensemble one by one.
    """
    threshold = settings.drop_fraction
    assert threshold is not None
    rounds: list[Round] = []
    for group in _groups(parts):
        alive = [parts[k].flat(parts[k].mask).cpu().numpy() for k in group]
        score = [parts[k].flat(scores[k]).double().cpu().numpy() for k in group]
        weak = [np.zeros_like(mask) for mask in alive]
        for m in range(parts[group[0]].members):
            pooled = np.concatenate([s[m][a[m]] for s, a in zip(score, alive, strict=True)])
            splits = np.cumsum([int(a[m].sum()) for a in alive])[:-1]
            chosen = np.split(threshold.weak(pooled, step), splits)
            for w, a, own in zip(weak, alive, chosen, strict=True):
                w[m][a[m]] = own
        if not any(mask.any() for mask in weak):
            continue
        circuit = [part for k in group if isinstance(part := parts[k], SynapsePart)]
        if circuit:
            rounds.append(
                CircuitRound(
                    circuit,
                    [mask[0] for mask in weak],
                    [values[0] for values in score],
                    rng,
                    weight=float(settings.weight),
                    excitatory=float(settings.excitatory),
                    self_synapses=settings.self_synapses,
                )
            )
        else:
            part = parts[group[0]]
            mask = torch.from_numpy(weak[0]).to(part.mask.device).reshape(part.mask.shape)
            listed = settings.lists(part)
            rounds.append(MatrixRound(part, mask, scores[group[0]], rng, listed=listed))
    return rounds


def any_room(parts: Sequence[PrunableWeight], *, self_synapses: bool) -> bool:
    """Whether some weight could grow."""
    for group in _groups(parts):
        first = parts[group[0]]
        if not isinstance(first, SynapsePart):
            if not bool(first.mask.all()):
                return True
            continue
        wiring, sets = first.cell.wiring, first.cell.synapse_sets()
        kinds = [part.kind for k in group if isinstance(part := parts[k], SynapsePart)]
        edited = {kind: Connections(kind, wiring, sets[kind]) for kind in kinds}
        if has_room(wiring, edited, self_synapses):
            return True
    return False


def _groups(parts: Sequence[PrunableWeight]) -> list[list[int]]:
    """Return the numbers of the parts that exchange weights together: those of one cell."""
    groups: dict[int, list[int]] = defaultdict(list)
    for k, part in enumerate(parts):
        groups[id(part.cell) if isinstance(part, SynapsePart) else id(part)].append(k)
    return list(groups.values())
