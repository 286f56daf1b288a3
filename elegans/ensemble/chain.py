"""Chains of dense layers and element-wise functions: all members in one batched product each."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from elegans.ensemble.computation import Computation, Given
from elegans.ensemble.dense import DenseLayer, dense
from elegans.ensemble.stacking import Stack
from elegans.errors import InputError
from elegans.hooks import ELEMENTWISE, is_plain

KERNEL_OF: dict[type[nn.Module], str] = {nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.ReLU: "relu"}
"""Functions that the kernels know."""


class ChainLink(NamedTuple):
    """A module of a chain and its dotted name."""

    path: str
    module: nn.Module


def chain_of(module: nn.Module, path: str = "") -> list[ChainLink] | None:
    """Return the links of a chain in the order of the call, or None if `module` is none.

    A chain is an ``nn.Sequential``, nested or not, of ``nn.Linear``, element-wise functions, and
    ``nn.Flatten`` in front.
    """
    if not is_plain(module):
        return None
    if type(module) is nn.Sequential:
        links: list[ChainLink] = []
        for name, child in module.named_children():
            child_links = chain_of(child, f"{path}.{name}" if path else name)
            if child_links is None or (
                links and any(type(link.module) is nn.Flatten for link in child_links)
            ):
                return None
            links += child_links
        return links
    flat = type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1
    fits = flat or type(module) in (nn.Linear, nn.Dropout, *ELEMENTWISE)
    return [ChainLink(path, module)] if fits else None


class Chain(Computation):
    """A chain with at least one dense layer.

    By kernels where they are faster, or else by `torch.baddbmm`.
    """

    def __init__(self, template: nn.Module, links: list[ChainLink]) -> None:
        super().__init__(template)
        self._links = links

    @classmethod
    def fits(cls, template: nn.Module) -> Chain | None:
        """Return the computation of `template` if it is a chain."""
        links = chain_of(template)
        if links is None or not any(type(link.module) is nn.Linear for link in links):
            return None
        return cls(template, links)

    def run(self, root: Stack, members: int, given: Given) -> Any:
        """Return what every member returns; see `Computation.run`."""
        inputs, own, options = given
        if len(inputs) != 1 or options or not isinstance(inputs[0], Tensor):
            raise InputError(
                "a chain of layers takes one tensor, got "
                f"{[type(tensor).__name__ for tensor in inputs]} and {sorted(options)}"
            )
        h, has_members = inputs[0], own[0]
        pending: list[DenseLayer] = []
        for path, module in self._links:
            if isinstance(module, nn.Linear):
                node = root.get_submodule(path)
                weight, bias = node.get_parameter("weight"), node._parameters.get("bias")
                pending.append(DenseLayer(weight, bias, "identity"))
                continue
            if _is_idle(module):
                continue
            kind = KERNEL_OF.get(type(module))
            if kind is not None and pending and pending[-1].kind == "identity":
                pending[-1] = pending[-1]._replace(kind=kind)
                continue
            h, has_members, pending = *_flushed(h, has_members, pending), []
            if isinstance(module, nn.Flatten):
                h = h.flatten(2 if has_members else 1)
                continue
            if isinstance(module, nn.Dropout) and not has_members:
                h, has_members = h.expand(members, *h.shape), True  # each forgets something else
            h = module(h)
        h, has_members = _flushed(h, has_members, pending)
        return h


def _is_idle(module: nn.Module) -> bool:
    idle = isinstance(module, nn.Dropout) and (module.p == 0 or not module.training)
    return idle or isinstance(module, nn.Identity)


def _flushed(h: Tensor, has_members: bool, layers: list[DenseLayer]) -> tuple[Tensor, bool]:
    if not layers:
        return h, has_members
    features = layers[0].weight.shape[2]
    if h.shape[-1:] != (features,) or h.dim() < 1 + has_members:
        leading = "(member, ..., " if has_members else "(..., "
        raise InputError(
            f"a layer of the members takes {leading}{features}), got shape {tuple(h.shape)}"
        )
    batch = h.shape[1:-1] if has_members else h.shape[:-1]
    flat = h.reshape(len(h), -1, features) if has_members else h.reshape(-1, features)
    if not flat.numel():  # reshape cannot guess what is empty
        flat = h.reshape(*h.shape[:has_members], batch.numel(), features)
    result = dense(flat, layers)
    return result.reshape(len(result), *batch, result.shape[-1]), True
