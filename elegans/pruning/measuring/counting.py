"""Multiply-adds of a model, counted while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from elegans.layers.capabilities import Counted, offers
from elegans.layers.cell import Cell
from elegans.layers.sequence_layer import SequenceLayer
from elegans.pruning.compact.gain import call, evaluating
from elegans.pruning.compact.sparse_linear import SparseLinear

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
COUNTED = (nn.Linear, SparseLinear, nn.RNNBase, nn.RNNCellBase, *CONVOLUTIONS, *TRANSPOSED, Cell)


def uses_of(model: nn.Module, inputs: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return how often each entry of a weight is used in one call, and what was not counted.

    The model is run once, as in evaluation. Multiply-adds of each entry are by the dotted name of
    the weight. A linear layer uses an entry once a sample, a convolution once a sample and
    position, a recurrent layer once a sample and step, a circuit as often as its `operations` say:
    once (a liquid one three times) for each sample, step and unfold, or for each sample and step if
    the synapse comes from an input. A solver that evaluates more than once in an unfold is not told
    apart: the ratio is the same. Not counted are modules with weights of other kinds, or not used.
    """
    names = {id(module): name for name, module in model.named_modules()}
    times: dict[str, int] = {}

    def note(
        module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        prefix = names[id(module)] + "." if names[id(module)] else ""
        given = next(iter((*arguments, *named.values())))
        for weight, count in _times(module, given, output).items():
            times[prefix + weight] = times.get(prefix + weight, 0) + count

    watched = [m for m in model.modules() if isinstance(m, (*COUNTED, SequenceLayer))]
    handles = [module.register_forward_hook(note, with_kwargs=True) for module in watched]
    try:
        with torch.no_grad(), evaluating(model):
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return times, _not_counted(model, times)


def _times(module: nn.Module, given: Any, output: Any) -> Mapping[str, int]:
    """Return how often each entry of the module's own weights was used in one call."""
    if isinstance(module, SequenceLayer):
        # A layer calls its cell for whole sequences, not as a module.
        steps = given.shape[:-1].numel()
        return {f"cell.{name}": steps * k for name, k in _operations(module.cell).items()}
    if isinstance(module, Cell):
        return {name: len(given) * k for name, k in _operations(module).items()}
    if isinstance(module, CONVOLUTIONS):
        channels = module.weight.dim() - 1  # of an output with the axes of samples and positions
        positions = output.numel() // output.shape[-channels]
        return {"weight": positions}
    if isinstance(module, TRANSPOSED):
        return {"weight": given.numel() // given.shape[-(module.weight.dim() - 1)]}
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        values = given.data if isinstance(given, PackedSequence) else given
        steps = values.shape[:-1].numel()
        return {name: steps for name in module._parameters if name.startswith("weight")}
    weight = "values" if isinstance(module, SparseLinear) else "weight"
    return {weight: given.shape[:-1].numel()}


def _operations(cell: Cell) -> Mapping[str, int]:
    return cell.operations() if offers(cell, Counted) else {}


def _not_counted(model: nn.Module, times: Mapping[str, int]) -> tuple[str, ...]:
    """Return modules with weights, tensors of two axes or more, that were not counted."""
    names = []
    inside: set[int] = set()  # of cells, which are seen as a whole
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        if isinstance(module, Cell) or hasattr(module, "prunable_weights"):  # an ensemble
            inside |= {id(part) for part in module.modules()}
            if not offers(module, Counted):
                names.append(name)
        else:
            weights = [
                w
                for w, p in module._parameters.items()
                if p is not None and p.dim() > 1 and not w.endswith("bias")
            ]
            prefix = f"{name}." if name else ""
            # Under a mask of torch.nn.utils.prune the parameter has another name.
            seen = [prefix + weight.removesuffix("_orig") in times for weight in weights]
            if not all(seen):
                names.append(name)
    return tuple(names)
