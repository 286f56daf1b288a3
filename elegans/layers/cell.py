"""The contract between a recurrent cell and the layer that runs it; the base of wired cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import shown
from elegans.checks import (
    Placement,
    as_computed,
    check_dense,
    check_elapsed,
    check_finite,
    check_keywords,
    refuse_script,
)
from elegans.errors import InputError, SolveError
from elegans.layers.mapping import ElementwiseMapping
from elegans.layers.states import WholeStates, check_shapes
from elegans.synapses.electrical import ElectricalSynapses
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import FullyConnected, Recipe, Synapses, Wiring

_OF_NCPS = ("sparsity_mask", "ff1.weight", "layer_0.ff1.weight")


def refuse_ncps(state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise `InputError` if the keys after `prefix` are those of a cell of ``ncps``."""
    found = next((prefix + name for name in _OF_NCPS if prefix + name in state_dict), None)
    if found is not None:
        raise InputError(
            f"the state holds {found!r}, a key of ncps, expected those of elegans; "
            "elegans.from_ncps(state) builds the layer, elegans.load_ncps(layer, state) fills one "
            "that there is, both with prefix=... for a part of a state (docs/from-ncps.md)"
        )


class Cell(WholeStates, ABC):
    """One step of a recurrent circuit.

    A layer calls `run` for a whole sequence, or, where memory comes between the steps, `sense`
    once and `step` for each of them, then `read` on the states.
    """

    __prepare_scriptable__ = refuse_script

    @property
    @abstractmethod
    def wiring(self) -> Wiring:
        """The circuit as it is now."""

    @property
    @abstractmethod
    def state_size(self) -> int:
        """Number of neurons."""

    @property
    @abstractmethod
    def sensory_size(self) -> int:
        """Number of inputs."""

    @property
    @abstractmethod
    def motor_size(self) -> int:
        """Number of outputs."""

    def synapse_sets(self) -> Mapping[str, SynapseSlots]:
        """Return the synapses that can be pruned and rewired, by name; none by default."""
        return {}

    def apply_weight_constraints(self) -> None:
        """Bring parameters back into their ranges after an optimiser step; here all are free."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""

    def time_constants(self) -> tuple[Tensor, Tensor] | None:
        """Return the least and the largest time constant of each neuron in any state, (neuron,).

        In the unit of the elapsed times; None by default, for cells that have none.
        """
        return None

    @property
    def output_size(self) -> int:
        """Number of outputs, under the name that PyTorch's users expect."""
        return self.motor_size

    @property
    def output_neurons(self) -> NDArray[np.int64]:
        """The neuron that each of the `motor_size` outputs reads, by default the first ones."""
        return np.arange(self.motor_size)

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons."""
        return self.wiring.synapse_count

    @property
    def sensory_synapse_count(self) -> int:
        """Number of synapses from the inputs."""
        return self.wiring.sensory_synapse_count

    @abstractmethod
    def sense(self, inputs: Tensor) -> Any:
        """Prepare what the inputs (batch, time, input) contribute; any object, made once."""

    @abstractmethod
    def step(self, sensed: Any, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, time, output) and states (batch, time, neuron) after each step.

        Parameters
        ----------
        inputs
            (batch, time, input), time at least 1.
        state
            The state before the first step, (batch, neuron).
        elapsed
            Time that each step lasts, (batch, time).

        Notes
        -----
        A cell that can run a sequence faster in one go overrides this.
        """
        states = self.unroll(self.sense(inputs), state, elapsed)
        return self.read(states), states

    def unroll(self, sensed: Any, state: Tensor, elapsed: Tensor) -> Tensor:
        """Take step after step and return the states, (batch, time, neuron)."""
        states = []
        for t in range(elapsed.shape[1]):
            state = self.step_of(sensed, t, state, elapsed[:, t : t + 1])
            states.append(state)
        return torch.stack(states, dim=1)

    def step_of(self, sensed: Any, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Take `step`; an error says in which step of the sequence it happened."""
        try:
            return self.step(sensed, time, state, elapsed)
        except SolveError as error:
            raise SolveError(f"step {time} of the sequence: {error}") from error

    def forward(
        self, inputs: Tensor, states: Tensor, elapsed_time: float | Tensor = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Parameters
        ----------
        inputs
            Shape (batch, input). Numbers of another type are converted to that of the parameters.
        states
            Shape (batch, neuron) or (1, neuron).
        elapsed_time
            Time since the last step: a number, or shape (batch,) or (batch, 1).

        Returns
        -------
        output, state
            Shapes (batch, output) and (batch, neuron).

        Raises
        ------
        InputError
            A shape, type or value is not valid.
        SolveError
            An adaptive solver failed.
        """
        home = next((parameter.device for parameter in self.parameters()), None)
        x = as_computed("inputs", inputs, self.dtype, home)
        state = as_computed("states", states, self.dtype, home)
        for name, value, size in (
            ("inputs", x, self.sensory_size),
            ("states", state, self.state_size),
        ):
            if value.dim() != 2 or value.shape[1] != size:
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}, expected (batch, {size}); add an axis "
                    "for a single sample with unsqueeze(0)"
                )
        if len(state) == 1:
            state = state.expand(len(x), -1)
        if len(x) != len(state):
            raise InputError(
                f"got {len(x)} inputs and {len(state)} states, expected one state each"
            )
        if isinstance(elapsed_time, Tensor):
            check_dense("elapsed_time", elapsed_time, x.device)
        try:
            elapsed = torch.as_tensor(elapsed_time, dtype=x.dtype, device=x.device)
        except (OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"elapsed_time must be a number or one a sample, shape ({len(x)},), got "
                f"{shown(elapsed_time)}"
            ) from error
        if tuple(elapsed.shape) not in ((), (len(x),), (len(x), 1)):
            raise InputError(
                f"elapsed_time must be a number or one a sample, shape ({len(x)},), got shape "
                f"{tuple(elapsed.shape)}"
            )
        elapsed = elapsed.expand(len(x)) if elapsed.dim() == 0 else elapsed.reshape(len(x))
        check_finite("inputs", x, ("batch", "feature"))
        check_elapsed("elapsed_time", elapsed, ("batch",))
        output, after = self.run(x.unsqueeze(1), state, elapsed.unsqueeze(1))
        return output[:, 0], after[:, 0]

    @abstractmethod
    def read(self, state: Tensor) -> Tensor:
        """Return the output (..., output) of the state (..., neuron)."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Everything is checked before anything is copied.
        refuse_ncps(state_dict, prefix)
        self.check_saved(state_dict, prefix)
        check_shapes(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_saved(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raise `InputError` unless what is saved under `prefix` fits this circuit.

        Shapes are compared afterwards.
        """


def as_wiring(wiring: int | Recipe | Wiring, input_size: int | None) -> Wiring:
    """Return the wiring that an integer, a recipe or a wiring stands for."""
    if isinstance(wiring, Wiring):
        if input_size is not None and wiring.input_size != input_size:
            raise InputError(
                f"the wiring was made for {wiring.input_size} inputs, the layer has {input_size}; "
                f"build the wiring with input_size={input_size} or pass its recipe"
            )
        return wiring
    if isinstance(wiring, Recipe) and (input_size is not None or wiring.is_built()):
        return wiring.as_built() if input_size is None else wiring.wiring_for(input_size)
    if input_size is None:
        raise InputError(
            "the number of inputs is not known; pass in_features, or a Wiring in place of a recipe"
        )
    if isinstance(wiring, int | np.integer) and not isinstance(wiring, bool):
        return FullyConnected(int(wiring)).build(input_size)
    remedy = ""
    if hasattr(wiring, "adjacency_matrix"):
        remedy = f"; import {type(wiring).__name__} from elegans.wiring in place of ncps.wirings"
    raise InputError(
        "expected a number of units, a recipe such as AutoNCP(...) or a Wiring, got "
        f"{wiring!r}{remedy}"
    )


class WiredCell(Cell):
    """A cell whose connections lie in slots; a subclass adds their values and the step.

    Parameters
    ----------
    wiring
        A wiring, a recipe, or a number of fully connected neurons.
    in_features
        Number of inputs; may be left out when `wiring` is a wiring.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    outputs
        Number of outputs if it is not that of the motor neurons.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError
        The wiring was made for another number of inputs, or an argument is not valid.
    """

    has_gap_junctions: ClassVar[bool] = False
    """Whether the equation has a term for the gap junctions of a wiring."""

    layer_sizes: Tensor
    output_index: Tensor | None

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None,
        input_mapping: str | None,
        output_mapping: str | None,
        *,
        outputs: int | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        check_keywords(type(self), factory_kwargs)
        self._blueprint = as_wiring(wiring, in_features)
        if len(self._blueprint.electrical) and not self.has_gap_junctions:
            raise InputError(
                f"the wiring has {len(self._blueprint.electrical)} gap junctions, which the "
                f"equation of {type(self).__name__} has no place for; use an LTC, or leave them "
                "out by wiring.with_synapses(wiring.recurrent, wiring.sensory, "
                "GapJunctions.empty())"
            )
        self.input_mapping = ElementwiseMapping(input_mapping, self.sensory_size, **factory_kwargs)
        outputs = self.motor_size if outputs is None else outputs
        self.output_mapping = ElementwiseMapping(output_mapping, outputs, **factory_kwargs)
        # Travel with the state, so that one of a circuit with other layers is recognised.
        home: Placement = {"device": factory_kwargs.get("device")}
        sizes = torch.tensor(list(self._blueprint.layers.values()), **home)
        self.register_buffer("layer_sizes", sizes)
        self.register_buffer(
            "output_index",
            None
            if self._blueprint.reads_first_neurons
            else torch.tensor(self._blueprint.outputs, **home),
        )

    @abstractmethod
    def synapse_sets(self) -> Mapping[str, SynapseSlots]:
        """Return the synapses by the name of their module; ``...sensory`` are from inputs."""

    def drawn(self, name: str) -> Synapses:
        """Return the connections that a set of synapses was made with."""
        synapses: Synapses = getattr(self._blueprint, name)
        return synapses

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew and return to the wiring that the cell was made with.

        For a cell made on the meta device: ``cell.to_empty(device=...)``, then this.
        """
        for name, synapses in self.synapse_sets().items():
            synapses.reset_parameters(self.drawn(name), generator)
        self.input_mapping.reset_parameters()
        self.output_mapping.reset_parameters()
        self.layer_sizes.copy_(torch.tensor(list(self._blueprint.layers.values())))
        if self.output_index is not None:
            self.output_index.copy_(torch.tensor(self._blueprint.outputs))

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now."""
        sets = self.synapse_sets()
        junctions = sets.get("electrical")
        return self._blueprint.with_synapses(
            sets["recurrent"].synapses(),
            sets["sensory"].synapses(),
            junctions.junctions() if isinstance(junctions, ElectricalSynapses) else None,
        )

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self._blueprint.units

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""
        return self._blueprint.input_size

    @property
    def motor_size(self) -> int:
        """Number of motor neurons, or of the neurons that outputs of the wiring read."""
        return self._blueprint.output_size

    @property
    def output_neurons(self) -> NDArray[np.int64]:
        """The neuron that each of the `motor_size` outputs reads, those of the wiring."""
        return self._blueprint.outputs

    @property
    def synapse_count(self) -> int:
        """Number of open synapses between neurons."""
        return self.synapse_sets()["recurrent"].open_count

    @property
    def sensory_synapse_count(self) -> int:
        """Number of open synapses from the inputs."""
        return self.synapse_sets()["sensory"].open_count

    def motor_states(self, state: Tensor) -> Tensor:
        """Return the states that the outputs read, shape (..., motor)."""
        if self.output_index is None:
            return state[..., : self.motor_size]
        return state.index_select(-1, self.output_index)

    def read(self, state: Tensor) -> Tensor:
        """Return the mapped states of the motor neurons, shape (..., output)."""
        output: Tensor = self.output_mapping(self.motor_states(state))
        return output

    def motor_readers(self) -> tuple[str, ...]:
        """Return the weights (..., motor) that read motor neurons, by their dotted name."""
        return ("output_mapping.weight",)

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return {
            "input_mapping": self.input_mapping.kind,
            "output_mapping": self.output_mapping.kind,
        }

    def check_saved(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raise `InputError` unless layers and connections in a state fit this cell."""
        sizes = state_dict.get(prefix + "layer_sizes")
        if (
            isinstance(sizes, Tensor)
            and not sizes.is_meta
            and sizes.tolist() != [*self._blueprint.layers.values()]
        ):
            raise InputError(
                f"the saved state is of layers of {sizes.tolist()} neurons, motor first, this "
                f"circuit has {dict(self._blueprint.layers)}; build the layer from the wiring the "
                "state was saved with"
            )
        self._check_saved_outputs(state_dict, prefix)
        for name, slots in self.synapse_sets().items():
            sources = self.sensory_size if name.endswith("sensory") else self.state_size
            slots.check_state(state_dict, f"{prefix}{name}.", sources, self.state_size)

    def _check_saved_outputs(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raise `InputError` if the outputs of a saved circuit read other neurons."""
        if prefix + "layer_sizes" not in state_dict:
            return
        saved = state_dict.get(prefix + "output_index")
        if isinstance(saved, Tensor) and saved.is_meta:
            return
        own = None if self.output_index is None else self._blueprint.outputs.tolist()
        given = saved.tolist() if isinstance(saved, Tensor) else None
        if given != own:
            read, mine = (
                "the first neurons" if which is None else f"the neurons {shown(which)}"
                for which in (given, own)
            )
            raise InputError(
                f"the outputs of the saved state read {read}, those of this circuit {mine}; build "
                "the layer from the wiring the state was saved with"
            )
