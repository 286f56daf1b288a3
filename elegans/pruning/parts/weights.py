"""Weight tensors of modules, as parts that can be pruned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from elegans.errors import PruningError
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.synapses.slots import MASK_SUFFIX, zero_outside

_GUARDED = "_elegans_gradient_guarded"


class WeightPart(PrunableWeight):
    """A weight tensor of a module; a cut weight is zero and has no gradient.

    The mask is the buffer ``<weight>_mask`` beside the parameter; it does not enter the
    ``state_dict`` of the model, whose zeros say the same.
    """

    def __init__(self, name: str, module: nn.Module, attribute: str, *, members: int = 0) -> None:
        self.name, self.owner = name, name.rpartition(".")[0]
        self._module, self._attribute = module, attribute
        self.buffers = (attribute + MASK_SUFFIX,)
        self._stacked = members > 0
        self.members = max(1, members)
        self._parameter: nn.Parameter = getattr(module, attribute)
        mask = self._buffer
        if mask is not None and (mask.dtype != torch.bool or mask.shape != self._parameter.shape):
            raise PruningError(
                f"{type(module).__name__} has a buffer {attribute + MASK_SUFFIX!r} of shape "
                f"{tuple(mask.shape)} of {mask.dtype}, which is no mask of {name}; rename it, or "
                "exclude the weight"
            )

    def attach(self) -> None:
        """Put the mask beside the weight, and a guard on its gradient."""
        if self._buffer is None:
            mask = torch.ones_like(self._parameter, dtype=torch.bool)
            self._module.register_buffer(self.buffers[0], mask, persistent=False)
        if self._parameter.requires_grad and not hasattr(self._parameter, _GUARDED):
            guard = self._close_gradient
            self._parameter.register_post_accumulate_grad_hook(guard)  # type: ignore[no-untyped-call]
            setattr(self._parameter, _GUARDED, True)  # copies have neither guard nor mark

    @property
    def _buffer(self) -> Tensor | None:
        return self._module._buffers.get(self.buffers[0])

    @property
    def mask(self) -> Tensor:
        """Mask of the weights that are there, bool, in the shape of the weight."""
        mask = self._buffer
        return torch.ones_like(self._parameter, dtype=torch.bool) if mask is None else mask

    @property
    def parameter(self) -> Tensor:
        """The weight tensor."""
        return self._parameter

    def weights(self) -> Tensor:
        """Return the weights, detached."""
        return self._parameter.detach()

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient itself."""
        return gradient

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The shape of the tensor, of one member."""
        return tuple(self._parameter.shape[1:] if self._stacked else self._parameter.shape)

    def unit_of(self) -> Tensor:
        """Return the row of each weight; in a gated recurrent layer the neuron that it gates."""
        if isinstance(self._module, _ConvTransposeNd):
            raise PruningError(
                f"{self.name} is of a transposed convolution, whose rows are inputs; exclude it, "
                "or prune its weights one by one"
            )
        shape = self._parameter.shape[1:] if self._stacked else self._parameter.shape
        rows = torch.arange(shape[0], device=self._parameter.device)
        if isinstance(self._module, nn.RNNBase | nn.RNNCellBase) and "_hr" not in self._attribute:
            rows = rows % self._module.hidden_size
        return rows.repeat_interleave(int(np.prod(shape[1:], dtype=np.int64)))

    def ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return column, of the flattened rest of the axes, and row, inside its member."""
        columns = int(np.prod(self.dimensions[1:], dtype=np.int64))
        place = index % self.size
        return place % columns, place // columns

    def block_of(self) -> Tensor:
        """Return zeros: a tensor is one block; those of a module are pooled."""
        return torch.zeros(self.size, dtype=torch.long, device=self._parameter.device)

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Set the weights outside `mask`, and what is remembered of them, to zero."""
        changed = self.mask ^ mask
        self.attach()
        self.mask.copy_(mask)
        zero_outside(self._parameter, mask)
        moments.reset(self._parameter, changed)

    @property
    def possible(self) -> int:
        """Number of entries."""
        return self._parameter.numel()

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return which entries were ever there, in the shape of the weight."""
        return self.mask.clone() if ever is None else ever.to(self.mask.device) | self.mask

    @torch.no_grad()
    def close_again(self) -> None:
        """Set the weights outside the mask to zero."""
        zero_outside(self._parameter, self.mask)

    def check_same(self) -> None:
        """Raise `PruningError` if the tensor was replaced."""
        if self._module._parameters.get(self._attribute) is not self._parameter:
            raise PruningError(
                f"{self.name} is another parameter than the one that the mask was made for; make a "
                "new pruner, and a new optimiser, after replacing parameters"
            )

    def check(self) -> None:
        """Raise `PruningError` if the tensor was replaced, or a cut weight is not zero."""
        self.check_same()
        if self.mask.shape != self._parameter.shape:
            raise PruningError(
                f"{self.name} has shape {tuple(self._parameter.shape)}, its mask "
                f"{tuple(self.mask.shape)}; make a new pruner after changing the model"
            )
        revived = int(((self._parameter.detach() != 0) & ~self.mask).sum())
        if revived:
            raise PruningError(
                f"{revived} weights of {self.name} have changed since the mask was made: they are "
                "cut, expected to be zero; call pruner.reapply_masks() to cut them again, or make "
                "a new pruner for a model that was loaded anew"
            )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the one parameter."""
        yield self.name, self._parameter

    def _close_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and self._buffer is not None:
            zero_outside(parameter.grad, self.mask)
