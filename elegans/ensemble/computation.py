"""The contract of an ensemble's computations, and the one that serves any module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elegans.ensemble.stacking import Stack
from elegans.errors import InputError
from elegans.synapses.slots import MASK_SUFFIX, OpenCheck


class Given(NamedTuple):
    """Arguments of a call of the members of an ensemble."""

    inputs: tuple[Any, ...]
    """Positional arguments."""
    own: tuple[bool, ...]
    """Whether each of them has a leading member axis."""
    options: dict[str, Any]
    """Keyword arguments, the same for all members."""


class Computation(ABC):
    """Computes all members at once from their stacked tensors.

    Parameters
    ----------
    template
        A member without values; its training mode is that of the ensemble.
    """

    def __init__(self, template: nn.Module) -> None:
        self.template = template

    @abstractmethod
    def run(self, root: Stack, members: int, given: Given) -> Any:
        """Return what every member returns, with a leading member axis.

        Parameters
        ----------
        root
            The stacked tensors.
        members
            How many there are.
        given
            The arguments.
        """


class General(Computation):
    """Any module: `torch.func.vmap` over a call with the tensors of a member."""

    def __init__(self, template: nn.Module) -> None:
        super().__init__(template)
        self._open_checks: dict[str, OpenCheck] = {}

    def run(self, root: Stack, members: int, given: Given) -> Any:
        """Return what every member returns; see `Computation.run`."""
        self._refresh_masks(root)
        for path, node in root.named_modules():
            if isinstance(node, Stack) and isinstance(mask := node._buffers.get("mask"), Tensor):
                self._open_checks.setdefault(path, OpenCheck())(mask, node.check_connections)

        def call(state: dict[str, Tensor], *inputs: Any) -> Any:
            return torch.func.functional_call(self.template, state, inputs, given.options)

        state = {**dict(root.named_parameters()), **dict(root.named_buffers())}
        axes = tuple(0 if mine else None for mine in given.own)
        of_members = torch.func.vmap(call, in_dims=(0, *axes), randomness="different")
        try:
            return of_members(state, *given.inputs)
        except RuntimeError as error:
            if "Batching rule not implemented" not in str(error):
                raise
            raise InputError(
                f"{type(self.template).__name__} uses an operator that torch.func.vmap cannot run "
                f"for all members at once ({error}); write it with others, as nn.GRUCell in a loop "
                "instead of nn.GRU, or train its members one by one"
            ) from error

    def _refresh_masks(self, root: Stack) -> None:
        """Register the masks that came later with the template, whose synapses read them."""
        nodes = dict(root.named_modules())
        for path, module in self.template.named_modules():
            for name, buffer in nodes[path]._buffers.items():
                if name.endswith(MASK_SUFFIX) and name not in module._buffers:
                    assert buffer is not None
                    module.register_buffer(name, buffer[0].to("meta"), persistent=False)
