"""Rewire circuits a hundred thousand times: the graph stays legal, memory stays flat.

Run ``python benchmarks/faults/rewires.py``. After every round the number of synapses in each block,
the inputs of every neuron, places and parameters are checked; every so often the rewirer is saved,
loaded into a fresh one, and goes on from there.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from campaign import main, require
from measure import resident_bytes

import elegans
from elegans.pruning.amount.thresholds import CosineFraction
from elegans.wiring import AutoNCP, Wiring

SAVED_EVERY = 500
"""Rounds between two savings."""

SETTLED = 100
"""Rounds after which memory grows by the ledger alone."""

MOST_BYTES = 2000
"""Bytes of memory an edit, which the ledger keeps, twice while it is saved."""


def blocks(wiring: Wiring) -> Counter[tuple[str, str]]:
    """Return how many synapses each pair of layers has."""
    layer_of = [name for name, size in wiring.layers.items() for _ in range(size)]
    count = Counter((layer_of[j], layer_of[i]) for j, i, _ in wiring.recurrent)
    count.update(("sensory", layer_of[i]) for _, i, _ in wiring.sensory)
    return count


def rewirer_of(model: elegans.LTC, optimizer: torch.optim.Optimizer, seed: int) -> Any:
    """Return a rewirer that exchanges a twentieth of the synapses in every step."""
    weak = CosineFraction(0.05, 10**9)
    return elegans.PruneRewire(model, optimizer, weak, every=1, seed=seed)


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Make `count` edits in a circuit that trains meanwhile."""
    generator = torch.Generator().manual_seed(seed)
    model = elegans.LTC(4, AutoNCP(32, 3, seed=seed), ode_unfolds=2, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewirer = rewirer_of(model, optimizer, seed)
    expected, rounds, loaded = blocks(model.wiring), 0, 0
    memory, edits = None, 0
    while rewirer.counts["rewired"] < count:
        x = torch.randn(4, 6, 4, generator=generator)
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()
        model.apply_weight_constraints()
        rewirer.step()
        rounds += 1
        wiring = model.wiring  # its constructor checks places and polarities
        where = f"round {rounds} of seed {seed}"
        require(blocks(wiring) == expected, f"{where}: blocks became {blocks(wiring)}")
        targets = {i for _, i, _ in (*wiring.recurrent, *wiring.sensory)}
        require(len(targets) == wiring.units, f"{where}: a neuron has lost its inputs")
        pairs = Counter((j, i) for j, i, _ in wiring.recurrent)
        require(max(pairs.values()) == 1, f"{where}: two synapses are in one place")
        finite = all(bool(torch.isfinite(one).all()) for one in model.parameters())
        require(finite, f"{where}: a parameter is not finite")
        if rounds % SAVED_EVERY == 0:
            state = json.loads(json.dumps(rewirer.state_dict()))
            rewirer = rewirer_of(model, optimizer, seed)
            rewirer.load_state_dict(state)
            loaded += 1
        if rounds == SETTLED:
            memory, edits = resident_bytes(), len(rewirer.ledger)
    require(memory is not None, f"{count} edits took {rounds} rounds, too few to see memory grow")
    grown, edits = resident_bytes() - memory, len(rewirer.ledger) - edits
    require(grown < MOST_BYTES * edits, f"memory grew by {grown} bytes in {edits} edits")
    return {
        "rounds": rounds,
        "edits": rewirer.counts["rewired"],
        "saved, loaded and gone on": loaded,
        "bytes of memory an edit": round(grown / edits),
    }


if __name__ == "__main__":
    main("rewires", campaign, 100_000)
