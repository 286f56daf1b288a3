"""Checks of the sizes of circuits and layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from elegans.errors import WiringError
from elegans.wiring.names import check_name

LARGEST = 2**31 - 1
"""The largest size of a layer; a damaged file may ask for more than any memory holds."""


def check_size(name: str, size: int, least: int = 1) -> int:
    """Return `size` as an integer; raise `WiringError` unless it is `least` or more."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
        raise WiringError(f"{name} must be an integer of at least {least}, got {size!r}")
    if size > LARGEST:
        raise WiringError(f"{name} must be at most {LARGEST}, got {size}; no memory holds more")
    return int(size)


def check_layers(layers: Mapping[str, int]) -> dict[str, int]:
    """Return name and size of each layer; raise `WiringError` if one is not valid."""
    if not isinstance(layers, Mapping):
        raise WiringError(
            f"layers must be a dictionary of names and sizes, such as {{'motor': 2}}, got "
            f"{type(layers).__name__}; dict(...) makes one of a list of pairs"
        )
    return {
        check_name("a layer", name): check_size(f"layer {name!r}", size)
        for name, size in layers.items()
    }
