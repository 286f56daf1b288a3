"""CT-GRU over sequences."""

from __future__ import annotations

from typing import Any, Unpack

import torch

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.ctgru.cell import CTGRUCell
from elegans.errors import InputError
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer


@checked(InputError)
@register_layer
class CTGRU(SequenceLayer):
    """A CT-GRU over sequences: `CTGRUCell` in the shape of ``nn.LSTM``.

    See `CTGRUCell` for the equations and `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of units, all of which are outputs.
    scales
        Number of time scales; the state holds one trace of each unit for each of them.
    return_sequences, batch_first, mixed_memory
        As in `SequenceLayer`.
    input_mapping, output_mapping, generator, **factory_kwargs
        As in the cell.

    Raises
    ------
    InputError
        As in the cell.

    Examples
    --------
    >>> model = CTGRU(8, 4, scales=5)
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 20]))
    """

    cell: CTGRUCell

    def __init__(
        self,
        input_size: int,
        units: int,
        scales: int = 8,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        *,
        input_mapping: str | None = None,
        output_mapping: str | None = None,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        cell = CTGRUCell(
            input_size,
            units,
            scales,
            input_mapping=input_mapping,
            output_mapping=output_mapping,
            generator=generator,
            **factory_kwargs,
        )
        super().__init__(cell, return_sequences, batch_first, mixed_memory, generator=generator)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build such a layer; see `SequenceLayer.settings`."""
        settings = super().settings()
        return settings | {"units": settings.pop("hidden_size")}
