"""How sparse can a network be that controls a hawkmoth? Pruned level by level, and retrained.

Simulates short flights of a hawkmoth under random controls, trains networks of 330,512 weights to
name the controls that bring the moth from one state into another, and prunes them to 15, 25, ...
98 % with retraining in between. Published: error 1.57e-4 dense, 1.67e-4 at 93 %, 6e-3 at 95 %; of
400 networks the median optimum is 93 %.

The full protocol, of one network, takes half an hour with --bfloat16; --quick a few seconds. With
--networks N, N of them are trained at once, as one ensemble. One process a core is fastest: run it
with other --seed and --out in each, then --join the json files that they wrote.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from elegans.data import Scale
from elegans.ensemble import Ensemble
from elegans.replications import hawkmoth
from elegans.replications.experiments.drawing import draw_sequential
from elegans.replications.experiments.sequential import SequentialPruning, Stage, prune_sequentially
from elegans.replications.hawkmoth.network import ERRORS, LEVELS, LIMIT, MEDIAN_OPTIMUM


def trajectories(count: int, file: Path | None) -> hawkmoth.Trajectories:
    """Return so many trajectories, from `file` if it is there; otherwise it is written."""
    if file is not None and file.exists():
        return hawkmoth.load_trajectories(file)
    data = hawkmoth.sample(count, seed=0, dtype=np.float32)
    if file is not None:
        hawkmoth.save_trajectories(data, file)
    return data


def scaled(data: hawkmoth.Trajectories) -> tuple[torch.Tensor, ...]:
    """Return inputs and outputs for training, then for validation, between -0.5 and 0.5."""
    validation = min(100_000, len(data) // 10) / len(data)
    parts = data.split((1 - 2 * validation, validation, validation))
    scales = [
        Scale.min_max([getattr(parts.train, side)], names)
        for side, names in (("inputs", hawkmoth.INPUTS), ("outputs", hawkmoth.OUTPUTS))
    ]
    return tuple(
        torch.from_numpy(scale.apply(getattr(part, side)).astype(np.float32, copy=False))
        for part in (parts.train, parts.validation)
        for scale, side in zip(scales, ("inputs", "outputs"), strict=True)
    )


def describe(stage: Stage) -> None:
    losses = np.array(stage.losses)
    published = ERRORS.get(stage.sparsity)
    print(
        f"{100 * stage.sparsity:5.1f} %   {stage.steps:7d} steps   error "
        f"{np.median(losses):.2e} ({losses.min():.2e} to {losses.max():.2e})"
        + (f"   published {published:.2e}" if published else ""),
        flush=True,
    )


def show(result: SequentialPruning, out: Path) -> None:
    """Print where the optima are, and draw errors and optima."""
    optima = result.optima(LIMIT)
    print(
        f"optimum (last level with an error of at most {LIMIT:g}): median "
        f"{100 * np.nanmedian(optima) if np.isfinite(optima).any() else np.nan:.1f} %, published "
        f"{100 * MEDIAN_OPTIMUM:.0f} %; {int(np.isnan(optima).sum())} of {len(optima)} networks "
        "exceed it when dense"
    )
    figure = draw_sequential(
        result, limit=LIMIT, published=ERRORS, title="Sequential pruning of hawkmoth networks"
    )
    figure.savefig(out, dpi=150)


def join(arguments: argparse.Namespace) -> SequentialPruning:
    """Show the networks of several runs as one."""
    records = [json.loads(file.read_text()) for file in arguments.join]
    result = SequentialPruning.joined([SequentialPruning.from_dict(record) for record in records])
    for stage in result.stages:
        describe(stage)
    show(result, arguments.out)
    arguments.out.with_suffix(".json").write_text(json.dumps(result.to_dict()))
    return result


def main(arguments: argparse.Namespace) -> SequentialPruning:
    began = time.monotonic()
    data = trajectories(arguments.trajectories, arguments.data)
    x, y, x_validation, y_validation = scaled(data)
    print(f"{len(data):,} trajectories in {time.monotonic() - began:.0f} s", flush=True)

    networks = Ensemble.of(
        lambda seed: hawkmoth.hawkmoth_network(
            torch.Generator().manual_seed(seed),
            widths=(len(hawkmoth.INPUTS), *arguments.hidden, len(hawkmoth.OUTPUTS)),
            deviation=None if arguments.glorot else arguments.deviation,
        ),
        range(arguments.seed, arguments.seed + arguments.networks),
    )
    optimizer = torch.optim.Adam(networks.parameters(), arguments.rate, fused=True)
    generator = torch.Generator().manual_seed(1)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(len(x), (arguments.batch,), generator=generator)
        return x[rows], y[rows]

    def validate(model: torch.nn.Module) -> torch.Tensor:
        squares = torch.zeros(arguments.networks, dtype=torch.float64)
        for inputs, targets in zip(x_validation.split(4096), y_validation.split(4096), strict=True):
            squares += (model(inputs) - targets).double().square().sum(dim=(1, 2))
        return squares / y_validation.numel()

    record = arguments.out.with_suffix(".json")
    stages: list[Stage] = []

    def watch(stage: Stage) -> None:
        stages.append(stage)
        record.write_text(json.dumps(SequentialPruning(tuple(stages)).to_dict()))
        describe(stage)

    result = prune_sequentially(
        networks,
        optimizer,
        batch,
        validate,
        LEVELS if not arguments.quick else (0.5, 0.9),
        dense_steps=arguments.dense_steps,
        evaluate_every=arguments.evaluate_every,
        longest=arguments.validations,
        patience=arguments.validations,
        cooling=arguments.cooling,
        autocast=torch.bfloat16 if arguments.bfloat16 else None,
        watch=watch,
    )
    show(result, arguments.out)
    print(f"wrote {arguments.out} and {record} in {time.monotonic() - began:.0f} s")

    mean_square = float(y_validation.var(dim=0, correction=0).mean())  # of predicting the mean
    assert result.losses[0].max() < 0.9 * mean_square, "the dense networks have learned nothing"
    last = networks.prunable_weights().values()
    missing = sum(int((weight == 0).sum()) for weight in last)
    assert abs(missing / sum(w.numel() for w in last) - result.sparsities[-1]) < 1e-3
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of an hour")
    parser.add_argument("--out", type=Path, default=Path("hawkmoth_pruning.png"))
    parser.add_argument("--trajectories", type=int)
    parser.add_argument("--data", type=Path, help="npz file to keep the trajectories in")
    parser.add_argument("--dense-steps", type=int, help="before the first level")
    parser.add_argument("--networks", type=int, help="trained at once")
    parser.add_argument("--hidden", type=int, nargs="+", default=(400, 400, 400, 16))
    parser.add_argument("--validations", type=int, help="on each level")
    parser.add_argument("--evaluate-every", type=int, help="steps between two validations")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--cooling", type=float, default=0.02, help="share of the rate at the end")
    parser.add_argument("--deviation", type=float, default=0.1, help="of the initial weights")
    parser.add_argument("--glorot", action="store_true", help="initial weights by Glorot's rule")
    parser.add_argument("--bfloat16", action="store_true", help="for the products in training")
    parser.add_argument("--seed", type=int, default=0, help="of the first network")
    parser.add_argument("--join", type=Path, nargs="+", help="show these records as one instead")
    arguments = parser.parse_args()
    defaults = {
        "trajectories": (20_000, 10_000_000),
        "networks": (2, 1),
        "dense_steps": (80, 138_000),
        "validations": (1, 1),
        "evaluate_every": (40, 12_000),
    }
    for name, (quick, full) in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else full)
    join(arguments) if arguments.join else main(arguments)
