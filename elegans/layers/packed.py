"""Sequences of different lengths as PyTorch packs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elegans.errors import InputError


def run_packed(
    call: Callable[..., tuple[Any, ...]],
    packed: PackedSequence,
    hx: Any,
    timespans: Tensor | PackedSequence | None,
    batch_first: bool,
    options: dict[str, Any],
) -> tuple[Any, ...]:
    """Return what a layer answers to packed sequences: what has a time axis, packed alike.

    Parameters
    ----------
    call
        The layer, for padded sequences.
    packed
        The inputs.
    hx, timespans
        As in `SequenceLayer.forward`, samples in the order that they had before they were packed;
        elapsed times may be packed as the inputs are.
    batch_first
        Layout of padded tensors.
    options
        Other arguments of the call.

    Raises
    ------
    InputError
        There are `lengths` besides those of the packed sequences, or the elapsed times are packed
        otherwise.
    """
    if options.get("lengths") is not None:
        raise InputError(
            "got lengths besides a PackedSequence, which holds them; leave the lengths out"
        )
    x, lengths = pad_packed_sequence(packed, batch_first)
    if isinstance(timespans, PackedSequence):
        timespans, others = pad_packed_sequence(timespans, batch_first)
        if not torch.equal(lengths, others):
            raise InputError(
                f"timespans hold sequences of {others.tolist()} steps, the inputs of "
                f"{lengths.tolist()}; pack both alike"
            )
    options = options | {"lengths": lengths.to(x.device)}
    return _repacked(call(x, hx, timespans, **options), packed, lengths, batch_first)


def _repacked(
    answer: tuple[Any, ...], packed: PackedSequence, lengths: Tensor, batch_first: bool
) -> tuple[Any, ...]:
    """Return the answer with outputs and states of every step packed as the inputs are."""
    output, final, *states = answer

    def pack(values: Tensor) -> PackedSequence | Tensor:
        if values.dim() < 3:  # of the last step alone
            return values
        order = packed.sorted_indices
        counts = lengths
        if order is not None:
            values = values.index_select(0 if batch_first else 1, order)
            counts = lengths[order.cpu()]
        data = pack_padded_sequence(values, counts, batch_first).data
        return PackedSequence(data, packed.batch_sizes, order, packed.unsorted_indices)

    return pack(output), final, *map(pack, states)
