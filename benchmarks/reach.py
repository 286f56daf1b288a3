"""Reach tubes: time and width, of a circuit alone and of loops with a circuit.

Run ``python benchmarks/reach.py``, some minutes. The circuits of the first table are as they are
drawn; loops are driven by a neuron that answers as a regulator does. The horizon of 0.36 s is about
that of the published tubes of CartPole with an LTC controller, 0.35 s. Ratios are the width of the
tube by that of 2,000 sampled trajectories, at the last step.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import elegans
from elegans.control import (
    Plant,
    cart_pole,
    double_integrator,
    largest_start,
    loop_tube,
    pendulum,
)
from elegans.proofs import reach_tube
from elegans.wiring import AutoNCP, Synapses, Wiring


def drawn(units: int, inputs: int, seed: int) -> elegans.LTC:
    """Return a circuit as it is drawn."""
    wiring = AutoNCP(units, 1, sparsity_level=0.7, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return elegans.LTC(inputs, wiring, generator=generator, dtype=torch.float64)


def circuit_alone(units: int, steps: int, width: float) -> tuple[float, float]:
    """Return seconds, and the median ratio of widths of the last step."""
    model = drawn(units, 4, seed=1)
    begun = time.perf_counter()
    tube = reach_tube(model, states=(-width, width), inputs=(-width, width), steps=steps)
    taken = time.perf_counter() - begun
    rng = np.random.default_rng(0)
    x0 = width * torch.from_numpy(rng.choice([-1.0, 1.0, 0.3], (2000, units)))
    held = rng.choice([-1.0, 1.0], (2000, 1, 4)) * np.ones((1, steps, 1))
    with torch.no_grad():
        _, final = model(width * torch.from_numpy(held), x0)
    found = (final.amax(0) - final.amin(0)).numpy()
    return taken, float(np.median(tube.width[-1] / np.maximum(found, 1e-9)))


def balancing(plant: Plant) -> elegans.Policy:
    """Return a policy of one fast neuron, whose target is close to the feedback of a regulator.

    Each state opens a synapse to +1 as it closes one to -1: the target is a sum of tanh.
    """
    n = len(plant.states)
    feedback = plant.linear.feedback(np.ones(n), [0.1])[0]
    source, sign = np.repeat(np.arange(n), 2), np.tile([-1, 1], n)
    none = np.zeros(0, np.int64)
    wiring = Wiring(n, {"motor": 1}, Synapses(none, none, none), Synapses(source, 0 * source, sign))
    circuit = elegans.LTC(
        n, wiring, ode_unfolds=1, dtype=torch.float64, epsilon=0, implicit_param_constraints=False
    )
    weight = np.repeat(np.abs(feedback), 2) / 2
    values = {
        circuit.cell.sensory.weight: weight,
        circuit.cell.sensory.sigma: 2 * sign * np.repeat(np.sign(feedback), 2),
        circuit.cell.sensory.mu: 0 * weight,
        circuit.cell.sensory.erev: 1 + 0 * weight,
        circuit.cell.cm: [0.05 * weight[::2].sum()],
        circuit.cell.gleak: [0.1 * weight[::2].sum()],
        circuit.cell.vleak: [0.0],
        circuit.cell.output_mapping.weight: [-2.2 * weight[::2].sum()],
    }
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(torch.as_tensor(value))
    return elegans.Policy(circuit, limits=(-30.0, 30.0))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help="of the statements in units")
    arguments = parser.parse_args()
    print("| neurons | steps | half-width of states and inputs | seconds | tube / sampled |")
    print("|---|---|---|---|---|")
    for units, steps in ((12, 50), (32, 50)):
        for width in (0.01, 0.1, 1.0):
            taken, ratio = circuit_alone(units, steps, width)
            print(f"| {units} | {steps} | {width:g} | {taken:.2f} | {ratio:.3g} |", flush=True)
    plant = cart_pole(("position", "velocity", "angle", "spin"))
    policy = balancing(plant)
    print("\n| start, each state ± | seconds | largest width at 0.36 s | tube / sampled |")
    print("|---|---|---|---|")
    for width in (1e-4, 1e-2, 5e-2):
        begun = time.perf_counter()
        tube = loop_tube(plant, policy, (-width, width), 18)
        taken = time.perf_counter() - begun
        rng = np.random.default_rng(0)
        states = torch.from_numpy(width * rng.choice([-1.0, 1.0, 0.3], (2000, 4)))
        policy.reset(2000)
        for _ in range(18):
            states = plant.advance(states, torch.from_numpy(policy(plant.measure(states).numpy())))
        ratio = tube.states.width[-1] / (states.amax(0) - states.amin(0)).numpy()
        print(
            f"| {width:g} | {taken:.2f} | {tube.states.width[-1].max():.3g} | {ratio.max():.3g} |"
        )
    loops = (
        (plant, {"angle": "12 degrees", "position": "2.4 m"}),
        (pendulum(("angle", "speed")), {"angle": "12 degrees"}),
        (double_integrator(("position", "velocity")), {"position": "2 m"}),
    )
    print()
    for plant, limits in loops:
        policy, shape = balancing(plant), np.ones(len(plant.states))
        begun = time.perf_counter()
        found = largest_start(plant, policy, 0.1 * shape, limits, arguments.steps)
        said = "no box was found" if found is None else found.statement(limits)
        print(f"{said} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
