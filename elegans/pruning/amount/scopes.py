"""Budgets and scopes: sparsities of layers, pools in which weights compete, the selection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight

BUDGETS = ("uniform", "erdos_renyi")


def check_budget(budget: str) -> None:
    """Raise `PruningError` unless there is such a budget."""
    if budget not in BUDGETS:
        raise PruningError(f"unknown budget {budget!r}, expected one of {BUDGETS}")


def spread(parts: Sequence[PrunableWeight], sparsity: Tensor, budget: str) -> list[Tensor]:
    r"""Return the share of missing weights of each part, (member,), for `sparsity` (member,).

    ``"uniform"``: all the same. ``"erdos_renyi"``: a layer of n sources and m targets keeps

    .. math:: \min(nm, \; \epsilon \, (n + m))

    weights (the extents of a kernel join the sum), with the epsilon that brings the whole model
    to its sparsity: large layers become sparser than small ones.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity", Nature Communications 9:2383 (2018); for kernels, Evci et al., "Rigging the
    lottery", ICML 2020, section 3 (1).
    """
    check_budget(budget)
    if budget == "uniform":
        return [sparsity for _ in parts]
    size = torch.tensor([part.size for part in parts], dtype=torch.float64)
    reach = torch.tensor([sum(part.dimensions) for part in parts], dtype=torch.float64)
    density = torch.stack([_densities(size, reach, float(1 - s)) for s in sparsity])
    return [1 - density[:, k].to(sparsity) for k in range(len(parts))]


def _densities(size: Tensor, reach: Tensor, density: float) -> Tensor:
    """Return min(size, epsilon * reach) / size with the sum density * size.sum()."""
    total = density * float(size.sum())
    full = torch.zeros_like(size, dtype=torch.bool)
    # A layer that would be more than full is full, and the others share the rest.
    while True:
        rest = total - float(size[full].sum())
        share = max(0.0, rest) / float(reach[~full].sum()) if not bool(full.all()) else 0.0
        kept = torch.where(full, size, share * reach)
        over = (kept > size) & ~full
        if not bool(over.any()):
            return kept / size
        full |= over


NORMS = ("sum", "mean", "l1", "l2", "linf")
"""Norms that make one score of those of a neuron's weights."""


@checked(PruningError)
@dataclass(frozen=True)
class Scope:
    """Weights that compete with each other, cut one by one or with their neuron.

    Parameters
    ----------
    pool
        ``"layer"``: each part loses the same share. ``"block"``: the synapses between two layers
        of a circuit, or the tensors of one module, compete. ``"global"``: all weights compete.
    units
        Whether all incoming weights of a neuron, those of one part, are cut together.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> layer = nn.Linear(8, 4)
    >>> Pruner(layer, scope=Scope("layer", units=True)).prune(0.5)
    {'weight': 0.5}
    >>> layer.weight.ne(0).sum(dim=1).sort().values  # two neurons have lost all their inputs
    tensor([0, 0, 8, 8])
    """

    pool: str
    units: bool

    def __post_init__(self) -> None:
        if self.pool not in ("layer", "block", "global"):
            raise PruningError(
                f"unknown pool {self.pool!r}, expected one of ('layer', 'block', 'global')"
            )


SCOPES = {
    "layer": Scope("layer", units=False),
    "block": Scope("block", units=False),
    "global": Scope("global", units=False),
    "unit": Scope("layer", units=True),
    "global_unit": Scope("global", units=True),
}
"""Scopes by the name that `Pruner` takes."""


class _Piece(NamedTuple):
    """The weights of a part that take part in a pool."""

    part: int
    positions: Tensor | slice  # (weight,), or all of them


def select(
    parts: Sequence[PrunableWeight],
    scores: Sequence[Tensor],
    sparsities: Sequence[Tensor],
    scope: Scope,
    norm: str = "sum",
) -> list[Tensor]:
    """Return the masks that remain when the weights with the lowest scores are cut.

    Masks only lose weights. In each pool, as many atoms (weights, or neurons with all their
    incoming weights) are cut as bring the share of missing weights nearest to the sparsity.

    Parameters
    ----------
    parts
        What is pruned.
    scores
        One tensor a part, in the shape of its weight; the lowest are cut first.
    sparsities
        The share of weights that shall be missing, one tensor (member,) a part.
    scope
        What competes with what.
    norm
        How the scores of a neuron's weights become one, of `NORMS`; a square root is left out.
    """
    if norm not in NORMS:
        raise PruningError(f"unknown norm {norm!r}, expected one of {NORMS}")
    kept = [part.flat(part.mask).clone() for part in parts]
    flat = [part.flat(score).double() for part, score in zip(parts, scores, strict=True)]
    for pool in _pools(parts, scope):
        alive = [kept[k][:, where] for k, where in pool]
        pooled = [flat[k][:, where] for k, where in pool]
        # (member,) weights that shall be missing, more than are missing
        excess = sum(
            (
                present.shape[1] * sparsities[k].to(flat[k]) - (~present).sum(dim=1)
                for (k, _), present in zip(pool, alive, strict=True)
            ),
            start=torch.zeros((), dtype=torch.float64),
        )
        if scope.units:
            gone = _lowest_neurons(
                [_neurons(parts[k], where) for k, where in pool], pooled, alive, excess, norm
            )
        else:
            gone = _lowest_weights(pooled, alive, excess)
        for (k, where), present, cut in zip(pool, alive, gone, strict=True):
            kept[k][:, where] = present & ~cut
    return [mask.reshape(part.mask.shape) for part, mask in zip(parts, kept, strict=True)]


def _pools(parts: Sequence[PrunableWeight], scope: Scope) -> list[list[_Piece]]:
    """Return the pools of `scope`."""
    every = [_Piece(k, slice(None)) for k in range(len(parts))]
    if scope.pool == "layer":
        return [[piece] for piece in every]
    if scope.pool == "global":
        return [every]
    pools: dict[tuple[str, int], list[_Piece]] = defaultdict(list)
    for k, part in enumerate(parts):
        blocks = part.block_of()
        for block in torch.unique(blocks).tolist():
            where = (blocks == block).nonzero().squeeze(-1)
            pools[part.owner, block].append(_Piece(k, where))
    return list(pools.values())


def _lowest_weights(
    scores: Sequence[Tensor], alive: Sequence[Tensor], excess: Tensor
) -> list[Tensor]:
    """Return which weights to cut: the lowest of a pool, as many as are nearest to `excess`."""
    mask = torch.cat(list(alive), dim=1)
    lowest = torch.finfo(torch.float64).min
    score = torch.cat(list(scores), dim=1).clamp_(min=lowest).masked_fill_(~mask, -torch.inf)
    order = score.argsort(dim=1, stable=True)  # what is gone comes first
    gone = (~mask).sum(dim=1, keepdim=True)
    cut_count = (excess + 0.5).floor().clamp(min=0).unsqueeze(1)
    place = torch.arange(mask.shape[1], device=mask.device)
    chosen = (place >= gone) & (place < gone + cut_count)
    cut = torch.zeros_like(mask).scatter_(1, order, chosen)
    return list(torch.split(cut, [score_of_part.shape[1] for score_of_part in scores], dim=1))


def _neurons(part: PrunableWeight, where: Tensor | slice) -> Tensor:
    """Return the neuron of each weight of a pool, (weight,), counted from 0."""
    of: Tensor = torch.unique(part.unit_of()[where], return_inverse=True)[1]
    return of


def _lowest_neurons(
    neurons: Sequence[Tensor],
    scores: Sequence[Tensor],
    alive: Sequence[Tensor],
    excess: Tensor,
    norm: str,
) -> list[Tensor]:
    """Return which weights go with their neurons, so that as many as are nearest to `excess`."""
    joined, sizes = [], []
    for of, score, mask in zip(neurons, scores, alive, strict=True):
        count = int(of.max()) + 1 if len(of) else 0
        sizes.append(score.new_zeros(len(score), count).index_add_(1, of, mask.double()))
        joined.append(_of_neurons(of, torch.where(mask, score, 0.0), sizes[-1], norm))
    score, size = torch.cat(joined, dim=1), torch.cat(sizes, dim=1)
    score = torch.where(size > 0, score, -torch.inf)  # what is gone comes first
    order = score.argsort(dim=1, stable=True)
    size = size.gather(1, order)
    # A neuron goes if half of it still fits: the count is rounded to the nearest.
    cut = (size.cumsum(dim=1) - size / 2 <= excess.unsqueeze(1)) & (size > 0)
    cut = torch.zeros_like(cut).scatter_(1, order, cut)
    parts = torch.split(cut, [score_of_part.shape[1] for score_of_part in joined], dim=1)
    return [gone[:, of] for gone, of in zip(parts, neurons, strict=True)]


def _of_neurons(of: Tensor, score: Tensor, size: Tensor, norm: str) -> Tensor:
    """Return the score of each neuron, (member, neuron)."""
    total = torch.zeros_like(size)
    if norm == "linf":
        return total.scatter_reduce_(1, of.expand_as(score), score.abs(), "amax")
    if norm in ("sum", "mean"):
        total.index_add_(1, of, score)
        return total / size.clamp(min=1) if norm == "mean" else total
    return total.index_add_(1, of, score.abs() ** (1 if norm == "l1" else 2))


def as_scope(scope: str | Scope) -> Scope:
    """Return the scope that a name stands for."""
    if isinstance(scope, Scope):
        return scope
    if scope not in SCOPES:
        raise PruningError(f"unknown scope {scope!r}, expected one of {tuple(SCOPES)}")
    return SCOPES[scope]
