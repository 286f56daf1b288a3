"""Fast trajectories against the equations integrated by others, tightly."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from elegans.errors import InputError, SolveError
from elegans.replications.hawkmoth import (
    Moth,
    derivative,
    energy,
    simulate,
    simulation,
    stiff_steps,
)
from elegans.replications.hawkmoth.dynamics import drag, mass_matrix
from elegans.replications.hawkmoth.simulation import RTOL, SCALES
from elegans.replications.hawkmoth.trajectories import Ranges, draw
from elegans.solvers import Rosenbrock, System

# Deviations over the published data at 0.02 s, rounded down; errors are relative to them.
SPREAD = np.array([17.0, 17.0, 2.1, 2.1, 860.0, 860.0, 115.0, 115.0])


def flights(count, seed=0):
    return draw(Ranges(), seed, 0, count)


def by_scipy(moth, states, controls, duration=0.02, method="DOP853"):
    """Return the end of a single trajectory, or of several that are integrated as one system."""
    end = solve_ivp(
        lambda t, s: derivative(moth, s.reshape(states.shape), controls).ravel(), (0, duration),
        states.ravel(), method=method, rtol=1e-12,
        atol=np.broadcast_to(1e-12 * np.array(SCALES), states.shape).ravel(),
    )  # fmt: skip
    assert end.success
    return end.y[:, -1].reshape(states.shape)


# --- the method ------------------------------------------------------------------------------


def order_conditions(beta, alpha, weights, order):
    """Return the residuals of the conditions of a Rosenbrock method, up to `order`.

    Hairer, Wanner, "Solving Ordinary Differential Equations II", section IV.7: beta = alpha +
    gamma with its diagonal.
    """
    a, b = alpha.sum(1), beta.sum(1)
    residuals = [weights.sum() - 1, weights @ b - 1 / 2]
    if order >= 3:
        residuals += [weights @ a**2 - 1 / 3, weights @ beta @ b - 1 / 6]
    if order >= 4:
        residuals += [
            weights @ a**3 - 1 / 4,
            weights @ (a * (alpha @ b)) - 1 / 8,
            weights @ beta @ a**2 - 1 / 12,
            weights @ beta @ beta @ b - 1 / 24,
        ]
    return np.abs(residuals).max()


def tableau():
    """Return beta, alpha, and the weights of both solutions from the coefficients in use."""
    a, c = np.zeros((6, 6)), np.zeros((6, 6))
    a[:, :5], c[:, :5] = stiff_steps.A, stiff_steps.C
    gamma = np.linalg.inv(np.eye(6) / stiff_steps.GAMMA - c)
    alpha = a @ gamma
    embedded = a[5].copy()  # the argument of the last stage
    solution = embedded + np.eye(6)[5]
    return alpha + gamma, alpha, solution @ gamma, embedded @ gamma


def test_coefficients_are_of_order_4_with_an_estimate_of_order_3():
    beta, alpha, weights, embedded = tableau()
    assert order_conditions(beta, alpha, weights, 4) < 1e-13
    assert order_conditions(beta, alpha, embedded, 3) < 1e-13
    assert order_conditions(beta, alpha, embedded, 4) > 1e-3
    beta[3, 1] += 1e-6
    assert order_conditions(beta, alpha, weights, 4) > 1e-8


def test_coefficients_damp_infinitely_stiff_modes():
    """R(z) = 1 + z b (1 - z beta)^-1 1 vanishes at infinity and is at most 1 on the left."""
    beta, _, weights, embedded = tableau()
    ones = np.ones(6)

    def amplification(z, b):
        return abs(1 + z * (b @ np.linalg.solve(np.eye(6) - z * beta, ones)))

    for b in (weights, embedded):
        assert amplification(-1e8, b) < 1e-6
    assert max(amplification(1j * y, weights) for y in np.logspace(-2, 4, 400)) < 1 + 1e-12


def parts_of(moth, state, control):
    """Return the accelerations and the slopes G and V (4, 4) as the compiled steps see them."""
    numbers = simulation.numbers_of(moth)
    F, alpha, tau = control
    force = F * math.sin(alpha)
    wings = (F * math.cos(alpha), force, force * moth.L3, float(tau))
    a, parts = np.zeros(4), tuple(np.zeros(shape) for shape in ((2, 2), (4, 2), (4, 2), (2, 2)))
    stiff_steps.accelerate(state, wings, numbers, a)
    stiff_steps.linearise(state, a, wings, numbers, parts)
    _, some_G, some_V, R = parts
    G, V = np.zeros((4, 4)), np.zeros((4, 4))
    G[:, 2:], V[:, 2:] = some_G, some_V
    V[:2, :2] = -R
    return a, G, V


@pytest.mark.slow
def test_exact_slopes_are_those_of_the_reference():
    """M ∂a/∂q = G and M ∂a/∂v = V, by central differences of the reference."""
    moth = Moth(scale=0.9, rest_angle=0.1)
    states, controls = flights(30, seed=3)
    states[0, 4:6], states[1, 4] = 0.0, 0.0  # at rest the drag has no slope
    for state, control in zip(states, controls, strict=True):
        a, G, V = parts_of(moth, state, control)
        expected = derivative(moth, state, control)[4:]
        np.testing.assert_allclose(a, expected, rtol=1e-11, atol=1e-9 * np.abs(expected).max())
        size = 1e-5 * np.array(SCALES)
        size[4:6] = 1e-3 if state[4:6].any() else 1e-12  # the slope of the drag turns about rest
        moved = np.eye(8) * size
        change = derivative(moth, state + moved, control) - derivative(moth, state - moved, control)
        slopes = mass_matrix(moth, state) @ (change[:, 4:].T / (2 * size))
        kept = [0, 1, 2, 3, 6, 7] if not state[4:6].any() else range(8)
        found = np.concatenate([G, V], 1)
        scale = np.abs(slopes).max(0) + 1
        # Where ẋ = 0, the difference of D |ẋ| ẋ over 1e-3 is D 1e-3, with D = 7e-4.
        assert (np.abs(found - slopes) / scale)[:, kept].max() < 1e-6
        wrong = found.copy()
        wrong[0, 6] *= -1
        assert (np.abs(wrong - slopes) / scale)[:, kept].max() > 5e-6


# --- against other integrators -----------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.9, 1.0, 1.3]))
@settings(max_examples=5, deadline=None)
def test_trajectories_agree_with_a_tight_reference(seed, scale):
    moth = Moth(scale=scale)
    states, controls = flights(6, seed)
    expected = by_scipy(moth, states, controls)
    error = np.abs(simulate(moth, states, controls) - expected) / SPREAD
    assert error.max() < 1e-6
    tight = np.abs(simulate(moth, states, controls, rtol=1e-11) - expected) / SPREAD
    assert tight.max() < 1e-10
    assert error.max() > 10 * tight.max()


@pytest.mark.slow
def test_a_wrong_equation_is_noticed(monkeypatch):
    states, controls = flights(4)
    expected = by_scipy(Moth(), states, controls)
    right = simulation.numbers_of
    for name, factor in (("L3", 1.001), ("area2", 1.01), ("g", 1.01), ("J2", 1.001)):
        monkeypatch.setattr(
            simulation,
            "numbers_of",
            lambda moth, name=name, factor=factor: right(moth)._replace(
                **{name: getattr(right(moth), name) * factor}
            ),
        )
        found = simulate(Moth(), states, controls)
        assert (np.abs(found - expected) / SPREAD).max() > 1e-6, name


@pytest.mark.slow
def test_errors_shrink_with_the_tolerance():
    """An estimate of order 3 keeps the error near the tolerance to the power 5/4 or 1."""
    states, controls = flights(200)
    exact = simulate(Moth(), states, controls, rtol=1e-12)
    errors = []
    for rtol in (1e-5, 1e-7, 1e-9):
        found = simulate(Moth(), states, controls, rtol=rtol)
        errors.append((np.abs(found - exact) / SPREAD).max())
    for coarse, fine in pairwise(errors):
        assert 2 - 0.5 < math.log10(coarse / fine) < 2.5 + 0.7
    assert errors[0] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_radau_agrees(scale):
    """At half the length, the damper is 32 times as stiff."""
    (state,), (control,) = flights(1, seed=5)
    found = simulate(Moth(scale=scale), state, control, rtol=1e-11)
    error = np.abs(by_scipy(Moth(scale=scale), state, control, method="Radau") - found) / SPREAD
    assert error.max() < 1e-10


class Flight(System):
    """The reference as a system of this library, its Jacobian by central differences."""

    def __init__(self, moth, controls):
        self.moth, self.controls = moth, controls

    def derivative(self, state):
        return torch.as_tensor(derivative(self.moth, state.numpy(), self.controls))

    def jacobian(self, state):
        size = 1e-5 * np.array(SCALES)
        moved = np.eye(8) * size  # (direction, component)
        around = state.numpy()[:, None]
        controls = self.controls[:, None]
        change = derivative(self.moth, around + moved, controls)
        change = change - derivative(self.moth, around - moved, controls)
        return torch.as_tensor(np.swapaxes(change / (2 * size[:, None]), 1, 2))


@pytest.mark.slow
def test_the_rosenbrock_solver_of_the_library_agrees():
    states, controls = flights(3, seed=7)
    system, solver = Flight(Moth(), controls), Rosenbrock()
    state, time = torch.as_tensor(states), 0.0
    # Short steps while the damper of the hinge settles, in 40 microseconds; then long ones.
    for h, until in ((1e-6, 4e-4), (2e-5, 0.02)):
        for _ in range(round((until - time) / h)):
            state = solver.step(system, state, torch.tensor(h, dtype=torch.float64))
        time = until
    found = simulate(Moth(), states, controls, rtol=1e-10)
    # Order 3: (h λ)^3 / 24 with λ = 2.7e4 / s is 1e-6 in the short steps, of a change that is a
    # third of the spread.
    assert (np.abs(state.numpy() - found) / SPREAD).max() < 1e-6


def test_energy_is_kept_over_many_swings():
    vacuum = Moth(air_density=0, air_viscosity=0, damping=0)
    states, controls = flights(10)
    states[:, 4:6] *= 0.1
    ends = simulate(vacuum, states, controls * [0, 1, 0], 0.5, rtol=1e-9)
    assert np.abs(ends[:, 2:4] - states[:, 2:4]).max() > 10
    assert np.abs(energy(vacuum, ends) / energy(vacuum, states) - 1).max() < 1e-6


def test_free_fall_reaches_terminal_speed():
    """The drag bears the weight: D v² = m g, with the abdomen hanging below the thorax."""
    moth = Moth()
    hanging = [0, 0, math.pi / 2, 3 * math.pi / 2, 0, 0, 0, 0]
    end = simulate(moth, hanging, [0, 0, 0], 60.0)
    assert drag(moth, end[4:6])[1] == pytest.approx(-moth.mass * moth.gravity, rel=1e-5)


def test_a_hinge_as_stiff_as_can_be_is_no_trouble():
    """Damped a million times as much, both bodies turn as one; explicit methods need 1e9 steps."""
    states, controls = flights(5)
    end = simulate(Moth(damping=1.4e10), states, controls)
    assert np.abs(end[:, 6] - end[:, 7]).max() < 1e-3
    assert np.isfinite(end).all()


# --- the face --------------------------------------------------------------------------------


def test_states_at_several_times():
    states, controls = flights(5)
    times = [0.0, 0.001, 0.013, 0.013, 0.02]
    found = simulate(Moth(), states, controls, times=times)
    assert found.shape == (5, 5, 8)
    assert np.array_equal(found[:, 0], states)
    assert np.array_equal(found[:, 2], found[:, 3])
    for index in (1, 2, 4):
        alone = simulate(Moth(), states, controls, times[index], rtol=1e-11)
        assert (np.abs(found[:, index] - alone) / SPREAD).max() < 1e-6


def test_leading_axes_are_broadcast():
    states, controls = flights(6)
    found = simulate(Moth(), states.reshape(3, 2, 8), controls[0])
    assert found.shape == (3, 2, 8)
    assert np.array_equal(found[2, 1], simulate(Moth(), states[5].tolist(), controls[0]))
    assert simulate(Moth(), states[0], controls[0], times=[0.01]).shape == (1, 8)
    assert simulate(Moth(), np.empty((0, 8)), controls[0]).shape == (0, 8)


def test_neither_company_nor_threads_change_a_trajectory():
    states, controls = flights(1200)
    threads = torch.get_num_threads()
    found = simulate(Moth(), states, controls, threads=3)
    assert torch.get_num_threads() == threads
    assert np.array_equal(found, simulate(Moth(), states, controls, threads=1))
    order = np.random.default_rng(0).permutation(1200)
    assert np.array_equal(found[order], simulate(Moth(), states[order], controls[order]))
    assert np.array_equal(found[7], simulate(Moth(), states[7], controls[7]))


def test_places_do_not_matter_and_inputs_stay():
    states, controls = flights(4)
    kept, shift = states.copy(), np.array([1e3, -1e3, 0, 0, 0, 0, 0, 0])
    found = simulate(Moth(), states, controls, rtol=1e-10)
    assert np.array_equal(states, kept)
    shifted = simulate(Moth(), states + shift, controls, rtol=1e-10)
    np.testing.assert_allclose(shifted - shift, found, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_trouble_names_the_trajectory(monkeypatch):
    states, controls = flights(6)
    wild = states.reshape(3, 2, 8).copy()
    wild[1, 1, 6] = 1e200
    with pytest.raises(SolveError, match=r"got trajectory \[1, 1\] that left the finite numbers"):
        simulate(Moth(), wild, controls.reshape(3, 2, 3))
    with pytest.raises(SolveError, match=r"got trajectory 0 that needs steps .* lost in rounding"):
        simulate(Moth(), states, controls, 1e14)
    monkeypatch.setattr(simulation, "MOST_STEPS", 20)
    with pytest.raises(SolveError, match=r"is not at its end after .* s and 20 steps, expected at"):
        simulate(Moth(), states, controls)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"duration": -1.0}, r"got duration = -1.0, expected finite seconds"),
        ({"times": [0.02, 0.01]}, r"got times = \[0.02, 0.01\], expected .* ascending"),
        ({"times": []}, r"got times of shape \(0,\), expected \(time,\)"),
        ({"rtol": 0.0}, rf"got rtol = 0.0, expected at least 1e-13 .* default is {RTOL}"),
        ({"atol": 0.0}, r"got atol = 0.0, expected a number above 0, or 8 in the order x, y"),
        ({"atol": [1e-3, 1e-3]}, r"got atol = \[0.001, 0.001\], expected a number above 0"),
        ({"threads": 0}, r"got threads = 0, expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(InputError, match=text):
        simulate(Moth(), *flights(1), **settings)


def test_numbers_that_are_not_finite_are_refused():
    states, controls = flights(3)
    states[1, 3] = math.nan
    with pytest.raises(InputError, match=r"got state phi = nan of trajectory 1, expected a finite"):
        simulate(Moth(), states, controls)
    with pytest.raises(InputError, match=r"got control tau = inf, expected a finite number"):
        simulate(Moth(), states[0], [0, 0, math.inf])
