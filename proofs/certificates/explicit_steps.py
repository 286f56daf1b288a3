r"""Contraction of the explicit Runge-Kutta steps of liquid circuits, Euler's and `rk4` among them.

*The box.* A neuron follows dx/dt = d (r - x), its target r = A / G at the rate d = G / C. With the
largest d as rho, x + f / rho is the mean m x + (1 - m) r, where m is from 0 to 1 - min d / rho. Put
into the words of a step (`step_words`), this makes

.. math:: x^+ = \Phi\, x + \sum_q \Psi_q\, r_q, \qquad \Phi + \sum_q \Psi_q = 1

of the targets r_q at the stages, with coefficients that are affine in the m of each stage. So the
sum of their absolute values is largest where each m is at an end, and if the targets lie within a
of a point c, no step leaves the box of radius

.. math:: a \max_m \frac{\sum_q |\Psi_q|}{1 - |\Phi|}

round c, and every state tends to it, if |Phi| < 1. This is a itself where no coefficient is
negative: that of `rk4` for h rho <= 1. Stages are such sums as well, of which those of `rk4` have
negative coefficients, and leave the hull of box and targets by at most its width times their sum.

*The norm.* Over the box with all stages F(v) bounds the rows of the flow's Jacobian, each synapse
at the gate that is worst for leak and coupling together (`contraction`), and B(v) those with the
diagonal negated, where a gate counts for both. So for any rate rho

.. math:: T(v) = \max\big(v + F(v) / \rho,\; B(v) / \rho - v\big)

bounds the absolute rows of M = 1 + J / rho, and a step shrinks distances by the largest of
sum_k e_k(h rho) T^k(eta)_i / eta_i. What the negative words cost grows with rho^2: so several rates
are tried, from that of the fastest neuron, at which no diagonal turns negative, to half of it. For
Euler's method 1 / h is the best, as M is the Jacobian of the step then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elegans.proofs.certificates.boxes import conductance_range, hull, target_range
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import SLACK, Array, Box, Network
from elegans.proofs.certificates.proved_steps import (
    ProvedStep,
    Pull,
    StateBox,
    proved_step,
    settled_box,
)
from elegans.proofs.certificates.step_words import StepWords, edges_between
from elegans.proofs.certificates.stepping import Lengths, longest_step
from elegans.proofs.certificates.weighted_norms import RowBound

_SHARES = (1.0, 0.8, 0.65, 0.55, 0.45)
"""Rates rho that are tried, relative to that of the fastest neuron."""


class LiquidFlow(RowBound):
    """The logarithmic norm of the flow of a liquid circuit, row by row."""

    def __init__(self, rows: Rows) -> None:
        self.neurons, self._rows = rows.neurons, rows

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        return self._rows.value(eta)

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        return self._rows.policy(eta).matrix()


class LetterBound(RowBound):
    """The absolute rows of M = 1 + J / rate, of either sign of the diagonal."""

    def __init__(self, flow: Rows, back: Rows, rate: float) -> None:
        self.neurons = flow.neurons
        self._flow, self._back, self._rate = flow, back, rate

    def _branches(self, eta: Array) -> Array:
        """Return the bounds with the diagonal as it is, and turned, shape (2, neuron)."""
        ahead = self._flow.value(eta) / self._rate + eta
        back = self._back.worst(self._back.sums(eta, -1.0).max(axis=0) / self._back.capacitance)
        return np.stack([ahead, back / self._rate - eta]) + SLACK * (eta + np.abs(ahead))

    def apply(self, eta: Array) -> Array:
        """Return T(eta), shape (neuron,), rounded up."""
        return np.asarray(self._branches(eta).max(axis=0))

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = T(eta), up to rounding, (neuron, neuron)."""
        one = np.eye(self.neurons)
        ahead = self._flow.policy(eta).matrix() / self._rate + one
        back = self._back.policy(eta, -1.0).matrix() / self._rate - one
        return np.where(self._branches(eta).argmax(axis=0)[:, None] == 0, ahead, back)


class WordsBound(RowBound):
    """The bound of a step whose words have the sizes e_k, (length, edge), for one of letters."""

    def __init__(self, letter: RowBound, sizes: Array) -> None:
        self.neurons = letter.neurons
        self._letter, self._sizes = letter, sizes

    def _powers(self, eta: Array) -> Array:
        """Return T^k(eta), shape (length, neuron)."""
        powers = [eta]
        for _ in range(len(self._sizes) - 1):
            powers.append(self._letter.apply(powers[-1]))
        return np.stack(powers)

    def apply(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,), rounded up."""
        return np.asarray((1 + SLACK) * (self._sizes.T @ self._powers(eta)).max(axis=0))

    def matrix(self, eta: Array) -> Array:
        """Return the map A with A eta = F(eta), up to rounding, (neuron, neuron)."""
        powers = self._powers(eta)
        worst = (self._sizes.T @ powers).argmax(axis=0)  # the edge of each row
        product, total = np.eye(self.neurons), np.zeros((self.neurons, self.neurons))
        for size, before in zip(self._sizes, powers, strict=True):
            total += size[worst][:, None] * product
            product = self._letter.matrix(before) @ product
        return total


def step_box(network: Network, inputs: Box, words: StepWords, lengths: Lengths) -> StateBox | None:
    """Return the box that explicit steps tend to; None where they may grow without a bound."""
    edges = edges_between(lengths)
    beyond = np.zeros(len(network))

    def pull(reached: Box | None) -> Pull | None:
        nonlocal beyond
        target = hull(network)
        gates = GateRanges.over(network, target if reached is None else reached, inputs)
        if reached is None:  # the inputs are known, the states are not
            gates = replace(gates, recurrent=GateRanges.free(network).recurrent)
        else:
            target = target_range(network, gates)
        conductance = conductance_range(network, gates)
        rate = (1 + SLACK) * conductance.hi / network.capacitance  # rho of each neuron
        kept = (1 + SLACK) - (1 - SLACK) * conductance.lo / conductance.hi
        growth = words.end.means(edges, rate, kept).growth
        stages = [stage.means(edges, rate, kept).beyond for stage in words.stages]
        beyond = np.max(stages, axis=0)
        return (target, growth) if np.isfinite(growth).all() else None

    def reach(box: Box, target: Box) -> Box:
        lo, hi = np.minimum(box.lo, target.lo), np.maximum(box.hi, target.hi)
        out = beyond * (hi - lo) + SLACK * (np.abs(lo) + np.abs(hi))
        return Box(lo - out, hi + out)

    return settled_box(pull, reach)


def explicit_step(
    network: Network,
    inputs: Box,
    words: StepWords,
    fraction: float,
    start: tuple[Array, ...],
    lengths: Lengths,
    *,
    best: bool = True,
) -> ProvedStep | None:
    """Return the factor that explicit steps are proved to shrink distances by, None if none is.

    `start` are weights to try. If the `best` factor is not asked for, any below 1 will do.
    """
    if not np.isfinite(lengths[1]):
        return None
    states = step_box(network, inputs, words, lengths)
    if states is None:
        return None
    gates = GateRanges.over(network, states.reached, inputs)
    fastest = (1 + SLACK) / longest_step(network, states.reached, gates, "euler")
    rows, edges = Rows.of(network, states.reached, gates), edges_between(lengths)
    back = turned_rows(network, rows, gates)
    bounds = [
        WordsBound(LetterBound(rows, back, rate), words.end.between(edges, rate))
        for rate in (*(share * fastest for share in _SHARES), 1 / lengths[1])
    ]
    return proved_step(bounds, states, fraction, start, best=best)


def turned_rows(network: Network, rows: Rows, gates: GateRanges) -> Rows:
    """Return rows whose sums with the share -1 bound those of the Jacobian, diagonals negated."""
    sensory = network.sensory
    most = np.bincount(sensory.target, sensory.weight * gates.sensory.most, minlength=len(network))
    decay = (1 + SLACK) * (network.leak + network.epsilon + most)
    own = rows.source == rows.target
    return replace(rows, decay=decay[rows.neuron], slope=np.where(own, -rows.slope, rows.slope))
