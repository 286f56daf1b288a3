"""Matrices with one number for each connected pair of neurons: work and memory O(synapses).

A `SparseJacobian` holds the entries at existing pairs (target, source) and the diagonal, and
nothing else; parallel synapses share an entry. The step of a layer is several unfolds, and its
Jacobian the product of theirs. The product fills up, so it is kept as factors: a
`JacobianProduct` is applied to vectors, and becomes a dense matrix only on request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.dynamics import LiquidDynamics


@dataclass(frozen=True, eq=False)
class SparseJacobian:
    """Square matrices, one a sample, that share the places of their entries.

    Parameters
    ----------
    row, column
        Places of the entries, each pair once, integers of shape (entry,).
    values
        The entries, shape (batch, entry).
    size
        Number of neurons n.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.proofs import jacobian
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(8, AutoNCP(units=19, output_size=4))
    >>> J = jacobian(model.cell.dynamics(torch.zeros(5, 8)), torch.zeros(5, 19), sparse=True)
    >>> J.shape, J.to_dense().shape, (J @ torch.ones(5, 19)).shape
    (torch.Size([5, 19, 19]), torch.Size([5, 19, 19]), torch.Size([5, 19]))
    >>> J.values.shape[1] <= model.synapse_count + model.state_size
    True
    """

    row: Tensor
    column: Tensor
    values: Tensor
    size: int

    @property
    def shape(self) -> torch.Size:
        """The shape (batch, n, n)."""
        return torch.Size((len(self.values), self.size, self.size))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the entries."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """Device of the entries."""
        return self.values.device

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, sample: int) -> SparseJacobian:
        """Return the matrix of one sample, as a batch of one."""
        return SparseJacobian(self.row, self.column, self.values[sample].unsqueeze(0), self.size)

    def __iter__(self) -> Iterator[SparseJacobian]:
        return (self[sample] for sample in range(len(self)))

    @property
    def T(self) -> SparseJacobian:  # noqa: N802  # the name in torch and numpy
        """The transposed matrices."""
        return SparseJacobian(self.column, self.row, self.values, self.size)

    def diagonal(self) -> Tensor:
        """Return the diagonals, shape (batch, neuron)."""
        (place,) = torch.nonzero(self.row == self.column, as_tuple=True)
        empty = self.values.new_zeros(len(self), self.size)
        return empty.index_add(-1, self.row[place], self.values[:, place])

    def matvec(self, vector: Tensor) -> Tensor:
        """Return J v.

        Parameters
        ----------
        vector
            Shape (batch, neuron), or (batch, neuron, k) for k vectors at once.

        Returns
        -------
        Tensor
            The same shape.

        Raises
        ------
        InputError
            The vector has another shape.
        """
        _check_vector(vector, len(self), self.size)
        values = self.values if vector.dim() == 2 else self.values.unsqueeze(-1)
        products = values * vector.index_select(1, self.column)  # (batch, entry) or with k
        return products.new_zeros(vector.shape).index_add(1, self.row, products)

    def __matmul__(self, vector: Tensor) -> Tensor:
        return self.matvec(vector)

    def to_dense(self) -> Tensor:
        """Return the matrices with their zeros, shape (batch, neuron, neuron)."""
        flat = self.values.new_zeros(len(self), self.size * self.size)
        return flat.index_add(-1, self.row * self.size + self.column, self.values).view(self.shape)

    def to_torch_sparse(self) -> Tensor:
        """Return a sparse COO tensor of shape (batch, neuron, neuron)."""
        batch, entries = self.values.shape
        sample = torch.arange(batch, device=self.row.device).repeat_interleave(entries)
        places = torch.stack([sample, self.row.repeat(batch), self.column.repeat(batch)])
        return torch.sparse_coo_tensor(
            places, self.values.reshape(-1), self.shape, check_invariants=True
        ).coalesce()

    def to_scipy(self, sample: int = 0) -> Any:
        """Return the matrix of one sample as a ``scipy.sparse.csr_array``."""
        from scipy.sparse import coo_array

        columns = (self.values[sample].detach(), self.row, self.column)
        values, row, column = (column.cpu().numpy() for column in columns)
        return coo_array((values, (row, column)), shape=(self.size, self.size)).tocsr()


@dataclass(frozen=True, eq=False)
class JacobianProduct:
    """The product of sparse Jacobians, the first factor being applied first.

    Parameters
    ----------
    factors
        At least one, of equal shapes.

    Examples
    --------
    A product of transposed factors in the opposite order takes gradients back through a step:

    >>> from elegans import LTC
    >>> from elegans.proofs import jacobian
    >>> dynamics, state = LTC(1, 3).cell.dynamics(torch.zeros(1, 1)), torch.zeros(1, 3)
    >>> M = jacobian(dynamics, state, elapsed=1.0, unfolds=6, sparse=True)
    >>> len(M.factors)
    6
    >>> torch.allclose(M.T.to_dense(), M.to_dense().mT, atol=1e-6)
    True
    """

    factors: tuple[SparseJacobian, ...]

    def __post_init__(self) -> None:
        shapes = {tuple(factor.shape) for factor in self.factors}
        if len(shapes) != 1:
            raise InputError(
                f"got factors of shapes {sorted(shapes)}, expected at least one factor and equal "
                "shapes; take all factors from one circuit and one batch"
            )

    @property
    def shape(self) -> torch.Size:
        """The shape (batch, n, n)."""
        return self.factors[0].shape

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the entries."""
        return self.factors[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the entries."""
        return self.factors[0].device

    def __len__(self) -> int:
        return len(self.factors[0])

    def __getitem__(self, sample: int) -> JacobianProduct:
        """Return the product of one sample, as a batch of one."""
        return JacobianProduct(tuple(factor[sample] for factor in self.factors))

    @property
    def T(self) -> JacobianProduct:  # noqa: N802  # the name in torch and numpy
        """The transposed matrices."""
        return JacobianProduct(tuple(factor.T for factor in reversed(self.factors)))

    def matvec(self, vector: Tensor) -> Tensor:
        """Return J_K ... J_1 v for v of shape (batch, neuron) or (batch, neuron, k)."""
        for factor in self.factors:
            vector = factor.matvec(vector)
        return vector

    def __matmul__(self, vector: Tensor) -> Tensor:
        return self.matvec(vector)

    def to_dense(self) -> Tensor:
        """Return the matrices, shape (batch, neuron, neuron)."""
        dense = self.factors[0].to_dense()
        for factor in self.factors[1:]:
            # Dense products: a product of more than a few factors has no zeros.
            dense = factor.to_dense() @ dense
        return dense


class Places(NamedTuple):
    """Positions of the entries of a circuit's Jacobian, and the terms that add up to each."""

    row: Tensor
    """Target of each entry, (entry,), ascending."""
    column: Tensor
    """Source of each entry, (entry,), ascending within a row."""
    of_synapse: Tensor
    """The entry that each of `LiquidDynamics.ends` contributes to, (end,)."""
    of_neuron: Tensor
    """The entry on the diagonal, (neuron,)."""

    @classmethod
    def of(cls, dynamics: LiquidDynamics) -> Places:
        """Return the places of a circuit: its connected pairs and the diagonal."""
        neurons, (source, target) = len(dynamics.capacitance), dynamics.ends()
        pair = target.long() * neurons + source  # may need more than 32 bits
        itself = torch.arange(neurons, device=pair.device) * (neurons + 1)
        place, entry = torch.unique(torch.cat([pair, itself]), return_inverse=True)
        synapse, diagonal = entry.split([len(pair), neurons])
        return cls(place // neurons, place % neurons, synapse, diagonal)

    def filled(self, terms: Tensor, diagonal: Tensor) -> SparseJacobian:
        """Return the matrix of terms (batch, end) plus a diagonal (batch, neuron)."""
        values = terms.new_zeros(len(terms), len(self.row))
        values = values.index_add(-1, self.of_synapse, terms)
        values = values.index_add(-1, self.of_neuron, diagonal)
        return SparseJacobian(self.row, self.column, values, len(self.of_neuron))


def _check_vector(vector: Tensor, batch: int, size: int) -> None:
    if vector.dim() not in (2, 3) or tuple(vector.shape[:2]) != (batch, size):
        raise InputError(
            f"got a vector of shape {tuple(vector.shape)}, expected ({batch}, {size}) or "
            f"({batch}, {size}, k); expand a single vector over the batch"
        )
