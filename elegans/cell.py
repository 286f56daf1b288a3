"""The contract between a recurrent cell and the layer that runs it over sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elegans.errors import InputError, SolveError
from elegans.synapses import SynapseParameters
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

    def synapse_sets(self) -> dict[str, SynapseParameters]:
        """Return the trainable synapses by kind, ``"recurrent"`` and ``"sensory"``."""
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
