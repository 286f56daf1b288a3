"""Closed-form Jacobians against automatic differentiation, over random circuits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans import CTRNN, LTC
from elegans.errors import InputError
from elegans.proofs import jacobian, spectrum
from elegans.proofs.dynamics.sparse_jacobian import JacobianProduct
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
def test_jacobian_of_the_flow_equals_autograd(seed):
    _, dynamics, state = random_circuit(seed)
    expected = by_autograd(dynamics.derivative, state)
    assert_equal(jacobian(dynamics, state), expected)
    assert_equal(jacobian(dynamics, state, sparse=True).to_dense(), expected)


@given(seed=st.integers(0, 10_000), h=st.floats(0, 50))
@settings(max_examples=25, deadline=None)
def test_jacobian_of_an_unfold_equals_autograd(seed, h):
    _, dynamics, state = random_circuit(seed)
    length = torch.tensor([[h], [h / 2], [0.3]], dtype=torch.float64)
    solver = get_solver("semi_implicit")
    expected = by_autograd(lambda x: solver.step(dynamics, x, length), state)
    assert_equal(jacobian(dynamics, state, elapsed=length), expected)
    assert_equal(jacobian(dynamics, state, elapsed=length, sparse=True).to_dense(), expected)


def test_step_of_length_zero_is_the_identity():
    _, dynamics, state = random_circuit(0)
    J = jacobian(dynamics, state, elapsed=0.0)
    assert torch.equal(J, torch.eye(6).double().expand(3, 6, 6))


def test_short_step_approaches_the_flow():
    _, dynamics, state = random_circuit(1)
    errors = []
    for h in (1e-3, 1e-4):
        slope = (jacobian(dynamics, state, elapsed=h) - torch.eye(6)) / h
        errors.append((slope - jacobian(dynamics, state)).abs().max().item())
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
    assert (wrong - jacobian(dynamics, state, elapsed=h)).abs().max() > 1e-2


def test_jacobian_of_a_leak_is_its_rate():
    leak = Wiring(1, {"motor": 3}, Synapses.empty(), Synapses.empty())
    cell = LTC(1, leak, dtype=torch.float64).cell
    dynamics, state = cell.dynamics(torch.zeros(1, 1).double()), torch.randn(1, 3).double()
    rates = spectrum(jacobian(dynamics, state))[0].real
    expected = torch.sort(-1 / dynamics.time_constant(state)[0], descending=True).values
    assert_equal(rates, expected)


def test_shapes_are_checked():
    _, dynamics, state = random_circuit(4)
    with pytest.raises(InputError, match=r"state of shape \(6,\), expected \(batch, 6\)"):
        jacobian(dynamics, state[0])
    with pytest.raises(InputError, match=r"state of shape \(3, 5\), expected \(batch, 6\)"):
        jacobian(dynamics, state[:, :5], elapsed=0.1, sparse=True)
    J = jacobian(dynamics, state, sparse=True)
    with pytest.raises(InputError, match=r"vector of shape \(6,\), expected \(3, 6\)"):
        J.matvec(state[0])
    with pytest.raises(InputError, match="unfolds=0, expected at least 1"):
        jacobian(dynamics, state, elapsed=1.0, unfolds=0, sparse=True)
    with pytest.raises(InputError, match="unfolds=6, expected at least 1 and the elapsed time"):
        jacobian(dynamics, state, unfolds=6)
    other = jacobian(dynamics, state, sparse=True)[0]
    with pytest.raises(InputError, match=r"shapes \[\(1, 6, 6\), \(3, 6, 6\)\]"):
        JacobianProduct((J, other))


def test_a_system_without_synapses_has_dense_jacobians_only():
    dynamics = CTRNN(2, 4, dtype=torch.float64).cell.dynamics(torch.zeros(1, 2).double())
    state, h = torch.randn(1, 4).double(), torch.tensor([[0.3]]).double()
    expected = by_autograd(lambda x: get_solver("semi_implicit").step(dynamics, x, h), state)
    assert_equal(jacobian(dynamics, state, elapsed=h), expected)
    assert_equal(jacobian(dynamics, state), by_autograd(dynamics.derivative, state))
    with pytest.raises(InputError, match="got CTRNNDynamics, which does not say what each synapse"):
        jacobian(dynamics, state, sparse=True)


def test_jacobians_have_gradients():
    model, _, state = random_circuit(5)
    dynamics = model.cell.dynamics(torch.zeros(3, 2).double())
    (jacobian(dynamics, state).sum() + jacobian(dynamics, state, elapsed=0.1).sum()).backward()
    assert torch.isfinite(model.cell.recurrent.sigma.grad).all()
    assert model.cell.recurrent.sigma.grad.abs().sum() > 0


@given(seed=st.integers(0, 10_000), elapsed=st.floats(0, 5), unfolds=st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_jacobian_of_several_unfolds_equals_autograd(seed, elapsed, unfolds):
    _, dynamics, state = random_circuit(seed)
    solver = get_solver("semi_implicit")
    length = torch.tensor([[elapsed], [elapsed / 2], [0.3]], dtype=torch.float64)
    expected = by_autograd(lambda x: solver.advance(dynamics, x, length, unfolds), state)
    product = jacobian(dynamics, state, elapsed=length, unfolds=unfolds, sparse=True)
    assert product.shape == (3, 6, 6)
    assert_equal(product.to_dense(), expected)
    assert_equal(jacobian(dynamics, state, elapsed=length, unfolds=unfolds), expected)
    vectors = torch.randn(3, 6, 2, dtype=torch.float64)
    assert_equal(product @ vectors, expected @ vectors)
    assert_equal(product.T @ vectors, expected.mT @ vectors)
    assert_equal(product[1].to_dense(), expected[1:2])


def test_sparse_forms_agree():
    _, dynamics, state = random_circuit(6)
    J = jacobian(dynamics, state, sparse=True)
    dense = jacobian(dynamics, state)
    vectors = torch.randn(3, 6, 4, dtype=torch.complex128)
    assert_equal(J @ vectors, dense.cdouble() @ vectors)
    assert_equal(J @ vectors[..., 0].real, (dense @ vectors[..., :1].real).squeeze(-1))
    assert_equal(J.T.to_dense(), dense.mT)
    assert_equal(J.diagonal(), dense.diagonal(dim1=1, dim2=2))
    assert_equal(J.to_torch_sparse().to_dense(), dense)
    assert_equal(J.T.to_torch_sparse().to_dense(), dense.mT)
    assert_equal(torch.from_numpy(J.to_scipy(2).toarray()), dense[2])
    assert [each.shape for each in J] == [(1, 6, 6)] * 3
    assert len(J) == 3


def test_each_connected_pair_has_one_entry():
    _, dynamics, state = random_circuit(7)
    J, synapses = jacobian(dynamics, state, sparse=True), dynamics.recurrent
    wanted = {*zip(synapses.target.tolist(), synapses.source.tolist(), strict=True)}
    wanted |= {(i, i) for i in range(6)}
    places = [*zip(J.row.tolist(), J.column.tolist(), strict=True)]
    assert places == sorted(wanted)


def test_parallel_synapses_that_replace_each_other_would_be_noticed():
    _, dynamics, state = random_circuit(8)
    J, synapses = jacobian(dynamics, state, sparse=True), dynamics.recurrent
    wrong = J.to_dense()
    terms = dynamics.coupling(state, state) / dynamics.capacitance[synapses.target]
    wrong[:, synapses.target.long(), synapses.source.long()] = terms
    assert (wrong - J.to_dense()).abs().max() > 1e-2


def test_the_gradient_of_a_sparse_step_is_that_of_the_dense_one():
    model, _, state = random_circuit(9)
    gradients = []
    for sparse in (True, False):
        dynamics = model.cell.dynamics(torch.zeros(3, 2).double())
        step = jacobian(dynamics, state, elapsed=0.4, sparse=sparse)
        product = step @ torch.ones(3, 6, 1).double()
        gradients.append(torch.autograd.grad(product.square().sum(), model.cell.recurrent.sigma)[0])
    assert_equal(*gradients)
    assert gradients[0].abs().sum() > 0


def test_a_large_circuit_needs_a_number_a_synapse():
    """10,000 neurons and 100,000 synapses: a dense matrix would take 800 MB."""
    units, count = 10_000, 100_000
    rng = np.random.default_rng(0)
    ends = rng.integers(units, size=(2, count))
    recurrent = Synapses(*ends, rng.choice([-1, 1], size=count))
    wiring = Wiring(1, {"motor": 1, "inter": units - 1}, recurrent, Synapses.empty())
    model = LTC(1, wiring, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state = torch.zeros(1, units, dtype=torch.float64)
    with torch.no_grad():
        dynamics = model.cell.dynamics(torch.zeros(1, 1).double())
        J = jacobian(dynamics, state, sparse=True)
        assert J.values.numel() <= count + units
        direction, h = torch.randn_like(state), 1e-5
        ends = (dynamics.derivative(state + sign * h * direction) for sign in (1, -1))
        difference = next(ends) - next(ends)
        # Central differences: h² from the formula, eps / h from rounding.
        torch.testing.assert_close(J @ direction, difference / (2 * h), rtol=1e-6, atol=1e-7)
