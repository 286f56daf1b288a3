"""LrcSSM over sequences."""

from __future__ import annotations

from typing import Unpack

import torch

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer
from elegans.lrc_ssm.cell import LrcSSMCell
from elegans.solvers import Solver
from elegans.wiring import Recipe, Wiring


@checked(InputError)
@register_layer
class LrcSSM(SequenceLayer):
    """LrcSSM over sequences, parallel in time: `LrcSSMCell` in the shape of ``nn.LSTM``.

    See `LrcSSMCell` for the equation and `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of neurons that read every input, or a wiring without synapses between neurons.
    return_sequences, batch_first, mixed_memory
        As in `SequenceLayer`.
    input_mapping, output_mapping, ode_unfolds, elastance, solver, generator, **factory_kwargs
        As in the cell.

    Raises
    ------
    InputError, SolverError, WiringError
        As in the cell.

    Examples
    --------
    >>> model = LrcSSM(8, 16)
    >>> output, state = model(torch.zeros(2, 500, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 500, 16]), torch.Size([2, 16]))

    Neurons of one layer do not read each other; those of the next read all of them:

    >>> import elegans
    >>> deep = elegans.Stacked(lambda inputs: LrcSSM(inputs, 16), 8, num_layers=3)
    >>> deep(torch.zeros(2, 500, 8))[0].shape
    torch.Size([2, 500, 16])
    """

    cell: LrcSSMCell

    def __init__(
        self,
        input_size: int,
        units: int | Recipe | Wiring,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 1,
        *,
        elastance: str = "asymmetric",
        solver: str | Solver = "semi_implicit",
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        cell = LrcSSMCell(
            units,
            input_size,
            input_mapping,
            output_mapping,
            ode_unfolds,
            elastance=elastance,
            solver=solver,
            generator=generator,
            **factory_kwargs,
        )
        super().__init__(cell, return_sequences, batch_first, mixed_memory, generator=generator)
