"""Neural ODEs, and LTC in the form of its first publication, over sequences."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer
from elegans.neural.cell import NeuralLTCCell, NeuralODECell
from elegans.solvers import Solver
from elegans.wiring import Recipe, Wiring


@checked(InputError)
@register_layer
class NeuralODE(SequenceLayer):
    """A neural ODE over sequences: `NeuralODECell` in the shape of ``nn.LSTM``.

    See `NeuralODECell` for the equation and `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of fully connected neurons, a recipe such as ``AutoNCP``, or a wiring.
    return_sequences, batch_first, mixed_memory
        As in `SequenceLayer`.
    input_mapping, output_mapping, ode_unfolds, activation, solver, generator, **factory_kwargs
        As in the cell.

    Raises
    ------
    InputError, SolverError, WiringError
        As in the cell.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = NeuralODE(8, AutoNCP(units=19, output_size=4))
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 19]))
    """

    cell: NeuralODECell
    _kind: ClassVar[type[NeuralODECell]] = NeuralODECell

    def __init__(
        self,
        input_size: int,
        units: int | Recipe | Wiring,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        *,
        activation: str | None = None,
        solver: str | Solver = "semi_implicit",
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        cell = self._kind(
            units,
            input_size,
            input_mapping,
            output_mapping,
            ode_unfolds,
            activation=activation,
            solver=solver,
            generator=generator,
            **factory_kwargs,
        )
        super().__init__(cell, return_sequences, batch_first, mixed_memory, generator=generator)


@checked(InputError)
@register_layer
class NeuralLTC(NeuralODE):
    """LTC as first published, over sequences: `NeuralLTCCell` in the shape of ``nn.LSTM``.

    Parameters
    ----------
    input_size, units, return_sequences, batch_first, mixed_memory
        As in `NeuralODE`.
    input_mapping, output_mapping, ode_unfolds, activation, solver, generator, **factory_kwargs
        As in the cell.

    Raises
    ------
    InputError, SolverError, WiringError
        As in the cell.

    Examples
    --------
    >>> model = NeuralLTC(8, 19)
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 19]), torch.Size([2, 19]))
    """

    cell: NeuralLTCCell
    _kind = NeuralLTCCell
