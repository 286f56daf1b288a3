"""Layers of many members as one layer, whose cell holds the cells of all members side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elegans.checks import as_computed
from elegans.ensemble.computation import Computation, Given
from elegans.ensemble.stacking import Stack
from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.layers.capabilities import JoinsMembers, JointCell, defines, require
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer


class Joined(Computation):
    """Layers without memory whose cells offer `joint`, by a solver that has a kernel."""

    template: SequenceLayer

    def __init__(self, template: SequenceLayer) -> None:
        super().__init__(template)
        self._layer: SequenceLayer | None = None
        self._root: Stack | None = None

    @classmethod
    def fits(cls, template: nn.Module) -> Joined | None:
        """Return the computation of `template` if it is such a layer."""
        if not isinstance(template, SequenceLayer) or not template.keeps_loop():
            return None
        cell = template.cell
        if not defines(cell, JoinsMembers) or cell.solver.kernel is None:
            return None
        plain = all(is_plain(module) for module in template.modules())
        return cls(template) if plain and template.memory is None else None

    def run(self, root: Stack, members: int, given: Given) -> Any:
        """Return what every member returns; see `Computation.run`.

        The second input, the state, has a member axis always; elapsed times and lengths are the
        same for all members.
        """
        template = self.template
        layer, cell = self._joint(root, members)
        names = ("input", "hx", "timespans")
        if not given.inputs or len(given.inputs) > len(names):
            raise InputError(
                f"an ensemble of layers takes {', '.join(names)}, got {len(given.inputs)} arguments"
            )
        named = dict(zip(names, given.inputs, strict=False))
        own = dict(zip(names, given.own, strict=False))
        options = {**named, **given.options}
        x = self._side_by_side(options.pop("input"), own["input"], members, cell)
        if own.get("timespans"):
            raise InputError(
                "timespans have a member axis; the members of this ensemble run as one circuit and "
                "share them: pass (batch, time), or build the ensemble with general=True"
            )
        state = options.pop("hx", None)
        if state is not None:
            state = cell.join(self._state(state, members, cell))
        output, *states = layer(x, state, options.pop("timespans", None), **options)
        output = output.reshape(*output.shape[:-1], members, template.motor_size).movedim(-2, 0)
        return output, *(cell.part(joint_state) for joint_state in states)

    def _joint(self, root: Stack, members: int) -> tuple[SequenceLayer, JointCell]:
        template = self.template
        if self._layer is None or self._root is not root:
            stack = root.get_submodule("cell")
            assert isinstance(stack, Stack)
            self._root = root
            cell = require(template.cell, JoinsMembers, "an ensemble")
            self._layer = SequenceLayer(
                cell.joint(members, stack),
                return_sequences=template.return_sequences,
                batch_first=template.batch_first,
            )
        joint = self._layer.cell
        assert isinstance(joint, JointCell)
        return self._layer, joint

    def _side_by_side(self, given: Any, own: bool, members: int, cell: JointCell) -> Tensor:
        """Return inputs (..., member x input)."""
        template = self.template
        x = as_computed("input", given, cell.dtype)
        size = template.input_size
        if x.dim() not in (2 + own, 3 + own) or x.shape[-1] != size:
            layout = "(batch, time, input)" if template.batch_first else "(time, batch, input)"
            member = "(member, ...) before " if own else ""
            raise InputError(
                f"input has shape {tuple(x.shape)}, expected {member}{layout} or (time, input) "
                f"with {size} inputs"
            )
        if own:
            return x.movedim(0, -2).flatten(-2)
        return x.unsqueeze(-2).expand(*x.shape[:-1], members, size).flatten(-2)

    def _state(self, given: Any, members: int, cell: JointCell) -> Tensor:
        template = self.template
        state = as_computed("hx", given, cell.dtype)
        units = template.state_size
        if state.dim() not in (2, 3) or state.shape[0] != members or state.shape[-1] != units:
            raise InputError(
                f"hx has shape {tuple(state.shape)}, expected ({members}, batch, {units}): a state "
                "for each member, as a call returns it"
            )
        return state


class JoinedReadouts(Computation):
    """Readouts of such layers: the layers as one, and the maps in one batched product."""

    template: Readout

    def __init__(self, template: Readout, layers: Joined) -> None:
        super().__init__(template)
        self._layers = layers

    @classmethod
    def fits(cls, template: nn.Module) -> JoinedReadouts | None:
        """Return the computation of `template` if it is such a readout."""
        if type(template) is not Readout or type(template.head) is not nn.Linear:
            return None
        layers = Joined.fits(template.layer)
        plain = is_plain(template) and is_plain(template.head)
        return cls(template, layers) if plain and layers is not None else None

    def run(self, root: Stack, members: int, given: Given) -> Any:
        """Return what every member returns; see `Joined.run`."""
        stack, head = root.get_submodule("layer"), root.get_submodule("head")
        assert isinstance(stack, Stack)
        options = {**given.options, "return_states": True}
        _, final, states = self._layers.run(stack, members, given._replace(options=options))
        layer = self.template.layer
        if not layer.return_sequences:
            time = 1 if states.dim() == 4 and not layer.batch_first else -2
            states = states.select(time, -1) if states.shape[time] else final
        weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
        flat = states.reshape(members, states.shape[1:-1].numel(), states.shape[-1])
        output = torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
        return output.reshape(*states.shape[:-1], output.shape[-1]), final
