"""Advice where a circuit is not certified: what binds, and what would help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elegans.proofs.certificates.boxes import stays, target_range
from elegans.proofs.certificates.contraction import Rows, WorstCase
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import SLACK, Array, Box, Index, Network
from elegans.proofs.certificates.perron import Components, best_rates, left_weights, weights_for

_BISECTIONS = 12
_MOST_LISTED = 10


def binding_row(rows: Rows, components: Components) -> tuple[int, list[dict[str, Any]]]:
    """Return the neuron whose row binds, and its synapses by their part in the coupling.

    The row with the largest part in the Perron vectors of the slowest component: at the best
    weights all rows of a component bind alike.
    """
    neurons, policy, left = _slowest(rows, components)
    eta = components.eta[neurons]
    row = int(np.argmax(left * eta))
    mine = np.flatnonzero(policy.target == row)
    coupling = policy.gain[mine] * eta[policy.source[mine]]
    total = float(np.maximum(coupling, 0.0).sum())
    order = [k for k in np.argsort(-coupling, kind="stable") if coupling[k] > 0]
    return int(neurons[row]), [
        {
            "source": int(neurons[policy.source[mine[k]]]),
            "target": int(neurons[row]),
            "share": float(coupling[k]) / total,
        }
        for k in order[:_MOST_LISTED]
    ]


def prune_first(rows: Rows, components: Components) -> list[dict[str, Any]]:
    r"""Return the synapses of the slowest component whose removal helps the rate most.

    .. math::
        \frac{\partial \lambda^*}{\partial w_k}
        = -\frac{y_i \varphi_k}{C_i \sum_j y_j \eta_j}

    with the left Perron vector y; sorted by what removing the whole conductance would gain to first
    order. Gap junctions, which count in two rows, are not among them.
    """
    neurons, policy, left = _slowest(rows, components)
    gain = sensitivities(policy, components.eta[neurons], left)
    total = np.where(policy.joined, 0.0, gain * policy.weight)
    order = [k for k in np.argsort(-total, kind="stable") if total[k] > 0]
    return [
        {
            "source": int(neurons[policy.source[k]]),
            "target": int(neurons[policy.target[k]]),
            "weight": float(policy.weight[k]),
            "gain_per_conductance": float(gain[k]),
        }
        for k in order[:_MOST_LISTED]
    ]


def sensitivities(policy: WorstCase, eta: Array, left: Array) -> Array:
    """Return what a unit of conductance costs the best rate, -d lambda / d w, shape (synapse,)."""
    mine = policy.target
    with np.errstate(invalid="ignore", divide="ignore"):
        coupling = np.where(policy.weight > 0, policy.gain / policy.weight, 0.0)
    loss = coupling * eta[policy.source] - policy.gate * eta[mine] / policy.capacitance[mine]
    return np.asarray(left[mine] * loss / (left @ eta))


def _slowest(rows: Rows, components: Components) -> tuple[Index, WorstCase, Array]:
    """Return neurons, worst gates and left Perron vector of the slowest component."""
    neurons = np.flatnonzero(components.of == components.slowest)
    policy = rows.inside(neurons).policy(components.eta[neurons])
    left = left_weights(policy, components.eta[neurons], components.best_rate)
    return neurons, policy, left


def largest_scale(network: Network, rate_of: Callable[[Network], float]) -> float | None:
    """Return the largest factor below 1 found for all recurrent conductances with a rate > 0.

    By bisection; between the factors tried, certification need not be monotone.
    """
    low, high = 0.0, 1.0
    if rate_of(network.scaled(0.0)) <= 0:
        return None
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if rate_of(network.scaled(middle)) > 0:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, eq=False)
class Local:
    """A certified box round an equilibrium under the middle of the inputs.

    Parameters
    ----------
    equilibrium
        Shape (neuron,).
    radius
        Half lengths of the box, shape (neuron,).
    rate
        The rate that the weights prove in it.
    """

    equilibrium: Array
    radius: Array
    rate: float


def local_certificate(network: Network, given: Box) -> Local | None:
    """Return the largest certified box found round an equilibrium of a constant input.

    The input is the middle of the range. The box has the shape of the best weights at the
    equilibrium, and its size is found by bisection; None if there is no such box, because the
    equilibrium is unstable or the method too coarse.
    """
    middle = 0.5 * (given.lo + given.hi)
    u = network.scale * middle + network.shift
    inputs = Box(u, u)
    point = _equilibrium(network, inputs)
    if point is None:
        return None
    shape = _rate_in(network, Box(point, point), inputs)[1]
    low, high, best = 0.0, 1.0, None
    size = float((np.abs(point) + 1.0).max())
    for _ in range(2 * _BISECTIONS):
        middle_size = 0.5 * (low + high)
        radius = middle_size * size * shape / shape.max()
        box = Box(point - radius, point + radius)
        rate, _ = _rate_in(network, box, inputs)
        gates = GateRanges.over(network, box, inputs)
        if rate > 0 and stays(network, box, gates).all():
            low, best = middle_size, Local(point, radius, rate)
        else:
            high = middle_size
    return best


def _rate_in(network: Network, box: Box, inputs: Box) -> tuple[float, Array]:
    rows = Rows.of(network, box, GateRanges.over(network, box, inputs))
    best = best_rates(rows, tolerance=1e-3).best_rate
    eta = weights_for(rows, 0.5 * best) if best > 0 else None
    return best, np.ones(len(network)) if eta is None else eta


def _equilibrium(network: Network, inputs: Box, rounds: int = 20_000) -> Array | None:
    """Return an equilibrium under a constant input: the targets applied until they stay."""
    x = np.zeros(len(network))
    for _ in range(rounds):
        target = target_range(network, GateRanges.over(network, Box(x, x), inputs))
        new = 0.5 * (x + 0.5 * (target.lo + target.hi))  # damped: undamped it may alternate
        if np.abs(new - x).max() < 1e3 * SLACK * (1 + np.abs(x).max()):
            return np.asarray(new)
        x = new
    return None
