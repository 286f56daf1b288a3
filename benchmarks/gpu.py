"""The GPU kernels against ncps and the reference path on the same GPU, in one run.

Run ``python benchmarks/gpu.py`` where there is one; needs ``ncps`` and ``triton``. Forward and
backward passes (AutoNCP, sparsity 0.5, 32 inputs, 32 steps); outputs are compared, too. What does
not fit into the memory of the GPU is left out.
"""

from __future__ import annotations

import argparse
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from against_ncps import models, step, with_path
from measure import interleaved, save, table

import elegans

SIZES = [(units, batch) for units in (64, 512) for batch in (256, 4096)]
INPUTS, OUTPUTS, TIME = 32, 8, 32


def waited(function: Callable[[], object]) -> Callable[[], object]:
    """Return `function` with the GPU's work included."""

    def run() -> None:
        function()
        torch.cuda.synchronize()

    return run


def peak_megabytes(function: Callable[[], object]) -> float:
    """Return the most memory on the GPU while `function` runs, NaN if there is too little."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        function()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    except torch.cuda.OutOfMemoryError:
        return math.nan
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def compare(units: int, batch: int, runs: int) -> dict[str, Any]:
    sides = {name: model.cuda() for name, model in models(units, OUTPUTS, INPUTS).items()}
    ours, theirs = sides["elegans"], sides["ncps"]
    x = torch.randn(batch, TIME, INPUTS, device="cuda")
    contenders = {
        "fused": waited(with_path("fused", step(ours, x))),
        "reference": waited(with_path("reference", step(ours, x))),
        "ncps": waited(step(theirs, x)),
        "LSTM": waited(step(torch.nn.LSTM(INPUTS, units, batch_first=True).cuda(), x)),
    }
    contenders["fused"]()  # compiles, and lays the synapses out
    peaks = {name: peak_megabytes(run) for name, run in contenders.items()}
    fitting = {name: run for name, run in contenders.items() if peaks[name] == peaks[name]}
    seconds = dict.fromkeys(contenders, math.nan) | interleaved(fitting, runs)
    row: dict[str, Any] = {"units": units, "batch": batch}
    row |= {f"{name} ms": 1e3 * value for name, value in seconds.items()}
    row["ncps / fused"] = seconds["ncps"] / seconds["fused"]
    row |= {f"{name} MB": peaks[name] for name in ("fused", "ncps")}
    x = x[:256]  # the reference path keeps a value for each synapse, sample and solver step
    with torch.no_grad():
        with elegans.backend("reference"):
            expected = ours(x)[0]
        with elegans.backend("fused"):
            row["difference"] = float((ours(x)[0] - expected).abs().max())
    return row


def main(runs: int, out: Path) -> None:
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device was found, expected one; run this where there is a GPU")
    start = time.perf_counter()
    rows = [compare(units, batch, runs) for units, batch in SIZES]
    print(torch.cuda.get_device_name(), "\n")
    print(table(rows))
    save(out, device=torch.cuda.get_device_name(), sizes=rows)
    print(f"\nwrote {out} after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    arguments = parser.parse_args()
    main(arguments.runs, arguments.out)
