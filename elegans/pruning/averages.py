"""Averages over parameters (SWA, EMA) of a model whose weights a pruner cuts and lets grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight
from elegans.synapses.connections import Connections
from elegans.synapses.slots import MASK_SUFFIX


def averaged_module(average: nn.Module) -> nn.Module:
    """Return the copy of the model that holds the averaged values."""
    module: nn.Module = average.module if isinstance(average, AveragedModel) else average
    return module


def prepare(model: nn.Module, average: nn.Module) -> None:
    """Give `average` the masks of `model`, all open, and let it copy integers and masks.

    Raises `PruningError` unless its parameters are those of the model; nothing is changed then.
    """
    copied = averaged_module(average)
    mine, others = _shapes(model), _shapes(copied)
    if mine != others:
        name = sorted({name for name, _ in set(mine.items()) ^ set(others.items())})[0]
        raise PruningError(
            f"got an average that has {name!r} in shape {others.get(name)}, expected "
            f"{mine.get(name)} as in the model of the pruner; make the average and the pruner of "
            "the same module"
        )
    for path, module in model.named_modules():
        for name, buffer in module._buffers.items():
            owner = copied.get_submodule(path)
            if name.endswith(MASK_SUFFIX) and buffer is not None and name not in owner._buffers:
                like = next(owner.parameters(recurse=False), buffer)
                mask = torch.ones_like(buffer, device=like.device)
                persistent = name not in module._non_persistent_buffers_set
                owner.register_buffer(name, mask, persistent=persistent)
    copy_integers(average)


def copy_integers(average: nn.Module) -> None:
    """Let an `AveragedModel` that averages buffers copy those that are not floating."""
    if not isinstance(average, AveragedModel) or not average.use_buffers:
        return
    each, lists = average.avg_fn, average.multi_avg_fn
    if lists is None and not isinstance(each, _Floating):
        average.avg_fn = _Floating(each or _mean)
    elif lists is not None and not isinstance(lists, _FloatingLists):
        average.multi_avg_fn = _FloatingLists(lists)


@torch.no_grad()
def restart(model: nn.Module, average: nn.Module, parts: Iterable[PrunableWeight]) -> None:
    """Let the averaged values of weights that were cut, or have grown, begin at those they have."""
    copied = averaged_module(average)
    for part in parts:
        path = part.name.rpartition(".")[0]
        mine, other = model.get_submodule(path), copied.get_submodule(path)
        changed = torch.zeros_like(part.mask)
        for name in part.buffers:
            changed |= mine.get_buffer(name) != other.get_buffer(name).to(changed.device)
        if not bool(changed.any()):
            continue
        for name, parameter in part.named_parameters():
            value = copied.get_parameter(name)
            where = part.entries(changed, parameter).to(value.device)
            value.copy_(torch.where(where, parameter.to(value.device), value))
        for name in part.buffers:
            other.get_buffer(name).copy_(mine.get_buffer(name))
        if isinstance(other, Connections):
            other.accept_connections()


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _mean(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    """Return the mean over one value more, as `AveragedModel` does by default on a CPU."""
    return averaged + (current - averaged) / (count + 1)


class _Floating:
    """An `avg_fn` that copies integers and masks; a class, so that it can be pickled."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor | int], Tensor]) -> None:
        self._function = function

    def __call__(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """Return the average, or the current value of what is not floating."""
        if averaged.is_floating_point() or averaged.is_complex():
            return self._function(averaged, current, count)
        return current


class _FloatingLists:
    """A `multi_avg_fn` that copies integers and masks."""

    def __init__(self, function: Callable[[Any, Any, Tensor | int], None]) -> None:
        self._function = function

    def __call__(self, averaged: Any, current: Any, count: Tensor | int) -> None:
        """Average lists of tensors of one type in place, or copy what is not floating."""
        if averaged[0].is_floating_point() or averaged[0].is_complex():
            self._function(averaged, current, count)
            return
        for mine, theirs in zip(averaged, current, strict=True):
            mine.copy_(theirs)
