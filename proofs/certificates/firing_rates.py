r"""Contraction of continuous-time recurrent networks: the flow, and the step of their solver.

.. math:: \tau_i \dot x_i = A_i(x) - x_i, \qquad
    A_i = \sum_{k: j \to i} w_k \varphi(x_j + \theta_j) + \sum_{k: j \to i} \tilde w_k u_j

The Jacobian of A has the entries w phi'(x_j + theta_j), and phi' is largest where x_j comes next to
- theta_j. With M_ij = |w_ij| max phi' off the diagonal, and w_ii with its sign on it, the flow has
the rate min_i (1 - (M eta)_i / eta_i) / tau_i in the weights eta; a step is bounded stage by stage,
see `elegans.proofs.certificates.leaky_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, diags_array

from elegans.proofs.certificates.leaky_steps import Ends, LeakyStage, LeakySteps
from elegans.proofs.certificates.network import SLACK, Array, Box
from elegans.proofs.certificates.proved_steps import (
    SOLVED,
    ProvedStep,
    StateBox,
    longest_proved,
    settled_box,
)
from elegans.proofs.certificates.stepping import Lengths
from elegans.proofs.certificates.weighted_norms import RowBound, best_weights
from elegans.synapses.plain import PlainStep, PlainSynapses

_PARTS = 64
_RATIO = 1.05
_LONG = 1e3


@dataclass(frozen=True, eq=False)
class RateNetwork:
    """A continuous-time recurrent network as numbers, under a range of inputs.

    Parameters
    ----------
    tau, bias
        Time constants and biases theta, shape (neuron,).
    weight
        Weights from column to row, parallel synapses summed, (neuron, neuron).
    drive
        Range of what the inputs contribute.
    activation
        ``"sigmoid"`` or ``"tanh"``.
    """

    tau: Array
    bias: Array
    weight: csr_array
    drive: Box
    activation: str

    @classmethod
    def of(cls, step: PlainStep, inputs: Box) -> RateNetwork:
        """Return the network of a `PlainStep` of rates, for a range of mapped inputs."""
        neurons, count = step.neurons, len(step.neurons["bias"])
        sensory = summed(step.synapses["sensory"], count, len(inputs.lo))
        return cls(
            neurons["capacitance"],
            neurons["bias"],
            summed(step.synapses["recurrent"], count, count),
            product(sensory, inputs),
            step.choices["activation"],
        )

    def __len__(self) -> int:
        return len(self.tau)

    def scaled(self, factor: float) -> RateNetwork:
        """Return the network with the weights between neurons times `factor`."""
        return replace(self, weight=factor * self.weight)

    def target(self, states: Box | None) -> Box:
        """Return the range of A over a box of states, of any states where there is none."""
        if states is None:
            least = -1.0 if self.activation == "tanh" else 0.0
            rates = Box(np.full(len(self), least), np.ones(len(self)))
        else:
            rates = Box(*(self._rate(end + self.bias) for end in states))
            rates = Box(rates.lo - SLACK, rates.hi + SLACK)
        arriving = product(self.weight, rates)
        return Box(self.drive.lo + arriving.lo, self.drive.hi + arriving.hi)

    def slope(self, states: Box) -> Ends:
        """Return the least and the largest slope phi' of each neuron over a box of states."""
        ends = np.stack([states.lo + self.bias, states.hi + self.bias])
        size = SLACK * (1 + np.abs(ends).max(axis=0))
        low, high = ends[0] - size, ends[1] + size
        steepest = self._slope(np.clip(0.0, low, high))
        flattest = np.minimum(self._slope(low), self._slope(high))
        return np.maximum(flattest - SLACK, 0.0), steepest + SLACK

    def _rate(self, x: Array) -> Array:
        return np.tanh(x) if self.activation == "tanh" else 0.5 * (1 + np.tanh(0.5 * x))

    def _slope(self, x: Array) -> Array:
        if self.activation == "tanh":
            return np.asarray(1 - np.tanh(x) ** 2)
        return np.asarray(0.25 * (1 - np.tanh(0.5 * x) ** 2))


def summed(synapses: PlainSynapses, targets: int, sources: int) -> csr_array:
    """Return the weights as a sparse matrix (target, source); parallel synapses are summed."""
    entries = (synapses.values["weight"], (synapses.target, synapses.source))
    return csr_array(entries, shape=(targets, sources))


def product(weight: csr_array, box: Box) -> Box:
    """Return the range of weight @ x for x in a box (..., source), rounded outwards."""
    up, down = weight.maximum(0), weight.minimum(0)
    least, most = box.lo.T, box.hi.T
    low, high = up @ least + down @ most, up @ most + down @ least
    slack = SLACK * (abs(weight) @ np.maximum(np.abs(least), np.abs(most)))
    return Box(np.asarray(low - slack).T, np.asarray(high + slack).T)


@dataclass(frozen=True, eq=False)
class _Parts:
    """The coefficients of a step for lengths in parts, each with its ends (part, neuron).

    In a part the ends of all coefficients belong to nearly the same length.
    """

    stages: list[tuple[Ends, list[Ends]]]
    end: tuple[Ends, list[Ends]]

    @classmethod
    def of(cls, steps: LeakySteps, tau: Array, lengths: Lengths) -> _Parts:
        shortest, longest = lengths
        last = min(longest, max(_LONG * float(tau.max()), shortest))
        count = 1
        if not steps.is_single and last > shortest:
            count = min(_PARTS, math.ceil(math.log(last / shortest) / math.log(_RATIO)))
        edges = shortest * (last / shortest) ** (np.arange(count + 1) / count)
        edges[0], edges[-1] = shortest, last
        if longest > last:
            edges = np.append(edges, longest)
        if steps.is_single:
            edges = np.array([shortest, longest])
        low = (1 - SLACK) * edges[:-1, None] / tau
        high = (1 + SLACK) * edges[1:, None] / tau

        def ends(stage: LeakyStage) -> tuple[Ends, list[Ends]]:
            return stage.keep(low, high), [take(low, high) for take in stage.takes]

        return cls([ends(stage) for stage in steps.stages], ends(steps.end))


def _size(ends: Ends) -> Array:
    return np.maximum(np.abs(ends[0]), np.abs(ends[1]))


def state_box(network: RateNetwork, parts: _Parts | None) -> StateBox | None:
    """Return the box that flow and steps tend to; None where steps may grow without a bound.

    With A within c - a to c + a, a step leads from x to x+ with |x+ - c| <= |R| |x - c| + B a, B
    being the sum of |b_s|. So no step leaves the box of radius a B / (1 - |R|) round c, and every
    state tends to it. Where no coefficient is negative, and for the flow, to which None belongs,
    the radius is a.
    """
    growth = np.ones(len(network))
    if parts is not None:
        keep, takes = parts.end
        kept, taken = _size(keep), sum((_size(take) for take in takes), np.zeros_like(keep[0]))
        if not (kept < 1).all():
            return None
        averages = all((ends[0] >= 0).all() for ends in (keep, *takes))
        if not averages:
            growth = np.maximum(growth, ((1 + SLACK) * taken / (1 - kept)).max(axis=0))
    return settled_box(
        lambda reached: (network.target(reached), growth),
        lambda box, _: _reached(network, box, parts),
    )


def _reached(network: RateNetwork, box: Box, parts: _Parts | None) -> Box:
    """Return the hull of a box and of all stages of steps that begin in it."""
    if parts is None or len(parts.stages) == 1:
        return box
    reached, state = box, box
    drives: list[Box] = []
    for number, (keep, takes) in enumerate(parts.stages):
        if number:
            terms = [times(keep, box), *map(times, takes, drives)]
            state = Box(
                np.sum([term.lo for term in terms], axis=0),
                np.sum([term.hi for term in terms], axis=0),
            )
            averages = all((ends[0] >= 0).all() for ends in (keep, *takes))
            if averages:  # of states and drives in the box
                state = box
            reached = Box(
                np.minimum(reached.lo, state.lo.min(axis=0) if state.lo.ndim > 1 else state.lo),
                np.maximum(reached.hi, state.hi.max(axis=0) if state.hi.ndim > 1 else state.hi),
            )
        if number + 1 < len(parts.stages):
            drives.append(network.target(state))
    return reached


def times(factor: Ends, box: Box) -> Box:
    """Return the range of products of a factor and a number in a box."""
    ends = np.stack([end * side for end in factor for side in box])
    slack = SLACK * np.abs(ends).max(axis=0)
    return Box(ends.min(axis=0) - slack, ends.max(axis=0) + slack)


@dataclass(frozen=True, eq=False)
class _Couplings:
    """Bounds of the Jacobian of A over a box.

    Parameters
    ----------
    others
        |w| max phi' between two neurons, (neuron, neuron).
    own
        Ends of w phi' of each neuron on itself.
    """

    others: csr_array
    own: Ends

    @classmethod
    def over(cls, network: RateNetwork, states: Box) -> _Couplings:
        least, most = network.slope(states)
        alone = np.asarray(network.weight.diagonal())
        others = abs(network.weight - diags_array(alone, format="csr"))
        ends = np.stack([alone * least, alone * most])
        slack = SLACK * np.abs(ends).max(axis=0)
        reach = csr_array(others @ diags_array((1 + SLACK) * most, format="csr"))
        return cls(reach, (ends.min(axis=0) - slack, ends.max(axis=0) + slack))

    @cached_property
    def all(self) -> csr_array:
        """Absolute bounds, those of neurons on themselves on the diagonal."""
        return csr_array(self.others + diags_array(_size(self.own), format="csr"))


class FlowBound(RowBound):
    """The logarithmic norm of the flow, row by row."""

    def __init__(self, network: RateNetwork, states: Box) -> None:
        self.neurons = len(network)
        self._tau, self._couplings = network.tau, _Couplings.over(network, states)

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        reach, own = self._couplings.others @ eta, self._couplings.own[1]
        slack = SLACK * (reach + (1 + np.abs(own)) * eta)
        return np.asarray((reach + (own - 1) * eta + slack) / self._tau)

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        coupling = self._couplings.others.toarray() + np.diag(self._couplings.own[1] - 1)
        return np.asarray(coupling / self._tau[:, None])


class SingleStepBound(RowBound):
    """The bound of steps that evaluate the drive once, exact for the bounds of the couplings.

    A row is |1 - b + b w_ii phi'| eta_i + b sum |w_ij| phi' eta_j, convex in b and in phi': the
    ends of both are the worst.
    """

    def __init__(self, network: RateNetwork, states: Box, parts: _Parts) -> None:
        self.neurons = len(network)
        self._couplings = _Couplings.over(network, states)
        self._taken = np.concatenate(parts.end[1][0])  # (end, neuron)
        own = np.stack(self._couplings.own)[:, None]
        kept = np.abs(1 + self._taken * (own - 1)) + SLACK * (1 + self._taken * (1 + np.abs(own)))
        self._kept = kept.max(axis=0)  # (end, neuron)

    def _rows(self, eta: Array) -> Array:
        return np.asarray(
            self._kept * eta + (1 + SLACK) * self._taken * (self._couplings.others @ eta)
        )

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        rows = self._rows(eta).max(axis=0)
        return np.asarray(rows + SLACK * rows)

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        end, every = self._rows(eta).argmax(axis=0), np.arange(self.neurons)
        taken, kept = self._taken[end, every], self._kept[end, every]
        return np.asarray(taken[:, None] * self._couplings.others.toarray() + np.diag(kept))


class StagesBound(RowBound):
    """The bound of steps of several stages, whose slopes are taken as independent."""

    def __init__(self, network: RateNetwork, states: Box, parts: _Parts) -> None:
        self.neurons = len(network)
        self._couplings = _Couplings.over(network, states)
        self._sizes = [
            (_size(keep), [_size(take) for take in takes])
            for keep, takes in (*parts.stages, parts.end)
        ]

    def _rows(self, eta: Array) -> Array:
        """Return the bounds of all parts, shape (part, neuron)."""
        drives: list[Array] = []
        for keep, takes in self._sizes:
            value = keep * eta + sum(map(np.multiply, takes, drives))
            drives.append((self._couplings.all @ value.T).T)
        return np.asarray((1 + 8 * SLACK) * value)

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        return np.asarray(self._rows(eta).max(axis=0))

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        worst, matrix = self._rows(eta).argmax(axis=0), np.empty((self.neurons, self.neurons))
        for part in np.unique(worst):
            drives: list[Array] = []
            for keep, takes in self._sizes:
                value = np.diag(keep[part])
                for take, drive in zip(takes, drives, strict=True):
                    value = value + take[part][:, None] * drive
                drives.append(self._couplings.all @ value)
            matrix[worst == part] = value[worst == part]
        return matrix


def prove_step(
    network: RateNetwork,
    steps: LeakySteps,
    lengths: Lengths,
    fraction: float,
    *,
    start: tuple[Array, ...] = (),
    search: bool = True,
) -> ProvedStep | None:
    """Return the factor that steps of a range of lengths are proved to shrink by, None if none is.

    `start` are weights to try, the only ones without `search`.
    """
    parts = _Parts.of(steps, network.tau, lengths)
    states = state_box(network, parts)
    if states is None:
        return None
    bound: RowBound
    if steps.is_single:
        bound = SingleStepBound(network, states.reached, parts)
    else:
        bound = StagesBound(network, states.reached, parts)
    if search:
        eta, kappa = best_weights(bound, 1.0, fraction, start=start)
    else:
        kappa, eta = min(((bound.factor(each), each) for each in start), key=lambda pair: pair[0])
    return ProvedStep(kappa, eta, states) if kappa < 1 else None


def longest_step(
    network: RateNetwork, steps: LeakySteps, shortest: float, proved: ProvedStep, known: float
) -> float:
    """Return up to which length steps are proved to contract, at least the `known` one."""
    search = len(network) <= SOLVED
    start = (proved.eta,)

    def holds(longest: float) -> bool:
        lengths = shortest, longest
        return bool(prove_step(network, steps, lengths, 0.999, start=start, search=search))

    return longest_proved(holds, known)
