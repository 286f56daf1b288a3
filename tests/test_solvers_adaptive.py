"""torchdiffeq behind the contract: forced steps, two kinds of gradient, failures that say why."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch.autograd import gradcheck

from elegans.errors import SolveError, SolverError
from elegans.solvers import System, TorchDiffEq, get_solver, integrate
from elegans.solvers.adaptive import ADAPTIVE_ORDERS

METHODS = pytest.mark.parametrize("method", ADAPTIVE_ORDERS)


class Pendulum(System):
    """Damped pendulums whose constants are parameters; f counts how often it is asked."""

    def __init__(self, pull, friction):
        self.pull, self.friction = pull, friction
        self.calls = 0

    def derivative(self, state):
        self.calls += 1
        angle, speed = state.unbind(-1)
        return torch.stack([speed, -self.pull * angle.sin() - self.friction * speed], dim=-1)

    def parameters(self):
        return (self.pull, self.friction)


class Explosion(System):
    """x' = x^2 from x(0) = 1 reaches infinity at t = 1."""

    def derivative(self, state):
        return state.square()


class Stiff(System):
    def derivative(self, state):
        return -1e7 * (state - state.flip(-1).tanh())


def tensor(*values, **kind):
    return torch.tensor(values, dtype=torch.float64, **kind)


def pendulum():
    return Pendulum(tensor(2.0, requires_grad=True), tensor(0.3, requires_grad=True))


def gradients(solver, system, times):
    state = tensor([0.4, 0.1], [1.2, -0.5], [-0.2, 0.8]).requires_grad_()
    end = solver.advance(system, state, times, substeps=1)
    inputs = (state, times, *system.parameters())
    return torch.autograd.grad(end.sin().sum(), inputs)


@pytest.mark.slow
@METHODS
def test_adjoint_and_direct_gradients_agree(method):
    # The estimate of fehlberg2 is too low by far; the others keep their errors near the tolerance.
    strictness = 1e-2 if method == "fehlberg2" else 1.0
    solver = TorchDiffEq(method, rtol=1e-5 * strictness, atol=1e-6 * strictness)
    times = tensor([0.0], [0.4], [0.9]).requires_grad_()
    direct = gradients(solver, pendulum(), times)
    adjoint = gradients(replace(solver, adjoint=True), pendulum(), times)
    for a, b in zip(direct, adjoint, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_gradients_agree_with_finite_differences(method, adjoint):
    solver = TorchDiffEq(method, rtol=1e-10, atol=1e-12, adjoint=adjoint)

    def advance(state, times, pull, friction):
        return solver.advance(Pendulum(pull, friction), state, times, substeps=1)

    state = tensor([0.4, 0.1], [1.2, -0.5], requires_grad=True)
    times = tensor([0.0], [0.8], requires_grad=True)
    assert gradcheck(advance, (state, times, *pendulum().parameters()))


def test_a_parameter_named_twice_counts_once():
    class Twice(Pendulum):
        def parameters(self):
            return (self.pull, self.friction, self.pull)

    times = tensor([0.5], [0.5], [0.5])
    once, twice = pendulum(), Twice(*pendulum().parameters())
    solver = TorchDiffEq("dopri5", adjoint=True)
    results = []
    for system in (once, twice):
        end = solver.advance(system, torch.ones(3, 2, dtype=torch.float64), times, substeps=1)
        results.append(torch.autograd.grad(end.sum(), system.pull)[0])
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=0)


def test_backward_of_an_adjoint_can_be_repeated():
    solver = TorchDiffEq("dopri5", adjoint=True, max_num_steps=20)
    system, state = pendulum(), tensor([0.4, 0.1], requires_grad=True)
    end = solver.advance(system, state, tensor([1.0]), substeps=1).sum()
    first = [torch.autograd.grad(end, state, retain_graph=True)[0] for _ in range(5)]
    assert all(torch.equal(first[0], other) for other in first[1:])


@METHODS
def test_a_forced_step_evaluates_the_stages_of_one_step(method):
    stages = {"dopri5": 7, "dopri8": 14, "bosh3": 4, "fehlberg2": 3, "adaptive_heun": 2}[method]
    system = pendulum()
    # An error far above any tolerance: a step that was free would be cut.
    solver = TorchDiffEq(method, rtol=1e-12, atol=1e-12)
    solver.step(system, tensor([3.0, 5.0]), tensor([1.5]))
    assert system.calls == stages


def test_the_starting_step_takes_an_easy_interval_in_three():
    system = pendulum()
    get_solver("dopri5").advance(system, tensor([0.4, 0.1]), tensor([0.01]), substeps=1)
    assert system.calls <= 2 + 1 + 3 * 6


@METHODS
def test_float32_is_solved_to_its_own_resolution(method):
    state, times = tensor([0.4, 0.1], [1.2, -0.5]), tensor([0.3], [0.7])
    solver = TorchDiffEq(method, rtol=1e-9, atol=1e-12)  # finer than float32 resolves
    system = Pendulum(torch.tensor(2.0), torch.tensor(0.3))
    single = solver.advance(system, state.float(), times.float(), substeps=1)
    exact = TorchDiffEq("dopri8", rtol=1e-12, atol=1e-13)
    double = exact.advance(Pendulum(tensor(2.0), tensor(0.3)), state, times, substeps=1)
    assert single.dtype == torch.float32
    bound = 3e-4 if method == "fehlberg2" else 5e-6
    torch.testing.assert_close(single.double(), double[..., :], rtol=0, atol=bound)


@pytest.mark.slow
def test_the_error_falls_with_the_tolerance():
    state, times = tensor([0.4, 0.1], [1.2, -0.5]), tensor([3.0], [6.0])
    system = pendulum()
    exact = TorchDiffEq("dopri8", rtol=1e-12, atol=1e-13).advance(system, state, times, 1)
    for tolerance in (1e-4, 1e-7, 1e-10):
        end = TorchDiffEq(rtol=tolerance, atol=tolerance).advance(system, state, times, 1)
        assert (end - exact).abs().max() < 50 * tolerance


def test_the_tolerance_holds_for_the_hardest_sample_of_a_batch():
    easy = torch.zeros(999, 2, dtype=torch.float64)
    state = torch.cat([tensor([2.5, 3.0]), easy])
    solver, times = TorchDiffEq(rtol=1e-4, atol=1e-4), tensor([4.0])
    alone = solver.advance(pendulum(), state[:1], times, substeps=1)
    crowded = solver.advance(pendulum(), state, times, substeps=1)
    torch.testing.assert_close(crowded[:1], alone, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dopri5", "bosh3_adjoint"])
def test_an_explosion_is_an_error_that_names_its_time(name):
    state = tensor([0.1, 0.1], [0.1, 1.0])
    where = r"time (0\.99999|1)\d* of 4, sample 1, neuron 1 \(fraction"
    message = rf"solver '{name}' failed at {where} .* too short to move .* choose 'semi_implicit'"
    with pytest.raises(SolveError, match=message):
        get_solver(name).advance(Explosion(), state, tensor([4.0]), substeps=1)


def test_integrate_adds_the_step_of_its_own_grid():
    with pytest.raises(SolveError, match=r"^step 2 of 3, from time 0\.6 to 1\.6: solver 'dopri5'"):
        integrate(Explosion(), tensor([1.0]), [0.0, 0.6, 1.6, 2.0], solver="dopri5")


def test_too_many_steps_are_an_error():
    solver = TorchDiffEq("dopri5", max_num_steps=50)
    message = (
        r"at time .* of 1, sample 0, neuron [01] .* got more than max_num_steps=50 steps, the next "
        r"of length \S+, after one with an error of \S+ times what rtol=1e-06 and atol=1e-08 allow"
    )
    with pytest.raises(SolveError, match=message):
        solver.advance(Stiff(), tensor([0.4, 0.1]), tensor([1.0]), substeps=1)


def test_too_many_steps_in_the_adjoint_pass_are_an_error():
    class Decay(System):
        """Forward an equilibrium; backwards its linearisation is as fast as can be."""

        def derivative(self, state):
            return -1e7 * state

    state = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    solver = TorchDiffEq("dopri5", adjoint=True, max_num_steps=50)
    end = solver.advance(Decay(), state, tensor([1.0]), substeps=1).sum()
    with pytest.raises(SolveError, match="more than max_num_steps=50 steps in the adjoint pass"):
        end.backward()


def test_a_derivative_that_is_nan_is_an_error():
    class Broken(System):
        def derivative(self, state):
            return torch.where(state > 1, float("nan"), state)

    message = r"at time 0 of 3, sample 1, neuron 1 \(.* got a non-finite rate of change; expected"
    with pytest.raises(SolveError, match=message):
        get_solver("dopri5").advance(Broken(), tensor([0.4, 0.1], [0.2, 2.0]), tensor([3.0]), 1)
    with pytest.raises(SolveError, match=r"0\.9\d+ of 3, sample 0, neuron 0 .* error of inf times"):
        get_solver("dopri5").advance(Broken(), tensor([0.4]), tensor([3.0]), substeps=1)


def test_a_potential_that_becomes_infinite_is_located():
    """Steps of half the interval are accepted whatever their error, infinity included."""
    solver = TorchDiffEq("dopri5", min_step=0.5)
    with pytest.raises(SolveError, match=r"90, sample 1, neuron 0 .* non-finite potential;"):
        solver.advance(Explosion(), tensor([0.0, 0.0], [1e40, 0.0]), tensor([90.0]), substeps=1)


def test_the_sample_with_the_largest_error_is_named_with_its_own_time():
    class Kicks(System):
        """Neuron 2 jumps without end, in the third sample a thousand times as far."""

        def derivative(self, state):
            jump = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) * (state * 1e9).sin()
            return 1 + jump * torch.tensor([[1.0], [0.0], [1e3], [1.0]], dtype=torch.float64)

    times = tensor([8.0], [2.0], [4.0], [1.0])
    with pytest.raises(SolveError, match=r"at time \S+ of 4, sample 2, neuron 2 \(fraction"):
        TorchDiffEq(max_num_steps=100).advance(
            Kicks(), torch.zeros(4, 3, dtype=torch.float64), times, substeps=1
        )


def test_a_gradient_that_is_infinite_is_located():
    class Root(System):
        def derivative(self, state):
            return state.clamp(min=0).sqrt()

    state = tensor([1.0, 1.0], [1.0, 0.0]).requires_grad_()
    end = get_solver("dopri5_adjoint").advance(Root(), state, tensor([1.0]), substeps=1)
    message = r"sample 1, neuron 1 \(.* got (a non-finite gradient in the adjoint|a step length)"
    with pytest.raises(SolveError, match=message):
        end.sum().backward()


@pytest.mark.parametrize("name", ["dopri5", "dopri5_adjoint"])
def test_an_assertion_of_the_users_own_system_passes_through(name):
    class Asserting(System):
        def derivative(self, state):
            assert state.max() < 0.5, "my own assertion"
            return state

    with pytest.raises(AssertionError, match="my own assertion"):
        get_solver(name).advance(Asserting(), tensor([0.4]), tensor([1.0]), substeps=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rk4"}, r"got adaptive method 'rk4', expected one of \['adaptive_heun'"),
        ({"rtol": 0.0}, "got rtol=0.0, expected a number between 0 and 1"),
        ({"atol": float("nan")}, "got atol=nan, expected a number between 0 and 1"),
        ({"max_num_steps": 0}, "got max_num_steps=0, expected 1 or more"),
        ({"min_step": 0.5, "max_step": 0.1}, "got min_step=0.5 and max_step=0.1, expected 0 <="),
        ({"max_step": 2.0}, "max_step=2.0, .* they are fractions of the elapsed time"),
        ({"max_step": 0.0}, "max_step=0.0, .* max_step > 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(SolverError, match=message):
        TorchDiffEq(**settings)


def test_settings_are_a_value():
    assert TorchDiffEq("dopri8", rtol=1e-4) == TorchDiffEq("dopri8", rtol=1e-4)
    assert get_solver("bosh3_adjoint") == TorchDiffEq("bosh3", adjoint=True)
    with pytest.raises(FrozenInstanceError):
        TorchDiffEq().rtol = 1e-3


def test_step_bounds_are_kept():
    system = pendulum()
    solver = TorchDiffEq("bosh3", max_step=0.01)
    solver.advance(system, tensor([0.1, 0.0]), tensor([0.01]), substeps=1)
    assert system.calls >= 300  # a hundred steps of three new evaluations
    rough = TorchDiffEq("bosh3", rtol=1e-9, atol=1e-9, min_step=0.5)
    system.calls = 0
    rough.advance(system, tensor([0.1, 0.0]), tensor([3.0]), substeps=1)
    assert system.calls <= 2 + 1 + 2 * 3
