"""A chain of linear layers made smaller, sparse, or both.

A neuron of which all incoming weights are gone has a constant output act(b), which moves into the
biases of the next layer; one of which all outgoing weights are gone is not seen. Both spread: what
only constants reach is constant, and what leads only to removed neurons is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.pruning.compact.chain import Place, linear_like
from elegans.pruning.compact.record import SMALLER, SPARSE, UNCHANGED, LayerRecord
from elegans.pruning.compact.sparse_linear import SparseLinear, measured_ratio, sparse_pays


class Link(NamedTuple):
    """One layer of a chain, as numbers."""

    weight: Tensor
    """(output, input)."""
    mask: Tensor
    """Mask of the weights that are there, bool, (output, input)."""
    bias: Tensor | None
    """(output,)."""
    after: Callable[[Tensor], Tensor]
    """Activation between this layer and the next, element by element."""


class Folded(NamedTuple):
    """One layer of a chain, and what became of its outputs."""

    keeps: Tensor
    """Outputs that stay, bool, (output,)."""
    without_inputs: Tensor
    """Outputs that are constant, bool, (output,); found in the last layer, too, where they stay."""
    without_outputs: Tensor
    """Outputs that nothing reads, bool, (output,), the constant ones not among them."""
    constants: Tensor
    """Constant outputs after the activation, (output,); zero elsewhere."""
    bias: Tensor | None
    """With the constants of the layer before, (output,); None if there is nothing to add."""


@torch.no_grad()
def fold(links: Sequence[Link]) -> list[Folded]:
    r"""Return what each layer of a chain keeps; inputs of the first and outputs of the last stay.

    Forward: output i is constant if :math:`M_{ij}` is false for all j that are not constant;
    then :math:`b'_i = b_i + \sum_j W_{ij} c_j` over constant j, and :math:`c_i = act(b'_i)`.
    Backward: output i is not seen if no :math:`M_{ki}` is true for a k that stays. The first sweep
    needs nothing of the second, and neither changes what it has passed: two sweeps reach the
    fixed point.

    Examples
    --------
    >>> eye = torch.eye(2)
    >>> chain = [Link(eye, torch.tensor([[True, False], [False, False]]), None, torch.sigmoid)]
    >>> chain.append(Link(eye, eye > 0, None, torch.sigmoid))
    >>> [layer.keeps.tolist() for layer in fold(chain)]
    [[True, False], [True, True]]
    >>> fold(chain)[1].bias
    tensor([0.0000, 0.5000])
    """
    constant, values, biases = _constants(links)
    stays = [torch.ones_like(constant[-1])]
    for link, still in zip(reversed(links[1:]), reversed(constant[:-1]), strict=True):
        read = (link.mask & stays[0].unsqueeze(1)).any(0)  # (input,) of the layer behind
        stays.insert(0, read & ~still)
    return [
        Folded(keeps, still, ~keeps & ~still, value, bias)
        for keeps, still, value, bias in zip(stays, constant, values, biases, strict=True)
    ]


def _constants(links: Sequence[Link]) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
    """Return which outputs are constant, at which values, and the biases that hold them."""
    first = links[0].mask
    still = first.new_zeros(first.shape[1])  # (input,): inputs of the chain are not constant
    value = links[0].weight.new_zeros(first.shape[1])
    constant: list[Tensor] = []
    values: list[Tensor] = []
    biases: list[Tensor | None] = []
    for link in links:
        moved = (link.weight * link.mask) @ value  # (output,)
        bias = link.bias
        if bool(moved.any()):
            bias = moved if bias is None else bias + moved
        still = ~(link.mask & ~still).any(1)
        before = link.weight.new_zeros(len(still)) if bias is None else bias.clone()
        value = torch.where(still, link.after(before), 0.0)
        constant.append(still)
        values.append(value)
        biases.append(bias)
    return constant, values, biases


@dataclass(frozen=True)
class ChainOptions:
    """Options for linear layers; see `elegans.pruning.compact.compact`."""

    units: bool = True
    sparse: str | bool = "auto"
    allow_empty: bool = False
    rows: Callable[[nn.Module], int | None] = lambda _: None
    """Number of samples fed to a layer in one call, for ``sparse="measured"``; None: never."""


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
        folded = [_all_stay(link, folding) for link, folding in zip(links, folded, strict=True)]
    all_inputs = links[0].mask.new_ones(links[0].mask.shape[1])  # (input,)
    reads = [all_inputs, *(folding.keeps for folding in folded)]
    return [
        _change(place, link, folding, read, choice)
        for place, link, folding, read in zip(chain, links, folded, reads, strict=False)
    ]


def _change(
    place: Place, link: Link, folding: Folded, reads: Tensor, choice: ChainOptions
) -> Change:
    """Return the layer with the outputs that `folding` keeps, for the inputs `reads`."""
    weight, mask = (matrix[folding.keeps][:, reads] for matrix in (link.weight, link.mask))
    bias = None if folding.bias is None else folding.bias[folding.keeps]
    smaller = weight.shape != link.weight.shape
    dense = linear_like(place, weight, mask, bias)
    sparse = _as_sparse(place, dense, mask, choice)
    names = [f"{place.name}[{k}]" for k in range(len(folding.keeps))]
    notes = []
    if bool(folding.constants.any()) and place.drops:
        notes.append("its dropout no longer drops the constants of removed neurons")
    if folding.bias is not None and link.bias is None:
        notes.append("has a bias now, for the constants of removed neurons")
    record = LayerRecord(
        place.name,
        "Linear",
        ", ".join([SMALLER] * smaller + [SPARSE] * (sparse is not None)) or UNCHANGED,
        tuple(link.weight.shape),
        tuple(weight.shape),
        int(link.mask.sum()),
        int(mask.sum()),
        without_inputs=_chosen(names, folding.without_inputs),
        without_outputs=_chosen(names, folding.without_outputs),
        kept=None if bool(folding.keeps.all()) else tuple(_indices(folding.keeps)),
        constants={names[k]: float(folding.constants[k]) for k in _indices(folding.constants)},
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


def _all_stay(link: Link, folding: Folded) -> Folded:
    """Return what was found, with nothing removed or moved."""
    keeps, zeros = torch.ones_like(folding.keeps), torch.zeros_like(folding.constants)
    return folding._replace(keeps=keeps, constants=zeros, bias=link.bias)


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
        for place, folding in zip(chain, folded, strict=True)
        if len(folding.keeps) and not bool(folding.keeps.any())
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
