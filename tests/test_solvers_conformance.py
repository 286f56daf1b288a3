"""What every registered solver must satisfy; a new solver inherits all of it by its name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve
from torch.autograd import gradcheck, gradgradcheck

from elegans.errors import SolverError
from elegans.solvers import GatedLinearSystem, System, get_solver, integrate, solver_names

EVERY = pytest.mark.parametrize("name", solver_names())
ADAPTIVE = tuple(name for name in solver_names() if hasattr(get_solver(name), "rtol"))
FIXED = tuple(name for name in solver_names() if name not in ADAPTIVE)


class Circuit(GatedLinearSystem):
    """Three neurons, all nine synapses (three of them self-synapses), excitatory and inhibitory."""

    def __init__(self, *tensors):
        self.tensors = tensors
        # The first four are (target, source), the others (neuron,).
        self.weight, self.gain, self.centre, self.reversal, self.leak, self.rest, self.C = tensors

    @property
    def capacitance(self):
        return self.C

    def conductance_and_drive(self, state):
        gate = torch.sigmoid(self.gain * (state.unsqueeze(-2) - self.centre))
        conductance = self.weight * gate  # (batch, target, source)
        total = self.leak + conductance.sum(-1)
        return total, self.leak * self.rest + (conductance * self.reversal).sum(-1)

    def analytic_jacobian(self, state):
        """Section 2 of the mathematics: coupling through the gates, minus G / C on the diagonal."""
        gate = torch.sigmoid(self.gain * (state.unsqueeze(-2) - self.centre))
        pull = self.reversal - state.unsqueeze(-1)
        coupling = self.weight * self.gain * gate * (1 - gate) * pull / self.capacitance[:, None]
        total, _ = self.conductance_and_drive(state)
        return coupling - torch.diag_embed(total / self.capacitance)

    def parameters(self):
        return self.tensors


@pytest.fixture(autouse=True, scope="module")
def _single_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # thousands of tiny factorisations: threads wait more than they work
    yield
    torch.set_num_threads(threads)


def circuit(dtype=torch.float64, requires_grad=False):
    values = (
        [[0.9, 1.4, 0.3], [1.1, 0.7, 1.6], [1.8, 0.5, 1.2]],
        [[1.5, 2.0, 1.2], [1.8, 1.5, 2.2], [2.0, 1.0, 1.6]],
        [[0.2, 0.5, -0.1], [0.3, 0.1, 0.4], [0.0, 0.6, 0.3]],
        [[1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]],
        [0.6, 0.4, 0.8],
        [0.1, -0.2, 0.3],
        [0.8, 1.0, 0.6],
    )
    return Circuit(*(torch.tensor(x, dtype=dtype, requires_grad=requires_grad) for x in values))


def start(dtype=torch.float64):
    return torch.tensor([[0.9, -0.8, 0.4], [-0.5, 0.7, 0.1]], dtype=dtype)


def flow(state, time):
    """The reference: scipy's order 8 method at its tightest tolerance, sample by sample."""
    system = circuit()

    def derivative(_, x):
        return system.derivative(torch.from_numpy(x)[None])[0].numpy()

    rows = [
        solve_ivp(derivative, (0, time), x, "DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
        for x in state.numpy()
    ]
    return torch.from_numpy(np.array(rows))


@pytest.fixture(scope="module")
def reference():
    return flow(start(), HORIZON)


# Half a time unit, in steps enough to be asymptotic and few enough to stay above the rounding.
HORIZON = 0.5
STEPS_FOR_ORDER = {
    1: (32, 64, 128),
    2: (16, 32, 64),
    3: (16, 32, 64),
    4: (16, 32, 64),
    5: (32, 48, 64),
    8: (6, 8, 11),
}


@EVERY
def test_fitted_order(name, reference):
    solver, system = get_solver(name), circuit()
    steps = STEPS_FOR_ORDER[solver.order]
    errors = []
    for n in steps:
        state, h = start(), torch.tensor(HORIZON / n, dtype=torch.float64)
        for _ in range(n):
            state = solver.step(system, state, h)
        errors.append((state - reference).abs().max().item())
    fitted = np.polyfit(np.log(HORIZON / np.array(steps)), np.log(errors), 1)[0]
    assert fitted == pytest.approx(solver.order, abs=0.2), (name, errors)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_time_is_the_exact_identity_sample_by_sample(name, dtype):
    solver, system, state = get_solver(name), circuit(dtype), start(dtype) / 3
    elapsed = torch.tensor([[0.0], [0.3]], dtype=dtype)
    for moved in (
        solver.step(system, state, elapsed),
        solver.advance(system, state, elapsed, substeps=3),
    ):
        assert torch.equal(moved[0], state[0])
        assert not torch.equal(moved[1], state[1])
    assert torch.equal(solver.step(system, state, torch.zeros((), dtype=dtype)), state)


@EVERY
def test_step_per_sample_equals_sample_by_sample(name):
    solver, system, state = get_solver(name), circuit(), start()
    h = torch.tensor([[0.07], [0.4]], dtype=torch.float64)
    together = solver.step(system, state, h)
    for i in range(2):
        alone = solver.step(system, state[i : i + 1], h[i, 0])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-14, atol=1e-15)


@EVERY
def test_a_sample_does_not_depend_on_its_batch(name):
    solver, system, state = get_solver(name), circuit(), start()
    h = torch.tensor([[0.2], [0.2]], dtype=torch.float64)
    other = torch.cat([state[:1], state[1:] * -3 + 5])
    first, second = solver.step(system, state, h)[0], solver.step(system, other, h)[0]
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_an_adaptive_sample_does_not_depend_on_its_batch_beyond_the_tolerance(name):
    solver = replace(get_solver(name), rtol=1e-5, atol=1e-5)
    # Local tolerances add up over the solve; fehlberg2 estimates only 1/512 of a difference.
    bound = 3e-3 if "fehlberg2" in name else 1e-4
    system, state = circuit(), start()
    times = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    together = solver.advance(system, state, times, substeps=1)
    for i in range(2):
        alone = solver.advance(system, state[i : i + 1], times[i : i + 1], substeps=1)
        exact = flow(state[i : i + 1], times[i].item())
        torch.testing.assert_close(alone, exact, rtol=0, atol=bound)
        torch.testing.assert_close(together[i : i + 1], exact, rtol=0, atol=bound)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_preserved_and_float32_agrees_with_float64(name, dtype):
    solver = get_solver(name)
    h = torch.tensor([[0.1], [0.3]], dtype=dtype)
    moved = solver.step(circuit(dtype), start(dtype), h)
    assert moved.dtype == dtype
    assert solver.advance(circuit(dtype), start(dtype), h, substeps=2).dtype == dtype
    exact = solver.step(circuit(), start(), h.double())
    torch.testing.assert_close(moved.double(), exact, rtol=1e-6, atol=1e-6)


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_solved_to_its_own_resolution(name, dtype):
    solver, system = get_solver(name), circuit(dtype, requires_grad=True)
    state, times = start(dtype).requires_grad_(), torch.tensor([[0.0], [1.5]], dtype=dtype)
    end = solver.advance(system, state, times, substeps=20)
    assert end.dtype == dtype
    assert torch.equal(end[0], state[0])
    if "fehlberg2" not in name:  # it estimates 1/512 of a difference, the tolerance is coarse
        torch.testing.assert_close(end[1:].double(), flow(start()[1:], 1.5), rtol=0, atol=0.05)
    for gradient in torch.autograd.grad(end.sum(), (state, system.weight)):
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


@EVERY
def test_an_empty_batch_stays_empty(name):
    solver, system = get_solver(name), circuit(requires_grad=True)
    state, times = start()[:0].requires_grad_(), torch.ones(0, 1, dtype=torch.float64)
    for moved in (solver.step(system, state, times), solver.advance(system, state, times, 3)):
        assert moved.shape == (0, 3)
        assert torch.autograd.grad(moved.sum(), system.weight)[0].abs().sum() == 0
    assert integrate(system, state, [0.0, 1.0], name).shape == (2, 0, 3)


@EVERY
def test_gradients_of_a_step(name):
    solver, system = get_solver(name), circuit(requires_grad=True)
    state = start().requires_grad_()
    h = torch.tensor([[0.0], [0.3]], dtype=torch.float64, requires_grad=True)

    def step(state, h, *tensors):
        return solver.step(Circuit(*tensors), state, h)

    weight, *others = system.parameters()
    assert gradcheck(step, (state, h, weight, *others), fast_mode=True)
    others = [x.detach() for x in others]
    assert gradgradcheck(step, (state, h, weight, *others), fast_mode=True)


@EVERY
def test_equilibria_are_preserved(name):
    system = circuit()

    def residual(x):
        return system.derivative(torch.from_numpy(x)[None])[0].numpy()

    rest = torch.from_numpy(fsolve(residual, np.zeros(3), xtol=1e-14))[None]
    assert system.derivative(rest).abs().max() < 1e-14
    solver = get_solver(name)
    moved = solver.step(system, rest, torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(moved, rest, rtol=0, atol=2e-14)


@EVERY
def test_name_finds_the_solver_and_integrate_accepts_it(name):
    assert get_solver(name).name == name
    states = integrate(circuit(), start(), [0.0, 0.5, 1.0], solver=name, substeps=50)
    assert torch.equal(states[0], start())
    tolerance = 0.02 if get_solver(name).order == 1 else 1e-3
    torch.testing.assert_close(states[-1], flow(start(), 1.0), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["semi_implicit", "exponential", "exponential_midpoint"])
def test_gated_solvers_refuse_general_systems(name):
    class Ring(System):
        def derivative(self, state):
            return state.roll(1, -1)

    with pytest.raises(SolverError, match=rf"solver '{name}' needs a GatedLinearSystem, got Ring"):
        get_solver(name).step(Ring(), start(), torch.tensor(0.1))


@pytest.mark.parametrize("name", ["semi_implicit", "exponential", "exponential_midpoint"])
@pytest.mark.parametrize("h", [1e-3, 1.0, 1e3, 1e9, 1e30])
def test_gated_solvers_stay_in_the_hull_of_their_potentials_for_any_step(name, h):
    """Section 3 of the mathematics: the hull of rest and reversal potentials is invariant."""
    solver, system = get_solver(name), circuit(torch.float32)
    state = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]])
    for _ in range(30):
        state = solver.step(system, state, torch.tensor(h))
        assert (state.abs() <= 1 + 1e-6).all()


def test_default_jacobian_equals_the_analytic_one_and_is_differentiable():
    system, state = circuit(requires_grad=True), start()
    torch.testing.assert_close(
        system.jacobian(state), system.analytic_jacobian(state), rtol=1e-13, atol=1e-14
    )
    grads = [
        torch.autograd.grad(jacobian(state).square().sum(), system.weight)[0]
        for jacobian in (system.jacobian, system.analytic_jacobian)
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        assert not system.jacobian(state).requires_grad


def test_default_jacobian_of_a_constant_flow_is_zero():
    class Drift(System):
        def derivative(self, state):
            return torch.ones_like(state)

    assert torch.equal(Drift().jacobian(start()), torch.zeros(2, 3, 3, dtype=torch.float64))
    moved = get_solver("rosenbrock").step(Drift(), start(), torch.tensor(0.5).double())
    torch.testing.assert_close(moved, start() + 0.5)


def test_target_and_time_constant_describe_the_same_motion():
    system, state = circuit(), start()
    relaxation = (system.target(state) - state) / system.time_constant(state)
    torch.testing.assert_close(system.derivative(state), relaxation, rtol=1e-13, atol=1e-14)
