"""How errors grow when sensors are noisy, observations are missing, or a circuit is damaged.

Run ``python benchmarks/accuracy/robustness.py half_cheetah --density 0.15 --seeds 5``. Circuits are
trained on clean data, as in ``rewiring.py``, and then tested under each disturbance; what has been
trained and tested already stands in ``benchmarks/results/robustness.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from cells import Cells
from rewiring import ARMS, train
from tasks import TUNING, Split, Task, task_of

import elegans

CELLS = Cells("robustness.json", ("task", "density", "arm", "seed"))
DRAWS = 5
"""Draws of each disturbance, of which the mean is taken."""

NOISES = (0.1, 0.3, 1.0)
"""Standard deviations of sensor noise, in those of the inputs."""

MISSING = (0.1, 0.3, 0.5)
"""Probabilities that an observation is missing; the one before it is seen again."""

LESIONS = (0.05, 0.1, 0.2)
"""Shares of synapses that are cut at random."""

SILENCED = (1, 3)
"""Neurons that are silenced: all synapses from and to them are cut."""


def noisy(split: Split, level: float, generator: torch.Generator) -> Split:
    """Return the sequences with noise on every input."""
    scale = level * split.x.flatten(0, 1).std(0)
    return replace(split, x=split.x + scale * torch.randn(split.x.shape, generator=generator))


def held(split: Split, level: float, generator: torch.Generator) -> Split:
    """Return the sequences with observations replaced by those before them."""
    x = split.x.clone()
    missing = torch.rand(x.shape[:2], generator=generator) < level
    for step in range(1, x.shape[1]):
        x[:, step] = torch.where(missing[:, step, None], x[:, step - 1], x[:, step])
    return replace(split, x=x)


def damaged_error(model: elegans.Readout, task: Task, cut: Callable[[Any], torch.Tensor]) -> float:
    """Return the error with the synapses cut that `cut` says of each set; undone afterwards."""
    sets = model.layer.cell.synapse_sets().values()
    before = [synapses.mask.clone() for synapses in sets]
    for synapses in sets:
        synapses.set_mask(synapses.mask & ~cut(synapses))
    error = task.error(model, task.test)
    for synapses, mask in zip(sets, before, strict=True):
        synapses.set_mask(mask)
    return error


def disturbances(model: elegans.Readout, task: Task) -> dict[str, float]:
    """Return the error under each disturbance."""
    errors = {"none": task.error(model, task.test)}
    generator = torch.Generator().manual_seed(0)

    def mean(draw: Callable[[], float]) -> float:
        return sum(draw() for _ in range(DRAWS)) / DRAWS

    for name, levels, change in (("noise", NOISES, noisy), ("missing", MISSING, held)):
        for level in levels:
            errors[f"{name} {level}"] = mean(
                lambda change=change, level=level: task.error(
                    model, change(task.test, level, generator)
                )
            )
    for share in LESIONS:
        errors[f"lesion {share}"] = mean(
            lambda share=share: damaged_error(
                model, task, lambda s: torch.rand(len(s), generator=generator) < share
            )
        )
    units = model.layer.state_size
    for count in SILENCED:

        def silence(count: int = count) -> float:
            silent = torch.randperm(units, generator=generator)[:count]
            recurrent = model.layer.cell.recurrent
            return damaged_error(
                model,
                task,
                lambda s: (
                    torch.isin(s.target, silent)
                    | (torch.isin(s.source, silent) if s is recurrent else False)
                ),
            )

        errors[f"silenced {count}"] = mean(silence)
    return errors


def run(name: str, density: float, arm: str, seed: int) -> dict[str, Any]:
    """Train one circuit and test it under all disturbances."""
    model, result = train(name, density, arm, seed)
    cell = {"task": name, "density": density, "arm": arm, "seed": seed}
    return cell | {"synapses": result["synapses"], "errors": disturbances(model, task_of(name))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TUNING)
    parser.add_argument("--density", type=float, nargs="+", default=[0.15])
    arms = ["static", "free", "development 3", "gradual", "dense"]
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=arms)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cells = [
        (arguments.task, density, arm, seed)
        for seed in range(arguments.seeds)
        for density in arguments.density
        for arm in arguments.arms
    ]
    for cell in CELLS.run(run, cells, arguments.processes):
        print({name: f"{error:.3g}" for name, error in cell["errors"].items()})


if __name__ == "__main__":
    main()
