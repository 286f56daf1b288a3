r"""One unfold of a solver over a set of states and inputs, as affine forms.

Each gate is replaced by a line over the range of its potential, and by how far it is from that,

.. math:: \sigma(s (x_j - m)) \in a (x_j - c_j) + q \pm d

so that A and G are affine in what the set is made of. The *semi-implicit* unfold is x+ = N / D with
N = c x + A, D = c + G and c = C / h. About r = N / D at the centre,

.. math::
    x^+ - r = \frac{M}{D}, \qquad
    M = N - r D = c (x - x_0) + \sum_k w_k (E_k - r)(\sigma_k - q_k)

M is affine and about 0, so that only its product with what 1 / D varies is lost. The *exponential*
unfold x+ = e^{-z} x + (1 - e^{-z}) A / G with z = h G / C is written about its own centre r, too:

.. math:: x^+ - r = e^{-h G / C} (x - r) + \frac{1 - e^{-h G / C}}{G} (A - r G)

A gap junction between i and j adds w to G, and w (q x_j + (1 - q) x_i) to A, with q = 1: that is
affine already. At a rectifying one q is 1 while current flows and else 0; where a set leaves open
which, q is one half, give or take one half.

*Euler's*, x+ = x + h (A - G x) / C, loses the product of what G and x vary.

Each is intersected with the exact range over the box, gate by gate: a semi-implicit unfold is the
target of a circuit that has x as a further leak potential, an exponential one is between x and the
target, and Euler's is linear in each gate and in x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from elegans.proofs.certificates.boxes import conductance_range, magnitude, row_tests, target_range
from elegans.proofs.certificates.gates import GateRanges, sigmoid
from elegans.proofs.certificates.network import SLACK, Array, Box, Network, SynapseNumbers
from elegans.proofs.reach.affine import AffineSet, chord


def unfold(
    network: Network, states: AffineSet, inputs: AffineSet, length: float, solver: str
) -> AffineSet:
    """Return a set that holds all states after an unfold.

    Parameters
    ----------
    network
        The circuit.
    states, inputs
        Before it, (neuron,) and (input,), the inputs as the gates see them; symbols are shared.
    length
        h > 0.
    solver
        One of `SOLVERS`.
    """
    gates = GateRanges.over(network, states.bounds, inputs.bounds)
    lines = _Lines.of(network, states, inputs)
    lines = replace(lines, junctions=_junctions(network, gates))
    if solver != "euler":
        gates = gates.in_steps(network, states.bounds)
    step = {"semi_implicit": _semi_implicit, "exponential": _exponential, "euler": _euler}[solver]
    return step(lines, gates, length)


class _Ends(NamedTuple):
    """Ends of gap junctions, the middles of their gates, and how far these are from them."""

    ends: SynapseNumbers
    gate: Array
    radius: Array


def _junctions(network: Network, gates: GateRanges) -> _Ends | None:
    if network.electrical is None or gates.electrical is None:
        return None
    least, most = gates.electrical.least, gates.electrical.most
    return _Ends(network.electrical.ends, 0.5 * (least + most), 0.5 * (most - least))


@dataclass(frozen=True, eq=False)
class _Lines:
    """The gates of a circuit as lines in potentials of the set.

    `slopes` are a, `values` q at the centre and `errors` d, a pair of (synapse,) each; `generators`
    those of states and of inputs, `rounding` bounds what is lost in a sum over a row of weights 1.
    `junctions` are the ends of gap junctions, if there are any.
    """

    network: Network
    states: AffineSet
    inputs: AffineSet
    slopes: tuple[Array, Array]
    values: tuple[Array, Array]
    errors: tuple[Array, Array]
    junctions: _Ends | None = None

    @classmethod
    def of(cls, network: Network, states: AffineSet, inputs: AffineSet) -> _Lines:
        found = [
            _line(synapses, one)
            for synapses, one in ((network.recurrent, states), (network.sensory, inputs))
        ]
        slopes, values, errors = zip(*found, strict=True)
        return cls(network, states, inputs, slopes, values, errors)

    @property
    def sets(self) -> tuple[tuple[SynapseNumbers, AffineSet, Array, Array, Array], ...]:
        """Synapses with the set that they read, and a, q and d of their gates."""
        return tuple(
            zip(
                (self.network.recurrent, self.network.sensory),
                (self.states, self.inputs),
                self.slopes,
                self.values,
                self.errors,
                strict=True,
            )
        )

    def at_centre(self) -> tuple[Array, Array, Array]:
        """Return G and A where all lines have their centres, and the size of their terms."""
        network = self.network
        conductance = network.leak + network.epsilon
        drive = network.leak * network.leak_potential
        size = conductance + np.abs(drive)
        for synapses, _, _, value, _ in self.sets:
            weighted = synapses.weight * value
            conductance = conductance + _summed(network, synapses, weighted)
            drive = drive + _summed(network, synapses, weighted * synapses.potential)
            most = np.abs(weighted) * (1 + np.abs(synapses.potential))
            size = size + _summed(network, synapses, most)
        if self.junctions is not None:
            ends, gate, _ = self.junctions
            other, here = (self.states.centre[each] for each in (ends.source, ends.target))
            conductance = conductance + _summed(network, ends, ends.weight)
            pull = gate * other + (1 - gate) * here
            drive = drive + _summed(network, ends, ends.weight * pull)
            most = ends.weight * (1 + np.abs(other) + np.abs(here))
            size = size + _summed(network, ends, most)
        return conductance, drive, size

    def combined(self, own: Array, about: Array | None) -> tuple[Array, Array]:
        r"""Return own (x - x_0) + sum of w (E - r)(sigma - q) as generators, and its error.

        With `about` None the factor E - r is 1: that is G less its value at the centre.
        """
        network, symbols = self.network, max(self.states.symbols, self.inputs.symbols)
        total = own[:, None] * self.states.padded(symbols)
        error = np.zeros(len(network))
        size = np.abs(total).sum(axis=1)
        for synapses, one, slope, _, rest in self.sets:
            pull = synapses.weight
            if about is not None:
                pull = pull * (synapses.potential - about[synapses.target])
            matrix = np.zeros((len(network), len(one)))
            np.add.at(matrix, (synapses.target, synapses.source), pull * slope)
            generators = one.padded(symbols)
            total = total + matrix @ generators
            size = size + np.abs(matrix) @ np.abs(generators).sum(axis=1)
            error = error + _summed(network, synapses, np.abs(pull) * rest)
        if self.junctions is not None and about is not None:
            ends, gate, radius = self.junctions
            matrix = np.zeros((len(network), len(network)))
            np.add.at(matrix, (ends.target, ends.source), ends.weight * gate)
            np.add.at(matrix, (ends.target, ends.target), ends.weight * (1 - gate))
            total = total + matrix @ self.states.padded(symbols)
            size = size + matrix @ np.abs(self.states.generators).sum(axis=1)
            bounds = self.states.bounds
            apart = np.maximum(
                bounds.hi[ends.source] - bounds.lo[ends.target],
                bounds.hi[ends.target] - bounds.lo[ends.source],
            )
            error = error + _summed(network, ends, ends.weight * radius * apart)
        return total, (1 + SLACK) * error + SLACK * size


def _line(synapses: SynapseNumbers, read: AffineSet) -> tuple[Array, Array, Array]:
    """Return a line of each gate in its potential less the centre: slope, value there, error."""
    source, gain, centre = synapses.source, synapses.gain, synapses.centre
    ends = np.stack([gain * (end[source] - centre) for end in read.bounds])
    slack = SLACK * (np.abs(gain) * (np.abs(centre) + _size(read.bounds)[source]))
    lo, hi = ends.min(axis=0) - slack, ends.max(axis=0) + slack
    slope, shift, error = sigmoid_line(lo, hi)
    place = gain * (read.centre[source] - centre)
    value = slope * place + shift
    return slope * gain, value, error + SLACK * (np.abs(slope * place) + np.abs(slope) * slack)


def sigmoid_line(lo: Array, hi: Array) -> tuple[Array, Array, Array]:
    """Return a, b and d with sigma(z) in a z + b ± d for z from `lo` to `hi`.

    Examples
    --------
    >>> slope, shift, error = sigmoid_line(np.array([-1.0]), np.array([1.0]))
    >>> slope.round(4), shift.round(4), error.round(4)
    (array([0.2311]), array([0.5]), array([0.0071]))
    """
    ends = np.stack([sigmoid(lo), sigmoid(hi)])
    width = np.maximum(hi - lo, 1e-9)
    slope = np.clip((ends[1] - ends[0]) / width, 1e-300, 0.25)
    # sigma' = sigma (1 - sigma) is the slope at two potentials, one the negative of the other.
    least = 2 * slope / (1 + np.sqrt(np.maximum(1 - 4 * slope, 0.0)))
    turn = np.log(least) - np.log1p(-least)
    inner = np.clip(np.stack([turn, -turn]), lo, hi)
    return chord(lo, hi, np.concatenate([ends, sigmoid(inner)]), inner)


def _summed(network: Network, synapses: SynapseNumbers, terms: Array) -> Array:
    return np.asarray(np.bincount(synapses.target, terms, minlength=len(network)), np.float64)


def _size(box: Box) -> Array:
    return np.maximum(np.abs(box.lo), np.abs(box.hi))


def _semi_implicit(lines: _Lines, gates: GateRanges, length: float) -> AffineSet:
    network, states = lines.network, lines.states
    inertia = network.capacitance / length
    conductance, drive, size = lines.at_centre()
    numerator, divisor = inertia * states.centre + drive, inertia + conductance
    after = numerator / divisor
    moved, error = lines.combined(inertia, after)
    # M at the centre is 0 but for rounding, that of c = C / h included.
    size = inertia * (np.abs(states.centre) + np.abs(after)) + size * (1 + np.abs(after))
    error = error + SLACK * size
    total = conductance_range(network, gates)
    least, most = (1 - SLACK) * (inertia + total.lo), (1 + SLACK) * (inertia + total.hi)
    mean, spread = 0.5 * (1 / least + 1 / most), 0.5 * (1 / least - 1 / most)
    reach = np.abs(moved).sum(axis=1) + error
    lost = mean * error + (spread + SLACK * mean) * reach
    return AffineSet.of(
        after, mean[:, None] * moved, lost, _semi_implicit_box(lines, gates, inertia)
    )


def _semi_implicit_box(lines: _Lines, gates: GateRanges, inertia: Array) -> Box:
    """Return the range of x+, the target where x pulls with the conductance C / h."""
    network = lines.network
    leak = network.leak + inertia
    ends = []
    for end in lines.states.bounds:
        pulled = (inertia * end + network.leak * network.leak_potential) / leak
        ends.append(target_range(replace(network, leak=leak, leak_potential=pulled), gates))
    return Box(ends[0].lo, ends[1].hi)


def _exponential(lines: _Lines, gates: GateRanges, length: float) -> AffineSet:
    network, states = lines.network, lines.states
    time = length / network.capacitance
    conductance, drive, size = lines.at_centre()
    total = conductance_range(network, gates)
    shrunk, pulled = (
        _convex(np.stack([kind(time, g) for g in (total.lo, total.hi, _mean(total))]), total)
        for kind in (_left, _pull)
    )
    kept = shrunk[0] * conductance + shrunk[1]
    weight = pulled[0] * conductance + pulled[1]
    # The centre r itself is free: about the fixed one of the lines the forms are about 0.
    after = (kept * states.centre + weight * drive) / (kept + weight * conductance)
    apart, current = states.centre - after, drive - after * conductance
    moved, error = lines.combined(np.zeros(len(network)), after)
    opened, open_error = lines.combined(np.zeros(len(network)), None)
    symbols = moved.shape[1]
    own = states.padded(symbols)
    turn = shrunk[0] * apart + pulled[0] * current
    generators = kept[:, None] * own + weight[:, None] * moved + turn[:, None] * opened
    distance = np.abs(own).sum(axis=1)
    reach, opening = np.abs(moved).sum(axis=1) + error, np.abs(opened).sum(axis=1) + open_error
    size = size * (1 + np.abs(after)) + np.abs(states.centre) + np.abs(after)
    lost = (
        np.abs(weight) * error
        + np.abs(turn) * open_error
        + opening * (np.abs(shrunk[0]) * distance + np.abs(pulled[0]) * reach)
        + shrunk[2] * (np.abs(apart) + distance)
        + pulled[2] * (np.abs(current) + reach)
        + SLACK * (1 + np.abs(weight)) * (size + distance + reach)
    )
    middle = after + kept * apart + weight * current
    return AffineSet.of(middle, generators, lost, _exponential_box(lines, gates, time))


def _exponential_box(lines: _Lines, gates: GateRanges, time: Array) -> Box:
    """Return the range of a mean of x and the target, over both ends of the weight."""
    target = target_range(lines.network, gates)
    total = conductance_range(lines.network, gates)
    most, least = _left(time, total.lo), _left(time, total.hi)
    slack = SLACK * (_size(lines.states.bounds) + _size(target))
    ends = [
        np.stack([share * x + (1 - share) * r for share in (least, most)])
        for x, r in zip(lines.states.bounds, target, strict=True)
    ]
    return Box(ends[0].min(axis=0) - slack, ends[1].max(axis=0) + slack)


def _left(time: Array, conductance: Array) -> Array:
    """Return exp(-h G / C), a convex function of G."""
    return np.exp(-time * conductance)


def _pull(time: Array, conductance: Array) -> Array:
    """Return (1 - exp(-h G / C)) / G, a convex function of G."""
    z = time * conductance
    some = z > 1e-300
    return np.where(some, -time * np.expm1(-z) / np.where(some, z, 1.0), time)


def _mean(box: Box) -> Array:
    return 0.5 * (box.lo + box.hi)


def _convex(values: Array, range_: Box) -> tuple[Array, Array, Array]:
    """Return a, b and d with f(G) in a G + b ± d, of a convex f.

    `values` are those at both ends and in the middle. Below the chord f is above the lines through
    the middle and an end, which are as far from it at the other end as the middle is, once more.
    """
    slope, top, rounding = chord(range_.lo, range_.hi, values[:2])
    drop = np.maximum(top + rounding - (values[2] - slope * _mean(range_)), 0.0) + rounding
    return slope, top - drop, drop + 2 * rounding


def _euler(lines: _Lines, gates: GateRanges, length: float) -> AffineSet:
    network, states = lines.network, lines.states
    time = length / network.capacitance
    conductance, drive, size = lines.at_centre()
    moved, error = lines.combined(-conductance, states.centre)
    opened, open_error = lines.combined(np.zeros(len(network)), None)
    own = np.abs(states.generators).sum(axis=1)
    opening = np.abs(opened).sum(axis=1) + open_error
    generators = states.padded(moved.shape[1]) + time[:, None] * moved
    after = states.centre + time * (drive - conductance * states.centre)
    rounding = own + np.abs(states.centre) + time * (size * (1 + np.abs(states.centre)) + own)
    lost = time * (error + opening * own) + SLACK * rounding
    ends = [
        row_tests(network, Box(end, end), gates) for end in states.bounds
    ]  # (A - G x) at both ends of x, least and most
    lows = np.stack([x + time * e[0] for x, e in zip(states.bounds, ends, strict=True)])
    highs = np.stack([x + time * e[1] for x, e in zip(states.bounds, ends, strict=True)])
    potentials = magnitude(network, gates) + _size(states.bounds)
    potentials = conductance_range(network, gates).hi * potentials
    slack = SLACK * (_size(states.bounds) + time * potentials)
    box = Box(lows.min(axis=0) - slack, highs.max(axis=0) + slack)
    return AffineSet.of(after, generators, lost, box)
