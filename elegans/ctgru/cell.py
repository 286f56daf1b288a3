"""The cell of a continuous-time gated recurrent unit."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.cfc.backbone import DenseMap
from elegans.checks import Placement, check_count, check_keywords
from elegans.errors import InputError
from elegans.layers.cell import Cell
from elegans.layers.mapping import ElementwiseMapping
from elegans.wiring import Synapses, Wiring

RATIO = math.sqrt(10)
"""Of a time scale to the next shorter one."""

_MOST_SCALES = 64  # sqrt(10)**64 = 1e32 times the unit of time


class SensedCTGRU(NamedTuple):
    """What inputs contribute to the maps of each step, (batch, unit) each."""

    retrieval: tuple[Tensor, ...]
    storage: tuple[Tensor, ...]
    event: tuple[Tensor, ...]


class _Event(NamedTuple):
    """What a step makes of traces h, all (batch, unit, scale) but the event."""

    traces: Tensor
    retrieving: Tensor
    storing: Tensor
    distance: tuple[Tensor, Tensor]
    """Of the retrieval and storage scales to the time scales, as logarithms."""
    event: Tensor
    """q, (batch, unit)."""


@checked(InputError)
class CTGRUCell(Cell):
    r"""One step of a continuous-time gated recurrent unit.

    .. math::
        h_i &= \sum_m \hat h_{im}, \qquad
        r_{im} = \operatorname{softmax}_m\big(-(\ln \tau^R_i - \ln \tilde\tau_m)^2\big), \quad
        s_{im} \text{ alike of } \tau^S, \\
        q &= \tanh\Big(W^Q u + U^Q \sum_m r_m \hat h_m + b^Q\Big), \\
        \hat h_{im}^+ &= \big((1 - s_{im})\, \hat h_{im} + s_{im} q_i\big)
            e^{-\Delta t / \tilde\tau_m}

    Each unit has a trace for each of a few time scales, on which the trace decays. What is
    retrieved, and what is stored of an event q, is chosen by a scale of the unit, ln tau = W u +
    U h + b, by its nearness to each of theirs. Nothing is integrated, so a step costs the same for
    any elapsed time. A step that lasts 0 leaves the state as it is.

    The neurons of `wiring`, and the state, are the traces: all scales of the first unit, then
    those of the second. An output is the sum of a unit's traces.

    Parameters
    ----------
    input_size
        Number of inputs.
    hidden_size
        Number of units, all of which are outputs.
    scales
        Number of time scales: 1, sqrt(10), 10, ... units of the elapsed times.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError
        An argument is not valid.

    Notes
    -----
    A unit has one retrieval and one storage scale, as published; the code beside the publication
    of LTC has one for each trace. It decays in the step that stores, as both do: the elapsed time
    of a step is the one until the next event.

    References
    ----------
    Mozer, Kazakov, Lindsey, "Discrete event, continuous time RNNs", 2017, section 2.2.

    Examples
    --------
    >>> cell = CTGRUCell(8, 4, scales=5)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 20), 0.5)
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 20]))
    >>> cell.time_constants()[0][:5]
    tensor([  1.0000,   3.1623,  10.0000,  31.6228, 100.0000])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        scales: int = 8,
        *,
        input_mapping: str | None = None,
        output_mapping: str | None = None,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        check_keywords(type(self), factory_kwargs)
        inputs = self._inputs = check_count("input_size", input_size)
        units = self._units = check_count("hidden_size", hidden_size)
        self.scales = check_count("scales", scales, most=_MOST_SCALES)
        self.input_mapping = ElementwiseMapping(input_mapping, inputs, **factory_kwargs)
        self.output_mapping = ElementwiseMapping(output_mapping, units, **factory_kwargs)
        fans = inputs + 2 * units  # each of the maps counts on its own
        # What reads the inputs is apart from what reads the state: it runs over all time at once.
        self.input_map = DenseMap(
            inputs, 3 * units, fans=fans, generator=generator, **factory_kwargs
        )
        self.scale_map = DenseMap(
            units, 2 * units, fans=fans, bias=False, generator=generator, **factory_kwargs
        )
        self.event_map = DenseMap(
            units, units, fans=fans, bias=False, generator=generator, **factory_kwargs
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew.

        For a cell made on the meta device: ``cell.to_empty(device=...)``, then this.
        """
        self.input_mapping.reset_parameters()
        self.output_mapping.reset_parameters()
        for dense in (self.input_map, self.scale_map, self.event_map):
            dense.reset_parameters(generator)

    @property
    def wiring(self) -> Wiring:
        """Wiring in which every trace can influence every trace; polarities have no meaning."""
        recurrent, sensory = (
            Synapses(
                np.repeat(np.arange(sources), self.state_size),
                np.tile(np.arange(self.state_size), sources),
                np.ones(sources * self.state_size, dtype=np.int8),
            )
            for sources in (self.state_size, self._inputs)
        )
        return Wiring(self._inputs, {"motor": self.state_size}, recurrent, sensory)

    @property
    def state_size(self) -> int:
        """Number of traces, units times scales."""
        return self._units * self.scales

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""
        return self._inputs

    @property
    def motor_size(self) -> int:
        """Number of traces, all of which are read."""
        return self.state_size

    @property
    def output_size(self) -> int:
        """Number of outputs, one a unit."""
        return self._units

    @property
    def synapse_count(self) -> int:
        """Number of pairs of traces."""
        return self.state_size**2

    @property
    def sensory_synapse_count(self) -> int:
        """Number of pairs of an input and a trace."""
        return self._inputs * self.state_size

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.event_map.weight.dtype

    def _logarithms(self) -> Tensor:
        """Return the logarithms of the time scales, shape (scale,)."""
        like = self.event_map.weight
        return torch.arange(self.scales, dtype=like.dtype, device=like.device) * math.log(RATIO)

    @torch.no_grad()
    def time_constants(self) -> tuple[Tensor, Tensor]:
        """Return the time constant of each trace, (trace,), twice: it is that of any state."""
        tau = torch.exp(self._logarithms()).repeat(self._units)
        return tau, tau

    def sense(self, inputs: Tensor) -> SensedCTGRU:
        """Return what inputs (batch, time, input) add to the maps."""
        sensed = self.input_map(self.input_mapping(inputs))
        retrieval, storage, event = sensed.split(self._units, dim=-1)
        return SensedCTGRU(retrieval.unbind(1), storage.unbind(1), event.unbind(1))

    def _event(self, sensed: SensedCTGRU, time: int, state: Tensor) -> _Event:
        traces = self._traces(state)
        scale = self.scale_map(traces.sum(-1)).split(self._units, dim=-1)
        distance = tuple(
            (own + given[time]).unsqueeze(-1) - self._logarithms()
            for own, given in zip(scale, sensed[:2], strict=True)
        )
        retrieving, storing = (torch.softmax(-(d**2), dim=-1) for d in distance)
        event = torch.tanh(sensed.event[time] + self.event_map((retrieving * traces).sum(-1)))
        return _Event(traces, retrieving, storing, (distance[0], distance[1]), event)

    def step(self, sensed: SensedCTGRU, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, trace) after step `time`, lasting `elapsed` (batch, 1)."""
        traces, _, storing, _, event = self._event(sensed, time, state)
        stored = (1 - storing) * traces + storing * event.unsqueeze(-1)
        new = (stored * self._decay(elapsed)).flatten(-2)
        return torch.where(elapsed > 0, new, state)

    def _traces(self, state: Tensor) -> Tensor:
        """Return traces (..., unit, scale) of a state (..., trace)."""
        return state.reshape(*state.shape[:-1], self._units, self.scales)

    def _decay(self, elapsed: Tensor) -> Tensor:
        """Return what is left of each trace, (batch, 1, scale)."""
        return torch.exp(-elapsed * torch.exp(-self._logarithms())).unsqueeze(-2)

    def step_jacobian(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor:
        r"""Return the derivative of one step by the state it starts from, in closed form.

        .. math::
            \frac{\partial \hat h^+_{im}}{\partial \hat h_{jn}} = e^{-\Delta t / \tilde\tau_m} \Big(
                (1 - s_{im}) \delta_{ij} \delta_{mn} + (q_i - \hat h_{im}) s_{im}' U^S_{ij}
                + s_{im} (1 - q_i^2) \big(U^Q_{ij} r_{jn} + \sum_l U^Q_{il} \rho_l' U^R_{lj} \big)
            \Big)

        where s' and r' are derivatives by ln tau, and rho' is the sum of r' times traces. Shapes
        are those of `elegans.layers.capabilities.StepJacobian`; a step that lasts 0 has the
        identity.
        """
        traces, retrieving, storing, distance, event = self._event(
            self.sense(inputs.unsqueeze(1)), 0, state
        )
        by_retrieval, by_storage = (
            -2 * share * (d - (share * d).sum(-1, keepdim=True))
            for share, d in zip((retrieving, storing), distance, strict=True)
        )
        retrieval, storage = torch.split(self.scale_map.weight, self._units)  # (unit, unit)
        mixed = self.event_map.weight
        through = mixed * (by_retrieval * traces).sum(-1).unsqueeze(-2) @ retrieval
        events = mixed.unsqueeze(-1) * retrieving.unsqueeze(1) + through.unsqueeze(-1)
        events = (1 - event**2)[..., None, None] * events  # (batch, unit, from unit, its scale)
        swing = (event.unsqueeze(-1) - traces) * by_storage  # (batch, unit, scale)
        jacobian = swing[..., None, None] * storage[:, None, :, None] + storing[
            ..., None, None
        ] * events.unsqueeze(2)
        jacobian = self._decay(elapsed)[..., None, None] * jacobian
        jacobian = jacobian.flatten(3, 4).flatten(1, 2)
        kept = ((1 - storing) * self._decay(elapsed)).flatten(-2)
        identity = torch.eye(self.state_size, dtype=state.dtype, device=state.device)
        moved = jacobian + torch.diag_embed(kept)
        return torch.where(elapsed.unsqueeze(-1) > 0, moved, identity)

    def read(self, state: Tensor) -> Tensor:
        """Return the mapped sums of the traces of each unit, shape (..., output)."""
        output: Tensor = self.output_mapping(self._traces(state).sum(-1))
        return output

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without input size and precision."""
        return {
            "hidden_size": self._units,
            "scales": self.scales,
            "input_mapping": self.input_mapping.kind,
            "output_mapping": self.output_mapping.kind,
        }
