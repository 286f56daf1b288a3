"""The densely connected closed-form continuous-time cell."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.capacity import require_bytes
from elegans.cfc.backbone import ACTIVATIONS, DenseMap, check_outputs, output_projection
from elegans.cfc.closed_form import GATES, HEADS, ClosedForm
from elegans.cfc.kernels import run_dense
from elegans.checks import Placement, check_choice, check_count, check_keywords, check_share
from elegans.errors import InputError
from elegans.layers.cell import Cell
from elegans.layers.mapping import ElementwiseMapping
from elegans.synapses.plain import PlainStep, plain
from elegans.wiring import Synapses, Wiring

_MOST_LAYERS = 1_000  # of a backbone, which would be too deep to train long before


@checked(InputError)
class CfCCell(Cell):
    r"""One step of a closed-form continuous-time network.

    .. math::
        x^+ = (1 - s) \tanh f + s \tanh g, \qquad s = \sigma(a t + b)

    where f, g, a and b are affine maps of a backbone, a feed-forward network that reads inputs and
    old state; t is the elapsed time. See `ClosedForm` for the other modes. Nothing is integrated,
    so a step costs the same for any t. A step that lasts 0 leaves the state as it is.

    Parameters
    ----------
    input_size
        Number of inputs.
    hidden_size
        Number of neurons, all of which are outputs.
    mode
        ``"default"``, ``"pure"`` or ``"no_gate"``.
    backbone_activation
        ``"lecun_tanh"``, ``"silu"``, ``"relu"``, ``"tanh"`` or ``"gelu"``.
    backbone_units, backbone_layers
        Width and depth of the backbone; with no layer the maps read inputs and state themselves.
    backbone_dropout
        Share of backbone units that training silences, in [0, 1). It acts on every layer of the
        backbone; in ``ncps`` it leaves out the first, so that one layer has none.
    proj_size
        Number of outputs when a dense map shall follow the neurons.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError
        An argument is not valid; the message lists what is.

    References
    ----------
    Hasani, Lechner, Amini, Liebenwein, Ray, Tschaikowski, Teschl, Rus, "Closed-form
    continuous-time neural networks", Nature Machine Intelligence 4 (2022) 992-1003.

    Examples
    --------
    >>> cell = CfCCell(8, 19)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19), 0.5)
    >>> output.shape, state.shape
    (torch.Size([2, 19]), torch.Size([2, 19]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        mode: str = "default",
        backbone_activation: str = "lecun_tanh",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.0,
        *,
        proj_size: int | None = None,
        input_mapping: str | None = None,
        output_mapping: str | None = None,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        check_keywords(type(self), factory_kwargs)
        inputs = self._inputs = check_count("input_size", input_size)
        units = self._units = check_count("hidden_size", hidden_size)
        self.backbone_activation = check_choice(
            "backbone_activation", backbone_activation, ACTIVATIONS
        )
        self.backbone_layers = check_count("backbone_layers", backbone_layers, 0, _MOST_LAYERS)
        least = 1 if self.backbone_layers else 0  # as in ncps, where none are 0 wide
        self.backbone_units = check_count("backbone_units", backbone_units, least)
        self.backbone_dropout = check_share("backbone_dropout", backbone_dropout)
        self.solution = ClosedForm(mode, units, generator=generator, **factory_kwargs)
        self.input_mapping = ElementwiseMapping(input_mapping, inputs, **factory_kwargs)
        outputs = check_outputs(proj_size)
        outputs = units if outputs is None else outputs
        self.output_mapping = ElementwiseMapping(output_mapping, outputs, **factory_kwargs)
        maps = HEADS[mode] + GATES[mode]
        deep = self.backbone_layers > 0
        width = self.backbone_units if deep else maps * units
        fans = inputs + units + (width if deep else units)  # each of the maps counts on its own
        require_bytes(
            2 * self.backbone_layers * width**2, "the backbone", "take fewer backbone_layers"
        )
        # What reads the inputs is apart from what reads the state: it runs over all time at once.
        self.input_map = DenseMap(inputs, width, fans=fans, generator=generator, **factory_kwargs)
        self.recurrent_map = DenseMap(
            units, width, fans=fans, bias=False, generator=generator, **factory_kwargs
        )
        self.backbone = nn.ModuleList(
            DenseMap(width, width, fans=2 * width, generator=generator, **factory_kwargs)
            for _ in range(self.backbone_layers - 1)
        )
        self.maps = None
        if deep:
            fans = width + units
            self.maps = DenseMap(
                width, maps * units, fans=fans, generator=generator, **factory_kwargs
            )
        self.projection = output_projection(units, proj_size, generator, **factory_kwargs)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew.

        For a cell made on the meta device: ``cell.to_empty(device=...)``, then this.
        """
        self.input_mapping.reset_parameters()
        self.output_mapping.reset_parameters()
        for module in self.modules():
            if isinstance(module, DenseMap | ClosedForm):
                module.reset_parameters(generator)

    @property
    def wiring(self) -> Wiring:
        """Wiring in which every neuron can influence every neuron.

        The polarities, all +1, have no meaning here: each pair meets in many weights.
        """
        recurrent, sensory = (
            Synapses(
                np.repeat(np.arange(sources), self._units),
                np.tile(np.arange(self._units), sources),
                np.ones(sources * self._units, dtype=np.int8),
            )
            for sources in (self._units, self._inputs)
        )
        return Wiring(self._inputs, {"motor": self._units}, recurrent, sensory)

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self._units

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""
        return self._inputs

    @property
    def motor_size(self) -> int:
        """Number of neurons that are read."""
        return self._units

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self._units if self.projection is None else len(self.projection.weight)

    @property
    def synapse_count(self) -> int:
        """Number of pairs of neurons."""
        return self._units**2

    @property
    def sensory_synapse_count(self) -> int:
        """Number of pairs of an input and a neuron."""
        return self._inputs * self._units

    @property
    def mode(self) -> str:
        """Name of the closed form that is evaluated."""
        return self.solution.mode

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.recurrent_map.weight.dtype

    def sense(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what inputs (batch, time, input) add to the first map, (batch, width) a step."""
        sensed: Tensor = self.input_map(self.input_mapping(inputs))
        return sensed.unbind(1)

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and states, by a kernel where one fits; see `Cell.run`."""
        states = run_dense(self, inputs, state, elapsed)
        if states is None:
            return super().run(inputs, state, elapsed)
        return self.read(states), states

    def step(self, sensed: tuple[Tensor, ...], time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        activation = ACTIVATIONS[self.backbone_activation].value
        x = sensed[time] + self.recurrent_map(state)  # (batch, width)
        if self.maps is not None:
            x = self._dropout(activation(x))
            for layer in self.backbone:
                x = self._dropout(activation(layer(x)))
            x = self.maps(x)
        new: Tensor = self.solution(*self.split(x), elapsed)
        return torch.where(elapsed > 0, new, state)

    def step_jacobian(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor:
        r"""Return the derivative of one step by the state it starts from, in closed form.

        .. math:: J = \sum_m \operatorname{diag}(\partial x^+ / \partial y_m)\, W_m
            \operatorname{diag}(\varphi'(z_L)) W_L \cdots \operatorname{diag}(\varphi'(z_1)) W_x

        with the maps y_m, their weights W_m and the pre-activations z of the backbone. Dropout is
        taken as off. Shapes are those of `elegans.layers.capabilities.StepJacobian`; a step that
        lasts 0 has the identity.
        """
        activation = ACTIVATIONS[self.backbone_activation]
        x = self.sense(inputs.unsqueeze(1))[0] + self.recurrent_map(state)
        spread = self.recurrent_map.weight.expand(len(x), -1, -1)  # (batch, width, neuron)
        if self.maps is not None:
            for layer in (*self.backbone, self.maps):
                spread = layer.weight @ (activation.slope(x).unsqueeze(-1) * spread)
                x = layer(activation.value(x))
        slopes = torch.cat(self.solution.slopes(*self.split(x), elapsed), dim=-2)
        spread = spread.reshape(*slopes.shape, self._units)
        jacobian = (slopes.unsqueeze(-1) * spread).sum(1)
        identity = torch.eye(self._units, dtype=x.dtype, device=x.device)
        return torch.where(elapsed.unsqueeze(-1) > 0, jacobian, identity)

    def read(self, state: Tensor) -> Tensor:
        """Return the outputs of the state, shape (..., output)."""
        state = state if self.projection is None else self.projection(state)
        output: Tensor = self.output_mapping(state)
        return output

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without input size and precision."""
        return {
            "hidden_size": self.state_size,
            "mode": self.mode,
            "backbone_activation": self.backbone_activation,
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "backbone_dropout": self.backbone_dropout,
            "proj_size": None if self.projection is None else self.output_size,
            "input_mapping": self.input_mapping.kind,
            "output_mapping": self.output_mapping.kind,
        }

    def plain_step(self) -> PlainStep:
        """Return what a step computes, without dropout; see `elegans.synapses.plain`."""
        maps = [*self.backbone] + ([] if self.maps is None else [self.maps])
        read = torch.cat([self.input_map.weight, self.recurrent_map.weight], 1)
        layers = [(read, self.input_map.bias), *((dense.weight, dense.bias) for dense in maps)]
        return PlainStep(
            "dense_closed_form",
            self.solution.plain(),
            layers=tuple((plain(weight), plain(bias)) for weight, bias in layers),
            choices={"mode": self.mode, "activation": self.backbone_activation},
        )

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.backbone_dropout, self.training) if self.backbone_dropout else x

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return heads and gates (batch, map, neuron)."""
        heads, gates = HEADS[self.mode], GATES[self.mode]
        maps = x.reshape(x.shape[0], heads + gates, self._units)
        return maps[:, :heads], maps[:, heads:]
