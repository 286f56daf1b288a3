"""A kernel for single steps of a layer: when one fits, and until when."""

from __future__ import annotations

import math
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elegans.hooks import any_global_hook, hooks_of, is_plain
from elegans.layers.capabilities import SingleSteps, defines, require
from elegans.layers.cell import Cell
from elegans.layers.execution import FUSED_TYPES, choose_fused, chosen_path
from elegans.layers.sequence_layer import SequenceLayer
from elegans.solvers.circuit import Circuit

REAL = "fiub"
"""Kinds of NumPy numbers that are real."""

MOST_SAMPLES, MOST_WORK = 32, 1 << 16
"""Above so many samples, or samples times synapses, the layer is faster than one by one."""


class StepKernel:
    """A kernel that works on the memory of a plain layer, and what it relies on."""

    def __init__(self, model: SequenceLayer, circuit: Circuit, state: Tensor) -> None:
        from elegans.solvers.fused.cpu.stepping import Stepper  # imports numba

        cell = model.cell
        self.batch = tuple(state.shape[:-1])
        self._shape = (*self.batch, cell.sensory_size)
        self._dtype = state.dtype
        self._cell = require(cell, SingleSteps, "a kernel for single steps")
        self._called = _called_modules(model)
        self._hooks = tuple(table for part in self._called for table in hooks_of(part))
        self._tables = [
            table.values()  # a view: it shows what the table holds later
            for part in (*self._called, cell)
            for table in (part._modules, part._parameters, part._buffers)
            if table
        ]
        self._members = [*chain.from_iterable(self._tables)]
        self._mapping = _mapping_behind(cell, circuit)
        free = *circuit.parameters, *self._mapping
        self._tensors = [t for t in (*free, *circuit.connections) if t is not None]
        masks = (synapses.mask for synapses in cell.synapse_sets().values())
        junctions = () if circuit.electrical is None else circuit.electrical[:3]
        self._indices = *circuit.recurrent[:2], *circuit.sensory[:2], *junctions, *masks
        self._places = self._places_now()
        self._facts = self._facts_now()
        self._stepper = Stepper(
            circuit,
            cell.sensory_size,
            unfolds=self._cell.ode_unfolds,
            exponential=self._cell.solver.kernel == "exponential",
            state=state.reshape(-1, cell.state_size).numpy(),
        )
        self.state = torch.from_numpy(self._stepper.state).reshape(state.shape)
        self._read = None if circuit.outputs else cell.output_neurons

    @classmethod
    def of(cls, model: SequenceLayer, state: Tensor) -> StepKernel | None:
        """Return a kernel that goes on from `state`, or None if none fits."""
        cell = model.cell
        samples = math.prod(state.shape[:-1])
        if (
            not 1 <= samples <= MOST_SAMPLES
            or not defines(cell, SingleSteps)
            or samples > max(1, MOST_WORK // (1 + _slots(cell)))
            or not model.keeps_loop()
            or model.memory is not None
            or not (state.device.type == "cpu" and state.dtype in FUSED_TYPES)
            or not all(map(is_plain, _called_modules(model)))
            or not all(s.all_open() for s in cell.synapse_sets().values())  # slots are copies
            or not choose_fused(cell.solver, state)
        ):
            return None
        _, circuit = cell.circuit(state.new_empty(0, cell.sensory_size))
        parameters = *circuit.parameters, *_mapping_behind(cell, circuit)
        free = [tensor for tensor in parameters if tensor is not None]
        wires = [tensor for tensor in circuit.connections if tensor is not None]
        fits = (
            circuit.positivity != "identity"
            and all(tensor.dtype is state.dtype for tensor in free)
            and all(tensor.device == state.device for tensor in (*free, *wires))
            and all(tensor.is_contiguous() for tensor in (*free, *wires))
            and not any(tensor.is_inference() for tensor in wires)  # these do not count edits
            and choose_fused(cell.solver, *free)
        )
        return cls(model, circuit, state) if fits else None

    def takes(self, observation: Any) -> bool:
        """Whether `observation` needs no further check than that of its values."""
        if type(observation) is np.ndarray:
            return observation.shape == self._shape and observation.dtype.kind in REAL
        return (
            type(observation) is Tensor
            and not observation.is_nested
            and observation.layout is torch.strided
            and observation.shape == self._shape
            and observation.dtype is self._dtype
            and observation.is_cpu
        )

    def holds(self) -> bool:
        """Whether nothing has changed that needs another kernel; values may have."""
        members = [*chain.from_iterable(self._tables)]
        return (
            chosen_path() != "reference"
            and not any(self._hooks)
            and not any_global_hook()
            and len(members) == len(self._members)
            and all(map(is_, members, self._members))
            and self._places_now() == self._places
            and self._facts_now() == self._facts
        )

    def __call__(self, observation: Any, elapsed: float) -> Any:
        """Take a step and return the action; None, and the state stays, if it is not valid."""
        is_array = type(observation) is np.ndarray
        if not is_array:
            observation = (
                observation.detach() if observation.requires_grad else observation
            ).numpy()
        action = self._stepper(observation, elapsed)
        if action is None:
            return None
        if self._read is not None:
            action = self._read_action()
        if self.batch:
            action = action.reshape(*self.batch, -1)
        return action if is_array else torch.from_numpy(action)

    def _read_action(self) -> Any:
        """Return the mapped states that the outputs read, (batch * output,)."""
        action = self._stepper.state[:, self._read]
        for tensor, apply in zip(self._mapping, (np.multiply, np.add), strict=True):
            if tensor is not None:  # in place: the indexing has made a copy
                apply(action, tensor.detach().numpy(), out=action)
        return action.reshape(-1)

    def _places_now(self) -> list[int]:
        return [*map(Tensor.data_ptr, self._tensors)]

    def _facts_now(self) -> tuple[Any, ...]:
        cell = self._cell
        versions = [index._version for index in self._indices]
        return cell.solver, cell.ode_unfolds, versions, cell.kernel_facts()


def _called_modules(model: SequenceLayer) -> tuple[nn.Module, ...]:
    """Return the modules that a layer calls: their hooks take part."""
    return model, *model.cell.children()


def _mapping_behind(cell: Any, circuit: Circuit) -> tuple[Tensor | None, Tensor | None]:
    """Return scales and shifts of outputs that the kernel does not compute, from its states."""
    if circuit.outputs:
        return None, None
    return cell.output_mapping.weight, cell.output_mapping.bias


def _slots(cell: Cell) -> int:
    """Return the number of synapses, closed ones included."""
    return sum(map(len, cell.synapse_sets().values()))
