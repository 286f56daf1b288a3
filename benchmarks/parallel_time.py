"""Long sequences without a loop over all steps: `elegans.LrcSSM`, and certified circuits in chunks.

Run ``python benchmarks/parallel_time.py lrc``, about five minutes with the longest sequences, or
``python benchmarks/parallel_time.py chunks``, with the extra column of ncps where it is installed.
Contenders take turns, and the best of their runs counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

import elegans
from elegans.wiring import AutoNCP

INPUTS, UNITS = 8, 32
PATHS = {"reference": "loop", "fused": "at once"}

NEURONS, SEED, TOLERANCE = 20, 1, 1e-5
"""Of the certified circuit, an AutoNCP of two inputs and one output as it is drawn."""

SHORT_FOR_NCPS, SHORT_FOR_NEWTON = 4_000, 4_000
"""Steps up to which these are run: beyond they take minutes, or memory."""


def best(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the least seconds that each call took; they take turns."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def outputs(model: Any, x: torch.Tensor) -> Callable[[], object]:
    """Return a call that computes outputs."""

    def call() -> None:
        with torch.no_grad():
            model(x)

    return call


def gradients(model: Any, x: torch.Tensor, parameters: Any) -> Callable[[], object]:
    """Return a call that computes outputs and gradients."""
    leaves = [one for one in parameters if one.requires_grad]

    def call() -> None:
        torch.autograd.grad(model(x)[0].square().mean(), leaves, allow_unused=True)

    return call


def on_path(path: str, call: Callable[[], object]) -> Callable[[], object]:
    """Return the call on a path of execution."""

    def run() -> None:
        with elegans.backend(path):
            call()

    return run


def lrc(batches: list[int], lengths: list[int]) -> None:
    """Print a row for each number of samples and steps of an LrcSSM."""
    model = elegans.LrcSSM(INPUTS, UNITS)
    print("| batch | steps | outputs: loop | at once | ratio | gradients: loop | at once | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for batch in batches:
        for steps in lengths:
            x = torch.randn(batch, steps, INPUTS)
            runs = 1 if steps > 10_000 else 5
            row: list[float] = []
            for call in (outputs(model, x), gradients(model, x, model.parameters())):
                found = best({name: on_path(path, call) for path, name in PATHS.items()}, runs)
                row += [found["loop"], found["at once"], found["loop"] / found["at once"]]
            cells = " | ".join(f"{value:.2g}" for value in row)
            print(f"| {batch} | {steps:,} | {cells} |", flush=True)


def chunks(batches: list[int], lengths: list[int]) -> None:
    """Print a row for each number of samples and steps of a certified circuit."""
    generator = torch.Generator().manual_seed(SEED)
    model = elegans.LTC(2, AutoNCP(NEURONS, 1, seed=SEED), generator=generator)
    certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    fast = elegans.parallel_in_time(model, certificate, TOLERANCE)
    newton = elegans.parallel_in_time(model, None, TOLERANCE)
    lstm = torch.nn.LSTM(2, NEURONS, batch_first=True)
    rate = certificate.step.rate if certificate.step else 0.0
    print(f"rate {rate:.3f} a step, warm-up of {fast.warm_up} steps, tolerance {TOLERANCE:g}")
    names = ["loop", "chunks", "Newton", "LSTM", "ncps"]
    print(f"| batch | steps | computed | {' | '.join(names)} | loop / chunks | error | bound |")
    print("|---" * (len(names) + 6) + "|")
    for batch in batches:
        for steps in lengths:
            x = 2 * torch.rand(batch, steps, 2) - 1
            contenders: dict[str, Any] = {"loop": model, "chunks": fast, "LSTM": lstm}
            if steps <= SHORT_FOR_NEWTON:
                contenders["Newton"] = newton
            if steps <= SHORT_FOR_NCPS and find_spec("ncps"):
                contenders["ncps"] = of_ncps(model)
            with torch.no_grad():
                run = fast(x)
                error = float((run.output - model(x)[0]).abs().max())
            for what in ("outputs", "gradients"):
                calls = {
                    name: outputs(each, x)
                    if what == "outputs"
                    else gradients(each, x, getattr(each, "model", each).parameters())
                    for name, each in contenders.items()
                }
                found = best(calls, 3 if steps < 200_000 else 1)
                cells = [f"{found[name]:.2g}" if name in found else "" for name in names]
                cells += [f"{found['loop'] / found['chunks']:.1f}", f"{error:.0e}"]
                print(f"| {batch} | {steps:,} | {what} | {' | '.join(cells)} | {run.bound:.0e} |")


def of_ncps(model: elegans.LTC) -> torch.nn.Module:
    """Return the circuit in ncps."""
    import ncps.torch
    import ncps.wirings

    theirs = ncps.torch.LTC(2, ncps.wirings.AutoNCP(NEURONS, 1, seed=SEED))
    theirs.load_state_dict(elegans.to_ncps(model))
    return theirs


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["lrc", "chunks"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, nargs="+")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.which == "lrc":
        lrc(arguments.batches, arguments.steps or [256, 4096, 65536])
    else:
        chunks(arguments.batches, arguments.steps or [1_000, 10_000, 100_000, 1_000_000])


if __name__ == "__main__":
    main()
