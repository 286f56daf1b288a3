"""Dense layers of many members as one differentiable operation, by kernels or in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from elegans.checks import is_transformed
from elegans.errors import InputError
from elegans.layers.execution import FUSED_TYPES, chosen_path, import_failure, process_obstacle

FEWEST_SAMPLES = 8
"""Of fewer samples a vector register would be mostly empty."""

WIDEST = 256
"""Layers with more features than this are left to PyTorch's products, which work in blocks."""


class DenseLayer(NamedTuple):
    """One layer of all members."""

    weight: Tensor
    """(member, output, input)."""
    bias: Tensor | None
    """(member, output)."""
    kind: str
    """Activation that follows: ``"identity"``, ``"tanh"``, ``"sigmoid"`` or ``"relu"``."""


def dense(x: Tensor, layers: Sequence[DenseLayer]) -> Tensor:
    """Return the activations (member, batch, output) after all `layers`.

    `x` is (member, batch, input), or (batch, input), the same for all members.
    """
    tensors = [t for layer in layers for t in layer[:2] if t is not None]
    reason = obstacle(x, layers, tensors)
    if chosen_path() == "reference" or (reason is not None and chosen_path() == "auto"):
        return plain(x, layers)
    if reason is not None:
        raise InputError(
            f"the fused path was asked for, but {reason}; use elegans.backend('auto'), which takes "
            "PyTorch's products there"
        )
    from elegans.ensemble.dense_operator import by_kernels  # imports numba, where a kernel runs

    return by_kernels(x, layers)


def plain(x: Tensor, layers: Sequence[DenseLayer]) -> Tensor:
    """Compute `dense` in plain PyTorch: the definition.

    Features come before samples inside, so that the gradients of the weights come out in the
    layout of the weights.
    """
    members = len(layers[0].weight)
    h = (x if x.dim() == 3 else x.expand(members, *x.shape)).transpose(1, 2)
    for weight, bias, kind in layers:
        h = torch.bmm(weight, h) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, h)
        if kind != "identity":
            h = getattr(torch, kind)(h)
    return h.transpose(1, 2)


def obstacle(x: Tensor, layers: Sequence[DenseLayer], tensors: Sequence[Tensor]) -> str | None:
    """Return why no kernel fits, or None."""
    if torch.compiler.is_compiling():
        return "a graph is being traced"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is going on"
    if torch.is_autocast_enabled(x.device.type):
        return "autocast chooses the precision"
    for tensor in (x, *tensors):
        if is_transformed(tensor):
            return "tensors are being transformed"
        if tensor.device.type != "cpu" or tensor.dtype not in FUSED_TYPES:
            return f"a tensor is {tensor.dtype} on {tensor.device}"
        if tensor.dtype != x.dtype:
            return f"a tensor is {tensor.dtype} and the input {x.dtype}"
    if x.shape[-2] < FEWEST_SAMPLES:
        return f"there are {x.shape[-2]} samples, fewer than {FEWEST_SAMPLES}"
    widths = [size for weight, *_ in layers for size in weight.shape[1:]]
    if max(widths) > WIDEST or min(widths) == 0:
        return f"layers have {min(widths)} to {max(widths)} features, not 1 to {WIDEST}"
    consequence = "ensembles run on PyTorch's products, about half as fast"
    reason = import_failure("elegans.ensemble.dense_operator", "kernels", consequence)
    return reason or process_obstacle(consequence)
