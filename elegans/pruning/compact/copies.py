"""Copies of models with some modules replaced, and copies of masked models."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from elegans.pruning.compact.held_weights import held_weights
from elegans.synapses.slots import SynapseSlots


def copy_with(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return a deep copy of `model` in which the modules `new` stand in the place of others.

    A module that is used in several places is replaced in all of them. Tensors that masks have
    computed, which carry a graph, are copied without it.
    """
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    memo |= {id(old): other for old, other in new.items()}
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied


def dense_copy(model: nn.Module) -> nn.Module:
    """Return a copy in which no synapse is pruned; weights that are zero stay so."""
    dense = copy_with(model, {})
    for module in dense.modules():
        if isinstance(module, SynapseSlots):
            module.set_mask(torch.ones_like(module.mask))
    return dense


def masked_copy(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy in which the masks, by the names of `held_weights`, have been applied."""
    masked = copy_with(model, {})
    held = held_weights(masked)
    for name, mask in masks.items():
        held[name].hold(mask)
    return masked
