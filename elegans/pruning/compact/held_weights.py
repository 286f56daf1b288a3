"""Prunable weights of a model under the names that a pruner gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elegans.pruning.compact.sparse_linear import SparseLinear
from elegans.synapses.liquid import VALUES, SynapseParameters
from elegans.synapses.slots import ConnectionSlots


class WeightHolder(NamedTuple):
    """A weight, where it is held."""

    owner: nn.Module
    attribute: str
    each: int
    """How many parameters an entry stands for: four for a liquid synapse."""

    def weight(self) -> Tensor:
        """Return the weight as it acts, under a mask of ``torch.nn.utils.prune``, too."""
        weight: Tensor = getattr(self.owner, self.attribute)
        return weight.detach()

    def mask(self) -> Tensor:
        """Return which entries are there: by the mask, or else those that are not zero."""
        held = self.owner._buffers.get(f"{self.attribute}_mask")
        if held is not None:
            return held.bool()
        if self.each > 1 or isinstance(self.owner, SparseLinear):  # no zeros stand for absence
            return torch.ones_like(self.weight(), dtype=torch.bool)
        return self.weight() != 0

    @torch.no_grad()
    def hold(self, mask: Tensor) -> None:
        """Cut the entries outside `mask`."""
        if isinstance(self.owner, SynapseParameters) and "weight" in self.owner._parameters:
            self.owner.hold_mask(mask)
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
            cut = set(map(id, stacked().values()))
            for part_path, part in module.named_modules(prefix=path):
                for name, parameter in part._parameters.items():
                    if parameter is not None and id(parameter) in cut:
                        where = f"{part_path}." if part_path else ""
                        yield where + name, WeightHolder(part, name, _each(part))
        elif isinstance(module, SynapseParameters):
            yield f"{prefix}weight", WeightHolder(module, "weight", _each(module))
        elif isinstance(module, SparseLinear):
            yield f"{prefix}values", WeightHolder(module, "values", 1)
        else:
            least = 1 if isinstance(module, ConnectionSlots) else 2
            for name, parameter in module._parameters.items():
                is_bias = name.endswith("bias")  # with two axes in closed-form circuits
                if parameter is not None and parameter.dim() >= least and not is_bias:
                    attribute = name.removesuffix("_orig")  # under torch.nn.utils.prune
                    yield prefix + attribute, WeightHolder(module, attribute, 1)


def _each(module: nn.Module) -> int:
    """Return how many parameters go with a weight: a liquid synapse is held as four."""
    return len(VALUES) if all(hasattr(module, name) for name in VALUES) else 1
