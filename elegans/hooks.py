"""Hooks, patches and parametrizations of modules, and the classes that map elements singly."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules import module as _module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_GLOBAL_HOOKS = [getattr(_module, f"_global{name}") for name in _HOOKS]

ELEMENTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
"""Modules that map each element by itself, without parameters or chance."""


def is_plain(module: nn.Module) -> bool:
    """Whether calling `module` runs its `forward` alone, on its own parameters.

    Hooks, those of every module included, and parametrizations of ``torch.nn.utils`` take part in
    a call; masks of ``torch.nn.utils.prune`` are hooks, too. A `forward` of this one module stands
    in for that of its class.
    """
    return not (
        any(hooks_of(module))
        or "forward" in module.__dict__
        or "parametrizations" in module.__dict__["_modules"]
        or any_global_hook()
    )


def patched(owner: object) -> str | None:
    """Return the name of a method that an attribute of this one object stands in for, or None."""
    return next(
        (
            name
            for name, value in vars(owner).items()
            if callable(value) and callable(getattr(type(owner), name, None))
        ),
        None,
    )


def hooks_of(module: nn.Module) -> list[Any]:
    """Return the tables of the module's hooks, which stay the same objects."""
    attributes = module.__dict__
    return [attributes[name] for name in _HOOKS]


def any_global_hook() -> bool:
    """Whether there is a hook of every module."""
    return any(_GLOBAL_HOOKS)
