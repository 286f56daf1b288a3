"""Eigenvalues of Jacobians; eigenvalues and time constants along a trajectory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import checked
from elegans.checks import check_seed
from elegans.errors import InputError, SolveError
from elegans.ltc.dynamics import LiquidDynamics
from elegans.ltc.layer import LTC
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.sparse_jacobian import JacobianProduct, SparseJacobian

PIECE = 8_000_000
"""Numbers held at once while a trajectory is examined: 64 MB in float64."""


@checked(InputError)
def spectrum(jacobian: Tensor) -> Tensor:
    """Return the eigenvalues of matrices, complex, the largest real part first.

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron).

    Returns
    -------
    Tensor
        Shape (..., neuron); equal real parts are ordered by the imaginary part.

    Examples
    --------
    >>> spectrum(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) - torch.eye(2))
    tensor([-1.+1.j, -1.-1.j])
    """
    return ordered(torch.linalg.eigvals(jacobian))


@checked(InputError)
def spectra_along(model: LTC, inputs: Tensor, states: Tensor) -> Tensor:
    """Return the flow's eigenvalues along a trajectory that inputs drive.

    They say how fast neighbouring states approach or part *now*; stability of a driven circuit
    over time does not follow from them.

    Parameters
    ----------
    model
        The layer.
    inputs
        Shape (..., time, input), in the units that the layer is given.
    states
        Potentials under these inputs, shape (..., time, neuron), such as those that the layer
        returns with ``return_states=True`` (and ``batch_first=True``).

    Returns
    -------
    Tensor
        Complex, shape (..., time, neuron), the largest real part of a step first; see
        `spectrum`. Per unit of the elapsed times.

    Raises
    ------
    InputError
        Inputs and states do not fit each other or the layer.

    Examples
    --------
    >>> model = LTC(2, 5)
    >>> x = torch.zeros(3, 7, 2)
    >>> _, _, states = model(x, return_states=True)
    >>> spectra_along(model, x, states).shape
    torch.Size([3, 7, 5])
    """
    spectra = [
        spectrum(jacobian(dynamics, state))
        for dynamics, state in _pieces(model, inputs, states, size=model.state_size**2)
    ]
    return torch.cat(spectra).reshape(states.shape)


@checked(InputError)
def time_constants_along(model: LTC, inputs: Tensor, states: Tensor) -> Tensor:
    r"""Return the time constant of each neuron along a trajectory that inputs drive.

    .. math:: \tau_i(t) = C_i / G_i(x(t), u(t))

    Parameters
    ----------
    model, inputs, states
        As in `spectra_along`.

    Returns
    -------
    Tensor
        Shape (..., time, neuron), in the unit of the elapsed times: how long the neuron needs to
        forget, which open synapses shorten.

    Raises
    ------
    InputError
        Inputs and states do not fit each other or the layer.

    Examples
    --------
    >>> model = LTC(2, 5)
    >>> x = torch.zeros(3, 7, 2)
    >>> _, _, states = model(x, return_states=True)
    >>> tau = time_constants_along(model, x, states)
    >>> tau.shape, bool((tau > 0).all())
    (torch.Size([3, 7, 5]), True)
    """
    size = model.synapse_count + model.sensory_synapse_count + model.state_size
    constants = [
        dynamics.time_constant(state)
        for dynamics, state in _pieces(model, inputs, states, size=size)
    ]
    return torch.cat(constants).reshape(states.shape)


@checked(InputError)
def rightmost(
    jacobian: Tensor | SparseJacobian,
    k: int = 6,
    *,
    dense_up_to: int = 200,
    iterations: int = 10_000,
    seed: int = 0,
) -> Tensor:
    """Return the k eigenvalues with the largest real parts, which decide on stability.

    Large sparse Jacobians are never made dense: Arnoldi's method with restarts (ARPACK) needs
    products with vectors alone. It finds them to rounding, but, as every method of its kind, may
    in rare cases miss one that its starting vector hardly contains; another seed tells.

    Parameters
    ----------
    jacobian
        Shape (batch, neuron, neuron), dense or sparse.
    k
        How many. A conjugate pair at the end may be cut in two.
    dense_up_to
        Matrices up to this size are solved completely.
    iterations
        Largest number of restarts.
    seed
        Draws the vector to start with.

    Returns
    -------
    Tensor
        Complex, shape (batch, k), the largest real part first.

    Raises
    ------
    InputError
        k is not from 1 to the number of neurons.
    SolveError
        The iteration did not converge.

    References
    ----------
    Lehoucq, Sorensen, Yang, "ARPACK users' guide", SIAM 1998.

    Examples
    --------
    >>> dynamics = LTC(1, 50).cell.dynamics(torch.zeros(1, 1))
    >>> J = jacobian(dynamics, torch.zeros(1, 50), sparse=True)
    >>> torch.allclose(rightmost(J, 1), spectrum(J.to_dense())[:, :1])
    True
    """
    return _extreme(jacobian, k, "LR", dense_up_to, iterations, seed)


@checked(InputError)
def dominant(
    jacobian: Tensor | SparseJacobian | JacobianProduct,
    k: int = 6,
    *,
    dense_up_to: int = 200,
    iterations: int = 10_000,
    seed: int = 0,
) -> Tensor:
    """Return the k eigenvalues of the largest moduli, which decide on the stability of a step.

    Parameters
    ----------
    jacobian
        The Jacobian of a step, or of several: shape (batch, neuron, neuron), dense, sparse or a
        product.
    k, dense_up_to, iterations, seed
        As in `rightmost`.

    Returns
    -------
    Tensor
        Complex, shape (batch, k), the largest modulus first.

    Raises
    ------
    InputError, SolveError
        As in `rightmost`.

    Examples
    --------
    >>> dominant(torch.tensor([[[0.0, 2.0], [2.0, 3.0]]]), 1)
    tensor([[4.+0.j]])
    """
    return _extreme(jacobian, k, "LM", dense_up_to, iterations, seed)


def _extreme(
    jacobian: Tensor | SparseJacobian | JacobianProduct,
    k: int,
    which: str,
    dense_up_to: int,
    iterations: int,
    seed: int,
) -> Tensor:
    """Return the k first eigenvalues by real part ("LR") or by modulus ("LM"), (batch, k)."""
    neurons = jacobian.shape[-1]
    if not 1 <= k <= neurons:
        raise InputError(f"got k={k}, expected 1 to {neurons}, the number of neurons")
    # ARPACK finds at most n - 2 eigenvalues.
    if isinstance(jacobian, Tensor) or neurons <= max(dense_up_to, k + 1):
        dense = jacobian if isinstance(jacobian, Tensor) else jacobian.to_dense()
        eigenvalues = spectrum(dense.detach())
    else:
        samples = range(len(jacobian))
        converged = [_arnoldi(jacobian, sample, k, which, iterations, seed) for sample in samples]
        eigenvalues = ordered(torch.from_numpy(np.stack(converged)))
        dtype = torch.complex64 if jacobian.dtype == torch.float32 else torch.complex128
        eigenvalues = eigenvalues.to(jacobian.device, dtype)
    if which == "LM":
        eigenvalues = _sorted_by(eigenvalues.abs(), eigenvalues)
    return eigenvalues[..., :k]


def _arnoldi(
    jacobian: SparseJacobian | JacobianProduct,
    sample: int,
    k: int,
    which: str,
    iterations: int,
    seed: int,
) -> NDArray[np.complex128]:
    from scipy.sparse.linalg import (
        ArpackNoConvergence,
        LinearOperator,
        eigs,
    )

    parts = jacobian.factors if isinstance(jacobian, JacobianProduct) else (jacobian,)
    matrices = [part.to_scipy(sample).astype(np.float64) for part in parts]

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        for matrix in matrices:
            vector = matrix @ vector
        return vector

    neurons = jacobian.shape[-1]
    operator = LinearOperator((neurons, neurons), matvec=product, dtype=np.float64)
    start = np.random.default_rng(check_seed(seed)).standard_normal(neurons)
    basis = min(neurons, max(4 * k, 40))  # twice scipy's default: clustered ends need the room
    try:
        eigenvalues: NDArray[np.complex128] = eigs(
            operator,
            k,
            which=which,
            v0=start,
            ncv=basis,
            maxiter=iterations,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise SolveError(
            f"got {len(error.eigenvalues)} of {k} eigenvalues after {iterations} restarts, "
            "expected all; raise iterations, ask for fewer, or use spectrum(jacobian.to_dense())"
        ) from error
    return eigenvalues


def ordered(eigenvalues: Tensor) -> Tensor:
    """Return complex numbers by real part, the largest first, and then by imaginary part."""
    # Two stable sorts order by two keys: the second key first.
    eigenvalues = _sorted_by(eigenvalues.imag, eigenvalues)
    return _sorted_by(eigenvalues.real, eigenvalues)


def _sorted_by(key: Tensor, values: Tensor) -> Tensor:
    """Return `values` in the order of their falling `key`, which has the same shape."""
    return values.gather(-1, key.argsort(dim=-1, descending=True, stable=True))


def _pieces(
    model: LTC, inputs: Tensor, states: Tensor, *, size: int
) -> Iterator[tuple[LiquidDynamics, Tensor]]:
    """Yield dynamics and states (batch, neuron) of a trajectory, some millions of numbers each.

    `size` is how many numbers one state needs.
    """
    expected = (*inputs.shape[:-1], model.state_size)
    if inputs.shape[-1] != model.input_size or tuple(states.shape) != expected:
        raise InputError(
            f"got inputs of shape {tuple(inputs.shape)} and states of shape {tuple(states.shape)}, "
            f"expected (..., time, {model.input_size}) and (..., time, {model.state_size}) with "
            "the same leading axes; pass the states that the layer returned for these inputs"
        )
    chunk = max(1, PIECE // size)
    x, state = inputs.reshape(-1, model.input_size), states.reshape(-1, model.state_size)
    with torch.no_grad():
        for begin in range(0, max(1, len(x)), chunk):  # an empty trajectory has a shape, too
            piece = slice(begin, begin + chunk)
            yield model.cell.dynamics(x[piece]), state[piece]
