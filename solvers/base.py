"""The contract between a system that moves and a solver that moves it.

A `System` is an autonomous right-hand side over a batch of states; whatever drives it (the
inputs of a layer, say) is held constant while a solver steps. A `Solver` takes one step of a
given length, per sample if asked, and states its order; the conformance suite
`tests/test_solvers_conformance.py` fits that order for every registered solver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from elegans.errors import SolverError


class System(ABC):
    """An autonomous system of ordinary differential equations, dx/dt = f(x).

    States have the shape (batch, neuron); samples of a batch do not interact.

    Examples
    --------
    >>> from elegans.solvers import integrate
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> Decay().jacobian(torch.zeros(1, 1))
    tensor([[[-1.]]])
    >>> integrate(Decay(), torch.ones(1, 1), [0.0, 1.0], "rk4", substeps=10)[-1]  # exp(-1)
    tensor([[0.3679]])
    """

    @abstractmethod
    def derivative(self, state: Tensor) -> Tensor:
        """Return f(x), shape (batch, neuron), for states of the same shape."""

    def jacobian(self, state: Tensor) -> Tensor:
        """Return df_i/dx_j at ``[:, i, j]``, shape (batch, neuron, neuron).

        The default differentiates `derivative`, one backward pass a neuron; a system that knows
        its Jacobian in closed form overrides it.
        """
        with torch.enable_grad():
            x = state if state.requires_grad else state.detach().requires_grad_()
            rows = [
                torch.autograd.grad(f_i.sum(), x, create_graph=True, materialize_grads=True)[0]
                if f_i.requires_grad
                else torch.zeros_like(x)  # f does not depend on the state: no graph to walk
                for f_i in self.derivative(x).unbind(-1)
            ]
        jacobian = torch.stack(rows, dim=-2)
        return jacobian if torch.is_grad_enabled() else jacobian.detach()

    def parameters(self) -> tuple[Tensor, ...]:
        """Return every tensor besides the state that f depends on; adjoint solvers need them."""
        return ()


class GatedLinearSystem(System):
    """A system that is linear in each neuron once its gates are frozen.

    C_i dx_i/dt = A_i(x) - G_i(x) x_i = G_i(x) (r_i(x) - x_i), with total conductance G >= 0,
    drive A and target r = A / G. Semi-implicit and exponential solvers use this structure.

    Examples
    --------
    A neuron with leak 1 towards 0 and a synapse of conductance 3 towards 1, its gate open:

    >>> class Open(GatedLinearSystem):
    ...     capacitance = torch.tensor([2.0])
    ...
    ...     def conductance_and_drive(self, state):
    ...         return torch.full_like(state, 1.0 + 3.0), torch.full_like(state, 3.0 * 1.0)
    >>> x = torch.zeros(1, 1)
    >>> Open().target(x), Open().time_constant(x), Open().derivative(x)
    (tensor([[0.7500]]), tensor([[0.5000]]), tensor([[1.5000]]))
    """

    @property
    @abstractmethod
    def capacitance(self) -> Tensor:
        """The capacitance C > 0 of each neuron, shape (neuron,)."""

    @abstractmethod
    def conductance_and_drive(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance G and drive A, both (batch, neuron), with gates at `state`."""

    def derivative(self, state: Tensor) -> Tensor:
        """Return f(x) = (A - G x) / C, shape (batch, neuron)."""
        conductance, drive = self.conductance_and_drive(state)
        return (drive - conductance * state) / self.capacitance

    def target(self, state: Tensor) -> Tensor:
        """Return r = A / G, the potential each neuron relaxes to, shape (batch, neuron)."""
        conductance, drive = self.conductance_and_drive(state)
        return drive / conductance

    def time_constant(self, state: Tensor) -> Tensor:
        """Return tau = C / G, shape (batch, neuron), in the unit of the elapsed times."""
        return self.capacitance / self.conductance_and_drive(state)[0]


class Solver(ABC):
    """One integration method.

    A concrete solver states its `name` (for choosing it by name), its `order`, the kind of
    system it needs, and implements `step`. Solvers hold settings only, never state: one object
    may serve many layers and threads.

    Examples
    --------
    >>> from elegans.solvers import integrate
    >>> class Heun(Solver):
    ...     name, order = "heun", 2
    ...
    ...     def step(self, system, state, h):
    ...         slope = system.derivative(state)
    ...         return state + h / 2 * (slope + system.derivative(state + h * slope))
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> integrate(Decay(), torch.ones(1, 1), [0.0, 1.0], Heun(), substeps=10)[-1]  # exp(-1) + 6e-4
    tensor([[0.3685]])
    """

    requires: ClassVar[type[System]] = System
    kernel: ClassVar[str | None] = None
    """Name of the step in `elegans.solvers.fused`, if there is one."""
    is_stable: ClassVar[bool] = False
    """Whether steps of any length keep a circuit with positive conductances bounded."""
    is_elementwise: ClassVar[bool] = False
    """Whether a neuron that reads itself alone is stepped by itself, and each sample as well."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name it is chosen by; a subclass writes ``name = "my_solver"``."""

    @property
    @abstractmethod
    def order(self) -> int:
        """The order p: the error after a fixed time shrinks like h^p."""

    @abstractmethod
    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step of length `h` and return the new state, shape (batch, neuron).

        Parameters
        ----------
        system
            The right-hand side; an instance of `requires`.
        state
            States, shape (batch, neuron).
        h
            Step length in the unit of time of the system, shape (batch, 1) or (); h = 0
            returns the state exactly.
        """

    def advance(self, system: System, state: Tensor, elapsed: Tensor, substeps: int) -> Tensor:
        """Move `state` through the time `elapsed` in `substeps` equal steps.

        Adaptive solvers choose their own steps and do not use `substeps`.
        """
        h = elapsed / substeps
        for _ in range(substeps):
            state = self.step(system, state, h)
        return state

    def check(self, system: System) -> None:
        """Raise `SolverError` when this solver cannot integrate `system`."""
        if not isinstance(system, self.requires):
            remedy = f"derive {type(system).__name__} from elegans.solvers.{self.requires.__name__}"
            if isinstance(system, System):
                remedy += " or choose a solver for general systems such as 'rk4'"
            raise SolverError(
                f"solver {self.name!r} needs a {self.requires.__name__}, got "
                f"{type(system).__name__}; {remedy}"
            )
