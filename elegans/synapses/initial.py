"""Initial values of the parameters of cells."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from elegans.checks import Placement
from elegans.errors import InputError
from elegans.synapses.constraints import Positivity
from elegans.synapses.slots import SynapseSlots

INITIAL_RANGES = {
    "gleak": (0.001, 1.0),
    "vleak": (-0.2, 0.2),
    "cm": (0.4, 0.6),
    "weight": (0.001, 1.0),
    "sigma": (3.0, 8.0),
    "mu": (0.3, 0.8),
}
"""Uniform ranges of the effective values (conductances, potentials, capacitance, gain, centre).

Source: the reference implementation of Lechner et al. 2020, as published in ``ncps``.
"""

POSITIVE = frozenset({"gleak", "cm", "weight"})

_PART = 2**20
"""Values whose inverses are computed at once: the intermediate results of millions are large."""

INITIALIZATIONS = ("effective", "ncps")


class Initializer:
    """Draws initial parameters.

    Parameters
    ----------
    positivity
        How positive values are parametrised.
    initialization
        ``"effective"``: conductances and capacitances themselves lie in `INITIAL_RANGES`.
        ``"ncps"``: their parameters do, before the softplus, as in ``ncps``.
    """

    def __init__(self, positivity: Positivity, initialization: str = "effective") -> None:
        if initialization not in INITIALIZATIONS:
            raise InputError(
                f"unknown initialization {initialization!r}, expected one of {INITIALIZATIONS}"
            )
        self.positivity = positivity
        self.initialization = initialization

    def draw(
        self,
        name: str,
        count: int,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> Tensor:
        """Return `count` initial parameters of the kind `name`, shape (count,).

        Randomness comes from `generator`, PyTorch's default generator when None.
        """
        device = factory_kwargs.get("device")
        if device is not None and torch.device(device).type == "meta":
            return torch.empty(count, **factory_kwargs)
        low, high = INITIAL_RANGES[name]
        home = None if generator is None else generator.device
        value = torch.rand(count, generator=generator, device=home)
        value.mul_(high - low).add_(low)
        if name in POSITIVE and self.initialization == "effective":
            for part in torch.split(value, _PART):
                part.copy_(self.positivity.inverse(part))
        return value.to(**factory_kwargs)


def glorot_bound(slots: SynapseSlots, sources: int, targets: int) -> Tensor:
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
    >>> slots = SynapseSlots(Synapses([0, 1, 1], [0, 0, 1], [1, 1, 1]))
    >>> glorot_bound(slots, 2, 2)
    tensor([1.4142, 1.2247, 1.4142])
    """
    leaving, reaching = slots.fan(sources, targets)
    return torch.sqrt(6 / (leaving[slots.source] + reaching[slots.target]))


def mean_glorot_bound(slots: SynapseSlots, sources: int, targets: int) -> float:
    """Return the mean of `glorot_bound` over the open synapses; 1 if there are none."""
    bound = glorot_bound(slots, sources, targets)[slots.is_open]
    return float(bound.mean()) if len(bound) else 1.0


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
