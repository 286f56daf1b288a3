"""The contract between a recurrent cell and the layer that runs it over sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elegans.checks import as_computed, check_elapsed, check_finite
from elegans.errors import InputError, SolveError
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import FullyConnected, Recipe, Wiring


class Cell(nn.Module, ABC):
    """One step of a recurrent circuit.

    A layer calls `run` for a whole sequence, or, where memory comes between the steps, `sense`
    once and `step` for each of them, then `read` on the states.
    """

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

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""

    @property
    def output_size(self) -> int:
        """Number of outputs, under the name that PyTorch's users expect."""
        return self.motor_size

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
            Shape (batch, input).
        states
            Shape (batch, neuron).
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
        x = as_computed("inputs", inputs, self.dtype)
        state = as_computed("states", states, self.dtype)
        for name, value, size in (
            ("inputs", x, self.sensory_size),
            ("states", state, self.state_size),
        ):
            if value.dim() != 2 or value.shape[1] != size:
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}, expected (batch, {size}); add an axis "
                    "for a single sample with unsqueeze(0)"
                )
        if len(x) != len(state):
            raise InputError(
                f"got {len(x)} inputs and {len(state)} states, expected one state each"
            )
        elapsed = torch.as_tensor(elapsed_time, dtype=x.dtype, device=x.device)
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


def as_wiring(wiring: int | Recipe | Wiring, input_size: int | None) -> Wiring:
    """Return the wiring that an integer, a recipe or a wiring stands for."""
    if isinstance(wiring, Wiring):
        if input_size is not None and wiring.input_size != input_size:
            raise InputError(
                f"the wiring was made for {wiring.input_size} inputs, the layer has {input_size}; "
                f"build the wiring with input_size={input_size} or pass its recipe"
            )
        return wiring
    if input_size is None:
        raise InputError(
            "the number of inputs is not known; pass in_features, or a Wiring in place of a recipe"
        )
    if isinstance(wiring, Recipe):
        return wiring.build(input_size)
    if isinstance(wiring, int | np.integer) and not isinstance(wiring, bool):
        return FullyConnected(int(wiring)).build(input_size)
    remedy = ""
    if hasattr(wiring, "adjacency_matrix"):
        remedy = f"; import {type(wiring).__name__} from elegans.wiring in place of ncps.wirings"
    raise InputError(
        "expected a number of units, a recipe such as AutoNCP(...) or a Wiring, got "
        f"{wiring!r}{remedy}"
    )
