"""Initial values of liquid circuits, on tasks of every kind: which of them train best.

Run ``python benchmarks/accuracy/initializations.py --seeds 3``; runs that
``benchmarks/results/initializations.json`` holds already are not repeated. Circuits are AutoNCPs of
32 neurons that answer with their motor neurons, as in the tutorial of ncps, so that nothing but the
circuit is trained; a contender changes the values that a seed has drawn, or draws others.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from cells import Cell, Cells
from scipy import stats
from tasks import CONFIRMING, TUNING, Split, Task
from torch import Tensor

import elegans
from elegans.synapses.constraints import POSITIVITY
from elegans.wiring import AutoNCP

CELLS = Cells("initializations.json", ("task", "initial", "seed"))
UNITS = 32
STEPS = 1500
USUAL = "effective"

Draw = Callable[[Tensor, torch.Generator], Tensor]
"""Returns values in place of those that a parameter has, given these and a source of numbers."""


def sine() -> Task:
    """Answer a sine and a cosine with a sine of twice the frequency; the tutorial of ncps."""
    t = torch.linspace(0, 3 * math.pi, 48)
    x = torch.stack([t.sin(), t.cos()], 1).unsqueeze(0)
    y = (2 * t).sin().reshape(1, 48, 1)
    return Task(Split(x, y), Split(x, y), 1, False, epochs=1, batch=1)


TASKS: dict[str, Callable[[], Task]] = {"sine": sine} | TUNING | CONFIRMING


def uniform(low: float, high: float) -> Draw:
    """Return a drawing from a range."""

    def draw(values: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(values.shape, generator=generator) * (high - low) + low

    return draw


def spread(low: float, high: float) -> Draw:
    """Return a drawing from a range whose logarithms are equally likely."""
    exponents = uniform(math.log(low), math.log(high))
    return lambda values, generator: exponents(values, generator).exp()


SETS = ("recurrent", "sensory")


def everywhere(name: str, draw: Draw) -> dict[str, Draw]:
    """Return the drawing for recurrent and sensory synapses."""
    return {f"{kind}.{name}": draw for kind in SETS}


CENTRED = everywhere("mu", uniform(-0.5, 0.5)) | {"sensory.mu": uniform(-1.0, 1.0)}
SOFT = everywhere("sigma", uniform(1.0, 4.0))
OF_NCPS = {"cm": uniform(0.9, 1.04)}
LEAKS = {"gleak": uniform(0.69, 1.31)}
STRONG = everywhere("weight", uniform(0.69, 1.31))
SLOW = {"cm": spread(0.3, 6.0)}

CONTENDERS: dict[str, dict[str, Draw]] = {
    USUAL: {},
    "ncps": {},
    "capacitances of ncps": OF_NCPS,
    "leaks of ncps": LEAKS,
    "weights of ncps": STRONG,
    "slow": SLOW,
    "centred": CENTRED,
    "soft": SOFT,
    "centred, soft": CENTRED | SOFT,
    "centred, soft, capacitances of ncps": CENTRED | SOFT | OF_NCPS,
    "by inputs": {},
    "by inputs, centred, soft": CENTRED | SOFT,
}
"""What is drawn in another way; those `by inputs` have conductances that add up to the same."""


@torch.no_grad()
def begin(layer: elegans.LTC, contender: str, generator: torch.Generator) -> None:
    """Give a layer the initial values of a contender."""
    cell, inverse = layer.cell, POSITIVITY["softplus"].inverse
    parameters = dict(cell.named_parameters())
    for name, draw in CONTENDERS[contender].items():
        values = draw(parameters[name], generator)
        is_positive = name.endswith(("weight", "cm", "gleak"))
        parameters[name].copy_(inverse(values) if is_positive else values)
    if contender.startswith("by inputs"):
        for name in SETS:
            synapses = cell.synapse_sets()[name]
            degree = torch.bincount(synapses.target, minlength=cell.state_size)
            values = torch.nn.functional.softplus(synapses.weight)
            scaled = values * 4 / degree[synapses.target].clamp(min=1)
            synapses.weight.copy_(inverse(scaled.clamp(min=1e-4)))


def run(name: str, contender: str, seed: int) -> Cell:
    """Train one circuit; return its error of test and what it reached on the way."""
    torch.set_num_threads(1)
    task, generator = TASKS[name](), torch.Generator().manual_seed(seed)
    layer = elegans.LTC(
        task.inputs,
        AutoNCP(max(UNITS, 3 * task.outputs), task.outputs, seed=seed),
        initialization="ncps" if contender == "ncps" else USUAL,
        generator=generator,
    )
    begin(layer, contender, generator)
    optimizer = torch.optim.Adam(layer.parameters(), task.rate)
    order, steps, losses = torch.Generator().manual_seed(seed), 0, []
    while steps < STEPS:
        for index in torch.randperm(len(task.train), generator=order).split(task.batch):
            optimizer.zero_grad()
            loss = task.loss(layer, task.train.rows(index))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            steps += 1
            if steps == STEPS:
                break
    return {
        "task": name,
        "initial": contender,
        "seed": seed,
        "error": task.error(layer, task.test),
        "loss": statistics.mean(losses[-50:]),
    }


def told(cells: Iterable[Cell]) -> list[str]:
    """Return a row for each contender: its error as a share of the usual one, task by task."""
    by: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for cell in cells:
        by[cell["initial"]][cell["task"], cell["seed"]] = cell["error"]
    tasks = [task for task in TASKS if any(task == name for one in by.values() for name, _ in one)]
    lines = [
        f"| initial values | {' | '.join(tasks)} | mean | better |",
        "|---" * (len(tasks) + 3) + "|",
    ]
    for contender, errors in by.items():
        shares: dict[str, list[float]] = defaultdict(list)
        for (task, seed), error in errors.items():
            usual = by[USUAL].get((task, seed))
            if usual:
                shares[task].append(math.log(max(error, 1e-12) / usual))
        row = [
            f"{math.exp(statistics.mean(shares[task])):.2f}" if shares[task] else ""
            for task in tasks
        ]
        logs = [value for task in tasks for value in shares[task]]
        if not logs:
            continue
        mean, better = math.exp(statistics.mean(logs)), sum(value < 0 for value in logs)
        p = stats.wilcoxon(logs).pvalue if any(logs) and len(logs) > 5 else float("nan")
        lines.append(
            f"| {contender} | {' | '.join(row)} | {mean:.2f} | {better} of {len(logs)}, p {p:.2g} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    wanted: list[Any] = [
        (task, contender, seed)
        for seed in range(arguments.seeds)
        for task in arguments.tasks
        for contender in arguments.contenders
    ]
    for cell in CELLS.run(run, wanted, arguments.processes):
        print(f"{cell['error']:.4g}")
    print("\n".join(told(CELLS.load())))


if __name__ == "__main__":
    main()
