"""Time and memory of a model before and after compacting, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from elegans.errors import InputError
from elegans.pruning.compact.record import table

TURN = 0.01
"""Seconds that a turn lasts about: a single run of microseconds says little."""


@dataclass(frozen=True)
class Gain:
    """Savings by compacting, each figure before and after."""

    ratio: float
    """Time before over time after: the median over pairs of runs that follow one another."""
    low: float
    """The lower quartile of the pairs."""
    high: float
    """The upper quartile of the pairs."""
    seconds_before: float
    seconds_after: float
    parameters_before: int
    parameters_after: int
    bytes_before: int
    """Of the tensors in the ``state_dict``, indices of sparse layers included."""
    bytes_after: int
    repeats: int
    training: bool
    """Whether a backward pass was measured with the forward one."""

    @property
    def memory_ratio(self) -> float:
        """Bytes before over bytes after."""
        return self.bytes_before / max(1, self.bytes_after)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self) | {"memory_ratio": self.memory_ratio}

    def __str__(self) -> str:
        what = "forward and backward" if self.training else "forward"
        rows = [
            (
                f"ms ({what})",
                f"{self.seconds_before * 1e3:.3g}",
                f"{self.seconds_after * 1e3:.3g}",
                f"{self.ratio:.2f} ({self.low:.2f} to {self.high:.2f})",
            ),
            _row("parameters", self.parameters_before, self.parameters_after),
            _row("bytes", self.bytes_before, self.bytes_after),
        ]
        return table(("", "before", "after", "before / after"), rows)


def _row(name: str, before: int, after: int) -> tuple[str, str, str, str]:
    return name, f"{before:,}", f"{after:,}", f"{before / max(1, after):.2f}"


def measure_gain(
    before: nn.Module, after: nn.Module, inputs: Any, *, repeats: int, training: bool
) -> Gain:
    """Return what `after` saves against `before`, both run on `inputs` as in evaluation."""
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise InputError(f"repeats must be an integer of at least 1, got {repeats!r}")
    with evaluating(before), evaluating(after):
        runs = _run(before, inputs, training), _run(after, inputs, training)
        pairs = paired_seconds(runs[0], runs[1], repeats)
    ratios = [first / second for first, second in pairs]
    low, middle, high = _quartiles(ratios)
    return Gain(
        middle,
        low,
        high,
        statistics.median(first for first, _ in pairs),
        statistics.median(second for _, second in pairs),
        parameter_count(before),
        parameter_count(after),
        state_bytes(before),
        state_bytes(after),
        repeats,
        training,
    )


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of all tensors in the ``state_dict``, shared ones once.

    Masks that are no part of it are not counted.
    """
    tensors = {
        value.untyped_storage().data_ptr() or id(value): value
        for value in model.state_dict(keep_vars=True).values()
        if isinstance(value, Tensor)
    }
    return sum(value.numel() * value.element_size() for value in tensors.values())


def paired_seconds(
    first: Callable[[], object], second: Callable[[], object], repeats: int
) -> list[tuple[float, float]]:
    """Return the seconds of `repeats` pairs of runs, which take turns so that drift hits both.

    A turn is as many runs as last for `TURN`, and counts as their median.
    """
    counts = [_count(run) for run in (first, second)]
    return [(_turn(first, counts[0]), _turn(second, counts[1])) for _ in range(repeats)]


def _count(run: Callable[[], object]) -> int:
    """Return how many runs a turn needs; they warm up as well."""
    run()
    return max(1, int(TURN / max(_turn(run, 1), 1e-9)))


def _turn(run: Callable[[], object], count: int) -> float:
    seconds = []
    _synchronize()
    for _ in range(count):
        start = time.perf_counter()
        run()
        _synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _synchronize() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model: a tensor is its one argument, a tuple all, a mapping those by name."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors of floating type in what a model returned."""
    leaves = pytree.tree_leaves(value)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _run(model: nn.Module, inputs: Any, training: bool) -> Callable[[], object]:
    if not training:

        def forward() -> object:
            with torch.no_grad():
                return call(model, inputs)

        return forward
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def both() -> object:
        loss = sum(value.square().sum() for value in tensors_of(call(model, inputs)))
        # Nothing is left behind in the gradients of the parameters.
        return torch.autograd.grad(loss, trained, allow_unused=True)  # type: ignore[arg-type]

    return both


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Let a model be as in evaluation for a while, and then every module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
