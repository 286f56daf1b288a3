"""The equations of motion follow from the Lagrangian, keep the energy, and lose it to the drag."""

import math

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from elegans.errors import InputError
from elegans.replications.hawkmoth import Moth, acceleration, derivative, dynamics, energy
from elegans.replications.hawkmoth.dynamics import drag, forces, mass_matrix

VACUUM = Moth(air_density=0, air_viscosity=0, damping=0, rest_angle=0.2)


def random_flights(count, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.uniform(-1, 1, (count, 8)) * [10, 10, 6, 6, 1500, 1500, 50, 50]
    return states, rng.uniform(0, 1, (count, 3)) * [44_300, 2 * math.pi, 1e5]


# --- the body --------------------------------------------------------------------------------


def test_masses_and_inertias_are_the_published_ones():
    moth = Moth()
    found = [moth.m1, moth.m2, moth.I1, moth.I2]
    assert found == pytest.approx([0.8482, 1.7907, 0.1798, 1.4943], abs=5e-5)
    assert moth.mass == moth.m1 + moth.m2


def test_scale_multiplies_lengths_and_nothing_else():
    moth, small = Moth(), Moth(scale=0.5)
    for name, power in {
        "b1": 1,
        "b2": 1,
        "L1": 1,
        "L2": 1,
        "L3": 1,
        "mass": 3,
        "I1": 5,
        "I2": 5,
    }.items():
        assert getattr(small, name) == pytest.approx(getattr(moth, name) * 0.5**power)
    assert (small.stiffness, small.damping) == (moth.stiffness, moth.damping)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scale": 0}, r"got scale = 0, expected more than 0; leave it out for 1.0"),
        ({"damping": -1}, r"got damping = -1, expected at least 0"),
        ({"rest_angle": math.nan}, r"got rest_angle = nan, expected a finite number"),
        ({"head_arm": "long"}, r"got head_arm = 'long', expected a finite number"),
        ({"air_viscosity": 0}, r"Reynolds numbers divide by it; make both 0 for vacuum"),
    ],
)
def test_impossible_bodies_are_refused(change, text):
    with pytest.raises(InputError, match=text):
        Moth(**change)


# --- the equations ---------------------------------------------------------------------------


def lagrange(moth):
    """Return M and r as functions of state, controls and drag, from energies and positions."""
    t = sympy.symbols("t")
    q = [sympy.Function(name)(t) for name in ("x", "y", "theta", "phi")]
    x, y, theta, phi = q
    F, alpha, tau, drag_x, drag_y = controls = sympy.symbols("F alpha tau drag_x drag_y")

    def point(length, angle):
        return sympy.Matrix([x + length * sympy.cos(angle), y + length * sympy.sin(angle)])

    head, abdomen, wings = point(moth.L1, theta), point(moth.L2, phi), point(moth.L3, theta)
    motion = moth.I1 * theta.diff(t) ** 2 + moth.I2 * phi.diff(t) ** 2
    for mass, place in ((moth.m1, head), (moth.m2, abdomen)):
        motion += mass * place.diff(t).dot(place.diff(t))
    strain = phi - theta - math.pi - moth.rest_angle
    rest = moth.gravity * (moth.m1 * head[1] + moth.m2 * abdomen[1])
    lagrangian = motion / 2 - rest - moth.stiffness * strain**2 / 2
    pull = F * sympy.Matrix([sympy.cos(alpha + theta), sympy.sin(alpha + theta)])
    loss = moth.damping * (phi.diff(t) - theta.diff(t)) ** 2 / 2
    accelerations = [one.diff(t, 2) for one in q]
    equations = []
    for one, against in zip(q, (drag_x, drag_y, 0, 0), strict=True):
        force = pull.dot(wings.diff(one)) + tau * (theta - phi).diff(one)
        force += -loss.diff(one.diff(t)) - against
        rate = lagrangian.diff(one.diff(t)).diff(t)
        equations.append(sympy.expand(rate - lagrangian.diff(one) - force))
    M = sympy.Matrix(4, 4, lambda i, j: equations[i].coeff(accelerations[j]))
    r = -sympy.Matrix([e.subs(dict.fromkeys(accelerations, 0)) for e in equations])
    state = sympy.symbols("s0:8")
    velocities = {one.diff(t): symbol for one, symbol in zip(q, state[4:], strict=True)}
    places = dict(zip(q, state[:4], strict=True))
    plain = [matrix.subs(velocities).subs(places) for matrix in (M, r)]
    return sympy.lambdify([state, controls], plain)


def deviation(moth, function, states, controls):
    """Return how far mass matrix and forces are from `function`, relative to the greatest."""
    found = 0.0
    for state, control in zip(states, controls, strict=True):
        M, r = function(state, (*control, *drag(moth, state[4:6])))
        found = max(found, np.abs(mass_matrix(moth, state) - M).max() / np.abs(M).max())
        found = max(found, np.abs(forces(moth, state, control) - r[:, 0]).max() / np.abs(r).max())
    return found


@pytest.mark.slow
def test_equations_follow_from_the_lagrangian():
    moth = Moth(rest_angle=0.3, scale=1.1)
    function, flights = lagrange(moth), random_flights(20)
    assert deviation(moth, function, *flights) < 1e-13
    # The arm of the force counts, and so does where the spring rests.
    assert deviation(Moth(rest_angle=0.3, scale=1.1, wing_arm=0.7), function, *flights) > 1e-4
    assert deviation(Moth(rest_angle=0.2, scale=1.1), function, *flights) > 1e-4


def test_acceleration_solves_the_equations():
    states, controls = random_flights(50)
    found = acceleration(Moth(), states, controls)
    r = forces(Moth(), states, controls)
    M = mass_matrix(Moth(), states)
    np.testing.assert_allclose((M @ found[..., None])[..., 0], r, rtol=1e-9, atol=1e-8)
    assert (np.linalg.eigvalsh(M) > 0).all()
    assert np.array_equal(derivative(Moth(), states, controls)[:, 4:], found)
    assert np.array_equal(derivative(Moth(), states, controls)[:, :4], states[:, 4:])


def drift(moth):
    """Return the greatest relative change of the energy in 0.02 s without forces."""
    states = random_flights(3)[0] * [1, 1, 1, 1, 0.1, 0.1, 1, 1]
    solved = solve_ivp(
        lambda t, s: derivative(moth, s.reshape(-1, 8), [0, 0, 0]).ravel(), (0, 0.02),
        states.ravel(), method="DOP853", rtol=1e-10, atol=1e-10,
    )  # fmt: skip
    ends = solved.y[:, -1].reshape(-1, 8)
    assert np.abs(ends - states).max(1).min() > 0.5
    return np.abs(energy(moth, ends) / energy(moth, states) - 1).max()


@pytest.mark.slow
def test_energy_is_kept_without_damper_and_air():
    # 1e-10 a step in each component, some hundred steps, with energies of second degree.
    assert drift(VACUUM) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("places", [[(0, 2), (2, 0)], [(1, 3), (3, 1)], [(1, 2)]])
def test_a_wrong_sign_in_the_mass_matrix_breaks_the_energy(monkeypatch, places):
    right = mass_matrix

    def wrong(moth, state):
        M = right(moth, state)
        for row, column in places:
            M[..., row, column] *= -1
        return M

    monkeypatch.setattr(dynamics, "mass_matrix", wrong)
    assert drift(VACUUM) > 1e-3


def test_power_goes_into_energy_damper_and_drag():
    moth, (states, controls) = Moth(rest_angle=0.1), random_flights(200)
    rate = derivative(moth, states, controls)
    h = 1e-7  # s; terms of third order are below 1e-7 of the fastest changes, 2.7e4 per second
    change = (energy(moth, states + h * rate) - energy(moth, states - h * rate)) / (2 * h)
    F, alpha, tau = controls.T
    theta, turn = states[:, 2], states[:, 6]
    wings = states[:, 4:6] + moth.L3 * np.stack([-np.sin(theta), np.cos(theta)], 1) * turn[:, None]
    pull = F[:, None] * np.stack([np.cos(alpha + theta), np.sin(alpha + theta)], 1)
    bend = states[:, 7] - states[:, 6]
    gained = (pull * wings).sum(1) - tau * bend
    lost = moth.damping * bend**2 + (drag(moth, states[:, 4:6]) * states[:, 4:6]).sum(1)
    scale = np.abs(gained) + lost
    assert (np.abs(change - (gained - lost)) / scale).max() < 1e-5
    assert (np.abs(change - gained) / scale).max() > 1e-2  # the losses count


# --- the drag --------------------------------------------------------------------------------


def test_drag_is_that_of_spheres_and_finite_at_rest():
    moth, speed = Moth(), 300.0
    expected = 0.0
    for b in (0.5, 0.75):
        reynolds = 0.00118 * speed * 2 * b / 1.86e-4
        coefficient = 24 / reynolds + 6 / (1 + math.sqrt(reynolds)) + 0.4
        expected += 0.5 * 0.00118 * coefficient * math.pi * b**2 * speed**2
    assert drag(moth, [speed, 0.0])[0] == pytest.approx(expected, rel=1e-12)
    assert drag(moth, [0.0, -speed])[1] == pytest.approx(-expected, rel=1e-12)
    assert drag(moth, [0.0, 0.0]).tolist() == [0.0, 0.0]
    # So slow that the law of Stokes is all: 6 π μ b v for each body.
    slow = drag(moth, [1e-12, 0.0])[0] / (6 * math.pi * 1.86e-4 * 1.25 * 1e-12)
    assert slow == pytest.approx(1, abs=1e-5)
    assert np.isfinite(drag(moth, [[1e-320, 1e-320], [0.0, 1e-200]])).all()
    assert drag(VACUUM, [[100.0, -100.0]]).tolist() == [[0.0, 0.0]]


def test_drag_uses_the_speed_for_the_coefficient():
    """Fast along x, the coefficient is that of turbulence along y too."""
    along = drag(Moth(), [1000.0, 10.0])[1]
    alone = drag(Moth(), [0.0, 10.0])[1]
    assert along < 0.7 * alone


# --- shapes ----------------------------------------------------------------------------------


def test_leading_axes_are_broadcast():
    states, controls = random_flights(6)
    together = derivative(Moth(), states.reshape(2, 3, 8), controls[:3])
    assert together.shape == (2, 3, 8)
    one = derivative(Moth(), states[4], controls[1])
    np.testing.assert_allclose(together[1, 1], one, rtol=1e-12)


@pytest.mark.parametrize(
    ("state", "control", "text"),
    [
        (7, 3, r"got state of shape \(7,\), expected \(..., 8\) in the order x, y, theta"),
        (8, 2, r"got controls of shape \(2,\), expected \(..., 3\) in the order F, alpha, tau"),
        ((4, 8), (3, 3), r"states of shape \(4, 8\) and controls of shape \(3, 3\), expected lead"),
    ],
)
def test_wrong_shapes_are_refused(state, control, text):
    with pytest.raises(InputError, match=text):
        derivative(Moth(), np.zeros(state), np.zeros(control))
