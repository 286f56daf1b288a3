"""The cells of a model whose synapses can be rewired."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.layers.cell import Cell
from elegans.pruning.growing.legality import Connections, Slot
from elegans.pruning.growing.rules import Fresh, fresh_values
from elegans.pruning.parts.moments import Moments
from elegans.synapses.liquid import VALUES, SynapseParameters


@dataclass(frozen=True)
class Site:
    """A cell, its dotted name in the model, and the sets of synapses that can be rewired."""

    name: str
    cell: Cell
    sets: dict[str, SynapseParameters]

    def path(self, kind: str) -> str:
        """Return the dotted name of a set of synapses."""
        return f"{self.name}.{kind}" if self.name else kind

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the parameters of all sets with their dotted names."""
        for kind, synapses in self.sets.items():
            for name, parameter in synapses.named_parameters():
                yield f"{self.path(kind)}.{name}", parameter

    def rounded(self, weight: float) -> Iterator[float]:
        """Iterate over what each set makes of the conductance `weight` in its precision.

        NaN where no finite parameter stands for it.
        """
        for synapses in self.sets.values():
            positivity = synapses.positivity()
            parameter = positivity.inverse(torch.tensor(weight, dtype=synapses.weight.dtype))
            yield float(positivity(parameter)) if bool(parameter.isfinite()) else math.nan

    def weights(self, step: int) -> dict[str, NDArray[np.float64]]:
        """Return the conductances by kind, each of shape (synapse,).

        Raises
        ------
        PruningError
            One is not finite; names set, slot and `step`.
        """
        weights = {}
        for kind, synapses in self.sets.items():
            weights[kind] = _numpy(synapses.values().weight.double())
            broken = ~np.isfinite(weights[kind])
            if broken.any():
                raise PruningError(
                    f"{self.path(kind)}.weight holds {weights[kind][broken][0]} in slot "
                    f"{int(np.argmax(broken))} at step {step}; nothing was rewired: lower the "
                    "learning rate or clip the gradients"
                )
        return weights

    def connections(self) -> dict[str, Connections]:
        """Return sources and targets of all sets of the cell, those left alone included."""
        wiring = self.cell.wiring
        return {
            kind: Connections(
                kind,
                wiring,
                _numpy(synapses.source),
                _numpy(synapses.target),
                is_open(synapses),
            )
            for kind, synapses in self.cell.synapse_sets().items()
        }

    def apply(self, pending: dict[Slot, Fresh], weight: float, moments: Moments) -> None:
        """Write `pending` into the slots, forget the moments of the old, and empty it."""
        for kind, synapses in self.sets.items():
            moved = {slot.index: fresh for slot, fresh in pending.items() if slot.kind == kind}
            if moved:
                index = torch.tensor(list(moved), device=synapses.weight.device)
                conductance = torch.full_like(synapses.weight[index], weight)
                fresh = fresh_values(synapses, list(moved), list(moved.values()), conductance)
                synapses.rewire(index, fresh)
                for parameter in synapses.parameters():
                    moments.reset(parameter, index)
        pending.clear()


def sites_of(model: nn.Module) -> list[Site]:
    """Return the rewirable cells of `model`: those with synapses whose weights train.

    Raises
    ------
    PruningError
        There is none, or a parameter of one is computed from others.
    """
    sites = []
    for name, module in model.named_modules():
        if not isinstance(module, Cell):
            continue
        sets = {k: s for k, s in module.synapse_sets().items() if s.weight.requires_grad}
        if sets:
            sites.append(Site(name, module, sets))
    if not sites:
        raise PruningError(
            f"{type(model).__name__} holds no layer whose synapses could be rewired; pass a model "
            "that contains elegans.LTC with trainable synapses"
        )
    for site in sites:
        for kind, synapses in site.sets.items():
            computed = [value for value in VALUES if value not in synapses._parameters]
            if computed:
                raise PruningError(
                    f"{site.path(kind)}.{computed[0]} is computed from other parameters "
                    "(parametrize or torch.nn.utils.prune), so its slots cannot be reset; make "
                    "that permanent first"
                )
    return sites


def is_open(synapses: SynapseParameters) -> NDArray[np.bool_]:
    """Return which slots hold an open synapse, shape (synapse,)."""
    mask = synapses.mask
    return np.ones(len(synapses), dtype=bool) if mask is None else _numpy(mask)


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
