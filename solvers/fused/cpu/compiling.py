"""Compilation of kernels, and their cache on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import event

OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False}
"""How all functions of the kernels are compiled."""

INLINE: dict[str, Any] = OPTIONS | {"forceinline": True}
"""How their parts are compiled: vectors do not travel through calls."""

_kernels: set[Any] = set()


class _Notice(event.Listener):
    """Says, once in a process, what takes so long when a kernel is not found on disk."""

    _is_said = False

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] in _kernels and not self._is_said:
            self._is_said = True
            text = "elegans: compiling kernels, once; the next start will find them on disk ...\n"
            sys.stderr.write(text)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Notice())


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles a function when it is called, and keeps it on disk."""

    def decorate(function: Callable[..., None]) -> Any:
        compiled = njit(parallel=parallel, cache=True, nogil=True, **OPTIONS)(function)
        # Numba looks at the file of a function alone, not at those of the functions it calls.
        kept: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if hasattr(kept, "_source_stamp"):
            kept._source_stamp = source_stamp()
        _kernels.add(compiled)
        return compiled

    return decorate


def source_stamp() -> tuple[tuple[str, float, int], ...]:
    """Return name, time and size of the files that kernels are made of."""
    files = [(path, path.stat()) for path in sorted(Path(__file__).parent.glob("*.py"))]
    return tuple((path.name, status.st_mtime, status.st_size) for path, status in files)
