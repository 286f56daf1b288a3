"""Logarithmic norms and transient growth against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.spectra import spectrum
from elegans.proofs.dynamics.transients import (
    kreiss_bound,
    logarithmic_norm,
    non_normality,
    transient_growth,
)
from elegans.wiring import Synapses, Wiring

ORDER = {"1": 1, "2": 2, "inf": math.inf}
JORDAN = torch.tensor([[-1.0, 6.0], [0.0, -1.0]], dtype=torch.float64)


def random_matrix(seed, n=5, batch=3):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(batch, n, n, dtype=torch.float64, generator=generator)
    weights = 0.2 + torch.rand(n, dtype=torch.float64, generator=generator)
    return matrix - 2 * torch.eye(n), weights


def sparse_of(units, seed=0):
    rng = np.random.default_rng(seed)
    ends = rng.integers(units, size=(2, 4 * units))
    recurrent = Synapses(*ends, rng.choice([-1, 1], size=4 * units))
    wiring = Wiring(1, {"motor": 1, "inter": units - 1}, recurrent, Synapses.empty())
    model = LTC(1, wiring, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    state = torch.rand(2, units, dtype=torch.float64)
    with torch.no_grad():
        return jacobian(model.cell.dynamics(torch.zeros(2, 1).double()), state, sparse=True)


@pytest.mark.parametrize("kind", ORDER)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_logarithmic_norm_is_the_limit_of_its_definition(kind, seed):
    matrix, weights = random_matrix(seed)
    scaled = torch.diag(1 / weights) @ matrix @ torch.diag(weights)
    h = 1e-6
    grown = torch.linalg.matrix_norm(torch.eye(5) + h * scaled, ORDER[kind])
    # The error is of the order h |J|² in the Euclidean norm, and rounding over h.
    size = torch.linalg.matrix_norm(scaled, 2).max().item()
    found = logarithmic_norm(matrix, kind, weights)
    torch.testing.assert_close(found, (grown - 1) / h, rtol=0, atol=h * size**2 + 1e-8)


@pytest.mark.parametrize("kind", ORDER)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_logarithmic_norm_bounds_eigenvalues_and_growth(kind, seed):
    matrix, weights = random_matrix(seed)
    mu = logarithmic_norm(matrix, kind, weights)
    assert (spectrum(matrix)[:, 0].real <= mu + 1e-10).all()
    for t in (0.1, 1.0):
        flow = torch.matrix_exp(t * matrix) * weights / weights.unsqueeze(-1)
        growth = torch.linalg.matrix_norm(flow, ORDER[kind])
        assert (growth <= torch.exp(mu * t) * (1 + 1e-12)).all()


def test_the_rightmost_eigenvalue_alone_would_be_no_bound():
    growth = transient_growth(JORDAN, torch.tensor([0.3]))
    assert growth > 1 > torch.exp(0.3 * spectrum(JORDAN)[0].real)
    assert growth <= torch.exp(0.3 * logarithmic_norm(JORDAN, "2"))


@pytest.mark.parametrize("kind", ORDER)
@pytest.mark.parametrize("units", [12, 300])
def test_sparse_and_dense_norms_agree(kind, units):
    J, weights = sparse_of(units), 0.5 + torch.rand(units, dtype=torch.float64)
    for eta in (None, weights):
        expected = logarithmic_norm(J.to_dense(), kind, eta)
        torch.testing.assert_close(logarithmic_norm(J, kind, eta), expected, rtol=0, atol=1e-9)


def test_the_weighted_maximum_norm_reads_rows():
    """The other way round, eta_i / eta_j, is what a certificate must not use."""
    matrix, weights = random_matrix(0)
    off = matrix.abs() * (1 - torch.eye(5))
    rows = matrix.diagonal(dim1=1, dim2=2) + (off * weights).sum(-1) / weights
    found = logarithmic_norm(matrix, "inf", weights)
    torch.testing.assert_close(found, rows.amax(-1), rtol=1e-12, atol=1e-12)
    assert (found - logarithmic_norm(matrix, "inf", 1 / weights)).abs().min() > 1e-3


def test_numerical_abscissa_is_the_slope_of_growth_at_the_beginning():
    matrix, _ = random_matrix(1)
    h = 1e-6
    slope = (transient_growth(matrix, torch.tensor([h]).double())[0] - 1) / h
    torch.testing.assert_close(slope, logarithmic_norm(matrix, "2"), rtol=0, atol=1e-4)


def test_normal_matrices_do_not_depart():
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator))
    blocks = torch.block_diag(*[torch.tensor([[-a, a], [-a, -a]]) for a in (1.0, 2.0, 3.0)])
    normal = basis @ blocks.double() @ basis.T
    measures = non_normality(normal)
    assert measures.departure < 1e-13
    assert measures.condition == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(measures.numerical_abscissa, measures.abscissa)
    assert kreiss_bound(normal) == pytest.approx(1, abs=1e-12)


def test_departure_is_what_the_eigenvalues_leave_of_the_norm():
    matrix, _ = random_matrix(2)
    measures = non_normality(matrix)
    rest = torch.linalg.matrix_norm(matrix).square() - spectrum(matrix).abs().square().sum(-1)
    torch.testing.assert_close(measures.departure, rest.sqrt())
    assert ((measures.relative_departure > 0) & (measures.relative_departure < 1)).all()
    nilpotent = torch.tensor([[0.0, 3.0], [0.0, 0.0]]).double()
    assert non_normality(nilpotent).relative_departure == 1
    scaled = non_normality(JORDAN, torch.tensor([6.0, 1.0]))
    assert scaled.departure == pytest.approx(1)  # a weighted norm takes the coupling away


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_growth_keeps_below_its_bound(seed):
    matrix, _ = random_matrix(seed)
    times = torch.linspace(0, 4, 15).double()
    growth = transient_growth(matrix, times)
    bound = non_normality(matrix).bound(times)
    assert bound.shape == growth.shape == (15, 3)
    assert (growth <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("coupling", [0.5, 6.0, 100.0])
def test_kreiss_constant_of_a_jordan_block(coupling):
    """The resolvent's norm is (q + sqrt(q² + 4)) / 2a with a = z + 1, q = M / a, z real."""
    block = torch.tensor([[-1.0, coupling], [0.0, -1.0]]).double()

    def negative(exponent):
        z = math.exp(exponent)
        q = coupling / (z + 1)
        return -z / (z + 1) * (q + math.sqrt(q * q + 4)) / 2

    exact = max(1.0, -minimize_scalar(negative, bounds=(-12, 12), method="bounded").fun)
    assert kreiss_bound(block) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_kreiss_theorem(seed):
    matrix, _ = random_matrix(seed, batch=1)
    stable = matrix - (spectrum(matrix)[:, :1].real.unsqueeze(-1) + 0.1) * torch.eye(5)
    growth = transient_growth(stable, torch.linspace(0, 30, 1501).double()).max()
    kreiss = kreiss_bound(stable)
    # The times are 0.02 apart, over which the maximum cannot change by more than this factor.
    between = math.exp(0.02 * float(logarithmic_norm(stable, "2")))
    assert 1 <= kreiss <= growth * between
    assert growth <= math.e * 5 * kreiss * 1.01


def test_an_unstable_matrix_grows_without_bound():
    both = torch.stack([JORDAN, -JORDAN])
    assert torch.isinf(kreiss_bound(both)).tolist() == [False, True]


def test_faults_are_named():
    with pytest.raises(InputError, match=r"norm '3', expected one of \('1', '2', 'inf'\)"):
        logarithmic_norm(JORDAN, "3")
    for weights in (torch.ones(3), torch.tensor([1.0, 0.0]), torch.tensor([1.0, math.nan])):
        with pytest.raises(InputError, match=r"expected positive finite numbers of shape \(2,\)"):
            logarithmic_norm(JORDAN, "2", weights)
