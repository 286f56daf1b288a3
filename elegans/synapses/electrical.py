"""Electrical synapses: slots with a conductance between two neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.solvers.circuit import Junctions
from elegans.synapses.conductance import ConductanceSynapses
from elegans.synapses.constraints import Positivity
from elegans.synapses.initial import Initializer
from elegans.synapses.plain import PlainSynapses
from elegans.synapses.slots import FreshSynapses
from elegans.synapses.sums import places
from elegans.wiring import GapJunctions, Synapses


class JunctionValues(Junctions):
    """Junctions whose weights are their conductances w >= 0."""

    __slots__ = ()

    def conducting(self, state: Tensor) -> Tensor:
        """Return the conductance of each junction at `state` (..., neuron), (..., junction).

        That of a rectifying junction is zero unless its source has the higher potential.
        """
        return torch.where(self._conducts(*self._potentials(state)), self.weight, 0.0)

    def add_to(self, conductance: Tensor, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        r"""Add the conductance and the driving current at both ends to what is given.

        All have the shape (..., neuron). Each end is pulled to the other one; where a junction
        rectifies, its target to the larger of both potentials and its source to the smaller:

        .. math:: w \max(x_j - x_i, 0) = w \max(x_j, x_i) - w x_i

        Conductance and drive are then continuous in the state, and so is a step of a solver.
        """
        source, target = self._potentials(state)
        is_open = self._conducts(source, target)
        for end, here, other in ((self.target, target, source), (self.source, source, target)):
            pulled = torch.where(is_open, other, here)
            conductance = conductance.index_add(-1, places(end), self.weight.expand_as(pulled))
            drive = drive.index_add(-1, places(end), self.weight * pulled)
        return conductance, drive

    def _potentials(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the potentials of source and target of each junction, both (..., junction)."""
        source, target = (state.index_select(-1, places(end)) for end in self[:2])
        return source, target

    def _conducts(self, source: Tensor, target: Tensor) -> Tensor:
        return ~self.rectifying | (source > target)


@checked(InputError)
class ElectricalSynapses(ConductanceSynapses):
    r"""Electrical synapses: a conductance in each slot, between the two neurons of a pair.

    .. math:: I_{j \to i} = w (x_j - x_i), \qquad I_{i \to j} = -I_{j \to i}

    One parameter serves both directions. Where `rectifying` is true, current flows from `source` to
    `target` only, while the source has the higher potential. A pruned junction has conductance
    zero. A junction has no sign: its polarity is 1.

    Parameters
    ----------
    junctions
        The pairs, in the order of the slots.
    initial
        Draws the initial conductances.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the conductances.

    Examples
    --------
    >>> from elegans.synapses.constraints import POSITIVITY
    >>> pairs = GapJunctions([0, 2], [1, 1], [False, True])
    >>> slots = ElectricalSynapses(pairs, Initializer(POSITIVITY["softplus"]))
    >>> slots.junctions(), slots.strength().shape
    (GapJunctions(0 -- 1, 2 -> 1), torch.Size([2]))
    """

    VALUES = ("weight",)
    BUFFERS = (*ConductanceSynapses.BUFFERS, "rectifying")
    is_mutual = True

    rectifying: Tensor

    def __init__(
        self,
        junctions: GapJunctions,
        initial: Initializer,
        *,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        super().__init__(_as_synapses(junctions), initial, device=factory_kwargs.get("device"))
        one_way = torch.tensor(junctions.rectifying, device=factory_kwargs.get("device"))
        self.register_buffer("rectifying", one_way)
        self.weight = nn.Parameter(torch.empty(len(junctions), **factory_kwargs))
        self._draw("weight", generator)

    def reset_parameters(  # type: ignore[override]  # junctions are not directed
        self, junctions: GapJunctions, generator: torch.Generator | None = None
    ) -> None:
        """Hold `junctions`, as many as there are slots, all open, with fresh conductances."""
        self.connect(_as_synapses(junctions))
        self.rectifying.copy_(torch.tensor(junctions.rectifying))
        self._draw("weight", generator)

    def extra_repr(self) -> str:
        """Return the number of junctions for ``print(model)``."""
        return f"{len(self)} gap junctions"

    def forward(self) -> JunctionValues:
        """Return the effective values, constraints applied; zero conductance where pruned."""
        values = values_of(self.slots(), self.positivity)
        fresh = self._candidates
        if fresh is None:
            return values
        one_way = torch.zeros_like(fresh.source, dtype=torch.bool)
        columns = fresh.source, fresh.target, one_way, fresh.strength
        pairs = zip(values, columns, strict=True)
        return JunctionValues(*(torch.cat([first, second.to(first)]) for first, second in pairs))

    def values(self) -> JunctionValues:
        """Return the effective values; calls the module, so that hooks and masks take part."""
        values: JunctionValues = self()
        return values

    def slots(self) -> Junctions:
        """Return pairs and free parameters; those of pruned junctions stand for zero."""
        weight = self.masked(self.weight, self.positivity.closed)
        return Junctions(self.source, self.target, self.rectifying, weight)

    def junctions(self) -> GapJunctions:
        """Return the open junctions as they are now, sorted."""
        slots, (source, target, _) = self._columns()
        return GapJunctions(source, target, self.rectifying[slots].cpu().numpy())

    @torch.no_grad()
    def plain(self, neurons: int) -> PlainSynapses:
        """Return the open junctions as plain numbers, each twice, at both its ends.

        The value ``"way"`` is 0 where current flows both ways, 1 where it flows to this end only,
        and -1 where from it only.
        """
        is_open = self.is_open.cpu()
        columns = (column.detach().cpu()[is_open].double().numpy() for column in self.values())
        source, target, way, weight = columns
        return PlainSynapses.sorted(
            np.concatenate([source, target]),
            np.concatenate([target, source]),
            neurons,
            weight=np.concatenate([weight, weight]),
            way=np.concatenate([way, -way]),
        )

    def check_state(
        self, state_dict: Mapping[str, Any], prefix: str, sources: int, targets: int
    ) -> None:
        """Raise `InputError` unless the junctions saved under `prefix` fit this set."""
        super().check_state(state_dict, prefix, sources, targets)
        source, target = (state_dict.get(prefix + name) for name in ("source", "target"))
        if source is None or target is None or source.is_meta:
            return
        low, high = torch.minimum(source, target), torch.maximum(source, target)
        pairs = torch.unique(low.long() * targets + high)
        if bool((source == target).any()) or len(pairs) < len(source):
            raise InputError(
                f"the saved state at {prefix!r} has a gap junction of a neuron with itself or two "
                "of one pair; the saved state is damaged"
            )

    def reversal_potential(self) -> Tensor:
        """Return ones: a junction pulls to where its other end is, which is no parameter."""
        return torch.ones_like(self.weight.detach())

    def open_conductance(self, potentials: Tensor) -> Tensor:
        """Return what conducts of each junction, (..., junction), for potentials (..., neuron)."""
        return self.values().conducting(potentials)

    def rewire(self, slots: Tensor, fresh: FreshSynapses) -> None:
        """Let `slots` hold the junctions `fresh`, open; they conduct both ways."""
        ends = torch.minimum(fresh.source, fresh.target), torch.maximum(fresh.source, fresh.target)
        super().rewire(slots, replace(fresh, source=ends[0], target=ends[1]))

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        self.rectifying[slots] = False
        self.weight[slots] = self.positivity.inverse(fresh.strength.to(self.weight))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "rectifying")
        if isinstance(saved, Tensor):  # load_state_dict(assign=True) would keep another type
            state_dict[prefix + "rectifying"] = saved.to(torch.bool)
        super()._load_from_state_dict(state_dict, prefix, *args)


def values_of(slots: Junctions, positivity: Positivity) -> JunctionValues:
    """Return the effective values of free parameters."""
    return JunctionValues(*slots[:3], positivity(slots.weight))


def _as_synapses(junctions: GapJunctions) -> Synapses:
    """Return the pairs as connections for slots, in the same order."""
    return Synapses(junctions.source, junctions.target, np.ones(len(junctions), np.int8))
