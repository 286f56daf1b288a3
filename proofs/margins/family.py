r"""Circuits whose parameters are known up to intervals, and what holds for all of them.

Each statement of a certificate is a sum of terms that are monotone in every parameter, or convex,
so that its worst case over all circuits of a family is found term by term at ends of intervals. For
the rate, with gates between l and h,

.. math::
    \lambda C_i^+ - g_i^- - \epsilon - \sum_\text{sensory} w_k^- l_k
        + \sum_k \max_{w \in \{w_k^-, w_k^+\}} w \max_{l_k \le q \le h_k} (b_k q (1 - q) - q) \le 0,
    \qquad b_k = \max_s |s| \max_E |E - \xi|\, \eta_j / \eta_i

at both ends xi of every interval of the box; the term of a gap junction is max w q (eta_j / eta_i -
1) over the ends of its conductance and of its gate. The box is derived anew: it holds the targets
of every circuit of the family. All operations are rounded away from the claim, see `outward`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.boxes import of_joined
from elegans.proofs.certificates.certificate import StepFigures
from elegans.proofs.certificates.contraction import PIECES, Rows
from elegans.proofs.certificates.gates import Conduction, GateRanges, Gates, conduction
from elegans.proofs.certificates.intervals import Span
from elegans.proofs.certificates.network import SLACK, Array, Box, Index, Network, SynapseNumbers
from elegans.proofs.margins.outward import (
    down,
    greatest,
    minus,
    plus,
    sigmoid,
    sum_above,
    sum_below,
    times,
    up,
)

SHARE = 1 / 64
"""Share of the box before that each box holds besides all targets."""

KINDS = ("recurrent", "sensory")

_ROUNDS, _UNTIL, _SWITCHES = 32, 0.005, 100
_OF_NEURONS = ("capacitance", "leak", "leak_potential", "scale", "shift")
_OF_SYNAPSES = ("weight", "gain", "centre", "potential")

Flags = NDArray[np.bool_]


class _Ends(NamedTuple):
    """The ends of the gap junctions of a family, each of shape (end,)."""

    target: Index
    weight: Span
    range_: Conduction

    @property
    def opened(self) -> Span:
        """Least and largest open conductance; gates are 0 or 1, so that nothing is rounded."""
        return Span(self.weight.lo * self.range_.least, self.weight.hi * self.range_.most)


@dataclass(frozen=True, eq=False)
class Family:
    """All circuits between two with the same synapses.

    Parameters
    ----------
    lo, hi
        Lower and upper ends of all parameters.
    """

    lo: Network
    hi: Network

    def __len__(self) -> int:
        return len(self.lo)

    @classmethod
    def alone(cls, network: Network) -> Family:
        """Return the family of one circuit."""
        return cls(network, network)

    @classmethod
    def changed(cls, network: Network, delta: float, absolute: float = 0.0) -> Family:
        """Return all circuits whose parameters differ from those of one by so much.

        By a share `delta` and by `absolute` besides; parameters of 0 stay 0.
        """
        factor, room = (
            Span(down(1.0 - delta), up(1.0 + delta)),
            Span(np.array(-absolute), np.array(absolute)),
        )

        def ends(values: Array) -> Span:
            products = times(Span(values, values), factor)
            products = plus(products, room) if absolute else products
            return Span(*(np.where(values == 0, 0.0, end) for end in products))

        return cls(
            with_values(network, lambda values: ends(values).lo),
            with_values(network, lambda values: ends(values).hi),
        )

    def span(self, name: str, kind: str | None = None) -> Span:
        """Return the ends of a parameter of the neurons, or of one kind of synapses."""
        lo, hi = (net if kind is None else getattr(net, kind) for net in (self.lo, self.hi))
        return Span(getattr(lo, name), getattr(hi, name))

    @property
    def is_proper(self) -> bool:
        """Whether every circuit has capacitances > 0, conductances >= 0 and leaks everywhere."""
        lo = self.lo
        signs = [lo.capacitance > 0, lo.leak >= 0, lo.leak + lo.epsilon > 0]
        signs += [getattr(lo, kind).weight >= 0 for kind in KINDS]
        signs += [] if lo.electrical is None else [lo.electrical.weight >= 0]
        return all(bool(sign.all()) for sign in signs)

    def inputs(self, given: Box) -> Box:
        """Return the range of the mapped inputs of all circuits."""
        return Box(*plus(times(self.span("scale"), Span(*given)), self.span("shift")))

    def gates(self, states: Box, inputs: Box) -> GateRanges:
        """Return the ranges of the gates of all circuits over boxes of states and mapped inputs."""
        recurrent, sensory = (
            Gates(*self.gates_of(kind, Span(*(end[getattr(self.lo, kind).source] for end in box))))
            for kind, box in zip(KINDS, (states, inputs), strict=True)
        )
        return GateRanges(recurrent, sensory, conduction(self.lo, states))

    def ends(self, gates: GateRanges) -> _Ends | None:
        """Return the ends of the gap junctions, None without any."""
        lo, hi = self.lo.electrical, self.hi.electrical
        if lo is None or hi is None or gates.electrical is None:
            return None
        return _Ends(lo.ends.target, Span(lo.ends.weight, hi.ends.weight), gates.electrical)

    def gates_of(self, kind: str, potentials: Span, which: Flags | slice = slice(None)) -> Span:
        """Return the ranges of gates over ranges of their presynaptic potentials, (synapse,)."""
        centre, gain = (
            Span(*(end[which] for end in self.span(name, kind))) for name in ("centre", "gain")
        )
        return sigmoid(times(gain, minus(potentials, centre)))


def with_values(network: Network, change: Callable[[Array], Array]) -> Network:
    """Return the circuit with all parameters, and those of the input mapping, changed."""

    def synapses(numbers: SynapseNumbers) -> SynapseNumbers:
        values = (change(getattr(numbers, name)) for name in _OF_SYNAPSES)
        return SynapseNumbers(numbers.source, numbers.target, *values)

    junctions = network.electrical
    neurons: dict[str, Any] = {name: change(getattr(network, name)) for name in _OF_NEURONS}
    return Network(
        epsilon=network.epsilon,
        recurrent=synapses(network.recurrent),
        sensory=synapses(network.sensory),
        electrical=junctions and replace(junctions, weight=change(junctions.weight)),
        **neurons,
    )


# --- the box --------------------------------------------------------------------------------


def box_of(family: Family, given: Box, level: str) -> tuple[Box, GateRanges] | None:
    """Return a box that every circuit of a family enters and never leaves, and its gates.

    At level ``"exact"`` that is the hull of all potentials, otherwise the smallest box found, as
    `elegans.proofs.certificates.boxes.nested_boxes` finds it. None if a box cannot be proved.
    """
    if not family.is_proper:
        return None
    box, inputs = _hull(family), family.inputs(given)
    if level == "exact":
        return box, GateRanges.free(family.lo, box)
    first = box
    gates = family.gates(box, inputs)
    for _ in range(_ROUNDS):
        targets = _targets(family, gates)
        pulled = [
            current(family, gates, end, sign) for end, sign in zip(targets, (-1, 1), strict=True)
        ]
        if not all((value <= 0).all() for value in pulled):
            return None
        room = [up(SHARE * up(width)) for width in (targets.lo - box.lo, box.hi - targets.hi)]
        # Rounding may carry a target across an end of the box, of which it is a part.
        lo = np.maximum(box.lo, np.minimum(down(targets.lo - room[0]), targets.lo))
        hi = np.minimum(box.hi, np.maximum(up(targets.hi + room[1]), targets.hi))
        shrunk = box.width - (hi - lo)
        if (shrunk <= _UNTIL * first.width).all():
            break
        box = Box(lo, hi)
        gates = family.gates(box, inputs)
    return box, gates


def _hull(family: Family) -> Box:
    """Return the box of all potentials that pull."""
    count = len(family)
    ends = []
    for side, extreme, start in ((0, np.minimum, np.inf), (1, np.maximum, -np.inf)):
        leaks = family.hi.leak > 0
        end = np.where(leaks, family.span("leak_potential")[side], start)
        if family.hi.epsilon > 0:
            end = extreme(end, np.zeros(count))
        for kind in KINDS:
            synapses = getattr(family.hi, kind)
            present = synapses.weight > 0
            potential = family.span("potential", kind)[side][present]
            extreme.at(end, synapses.target[present], potential)
        ends.append(end)
    return of_joined(family.hi, Box(*ends))


def _targets(family: Family, gates: GateRanges) -> Box:
    """Return ends beyond which no circuit has a target: sought in doubles, to be checked."""
    count = len(family)
    ends, most = [], np.zeros(count)
    for side, sign in ((0, -1.0), (1, 1.0)):
        potentials, least, greatest_ = [], [], []
        index = []
        for kind in KINDS:
            range_, weight = getattr(gates, kind), family.span("weight", kind)
            potentials.append(family.span("potential", kind)[side])
            index.append(getattr(family.lo, kind).target)
            least.append(weight.lo * range_.least)
            greatest_.append(weight.hi * range_.most)
        joined = family.ends(gates)
        if joined is not None:
            potentials.append(joined.range_.lo if side == 0 else joined.range_.hi)
            index.append(joined.target)
            least.append(joined.opened.lo)
            greatest_.append(joined.opened.hi)
        neurons = np.arange(count)
        potentials += [family.span("leak_potential")[side], np.zeros(count)]
        index += [neurons, neurons]
        epsilon = np.full(count, family.lo.epsilon)
        least += [family.lo.leak, epsilon]
        greatest_ += [family.hi.leak, epsilon]
        target, pull = np.concatenate(index), np.concatenate(potentials)
        low, high = np.concatenate(least), np.concatenate(greatest_)
        np.maximum.at(most, target, np.where(high > 0, np.abs(pull), 0.0))
        r = np.bincount(target, high * pull, count) / np.bincount(target, high, count)
        for _ in range(_SWITCHES):
            chosen = np.where(sign * (pull - r[target]) > 0, high, low)
            total = np.bincount(target, chosen, count)
            better = np.divide(
                np.bincount(target, chosen * pull, count), total, out=r.copy(), where=total > 0
            )
            better = np.where(sign * better > sign * r, better, r)
            if np.array_equal(better, r):
                break
            r = better
        ends.append(r)
    return Box(ends[0] - 4 * SLACK * most, ends[1] + 4 * SLACK * most)


def current(family: Family, gates: GateRanges, t: Array, sign: int) -> Array:
    """Return bounds of the currents, with this sign, into neurons held at t, shape (neuron,)."""
    count, side = len(family), 1 if sign > 0 else 0
    # A difference of doubles is 0 only if they are equal: nothing is rounded then.
    drawn = sign * (family.span("leak_potential")[side] - t)
    conductance = np.where(drawn > 0, family.hi.leak, family.lo.leak)
    leak = np.where(drawn == 0, 0.0, up(conductance * up(drawn)))
    pull = -sign * family.lo.epsilon * t
    index = [np.arange(count)] * 2
    terms = [leak, np.where(pull == 0, 0.0, up(pull))]
    for kind in KINDS:
        range_, weight = getattr(gates, kind), family.span("weight", kind)
        target = getattr(family.lo, kind).target
        force = sign * (family.span("potential", kind)[side] - t[target])
        opened = np.where(
            force > 0,
            up(weight.hi * range_.most),
            np.maximum(down(weight.lo * range_.least), 0.0),
        )
        index.append(target)
        terms.append(np.where(force == 0, 0.0, up(opened * up(force))))
    joined = family.ends(gates)
    if joined is not None:
        other = joined.range_.hi if sign > 0 else joined.range_.lo
        force = sign * (other - t[joined.target])
        opened = np.where(force > 0, joined.opened.hi, joined.opened.lo)
        index.append(joined.target)
        terms.append(np.where((force == 0) | (opened == 0), 0.0, up(opened * up(force))))
    return sum_above(np.concatenate(index), np.concatenate(terms), count)


# --- the rows -------------------------------------------------------------------------------


def decay_below(family: Family, gates: GateRanges) -> Array:
    """Return bounds <= g + epsilon + the sum of w l over sensory synapses, shape (neuron,)."""
    sensory = family.lo.sensory
    open_ = np.maximum(down(sensory.weight * gates.sensory.least), 0.0)
    least = down(family.lo.leak + family.lo.epsilon)
    return np.maximum(down(least + sum_below(sensory.target, open_, len(family))), 0.0)


def conductance_above(family: Family, gates: GateRanges) -> Array:
    """Return bounds >= the total conductance in a semi-implicit step, shape (neuron,).

    Rectifying junctions are in it whether current flows or not.
    """
    most = up(family.hi.leak + family.hi.epsilon)
    for kind in KINDS:
        synapses = getattr(family.hi, kind)
        open_ = up(synapses.weight * getattr(gates, kind).most)
        most = up(most + sum_above(synapses.target, open_, len(family)))
    joined = family.ends(gates)
    if joined is not None:
        most = up(most + sum_above(joined.target, joined.weight.hi, len(family)))
    return most


def rate_excess(
    family: Family, box: Box, gates: GateRanges, eta: Array, rate: float, *, tied: bool
) -> Array:
    """Return bounds of the rows of the rate's condition, (neuron,): <= 0 proves a row.

    `tied` says whether the gate of a self-synapse belongs to its neuron's potential.
    """
    first = up(up(rate * family.hi.capacitance) - decay_below(family, gates))
    return _rows(family, box, gates, eta, first, tied=tied)


def step_excess(
    family: Family,
    box: Box,
    gates: GateRanges,
    eta: Array,
    kappa: float | Array,
    step: StepFigures,
    *,
    tied: bool,
) -> Array:
    """Return bounds of the rows of the condition of a semi-implicit step, (neuron,).

    A row <= 0 proves that the potentials of its neuron in two states of the box, whose distance is
    at most eta, differ by at most ``kappa * eta`` after the step; `kappa` may be (neuron,).
    """
    kappa = np.broadcast_to(np.asarray(kappa, dtype=np.float64), len(family))
    below = down(kappa * decay_below(family, gates))
    straight = up(up(up(family.hi.capacitance / step.shortest) * up(1.0 - kappa)) - below)
    z = up(up(step.longest * conductance_above(family, gates)) / family.lo.capacitance)
    reach = np.minimum(up(z / down(1.0 + z)), 1.0)
    excess = _rows(family, box, gates, eta, straight, share=kappa, reach=reach, tied=tied)
    recurrent = family.hi.recurrent
    if ((recurrent.source == recurrent.target) & (recurrent.weight > 0)).any():
        inertia = down(down(family.lo.capacitance / step.longest) * down(1.0 + kappa))
        first = up(-inertia - below)
        back = _rows(
            family, box, gates, eta, first, share=kappa, reach=reach, tied=tied, turned=True
        )
        excess = np.maximum(excess, back)
    return excess


def _rows(
    family: Family,
    box: Box,
    gates: GateRanges,
    eta: Array,
    first: Array,
    *,
    tied: bool,
    share: Array | float = 1.0,
    reach: Array | float = 0.0,
    turned: bool = False,
) -> Array:
    """Return bounds of first + sum w max_q (b q (1 - q) - share q), the worst of each neuron.

    Besides the terms of gap junctions, see `_joined_terms`.

    With `turned`, of neurons with self-synapses, whose slope is turned; -inf for others.
    """
    # Of these rows only the layout is used: pieces of intervals, and synapses onto them.
    layout = Rows.of(family.hi, box, gates, pieces=PIECES if tied else 1)
    chemical = np.flatnonzero(~layout.joined)
    columns = layout.synapse, layout.row, layout.source, layout.target
    entry, row, source, target = (column[chemical] for column in columns)
    own = source == target
    least, most = gates.recurrent.least[entry], gates.recurrent.most[entry]
    pieces = Span(*layout.xi)
    if tied and own.any():
        mine = entry[own]
        span = Span(pieces.lo[row[own]], pieces.hi[row[own]])
        bounds = family.gates_of("recurrent", span, mine)
        least[own], most[own] = np.maximum(least[own], bounds.lo), np.minimum(most[own], bounds.hi)
    share_of = np.broadcast_to(reach, len(family))[layout.neuron]
    part = np.broadcast_to(share, len(family))[target]
    joined_row, joined_term = _joined_terms(family, layout, gates, eta, share)
    low, high = box.lo[layout.neuron], box.hi[layout.neuron]
    ends = (
        np.maximum(low, down(pieces.lo - up(share_of * up(pieces.lo - low)))),
        np.minimum(high, up(pieces.hi + up(share_of * up(high - pieces.hi)))),
    )
    weight, gain, potential = (
        Span(*(end[entry] for end in family.span(name, "recurrent")))
        for name in ("weight", "gain", "potential")
    )
    slope = Span(-gain.hi, -gain.lo) if turned else gain
    ratio = up(eta[source] / eta[target])
    worst = np.full(len(layout.neuron), -np.inf)
    for xi in ends:
        pull = minus(potential, Span(xi[row], xi[row]))
        b = up(up(greatest(gain) * greatest(pull)) * ratio)
        b = np.where(own, times(slope, pull).hi, b)
        value = _worst(b, part, least, most)
        # A term of either sign is largest at an end of the weight's interval.
        term = np.maximum(up(weight.hi * value), up(weight.lo * value))
        term = np.where(weight.hi == 0, 0.0, term)
        rows, terms = np.concatenate([row, joined_row]), np.concatenate([term, joined_term])
        total = up(first[layout.neuron] + sum_above(rows, terms, len(layout.neuron)))
        worst = np.maximum(worst, np.where(np.isnan(total), np.inf, total))
    if turned:
        has_own = np.bincount(row[own & (weight.hi > 0)], minlength=len(worst)) > 0
        worst = np.where(has_own, worst, -np.inf)
    return layout.worst(worst)


def _joined_terms(
    family: Family, layout: Rows, gates: GateRanges, eta: Array, share: Array | float
) -> tuple[Index, Array]:
    """Return the row of each end of a gap junction and a bound of its term.

    That is w (max_q q (eta_j / eta_i - 1) + 1 - share).
    """
    which, joined = np.flatnonzero(layout.joined), family.ends(gates)
    if joined is None:
        return np.zeros(0, np.int64), np.zeros(0)
    end, target = layout.synapse[which] - len(family.lo.recurrent), layout.target[which]
    part = np.broadcast_to(share, len(family))[target]
    value = up(up(eta[layout.source[which]] / eta[target]) - 1.0)
    gate = np.where(value > 0, joined.range_.most[end], joined.range_.least[end])
    # The gate is 0 or 1.
    value = up(np.where(gate > 0, value, 0.0) + up(1.0 - part))
    weight = np.where(value > 0, joined.weight.hi[end], joined.weight.lo[end])
    return layout.row[which], np.where(weight == 0, 0.0, up(weight * value))


def _worst(b: Array, share: Array, least: Array, most: Array) -> Array:
    """Return bounds of the maximum over least <= q <= most of b q (1 - q) - share q."""
    at_least, at_most = _at_gate(least, b, share), _at_gate(most, b, share)
    excess = up(b - share)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inner = up(excess * up(0.25 * up(excess / b)))
    closed = (excess <= down(2 * b * least)) | (excess <= 0)
    opened = down(b - share) >= up(2 * b * most)
    concave = np.where(closed, at_least, np.where(opened, at_most, inner))
    return np.where(b <= 0, np.maximum(at_least, at_most), concave)


def _at_gate(q: Array, b: Array, share: Array) -> Array:
    """Return bounds of q (b (1 - q) - share)."""
    rest = np.where(b > 0, up(1.0 - q), down(1.0 - q))
    return np.where(q == 0, 0.0, up(q * up(up(b * rest) - share)))
