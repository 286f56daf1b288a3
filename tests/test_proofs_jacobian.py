"""Closed-form Jacobians against automatic differentiation, over random circuits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs import (
    flow_jacobian,
    spectra_along,
    spectrum,
    step_jacobian,
    time_constants,
)
from elegans.solvers import get_solver
from elegans.wiring import Synapses, Wiring


def random_circuit(seed, units=6, inputs=2, synapses=20):
    """Synapses drawn with replacement: self-synapses and parallel ones occur."""
    rng = np.random.default_rng(seed)
    recurrent = Synapses(
        source=[0, 1, 1, *rng.integers(units, size=synapses)],  # a self-synapse, a parallel pair
        target=[0, 2, 2, *rng.integers(units, size=synapses)],
        polarity=[1, 1, 1, *rng.choice([-1, 1], size=synapses)],
    )
    sensory = Synapses(rng.integers(inputs, size=8), rng.integers(units, size=8), [1, -1] * 4)
    wiring = Wiring(inputs, {"motor": 2, "inter": units - 2}, recurrent, sensory)
    generator = torch.Generator().manual_seed(seed)
    model = LTC(inputs, wiring, epsilon=1e-3, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        model.cell.recurrent.erev.mul_(1 + torch.rand(len(recurrent), generator=generator))
    state = torch.randn(3, units, dtype=torch.float64, generator=generator)
    return model, model.cell.dynamics(torch.randn(3, inputs, dtype=torch.float64)), state


def by_autograd(function, state):
    """Samples do not interact, so the batch is differentiated at once."""
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x).sum(0), state)
    return jacobian.transpose(0, 1)  # (batch, i, j)


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_flow_jacobian_equals_autograd(seed):
    _, dynamics, state = random_circuit(seed)
    assert_equal(flow_jacobian(dynamics, state), by_autograd(dynamics.derivative, state))


@given(seed=st.integers(0, 10_000), h=st.floats(0, 50))
@settings(max_examples=25, deadline=None)
def test_step_jacobian_equals_autograd(seed, h):
    _, dynamics, state = random_circuit(seed)
    length = torch.tensor([[h], [h / 2], [0.3]], dtype=torch.float64)
    solver = get_solver("semi_implicit")
    expected = by_autograd(lambda x: solver.step(dynamics, x, length), state)
    assert_equal(step_jacobian(dynamics, state, length), expected)


def test_step_of_length_zero_is_the_identity():
    _, dynamics, state = random_circuit(0)
    assert torch.equal(step_jacobian(dynamics, state, 0.0), torch.eye(6).double().expand(3, 6, 6))


def test_short_step_approaches_the_flow():
    _, dynamics, state = random_circuit(1)
    errors = []
    for h in (1e-3, 1e-4):
        slope = (step_jacobian(dynamics, state, h) - torch.eye(6)) / h
        errors.append((slope - flow_jacobian(dynamics, state)).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)


def test_a_wrong_denominator_would_be_noticed():
    """The published shortcut, which differentiates the numerator only, is not the Jacobian."""
    _, dynamics, state = random_circuit(2)
    h = 0.5
    conductance, _ = dynamics.conductance_and_drive(state)
    denominator = dynamics.capacitance / h + conductance
    synapses = dynamics.recurrent
    gate = synapses.gate(state)
    slope = gate * (1 - gate / synapses.weight) * synapses.sigma * synapses.erev
    wrong = torch.zeros(3, 36, dtype=torch.float64)
    wrong = wrong.index_add(-1, synapses.target * 6 + synapses.source, slope).reshape(3, 6, 6)
    wrong = (wrong + torch.diag(dynamics.capacitance / h)) / denominator.unsqueeze(-1)
    assert (wrong - step_jacobian(dynamics, state, h)).abs().max() > 1e-2


def test_spectrum_of_known_matrices():
    triangular = torch.tensor([[-3.0, 5.0, 1.0], [0.0, -1.0, 2.0], [0.0, 0.0, -2.0]])
    assert spectrum(triangular).tolist() == [-1, -2, -3]
    spiral = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]]).double()
    torch.testing.assert_close(spectrum(spiral), torch.tensor([-0.5 + 2j, -0.5 - 2j]).cdouble())


def test_flow_jacobian_of_a_leak_is_its_rate():
    leak = Wiring(1, {"motor": 3}, Synapses.empty(), Synapses.empty())
    cell = LTC(1, leak, dtype=torch.float64).cell
    dynamics, state = cell.dynamics(torch.zeros(1, 1).double()), torch.randn(1, 3).double()
    rates = spectrum(flow_jacobian(dynamics, state))[0].real
    expected = torch.sort(-1 / time_constants(dynamics, state)[0], descending=True).values
    assert_equal(rates, expected)


def test_spectra_along_a_trajectory():
    model, _, _ = random_circuit(3)
    x = torch.randn(2, 7, 2, dtype=torch.float64)
    _, _, states = model(x, return_states=True)
    spectra = spectra_along(model, x, states)
    assert spectra.shape == (2, 7, 6)
    dynamics = model.cell.dynamics(x[1, 4:5])
    assert_equal(spectra[1, 4], spectrum(flow_jacobian(dynamics, states[1, 4:5]))[0])
    assert_equal(spectra_along(model, x[1], states[1]), spectra[1])


def test_shapes_are_checked():
    model, dynamics, state = random_circuit(4)
    with pytest.raises(InputError, match=r"state of shape \(6,\), expected \(batch, 6\)"):
        flow_jacobian(dynamics, state[0])
    with pytest.raises(InputError, match=r"expected \(\.\.\., time, 2\) and \(\.\.\., time, 6\)"):
        spectra_along(model, torch.zeros(3, 2).double(), torch.zeros(4, 6).double())


def test_jacobians_have_gradients():
    model, _, state = random_circuit(5)
    dynamics = model.cell.dynamics(torch.zeros(3, 2).double())
    (flow_jacobian(dynamics, state).sum() + step_jacobian(dynamics, state, 0.1).sum()).backward()
    assert torch.isfinite(model.cell.recurrent.sigma.grad).all()
    assert model.cell.recurrent.sigma.grad.abs().sum() > 0
