"""Liquid-resistance liquid-capacitance networks over sequences."""

from __future__ import annotations

from typing import Unpack

import torch

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer
from elegans.lrc.cell import LRCCell
from elegans.solvers import Solver
from elegans.wiring import Recipe, Wiring


@checked(InputError)
@register_layer
class LRC(SequenceLayer):
    """LRC over sequences: `LRCCell` in the shape of ``nn.LSTM``.

    See `LRCCell` for the equation and `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of fully connected neurons, a recipe such as ``AutoNCP``, or a wiring.
    return_sequences, batch_first, mixed_memory
        As in `SequenceLayer`.
    input_mapping, output_mapping, ode_unfolds, elastance, solver, fixed_polarity, generator
        As in the cell.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError, SolverError, WiringError
        As in the cell.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = LRC(8, AutoNCP(units=19, output_size=4))
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 19]))
    """

    cell: LRCCell

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
        fixed_polarity: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        cell = LRCCell(
            units,
            input_size,
            input_mapping,
            output_mapping,
            ode_unfolds,
            elastance=elastance,
            solver=solver,
            fixed_polarity=fixed_polarity,
            generator=generator,
            **factory_kwargs,
        )
        super().__init__(cell, return_sequences, batch_first, mixed_memory, generator=generator)
