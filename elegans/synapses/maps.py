"""Affine maps of neurons and inputs along synapses."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.synapses.initial import draw_uniform, glorot_bound
from elegans.synapses.slots import ConnectionSlots
from elegans.synapses.sums import SynapticSum


class SynapticMaps(nn.Module):
    r"""Several maps along the same synapses.

    .. math::
        y_{mi} = b_{mi} + \sum_{k: j \to i} w_{mk} x_j + \sum_{k: j \to i} \tilde w_{mk} u_j

    Parameters
    ----------
    count
        Number of maps; 0 is a number, too.
    inputs, units
        Number of inputs u and neurons x.
    recurrent, sensory
        The synapses; weights begin in the bounds of `glorot_bound`, biases within one by the
        square root of the number of synapses onto the neuron.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.
    """

    def __init__(
        self,
        count: int,
        inputs: int,
        units: int,
        recurrent: ConnectionSlots,
        sensory: ConnectionSlots,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        self._sizes = inputs, units
        self.weight = nn.Parameter(torch.empty(count, len(recurrent), **factory_kwargs))
        self.sensory_weight = nn.Parameter(torch.empty(count, len(sensory), **factory_kwargs))
        self.bias = nn.Parameter(torch.empty(count, units, **factory_kwargs))
        self.reset_parameters(recurrent, sensory, generator)

    def reset_parameters(
        self,
        recurrent: ConnectionSlots,
        sensory: ConnectionSlots,
        generator: torch.Generator | None = None,
    ) -> None:
        """Draw all parameters anew."""
        inputs, units = self._sizes
        draw_uniform(self.weight, glorot_bound(recurrent, units, units), generator)
        draw_uniform(self.sensory_weight, glorot_bound(sensory, inputs, units), generator)
        reaching = recurrent.fan(units, units)[1] + sensory.fan(inputs, units)[1]
        draw_uniform(self.bias, reaching.clamp(min=1).rsqrt(), generator)

    def extra_repr(self) -> str:
        """Return the sizes for ``print(model)``."""
        count, synapses = self.weight.shape
        return f"{count} maps along {synapses} synapses"

    def forward(self, inputs: Tensor, sensory: ConnectionSlots) -> tuple[Tensor, Tensor]:
        """Return what does not depend on the state, and the weights of what does.

        Parameters
        ----------
        inputs
            Shape (batch, time, input).
        sensory
            The synapses from the inputs.

        Returns
        -------
        drive
            Biases and inputs, shape (batch, time, map, neuron).
        weight
            Of the recurrent synapses, shape (map, synapse).
        """
        arriving = SynapticSum.of(self.sensory_weight, sensory.source, sensory.target, *self._sizes)
        return self.bias + arriving(inputs), self.weight
