"""What competes with what when weights are cut: scopes, and the selection inside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.part import Part

NORMS = ("sum", "mean", "l1", "l2", "linf")
"""How the scores of a neuron's weights become one."""


@dataclass(frozen=True)
class Scope:
    """Which weights compete, and whether they go one by one or with their neuron.

    Parameters
    ----------
    pool
        ``"layer"``: each part loses the same share. ``"block"``: the synapses between two layers
        of a circuit, or the tensors of one module, compete. ``"global"``: all weights compete.
    units
        Whether all incoming weights of a neuron, those of one part, are cut together.
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


class _Piece(NamedTuple):
    """The weights of a part that take part in a pool."""

    part: int
    positions: Tensor  # (weight,)


def select(
    parts: Sequence[Part],
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
        atoms = [_atoms(parts[k], flat[k], kept[k], where, scope, norm) for k, where in pool]
        target = torch.stack([len(where) * sparsities[k].to(flat[k]) for k, where in pool]).sum(
            dim=0
        )  # (member,) weights that shall be missing
        closed = torch.stack([(~kept[k][:, where]).sum(dim=1) for k, where in pool]).sum(
            dim=0
        )  # (member,) weights that are missing
        cut = _lowest(
            torch.cat([atom.score for atom in atoms], dim=1),
            torch.cat([atom.size for atom in atoms], dim=1),
            closed,
            target,
        )
        sizes = [atom.score.shape[1] for atom in atoms]
        for (k, where), gone, atom in zip(pool, torch.split(cut, sizes, dim=1), atoms, strict=True):
            kept[k][:, where] &= ~gone[:, atom.of]  # (member, weight)
    return [mask.reshape(part.mask.shape) for part, mask in zip(parts, kept, strict=True)]


def _pools(parts: Sequence[Part], scope: Scope) -> list[list[_Piece]]:
    """Return the pools of `scope`."""
    every = [torch.arange(part.size, device=part.mask.device) for part in parts]
    if scope.pool == "layer":
        return [[_Piece(k, where)] for k, where in enumerate(every)]
    if scope.pool == "global":
        return [[_Piece(k, where) for k, where in enumerate(every)]]
    pools: dict[tuple[str, int], list[_Piece]] = defaultdict(list)
    for k, part in enumerate(parts):
        blocks = part.block_of()
        for block in torch.unique(blocks).tolist():
            where = (blocks == block).nonzero().squeeze(-1)
            pools[part.owner, block].append(_Piece(k, where))
    return list(pools.values())


class _Atoms(NamedTuple):
    """What is cut as a whole."""

    score: Tensor  # (member, atom)
    size: Tensor  # (member, atom), weights that are still there
    of: Tensor  # (weight,), the atom of each weight


def _atoms(
    part: Part, score: Tensor, kept: Tensor, where: Tensor, scope: Scope, norm: str
) -> _Atoms:
    score, alive = score[:, where], kept[:, where]
    if not scope.units:
        size = alive.double()
        return _Atoms(score, size, torch.arange(len(where), device=where.device))
    _, of = torch.unique(part.unit_of()[where], return_inverse=True)
    count = int(of.max()) + 1 if len(of) else 0
    size = score.new_zeros(len(score), count).index_add(1, of, alive.double())
    score = torch.where(alive, score, 0.0)
    if norm == "linf":
        total = score.new_zeros(len(score), count).scatter_reduce(
            1, of.expand_as(score), score.abs(), "amax"
        )
    elif norm in ("sum", "mean"):
        total = score.new_zeros(len(score), count).index_add(1, of, score)
        if norm == "mean":
            total = total / size.clamp(min=1)
    else:
        power = 1 if norm == "l1" else 2
        total = score.new_zeros(len(score), count).index_add(1, of, score.abs() ** power)
    return _Atoms(total, size, of)


def _lowest(score: Tensor, size: Tensor, closed: Tensor, target: Tensor) -> Tensor:
    """Return the atoms to cut, (member, atom), so that `closed` comes nearest to `target`."""
    score = torch.where(size > 0, score, -torch.inf)  # what is gone comes first
    order = score.argsort(dim=1, stable=True)
    sizes = size.gather(1, order)
    # An atom goes if half of it still fits: the count is rounded to the nearest.
    half_gone = closed.unsqueeze(1) + sizes.cumsum(dim=1) - sizes / 2
    cut = (half_gone <= target.unsqueeze(1)) & (sizes > 0)
    return torch.zeros_like(cut).scatter(1, order, cut)


def as_scope(scope: str | Scope) -> Scope:
    """Return the scope that a name stands for."""
    if isinstance(scope, Scope):
        return scope
    if scope not in SCOPES:
        raise PruningError(f"unknown scope {scope!r}, expected one of {tuple(SCOPES)}")
    return SCOPES[scope]
