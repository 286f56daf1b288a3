r"""Contraction of closed-form networks: a step is a map, and its Jacobian is bounded by intervals.

With the maps y_m of a neuron, f, g, a and b or f alone, the Jacobian has the entries

.. math:: \frac{\partial x^+_i}{\partial x_j}
    = \sum_m \frac{\partial x^+_i}{\partial y_{mi}} \frac{\partial y_{mi}}{\partial x_j}

The first factor is a slope of the closed form, the second a weight, or a product of weights and
slopes of a backbone. Ranges of all slopes follow from a box of states and a range of inputs. A
range is carried along as a middle and a radius, so that weights of both signs cancel as far as the
slopes are known. The ranges of the time gate s and of elapsed times are cut into parts; the worst
part counts row by row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from elegans.cfc.closed_form import MAP_NAMES
from elegans.proofs.certificates.firing_rates import product as arriving
from elegans.proofs.certificates.intervals import (
    ACTIVATIONS,
    Span,
    plus,
    product,
    sigmoid,
    tanh,
    widened,
)
from elegans.proofs.certificates.network import SLACK, Array, Box, Index
from elegans.proofs.certificates.stepping import Lengths
from elegans.proofs.certificates.weighted_norms import RowBound
from elegans.synapses.plain import PlainStep

_ROUNDS = 32
_CLOSE = 0.005
_GATE_PARTS = 8
_TIME_PARTS = 8
_RATIO = 1.1
_ENTRIES = 4_000_000
"""Entries of bounds that are kept for all parts of the ranges together."""


@dataclass(frozen=True, eq=False)
class Closing:
    """The closed form behind the maps, see `elegans.cfc.closed_form.ClosedForm`.

    Parameters
    ----------
    mode
        ``"default"``, ``"pure"`` or ``"no_gate"``.
    rate, asymptote
        |w| and A of mode ``"pure"``, shape (neuron,), else empty.
    """

    mode: str
    rate: Array
    asymptote: Array

    @classmethod
    def of(cls, step: PlainStep) -> Closing:
        """Return the closed form of a `PlainStep`."""
        none = np.zeros(0)
        neurons = step.neurons
        return cls(
            step.choices["mode"],
            np.abs(neurons.get("rate", none)),
            np.asarray(neurons.get("asymptote", none)),
        )

    def at(self, neurons: Index) -> Closing:
        """Return that of some neurons, in the shape of their numbers."""
        if self.mode != "pure":
            return self
        return replace(self, rate=self.rate[neurons], asymptote=self.asymptote[neurons])

    def first_box(self, neurons: int, shortest: float) -> Box:
        """Return the box that every step ends in, wherever it begins and whatever the inputs."""
        if self.mode == "pure":  # |f| exp(-t |f|) is at most 1 / (e t)
            reach = np.abs(self.asymptote) * np.exp(-shortest * self.rate) / (math.e * shortest)
            box = widened(self.asymptote - reach, self.asymptote + reach)
            return Box(*box)
        most = 2.0 if self.mode == "no_gate" else 1.0
        return Box(np.full(neurons, -most), np.full(neurons, most))

    def states(self, maps: list[Span], time: Span) -> Span:
        """Return the range of the new states, for ranges of the maps (neuron,) and of the time."""
        if self.mode == "pure":
            f = maps[0]
            values = [
                z * np.exp(-t * (self.rate + np.abs(z)))
                for t in time
                for z in (f.lo, f.hi, *(np.clip(sign / t, *f) for sign in (-1, 1)))
            ]
            back = product(
                Span(self.asymptote, self.asymptote), widened(np.min(values, 0), np.max(values, 0))
            )
            return plus(Span(self.asymptote, self.asymptote), Span(-back.hi, -back.lo))
        f, g = tanh(maps[0]), tanh(maps[1])
        s = self.gate(maps, time)
        if self.mode == "no_gate":
            return plus(f, product(s, g))
        ends = [
            ((1 - share) * f.lo + share * g.lo, (1 - share) * f.hi + share * g.hi) for share in s
        ]
        slack = SLACK
        return Span(
            np.maximum(np.min([end[0] for end in ends], axis=0) - slack, -1.0),
            np.minimum(np.max([end[1] for end in ends], axis=0) + slack, 1.0),
        )

    def gate(self, maps: list[Span], time: Span) -> Span:
        """Return the range of the time gate s, shape (neuron,)."""
        return sigmoid(plus(product(maps[2], time), maps[3]))

    def entries(self, maps: list[Span], ways: list[Span], time: Span, parts: int) -> list[Array]:
        r"""Return bounds of entries of the Jacobian, one for each part of the range of the gate s.

        With F = tanh f, G = tanh g and the derivatives alpha, beta of f and g and gamma of a t + b
        by the state, an entry is, in mode ``"default"``,

        .. math:: (1 - s) \big(\alpha (1 - F^2) - s \gamma F\big)
            + s \big(\beta (1 - G^2) + (1 - s) \gamma G\big)

        a sum of two parabolas, whose peaks over the ranges of F and G are known. ``"no_gate"`` has
        alpha (1 - F^2) in place of the first.

        Parameters
        ----------
        maps
            Ranges of the maps at the entry's row.
        ways
            Ranges of their derivatives.
        time
            Range of the elapsed times.
        parts
            Their number.
        """
        if self.mode == "pure":
            return [product(self._pure_slope(maps[0], time), ways[0]).size]
        f, g = tanh(maps[0]), tanh(maps[1])
        turning = plus(product(ways[2], time), ways[3])
        whole, found = self.gate(maps, time), []
        edges = np.linspace(whole.lo, whole.hi, parts + 1)
        for low, high in pairwise(edges):
            s = Span(np.maximum(low - SLACK, 0.0), np.minimum(high + SLACK, 1.0))
            left = Span(1 - s.hi, 1 - s.lo)
            sides = []
            for sign in (1.0, -1.0):
                alpha, beta, gamma = (_turned(way, sign) for way in (ways[0], ways[1], turning))
                far = _peak(beta, product(left, gamma), g)
                if self.mode == "no_gate":
                    near = _peak(alpha, Span(np.zeros(1), np.zeros(1)), f)
                    sides += [near + share * far for share in s]
                else:
                    near = _peak(alpha, _turned(product(s, gamma), -1.0), f)
                    sides += [(1 - share) * near + share * far for share in s]
            size = sum(way.size for way in (ways[0], ways[1], turning))
            found.append(np.max(sides, axis=0) + 8 * SLACK * size)
        return found

    def _pure_slope(self, f: Span, time: Span) -> Span:
        """Return the range of -A exp(-t (|w| + u)) (1 - t u), u = |f|.

        For a fixed t it turns at u = 2 / t, for a fixed u at t = (|w| + 2 u) / (u (|w| + u)).
        """
        apart = (f.lo > 0) | (f.hi < 0)
        u = Span(np.where(apart, np.minimum(np.abs(f.lo), np.abs(f.hi)), 0.0), f.size)
        values = []
        with np.errstate(divide="ignore", invalid="ignore"):
            pairs = [(t, z) for t in time for z in (u.lo, u.hi, np.clip(2 / t, *u))]
            for z in u:
                turn = (self.rate + 2 * z) / (z * (self.rate + z))
                turn = np.where(np.isfinite(turn), np.clip(turn, *time), time.hi)
                pairs.append((turn, z))
        for t, z in pairs:
            values.append(np.exp(-t * (self.rate + z)) * (1 - t * z))
        size = SLACK * (1 + time.hi * u.hi)
        found = Span(np.min(values, axis=0) - size, np.max(values, axis=0) + size)
        return product(Span(-self.asymptote, -self.asymptote), found)


def _turned(span: Span, sign: float) -> Span:
    """Return the ranges, or those of the negative numbers."""
    return span if sign > 0 else Span(-span.hi, -span.lo)


def _peak(bend: Span, lean: Span, x: Span) -> Array:
    """Return the largest bend (1 - x^2) + lean x, which is convex in both: their ends are worst."""
    best: Array | None = None
    for p in bend:
        for q in lean:
            with np.errstate(divide="ignore", invalid="ignore"):
                top = np.clip(np.nan_to_num(q / (2 * p)), x.lo, x.hi)
            for place in (x.lo, x.hi, top):
                value = p * (1 - place**2) + q * place
                best = value if best is None else np.maximum(best, value)
    assert best is not None
    return best


class ClosedNetwork(ABC):
    """A closed-form network as numbers, under a range of inputs."""

    closing: Closing

    @property
    @abstractmethod
    def neurons(self) -> int:
        """Number of neurons."""

    @abstractmethod
    def image(self, states: Box, time: Span) -> Box:
        """Return a box that holds every new state, for states in a box."""

    @abstractmethod
    def bound(self, states: Box, times: list[Span]) -> RowBound:
        """Return a bound of the Jacobian of a step over a box of states and ranges of times."""

    @abstractmethod
    def scaled(self, factor: float) -> ClosedNetwork:
        """Return the network with the weights that read its states times `factor`."""

    def box(self, times: list[Span]) -> Box:
        """Return the box that the states tend to: all are in the first of a chain after a step."""
        box = self.closing.first_box(self.neurons, float(times[0].lo))
        for _ in range(_ROUNDS):
            images = [self.image(box, time) for time in times]
            smaller = Box(
                np.maximum(box.lo, np.min([each.lo for each in images], axis=0)),
                np.minimum(box.hi, np.max([each.hi for each in images], axis=0)),
            )
            shrunk, width = box.width - smaller.width, box.width
            box = smaller
            if (shrunk <= _CLOSE * width).all():
                break
        return box


def times_of(lengths: Lengths) -> list[Span]:
    """Return a range of elapsed times in parts."""
    shortest, longest = lengths
    count = 1
    if longest > shortest:
        count = min(_TIME_PARTS, math.ceil(math.log(longest / shortest) / math.log(_RATIO)))
    edges = shortest * (longest / shortest) ** (np.arange(count + 1) / count)
    edges[0], edges[-1] = shortest, longest
    return [widened(np.asarray(low), np.asarray(high)) for low, high in pairwise(edges)]


@dataclass(frozen=True, eq=False)
class DenseNetwork(ClosedNetwork):
    """A closed form behind a backbone.

    Parameters
    ----------
    layers
        Weight (output, input) and bias (output,) of each dense map; the first reads the states.
    drive
        Range of what bias and inputs contribute to the first map.
    activation
        Its name.
    closing
        The closed form.
    """

    layers: tuple[tuple[Array, Array], ...]
    drive: Span
    activation: str
    closing: Closing

    @classmethod
    def of(cls, step: PlainStep, inputs: Box) -> DenseNetwork:
        """Return the network of a `PlainStep`, for a range of mapped inputs."""
        (read, bias), *rest = step.layers
        count = len(inputs.lo)
        seen = arriving(csr_array(read[:, :count]), inputs)
        first = (read[:, count:], np.zeros(len(bias)))
        drive = plus(Span(bias, bias), Span(*seen))
        return cls((first, *rest), drive, step.choices["activation"], Closing.of(step))

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return int(self.layers[0][0].shape[1])

    def scaled(self, factor: float) -> DenseNetwork:
        """Return the network with the weights that read its states times `factor`."""
        (read, bias), *rest = self.layers
        return replace(self, layers=((factor * read, bias), *rest))

    def _maps(self, states: Box) -> tuple[list[Span], list[Span]]:
        """Return the ranges of the maps, and of what the backbone's units are given."""
        x, before = Span(*states), []
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                before.append(x)
                x = ACTIVATIONS[self.activation][0](x)
            x = plus(_through(weight, x), self.drive if number == 0 else Span(bias, bias))
        count = len(MAP_NAMES[self.closing.mode])
        return [
            Span(*ends) for ends in zip(*(np.split(end, count) for end in x), strict=True)
        ], before

    def image(self, states: Box, time: Span) -> Box:
        """Return a box that holds every new state, for states in a box."""
        return Box(*self.closing.states(self._maps(states)[0], time))

    def bound(self, states: Box, times: list[Span]) -> RowBound:
        """Return a bound of the Jacobian of a step over a box of states and ranges of times."""
        maps, before = self._maps(states)
        middle, radius = self.layers[0][0], np.zeros_like(self.layers[0][0])
        for given, (weight, _) in zip(before, self.layers[1:], strict=True):
            slope = ACTIVATIONS[self.activation][1](given)
            m, r = slope.middle[:, None], slope.radius[:, None]
            radius = np.abs(m) * radius + r * (np.abs(middle) + radius)
            middle = m * middle
            size = np.abs(weight) @ (np.abs(middle) + radius)
            middle, radius = weight @ middle, np.abs(weight) @ radius + SLACK * size
        n = self.neurons
        whole = widened(middle - radius, middle + radius)
        ways = [whole.at(slice(k * n, (k + 1) * n)) for k in range(len(maps))]
        parts = _parts(n * n, len(times))
        column = [Span(each.lo[:, None], each.hi[:, None]) for each in maps]
        rows = [
            bound
            for time in times
            for bound in self.closing.at(np.arange(n)[:, None]).entries(column, ways, time, parts)
        ]
        return DenseBound(np.stack(rows))


def _through(weight: Array, x: Span) -> Span:
    """Return the range of weight @ x."""
    middle, radius = weight @ x.middle, np.abs(weight) @ x.radius
    slack = SLACK * (np.abs(weight) @ x.size)
    return Span(middle - radius - slack, middle + radius + slack)


def _parts(entries: int, times: int) -> int:
    return int(np.clip(_ENTRIES // max(1, entries * times), 1, _GATE_PARTS))


class DenseBound(RowBound):
    """Bounds of all entries of a Jacobian, for each part of the ranges: (part, neuron, neuron)."""

    def __init__(self, rows: Array) -> None:
        self.neurons = rows.shape[1]
        self._entries = rows

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        return np.asarray((1 + SLACK) * (self._entries @ eta).max(axis=0) + SLACK * eta)

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        worst = (self._entries @ eta).argmax(axis=0)
        return np.asarray(self._entries[worst, np.arange(self.neurons)])


@dataclass(frozen=True, eq=False)
class WiredNetwork(ClosedNetwork):
    """A closed form along synapses.

    Parameters
    ----------
    source, target
        Ends of each pair of neurons that is connected, shape (pair,); a source of at least the
        number of neurons is the new state of the neuron that is left after subtracting it.
    weights
        Weights of each map, parallel synapses summed, shape (map, pair).
    drive
        Ranges of what biases and inputs contribute to each map, (neuron,) each.
    order
        When each neuron is updated, shape (neuron,).
    closing
        The closed form.
    """

    source: Index
    target: Index
    weights: Array
    drive: tuple[Span, ...]
    order: Array
    closing: Closing

    @classmethod
    def of(cls, step: PlainStep, inputs: Box) -> WiredNetwork:
        """Return the network of a `PlainStep`, for a range of mapped inputs."""
        names = MAP_NAMES[step.choices["mode"]]
        order = step.neurons["order"]
        count = len(order)
        keys = [
            synapses.target * 2 * count + synapses.source
            for name, synapses in step.synapses.items()
            if name.endswith("recurrent")
        ]
        pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
        weights = np.zeros((len(names), len(pairs)))
        drive, start = [Span(step.neurons[name], step.neurons[name]) for name in names], 0
        for name, synapses in step.synapses.items():
            recurrent = name.endswith("recurrent")
            for column, values in synapses.values.items():
                number = names.index(column)
                if recurrent:
                    mine = place[start : start + len(synapses)]
                    weights[number] += np.bincount(mine, values, minlength=len(pairs))
                else:
                    entries = (values, (synapses.target, synapses.source))
                    matrix = csr_array(entries, shape=(count, len(inputs.lo)))
                    drive[number] = plus(drive[number], Span(*arriving(matrix, inputs)))
            start += len(synapses) if recurrent else 0
        source, target = pairs % (2 * count), pairs // (2 * count)
        return cls(source, target, weights, tuple(drive), order, Closing.of(step))

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return len(self.order)

    def scaled(self, factor: float) -> WiredNetwork:
        """Return the network with the weights that read its states times `factor`."""
        return replace(self, weights=factor * self.weights)

    def _layers(self) -> Iterator[tuple[Index, Index]]:
        """Yield the neurons that are updated at once, and the pairs onto them."""
        for when in np.unique(self.order):
            neurons = np.flatnonzero(self.order == when)
            yield neurons, np.flatnonzero(self.order[self.target] == when)

    def _maps(self, states: Box, time: Span) -> tuple[list[Span], Span]:
        """Return the ranges of all maps (neuron,), and of the new states."""
        n = self.neurons
        read = Span(np.concatenate([states.lo] * 2), np.concatenate([states.hi] * 2))
        maps = [Span(span.lo.copy(), span.hi.copy()) for span in self.drive]
        for neurons, pairs in self._layers():
            source, target = self.source[pairs], self.target[pairs]
            for number, weight in enumerate(self.weights[:, pairs]):
                terms = product(Span(weight, weight), read.at(source))
                sums = [np.bincount(target, end, minlength=n)[neurons] for end in terms]
                size = SLACK * np.bincount(target, terms.size, minlength=n)[neurons]
                found = plus(self.drive[number].at(neurons), Span(sums[0] - size, sums[1] + size))
                maps[number].lo[neurons], maps[number].hi[neurons] = found
            new = self.closing.at(neurons).states([each.at(neurons) for each in maps], time)
            read.lo[n + neurons], read.hi[n + neurons] = new
        return maps, read.at(slice(n, None))

    def image(self, states: Box, time: Span) -> Box:
        """Return a box that holds every new state, for states in a box."""
        return Box(*self._maps(states, time)[1])

    def bound(self, states: Box, times: list[Span]) -> RowBound:
        """Return a bound of the Jacobian of a step over a box of states and ranges of times."""
        parts = _parts(len(self.source), len(times))
        rows, ways = [], [Span(weight, weight) for weight in self.weights]
        for time in times:
            maps = [each.at(self.target) for each in self._maps(states, time)[0]]
            rows += self.closing.at(self.target).entries(maps, ways, time, parts)
        return WiredBound(
            self.source, self.target, np.stack(rows), list(self._layers()), self.neurons
        )


class WiredBound(RowBound):
    """Bounds along synapses, layer after layer: a layer may read new states of those before.

    Parameters
    ----------
    source, target
        Ends of the pairs, as in `WiredNetwork`.
    entries
        Bounds of the derivatives of a new state by what it reads, (part, pair).
    layers
        Neurons that are updated at once, and the pairs onto them.
    neurons
        Their number.
    """

    def __init__(
        self,
        source: Index,
        target: Index,
        entries: Array,
        layers: list[tuple[Index, Index]],
        neurons: int,
    ) -> None:
        self.neurons = neurons
        self._source, self._target, self._entries, self._layers = source, target, entries, layers

    def _run(self, eta: Array) -> tuple[Array, Index]:
        """Return F(eta), and which part is the worst of each row."""
        n = self.neurons
        read, worst = np.concatenate([eta, np.zeros(n)]), np.zeros(n, dtype=np.int64)
        for neurons, pairs in self._layers:
            terms = self._entries[:, pairs] * read[self._source[pairs]]
            target = self._target[pairs]
            rows = np.stack([np.bincount(target, each, minlength=n)[neurons] for each in terms])
            read[n + neurons] = (1 + SLACK) * rows.max(axis=0) + SLACK * eta[neurons]
            worst[neurons] = rows.argmax(axis=0)
        return read[n:], worst

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        return self._run(eta)[0]

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        n, worst = self.neurons, self._run(eta)[1]
        read = np.concatenate([np.eye(n), np.zeros((n, n))])
        for neurons, pairs in self._layers:
            target = self._target[pairs]
            entries = self._entries[worst[target], pairs]
            ways = csr_array((entries, (target, self._source[pairs])), shape=(n, 2 * n))
            read[n + neurons] = (ways @ read)[neurons]
        return np.asarray(read[n:])
