"""Pruning during training, or afterwards? Four trials on the penguins, over many seeds.

A network of 12 inputs, 12 hidden neurons and 3 species is trained four times from each
initialisation: unpruned, pruned by 30 % afterwards, as a lottery ticket (the same mask, rewound and
trained again) and dynamically (17 % of the weights cut after one third of the training and 17 % of
the rest after two thirds). Every seed has its own split, initialisation and order of batches, the
same for its four trials. Published figures of single runs are printed beside; over the seeds their
ranking is noise. Writes dynamic_pruning.png and .json.

With ``--quick`` three seeds are trained for 150 epochs at 30 times the learning rate.
"""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from pathlib import Path

import torch

from elegans.replications.experiments import (
    DYNAMIC_REPEATED,
    DYNAMIC_TOLERANCE,
    DynamicSettings,
    dynamic_trials,
)
from elegans.replications.sets import penguins

LEAST_LOSS = math.log(1 + 2 * math.exp(-2))  # logits between -1 and 1 can do no better


def main(out: Path, seeds: int, quick: bool) -> None:
    torch.set_num_threads(1)  # the networks are too small to share out
    settings = DynamicSettings(epochs=150, learning_rate=3e-3) if quick else DynamicSettings()
    result = dynamic_trials(
        penguins(),
        range(seeds),
        settings,
        progress=partial(print, flush=True),
    )
    print(result.table())
    axes = result.draw()
    axes.figure.savefig(out, dpi=130)
    out.with_suffix(".json").write_text(json.dumps(result.to_dict(), indent=1))
    print(f"wrote {out} and {out.with_suffix('.json')}")

    for trial, (low, high) in DYNAMIC_REPEATED.items():
        loss = result.spread(trial)
        inside = low - DYNAMIC_TOLERANCE <= loss.mean <= high + DYNAMIC_TOLERANCE
        print(f"{trial}: {loss}, {'within' if inside else 'OUTSIDE'} the repeated figures")
        assert loss.mean > LEAST_LOSS
        assert quick or inside
    assert result.spread("unpruned", "accuracy").mean > 85


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dynamic_pruning.png"))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--quick", action="store_true", help="three seeds, seconds")
    chosen = parser.parse_args()
    main(chosen.out, chosen.seeds or (3 if chosen.quick else 12), chosen.quick)
