"""Whole sequences on the GPU: one launch forward, one backward, written in Triton.

A program takes a few samples through the whole sequence, so that between the steps of a solver
nothing is launched and no program waits for another.

- A block of registers is (lane, sample) with up to four samples in one thread: the values of a
  synapse are loaded once for all of them, and neighbouring threads read neighbouring memory. Lanes
  are synapses of different rows; `tiles` deals them out so that lanes are about equally long.
- Synapse values are laid out in the order in which lanes read them and come through the caches,
  loaded ahead of their use. States, small, are exchanged through memory that stays in the L1 cache.
- The backward pass takes the steps of one element of the sequence again from the state before it.
  It then looks from sources to targets, so that each synapse belongs to one lane, each source adds
  up its own gradient, and no atomic operation is needed: results do not depend on timing.
- Gradients of values are summed over samples in registers, over time in memory of the program, and
  over programs at the end. Programs take several blocks of samples where that memory is short.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elegans.solvers.fused.gpu.kernels import forward_kernel
from elegans.solvers.fused.gpu.kernels_backward import backward_kernel
from elegans.solvers.fused.gpu.tiles import Layout

MOST_SAMPLES = 32
SAMPLES_OF_A_THREAD = 4
LEAST_WARPS, MOST_WARPS = 4, 16

STEPS_OF_A_LANE = 8
"""Lanes are made so many that they take about as few steps as this, if there are threads."""

STEP_COST = 4
"""Cost of a solver step besides samples, in samples: barriers and latencies."""

CACHED_SYNAPSES = 6_000
"""More do not stay in the L1 cache; reading one then serves at least the samples of a thread."""

PROGRAMS_OF_A_PROCESSOR = 4
MOST_GRADIENT_BYTES, MOST_SCRATCH_BYTES = 1 << 28, 1 << 30
"""Of the programs' memory for gradients of values, and of all their scratch memory."""


class Shape(NamedTuple):
    """Division of a launch into programs and threads."""

    block: int
    """Samples of a program at a time."""
    lanes: int
    warps: int


def shape(batch: int, synapses: int, processors: int) -> Shape:
    """Choose samples and threads of a program so that all processors have about the same to do."""

    def cost(block: int) -> int:
        rounds = math.ceil(math.ceil(batch / block) / processors)
        return rounds * (block + STEP_COST)

    sizes = [MOST_SAMPLES >> k for k in range(MOST_SAMPLES.bit_length())]  # ties: the largest
    block = min(sizes, key=cost)
    if synapses > CACHED_SYNAPSES:
        block = max(block, SAMPLES_OF_A_THREAD)
    of_a_thread = min(block, SAMPLES_OF_A_THREAD)
    needed_warps = synapses * block // (of_a_thread * 32 * STEPS_OF_A_LANE)
    warps = min(max(1 << max(needed_warps - 1, 0).bit_length(), LEAST_WARPS), MOST_WARPS)
    return Shape(block, 32 * warps * of_a_thread // block, warps)


class SequenceArguments(NamedTuple):
    """Arguments of a sequence: inputs, states, sorted synapses and neurons."""

    x: Tensor
    """Mapped inputs, (batch, time, input)."""
    initial: Tensor
    """(batch, neuron)."""
    elapsed: Tensor
    """(batch, time), >= 0."""
    source: Tensor
    """Presynaptic indices of the synapses sorted by target, int32, (synapse,)."""
    start: Tensor
    """Begin of the synapses of each target, int32, (neuron + 1,)."""
    value: Tensor
    """Rows weight, sigma, mu, erev of the synapses, (4, synapse)."""
    sensory_source: Tensor
    """As for the recurrent synapses; sources are inputs."""
    sensory_start: Tensor
    sensory_value: Tensor
    junction_source: Tensor
    """As for the recurrent synapses; each junction stands there twice, once at each end."""
    junction_start: Tensor
    junction_value: Tensor
    """Rows weight, way (see `elegans.solvers.fused.order.ByEnd`), and two of zeros, (4, entry)."""
    neuron: Tensor
    """Rows capacitance, leak conductance and leak drive, (3, neuron)."""
    unfolds: int
    """Solver steps in each element of the sequence."""
    exponential: bool
    """Whether steps are exponential, or else semi-implicit."""

    def cut(self) -> tuple[Shape, Layout]:
        """Return how the launch is cut up, and which lanes the synapses are dealt out to."""
        cut = shape(len(self.x), len(self.source), _processors(self.x.device))
        ends: tuple[Tensor, ...] = self.source, self.start, self.sensory_source, self.sensory_start
        ends = *ends, self.junction_source, self.junction_start
        return cut, Layout.of(*ends, inputs=self.x.shape[2], width=cut.lanes)

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The values of each set, (4, synapse)."""
        return self.value, self.sensory_value, self.junction_value

    def launch(self, kernel: Any, cut: Shape, programs: int, *arguments: Any) -> None:
        """Run a kernel; `arguments` are those between the tensors given and the sizes."""
        device = self.x.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            kernel[(programs,)](
                self.x.contiguous(),
                self.initial.contiguous(),
                self.elapsed.contiguous(),
                self.neuron.contiguous(),
                *arguments,
                *self.x.shape,
                self.initial.shape[1],
                self.unfolds,
                EXPONENTIAL=self.exponential,
                LANES=cut.lanes,
                BLOCK=cut.block,
                num_warps=cut.warps,
                num_stages=1,  # loops are pipelined by hand; the compiler needs shared memory
                enable_fp_fusion=True,
            )


def forward(given: SequenceArguments) -> Tensor:
    """Run the sequences and return their states, (batch, time, neuron)."""
    x, neurons = given.x, given.initial.shape[1]
    states = x.new_empty(*x.shape[:2], neurons)
    if not states.numel():
        return states
    cut, layout = given.cut()
    values = layout.lay_out(*given.values, both_ways=False)
    rows = [neurons + 1, x.shape[2] + 1, 2 * neurons]
    rows += [2 * (tiles.lanes + 1) for tiles in layout.by_target]
    words = _round_up(sum(rows) * cut.block, 32)
    programs = _programs(cut, x, words)
    scratch = x.new_empty(programs, words)
    given.launch(forward_kernel, cut, programs, *values, states, scratch, *layout.by_target, words)
    return states


def backward(given: SequenceArguments, gradient: Tensor, states: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of x, initial, elapsed, the values of each set and neuron.

    `gradient` (batch, time, neuron) is that of the `states` which `forward` has returned.
    """
    x, initial, elapsed, neuron = given.x, given.initial, given.elapsed, given.neuron
    if not states.numel():
        tensors = x, initial, elapsed, *given.values, neuron
        return tuple(torch.zeros_like(t) for t in tensors)
    gradients = [
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, initial, elapsed)
    ]
    neurons, unfolds = initial.shape[1], given.unfolds
    cut, layout = given.cut()
    values = layout.lay_out(*given.values, both_ways=True)
    rows = [(3 * unfolds + 1) * neurons + unfolds + 1, x.shape[2] + 1, 9 * neurons + 4]
    rows += [2 * (tiles.lanes + 1) for tiles in layout.by_target]
    rows += [tiles.lanes + 1 for tiles in layout.by_source]
    words = _round_up(sum(rows) * cut.block, 32)
    numbers = 4 * sum(tiles.positions for tiles in layout.by_source) + neuron.numel()
    gradient_words = _round_up(numbers, 32)
    programs = _programs(cut, x, words, gradient_words)
    of_values, scratch = x.new_zeros(programs, gradient_words), x.new_empty(programs, words)
    given.launch(
        backward_kernel, cut, programs, *values, states.contiguous(), gradient.contiguous(),
        *gradients, of_values, scratch, *layout.by_target, *layout.by_source, words, gradient_words,
    )  # fmt: skip
    return *gradients, *layout.collect(of_values.sum(0), neuron)


def _round_up(numbers: int, line: int) -> int:
    return math.ceil(numbers / line) * line


def _programs(cut: Shape, like: Tensor, words: int, gradient_words: int = 1) -> int:
    """Return how many programs share the blocks of samples, as evenly as may be."""
    blocks = math.ceil(len(like) / cut.block)
    most = min(
        PROGRAMS_OF_A_PROCESSOR * _processors(like.device),
        MOST_SCRATCH_BYTES // (words * like.element_size()),
        MOST_GRADIENT_BYTES // (gradient_words * like.element_size()),
    )
    return math.ceil(blocks / math.ceil(blocks / max(most, 1)))


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1  # Triton's interpreter
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
