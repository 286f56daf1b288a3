r"""Boxes that a circuit never leaves, boxes that it enters, and the time until then.

Each neuron relaxes towards its target r = A / G, a weighted mean of its leak potential and the
reversal potentials of its synapses, with weights that the gates open and close:

.. math::
    C_i \dot x_i = G_i (r_i - x_i), \qquad
    r_i = \frac{g_i V_i + \sum_k w_k \sigma_k E_k}{g_i + \epsilon + \sum_k w_k \sigma_k}

A gap junction pulls at each of its ends like a synapse whose reversal potential is the potential of
the other end, anywhere in that neuron's interval, and whose gate is open. A rectifying one is open
or closed as the states have it: over a box it is open if the source is above the target throughout,
closed if it is nowhere above it, and otherwise its gate is from 0 to 1. So every row test is that
of synapses, its terms with the farthest potential of the other neuron. The hull of all potentials
that pull stays invariant where the intervals of neurons that are joined are one: at its upper end
no other is higher.

Everything here follows from the ranges of the gates over a box of states and inputs. Numbers are
rounded away from what is claimed by `SLACK`, which covers double precision with room to spare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from elegans.errors import InputError
from elegans.proofs.certificates.gates import GateRanges, pulling
from elegans.proofs.certificates.network import SLACK, Array, Box, Network, SynapseNumbers

_ROUNDS = 100


def hull(network: Network) -> Box:
    r"""Return the box of the first theorem: the hull of all potentials that pull at a neuron.

    .. math::
        B^0_i = \mathrm{hull}\big(
            \{V_i : g_i > 0\} \cup \{E_k : w_k > 0\} \cup \{0 : \epsilon > 0\}\big)

    Sensory synapses included; neurons that gap junctions join have the hull of all of them. It is
    forward invariant for any input whatever, and attracts every state: outside, the distance to it
    decays at the rate (g_i + epsilon) / C_i at least, the least of them where neurons are joined.

    Raises
    ------
    InputError
        A neuron has neither leak nor synapse: nothing moves it.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021, theorem 2, is
    this statement with a bound on the reversal potentials alone.

    Examples
    --------
    >>> from elegans import LTC
    >>> box = hull(Network.of(LTC(1, 3)))  # potentials of +1 and -1, and leaks between
    >>> bool((box.lo >= -1).all() and (box.hi <= 1).all())
    True
    """
    lo, hi = of_joined(network, _potentials(network, (network.recurrent, network.sensory)))
    alone = np.flatnonzero(lo > hi)
    if len(alone):
        raise InputError(
            f"neuron {alone[0]} has neither a leak nor a synapse that conducts, so nothing moves "
            "it, expected a conductance at every neuron; train with epsilon > 0 or give it a leak"
        )
    return Box(lo, hi)


def _potentials(network: Network, sets: Sequence[SynapseNumbers]) -> Box:
    """Return the hull of leak and reversal potentials of each neuron; from inf to -inf if none."""
    lo, hi = np.full(len(network), math.inf), np.full(len(network), -math.inf)
    leaks = network.leak > 0
    lo[leaks], hi[leaks] = network.leak_potential[leaks], network.leak_potential[leaks]
    if network.epsilon > 0:
        lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)
    for synapses in sets:
        present = synapses.weight > 0
        target, potential = synapses.target[present], synapses.potential[present]
        np.minimum.at(lo, target, potential)
        np.maximum.at(hi, target, potential)
    return Box(lo, hi)


def of_joined(network: Network, box: Box) -> Box:
    """Return the box in which neurons that gap junctions join have the hull of their intervals."""
    if network.electrical is None:
        return box
    count, joined = len(network), network.electrical.ends
    ends = joined.take(joined.weight > 0)
    graph = coo_array((np.ones(len(ends)), (ends.source, ends.target)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    least, most = np.full(count, math.inf), np.full(count, -math.inf)
    np.minimum.at(least, label, box.lo)
    np.maximum.at(most, label, box.hi)
    return Box(least[label], most[label])


def target_range(network: Network, gates: GateRanges) -> Box:
    r"""Return the exact range of the target r_i over gates that vary independently.

    Its ends are the roots of the row tests H⁺ and H⁻, see `row_tests`. The upper end is the
    largest r_i over choices of each gate between l and h, and a choice is best exactly if it opens
    the synapses with E above r_i and closes those below: start anywhere, choose so, repeat. Each
    round raises r_i, and no choice comes twice. An E that rounding cannot tell from r_i is tried
    both ways: open, one strong synapse hides all that is weaker.
    """
    ends = []
    for sign in (-1.0, 1.0):
        sets = pulling(network, gates, sign)
        r = _target(
            network,
            [(synapses, range_.most) for synapses, range_ in sets],
            otherwise=network.leak_potential,
        )
        for _ in range(_ROUNDS):
            better = r
            for tied in (-SLACK, SLACK):
                chosen = [
                    (
                        synapses,
                        np.where(
                            sign * (synapses.potential - r[synapses.target])
                            >= tied * np.abs(synapses.potential),
                            range_.most,
                            range_.least,
                        ),
                    )
                    for synapses, range_ in sets
                ]
                found = _target(network, chosen, otherwise=r)
                better = np.where(sign * found > sign * better, found, better)
            if np.array_equal(better, r):
                break
            r = better
        ends.append(r)
    slack = SLACK * magnitude(network, gates)
    return Box(ends[0] - slack, ends[1] + slack)


def row_tests(network: Network, box: Box, gates: GateRanges) -> tuple[Array, Array]:
    r"""Return H⁻ at the lower end and H⁺ at the upper end of each row, shape (neuron,).

    .. math::
        H^+_i(t) = g_i (V_i - t) - \epsilon t + \sum_k w_k \max(l_k (E_k - t), h_k (E_k - t))

    and H⁻ with the minimum. If H⁻(lo) >= 0 >= H⁺(hi) in every row, no state in `box` leaves it,
    under any inputs that keep the gates in their ranges, and neither does the semi-implicit step of
    any length. Without self-synapses, parallel synapses, and pairs with a gap junction besides,
    whose gates are tied to each other or to what pulls, the converse holds for the flow, too, but
    for rectifying junctions. `gates` are those over this box and the inputs.
    """
    currents = []
    for sign, t, choose in ((-1.0, box.lo, np.minimum), (1.0, box.hi, np.maximum)):
        current = network.leak * (network.leak_potential - t) - network.epsilon * t
        for synapses, range_ in pulling(network, gates, sign):
            pull = synapses.weight * (synapses.potential - t[synapses.target])
            term = choose(range_.least * pull, range_.most * pull)
            current = current + np.bincount(synapses.target, term, minlength=len(network))
        currents.append(current)
    return currents[0], currents[1]


def stays(network: Network, box: Box, gates: GateRanges) -> NDArray[np.bool_]:
    """Return whether each row passes the tests of `row_tests`, rounding allowed for, (neuron,).

    An end that no potential lies beyond passes without: nothing pulls across it.
    """
    inwards, outwards = row_tests(network, box, gates)
    size = np.abs(box.lo) + np.abs(box.hi) + magnitude(network, gates)
    rounding = SLACK * conductance_range(network, gates).hi * size
    least, greatest = (
        _potentials(network, [synapses for synapses, _ in pulling(network, gates, sign)])
        for sign in (-1.0, 1.0)
    )
    return np.asarray(
        ((inwards >= rounding) | (box.lo <= least.lo))
        & ((outwards <= -rounding) | (box.hi >= greatest.hi))
    )


def conductance_range(network: Network, gates: GateRanges) -> Box:
    """Return the range of the total conductance G = g + epsilon + sum of w sigma."""
    least, most = (
        (network.leak + network.epsilon)
        + sum(
            np.bincount(
                synapses.target, synapses.weight * getattr(range_, end), minlength=len(network)
            )
            for synapses, range_ in pulling(network, gates, 1.0)
        )
        for end in ("least", "most")
    )
    return Box((1 - SLACK) * least, (1 + SLACK) * most)


def time_constant_range(network: Network, gates: GateRanges) -> Box:
    """Return the range of tau = C / G, shape (neuron,), in the unit of the elapsed times.

    The upper end is infinite where a neuron may be without any conductance.

    References
    ----------
    Hasani et al. 2021, theorem 1, is the case of gates from 0 to 1.
    """
    conductance = conductance_range(network, gates)
    with np.errstate(divide="ignore"):
        return Box(
            (1 - SLACK) * network.capacitance / conductance.hi,
            (1 + SLACK) * network.capacitance / conductance.lo,
        )


@dataclass(frozen=True, eq=False)
class Nested:
    """Boxes that a circuit enters one after the other, each forward invariant.

    Parameters
    ----------
    boxes
        The outermost first.
    shares
        ``boxes[n + 1]`` is the target range over ``boxes[n]``, widened by this share of the way
        to ``boxes[n]``; one number a step.
    times
        From anywhere in ``boxes[n]`` the circuit is in ``boxes[n + 1]`` after this time at the
        latest.
    """

    boxes: tuple[Box, ...]
    shares: tuple[float, ...]
    times: tuple[float, ...]

    @property
    def entry_time(self) -> float:
        """Time after which every state of the first box is in the last."""
        return sum(self.times)


def nested_boxes(
    network: Network,
    inputs: Box,
    *,
    start: Box | None = None,
    entry_fraction: float = 1 / 64,
    rounds: int = 32,
    until: float = 0.005,
) -> Nested:
    r"""Return boxes that the circuit enters one after the other while the inputs stay in a range.

    .. math:: B^{n+1} = (1 - \theta)\, r(B^n, U) + \theta B^n

    r(B, U) is the range of the targets. Every box between r(B, U) and an invariant B is invariant,
    and a state of B is in the mixture after the time max (C_i / G_i^min) ln(1 / theta): its
    distance to r(B, U) decays at the rate G_i / C_i.

    Parameters
    ----------
    network
        The circuit.
    inputs
        Range of the mapped inputs, see `Network.range_of`.
    start
        The first box, forward invariant; `hull` by default.
    entry_fraction
        theta.
    rounds
        Largest number of boxes after the first.
    until
        Stop when no side shrinks by more than this share of its first length.

    Examples
    --------
    >>> from elegans import LTC
    >>> network = Network.of(LTC(1, 3))
    >>> nested = nested_boxes(network, network.range_of((-1, 1)))
    >>> all(a.contains(b) for a, b in zip(nested.boxes, nested.boxes[1:]))
    True
    """
    boxes, times = [hull(network) if start is None else start], []
    for _ in range(rounds):
        gates = GateRanges.over(network, boxes[-1], inputs)
        slowest = float(time_constant_range(network, gates).hi.max())
        if not math.isfinite(slowest):
            break  # a neuron that may be cut off need not come nearer
        pulled = target_range(network, gates)
        # Rounding may carry the range across the box, of which it is a part.
        lo = np.maximum(
            boxes[-1].lo, (1 - entry_fraction) * pulled.lo + entry_fraction * boxes[-1].lo
        )
        hi = np.minimum(
            boxes[-1].hi, (1 - entry_fraction) * pulled.hi + entry_fraction * boxes[-1].hi
        )
        shrunk = boxes[-1].width - (hi - lo)
        if (shrunk <= until * boxes[0].width).all():
            break
        boxes.append(Box(lo, hi))
        times.append(entered_after(slowest, entry_fraction))
    return Nested(tuple(boxes), (entry_fraction,) * len(times), tuple(times))


def entered_after(slowest: float, entry_fraction: float) -> float:
    """Return the time after which the distance to all targets has fallen to a fraction."""
    return (1 + SLACK) * slowest * -math.log(entry_fraction)


def _target(
    network: Network, opened: Sequence[tuple[SynapseNumbers, Array]], *, otherwise: Array
) -> Array:
    """Return r_i for synapses with given gates, or `otherwise` where no conductance is open."""
    conductance = network.leak + network.epsilon
    drive = network.leak * network.leak_potential
    for synapses, gate in opened:
        open_ = synapses.weight * gate
        conductance = conductance + np.bincount(synapses.target, open_, minlength=len(network))
        drive = drive + np.bincount(
            synapses.target, open_ * synapses.potential, minlength=len(network)
        )
    return np.divide(drive, conductance, out=otherwise.copy(), where=conductance > 0)


def magnitude(network: Network, gates: GateRanges) -> Array:
    """Return the largest potential that pulls at each neuron, shape (neuron,)."""
    most = np.abs(network.leak_potential)
    for sign in (-1.0, 1.0):
        for synapses, _ in pulling(network, gates, sign):
            np.maximum.at(most, synapses.target, np.abs(synapses.potential))
    return most
