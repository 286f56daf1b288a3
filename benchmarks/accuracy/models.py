"""Models on the tasks of the papers: liquid circuits, what they are compared with, what reads them.

Run ``python benchmarks/accuracy/models.py half_cheetah --seeds 5``; runs that
``benchmarks/results/models.json`` holds already are not repeated. All models have a linear readout
of all their units unless the name says otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from cells import Cell, Cells
from tasks import Split, Task, half_cheetah, walker2d
from torch import Tensor, nn

import elegans
from elegans.wiring import AutoNCP, FullyConnected, Random, Recipe, Wiring

CELLS = Cells("models.json", ("task", "model", "seed", "epochs"))
UNITS = 32
NCP_UNITS = 48

TASKS: dict[str, Callable[[], Task]] = {
    "half_cheetah": half_cheetah,
    "walker2d": lambda: replace(walker2d(300, 60), epochs=50, batch=128),
}


class Lstm(nn.Module):
    """PyTorch's LSTM with a linear readout; it is told elapsed times as an input."""

    def __init__(self, inputs: int, units: int, outputs: int, timed: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs + timed, units, batch_first=True)
        self.head = nn.Linear(units, outputs)
        self.timed = timed

    def forward(self, x: Tensor, timespans: Tensor | None = None, **_: Any) -> tuple[Tensor, Any]:
        """Return outputs (batch, time, output) and the state."""
        if self.timed and timespans is not None:
            x = torch.cat([x, timespans.unsqueeze(-1)], dim=-1)
        states, last = self.lstm(x)
        return self.head(states), last


class ReadMotors(nn.Module):
    """A layer with a linear map of its motor neurons alone."""

    def __init__(self, layer: elegans.LTC, outputs: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.output_size, outputs)

    def forward(self, x: Tensor, **more: Any) -> tuple[Tensor, Any]:
        """Return outputs (batch, time, output) and the state."""
        motors, last = self.layer(x, **more)
        return self.head(motors), last


class OfNcps(nn.Module):
    """A layer of ncps, which takes an elapsed time for each neuron, with a linear readout."""

    def __init__(self, layer: Any, outputs: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.output_size, outputs)

    def forward(self, x: Tensor, timespans: Tensor | None = None, **_: Any) -> tuple[Tensor, Any]:
        """Return outputs (batch, time, output) and the state."""
        if timespans is not None:
            timespans = timespans.unsqueeze(-1).expand(-1, -1, self.layer.state_size)
        states, last = self.layer(x, timespans=timespans)
        return self.head(states), last


def _of_ncps(kind: str, task: Task) -> nn.Module:
    import ncps.torch

    return OfNcps(getattr(ncps.torch, kind)(task.inputs, UNITS), task.outputs)


def _read(layer: elegans.LTC | elegans.CTRNN, task: Task) -> nn.Module:
    return elegans.Readout(layer, task.outputs)


def _ncp(task: Task, seed: int) -> Wiring:
    return AutoNCP(NCP_UNITS, task.outputs, seed=seed).build(task.inputs)


def _random(task: Task, seed: int) -> Recipe:
    ncp = _ncp(task, seed)
    share = (ncp.synapse_count + ncp.sensory_synapse_count) / (
        NCP_UNITS * (NCP_UNITS + task.inputs)
    )
    return Random(NCP_UNITS, task.outputs, sparsity_level=1 - share, random_seed=seed)


def _cfc(task: Task, **options: Any) -> nn.Module:
    return elegans.CfC(task.inputs, UNITS, proj_size=task.outputs, **options)


MODELS: dict[str, Callable[[Task, int], nn.Module]] = {
    "LTC": lambda task, seed: _read(elegans.LTC(task.inputs, FullyConnected(UNITS, UNITS)), task),
    "CT-RNN": lambda task, seed: _read(
        elegans.CTRNN(task.inputs, FullyConnected(UNITS, UNITS)), task
    ),
    "CfC": lambda task, seed: _cfc(task),
    "CfC, mixed memory": lambda task, seed: _cfc(task, mixed_memory=True),
    "LSTM": lambda task, seed: Lstm(
        task.inputs, UNITS, task.outputs, task.train.timespans is not None
    ),
    "LTC of ncps": lambda task, seed: _of_ncps("LTC", task),
    "CfC of ncps": lambda task, seed: _of_ncps("CfC", task),
    "AutoNCP 48, answers of motor neurons": lambda task, seed: elegans.LTC(
        task.inputs, _ncp(task, seed)
    ),
    "AutoNCP 48, map of motor neurons": lambda task, seed: ReadMotors(
        elegans.LTC(task.inputs, _ncp(task, seed)), task.outputs
    ),
    "AutoNCP 48, map of all": lambda task, seed: _read(
        elegans.LTC(task.inputs, _ncp(task, seed)), task
    ),
    "random 48, answers of motor neurons": lambda task, seed: elegans.LTC(
        task.inputs, _random(task, seed)
    ),
    "random 48, map of all": lambda task, seed: _read(
        elegans.LTC(task.inputs, _random(task, seed)), task
    ),
    "full 48, answers of motor neurons": lambda task, seed: elegans.LTC(
        task.inputs, FullyConnected(NCP_UNITS, task.outputs)
    ),
}
"""Models by name, for a task and a seed of what is drawn."""


def run(name: str, model_name: str, seed: int, epochs: int) -> Cell:
    """Train one model; return the errors of test after the last epoch and of the best one."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = TASKS[name]()
    model = MODELS[model_name](task, seed)
    optimizer = torch.optim.Adam(model.parameters(), task.rate)
    order = torch.Generator().manual_seed(seed)
    best, best_validation, seconds = float("nan"), float("inf"), 0.0
    for _ in range(epochs):
        began = time.perf_counter()
        for index in torch.randperm(len(task.train), generator=order).split(task.batch):
            optimizer.zero_grad()
            task.loss(model, task.train.rows(index)).backward()
            optimizer.step()
        seconds += time.perf_counter() - began
        error = _error(task, model, task.test)
        if task.validation is not None:
            validation = _error(task, model, task.validation)
            if validation < best_validation:
                best, best_validation = error, validation
    return {
        "task": name,
        "model": model_name,
        "seed": seed,
        "epochs": epochs,
        "error": error,
        "best": best,
        "weights": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": seconds,
    }


def _error(task: Task, model: nn.Module, split: Split) -> float:
    model.eval()
    error = task.error(model, split)
    model.train()
    return error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="fewer than the task has, for long ones")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    epochs = arguments.epochs or TASKS[arguments.task]().epochs
    wanted = [
        (arguments.task, model, seed, epochs)
        for seed in range(arguments.seeds)
        for model in arguments.models
    ]
    for cell in CELLS.run(run, wanted, arguments.processes):
        print(f"{cell['error']:.4g}, {cell['best']:.4g}, {cell['seconds'] / epochs:.3g} s an epoch")


if __name__ == "__main__":
    main()
