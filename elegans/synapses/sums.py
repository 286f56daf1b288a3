"""Sums of signed synaptic inputs at each neuron."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor

from elegans.checks import in_transform

ENTRIES_PER_SYNAPSE = 32
"""A matrix may have so many entries for each synapse before the list of synapses is faster.

Following one synapse costs as much as some tens of entries of a matrix product, whichever library
computes that. Work and memory stay proportional to the synapses.
"""


class SynapticSum(NamedTuple):
    r"""Several weighted sums along the same synapses.

    .. math:: y_{mi} = \sum_{k: j \to i} w_{mk} x_j

    Where synapses fill enough of the matrix of all pairs, it is made once and the sums are matrix
    products; otherwise they follow the list of synapses.

    Examples
    --------
    >>> import torch
    >>> source, target = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    >>> total = SynapticSum.of(torch.tensor([[1.0, 2.0, 3.0]]), source, target, 2, 2)
    >>> total(torch.tensor([10.0, 1.0]))
    tensor([[12.,  3.]])
    """

    weight: Tensor
    """(map, synapse), or (map, target, source) as a matrix."""
    source: Tensor
    """(synapse,)."""
    target: Tensor
    """(synapse,)."""
    sources: int
    targets: int

    @classmethod
    def of(
        cls, weight: Tensor, source: Tensor, target: Tensor, sources: int, targets: int
    ) -> SynapticSum:
        """Return the sums for weights (map, synapse) from `sources` to `targets` neurons."""
        total = cls(weight, source, target, sources, targets)
        if sources * targets <= ENTRIES_PER_SYNAPSE * len(source):
            return total._replace(weight=total.matrix())
        return total

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sums (..., map, target) of x (..., source)."""
        maps = len(self.weight)
        if self.weight.dim() == 3:
            flat = F.linear(x, self.weight.reshape(maps * self.targets, self.sources))
            return flat.reshape(*x.shape[:-1], maps, self.targets)
        read = x.index_select(-1, places(self.source)).unsqueeze(-2)
        arriving = self.weight * read  # (..., map, synapse)
        start = x.new_zeros(*x.shape[:-1], maps, self.targets)
        return start.index_add(-1, places(self.target), arriving)

    def matrix(self) -> Tensor:
        """Return the weights as a matrix, (map, target, source); parallel synapses are summed."""
        if self.weight.dim() == 3:
            return self.weight
        maps = len(self.weight)
        place = self.target.long() * self.sources + self.source  # may need more than 32 bits
        flat = self.weight.new_zeros(maps, self.targets * self.sources)
        flat = flat.index_add(-1, place, self.weight)
        return flat.reshape(maps, self.targets, self.sources)


def places(index: Tensor) -> Tensor:
    """Return indices to read or add values at, in 64 bits where no others are taken.

    That is by onnxruntime, and under `torch.func.vmap` by PyTorch before 2.7.
    """
    mapped = not torch.compiler.is_compiling() and in_transform()
    return index.long() if mapped or torch.onnx.is_in_onnx_export() else index
