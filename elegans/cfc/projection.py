"""The dense map that may follow the neurons of a layer."""

from __future__ import annotations

from typing import Unpack

import torch

from elegans.cfc.dense_map import DenseMap
from elegans.checks import Placement, check_count


def output_projection(
    motor_size: int,
    proj_size: int | None,
    generator: torch.Generator | None = None,
    **factory_kwargs: Unpack[Placement],
) -> DenseMap | None:
    """Return a map to `proj_size` outputs, or None when `proj_size` is None.

    Weights begin within 1 / sqrt(motor_size), as those of ``torch.nn.Linear``.

    Raises
    ------
    InputError
        `proj_size` is not a positive integer.
    """
    outputs = check_outputs(proj_size)
    if outputs is None:
        return None
    return DenseMap(motor_size, outputs, fans=6 * motor_size, generator=generator, **factory_kwargs)


def check_outputs(proj_size: int | None) -> int | None:
    """Return `proj_size`; raise `InputError` unless it is a positive integer or None."""
    return None if proj_size is None else check_count("proj_size", proj_size)
