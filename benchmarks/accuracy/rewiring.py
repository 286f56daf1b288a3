"""Rules of rewiring against static, dense and pruned circuits of the same budget.

Run ``python benchmarks/accuracy/rewiring.py half_cheetah --density 0.15 --seeds 8``. Cells that
``benchmarks/results/rewiring.json`` holds already are not run again, so that a long comparison may
be cut and continued. All circuits have 32 liquid neurons and a linear readout of all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from cells import Cells
from tasks import CONFIRMING, TUNING, Task, task_of

import elegans
from elegans.pruning.rules import RULES, Training, settings_of
from elegans.wiring import AutoNCP, FullyConnected, Random, Recipe

UNITS = 32
CELLS = Cells("rewiring.json", ("task", "density", "arm", "seed", "equal_work"))


@dataclass(frozen=True)
class Arm:
    """A way to reach a budget of synapses: the circuit at the start, and the rule.

    `start` is the multiple of the budget that it begins with; infinite for all synapses. `strength`
    of what grows and `grace`, in rounds, replace those of the rule. A training is `longer` than the
    task has it by this factor.
    """

    rule: str | None = None
    start: float = 1.0
    longer: float = 1.0
    family: str = "random"
    strength: float | None = None
    grace: int = 0

    def changes(self, steps: int) -> dict[str, Any]:
        """Return settings that replace those of the rule in a training of so many steps."""
        strength = {} if self.strength is None else {"weight": self.strength}
        return strength | (
            {"grace": self.grace * Training(steps, None).every} if self.grace else {}
        )

    def recipe(self, inputs: int, budget: int, seed: int) -> Recipe:
        """Return the wiring at the start."""
        full = UNITS * (UNITS + inputs)
        if self.family == "narrow":
            units = next(n for n in range(UNITS, 0, -1) if n * (n + inputs) <= budget or n == 1)
            return FullyConnected(units, units)
        if self.family == "ncp":
            return _nearest_ncp(inputs, budget, seed)
        share = min(1.0, self.start * budget / full)
        if share == 1:
            return FullyConnected(UNITS, UNITS)
        return Random(UNITS, UNITS, sparsity_level=1 - share, random_seed=seed)


THINNING = {"gradual", "development", "active_development", "migration"}
"""Rules that begin with more synapses than they end with."""

ARMS = {
    "static": Arm(),
    "dense": Arm(start=float("inf")),
    "static, half as long again": Arm(longer=1.5),
    "narrow": Arm(family="narrow"),
    "static NCP": Arm(family="ncp"),
    **{rule: Arm(rule) for rule in RULES.keys() - THINNING},
    "development 2": Arm("development", start=2.0),
    "development 3": Arm("development", start=3.0),
    "migration 3": Arm("migration", start=3.0),
    **{
        f"{rule}, strength 1": Arm(rule, strength=1.0)
        for rule in ("free", "soft_rigl", "hebbian", "redistributed", "chts")
    },
    "development 2, strength 1": Arm("development", start=2.0, strength=1.0),
    "development 3, strength 1": Arm("development", start=3.0, strength=1.0),
    "active development 3, strength 1": Arm("active_development", start=3.0, strength=1.0),
    "development 3, strength 1, grace 3": Arm("development", start=3.0, strength=1.0, grace=3),
    "active development 3": Arm("active_development", start=3.0),
    "prune only 2": Arm("gradual", start=2.0),
    "gradual": Arm("gradual", start=float("inf")),
}
"""Contenders by name; `dense` has no budget."""


def _nearest_ncp(inputs: int, budget: int, seed: int) -> Recipe:
    """Return the AutoNCP of 32 neurons whose number of synapses is nearest to the budget."""

    def count(recipe: AutoNCP) -> int:
        wiring = recipe.build(inputs)
        return wiring.synapse_count + wiring.sensory_synapse_count

    grid = [AutoNCP(UNITS, 4, sparsity_level=k / 50, seed=seed) for k in range(5, 46)]
    return min(grid, key=lambda recipe: abs(count(recipe) - budget))


def run(name: str, density: float, arm_name: str, seed: int, equal_work: bool) -> dict[str, Any]:
    """Train one circuit and return what it reaches."""
    return train(name, density, arm_name, seed, equal_work)[1]


def train(
    name: str, density: float, arm_name: str, seed: int, equal_work: bool = False
) -> tuple[elegans.Readout, dict[str, Any]]:
    """Return a trained circuit, and what it reaches.

    With `equal_work` the training is as much shorter as the circuit is larger on the mean, so that
    synapses times steps are those of a static circuit of the budget.
    """
    torch.set_num_threads(1)
    task, arm = task_of(name), ARMS[arm_name]
    budget = round(density * UNITS * (UNITS + task.inputs))
    generator = torch.Generator().manual_seed(seed)
    layer = elegans.LTC(task.inputs, arm.recipe(task.inputs, budget, seed), generator=generator)
    model = elegans.Readout(layer, task.outputs, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), task.rate)
    start = layer.synapse_count + layer.sensory_synapse_count
    steps_an_epoch = -(-len(task.train) // task.batch)
    epochs = arm.longer * task.epochs
    thinned = budget if arm.rule and start > budget else None
    if equal_work and thinned is not None:
        epochs *= budget / (start * _mean_share(arm.rule or "", 1 - budget / start))
    steps = round(epochs * steps_an_epoch)
    rewirer = None
    if arm.rule is not None:
        rewirer = elegans.PruneRewire.from_rule(
            arm.rule, model, optimizer, steps, thinned, seed=seed, **arm.changes(steps)
        )
    began = time.perf_counter()
    work = fit(task, model, optimizer, rewirer, steps, seed)
    result = {
        "task": name,
        "density": density,
        "arm": arm_name,
        "seed": seed,
        "equal_work": equal_work,
        "error": task.error(model, task.test),
        "training_error": task.error(model, task.train),
        "synapses": layer.synapse_count + layer.sensory_synapse_count,
        "mean_synapses": start if rewirer is None else work / steps,
        "steps": steps,
        "seconds": time.perf_counter() - began,
    }
    if rewirer is not None:
        turnover = rewirer.turnover()
        result |= {
            "cut": turnover.cut,
            "churn": turnover.churn,
            "median_age": turnover.median_age if turnover.cut_grown else None,
            "grown_share": turnover.grown_share,
        }
    return model, result


def fit(
    task: Task,
    model: elegans.Readout,
    optimizer: torch.optim.Optimizer,
    rewirer: elegans.PruneRewire | None,
    steps: int,
    seed: int,
) -> int:
    """Train for so many steps; return the sum of the rewirer's budgets over them."""
    order, drawn = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    work = 0
    for _, index in zip(range(steps), _batches(task, order), strict=False):
        optimizer.zero_grad()
        task.loss(model, task.train.rows(index)).backward()
        optimizer.step()
        if rewirer is not None:
            rewirer.step(lambda: task.loss(model, _sample(task, drawn)))
            work += rewirer.budget
    return work


def _mean_share(rule: str, sparsity: float) -> float:
    """Return the mean share of its synapses that a circuit has while a rule thins it."""
    steps = 6000
    schedule = settings_of(rule, steps, sparsity)["schedule"]
    share, total = 1.0, 0.0
    for step in range(1, steps + 1):
        if schedule.is_due(step):
            share = 1 - schedule.sparsity(step)
        total += share
    return total / steps


def _batches(task: Task, generator: torch.Generator) -> Iterator[torch.Tensor]:
    while True:
        yield from torch.randperm(len(task.train), generator=generator).split(task.batch)


def _sample(task: Task, generator: torch.Generator) -> Any:
    """Return 128 training sequences, for rules that ask for the loss when something is due."""
    return task.train.rows(torch.randint(len(task.train), (128,), generator=generator))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TUNING | CONFIRMING)
    parser.add_argument("--density", type=float, nargs="+", default=[0.15])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--equal-work", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cells = [
        (arguments.task, density, arm, seed, arguments.equal_work)
        for seed in range(arguments.seeds)
        for density in arguments.density
        for arm in arguments.arms
    ]
    for cell in CELLS.run(run, cells, arguments.processes):
        print(f"{cell['error']:.4g} with {cell['synapses']} synapses in {cell['seconds']:.0f} s")


if __name__ == "__main__":
    main()
