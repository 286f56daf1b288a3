"""Calls of compiled kernels: threads, forks, buffers."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numba
import numpy as np
import torch

from elegans.solvers.fused.cpu.compiling import DISABLED, compiles
from elegans.solvers.fused.cpu.vectors import LINE

# One of numba's threading layers does not bear calls from several threads at a time; the kernels
# are parallel inside, so little is lost by taking turns.
_TURN = threading.Lock()

_home: int | None = None  # the process whose threads run the kernels


def obstacle() -> str | None:
    """Return why kernels cannot run in this process, and what to do about it, or None.

    The threads of the first call do not follow into a forked child; OpenMP would end the child.
    """
    if not compiles():
        return DISABLED
    if _home not in (None, os.getpid()):
        return "this process was forked from one that ran kernels (start processes with 'spawn')"
    return None


def run(kernel: Any, *arguments: Any) -> None:
    """Call a kernel; parallel ones on as many threads as PyTorch uses."""
    global _home
    if not kernel.targetoptions.get("parallel"):
        kernel(*arguments)
        return
    with _TURN:
        threads = torch.get_num_threads()
        if _home is None:  # the threads start, and where both share OpenMP, PyTorch gets as many
            numba.get_num_threads()
            torch.set_num_threads(threads)
        _home = os.getpid()
        numba.set_num_threads(min(threads, int(vars(numba.config)["NUMBA_NUM_THREADS"])))
        kernel(*arguments)


class Workspace:
    """Buffers that are used again: fresh pages from the system cost more than small kernels do."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._free: dict[tuple[Any, ...], list[Any]] = {}
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Return an array of arbitrary content, whose vectors do not lie across cache lines."""
        with self._lock:
            waiting = self._free.get((shape, kind))
            if waiting:
                array = waiting.pop()
                self._held -= array.nbytes
                return array
        size = math.prod(shape) * np.dtype(kind).itemsize
        room = np.empty(size + LINE, np.uint8)
        begin = -room.ctypes.data % LINE
        return room[begin : begin + size].view(kind).reshape(shape)

    def give_back(self, *arrays: Any) -> None:
        """Accept arrays that nobody uses any more; what exceeds the limit is let go."""
        with self._lock:
            for array in arrays:
                if self._held + array.nbytes > self._most:
                    self._free.clear()
                    self._held = 0
                if array.nbytes <= self._most:
                    self._free.setdefault((array.shape, array.dtype), []).append(array)
                    self._held += array.nbytes
