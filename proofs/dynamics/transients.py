r"""Logarithmic norms, non-normality and transient growth: what eigenvalues do not tell.

The rightmost eigenvalue decides where a linear system dy/dt = J y ends. Where J is not normal, its
solutions may first grow, by any factor. All norms here may be weighted,

.. math:: \|y\|_{p,\eta} = \|y / \eta\|_p, \qquad \eta > 0,

entry by entry: that is, J is replaced by diag(eta)⁻¹ J diag(eta). Contraction certificates use
the weighted maximum norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import checked
from elegans.checks import check_count
from elegans.errors import InputError, SolveError
from elegans.proofs.dynamics.sparse_jacobian import SparseJacobian

KINDS = ("1", "2", "inf")
"""The norms that `logarithmic_norm` knows."""

_DENSE_UP_TO = 200
_ITERATIONS = 10_000


@checked(InputError)
def logarithmic_norm(
    jacobian: Tensor | SparseJacobian, kind: str = "inf", weights: Tensor | None = None
) -> Tensor:
    r"""Return the logarithmic norm: the fastest growth that a norm can have at any one moment.

    .. math::
        \mu(J) = \lim_{h \to 0+} \frac{\|I + h J\| - 1}{h}, \qquad \|e^{tJ}\| \le e^{\mu t}

    With B = diag(eta)⁻¹ J diag(eta),

    .. math::
        \mu_\infty = \max_i \Big(B_{ii} + \sum_{j \ne i} |B_{ij}|\Big), \quad
        \mu_1 = \max_j \Big(B_{jj} + \sum_{i \ne j} |B_{ij}|\Big), \quad
        \mu_2 = \lambda_{\max}\big((B + B^T) / 2\big)

    Each is at least the rightmost eigenvalue's real part. A flow with mu(J(x)) <= -c in one norm
    for all x of a convex invariant set contracts there at the rate c. That of the Euclidean norm,
    the numerical abscissa, is the growth rate at the beginning:

    .. math:: \mu_2(J) = \frac{d}{dt} \|e^{tJ}\|_2 \Big|_{t = 0+}

    Above 0, some perturbation grows at first, even if all eigenvalues are on the left.

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron), or sparse; O(entries) for ``"1"`` and ``"inf"``.
    kind
        ``"1"``, ``"2"`` or ``"inf"``.
    weights
        eta > 0, shape (neuron,); 1 by default.

    Returns
    -------
    Tensor
        Shape (...), or (batch,) for a sparse Jacobian.

    Raises
    ------
    InputError
        The kind is unknown, or the weights are not positive or of another shape.
    SolveError
        The iteration for the norm ``"2"`` of a large sparse Jacobian did not converge.

    References
    ----------
    Söderlind, "The logarithmic norm. History and modern theory", BIT 46 (2006) 631-652. Trefethen,
    Embree, "Spectra and pseudospectra", Princeton 2005, sections 14 and 17.

    Examples
    --------
    >>> J = torch.tensor([[-1.0, 6.0], [0.0, -2.0]])
    >>> [round(float(logarithmic_norm(J, kind)), 4) for kind in ("1", "2", "inf")]
    [4.0, 1.5414, 5.0]
    >>> float(logarithmic_norm(J, "inf", weights=torch.tensor([8.0, 1.0])))
    -0.25
    """
    if kind not in KINDS:
        raise InputError(f"got the norm {kind!r}, expected one of {KINDS}")
    jacobian = _weighted(jacobian, weights)
    if kind == "2":
        return _largest_of_symmetric_part(jacobian)
    if isinstance(jacobian, SparseJacobian):
        itself = jacobian.row == jacobian.column
        terms = torch.where(itself, jacobian.values, jacobian.values.abs())
        line = jacobian.row if kind == "inf" else jacobian.column
        sums = terms.new_zeros(len(jacobian), jacobian.size).index_add(-1, line, terms)
        return sums.amax(dim=-1)
    diagonal = jacobian.diagonal(dim1=-2, dim2=-1)
    magnitudes = jacobian.abs().sum(dim=-1 if kind == "inf" else -2)
    return (magnitudes - diagonal.abs() + diagonal).amax(dim=-1)


@dataclass(frozen=True, eq=False)
class NonNormality:
    """Measures of the non-normality of matrices; each has the shape (...) of the batch."""

    abscissa: Tensor
    """Largest real part of the eigenvalues, alpha."""
    numerical_abscissa: Tensor
    """Growth rate at the beginning, omega >= alpha; equal for a normal matrix."""
    departure: Tensor
    """Henrici's departure: the Frobenius norm of the part of a Schur form above the diagonal."""
    relative_departure: Tensor
    """The departure by the norm of the matrix, from 0 (normal) to 1 (nilpotent)."""
    condition: Tensor
    """Condition number of the eigenvectors, each of length 1; infinite if they are no basis."""

    def bound(self, times: Tensor) -> Tensor:
        r"""Return a bound on the growth at `times` (time,), shape (time, ...).

        .. math:: \|e^{tJ}\|_2 \le \min\big(e^{\omega t}, \kappa(V) e^{\alpha t}\big)
        """
        t = times.reshape(-1, *[1] * self.abscissa.dim())
        late = self.condition.log() + self.abscissa * t
        return torch.minimum(self.numerical_abscissa * t, late).exp()


@checked(InputError)
def non_normality(jacobian: Tensor, weights: Tensor | None = None) -> NonNormality:
    r"""Return measures of non-normality.

    .. math::
        J = U (\Lambda + N) U^*, \qquad
        \mathrm{dep}(J) = \|N\|_F = \Big(\|J\|_F^2 - \sum_i |\lambda_i|^2\Big)^{1/2}

    Taken from the Schur form itself, since the difference of squares would cancel.

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron).
    weights
        eta > 0, shape (neuron,); 1 by default.

    Raises
    ------
    InputError
        The weights are not positive or of another shape.

    References
    ----------
    Henrici, "Bounds for iterates, inverses, spectral variation and fields of values of non-normal
    matrices", Numerische Mathematik 4 (1962) 24-40.

    Examples
    --------
    >>> measures = non_normality(torch.tensor([[-1.0, 6.0], [0.0, -2.0]]).double())
    >>> round(measures.abscissa.item(), 4), round(measures.departure.item(), 4)
    (-1.0, 6.0)
    """
    jacobian = _weighted(jacobian, weights)
    upper = _schur(jacobian)  # (..., neuron, neuron), complex
    departure = torch.linalg.matrix_norm(upper.triu(1))
    norm = torch.linalg.matrix_norm(upper)
    _, vectors = torch.linalg.eig(jacobian.detach().double().cpu())
    values = torch.linalg.svdvals(vectors)
    measures = (
        upper.diagonal(dim1=-2, dim2=-1).real.amax(dim=-1),
        _largest_of_symmetric_part(jacobian.detach().double().cpu()),
        departure,
        torch.where(norm > 0, departure / norm, torch.zeros_like(norm)),
        values[..., 0] / values[..., -1],
    )
    return NonNormality(*(measure.to(jacobian) for measure in measures))


@checked(InputError)
def norm_overshoot(eta: Sequence[float] | NDArray[np.floating], kind: str = "inf") -> float:
    r"""Return by what factor a plain norm may first grow under contraction in a weighted one.

    Where two trajectories contract in the maximum norm with weights eta, as certificates say,

    .. math::
        \max_i \frac{|d_i(t)|}{\eta_i} \le e^{-\lambda t} \max_i \frac{|d_i(0)|}{\eta_i}
        \quad\Rightarrow\quad
        \|d(t)\|_p \le \kappa_p e^{-\lambda t} \|d(0)\|_p, \qquad
        \kappa_p = \frac{\|\eta\|_p}{\min_i \eta_i}

    so that after the break-even time ln(kappa) / lambda they are closer than they began. In the
    maximum norm kappa is the ratio of the extreme weights. No smaller factor follows from the
    statement: d(0) along the least weight, d(t) along eta attain it.

    Parameters
    ----------
    eta
        Weights > 0, shape (neuron,).
    kind
        Of the plain norm: ``"1"``, ``"2"`` or ``"inf"``.

    Returns
    -------
    float
        At least 1; infinite where it overflows.

    Raises
    ------
    InputError
        The kind is unknown, or the weights are not positive.

    Examples
    --------
    >>> [round(norm_overshoot([3.0, 4.0], kind), 4) for kind in ("inf", "2", "1")]
    [1.3333, 1.6667, 2.3333]
    """
    weights = np.asarray(eta, dtype=np.float64)
    if kind not in KINDS:
        raise InputError(f"got the norm {kind!r}, expected one of {KINDS}")
    if weights.ndim != 1 or not len(weights) or not ((weights > 0) & np.isfinite(weights)).all():
        raise InputError(
            f"got weights of shape {weights.shape}, expected positive finite numbers (neuron,); "
            "pass the eta of a certificate"
        )
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(weights / weights.min(), float(kind)))


@checked(InputError)
def transient_growth(jacobian: Tensor, times: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return by what factor the worst perturbation has grown at each time.

    .. math:: \|e^{tJ}\|_2 = \max_{y(0)} \|y(t)\|_2 / \|y(0)\|_2

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron).
    times
        Shape (time,), in the unit of the elapsed times.
    weights
        eta > 0, shape (neuron,); 1 by default.

    Returns
    -------
    Tensor
        Shape (time, ...).

    Raises
    ------
    InputError
        The weights are not positive or of another shape.

    Examples
    --------
    >>> J = torch.tensor([[-1.0, 6.0], [0.0, -1.0]])
    >>> growth = transient_growth(J, torch.tensor([0.0, 1.0, 9.0]))
    >>> [round(float(factor), 3) for factor in growth]
    [1.0, 2.267, 0.007]
    """
    jacobian = _weighted(jacobian, weights)
    # Time by time: all of them at once would hold a matrix for each.
    return torch.stack([torch.linalg.matrix_norm(torch.matrix_exp(t * jacobian), 2) for t in times])


@checked(InputError)
def kreiss_bound(
    jacobian: Tensor, weights: Tensor | None = None, *, resolution: int = 13, rounds: int = 4
) -> Tensor:
    r"""Return a lower bound on the largest growth that a perturbation reaches at any time.

    .. math::
        \sup_{t \ge 0} \|e^{tJ}\|_2 \ge \mathcal K(J)
        = \sup_{\mathrm{Re}\, z > 0} \mathrm{Re}\, z \, \|(z - J)^{-1}\|_2

    and at most e n K (Kreiss' theorem). The supremum is searched for on a grid that is refined
    around its best point. Every z gives a sound lower bound, so the result is one; that it is the
    constant K itself is likely, not certain.

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron). The search takes some thousand singular value decompositions
        of each matrix.
    weights
        eta > 0, shape (neuron,); 1 by default.
    resolution
        Points of the grid along each axis, an odd number: its centre is then a point, too.
    rounds
        How often the grid is refined.

    Returns
    -------
    Tensor
        Shape (...), at least 1; infinite if an eigenvalue has a positive real part.

    Raises
    ------
    InputError
        The weights are not positive or of another shape.

    References
    ----------
    Trefethen, Embree, "Spectra and pseudospectra", Princeton 2005, theorems 15.4 and 18.5.

    Examples
    --------
    >>> J = torch.tensor([[-1.0, 6.0], [0.0, -1.0]])
    >>> growth = transient_growth(J, torch.linspace(0, 5, 501)).max()
    >>> bool(1.5 < kreiss_bound(J) <= growth)
    True
    """
    jacobian = _weighted(jacobian, weights)
    upper = _schur(jacobian)
    check_count("resolution", resolution)
    check_count("rounds", rounds, least=0)
    bounds = [_kreiss(form, resolution, rounds) for form in upper.reshape(-1, *upper.shape[-2:])]
    return torch.tensor(bounds).to(jacobian).reshape(jacobian.shape[:-2])


def _kreiss(upper: Tensor, resolution: int, rounds: int) -> float:
    """Search the right half plane for one Schur form: Re z in powers of ten, Im z evenly."""
    eigenvalues = upper.diagonal()
    if eigenvalues.real.max() > 0:
        return float("inf")
    scale = float(torch.linalg.matrix_norm(upper)) or 1.0
    identity = torch.eye(len(upper), dtype=upper.dtype)
    best, exponent, height = 1.0, -2.0, 0.0  # the value is 1 at infinity
    decades, span = 4.0, scale
    for turn in range(rounds + 1):
        exponents = torch.linspace(exponent - decades, exponent + decades, resolution).tolist()
        heights = torch.linspace(height - span, height + span, resolution).double()
        if turn == 0:  # the peaks often lie in front of eigenvalues, which no grid need meet
            heights = torch.cat([heights, eigenvalues.imag])
        for power in exponents:
            real = scale * 10.0**power
            z = torch.complex(torch.full_like(heights, real), heights)
            values = real / torch.linalg.svdvals(z[:, None, None] * identity - upper)[:, -1]
            place = int(values.argmax())
            if values[place] > best:
                best, exponent, height = float(values[place]), power, float(heights[place])
        decades, span = decades / 4, span / 4
    return best


def _schur(jacobian: Tensor) -> Tensor:
    """Return complex Schur forms, shape (..., neuron, neuron), in double precision."""
    from scipy.linalg import schur

    matrices = jacobian.detach().cpu().double().reshape(-1, *jacobian.shape[-2:]).numpy()
    forms = [schur(matrix, output="complex")[0] for matrix in matrices]
    return torch.from_numpy(np.stack(forms)).reshape(jacobian.shape)


def _largest_of_symmetric_part(jacobian: Tensor | SparseJacobian) -> Tensor:
    if isinstance(jacobian, SparseJacobian):
        if jacobian.size > _DENSE_UP_TO:
            largest = [_lanczos(jacobian, sample) for sample in range(len(jacobian))]
            return torch.tensor(largest, dtype=jacobian.dtype, device=jacobian.device)
        jacobian = jacobian.to_dense()
    symmetric = (jacobian + jacobian.mT) / 2
    eigenvalues: Tensor = torch.linalg.eigvalsh(symmetric)  # ascending
    return eigenvalues[..., -1]


def _lanczos(jacobian: SparseJacobian, sample: int) -> float:
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    matrix = jacobian.to_scipy(sample).astype(np.float64)
    start = np.random.default_rng(0).standard_normal(jacobian.size)
    try:
        (largest,) = eigsh(
            (matrix + matrix.T) / 2,
            1,
            which="LA",
            v0=start,
            ncv=40,
            maxiter=_ITERATIONS,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise SolveError(
            f"the largest eigenvalue of the symmetric part was not found in {_ITERATIONS} "
            'restarts, expected convergence; use kind="inf", or jacobian.to_dense()'
        ) from error
    return float(largest)


@overload
def _weighted(jacobian: Tensor, weights: Tensor | None) -> Tensor: ...


@overload
def _weighted(jacobian: SparseJacobian, weights: Tensor | None) -> SparseJacobian: ...


def _weighted(jacobian: Tensor | SparseJacobian, weights: Tensor | None) -> Tensor | SparseJacobian:
    """Return diag(eta)⁻¹ J diag(eta)."""
    if weights is None:
        return jacobian
    neurons = jacobian.shape[-1]
    positive = (weights > 0) & torch.isfinite(weights)
    if tuple(weights.shape) != (neurons,) or not positive.all():
        raise InputError(
            f"got weights {weights.tolist()[:4]}... of shape {tuple(weights.shape)}, expected "
            f"positive finite numbers of shape ({neurons},); pass the eta of a certificate"
        )
    eta = weights.to(device=jacobian.device, dtype=jacobian.dtype)
    if isinstance(jacobian, SparseJacobian):
        ratio = eta[jacobian.column] / eta[jacobian.row]
        return replace(jacobian, values=jacobian.values * ratio)
    return jacobian * (eta / eta.unsqueeze(-1))
