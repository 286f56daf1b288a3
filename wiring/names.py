"""Names of neurons and layers: what they are by default and which ones are allowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from elegans.errors import WiringError

# Text with these cannot be written to XML, and line ends among them would break a table.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def default_names(layers: Mapping[str, int]) -> tuple[str, ...]:
    """Return the name of each neuron of `layers`, layer and position, such as ``inter_3``."""
    return tuple(f"{layer}_{k}" for layer, size in layers.items() for k in range(size))


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


def check_unique(names: Collection[str]) -> None:
    """Raise `WiringError` if two neurons have the same name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise WiringError(f"names of neurons must be unique, got {twice[0]!r} more than once")
