"""The liquid cells of many members as one circuit, run by the kernels in one call.

Neurons, synapses and gap junctions of all members lie side by side; none leads from one member to
another.
Where a circuit's first neurons are its outputs, the motor neurons of all members come first;
elsewhere the neurons of one member follow those of the other, and the outputs are read there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.layers.capabilities import JointCell
from elegans.layers.execution import choose_fused
from elegans.layers.mapping import mapped
from elegans.ltc.dynamics import Sensed, run_fused, sense
from elegans.solvers.circuit import Circuit, Junctions, Slots
from elegans.synapses.constraints import SMALLEST_CAPACITANCE
from elegans.synapses.slots import OpenCheck
from elegans.wiring import GapJunctions, Synapses, Wiring

if TYPE_CHECKING:
    from elegans.ltc.cell import LTCCell


class JointLTCCell(JointCell):
    """The circuits of all members side by side; its tensors are those of a stack.

    Inputs, outputs and neurons of the members follow each other: axes (..., member x input) and
    (..., member x output), neurons as `join` puts them.
    `template` is the cell of a member, without values; `stack` holds the tensors of all.
    """

    def __init__(self, template: LTCCell, members: int, stack: nn.Module) -> None:
        super().__init__()
        self._held = template, stack  # no submodules: one has no values, and the other is its own
        self._members = members
        first = template._blueprint.reads_first_neurons
        self._ahead = template.motor_size if first else 0  # neurons of a member that come first
        self._ends: dict[str, tuple[Any, Tensor, Tensor]] = {}
        self._open_check = {kind: OpenCheck() for kind in template.synapse_sets()}

    @property
    def template(self) -> LTCCell:
        """The cell of a member, without values."""
        return self._held[0]

    @property
    def _stack(self) -> nn.Module:
        return self._held[1]

    @property
    def wiring(self) -> Wiring:
        """All circuits as one; the names of neurons and inputs say whose they are."""
        ahead = self._members * self._ahead
        layers = {"motor": ahead, "others": self.state_size - ahead}
        sets = []
        for kind in ("recurrent", "sensory"):
            source, target = self._joint_ends(kind)
            node = getattr(self._stack, kind)
            columns = source, target, node.polarity.reshape(-1)
            is_open = node.mask.reshape(-1)
            sets.append(Synapses(*(column[is_open].cpu().numpy() for column in columns)))
        junctions = None
        if self.template.electrical is not None:
            node = self._stack.get_submodule("electrical")
            ends = *self._joint_ends("electrical"), node.get_buffer("rectifying").reshape(-1)
            is_open = node.get_buffer("mask").reshape(-1)
            junctions = GapJunctions(*(column[is_open].cpu().numpy() for column in ends))
        own = self.template._blueprint
        members = range(self._members)
        names = [f"{n} of member {m}" for m in members for n in own.names[: self._ahead]]
        names += [f"{n} of member {m}" for m in members for n in own.names[self._ahead :]]
        inputs = [f"input_{i} of member {m}" for m in members for i in range(own.input_size)]
        return Wiring(
            self.sensory_size,
            {name: size for name, size in layers.items() if size},
            *sets,
            electrical=junctions,
            outputs=None if own.reads_first_neurons else self.output_neurons,
            names=names,
            sensory_names=inputs,
        )

    @property
    def state_size(self) -> int:
        """Number of neurons of all members."""
        return self._members * self.template.state_size

    @property
    def sensory_size(self) -> int:
        """Number of inputs of all members."""
        return self._members * self.template.sensory_size

    @property
    def motor_size(self) -> int:
        """Number of outputs of all members."""
        return self._members * self.template.motor_size

    @property
    def output_neurons(self) -> NDArray[np.int64]:
        """The neuron that each of the `motor_size` outputs reads, member by member."""
        template = self.template
        if template.output_index is None:
            return np.arange(self.motor_size)
        shift = np.arange(self._members)[:, None] * template.state_size
        return (template.output_neurons + shift).reshape(-1)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the members compute in."""
        return self._stack.get_parameter("vleak").dtype

    def join(self, values: Tensor) -> Tensor:
        """Bring (member, ..., neuron) to (..., neuron of all), as all circuits have them."""
        parts = (values[..., : self._ahead], values[..., self._ahead :])
        return torch.cat([part.movedim(0, -2).flatten(-2) for part in parts], -1)

    def part(self, values: Tensor) -> Tensor:
        """Bring (..., neuron of all) back to (member, ..., neuron)."""
        ahead = self._members * self._ahead
        parts = (values[..., :ahead], values[..., ahead:])
        return torch.cat(
            [
                part.reshape(
                    *part.shape[:-1], self._members, part.shape[-1] // self._members
                ).movedim(-2, 0)
                for part in parts
            ],
            -1,
        )

    def _joint_ends(self, kind: str) -> tuple[Tensor, Tensor]:
        """Return source and target among all members' neurons, made anew after an edit."""
        node = getattr(self._stack, kind)
        source: Tensor = node.source
        target: Tensor = node.target
        edits = None
        if not source.is_inference() and not target.is_inference():
            edits = id(source), source._version, id(target), target._version, source.device
        cached = self._ends.get(kind)
        if cached is not None and edits is not None and cached[0] == edits:
            return cached[1:]
        member = torch.arange(self._members, device=source.device).unsqueeze(1)
        if kind == "sensory":
            source = (source + member * self.template.sensory_size).int().reshape(-1)
        else:
            source = self._numbers(source, member)
        target = self._numbers(target, member)
        self._ends[kind] = edits, source, target
        return source, target

    def _numbers(self, neuron: Tensor, member: Tensor) -> Tensor:
        ahead, units = self._ahead, self.template.state_size
        others = self._members * ahead + member * (units - ahead) + neuron - ahead
        return torch.where(neuron < ahead, member * ahead + neuron, others).int().flatten()

    def _slots(self, kind: str) -> Slots:
        node, alike = getattr(self._stack, kind), getattr(self.template, kind)
        others = (getattr(node, name).reshape(-1) for name in alike.VALUES[1:])
        weight = self._weight(kind)
        polarity = node.polarity.reshape(-1) if alike.fixed_polarity else None
        return Slots(*self._joint_ends(kind), polarity, weight, *others)

    def _junctions(self) -> Junctions | None:
        if self.template.electrical is None:
            return None
        rectifying = self._stack.get_buffer("electrical.rectifying").reshape(-1)
        return Junctions(*self._joint_ends("electrical"), rectifying, self._weight("electrical"))

    def _weight(self, kind: str) -> Tensor:
        """Return the weights of a set, (synapse of all), those of pruned synapses closed."""
        node, alike = getattr(self._stack, kind), getattr(self.template, kind)
        weight: Tensor = node.weight.reshape(-1)
        if not self._open_check[kind](node.mask, node.check_connections):
            weight = torch.where(node.mask.reshape(-1), weight, alike.positivity.closed)
        return weight

    def circuit(self, inputs: Tensor) -> tuple[Tensor, Circuit]:
        """Return inputs and parameters as kernels take them; see `LTCCell.circuit`."""
        stack = self._stack
        first = self.template.output_index is None
        circuit = Circuit(
            self._flat("input_mapping", "weight"),
            self._flat("input_mapping", "bias"),
            self._flat("output_mapping", "weight") if first else None,
            self._flat("output_mapping", "bias") if first else None,
            self._slots("recurrent"),
            self._slots("sensory"),
            self.join(stack.get_parameter("gleak")),
            self.join(stack.get_parameter("vleak")),
            self.join(stack.get_parameter("cm")),
            self.motor_size if first else 0,
            "softplus" if self.template.implicit_param_constraints else "clip",
            SMALLEST_CAPACITANCE,
            self.template.epsilon,
            self._junctions(),
        )
        return inputs, circuit

    def _flat(self, module: str, name: str) -> Tensor | None:
        """Return scales or shifts of all members side by side, or None where there are none."""
        parameter = self._stack.get_submodule(module)._parameters.get(name)
        return None if parameter is None else parameter.reshape(-1)

    def sense(self, inputs: Tensor) -> Sensed:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        return sense(*self.circuit(inputs))

    def step(self, sensed: Sensed, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        cell = self.template
        return cell.solver.advance(sensed.at(time), state, elapsed, cell.ode_unfolds)

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, time, output) and states (batch, time, neuron); see `Cell.run`."""
        inputs, circuit = self.circuit(inputs)
        solver = self.template.solver
        if not choose_fused(solver, inputs, state, elapsed, *circuit.parameters):
            states = self.unroll(sense(inputs, circuit), state, elapsed)
            return self.read(states), states
        output, states = run_fused(
            inputs, state, elapsed, circuit, solver, self.template.ode_unfolds
        )
        by_kernel = self.template.output_index is None and circuit.positivity != "identity"
        return (output if by_kernel else self.read(states)), states

    def read(self, state: Tensor) -> Tensor:
        """Return the mapped potentials of all motor neurons, shape (..., output)."""
        if self.template.output_index is None:
            read = state[..., : self.motor_size]
        else:
            index = self._stack.get_buffer("output_index")  # (member, output)
            member = torch.arange(self._members, device=index.device).unsqueeze(1)
            index = index + member * self.template.state_size
            read = state.index_select(-1, index.reshape(-1))
        return mapped(
            read,
            self._flat("output_mapping", "weight"),
            self._flat("output_mapping", "bias"),
        )
