"""Initial weights whose spread follows from how many synapses meet at a neuron."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.connection_slots import ConnectionSlots


def glorot_bound(slots: ConnectionSlots, sources: int, targets: int) -> Tensor:
    r"""Return the bound of the uniform initial weight of each synapse, shape (synapse,).

    .. math:: \sqrt{6 / (n_{in} + n_{out})}

    with the synapses that reach the target and those that leave the source, counted as they are:
    in a sparse circuit the fans of the dense matrix would leave the neurons without a signal.

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010; Evci, Ioannou, Keskin, Dauphin, "Gradient flow in sparse neural networks and how
    lottery tickets win", AAAI 2022, for counting synapses in place of neurons.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> slots = ConnectionSlots(Synapses([0, 1, 1], [0, 0, 1], [1, 1, 1]))
    >>> glorot_bound(slots, 2, 2)
    tensor([1.4142, 1.2247, 1.4142])
    """
    leaving, reaching = slots.fan(sources, targets)
    return torch.sqrt(6 / (leaving[slots.source] + reaching[slots.target]))


@torch.no_grad()
def draw_uniform(
    parameter: Tensor, bound: Tensor | float, generator: torch.Generator | None
) -> None:
    """Fill `parameter` from -bound to bound; `bound` is a number or fits the last axes.

    Randomness comes from `generator`, PyTorch's default generator when None. On the meta device
    there is nothing to fill.
    """
    if parameter.is_meta:
        return
    home = torch.device("cpu") if generator is None else generator.device
    value = torch.rand(parameter.shape, generator=generator, device=home).mul_(2).sub_(1)
    parameter.copy_(value.to(parameter.device) * bound)
