"""The kernels against ncps, torch.nn.LSTM, and the sigmoids that the machine can compute.

Run ``python benchmarks/kernels.py``; needs ``ncps``. All contenders take turns in one process. The
sigmoid limit is the best throughput of the kernels' own sigmoid and of `torch.sigmoid` on numbers
that stay in the cache, on as many threads; the forward pass is held against it as a whole call, and
by what six more unfolds add to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from against_ncps import SIZES, forward, models, step, with_path
from measure import interleaved, save, table
from numba import prange

import elegans
from elegans.solvers.fused.cpu.compiling import kernel
from elegans.solvers.fused.cpu.sigmoid import sigmoid
from elegans.solvers.fused.cpu.vectors import load, store
from elegans.wiring import AutoNCP

LANES = (0,) * 32
NUMBERS = 4096
"""Of a thread at a time: 16 KiB, which stay in the first cache."""


@kernel(parallel=True)
def sigmoids(x: Any, y: Any, repeats: int, lanes: Any) -> None:
    """Write the sigmoids of x (thread, number) to y, again and again."""
    rows = x.shape[1] // len(lanes)
    for thread in prange(x.shape[0]):
        for _ in range(repeats):
            for row in range(thread * rows, (thread + 1) * rows):
                store(y, row, sigmoid(load(x, row, lanes)))


def sigmoid_limit() -> float:
    """Return the least nanoseconds a sigmoid takes in float32, on PyTorch's number of threads."""
    threads, repeats = torch.get_num_threads(), 50
    x = np.random.default_rng(0).normal(size=(threads, NUMBERS)).astype(np.float32)
    y = np.empty_like(x)
    t = torch.from_numpy(x.repeat(8, axis=0))
    out = torch.empty_like(t)

    def of_kernels() -> float:
        sigmoids(x, y, repeats, LANES)
        return x.size * repeats

    def of_torch() -> float:
        torch.sigmoid(t, out=out)
        return t.numel()

    least = float("inf")
    for function in (of_kernels, of_torch):
        function()
        for _ in range(200):
            start = time.perf_counter()
            count = function()
            least = min(least, 1e9 * (time.perf_counter() - start) / count)
    return least


DENSE = [(32, 8, 8, 16, 32), (32, 8, 8, 64, 32)]
"""Units, outputs, inputs, batch and time of circuits in which all is connected to all."""


def compare(
    size: tuple[int, int, int, int, int], runs: int, recipe: str = "AutoNCP"
) -> dict[str, Any]:
    units, outputs, inputs, batch, length = size
    sides = models(units, outputs, inputs, recipe)
    ours = sides["elegans"]
    longer = models(units, outputs, inputs, recipe)["elegans"]  # twice the unfolds
    longer.cell.ode_unfolds = 12
    lstm = torch.nn.LSTM(inputs, units, batch_first=True)
    x = torch.randn(batch, length, inputs)
    contenders = {
        "fused": with_path("fused", step(ours, x)),
        "ncps": step(sides["ncps"], x),
        "LSTM": step(lstm, x),
        "forward": with_path("fused", forward(ours, x)),
        "longer": with_path("fused", forward(longer, x)),
    }
    seconds = interleaved(contenders, 3 if units > 64 else runs)
    limit = sigmoid_limit()
    count = batch * length * (6 * ours.synapse_count + ours.sensory_synapse_count)
    each = 1e9 * seconds["forward"] / count
    more = 6 * batch * length * ours.synapse_count
    unfold = 1e9 * (seconds["longer"] - seconds["forward"]) / more
    return {
        "units": units,
        "batch x time": f"{batch} x {length}",
        "synapses": ours.synapse_count + ours.sensory_synapse_count,
        "fused ms": 1e3 * seconds["fused"],
        "ncps ms": 1e3 * seconds["ncps"],
        "LSTM ms": 1e3 * seconds["LSTM"],
        "ncps / fused": seconds["ncps"] / seconds["fused"],
        "fused / LSTM": seconds["fused"] / seconds["LSTM"],
        "forward ns / sigmoid": each,
        "limit ns": limit,
        "forward / limit": each / limit,
        "unfold / limit": unfold / limit,
    }


def control(runs: int) -> list[dict[str, Any]]:
    """Compare one step of one sample, 19 neurons, 8 inputs."""
    import ncps.torch
    import ncps.wirings

    model = elegans.LTC(8, AutoNCP(19, 4))
    policy = elegans.Policy(model)
    theirs = ncps.torch.LTCCell(ncps.wirings.AutoNCP(19, 4), 8)
    lstm = torch.nn.LSTMCell(8, 19)
    x = torch.randn(1, 8)
    observation = x[0].numpy()
    h, c = torch.zeros(1, 19), torch.zeros(1, 19)

    def many(function: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with torch.no_grad():
                for _ in range(100):
                    function()

        return run

    seconds = interleaved(
        {
            "Policy": many(lambda: policy(observation)),
            "LSTMCell": many(lambda: lstm(x, (h, c))),
            "ncps": many(lambda: theirs(x, h)),
        },
        runs,
    )
    return [
        {
            "step of": name,
            "microseconds": 1e4 * value,
            "it / Policy": value / seconds["Policy"],
        }
        for name, value in seconds.items()
    ]


def rewiring(runs: int) -> list[dict[str, Any]]:
    """Measure what prune-and-rewire at every 50 steps adds to training."""
    rows = []
    for units, outputs, inputs, batch, length in SIZES[:2]:
        x = torch.randn(batch, length, inputs)
        trainings = {}
        for rewired in (False, True):
            model = elegans.LTC(inputs, AutoNCP(units, outputs))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            rewirer = elegans.PruneRewire(
                model, optimizer, threshold=0.02, weight=0.05, keep_sources=True
            )
            trainings[rewired] = training(model, optimizer, x, rewirer if rewired else None)
        seconds = interleaved({str(k): f for k, f in trainings.items()}, runs)
        rows.append(
            {
                "units": units,
                "50 steps ms": 1e3 * seconds["False"],
                "with rewiring ms": 1e3 * seconds["True"],
                "share %": 100 * (1 - seconds["False"] / seconds["True"]),
            }
        )
    return rows


def training(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, rewirer: Any
) -> Callable[[], object]:
    forward_and_back = step(model, x)

    def run() -> None:
        for _ in range(50):
            forward_and_back()
            optimizer.step()
            if rewirer is not None:
                rewirer.step()

    return run


def main(runs: int, out: Path) -> None:
    torch.manual_seed(0)
    print("Forward and backward (AutoNCP, sparsity 0.5); forward alone against the sigmoid limit\n")
    sizes = [compare(size, runs) for size in SIZES]
    print(table(sizes))
    print("\nThe same where every neuron is connected to every neuron\n")
    dense = [compare(size, runs, "FullyConnected") for size in DENSE]
    print(table(dense))
    print("\nOne control step: 19 neurons, batch 1\n")
    steps = control(runs)
    print(table(steps))
    print("\nPrune-and-rewire at every 50 steps of training with Adam\n")
    edits = rewiring(runs)
    print(table(edits))
    save(out, sizes=sizes, dense=dense, control=steps, rewiring=edits)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("kernels.json"))
    arguments = parser.parse_args()
    main(arguments.runs, arguments.out)
