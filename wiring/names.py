"""Names and sizes of neurons and layers: defaults and checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from elegans.capacity import require_bytes
from elegans.errors import WiringError

# Text with these cannot be written to XML, and line ends among them would break a table.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

_DEFAULT = re.compile("(.+)_(0|[1-9][0-9]{0,9})")


def default_names(layers: Mapping[str, int]) -> tuple[str, ...]:
    """Return the name of each neuron of `layers`, layer and position, such as ``inter_3``."""
    require_spelt_out(layers)
    return tuple(f"{layer}_{k}" for layer, size in layers.items() for k in range(size))


def require_spelt_out(layers: Mapping[str, int]) -> None:
    """Raise `WiringError` unless there is memory for a text for each neuron of `layers`."""
    count, longest = sum(layers.values()), max(map(len, layers), default=0)
    what = f"a name for each of {count} neurons"
    require_bytes((80 + 4 * longest) * count, what, "make the layers smaller", WiringError)


def check_name(what: str, name: str) -> str:
    """Return `name` as text; raise `WiringError` unless every file format can carry it."""
    name = str(name)
    if not name or _UNWRITABLE.search(name):
        raise WiringError(
            f"{what} must have a name that is not empty and has no control characters, got {name!r}"
        )
    return name


def check_names(
    what: str, names: Sequence[str] | None, layers: Mapping[str, int]
) -> tuple[str, ...] | None:
    """Return the names as text, None where they are the default ones."""
    if names is None:
        return None
    count = sum(layers.values())
    if len(names) != count:
        raise WiringError(f"{what} must hold {count} names, one a neuron, got {len(names)}")
    checked = tuple(check_name("a neuron", name) for name in names)
    return None if checked == default_names(layers) else checked


def check_unique(*groups: tuple[Sequence[str] | None, Mapping[str, int]]) -> None:
    """Raise `WiringError` if two neurons have the same name.

    A group is the names, None for the default ones, and the layers that they belong to. Default
    names differ by themselves; there may be billions, so they are not spelt out.
    """
    given = Counter(name for names, _ in groups for name in names or ())
    unspelt = {
        layer: size for names, layers in groups if names is None for layer, size in layers.items()
    }
    for name, count in given.items():
        if count > 1 or _is_default(name, unspelt):
            raise WiringError(f"names of neurons must be unique, got {name!r} more than once")


def _is_default(name: str, layers: Mapping[str, int]) -> bool:
    match = _DEFAULT.fullmatch(name)
    return match is not None and int(match[2]) < layers.get(match[1], 0)


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
