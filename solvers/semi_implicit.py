"""The semi-implicit ("fused") step, the default of liquid networks."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from elegans.solvers.base import GatedLinearSystem, Solver, System


class SemiImplicit(Solver):
    r"""Implicit Euler in the neuron's own potential, explicit in the gates.

    .. math:: x^+ = \frac{(C/h)\,x + A}{C/h + G}

    First order, unconditionally stable: the new state is a convex combination of the old state
    and the target A / G for any h. It is evaluated as x + h (A - G x) / (C + h G), the same
    number written so that h = 0 is exactly the identity and needs no special case.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021, algorithm 1.

    Examples
    --------
    One step of any length stays between the state and the target, here 1 and 0:

    >>> import torch
    >>> from elegans.solvers import GatedLinearSystem, SemiImplicit
    >>> class Leak(GatedLinearSystem):
    ...     capacitance = torch.ones(1)
    ...     def conductance_and_drive(self, state):
    ...         return torch.ones_like(state), torch.zeros_like(state)
    >>> SemiImplicit().step(Leak(), torch.ones(3, 1), torch.tensor([[0.0], [1.0], [9.0]]))
    tensor([[1.0000],
            [0.5000],
            [0.1000]])
    """

    name = "semi_implicit"
    order = 1
    requires = GatedLinearSystem
    kernel = "semi_implicit"
    is_stable = True
    is_elementwise = True

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step; see `Solver.step`."""
        self.check(system)
        gated = cast(GatedLinearSystem, system)
        conductance, drive = gated.conductance_and_drive(state)
        slope = drive - conductance * state
        return state + h * slope / (gated.capacitance + h * conductance)
