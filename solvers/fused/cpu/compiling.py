"""Compilation of kernels, and their cache on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False}
"""How all functions of the kernels are compiled."""

INLINE: dict[str, Any] = OPTIONS | {"forceinline": True}
"""How their parts are compiled: vectors do not travel through calls."""


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles a function when it is called, and keeps it on disk."""

    def decorate(function: Callable[..., None]) -> Any:
        compiled = njit(parallel=parallel, cache=True, nogil=True, **OPTIONS)(function)
        # Numba looks at the file of a function alone, not at those of the functions it calls.
        kept: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if hasattr(kept, "_source_stamp"):
            kept._source_stamp = source_stamp()
        return compiled

    return decorate


def source_stamp() -> tuple[tuple[str, float, int], ...]:
    """Return name, time and size of the files that kernels are made of."""
    files = [(path, path.stat()) for path in sorted(Path(__file__).parent.glob("*.py"))]
    return tuple((path.name, found.st_mtime, found.st_size) for path, found in files)
