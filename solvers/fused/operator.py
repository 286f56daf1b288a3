"""Liquid circuits over whole sequences as one differentiable PyTorch operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.solvers.circuit import Circuit
from elegans.solvers.fused.cpu import lanes, lanes_backward, parameters, rows, rows_backward
from elegans.solvers.fused.cpu.running import Workspace, run
from elegans.solvers.fused.order import ByTarget, by_target

MOST_BYTES_TO_KEEP = 1 << 30
"""Above this, the states inside a step are computed again in the backward pass, not kept."""

MOST_BYTES_OF_PARTS = 1 << 28
"""Above this, blocks of samples share the array that their gradients are summed in."""

MOST_BYTES_OF_SUMS = 1 << 20
"""Above this, gradients of synapses are summed over samples at once: the cache would not hold them.

Adding up the lanes of a vector takes longer than adding a vector to memory that is near.
"""

FEW = 4
"""Up to so many samples, synapses are the vector axis."""

NARROW, WIDE = 16, 32
"""Samples of a block. The width must not depend on the number of threads, or sums would."""

POSITIVITY = {
    "identity": parameters.IDENTITY,
    "softplus": parameters.SOFTPLUS,
    "clip": parameters.CLIP,
}

Reference = Callable[..., tuple[Tensor, Tensor]]


def sequence(
    x: Tensor,
    initial: Tensor,
    elapsed: Tensor,
    circuit: Circuit,
    *,
    unfolds: int,
    exponential: bool,
    reference: Reference,
) -> tuple[Tensor, Tensor]:
    """Run a liquid circuit over sequences.

    Returns its outputs, (batch, time, output), and its states, (batch, time, neuron).

    Parameters
    ----------
    x
        Inputs, (batch, time, input).
    initial
        (batch, neuron).
    elapsed
        (batch, time), >= 0.
    circuit
        Connections and parameters.
    unfolds
        Solver steps in each element of the sequence.
    exponential
        Whether steps are exponential, or else semi-implicit.
    reference
        Computes the same in plain PyTorch from (x, initial, elapsed, circuit); second derivatives
        use it.
    """
    settings = Settings(
        circuit.outputs,
        unfolds,
        exponential,
        POSITIVITY[circuit.positivity],
        circuit.floor,
        circuit.epsilon,
    )
    results: tuple[Tensor, Tensor] = _Sequence.apply(
        x, initial, elapsed, *circuit.parameters, *circuit.connections, settings, circuit, reference
    )
    return results


@dataclass(frozen=True, slots=True)
class Settings:
    """What kernels need to know besides tensors."""

    outputs: int
    unfolds: int
    exponential: bool
    positivity: int
    floor: float
    epsilon: float


_WORKSPACE = Workspace(most_bytes=1 << 28)
_NOTHING = {kind: np.empty(0, kind) for kind in (np.int64, np.float32, np.float64)}


class _Problem:
    """The arrays of one call: values of the equation, in the order that kernels read."""

    def __init__(self, tensors: Any, connections: Any, settings: Settings) -> None:
        x, initial, elapsed, scale, shift, out_scale, out_shift, *raw = tensors
        self.settings = settings
        self.x, self.initial, self.elapsed = numpy_of(x), numpy_of(initial), numpy_of(elapsed)
        self.kind = self.x.dtype
        batch, _, inputs = self.x.shape
        neurons = self.initial.shape[1]
        self.few = batch <= FEW
        self.width = 1 if self.few else NARROW if batch < 2 * WIDE else WIDE
        self.blocks = -(-batch // self.width)
        self.mapping = np.empty((2, inputs + settings.outputs), self.kind)
        self.mapping[0, :inputs] = 1 if scale is None else numpy_of(scale)
        self.mapping[1, :inputs] = 0 if shift is None else numpy_of(shift)
        self.mapping[0, inputs:] = 1 if out_scale is None else numpy_of(out_scale)
        self.mapping[1, inputs:] = 0 if out_shift is None else numpy_of(out_shift)

        free = tuple(numpy_of(t) for t in raw)
        self.raw = free[:4], free[4:8]
        self.neuron_raw = free[8:]
        self.orders, self.polarities, into, self.synapses = [], [], [], []
        for own, ends in zip(self.raw, (connections[:3], connections[3:]), strict=True):
            source, target, polarity = ends
            order = by_target(source, target, neurons)
            self.orders.append(_NOTHING[np.int64] if order.order is None else order.order.numpy())
            self.polarities.append(_NOTHING[np.int64] if polarity is None else numpy_of(polarity))
            into.append(self._room(own, order, polarity))
            chosen = tuple(
                given if len(mine) == 0 else mine for mine, given in zip(into[-1], own, strict=True)
            )
            self.synapses.append((order.source.numpy(), order.start.numpy(), *chosen))
        self.neuron = np.empty((3, neurons), self.kind)
        run(
            parameters.values,
            self.kind,
            self.raw[0], self.polarities[0], self.orders[0], into[0],
            self.raw[1], self.polarities[1], self.orders[1], into[1],
            self.neuron_raw, settings.positivity, settings.floor, settings.epsilon, self.neuron,
        )  # fmt: skip

    def _room(self, raw: Any, order: ByTarget, polarity: Any) -> tuple[Any, ...]:
        """Return arrays for the values that are not the parameters themselves."""
        sorted_ = order.order is not None
        own = (
            sorted_ or self.settings.positivity,
            sorted_,
            sorted_,
            sorted_ or polarity is not None,
        )
        return tuple(
            np.empty(len(raw[0]), self.kind) if needed else _NOTHING[self.kind.type]
            for needed in own
        )

    def path_shapes(self, steps: int, places: int) -> list[tuple[int, ...]]:
        """Return the shapes of the arrays that `steps` solver steps leave to the backward pass."""
        block = (self.initial.shape[1], *(() if self.few else (self.width,)))
        return [(places, steps + 1, *block), (places, steps, *block)]

    @property
    def steps(self) -> int:
        """Number of solver steps."""
        return int(self.x.shape[1]) * self.settings.unfolds

    def forward(self, output: Any, states: Any, path: Any, auxes: Any) -> None:
        """Fill output and states, and what the backward pass reads."""
        kernel = rows.forward if self.few else lanes.forward
        run(kernel, (self.kind, self.width), *self._given(), output, states, path, auxes)

    def _given(self) -> list[Any]:
        """Return the arguments that forward and backward kernels share."""
        given = [self.x, self.initial, self.elapsed, self.mapping, *self.synapses, self.neuron]
        given += [self.settings.unfolds, self.settings.exponential]
        return given if self.few else [*given, (0,) * self.width]

    def backward(
        self, from_output: Any, from_states: Any, states: Any, kept: Any, wants_h: bool
    ) -> list[Any]:
        """Return the gradients of all tensors; `kept` is what `forward` has left, or None."""
        counts = [len(synapses[0]) for synapses in self.synapses]
        limit = MOST_BYTES_OF_PARTS // max(1, 4 * sum(counts) * self.kind.itemsize)
        parts = 1 if self.few else max(1, min(self.blocks, limit))
        room = 4 * sum(counts) * len(lanes_backward.SUMS) * self.kind.itemsize
        wide = not self.few and room <= MOST_BYTES_OF_SUMS
        each = 4 * len(lanes_backward.SUMS) if wide else 4
        found = [
            _WORKSPACE.take((parts, *shape), self.kind)
            for shape in (self.mapping.shape, *((each * n,) for n in counts), self.neuron.shape)
        ]
        whole = [np.empty_like(a) for a in (self.x, self.initial, self.elapsed)]
        arrays: list[Any] = found
        if self.few:
            arrays = [
                found[0][0],
                *(f.reshape(4, n) for f, n in zip(found[1:3], counts, strict=True)),
                found[3][0],
            ]
        path = kept or [
            _WORKSPACE.take(shape, self.kind)
            for shape in self.path_shapes(self.settings.unfolds, parts)
        ]
        kernel = rows_backward.backward if self.few else lanes_backward.backward
        run(
            kernel,
            (self.kind, self.width),
            from_output,
            from_states,
            *self._given(),
            states,
            *path,
            kept is not None,
            wants_h,
            *whole,
            *arrays,
        )
        into = [tuple(np.empty_like(a) for a in raw) for raw in (*self.raw, self.neuron_raw)]
        synapses = []
        for k in range(2):
            synapses += [
                found[1 + k], self.synapses[k][2:], self.raw[k], self.polarities[k],
                self.orders[k], into[k],
            ]  # fmt: skip
        run(
            parameters.gradients,
            self.kind,
            *synapses, found[3], self.neuron_raw, not self.few, self.settings.positivity,
            self.settings.floor, into[2],
        )  # fmt: skip
        mapping, inputs = found[0].sum(axis=0), self.x.shape[2]
        _WORKSPACE.give_back(*found, *path)
        mappings = [*mapping[:, :inputs], *mapping[:, inputs:]]
        return [*whole, *mappings, *into[0], *into[1], *into[2]]


COUNT = 18
"""Tensors that have gradients."""


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        tensors, connections = arguments[:COUNT], arguments[COUNT : COUNT + 6]
        settings, circuit, reference = arguments[COUNT + 6 :]
        problem = _Problem(tensors, connections, settings)
        batch, time, _ = problem.x.shape
        wanted = any(ctx.needs_input_grad)
        shapes = problem.path_shapes(problem.steps, problem.blocks)
        needed = sum(math.prod(shape) for shape in shapes) * problem.kind.itemsize
        keep = wanted and needed <= MOST_BYTES_TO_KEEP
        if not keep:
            shapes = problem.path_shapes(1, problem.blocks)
        states = np.empty((batch, time, problem.initial.shape[1]), problem.kind)
        kept = [_WORKSPACE.take(shape, problem.kind) for shape in shapes]
        output = np.empty((batch, time, settings.outputs), problem.kind)
        problem.forward(output, states, *kept)
        results = torch.from_numpy(output), torch.from_numpy(states)
        if wanted:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*tensors, *connections, results[1])
            ctx.problem, ctx.circuit, ctx.reference = problem, circuit, reference
            ctx.kept = kept if keep else None
        if not (wanted and keep):
            _WORKSPACE.give_back(*kept)
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        saved = ctx.saved_tensors
        tensors, connections, states = saved[:COUNT], saved[COUNT : COUNT + 6], saved[-1]
        again = torch.is_grad_enabled()  # somebody wants to differentiate the gradient
        arrays = None if again else _arrays_or_none(gradients, ctx.problem.kind)
        if arrays is None:
            each = _by_reference(ctx, tensors, connections, gradients, again)
        else:
            # Should the graph be walked again, the kernel takes the steps again.
            kept, ctx.kept = ctx.kept, None
            results = ctx.problem.backward(*arrays, numpy_of(states), kept, ctx.needs_input_grad[2])
            each = [
                torch.from_numpy(array) if wanted else None
                for array, wanted in zip(results, ctx.needs_input_grad, strict=False)
            ]
        return (*each, *([None] * 9))


def _by_reference(
    ctx: Any, tensors: Any, connections: Any, gradients: Any, again: bool
) -> list[Any]:
    """Return the gradients, differentiable themselves, through plain PyTorch."""
    circuit = ctx.circuit.holding(tensors[3:], connections)
    flags = ctx.needs_input_grad[:COUNT]
    wanted = [t for t, w in zip(tensors, flags, strict=True) if w]
    with torch.enable_grad():
        results = ctx.reference(*tensors[:3], circuit)
    given = [(r, g) for r, g in zip(results, gradients, strict=True) if g is not None]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in given],
            wanted,
            [g for _, g in given],
            create_graph=again,
            allow_unused=True,
        )
    )
    return [next(found) if w else None for w in flags]


def _arrays_or_none(gradients: Any, kind: Any) -> Any:
    """Return gradients as arrays; None if they are batches of gradients and have none."""
    nothing = np.empty((0, 0, 0), kind)
    try:
        return [nothing if g is None else numpy_of(g) for g in gradients]
    except RuntimeError:  # PyTorch has no question that all its ways of batching answer
        return None


def numpy_of(tensor: Tensor) -> Any:
    """Return the contiguous array of a tensor on the CPU."""
    return tensor.detach().contiguous().numpy()
