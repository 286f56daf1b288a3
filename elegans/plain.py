"""Whether a module is just what its class says."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as _module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_plain(module: nn.Module) -> bool:
    """Whether calling `module` runs its `forward` alone, on its own parameters.

    Hooks, those of every module included, and parametrizations of ``torch.nn.utils`` take part in
    a call; masks of ``torch.nn.utils.prune`` are hooks, too.
    """
    held = module.__dict__
    return not (
        any(held[name] for name in _HOOKS)
        or "parametrizations" in held["_modules"]
        or _module._has_any_global_hook()  # type: ignore[no-untyped-call]
    )
