"""Damage to saved states, for campaigns against everything that loads one.

`DOORS` says what is loaded into, from which state, and by which call; `damaged` returns a copy of a
state with one fault. A campaign of one's own takes more seeds::

    for name, (make, call) in DOORS.items():
        for seed in range(1_000):
            problem = attempt(name, seed)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

import elegans
from elegans.errors import ElegansError
from elegans.pruning import (
    CosineFraction,
    IterativeSchedule,
    MomentumGrowth,
    RandomWalk,
    SmoothedSaliency,
)
from elegans.wiring import AutoNCP

VALUES: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "none": lambda value, rng: None,
    "true": lambda value, rng: True,
    "minus one": lambda value, rng: -1,
    "a fraction": lambda value, rng: 1.5,
    "not a number": lambda value, rng: math.nan,
    "infinite": lambda value, rng: math.inf,
    "without end": lambda value, rng: 10**400,
    "text": lambda value, rng: "x",
    "an empty list": lambda value, rng: [],
    "an empty mapping": lambda value, rng: {},
    "an object": lambda value, rng: object(),
    "a number of no dimension": lambda value, rng: torch.tensor(1.0),
    "another tensor": lambda value, rng: torch.ones(*rng.integers(0, 5, rng.integers(1, 4))),
}
"""What may stand in place of anything."""

TENSORS: dict[str, Callable[[Tensor, np.random.Generator], Any]] = {
    "a list": lambda value, rng: value.tolist(),
    "an array": lambda value, rng: value.numpy(),
    "integers": lambda value, rng: value.long(),
    "complex": lambda value, rng: value.to(torch.complex64),
    "on meta": lambda value, rng: value.to("meta"),
    "sparse": lambda value, rng: value.to_sparse(),
    "negative": lambda value, rng: -value.double() - 1,
    "with a NaN": lambda value, rng: _with(value, rng, math.nan),
    "with an infinity": lambda value, rng: _with(value, rng, math.inf),
    "with a huge number": lambda value, rng: _with(value, rng, 1e300),
    "another axis": lambda value, rng: value.unsqueeze(int(rng.integers(0, value.dim() + 1))),
    "one row less": lambda value, rng: value[:-1] if value.dim() else value.new_zeros(2),
    "twice": lambda value, rng: torch.cat([value, value]) if value.dim() else value.new_zeros(2),
    "transposed": lambda value, rng: value.reshape(value.shape[::-1]),
    "huge": lambda value, rng: torch.zeros(1).expand(10**6, 10**6),
}
"""What may stand in place of a tensor."""

LISTS: dict[str, Callable[[list[Any], np.random.Generator], Any]] = {
    "one less": lambda value, rng: value[:-1],
    "one more": lambda value, rng: [*value, value[0] if value else 0],
    "a wrong one": lambda value, rng: [*value[:-1], VALUES[rng.choice([*VALUES])](value, rng)],
    "nested": lambda value, rng: [value],
}
NUMBERS: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "as text": lambda value, rng: str(value),
    "as a float": lambda value, rng: float(value) if abs(value) < 1e300 else math.inf,
    "negative": lambda value, rng: -int(value) - 1,
    "a little more": lambda value, rng: value + 0.5 if abs(value) < 1e300 else value,
}


def _with(value: Tensor, rng: np.random.Generator, number: float) -> Tensor:
    flat = value.double().flatten().clone()
    if len(flat):
        flat[int(rng.integers(len(flat)))] = number
    return flat.reshape(value.shape)


def places(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over paths to all of a state: keys of mappings, first and last of lists."""
    if path:
        yield path
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from places(value, (*path, key))
    elif isinstance(state, list):
        for index in sorted({0, len(state) - 1} if state else ()):
            yield from places(state[index], (*path, index))


def damaged(state: Any, rng: np.random.Generator) -> tuple[str, Any]:
    """Return what was done, and a copy of the state with one fault at a random place."""
    state = copy.deepcopy(state)
    every = [*places(state)]
    *path, last = every[rng.integers(len(every))]
    inside = state
    for key in path:
        inside = inside[key]
    value, faults = inside[last], dict(VALUES)
    if isinstance(value, Tensor):
        faults |= TENSORS
    elif isinstance(value, list):
        faults |= LISTS
    elif isinstance(value, int | float) and not isinstance(value, bool):
        faults |= NUMBERS
    kind = str(rng.choice([*faults, "missing", "another name", "an extra entry"]))
    if kind == "missing" or (kind == "another name" and isinstance(inside, list)):
        del inside[last]
    elif kind == "another name":
        inside[f"{last}x"] = inside.pop(last)
    elif kind == "an extra entry":
        if isinstance(inside, list):
            inside.append(value)
        else:
            inside[rng.choice(["extra", "rnn_cell.extra"])] = value
    else:
        inside[last] = faults[kind](value, rng)
    return f"{'.'.join(map(str, (*path, last)))}: {kind}", state


Door = tuple[Callable[[], tuple[Any, Any]], Callable[[Any, Any], None]]
"""Makes the object and a good state; loads a state into the object."""


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _exchanged(make: Callable[[], Any]) -> Door:
    return lambda: (make(), elegans.to_ncps(make())), elegans.load_ncps


def _built(make: Callable[[], Any]) -> Door:
    return lambda: (None, elegans.to_ncps(make())), lambda _, state: elegans.from_ncps(state)


LAYERS: dict[str, Callable[[], Any]] = {
    "LTC": lambda: elegans.LTC(3, AutoNCP(9, 2, seed=0), generator=_generator()),
    "LTC with memory": lambda: elegans.LTC(
        2, 4, mixed_memory=True, input_mapping="linear", generator=_generator()
    ),
    "CfC": lambda: elegans.CfC(2, 4, backbone_layers=2, backbone_units=5, generator=_generator()),
    "pure CfC": lambda: elegans.CfC(2, 4, mode="pure", proj_size=3, generator=_generator()),
    "wired CfC": lambda: elegans.CfC(
        2, AutoNCP(9, 2, seed=0), ncps_connections=True, mixed_memory=True, generator=_generator()
    ),
}


def _learned(pruner: Any, steps: int = 6) -> Any:
    """Return a pruner after some steps of a training."""
    x = torch.randn(4, 3, 2, generator=_generator())
    for _ in range(steps):
        pruner.optimizer.zero_grad()
        output = pruner.model(x)
        (output[0] if isinstance(output, tuple) else output).square().mean().backward()
        pruner.optimizer.step()
        pruner.step()
        pruner.report_metric(1.0)
    return pruner


def _of(kind: Callable[..., Any], model: torch.nn.Module, *args: Any, **options: Any) -> Any:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pruner = kind(model, optimizer, *args, **options)
    pruner.optimizer = optimizer
    return pruner


def _circuit() -> elegans.LTC:
    return elegans.LTC(2, AutoNCP(8, 1, seed=0), generator=_generator())


def _matrices() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))


_EXCHANGE: dict[str, Any] = {"drop_fraction": CosineFraction(0.5, 100), "every": 2}
PRUNERS: dict[str, Callable[[], Any]] = {
    "PruneRewire": lambda: _of(elegans.PruneRewire, _circuit(), CosineFraction(0.5, 100), every=1),
    "PruneRewire that walks": lambda: _of(
        elegans.PruneRewire,
        _circuit(),
        1e-3,
        every=1,
        walk=RandomWalk(),
        criterion="smoothed_saliency",
    ),
    "Pruner": lambda: _of(elegans.Pruner, _matrices(), IterativeSchedule((0.3, 0.6), patience=2)),
    "Pruner with momentum": lambda: _of(
        elegans.Pruner, _matrices(), 0.5, SmoothedSaliency(), growth=MomentumGrowth(), **_EXCHANGE
    ),
}


def _pruning(make: Callable[[], Any]) -> Door:
    def door() -> tuple[Any, Any]:
        return _learned(make()), _learned(make(), 4).state_dict()

    return door, lambda pruner, state: pruner.load_state_dict(state)


DOORS: dict[str, Door] = {
    f"{function}: {name}": door(make)
    for name, make in LAYERS.items()
    for function, door in (("from_ncps", _built), ("load_ncps", _exchanged))
} | {name: _pruning(make) for name, make in PRUNERS.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two states hold the same, to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def attempt(name: str, seed: int) -> str | None:
    """Load a damaged state; return what is wrong with the answer, None where nothing is.

    Refused with an error of the library and nothing changed, or accepted and good for another save.
    """
    make, call = DOORS[name]
    rng = np.random.default_rng(seed)
    loaded, good = make()
    fault, state = damaged(good, rng)
    before = None if loaded is None else copy.deepcopy(loaded.state_dict())
    try:
        call(loaded, state)
    except ElegansError as error:
        if loaded is not None and not same(loaded.state_dict(), before):
            return f"{fault}: refused ({error}), but something has changed"
        return None
    except Exception as error:
        return f"{fault}: {type(error).__name__}: {error}"
    return None
