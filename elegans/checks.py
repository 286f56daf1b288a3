"""Checks of what a user hands to a layer: shape, type and values, with the place of a fault."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.errors import InputError


def values_are_visible(*tensors: Tensor) -> bool:
    """Whether Python may look at the values: not while tracing, exporting, or under vmap."""
    return not torch.compiler.is_compiling() and not any(
        tensor.is_meta or _is_batched(tensor) for tensor in tensors
    )


def _is_batched(tensor: Tensor) -> bool:
    """Whether vmap stands somewhere among the transforms that wrap `tensor`."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False


def check_finite(name: str, values: Tensor) -> None:
    """Raise `InputError` naming batch and time of the first value that is not finite.

    `values` has the shape (batch, time, ...).
    """
    if not values_are_visible(values):
        return
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        place = torch.nonzero(~finite)[0].tolist()
        found = values[tuple(place)].item()
        raise InputError(
            f"{name} holds {found} at batch {place[0]}, time {place[1]}"
            + (f", feature {place[2]}" if len(place) > 2 else "")
            + "; every value must be finite: clean the data or mark padding with lengths="
        )


def check_elapsed(elapsed: Tensor) -> None:
    """Raise `InputError` unless every elapsed time, shape (batch, time), is finite and >= 0."""
    check_finite("timespans", elapsed)
    if values_are_visible(elapsed) and bool((elapsed < 0).any()):
        b, t = torch.nonzero(elapsed < 0)[0].tolist()
        raise InputError(
            f"timespans holds {elapsed[b, t].item()} at batch {b}, time {t}; elapsed times must "
            "not be negative: pass the time since the previous step, not a time stamp"
        )
