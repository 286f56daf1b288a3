"""Models on the tasks of the papers: liquid circuits, what they are compared with, what reads them.

Run ``python benchmarks/accuracy/models.py half_cheetah --seeds 5``; runs that
``benchmarks/results/models.json`` holds already are not repeated. All models have a linear readout
of all their units unless the name says otherwise; on Walker2D their authors' settings are taken.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
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


@dataclass(frozen=True)
class Training:
    """How a model is trained: units, batch, Adam's rate and its decay an epoch, clipping."""

    units: int = UNITS
    batch: int | None = None
    rate: float | None = None
    decay: float = 1.0
    clip: float | None = None
    """Largest norm of the gradient of each parameter, as Keras clips."""


_LIKE_LTC = Training(128, 128, 0.05, 0.95, 10.0)
_LIKE_CFC = Training(64, 256, 0.02, 0.95, 1.0)
_LIKE_MIXED = Training(128, 128, 0.005, 0.95, 10.0)
AS_PUBLISHED = {
    ("walker2d", "LTC"): _LIKE_LTC,
    ("walker2d", "LTC, clipped, signs free"): _LIKE_LTC,
    ("walker2d", "LTC, as its authors begin"): _LIKE_LTC,
    ("walker2d", "LTC of ncps"): _LIKE_LTC,
    ("walker2d", "CfC"): _LIKE_CFC,
    ("walker2d", "CfC of ncps"): _LIKE_CFC,
    ("walker2d", "CfC, mixed memory"): _LIKE_MIXED,
    ("walker2d", "LSTM"): _LIKE_MIXED,  # theirs is not said
}
"""Settings of github.com/raminmh/CfC, train_walker.py."""


def training_of(task: str, model: str) -> Training:
    """Return how a model is trained on a task; by default as the task says."""
    return AS_PUBLISHED.get((task, model), Training())


class Graphed:
    """A model whose passes over a whole batch are one graph of the GPU, with fewer launches."""

    def __init__(self, model: nn.Module, like: Split) -> None:
        given = tuple(t for t in (like.x, like.timespans) if t is not None)
        self.model, self.shape = model, like.x.shape
        self.graph = torch.cuda.make_graphed_callables(
            Answers(model), given, allow_unused_input=True
        )

    def __call__(self, x: Tensor, timespans: Tensor | None = None, **more: Any) -> Any:
        """Return outputs (batch, time, output), and something."""
        if x.shape != self.shape:
            return self.model(x, timespans=timespans, **more)
        return self.graph(*(t for t in (x, timespans) if t is not None)), None


class Answers(nn.Module):
    """A model that returns its outputs alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, timespans: Tensor | None = None) -> Tensor:
        """Return outputs (batch, time, output)."""
        output: Tensor = self.model(x, timespans=timespans)[0]
        return output


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


def _of_ncps(kind: str, task: Task, units: int) -> nn.Module:
    import ncps.torch

    unfolds = {"ode_unfolds": _unfolds(task)} if kind == "LTC" else {}
    return OfNcps(getattr(ncps.torch, kind)(task.inputs, units, **unfolds), task.outputs)


def _unfolds(task: Task) -> int:
    """Return the solver steps between two inputs; their LTC takes 3 on Walker2D."""
    return 6 if task.train.timespans is None else 3


def _ltc(task: Task, units: int) -> nn.Module:
    wiring = FullyConnected(units, units)
    return _read(elegans.LTC(task.inputs, wiring, ode_unfolds=_unfolds(task)), task)


def _as_its_authors_begin(task: Task, seed: int, units: int) -> nn.Module:
    """Return an LTC as theirs: as many signs of either kind, and a readout drawn as Keras does."""
    drawn = np.random.default_rng(seed)
    recurrent, sensory = (
        drawn.choice([-1, 1], size=(sources, units)) for sources in (units, task.inputs)
    )
    model = _clipped(task, Wiring.from_adjacency(recurrent, sensory, units))
    nn.init.xavier_uniform_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def _clipped(task: Task, wiring: Wiring | Recipe) -> elegans.Readout:
    """Return an LTC whose conductances are clipped and whose reversal potentials are free."""
    layer = elegans.LTC(
        task.inputs,
        wiring,
        ode_unfolds=_unfolds(task),
        implicit_param_constraints=False,
        fixed_polarity=False,
        initialization="ncps",
    )
    return elegans.Readout(layer, task.outputs)


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


def _cfc(task: Task, units: int, mixed: bool = False) -> nn.Module:
    options: dict[str, Any] = {}
    if task.train.timespans is not None:  # the authors' choice for Walker2D
        options = {
            "backbone_units": 128 if mixed else 256,
            "backbone_layers": 2 if mixed else 1,
            "backbone_dropout": 0.2 if mixed else 0.1,
            "activation": "lecun_tanh" if mixed else "silu",
        }
    return elegans.CfC(task.inputs, units, task.outputs, mixed_memory=mixed, **options)


MODELS: dict[str, Callable[[Task, int, int], nn.Module]] = {
    "LTC": lambda task, seed, units: _ltc(task, units),
    "LTC, clipped, signs free": lambda task, seed, units: _clipped(
        task, FullyConnected(units, units)
    ),
    "LTC, as its authors begin": _as_its_authors_begin,
    "CT-RNN": lambda task, seed, units: _read(
        elegans.CTRNN(task.inputs, FullyConnected(units, units)), task
    ),
    "CfC": lambda task, seed, units: _cfc(task, units),
    "CfC, mixed memory": lambda task, seed, units: _cfc(task, units, mixed=True),
    "LSTM": lambda task, seed, units: Lstm(
        task.inputs, units, task.outputs, task.train.timespans is not None
    ),
    "LTC of ncps": lambda task, seed, units: _of_ncps("LTC", task, units),
    "CfC of ncps": lambda task, seed, units: _of_ncps("CfC", task, units),
    "AutoNCP 48, answers of motor neurons": lambda task, seed, units: elegans.LTC(
        task.inputs, _ncp(task, seed)
    ),
    "AutoNCP 48, map of motor neurons": lambda task, seed, units: ReadMotors(
        elegans.LTC(task.inputs, _ncp(task, seed)), task.outputs
    ),
    "AutoNCP 48, map of all": lambda task, seed, units: _read(
        elegans.LTC(task.inputs, _ncp(task, seed)), task
    ),
    "random 48, answers of motor neurons": lambda task, seed, units: elegans.LTC(
        task.inputs, _random(task, seed)
    ),
    "random 48, map of all": lambda task, seed, units: _read(
        elegans.LTC(task.inputs, _random(task, seed)), task
    ),
    "full 48, answers of motor neurons": lambda task, seed, units: elegans.LTC(
        task.inputs, FullyConnected(NCP_UNITS, task.outputs)
    ),
}
"""Models by name, for a task, a seed of what is drawn, and a number of units."""


def run(name: str, model_name: str, seed: int, epochs: int) -> Cell:
    """Train one model; return the errors of test after the last epoch and of the best one."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task, how = TASKS[name](), training_of(name, model_name)
    model = MODELS[model_name](task, seed, how.units).to(device)
    train, test = task.train.to(device), task.test.to(device)
    optimizer = torch.optim.Adam(model.parameters(), how.rate or task.rate)
    falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, how.decay)
    order = torch.Generator().manual_seed(seed)
    best, best_validation, seconds = float("nan"), float("inf"), []
    batch = how.batch or task.batch
    first = train.rows(torch.arange(len(train))[:batch])
    task.loss(model, first).backward()  # compiles
    graphed = Graphed(model, first) if device == "cuda" else model
    for _ in range(epochs):
        began = time.perf_counter()
        for index in torch.randperm(len(train), generator=order).split(batch):
            optimizer.zero_grad()
            task.loss(graphed, train.rows(index)).backward()
            if how.clip is not None:
                for parameter in model.parameters():
                    nn.utils.clip_grad_norm_(parameter, how.clip)
            optimizer.step()
            if isinstance(model, elegans.Readout):
                model.layer.apply_weight_constraints()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        error = _error(task, model, test)
        falling.step()
        if task.validation is not None:
            validation = _error(task, model, task.validation.to(device))
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
        "seconds": epochs * statistics.median(seconds),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
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
