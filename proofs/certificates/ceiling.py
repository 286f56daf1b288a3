r"""The sampled ceiling of contraction rates: a search for the state that speaks against a rate.

Whatever the norm, its logarithmic norm is at least the spectral abscissa, the largest real part of
the eigenvalues:

.. math::
    \mu(J(x, u)) \ge \alpha(J(x, u)) \quad\Longrightarrow\quad
    \lambda \le -\max_{x \in S,\, u \in U} \alpha(J(x, u))

for every rate lambda that any norm, weighted or not, proves on a box S under inputs in U. One state
and one input that are found make the right side smaller, and so a bound that holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import check_seed
from elegans.errors import InputError
from elegans.proofs.certificates.network import Array, Box, Network, Range, checked_box, given_range

_STEP = 0.2
"""Length of a step of the search, as a share of the box; it shrinks to a twentieth of this."""

_ROUNDING = 100 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class SampledCeiling:
    """The state and the input found at which perturbations decay most slowly, or grow.

    Parameters
    ----------
    abscissa
        The largest real part of an eigenvalue there, per unit of the elapsed times.
    error
        How far rounding can have moved it, to first order.
    state
        Shape (neuron,).
    inputs
        As the layer is given them, shape (input,).
    samples
        States whose Jacobian was looked at.

    Examples
    --------
    Without synapses the slower of two leaks decides, whatever the state:

    >>> from elegans.proofs.claims.small_circuits import circuit
    >>> leaky = circuit(2, leak=[1.0, 3.0], capacitance=0.5)
    >>> box = Box(np.zeros(2), np.ones(2))
    >>> sampled_ceiling(leaky, box, inputs=(-1, 1), samples=4).abscissa
    -2.0
    """

    abscissa: float
    error: float
    state: Array
    inputs: Array
    samples: int

    @property
    def rate(self) -> float:
        """No norm proves a larger rate of contraction on this box."""
        return self.error - self.abscissa

    @property
    def refutes(self) -> bool:
        """Whether no norm at all certifies contraction on this box: perturbations can grow."""
        return self.abscissa - self.error >= 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "abscissa": self.abscissa,
            "error": self.error,
            "rate": self.rate,
            "refutes": self.refutes,
            "state": self.state.tolist(),
            "inputs": self.inputs.tolist(),
            "samples": self.samples,
        }


@checked(InputError)
def sampled_ceiling(
    model: nn.Module | Network,
    box: Box,
    inputs: Range,
    *,
    samples: int = 256,
    rounds: int = 12,
    seed: int = 0,
) -> SampledCeiling:
    r"""Search a box and a range of inputs for the largest spectral abscissa.

    From random points, half of their coordinates at ends of the box, each round moves up the
    gradient

    .. math::
        \frac{\partial \alpha}{\partial z}
        = \mathrm{Re}\, \frac{w^* (\partial J / \partial z)\, v}{w^* v}

    with the right and left eigenvectors v and w of the rightmost eigenvalue.

    Parameters
    ----------
    model
        A layer without mixed memory, its cell, or a `Network`.
    box
        States, such as ``certificate.box``.
    inputs
        Lowest and highest input as the layer is given them.
    samples
        Points to begin with.
    rounds
        Steps uphill from each; 0 looks at the points alone.
    seed
        Draws the points.

    Returns
    -------
    SampledCeiling
        The best point found: a witness, so that the bound holds however short the search was. It
        is no upper bound on the abscissa: another point may be worse.

    Raises
    ------
    InputError
        Box, range or numbers are not valid, or the model is of another kind.

    Notes
    -----
    Matrices are dense: some hundreds of neurons, with fewer samples for the larger.

    Examples
    --------
    >>> from elegans.proofs.certificates.certification import certify
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    >>> certificate = certify(model, inputs=(-1, 1))
    >>> ceiling = sampled_ceiling(model, certificate.box, (-1, 1), samples=32)
    >>> bool(certificate.best_rate <= ceiling.rate), ceiling.refutes
    (True, False)
    """
    network = model if isinstance(model, Network) else Network.of(model)
    given = given_range(inputs, len(network.scale))
    lo, hi = checked_box(box, len(network))
    for name, value, least in (("samples", samples, 1), ("rounds", rounds, 0)):
        if value < least:
            raise InputError(f"got {name}={value}, expected at least {least}")
    rng = np.random.default_rng(check_seed(seed))
    # State and input are one point of one box, (sample, neuron + input).
    low = torch.from_numpy(np.concatenate([lo, given.lo]))
    width = torch.from_numpy(np.concatenate([hi, given.hi])) - low
    share = rng.random((samples, len(low)))
    at_end = rng.random(share.shape) < 0.5
    share[at_end] = np.round(share[at_end])
    place = torch.from_numpy(share)  # from 0 to 1 along each side
    best: tuple[float, float, Tensor] | None = None
    for turn in range(rounds + 1):
        place.requires_grad_()
        point = low + place * width
        state, u = point[:, : len(network)], point[:, len(network) :]
        abscissa, error, slope = _abscissa(network.dynamics(u).jacobian(state))
        sure = abscissa - error
        top = int(sure.argmax())
        if best is None or float(sure[top]) > best[0] - best[1]:
            best = float(abscissa[top]), float(error[top]), point[top].detach()
        if turn < rounds:
            (uphill,) = torch.autograd.grad(slope.sum(), place)
            length = _STEP * (1 - 0.95 * turn / rounds)
            drawn = torch.from_numpy(rng.random(uphill.shape))
            place = (place.detach() + length * uphill.sign() * drawn).clamp(0, 1)
    assert best is not None  # there is at least one round
    witness = best[2].numpy()
    # Rounding may carry lo + (hi - lo) across the box.
    state = np.clip(witness[: len(network)], lo, hi)
    u = np.clip(witness[len(network) :], given.lo, given.hi)
    return SampledCeiling(best[0], best[1], state, u, samples * (rounds + 1))


def _abscissa(jacobian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return abscissa and its error, (sample,), and what has the abscissa's gradient."""
    values, vectors = torch.linalg.eig(jacobian.detach())
    first = values.real.argmax(dim=-1, keepdim=True)  # (sample, 1)
    abscissa = values.real.gather(-1, first).squeeze(-1)
    right = vectors.gather(-1, first.unsqueeze(-1).expand(-1, vectors.shape[-1], 1)).squeeze(-1)
    # The left eigenvector w solves w* (J - value) = 0; the inverse of all vectors would fail at
    # multiple eigenvalues, and one step of inverse iteration beside the value does not.
    value = values.gather(-1, first)
    size = torch.linalg.matrix_norm(jacobian.detach())
    shift = value + 1e-10 * (size + 1e-300).unsqueeze(-1)
    identity = torch.eye(jacobian.shape[-1], dtype=vectors.dtype)
    shifted = (jacobian.detach().to(vectors.dtype) - shift.unsqueeze(-1) * identity).mH
    left = torch.linalg.solve(shifted, right)
    left = left / torch.linalg.vector_norm(left, dim=-1, keepdim=True)
    overlap = (left.conj() * right).sum(dim=-1)  # 1 / |overlap| is the condition of the value
    condition = 1 / overlap.abs().clamp_min(1e-12)
    error = _ROUNDING * jacobian.shape[-1] * size * condition
    row = (left.conj() / overlap.unsqueeze(-1)).unsqueeze(1)  # (sample, 1, neuron)
    slope = (row @ jacobian.to(vectors.dtype) @ right.unsqueeze(-1)).real.reshape(-1)
    # A defective eigenvalue has no gradient; such a point stays where it is.
    usable = torch.isfinite(slope) & torch.isfinite(abscissa)
    return abscissa, torch.where(usable, error, torch.inf), torch.where(usable, slope, 0.0)
