"""Dense layers of many members by the kernels, as an operation that autograd knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llvmlite import binding
from torch import Tensor

from elegans.ensemble.dense import DenseLayer, plain
from elegans.ensemble.dense_backward import backward
from elegans.ensemble.dense_kernels import ACTIVATIONS, forward
from elegans.solvers.fused.cpu.running import Workspace, run
from elegans.solvers.fused.operator import is_batch_of_gradients

_WORKSPACE = Workspace(most_bytes=1 << 28)

_REGISTER = 64 if binding.get_host_cpu_features().get("avx512f") else 32
"""Bytes of a vector register."""


def by_kernels(x: Tensor, layers: Sequence[DenseLayer]) -> Tensor:
    """Return the activations (member, batch, output) after all `layers`; see `dense`."""
    parameters = [t for layer in layers for t in layer[:2]]
    kinds = tuple(layer.kind for layer in layers)
    apply: Any = _Dense.apply
    result: Tensor = apply(x, kinds, *parameters)
    return result


class _Problem:
    """The arrays of one call."""

    def __init__(self, x: Tensor, kinds: Sequence[str], parameters: Sequence[Any]) -> None:
        weights = parameters[::2]
        self.members, self.batch = len(weights[0]), x.shape[-2]
        self.sizes = np.array([weights[0].shape[2], *(w.shape[1] for w in weights)])
        self.kinds = np.array([ACTIVATIONS.index(kind) for kind in kinds])
        narrow = _REGISTER // x.element_size()
        wide = 2 * narrow  # two registers hide the latency of one
        self.width = wide if -(-self.batch // wide) * wide - self.batch < narrow else narrow
        self.lanes, self.narrow = (0,) * self.width, (0,) * narrow
        self.samples = -(-self.batch // self.width) * self.width
        self._held = [None if p is None else p.detach().contiguous() for p in parameters]
        self.places = _places(self._held)
        self.x = self._rows_of(x.detach())
        self.kind = self.x.dtype

    def _rows_of(self, x: Tensor) -> Any:
        """Return inputs as (member or 1, input, sample), zero where there is no sample."""
        across = x.transpose(-1, -2).reshape(-1, x.shape[-1], self.batch)
        rows = x.new_zeros(*across.shape[:2], self.samples)
        rows[..., : self.batch] = across
        return rows.numpy()

    def forward(self) -> tuple[Tensor, Any]:
        kept = _WORKSPACE.take((self.members, int(self.sizes[1:].sum()), self.samples), self.kind)
        output = np.empty((self.members, self.batch, self.sizes[-1]), self.kind)
        run(
            forward,
            self.x, self.places, self.sizes, self.kinds, self.lanes, kept, output,
        )  # fmt: skip
        return torch.from_numpy(output), kept

    def backward(self, gradient: Tensor, kept: Any, wants_x: bool) -> tuple[Tensor, list[Any]]:
        gradients = [None if p is None else torch.empty_like(p) for p in self._held]
        shape = (self.members, int(self.sizes[0]), self.samples) if wants_x else (0, 0, 0)
        to_x = np.empty(shape, self.kind)
        run(
            backward,
            self.x, self.places, self.sizes, self.kinds, self.lanes, self.narrow, kept,
            gradient.contiguous().numpy(), _places(gradients), to_x,
        )  # fmt: skip
        return torch.from_numpy(to_x)[..., : self.batch].transpose(1, 2), gradients


def _places(tensors: Sequence[Any]) -> Any:
    """Return the addresses of weights and biases, (layer, 2); 0 where there is none."""
    places = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    return np.array(places, np.int64).reshape(-1, 2)


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kinds: tuple[str, ...], *parameters: Any) -> Tensor:
        problem = _Problem(x, kinds, parameters)
        output, kept = problem.forward()
        ctx.kept = None
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, *parameters)
            ctx.problem, ctx.kinds, ctx.kept = problem, kinds, kept
        else:
            _WORKSPACE.give_back(kept)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        x, *parameters = ctx.saved_tensors
        wants_x, _, *wants = ctx.needs_input_grad
        if torch.is_grad_enabled() or is_batch_of_gradients(gradient):
            return _by_reference(ctx, x, parameters, gradient)
        # Should the graph be walked again, the kernel runs forward again.
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            _, kept = ctx.problem.forward()
        to_x, to_parameters = ctx.problem.backward(gradient, kept, wants_x)
        _WORKSPACE.give_back(kept)
        if x.dim() == 2:
            to_x = to_x.sum(0)
        returned = [g if w else None for g, w in zip(to_parameters, wants, strict=True)]
        return (to_x if wants_x else None, None, *returned)


def _by_reference(ctx: Any, x: Tensor, parameters: Sequence[Any], gradient: Tensor) -> Any:
    """Return the gradients, differentiable themselves, through plain PyTorch."""
    wants_x, _, *wants = ctx.needs_input_grad
    flags = (wants_x, *wants)
    pairs = zip(parameters[::2], parameters[1::2], ctx.kinds, strict=True)
    with torch.enable_grad():
        output = plain(x, [DenseLayer(*parts) for parts in pairs])
    differentiated = [t for t, flag in zip((x, *parameters), flags, strict=True) if flag]
    again = torch.is_grad_enabled()
    gradients = iter(torch.autograd.grad(output, differentiated, gradient, create_graph=again))
    to_x, *rest = (next(gradients) if flag else None for flag in flags)
    return (to_x, None, *rest)
