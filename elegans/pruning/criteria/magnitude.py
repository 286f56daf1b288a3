"""The contract of criteria, slopes of the loss, and criteria that look at the weights alone.

A criterion gives every weight of a part a score; the lowest are cut first. Any callable that takes
a `PrunableWeight` and returns a tensor in the shape of its weight is a criterion, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.schemas import check_nothing_kept

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


@dataclass(frozen=True)
class ScoringContext:
    """Everything that a criterion may look at.

    Parameters
    ----------
    model
        The model.
    parts
        What is pruned.
    closure
        Returns the loss of the current batch, differentiable; None if it was not given.
    generator
        Source of randomness.
    units
        Whether neurons are cut as a whole.

    Examples
    --------
    >>> from elegans.pruning import Magnitude, Pruner
    >>> class Look(Magnitude):
    ...     def scores(self, context):
    ...         print([part.name for part in context.parts], context.units)
    ...         return super().scores(context)
    >>> Pruner(nn.Linear(8, 4), criterion=Look(), scope="unit").prune(0.5)
    ['weight'] True
    {'weight': 0.5}
    """

    model: nn.Module
    parts: Sequence[PrunableWeight]
    closure: Closure | None
    generator: torch.Generator
    units: bool = False


class Criterion(ABC):
    """Scores the weights of all parts; see `scores`.

    Examples
    --------
    The weights of the first inputs go first:

    >>> from elegans.pruning import Pruner
    >>> class ByInput(Criterion):
    ...     def scores(self, context):
    ...         return [torch.arange(4.0).expand(part.mask.shape) for part in context.parts]
    >>> layer = nn.Linear(4, 2)
    >>> Pruner(layer, criterion=ByInput()).prune(0.5)
    {'weight': 0.5}
    >>> layer.weight.ne(0).tolist()
    [[False, False, True, True], [False, False, True, True]]
    """

    def __repr__(self) -> str:
        plain = {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, int | float | str) and not name.startswith("_")
        }
        arguments = ", ".join(f"{name}={value!r}" for name, value in plain.items())
        return f"{type(self).__name__}({arguments})"

    norm = "sum"
    """Norm that makes one score of those of a neuron's weights, where neurons are cut whole."""

    @abstractmethod
    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return one tensor a part, in the shape of its weight; the lowest are cut first."""

    def watch(  # noqa: B027  # most criteria leave it as it is
        self, parts: Sequence[PrunableWeight], grad_scale: Tensor | None
    ) -> None:
        """Look at the gradients before an optimiser step.

        Gradients are `grad_scale` times too large, where it is given.
        """

    @property
    def watches(self) -> bool:
        """Whether `watch` does something."""
        return type(self).watch is not Criterion.watch

    def forget(self, part: PrunableWeight, changed: Tensor) -> None:  # noqa: B027
        """Forget what was gathered of the weights `changed`, which others have replaced."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the criterion has gathered."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises `PruningError` if it is none."""
        check_nothing_kept(self, state)


@checked(PruningError)
class Magnitude(Criterion):
    """Small weights go first: the score is abs(w), for a synapse its conductance.

    Parameters
    ----------
    norm
        ``"l1"``, ``"l2"`` or ``"linf"``: where neurons are cut as a whole, the norm of a neuron's
        incoming weights is its score.

    Raises
    ------
    PruningError
        There is no such norm.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> pruner = Pruner(nn.Linear(8, 4), criterion=Magnitude("l1"), scope="unit")
    >>> pruner.prune(0.5)  # two neurons of four
    {'weight': 0.5}

    References
    ----------
    Han, Pool, Tran, Dally, "Learning both weights and connections", NeurIPS 2015.
    """

    def __init__(self, norm: str = "l2") -> None:
        if norm not in ("l1", "l2", "linf"):
            raise PruningError(f"unknown norm {norm!r}, expected one of ('l1', 'l2', 'linf')")
        self.norm = norm

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return abs(w)."""
        return [part.weights().abs() for part in context.parts]


class LargestFirst(Criterion):
    """Large weights go first: the score is -abs(w). A control, to see what magnitude is worth.

    Examples
    --------
    >>> from elegans.pruning import Pruner
    >>> layer = nn.Linear(4, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.0, -4.0, 2.0, 3.0]]))
    >>> Pruner(layer, criterion=LargestFirst()).prune(0.5)
    {'weight': 0.5}
    >>> layer.weight.tolist()
    [[1.0, 0.0, 2.0, 0.0]]
    """

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return -abs(w)."""
        return [-part.weights().abs() for part in context.parts]


class RandomScore(Criterion):
    """Weights, or neurons, go at random: a control for every other criterion.

    Examples
    --------
    >>> from elegans.pruning import Pruner
    >>> layer = nn.Linear(10, 4)
    >>> Pruner(layer, criterion=RandomScore(), scope="unit").prune(0.25)
    {'weight': 0.25}
    >>> int(layer.weight.eq(0).all(dim=1).sum())  # one neuron of four, with all its inputs
    1
    """

    norm = "mean"

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return random numbers, one a weight, or one a neuron."""
        scores = []
        for part in context.parts:
            count = part.size
            if context.units:
                _, of = torch.unique(part.unit_of(), return_inverse=True)
                count = int(of.max()) + 1
            drawn = torch.rand(part.members, count, generator=context.generator)
            drawn = drawn.to(part.mask.device)
            scores.append((drawn[:, of] if context.units else drawn).reshape(part.mask.shape))
        return scores


@checked(PruningError)
@dataclass(repr=False)
class FunctionCriterion(Criterion):
    """Scores by a function of a part, such as ``lambda part: part.weights().abs()``.

    Examples
    --------
    Inhibition goes first:

    >>> from elegans.pruning import Pruner
    >>> layer = nn.Linear(4, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.0, -4.0, 2.0, -3.0]]))
    >>> Pruner(layer, criterion=FunctionCriterion(lambda part: part.weights())).prune(0.5)
    {'weight': 0.5}
    >>> layer.weight.tolist()
    [[1.0, 0.0, 2.0, 0.0]]
    """

    function: Callable[[PrunableWeight], Tensor]
    norm: str = field(default="sum", kw_only=True)

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return what the function returns."""
        scores = []
        for part in context.parts:
            score = self.function(part)
            if not isinstance(score, Tensor):
                raise PruningError(
                    f"the criterion returned {type(score).__name__} for {part.name}, expected a "
                    f"tensor of shape {tuple(part.mask.shape)}, one score a weight"
                )
            scores.append(score.detach().to(part.mask.device))
        return scores
