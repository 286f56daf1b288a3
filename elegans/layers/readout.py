"""A linear readout of all neurons, in place of motor neurons."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elegans.arguments import checked
from elegans.capacity import require_bytes
from elegans.checks import Placement, check_count, check_keywords
from elegans.errors import InputError
from elegans.layers.packed import run_packed
from elegans.layers.sequence_layer import SequenceLayer, State
from elegans.layers.states import Shared
from elegans.synapses.initial import draw_uniform
from elegans.wiring import Wiring


@checked(InputError)
class Readout(Shared):
    r"""A layer with a linear map from the potentials of all its neurons to the outputs.

    .. math:: y(t) = W x(t) + b

    The authors of LTC and CfC read their circuits so. A layer by itself answers with the
    potentials of its motor neurons, each through a scale and a shift of its own, so that what the
    other neurons know has to travel through a few synapses; use it where the answer must come from
    the circuit alone, and a readout where the error counts.

    Parameters
    ----------
    layer
        `elegans.LTC` or another layer; its motor neurons have no part of their own in the output.
    output_size
        Number of outputs.
    generator
        Source of the initial weights; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the map; those of the layer by default.

    Raises
    ------
    InputError
        `layer` is no layer of this library, or `output_size` is not an integer of at least 1.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import Random
    >>> model = Readout(elegans.LTC(17, Random(32, sparsity_level=0.85)), 17)
    >>> output, state = model(torch.zeros(2, 5, 17))
    >>> output.shape, state.shape
    (torch.Size([2, 5, 17]), torch.Size([2, 32]))
    """

    def __init__(
        self,
        layer: SequenceLayer,
        output_size: int,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        if not isinstance(layer, SequenceLayer):
            raise InputError(f"layer must be one such as elegans.LTC, got {type(layer).__name__}")
        check_keywords(type(self), factory_kwargs)
        check_count("output_size", output_size)
        require_bytes(
            output_size * layer.state_size * 2, "the map of a readout", "take fewer outputs"
        )
        like = next(layer.parameters())
        placement: Any = {"device": like.device, "dtype": like.dtype} | dict(factory_kwargs)
        self.layer = layer
        self.head = nn.Linear(layer.state_size, output_size, **placement)
        if generator is not None:
            bound = layer.state_size**-0.5
            for parameter in self.head.parameters():
                draw_uniform(parameter, bound, generator)

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.layer.input_size

    @property
    def output_size(self) -> int:
        """Number of outputs of the map."""
        return self.head.out_features

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now."""
        return self.layer.wiring

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self.layer.state_size

    def apply_weight_constraints(self) -> None:
        """Clip the parameters of the layer that must not be negative."""
        self.layer.apply_weight_constraints()

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        timespans: Tensor | PackedSequence | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return outputs and the final state; arguments are those of the layer."""
        if isinstance(input, PackedSequence):
            options = {"lengths": lengths}
            return run_packed(self, input, hx, timespans, self.layer.batch_first, options)
        _, final, states = self.layer(input, hx, timespans, lengths=lengths, return_states=True)
        if not self.layer.return_sequences:
            axis = -2 if self.layer.batch_first or states.dim() == 2 else 0
            potentials = final[0] if isinstance(final, tuple) else final
            states = states.select(axis, -1) if states.shape[axis] else potentials
        return self.head(states), final


def outputs_per_state(model: SequenceLayer | Readout) -> Tensor:
    """Return |d output / d state| of what reads the neurons, a linear map, (output, neuron).

    In double precision on the CPU, for bounds of outputs from those of states.

    Examples
    --------
    >>> import elegans
    >>> outputs_per_state(elegans.LTC(3, elegans.wiring.AutoNCP(5, 1)))
    tensor([[1., 0., 0., 0., 0.]], dtype=torch.float64)
    """
    layer = circuit_of(model)
    read: Any = model.head if isinstance(model, Readout) else layer.cell.read
    like = next(layer.parameters())
    with torch.no_grad():
        units = torch.eye(layer.state_size, dtype=like.dtype, device=like.device)
        matrix: Tensor = read(units) - read(torch.zeros_like(units[:1]))
    return matrix.t().abs().double().cpu()


def circuit_of(model: SequenceLayer | Readout) -> SequenceLayer:
    """Return the layer of a model, with a readout or without one.

    Examples
    --------
    >>> import elegans
    >>> layer = elegans.LTC(3, 8)
    >>> circuit_of(Readout(layer, 2)) is layer, circuit_of(layer) is layer
    (True, True)
    """
    return model.layer if isinstance(model, Readout) else model
