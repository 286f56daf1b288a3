"""Budgets: the sparsity of each layer for a sparsity of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
    wanted = density * float(size.sum())
    full = torch.zeros_like(size, dtype=torch.bool)
    # A layer that would be more than full is full, and the others share the rest.
    while True:
        rest = wanted - float(size[full].sum())
        share = max(0.0, rest) / float(reach[~full].sum()) if not bool(full.all()) else 0.0
        kept = torch.where(full, size, share * reach)
        over = (kept > size) & ~full
        if not bool(over.any()):
            return kept / size
        full |= over
