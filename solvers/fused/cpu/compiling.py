"""Compilation of kernels, and their cache on disk."""

from __future__ import annotations

import inspect
import pickle
import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from elegans.files import write_bytes

OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False}
"""How all functions of the kernels are compiled."""

INLINE: dict[str, Any] = OPTIONS | {"forceinline": True}
"""How their parts are compiled: vectors do not travel through calls."""

DISABLED = "numba is told not to compile (unset NUMBA_DISABLE_JIT)"
"""Why no kernel runs, if that is so."""

_kernels: dict[Any, Exception | None] = {}
"""All kernels, and why they are not kept on disk."""

_said: set[str] = set()


class _Notice(event.Listener):
    """Says, once in a process, what takes so long when a kernel is not found on disk."""

    def on_start(self, event: Any) -> None:
        kernel = event.data["dispatcher"]
        if kernel not in _kernels:
            return
        if (obstacle := _kernels[kernel]) is not None:
            _warn_unkept(obstacle)
        elif "compiling" not in _said:
            _said.add("compiling")
            text = "elegans: compiling kernels, once; the next start will find them on disk ...\n"
            sys.stderr.write(text)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Notice())


def _warn_unkept(obstacle: Exception) -> None:
    """Say, once in a process, that the next one will have to compile again."""
    if "unkept" not in _said:
        _said.add("unkept")
        warnings.warn(
            f"compiled kernels cannot be kept on disk ({obstacle}): every process compiles them "
            "again, for up to a minute; set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )


class _Files:
    """One file for each signature of a kernel; what cannot be read counts as missing.

    It takes the place of numba's index and numbered files: of two processes that fill an empty
    cache at a time, each may give the number 1 to a signature of its own, and later load the code
    of the other.
    """

    def __init__(self, folder: str, name: str, stamp: Any) -> None:
        self._folder, self._name, self.stamp = Path(folder), name, (numba.__version__, stamp)

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._name}.{sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def load(self, key: Any) -> Any:
        try:
            content = self._path(key).read_bytes()
            check, body = content[:32], content[32:]
            if check == sha256(body).digest():
                (stamp, saved_key), data = pickle.loads(body)
                return data if (stamp, saved_key) == (self.stamp, key) else None
        except Exception:  # missing, not ours to read, or of versions that pickle otherwise
            pass
        return None

    def save(self, key: Any, data: Any) -> None:
        body = dumps(((self.stamp, key), data))
        write_bytes(self._path(key), sha256(body).digest() + body)

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._name}.*.nbc"):
            path.unlink(missing_ok=True)


class KernelCache(FunctionCache):
    """A kernel's compiled code on disk; whatever is wrong there, the kernel runs.

    Parameters
    ----------
    function
        What is compiled.
    stamp
        Code that was kept with another stamp is out of date.

    Raises
    ------
    RuntimeError
        Numba finds no folder that can be written.
    """

    def __init__(self, function: Callable[..., None], stamp: Any) -> None:
        super().__init__(function)
        self._cache_file: Any = _Files(self.cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature, or None where there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # linked against what is not here; it is compiled again and replaced
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature if the disk allows."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn_unkept(error)


def kernel(
    *, parallel: bool = False, made_of: tuple[str, ...] = (), **options: Any
) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles a function when it is called, and keeps it on disk.

    All code that is kept on disk is made by it.

    Parameters
    ----------
    parallel
        Whether numba's `prange` runs on several threads.
    made_of
        Files with functions that are called, beside the function's own and those of this folder:
        numba looks at the file of a function alone to see whether what was kept is out of date.
    options
        Options of `numba.njit`, beside `OPTIONS`.
    """

    def decorate(function: Callable[..., None]) -> Any:
        compiled: Any = njit(parallel=parallel, nogil=True, **OPTIONS, **options)(function)
        if not compiles():
            return compiled
        _kernels[compiled] = None
        try:
            stamp = source_stamp(inspect.getfile(function), *made_of)
            compiled._cache = KernelCache(function, stamp)
        except Exception as error:
            _kernels[compiled] = error
        return compiled

    return decorate


def compiles() -> bool:
    """Whether numba compiles at all, or leaves all functions to Python."""
    return not vars(numba.config)["DISABLE_JIT"]


def source_stamp(*others: str) -> tuple[tuple[str, float, int], ...]:
    """Return name, time and size of the files that kernels are made of."""
    files = {*Path(__file__).parent.glob("*.py"), *map(Path, others)}
    status = [(path.name, path.stat()) for path in sorted(files)]
    return tuple((name, found.st_mtime, found.st_size) for name, found in status)
