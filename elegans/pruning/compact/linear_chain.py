"""A chain of linear layers made smaller, sparse, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.pruning.compact.chain import Place, linear_like
from elegans.pruning.compact.dead_units import Folded, Link, fold
from elegans.pruning.compact.record import SMALLER, SPARSE, UNCHANGED, LayerRecord
from elegans.pruning.compact.rule import measured_ratio, sparse_pays
from elegans.pruning.compact.sparse_linear import SparseLinear


@dataclass(frozen=True)
class ChainOptions:
    """What is done about linear layers; see `elegans.pruning.compact.compact`."""

    units: bool = True
    sparse: str | bool = "auto"
    allow_empty: bool = False
    rows: Callable[[nn.Module], int | None] = lambda _: None
    """How many samples a layer was fed in one call, for ``sparse="measured"``; None: never."""


@dataclass(frozen=True)
class Change:
    """A layer, what takes its place (None: a copy of it), and the record."""

    old: nn.Module
    new: nn.Module | None
    record: LayerRecord


@torch.no_grad()
def compact_chain(chain: Sequence[Place], choice: ChainOptions) -> list[Change]:
    """Return what becomes of each layer of a chain.

    Raises
    ------
    PruningError
        A layer has lost all its weights or all its neurons, and that is not allowed; or a mask and
        its weight disagree.
    """
    links = [Link(p.weight(), p.mask(), p.bias(), p.activate) for p in chain]
    folded = fold(links)
    if not choice.allow_empty:
        _check_not_empty(chain, links, folded)
    if not choice.units:
        folded = [_all_stay(link, found) for link, found in zip(links, folded, strict=True)]
    all_inputs = links[0].mask.new_ones(links[0].mask.shape[1])  # (input,)
    reads = [all_inputs, *(found.keeps for found in folded)]
    return [
        _change(place, link, found, read, choice)
        for place, link, found, read in zip(chain, links, folded, reads, strict=False)
    ]


def _change(place: Place, link: Link, found: Folded, reads: Tensor, choice: ChainOptions) -> Change:
    """Return the layer with the outputs that `found` keeps, for the inputs `reads`."""
    weight, mask = (matrix[found.keeps][:, reads] for matrix in (link.weight, link.mask))
    bias = None if found.bias is None else found.bias[found.keeps]
    smaller = weight.shape != link.weight.shape
    dense = linear_like(place, weight, mask, bias)
    sparse = _as_sparse(place, dense, mask, choice)
    names = [f"{place.name}[{k}]" for k in range(len(found.keeps))]
    notes = []
    if bool(found.constants.any()) and place.drops:
        notes.append("its dropout no longer drops the constants of removed neurons")
    if found.bias is not None and link.bias is None:
        notes.append("has a bias now, for the constants of removed neurons")
    record = LayerRecord(
        place.name,
        "Linear",
        ", ".join([SMALLER] * smaller + [SPARSE] * (sparse is not None)) or UNCHANGED,
        tuple(link.weight.shape),
        tuple(weight.shape),
        int(link.mask.sum()),
        int(mask.sum()),
        without_inputs=_chosen(names, found.without_inputs),
        without_outputs=_chosen(names, found.without_outputs),
        kept=None if bool(found.keeps.all()) else tuple(_indices(found.keeps)),
        constants={names[k]: float(found.constants[k]) for k in _indices(found.constants)},
        notes=tuple(notes),
    )
    masked_by_hook = bool(place.linear._forward_pre_hooks)
    same = sparse is None and not smaller and not masked_by_hook
    return Change(place.linear, None if same else sparse or dense, record)


def _as_sparse(
    place: Place, dense: nn.Linear, mask: Tensor, choice: ChainOptions
) -> SparseLinear | None:
    """Return the sparse layer, or None where a dense one is the better or the chosen one."""
    if choice.sparse is False or bool(mask.all()):
        return None
    if choice.sparse == "auto":
        pays = sparse_pays(len(mask), mask.shape[1], int(mask.sum()), mask.device.type)
        return SparseLinear.of(dense, mask) if pays else None
    sparse = SparseLinear.of(dense, mask)
    if choice.sparse == "measured":
        rows = choice.rows(place.linear)
        if rows is None:
            return None
        x = dense.weight.new_ones(rows, dense.in_features)
        return sparse if measured_ratio(dense, sparse, x) > 1 else None
    return sparse


def _all_stay(link: Link, found: Folded) -> Folded:
    """Return what was found, with nothing removed or moved."""
    keeps, zeros = torch.ones_like(found.keeps), torch.zeros_like(found.constants)
    return found._replace(keeps=keeps, constants=zeros, bias=link.bias)


def _check_not_empty(
    chain: Sequence[Place], links: Sequence[Link], folded: Sequence[Folded]
) -> None:
    """Raise `PruningError` if nothing goes through a layer, so that the output is constant."""
    faults = [
        (place, "all its weights are gone")
        for place, link in zip(chain, links, strict=True)
        if link.mask.numel() and not bool(link.mask.any())
    ]
    faults += [
        (place, "none of its neurons is read and reached")
        for place, found in zip(chain, folded, strict=True)
        if len(found.keeps) and not bool(found.keeps.any())
    ]
    for place, fault in faults:
        raise PruningError(
            f"{place.name or 'the layer'}: {fault}, so that the output does not depend on the "
            "input any more; prune less, or pass allow_empty=True for a model with that constant "
            "output"
        )


def _chosen(names: Sequence[str], which: Tensor) -> tuple[str, ...]:
    return tuple(names[k] for k in _indices(which))


def _indices(which: Tensor) -> list[int]:
    indices: list[int] = which.nonzero().flatten().tolist()
    return indices
