"""The product of a sparse matrix and a batch of vectors, and its derivatives of every order.

`reference` is the definition, in plain PyTorch; `fast` runs on compressed rows (CSR), of which
PyTorch has kernels. Entries are given by their values alone, so that the pattern stays.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from elegans.checks import is_transformed

_HAS_MKL: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]

KERNEL_TYPES = (torch.float32, torch.float64)


class Pattern:
    """Places of the entries of a sparse matrix (row, column), sorted by row, then by column.

    `starts` says where each row begins among the entries, and behind the last where it ends,
    (row + 1,); `columns` is the column of each entry, (entry,), of the same integer type.
    """

    def __init__(self, starts: Tensor, columns: Tensor, width: int) -> None:
        self.starts, self.columns = starts, columns
        self.shape = (len(starts) - 1, width)
        self._rows: Tensor | None = None
        self._transposed: tuple[Pattern, Tensor] | None = None

    @property
    def rows(self) -> Tensor:
        """The row of each entry, (entry,)."""
        if self._rows is None:
            numbers = torch.arange(self.shape[0], dtype=self.columns.dtype, device=self.home)
            self._rows = numbers.repeat_interleave(self.starts.diff())
        return self._rows

    @property
    def home(self) -> torch.device:
        """Device of the indices."""
        return self.columns.device

    def transposed(self) -> tuple[Pattern, Tensor]:
        """Return the pattern of the transposed matrix, and which entry stands where in it."""
        if self._transposed is None:
            order = torch.sort(self.columns, stable=True).indices
            counts = torch.bincount(self.columns, minlength=self.shape[1])
            starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(self.starts.dtype)
            pattern = Pattern(starts, self.rows[order], self.shape[0])
            # Of the transposed: its transposed is this one, and its order undoes this one.
            inverse = torch.empty_like(order)
            inverse[order] = torch.arange(len(order), device=self.home)
            pattern._transposed = (self, inverse)
            self._transposed = (pattern, order)
        return self._transposed

    def matrix(self, values: Tensor) -> Tensor:
        """Return the sparse tensor with these values, (row, column)."""
        return torch.sparse_csr_tensor(
            self.starts, self.columns, values, self.shape, check_invariants=False
        )


def reference(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """Return x W^T for x (batch, column): (batch, row); takes any type and every transform.

    It holds batch * entries numbers, which `fast` does not.
    """
    products = x.index_select(1, pattern.columns) * values  # (batch, entry)
    return x.new_zeros(len(x), pattern.shape[0]).index_add(1, pattern.rows, products)


def fast(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """Return what `reference` returns, by kernels for compressed rows."""
    if not torch.is_grad_enabled():  # spares a third of the time of a small call
        return _multiply(values, x, pattern)
    product: Tensor = _Product.apply(values, x, pattern)  # type: ignore[no-untyped-call]
    return product


def is_fast(values: Tensor, x: Tensor) -> bool:
    """Whether `fast` takes these tensors: there are kernels, and nothing is being transformed."""
    if torch.compiler.is_compiling():
        return False
    kernels = values.is_cuda or (values.device.type == "cpu" and _HAS_MKL)
    return (
        kernels
        and values.dtype in KERNEL_TYPES
        and torch.autograd.forward_ad._current_level < 0
        and not is_transformed(values)
        and not is_transformed(x)
    )


def _multiply(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    matrix = pattern.matrix(values)
    if not torch.is_autocast_enabled(x.device.type):
        return (matrix @ x.t()).t()
    with torch.autocast(x.device.type, enabled=False):  # there are no kernels for halves
        return (matrix @ x.t()).t()


class _Product(torch.autograd.Function):
    """(values, x) -> x W^T."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, x)
        ctx.pattern = pattern
        return _multiply(values, x, pattern)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (g,) = slopes  # (batch, row)
        values, x = ctx.saved_tensors
        needs_values, needs_x, _ = ctx.needs_input_grad
        return (
            _Entries.apply(g, x, ctx.pattern) if needs_values else None,  # type: ignore[no-untyped-call]
            _by_transposed(values, g, ctx.pattern) if needs_x else None,
            None,
        )


class _Entries(torch.autograd.Function):
    """(g, x) -> the entries of g^T x, (entry,): what a change of each value does."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.pattern = pattern
        if not len(pattern.columns):
            return g.new_zeros(0)
        zeros = pattern.matrix(g.new_zeros(len(pattern.columns)))
        entries: Tensor = torch.sparse.sampled_addmm(zeros, g.t(), x, beta=0.0).values()
        return entries

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (d,) = slopes  # (entry,)
        g, x = ctx.saved_tensors
        needs_g, needs_x, _ = ctx.needs_input_grad
        return (
            fast(d, x, ctx.pattern) if needs_g else None,
            _by_transposed(d, g, ctx.pattern) if needs_x else None,
            None,
        )


def _by_transposed(values: Tensor, g: Tensor, pattern: Pattern) -> Tensor:
    """Return g W for g (batch, row): (batch, column)."""
    turned, order = pattern.transposed()
    return fast(values[order], g, turned)


def _silence_beta_warning() -> None:
    """Trigger PyTorch's warning about compressed tensors, given once, while it is ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = torch.zeros(2, dtype=torch.int32)
        torch.sparse_csr_tensor(index, index[:0], torch.zeros(0), (1, 1), check_invariants=False)


_silence_beta_warning()
