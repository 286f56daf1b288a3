"""Every layer by its name: the one list from which saving and the conformance tests are derived."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from elegans.errors import InputError
from elegans.layers.sequence_layer import SequenceLayer

FAMILIES = (
    "elegans.ltc",
    "elegans.ctrnn",
    "elegans.cfc",
    "elegans.neural",
    "elegans.lrc_ssm",
    "elegans.lrc",
    "elegans.ctgru",
)
"""Packages of the library that register a layer when they are imported."""

_LAYERS: dict[str, type[SequenceLayer]] = {}

L = TypeVar("L", bound=SequenceLayer)


def register_layer(kind: type[L]) -> type[L]:
    """Register a class of layers under its name, as a decorator; `elegans.load` finds it then.

    Parameters
    ----------
    kind
        A `SequenceLayer` that is made with ``kind(input_size, wiring, generator=..., dtype=...,
        **settings)``, where the settings are those that its `settings` returns.

    Raises
    ------
    InputError
        It is no class of layers, or a layer of that name is registered already. The same class
        defined again, as in a notebook, takes the place of the old one.

    Examples
    --------
    >>> import elegans
    >>> layer_classes()["LTC"] is elegans.LTC
    True
    """
    if not (isinstance(kind, type) and issubclass(kind, SequenceLayer)):
        raise InputError(f"got {kind!r}, expected a class that derives from SequenceLayer")
    registered = _LAYERS.get(kind.__name__, kind)
    if (registered.__module__, registered.__qualname__) != (kind.__module__, kind.__qualname__):
        raise InputError(
            f"got a second layer {kind.__name__!r}, of {kind.__module__}, expected one whose name "
            f"is not taken by {registered.__module__}; rename the class"
        )
    _LAYERS[kind.__name__] = kind
    return kind


def layer_classes() -> dict[str, type[SequenceLayer]]:
    """Return every registered class by its name, those of the library in any case.

    Examples
    --------
    >>> {"CTRNN", "CfC", "LTC"} <= set(layer_classes())
    True
    """
    for family in FAMILIES:
        import_module(family)
    return dict(sorted(_LAYERS.items()))
