"""The network that learns to control a hawkmoth, its error over whole data sets, published ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.errors import InputError

WIDTHS = (10, 400, 400, 400, 16, 7)
"""Numbers of inputs, of the units of each layer, and of outputs."""

DEVIATION = 0.2
"""Standard deviation of the initial weights, as published."""

LEVELS = (
    *(0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85),
    *(0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98),
)
"""Shares of missing weights, one after the other with retraining in between."""

LIMIT = 1e-3
"""A network's optimum is its last level with a mean squared error of at most this."""

ERRORS = {0.0: 1.57e-4, 0.75: 1.00e-4, 0.93: 1.67e-4, 0.94: 1.35e-4, 0.95: 6.0e-3, 0.97: 1.95e-2}
"""Mean squared error of one network by the share of missing weights, on scaled outputs."""

MEDIAN_OPTIMUM = 0.93
"""Of 400 networks, trained on ten million trajectories; the optimum of 214 of them is 0.93, their
mean 0.914.

Zahn, Bustamante, Switzer, Daniel, Kutz, "Pruning deep neural networks generates a sparse,
bio-inspired nonlinear controller for insect flight", PLOS Computational Biology 2022.
"""


def hawkmoth_network(
    generator: torch.Generator | None = None,
    *,
    widths: Sequence[int] = WIDTHS,
    deviation: float | None = DEVIATION,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Return the dense network 10-400-400-400-16-7: tanh, a linear output, 330,512 weights.

    Parameters
    ----------
    generator
        Draws the weights; PyTorch's default generator by default.
    widths
        Numbers of inputs, of the units of each layer, and of outputs; the published ones by
        default.
    deviation
        Standard deviation of the normal initial weights, above 0. With the published 0.2 the last
        hidden units begin saturated; with None, weights are uniform as Glorot and Bengio recommend
        for tanh. Biases begin at 0.
    dtype
        Of the parameters.

    Raises
    ------
    InputError
        When the deviation is not above 0, or a width is below 1.

    Examples
    --------
    >>> import torch
    >>> network = hawkmoth_network(torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 10)).shape
    torch.Size([5, 7])
    >>> sum(layer.weight.numel() for layer in network if hasattr(layer, "weight"))
    330512

    References
    ----------
    Zahn, Bustamante, Switzer, Daniel, Kutz, "Pruning deep neural networks generates a
    sparse, bio-inspired nonlinear controller for insect flight", PLOS Computational Biology 2022.
    """
    if deviation is not None and not 0 < deviation < float("inf"):
        raise InputError(
            f"got deviation = {deviation}, expected a finite number above 0, or None for uniform "
            f"weights; the default is {DEVIATION}"
        )
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(
            f"got widths = {tuple(widths)}, expected at least two numbers, each at least 1; the "
            f"published ones are {WIDTHS}"
        )
    layers: list[nn.Module] = []
    for sources, units in pairwise(widths):
        # On the meta device nothing is drawn from PyTorch's default generator.
        layer = nn.Linear(sources, units, device="meta", dtype=dtype).to_empty(device="cpu")
        with torch.no_grad():
            if deviation is None:
                bound = (6 / (sources + units)) ** 0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
            else:
                layer.weight.normal_(0, deviation, generator=generator)
            layer.bias.zero_()
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def mean_squared_error(
    model: nn.Module, inputs: Tensor | NDArray[Any], outputs: Tensor | NDArray[Any],
    *, batch: int = 8192,
) -> float:  # fmt: skip
    """Return the mean squared error over all rows and columns.

    Published figures were taken from a single batch, which tells little: use all rows.

    Parameters
    ----------
    model
        From (row, input) to (row, output); evaluated in eval mode, without gradients.
    inputs, outputs
        Scaled rows, (row, input) and (row, output), at least one.
    batch
        Rows evaluated at a time; the result does not depend on it, save for rounding.

    Raises
    ------
    InputError
        When there are no rows, their numbers differ, or the model answers with another shape.

    Examples
    --------
    >>> import torch
    >>> mean_squared_error(torch.nn.Identity(), torch.zeros(3, 2), torch.tensor([[3., 0]] * 3))
    4.5
    """
    return float(column_errors(model, inputs, outputs, batch=batch).mean())


def column_errors(
    model: nn.Module, inputs: Tensor | NDArray[Any], outputs: Tensor | NDArray[Any],
    *, batch: int = 8192,
) -> Tensor:  # fmt: skip
    """Return the mean squared error of each column, (output,), in float64.

    Parameters and errors are those of `mean_squared_error`.

    Examples
    --------
    >>> import torch
    >>> column_errors(torch.nn.Identity(), torch.zeros(3, 2), torch.tensor([[3., 0]] * 3)).tolist()
    [9.0, 0.0]
    """
    x, y = torch.as_tensor(inputs), torch.as_tensor(outputs)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise InputError(
            f"got inputs of shape {tuple(x.shape)} and outputs of shape {tuple(y.shape)}, "
            "expected (row, input) and (row, output) with as many rows, at least one"
        )
    if batch < 1:
        raise InputError(f"got batch = {batch}, expected at least 1; leave it out for 8192")
    total = torch.zeros(y.shape[1], dtype=torch.float64)
    training = model.training
    model.eval()
    try:
        for answer, target in _logits_by_batch(model, x, y, batch):
            if answer.shape != target.shape:
                raise InputError(
                    f"got answers of shape {tuple(answer.shape)} for outputs of shape "
                    f"{tuple(target.shape)}, expected the same; check the last layer"
                )
            # Sums of millions of small squares would lose digits in float32.
            total += (answer.double() - target.double()).square().sum(0).cpu()
    finally:
        model.train(training)
    return total / len(x)


@torch.no_grad()
def _logits_by_batch(
    model: nn.Module, x: Tensor, y: Tensor, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    first = next(model.parameters(), x)
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        yield model(x[rows].to(first)), y[rows].to(first.device)
