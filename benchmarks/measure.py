"""Measuring: medians of interleaved runs in one process, memory in a process of its own."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TURN = 0.03
"""Seconds that a turn lasts at least: what runs for long should not empty the caches of others."""


def interleaved(candidates: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median seconds of each candidate; they take turns, so that drift hits all alike.

    A turn is one run, or as many as last for `TURN`, of which the first is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for function in candidates.values():
        function()  # warm up
    for _ in range(runs):
        for name, function in candidates.items():
            turn = [_timed(function)]
            while sum(turn) < TURN:
                turn.append(_timed(function))
            seconds[name] += turn[1:] or turn
    return {name: statistics.median(times) for name, times in seconds.items()}


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory(function: Callable[..., Callable[[], object]], *arguments: Any) -> int:
    """Return by how many bytes running ``function(*arguments)()`` raises a fresh process' memory.

    The outer call prepares (imports, model, data), the inner is measured: the highest resident
    memory while it runs, less the memory before.
    """
    return int(in_fresh_process(_rise, function, arguments))


def _rise(function: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> int:
    run = function(*arguments)
    before = resident_bytes()
    return peak_since(run) - before


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, called in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()  # so that a process that dies ends the wait
    result = receiver.recv()
    process.join()
    return result


def _send(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return 1024 * _status("VmRSS")


def peak_since(run: Callable[[], object]) -> int:
    """Return the highest resident memory while `run` runs; reads and resets Linux' own record."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew from here
    run()
    return 1024 * _status("VmHWM")


def _status(name: str) -> int:
    """Return a line of the process' status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return `rows` as an aligned table, columns named by the keys of the first."""
    head = list(rows[0])
    cells = [head] + [[_text(row[key]) for key in head] for row in rows]
    widths = [max(len(line[k]) for line in cells) for k in range(len(head))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def save(path: Path, **content: Any) -> None:
    """Write figures and machine as JSON."""
    path.write_text(json.dumps({"machine": machine(), **content}, indent=2) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}"
    return str(value)
