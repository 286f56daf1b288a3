"""How sharp the bounds of steps are: proved factors over sampled ones, and the longest steps.

Run ``python benchmarks/bounds.py``, about ten minutes, or ``python benchmarks/bounds.py liquid``
for liquid circuits alone. Of 20 random circuits each, the factor of a step that
`elegans.proofs.certify` or `step_bound` proves is divided by the largest norm, with the same
weights, of 4,000 Jacobians at random states and inputs and at corners of their ranges.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

import elegans
from elegans.proofs import ContractionBound, certify, step_bound
from elegans.wiring import AutoNCP

CIRCUITS, SAMPLES, INPUTS = 20, 4_000, 2


def ctrnn(seed: int, units: int = 12, **options: Any) -> elegans.CTRNN:
    generator = torch.Generator().manual_seed(seed)
    return elegans.CTRNN(
        INPUTS,
        AutoNCP(units, 2 if units < 40 else 4, seed=seed),
        generator=generator,
        dtype=torch.float64,
        **options,
    )


def cfc(seed: int, units: int, strength: float, *, dense: bool, mode: str) -> elegans.CfC:
    wiring = units if dense else AutoNCP(units, 2 if units < 40 else 4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    model = elegans.CfC(INPUTS, wiring, mode=mode, generator=generator, dtype=torch.float64)
    reading = model.cell.recurrent_map if dense else model.cell.recurrent
    with torch.no_grad():
        reading.weight.mul_(strength)
    return model


def ltc(seed: int, solver: str, units: int = 12) -> elegans.LTC:
    """Return a circuit with half of the conductances between neurons that it is drawn with."""
    torch.manual_seed(seed)
    wiring = AutoNCP(units, 2, seed=seed)
    model = elegans.LTC(INPUTS, wiring, solver=solver, ode_unfolds=1, dtype=torch.float64)
    with torch.no_grad():
        model.cell.recurrent.weight.mul_(0.5)
    return model


def points(rng: np.random.Generator, box: Any, count: int) -> torch.Tensor:
    """Return points of a box, a third of them corners and a third on its sides."""
    share = rng.uniform(size=(count, len(box.lo)))
    share[::3] = share[::3].round()
    share[1::3] = np.where(rng.uniform(size=share[1::3].shape) < 0.5, share[1::3], 1.0)
    share[0], share[1] = 0.0, 1.0
    return torch.from_numpy(box.lo + share * (box.hi - box.lo))


def sampled(model: Any, bound: ContractionBound, seed: int, count: int = SAMPLES) -> float:
    """Return the largest norm of a Jacobian of a step."""
    rng, step, cell = np.random.default_rng(seed), bound.step, model.cell
    states, inputs = (
        points(rng, bound.box, count).requires_grad_(),
        points(rng, bound.inputs, count),
    )
    lengths = torch.from_numpy(rng.uniform(step.shortest, step.longest, (count, 1)))
    lengths[::4], lengths[1::4] = step.shortest, step.longest
    if hasattr(cell, "solver"):
        after = cell.solver.step(cell.dynamics(inputs), states, lengths)
    else:
        after = cell.step(cell.sense(inputs.unsqueeze(1)), 0, states, lengths)
    norms = [
        torch.autograd.grad(after[:, i].sum(), states, retain_graph=True)[0].abs().numpy()
        @ step.eta
        / step.eta[i]
        for i in range(after.shape[1])
    ]
    return float(np.max(norms))


def measure(name: str, make: Callable[[int], Any], elapsed: Any = 1.0) -> None:
    ratios, factors = [], []
    for seed in range(CIRCUITS):
        model = make(seed)
        bound = certify(model, (-1, 1), elapsed=elapsed, advice=False)
        if isinstance(bound, ContractionBound) and bound.step is not None:
            factors.append(bound.step.kappa)
            ratios.append(factors[-1] / sampled(model, bound, seed))
    print(
        f"{name:36} certified {len(ratios):2}, median kappa {np.median(factors):.3f}, "
        f"ratio {np.median(ratios):.4f}, at most {np.max(ratios):.4f}"
    )


def measure_liquid(solver: str, elapsed: Any) -> None:
    """Print the ratios of steps of liquid circuits, and what their factor leaves of the flow."""
    ratios, factors, kept, count = [], [], [], 0
    for seed in range(CIRCUITS):
        model = ltc(seed, solver)
        bound = step_bound(model, (-1, 1), elapsed=elapsed, advice=False)
        count += bool(bound)
        if isinstance(bound, ContractionBound) and bound.step is not None:
            flow = certify(model, (-1, 1), advice=False)
            factors.append(bound.step.kappa)
            ratios.append(factors[-1] / sampled(model, bound, seed))
            kept.append(-np.log(factors[-1]) / (flow.rate * bound.step.shortest))
    print(
        f"LTC, {solver}, {elapsed}: of {count} {len(ratios)}, kappa {np.median(factors):.3f}, "
        f"ratio {np.median(ratios):.4f}, at most {np.max(ratios):.4f}, of the flow's rate "
        f"{np.median(kept):.2f}"
    )


def measure_longest(solver: str) -> None:
    """Print the longest steps that are proved, in time constants of the fastest neuron."""
    found, ends = [], []
    for seed in range(CIRCUITS):
        model = ltc(seed, solver)
        bound = step_bound(model, (-1, 1), elapsed=1e-2)
        if not isinstance(bound, ContractionBound) or bound.step is None:
            continue
        fastest = float(model.cell.time_constants()[0].min())
        found.append(bound.longest_step / fastest)
        ends.append(_turning(model, bound, seed) / bound.longest_step)
    print(
        f"LTC, {solver}: longest step {np.median(found):.2f} fastest time constants, "
        f"{np.min(found):.2f} to {np.max(found):.2f}; samples reach 1 at {np.median(ends):.2f} "
        f"times that, at least {np.min(ends):.2f}"
    )


def _turning(model: Any, bound: ContractionBound, seed: int) -> float:
    """Return the length at which a sampled Jacobian no longer shrinks, with the same weights."""
    low, high = bound.longest_step, 64 * bound.longest_step
    for _ in range(8):
        middle = (low * high) ** 0.5
        longer = replace(bound, step=replace(bound.step, shortest=middle, longest=middle))
        low, high = (middle, high) if sampled(model, longer, seed, 400) < 1 else (low, middle)
    return low


def count(name: str, make: Callable[[int], Any]) -> None:
    passed = sum(bool(certify(make(seed), (-1, 1), advice=False)) for seed in range(CIRCUITS))
    print(f"{name:36} certified {passed:2}, as drawn")


def liquid() -> None:
    for solver, lengths in {
        "euler": (0.05, 0.1, 0.2),
        "midpoint": (0.02, 0.05),
        "rk4": (0.05, 0.1, 0.2, (0.05, 0.2)),
    }.items():
        for elapsed in lengths:
            measure_liquid(solver, elapsed)
        measure_longest(solver)


def main() -> None:
    liquid()
    if "liquid" in sys.argv[1:]:
        return
    for solver, elapsed in (("semi_implicit", 1), ("exponential", 1), ("euler", 0.5), ("rk4", 0.5)):
        for activation in ("sigmoid", "tanh"):
            make = partial(ctrnn, solver=solver, activation=activation, ode_unfolds=1)
            measure(f"CT-RNN, {solver}, {activation}", make, float(elapsed))
    measure("CT-RNN, semi_implicit, 0.5 to 2", partial(ctrnn, ode_unfolds=1), (0.5, 2.0))
    for mode in ("default", "pure", "no_gate"):
        wired = partial(cfc, units=12, strength=0.5, dense=False, mode=mode)
        measure(f"CfC, wired, {mode}", wired)
        measure(f"CfC, wired, {mode}, 0.5 to 2", wired, (0.5, 2.0))
        measure(f"CfC, dense, {mode}", partial(cfc, units=4, strength=0.2, dense=True, mode=mode))
    for units in (12, 40):
        count(f"CT-RNN, {units} neurons", partial(ctrnn, units=units))
        for mode in ("default", "pure", "no_gate"):
            make = partial(cfc, units=units, strength=1.0, dense=False, mode=mode)
            count(f"CfC, wired, {mode}, {units} neurons", make)
    for mode in ("default", "pure", "no_gate"):
        make = partial(cfc, units=4, strength=1.0, dense=True, mode=mode)
        count(f"CfC, dense, {mode}, 4 neurons", make)


if __name__ == "__main__":
    main()
