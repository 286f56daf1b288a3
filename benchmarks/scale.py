"""Circuits of up to the size of a fly's brain: time and memory as synapses grow.

Run ``python benchmarks/scale.py``, or with ``--quick`` up to a million synapses. Each circuit has a
process of its own. A call runs two time steps of six unfolds; the time of an unfold is what six
more take, divided. Bytes are those by which the process' resident memory rises above what it needs
for importing and compiling: at rest, at its peak while simulating, at its peak while training.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernels import sigmoid_limit
from measure import in_fresh_process, peak_since, resident_bytes, save, table

import elegans
from elegans.wiring import HeavyTailed

INPUTS, OUTPUTS = 100, 10
BRAIN = (139_000, 15_000_000)
GROWTH = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
UNFOLDS = 6


def best(function: Any, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def warm_up(batches: tuple[int, ...]) -> None:
    """Compile kernels on a small circuit that is treated like a large one."""
    from elegans.solvers.fused.cpu import problem

    least, problem.LARGE = problem.LARGE, 0
    for _ in range(2):
        model = elegans.LTC(INPUTS, HeavyTailed(200, OUTPUTS, synapses=4_000))
        for batch in batches:
            model(torch.randn(batch, 2, INPUTS))[0].sum().backward()
            with torch.no_grad():
                model(torch.randn(batch, 2, INPUTS))
        problem.LARGE = least


def circuit(neurons: int, synapses: int, threads: int) -> dict[str, Any]:
    """Build, simulate and train a circuit; return seconds and bytes."""
    torch.set_num_threads(threads)
    warm_up((1, 32))
    before = resident_bytes()
    start = time.perf_counter()
    model = elegans.LTC(INPUTS, HeavyTailed(neurons, OUTPUTS, synapses=synapses))
    built = time.perf_counter() - start
    count = model.synapse_count + model.sensory_synapse_count
    found: dict[str, Any] = {"neurons": neurons, "synapses": count, "build s": built}
    found["bytes at rest"] = (resident_bytes() - before) / count

    runs = 3 if synapses > 1_000_000 else 10
    for batch in (1, 32):
        x = torch.randn(batch, 2, INPUTS)

        def simulate(x: torch.Tensor = x) -> None:
            with torch.no_grad():
                model(x)

        if batch == 1:
            found["bytes to simulate"] = (peak_since(simulate) - before) / count
        seconds = {}
        for unfolds in (UNFOLDS, 2 * UNFOLDS):
            model.cell.ode_unfolds = unfolds
            seconds[unfolds] = best(simulate, runs)
        model.cell.ode_unfolds = UNFOLDS
        unfold = (seconds[2 * UNFOLDS] - seconds[UNFOLDS]) / (2 * UNFOLDS)  # two time steps
        found[f"call ms, batch {batch}"] = 1e3 * seconds[UNFOLDS]
        found[f"unfold ms, batch {batch}"] = 1e3 * unfold
        found[f"ns / sigmoid, batch {batch}"] = 1e9 * unfold / (batch * model.synapse_count)
    found["limit ns"] = sigmoid_limit()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x = torch.randn(1, 2, INPUTS)

    def train() -> None:
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()

    train()
    found["bytes to train"] = (peak_since(train) - before) / count
    found["training step ms, batch 1"] = 1e3 * best(train, runs)
    return found


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Return the exponent of `name` over synapses, fitted above 10^5 synapses."""
    chosen = [row for row in rows if row["synapses"] > 90_000]
    if len(chosen) < 2:
        return math.nan
    x, y = (np.log([row[key] for row in chosen]) for key in ("synapses", name))
    return float(np.polyfit(x, y, 1)[0])


def total(row: dict[str, Any], name: str) -> float:
    return float(row[name] * row["synapses"])


def main(quick: bool, out: Path) -> None:
    threads = torch.get_num_threads()
    sizes = [(max(200, s // 100), s) for s in GROWTH[: 4 if quick else None]]
    rows = [in_fresh_process(circuit, *size, threads) for size in sizes]
    print(f"A hundred synapses a neuron, {threads} threads; bytes are those of a synapse\n")
    print(table(rows))
    for row in rows:
        row["bytes"] = total(row, "bytes to train")
    timed = [name for name in rows[0] if name.startswith(("call", "unfold ms", "training"))]
    exponents = {name: slope(rows, name) for name in (*timed, "bytes")}
    print("\nGrowth above 10^5 synapses, as a power of synapses:")
    for name, exponent in exponents.items():
        print(f"  {name:<28} {exponent:.2f}")
    result: dict[str, Any] = {"growth": rows, "exponents": exponents}
    if not quick:
        result["brain"] = [in_fresh_process(circuit, *BRAIN, threads)]
        print("\nThe size of a fly's brain\n")
        print(table(result["brain"]))
    save(out, **result)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("scale.json"))
    arguments = parser.parse_args()
    main(arguments.quick, arguments.out)
