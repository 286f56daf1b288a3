"""The base of cells on a wiring whose step integrates a differential equation."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol, Unpack

import torch
from torch import Tensor

from elegans.checks import MOST_UNFOLDS, Placement, check_count
from elegans.layers.cell import WiredCell
from elegans.solvers import Solver, System, get_solver
from elegans.wiring import Recipe, Wiring


class SensedFlow(Protocol):
    """What `sense` of a `FlowCell` returns: the equation at each step of the inputs."""

    def at(self, time: int) -> System:
        """Return the equation under the input of one time step."""


class FlowCell(WiredCell):
    """A cell that integrates the equation that its inputs leave, in `ode_unfolds` parts a step.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`.

    Raises
    ------
    InputError
        An argument is not valid, or the wiring was made for another number of inputs.
    SolverError
        There is no such solver.
    """

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None,
        input_mapping: str | None,
        output_mapping: str | None,
        ode_unfolds: int,
        solver: str | Solver,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__(wiring, in_features, input_mapping, output_mapping, **factory_kwargs)
        self.ode_unfolds = check_count("ode_unfolds", ode_unfolds, most=MOST_UNFOLDS)
        self.solver = get_solver(solver)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew; see `WiredCell.reset_parameters`."""
        super().reset_parameters(generator)
        self._draw_neurons(generator)

    @abstractmethod
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        """Draw the parameters of which each neuron has one."""

    @abstractmethod
    def sense(self, inputs: Tensor) -> SensedFlow:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""

    def dynamics(self, inputs: Tensor) -> System:
        """Return the differential equation under constant inputs, shape (batch, input)."""
        return self.sense(inputs.unsqueeze(1)).at(0)

    def step(self, sensed: SensedFlow, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        return self.solver.advance(sensed.at(time), state, elapsed, self.ode_unfolds)

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {"ode_unfolds": self.ode_unfolds, "solver": self.solver}
