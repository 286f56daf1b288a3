"""`integrate`, the registry, and the search for the first non-finite state."""

import subprocess
import sys

import pytest
import torch
from torch.autograd import gradcheck

from elegans.errors import ElegansError, SolveError, SolverError
from elegans.solvers import (
    RK4,
    GatedLinearSystem,
    SemiImplicit,
    Solver,
    System,
    get_solver,
    integrate,
    locate_non_finite,
    require_finite,
    solver_names,
)

NAN, INF = float("nan"), float("inf")


class Decay(GatedLinearSystem):
    def __init__(self, rate=1.0):
        self.rate = rate

    @property
    def capacitance(self):
        return torch.ones(())

    def conductance_and_drive(self, state):
        return self.rate * torch.ones_like(state), torch.zeros_like(state)


class Explosion(System):
    def derivative(self, state):
        return state**3


def tensor(*values, **kind):
    return torch.tensor(values, dtype=torch.float64, **kind)


def test_every_row_is_the_state_at_its_time():
    start = tensor([1.0, -2.0], [0.5, 3.0])
    times = tensor(-1.0, -0.5, 0.25, 2.0)
    states = integrate(Decay(), start, times, solver="exponential")
    assert states.shape == (4, 2, 2)
    exact = start * torch.exp(-(times + 1.0))[:, None, None]
    torch.testing.assert_close(states, exact, rtol=1e-14, atol=0)
    assert torch.equal(states[0], start)


def test_substeps_divide_every_interval():
    start = tensor([1.0])
    coarse = integrate(Decay(), start, [0.0, 1.0], "euler", substeps=4)
    fine = integrate(Decay(), start, [0.0, 0.25, 0.5, 0.75, 1.0], "euler")
    torch.testing.assert_close(coarse[-1], fine[-1], rtol=1e-15, atol=0)
    assert coarse[-1].item() == 0.75**4


def test_the_default_is_semi_implicit():
    states = integrate(Decay(), tensor([1.0]), [0.0, 1.0])
    assert states[-1].item() == 0.5


def test_one_time_gives_the_initial_state():
    start = tensor([1.0, 2.0])
    assert torch.equal(integrate(Decay(), start, [3.0]), start[None])


def test_gradients_reach_state_times_and_parameters():
    def solve(start, times, rate):
        return integrate(Decay(rate), start, times, "rk4", substeps=2)

    inputs = (tensor([1.0, -0.5]), tensor(0.0, 0.3, 1.0), torch.tensor(0.7, dtype=torch.float64))
    assert gradcheck(solve, [x.requires_grad_() for x in inputs])


def test_differences_of_late_times_are_taken_before_the_cast():
    """In float32 the times 1e9 and 1e9 + 1 are the same number."""
    states = integrate(Decay(), torch.ones(1, 1), [1e9, 1e9 + 1.0], "exponential")
    assert states.dtype == torch.float32
    assert states[-1].item() == pytest.approx(torch.e**-1, rel=1e-6)


def test_integer_times_are_times():
    states = integrate(Decay(), torch.ones(1, 1), torch.tensor([0, 1, 2]), "exponential")
    assert states[-1].item() == pytest.approx(torch.e**-2, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": tensor([0.0, 1.0])}, r"got times of shape \(1, 2\), expected \(time,\)"),
        ({"times": []}, r"got times of shape \(0,\), expected \(time,\) with at least one time"),
        ({"times": [0.0, NAN]}, "got nan among the times, expected finite numbers"),
        ({"times": [0.0, INF]}, "got inf among the times"),
        (
            {"times": [0.0, 2.0, 1.5]},
            "got time 1.5 at index 2 after 2, expected strictly increasing times; sort them",
        ),
        ({"times": [0.0, 0.0]}, "got time 0 at index 1 after 0"),
        (
            {"state": torch.ones(3)},
            r"float32 tensor of shape \(3,\), expected .* \(batch, neuron\)",
        ),
        ({"state": torch.ones(1, 3, dtype=torch.int64)}, "int64 tensor of shape"),
        ({"state": [[1.0]]}, "got a state that is list"),
        ({"substeps": 0}, "got substeps=0, expected a positive integer"),
        ({"substeps": 2.0}, "got substeps=2.0, expected a positive integer"),
        ({"substeps": True}, "got substeps=True, expected a positive integer"),
        ({"neuron_names": ["AVA"]}, "got 1 neuron names, expected 2, one a neuron of the state"),
        (
            {"system": Explosion()},
            "solver 'semi_implicit' needs a GatedLinearSystem, got Explosion; derive Explosion "
            "from elegans.solvers.GatedLinearSystem or choose a solver .* such as 'rk4'$",
        ),
        (
            {"system": object(), "solver": "rk4"},
            "solver 'rk4' needs a System, got object; derive object from elegans.solvers.System$",
        ),
        ({"solver": "rk5"}, "got solver 'rk5', did you mean 'rk4'"),
    ],
)
def test_invalid_arguments_are_refused(change, message):
    arguments = {"system": Decay(), "state": torch.ones(1, 2), "times": [0.0, 1.0]}
    with pytest.raises(SolverError, match=message):
        integrate(**(arguments | change))


def test_an_explosion_names_time_step_sample_and_neuron():
    start = tensor([0.1, 0.1, 0.1], [0.1, 0.1, 4.0])
    times = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    message = (
        r"got inf at time 3 \(step 6 of 6\), sample 1, neuron 'c' \(2\), from solver 'euler' "
        r"expected finite potentials; one step earlier it was"
    )
    with pytest.raises(SolveError, match=message):
        integrate(Explosion(), start, times, "euler", neuron_names=["a", "b", "c"])


def test_a_non_finite_start_is_said_to_be_one():
    with pytest.raises(SolveError, match=r"got nan at time 2 \(step 0 of 1\), sample 0, neuron 1"):
        integrate(Decay(), tensor([1.0, NAN]), [2.0, 3.0])
    with pytest.raises(SolveError, match="it is in the initial state"):
        integrate(Decay(), tensor([1.0, NAN]), [2.0, 3.0])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_the_first_non_finite_entry_is_by_time_then_sample_then_neuron(bad):
    states = torch.zeros(5, 4, 3)
    assert locate_non_finite(states) is None
    states[4, 0, 0] = bad
    assert locate_non_finite(states) == (4, 0, 0)
    states[2, 3, 0] = bad
    assert locate_non_finite(states) == (2, 3, 0)
    states[2, 1, 2] = bad
    assert locate_non_finite(states) == (2, 1, 2)
    states[2, 1, 1] = NAN
    assert locate_non_finite(states) == (2, 1, 1)


def test_locating_needs_three_axes():
    with pytest.raises(SolverError, match=r"got states of shape \(2, 3\), expected \(time, batch"):
        locate_non_finite(torch.zeros(2, 3))


def test_times_may_differ_by_sample_and_may_be_missing():
    states = torch.zeros(3, 2, 2)
    require_finite(states)
    states[1, 0, 0], states[2, 1, 1] = 7.5, NAN
    times = torch.tensor([[0.0, 0.0], [0.1, 0.3], [0.2, 0.7]])
    with pytest.raises(
        SolveError, match=r"got nan at time 0.7 \(step 2 of 2\), sample 1, neuron 1,"
    ):
        require_finite(states, times=times)
    with pytest.raises(SolveError, match=r"^got nan at step 2 of 2, sample 1, neuron 1, expected"):
        require_finite(states)
    states[2, 0, 0] = INF
    with pytest.raises(SolveError, match=r"got inf at .* sample 0, .*one step earlier it was 7.5;"):
        require_finite(states)


def test_names_are_unique_and_in_a_stable_order():
    names = solver_names()
    assert len(set(names)) == len(names) == 17
    assert names[0] == "semi_implicit"
    assert [get_solver(name).name for name in names] == list(names)


def test_objects_pass_and_need_no_registration():
    class Mine(Solver):
        name = "mine"
        order = 1

        def step(self, system, state, h):
            return state + h * system.derivative(state)

    mine = Mine()
    assert get_solver(mine) is mine
    states = integrate(Explosion(), tensor([0.5]), [0.0, 1.0], mine)
    assert states[-1].item() == 0.5 + 0.5**3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("semi-implicit", "got solver 'semi-implicit', did you mean 'semi_implicit'"),
        ("RK4", "got solver 'RK4', did you mean 'rk4'"),
        ("dopri5_adjiont", "did you mean 'dopri5_adjoint'"),
        (RK4, r"got the class RK4, expected a solver object; write RK4\(\)"),
        (None, "got a solver of type NoneType, expected a Solver or one of the names semi_impl"),
        (4, "got a solver of type int"),
    ],
)
def test_unknown_solvers_are_refused(wrong, message):
    with pytest.raises(SolverError, match=message):
        get_solver(wrong)


def test_an_unknown_name_lists_every_name_and_guesses_nothing():
    with pytest.raises(SolverError) as caught:
        get_solver("zzz")
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in solver_names())
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ElegansError)


def test_solvers_hold_no_state():
    assert not vars(SemiImplicit())
    assert get_solver("rk4") is get_solver("rk4")


@pytest.mark.slow
def test_the_folder_refuses_to_be_imported_under_another_name():
    code = (
        "import pathlib, sys, elegans.solvers as s\n"
        "sys.path.insert(0, str(pathlib.Path(s.__file__).parents[1]))\n"
        "import importlib.util as u\n"
        "spec = u.spec_from_file_location('copy_of_solvers', s.__file__)\n"
        "spec.loader.exec_module(u.module_from_spec(spec))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "but was imported as 'copy_of_solvers'" in result.stderr
