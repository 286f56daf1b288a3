"""The contract between a recurrent cell and the layer that runs it over sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from elegans.synapses import SynapseParameters
from elegans.wiring import Wiring


class Cell(nn.Module, ABC):
    """One step of a recurrent circuit.

    A layer calls `sense` once for a whole sequence and `step` once a time step, then `read` on the
    states.
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

    @abstractmethod
    def sense(self, inputs: Tensor) -> Any:
        """Prepare what the inputs (batch, time, input) contribute; any object, made once."""

    @abstractmethod
    def step(self, sensed: Any, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""

    @abstractmethod
    def read(self, state: Tensor) -> Tensor:
        """Return the output (..., output) of the state (..., neuron)."""
