"""The contract of prunable weights, with a mask of the same shape.

A `PrunableWeight` hides whether these are the entries of a matrix or the synapses of a circuit. It
knows which weights belong to one neuron and which synapses to one block of layers, and forgets what
an optimiser remembers of a weight that is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.parts.moments import Moments
from elegans.pruning.schemas import numbers


class PrunableWeight(ABC):
    """Weights that are pruned together: a matrix, or a set of synapses.

    Arrays of a part have the shape of its weight. `flat` brings them to (member, weight): an
    ensemble has an axis of members, everything else is one member.

    Examples
    --------
    >>> import elegans
    >>> from elegans.pruning import parts_of
    >>> recurrent, sensory = parts_of(elegans.LTC(2, 3))
    >>> recurrent.name, recurrent.weights().shape, bool(recurrent.mask.all())
    ('cell.recurrent.weight', torch.Size([9]), True)
    """

    name: str
    """Dotted name of the weight in the model, such as ``0.weight`` or ``cell.recurrent.weight``."""
    owner: str
    """Dotted name of the module that holds it."""
    members: int
    is_mutual: bool = False
    """Whether a weight acts on both its ends, as a gap junction does."""
    buffers: tuple[str, ...]
    """Buffers beside the weight, in its shape, that say which weight each entry is: the mask, and
    where synapses lead."""

    @property
    @abstractmethod
    def mask(self) -> Tensor:
        """Mask of the weights that are there, bool, in the shape of the weight."""

    @abstractmethod
    def weights(self) -> Tensor:
        """Return the weights as they act, conductances for synapses, detached; zero where cut."""

    @abstractmethod
    def slopes(self, gradient: Tensor) -> Tensor:
        """Return d loss / d weight from the gradient of the parameter."""

    @property
    @abstractmethod
    def parameter(self) -> Tensor:
        """The parameter that stands for the weights."""

    @property
    @abstractmethod
    def dimensions(self) -> tuple[int, ...]:
        """Sources and targets (and the extent of a kernel) of the weights of a member."""

    @abstractmethod
    def unit_of(self) -> Tensor:
        """Return the neuron that each weight of a member leads to, shape (weight,)."""

    @abstractmethod
    def ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return source and target of weights by flat index: neurons, or column and row."""

    @abstractmethod
    def block_of(self) -> Tensor:
        """Return the block of layers that each weight of a member belongs to, shape (weight,)."""

    @abstractmethod
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Let `mask` say which weights are there; those that went, or came, are forgotten."""

    @property
    @abstractmethod
    def possible(self) -> int:
        """Number of weights that could be there: of all members, or pairs in all blocks."""

    def explored(self, ever: Tensor | None) -> int:
        """Return how many weights `joined` has noted."""
        return 0 if ever is None else int(ever.sum())

    @abstractmethod
    def joined(self, ever: Tensor | None) -> Tensor:
        """Return which weights were ever there: those of `ever` and the present ones.

        A mask in the shape of the weight, or the pairs (source, target) of synapses as numbers.
        """

    def saved_mask(self, saved: Any) -> Tensor:
        """Return a mask of a saved state; raises `PruningError` unless it is one of this part."""
        return numbers(f"the mask of {self.name}", saved, torch.bool, self.mask.shape)

    def saved_joined(self, saved: Any) -> Tensor | None:
        """Return what `joined` was, of a saved state; raises `PruningError` unless it could be."""
        what = f"what was ever there of {self.name}"
        return None if saved is None else numbers(what, saved, torch.bool, self.mask.shape)

    def attach(self) -> None:  # noqa: B027  # not every part needs to
        """Prepare the model for being pruned; nothing of it changes before."""

    @abstractmethod
    def check_same(self) -> None:
        """Raise `PruningError` if the parameter is another one than the mask was made for."""

    @abstractmethod
    def check(self) -> None:
        """Raise `PruningError` if the weights are not those that the mask was made for."""

    def close_again(self) -> None:  # noqa: B027  # not every part needs to
        """Set what is cut to zero, whatever an optimiser step made of it."""

    @abstractmethod
    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the parameters that a cut forgets, with their dotted names."""

    def entries(self, mask: Tensor, parameter: Tensor) -> Tensor:
        """Return which entries of one of its parameters belong to the weights of `mask`."""
        maps = [1] * (parameter.dim() - mask.dim())  # axes between member and synapse
        return mask.reshape(*mask.shape[:-1], *maps, mask.shape[-1]).expand(parameter.shape)

    def flat(self, values: Tensor) -> Tensor:
        """Return `values` in the shape of the weight as (member, weight)."""
        return values.reshape(self.members, -1)

    @property
    def size(self) -> int:
        """Number of weights of a member, those that are cut included."""
        return self.mask.numel() // max(1, self.members)

    def check_finite(self) -> None:
        """Raise `PruningError` naming a weight that is not finite."""
        broken = ~torch.isfinite(self.weights())
        if bool(broken.any()):
            place = tuple(broken.nonzero()[0].tolist())
            raise PruningError(
                f"{self.name} holds {self.weights()[place].item()} at {place}; nothing was pruned: "
                "lower the learning rate or clip the gradients"
            )
