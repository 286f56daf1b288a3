"""A linear layer that stores its nonzero weights only, and the rule when it pays.

Measured on one core of an AMD EPYC (AVX-512) with PyTorch 2.13.0 and MKL, float32, processor time,
ratio dense / sparse of a forward pass, at density 0.5 / 0.2 / 0.1 / 0.05 / 0.02:

=============  ======  ====================================
shape          batch   dense / sparse
=============  ======  ====================================
128 x 128        1000  0.35 / 0.78 / 1.15 / 1.50 / 1.84
256 x 256         100  0.39 / 0.81 / 1.19 / 1.65 / 2.13
500 x 1000         10  0.52 / 1.07 / 1.85 / 2.56 / 3.03
500 x 1000        100  0.37 / 0.85 / 1.64 / 2.71 / 3.42
1000 x 1000         1  0.18 / 0.45 / 0.79 / 1.21 / 2.22
1000 x 1000       100  0.41 / 0.95 / 1.84 / 3.13 / 5.49
2000 x 2000       100  0.40 / 0.91 / 1.89 / 3.16 / 6.01
=============  ======  ====================================

A forward and a backward pass together gain a little less. Below, a call's own 10 microseconds
outweigh: 64 x 64 is slower at every density. So half of the weights gone gains nothing in time,
and the break-even is at a density of 0.15 to 0.2 for batches, 0.1 to 0.05 for single samples.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.errors import InputError, PruningError
from elegans.pruning.compact.chain import dense_linear
from elegans.pruning.compact.gain import paired_seconds
from elegans.pruning.compact.sparse_product import Pattern, fast, is_fast, reference

INDICES = ("row_starts", "columns")
"""The buffers that say where the values stand, int32."""


class SparseLinear(nn.Module):
    r"""y = W x + b with a sparse W: values train, the pattern stays.

    .. math:: y_i = b_i + \sum_{k: s_i \le k < s_{i+1}} v_k x_{c_k}

    with values v, columns c and the starts s of the rows (compressed rows, CSR). A weight takes
    8 bytes in float32, twice that of a dense layer: less memory below half of the density. Time is
    less from a much lower density on, see `sparse_pays`. With the first backward pass 16 bytes a
    weight are added, for the transposed matrix.

    Parameters
    ----------
    mask
        Which weights there are, bool, shape (output, input).
    bias
        Whether there is a bias.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters; zeros until something is copied into them.

    Raises
    ------
    PruningError
        The mask is not a boolean matrix.

    Notes
    -----
    In float32 and float64 products run on PyTorch's kernels for sparse tensors (MKL, cuSPARSE); in
    other types, under `torch.func` and while `torch.compile` traces, by gathering and adding, which
    takes memory for batch times weights. Under autocast the layer computes in its own precision.

    Examples
    --------
    >>> dense = torch.nn.Linear(4, 3)
    >>> with torch.no_grad():
    ...     _ = dense.weight[:, 1:].zero_()
    >>> sparse = SparseLinear.of(dense)
    >>> sparse
    SparseLinear(in_features=4, out_features=3, weights=3, density=0.25, bias=True)
    >>> x = torch.randn(5, 4)
    >>> torch.allclose(sparse(x), dense(x), atol=1e-6)
    True
    """

    row_starts: Tensor
    columns: Tensor
    bias: Tensor | None

    def __init__(
        self, mask: Tensor, bias: bool = True, **factory_kwargs: Unpack[Placement]
    ) -> None:
        super().__init__()
        if mask.dim() != 2 or mask.dtype != torch.bool:
            raise PruningError(
                f"expected a boolean mask of shape (output, input), got {tuple(mask.shape)} of "
                f"{mask.dtype}; SparseLinear.of(linear) makes a layer of a dense one"
            )
        self.out_features, self.in_features = mask.shape
        device = factory_kwargs.get("device") or mask.device
        starts = torch.cat([mask.new_zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
        for name, index in zip(INDICES, (starts, mask.nonzero()[:, 1]), strict=True):
            self.register_buffer(name, index.to(device, torch.int32))
        weight_count = len(self.columns)
        kind: Placement = {"device": device, "dtype": factory_kwargs.get("dtype")}
        self.values = nn.Parameter(torch.zeros(weight_count, **kind))  # (weight,)
        values = nn.Parameter(torch.zeros(self.out_features, **kind)) if bias else None
        self.register_parameter("bias", values)
        self._pattern: Pattern | None = None

    @classmethod
    def of(cls, linear: nn.Linear, mask: Tensor | None = None) -> SparseLinear:
        """Return the sparse layer of a dense one.

        `mask`, bool, (output, input), says which weights stay; those that are not zero by default.
        """
        weight = linear.weight.detach()
        mask = weight != 0 if mask is None else mask
        if mask.shape != weight.shape:
            raise PruningError(
                f"the mask has shape {tuple(mask.shape)}, expected {tuple(weight.shape)} as the "
                "weight of the layer"
            )
        factory_kwargs: Placement = {"device": weight.device, "dtype": weight.dtype}
        sparse = cls(mask, linear.bias is not None, **factory_kwargs)
        with torch.no_grad():
            sparse.values.copy_(weight[mask])
            if sparse.bias is not None:
                sparse.bias.copy_(linear.bias)
        sparse.values.requires_grad_(linear.weight.requires_grad)
        if sparse.bias is not None:
            sparse.bias.requires_grad_(linear.bias.requires_grad)
        return sparse.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., output) for x of shape (..., input)."""
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise InputError(
                f"input has shape {tuple(x.shape)}, expected (..., {self.in_features})"
            )
        values = self.values
        if x.dtype != values.dtype:
            if not torch.is_autocast_enabled(x.device.type):
                raise InputError(
                    f"input is {x.dtype}, the layer is {values.dtype}; convert one of them"
                )
            x = x.to(values.dtype)
        flat = x.unsqueeze(0) if x.dim() == 1 else x.flatten(0, -2)  # (batch, input)
        product = fast if is_fast(values, flat) else reference
        y = product(values, flat, self.pattern())  # (batch, output)
        if self.bias is not None:
            y = y + self.bias
        return y.reshape(*x.shape[:-1], self.out_features)

    def pattern(self) -> Pattern:
        """Return where the values stand; derived again when the buffers are other ones."""
        cached = self._pattern
        if cached is None or cached.columns is not self.columns:
            self._pattern = cached = Pattern(self.row_starts, self.columns, self.in_features)
        return cached

    @property
    def density(self) -> float:
        """The share of weights that are there."""
        return len(self.columns) / max(1, self.in_features * self.out_features)

    def mask(self) -> Tensor:
        """Return which weights are there, bool, (output, input)."""
        mask = torch.zeros(
            self.out_features, self.in_features, dtype=torch.bool, device=self.columns.device
        )
        mask[self.pattern().rows, self.columns] = True
        return mask

    def to_dense(self) -> nn.Linear:
        """Return the dense layer that computes the same."""
        weight = self.values.new_zeros(self.out_features, self.in_features)
        weight[self.mask()] = self.values.detach()
        dense = dense_linear(weight, self.bias)
        return dense.train(self.training)

    def extra_repr(self) -> str:
        """Return sizes and density for ``print(model)``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"weights={len(self.columns)}, density={self.density:.3g}, bias={self.bias is not None}"
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pattern": None}  # derived, and larger than what it is derived of

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        starts, columns = (state_dict.get(prefix + name) for name in INDICES)
        if isinstance(starts, Tensor) and isinstance(columns, Tensor):
            self._check_indices(starts, columns, prefix)
            for name, index in zip(INDICES, (starts, columns), strict=True):
                state_dict[prefix + name] = index.to(torch.int32)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._pattern = None

    def _check_indices(self, starts: Tensor, columns: Tensor, prefix: str) -> None:
        """Raise `PruningError` unless indices of a state stand inside this layer."""
        if len(starts) != len(self.row_starts) or len(columns) != len(self.columns):
            raise PruningError(
                f"the state holds {len(columns)} weights in {len(starts) - 1} rows at {prefix!r}, "
                f"this layer has {len(self.columns)} in {self.out_features}; build it from the "
                "mask that the state was saved with"
            )
        if starts.is_meta or columns.is_meta:
            return
        inside = (
            not len(columns) or 0 <= int(columns.min()) <= int(columns.max()) < self.in_features
        )
        ends = int(starts[0]) == 0 and int(starts[-1]) == len(columns)
        if not inside or not ends or bool((starts.diff() < 0).any()):
            raise PruningError(
                f"the indices at {prefix!r} point outside a layer of {self.in_features} inputs and "
                f"{self.out_features} outputs; the state is damaged"
            )


LARGEST_DENSITY = 0.1
SMALLEST_SIZE = 2**17
"""Entries of the dense matrix, 512 x 256 for instance."""


def sparse_pays(outputs: int, inputs: int, weights: int, device: str = "cpu") -> bool:
    """Whether a sparse layer is the faster one, by the rule, for batches of 10 samples or more.

    The share of weights that are there is at most `LARGEST_DENSITY`, and the dense matrix has at
    least `SMALLEST_SIZE` entries. Other devices than the processor have not been measured: there
    layers stay dense.

    Examples
    --------
    >>> sparse_pays(1000, 1000, 50_000), sparse_pays(1000, 1000, 500_000), sparse_pays(64, 64, 10)
    (True, False, False)
    """
    size = outputs * inputs
    return device == "cpu" and size >= SMALLEST_SIZE and weights <= LARGEST_DENSITY * size


def measured_ratio(dense: nn.Linear, sparse: SparseLinear, x: Tensor, repeats: int = 5) -> float:
    """Return the time of the dense layer over that of the sparse one for inputs `x`, measured."""
    with torch.no_grad():
        pairs = paired_seconds(lambda: dense(x), lambda: sparse(x), repeats)
    ratios = sorted(before / after for before, after in pairs)
    return ratios[len(ratios) // 2]
