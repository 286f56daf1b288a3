"""Prunable weights of a model under the names that a pruner gives them, and masked copies."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elegans.pruning.compact.sparse_linear import SparseLinear
from elegans.synapses.slots import SynapseSlots


def copy_with(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return a deep copy of `model` in which the modules `new` stand in the place of others.

    A module that is used in several places is replaced in all of them. Tensors that masks have
    computed, which carry a graph, are copied without it.
    """
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    memo |= {id(old): replacement for old, replacement in new.items()}
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied


def dense_copy(model: nn.Module) -> nn.Module:
    """Return a copy in which no synapse is pruned; weights that are zero stay so."""
    dense = copy_with(model, {})
    for module in dense.modules():
        if isinstance(module, SynapseSlots):
            module.set_mask(torch.ones_like(module.mask))
    return dense


def masked_copy(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy in which the masks, by the names of `held_weights`, have been applied."""
    masked = copy_with(model, {})
    holders = held_weights(masked)
    for name, mask in masks.items():
        holders[name].hold(mask)
    return masked


class WeightHolder(NamedTuple):
    """A weight, where it is held."""

    owner: nn.Module
    attribute: str
    each: int
    """Number of parameters that an entry stands for: four for a liquid synapse."""
    along: SynapseSlots | None = None
    """The kind of synapses that the entries are, None for a matrix."""

    def weight(self) -> Tensor:
        """Return the weight as it acts, under a mask of ``torch.nn.utils.prune``, too."""
        weight: Tensor = getattr(self.owner, self.attribute)
        return weight.detach()

    def mask(self) -> Tensor:
        """Return which entries are there: by the mask, or else those that are not zero."""
        if self.along is not None:
            owner = self.owner
            return owner.is_open if isinstance(owner, SynapseSlots) else owner.get_buffer("mask")
        buffer = self.owner._buffers.get(f"{self.attribute}_mask")
        if buffer is not None:
            return buffer.bool()
        if isinstance(self.owner, SparseLinear):  # no zeros stand for absence
            return torch.ones_like(self.weight(), dtype=torch.bool)
        return self.weight() != 0

    @torch.no_grad()
    def hold(self, mask: Tensor) -> None:
        """Cut the entries outside `mask`."""
        if self.along is not None:
            self.owner.get_buffer("mask").copy_(mask)
            return
        buffer = self.owner._buffers.get(f"{self.attribute}_mask")
        if buffer is not None:
            buffer.copy_(mask)
        # Under torch.nn.utils.prune the buffer does it, and the next call shows it.
        self.weight().mul_(mask)


def held_weights(model: nn.Module) -> dict[str, WeightHolder]:
    """Return the weights by dotted name: matrices and kernels, values along synapses.

    Examples
    --------
    >>> list(held_weights(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    ['0.weight', '2.weight']
    """
    return dict(_find(model))


def _find(model: nn.Module) -> Iterator[tuple[str, WeightHolder]]:
    told: set[int] = set()
    for path, module in model.named_modules():
        if id(module) in told:
            continue
        prefix = f"{path}." if path else ""
        stacked = getattr(module, "prunable_weights", None)
        if callable(stacked):  # an ensemble
            told.update(map(id, module.modules()))
            template: Any = module.template
            cut = {id(parameter): own for own, parameter in stacked().items()}
            for part_path, part in module.named_modules(prefix=path):
                for name, parameter in part._parameters.items():
                    if parameter is not None and id(parameter) in cut:
                        where = f"{part_path}." if part_path else ""
                        own = template.get_submodule(cut[id(parameter)].rpartition(".")[0])
                        alike = own if isinstance(own, SynapseSlots) else None
                        yield (
                            where + name,
                            WeightHolder(part, name, _size_of_entry(alike), alike),
                        )
        elif isinstance(module, SynapseSlots):
            weight = module.VALUES[0]
            yield (
                f"{prefix}{weight}",
                WeightHolder(module, weight, _size_of_entry(module), module),
            )
        elif isinstance(module, SparseLinear):
            yield f"{prefix}values", WeightHolder(module, "values", 1)
        else:
            for name, parameter in module._parameters.items():
                is_bias = name.endswith("bias")  # with two axes in closed-form circuits
                if parameter is not None and parameter.dim() >= 2 and not is_bias:
                    attribute = name.removesuffix("_orig")  # under torch.nn.utils.prune
                    yield prefix + attribute, WeightHolder(module, attribute, 1)


def _size_of_entry(synapses: SynapseSlots | None) -> int:
    """Return how many parameters a synapse has, 1 for an entry of a matrix."""
    if synapses is None:
        return 1
    weight = getattr(synapses, synapses.VALUES[0])
    return len(synapses.VALUES) * (1 if weight.dim() == 1 else len(weight))
