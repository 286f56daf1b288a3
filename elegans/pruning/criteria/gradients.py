"""The slope of the loss with respect to every weight of every part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight

Closure = Callable[[], Tensor]
"""Returns the loss of the current batch, differentiable, without calling ``backward``."""


def slopes_of(parts: Sequence[PrunableWeight], closure: Closure | None) -> list[Tensor]:
    """Return d loss / d weight of each part, in the shape of its weight.

    With a closure, of the loss that it returns, for weights that are cut, too (synapses excepted:
    a closed one takes no part). Without, of the gradients that the last ``backward`` left.

    Raises
    ------
    PruningError
        There is neither, the loss cannot be differentiated, or a slope is not finite.
    """
    parameters = [part.parameter for part in parts]
    gradients: list[Tensor]
    if closure is not None:
        with torch.enable_grad():
            loss = differentiable(closure())
            gradients = list(
                torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            )
    else:
        missing = [part.name for part in parts if part.parameter.grad is None]
        if missing:
            raise PruningError(
                f"the criterion needs the loss, and {missing[0]} has no gradient: call "
                "step(lambda: loss of the batch), or prune(..., closure=...)"
            )
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    slopes = [
        part.slopes(gradient.detach()) for part, gradient in zip(parts, gradients, strict=True)
    ]
    for part, slope in zip(parts, slopes, strict=True):
        if not bool(torch.isfinite(slope).all()):
            raise PruningError(
                f"the gradient of {part.name} is not finite; nothing was pruned: lower the "
                "learning rate, clip the gradients, or unscale them first"
            )
    return slopes


def differentiable(loss: Tensor) -> Tensor:
    """Return `loss`; raise `PruningError` unless it is a finite scalar with a gradient."""
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise PruningError(
            f"the closure must return the loss as a differentiable scalar tensor, got {loss!r}; "
            "do not call backward() in it"
        )
    if not bool(torch.isfinite(loss)):
        raise PruningError(
            f"the closure returned a loss of {loss.item()}; nothing was pruned: lower the "
            "learning rate or clip the gradients"
        )
    return loss.reshape(())
