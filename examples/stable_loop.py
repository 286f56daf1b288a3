"""A circuit that is trained in a control loop, and cannot make it unstable.

A cart balances a pole of which it sees position and angle. An observer and linear feedback do it
near rest; a circuit that hears the observer's innovations (the parametrisation of Youla and Kucera)
is trained through the simulated plant, by the gradient of the cost of the whole episode, to do it
from farther away, while a penalty keeps it certified. Whatever it learns, the loop with the linear
plant is proved stable. With the plant as it is, the share of starts that end upright is sampled,
and a box of starts is proved from which no state ever leaves its limits. Needs SymPy: pip install
'elegans[control]'. --quick takes a few training steps.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import elegans
from elegans.control import Plant, Youla, cart_pole, largest_safe_set, simulate
from elegans.proofs import ContractionCondition
from elegans.wiring import AutoNCP

SEED = 3
EPISODE = 150
"""Control steps of 0.02 s."""

FARTHEST = torch.tensor([1.0, 2.0, 1.0, 3.0])
"""Of the starts: m, m/s, rad, rad/s."""

SHAPE = (1.0, 1.0, 0.2, 1.0)
"""Of the box of starts that is proved."""

LIMITS = (2.4, np.inf, 0.2095, np.inf)
"""Of CartPole-v1."""


def starts(count: int, seed: int) -> torch.Tensor:
    """Return states (count, 4) drawn uniformly."""
    generator = torch.Generator().manual_seed(seed)
    return FARTHEST * (2 * torch.rand(count, 4, generator=generator) - 1)


def upright(controller: Youla, plant: Plant, count: int = 400) -> float:
    """Return the share of starts after which the pole is within 3 degrees in the end."""
    with torch.no_grad():
        states, _ = simulate(controller, plant, starts(count, SEED + 1), 2 * EPISODE)
    return float((states[-1, :, 2].abs() < 0.05).float().mean())


def train(controller: Youla, plant: Plant, steps: int) -> None:
    """Lower the cost of episodes, as far as it is one: a pole that has fallen costs no more."""
    condition = ContractionCondition(controller.circuit, (-1.0, 1.0))
    optimizer = torch.optim.Adam(controller.circuit.parameters(), 0.02)
    for step in range(steps):
        optimizer.zero_grad()
        states, _ = simulate(controller, plant, starts(48, 1000 + step), EPISODE)
        angle, position = states[..., 2], states[..., 0]
        cost = torch.tanh(4 * angle.square() + 0.1 * position.square()).mean() + condition.penalty()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(controller.circuit.parameters(), 1.0)
        optimizer.step()
    if not condition.holds():
        condition.establish()


def main(quick: bool) -> None:
    torch.manual_seed(SEED)
    plant = cart_pole()
    feedback = plant.linear.feedback([1, 1, 10, 1], [0.1])
    observer = plant.linear.observer([1e-4, 1e-2, 1e-4, 1e-2], [1e-5, 1e-5])
    circuit = elegans.LTC(
        2,
        AutoNCP(16, 1, sparsity_level=0.6, seed=SEED),
        generator=torch.Generator().manual_seed(SEED),
    )
    controller = Youla(plant.linear, circuit, feedback, observer, ranges=0.1, strength=50.0)
    silent = Youla(plant.linear, circuit, feedback, observer, strength=0.0)
    alone, untrained = upright(silent, plant), upright(controller, plant)
    print(f"upright without the circuit {alone:.1%}, with it untrained {untrained:.1%}")
    print("proved without:", largest_safe_set(silent, plant, silent.proof(), SHAPE, LIMITS))

    train(controller, plant, 3 if quick else 150)
    trained = upright(controller, plant)
    proof = controller.proof()
    print(f"upright with the trained circuit {trained:.1%}")
    print(proof)
    print("proved:", largest_safe_set(controller, plant, proof, SHAPE, LIMITS))
    assert proof.factor < 1
    if not quick:
        assert trained > alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args().quick)
