"""The kernels as a differentiable PyTorch function."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from elegans.solvers.fused.lanes import forward as lanes_forward
from elegans.solvers.fused.lanes_backward import backward as lanes_backward

NARROW, WIDE = 16, 32
"""Samples of a block. The width must not depend on the number of threads, or sums would."""

MOST_BYTES_TO_KEEP = 1 << 30
"""Above this, the states inside a step are computed again in the backward pass, not kept."""

Reference = Callable[..., Tensor]

# One of numba's threading layers does not bear calls from several threads at a time; the kernels
# are parallel inside, so little is lost by taking turns.
_TURN = threading.Lock()


_home: int | None = None  # the process whose threads run the kernels


def is_usable_here() -> bool:
    """Whether kernels may run in this process.

    The threads of the first call do not follow into a forked child; OpenMP would end the child.
    """
    return _home in (None, os.getpid())


@dataclass(frozen=True)
class Plan:
    """What a kernel needs to know besides numbers that have gradients.

    Parameters
    ----------
    source, sensory_source
        Presynaptic indices of the synapses sorted by target, int32, shape (synapse,).
    start, sensory_start
        Where the synapses of each target begin, int32, shape (neuron + 1,).
    unfolds
        Solver steps in each element of the sequence.
    exponential
        Whether steps are exponential, or else semi-implicit.
    """

    source: Tensor
    start: Tensor
    sensory_source: Tensor
    sensory_start: Tensor
    unfolds: int
    exponential: bool


def sequence(
    x: Tensor,
    initial: Tensor,
    elapsed: Tensor,
    value: Tensor,
    sensory_value: Tensor,
    neuron: Tensor,
    plan: Plan,
    reference: Reference,
) -> Tensor:
    """Run a liquid circuit over sequences and return its states, (batch, time, neuron).

    Parameters
    ----------
    x
        Mapped inputs, (batch, time, input).
    initial
        (batch, neuron).
    elapsed
        (batch, time), >= 0.
    value, sensory_value
        Rows weight, sigma, mu, erev of the synapses in the order of `plan`, (4, synapse).
    neuron
        Rows capacitance, leak conductance and leak drive, (3, neuron).
    plan
        Connections and settings.
    reference
        Computes the same from the first six arguments in plain PyTorch; double backward uses it.
    """
    states: Tensor = _Sequence.apply(
        x, initial, elapsed, value, sensory_value, neuron, plan, reference
    )
    return states


class Workspace:
    """Buffers that are used again: fresh pages from the system cost more than small kernels do."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._free: dict[tuple[Any, ...], list[Any]] = {}
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Return an array of arbitrary content."""
        with self._lock:
            waiting = self._free.get((shape, kind))
            if waiting:
                array = waiting.pop()
                self._held -= array.nbytes
                return array
        return np.empty(shape, kind)

    def give_back(self, *arrays: Any) -> None:
        """Accept arrays that nobody uses any more; what exceeds the limit is let go."""
        with self._lock:
            for array in arrays:
                if self._held + array.nbytes > self._most:
                    self._free.clear()
                    self._held = 0
                if array.nbytes <= self._most:
                    self._free.setdefault((array.shape, array.dtype), []).append(array)
                    self._held += array.nbytes


_WORKSPACE = Workspace(most_bytes=1 << 28)


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, plan, reference = arguments
        x, initial = tensors[:2]
        batch, time, _ = x.shape
        neurons, width = initial.shape[1], _width(batch)
        blocks = -(-batch // width)
        steps = time * plan.unfolds
        needed = 2 * blocks * width * steps * neurons * x.element_size()
        if not any(ctx.needs_input_grad) or needed > MOST_BYTES_TO_KEEP:
            steps = 0
        kind = _numpy(x).dtype
        states = np.empty((batch, time, neurons), kind)
        path = _WORKSPACE.take((blocks, steps + 1, neurons, width), kind)
        auxes = _WORKSPACE.take((blocks, steps, neurons, width), kind)
        if batch and time:
            _run(lanes_forward, *_given(tensors, plan, width), states, path, auxes)
        result = torch.from_numpy(states)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*tensors, result)
            ctx.plan, ctx.reference, ctx.path, ctx.auxes = plan, reference, path, auxes
        else:
            _WORKSPACE.give_back(path, auxes)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        *tensors, states = ctx.saved_tensors
        (gradient,) = gradients
        again = torch.is_grad_enabled()  # somebody wants to differentiate the gradient
        array = _array_or_none(gradient)
        if again or array is None:
            wanted = [t for t, w in zip(tensors, ctx.needs_input_grad, strict=False) if w]
            with torch.enable_grad():
                states = ctx.reference(*tensors)
            found = iter(
                torch.autograd.grad(states, wanted, gradient, create_graph=again, allow_unused=True)
            )
            each = [next(found) if w else None for w in ctx.needs_input_grad[: len(tensors)]]
            return (*each, None, None)
        width = _width(len(states))
        blocks = ctx.path.shape[0]
        whole = [np.zeros(t.shape, ctx.path.dtype) for t in tensors[:3]]
        by_block = [np.zeros((blocks, *t.shape), ctx.path.dtype) for t in tensors[3:]]
        if states.numel():
            _run(
                lanes_backward,
                array,
                *_given(tensors, ctx.plan, width),
                _numpy(states),
                ctx.path,
                ctx.auxes,
                ctx.needs_input_grad[2],
                *whole,
                *by_block,
            )
        # Should the graph be walked again, the kernel takes the steps again.
        kept = ctx.path, ctx.auxes
        ctx.path, ctx.auxes = (np.empty_like(a[:, :n]) for a, n in zip(kept, (1, 0), strict=True))
        _WORKSPACE.give_back(*kept)
        results = (*whole, *(part.sum(axis=0) for part in by_block))
        each = [
            torch.from_numpy(array) if wanted else None
            for array, wanted in zip(results, ctx.needs_input_grad, strict=False)
        ]
        return (*each, None, None)


_STARTED: set[Any] = set()


@contextmanager
def _patience(variant: Any) -> Iterator[None]:
    """Say what takes so long when a kernel has to be compiled first."""
    timer = None
    if variant not in _STARTED:
        text = "elegans: compiling kernels, once; the next start will find them on disk ...\n"
        timer = threading.Timer(1.0, lambda: sys.stderr.write(text))
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        _STARTED.add(variant)
        if timer is not None:
            timer.cancel()


def _array_or_none(gradient: Tensor) -> Any:
    """Return the gradient as an array; None if it is a batch of gradients and has none."""
    try:
        return _numpy(gradient)
    except RuntimeError:  # PyTorch has no question that all its ways of batching answer
        return None


def _width(batch: int) -> int:
    return NARROW if batch < 2 * WIDE else WIDE


def _given(tensors: list[Tensor], plan: Plan, width: int) -> list[Any]:
    """Return the arguments that forward and backward kernels share."""
    x, initial, elapsed, value, sensory_value, neuron = (_numpy(t) for t in tensors)
    recurrent = [_numpy(plan.source), _numpy(plan.start), value]
    sensory = [_numpy(plan.sensory_source), _numpy(plan.sensory_start), sensory_value]
    settings = [neuron, plan.unfolds, plan.exponential, (0,) * width]
    return [x, initial, elapsed, *recurrent, *sensory, *settings]


def _numpy(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def _run(kernel: Any, *arguments: Any) -> None:
    global _home
    with _TURN, _patience((kernel, arguments[0].dtype)):
        _home = os.getpid()
        threads = min(torch.get_num_threads(), int(vars(numba.config)["NUMBA_NUM_THREADS"]))
        if numba.get_num_threads() != threads:
            numba.set_num_threads(threads)
        kernel(*arguments)
