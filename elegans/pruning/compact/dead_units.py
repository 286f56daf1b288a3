"""Dead neurons of a chain of layers, found in two sweeps and folded away.

A neuron of which all incoming weights are gone has a constant output act(b), which moves into the
biases of the next layer; one of which all outgoing weights are gone is not seen. Both spread: what
only constants reach is constant, and what leads only to removed neurons is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Link(NamedTuple):
    """One layer of a chain, as numbers."""

    weight: Tensor
    """(output, input)."""
    mask: Tensor
    """Which weights are there, bool, (output, input)."""
    bias: Tensor | None
    """(output,)."""
    after: Callable[[Tensor], Tensor]
    """What comes between this layer and the next, element by element."""


class Folded(NamedTuple):
    """One layer of a chain, and what became of its outputs."""

    keeps: Tensor
    """Which outputs stay, bool, (output,)."""
    without_inputs: Tensor
    """Outputs that are constant, bool, (output,); found in the last layer, too, where they stay."""
    without_outputs: Tensor
    """Outputs that nothing reads, bool, (output,), the constant ones not among them."""
    constants: Tensor
    """What the constant outputs are after the activation, (output,); zero elsewhere."""
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
    found: list[Tensor] = []
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
        found.append(still)
        values.append(value)
        biases.append(bias)
    return found, values, biases
