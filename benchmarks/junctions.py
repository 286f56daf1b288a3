"""Kernels with gap junctions against the same circuit without them.

Run ``python benchmarks/junctions.py``. The sizes are those of the nervous system of C. elegans as
Varshney et al. (PLoS Comput. Biol. 7, 2011) count it: 279 neurons, 2,194 chemical connections and
514 pairs with gap junctions; who is connected to whom is drawn at random. Both take turns in one
process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import interleaved, save, table

import elegans
from elegans.wiring import GapJunctions, Synapses, Wiring

NEURONS, SYNAPSES, PAIRS, INPUTS, OUTPUTS = 279, 2_194, 514, 20, 10
SHAPES = ((1, 64), (32, 32), (128, 16))


def circuit(junctions: bool) -> Wiring:
    """Return the circuit; with and without junctions it has the same chemical synapses."""
    rng = np.random.default_rng(0)
    place = rng.choice(NEURONS**2, SYNAPSES, replace=False)
    recurrent = Synapses(place // NEURONS, place % NEURONS, rng.choice([-1, 1], SYNAPSES))
    sensory = Synapses(
        np.arange(INPUTS), rng.choice(NEURONS, INPUTS, replace=False), np.ones(INPUTS, int)
    )
    first, second = np.triu_indices(NEURONS, 1)
    pairs = rng.choice(len(first), PAIRS, replace=False)
    electrical = GapJunctions(first[pairs], second[pairs]) if junctions else None
    layers = {"motor": OUTPUTS, "inter": NEURONS - OUTPUTS}
    return Wiring(INPUTS, layers, recurrent, sensory, electrical=electrical)


def way(model: elegans.LTC, x: torch.Tensor, backward: bool) -> Callable[[], object]:
    def forward() -> object:
        with torch.no_grad():
            return model(x)

    def both() -> object:
        model.zero_grad()
        output: torch.Tensor = model(x)[0]
        return output.square().mean().backward()

    return both if backward else forward


def main() -> None:
    models = {
        name: elegans.LTC(INPUTS, circuit(junctions))
        for name, junctions in (("with", True), ("without", False))
    }
    rows = []
    for batch, time in SHAPES:
        x = torch.randn(batch, time, INPUTS)
        for backward in (False, True):
            seconds = interleaved({n: way(m, x, backward) for n, m in models.items()}, runs=21)
            rows.append(
                {
                    "batch x time": f"{batch} x {time}",
                    "pass": "both" if backward else "forward",
                    "with, ms": 1e3 * seconds["with"],
                    "without, ms": 1e3 * seconds["without"],
                    "ratio": seconds["with"] / seconds["without"],
                }
            )
    print(table(rows))
    save(Path(__file__).parent / "results" / "junctions.json", kernels=rows)


if __name__ == "__main__":
    main()
