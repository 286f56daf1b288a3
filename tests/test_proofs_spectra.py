"""Eigenvalues and time constants, of known matrices, along trajectories and of large circuits."""

import numpy as np
import pytest
import torch

from elegans import LTC
from elegans.errors import InputError, SolveError
from elegans.proofs import jacobian
from elegans.proofs.dynamics import spectra
from elegans.proofs.dynamics.spectra import (
    dominant,
    rightmost,
    spectra_along,
    spectrum,
    time_constants_along,
)
from elegans.wiring import Synapses, Wiring


def assert_equal(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def random_model(units, synapses, seed=0):
    rng = np.random.default_rng(seed)
    ends = rng.integers(units, size=(2, synapses))
    recurrent = Synapses(*ends, rng.choice([-1, 1], size=synapses))
    sensory = Synapses(rng.integers(2, size=units), np.arange(units), [1] * units)
    wiring = Wiring(2, {"motor": 1, "inter": units - 1}, recurrent, sensory)
    generator = torch.Generator().manual_seed(seed)
    model = LTC(2, wiring, epsilon=1e-3, dtype=torch.float64, generator=generator)
    return model.requires_grad_(False)


def test_spectrum_of_known_matrices():
    triangular = torch.tensor([[-3.0, 5.0, 1.0], [0.0, -1.0, 2.0], [0.0, 0.0, -2.0]])
    assert spectrum(triangular).tolist() == [-1, -2, -3]
    spiral = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]]).double()
    assert_equal(spectrum(spiral), torch.tensor([-0.5 + 2j, -0.5 - 2j]).cdouble())


def test_spectra_along_a_trajectory(monkeypatch):
    model = random_model(6, 20)
    x = torch.randn(2, 7, 2, dtype=torch.float64)
    _, _, states = model(x, return_states=True)
    along = spectra_along(model, x, states)
    assert along.shape == (2, 7, 6)
    dynamics = model.cell.dynamics(x[1, 4:5])
    assert_equal(along[1, 4], spectrum(jacobian(dynamics, states[1, 4:5]))[0])
    assert_equal(spectra_along(model, x[1], states[1]), along[1])
    monkeypatch.setattr(spectra, "PIECE", 3 * 36)  # three states at a time
    assert_equal(spectra_along(model, x, states), along)


def test_time_constants_along_a_trajectory(monkeypatch):
    model = random_model(6, 20)
    x = torch.randn(2, 7, 2, dtype=torch.float64)
    _, _, states = model(x, return_states=True)
    tau = time_constants_along(model, x, states)
    assert tau.shape == (2, 7, 6)
    # By hand, neuron by neuron, from the formula of the conductance.
    cell = model.cell
    sets = ((cell.recurrent.values(), states), (cell.sensory.values(), x))
    softplus = torch.nn.functional.softplus
    for i in range(6):
        total = softplus(cell.gleak[i]) + cell.epsilon
        for values, potential in sets:
            for source, target, w, s, m, _ in zip(*values, strict=True):
                if target == i:
                    total = total + w * torch.sigmoid(s * (potential[..., source] - m))
        assert_equal(tau[..., i], softplus(cell.cm[i]) / total)
    monkeypatch.setattr(spectra, "PIECE", 1)
    assert_equal(time_constants_along(model, x, states), tau)


def test_an_empty_trajectory_has_a_shape():
    model = random_model(3, 5)
    x, states = torch.zeros(2, 0, 2).double(), torch.zeros(2, 0, 3).double()
    assert spectra_along(model, x, states).shape == (2, 0, 3)
    assert time_constants_along(model, x, states).shape == (2, 0, 3)


@pytest.mark.parametrize("along", [spectra_along, time_constants_along])
def test_shapes_are_checked(along):
    model = random_model(6, 20)
    with pytest.raises(InputError, match=r"expected \(\.\.\., time, 2\) and \(\.\.\., time, 6\)"):
        along(model, torch.zeros(3, 2).double(), torch.zeros(4, 6).double())


@pytest.mark.parametrize("seed", range(3))
def test_rightmost_of_a_sparse_jacobian_equals_the_dense_one(seed):
    model = random_model(300, 1500, seed)
    dynamics = model.cell.dynamics(torch.zeros(2, 2).double())
    state = torch.rand(2, 300, dtype=torch.float64)
    J = jacobian(dynamics, state, sparse=True)
    expected = spectrum(J.to_dense())[:, :8]
    # A cut pair may show either half; real parts are compared, and whole pairs.
    found = rightmost(J, 8)
    assert_equal(found.real, expected.real, 1e-8)
    assert_equal(found.imag.abs(), expected.imag.abs(), 1e-8)
    assert_equal(rightmost(J.to_dense(), 8), expected)
    assert_equal(rightmost(J, 3, dense_up_to=300), expected[:, :3])


def test_the_eigenvalue_nearest_to_zero_need_not_be_the_rightmost():
    """Shift and invert about 0, the common shortcut, finds another one."""
    blocks = torch.block_diag(torch.tensor([[-0.5]]), torch.tensor([[-0.1, 9.0], [-9.0, -0.1]]))
    eigenvalues = rightmost(blocks.unsqueeze(0).double(), 2)[0]
    assert_equal(eigenvalues, torch.tensor([-0.1 + 9j, -0.1 - 9j]).cdouble(), 1e-7)
    assert spectrum(blocks).abs().min() == pytest.approx(0.5)


def test_dominant_multipliers_of_a_layers_step():
    model = random_model(300, 1500)
    dynamics = model.cell.dynamics(torch.zeros(1, 2).double())
    state = torch.rand(1, 300, dtype=torch.float64)
    product = jacobian(dynamics, state, elapsed=1.0, unfolds=6, sparse=True)
    moduli = torch.linalg.eigvals(product.to_dense()).abs().sort(descending=True).values
    assert_equal(dominant(product, 5).abs(), moduli[:, :5], 1e-8)
    assert_equal(dominant(product.to_dense(), 5).abs(), moduli[:, :5])
    one = jacobian(dynamics, state, elapsed=0.1)
    assert dominant(one, 2).abs()[0, 0] == torch.linalg.eigvals(one).abs().max()


def test_precision_follows_the_jacobian():
    model = random_model(250, 800).float()
    J = jacobian(model.cell.dynamics(torch.zeros(1, 2)), torch.zeros(1, 250), sparse=True)
    assert rightmost(J, 2).dtype == torch.complex64


def test_faults_of_the_search_are_named():
    model = random_model(300, 1500)
    state = torch.rand(1, 300, dtype=torch.float64)
    J = jacobian(model.cell.dynamics(torch.zeros(1, 2).double()), state, sparse=True)
    with pytest.raises(InputError, match="k=0, expected 1 to 300"):
        rightmost(J, 0)
    with pytest.raises(SolveError, match=r"of 40 eigenvalues after 1 restarts.*raise iterations"):
        rightmost(J, 40, iterations=1)
