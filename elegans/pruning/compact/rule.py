"""The choice between a sparse and a dense layer, by a measured rule or by a measurement.

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

import torch
from torch import Tensor, nn

from elegans.pruning.compact.gain import paired_seconds
from elegans.pruning.compact.sparse_linear import SparseLinear

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
