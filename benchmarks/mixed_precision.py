"""Forward and backward passes under autocast to bfloat16 against those without, in one run.

Run ``python benchmarks/mixed_precision.py``, on the GPU with ``--device cuda``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import interleaved
from torch import nn

import elegans
from elegans.wiring import AutoNCP

MODELS: dict[str, Callable[[], nn.Module]] = {
    "LTC, 64 neurons": lambda: elegans.LTC(8, AutoNCP(64, 4)),
    "LTC with a readout": lambda: elegans.Readout(elegans.LTC(8, AutoNCP(64, 4)), 4),
    "CfC, 64 units, backbone of 128": lambda: elegans.CfC(8, 64, 4, backbone_units=128),
}


def step(model: nn.Module, x: torch.Tensor, enabled: bool) -> Callable[[], None]:
    """Return a forward and backward pass, with autocast or without."""

    def run() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=enabled):
            output = model(x)[0]
        output.float().square().mean().backward()
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.randn(32, 32, 8, device=arguments.device)
    for name, make in MODELS.items():
        model = make().to(arguments.device)
        candidates = {label: step(model, x, label == "autocast") for label in ("plain", "autocast")}
        seconds = interleaved(candidates, arguments.runs)
        ratio = seconds["autocast"] / seconds["plain"]
        print(f"{name}: {1e3 * seconds['plain']:.2f} ms, with autocast {ratio:.2f} times as long")


if __name__ == "__main__":
    main()
