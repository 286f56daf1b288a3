"""The closed-form continuous-time cell on a wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack, cast

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.cfc.backbone import check_outputs, output_projection
from elegans.cfc.closed_form import GATES, HEADS, MAP_NAMES, ClosedForm
from elegans.cfc.kernels import run_wired
from elegans.cfc.wiring import with_all_gates, with_ncps_connections, with_own_states
from elegans.checks import Placement, check_choice
from elegans.errors import InputError
from elegans.layers.cell import WiredCell, as_wiring
from elegans.synapses.initial import draw_uniform
from elegans.synapses.maps import MappedSynapses
from elegans.synapses.plain import PlainStep, PlainSynapses, plain
from elegans.synapses.sums import SynapticSum
from elegans.wiring import Recipe, Synapses, Wiring
from elegans.wiring.wiring import SENSORY


class _Stage(NamedTuple):
    """A layer, updated at once: its neurons, the synapses onto them, and what these read."""

    neurons: slice
    slots: tuple[slice, ...]
    """Of the synapses, and of those of the gates if they have their own."""
    sources: slice
    """Neurons of the layers that the synapses come from, from the first to the last."""


class SensedStage(NamedTuple):
    """Contributions of a sequence of inputs to the maps of a layer, and how they read states."""

    stage: _Stage
    drive: tuple[Tensor, ...]
    """Biases and inputs of each time step, (batch, map, neuron): heads first, then gates."""
    sums: tuple[SynapticSum, ...]

    def maps(self, time: int, state: Tensor) -> Tensor:
        """Return the maps (batch, map, neuron) of the layer at the state (batch, neuron)."""
        read = state[:, self.stage.sources]
        arriving = [total(read) for total in self.sums]
        return self.drive[time] + (arriving[0] if len(arriving) == 1 else torch.cat(arriving, 1))

    def matrix(self) -> Tensor:
        """Return the weights (map, neuron, source) for the sources of the layer."""
        return torch.cat([total.matrix() for total in self.sums])


@checked(InputError)
class WiredCfCCell(WiredCell):
    r"""One step of a closed-form continuous-time network along the synapses of a wiring.

    .. math::
        x_i^+ = (1 - s_i) \tanh f_i + s_i \tanh g_i, \qquad s_i = \sigma(a_i t + b_i)

    where each of f, g, a and b is a sum over the synapses onto neuron i, with a weight of its own
    for each, plus a bias; t is the elapsed time. See `ClosedForm` for the other modes. Within a
    step the layers follow one another from the input to the motor neurons: a synapse from a layer
    nearer to the input carries that layer's new state, any other the old one. Work and parameters
    are proportional to neurons and synapses. A step that lasts 0 leaves the state as it is.

    A neuron needs its own state to remember anything. A leak keeps it in other cells; here every
    neuron gets a self-synapse, and `wiring` shows it. The polarities of the wiring have no meaning:
    a synapse has several weights of either sign, and is as strong as their Euclidean norm.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    mode
        ``"default"``, ``"pure"`` or ``"no_gate"``.
    proj_size
        Number of outputs when a dense map shall follow the motor neurons.
    ncps_connections
        Whether to read what ``ncps`` reads. There a wiring decides on the synapses between layers
        only: inside a layer all neurons are connected, recurrent synapses of the wiring are not
        looked at, and the time gates read every neuron of their layer and of the one before.
        `wiring` then shows what f and g read.
    add_connections
        Whether to add the connections that the two paragraphs above speak of. A layer that is
        loaded takes its wiring as it is: what was pruned or has moved does not come back.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.

    Raises
    ------
    InputError
        An argument is not valid, or the wiring was made for another number of inputs.

    Notes
    -----
    States are in the order of the wiring, motor neurons first; ``ncps`` has the motor neurons last
    in this one cell. Only motor neurons, or those that the outputs of the wiring name, are read;
    ``ncps`` returns all neurons of a wiring that has no layers.

    References
    ----------
    Hasani, Lechner, Amini, Liebenwein, Ray, Tschaikowski, Teschl, Rus, "Closed-form
    continuous-time neural networks", Nature Machine Intelligence 4 (2022) 992-1003.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = WiredCfCCell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19))
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 19]))
    >>> sum(p.numel() for p in cell.parameters())  # 4 * (63 + 35 synapses + 19)
    468
    """

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None = None,
        mode: str = "default",
        *,
        proj_size: int | None = None,
        input_mapping: str | None = None,
        output_mapping: str | None = None,
        ncps_connections: bool = False,
        add_connections: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_outputs(proj_size)
        complete = with_ncps_connections if ncps_connections else with_own_states
        wiring = as_wiring(wiring, in_features)
        if add_connections:
            wiring = complete(wiring)
        super().__init__(
            wiring, in_features, input_mapping, output_mapping, outputs=proj_size, **factory_kwargs
        )
        check_choice("mode", mode, HEADS)
        self.ncps_connections = ncps_connections
        self._own_gates = ncps_connections and GATES[mode] > 0  # gates along synapses of their own
        self._gate_blueprint = with_all_gates(wiring) if self._own_gates else wiring
        self._stages = _stages(wiring, *([self._gate_blueprint] if self._own_gates else []))
        shared = HEADS[mode] + (0 if self._own_gates else GATES[mode])
        kinds: dict[str, tuple[Wiring, int]] = {"": (wiring, shared)}
        if self._own_gates:
            kinds["gate_"] = (self._gate_blueprint, GATES[mode])
        for prefix, (blueprint, maps) in kinds.items():
            for name, sources in (("recurrent", self.state_size), ("sensory", self.sensory_size)):
                synapses = MappedSynapses(
                    getattr(blueprint, name),
                    maps,
                    sources,
                    self.state_size,
                    generator=generator,
                    **factory_kwargs,
                )
                self.add_module(prefix + name, synapses)
        count = HEADS[mode] + GATES[mode]
        self.bias = nn.Parameter(torch.empty(count, self.state_size, **factory_kwargs))
        self._draw_biases(generator)
        self.solution = ClosedForm(mode, self.state_size, generator=generator, **factory_kwargs)
        self.projection = output_projection(self.motor_size, proj_size, generator, **factory_kwargs)

    def synapse_sets(self) -> dict[str, MappedSynapses]:
        """Return the synapses by the name of their module."""
        names = ["recurrent", "sensory"]
        if self._own_gates:
            names += ["gate_recurrent", "gate_sensory"]
        return {name: cast(MappedSynapses, self._modules[name]) for name in names}

    def groups(self) -> list[tuple[slice, MappedSynapses, MappedSynapses]]:
        """Return which maps run along which recurrent and sensory synapses: heads, then gates."""
        sets = list(self.synapse_sets().values())
        split = len(sets[0].weight)
        pairs = zip((slice(0, split), slice(split, None)), sets[::2], sets[1::2], strict=False)
        return list(pairs)

    @torch.no_grad()
    def _draw_biases(self, generator: torch.Generator | None) -> None:
        """Draw biases within one by the square root of the number of synapses onto the neuron."""
        for maps, recurrent, sensory in self.groups():
            fans = (s.fan(s.sources, s.targets)[1] for s in (recurrent, sensory))
            reaching = torch.stack(list(fans)).sum(0)  # (neuron,)
            draw_uniform(self.bias[maps], reaching.clamp(min=1).rsqrt(), generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew; see `WiredCell.reset_parameters`."""
        super().reset_parameters(generator)
        self._draw_biases(generator)
        self.solution.reset_parameters(generator)
        if self.projection is not None:
            self.projection.reset_parameters(generator)

    @property
    def mode(self) -> str:
        """Name of the closed form that is evaluated."""
        return self.solution.mode

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.motor_size if self.projection is None else len(self.projection.weight)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.bias.dtype

    def sense(self, inputs: Tensor) -> tuple[SensedStage, ...]:
        """Return what inputs (batch, time, input) add to the maps of each layer."""
        weights = [synapses.weights() for synapses in self.synapse_sets().values()]
        return self.sensed_by(weights, self.bias, self.input_mapping(inputs))

    def sensed_by(
        self, weights: Sequence[Tensor], bias: Tensor, mapped: Tensor
    ) -> tuple[SensedStage, ...]:
        """Do as `sense` with mapped inputs, for weights in the order of `synapse_sets`."""
        drives, groups = [], []
        pairs = zip(self.groups(), weights[::2], weights[1::2], strict=True)
        for (maps, recurrent, sensory), recurrent_weight, sensory_weight in pairs:
            sizes = sensory.sources, sensory.targets
            arriving = SynapticSum.of(sensory_weight, *sensory.ends(), *sizes)
            drives.append(bias[maps] + arriving(mapped))
            groups.append((recurrent_weight, *recurrent.ends()))  # (map, synapse), (synapse,)
        drive = torch.cat(drives, dim=-2)  # (batch, time, map, neuron)
        sensed = []
        for stage in self._stages:
            first, neurons = stage.sources.start, stage.neurons
            sizes = stage.sources.stop - first, neurons.stop - neurons.start
            sums = []
            for (weight, source, target), slots, synapses in zip(
                groups, stage.slots, list(self.synapse_sets().values())[::2], strict=True
            ):
                index = _with_candidates(slots, len(synapses), target, neurons)
                ends = source[index] - first, target[index] - neurons.start
                sums.append(SynapticSum.of(weight[:, index], *ends, *sizes))
            sensed.append(SensedStage(stage, drive[..., neurons].unbind(1), tuple(sums)))
        return tuple(sensed)

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and states, by a kernel where one fits; see `Cell.run`."""
        states = run_wired(self, inputs, state, elapsed)
        if states is None:
            return super().run(inputs, state, elapsed)
        return self.read(states), states

    def step(
        self, sensed: tuple[SensedStage, ...], time: int, state: Tensor, elapsed: Tensor
    ) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        return self.step_by(self.solution, sensed, time, state, elapsed)

    def step_by(
        self,
        solution: Callable[[Tensor, Tensor, Tensor, slice], Tensor],
        sensed: tuple[SensedStage, ...],
        time: int,
        state: Tensor,
        elapsed: Tensor,
    ) -> Tensor:
        """Do as `step` with a closed form called like `ClosedForm`."""
        current = state
        for layer_inputs in sensed:
            maps = self._split(layer_inputs.maps(time, current))
            new = solution(*maps, elapsed, layer_inputs.stage.neurons)
            current = _with_slice(current, layer_inputs.stage.neurons, new, dim=-1)
        return torch.where(elapsed > 0, current, state)

    def _split(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return heads and gates, each (batch, map, neuron)."""
        heads = HEADS[self.mode]
        return maps[:, :heads], maps[:, heads:]

    def step_jacobian(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor:
        r"""Return the derivative of one step by the state it starts from, in closed form.

        .. math:: \frac{\partial x^+_i}{\partial x_j} = \sum_m \frac{\partial x^+_i}{\partial
            y_{mi}} \sum_{k: l \to i} w_{mk} \frac{\partial \hat x_l}{\partial x_j}

        over the maps y_m of the neuron, where the state read, x̂_l, is the new one of layers nearer
        to the input and the old one otherwise.

        Shapes are those of `elegans.layers.capabilities.StepJacobian`; a step that lasts 0 has the
        identity.
        """
        identity = torch.eye(self.state_size, dtype=state.dtype, device=state.device)
        current, spread = state, identity.expand(len(state), -1, -1)
        for layer_inputs in self.sense(inputs.unsqueeze(1)):
            neurons, sources = layer_inputs.stage.neurons, layer_inputs.stage.sources
            maps = self._split(layer_inputs.maps(0, current))
            slopes = torch.cat(self.solution.slopes(*maps, elapsed, neurons), dim=-2)
            direct = torch.einsum("bmi,mij->bij", slopes, layer_inputs.matrix())
            rows = direct @ spread[:, sources]
            new = self.solution(*maps, elapsed, neurons)
            current = _with_slice(current, neurons, new, dim=-1)
            spread = _with_slice(spread, neurons, rows, dim=-2)
        return torch.where(elapsed.unsqueeze(-1) > 0, spread, identity)

    def read(self, state: Tensor) -> Tensor:
        """Return the outputs of the state, shape (..., output)."""
        if self.projection is None:
            return super().read(state)
        output: Tensor = self.output_mapping(self.projection(self.motor_states(state)))
        return output

    def motor_readers(self) -> tuple[str, ...]:
        """Return the weights (..., motor) that read motor neurons, by their dotted name."""
        return super().motor_readers() if self.projection is None else ("projection.weight",)

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {
            "mode": self.mode,
            "proj_size": None if self.projection is None else self.output_size,
            "ncps_connections": self.ncps_connections,
            "add_connections": False,
        }

    @torch.no_grad()
    def plain_step(self) -> PlainStep:
        """Return what a step computes; see `elegans.synapses.plain`."""
        names = MAP_NAMES[self.mode]
        neurons = self.solution.plain() | dict(zip(names, plain(self.bias), strict=True))
        rank = {name: place for place, name in enumerate(reversed(list(self._blueprint.layers)))}
        order = np.array([rank[layer] for layer in self._blueprint.layer_of])
        sets = {}
        for name, slots in self.synapse_sets().items():
            is_open = slots.is_open.cpu().numpy()
            source, target = (end.cpu().numpy()[is_open] for end in slots.ends())
            if not name.endswith(SENSORY):  # a layer nearer to the input is read anew
                source = source + len(order) * (order[source] < order[target])
            own = names[HEADS[self.mode] :] if name.startswith("gate_") else names
            weights = plain(slots.weights())[:, is_open]
            columns = zip(own[: len(weights)], weights, strict=True)
            sets[name] = PlainSynapses.sorted(source, target, len(order), **dict(columns))
        return PlainStep(
            "closed_form",
            neurons | {"order": order.astype(np.float64)},
            sets,
            choices={"mode": self.mode},
        )

    def drawn(self, name: str) -> Synapses:
        """Return the connections that a set of synapses was made with."""
        gates = name.startswith("gate_")
        blueprint = self._gate_blueprint if gates else self._blueprint
        synapses: Synapses = getattr(blueprint, name.removeprefix("gate_"))
        return synapses

    def check_saved(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raise `InputError` unless layers and connections in a state fit this cell."""
        super().check_saved(state_dict, prefix)
        # The synapses onto a layer lie together, and it reads from some layers only.
        for number, name in enumerate(self.synapse_sets()):
            source, target = (
                state_dict.get(f"{prefix}{name}.{column}") for column in ("source", "target")
            )
            if source is None or target is None or source.is_meta:
                continue
            own = self._blueprint.layer_of[target.cpu().numpy()]
            fits = np.array_equal(own, self._blueprint.layer_of[self.drawn(name).target])
            if not name.endswith(SENSORY):
                for stage in self._stages:
                    read = source[stage.slots[number // 2]]
                    inside = (read >= stage.sources.start) & (read < stage.sources.stop)
                    fits &= bool(inside.all())
            if not fits:
                raise InputError(
                    f"the saved state holds synapses of other layers at {prefix}{name} than this "
                    "layer; build the layer from the wiring the state was saved with"
                )


def _with_candidates(slots: slice, count: int, target: Tensor, neurons: slice) -> slice | Tensor:
    """Return `slots` and, after the `count` slots of the set, the candidates onto `neurons`."""
    if len(target) == count:
        return slots
    fresh = torch.arange(count, len(target), device=target.device)
    fresh = fresh[(target[count:] >= neurons.start) & (target[count:] < neurons.stop)]
    return torch.cat([torch.arange(slots.start, slots.stop, device=target.device), fresh])


def _stages(*wirings: Wiring) -> tuple[_Stage, ...]:
    """Return the layers, the same in all wirings, from the input to the motor neurons."""
    stages = []
    for layer in reversed(list(wirings[0].layers)):
        neurons = wirings[0].layer_range(layer)
        ends = (neurons.start, neurons.stop)
        slots = tuple(
            slice(*(int(end) for end in np.searchsorted(wiring.recurrent.target, ends)))
            for wiring in wirings
        )
        source = np.concatenate(
            [wiring.recurrent.source[part] for wiring, part in zip(wirings, slots, strict=True)]
        )
        # Whole layers: an edit of the wiring may choose any neuron of them.
        names = set(wirings[0].layer_of[source]) or {layer}  # where all synapses are pruned
        read = [wirings[0].layer_range(str(name)) for name in names]
        sources = slice(min(r.start for r in read), max(r.stop for r in read))
        stages.append(_Stage(slice(*ends), slots, sources))
    return tuple(stages)


def _with_slice(whole: Tensor, where: slice, part: Tensor, *, dim: int) -> Tensor:
    """Return `whole` with `part` in place of a slice along `dim`."""
    size = whole.shape[dim]
    before = [whole.narrow(dim, 0, where.start)] if where.start else []
    after = [whole.narrow(dim, where.stop, size - where.stop)] if where.stop < size else []
    return torch.cat([*before, part, *after], dim=dim)
