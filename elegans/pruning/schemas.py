"""Schemas of saved states: a state is looked at as a whole before anything is taken from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elegans.arguments import odd_tensor, shown
from elegans.errors import PruningError


def table(**fields: Any) -> Any:
    """Return the type of dictionaries with these keys, each of its type, and no others."""
    from pydantic import ConfigDict, with_config  # takes as long to import as all else together
    from typing_extensions import TypedDict

    kind: Any = TypedDict
    return with_config(ConfigDict(strict=True, extra="forbid"))(kind("State", fields))


def schema_of(**fields: Any) -> Any:
    """Return the strict schema of a `table`: nothing is converted."""
    from pydantic import TypeAdapter

    return TypeAdapter(table(**fields))


def validate(schema: Any, state: Any) -> None:
    """Raise `PruningError`, which names the first place, unless a state fits its schema."""
    from pydantic import ValidationError

    try:
        schema.validate_python(state)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the state"
        raise PruningError(
            f"{place}: got {shown(first['input'])}, but: {first['msg']}; pass what state_dict() "
            "returned"
        ) from error


def numbers(
    name: str, saved: Any, dtype: torch.dtype, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Return a saved tensor, or the lists that JSON made of it, in `dtype`.

    Raises `PruningError` unless it has the `shape`, its numbers are finite and of the kind of
    `dtype` (booleans, integers, fractions), and `dtype` holds them.
    """
    got = shown(saved)
    if (isinstance(saved, Tensor) and odd_tensor(saved) is None) or isinstance(saved, list):
        try:
            given = torch.as_tensor(saved)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            given = None
        if given is not None:
            if isinstance(saved, list) and given.is_floating_point():
                given = torch.as_tensor(saved, dtype=torch.float64)  # not rounded
                if not given.numel():
                    given = given.to(dtype)  # an empty list is of any kind
            values = given.to(dtype)
            got = f"numbers of shape {tuple(given.shape)} of {given.dtype}"
            kinds = (given.dtype == torch.bool, given.is_floating_point())
            expected_kinds = (dtype == torch.bool, dtype.is_floating_point)
            fits = shape is None or tuple(given.shape) == tuple(shape)
            if kinds == expected_kinds and fits and _same_numbers(given, values):
                return values.detach()
    expected = "finite numbers" + ("" if shape is None else f" of shape {tuple(shape)}")
    raise PruningError(
        f"{name}: got {got}, expected {expected} for {dtype}; pass what state_dict() returned"
    )


def _same_numbers(given: Tensor, values: Tensor) -> bool:
    if values.is_floating_point():
        return bool(torch.isfinite(values).all())
    return bool((given == values).all())


def check_nothing_kept(owner: object, state: Any) -> None:
    """Raise `PruningError` unless the state of something that keeps nothing is empty."""
    if state != {}:
        raise PruningError(
            f"{type(owner).__name__} keeps nothing, got the state {shown(state)}, expected {{}}; "
            "pass what state_dict() returned"
        )
