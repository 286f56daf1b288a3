"""Verification of contraction certificates, with Python's standard library only.

Run it as ``python -m elegans.proofs.verify certificate.json``, or copy this one file anywhere and
run ``python verify.py certificate.json``. It trusts nothing: neither the program that wrote the
certificate nor the file. Every number of the file is a double and taken as exactly that. Exit
codes: 0 proved, 1 not proved, 2 no certificate, or no answer within the limits of size and work.
This is one long file on purpose.

The circuit. Neuron i has capacitance C > 0, leak g >= 0 towards V, a conductance epsilon >= 0
towards 0, and synapses k from j with conductance w >= 0, gain s, centre m, potential E; sensory
synapses come from inputs u = scale * given + shift::

    C dx/dt = g (V - x) - epsilon x + sum w sigma(s (x_j - m)) (E - x),  sigma(z) = 1/(1 + e^-z)

A gap junction adds w (x_j - x_i) to neuron i and w (x_i - x_j) to neuron j; a rectifying one does
so while x_j, its source, is above x_i. Below it stands among the synapses of both its rows: with
the potential of the other neuron, anywhere in its interval, in place of E.

What is checked. [l, h] encloses a gate over the box and the inputs; at level "exact" it is [0, 1].
That of a gap junction is 1; of a rectifying one 1 if the source is above the target throughout the
box, 0 if it is nowhere above it, else [0, 1], at each level.

The statements::

    hull    The first box holds V where g > 0, every E with w > 0, and 0 if epsilon > 0; neurons
            that a gap junction joins have the same interval. Then every trajectory stays in it or
            comes ever nearer to it, whatever the inputs.
    entry   The targets r = A/G over box n lie in box n+1, with room: at the upper end, for
            t = (hi' - share hi) / (1 - share), where hi is that of box n and hi' that of box n+1,
            g (V - t) - epsilon t + sum w max(l (E - t), h (E - t)) <= 0, and the mirror image at
            the lower end. Then box n+1 is entered after max(C/G) ln(1/share), and never left.
    stay    The same tests at the ends of the last box: no trajectory leaves it.
    rate    With the weights eta > 0, at both ends xi of each interval of the last box,
            lambda C - g - epsilon - sum_sensory w l
                + sum_recurrent w max_{l <= q <= h} (b q (1 - q) - q) <= 0,
            b = |s| |E - xi| eta_j / eta_i, and of a gap junction w max (q eta_j / eta_i - q).
            Then max |x_i - y_i| / eta_i shrinks at least as exp(-lambda t) between any two
            trajectories in the box under the same input. A self-synapse counts with its sign, and
            the interval of its neuron is cut into pieces, since its gate and xi belong to the same
            potential.
    step    With weights of their own, for every length h from the shortest to the longest. G is the
            largest conductance, T the sum of w |s| |E - xi| / 4 over the self-synapses that pull
            against their neuron, and z = h G / C.
            semi_implicit: the condition of the rate with kappa in place of 1 before the gates and
            C (1 - kappa) / h - kappa (g + epsilon + ...) before them; where T > 0 once more with
            - C (1 + kappa) / h and the slope of self-synapses turned. x is in a piece, and xi a
            share z / (1 + z) from it towards the ends of the box.
            exponential: the first of these, the share being min(z / 2, 1); z / 2 + h T / C <= 1
            where T > 0.
            euler: the condition of the rate with C (1 - kappa) / h in place of lambda C, and
            z + h T / C <= 1.
            In the first two a rectifying junction adds w to G whether current flows or not, and
            pulls its target to max(x_j, x_i) and its source to min(x_j, x_i). So a gap junction's
            term is w (max q (eta_j / eta_i - 1) + 1 - kappa), for its entries of the Jacobian are
            w q / (C / h + G) at j and w (1 - q) / (C / h + G) at i.
            Then a step of the layer's solver leads from the box into the box, and brings two states
            nearer by the factor kappa.
    gain    With D in place of eta and the effect b_i / D_i of a unit change of the inputs in place
            of lambda C: two trajectories from one state under inputs that differ by at most d
            differ by at most D_i d.

Rounding. The grid is that of the doubles, which is relative: numbers of any magnitude keep 53 bits,
and no operation costs more than another. Sums, differences, products and quotients of doubles are
those of IEEE 754, correctly rounded to nearest, which `require_ieee` tries out first; so the exact
result lies between the two neighbours of the rounded one, `down(x)` and `up(x)`, also where it
underflows, and where it overflows `up` gives infinity. Each operation below is followed by the
neighbour on the side away from the claim. This is sound because each formula is monotone in what
was rounded before: currents rise with w, h and E and fall with t, b q (1 - q) - q rises with b and,
over a wider range of q, can only be larger, lambda C and the effect of inputs rise in each factor.
A difference of doubles is 0 only if they are equal, so zeros are exact. `fsum` rounds the exact sum
of its terms once, so a sum is <= 0 if and only if `fsum` is. What is no number compares as false,
and proves nothing. A gate is enclosed by its computed value times 1 -+ 2**-45: see `sigmoid`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise
from math import inf, nextafter
from typing import Any, NamedTuple

Document = dict[str, Any]
Box = tuple[list[float], list[float]]
"""Lower and upper ends."""
Range = tuple[float, float]
Synapse = tuple[int, float, float, float, float]
"""Source, conductance, gain, centre, potential."""
Junction = tuple[int, float, int]
"""The other neuron, conductance, and the way: 0 both, 1 from it only, -1 to it only."""

FORMAT = "elegans.certificate"
VERSION = 2
JOINED_VERSION = 3
"""Of certificates of circuits with gap junctions, which older programs do not know."""
LEVELS = ("exact", "interval", "float")
SOLVERS = ("semi_implicit", "exponential", "euler")
LARGEST_FILE = 64 << 20
LEAST_PER_VALUE = 12
"""Bytes of the largest file for each value: one takes several times as much memory."""
LARGEST_NUMBER = 1e100
MOST_WORK = 100_000_000
"""Terms of sums and gates that are looked at, about a microsecond each."""
EQUATION_ONLY = " (of the differential equation only: no step of a solver is covered)"
MOST_LISTS = 1_000
MOST_NORMS = 16
MOST_PIECES = 1_024


class MalformedError(Exception):
    """The file is no certificate."""


class LimitError(MalformedError):
    """The check would take more than it may."""


class NotProvedError(Exception):
    """A statement of the certificate does not follow from its numbers."""


# --- rounding ---------------------------------------------------------------------------------


def up(x: float) -> float:
    """Return the next double above."""
    return nextafter(x, inf)


def down(x: float) -> float:
    """Return the next double below."""
    return nextafter(x, -inf)


def require_ieee() -> None:
    """Raise `MalformedError` unless doubles are rounded to nearest here, and small ones are kept.

    A program may have set its processor to another rounding, or to take subnormal numbers for 0.
    """
    one, least = float(len(LEVELS) - 2), float.fromhex("0x1p-1074")  # nothing is known beforehand
    half = nextafter(one, 2.0) - one
    ties = (one + half / 2, one + 3 * half / 4, -one - half / 2, -one - 3 * half / 4)
    nearest = ties == (one, one + half, -one, -one - half)
    if not (nearest and half == 2.0**-52 and 2 * least / 2 == least > 0 and one / 3 * 3 == one):
        raise LimitError("the arithmetic of this process is not that of IEEE 754")


def total(terms: list[float]) -> float:
    """Return the sum of all terms, rounded once; no number, or infinity, where it overflows."""
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return inf


def bound(x: float, digits: int, rounding: str) -> str:
    """Return `x` as text, rounded to one side: `ROUND_CEILING` or `ROUND_FLOOR`."""
    shown = float(Context(prec=digits, rounding=rounding).create_decimal(Decimal(x)))
    return f"{shown:.{digits}g}"


def at_least(x: float, digits: int = 6) -> str:
    """Return a lower bound as text, which is never above it."""
    return bound(x, digits, ROUND_FLOOR)


def at_most(x: float, digits: int = 6) -> str:
    """Return an upper bound as text, which is never below it."""
    return bound(x, digits, ROUND_CEILING)


# --- enclosures of a gate ---------------------------------------------------------------------

_UNIT = 1 << 1200
_FARTHEST = 700.0
"""Gates are not told apart beyond: exp(-700) is near the least double of full precision."""
_PAD = 2.0**-45


def _powers(part: int, count: int) -> list[float]:
    """Return exp(-n / part) for n < count, to the nearest double or next to it."""
    # In integers, a unit being 2**-1200: each of some hundred terms is off by a unit at most.
    factor, term, n = _UNIT, _UNIT, 0
    while term:
        n += 1
        term //= n * part
        factor += -term if n % 2 else term
    powers, power = [], _UNIT
    for _ in range(count):
        powers.append(power / _UNIT)
        power = power * factor >> 1200
    return powers


_WHOLE, _PARTS = _powers(1, 701), _powers(256, 256)


def sigmoid(z: float) -> float:
    """Return 1 / (1 + exp(-z)) for abs(z) <= 700, off by a factor of 1 -+ 2**-46 at most.

    exp(-y) is a product of exp(-n), exp(-k / 256) and the series of exp(-t) up to t**5 / 120,
    y = n + k / 256 + t exactly, 0 <= t < 2**-8: what is cut off is below 2**-57, and each of 30
    operations and two entries of tables is off by a factor of 1 -+ 2**-52 at most.
    """
    y = abs(z)
    n = int(y)
    rest = y - n
    k = int(256.0 * rest)
    t = rest - k / 256.0
    series = 1.0 - t * (1.0 - t / 2.0 * (1.0 - t / 3.0 * (1.0 - t / 4.0 * (1.0 - t / 5.0))))
    closed = _WHOLE[n] * _PARTS[k] * series
    return (1.0 if z >= 0 else closed) / (1.0 + closed)


def sigmoid_below(z: float) -> float:
    """Return a bound <= 1 / (1 + exp(-z)), at most a share of 2**-44 below it unless z < -700."""
    return 0.0 if z < -_FARTHEST else sigmoid(min(z, _FARTHEST)) * (1.0 - _PAD)


def sigmoid_above(z: float) -> float:
    """Return a bound >= 1 / (1 + exp(-z)): the mirror image of `sigmoid_below`."""
    return 1.0 if z > _FARTHEST else min(sigmoid(max(z, -_FARTHEST)) * (1.0 + _PAD), 1.0)


# --- the circuit ----------------------------------------------------------------------------


class SynapseData:
    """Synapses by their target: rows[i] lists (source, weight, gain, centre, potential)."""

    def __init__(self, document: Document, neurons: int, sources: int, where: str) -> None:
        fields = ("source", "target", "weight", "gain", "centre", "potential")
        _only(document, fields, where)
        source, target = (_indices(document, name, where) for name in fields[:2])
        count = len(source)
        numbers = [_numbers(document, name, count, where) for name in fields[2:]]
        if len(target) != count:
            raise MalformedError(f"{where}: {count} sources but {len(target)} targets")
        self.rows: list[list[Synapse]] = [[] for _ in range(neurons)]
        for k, (i, synapse) in enumerate(
            zip(target, zip(source, *numbers, strict=True), strict=True)
        ):
            if synapse[0] >= sources or i >= neurons:
                raise MalformedError(
                    f"{where}: synapse {k} leads from {synapse[0]} to {i}, outside the circuit"
                )
            if synapse[1] < 0:
                raise NotProvedError(f"{where}: synapse {k} has a negative conductance")
            if synapse[1] > 0:
                self.rows[i].append(synapse)


def junction_rows(document: Document, neurons: int, where: str) -> list[list[Junction]]:
    """Return gap junctions by the neurons at both ends."""
    _only(document, ("source", "target", "rectifying", "weight"), where)
    source, target = (_indices(document, name, where) for name in ("source", "target"))
    count, one_way = len(source), _list(document, "rectifying", where)
    weight = _numbers(document, "weight", count, where)
    if not len(target) == len(one_way) == count or not count:
        raise MalformedError(f"{where}: columns of different lengths, or no gap junction")
    rows: list[list[Junction]] = [[] for _ in range(neurons)]
    pairs = set()
    for j, i, way, w in zip(source, target, one_way, weight, strict=True):
        if not isinstance(way, bool):
            raise MalformedError(f"{where}.rectifying: {way!r:.40} is neither true nor false")
        if max(i, j) >= neurons:
            raise MalformedError(f"{where}: a junction joins {j} and {i}, outside the circuit")
        pair = (min(i, j), max(i, j))
        if i == j or pair in pairs:
            raise MalformedError(f"{where}: {j} and {i} are one neuron, or joined twice")
        pairs.add(pair)
        if w < 0:
            raise NotProvedError(f"{where}: the conductance between {j} and {i} is negative")
        if w > 0:
            rows[i].append((j, w, int(way)))
            rows[j].append((i, w, -int(way)))
    return rows


class CircuitData:
    """The circuit that a certificate is about."""

    def __init__(self, document: Document) -> None:
        where = "network"
        names = ("capacitance", "leak", "leak_potential")
        fields = (*names, "epsilon", "recurrent", "sensory", "scale", "shift")
        joined = "electrical" in document
        _only(document, (*fields, "electrical") if joined else fields, where)
        self.capacitance = _numbers(document, "capacitance", None, where)
        self.size = len(self.capacitance)
        if not self.size:
            raise MalformedError("network: no neurons")
        self.leak, self.leak_potential = (
            _numbers(document, name, self.size, where) for name in names[1:]
        )
        self.scale = _numbers(document, "scale", None, where)
        self.shift = _numbers(document, "shift", len(self.scale), where)
        self.epsilon = _number(document["epsilon"], "network.epsilon")
        self.recurrent, self.sensory = (
            SynapseData(_mapping(document, kind, where), self.size, sources, f"network.{kind}").rows
            for kind, sources in (("recurrent", self.size), ("sensory", len(self.scale)))
        )
        self.junctions: list[list[Junction]] = [[] for _ in range(self.size)]
        if joined:
            electrical = _mapping(document, "electrical", where)
            self.junctions = junction_rows(electrical, self.size, "network.electrical")
        for i in range(self.size):
            if self.capacitance[i] <= 0 or self.leak[i] < 0 or self.epsilon < 0:
                raise NotProvedError(
                    f"neuron {i}: a capacitance is not positive, or a leak negative"
                )


class Work:
    """A count of what was looked at, which may not exceed a limit."""

    def __init__(self, limit: float) -> None:
        self.limit, self.done = limit, 0

    def add(self, count: int, where: str) -> None:
        """Count `count` terms more; raise `LimitError` if they are too many."""
        self.done += count
        if self.done > self.limit:
            raise LimitError(
                f"the limit of {self.limit:,} terms was reached at {where}; what comes before it "
                "holds, and nothing is known of the rest: --work N allows more"
            )


# --- ranges of gates --------------------------------------------------------------------------

FREE = (0.0, 1.0)


class End(NamedTuple):
    """The end of a gap junction at a neuron, over a box."""

    other: int
    weight: float
    least: float
    """1 if it conducts throughout the box, else 0."""
    most: float
    """0 if it never does, else 1."""
    lo: float
    """Least potential of the other neuron."""
    hi: float


class GateBounds:
    """Ranges of the gates, row by row in the order of the synapses; inputs None: from 0 to 1.

    `ends` are those of the gap junctions, row by row, over the last box.
    """

    def __init__(self, circuit: CircuitData, inputs: Box | None, work: Work) -> None:
        self.circuit, self.inputs, self.work = circuit, inputs, work
        self.sensory = self._ranges(circuit.sensory, inputs)
        self.recurrent = self._ranges(circuit.recurrent, None)
        self.ends: list[list[End]] = [[] for _ in range(circuit.size)]

    def move(self, box: Box) -> None:
        """Enclose the gates over another box of states."""
        states = None if self.inputs is None else box
        self.recurrent = self._ranges(self.circuit.recurrent, states)
        for i, row in enumerate(self.circuit.junctions):
            self.work.add(len(row), "the ranges of the gap junctions")
            self.ends[i] = [junction_end(joined, i, box) for joined in row]

    def _ranges(self, rows: list[list[Synapse]], box: Box | None) -> list[list[Range]]:
        if box is None:
            return [[FREE] * len(row) for row in rows]
        ranges = []
        for row in rows:
            self.work.add(len(row), "the ranges of the gates")
            ranges.append(
                [gate(synapse, box[0][synapse[0]], box[1][synapse[0]]) for synapse in row]
            )
        return ranges


def gate(synapse: Synapse, lo: float, hi: float) -> Range:
    """Return the range of a gate whose presynaptic potential is from `lo` to `hi`."""
    _, _, gain, centre, _ = synapse
    if gain < 0:
        lo, hi = hi, lo
        ends = gain * nextafter(lo - centre, inf), gain * nextafter(hi - centre, -inf)
    else:
        ends = gain * nextafter(lo - centre, -inf), gain * nextafter(hi - centre, inf)
    return sigmoid_below(nextafter(ends[0], -inf)), sigmoid_above(nextafter(ends[1], inf))


def junction_end(junction: Junction, i: int, box: Box) -> End:
    """Return the end at neuron i: whether it conducts, and the potentials of the other neuron."""
    lo, hi = box
    j, weight, way = junction
    source, target = (i, j) if way < 0 else (j, i)
    always = way == 0 or lo[source] > hi[target]
    ever = way == 0 or hi[source] > lo[target]
    return End(j, weight, float(always), float(ever), lo[j], hi[j])


def mapped(circuit: CircuitData, given: Box) -> Box:
    """Return the range of the mapped inputs, two lists."""
    lower, upper = [], []
    for scale, shift, lo, hi in zip(circuit.scale, circuit.shift, *given, strict=True):
        ends = sorted((scale * lo, scale * hi))
        lower.append(down(down(ends[0]) + shift))
        upper.append(up(up(ends[1]) + shift))
    return lower, upper


# --- the statements -----------------------------------------------------------------------------


def check_hull(circuit: CircuitData, box: Box) -> None:
    """Raise unless `box` holds every potential that pulls at a neuron."""
    lo, hi = box
    for i in range(circuit.size):
        pulls = [synapse[4] for synapse in circuit.recurrent[i] + circuit.sensory[i]]
        if circuit.leak[i] > 0:
            pulls.append(circuit.leak_potential[i])
        if circuit.epsilon > 0:
            pulls.append(0.0)
        if not circuit.leak[i] + circuit.epsilon > 0:
            raise NotProvedError(
                f"hull: neuron {i} has no leak and may be cut off from all that pulls"
            )
        if not (lo[i] <= min(pulls) and max(pulls) <= hi[i]):
            raise NotProvedError(f"hull: the first box does not hold all potentials of neuron {i}")
        for j, _, _ in circuit.junctions[i]:
            if not (lo[i] == lo[j] and hi[i] == hi[j]):
                raise NotProvedError(f"hull: the joined neurons {i} and {j} have other intervals")


def pull(circuit: CircuitData, gates: GateBounds, i: int, t: float, sign: float) -> float:
    """Return a sum that is > 0 if the current into neuron i held at t can have this sign."""
    terms = []
    if circuit.leak[i] > 0 and circuit.leak_potential[i] != t:
        terms.append(up(circuit.leak[i] * up(sign * (circuit.leak_potential[i] - t))))
    if circuit.epsilon > 0 and t != 0:
        terms.append(up(circuit.epsilon * -sign * t))
    for rows, ranges in ((circuit.recurrent, gates.recurrent), (circuit.sensory, gates.sensory)):
        for (_, weight, _, _, potential), (least, most) in zip(rows[i], ranges[i], strict=True):
            force = sign * (potential - t)
            if force > 0:
                conductance = nextafter(weight * most, inf)
            elif force < 0 and least > 0:
                conductance = nextafter(weight * least, -inf)
            else:
                continue
            terms.append(nextafter(conductance * nextafter(force, inf), inf))
    for end in gates.ends[i]:
        force = sign * ((end.hi if sign > 0 else end.lo) - t)
        if (force > 0 and end.most > 0) or (force < 0 and end.least > 0):
            terms.append(up(end.weight * up(force)))
    return total(terms)


def check_stays(circuit: CircuitData, gates: GateBounds, box: Box, what: str) -> None:
    """Raise unless the current points inwards at both ends of every interval."""
    lo, hi = box
    for i in range(circuit.size):
        count = len(circuit.recurrent[i]) + len(circuit.sensory[i]) + len(gates.ends[i])
        gates.work.add(2 * count, what)
        if not (pull(circuit, gates, i, hi[i], 1) <= 0 and pull(circuit, gates, i, lo[i], -1) <= 0):
            raise NotProvedError(f"{what}: neuron {i} may be pulled out of its interval")


def check_entry(
    circuit: CircuitData, gates: GateBounds, outer: Box, inner: Box, share: float, number: int
) -> float:
    """Raise unless `inner` holds a share of `outer` besides all targets over it.

    Returns the time after which it is entered, rounded up.
    """
    for i in range(circuit.size):
        if not outer[0][i] <= inner[0][i] <= inner[1][i] <= outer[1][i]:
            raise NotProvedError(f"entry: box {number} is not inside the one before at neuron {i}")
    # The upper end is hi' - ratio (hi - hi'), rounded down; the lower one is the mirror image.
    ratio = up(share / down(1.0 - share))
    lo = [
        b if a == b else up(b + up(up(b - a) * ratio))
        for a, b in zip(outer[0], inner[0], strict=True)
    ]
    hi = [
        b if a == b else down(b - up(up(a - b) * ratio))
        for a, b in zip(outer[1], inner[1], strict=True)
    ]
    check_stays(circuit, gates, (lo, hi), f"entry of box {number}")
    time = 0.0
    for i in range(circuit.size):
        open_ = down(decay(circuit, gates, i, every=True))
        time = max(time, up(circuit.capacitance[i] / open_) if open_ > 0 else inf)
    time *= -math.log(share) * (1 + 1e-9)
    if not time < inf:
        raise NotProvedError(f"entry: the time to box {number} is no double")
    return time


def decay(circuit: CircuitData, gates: GateBounds, i: int, every: bool = False) -> float:
    """Return a bound <= g + epsilon + the sum of w l over sensory, or all, synapses of row i.

    Gap junctions are among all.
    """
    pairs = list(zip(circuit.sensory[i], gates.sensory[i], strict=True))
    if every:
        pairs += zip(circuit.recurrent[i], gates.recurrent[i], strict=True)
    terms = [nextafter(pair[0][1] * pair[1][0], -inf) for pair in pairs if pair[1][0] > 0]
    if every:
        terms += [end.weight for end in gates.ends[i] if end.least > 0]
    return down(math.fsum([circuit.leak[i], circuit.epsilon, *terms]))  # far from overflow


class RowCondition(NamedTuple):
    """A condition on the rows: first + sum w max_q (b q (1 - q) - share q) <= 0.

    Terms of gap junctions besides, see `junction_terms`.
    """

    name: str
    weights: list[float]
    first: list[float]
    """Upper bounds of what is added to the sums, a number a neuron."""
    share: float = 1.0
    pieces: int = 1
    reach: list[float] | None = None
    """How far xi may be from the potential in a piece, towards the ends of the box; 0 for None."""
    turned: bool = False
    """Whether only neurons with self-synapses are looked at, with the slope of these turned."""


def check_rows(circuit: CircuitData, gates: GateBounds, box: Box, condition: RowCondition) -> None:
    """Raise unless the condition holds at both ends of all pieces of every row."""
    name, weights, first, share, pieces, reach, turned = condition
    for i, row in enumerate(circuit.recurrent):
        ranges, lo, hi = gates.recurrent[i], box[0][i], box[1][i]
        cuts, own = [lo, hi], any(synapse[0] == i for synapse in row)
        if turned and not own:
            continue
        if own:
            # Any points will do: pieces between neighbours leave nothing out.
            inner = (lo + (hi - lo) * (n / pieces) for n in range(1, pieces))
            cuts = [lo, *(min(max(cut, lo), hi) for cut in inner), hi]
        beside = [first[i], *junction_terms(gates.ends[i], weights, i, share)]
        terms = len(row) + len(gates.ends[i]) + 1
        gates.work.add(2 * (len(cuts) - 1) * terms, f"{name}, neuron {i}")
        for a, b in pairwise(cuts):
            if len(cuts) > 2:
                ranges = tied_gates(row, gates.recurrent[i], i, a, b)
            for xi in reached(a, b, lo, hi, 0.0 if reach is None else reach[i]):
                if not row_bound(row, ranges, xi, weights, i, share, beside, turned) <= 0:
                    raise NotProvedError(f"{name}: not so in the row of neuron {i}")


def junction_terms(ends: list[End], weights: list[float], i: int, share: float) -> list[float]:
    """Return bounds of w (max_q q (eta_j / eta_i - 1) + 1 - share) for the junctions of row i."""
    terms, resting = [], up(1.0 - share)
    for end in ends:
        value = up(up(weights[end.other] / weights[i]) - 1.0)
        if not (end.most if value > 0 else end.least) > 0:
            value = 0.0
        terms.append(up(end.weight * up(value + resting)))
    return terms


def tied_gates(row: list[Synapse], ranges: list[Range], i: int, a: float, b: float) -> list[Range]:
    """Return the ranges of the gates of row i while its own potential is from a to b."""
    tied = []
    for synapse, (least, most) in zip(row, ranges, strict=True):
        if synapse[0] == i:
            ends = gate(synapse, a, b)
            least, most = max(least, ends[0]), min(most, ends[1])
        tied.append((least, most))
    return tied


def reached(a: float, b: float, lo: float, hi: float, reach: float) -> Range:
    """Return bounds of the potentials that a step may lead to from those of a piece."""
    if reach == 0:
        return a, b
    low, high = down(a - up(reach * up(a - lo))), up(b + up(reach * up(hi - b)))
    return max(low, lo), min(high, hi)


def row_bound(
    row: list[Synapse],
    ranges: list[Range],
    xi: float,
    weights: list[float],
    i: int,
    share: float,
    beside: list[float],
    turned: bool = False,
) -> float:
    """Return a bound of a sum and, over a row, sum w max_q (b q (1 - q) - share q) at x_i = xi.

    `beside` are the terms of that sum. The slope of a self-synapse counts with its sign, or with
    the other one if `turned`.
    """
    mine, terms = weights[i], [*beside]
    for (j, weight, gain, _, potential), (least, most) in zip(row, ranges, strict=True):
        reach = potential - xi
        if not (reach and gain):
            b = 0.0
        elif j == i:
            own = -gain if turned else gain
            b = up(own * (up(reach) if own > 0 else down(reach)))
        else:
            b = nextafter(abs(gain) * nextafter(abs(reach), inf), inf)
            b = nextafter(b * nextafter(weights[j] / mine, inf), inf)
        if not (0 <= b <= share and least == 0):  # else the worst gate is 0
            terms.append(nextafter(weight * worst(b, share, least, most), inf))
    return total(terms)


def worst(b: float, share: float, least: float, most: float) -> float:
    """Return a bound of the maximum over least <= q <= most of b q (1 - q) - share q."""
    if not b < inf:
        return inf
    if b <= 0:  # convex: largest at an end
        return max(at_gate(least, b, share), at_gate(most, b, share))
    excess = nextafter(b - share, inf)
    if excess <= nextafter(2 * b * least, -inf) or excess <= 0:
        return at_gate(least, b, share)
    if nextafter(b - share, -inf) >= nextafter(2 * b * most, inf):
        return at_gate(most, b, share)
    return nextafter(excess * nextafter(0.25 * nextafter(excess / b, inf), inf), inf)


def at_gate(q: float, b: float, share: float) -> float:
    """Return a bound of q (b (1 - q) - share)."""
    if q == 0:
        return 0.0
    coupling = nextafter(b * nextafter(1.0 - q, inf if b > 0 else -inf), inf)
    return nextafter(q * nextafter(coupling - share, inf), inf)


def check_rate(
    circuit: CircuitData,
    gates: GateBounds,
    box: Box,
    eta: list[float],
    rate: float,
    pieces: int,
    name: str = "rate",
) -> None:
    """Raise unless the distance shrinks at the rate `rate` > 0."""
    if not rate > 0:
        raise NotProvedError(f"{name}: it is not positive")
    first = [up(up(rate * c) - decay(circuit, gates, i)) for i, c in enumerate(circuit.capacitance)]
    check_rows(circuit, gates, box, RowCondition(name, eta, first, pieces=pieces))


class Step(NamedTuple):
    """What is claimed of a step of the solver."""

    solver: str
    unfolds: int
    shortest: float
    longest: float
    eta: list[float]
    kappa: float

    @classmethod
    def of(cls, document: Document, size: int) -> Step:
        """Return the claim in a certificate of `size` neurons."""
        _only(document, cls._fields, "step")
        solver, unfolds = document["solver"], document["unfolds"]
        if solver not in SOLVERS:
            raise MalformedError(f"step.solver must be one of {', '.join(SOLVERS)}")
        if type(unfolds) is not int or not 1 <= unfolds <= 1_000_000:
            raise MalformedError("step.unfolds must be an integer from 1")
        shortest, longest, kappa = (
            _number(document[name], f"step.{name}") for name in ("shortest", "longest", "kappa")
        )
        eta = _positive(_numbers(document, "eta", size, "step"), "step.eta")
        return cls(solver, unfolds, shortest, longest, eta, kappa)

    def __str__(self) -> str:
        lengths = f"of length {self.shortest!r}"
        if self.longest > self.shortest:
            lengths += f" to {self.longest!r}"
        kappa = at_most(self.kappa, 9) if self.kappa < 1 - 1e-8 else repr(self.kappa)
        return (
            f"a step of the solver {self.solver} {lengths} leads to the box and brings them nearer "
            f"by the factor {kappa} or less (weights spread by {_spread(self.eta)})"
        )


def check_step(circuit: CircuitData, gates: GateBounds, box: Box, step: Step, pieces: int) -> None:
    """Raise unless a step of the solver shrinks the distance by the factor `kappa`."""
    solver, _, shortest, longest, eta, kappa = step
    if not (0 < shortest <= longest and 0 < kappa < 1):
        raise NotProvedError("step: its lengths or its factor are out of range")
    straight, back, reach, turning = [], [], [], False
    for i, c in enumerate(circuit.capacitance):
        whole = solver == "euler"
        most, turned = conductance_above(circuit, gates, i, whole), turned_above(circuit, box, i)
        z, load = up(up(longest * most) / c), up(up(longest * turned) / c)
        if not up((z if whole else z / 2) + load) <= 1 and (
            whole or (solver == "exponential" and turned > 0)
        ):
            raise NotProvedError(f"step: neuron {i} makes it longer than the solver may take it")
        turning = turning or turned > 0
        reach.append(min(z / 2, 1.0) if solver == "exponential" else min(up(z / down(1 + z)), 1.0))
        below, inertia = decay(circuit, gates, i), up(up(c / shortest) * up(1.0 - kappa))
        straight.append(up(inertia - (below if whole else down(kappa * below))))
        back.append(up(-down(down(c / longest) * down(1.0 + kappa)) - down(kappa * below)))
    if solver == "euler":
        check_rows(circuit, gates, box, RowCondition("step", eta, straight, pieces=pieces))
        return
    one = RowCondition("step", eta, straight, kappa, pieces, reach)
    check_rows(circuit, gates, box, one)
    if solver == "semi_implicit" and turning:
        check_rows(circuit, gates, box, one._replace(first=back, turned=True))


def conductance_above(
    circuit: CircuitData, gates: GateBounds, i: int, flowing: bool = False
) -> float:
    """Return a bound >= g + epsilon + the sum of w h over all synapses and junctions of row i.

    All junctions count in full, or only those that may conduct if `flowing`.
    """
    pairs = [*zip(circuit.sensory[i], gates.sensory[i], strict=True)]
    pairs += zip(circuit.recurrent[i], gates.recurrent[i], strict=True)
    terms = [circuit.leak[i], circuit.epsilon, *(up(s[1] * most) for s, (_, most) in pairs)]
    ends = (end.weight for end in gates.ends[i] if end.most > 0 or not flowing)
    return up(total([*terms, *ends]))


def turned_above(circuit: CircuitData, box: Box, i: int) -> float:
    """Return a bound of how far self-synapses pull against neuron i: T of the statements."""
    turned = [0.0]
    for j, weight, gain, _, potential in circuit.recurrent[i]:
        if j == i:
            reach = (potential - end[i] for end in box)
            against = max(up(-gain * (up(d) if gain < 0 else down(d))) for d in reach)
            turned.append(up(0.25 * up(weight * max(against, 0.0))) if against > 0 else 0.0)
    return up(total(turned)) if any(turned) else 0.0


def check_gain(
    circuit: CircuitData, gates: GateBounds, box: Box, gain: list[float], pieces: int
) -> None:
    """Raise unless inputs that differ by 1 move no neuron i by more than gain i."""
    first = []
    for i, mine in enumerate(gain):
        effect = [0.0]
        for (j, weight, slope, _, potential), (least, most) in zip(
            circuit.sensory[i], gates.sensory[i], strict=True
        ):
            q = min(max(0.5, least), most)  # where q (1 - q) is largest
            reach = up(max(abs(potential - box[0][i]), abs(potential - box[1][i])))
            factor = up(up(abs(slope) * abs(circuit.scale[j])) * reach)
            effect.append(up(up(weight * up(q * up(1.0 - q))) * factor))
        first.append(up(up(up(total(effect)) / mine) - decay(circuit, gates, i)))
    check_rows(circuit, gates, box, RowCondition("gain", gain, first, pieces=pieces))


# --- the file -----------------------------------------------------------------------------------

FIELDS = (
    "format",
    "version",
    "level",
    "network",
    "inputs",
    "attracts",
    "boxes",
    "shares",
    "pieces",
    "norms",
    "step",
    "gain",
    "notes",
    "digest",
)


def version_of(joined: bool) -> int:
    """Return the version of a certificate, by whether its circuit has gap junctions."""
    return JOINED_VERSION if joined else VERSION


def digest(document: Document) -> str:
    """Return the fingerprint of everything in a certificate besides the fingerprint."""
    return _fingerprint({name: value for name, value in document.items() if name != "digest"})


def network_digest(document: Document) -> str:
    """Return the fingerprint of the network alone, to compare with that of a model."""
    return _fingerprint(document["network"])


def _fingerprint(content: Any) -> str:
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def verify(document: Document, limit: float | None = None) -> list[str]:
    """Return the statements that were proved, a list of texts.

    `limit` is that of `Work`, by default `MOST_WORK`. Raises `NotProvedError` if a statement does
    not follow, `MalformedError` if this is no certificate, `LimitError` if the limit was reached.
    """
    require_ieee()
    work = Work(MOST_WORK if limit is None else limit)
    _only(document, FIELDS, "certificate")
    version = document["version"]
    known = (VERSION, JOINED_VERSION)
    if document["format"] != FORMAT or type(version) is not int or version not in known:
        raise MalformedError(f"not a file of format {FORMAT} {VERSION} or {JOINED_VERSION}")
    level = document["level"]
    if level not in LEVELS:
        raise MalformedError(f"unknown level {level!r:.40}")
    if document["digest"] != digest(document):
        raise NotProvedError("digest: the file was changed after it was written")
    network = _mapping(document, "network", "certificate")
    if version != version_of("electrical" in network):
        raise MalformedError(f"version {version}: gap junctions belong to {JOINED_VERSION} alone")
    circuit = CircuitData(network)
    inputs = document["inputs"]
    if inputs is not None:
        inputs = mapped(circuit, _box(inputs, len(circuit.scale), "inputs"))
    elif level != "exact":
        raise MalformedError("inputs are missing")
    boxes = [
        _box(box, circuit.size, f"boxes[{n}]")
        for n, box in enumerate(_list(document, "boxes", "certificate"))
    ]
    shares = [_number(share, "shares") for share in _list(document, "shares", "certificate")]
    if not boxes or len(shares) != len(boxes) - 1 or not all(0 < s < 1 for s in shares):
        raise MalformedError("a share from 0 to 1 is needed between each box and the next")
    if level == "exact" and len(boxes) > 1:
        raise MalformedError("level exact has one box")
    pieces = document["pieces"]
    if isinstance(pieces, bool) or not isinstance(pieces, int) or not 1 <= pieces <= MOST_PIECES:
        raise MalformedError(f"pieces must be an integer from 1 to {MOST_PIECES}")
    if level == "exact" and pieces > 1:
        raise MalformedError("level exact has one piece")
    attracts = document["attracts"]
    if not isinstance(attracts, bool):
        raise MalformedError("attracts must be true or false")
    norms = _list(document, "norms", "certificate")
    if not 1 <= len(norms) <= MOST_NORMS:
        raise MalformedError(f"{len(norms)} norms, expected 1 to {MOST_NORMS}")

    if attracts:
        check_hull(circuit, boxes[0])
    elif len(boxes) > 1:
        raise MalformedError("a box that need not attract comes alone")
    free = level == "exact"
    gates = GateBounds(circuit, None if free else inputs, work)
    time = 0.0
    for n in range(1, len(boxes)):
        gates.move(boxes[n - 1])
        time = up(time + check_entry(circuit, gates, boxes[n - 1], boxes[n], shares[n - 1], n))
    box = boxes[-1]
    gates.move(box)
    check_stays(circuit, gates, box, "stay")
    reached = ""
    if attracts:
        reached = ", and every trajectory tends to it"
        if len(boxes) > 1:
            reached += f", from the first box within a time of {at_most(time)}"
    inside = "whatever the inputs" if free else "while the inputs keep to their range"
    only = "" if document["step"] is not None else EQUATION_ONLY
    proved = [f"no trajectory leaves the box{reached}, {inside}{only}"]

    for n, norm in enumerate(norms):
        _only(norm, ("eta", "rate"), f"norms[{n}]")
        eta = _positive(_numbers(norm, "eta", circuit.size, f"norms[{n}]"), f"norms[{n}].eta")
        rate = _number(norm["rate"], f"norms[{n}].rate")
        check_rate(circuit, gates, box, eta, rate, pieces, f"rate of norms[{n}]")
        proved.append(
            f"two trajectories in the box approach each other at the rate {at_least(rate)} "
            f"(weighted maximum norm, weights spread by {_spread(eta)}){only}"
        )
        if n == 0 and document["step"] is not None:
            step = Step.of(_mapping(document, "step", "certificate"), circuit.size)
            check_step(circuit, gates, box, step, pieces)
            proved.append(str(step))
    if document["gain"] is not None:
        gain = _positive(_numbers(document, "gain", circuit.size, "certificate"), "gain")
        check_gain(circuit, gates, box, gain, pieces)
        proved.append(
            "two trajectories from one state of the box under inputs that differ by 1 differ by at "
            f"most {at_most(max(gain))} at every neuron{only}"
        )
    return proved


def _spread(eta: list[float]) -> str:
    ratio = max(eta) / min(eta)
    ratio = up(ratio) if ratio > 1 else ratio
    return at_most(ratio, 3) if ratio < inf else "more than 1e308"


def load(text: str, largest: int | None = None) -> Document:
    """Return the document in a text; raise `MalformedError` if it is no plain JSON object."""
    # Each takes more memory than its characters.
    if text.count("[") + text.count("{") > MOST_LISTS:
        raise MalformedError("more lists than any certificate has")
    if text.count(",") > (largest or LARGEST_FILE) // LEAST_PER_VALUE:
        raise LimitError("more values than are read, --size MB allows more")
    try:
        document = json.loads(
            text,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except MalformedError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedError("not a JSON object")
    return document


def read(path: str, largest: int | None = None) -> Document:
    """Return the document in a file of at most `largest` bytes, by default `LARGEST_FILE`."""
    most = largest or LARGEST_FILE
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait, a device need not end
            raise OSError("no regular file")
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # of a name that cannot be
        raise MalformedError(f"cannot be read: {error}") from None
    if len(content) > most:
        raise LimitError(f"larger than {most / (1 << 20):.6g} MB, --size MB allows more")
    try:
        return load(content.decode(), most)
    except UnicodeDecodeError as error:
        raise MalformedError(f"not text: {error}") from None


def _parse_float(text: str) -> float:
    if len(text) > 40:
        raise MalformedError(f"a number of {len(text)} characters")
    value = float(text)
    if math.isinf(value):
        raise MalformedError(f"the number {text} is too large")
    return value


def _parse_int(text: str) -> int:
    if len(text) > 20:
        raise MalformedError(f"a number of {len(text)} characters")
    return int(text)


def _refuse_constant(text: str) -> float:
    raise MalformedError(f"the number {text}")


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MalformedError("an object names a field twice")
    return document


def _only(document: Any, names: tuple[str, ...], where: str) -> None:
    if not isinstance(document, dict):
        raise MalformedError(f"{where}: not an object")
    wrong = sorted(set(document) ^ set(names), key=str)
    if wrong:
        raise MalformedError(f"{where}: the field {wrong[0]!r} is missing or unknown")


def _mapping(document: Document, name: str, where: str) -> Document:
    value = document[name]
    if not isinstance(value, dict):
        raise MalformedError(f"{where}.{name}: not an object")
    return value


def _list(document: Document, name: str, where: str) -> list[Any]:
    value = document[name]
    if not isinstance(value, list):
        raise MalformedError(f"{where}.{name}: not a list")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedError(f"{where}: {value!r:.40} is no number")
    if not abs(value) <= LARGEST_NUMBER:
        raise MalformedError(f"{where}: {value!r:.40} is too large")
    if float(value) != value:
        raise MalformedError(f"{where}: {value!r:.40} is no double")
    return float(value)


def _numbers(document: Document, name: str, count: int | None, where: str) -> list[float]:
    values = _list(document, name, where)
    if count is not None and len(values) != count:
        raise MalformedError(f"{where}.{name}: {len(values)} numbers, {count} are needed")
    if set(map(type, values)) == {float} and max(map(abs, values)) <= LARGEST_NUMBER:
        return values  # as below, sooner
    return [_number(value, f"{where}.{name}") for value in values]


def _indices(document: Document, name: str, where: str) -> list[int]:
    values = _list(document, name, where)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise MalformedError(f"{where}.{name}: {value!r:.40} is no index")
    return values


def _positive(values: list[float], where: str) -> list[float]:
    if not all(value > 0 for value in values):
        raise NotProvedError(f"{where}: a number is not positive")
    return values


def _box(document: Any, count: int, where: str) -> Box:
    _only(document, ("lo", "hi"), where)
    lo, hi = (_numbers(document, end, count, where) for end in ("lo", "hi"))
    if any(a > b for a, b in zip(lo, hi, strict=True)):
        raise MalformedError(f"{where}: a lower end is above the upper")
    return lo, hi


def main(arguments: list[str]) -> int:
    """Check the file that the arguments name, print what was proved, return the exit code."""
    numbers: dict[str, int | None] = {"--size": None, "--work": None}
    rest = list(arguments)
    while len(rest) > 2 and rest[0] in numbers and rest[1].isdecimal():
        numbers[rest[0]] = int(rest[1][:18])
        del rest[:2]
    if len(rest) != 1 or rest[0].startswith("-"):
        print("usage: python -m elegans.proofs.verify [--size MB] [--work TERMS] CERTIFICATE.json")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    size = numbers["--size"]
    try:
        document = read(rest[0], None if size is None else size << 20)
        proved = verify(document, numbers["--work"])
    except LimitError as error:
        print(f"undecided: {error}")
        return 2
    except (MalformedError, ArithmeticError, RecursionError, MemoryError) as error:
        text = f"no certificate: {error or type(error).__name__}"
        print(text.encode("ascii", "backslashreplace").decode())  # for any terminal
        return 2
    except NotProvedError as error:
        print(f"not proved: {error}")
        return 1
    for statement in proved:
        print(f"proved: {statement}")
    print(f"the network's fingerprint is {network_digest(document)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
