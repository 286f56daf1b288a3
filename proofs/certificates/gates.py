"""Ranges of the gates of a circuit, and of what its gap junctions conduct, over boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from elegans.errors import InputError
from elegans.proofs.certificates.network import (
    SLACK,
    Array,
    Box,
    JunctionNumbers,
    Network,
    SynapseNumbers,
)

_FARTHEST = 690.0
"""Beyond, a closed gate is taken as one that far: below exp(-708) doubles lose their precision."""


@dataclass(frozen=True, eq=False)
class Gates:
    """Ranges of the gates of one set of synapses, each of shape (synapse,)."""

    least: Array
    """l <= sigma."""
    most: Array
    """sigma <= h."""


@dataclass(frozen=True, eq=False)
class Conduction(Gates):
    """Ranges of gates and potentials of the ends of gap junctions, each of shape (end,)."""

    lo: Array
    """Least potential of the other neuron."""
    hi: Array
    """Its greatest potential."""

    @classmethod
    def over(cls, junctions: JunctionNumbers, states: Box) -> Conduction:
        """Return the ranges over a box: a gate is 1, or 0 or 1 where a junction rectifies."""
        source, target = junctions.source, junctions.target
        always = ~junctions.rectifying | (states.lo[source] > states.hi[target])
        ever = ~junctions.rectifying | (states.hi[source] > states.lo[target])
        other = junctions.ends.source
        return cls(
            np.tile(always.astype(np.float64), 2),
            np.tile(ever.astype(np.float64), 2),
            states.lo[other],
            states.hi[other],
        )

    @classmethod
    def in_steps(cls, junctions: JunctionNumbers, states: Box) -> Conduction:
        """Return the ranges as a semi-implicit or exponential step has them: gates are 1.

        Where a junction rectifies, the larger potential of both neurons pulls at its target, and
        the smaller one at its source.
        """
        here, other = junctions.ends.target, junctions.ends.source
        one_way = np.tile(junctions.rectifying, 2)
        into = np.arange(len(here)) < len(junctions)  # the ends at targets come first
        lo, hi = (
            np.where(
                one_way,
                np.where(
                    into, np.maximum(end[here], end[other]), np.minimum(end[here], end[other])
                ),
                end[other],
            )
            for end in states
        )
        return cls(np.ones(len(here)), np.ones(len(here)), lo, hi)


@dataclass(frozen=True, eq=False)
class GateRanges:
    """Ranges of all gates over a box of states and a box of inputs."""

    recurrent: Gates
    sensory: Gates
    electrical: Conduction | None = None
    """Of the gap junctions, None without any."""

    @classmethod
    def over(cls, network: Network, states: Box, inputs: Box) -> GateRanges:
        """Return the ranges of sigma(s (x - m)) over boxes of states and of inputs."""
        recurrent, sensory = (
            gates_between(synapses, box.lo[synapses.source], box.hi[synapses.source])
            for synapses, box in ((network.recurrent, states), (network.sensory, inputs))
        )
        return cls(recurrent, sensory, conduction(network, states))

    @classmethod
    def free(cls, network: Network, states: Box | None = None) -> GateRanges:
        """Return the ranges from 0 to 1: whatever the states and the inputs may be.

        Gap junctions have the ranges over `states`, which they need.
        """
        recurrent, sensory = (
            Gates(np.zeros(len(synapses)), np.ones(len(synapses)))
            for synapses in (network.recurrent, network.sensory)
        )
        return cls(recurrent, sensory, conduction(network, states))

    def in_steps(self, network: Network, states: Box) -> GateRanges:
        """Return the ranges over `states` as a semi-implicit or exponential step has them.

        There a rectifying junction stands in G whether current flows or not.
        """
        if network.electrical is None:
            return self
        return replace(self, electrical=Conduction.in_steps(network.electrical, states))


def conduction(network: Network, states: Box | None) -> Conduction | None:
    """Return the ranges of the gap junctions over a box, None without any."""
    if network.electrical is None:
        return None
    if states is None:
        raise InputError(
            f"got {len(network.electrical)} gap junctions and no box of states, expected one: the "
            "neurons at both ends pull at each other; pass states="
        )
    return Conduction.over(network.electrical, states)


def pulling(
    network: Network, gates: GateRanges, sign: float
) -> tuple[tuple[SynapseNumbers, Gates], ...]:
    """Return the synapses with their gates, and the ends of gap junctions as such.

    The potential of an end is the farthest of the other neuron: its least for sign < 0, else its
    greatest.
    """
    sets = (network.recurrent, gates.recurrent), (network.sensory, gates.sensory)
    if network.electrical is None or gates.electrical is None:
        return sets
    ends = gates.electrical
    farthest = replace(network.electrical.ends, potential=ends.lo if sign < 0 else ends.hi)
    return (*sets, (farthest, ends))


def gates_between(synapses: SynapseNumbers, lo: Array, hi: Array) -> Gates:
    """Return the ranges of gates whose presynaptic potentials are from `lo` to `hi`, (synapse,)."""
    ends = np.stack([synapses.gain * (end - synapses.centre) for end in (lo, hi)])
    slack = SLACK * (1 + np.abs(ends).max(axis=0, initial=0.0))
    lo, hi = ends.min(axis=0) - slack, ends.max(axis=0) + slack
    return Gates(
        np.where(lo < -_FARTHEST, 0.0, (1 - SLACK) * sigmoid(lo)),
        np.minimum((1 + SLACK) * sigmoid(np.maximum(hi, -_FARTHEST)), 1.0),
    )


def sigmoid(z: Array) -> Array:
    """Return the logistic function, without overflow."""
    closed = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, closed) / (1.0 + closed)
