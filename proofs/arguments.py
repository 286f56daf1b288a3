"""Checks of the plain numbers that functions of this package take."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from elegans.errors import InputError


def require_between(name: str, value: Any, least: float, most: float) -> None:
    """Raise `InputError` unless `value` is a real number above `least` and below `most`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and least < value < most):
        raise InputError(
            f"got {name}={value!r}, expected a finite number above {least:g} and below {most:g}"
        )
