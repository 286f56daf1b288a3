"""Losses over steps whose target is known; NaN stands for one that is not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets without NaN, (..., output), to the loss of each step, (...)."""


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean(-1)


def _absolute(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().mean(-1)


def _huber(output: Tensor, target: Tensor) -> Tensor:
    return F.huber_loss(output, target, reduction="none").mean(-1)


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return -(target * F.log_softmax(output, dim=-1)).sum(-1)


LOSSES: dict[str, Loss] = {
    "mse": _squared,
    "mae": _absolute,
    "huber": _huber,
    "cross_entropy": _cross_entropy,
}


def mean_loss(kind: str, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return the mean loss over the steps whose targets are all known, 0 where none is.

    Parameters
    ----------
    kind
        ``"mse"``, (y − ŷ)²; ``"mae"``, |y − ŷ|; ``"huber"``, their mixture that turns at 1; the
        mean over outputs. ``"cross_entropy"``, :math:`-\sum_c y_c \log \mathrm{softmax}(\hat y)_c`.
    output
        Shape (..., output); logits for the cross-entropy.
    target
        Shape (..., output); NaN where it is not known.
    weights
        Of the classes, (output,): a step counts as its class does.

    Examples
    --------
    >>> output, nan = torch.tensor([[1.0], [5.0]]), float("nan")
    >>> mean_loss("mse", output, torch.tensor([[3.0], [nan]])).item()
    4.0
    """
    known = ~torch.isnan(target).any(-1)
    target = torch.where(known.unsqueeze(-1), target, 0.0)
    steps = LOSSES[kind](output, target)
    shares = known.to(steps)
    if weights is not None:
        shares = shares * (target * weights).sum(-1)
    total = shares.sum()
    return (steps * shares).sum() / torch.where(total > 0, total, 1.0)
