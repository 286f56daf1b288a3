"""Every registered solver goes through the conformance suite, by its name; gated ones do more."""

from dataclasses import replace

import pytest
import torch
from solver_conformance import SolverConformance, circuit, flow, start

from elegans.errors import SolverError
from elegans.solvers import System, get_solver, solver_names

ADAPTIVE = tuple(name for name in solver_names() if hasattr(get_solver(name), "rtol"))


class TestEverySolver(SolverConformance):
    @pytest.fixture(params=solver_names())
    def solver(self, request):
        return get_solver(request.param)


@pytest.mark.parametrize("name", solver_names())
def test_name_finds_the_solver(name):
    assert get_solver(name).name == name


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


@pytest.mark.parametrize(
    "name", ["semi_implicit", "exponential", "exponential_midpoint", "euler", "midpoint", "rk4"]
)
def test_steps_of_any_length_stay_between_the_potentials_where_the_solver_says_so(name):
    solver, system, state = get_solver(name), circuit(), 30 * start()
    potentials = torch.cat([system.reversal.flatten(), system.rest, state.flatten()])
    low, high = potentials.min() - 1e-9, potentials.max() + 1e-9
    lengths = torch.tensor([1e-3, 1.0, 1e3, 1e9], dtype=torch.float64)
    moved = torch.stack([solver.step(system, state, h) for h in lengths])
    assert bool(((low <= moved) & (moved <= high)).all()) == solver.is_stable
