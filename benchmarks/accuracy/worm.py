"""Is the real wiring good for anything? A circuit of the worm against random counterparts.

Run ``python benchmarks/accuracy/worm.py --seeds 8``; ``pip install --no-deps cect`` brings the
connectome. Cells that ``benchmarks/results/worm.json`` holds already are not run again.

The circuit is what lies on ways of two connections of three synapses at least from touch and
nociception (ASH, ALM, AVM, PLM, PVD) to the command neurons (AVA, AVB, AVD, AVE, PVC) in Cook et
al. 2019: 40 neurons. What is compared is who is connected to whom: each connection is one synapse,
signs and values are drawn as in every other circuit, by seed. All circuits are read out linearly
from all neurons, and input channels drive the sensory cells in turn; an NCP has its own.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from typing import Any

import numpy as np
import torch
from cells import Cells
from numpy.typing import NDArray
from rewiring import fit
from tasks import task_of

import elegans
from elegans.wiring import AutoNCP, FullyConnected, GapJunctions, Random, Synapses, Wiring
from elegans.wiring.connectome import Connectome, between, load, neurons_only, random_counterpart

SENSORY = ("ASH", "ALM", "AVM", "PLM", "PVD")
COMMAND = ("AVA", "AVB", "AVD", "AVE", "PVC")
TASKS = ("cartpole", "japanese_vowels", "basic_motions", "gait", "hawkmoth")
CELLS = Cells("worm.json", ("task", "arm", "seed"))

ARMS = (
    "real",
    "same degrees",
    "same degrees and blocks",
    "uniform",
    "NCP",
    "narrow dense",
    "dense",
    "real, gap junctions",
    "same degrees, gap junctions",
    "real, rewired",
    "same degrees, rewired",
)
"""Contenders; ``dense`` has more synapses, and those with gap junctions have these besides."""


@cache
def worm() -> Connectome:
    """Return the circuit."""
    neurons = neurons_only(load("Cook2019Herm"))
    return between(neurons, SENSORY, COMMAND, 2, least_synapses=3, electrical=False)


def roles(connectome: Connectome) -> list[str]:
    """Return the role of each cell."""
    named = {**dict.fromkeys(SENSORY, "sensory"), **dict.fromkeys(COMMAND, "command")}
    return [named.get(kind, "inter") for kind in connectome.classes]


def wiring_of(connectome: Connectome, inputs: int, seed: int, gaps: bool) -> Wiring:
    """Return a wiring with one synapse a connection, whose sign is drawn."""
    rng = np.random.default_rng(seed)
    edges, pairs = connectome.chemical, connectome.electrical
    touched = np.flatnonzero(np.array(roles(connectome)) == "sensory")
    turns = np.arange(max(inputs, len(touched)))
    channel, cell = turns % inputs, touched[turns % len(touched)]
    return Wiring(
        inputs,
        {"motor": len(connectome)},  # all are read
        Synapses(edges.pre, edges.post, signs(rng, len(edges))),
        Synapses(channel, cell, signs(rng, len(turns))),
        electrical=GapJunctions(pairs.pre, pairs.post) if gaps else None,
    )


def signs(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Draw +1 or -1, as the families of wirings do."""
    return rng.choice([-1, 1], count)


def circuit(arm: str, inputs: int, seed: int) -> Wiring:
    """Return the wiring of a contender."""
    real, gaps = worm(), "gap junctions" in arm
    start = arm.split(",")[0]
    if start == "real":
        return wiring_of(real, inputs, seed, gaps)
    if start.startswith("same degrees"):
        blocks = roles(real) if "blocks" in start else False
        return wiring_of(random_counterpart(real, blocks=blocks, seed=seed), inputs, seed, gaps)
    units = len(real)
    own = wiring_of(real, inputs, seed, False)
    budget = own.synapse_count + own.sensory_synapse_count
    if start == "uniform":
        share = own.synapse_count / units**2
        drawn = Random(units, units, sparsity_level=1 - share, random_seed=seed).build(inputs)
        return own.with_synapses(drawn.recurrent, own.sensory)
    if start == "NCP":
        grid = [AutoNCP(units, 4, k / 50, seed=seed).build(inputs) for k in range(5, 46)]
        return min(grid, key=lambda w: abs(w.synapse_count + w.sensory_synapse_count - budget))
    if start == "narrow dense":
        units = next(n for n in range(units, 0, -1) if n * (n + inputs) <= budget)
    return FullyConnected(units, units).build(inputs)


def pairs_of(wiring: Wiring) -> set[tuple[int, int]]:
    """Return the connected pairs of neurons."""
    return set(zip(wiring.recurrent.source.tolist(), wiring.recurrent.target.tolist(), strict=True))


def run(name: str, arm: str, seed: int) -> dict[str, Any]:
    """Train one circuit and return what it reaches."""
    torch.set_num_threads(1)
    task, generator = task_of(name), torch.Generator().manual_seed(seed)
    wiring = circuit(arm, task.inputs, seed)
    layer = elegans.LTC(task.inputs, wiring, generator=generator)
    model = elegans.Readout(layer, task.outputs, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), task.rate)
    steps = task.epochs * -(-len(task.train) // task.batch)
    rewirer = None
    if "rewired" in arm:
        rewirer = elegans.PruneRewire.from_rule("free", model, optimizer, steps, seed=seed)
    began = time.perf_counter()
    fit(task, model, optimizer, rewirer, steps, seed)
    result = {
        "task": name,
        "arm": arm,
        "seed": seed,
        "error": task.error(model, task.test),
        "training_error": task.error(model, task.train),
        "neurons": layer.state_size,
        "synapses": layer.synapse_count + layer.sensory_synapse_count,
        "gap_junctions": layer.wiring.gap_junction_count,
        "seconds": time.perf_counter() - began,
    }
    if rewirer is not None:
        before, after, real = (pairs_of(w) for w in (wiring, layer.wiring, circuit("real", 1, 0)))
        result |= {
            "kept": len(before & after) / len(before),
            "real_before": len(before & real) / len(before),
            "real_after": len(after & real) / len(after),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cells = [
        (task, arm, seed)
        for seed in range(arguments.seeds)
        for task in arguments.tasks
        for arm in arguments.arms
    ]
    for cell in CELLS.run(run, cells, arguments.processes):
        print(f"{cell['error']:.4g} with {cell['synapses']} synapses in {cell['seconds']:.0f} s")


if __name__ == "__main__":
    main()
