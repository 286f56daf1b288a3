"""How often a 95 % interval of a Lyapunov exponent holds the published figure.

python benchmarks/exponents.py prints the table of docs/lyapunov.md, about 20 minutes of one thread.

The exponent of Mackey-Glass is held against that of one run twenty times as long, since its
published figures have two or three digits. Its delay is cut into parts, over which the trapezoidal
rule is solved at once; a step of the map is one delay.
"""

import argparse
import functools
import time

import torch

from elegans.proofs.lyapunov import flow_exponents, map_exponents
from elegans.proofs.lyapunov.reference_systems import henon, lorenz, roessler

DELAY, PARTS = 17.0, 170
"""Of Mackey-Glass, in units of time and parts of it."""


@functools.cache
def recurrence():
    """Return what the first value and the drive of each part add to the values of a delay."""
    h = DELAY / PARTS
    keep, take = (2 - 0.1 * h) / (2 + 0.1 * h), 0.2 * h / (2 + 0.1 * h)
    place = torch.arange(PARTS + 1, dtype=torch.float64)
    lag = place[:, None] - place[1:]
    drive = torch.where(lag >= 0, take * keep ** lag.clamp(min=0), 0.0)
    return keep**place, drive.T.contiguous()


def mackey_glass(x):
    """Return the values of the next delay, (batch, part + 1), after those of one, ends included.

    dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x: Mackey, Glass, Science 197 (1977) 287.
    """
    first, drive = recurrence()
    pull = x / (1 + x**10)
    return x[:, -1:] * first + (pull[:, :-1] + pull[:, 1:]) @ drive


def exponents(name, seed, longer=1):
    """Return the spectrum of one run."""
    if name == "Hénon":
        return map_exponents(
            henon.function, henon.states(32, seed), steps=100, transient=60, frame_transient=15,
            seed=seed, blocks=10, progress=False,
        )  # fmt: skip
    if name == "Lorenz":
        return flow_exponents(
            lorenz.function, lorenz.states(64, seed), dt=0.01, time=8, transient=30,
            frame_transient=8, seed=seed, progress=False,
        )  # fmt: skip
    if name == "Rössler":
        return flow_exponents(
            roessler.function, roessler.states(64, seed), dt=0.04, time=300, seed=seed,
            progress=False,
        )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    ages = torch.arange(PARTS + 1, dtype=torch.float64) * DELAY / PARTS
    phase = 60 * torch.rand(32, 1, dtype=torch.float64, generator=generator)
    past = 0.9 + 0.3 * torch.sin((ages + phase) / 8)
    return map_exponents(
        mackey_glass, past, steps=120 * longer, transient=200, frame_transient=60, count=1,
        seed=seed, progress=False,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of each flow")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reference = exponents("Mackey-Glass", 10_000, longer=20)
    value = float(reference.exponents[0]) / DELAY
    print(f"Mackey-Glass: {value:.5f} +- {float(reference.errors[0]) / DELAY:.5f}", flush=True)
    systems = {
        "Hénon": (henon.exponents, 10 * arguments.seeds),
        "Mackey-Glass": ((float(reference.exponents[0]),), 2 * arguments.seeds),
        "Lorenz": (lorenz.exponents, arguments.seeds),
        "Rössler": (roessler.exponents, arguments.seeds),
    }
    print("| system | runs | intervals that hold the figure | half-widths, median | s a run |")
    print("|---|---|---|---|---|")
    for name, (published, seeds) in systems.items():
        expected = torch.tensor(published, dtype=torch.float64)
        began, held, widths = time.perf_counter(), 0, []
        for seed in range(seeds):
            found = exponents(name, seed)
            held = held + ((found.exponents - expected).abs() <= found.errors).long()
            widths.append(found.errors)
        scale = DELAY if name == "Mackey-Glass" else 1.0
        half = torch.stack(widths).median(dim=0).values / scale
        print(
            f"| {name} | {seeds} | {', '.join(map(str, held.tolist()))} "
            f"| {', '.join(f'{float(w):.2g}' for w in half)} "
            f"| {(time.perf_counter() - began) / seeds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
