"""Rosenbrock: coefficients that refuse misprints, L-stability, and truly stiff systems."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from elegans.errors import SolveError, SolverError
from elegans.solvers import RODAS3, GatedLinearSystem, Rosenbrock, System, integrate


class VanDerPol(System):
    stiffness = 1000.0

    def derivative(self, state):
        x, v = state.unbind(-1)
        return torch.stack([v, self.stiffness * (1 - x * x) * v - x], dim=-1)


class FastAndSlow(GatedLinearSystem):
    """Two neurons with time constants of about 1e-6 and 1, coupled by steep gates."""

    @property
    def capacitance(self):
        return torch.tensor([1e-6, 1.0], dtype=torch.float64)

    def conductance_and_drive(self, state):
        gate = torch.sigmoid(6 * (state.flip(-1) - 0.2))
        reversal = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return 0.5 + 2 * gate, 0.5 * 0.4 + 2 * gate * reversal


class Growth(System):
    def __init__(self, rate):
        self.rate = rate

    def derivative(self, state):
        return self.rate * state


def radau(system, start, time):
    def derivative(_, x):
        return system.derivative(torch.from_numpy(x)[None])[0].numpy()

    return solve_ivp(derivative, (0, time), start, "Radau", rtol=1e-11, atol=1e-13).y[:, -1]


def stability_function(z):
    """R(z) by one step of x' = z x; z complex through a rotation-and-scaling of two neurons."""
    matrix = torch.tensor([[z.real, -z.imag], [z.imag, z.real]], dtype=torch.float64)

    class Plane(System):
        def derivative(self, state):
            return state @ matrix.T

        def jacobian(self, state):
            return matrix.expand(len(state), 2, 2)

    state = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    re, im = Rosenbrock().step(Plane(), state, torch.tensor(1.0, dtype=torch.float64))[0].tolist()
    return complex(re, im)


def test_the_derived_form_has_the_published_coefficients():
    """The transformed coefficients as they are printed for RODAS3 in the Kinetic PreProcessor."""
    assert RODAS3.stages == (
        ((), ()),
        ((0.0,), (4.0,)),
        ((2.0, 0.0), (1.0, -1.0)),
        ((2.0, 0.0, 1.0), (1.0, -1.0, -8 / 3)),
    )
    assert RODAS3.output == (2.0, 0.0, 1.0, 1.0)


def _every_misprint():
    for field in ("alpha", "gamma"):
        for i in range(4):
            for j in range(i):
                yield field, i, j
    for j in range(4):
        yield "weights", None, j
    yield "diagonal", None, None


@pytest.mark.parametrize(("field", "i", "j"), list(_every_misprint()))
def test_every_misprinted_coefficient_is_refused(field, i, j):
    value, slip = getattr(RODAS3, field), Fraction(1, 1000)
    if field == "diagonal":
        wrong = value + slip
    elif field == "weights":
        wrong = tuple(x + slip if k == j else x for k, x in enumerate(value))
    else:
        row = tuple(x + slip if k == j else x for k, x in enumerate(value[i]))
        wrong = (*value[:i], row, *value[i + 1 :])
    with pytest.raises(SolverError, match=r"got a tableau (with sum b|whose last stage)"):
        replace(RODAS3, **{field: wrong})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 4}, r"sum b alpha\^3 = 1/3, expected 1/4 for order 4"),
        ({"order": 5}, "got a tableau of order 5, expected 1 to 4"),
        ({"diagonal": Fraction(0)}, "got a tableau with diagonal 0, expected a positive fraction"),
        ({"alpha": ((), ())}, r"4 weights and alpha rows of lengths \[0, 0\]"),
    ],
)
def test_malformed_tableaus_are_refused(change, message):
    with pytest.raises(SolverError, match=message):
        replace(RODAS3, **change)


def test_a_method_of_full_order_that_is_not_stiffly_accurate_is_refused():
    """Two stages of ROS2 with gamma = 1/2: second order, but alive at infinity."""
    half = Fraction(1, 2)
    with pytest.raises(SolverError, match="only stiffly accurate methods damp"):
        replace(
            RODAS3,
            diagonal=half,
            alpha=((), (Fraction(1),)),
            gamma=((), (Fraction(-1),)),
            weights=(half, half),
            order=2,
        )


def test_the_stability_function_agrees_with_the_exponential_to_order_three():
    for z in (0.1, 0.05, 0.1j, 0.05j, -0.1 + 0.05j):
        assert abs(stability_function(complex(z)) - np.exp(z)) < 0.1 * abs(z) ** 4


def test_l_stability():
    for y in np.logspace(-3, 8, 60):
        assert abs(stability_function(complex(0, y))) <= 1 + 1e-12
        assert abs(stability_function(complex(-y, y))) < 1
    sizes = [abs(stability_function(complex(-(10.0**k), 0))) for k in (2, 4, 6, 8)]
    assert all(size < 10 * 10.0**-k for size, k in zip(sizes, (2, 4, 6, 8), strict=True))


def test_van_der_pol_follows_its_slow_manifold_in_long_steps():
    system, start = VanDerPol(), torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    end = integrate(system, start, [0.0, 500.0], "rosenbrock", substeps=100)[-1, 0]
    exact = torch.from_numpy(radau(system, [2.0, 0.0], 500.0))
    assert exact[0].item() == pytest.approx(1.5967689, abs=1e-7)  # it has moved
    torch.testing.assert_close(end, exact, rtol=0, atol=1e-5)
    with pytest.raises(SolveError, match="solver 'rk4' expected finite potentials"):
        integrate(system, start, [0.0, 500.0], "rk4", substeps=100)


@pytest.mark.slow
def test_rates_of_a_million_are_followed_in_steps_of_a_fiftieth():
    system, start = FastAndSlow(), torch.tensor([[-0.7, 0.9]], dtype=torch.float64)
    # Fifty steps for the first jump of the fast neuron, fifty for all that follows.
    end = integrate(system, start, [0.0, 2e-5, 1.0], "rosenbrock", substeps=50)[-1, 0]
    exact = torch.from_numpy(radau(system, [-0.7, 0.9], 1.0))
    torch.testing.assert_close(end, exact, rtol=0, atol=1e-5)


def test_the_jacobian_of_the_system_is_used_once_a_step():
    calls = []

    class Known(Growth):
        def jacobian(self, state):
            calls.append(state)
            return super().jacobian(state)

    state = torch.ones(2, 3, dtype=torch.float64)
    Rosenbrock().advance(Known(-2.0), state, torch.tensor(1.0, dtype=torch.float64), substeps=5)
    assert len(calls) == 5


def test_a_scalar_step_in_another_dtype_keeps_the_dtype_of_the_state():
    moved = Rosenbrock().step(Growth(-1.0), torch.ones(1, 2), torch.tensor(0.1).double())
    assert moved.dtype == torch.float32


def test_a_singular_matrix_gives_a_located_error():
    """I - h J / 2 vanishes for x' = 2 x and h = 1."""
    with pytest.raises(SolveError, match=r"at time 1 \(step 1 of 1\), sample 0, neuron 0"):
        integrate(Growth(2.0), torch.ones(1, 1, dtype=torch.float64), [0.0, 1.0], "rosenbrock")
