"""What every solver must do; a solver's test class inherits it and supplies `solver`."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve
from torch.autograd import gradcheck, gradgradcheck

from elegans.solvers import GatedLinearSystem, integrate


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


class SolverConformance:
    """Inherit, and define the fixture `solver`."""

    @pytest.fixture
    def solver(self):
        raise NotImplementedError

    def test_fitted_order(self, solver):
        system = circuit()
        steps = STEPS_FOR_ORDER[solver.order]
        reference, errors = flow(start(), HORIZON), []
        for n in steps:
            state, h = start(), torch.tensor(HORIZON / n, dtype=torch.float64)
            for _ in range(n):
                state = solver.step(system, state, h)
            errors.append((state - reference).abs().max().item())
        fitted = np.polyfit(np.log(HORIZON / np.array(steps)), np.log(errors), 1)[0]
        assert fitted == pytest.approx(solver.order, abs=0.2), (solver.name, errors)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_time_is_the_exact_identity_sample_by_sample(self, solver, dtype):
        system, state = circuit(dtype), start(dtype) / 3
        elapsed = torch.tensor([[0.0], [0.3]], dtype=dtype)
        for moved in (
            solver.step(system, state, elapsed),
            solver.advance(system, state, elapsed, substeps=3),
        ):
            assert torch.equal(moved[0], state[0])
            assert not torch.equal(moved[1], state[1])
        assert torch.equal(solver.step(system, state, torch.zeros((), dtype=dtype)), state)

    def test_step_per_sample_equals_sample_by_sample(self, solver):
        system, state = circuit(), start()
        h = torch.tensor([[0.07], [0.4]], dtype=torch.float64)
        together = solver.step(system, state, h)
        for i in range(2):
            alone = solver.step(system, state[i : i + 1], h[i, 0])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-14, atol=1e-15)

    def test_a_sample_does_not_depend_on_its_batch(self, solver):
        system, state = circuit(), start()
        h = torch.tensor([[0.2], [0.2]], dtype=torch.float64)
        other = torch.cat([state[:1], state[1:] * -3 + 5])
        first, second = solver.step(system, state, h)[0], solver.step(system, other, h)[0]
        assert torch.equal(first, second)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtype_is_preserved_and_float32_agrees_with_float64(self, solver, dtype):
        h = torch.tensor([[0.1], [0.3]], dtype=dtype)
        moved = solver.step(circuit(dtype), start(dtype), h)
        assert moved.dtype == dtype
        assert solver.advance(circuit(dtype), start(dtype), h, substeps=2).dtype == dtype
        exact = solver.step(circuit(), start(), h.double())
        torch.testing.assert_close(moved.double(), exact, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_solved_to_its_own_resolution(self, solver, dtype):
        system = circuit(dtype, requires_grad=True)
        state, times = start(dtype).requires_grad_(), torch.tensor([[0.0], [1.5]], dtype=dtype)
        end = solver.advance(system, state, times, substeps=20)
        assert end.dtype == dtype
        assert torch.equal(end[0], state[0])
        if (
            "fehlberg2" not in solver.name
        ):  # it estimates 1/512 of a difference, the tolerance is coarse
            torch.testing.assert_close(end[1:].double(), flow(start()[1:], 1.5), rtol=0, atol=0.05)
        for gradient in torch.autograd.grad(end.sum(), (state, system.weight)):
            assert gradient.dtype == dtype
            assert gradient.isfinite().all()

    def test_an_empty_batch_stays_empty(self, solver):
        system = circuit(requires_grad=True)
        state, times = start()[:0].requires_grad_(), torch.ones(0, 1, dtype=torch.float64)
        for moved in (solver.step(system, state, times), solver.advance(system, state, times, 3)):
            assert moved.shape == (0, 3)
            assert torch.autograd.grad(moved.sum(), system.weight)[0].abs().sum() == 0
        assert integrate(system, state, [0.0, 1.0], solver).shape == (2, 0, 3)

    def test_gradients_of_a_step(self, solver):
        system = circuit(requires_grad=True)
        state = start().requires_grad_()
        h = torch.tensor([[0.0], [0.3]], dtype=torch.float64, requires_grad=True)

        def step(state, h, *tensors):
            return solver.step(Circuit(*tensors), state, h)

        weight, *others = system.parameters()
        assert gradcheck(step, (state, h, weight, *others), fast_mode=True)
        others = [x.detach() for x in others]
        assert gradgradcheck(step, (state, h, weight, *others), fast_mode=True)

    def test_equilibria_are_preserved(self, solver):
        system = circuit()

        def residual(x):
            return system.derivative(torch.from_numpy(x)[None])[0].numpy()

        rest = torch.from_numpy(fsolve(residual, np.zeros(3), xtol=1e-14))[None]
        assert system.derivative(rest).abs().max() < 1e-14
        moved = solver.step(system, rest, torch.tensor(0.5, dtype=torch.float64))
        torch.testing.assert_close(moved, rest, rtol=0, atol=2e-14)

    def test_integrate_accepts_it(self, solver):
        states = integrate(circuit(), start(), [0.0, 0.5, 1.0], solver=solver, substeps=50)
        assert torch.equal(states[0], start())
        tolerance = 0.02 if solver.order == 1 else 1e-3
        torch.testing.assert_close(states[-1], flow(start(), 1.0), rtol=0, atol=tolerance)
