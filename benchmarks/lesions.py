"""Lesion studies against the same lesions one after the other.

Run ``python benchmarks/lesions.py``. One by one, each synapse or neuron is pruned by hand in one
module, which is scored and opened again. Both take turns in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from measure import interleaved, save, table
from torch.nn.functional import mse_loss

import elegans
from elegans.ensemble import Ensemble
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.tasks import cartpole
from elegans.wiring import AutoNCP

Model = SequenceLayer | Readout

MODELS: dict[str, Callable[[], Model]] = {
    "LTC": lambda: elegans.LTC(2, AutoNCP(20, 1, seed=0), ode_unfolds=4),
    "LTC, readout": lambda: Readout(elegans.LTC(2, AutoNCP(20, 1, seed=0), ode_unfolds=4), 1),
    "CTRNN": lambda: elegans.CTRNN(2, AutoNCP(20, 1, seed=0)),
    "NeuralLTC": lambda: elegans.NeuralLTC(2, AutoNCP(20, 1, seed=0)),
    "CfC": lambda: elegans.CfC(2, AutoNCP(20, 1, seed=0)),
}


@torch.no_grad()
def one_by_one(model: Model, score: Callable[[Model], float]) -> list[float]:
    """Return the intact score and that of each lesion."""
    sets = circuit_of(model).cell.synapse_sets()
    closings = [(slots, torch.tensor([k])) for slots in sets.values() for k in range(len(slots))]
    recurrent = sets["recurrent"]
    for neuron in range(model.state_size):
        closings.append((recurrent, (recurrent.source == neuron).nonzero()[:, 0]))
    scores = [score(model)]
    for slots, closed in closings:
        mask = slots.mask.clone()
        slots.set_mask(mask.index_fill(0, closed, False))
        scores.append(score(model))
        slots.set_mask(mask)
    return scores


Way = tuple[Callable[[], object], Callable[[], object]]
"""The study, and the same one after the other."""


def on_data(model: Model, batch: int, time: int) -> Way:
    x, y = torch.randn(batch, time, 2), torch.randn(batch, time, 1)

    def score(one: Model) -> float:
        return float(mse_loss(one(x)[0], y))

    return lambda: elegans.lesion(model, (x, y)), lambda: one_by_one(model, score)


def in_closed_loop(model: Model, steps: int) -> Way:
    def scores(network: Ensemble) -> object:
        return cartpole.member_returns(network, max_steps=steps).mean(1)

    def score(one: Model) -> float:
        return cartpole.drive(elegans.Policy(one), 5, max_steps=steps).mean_return

    return lambda: elegans.lesion(model, scores), lambda: one_by_one(model, score)


def main(runs: int, out: Path) -> None:
    torch.manual_seed(0)
    print(f"All lesions of 20 neurons, {torch.get_num_threads()} threads, median times\n")
    rows = []
    for name, make in MODELS.items():
        model = make()
        for what, (study, alone) in {
            "data, 32 x 64": on_data(model, 32, 64),
            "data, 1 x 64": on_data(model, 1, 64),
            "CartPole, 5 episodes of 10 steps": in_closed_loop(model, 10),
        }.items():
            seconds = interleaved({"study": study, "alone": alone}, runs)
            rows.append(
                {
                    "circuit": name,
                    "scored by": what,
                    "one by one s": seconds["alone"],
                    "study s": seconds["study"],
                    "ratio": seconds["alone"] / seconds["study"],
                }
            )
            print(rows[-1], flush=True)
    print(table(rows))
    save(out, lesions=rows)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("lesions.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    main(arguments.runs, arguments.out)
