"""Untrained circuits in a loop: as a Youla parameter, and as plain feedback of what is measured.

Run ``python benchmarks/youla.py``, some minutes. Twelve circuits as they are drawn, at three
strengths, with the linear model of the cart and pole and with the cart and pole themselves, from
four starts of up to 0.01 m and 0.02 rad. A loop counts if all states are below 1e-2 after 1,500
steps of 0.02 s, and none was beyond 4 m and 0.8 rad (1e6 with the linear model).

The hawkmoth likewise: the linear model about hovering, and the moth in still air, from four starts
of up to 0.5 cm and 0.05 rad, for 400 wing strokes; the strengths are a hundredth of those, in
shares of a thrust that is 0.4 of its weight. A loop counts if the moth ends within 0.01 cm.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import elegans
from elegans.control import Plant, Youla, cart_pole
from elegans.replications.hawkmoth import Gusts, Hover, Sensors, fly
from elegans.replications.hawkmoth.teacher import STATE_COST, controls_of
from elegans.wiring import AutoNCP

STEPS = 1_500
STROKES = 400
STRENGTHS = (10.0, 100.0, 1000.0)


class Plain(Youla):
    """The same controller, whose circuit is given what is measured in place of the innovations."""

    def _heard(self, outputs: Tensor, innovation: Tensor) -> Tensor:
        return super()._heard(innovation, outputs)


def settles(controller: Youla, plant: Plant, advance: Callable[..., Tensor], most: float) -> bool:
    """Whether the loop comes to rest from all starts."""
    state = torch.tensor([[0.01, 0, 0.02, 0], [-0.01, 0, 0.02, 0]], dtype=torch.float64)
    state = torch.cat([state, -state])
    scale = torch.tensor([5.0, torch.inf, 1.0, torch.inf], dtype=torch.float64)
    memory = controller.begin(len(state))
    for _ in range(STEPS):
        control, memory = controller.step(plant.measure(state), memory)
        state = advance(state, control)
        if not bool(((state / scale).abs() <= most).all()):
            return False
    return bool((state.abs() < 1e-2).all())


MOTH_STARTS = np.zeros((4, 8))
MOTH_STARTS[:, [0, 2]] = [[0.5, 0.05], [0.5, -0.05], [-0.5, 0.05], [-0.5, -0.05]]


def hovers(controller: Youla) -> bool:
    """Whether the linear model of the moth comes to rest from all starts."""
    A, B = (torch.from_numpy(m) for m in (controller.plant.dynamics, controller.plant.control))
    state, memory = torch.from_numpy(MOTH_STARTS), controller.begin(4)
    for _ in range(STROKES):
        control, memory = controller.step(state[:, :4], memory)
        state = state @ A.T + control @ B.T
        if not bool((state.abs() <= 1e6).all()):
            return False
    return bool((state[:, :2].abs() < 0.01).all())


def flies(controller: Youla) -> bool:
    """Whether the moth comes to rest in still air from all starts."""
    hover = Hover.of()

    def pilot(seen: np.ndarray) -> np.ndarray:
        return controls_of(hover.thrust + hover.unit * controller(seen))

    controller.reset(4)
    flights = fly(
        pilot, 4, hover=hover, strokes=STROKES, gusts=Gusts(0.0), sensors=Sensors.exact(False),
        starts=MOTH_STARTS,
    )  # fmt: skip
    return bool(flights.survived.all() and flights.errors[:, -1].max() < 0.01)


def circuits(inputs: int, outputs: int, seeds: int) -> list[elegans.LTC]:
    """Return circuits as they are drawn."""
    return [
        elegans.LTC(
            inputs,
            AutoNCP(12, outputs, sparsity_level=0.7, seed=seed),
            generator=torch.Generator().manual_seed(seed),
            dtype=torch.float64,
        )
        for seed in range(seeds)
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    seeds = parser.parse_args().seeds
    plant = cart_pole()
    linear, moth = plant.linear, Hover.of().plant()
    gains = linear.feedback([1, 1, 10, 1], [0.1]), linear.observer([0.01] * 4, [1e-3] * 2)
    moth_gains = (
        moth.feedback(STATE_COST, np.ones(3)),
        moth.observer([1e-4] * 4 + [1.0] * 4, [1e-4] * 4),
    )
    A, B = (torch.from_numpy(m) for m in (linear.dynamics, linear.control))

    def exactly(state: Tensor, control: Tensor) -> Tensor:
        return state @ A.t() + control @ B.t()

    def pole(kind: type[Youla], circuit: elegans.LTC, strength: float) -> Youla:
        return kind(linear, circuit, *gains, ranges=0.1, strength=strength)

    def hawkmoth(kind: type[Youla], circuit: elegans.LTC, strength: float) -> Youla:
        return kind(moth, circuit, *moth_gains, ranges=0.1, strength=strength / 100)

    few, many = circuits(2, 1, seeds), circuits(4, 3, seeds)
    ways = {
        "linear": (pole, few, lambda loop: settles(loop, plant, exactly, 1e6)),
        "cart and pole": (pole, few, lambda loop: settles(loop, plant, plant.advance, 0.8)),
        "linear model of the hawkmoth": (hawkmoth, many, hovers),
        "hawkmoth": (hawkmoth, many, flies),
    }
    print("| circuit hears | plant | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |")
    print("|---|---|" + "---|" * len(STRENGTHS))
    with torch.no_grad():
        for kind, heard in ((Youla, "innovations"), (Plain, "what is measured")):
            for name, (make, drawn, rests) in ways.items():
                row = []
                for strength in STRENGTHS:
                    loops = [make(kind, circuit, strength) for circuit in drawn]
                    proved = [loop for loop in loops if loop.proof()]
                    row.append(f"{sum(map(rests, proved))} of {len(proved)}")
                print(f"| {heard} | {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
