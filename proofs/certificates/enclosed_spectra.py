"""Enclosures of the Jacobians over a box, and of their eigenvalues.

By Gershgorin's discs in the basis of the eigenvectors of the middle, see `refutation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from elegans.proofs.certificates.boxes import conductance_range
from elegans.proofs.certificates.gates import GateRanges, Gates
from elegans.proofs.certificates.network import SLACK, Array, Box, Network


@dataclass(frozen=True, eq=False)
class Matrices:
    """All real matrices within `radius` of `middle`, entry by entry."""

    middle: Array
    radius: Array

    @classmethod
    def between(cls, lo: Array, hi: Array) -> Matrices:
        """Return the matrices from `lo` to `hi`."""
        middle = lo + (hi - lo) / 2
        size = np.abs(lo) + np.abs(hi)
        return cls(middle, (1 + SLACK) * (hi - lo) / 2 + SLACK * size)

    def scaled(self, share: Box) -> Matrices:
        """Return the matrices with rows times numbers > 0 of a range each."""
        ends = self.middle - self.radius, self.middle + self.radius
        products = [s[:, None] * end for s in share for end in ends]
        slack = SLACK * share.hi[:, None] * (np.abs(self.middle) + self.radius)
        return self.between(np.min(products, axis=0) - slack, np.max(products, axis=0) + slack)


def jacobian_range(network: Network, box: Box, gates: GateRanges) -> Matrices:
    r"""Return the Jacobians of dx/dt over a box, with the gates over it.

    .. math::
        C_i J_{ij} = \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - x_i)
        + \sum_{k: i - j} \hat w_k - \delta_{ij} G_i

    with the gap junctions that conduct; where the box leaves that open, with w between 0 and w.
    """
    synapses, n = network.recurrent, len(network)
    steep = _steepness(gates.recurrent)
    pull = Box(
        synapses.potential - box.hi[synapses.target], synapses.potential - box.lo[synapses.target]
    )
    strength = synapses.weight * synapses.gain
    products = [strength * d * e for d in steep for e in pull]
    rounding = SLACK * np.abs(strength) * steep.hi * (np.abs(pull.lo) + np.abs(pull.hi))
    rounding += SLACK * np.abs(strength) * steep.hi * np.abs(synapses.potential)
    conductance = conductance_range(network, gates)
    ends = []
    for choose, sign, g in ((np.min, -1, conductance.hi), (np.max, 1, conductance.lo)):
        matrix = np.zeros((n, n))
        terms = choose(products, axis=0) + sign * rounding
        np.add.at(matrix, (synapses.target, synapses.source), terms)
        slack = np.zeros((n, n))
        np.add.at(slack, (synapses.target, synapses.source), np.abs(terms))
        if network.electrical is not None and gates.electrical is not None:
            joined, conduction = network.electrical.ends, gates.electrical
            open_ = joined.weight * (conduction.least if sign < 0 else conduction.most)
            np.add.at(matrix, (joined.target, joined.source), open_)
            np.add.at(slack, (joined.target, joined.source), open_)
        matrix[np.arange(n), np.arange(n)] -= g
        slack[np.arange(n), np.arange(n)] += g
        ends.append((matrix + sign * SLACK * slack) / network.capacitance[:, None])
    return Matrices.between(*ends)


def _steepness(gates: Gates) -> Box:
    """Return the range of sigma (1 - sigma), shape (synapse,)."""
    ends = [gates.least * (1 - gates.least), gates.most * (1 - gates.most)]
    most = np.where((gates.least <= 0.5) & (gates.most >= 0.5), 0.25, np.max(ends, axis=0))
    return Box((1 - SLACK) * np.min(ends, axis=0), (1 + SLACK) * most)


def largest_eigenvalue(matrices: Matrices, measure: Callable[[Array], Array]) -> float:
    """Return a lower bound on the largest real part, or modulus, of the eigenvalues of all."""
    n = len(matrices.middle)
    values, vectors = np.linalg.eig(matrices.middle)
    try:
        inverse = np.linalg.inv(vectors)
    except np.linalg.LinAlgError:
        return -np.inf
    left, right = np.abs(inverse), np.abs(vectors)
    # V^-1 = (I + F) W with W V = I - D, |F| <= |D| + |D|^2 + ...
    defect = np.abs(np.eye(n) - inverse @ vectors) + SLACK * (1 + left @ right)
    total = float((1 + SLACK) * defect.sum(axis=1).max())
    if not total < 0.5:
        return -np.inf
    product = inverse @ matrices.middle @ vectors - np.diag(values)
    beyond = np.abs(product) + (1 + SLACK) * (left @ matrices.radius @ right)
    beyond += 2 * SLACK * (left @ np.abs(matrices.middle) @ right)
    whole = beyond + np.diag(np.abs(values))
    beyond += (1 + SLACK) * total / (1 - total) * whole.max(axis=0)
    radii = (1 + SLACK) * beyond.sum(axis=1) + SLACK * np.abs(values)
    distance = np.abs(values[:, None] - values) * (1 - SLACK)
    touch: NDArray[np.bool_] = distance <= radii[:, None] + radii
    _, label = connected_components(touch, directed=False)
    least = measure(values) - radii
    return float(max(least[label == each].min() for each in np.unique(label)))
