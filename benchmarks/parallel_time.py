"""All steps of a sequence at once against the loop over time: `elegans.LrcSSM`.

Run ``python benchmarks/parallel_time.py``; with the longest sequences it takes about five minutes.
Both run in turns, and the best of their runs counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

import elegans

INPUTS, UNITS = 8, 32
PATHS = {"reference": "loop", "fused": "at once"}


def best(runs: int, call: Callable[[], object]) -> float:
    """Return the least seconds that a call took."""
    least = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def seconds(model: elegans.LrcSSM, x: torch.Tensor, path: str, runs: int) -> tuple[float, float]:
    """Return the seconds that outputs take, and outputs with gradients."""

    def outputs() -> None:
        with torch.no_grad():
            model(x)

    def gradients() -> None:
        model.zero_grad()
        model(x)[0].square().mean().backward()

    with elegans.backend(path):
        return best(runs, outputs), best(runs, gradients)


def main() -> None:
    """Print a row for each number of samples and steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, nargs="+", default=[256, 4096, 65536])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = elegans.LrcSSM(INPUTS, UNITS)
    print("| batch | steps | outputs: loop | at once | ratio | gradients: loop | at once | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for batch in arguments.batches:
        for steps in arguments.steps:
            x = torch.randn(batch, steps, INPUTS)
            runs = 1 if steps > 10_000 else 5
            (loop, loop_both), (once, once_both) = (seconds(model, x, path, runs) for path in PATHS)
            row = (loop, once, loop / once, loop_both, once_both, loop_both / once_both)
            cells = " | ".join(f"{value:.2g}" for value in row)
            print(f"| {batch} | {steps:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
