"""One call on the CPU: from tensors to the arrays of kernels and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.capacity import require_bytes
from elegans.solvers.fused.cpu import (
    junctions,
    lanes,
    lanes_backward,
    large,
    parameters,
    rows,
    rows_backward,
)
from elegans.solvers.fused.cpu.running import Workspace, run
from elegans.solvers.fused.order import ByTarget, by_end, by_target
from elegans.solvers.fused.settings import Settings

MOST_BYTES_TO_KEEP = 1 << 30
"""Above this, the states inside a step are computed again in the backward pass, not kept."""

MOST_BYTES_OF_PARTS = 1 << 28
"""Above this, blocks of samples share the array that their gradients are summed in."""

MOST_BYTES_OF_SUMS = 1 << 19
"""Above this, gradients of synapses are summed over samples at once: the cache would not hold them.

Adding up the lanes of a vector takes longer than adding a vector to memory that is near.
"""

MOST_BYTES_TO_TAKE_UNASKED = 1 << 26
"""Above this, a call asks first whether there is as much memory."""

LARGE, CHUNKS = 1 << 17, 32
"""From so many sigmoids a step on, threads share a block, as so many chunks of targets."""

FEW = 2
"""Up to so many samples, synapses are the vector axis."""

WIDTHS = {16: 8, 63: 16}
"""Samples of a block for batches up to a size: what two threads can share, or one vector holds.

The width must not depend on the number of threads, or sums would.
"""

WIDE = 32
"""Samples of a block for larger batches."""

_WORKSPACE = Workspace(most_bytes=1 << 28)
_NOTHING = {kind: np.empty(0, kind) for kind in (np.float32, np.float64)}
_NO_ORDER, _NO_POLARITY = np.empty(0, np.int64), np.empty(0, np.int8)


class CpuProblem:
    """The arrays of one call: values of the equation, in the order that kernels read.

    `tensors` are inputs (batch, time, input), initial state (batch, neuron), elapsed times (batch,
    time) and the parameters of a `Circuit`; `connections` its connections.
    """

    def __init__(self, tensors: Any, connections: Any, settings: Settings) -> None:
        x, initial, elapsed, scale, shift, out_scale, out_shift, *raw = tensors
        self.settings = settings
        self.x, self.initial, self.elapsed = numpy_of(x), numpy_of(initial), numpy_of(elapsed)
        self.kind = self.x.dtype
        batch, _, inputs = self.x.shape
        neurons = self.initial.shape[1]
        self.few = batch <= FEW
        wide = next((width for most, width in WIDTHS.items() if batch <= most), WIDE)
        self.width = 1 if self.few else wide
        self.narrow = min(self.width, lanes_backward.SUMS)
        self.blocks = -(-batch // self.width)
        self.mapping = np.empty((2, inputs + settings.outputs), self.kind)
        self.mapping[0, :inputs] = 1 if scale is None else numpy_of(scale)
        self.mapping[1, :inputs] = 0 if shift is None else numpy_of(shift)
        self.mapping[0, inputs:] = 1 if out_scale is None else numpy_of(out_scale)
        self.mapping[1, inputs:] = 0 if out_shift is None else numpy_of(out_shift)

        *raw, of_junctions = raw
        free = tuple(numpy_of(t) for t in raw)
        self.neuron_raw = free[8:11]
        self.limits = settings.positivity, settings.floor, settings.epsilon
        self.free, into, self.synapses = [], [], []
        for own, ends in ((free[:4], connections[:3]), (free[4:8], connections[3:6])):
            source, target, polarity = ends
            order = by_target(source, target, neurons)
            slots = _NO_ORDER if order.order is None else order.order.numpy()
            self.free.append((own, _NO_POLARITY if polarity is None else _signs(polarity), slots))
            into.append(self._room(own, order, polarity))
            chosen = tuple(
                given if len(mine) == 0 else mine for mine, given in zip(into[-1], own, strict=True)
            )
            self.synapses.append((order.source.numpy(), order.start.numpy(), *chosen))
        self.neuron = np.empty((3, neurons), self.kind)
        run(parameters.values, *self.free, self.neuron_raw, self.limits, *into, self.neuron)
        self.junction_raw = (
            np.empty(0, self.kind) if of_junctions is None else numpy_of(of_junctions)
        )
        self.junction_slots, self.junctions = self._entries(connections[6:], neurons)

    def _entries(self, ends: Any, neurons: int) -> tuple[Any, tuple[Any, ...]]:
        """Return the junction of each entry, and the entries as kernels read them."""
        if not len(self.junction_raw):
            nothing, start = np.empty(0, np.int32), np.zeros(neurons + 1, np.int32)
            return _NO_ORDER, (nothing, start, self.junction_raw, _NO_POLARITY)
        source, target, rectifying = ends
        by = by_end(source, target, rectifying, neurons)
        slots, weight = by.order.numpy(), np.empty(len(by.order), self.kind)
        room = np.empty_like(self.junction_raw)
        run(junctions.values, self.junction_raw, slots, self.limits[0], room, weight)
        return slots, (by.source.numpy(), by.start.numpy(), weight, by.way.numpy())

    def _room(self, raw: Any, order: ByTarget, polarity: Any) -> tuple[Any, ...]:
        """Return arrays for the values that are not the parameters themselves."""
        sorted_ = order.order is not None
        own = (
            sorted_ or self.settings.positivity,
            sorted_,
            sorted_,
            sorted_ or (polarity is not None and not self._keeps_sign(raw[3], polarity)),
        )
        return tuple(
            np.empty(len(raw[0]), self.kind) if needed else _NOTHING[self.kind.type]
            for needed in own
        )

    def _keeps_sign(self, erev: Any, polarity: Tensor) -> bool:
        """Whether reversal potentials are their parameters; asked where it saves memory."""
        answer = np.zeros(1, np.bool_)
        if len(erev) >= LARGE:
            run(parameters.keep_sign, erev, _signs(polarity), answer)
        return bool(answer[0])

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
        given = self._given()
        kernel = rows.forward if self.few else lanes.forward
        if self.is_large():
            kernel = large.forward_rows if self.few else large.forward_lanes
            given.append(self._bounds())
        run(kernel, *given, (output, states), (path, auxes))

    def is_large(self) -> bool:
        """Whether threads are to share one block of samples."""
        work = sum(len(synapses[0]) for synapses in self.synapses) * self.width
        return work >= LARGE and self.blocks < CHUNKS

    def _bounds(self) -> Any:
        """Cut the targets into chunks of about as many synapses, (chunk + 1,)."""
        start = self.synapses[0][1]
        neurons = len(start) - 1
        # A target costs something besides its synapses.
        ends = start[1:] + 4 * np.arange(1, neurons + 1)
        shares = np.linspace(0, ends[-1] if neurons else 0, CHUNKS + 1)
        bounds = np.searchsorted(ends, shares[:-1], side="right")
        return np.append(bounds, neurons).astype(np.int64)

    def run(self, needs_gradient: bool) -> tuple[Tensor, Tensor, Any]:
        """Return output, states, and, if `needs_gradient` and not too large, what `back` needs."""
        shapes = self.path_shapes(self.steps, self.blocks)
        needed = sum(math.prod(shape) for shape in shapes) * self.kind.itemsize
        keep = needs_gradient and needed <= MOST_BYTES_TO_KEEP
        if not keep:
            shapes = self.path_shapes(1, self.blocks)
        self._require_room(shapes)
        kept = [_WORKSPACE.take(shape, self.kind) for shape in shapes]
        output, states = self._run(kept)
        if not keep:
            _WORKSPACE.give_back(*kept)
        return output, states, kept if keep else None

    def _require_room(self, shapes: list[tuple[int, ...]]) -> None:
        """Raise `InputError` if results and work arrays would not fit into memory."""
        batch, time, _ = self.x.shape
        neurons = self.initial.shape[1]
        numbers = sum(math.prod(shape) for shape in shapes)
        numbers += batch * time * (neurons + self.settings.outputs)
        needed = numbers * self.kind.itemsize
        if needed > MOST_BYTES_TO_TAKE_UNASKED:
            require_bytes(
                needed,
                f"a batch of {batch} sequences of {time} steps through {neurons} neurons",
                "take fewer sequences or shorter ones at a time",
            )

    def run_into(self, room: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Like `run`; what `back` needs is written to `room`, of `room_for` elements."""
        kept = self.kept_in(room)
        room[sum(array.size for array in kept) :] = (
            0  # results of an operator are not left to chance
        )
        return (*self._run(kept), kept)

    def kept_in(self, room: Tensor) -> list[Any]:
        """Return what `run_into` has written to `room`."""
        kept, begin = [], 0
        for shape in self.path_shapes(self.steps, self.blocks):
            end = begin + math.prod(shape)
            kept.append(room.numpy()[begin:end].reshape(shape))
            begin = end
        return kept

    def give_back(self, kept: Any) -> None:
        """Accept what `run` has returned, when nobody needs it any more."""
        if kept is not None:
            _WORKSPACE.give_back(*kept)

    def _run(self, kept: list[Any]) -> tuple[Tensor, Tensor]:
        batch, time, _ = self.x.shape
        states = np.empty((batch, time, self.initial.shape[1]), self.kind)
        output = np.empty((batch, time, self.settings.outputs), self.kind)
        self.forward(output, states, *kept)
        return torch.from_numpy(output), torch.from_numpy(states)

    def back(
        self,
        from_output: Tensor | None,
        from_states: Tensor | None,
        states: Tensor,
        kept: Any,
        wants_h: bool,
    ) -> list[Tensor]:
        """Return the gradients of all tensors; `kept` is what `run` has returned, or None."""
        nothing = np.empty((0, 0, 0), self.kind)
        output, path = (nothing if g is None else numpy_of(g) for g in (from_output, from_states))
        gradients = self.backward(output, path, numpy_of(states), kept, wants_h)
        return [torch.from_numpy(array) for array in gradients]

    def _given(self) -> list[Any]:
        """Return the arguments that forward and backward kernels share."""
        recurrent, sensory = self.synapses
        arrays = self.x, self.initial, self.elapsed, self.mapping
        circuit = (recurrent, self.junctions), sensory, self.neuron
        given: list[Any] = [(*arrays, *circuit, self.settings.unfolds, self.settings.exponential)]
        return given if self.few else [*given, (0,) * self.width]

    def backward(
        self, from_output: Any, from_states: Any, states: Any, kept: Any, wants_h: bool
    ) -> list[Any]:
        """Return the gradients of all tensors; `kept` is what `forward` has left, or None."""
        counts = [len(synapses[0]) for synapses in self.synapses]
        limit = MOST_BYTES_OF_PARTS // max(1, 4 * sum(counts) * self.kind.itemsize)
        parts = 1 if self.few else max(1, min(self.blocks, limit))
        room = 4 * sum(counts) * self.narrow * self.kind.itemsize
        lanewise = not self.few and room <= MOST_BYTES_OF_SUMS
        each = 4 * self.narrow if lanewise else 4
        sums = [
            _WORKSPACE.take((parts, *shape), self.kind)
            for shape in (
                self.mapping.shape,
                *((each * n,) for n in counts),
                self.neuron.shape,
                self.junction_slots.shape,
            )
        ]
        whole = [np.empty_like(a) for a in (self.x, self.initial, self.elapsed)]
        path = [] if kept else self.path_shapes(self.settings.unfolds, parts)
        path = [_WORKSPACE.take(shape, self.kind) for shape in path]
        run(
            rows_backward.backward if self.few else lanes_backward.backward,
            (from_output, from_states, states),
            *self._given(),
            *([] if self.few else [(0,) * self.narrow]),
            tuple(kept or path),
            (kept is not None, wants_h, lanewise),
            (*whole, *sums),
        )
        into = tuple(
            tuple(np.empty_like(a) for a in raw)
            for raw in (self.free[0][0], self.free[1][0], self.neuron_raw)
        )
        run(
            parameters.gradients,
            (*sums[1:4], not self.few),
            tuple(synapses[2:] for synapses in self.synapses),
            *self.free,
            self.neuron_raw,
            self.limits,
            into,
        )
        of_junctions = np.empty_like(self.junction_raw)
        run(
            junctions.gradients,
            sums[4], self.junction_slots, self.junction_raw, self.limits[0], of_junctions,
        )  # fmt: skip
        mapping, inputs = sums[0].sum(axis=0), self.x.shape[2]
        _WORKSPACE.give_back(*sums, *path)
        mappings = [*mapping[:, :inputs], *mapping[:, inputs:]]
        return [*whole, *mappings, *into[0], *into[1], *into[2], of_junctions]


def room_for(batch: Any, steps: Any, neurons: int) -> Any:
    """Return how many numbers `CpuProblem.run_into` writes at most; sizes may be symbols."""
    return (2 * steps + 1) * neurons * ((batch + WIDE - 1) // WIDE * WIDE)


def _signs(polarity: Tensor) -> Any:
    return numpy_of(polarity).astype(np.int8, copy=False)


def numpy_of(tensor: Tensor) -> Any:
    """Return the contiguous array of a tensor on the CPU."""
    return tensor.detach().contiguous().numpy()
