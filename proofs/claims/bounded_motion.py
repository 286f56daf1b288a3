r"""A bound on how far one rewire can move a trajectory.

Claim. A synapse below a threshold T may be replaced by another without harm: the reason for
pruning by magnitude, and the premise of prune-and-rewire.

Hidden assumptions. The circuit contracts, and what is inserted is weak, too. Only the cut is small
by construction.

Corrected. Let two circuits differ by one rewire, which cuts w_a <= T at row i and inserts w_b at
row k. Start both at the same state under the same inputs. Over a box that contains both
trajectories and the potentials of both synapses, let

.. math::
    c = \min_i \Big[ (g_i + \epsilon) / C_i - \sum_{k: j \to i} w_k |s_k| D_k / (4 C_i) \Big],
    \qquad D_k = \max_x |E_k - x_i|

for one of the two circuits, summed over all synapses between neurons, self-synapses and parallel
ones included. Then, in the largest difference of any neuron,

.. math::
    \|x(t) - y(t)\|_\infty \le \frac{1 - e^{-ct}}{c} \,
        \max\Big( \frac{w_a D_a}{C_i}, \frac{w_b D_b}{C_k} \Big)

even where i = k. For c > 0 this is bounded for ever; for c <= 0 it is true as well, and grows with
time (c = 0: the fraction is t).

Reason. -c bounds the logarithmic norm of one circuit's Jacobian in the box: leak and open gates
only damp, and each slope is at most |s|/4. The vector fields of the two differ by at most the
maximum above: for given gates the difference in a row is convex in x_i, so that it is largest at an
end of the box, where the cut and the inserted current have the same sign and are subtracted.
Grönwall's inequality does the rest.
"""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import torch

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Array, Box, Network, SynapseNumbers
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.small_circuits import (
    Synapse,
    circuit,
    dynamics_of,
    rewired,
    trajectory,
)

STEEPEST = 1 / 4
"""Largest slope of the logistic function."""


def common_box(before: Network, after: Network, start: Array | None = None) -> Box:
    """Return a box that neither circuit leaves, from a start, shape (neuron,), or from inside.

    The hull of the potentials of both circuits and of the start.
    """
    boxes = [hull(before), hull(after)]
    if start is not None:
        boxes.append(Box(start, start))
    return Box(np.min([box.lo for box in boxes], axis=0), np.max([box.hi for box in boxes], axis=0))


def contraction_rate(network: Network, box: Box) -> float:
    """Return c: how fast differences shrink in the maximum norm over a box; negative: may grow.

    Examples
    --------
    >>> network = Network.of(circuit(2, [Synapse(0, 1, weight=0.2, gain=2.0)]))
    >>> contraction_rate(network, hull(network))  # 1 - 0.2 * 2 * 1 / 4
    0.9
    """
    synapses = network.recurrent
    worst = synapses.weight * np.abs(synapses.gain) * STEEPEST * _reach(synapses, box)
    coupling = np.bincount(synapses.target, worst, minlength=len(network))
    return float(((network.leak + network.epsilon - coupling) / network.capacitance).min())


def field_difference(before: Network, after: Network, box: Box) -> Array:
    """Return how much the two vector fields can differ in a box, shape (neuron,).

    Any number of slots may differ, in any rows.

    Raises
    ------
    InputError
        The circuits differ in more than their synapses.
    """
    _check_alike(before, after)
    worst = np.zeros(len(before))
    for end in box:
        up, down = np.zeros(len(before)), np.zeros(len(before))
        for kind in ("recurrent", "sensory"):
            old, new = getattr(before, kind), getattr(after, kind)
            changed = np.zeros(len(old), dtype=bool)
            for field in fields(SynapseNumbers):
                changed |= getattr(old, field.name) != getattr(new, field.name)
            for synapses, sign in ((old.take(changed), -1.0), (new.take(changed), 1.0)):
                pull = sign * synapses.weight * (synapses.potential - end[synapses.target])
                # Gates between 0 and 1: the worst opens what pulls one way and closes the rest.
                np.add.at(up, synapses.target, np.maximum(pull, 0.0))
                np.add.at(down, synapses.target, np.maximum(-pull, 0.0))
        worst = np.max([worst, up, down], axis=0)
    difference: Array = worst / before.capacitance
    return difference


def growth(rate: float, times: Array) -> Array:
    """Return (1 - exp(-c t)) / c, or t for c = 0, shape (time,).

    Examples
    --------
    >>> growth(0.0, np.array([2.0])), growth(2.0, np.array([math.inf]))
    (array([2.]), array([0.5]))
    """
    return times.copy() if rate == 0 else -np.expm1(-rate * times) / rate


def bound(before: Network, after: Network, times: Array, start: Array | None = None) -> Array:
    """Return how far a rewire moves any neuron of a trajectory at most, shape (time,).

    Parameters
    ----------
    before, after
        The circuit on both sides of any number of rewires: slots keep their places.
    times
        Times since the common start, shape (time,).
    start
        The common start, shape (neuron,), if it is not inside the potentials of both circuits.

    Raises
    ------
    InputError
        The circuits differ in more than their synapses.

    Examples
    --------
    >>> before = circuit(2, [Synapse(0, 0, 0.01, gain=1.0)])
    >>> after = rewired(before, "recurrent", 0, Synapse(0, 1, 0.1, gain=1.0))
    >>> bound(Network.of(before), Network.of(after), np.array([math.inf])).round(4)
    array([0.1003])
    """
    box = common_box(before, after, start)
    rate = max(contraction_rate(network, box) for network in (before, after))
    most: Array = growth(rate, times) * field_difference(before, after, box).max()
    return most


def distance(
    before: LTCCell, after: LTCCell, start: Array, inputs: Array, times: Array, substeps: int = 1
) -> Array:
    """Return how far the trajectories of two circuits are apart, shape (time,).

    By simulation with `substeps` steps of rk4 from one time to the next, from a common start,
    shape (neuron,), under a constant input, shape (input,).
    """
    grid = torch.as_tensor(times)
    first, second = (
        trajectory(
            dynamics_of(cell, torch.as_tensor(inputs)),
            torch.as_tensor(start),
            grid,
            substeps=substeps,
        )
        for cell in (before, after)
    )
    apart: Array = (first - second).abs().amax(dim=-1).numpy()
    return apart


def random_rewire(
    seed: int, neurons: int = 5, strength: float = 0.15, inserted: float = 0.15
) -> tuple[LTCCell, LTCCell]:
    """Return a random circuit, self-synapses and parallel ones among them, before and after.

    `strength` is the largest conductance, `inserted` that of the synapse that is added; gains are
    within ±4.
    """
    rng = np.random.default_rng(seed)

    def drawn(source: int, target: int, weight: float) -> Synapse:
        sign = int(rng.choice([-1, 1]))
        potential = sign * rng.uniform(0.5, 1.5)
        gain = rng.choice([-1, 1]) * rng.uniform(1, 4)
        return Synapse(source, target, weight, potential, gain, rng.uniform(-0.5, 0.5))

    recurrent = [
        drawn(int(j), int(i), rng.uniform(0, strength))
        for j, i in rng.integers(neurons, size=(9, 2))
    ]
    recurrent.append(drawn(0, 0, strength / 2))
    sensory = [drawn(0, i, rng.uniform(0, 1)) for i in range(neurons)]
    before = circuit(
        neurons,
        recurrent,
        sensory,
        leak=rng.uniform(0.5, 1.5, neurons).tolist(),
        leak_potential=rng.uniform(-0.5, 0.5, neurons).tolist(),
        capacitance=rng.uniform(0.5, 1.5, neurons).tolist(),
    )
    slot = int(before.recurrent.weight.argmin())
    source, old = int(before.recurrent.source[slot]), int(before.recurrent.target[slot])
    target = (old + int(rng.integers(1, neurons))) % neurons
    return before, rewired(before, "recurrent", slot, drawn(source, target, inserted))


def demonstrate(networks: int = 20) -> Demonstration:
    """Return measured distances and bounds over random circuits with self-synapses.

    Examples
    --------
    >>> shown = demonstrate(networks=3)
    >>> shown.confirmed
    True
    """
    times = np.linspace(0, 20, 401)
    rates, shares, ends = [], [], []
    for seed in range(networks):
        before, after = random_rewire(seed)
        first, second = Network.of(before), Network.of(after)
        start = common_box(first, second)
        middle = (start.lo + start.hi) / 2
        apart = distance(before, after, middle, np.array([0.3]), times)
        most = bound(first, second, times)
        rates.append(contraction_rate(first, start))
        shares.append(float((apart[1:] / most[1:]).max()))
        ends.append((float(apart[-1]), float(most[-1])))
    rows = (
        Row("distance at the end, largest over the circuits", *np.max(ends, axis=0).tolist()),
        Row("largest share of the bound that was reached, of 1", max(shares), 1.0),
        Row("smallest contraction rate c of a circuit before", min(rates), math.nan),
    )
    return Demonstration(("measured", "bound"), rows, max(shares) <= 1)


def _reach(synapses: SynapseNumbers, box: Box) -> Array:
    """Return D = max |E - x_i| over a box, shape (synapse,)."""
    ends = (end[synapses.target] for end in box)
    reach: Array = np.max([np.abs(synapses.potential - end) for end in ends], axis=0)
    return reach


def _check_alike(before: Network, after: Network) -> None:
    same = before.epsilon == after.epsilon and all(
        np.array_equal(getattr(before, name), getattr(after, name))
        for name in ("capacitance", "leak", "leak_potential", "scale", "shift")
    )
    slots = all(len(getattr(before, k)) == len(getattr(after, k)) for k in ("recurrent", "sensory"))
    if not same or not slots:
        raise InputError(
            "got circuits that differ in their neurons, input mapping or number of slots, expected "
            "one circuit before and after a rewire; compare copies between which only the values "
            "of slots changed"
        )


CLAIM = Claim(
    name="bounded_motion",
    statement="replacing a synapse below the threshold T moves trajectories but little",
    source="the reason given for pruning by magnitude",
    assumptions=(
        "the circuit contracts (c > 0)",
        "the inserted synapse is weak as well",
    ),
    corrected=(
        "from the same start, every neuron stays within (1 - exp(-ct))/c max(T D_a/C_i, "
        "w_b D_b/C_k), also for i = k; c of either circuit will do, and any sign of c"
    ),
    verdict="true as restated",
    demonstrate=demonstrate,
)
