"""The regulator against closed forms, against value iteration, and on systems with bad modes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.control.lqr import lqr_gain
from elegans.errors import InputError

ONE = np.eye(1)


def radius(matrix):
    return np.abs(np.linalg.eigvals(matrix)).max()


def value_iteration(A, B, Q, R, steps=3000):
    """Return the cost of the best controls of `steps` steps, the last state costing, too."""
    P = np.eye(len(A)) + Q  # above 0, so that it also finds the solution where Q is singular
    for _ in range(steps):
        K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        P = Q + A.T @ P @ (A - B @ K)
        P = (P + P.T) / 2
    return P


@pytest.mark.parametrize("a", [-3.0, 0.0, 0.5, 1.0, 1.0001, 40.0])
@pytest.mark.parametrize("q", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("r", [0.1, 1.0])
def test_one_state_has_a_closed_form(a, q, r):
    """With b = 1 the Riccati equation is p² + (r - a² r - q) p - q r = 0; its root above 0."""
    K, P = lqr_gain(a * ONE, ONE, q * ONE, r * ONE)
    middle = (q + a**2 * r - r) / 2
    p = middle + np.sqrt(middle**2 + q * r)
    assert P[0, 0] == pytest.approx(p, rel=1e-9)
    assert K[0, 0] == pytest.approx(a * p / (r + p), rel=1e-9)


def test_without_a_cost_of_the_state_growing_modes_are_mirrored():
    """Of minimal effort is the feedback that turns each pole outside the circle into 1 / pole."""
    A = np.array([[2.0, 1.0], [0.0, 0.5]])
    K, P = lqr_gain(A, np.array([[1.0], [0.3]]), np.zeros((2, 2)), ONE)
    np.testing.assert_allclose(np.linalg.eigvals(A - np.array([[1.0], [0.3]]) @ K), [0.5, 0.5])
    assert np.linalg.matrix_rank(P, tol=1e-9) == 1
    assert lqr_gain(2 * ONE, ONE, 0 * ONE, ONE)[1][0, 0] == pytest.approx(3.0)


@pytest.mark.parametrize("decay", [0.0, 0.5, -0.9, 0.99999])
def test_a_stable_state_without_control_costs_what_it_does_by_itself(decay):
    A, B = np.diag([1.5, decay]), np.array([[1.0], [0.0]])
    K, P = lqr_gain(A, B, np.eye(2), ONE)
    assert P[1, 1] == pytest.approx(1 / (1 - decay**2), rel=1e-6)
    np.testing.assert_allclose(P[0, 1], 0, atol=1e-9)
    assert K[0, 0] == pytest.approx(lqr_gain(1.5 * ONE, ONE, ONE, ONE)[0][0, 0])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))
def test_random_systems_with_stable_modes_out_of_reach(seed, reached, controls, others):
    """Modes beyond the reach of the controls drive the rest; in random coordinates."""
    draw = np.random.default_rng(seed)
    states = reached + others
    A = np.zeros((states, states))
    A[:reached] = draw.normal(size=(reached, states)) * 1.5 / np.sqrt(states)
    alone = draw.normal(size=(others, others))
    A[reached:, reached:] = alone * 0.9 / max(1e-9, radius(alone) if others else 1.0)
    B = np.zeros((states, controls))
    B[:reached] = draw.normal(size=(reached, controls))
    turn = np.linalg.qr(draw.normal(size=(states, states)))[0]
    A, B = turn @ A @ turn.T, turn @ B
    seen = draw.normal(size=(states, states))
    Q, R = seen @ seen.T / states, np.eye(controls) * draw.uniform(0.1, 2)

    K, P = lqr_gain(A, B, Q, R)
    assert radius(A - B @ K) < 1
    assert np.linalg.eigvalsh(P)[0] > -1e-9 * np.abs(P).max()
    scale = np.abs(P).max()
    np.testing.assert_allclose(P, value_iteration(A, B, Q, R), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("A", "B"),
    [
        (2 * ONE, 0 * ONE),
        (np.eye(2), np.array([[1e-4], [1.0]])),  # two equal modes, one control
        (np.diag([1 + 1e-9, 0.5]), np.array([[0.0], [1.0]])),
        (ONE, 0 * ONE),
    ],
)
def test_systems_that_no_feedback_stabilises(A, B):
    with pytest.raises(InputError, match="cost of control grows without end, expected one that"):
        lqr_gain(A, B, np.eye(len(A)), ONE)


def test_a_state_that_costs_nothing_and_stays_has_no_stabilising_solution():
    with pytest.raises(InputError, match="and Q above 0 for states that neither grow nor decay"):
        lqr_gain(ONE, ONE, 0 * ONE, ONE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"B": np.ones(1)}, r"B \(1,\), .* expected \(n, n\), \(n, m\)"),
        ({"Q": np.eye(2)}, r"Q \(2, 2\) and R \(1, 1\), expected"),
        ({"B": np.ones((1, 0)), "R": np.ones((0, 0))}, r"got A \(1, 1\), B \(1, 0\)"),
        ({"A": np.nan * ONE}, "got A with NaN or infinity"),
        ({"R": 0 * ONE}, "got R with the eigenvalue 0, expected a positive definite matrix"),
        ({"R": -ONE}, "got R with the eigenvalue -1, expected a positive definite matrix"),
        ({"Q": -ONE}, "got Q with the eigenvalue -1, expected a positive semi-definite matrix"),
        (
            {"A": np.eye(2), "B": np.eye(2), "Q": np.array([[1.0, 0.1], [0, 1]]), "R": np.eye(2)},
            r"got Q that is not symmetric, .* \(Q \+ Q.T\) / 2",
        ),
    ],
)
def test_faults(changes, said):
    system = {"A": ONE, "B": ONE, "Q": ONE, "R": ONE} | changes
    with pytest.raises(InputError, match=said):
        lqr_gain(*system.values())
