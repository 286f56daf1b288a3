"""CfCs on the CPU: from tensors to the arrays of kernels and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.capacity import require_bytes
from elegans.solvers.fused.cpu import closed_dense, closed_wired
from elegans.solvers.fused.cpu.closed_form import KEPT, PURE
from elegans.solvers.fused.cpu.problem import MOST_BYTES_TO_TAKE_UNASKED, numpy_of
from elegans.solvers.fused.cpu.running import Workspace, run
from elegans.solvers.fused.order import by_target
from elegans.solvers.fused.settings import ClosedSettings

FEW = 4
"""Up to so many samples, a block is no wider."""

WIDTH = 16
"""Samples of a block. The width must not depend on the number of threads, or sums would."""

COMMON = 5
"""Tensors that each problem has: inputs, initial state, elapsed times, rate, asymptote."""

_WORKSPACE = Workspace(most_bytes=1 << 28)


class ClosedProblem(ABC):
    """The arrays of one call.

    `tensors` are inputs (batch, time, input), initial state (batch, neuron), elapsed times (batch,
    time), rate and asymptote (neuron,), or without elements unless the mode is ``"pure"``, and the
    weights that a subclass speaks of.
    """

    def __init__(self, tensors: Any, settings: ClosedSettings) -> None:
        x, initial, elapsed, rate, asymptote = tensors[:COMMON]
        self.settings = settings
        self.is_pure = settings.mode == PURE
        self.x, self.initial, self.elapsed = numpy_of(x), numpy_of(initial), numpy_of(elapsed)
        self.kind = self.x.dtype
        self.batch, self.time, self.inputs = self.x.shape
        self.neurons = self.initial.shape[1]
        self.width = FEW if self.batch <= FEW else WIDTH
        self.blocks = -(-self.batch // self.width)
        self.lanes = (0,) * self.width
        self.neuron = np.zeros((2, self.neurons), self.kind)
        if self.is_pure:
            self.neuron[0], self.neuron[1] = numpy_of(rate), numpy_of(asymptote)

    @abstractmethod
    def shapes(self, keep: bool) -> list[tuple[int, ...]]:
        """Return the shapes of what `forward` writes for `backward`, or works in."""

    @abstractmethod
    def forward(self, states: Any, kept: list[Any]) -> None:
        """Fill the states (batch, time, neuron) and `kept`."""

    @abstractmethod
    def backward(self, from_states: Any, kept: list[Any], wants_x: bool, into: Any) -> Any:
        """Fill the gradients `into` of x, initial and elapsed; return those of `back`'s rest."""

    def run(self, keep: bool) -> tuple[Tensor, Any]:
        """Return the states and, if `keep`, what `back` needs."""
        shapes = self.shapes(keep)
        numbers = sum(math.prod(shape) for shape in shapes)
        needed = (numbers + self.batch * self.time * self.neurons) * self.kind.itemsize
        if needed > MOST_BYTES_TO_TAKE_UNASKED:
            require_bytes(
                needed,
                f"a batch of {self.batch} sequences of {self.time} steps through {self.neurons} "
                "neurons",
                "take fewer sequences or shorter ones at a time",
            )
        kept = [_WORKSPACE.take(shape, self.kind) for shape in shapes]
        states = self._run(kept)
        if not keep:
            _WORKSPACE.give_back(*kept)
        return states, kept if keep else None

    def run_into(self, room: Tensor) -> Tensor:
        """Return the states; what `back` needs is written to `room`, of `room_for` elements."""
        kept = self.kept_in(room)
        # Results of an operator are not left to chance.
        room[sum(array.size for array in kept) :] = 0
        return self._run(kept)

    def kept_in(self, room: Tensor) -> list[Any]:
        """Return what `run_into` has written to `room`."""
        kept, begin = [], 0
        for shape in self.shapes(True):
            end = begin + math.prod(shape)
            kept.append(room.numpy()[begin:end].reshape(shape))
            begin = end
        return kept

    def give_back(self, kept: Any) -> None:
        """Accept what `run` has returned, when nobody needs it any more."""
        if kept is not None:
            _WORKSPACE.give_back(*kept)

    def _run(self, kept: list[Any]) -> Tensor:
        states = np.empty((self.batch, self.time, self.neurons), self.kind)
        self.forward(states, kept)
        return torch.from_numpy(states)

    def back(self, from_states: Tensor, kept: Any, wants_x: bool) -> list[Tensor]:
        """Return the gradients of all tensors; `kept` is what `run` has returned, or None."""
        own = kept
        if own is None:
            _, own = self.run(True)
        into = [np.empty_like(a) for a in (self.x, self.initial, self.elapsed)]
        to_rate, to_asymptote, weights = self.backward(numpy_of(from_states), own, wants_x, into)
        if kept is None:
            self.give_back(own)
        neuron = (to_rate, to_asymptote) if self.is_pure else (to_rate[:0], to_asymptote[:0])
        return [torch.from_numpy(np.ascontiguousarray(a)) for a in (*into, *neuron, *weights)]


class WiredProblem(ClosedProblem):
    """A CfC along synapses.

    The weights are the bias (map, neuron), recurrent and sensory weights (map, synapse) and, where
    gates have synapses of their own, those. `connections` are source and target of each set, then
    the number of neurons of each layer, the last to be updated first.
    """

    def __init__(self, tensors: Any, connections: Any, settings: ClosedSettings) -> None:
        super().__init__(tensors, settings)
        bias, *weights = tensors[COMMON:]
        self.bias = numpy_of(bias)
        *ends, layers = connections
        layer_of = np.repeat(np.arange(len(layers))[::-1], numpy_of(layers))
        self.order = np.argsort(layer_of, kind="stable").astype(np.int32)
        self.sets, self.slots, self.counts = [], [], [tuple(w.shape) for w in weights]
        for k, weight in enumerate(weights):
            sorted_ = by_target(ends[2 * k], ends[2 * k + 1], self.neurons)
            start, source = sorted_.start.numpy(), sorted_.source.numpy()
            reads = source
            if k % 2 == 0:
                target = np.repeat(np.arange(self.neurons), np.diff(start))
                reads = source + np.int32(self.inputs)
                is_new = layer_of[source] < layer_of[target]
                reads = reads + is_new.astype(np.int32) * np.int32(self.inputs + self.neurons)
            values = numpy_of(weight)
            slots = None if sorted_.order is None else sorted_.order.numpy()
            if slots is not None:
                values = np.ascontiguousarray(values[:, slots])
            self.slots.append(slots)
            self.sets.append((reads, start, values))
        self.shares = len(weights) == 2

    def _parts(self, arrays: list[Any]) -> list[Any]:
        """Return the arrays (map, synapse) of heads and gates, flat, with two maps each."""
        heads = [np.ravel(a[:2]) for a in arrays[:2]]
        if self.is_pure:
            return heads * 2
        gates = [a[2:] for a in arrays] if self.shares else arrays[2:]
        return heads + [np.ravel(a) for a in gates]

    def _synapses(self) -> list[Any]:
        """Return the synapses of heads and gates as kernels read them."""
        ends = self.sets * 2 if self.shares else self.sets
        flat = self._parts([values for *_, values in self.sets])
        return [(reads, start, f) for (reads, start, _), f in zip(ends, flat, strict=True)]

    def _given(self) -> Any:
        arrays = self.x, self.initial, self.elapsed, self.bias, *self._synapses()
        return (*arrays, self.neuron, self.order, self.settings.mode)

    def shapes(self, keep: bool) -> list[tuple[int, ...]]:
        """See `ClosedProblem.shapes`: tape and kept."""
        steps = self.time if keep else 1
        rows = self.inputs + self.neurons
        return [
            (self.blocks, steps + 1, rows, self.width),
            (self.blocks, steps, KEPT, self.neurons, self.width),
        ]

    def forward(self, states: Any, kept: list[Any]) -> None:
        """See `ClosedProblem.forward`."""
        run(closed_wired.forward, self._given(), self.lanes, states, *kept)

    def backward(self, from_states: Any, kept: list[Any], wants_x: bool, into: Any) -> Any:
        """See `ClosedProblem.backward`."""
        tape, aside = kept
        back = _WORKSPACE.take(aside.shape, self.kind)
        given = self._given()
        run(
            closed_wired.backward,
            from_states, given, self.lanes, aside, back, wants_x, tuple(into),
        )  # fmt: skip
        to_neuron = np.empty((KEPT, self.neurons), self.kind)
        arrays = [np.empty(shape, self.kind) for shape in self.counts]
        run(
            closed_wired.weights_back,
            (*given[4:8], self.settings.mode), self.lanes, tape, back,
            (to_neuron, *self._parts(arrays)),
        )  # fmt: skip
        _WORKSPACE.give_back(back)
        for k, slots in enumerate(self.slots):
            if slots is not None:
                unsorted = np.empty_like(arrays[k])
                unsorted[:, slots] = arrays[k]
                arrays[k] = unsorted
        return to_neuron[2], to_neuron[1], [to_neuron[: len(self.bias)], *arrays]


class DenseProblem(ClosedProblem):
    """A CfC behind a backbone.

    The weights are weight (output, input) and bias (output,) of each layer; the first reads inputs
    and state, the last has the maps.
    """

    def __init__(self, tensors: Any, settings: ClosedSettings) -> None:
        super().__init__(tensors, settings)
        self.layers = [numpy_of(t) for t in tensors[COMMON:]]
        weights = self.layers[::2]
        self.sizes = np.array([self.inputs + self.neurons, *(len(w) for w in weights)])
        self.biases = np.concatenate(self.layers[1::2])

    def _given(self, weights: list[Any]) -> Any:
        flat = np.concatenate([w.ravel() for w in weights])
        arrays = self.x, self.initial, self.elapsed, flat, self.biases, self.sizes
        form = self.settings.mode, self.settings.activation
        return (*arrays, self.neuron, form, (self.settings.height, self.settings.steepness))

    def shapes(self, keep: bool) -> list[tuple[int, ...]]:
        """See `ClosedProblem.shapes`: tape, activations, slopes and kept."""
        hidden = int(self.sizes[1:-1].sum())
        steps = self.blocks * self.time if keep else 0
        rows = int(self.sizes[0]), hidden, hidden, KEPT * self.neurons
        return [(steps, count, self.width) for count in rows]

    def forward(self, states: Any, kept: list[Any]) -> None:
        """See `ClosedProblem.forward`."""
        work = self._work()
        given = self._given(self.layers[::2])
        run(closed_dense.forward, given, self.lanes, states, tuple(kept), work)
        _WORKSPACE.give_back(work)

    def _work(self) -> Any:
        """Return room for inputs and state and twice for the widest layer, in each block."""
        rows = self.sizes[0] + 2 * max(self.sizes)
        return _WORKSPACE.take((self.blocks, int(rows), self.width), self.kind)

    def backward(self, from_states: Any, kept: list[Any], wants_x: bool, into: Any) -> Any:
        """See `ClosedProblem.backward`."""
        tape, activations, slopes, aside = kept
        hidden, steps = slopes.shape[1], len(tape)
        back = _WORKSPACE.take((steps, hidden + aside.shape[1], self.width), self.kind)
        work = self._work()
        run(
            closed_dense.backward,
            from_states, self._given([w.T for w in self.layers[::2]]), self.lanes,
            (slopes, aside), back, wants_x, tuple(into), work,
        )  # fmt: skip
        _WORKSPACE.give_back(work)
        rows, read, weights = torch.from_numpy(back), torch.from_numpy(tape), []
        sums = rows.sum((0, 2)).numpy()
        begin = 0
        for outputs, inputs in zip(self.sizes[1:].tolist(), self.sizes.tolist(), strict=False):
            by = rows[:, begin : begin + outputs]
            # A product for each step and block, one after the other: the sums are near.
            into_weight = rows.new_zeros(outputs, inputs)
            into_weight.addbmm_(by, read.transpose(1, 2))
            weights += [into_weight.numpy(), sums[begin : begin + outputs]]
            read = torch.from_numpy(activations)[:, begin : begin + outputs]
            begin += outputs
        _WORKSPACE.give_back(back)
        rest = sums[hidden:].reshape(KEPT, self.neurons)
        return rest[2], rest[1], weights


def closed_problem_of(tensors: Any, connections: Any, settings: ClosedSettings) -> ClosedProblem:
    """Return the problem: along synapses or, where there are none, behind a backbone."""
    if connections:
        return WiredProblem(tensors, connections, settings)
    return DenseProblem(tensors, settings)


def closed_room_for(tensors: Any, is_dense: bool) -> Any:
    """Return how many numbers `run_into` writes at most; sizes may be symbols."""
    x, initial = tensors[:2]
    batch, time, inputs = x.shape
    neurons = initial.shape[1]
    samples = (batch + WIDTH - 1) // WIDTH * WIDTH
    rows = inputs + neurons + KEPT * neurons
    if is_dense:
        rows = rows + 2 * sum(weight.shape[0] for weight in tensors[COMMON:-2:2])
    return rows * samples * (time + 1)
