"""Sparse momentum: smoothed gradients say which layers get the places that are freed, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.growing.rules import GrowthContext, GrowthRule, checked_candidates
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.schemas import numbers

_NO_SHARE = 1e-200  # in place of 0: places of such a layer come last, in their order


@checked(PruningError)
class MomentumGrowth(GrowthRule):
    r"""Layers get places by their mean momentum; within a layer the steepest grow.

    With the smoothed gradient m of each weight, layer l gets of all places that are freed the share

    .. math:: \frac{\bar m_l}{\sum_k \bar m_k}, \qquad
        \bar m_l = \operatorname{mean}_{w \in l} |m_w|, \qquad
        m \leftarrow \beta m + (1 - \beta) \, \frac{\partial L}{\partial w}

    the mean being over the weights that are there, and what a full layer cannot take goes to the
    others. Places are rounded by the method of Webster: that of rank r in its layer has the
    interest :math:`-(r + 1/2) / \bar m_l`. Layers are the matrices of a model, or the blocks (pairs
    of layers) of a set of synapses, and compete where blocks do, with ``keep_blocks=False``.

    Within a matrix :math:`|m|` of absent entries is the order. They are zero, and an optimiser of
    sparse weights remembers nothing of them; so the pruner smooths the gradient of all entries
    itself, before those that are cut are closed to it, whatever the optimiser. It takes one number
    an entry, what a dense optimiser would take. A circuit has parameters for its synapses alone,
    and a number for every pair of neurons, polarity and gate would cost what sparse circuits save;
    there the order is the slope of the closure's loss at strength zero, as in `GradientGrowth`,
    which is the first term of such a momentum. The shares of blocks are of smoothed gradients in
    both.

    Parameters
    ----------
    decay
        The share beta of the past, in [0, 1).
    candidates
        How many places each weak synapse of a circuit considers; all that are legal when None.

    Raises
    ------
    PruningError
        beta is outside [0, 1), or candidates are no positive integer. From `Pruner`: there is no
        optimiser, or the weights are those of an ensemble. From `Pruner.step`: no step of the
        optimiser was seen.

    References
    ----------
    Dettmers, Zettlemoyer, "Sparse networks from scratch: faster training without losing
    performance", 2019, section 3; for rounding, Balinski, Young, "Fair representation", 1982.

    Examples
    --------
    >>> from elegans.pruning import CosineFraction, Pruner
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 8, bias=False))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> exchange = {"growth": MomentumGrowth(), "drop_fraction": CosineFraction(0.5, 100)}
    >>> pruner = Pruner(model, optimizer, **exchange, every=1, keep_blocks=False)
    >>> _ = pruner.prune(0.5)
    >>> (model[0](torch.ones(2, 4)).sum() + 0 * model[1].weight.sum()).backward()
    >>> optimizer.step()  # nothing depends on the second layer: the first takes what it can
    >>> pruner.step(), int(model[0].weight_mask.sum()), int(model[1].weight_mask.sum())
    (24, 24, 24)
    """

    both_polarities = True
    across_layers = True

    def __init__(self, decay: float = 0.9, candidates: int | None = None) -> None:
        number = isinstance(decay, int | float) and not isinstance(decay, bool)
        if not (number and 0 <= decay < 1):
            raise PruningError(
                f"got decay={decay!r}, expected a share of the past in [0, 1); 0.9 looks back over "
                "about ten optimiser steps"
            )
        self.decay = float(decay)
        self.candidates = checked_candidates(candidates)

    def interest(self, context: GrowthContext) -> Tensor:
        """Return keys that give each layer its share, the steepest first."""
        part, momentum = context.part, context.momentum
        if part is None or momentum is None:
            raise PruningError(
                f"growth by momentum has seen no optimiser step with a gradient of {context.name}; "
                "train for some steps first, with the optimiser that the pruner was made with"
            )
        size, present, layers = momentum.abs().flatten(), part.mask.flatten(), part.block_of()
        if context.block is None:
            descent, layer = size[~present], torch.zeros_like(context.source)
        else:
            descent, layer = -context.slopes(), context.block
        interest = torch.zeros(len(context), dtype=torch.float64, device=size.device)
        for number in torch.unique(layer).tolist():
            own, there = layer == number, size[(layers == number) & present].double()
            share = float(there.mean()) if len(there) else 0.0
            rank = descent[own].argsort(descending=True, stable=True).argsort().double()
            interest[own] = -(rank + 0.5) / max(share, _NO_SHARE)
        return interest


class Momentum:
    """The smoothed gradient of every weight; in a matrix of those that are cut, too.

    Parameters
    ----------
    parts
        The weights, whose optimiser steps are watched.
    decay
        The share of the past.
    """

    def __init__(self, parts: Sequence[PrunableWeight], decay: float) -> None:
        for part in parts:
            if part.members > 1:
                raise PruningError(
                    f"got {part.name} of {part.members} members of an ensemble, expected one "
                    "network, whose layers compete by momentum; prune one member at a time"
                )
        self.means: dict[str, Tensor] = {}
        self._parts, self._decay = parts, decay
        self._dense: dict[str, Tensor] = {}  # of all entries, since gradients were zeroed last

    def attach(self) -> None:
        """Look at the gradients of matrices before their masks close what is cut."""
        for part in self._parts:
            if not isinstance(part, SynapsePart):
                part.parameter.register_hook(partial(self._note, part))  # type: ignore[no-untyped-call]

    def _note(self, part: PrunableWeight, gradient: Tensor) -> None:
        before = part.parameter.grad
        past = self._dense.get(part.name)
        if past is None or before is None or not bool(before.any()):  # a new accumulation
            self._dense[part.name] = gradient.detach().clone()
        else:
            self._dense[part.name] = past + gradient.detach()

    def watch(self, grad_scale: Tensor | None) -> None:
        """Add the gradients of an optimiser step, which are `grad_scale` times too large."""
        for part in self._parts:
            dense, gradient = self._dense.pop(part.name, None), part.parameter.grad
            if gradient is None:
                continue
            slope = part.slopes(gradient.detach())
            if dense is not None:
                slope = torch.where(part.mask, slope, dense)
            if grad_scale is not None:
                slope = slope / grad_scale.to(slope)
            past = self.means.get(part.name)
            self.means[part.name] = (
                slope.clone() if past is None else past.to(slope).lerp(slope, 1 - self._decay)
            )

    def forget(self, part: PrunableWeight, changed: Tensor) -> None:
        """Begin at zero for synapses that are new; the entries of a matrix are what they were."""
        if isinstance(part, SynapsePart) and part.name in self.means:
            self.means[part.name] = self.means[part.name].masked_fill(changed, 0.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the smoothed gradients by the name of the weight."""
        return {name: mean.clone() for name, mean in self.means.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        unknown = sorted(state.keys() - {part.name for part in self._parts})
        if unknown:
            raise PruningError(
                f"momentum: got {unknown}, expected {[part.name for part in self._parts]}; pass "
                "what state_dict() returned"
            )
        self.means = {
            part.name: numbers(
                f"momentum of {part.name}",
                state[part.name],
                part.parameter.dtype,
                part.mask.shape,
            ).to(part.parameter.device)
            for part in self._parts
            if part.name in state
        }
        self._dense = {}
