r"""A guard for prune-and-rewire that keeps a certificate valid.

A certificate (boxes, weights eta, rate lambda) is a statement row by row: an edit of the synapses
onto neuron i touches the tests of row i alone,

.. math:: H^+_i \le 0 \le H^-_i \quad\text{and}\quad F_i(\eta) \le -\lambda \eta_i

and leaves all others true. Those rows hold the gap junctions of neuron i as they are; an edit of a
junction touches both of its ends, and the boxes of all neurons that are joined, so that the circuit
is certified anew for it. Moving a synapse from one target to another therefore costs the tests of
two rows, whose number of terms is their in-degree. All circuits that pass with one and the same
(boxes, eta, lambda) contract at lambda even while they are switched from one to the other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from torch import nn

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.layers.capabilities import LiquidCircuit, cell_of, offers
from elegans.layers.cell import Cell
from elegans.proofs.certificates.boxes import hull, stays
from elegans.proofs.certificates.certification import RATE_FRACTION
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import (
    Array,
    Box,
    Index,
    JunctionNumbers,
    Network,
    Range,
    SynapseNumbers,
    liquid_cell,
    require_between,
)
from elegans.proofs.certificates.perron import best_rates, weights_for
from elegans.proofs.certificates.region import Region, pieces_of, region_of, require_level, rows_of
from elegans.pruning.ledger import GuardResult, ProposedEdit
from elegans.synapses.conductance import ConductanceSynapses
from elegans.synapses.electrical import ElectricalSynapses
from elegans.synapses.liquid import LiquidSynapses

_BOXES = (2, 5, 32)

NOT_CERTIFIED = "the circuit is not certified"
NOT_CONTRACTING = "the circuit could no longer be certified"
NOT_JUDGED = "a synapse that would become a gap junction, or the reverse, is not judged"


@dataclass(frozen=True, eq=False)
class Standing:
    """Region in which a circuit contracts between two edits, its weights and its rate."""

    region: Region
    eta: Array
    rate: float


@checked(InputError)
class CertificateGuard:
    """Refuses every rewiring after which the circuit could not be certified.

    Add it to a rewirer with ``rewirer.add_guard(CertificateGuard(model, inputs=(-1, 1)))``. Before
    each round the circuit is certified as training has left it, in O(synapses). Each edit is then
    tested with boxes, weights and rate frozen, in O(in-degree) of its two targets. If it fails, the
    edited circuit is certified with boxes and weights of its own; if that fails too, the edit is
    refused.

    The guard watches edits. That gradient steps keep the circuit certifiable is the business of
    `ContractionPenalty`; while the circuit is not certified, every edit is refused.

    Parameters
    ----------
    model
        The module that is rewired, which holds exactly one liquid cell.
    inputs, level
        As in `elegans.proofs.certify`; levels ``"interval"`` and ``"float"`` are the same here,
        since edits are judged in double precision with an allowance for rounding.
    rate_fraction
        Fraction of the best rate that is frozen for the edits of a round; the rest is their room.
    least_rate
        Rates below this count as not certified, per unit of the elapsed times.

    Attributes
    ----------
    kept, renewed, refused
        How many edits passed the row tests, needed boxes and weights of their own, or were refused.

    Raises
    ------
    InputError
        The model holds no liquid cell or several, or the range of inputs is not valid.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(2, AutoNCP(units=12, output_size=1, sparsity_level=0.6, seed=1))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> rewirer = elegans.PruneRewire(model, optimizer, threshold=0.3, weight=0.5, every=1)
    >>> rewirer.add_guard(CertificateGuard(model, inputs=(-1, 1)))
    >>> edits = rewirer.step()
    >>> all(edit.notes["grown_slack_after"] >= 0 for edit in edits), len(edits) > 0
    (True, True)
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Range,
        *,
        level: str = "interval",
        rate_fraction: float = RATE_FRACTION,
        least_rate: float = 0.0,
    ) -> None:
        cells = [m for m in model.modules() if isinstance(m, Cell) and offers(m, LiquidCircuit)]
        if len(cells) != 1:
            raise InputError(
                f"got a model with {len(cells)} liquid cells, expected one; add a guard for each "
                "layer to a rewirer of its own"
            )
        for module in model.modules():
            if cell_of(module) is cells[0]:
                liquid_cell(module)  # refuses a memory cell
        require_level(level)
        require_between("rate_fraction", rate_fraction, 0.0, 1.0)
        require_between("least_rate", least_rate, -math.inf, math.inf)
        self._model, self._cell = model, cells[0]
        self._inputs, self._level, self._rate_fraction = inputs, level, rate_fraction
        self._least_rate = max(least_rate, 0.0)
        self.kept, self.renewed, self.refused = 0, 0, 0
        self._step: int | None = None
        self._standing: Standing | None = None
        self._pending: ProposedEdit | None = None
        self._network = Network.of(self._cell)
        self._range = self._network.range_of(inputs)
        self._slots: dict[str, dict[int, set[int]]] = {}

    @property
    def rate(self) -> float | None:
        """The rate that is certified of the circuit as it is now, None where none is.

        Found when asked, in O(synapses): weights may have changed since the last edit.
        """
        network = _own(Network.of(self._cell))
        standing = self._standing
        if standing is None or not _same(network, self._network):
            standing = self._certified(network, None)
        return None if standing is None else standing.rate

    def __call__(self, proposal: ProposedEdit) -> GuardResult | None:
        """Judge an edit; edits of other modules are none of this guard's business."""
        edited = dict(self._model.named_modules()).get(proposal.synapses)
        kinds = [kind for kind, own in self._cell.synapse_sets().items() if own is edited]
        if not kinds:
            return None
        if proposal.step != self._step or not self._follows(proposal):
            self._renew(proposal.step)
        if self._standing is None:
            self.refused += 1
            return GuardResult(False, NOT_CERTIFIED)
        if "electrical" in (kinds[0], self._kind_grown(proposal)):
            return self._judge_junction(kinds[0], proposal, self._standing)
        return self._judge(kinds[0], proposal, self._standing)

    def _judge(self, kind: str, proposal: ProposedEdit, standing: Standing) -> GuardResult:
        ends = {"cut": proposal.cut}
        if proposal.grown is not None:
            ends["grown"] = proposal.grown
        notes = {"rate": standing.rate} | {
            f"{name}_slack_before": self._slack(neuron, standing) for name, neuron in ends.items()
        }
        old = [
            (kind, slot, self._write(kind, slot, values))
            for kind, slot, values in self._changes(kind, proposal)
        ]
        after = {name: self._slack(neuron, standing) for name, neuron in ends.items()}
        if min(after.values()) < 0:
            recertified = self._certified(self._network, self._standing)
            if recertified is not None:
                standing = recertified
                notes["rate_after"] = standing.rate
                after = {name: self._slack(neuron, standing) for name, neuron in ends.items()}
        notes |= {f"{name}_slack_after": slack for name, slack in after.items()}
        if min(after.values()) < 0:
            for change in reversed(old):
                self._write(*change)
            self.refused += 1
            return GuardResult(False, NOT_CONTRACTING, notes)
        renewed = standing is not self._standing
        self.renewed += renewed
        self.kept += not renewed
        self._standing, self._pending = standing, proposal
        return GuardResult(True, "", notes)

    def _kind_grown(self, proposal: ProposedEdit) -> str | None:
        """Return the kind of the synapses that it would grow in, where that is another set."""
        if proposal.is_pruning or proposal.grown_synapses is None:
            return None
        own = self._model.get_submodule(proposal.grown_synapses)
        return next((k for k, each in self._cell.synapse_sets().items() if each is own), None)

    def _judge_junction(self, kind: str, proposal: ProposedEdit, standing: Standing) -> GuardResult:
        """Judge an edit of a gap junction by certifying the edited circuit anew."""
        notes = {"rate": standing.rate}
        junctions, own = self._network.electrical, self._model.get_submodule(proposal.synapses)
        within = kind == "electrical" and self._kind_grown(proposal) in (None, "electrical")
        if not (within and junctions is not None and isinstance(own, ElectricalSynapses)):
            self.refused += 1
            return GuardResult(False, NOT_JUDGED, notes)
        columns = [getattr(junctions, field.name).copy() for field in fields(junctions)]
        source, target, rectifying, weight = columns
        weight[proposal.slot] = 0.0
        if not proposal.is_pruning:
            slot = proposal.slot if proposal.grown_slot is None else proposal.grown_slot
            source[slot], target[slot] = _grown_source(proposal), proposal.grown
            rectifying[slot], weight[slot] = False, own.realised(proposal.weight)
        edited = replace(self._network, electrical=JunctionNumbers(*columns))
        renewed = self._certified(edited, standing)
        if renewed is None:
            self.refused += 1
            return GuardResult(False, NOT_CONTRACTING, notes)
        self._network, self._standing, self._pending = edited, renewed, proposal
        self.renewed += 1
        return GuardResult(True, "", notes | {"rate_after": renewed.rate})

    def _renew(self, step: int) -> None:
        """Certify the circuit as it is now."""
        self._step, self._pending = step, None
        self._network = _own(Network.of(self._cell))
        self._range = self._network.range_of(self._inputs)
        # From no weights of before: a continued training shall judge alike.
        self._standing = self._certified(self._network, None)
        self._slots = {
            kind: _by_target(getattr(self._network, kind)) for kind in ("recurrent", "sensory")
        }

    def _follows(self, proposal: ProposedEdit) -> bool:
        """Whether the model is the one that the last edit left, which another guard may refuse."""
        last = self._pending
        if last is None:
            return True
        synapses = self._held(last.synapses)
        if last.is_pruning:
            return not bool(synapses.mask[last.slot])
        slot = last.slot
        if last.grown_synapses is not None and last.grown_slot is not None:
            synapses, slot = self._held(last.grown_synapses), last.grown_slot
        ends = int(synapses.source[slot]), int(synapses.target[slot])
        grown = _grown_source(last), last.grown
        same = ends == grown or (synapses.is_mutual and ends == grown[::-1])
        return bool(synapses.mask[slot]) and same

    def _certified(self, network: Network, before: Standing | None) -> Standing | None:
        """Return boxes, weights and rate of a circuit, None if it cannot be certified."""
        for boxes in _BOXES:  # the fewer, the more room they leave for edits
            standing = self._certified_in(network, boxes, before)
            if standing is not None:
                return standing
        return None

    def _certified_in(
        self, network: Network, boxes: int, before: Standing | None
    ) -> Standing | None:
        region = region_of(network, network.range_of(self._inputs), self._level, roomy=boxes)
        rows = rows_of(network, region, self._level)
        start = None if before is None else before.eta
        best = best_rates(rows, start=start, tolerance=1e-4).best_rate
        if not best > self._least_rate:
            return None
        rate = max(self._rate_fraction * best, self._least_rate)
        eta = weights_for(rows, rate)
        if eta is None or not (eta > 0).all() or rows.rate(eta) < rate:
            return None
        return Standing(region, eta, rate)

    def _held(self, name: str) -> ConductanceSynapses:
        synapses = self._model.get_submodule(name)
        if not isinstance(synapses, ConductanceSynapses):
            raise InputError(f"{name} holds no synapses; pass the model of the rewirer")
        return synapses

    def _synapses(self, name: str) -> LiquidSynapses:
        synapses = self._held(name)
        if not isinstance(synapses, LiquidSynapses):
            raise InputError(f"{name} holds no synapses; pass the model of the rewirer")
        return synapses

    def _changes(self, kind: str, proposal: ProposedEdit) -> list[tuple[str, int, dict[str, Any]]]:
        """Return set, slot and values of the synapses that would be others."""
        gone = kind, proposal.slot, {"target": proposal.cut, "weight": 0.0}
        if proposal.is_pruning:
            return [gone]
        if proposal.grown_synapses is None or proposal.grown_slot is None:
            return [(kind, proposal.slot, self._fresh(proposal, proposal.synapses))]
        own = self._synapses(proposal.grown_synapses)
        (grown,) = (k for k, synapses in self._cell.synapse_sets().items() if synapses is own)
        return [gone, (grown, proposal.grown_slot, self._fresh(proposal, proposal.grown_synapses))]

    def _fresh(self, proposal: ProposedEdit, name: str) -> dict[str, Any]:
        """Return the synapse that would be there, with the values that the layer computes with."""
        synapses = self._synapses(name)
        like = synapses.weight
        values = {name: float(like.new_tensor(value)) for name, value in proposal.values.items()}
        return {
            "source": _grown_source(proposal),
            "target": proposal.grown,
            "weight": synapses.realised(proposal.weight),
            "potential": float(proposal.polarity or 0),
            **values,
        }

    def _write(self, kind: str, slot: int, values: dict[str, Any]) -> dict[str, Any]:
        """Put a synapse into a slot of the numbers and return the one that was there."""
        synapses: SynapseNumbers = getattr(self._network, kind)
        old = {name: getattr(synapses, name)[slot].item() for name in values}
        for name, value in values.items():
            getattr(synapses, name)[slot] = value
        self._slots[kind][int(old["target"])].discard(slot)
        self._slots[kind][int(values["target"])].add(slot)
        return old

    def _slack(self, neuron: int, standing: Standing) -> float:
        """Return by how much row `neuron` exceeds the rate, minus infinity if a box fails."""
        recurrent, sensory = (
            np.array(sorted(self._slots[kind][neuron]), dtype=np.int64)
            for kind in ("recurrent", "sensory")
        )
        return row_slack(
            self._network, neuron, recurrent, sensory, standing, self._range, pieces_of(self._level)
        )


def _grown_source(proposal: ProposedEdit) -> int:
    """Return where the fresh synapse would lead from; the source stays if none is given."""
    return proposal.source if proposal.grown_source is None else proposal.grown_source


def row_slack(
    network: Network,
    neuron: int,
    recurrent: Index,
    sensory: Index,
    standing: Standing,
    inputs: Box,
    pieces: int,
) -> float:
    """Return by how much the row of a neuron exceeds the rate, in O(in-degree).

    That is -F_i / eta_i - lambda, per unit of the elapsed times; minus infinity if one of the boxes
    does not hold the targets of the neuron. `recurrent` and `sensory` are the numbers of the
    synapses onto it, `inputs` the range of the mapped inputs; for `pieces` see `Rows.of`.
    """
    small, neurons = _row_network(network, neuron, recurrent, sensory)
    boxes = [Box(box.lo[neurons], box.hi[neurons]) for box in standing.region.boxes]
    # Neurons that are joined had one interval before the edit, and have it still.
    pulls = hull(replace(small, electrical=None))
    if not (boxes[0].lo[0] <= pulls.lo[0] and pulls.hi[0] <= boxes[0].hi[0]):
        return -np.inf
    for outer, inner, share in zip(boxes, boxes[1:], standing.region.shares, strict=False):
        core = Box(
            (inner.lo - share * outer.lo) / (1 - share), (inner.hi - share * outer.hi) / (1 - share)
        )
        if not stays(small, core, GateRanges.over(small, outer, inputs))[0]:
            return -np.inf
    exact = len(boxes) == 1 and pieces == 1
    gates = (
        GateRanges.free(small, boxes[-1]) if exact else GateRanges.over(small, boxes[-1], inputs)
    )
    rows = Rows.of(small, boxes[-1], gates, pieces=pieces)
    first = np.flatnonzero(rows.neuron == 0)
    eta = standing.eta[neurons]
    worst = (rows.sums(eta).max(axis=0) / (rows.capacitance * eta[rows.neuron]))[first].max()
    return float(-worst - standing.rate)


def _row_network(
    network: Network, neuron: int, recurrent: Index, sensory: Index
) -> tuple[Network, Index]:
    """Return a circuit of one row, numbered 0, and the neurons that it stands for."""
    synapses, from_inputs = network.recurrent.take(recurrent), network.sensory.take(sensory)
    junctions, joined = network.electrical, np.zeros(0, dtype=np.int64)
    if junctions is not None:
        ends = np.stack([junctions.source, junctions.target])
        mine = np.flatnonzero((ends == neuron).any(axis=0))
        joined = ends[:, mine]
    every = np.concatenate([synapses.source, joined.ravel()])
    others = np.unique(every[every != neuron])
    neurons = np.concatenate([[neuron], others])

    def place(held: Index) -> Index:
        return np.where(held == neuron, 0, 1 + np.searchsorted(others, held))

    source = place(synapses.source)
    if junctions is not None:
        one, other = place(joined)
        junctions = JunctionNumbers(one, other, junctions.rectifying[mine], junctions.weight[mine])
    onto = np.zeros(len(synapses), dtype=np.int64)
    # Presynaptic neurons have no synapses here; a leak of 1 keeps them legal.
    leak = np.ones(len(neurons))
    leak[0] = network.leak[neuron]
    return (
        Network(
            network.capacitance[neurons],
            leak,
            network.leak_potential[neurons],
            network.epsilon,
            replace(synapses, source=source, target=onto),
            replace(from_inputs, target=np.zeros(len(from_inputs), dtype=np.int64)),
            network.scale,
            network.shift,
            junctions,
        ),
        neurons,
    )


def _own(network: Network) -> Network:
    """Return a copy whose synapses may be written to: they may lie in the layer's own memory."""
    recurrent, sensory = (
        SynapseNumbers(*(getattr(synapses, column.name).copy() for column in fields(synapses)))
        for synapses in (network.recurrent, network.sensory)
    )
    junctions = network.electrical
    if junctions is not None:
        junctions = replace(junctions, weight=junctions.weight.copy())
    return replace(network, recurrent=recurrent, sensory=sensory, electrical=junctions)


def _same(one: Network, other: Network) -> bool:
    """Whether two circuits have the same numbers; synapses that do not conduct have none."""
    columns = []
    for network in (one, other):
        held = [each.take(each.weight > 0) for each in (network.recurrent, network.sensory)]
        columns.append(
            [np.array([network.epsilon]), network.scale, network.shift, network.capacitance]
            + [network.leak, network.leak_potential]
            + [getattr(each, field.name) for each in held for field in fields(SynapseNumbers)]
        )
        if network.electrical is not None:
            columns[-1] += [getattr(network.electrical, f.name) for f in fields(JunctionNumbers)]
    return len(columns[0]) == len(columns[1]) and all(map(np.array_equal, *columns))


def _by_target(synapses: SynapseNumbers) -> dict[int, set[int]]:
    slots: dict[int, set[int]] = defaultdict(set)
    for slot, target in enumerate(synapses.target.tolist()):
        slots[target].add(slot)
    return slots
