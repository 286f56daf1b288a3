"""Limits of states, as numbers or with a unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from elegans.errors import InputError

Limit = float | str
"""A number in the unit of the plant, or text such as ``"12 degrees"``."""

UNITS = {"rad": 1.0, "m": 1.0, "m/s": 1.0, "rad/s": 1.0}
DEGREES = {"degrees": "rad", "degrees/s": "rad/s"}


class Bound(NamedTuple):
    """A limit in the unit of the plant, and as it was given."""

    value: float
    text: str


def given_limits(limits: Mapping[str, Limit], states: Sequence[str]) -> dict[str, Bound]:
    """Return the limits of states by name; degrees become radians, rounded inwards.

    Raises
    ------
    InputError
        A name is no state, or a limit is no number above 0 with a known unit.

    Examples
    --------
    >>> given_limits({"angle": "12 degrees"}, ["angle"])["angle"]
    Bound(value=0.20943951023931934, text='12 degrees')
    """
    unknown = [name for name in limits if name not in states]
    if unknown:
        raise InputError(f"got a limit of {unknown[0]!r}, expected names among {', '.join(states)}")
    return {name: _bound(name, limit) for name, limit in limits.items()}


def _bound(name: str, limit: Limit) -> Bound:
    number: Any = limit
    factor, text = 1.0, str(limit)
    if isinstance(limit, str):
        first, _, unit = limit.strip().partition(" ")
        if unit not in UNITS and unit not in DEGREES:
            raise InputError(
                f"got the limit {limit!r} of {name}, expected a number and one of the units "
                f"{', '.join([*UNITS, *DEGREES])}, such as '12 degrees'"
            )
        try:
            number = float(first)
        except ValueError:
            number = math.nan
        factor = math.radians(1.0) * (1 - 1e-15) if unit in DEGREES else 1.0
    if isinstance(number, bool) or not isinstance(number, Real) or not float(number) > 0:
        raise InputError(
            f"got the limit {limit!r} of {name}, expected a number above 0, with a unit or without"
        )
    return Bound(float(number) * factor, text)
