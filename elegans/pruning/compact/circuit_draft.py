"""Drafts of compacted liquid cells: remaining synapses and neurons, and changed leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.synapses.plain import ELECTRICAL
from elegans.wiring import GapJunctions, Synapses, Wiring

if TYPE_CHECKING:
    from elegans.ltc.cell import LTCCell
    from elegans.synapses.electrical import ElectricalSynapses

NEURON_VALUES = ("gleak", "vleak", "cm")


class Draft:
    """Remainder of a cell, which itself is not changed; `wiring` is without closed synapses."""

    def __init__(self, cell: LTCCell, wiring: Wiring) -> None:
        self._cell, self._wiring = cell, wiring
        self._slots = {kind: k.open_slots() for kind, k in cell.synapse_sets().items()}
        self.keeps: NDArray[np.bool_] = np.ones(wiring.units, dtype=bool)
        positivity = cell.recurrent.positivity
        self._leak = positivity(cell.gleak.detach())  # (neuron,)
        self._current = self._leak * cell.vleak.detach()  # (neuron,): leak times its potential
        self._settled = torch.zeros_like(self._leak, dtype=torch.bool)  # whose leak has changed

    @property
    def synapse_count(self) -> int:
        """Number of synapses that stay."""
        return sum(map(len, self._slots.values()))

    def kept(self) -> list[int]:
        """Return the indices of the neurons that stay."""
        indices: list[int] = np.flatnonzero(self.keeps).tolist()
        return indices

    def remove(self, neurons: Sequence[int]) -> None:
        """Leave `neurons` out, and their synapses."""
        self.keeps[list(neurons)] = False
        stays = torch.as_tensor(self.keeps, device=self._leak.device)
        for kind, synapses in self._cell.synapse_sets().items():
            slots = self._slots[kind]
            remains = stays[synapses.target[slots].long()]
            if kind != "sensory":
                remains &= stays[synapses.source[slots].long()]
            self._slots[kind] = slots[remains]

    def settle(self) -> dict[int, float]:
        r"""Remove neurons without inputs as if they were at rest; return their potentials.

        At rest such a neuron has the potential :math:`x_j = g_j V_j / (g_j + \epsilon)` for good,
        and its synapse k onto i a constant conductance :math:`q = w_k \sigma(s_k (x_j - m_k))`
        towards :math:`E_k`, which is a part of the leak of i from now on: :math:`g_i + q` towards
        :math:`(g_i V_i + q E_k) / (g_i + q)`. Motor neurons stay, and those without any leak,
        which rest everywhere. Repeated until no such neuron is left.
        """
        rest_potentials: dict[int, float] = {}
        while True:
            total = self._leak + self._cell.epsilon
            alone = self._without_inputs() & (total > 0).cpu().numpy()
            neurons = np.flatnonzero(alone)
            if not len(neurons):
                return rest_potentials
            potential = self._current / total  # (neuron,)
            rest_potentials |= {int(k): float(potential[k]) for k in neurons}
            self._into_leaks(torch.as_tensor(alone, device=total.device), potential)
            self.remove(neurons.tolist())

    def _without_inputs(self) -> NDArray[np.bool_]:
        """Return the neurons, those that are read left out, that hear nothing, (neuron,).

        No synapse leads to them, and they have no gap junction.
        """
        alone = self.keeps.copy()
        alone[self._wiring.outputs] = False
        for kind, synapses in self._cell.synapse_sets().items():
            ends = (synapses.target, synapses.source)[: 1 + synapses.is_mutual]
            for end in ends:
                alone[end[self._slots[kind]].cpu().numpy()] = False
        return alone

    def _into_leaks(self, alone: Tensor, potential: Tensor) -> None:
        """Let the synapses of neurons at rest act through the leaks of their targets."""
        values = self._cell.recurrent.values()
        slots = self._slots["recurrent"]
        slots = slots[alone[values.source[slots].long()]]
        gate = values.gate(potential)[slots]  # (synapse,)
        target = values.target[slots].long()
        self._leak = self._leak.index_add(0, target, gate)
        self._current = self._current.index_add(0, target, gate * values.erev[slots])
        self._settled[target] = True

    def build(self) -> LTCCell:
        """Return the new cell, with the values of the old one slot by slot."""
        old = self._cell
        order: dict[str, tuple[Tensor, Any]] = {
            kind: self._sorted(kind) for kind in self._slots if kind != ELECTRICAL
        }
        if old.electrical is not None:
            order[ELECTRICAL] = self._sorted_junctions(old.electrical)
        cell = old.rebuilt(self._smaller({kind: synapses for kind, (_, synapses) in order.items()}))
        for kind, synapses in cell.synapse_sets().items():
            for name in synapses.VALUES:
                _take(synapses, old.synapse_sets()[kind], name, order[kind][0])
        kept = torch.as_tensor(self.kept(), device=old.vleak.device)
        for name in NEURON_VALUES:
            _take(cell, old, name, kept)
        for mapping in ("input_mapping", "output_mapping"):
            for name in ("weight", "bias"):
                if getattr(getattr(old, mapping), name) is not None:
                    _take(getattr(cell, mapping), getattr(old, mapping), name, slice(None))
        self._write_leaks(cell, kept)
        return cell.train(old.training)

    def _write_leaks(self, cell: LTCCell, kept: Tensor) -> None:
        """Write the leaks that have changed, and leave the parameters of others as they are."""
        changed = self._settled[kept]
        leak, current = self._leak[kept][changed], self._current[kept][changed]
        positivity = cell.recurrent.positivity
        with torch.no_grad():
            cell.gleak[changed] = positivity.inverse(leak)
            cell.vleak[changed] = current / leak

    def _sorted(self, kind: str) -> tuple[Tensor, Synapses]:
        """Return the slots that stay in the order of the new ones, and the synapses they hold."""
        synapses, slots = self._cell.synapse_sets()[kind], self._slots[kind]
        number = np.cumsum(self.keeps) - 1  # of each neuron among those that stay
        source = synapses.source[slots].cpu().numpy()
        source = number[source] if kind == "recurrent" else source
        target = number[synapses.target[slots].cpu().numpy()]
        polarity = synapses.current_polarity()[slots].cpu().numpy()
        order = torch.as_tensor(np.lexsort((polarity, source, target)), device=slots.device)
        return slots[order], Synapses(source, target, polarity)

    def _sorted_junctions(self, junctions: ElectricalSynapses) -> tuple[Tensor, GapJunctions]:
        """Do the same for gap junctions."""
        slots, number = self._slots[ELECTRICAL], np.cumsum(self.keeps) - 1
        source, target, one_way = (
            column[slots].cpu().numpy()
            for column in (junctions.source, junctions.target, junctions.rectifying)
        )
        source, target = number[source], number[target]
        turned = ~one_way & (source > target)  # as `GapJunctions` puts them
        first, second = np.where(turned, target, source), np.where(turned, source, target)
        order = torch.as_tensor(np.lexsort((first, second)), device=slots.device)
        return slots[order], GapJunctions(source, target, one_way)

    def _smaller(self, synapses: dict[str, Any]) -> Wiring:
        old = self._wiring
        if self.keeps.all():
            return old.with_synapses(
                synapses["recurrent"], synapses["sensory"], synapses.get(ELECTRICAL)
            )
        sizes = {name: int(self.keeps[old.layer_range(name)].sum()) for name in old.layers}
        return Wiring(
            old.input_size,
            {name: size for name, size in sizes.items() if size},
            synapses["recurrent"],
            synapses["sensory"],
            electrical=synapses.get(ELECTRICAL),
            outputs=(np.cumsum(self.keeps) - 1)[old.outputs] if old.has_outputs_elsewhere else None,
            names=[old.names[k] for k in self.kept()],
            sensory_names=old.sensory_names,
        )


@torch.no_grad()
def _take(new: Any, old: Any, name: str, index: Tensor | slice) -> None:
    """Copy entries of a parameter, which torch.nn.utils.prune may hold under another name."""
    parameters = old._parameters
    source = parameters[name + "_orig"] if name + "_orig" in parameters else parameters[name]
    parameter = getattr(new, name)
    parameter.copy_(source[index])
    parameter.requires_grad_(source.requires_grad)
