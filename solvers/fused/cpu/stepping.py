"""One step of a circuit for each observation, straight from its free parameters.

Effective values are computed in each call: that costs less than one solver step, and parameters
may change at any time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from elegans.solvers.circuit import Circuit, Junctions, Slots
from elegans.solvers.fused.cpu.compiling import kernel
from elegans.solvers.fused.cpu.junctions import values as values_of_junctions
from elegans.solvers.fused.cpu.parameters import values
from elegans.solvers.fused.cpu.rows import forward
from elegans.solvers.fused.cpu.running import run
from elegans.solvers.fused.order import by_end, by_target
from elegans.solvers.fused.settings import POSITIVITY

Array = Any


@kernel()
def step(
    action: Array,
    elapsed: float,
    observation: Array,
    state: Array,
    after: Array,
    mapping: Any,
    free: Any,
    ends: Any,
    neuron: Any,
    junctions: Any,
    steps: Any,
    limits: Any,
    refused: Array,
) -> None:
    """Take one step from `state` (batch, neuron) and write `action` (batch * output,).

    `observation` (batch, input) is float64 and rounded to the precision of the rest. `mapping` has
    factors and shifts of inputs and outputs, empty where there are none. `refused` (1,) becomes
    True, and the state stays, if observation, elapsed time or the new state, which is left in
    `after` (batch, 1, neuron), are not valid. `free` and `ends` are parameters and (source, start)
    of recurrent, then of sensory synapses; `junctions` the slot of each entry, (source, start,
    way), parameters, and room for the conductances of entries; `steps` the number of solver steps
    and whether they are exponential; the rest is that of `values`.
    """
    batch, inputs = observation.shape
    number = state.dtype.type
    outputs = len(action) // batch
    duration = number(elapsed)
    refused[0] = True
    if not 0 <= duration < np.inf:
        return
    x = np.empty((batch, 1, inputs), state.dtype)
    for b in range(batch):
        for i in range(inputs):
            x[b, 0, i] = number(observation[b, i])
            if not np.isfinite(x[b, 0, i]):
                return

    maps = np.empty((2, inputs + outputs), state.dtype)
    maps[0], maps[1] = number(1), number(0)
    for k in range(4):
        first = inputs if k >= 2 else 0
        for i in range(len(mapping[k])):
            maps[k % 2, first + i] = mapping[k][i]

    synapses = np.empty((4, len(ends[0][0])), state.dtype)
    senses = np.empty((4, len(ends[1][0])), state.dtype)
    neurons = np.empty((3, state.shape[1]), state.dtype)
    values(free[0], free[1], neuron, limits, synapses, senses, neurons)

    slots, (far, begin, way), raw, entry = junctions
    room = np.empty_like(raw)
    values_of_junctions(raw, slots, limits[0], room, entry)
    path = np.empty((batch, 2, state.shape[1]), state.dtype)
    auxes = np.empty((batch, 1, state.shape[1]), state.dtype)
    given = (
        x, state, np.full((batch, 1), duration), maps,
        ((*ends[0], synapses[0], synapses[1], synapses[2], synapses[3]), (far, begin, entry, way)),
        (*ends[1], senses[0], senses[1], senses[2], senses[3]),
        neurons, *steps,
    )  # fmt: skip
    forward(given, (action.reshape((batch, 1, outputs)), after), (path, auxes))
    for b in range(batch):
        for i in range(state.shape[1]):
            if not np.isfinite(after[b, 0, i]):
                return
    state[:] = after[:, 0]
    refused[0] = False


class Stepper:
    """A circuit with its state; a call takes one step.

    It reads the memory of the circuit's tensors, which must be contiguous, on the CPU and of one
    type, float32 or float64. Edits in place are seen at once, of parameters and polarities alike;
    other tensors, or edits of sources and targets, need a new stepper.

    Parameters
    ----------
    circuit
        Connections and parameters.
    inputs
        Number of inputs.
    unfolds
        Solver steps in a step.
    exponential
        Whether these are exponential, or else semi-implicit.
    state
        The state to begin with, (batch, neuron); it is copied.
    """

    def __init__(
        self, circuit: Circuit, inputs: int, *, unfolds: int, exponential: bool, state: Array
    ) -> None:
        batch, neurons = state.shape
        self.state = np.array(state, order="C")
        self._kind = self.state.dtype
        self._actions = batch * circuit.outputs
        self._observation = np.empty((batch, inputs), np.float64)
        self._refused = np.ones(1, np.bool_)
        nothing = np.empty(0, self._kind)
        mapping = circuit.scale, circuit.shift, circuit.out_scale, circuit.out_shift
        synapses = circuit.recurrent, circuit.sensory
        free, ends = zip(*(_synapses(slots, neurons) for slots in synapses), strict=True)
        self._arguments = (
            self._observation,
            self.state,
            np.empty((batch, 1, neurons), self._kind),
            tuple(nothing if tensor is None else _view(tensor) for tensor in mapping),
            free,
            ends,
            tuple(_view(tensor) for tensor in (circuit.gleak, circuit.vleak, circuit.cm)),
            _junctions(circuit.electrical, neurons, self._kind),
            (unfolds, exponential),
            (POSITIVITY.index(circuit.positivity), circuit.floor, circuit.epsilon),
            self._refused,
        )

    def __call__(self, observation: Array, elapsed: float) -> Array | None:
        """Take a step and return the action, (batch * output,), in new memory.

        `observation`, real numbers of any type, has the shape (batch, input), or (input,) for one
        sample. Returns None, and the state stays, if it, `elapsed` or the new state is not valid.
        """
        self._observation[:] = observation
        action = np.empty(self._actions, self._kind)
        run(step, action, elapsed, *self._arguments)
        return None if self._refused[0] else action


def _synapses(slots: Slots, neurons: int) -> tuple[Any, ...]:
    """Return what the kernel reads of synapses: (raw values, polarity, order), (source, start)."""
    by = by_target(slots.source, slots.target, neurons)
    free = (
        tuple(_view(tensor) for tensor in slots[3:]),
        np.empty(0, np.int8) if slots.polarity is None else _view(slots.polarity),
        np.empty(0, np.int64) if by.order is None else _view(by.order),
    )
    return free, (_view(by.source), _view(by.start))


def _junctions(junctions: Junctions | None, neurons: int, kind: Any) -> tuple[Any, ...]:
    """Return what the kernel reads of gap junctions, which stand there twice."""
    if junctions is None:
        ends = np.empty(0, np.int32), np.zeros(neurons + 1, np.int32), np.empty(0, np.int8)
        return np.empty(0, np.int64), ends, np.empty(0, kind), np.empty(0, kind)
    by = by_end(*junctions[:3], neurons)
    ends = _view(by.source), _view(by.start), _view(by.way)
    return _view(by.order), ends, _view(junctions.weight), np.empty(len(by.order), kind)


def _view(tensor: Tensor) -> Array:
    return tensor.detach().numpy()
