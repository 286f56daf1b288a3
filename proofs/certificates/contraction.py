r"""Worst-case rates of contraction between two trajectories under the same input.

In the weighted maximum norm ``|d| = max_i |d_i| / eta_i`` the logarithmic norm of the Jacobian is
a maximum over rows. Leak and coupling of a synapse share its gate, so that for a row at x_i = xi
the worst gate of each synapse can be found by itself:

.. math::
    \varphi_k(\xi) = \max_{l_k \le \sigma \le h_k}
        \big(b_k \sigma (1 - \sigma) - \eta_i \sigma\big),
    \qquad b_k = |s_k|\, |E_k - \xi|\, \eta_j

    F_i(\eta) = \frac{1}{C_i} \max_{\xi \in \{lo_i, hi_i\}} \Big(
        -\eta_i \big(g_i + \epsilon + \sum_\text{sensory} w_k l_k\big)
        + \sum_k w_k \varphi_k(\xi)\Big)

Every term is convex in xi, so the worst potential is an end of the box. If max_i F_i / eta_i =
-lambda < 0 on a convex invariant box, then |x(t) - y(t)| <= exp(-lambda t) |x(0) - y(0)| for any
two trajectories in it, whatever input they share.

A self-synapse changes the diagonal: its b_k is s_k (E_k - xi) eta_i with its sign, and for a
negative one the worst gate is an end of its range. Its gate and xi are tied to each other by the
same potential, so the interval of its row is cut into `pieces`, each with a range of its own.

A gap junction between i and j is a diffusive coupling: the current w (x_j - x_i) adds w to the
Jacobian's row at j and takes it off at i, so that F_i gains

.. math:: \frac{w}{C_i} (\eta_j - \eta_i)

That is harmless where eta_j <= eta_i and free at equal weights; its sum over a circuit stays
convex, homogeneous and cooperative. The current w max(x_j - x_i, 0) of a rectifying junction has no
derivative where the potentials are equal, but it is Lipschitz continuous: between two states it
differs by q w times what x_j - x_i does, with one q from 0 to 1 for both ends. So each of its rows
gains at most

.. math:: \max_{l \le q \le h} \frac{q w}{C_i} (\eta_j - \eta_i)

where the box leaves open whether it conducts; l = h where it does not.

Everything here is in double precision. A share `SLACK` of the absolute values of all terms is added
to each row for rounding: F is that much larger, and stays convex, homogeneous and cooperative, so
that what is found for it passes the check.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elegans.proofs.certificates.gates import GateRanges, gates_between
from elegans.proofs.certificates.network import SLACK, Array, Box, Index, Network, SynapseNumbers

PIECES = 32
"""Parts into which the interval of a neuron with a self-synapse is cut."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of the contraction condition: everything that does not depend on eta.

    There is one row for each neuron, and one for each piece of the interval of a neuron with a
    self-synapse; F_i is the largest of the rows of neuron i.

    Parameters
    ----------
    neurons
        Number of neurons.
    neuron
        The neuron of each row, in ascending order, shape (row,).
    capacitance, decay
        C, and g + epsilon + sum of w l over sensory synapses, shape (row,).
    xi
        Ends of the interval of each row, shape (2, row).
    synapse, source, row
        Number, presynaptic neuron and row of each entry, shape (entry,): an entry is a recurrent
        synapse, once for each row of its target.
    weight
        Conductance w, shape (entry,).
    slope
        |s| |E - xi| at both ends xi of the row's interval, shape (2, entry); s (E - xi) for a
        self-synapse.
    least, most
        Ranges of the gates, shape (entry,).
    joined
        Whether an entry is the end of a gap junction, shape (entry,): these are numbered behind all
        synapses, have slope 1, and their coupling is w q eta_j.
    """

    neurons: int
    neuron: Index
    capacitance: Array
    decay: Array
    xi: Array
    synapse: Index
    source: Index
    row: Index
    weight: Array
    slope: Array
    least: Array
    most: Array
    joined: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        network: Network,
        box: Box,
        gates: GateRanges,
        *,
        pieces: int = PIECES,
        reach: Array | float = 0.0,
    ) -> Rows:
        """Return the rows of a circuit over a box of states.

        Parameters
        ----------
        network
            The circuit.
        box
            Its states.
        gates
            Ranges of its gates over this box.
        pieces
            Parts of the interval of a neuron with a self-synapse; 1 where its gate may be anything.
        reach
            Share of the way from its potential to any other of the box that a neuron may have gone
            to the potential xi that pulls, (neuron,): 0 for the flow, where they are one.
        """
        sensory, count = network.sensory, len(network)
        synapses, least, most, joined = _entries(network, gates)
        decay = network.leak + network.epsilon
        decay = decay + np.bincount(
            sensory.target, sensory.weight * gates.sensory.least, minlength=count
        )
        repeats = np.ones(count, dtype=np.int64)
        repeats[synapses.target[(synapses.source == synapses.target) & (synapses.weight > 0)]] = (
            pieces
        )
        first = np.concatenate([[0], np.cumsum(repeats)])
        neuron = np.repeat(np.arange(count), repeats)
        piece = np.arange(len(neuron)) - first[neuron]
        width = box.width[neuron] / repeats[neuron]
        # The last end is that of the box itself, not one that rounding has moved.
        lo = box.lo[neuron] + piece * width
        hi = np.where(piece + 1 == repeats[neuron], box.hi[neuron], lo + width)
        # Ends within are rounded: pieces overlap, so that nothing is left out between them.
        slack = SLACK * np.maximum(np.abs(lo), np.abs(hi))
        lo = np.maximum(box.lo[neuron], lo - slack)
        hi = np.minimum(box.hi[neuron], hi + slack)

        copies = repeats[synapses.target]
        entry = np.repeat(np.arange(len(synapses)), copies)
        start = np.concatenate([[0], np.cumsum(copies)])
        row = first[synapses.target[entry]] + np.arange(len(entry)) - start[entry]
        entries, joined = synapses.take(entry), joined[entry]
        own = entries.source == entries.target
        reach = np.broadcast_to(reach, count)[neuron]
        xi = np.stack([lo - reach * (lo - box.lo[neuron]), hi + reach * (box.hi[neuron] - hi)])
        slope = entries.gain * (entries.potential - xi[:, row])
        least, most = least[entry], most[entry]
        if pieces > 1 and own.any():
            mine = entries.take(own)
            tied = gates_between(mine, lo[row[own]], hi[row[own]])
            least[own] = np.maximum(least[own], tied.least)
            most[own] = np.minimum(most[own], tied.most)
        return cls(
            count,
            neuron,
            network.capacitance[neuron],
            decay[neuron],
            xi,
            entry,
            entries.source,
            row,
            entries.weight,
            np.where(joined, 1.0, np.where(own, slope, np.abs(slope))),
            least,
            most,
            joined,
        )

    @property
    def target(self) -> Index:
        """The neuron of each entry's row, shape (entry,)."""
        return self.neuron[self.row]

    def worst_gates(self, eta: Array, share: float | Array = 1.0) -> Array:
        """Return the gate of each entry that is worst for its row, shape (2, entry).

        Of a gap junction between equal weights any is; the least, which joins them least, is taken.
        """
        mine = np.where(self.joined, eta[self.target], (eta * share)[self.target])
        b = self.slope * eta[self.source]
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = 0.5 * (1 - mine / b)
        # b <= 0 makes a convex function of the gate, which is largest at an end.
        least = b * self.least * (1 - self.least) - mine * self.least
        most = b * self.most * (1 - self.most) - mine * self.most
        convex = np.where(least >= most, self.least, self.most)
        gate = np.where(b > 0, np.clip(inner, self.least, self.most), convex)
        return np.where(self.joined, np.where(b > mine, self.most, self.least), gate)

    def _closed(self, gate: Array) -> Array:
        """Return 1 - sigma of gates, 1 for gap junctions: what the coupling has besides sigma."""
        return np.where(self.joined, 1.0, 1 - gate)

    def sums(self, eta: Array, share: float | Array = 1.0) -> Array:
        r"""Return eta_i R_i(xi) at both ends, shape (2, row): what F_i takes the maximum of.

        .. math::
            \eta_i R_i = -\kappa_i \eta_i\, decay_i
            + \sum_k w_k \max_\sigma \big(b_k \sigma (1 - \sigma) - \kappa_i \eta_i \sigma\big)
            + \sum_{k: i - j} w_k \big(\max_q q (\eta_j - \eta_i) + (1 - \kappa_i) \eta_i\big)

        with kappa = `share`, 1 for the flow, and the allowance for rounding.
        """
        gate = self.worst_gates(eta, share)
        mine = eta * share
        coupling = self.slope * eta[self.source] * self._closed(gate)
        against = np.where(self.joined, eta[self.target], mine[self.target])
        term = self.weight * gate * (coupling - against)
        sums = -mine[self.neuron] * self.decay + self._per_row(term)
        sums += (eta - mine)[self.neuron] * self.junctions
        return np.asarray(sums + SLACK * self.magnitude(eta))

    @cached_property
    def _reach(self) -> Array:
        """The largest coupling of each entry, w h |s| |E - xi|, shape (entry,)."""
        return np.asarray(self.weight * self.most * np.abs(self.slope).max(axis=0, initial=0.0))

    @cached_property
    def junctions(self) -> Array:
        """The conductance of all gap junctions of each row, shape (row,)."""
        return np.asarray(self._per_row((self.weight * self.joined)[None])[0])

    @cached_property
    def conductance(self) -> Array:
        """The decay of each row with all gates as open as they can be, shape (row,)."""
        most = np.where(self.joined, 1.0, self.most)
        return np.asarray(np.abs(self.decay) + self._per_row((self.weight * most)[None])[0])

    @cached_property
    def speed(self) -> Array:
        """The largest rate at which each neuron follows its target, shape (neuron,)."""
        return self.worst(self.conductance / self.capacitance)

    def magnitude(self, eta: Array) -> Array:
        """Return the sum of the absolute values of all terms of a row, shape (row,)."""
        coupling = self._per_row((self._reach * eta[self.source])[None])[0]
        return np.asarray(eta[self.neuron] * self.conductance + coupling)

    def value(self, eta: Array) -> Array:
        """Return F(eta), shape (neuron,)."""
        return self.worst(np.asarray(self.sums(eta).max(axis=0) / self.capacitance))

    def policy(self, eta: Array, share: float = 1.0) -> WorstCase:
        """Return the linear map A with A eta = F(eta) and A <= F everywhere, as `sums` for F."""
        sums = self.sums(eta, share)
        end = sums.argmax(axis=0)  # (row,)
        value = sums.max(axis=0) / self.capacitance
        # The last of the rows of a neuron, sorted by value, is its worst.
        order = np.lexsort((value, self.neuron))
        last = np.cumsum(np.bincount(self.neuron, minlength=self.neurons)) - 1
        chosen = order[last]  # (neuron,)
        kept = np.flatnonzero(chosen[self.target] == self.row)
        xi = self.xi[end[chosen], chosen]
        end = end[self.row[kept]]
        gate = self.worst_gates(eta, share)[end, kept]
        closed = np.where(self.joined[kept], 1.0, 1 - gate)
        target, weight = self.target[kept], self.weight[kept]
        capacitance = self.capacitance[chosen]
        open_ = np.bincount(target, weight * gate, minlength=self.neurons)
        diagonal = -share * (self.decay[chosen] + open_)
        gain = weight * gate * closed * self.slope[end, kept] + SLACK * self._reach[kept]
        diagonal += SLACK * self.conductance[chosen]
        return WorstCase(
            self.synapse[kept],
            self.source[kept],
            target,
            weight,
            gain / capacitance[target],
            gate,
            diagonal / capacitance,
            capacitance,
            xi,
            self.joined[kept],
        )

    def rate(self, eta: Array) -> float:
        """Return lambda(eta) = -max_i F_i(eta) / eta_i; positive proves contraction.

        Minus infinity where numbers overflow.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            worst = (self.value(eta) / eta).max()
        return float(-(worst + SLACK * abs(worst))) if np.isfinite(worst) else -np.inf

    def row_rates(self, eta: Array) -> Array:
        """Return -F_i / eta_i of each neuron, shape (neuron,); the least is the rate."""
        return -self.value(eta) / eta

    def repeated(self, copies: Index) -> Rows:
        """Return each row as often as `copies` says, (row,), one after the other."""
        order = np.repeat(np.arange(len(copies)), copies)
        first = np.concatenate([[0], np.cumsum(copies)])
        repeats = copies[self.row]
        entry = np.repeat(np.arange(len(self.row)), repeats)
        copy = np.arange(len(entry)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        return Rows(
            self.neurons,
            self.neuron[order],
            self.capacitance[order],
            self.decay[order],
            self.xi[:, order],
            self.synapse[entry],
            self.source[entry],
            first[self.row[entry]] + copy,
            self.weight[entry],
            self.slope[:, entry],
            self.least[entry],
            self.most[entry],
            self.joined[entry],
        )

    def inside(self, neurons: Index) -> Rows:
        """Return the rows of some neurons, numbered anew, cut off from all others."""
        apart = np.zeros(self.neurons, dtype=np.int64)
        apart[neurons] = 1
        cut = self.apart(apart)
        place = np.full(self.neurons, -1)
        place[neurons] = np.arange(len(neurons))
        rows = np.flatnonzero(place[cut.neuron] >= 0)
        row_place = np.full(len(cut.neuron), -1)
        row_place[rows] = np.arange(len(rows))
        mine = row_place[cut.row] >= 0
        return Rows(
            len(neurons),
            place[cut.neuron[rows]],
            cut.capacitance[rows],
            cut.decay[rows],
            cut.xi[:, rows],
            cut.synapse[mine],
            place[cut.source[mine]],
            row_place[cut.row[mine]],
            cut.weight[mine],
            cut.slope[:, mine],
            cut.least[mine],
            cut.most[mine],
            cut.joined[mine],
        )

    def apart(self, component: Index) -> Rows:
        """Return the rows with the components of neurons cut off from each other.

        A synapse between two components keeps its part of the decay, at the worst gate, and loses
        its coupling: its source is taken at a weight eta of zero.
        """
        within = component[self.source] == component[self.target]
        lost = np.bincount(
            self.row[~within], (self.weight * self.least)[~within], minlength=len(self.neuron)
        )
        return Rows(
            self.neurons,
            self.neuron,
            self.capacitance,
            self.decay + lost,
            self.xi,
            self.synapse[within],
            self.source[within],
            self.row[within],
            self.weight[within],
            self.slope[:, within],
            self.least[within],
            self.most[within],
            self.joined[within],
        )

    def _per_row(self, terms: Array) -> Array:
        """Sum entries (end, entry) by row, (end, row)."""
        return np.stack([np.bincount(self.row, end, minlength=len(self.neuron)) for end in terms])

    def worst(self, values: Array) -> Array:
        """Return the largest of the rows of each neuron, (neuron,)."""
        if len(self.neuron) == self.neurons:
            return np.asarray(values)
        largest = np.full(self.neurons, -np.inf)
        np.maximum.at(largest, self.neuron, values)
        return largest


def _entries(
    network: Network, gates: GateRanges
) -> tuple[SynapseNumbers, Array, Array, NDArray[np.bool_]]:
    """Return recurrent synapses and ends of junctions, their gates, and which are the latter."""
    synapses, range_ = network.recurrent, gates.recurrent
    joined = np.zeros(len(synapses), dtype=np.bool_)
    if network.electrical is None or gates.electrical is None:
        return synapses, range_.least, range_.most, joined
    ends, conduction = network.electrical.ends, gates.electrical
    columns = (
        np.concatenate([getattr(one, field.name) for one in (synapses, ends)])
        for field in fields(SynapseNumbers)
    )
    return (
        SynapseNumbers(*columns),
        np.concatenate([range_.least, conduction.least]),
        np.concatenate([range_.most, conduction.most]),
        np.concatenate([joined, np.ones(len(ends), dtype=np.bool_)]),
    )


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The linear map of the worst gates: `gain` from source to target, and `diagonal`.

    The gain of a self-synapse belongs to the diagonal as well; see `matrix`.
    """

    synapse: Index
    """Numbers of the synapses, shape (synapse,); those of gap junctions are behind all others."""
    source: Index
    target: Index
    weight: Array
    gain: Array
    """w sigma (1 - sigma) b / C for each synapse, w q / C of a gap junction, shape (synapse,)."""
    gate: Array
    diagonal: Array
    """-(decay + sum of w sigma) / C, shape (neuron,)."""
    capacitance: Array
    xi: Array
    """The worst potential of each neuron, shape (neuron,)."""
    joined: NDArray[np.bool_]
    """Which are ends of gap junctions, shape (synapse,)."""

    def apply(self, eta: Array) -> Array:
        """Return A eta."""
        return self.diagonal * eta + np.bincount(
            self.target, self.gain * eta[self.source], minlength=len(self.diagonal)
        )

    def inside(self, neurons: Index) -> WorstCase:
        """Return the block of A of some neurons, numbered anew."""
        place = np.full(len(self.diagonal), -1)
        place[neurons] = np.arange(len(neurons))
        mine = (place[self.target] >= 0) & (place[self.source] >= 0)
        return WorstCase(
            self.synapse[mine],
            place[self.source[mine]],
            place[self.target[mine]],
            self.weight[mine],
            self.gain[mine],
            self.gate[mine],
            self.diagonal[neurons],
            self.capacitance[neurons],
            self.xi[neurons],
            self.joined[mine],
        )

    def matrix(self) -> Array:
        """Return A, dense, shape (neuron, neuron)."""
        n = len(self.diagonal)
        flat = np.bincount(self.target * n + self.source, self.gain, minlength=n * n)
        return np.asarray(flat.reshape(n, n) + np.diag(self.diagonal), dtype=np.float64)
