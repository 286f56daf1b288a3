"""Criteria that look at the gradient of the loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.criteria.magnitude import Criterion, ScoringContext, slopes_of
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.schemas import numbers


class GradientWeight(Criterion):
    r"""Effect on the loss of cutting a weight, to first order.

    .. math:: \left| w \, \frac{\partial L}{\partial w} \right|

    The loss is that of the closure, or the gradients are those of the last ``backward``.

    References
    ----------
    Molchanov, Tyree, Karras, Aila, Kautz, "Pruning convolutional neural networks for resource
    efficient inference", ICLR 2017.

    Examples
    --------
    The smaller weight matters more, because its input is larger:

    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
    >>> loss = lambda: layer(torch.tensor([4.0, 1.0])).sum()  # abs(w dL/dw) is 4 and 2
    >>> Pruner(layer, criterion=GradientWeight()).prune(0.5, loss)
    {'weight': 0.5}
    >>> layer.weight.tolist()
    [[1.0, 0.0]]
    """

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return abs(w dL/dw)."""
        slopes = slopes_of(context.parts, context.closure)
        return [
            (part.weights() * slope).abs()
            for part, slope in zip(context.parts, slopes, strict=True)
        ]


class _WatchedProduct(Criterion):
    """Gathers w dL/dw of every weight over the optimiser steps of the pruner."""

    _title: str

    def __init__(self) -> None:
        self._gathered: dict[str, Tensor] = {}

    @abstractmethod
    def _joined(self, past: Tensor | None, product: Tensor) -> Tensor:
        """Return what is known after a step, from what was and w dL/dw, shapes of the weight."""

    def watch(self, parts: Sequence[PrunableWeight], grad_scale: Tensor | None) -> None:
        """Add the present step."""
        for part in parts:
            if part.parameter.grad is None:
                continue
            slope = part.slopes(part.parameter.grad.detach())
            if grad_scale is not None:
                slope = slope / grad_scale.to(slope)
            product, past = part.weights() * slope, self._gathered.get(part.name)
            past = None if past is None else past.to(product)
            self._gathered[part.name] = self._joined(past, product)

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return what was gathered."""
        missing = [part.name for part in context.parts if part.name not in self._gathered]
        if missing:
            raise PruningError(
                f"{self._title} has seen no optimiser step with a gradient of {missing[0]}; train "
                "for some steps first, with the optimiser that the pruner was made with"
            )
        return [self._gathered[part.name].to(part.mask.device) for part in context.parts]

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered."""
        return {name: value.clone() for name, value in self._gathered.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._gathered = {
            name: numbers(f"{self._title} of {name}", value, torch.float64)
            for name, value in state.items()
        }


@checked(PruningError)
class SmoothedSaliency(_WatchedProduct):
    r"""Effect on the loss of cutting a weight, to first order, smoothed over optimiser steps.

    .. math:: S^{(t)} = \beta S^{(t-1)} + (1 - \beta)
        \left| w \, \frac{\partial L}{\partial w} \right|^{(t)}

    One batch says little about a weight; the mean over 1 / (1 - beta) of them says more. A weight
    that has just grown begins with the median of its part. Needs a pruner with an optimiser, whose
    steps it watches; gradients scaled for mixed precision are unscaled.

    Parameters
    ----------
    smoothing
        The share beta of the past, in [0, 1).

    Raises
    ------
    PruningError
        beta is outside [0, 1). From `Pruner.prune` and `Pruner.step`: no step was seen.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> model = nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> pruner = Pruner(model, optimizer, 0.5, SmoothedSaliency(0.9))
    >>> model(torch.randn(16, 4)).square().mean().backward()
    >>> optimizer.step()
    >>> pruner.step(), pruner.sparsity
    (4, 0.5)

    References
    ----------
    Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance estimation for neural network pruning",
    CVPR 2019, for averages over batches.
    """

    _title = "smoothed saliency"

    def __init__(self, smoothing: float = 0.99) -> None:
        if not (isinstance(smoothing, int | float) and 0 <= smoothing < 1):
            raise PruningError(f"smoothing must be a share in [0, 1), got {smoothing!r}")
        super().__init__()
        self.smoothing = float(smoothing)

    def _joined(self, past: Tensor | None, product: Tensor) -> Tensor:
        now = product.abs()
        return now if past is None else past.lerp(now, 1 - self.smoothing)

    def forget(self, part: PrunableWeight, changed: Tensor) -> None:
        """Let the weights `changed` begin with the median of those that are there."""
        mean = self._gathered.get(part.name)
        if mean is not None:
            mean = mean.to(changed.device)
            others = mean[part.mask & ~changed]
            start = float(others.median()) if len(others) else 0.0
            self._gathered[part.name] = mean.masked_fill(changed, start)


@checked(PruningError)
class OutputSensitivity(Criterion):
    r"""What a weight contributes to the outputs, whatever the loss: a norm of its Jacobian.

    .. math:: S_k = \sqrt{\operatorname{mean}_v \Bigl(
        w_k \, \frac{\partial \, v^\top y}{\partial w_k} \Bigr)^2}

    over random signs v of the outputs y of the model on the closure's data. Near a minimum the
    gradient of the loss says little of a weight; the outputs still depend on it.

    Parameters
    ----------
    probes
        Number of random signs.

    Raises
    ------
    PruningError
        `probes` is not an integer of at least 1. From `Pruner.step` and `Pruner.prune`: there is no
        closure, or it does not call the model.

    References
    ----------
    Hutchinson, "A stochastic estimator of the trace of the influence matrix", Communications in
    Statistics 19:433 (1990), for random signs.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> model, x = nn.Linear(2, 1, bias=False), torch.tensor([[4.0, 1.0]])
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0, 2.0]]))
    >>> Pruner(model, criterion=OutputSensitivity()).prune(0.5, lambda: model(x).sum())
    {'weight': 0.5}
    >>> model.weight.tolist()  # the one with the larger input stays
    [[1.0, 0.0]]
    """

    def __init__(self, probes: int = 4) -> None:
        if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
            raise PruningError(f"probes must be an integer of at least 1, got {probes!r}")
        self.probes = probes

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return the contributions."""
        outputs = _outputs_of(context)
        parameters = [part.parameter for part in context.parts]
        sums = [torch.zeros_like(part.weights(), dtype=torch.float64) for part in context.parts]
        for _ in range(self.probes):
            projection = torch.zeros((), device=outputs[0].device)
            for output in outputs:
                signs = torch.rand(output.shape, generator=context.generator) < 0.5
                projection = (
                    projection + torch.where(signs.to(output.device), output, -output).sum()
                )
            gradients = torch.autograd.grad(
                projection, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for total, part, gradient in zip(sums, context.parts, gradients, strict=True):
                total += (part.weights() * part.slopes(gradient.detach())).double().square()
        return [(total / self.probes).sqrt() for total in sums]


def _outputs_of(context: ScoringContext) -> list[Tensor]:
    """Return the differentiable outputs of the model whenever the closure calls it."""
    if context.closure is None:
        raise PruningError(
            "output sensitivity needs data: call step(lambda: loss of the batch), or "
            "prune(..., closure=...)"
        )
    outputs: list[Tensor] = []

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor) and first.requires_grad:
            outputs.append(first)

    handle = context.model.register_forward_hook(note)
    try:
        with torch.enable_grad():
            context.closure()
    finally:
        handle.remove()
    if not outputs:
        raise PruningError(
            f"the closure does not call {type(context.model).__name__}, so that its outputs are "
            "not known; let it compute the loss from model(...)"
        )
    return outputs


class Snip(Criterion):
    r"""The share of each connection in the sensitivity of the loss, at initialisation.

    .. math:: s_k = \frac{|g_k|}{\sum_l |g_l|}, \qquad
        g_k = \frac{\partial L(c \odot w)}{\partial c_k} = w_k \frac{\partial L}{\partial w_k}

    with the sum over all parts. The order is that of `GradientWeight`; SNIP is its use once,
    before training, with `closure` on one batch and the scope ``"global"``.

    Raises
    ------
    PruningError
        From `Pruner.prune` and `Pruner.step`: there is no closure, or its loss does not depend on
        any weight.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Pruner
    >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(16, 4)
    >>> pruner = Pruner(model, criterion="snip", scope="global")
    >>> sparsities = pruner.prune(0.5, lambda: model(x).square().mean())
    >>> pruner.sparsity
    0.5

    References
    ----------
    Lee, Ajanthan, Torr, "SNIP: single-shot network pruning based on connection sensitivity",
    ICLR 2019, equations 5 and 6.
    """

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return the shares."""
        if context.closure is None:
            raise PruningError(
                "SNIP needs the loss of a batch before training: call prune(sparsity, "
                "closure=lambda: loss of the batch)"
            )
        sensitivity = GradientWeight().scores(context)
        whole = sum(
            part.flat(score).double().sum(dim=1)
            for part, score in zip(context.parts, sensitivity, strict=True)
        )
        if not isinstance(whole, Tensor) or bool((whole == 0).any()):
            raise PruningError(
                "the loss does not depend on any weight, so none can be ranked; check the batch "
                "and the loss of the closure"
            )
        return [
            (part.flat(score) / whole.unsqueeze(1)).reshape(score.shape)
            for part, score in zip(context.parts, sensitivity, strict=True)
        ]


class Movement(_WatchedProduct):
    r"""Distance by which training has moved a weight away from zero.

    .. math:: S_k = - \sum_t w_k^{(t)} \left(\frac{\partial L}{\partial w_k}\right)^{(t)}

    over the optimiser steps so far. Needs a pruner with an optimiser, whose steps it watches;
    gradients scaled for mixed precision are unscaled.

    Raises
    ------
    PruningError
        From `Pruner.prune` and `Pruner.step`: no step of the pruner's optimiser was seen.

    Examples
    --------
    >>> from torch import nn
    >>> from elegans.pruning import Cubic, Pruner
    >>> model = nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> pruner = Pruner(model, optimizer, Cubic(0.5, end=10, begin=5), "movement")
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(16, 4)).square().mean().backward()
    ...     optimizer.step()
    ...     cut = pruner.step()
    >>> pruner.sparsity
    0.5

    References
    ----------
    Sanh, Wolf, Rush, "Movement pruning: adaptive sparsity by fine-tuning", NeurIPS 2020,
    equation 3, with masks that do not revive.
    """

    _title = "movement"

    def _joined(self, past: Tensor | None, product: Tensor) -> Tensor:
        return -product if past is None else past - product

    def forget(self, part: PrunableWeight, changed: Tensor) -> None:
        """Begin again at zero for the weights `changed`."""
        total = self._gathered.get(part.name)
        if total is not None:
            self._gathered[part.name] = total.to(changed.device).masked_fill(changed, 0.0)
