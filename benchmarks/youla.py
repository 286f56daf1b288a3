"""Untrained circuits in a loop: as a Youla parameter, and as plain feedback of what is measured.

Run ``python benchmarks/youla.py``, some minutes. Twelve circuits as they are drawn, at three
strengths, with the linear model of the cart and pole and with the cart and pole themselves, from
four starts of up to 0.01 m and 0.02 rad. A loop counts if all states are below 1e-2 after 1,500
steps of 0.02 s, and none was beyond 4 m and 0.8 rad (1e6 with the linear model).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

import elegans
from elegans.control import Plant, Youla, cart_pole
from elegans.wiring import AutoNCP

STEPS = 1_500
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    arguments = parser.parse_args()
    plant = cart_pole()
    linear = plant.linear
    feedback = linear.feedback([1, 1, 10, 1], [0.1])
    observer = linear.observer([0.01] * 4, [1e-3] * 2)
    A, B = (torch.from_numpy(m) for m in (linear.dynamics, linear.control))
    ways = {
        "linear": (lambda x, u: x @ A.t() + u @ B.t(), 1e6),
        "cart and pole": (plant.advance, 0.8),
    }
    print("| circuit hears | plant | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |")
    print("|---|---|" + "---|" * len(STRENGTHS))
    with torch.no_grad():
        for kind, heard in ((Youla, "innovations"), (Plain, "what is measured")):
            for name, (advance, most) in ways.items():
                row = []
                for strength in STRENGTHS:
                    settled = proved = 0
                    for seed in range(arguments.seeds):
                        circuit = elegans.LTC(
                            2,
                            AutoNCP(12, 1, sparsity_level=0.7, seed=seed),
                            generator=torch.Generator().manual_seed(seed),
                            dtype=torch.float64,
                        )
                        loop = kind(
                            linear, circuit, feedback, observer, ranges=0.1, strength=strength
                        )
                        if not loop.proof():
                            continue
                        proved += 1
                        settled += settles(loop, plant, advance, most)
                    row.append(f"{settled} of {proved}")
                print(f"| {heard} | {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
