"""Drive policies for millions of control steps: memory stays flat, and actions stay right.

Run ``python benchmarks/faults/control_steps.py``. Observations and elapsed times are drawn anew at
every step, and once an episode an observation is wrong (NaN, infinite, of another shape, a text)
and refused. Every so often the actions since the last reset are compared with those of the
layer for the whole sequence.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import torch
from campaign import main, require
from measure import resident_bytes

import elegans
from elegans.errors import ElegansError
from elegans.layers.sequence_layer import SequenceLayer
from elegans.wiring import AutoNCP

EPISODE = 1000
SHARE = 0.01
"""Share of the steps for layers without a kernel of single steps."""

SETTLED = 0.1
"""Share of the steps after which memory may not grow any more."""

MOST_GROWTH = 2 * 2**20
"""Bytes, of which the allocator of Python and that of the C library need some."""

WRONG: tuple[Any, ...] = (
    np.array([np.nan, 0.0, 0.0]),
    np.array([0.0, np.inf, 0.0]),
    np.zeros(2),
    "three words here",
    None,
)


def layers() -> dict[str, SequenceLayer]:
    """Return the layers that are driven."""
    torch.manual_seed(0)
    wiring = AutoNCP(19, 2, seed=0)
    return {
        "LTC": elegans.LTC(3, wiring),
        "LTC with mixed memory": elegans.LTC(3, wiring, mixed_memory=True),
        "CT-RNN": elegans.CTRNN(3, wiring),
        "CfC": elegans.CfC(3, 19),
    }


def answers(layer: SequenceLayer, observations: Any, elapsed: Any) -> Any:
    """Return the outputs (time, output) of a layer for a whole sequence."""
    x, timespans = (torch.from_numpy(one)[None] for one in (observations, elapsed))
    with torch.no_grad():
        return layer(x, timespans=timespans)[0][0].numpy()


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Ask the policy of an LTC for `count` actions, and those of other layers for a share."""
    rng = np.random.default_rng(seed)
    growth, driven, refused, compared = {}, {}, 0, 0
    for name, layer in layers().items():
        policy = elegans.Policy(layer)
        driven[name] = steps = count if name == "LTC" else max(EPISODE, round(SHARE * count))
        settled, before = int(SETTLED * steps), None
        done = 0
        while done < steps:
            here = min(EPISODE, steps - done)
            observations = rng.standard_normal((here, 3)).astype(np.float32)
            elapsed = rng.uniform(0.2, 2.0, here).astype(np.float32)
            policy.reset()
            for k in range(here):
                action = policy(observations[k], elapsed=float(elapsed[k]))
            require(bool(np.isfinite(action).all()), f"{name}: step {done + here} gave {action}")
            try:
                policy(WRONG[refused % len(WRONG)])
            except ElegansError:
                refused += 1
            else:
                raise AssertionError(f"{name} took {WRONG[refused % len(WRONG)]!r}")
            done += here
            if done // EPISODE % 100 == 1:
                whole = answers(layer, observations, elapsed)
                np.testing.assert_allclose(action, whole[-1], rtol=1e-4, atol=1e-4)
                compared += 1
            if before is None and done >= settled:
                before = resident_bytes()
        growth[name] = resident_bytes() - before
        require(growth[name] < MOST_GROWTH, f"{name}: memory grew by {growth[name]} bytes")
    return {
        "steps": driven,
        "growth of memory in KiB": {name: grown // 1024 for name, grown in growth.items()},
        "wrong observations refused": refused,
        "episodes compared with the layer": compared,
    }


if __name__ == "__main__":
    main("control steps", campaign, 10_000_000)
