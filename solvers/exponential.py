"""Exponential steps: exact for frozen gates, of first and of second order.

With its gates frozen a neuron obeys C dx/dt = A - G x, whose solution is an exponential; the
solvers here follow it and differ only in where they freeze the gates.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from elegans.solvers.base import GatedLinearSystem, Solver, System

# Below this |z| phi1 is a polynomial. Not smaller: derivatives of (exp(z) - 1)/z cancel like
# 1/z and 1/z^2, and are wanted up to second order.
_SERIES_RADIUS = 0.5


def phi1(z: Tensor) -> Tensor:
    r"""Return phi1(z) = (exp(z) - 1) / z, with phi1(0) = 1, smooth through z = 0.

    .. math:: \varphi_1(z) = \int_0^1 e^{(1-\theta) z}\,d\theta
              = \sum_{n \ge 0} \frac{z^n}{(n + 1)!}

    Value, gradient and second gradient are accurate to rounding for every z, z = 0 included: the
    series is used near 0 and the quotient elsewhere, each kept away from where it fails.

    Parameters
    ----------
    z
        Any shape, floating; -G h / C in the steps below, hence usually not positive.

    Returns
    -------
    Tensor
        The shape and dtype of `z`.

    References
    ----------
    Hochbruck, Ostermann, "Exponential integrators", Acta Numerica 19 (2010), section 2.1.

    Examples
    --------
    >>> phi1(torch.tensor([0.0, -1.0, -1e6], dtype=torch.float64))
    tensor([1.0000e+00, 6.3212e-01, 1.0000e-06], dtype=torch.float64)
    """
    terms = 16 if z.dtype == torch.float64 else 10
    near = z.abs() < _SERIES_RADIUS
    # Both branches of `where` are differentiated: each gets a harmless argument where it is not
    # chosen, or 0 * inf would reach the gradient.
    z_near = torch.where(near, z, 0.0)
    z_far = torch.where(near, -1.0, z)
    series = torch.full_like(z, 1 / math.factorial(terms))
    for n in range(terms - 1, 0, -1):
        series = series * z_near + 1 / math.factorial(n)
    return torch.where(near, series, torch.expm1(z_far) / z_far)


def _relax(
    state: Tensor, h: Tensor, capacitance: Tensor, conductance: Tensor, drive: Tensor
) -> Tensor:
    """Follow C dx/dt = A - G x for the time h; h = 0 adds exactly zero."""
    rate = h / capacitance  # (batch, neuron) or (neuron,)
    return state + rate * (drive - conductance * state) * phi1(-rate * conductance)


class Exponential(Solver):
    r"""The exact solution for gates frozen at the start of the step (exponential Euler).

    .. math:: x^+ = x + \frac{h}{C}(A - G x)\,\varphi_1\!\left(-\frac{G h}{C}\right)
              = r + (x - r)\,e^{-G h / C}, \qquad r = A / G

    First order, unconditionally stable, usually closer than the semi-implicit step. The left
    form needs no division by G, so a neuron without any conductance integrates its drive.

    References
    ----------
    Hochbruck, Ostermann, "Exponential integrators", Acta Numerica 19 (2010), section 2.1, where
    it is the exponential Euler method.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import Exponential, GatedLinearSystem
    >>> class Leak(GatedLinearSystem):
    ...     capacitance = torch.ones(1)
    ...     def conductance_and_drive(self, state):
    ...         return torch.ones_like(state), torch.zeros_like(state)
    >>> Exponential().step(Leak(), torch.ones(2, 1), torch.tensor([[1.0], [1000.0]]))  # 1/e, 0
    tensor([[0.3679],
            [0.0000]])
    """

    name = "exponential"
    order = 1
    requires = GatedLinearSystem
    kernel = "exponential"
    is_stable = True
    is_elementwise = True

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step; see `Solver.step`."""
        self.check(system)
        gated = cast(GatedLinearSystem, system)
        return _relax(state, h, gated.capacitance, *gated.conductance_and_drive(state))


class ExponentialMidpoint(Solver):
    r"""The exact solution for gates frozen at the midpoint, found by an exponential half step.

    .. math::
        x_{1/2} &= x + \tfrac{h}{2C}\,(A(x) - G(x)\,x)\,\varphi_1(-\tfrac{h}{2C} G(x)) \\
        x^+ &= x + \tfrac{h}{C}\,(A(x_{1/2}) - G(x_{1/2})\,x)\,
               \varphi_1(-\tfrac{h}{C} G(x_{1/2}))

    Second order, two evaluations of the gates, unconditionally stable.

    References
    ----------
    The Magnus midpoint rule of Iserles, Norsett, "On the solution of linear differential
    equations in Lie groups", Phil. Trans. R. Soc. A 357 (1999), with a predicted midpoint because
    the coefficients depend on the state.

    Examples
    --------
    Logistic growth, dx/dt = x - x^2 with conductance x and drive x; the exact answer is
    1 / (1 + e^-1) = 0.7311:

    >>> import torch
    >>> from elegans.solvers import Exponential, ExponentialMidpoint, GatedLinearSystem
    >>> class Logistic(GatedLinearSystem):
    ...     capacitance = torch.ones(1)
    ...     def conductance_and_drive(self, state):
    ...         return state, state
    >>> start, h = torch.tensor([[0.5]]), torch.tensor(1.0)
    >>> Exponential().step(Logistic(), start, h)
    tensor([[0.6967]])
    >>> ExponentialMidpoint().step(Logistic(), start, h)
    tensor([[0.7285]])
    """

    name = "exponential_midpoint"
    order = 2
    requires = GatedLinearSystem
    is_stable = True
    is_elementwise = True

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take one step; see `Solver.step`."""
        self.check(system)
        gated = cast(GatedLinearSystem, system)
        capacitance = gated.capacitance
        middle = _relax(state, h / 2, capacitance, *gated.conductance_and_drive(state))
        return _relax(state, h, capacitance, *gated.conductance_and_drive(middle))
