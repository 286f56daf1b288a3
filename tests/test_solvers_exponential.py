"""The exponential steps: phi1 to rounding, exactness for frozen gates, no trouble at zero."""

from decimal import Decimal, getcontext

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from elegans.solvers import Exponential, ExponentialMidpoint, GatedLinearSystem
from elegans.solvers.exponential import phi1

BOTH = pytest.mark.parametrize(
    "solver", [Exponential(), ExponentialMidpoint()], ids=lambda s: s.name
)


class Frozen(GatedLinearSystem):
    """Gates that do not depend on the state; the closed form is known."""

    def __init__(self, capacitance, conductance, drive):
        self.C, self.G, self.A = capacitance, conductance, drive

    @property
    def capacitance(self):
        return self.C

    def conductance_and_drive(self, state):
        return self.G.expand_as(state), self.A.expand_as(state)

    def exact(self, state, h):
        target = self.A / self.G
        return target + (state - target) * torch.exp(-self.G * h / self.C)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def exact_phi(order, z):
    """phi_order(z) by its series in 80 digits, enough for the cancellation at z = -60."""
    getcontext().prec = 80
    z, term, total = Decimal(z), Decimal(1), Decimal(0)
    for k in range(1, order + 1):
        term /= k
    for n in range(1, 400):
        total += term
        term *= z / (n + order)
    return total


@pytest.mark.parametrize(
    "z",
    [0.0, -1e-300, -1e-17, -1e-8, 1e-8, -1e-3, -0.3, -0.4999999, -0.5, 0.5, -0.7, -3.0, 2.0, -60.0],
)
def test_phi1_and_two_derivatives_are_exact_to_rounding(z):
    x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = phi1(x)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    one, two, three = (exact_phi(k, z) for k in (1, 2, 3))
    # phi_k' = phi_k - k phi_{k+1}
    assert value.item() == pytest.approx(float(one), rel=1e-15)
    assert first.item() == pytest.approx(float(one - two), rel=2e-15)
    assert second.item() == pytest.approx(float((one - two) - (two - 2 * three)), rel=2e-14)


def test_phi1_in_float32_and_for_extreme_arguments():
    z = torch.tensor([0.0, -0.1, -0.49, -2.0, -1e30])
    exact = phi1(z.double()).float()
    torch.testing.assert_close(phi1(z), exact, rtol=2e-7, atol=0)
    assert phi1(torch.tensor(float("nan"))).isnan()


@BOTH
@pytest.mark.parametrize("h", [1e-9, 0.1, 1.0, 1e3, 1e12])
def test_frozen_gates_are_integrated_exactly(solver, h):
    generator = torch.Generator().manual_seed(0)
    C, G, A, x = (
        torch.rand(5, 4, dtype=torch.float64, generator=generator) * scale + shift
        for scale, shift in ((2, 0.1), (9, 1e-3), (4, -2), (2, -1))
    )
    system = Frozen(C, G, A)
    step = torch.tensor(h, dtype=torch.float64)
    torch.testing.assert_close(
        solver.step(system, x, step), system.exact(x, step), rtol=1e-13, atol=1e-14
    )
    twice = solver.advance(system, x, step, substeps=2)
    torch.testing.assert_close(twice, system.exact(x, step), rtol=1e-13, atol=1e-14)


@BOTH
def test_a_neuron_without_conductance_integrates_its_drive(solver):
    C, A, x, h = tensor(2.0), tensor(3.0), tensor([1.5]), tensor([0.4])
    G = tensor(0.0).requires_grad_()
    moved = solver.step(Frozen(C, G, A), x, h)
    torch.testing.assert_close(moved, x + h * A / C, rtol=1e-15, atol=0)
    (slope,) = torch.autograd.grad(moved.sum(), G)
    # d/dG [x + h/C (A - G x) phi1(-G h/C)] at G = 0, with phi1'(0) = 1/2
    torch.testing.assert_close(slope, -(h / C * x + (h / C) ** 2 * A / 2)[0], rtol=1e-14, atol=0)


@BOTH
def test_gradients_twice_where_conductance_or_time_is_zero(solver):
    C, A = tensor(0.7, 1.3, 0.9), tensor(0.5, -1.0, 2.0)
    G = tensor(0.0, 2.0, 1e-9)
    x = tensor([0.3, -0.4, 0.1], [0.2, 0.6, -0.9])
    h = tensor([0.0], [0.8])
    inputs = [value.requires_grad_() for value in (C, G, A, x, h)]

    def step(C, G, A, x, h):
        return solver.step(Frozen(C, G, A), x, h)

    assert gradcheck(step, inputs)
    assert gradgradcheck(step, inputs)


def test_zero_time_moves_at_the_speed_of_the_system():
    system, x = Frozen(tensor(0.5), tensor(2.0), tensor(3.0)), tensor([0.25])
    h = tensor([0.0]).requires_grad_()
    (speed,) = torch.autograd.grad(Exponential().step(system, x, h).sum(), h)
    torch.testing.assert_close(speed, system.derivative(x), rtol=1e-15, atol=0)
