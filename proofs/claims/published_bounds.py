r"""The published bounds of time constants and states, and their assumptions.

Claim (Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021). For
dx/dt = -(1/tau + f) x + f A:

- theorem 1: tau_i / (1 + tau_i W_i) <= tau_sys_i <= tau_i;
- theorem 2: min(0, A_i^min) <= x_i(t) <= max(0, A_i^max) on a finite interval.

Hidden assumptions. The gates are within [0, 1], though the paper's algorithm 1 allows "an arbitrary
activation function", tanh for example; the leak potential is 0; the start lies between the bounds.
The proof of the second goes by a discretization with explicit Euler steps, which itself leaves the
bounds if steps are long.

Counterexamples. With f = 2 tanh, a gate at -1 and tau = 1, tau_sys = 1 / (1 - 2) = -1: the state
grows like e^t. With a leak potential of 2 a neuron rests above max(0, A). An explicit Euler step of
length 1 with tau = 1 and f = 9 takes x = 0 to 9 A.

Corrected. With gates between l = 0 and h = 1,

.. math::
    \frac{C_i}{g_i + \epsilon + \sum_k w_k} \le \tau_i \le \frac{C_i}{g_i + \epsilon}, \qquad
    x_i(t) \in \mathrm{hull}\{V_i, E_k, (0 : \epsilon > 0)\}

for all times, from any start inside; from outside, the distance decays at the rate
(g_i + epsilon) / C_i at least. It is the special case of
`elegans.proofs.certificates.boxes` that knows nothing of states and inputs. The semi-implicit step
keeps the bounds at every length.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from elegans.proofs.certificates.boxes import hull, time_constant_range
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import Array, Box, Network
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.invariant_hull import excess
from elegans.proofs.claims.small_circuits import (
    Synapse,
    circuit,
    dynamics_of,
    trajectory,
)
from elegans.solvers import get_solver


def time_constant_bounds(network: Network) -> Box:
    """Return C / (g + epsilon + sum of w) and C / (g + epsilon), for any states and inputs.

    Examples
    --------
    >>> box = time_constant_bounds(Network.of(circuit(2, [Synapse(0, 1, 3.0)])))
    >>> box.lo.round(9), box.hi.round(9)
    (array([1.  , 0.25]), array([1., 1.]))
    """
    return time_constant_range(network, GateRanges.free(network))


def state_bounds(network: Network, start: Array | None = None) -> Box:
    """Return the box that a circuit stays in from a start, shape (neuron,), or from inside.

    Examples
    --------
    >>> state_bounds(Network.of(circuit(1, leak_potential=2.0)))
    Box(lo=array([2.]), hi=array([2.]))
    """
    box = hull(network)
    return box if start is None else Box(np.minimum(box.lo, start), np.maximum(box.hi, start))


def published_state_bounds(network: Network) -> Box:
    """Return min(0, E^min) and max(0, E^max), theorem 2 as published: no leak potential.

    Examples
    --------
    >>> published_state_bounds(Network.of(circuit(1, leak_potential=2.0)))
    Box(lo=array([0.]), hi=array([0.]))
    """
    lo, hi = np.zeros(len(network)), np.zeros(len(network))
    for synapses in (network.recurrent, network.sensory):
        present = synapses.take(synapses.weight > 0)
        np.minimum.at(lo, present.target, present.potential)
        np.maximum.at(hi, present.target, present.potential)
    return Box(lo, hi)


def with_gate(
    gate: float, weight: float, tau: float = 1.0, time: float = 5.0
) -> tuple[float, float]:
    """Return tau_sys and x(time) / x(0) for one neuron with A = 0 and f = weight * gate, held.

    Examples
    --------
    A closed gate leaves the leak alone; a gate of tanh can be negative:

    >>> with_gate(0.0, 2.0, time=1.0)[1] < 1 < with_gate(-1.0, 2.0, time=1.0)[1]
    True
    """
    rate = 1 / tau + weight * gate
    return 1 / rate, math.exp(-rate * time)


def demonstrate() -> Demonstration:
    """Return what becomes of the bounds without each assumption, and with them.

    Examples
    --------
    >>> demonstrate().confirmed
    True
    """
    tau, grown = with_gate(gate=-1.0, weight=2.0)
    leaky = circuit(1, leak_potential=2.0, sensory=[Synapse(0, 0, 0.5, gain=0.0)])
    network = Network.of(leaky)
    times = torch.linspace(0, 40, 801, dtype=torch.float64)
    rest = trajectory(dynamics_of(leaky), [0.0], times)[-1:].numpy()

    driven = circuit(1, sensory=[Synapse(0, 0, 18.0, gain=0.0)])  # f = 9, A = 1
    start, h = torch.zeros(1, 1, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    after = {
        name: get_solver(name).step(dynamics_of(driven), start, h).numpy()
        for name in ("euler", "semi_implicit")
    }
    published = published_state_bounds(Network.of(driven))
    rows = (
        Row("tau_sys with a gate of tanh at -1; published: > 0", tau, 0.0),
        Row("|x(5)| / |x(0)| there", grown, 1.0),
        Row("x at rest with leak potential 2, A = 1", float(rest[0, 0]), 1.0),
        Row("x after one explicit Euler step, A = 1", float(after["euler"][0, 0]), 1.0),
        Row("x after one semi-implicit step, A = 1", float(after["semi_implicit"][0, 0]), 1.0),
    )
    confirmed = (
        tau < 0
        and grown > 1
        and excess(published_state_bounds(network), rest) > 0.1
        and excess(state_bounds(network, np.zeros(1)), rest) == 0
        and excess(published, after["euler"]) > 1
        and excess(published, after["semi_implicit"]) == 0
    )
    return Demonstration(("found", "published bound"), rows, confirmed)


CLAIM = Claim(
    name="published_bounds",
    statement=("tau/(1 + tau W) <= tau_sys <= tau, and min(0, A^min) <= x <= max(0, A^max)"),
    source="Hasani et al., AAAI 2021, theorems 1 and 2",
    assumptions=(
        "gates are within [0, 1], not those of tanh",
        "the leak potential is 0",
        "the start lies between the bounds",
    ),
    corrected=(
        "C/(g + epsilon + sum w) <= tau <= C/(g + epsilon); x stays in the hull of leak potential, "
        "reversal potentials, start, and 0 if epsilon > 0"
    ),
    verdict="true as restated",
    demonstrate=demonstrate,
)
