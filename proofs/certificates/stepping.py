r"""Consequences of a certificate for the semi-implicit step and for errors of the inputs.

One semi-implicit step of length h has the Jacobian

.. math::
    \frac{\partial x^+_i}{\partial x_j} = \frac{1}{D_i} \sum_{k: j \to i} w_k s_k
        \sigma_k (1 - \sigma_k) (E_k - x^+_i) + \delta_{ij} \frac{C_i}{h D_i},
    \qquad D_i = \frac{C_i}{h} + G_i

so that its weighted maximum norm is at most kappa exactly if every row passes

.. math::
    \eta_i \frac{C_i}{h} (1 - \kappa) - \kappa\, \eta_i\, decay_i + \sum_k w_k
        \max_\sigma \big(b_k \sigma (1 - \sigma) - \kappa\, \eta_i \sigma\big) \le 0

at both ends of its interval: the rate's condition with kappa in place of 1. A rate lambda > 0 gives
kappa < 1 for every h. The sign of a self-synapse may count only while it does not turn the sign of
the diagonal, w |s| |E - x| / 4 <= C / h: the step must not be too long for it, see `longest_step`.
"""

from __future__ import annotations

import math

import numpy as np

from elegans.proofs.certificates.boxes import GateRanges
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.network import SLACK, Array, Box, Network
from elegans.proofs.certificates.perron import weights_for

_BISECTIONS = 50


def longest_step(rows: Rows) -> float:
    """Return the length up to which no self-synapse turns the sign of the step's diagonal.

    Infinite without self-synapses that pull against the neuron's own change.
    """
    own = rows.source == rows.target
    against = np.maximum(-rows.slope, 0.0).max(axis=0, initial=0.0) * own
    turned = np.bincount(rows.row, rows.weight * against, minlength=len(rows.neuron))
    with np.errstate(divide="ignore"):
        return float(((1 - SLACK) * 4 * rows.capacitance / turned).min(initial=math.inf))


def step_factors(rows: Rows, eta: Array, length: float) -> Array:
    """Return kappa of each row for one semi-implicit step, shape (neuron,), by bisection.

    Parameters
    ----------
    rows
        The contraction condition in one piece a neuron: the gate of a self-synapse is that of the
        state before the step, its pull that of the state after it.
    eta
        Weights > 0.
    length
        Length h > 0 of the step: the elapsed time divided by the unfolds.
    """
    c = rows.capacitance / length
    low, high = np.zeros(rows.neurons), np.ones(rows.neurons)
    for _ in range(_BISECTIONS):
        kappa = 0.5 * (low + high)
        passed = eta * c * (1 - kappa) + rows.sums(eta, kappa).max(axis=0) <= 0
        low, high = np.where(passed, low, kappa), np.where(passed, kappa, high)
    rounding = SLACK * (eta * c + rows.magnitude(eta)) / (eta * (c + rows.decay))
    return np.minimum(high + rounding, 1.0)


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
