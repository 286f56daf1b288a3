"""Ensembles against their members one after the other: one optimiser step of all of them.

Run ``python benchmarks/ensembles.py``. All contenders take turns in one process, on the same number
of threads. The members one by one are what a user writes: ordinary modules, each with an optimiser
of its own, Adam as it comes and the fused one; the ensemble's Adam is the fused one.

Others use the machine as well: each figure is the shortest of many turns. A long turn meets others
more surely than a short one, so members one by one are timed in parts that last about as long as a
step of the ensemble, and the shortest times of all parts are added up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from measure import save, table
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import elegans
from elegans.ensemble import Ensemble
from elegans.wiring import AutoNCP

DENSE = [  # members, sizes, batch
    (400, (10, 40, 40, 7), 128),
    (50, (10, 40, 40, 7), 128),
    (400, (10, 40, 40, 7), 32),
    (400, (12, 12, 3), 50),
    (100, (30, 128, 128, 10), 128),
    (20, (10, 400, 400, 400, 16, 7), 128),
]
LIQUID = [  # members, units, outputs, inputs, batch, time
    (100, 19, 4, 8, 32, 32),
    (20, 64, 8, 17, 32, 32),
]


def perceptron(sizes: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def output_of(result: Any) -> Tensor:
    output: Tensor = result[0] if isinstance(result, tuple) else result
    return output


Step = Callable[[], object]


def one_by_one(members: list[nn.Module], x: Tensor, y: Tensor, **adam: Any) -> list[Step]:
    """Return the step of a twentieth of the members, twenty times."""
    length = -(-len(members) // 20)
    parts = [members[k : k + length] for k in range(0, len(members), length)]
    return [part_of_them(part, x, y, **adam) for part in parts]


def part_of_them(members: list[nn.Module], x: Tensor, y: Tensor, **adam: Any) -> Step:
    optimizers = [torch.optim.Adam(member.parameters(), lr=1e-4, **adam) for member in members]

    def run() -> None:
        for member, optimizer in zip(members, optimizers, strict=True):
            optimizer.zero_grad()
            mse_loss(output_of(member(x)), y).backward()
            optimizer.step()

    return run


def together(members: list[nn.Module], x: Tensor, y: Tensor, **how: Any) -> list[Step]:
    ensemble = Ensemble(members, general=how.get("general", False))
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        with elegans.backend(how.get("path", "auto")):
            optimizer.zero_grad()
            ensemble.losses(x, y).sum().backward()
            optimizer.step()

    return [run]


def shortest(contenders: dict[str, list[Step]], seconds: float) -> dict[str, float]:
    """Return the sum of the shortest times of each contender's parts, all taking turns."""
    best = {name: [float("inf")] * len(parts) for name, parts in contenders.items()}
    start = time.perf_counter()
    turns = 0
    while turns < 3 or time.perf_counter() - start < seconds:
        for name, parts in contenders.items():
            for _ in range(5 if len(parts) == 1 else 1):
                for k, run in enumerate(parts):
                    begin = time.perf_counter()
                    run()
                    best[name][k] = min(best[name][k], time.perf_counter() - begin)
        turns += 1
    return {name: sum(times) for name, times in best.items()}


def compare(
    what: str, members: list[nn.Module], x: Tensor, y: Tensor, seconds: float
) -> dict[str, Any]:
    contenders = {
        "one by one": one_by_one(members, x, y),
        "fused Adam": one_by_one(members, x, y, fused=True),
        "ensemble": together(members, x, y),
    }
    if not isinstance(members[0], elegans.LTC):
        contenders["products"] = together(members, x, y, path="reference")
        contenders["vmap"] = together(members, x, y, general=True)
    best = shortest(contenders, seconds)
    names = ("one by one", "fused Adam", "ensemble", "products", "vmap")
    return {
        "members": len(members),
        "what": what,
        **{f"{name} ms": 1e3 * best.get(name, float("nan")) for name in names},
        "ratio": best["one by one"] / best["ensemble"],
        "ratio, fused Adam": best["fused Adam"] / best["ensemble"],
    }


def main(seconds: float, out: Path) -> None:
    torch.manual_seed(0)
    print(f"One optimiser step of all members, {torch.get_num_threads()} threads, shortest times\n")
    rows = []
    for count, sizes, batch in DENSE:
        members = [perceptron(sizes) for _ in range(count)]
        x, y = torch.randn(batch, sizes[0]), torch.randn(batch, sizes[-1])
        what = f"{'-'.join(map(str, sizes))}, batch {batch}"
        rows.append(compare(what, members, x, y, seconds))
        print(rows[-1], flush=True)
    for count, units, outputs, inputs, batch, length in LIQUID:
        circuits: list[nn.Module] = [
            elegans.LTC(inputs, AutoNCP(units, outputs, seed=seed)) for seed in range(count)
        ]
        x, y = torch.randn(batch, length, inputs), torch.randn(batch, length, outputs)
        rows.append(compare(f"LTC {units}, {batch} x {length}", circuits, x, y, seconds))
        print(rows[-1], flush=True)
    print(table(rows))
    save(out, steps=rows)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="at least, for each size")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("ensembles.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    main(arguments.seconds, arguments.out)
