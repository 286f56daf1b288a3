r"""Consequences of a certificate for the steps of solvers and for errors of the inputs.

One semi-implicit step of length h has the Jacobian

.. math::
    \frac{\partial x^+_i}{\partial x_j} = \frac{1}{D_i} \sum_{k: j \to i} w_k s_k
        \sigma_k (1 - \sigma_k) (E_k - x^+_i) + \delta_{ij} \frac{C_i}{h D_i},
    \qquad D_i = \frac{C_i}{h} + G_i

so that its weighted maximum norm is at most kappa exactly if every row passes

.. math::
    \eta_i \frac{C_i}{h} (1 - \kappa) - \kappa\, \eta_i\, decay_i + \sum_k w_k
        \max_\sigma \big(b_k \sigma (1 - \sigma) - \kappa\, \eta_i \sigma\big) \le 0

at both ends of its interval. That is the rate's condition with kappa in place of 1, or, divided by
kappa, the rate's condition for another circuit: one whose leaks are smaller by C (1 - kappa) / (h
kappa) and whose slopes are larger by 1 / kappa. Its best weights are found like those of the rate,
and are others: a fast neuron, which a step slows down, needs a smaller share of the norm. A
self-synapse that pulls against its neuron may turn the sign of the diagonal; its row has to pass
once more, with the signs of the diagonal turned, - C (1 + kappa) / h and - b.

The *exponential* step, x+ = r + (x - r) exp(-z) with z = h G / C, has with phi(z) = (1 - exp(-z)) /
z the row sum 1 - (h / C) phi(z) m, where the semi-implicit one has 1 - (h / C) m / (1 + z): m >= 0
is the same margin, at a potential between x and r. Since phi(z) >= 1 / (1 + z), it shrinks
distances at least as much, if no self-synapse turns its diagonal: w |s| |E - xi| / 4 <= (C / h)
z / (e^z - 1), for which 1 - z / 2 stands. *Euler's* step has the row sum 1 - (h / C) m as long as
h (G + w |s| |E - xi| / 4) <= C, and leads no state out of the box then: kappa = 1 - h lambda.

A gap junction adds w to G, and w / D_i to the Jacobian at j. Its term in the row is w (eta_j -
kappa eta_i). A rectifying junction adds w to G, too, whether current flows or not: in A stands w
max(x_j, x_i) at its target and w min(x_j, x_i) at its source. Between two states that differs by w
(q (x_j - y_j) + (1 - q) (x_i - y_i)) with a q from 0 to 1, so that its term is

.. math:: w \big(\max_{l \le q \le h} q (\eta_j - \eta_i) + (1 - \kappa) \eta_i\big)

that of the rate and an inertia of w besides C / h; where q = 1 it is the one above. A turned row,
in which 1 - q counts with the other sign, is passed all the more. In the exponential step 1 - (h /
C) phi(z) m holds with the part q w (1 - eta_j / eta_i) of m, and so it does in Euler's, which adds
h / C times the current.

A step goes from x to a share z / (1 + z) of the way to the target, an exponential one has y within
1 - z / (e^z - 1) <= z / 2 of it. So the interval of a neuron with a self-synapse is cut into pieces
here, too: x is in a piece, and what it pulls at no farther from it than that share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.boxes import conductance_range
from elegans.proofs.certificates.contraction import PIECES, Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import SLACK, Array, Box, Network
from elegans.proofs.certificates.perron import best_rates, weights_for

SOLVERS = ("semi_implicit", "exponential", "euler")
"""Solvers whose steps are certified, by name."""

Lengths = tuple[float, float]
"""The shortest and the longest step."""

_BISECTIONS = 50
_SEARCHES = 8
_CLOSE = 0.01


@dataclass(frozen=True, eq=False)
class StepRows:
    """The rows of the condition of a semi-implicit step.

    Parameters
    ----------
    rows
        The contraction condition: the gate of a self-synapse is that of the state before the step,
        its pull that of the state after it. A row in which a self-synapse may pull against its
        neuron stands there twice, the second time with its slope turned.
    turned
        Which rows are such second ones, shape (row,).
    """

    rows: Rows
    turned: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        network: Network,
        box: Box,
        gates: GateRanges,
        *,
        longest: float,
        pieces: int = PIECES,
        solver: str = "semi_implicit",
    ) -> StepRows:
        """Return the rows of a circuit over a box of states, for steps up to a length.

        The solver is the semi-implicit or the exponential one; that takes no step that is longer
        than `longest_step`, so that nothing turns.
        """
        most = conductance_range(network, gates.in_steps(network, box)).hi
        z = longest * most / network.capacitance
        # How far a step goes towards the target; the rest of a share rounds to nothing.
        with np.errstate(invalid="ignore"):
            reach = np.minimum(0.5 * z, 1.0) if solver == "exponential" else z / (1 + z)
        reach = np.minimum((1 + SLACK) * np.where(np.isfinite(z), reach, 1.0), 1.0)
        rows = Rows.of(network, box, gates, pieces=pieces, reach=reach)
        if solver == "exponential":
            return cls(rows, np.zeros(len(rows.neuron), dtype=bool))
        twice = _pulled_back(rows) > 0
        copies = 1 + twice.astype(np.int64)
        turned = np.zeros(int(copies.sum()), dtype=bool)
        turned[np.cumsum(copies)[twice] - 1] = True
        rows = rows.repeated(copies)
        own = turned[rows.row] & (rows.source == rows.target)
        return cls(replace(rows, slope=np.where(own, -rows.slope, rows.slope)), turned)

    def inertia(self, kappa: Array, lengths: Lengths) -> Array:
        """Return C (1 - kappa) / h of each row, - C (1 + kappa) / h where turned, shape (row,).

        The shortest step is the worst for the first, the longest for the second; `kappa` is
        (neuron,).
        """
        shrunk = kappa[self.rows.neuron]
        with np.errstate(over="ignore"):
            straight = self.rows.capacitance * (1 - shrunk) / lengths[0]
        return np.where(self.turned, -self.rows.capacitance * (1 + shrunk) / lengths[1], straight)

    def factors(self, eta: Array, lengths: Lengths) -> Array:
        """Return kappa of each neuron, shape (neuron,), by bisection; 1 where none is smaller.

        Parameters
        ----------
        eta
            Weights > 0.
        lengths
            Of the step, h > 0: the elapsed time divided by the unfolds.
        """
        low, high = np.zeros(self.rows.neurons), np.ones(self.rows.neurons)
        mine = eta[self.rows.neuron]
        for _ in range(_BISECTIONS):
            kappa = 0.5 * (low + high)
            sums = self.rows.sums(eta, kappa).max(axis=0)
            passed = self.rows.worst(mine * self.inertia(kappa, lengths) + sums) <= 0
            low, high = np.where(passed, low, kappa), np.where(passed, kappa, high)
        c = self.rows.capacitance / np.where(self.turned, lengths[1], lengths[0])
        size = (mine * c + self.rows.magnitude(eta)) / (mine * (c + self.rows.decay))
        return np.asarray(np.minimum(high + SLACK * self.rows.worst(size), 1.0))

    def as_flow(self, kappa: float, lengths: Lengths) -> Rows:
        """Return the rows of a circuit that contracts if the step shrinks distances by `kappa`."""
        rows = self.rows
        inertia = self.inertia(np.full(rows.neurons, kappa), lengths)
        inertia = inertia + (1 - kappa) * rows.junctions
        return replace(
            rows,
            decay=rows.decay - inertia / kappa,
            slope=np.where(rows.joined, rows.slope, rows.slope / kappa),
            weight=np.where(rows.joined, rows.weight / kappa, rows.weight),
        )


def best_step(
    rows: StepRows, lengths: Lengths, fraction: float, start: Array
) -> tuple[Array, float] | None:
    """Return weights, and the factor by which they prove that a semi-implicit step shrinks.

    Of the largest possible 1 / kappa - 1, which is found to a hundredth, a fraction is asked for:
    the sharpest weights differ by many orders of magnitude. `start` are weights > 0 to begin with,
    which are taken where no better ones are found. None if no factor below 1 is.
    """
    found = [start]
    low, high = 0.0, math.inf
    above, below = 0.0, -math.inf  # the rates there, -inf where none was looked for
    eta, gain = start, 0.0
    for _ in range(_SEARCHES):
        components = best_rates(rows.as_flow(1 / (1 + gain), lengths), start=eta, tolerance=1e-3)
        rate = components.best_rate
        if rate > 0:
            low, above, eta = gain, rate, components.eta
            # The rate falls by at least gain / h, for a part of the slopes grows with it as well.
            if gain + rate * lengths[0] < high:
                high, below = gain + rate * lengths[0], -math.inf
        else:
            high, below = gain, rate
        if high - low <= _CLOSE * high:
            break
        # By the secant, kept off the ends.
        share = above / (above - below) if math.isfinite(below) else 0.5
        gain = low + (high - low) * min(max(share, 0.1), 0.9)
    if low > 0:
        even = np.ones(rows.rows.neurons)
        weights = weights_for(rows.as_flow(1 / (1 + fraction * low), lengths), 0.0, rhs=even)
        if weights is not None and (weights / weights.max() > 0).all():
            found.append(weights / weights.max())
    proved = [(float(rows.factors(each, lengths).max()), each) for each in found]
    kappa, eta = min(proved, key=lambda pair: pair[0])
    return (eta, kappa) if kappa < 1 else None


def _pulled_back(rows: Rows) -> Array:
    """Return the sum of w |s| |E - xi| / 4 of self-synapses that pull against, shape (row,)."""
    own = rows.source == rows.target
    against = np.maximum(-rows.slope, 0.0).max(axis=0, initial=0.0) * own
    return np.asarray(
        np.bincount(rows.row, 0.25 * rows.weight * against, minlength=len(rows.neuron)), np.float64
    )


def longest_step(network: Network, box: Box, gates: GateRanges, solver: str) -> float:
    """Return the length up to which the step of a solver stays in the box and keeps its signs.

    Infinite for a semi-implicit step, and for an exponential one without self-synapses that pull
    against their own neuron.
    """
    if solver == "semi_implicit":
        return math.inf
    if solver == "exponential":
        gates = gates.in_steps(network, box)
    most = conductance_range(network, gates).hi
    turned = _pulled_back(Rows.of(network, box, gates, pieces=1))  # a row is a neuron
    # Euler: h (G + turned) <= C. Exponential: h (G / 2 + turned) <= C, where anything turns.
    load = most + turned if solver == "euler" else np.where(turned > 0, 0.5 * most + turned, 0.0)
    with np.errstate(divide="ignore"):
        return float(((1 - SLACK) * network.capacitance / load).min(initial=math.inf))


def horizon(factor: float, unfolds: int = 1) -> float:
    """Return after how many steps of the layer a gradient has fallen to 1/e, 1 / (-ln kappa^K)."""
    return math.inf if factor >= 1 else -1.0 / (unfolds * math.log(factor))


def input_effect(network: Network, box: Box, gates: GateRanges) -> Array:
    r"""Return how fast a unit change of all inputs can move each neuron, shape (neuron,).

    .. math::
        b_i = C_i^{-1} \sum_\text{sensory} w_k |s_k a_j| \max \sigma (1 - \sigma) \max |E_k - \xi|

    a_j is the scale of the input mapping: the change is one of the inputs as the layer is given
    them.
    """
    sensory, range_ = network.sensory, gates.sensory
    half = np.clip(0.5, range_.least, range_.most)
    reach = np.maximum(
        np.abs(sensory.potential - box.lo[sensory.target]),
        np.abs(sensory.potential - box.hi[sensory.target]),
    )
    gain = np.abs(sensory.gain * network.scale[sensory.source])
    term = sensory.weight * gain * half * (1 - half) * reach
    return np.bincount(sensory.target, term, minlength=len(network)) / network.capacitance


def input_gains(network: Network, box: Box, gates: GateRanges, rows: Rows) -> Array | None:
    r"""Return how far inputs that differ by 1 can move each neuron, shape (neuron,).

    .. math:: |x_i(t) - y_i(t)| \le D_i \max_{s, j} |u_j(s) - v_j(s)|

    for two trajectories from the same state under inputs u and v as the layer is given them.
    Solves F(D) + b = 0 with the b of `input_effect`, which needs a positive rate; None if it
    cannot be found.
    """
    effect = input_effect(network, box, gates)
    # Neurons that no input reaches get a gain too small to matter: it must be positive.
    least = 1e-6 * max(float((effect / rows.speed).max(initial=0.0)), 1e-9) * rows.speed
    # What is solved for is 1e-6 larger than what is needed, and solved to half of that.
    return weights_for(rows, 0.0, rhs=(1 + 1e-6) * effect + least, tolerance=5e-7)
