"""What rules of rewiring do to circuits that are certified while they learn.

Run ``python benchmarks/accuracy/certified.py``. The circuits of ``elegans demo --certify``, whose
guard judges every edit, by rule: proven rate of contraction, error, what the guard refused. Runs
that ``benchmarks/results/certified.json`` holds already are not repeated.
"""

from __future__ import annotations

import argparse

import torch
from cells import Cell, Cells

import elegans
from elegans.cli.certifying import condition_within
from elegans.cli.demo import UNFOLDS, demonstrations
from elegans.data import cut_windows
from elegans.proofs import Certificate
from elegans.pruning.ledger import REFUSED
from elegans.tasks import cartpole
from elegans.training import RewireConfig, TrainingConfig, fit
from elegans.wiring import AutoNCP, Overgrown, Recipe

CELLS = Cells("certified.json", ("rule", "seed"))
RULES = ("none", "published", "set", "free", "development")
UNITS, STEPS, OVERGROWTH = 20, 1200, 2.0


def run(rule: str, seed: int) -> Cell:
    """Train one circuit; return its certified rate and what the guard did."""
    torch.set_num_threads(1)
    recipe: Recipe = AutoNCP(UNITS, 1, seed=seed)
    budget = _synapses(recipe)
    keep = 1.0
    if rule == "development":
        recipe = Overgrown(recipe, OVERGROWTH)
        keep = budget / _synapses(recipe)
    rewire = RewireConfig(enabled=False) if rule == "none" else RewireConfig(rule=rule, keep=keep)
    config = TrainingConfig(steps=STEPS, seed=seed, rewire=rewire)
    task = demonstrations(40, seed, config.window)
    generator = torch.Generator().manual_seed(seed)
    model = elegans.LTC(2, recipe, ode_unfolds=UNFOLDS, generator=generator)
    limits = cartpole.ExpertPolicy().plant.limits
    condition = condition_within(model, task.scales, -limits, limits)
    result = fit(
        model,
        cut_windows(task.train, config.window, config.training_stride),
        cut_windows(task.validation, config.window),
        config,
        condition=condition,
        progress=False,
    )
    certificate = condition.certificate()
    driven = cartpole.drive(elegans.Policy(model, task.scales), episodes=20, seed=seed)
    return {
        "rule": rule,
        "seed": seed,
        "synapses": model.synapse_count + model.sensory_synapse_count,
        "budget": budget,
        "rate": certificate.rate if isinstance(certificate, Certificate) else None,
        "error": result.best_loss,
        "rewired": sum(edit.grown is not None for edit in result.ledger),
        "refused": sum(edit.outcome.startswith(REFUSED) for edit in result.ledger),
        "return": driven.mean_return,
        "seconds": result.seconds,
    }


def _synapses(recipe: Recipe) -> int:
    wiring = recipe.build(2)
    return wiring.synapse_count + wiring.sensory_synapse_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    wanted = [(rule, seed) for seed in range(arguments.seeds) for rule in RULES]
    for cell in CELLS.run(run, wanted, arguments.processes):
        print(f"rate {cell['rate']}, error {cell['error']:.3g}, return {cell['return']:.0f}")


if __name__ == "__main__":
    main()
