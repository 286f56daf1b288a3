"""LTC and CfC against ncps 1.0.1: time, parameters, memory; and how they grow with the circuit.

Run ``python benchmarks/against_ncps.py``, with ``--cfc`` for the CfC alone; needs ``ncps``. Both
sides use the same weights, in turn, in one process, and the same wiring but for the CfC called
``wired``, whose synapses are those of the recipe; memory is the rise of a fresh process' peak while
it runs one forward and backward pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ncps.torch
import ncps.wirings
import numpy as np
import torch
from measure import interleaved, peak_memory, save, table

import elegans
from elegans.wiring import AutoNCP, Layered

SIZES = [  # units, outputs, inputs, batch, time
    (19, 4, 8, 32, 32),
    (64, 8, 17, 32, 32),
    (128, 8, 32, 64, 64),
]
CFC_SIZES = [(32, 16), (32, 64), (64, 16), (64, 64), (128, 16), (256, 16)]
"""Units and batch of the CfCs, with 8 inputs, 4 motor neurons and 32 steps."""

LONG = 1 << 18
"""Neurons x batch x time from which on a few runs are enough, and long enough."""


def models(
    units: int, outputs: int, inputs: int, recipe: str = "AutoNCP"
) -> dict[str, torch.nn.Module]:
    """Return an LTC of ncps and one with its weights, on the wiring of a recipe of both."""
    torch.manual_seed(0)
    theirs = ncps.torch.LTC(inputs, getattr(ncps.wirings, recipe)(units, outputs))
    ours = elegans.LTC(inputs, getattr(elegans.wiring, recipe)(units, outputs))
    elegans.load_ncps(ours, theirs.state_dict())
    return {"elegans": ours, "ncps": theirs}


def cfc_models(kind: str, units: int) -> dict[str, torch.nn.Module]:
    """Return a CfC of ncps and one with its weights, or on a wiring with synapses of its own."""
    torch.manual_seed(0)
    if kind == "dense":
        theirs = ncps.torch.CfC(8, units)
        ours = elegans.CfC(8, units)
    else:
        theirs = ncps.torch.CfC(8, ncps.wirings.AutoNCP(units, 4))
        ours = elegans.CfC(8, AutoNCP(units, 4), ncps_connections=kind == "wired as ncps")
    if kind != "wired":
        elegans.load_ncps(ours, theirs.state_dict())
    return {"elegans": ours, "ncps": theirs}


def compare_cfc(kind: str, units: int, batch: int, runs: int) -> dict[str, Any]:
    sides = cfc_models(kind, units)
    x = torch.randn(batch, 32, 8)
    contenders = {
        "fused": with_path("fused", step(sides["elegans"], x)),
        "reference": with_path("reference", step(sides["elegans"], x)),
        "ncps": step(sides["ncps"], x),
    }
    seconds = interleaved(contenders, runs)
    gap = float("nan")
    if kind != "wired":
        with torch.no_grad(), elegans.backend("fused"):
            gap = float((sides["elegans"](x)[0] - sides["ncps"](x)[0]).abs().max())
    return {
        "CfC": kind,
        "units": units,
        "batch": batch,
        **{f"{name} ms": 1e3 * time for name, time in seconds.items()},
        "ncps / fused": seconds["ncps"] / seconds["fused"],
        "reference / fused": seconds["reference"] / seconds["fused"],
        "difference": gap,
    }


def with_path(path: str, function: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with elegans.backend(path):
            function()

    return run


def forward(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad():
            model(x)

    return run


def step(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> None:
        model.zero_grad()
        model(x)[0].square().mean().backward()

    return run


def prepare_step(
    side: str, path: str, size: tuple[int, int, int, int, int]
) -> Callable[[], object]:
    units, outputs, inputs, batch, time = size
    model = models(units, outputs, inputs)[side]
    if path == "fused":
        with elegans.backend(path):  # compiling takes memory, too
            step(model, torch.randn(2, 2, inputs))()
    return with_path(path, step(model, torch.randn(batch, time, inputs)))


def compare(size: tuple[int, int, int, int, int], runs: int) -> list[dict[str, Any]]:
    units, outputs, inputs, batch, time = size
    sides = models(units, outputs, inputs)
    x = torch.randn(batch, time, inputs)
    contenders = {
        "fused": ("fused", sides["elegans"]),
        "reference": ("reference", sides["elegans"]),
        "ncps": ("auto", sides["ncps"]),
        "LSTM": ("auto", torch.nn.LSTM(inputs, units, batch_first=True)),
    }
    runs = runs if units * batch * time < LONG else 2
    ahead, both = (
        interleaved({n: with_path(path, make(m, x)) for n, (path, m) in contenders.items()}, runs)
        for make in (forward, step)
    )
    with torch.no_grad():
        expected = sides["ncps"](x)[0]
    rows = []
    for name, (path, model) in contenders.items():
        gap = float("nan")
        if name in ("fused", "reference"):
            with torch.no_grad(), elegans.backend(path):
                gap = float((model(x)[0] - expected).abs().max())
        side = "ncps" if name == "ncps" else "elegans"
        megabytes = float("nan")
        if name != "LSTM":
            megabytes = peak_memory(prepare_step, side, path, size) / 2**20
        rows.append(
            {
                "units": units,
                "batch x time": f"{batch} x {time}",
                "path": name,
                "forward ms": 1e3 * ahead[name],
                "ncps / it": ahead["ncps"] / ahead[name],
                "fwd+bwd ms": 1e3 * both[name],
                "ncps / it ": both["ncps"] / both[name],
                "it / LSTM": both[name] / both["LSTM"],
                "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
                "memory MiB": megabytes,
                "difference": gap,
            }
        )
    return rows


def sparse(neurons: int) -> Layered:
    """Return a random circuit of 10 synapses a neuron."""
    return Layered({"inter": neurons - 8, "motor": 8}, dict.fromkeys(BLOCKS, 10 / neurons))


BLOCKS = [("inter", "inter"), ("inter", "motor"), ("motor", "inter"), ("sensory", "inter")]
BATCH, TIME, INPUTS = 8, 4, 8


def prepare_sparse(neurons: int) -> Callable[[], object]:
    model = elegans.LTC(INPUTS, sparse(neurons))
    return with_path("reference", step(model, torch.randn(BATCH, TIME, INPUTS)))


def grow(neurons: int, runs: int) -> dict[str, Any]:
    model = elegans.LTC(INPUTS, sparse(neurons))
    x = torch.randn(BATCH, TIME, INPUTS)
    seconds = interleaved({"step": with_path("reference", step(model, x))}, runs)["step"]
    return {
        "neurons": neurons,
        "synapses": model.synapse_count + model.sensory_synapse_count,
        "parameters": sum(p.numel() for p in model.parameters()),
        "memory MiB": peak_memory(prepare_sparse, neurons) / 2**20,
        "fwd+bwd ms": 1e3 * seconds,
        "ncps parameters": 4 * neurons**2 + 4 * INPUTS * neurons + 3 * neurons + 2 * INPUTS + 16,
    }


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Return the exponent of `name` against neurons over the last two rows."""
    low, high = rows[-2:]
    return float(np.log(high[name] / low[name]) / np.log(high["neurons"] / low["neurons"]))


def main(runs: int, out: Path, threads: int, cfc_alone: bool) -> None:
    torch.set_num_threads(threads)
    print("CfC, forward and backward, 32 steps\n")
    kinds = "wired", "wired as ncps", "dense"
    cfc = [compare_cfc(kind, *size, runs) for kind in kinds for size in CFC_SIZES]
    print(table(cfc))
    if cfc_alone:
        return
    print("\nLTC: the same wiring and weights (AutoNCP, sparsity 0.5)\n")
    against = [row for size in SIZES for row in compare(size, runs)]
    print(table(against))
    print(
        f"\nThe reference path at ten synapses a neuron, batch {BATCH}, {TIME} steps of 6 unfolds\n"
    )
    growth = [grow(neurons, runs) for neurons in (100, 1_000, 10_000)]
    print(table(growth))
    exponents = {name: slope(growth, name) for name in ("parameters", "memory MiB", "fwd+bwd ms")}
    print("\nGrowth from 1,000 to 10,000 neurons as a power of the number of neurons:")
    for name, exponent in exponents.items():
        print(f"  {name:<11} {exponent:.2f}")
    save(out, cfc=cfc, against_ncps=against, growth=growth, exponents=exponents)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("against_ncps.json"))
    parser.add_argument("--threads", type=int, default=min(2, torch.get_num_threads()))
    parser.add_argument("--cfc", action="store_true", help="the CfC alone; writes no file")
    arguments = parser.parse_args()
    main(arguments.runs, arguments.out, arguments.threads, arguments.cfc)
