"""Checks of what a user passes to the constructor of a layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from elegans.errors import InputError


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an integer; raise `InputError` unless it is one of at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value`; raise `InputError`, which lists the choices, unless it is one of them."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"unknown {name} {value!r}, expected one of {choices}")
    return value


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise `InputError` unless `dtype` is a floating type, or None for the default one."""
    if dtype is not None and not dtype.is_floating_point:
        raise InputError(f"dtype must be a floating type such as torch.float32, got {dtype}")
