"""Small circuits with given numbers, their edits, trajectories and equilibria."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.proofs.dynamics.equilibrium import equilibria
from elegans.solvers import integrate
from elegans.synapses.liquid import LiquidSynapses
from elegans.synapses.slots import FreshSynapses
from elegans.wiring import GapJunctions, Synapses, Wiring


class Synapse(NamedTuple):
    """A synapse and its effective values."""

    source: int
    target: int
    weight: float
    """Conductance w >= 0."""
    potential: float = 1.0
    """Reversal potential E, not 0."""
    gain: float = 10.0
    centre: float = 0.5


class Junction(NamedTuple):
    """A gap junction and its conductance."""

    source: int
    target: int
    weight: float
    """Conductance w >= 0."""
    rectifying: bool = False
    """Whether current flows from source to target only."""


Kind = Literal["recurrent", "sensory"]


def circuit(
    neurons: int,
    recurrent: Sequence[Synapse] = (),
    sensory: Sequence[Synapse] = (),
    *,
    electrical: Sequence[Junction] = (),
    inputs: int = 1,
    leak: float | Sequence[float] = 1.0,
    leak_potential: float | Sequence[float] = 0.0,
    capacitance: float | Sequence[float] = 1.0,
    epsilon: float = 0.0,
) -> LTCCell:
    """Return the library's cell with exactly these numbers, in double precision, not to train.

    Parameters
    ----------
    neurons, inputs
        How many there are.
    recurrent, sensory
        Synapses between neurons, and from the inputs.
    electrical
        Gap junctions between neurons.
    leak, leak_potential, capacitance
        g, V and C: a number, or one a neuron.
    epsilon
        Conductance towards potential 0.

    Examples
    --------
    >>> cell = circuit(2, recurrent=[Synapse(0, 1, weight=3.0)])
    >>> cell.wiring.recurrent
    Synapses(0 -> 1 (+))
    """
    ordered = {
        "recurrent": sorted(recurrent, key=_place),  # the order in which a wiring holds them
        "sensory": sorted(sensory, key=_place),
    }
    junctions = GapJunctions.from_rows(
        (each.source, each.target, each.rectifying) for each in electrical
    )
    wiring = Wiring(
        inputs,
        {"motor": neurons},
        *(_connections(synapses) for synapses in ordered.values()),
        electrical=junctions,
    )
    cell = LTCCell(
        wiring, epsilon=epsilon, input_mapping=None, output_mapping=None, dtype=torch.float64
    )
    with torch.no_grad():
        for name, value in (
            ("gleak", leak),
            ("vleak", leak_potential),
            ("cm", capacitance),
        ):
            getattr(cell, name).copy_(torch.as_tensor(value, dtype=torch.float64))
        for name, synapses in ordered.items():
            slots: LiquidSynapses = getattr(cell, name)
            values = torch.tensor(synapses, dtype=torch.float64).reshape(-1, 6)
            slots.weight.copy_(values[:, 2])
            slots.erev.copy_(values[:, 3].abs())  # the polarity gives the sign
            slots.sigma.copy_(values[:, 4])
            slots.mu.copy_(values[:, 5])
        if cell.electrical is not None:
            held = {frozenset((each.source, each.target)): each.weight for each in electrical}
            weights = [held[frozenset((j, i))] for j, i, _ in junctions]
            cell.electrical.weight.copy_(torch.tensor(weights, dtype=torch.float64))
    return cell.requires_grad_(False)


def rewired(cell: LTCCell, kind: Kind, slot: int, synapse: Synapse) -> LTCCell:
    """Return the circuit with the synapse of one slot replaced, as prune-and-rewire does it.

    Raises
    ------
    InputError
        The new synapse has another source: the operator keeps the source.

    Examples
    --------
    >>> cell = circuit(3, [Synapse(0, 1, 0.001)])
    >>> rewired(cell, "recurrent", 0, Synapse(0, 2, 1.0)).wiring.recurrent
    Synapses(0 -> 2 (+))
    """
    after = copy.deepcopy(cell)
    synapses: LiquidSynapses = getattr(after, kind)
    source = int(synapses.source[slot])
    if synapse.source != source:
        raise InputError(
            f"got a synapse from {synapse.source} for slot {slot}, expected one from {source}: a "
            "rewire keeps the source; choose a slot of that source"
        )
    one = torch.ones(1, dtype=cell.dtype)
    fresh = FreshSynapses(
        synapse.source * one,
        synapse.target * one,
        torch.sign(synapse.potential * one),
        synapse.weight * one,
        {"gain": synapse.gain * one, "centre": synapse.centre * one},
    )
    synapses.rewire(torch.tensor([slot]), fresh)
    synapses.erev[slot] = abs(synapse.potential)  # the polarity gives the sign
    return after


@torch.no_grad()
def dynamics_of(cell: LTCCell, inputs: Sequence[float] | Tensor | None = None) -> LiquidDynamics:
    """Return the equation under one constant input, shape (input,); zeros when None."""
    given = torch.zeros(cell.sensory_size) if inputs is None else torch.as_tensor(inputs)
    return cell.dynamics(given.to(cell.dtype).unsqueeze(0))


@torch.no_grad()
def trajectory(
    dynamics: LiquidDynamics,
    start: Sequence[float] | Tensor,
    times: Tensor,
    *,
    solver: str = "rk4",
    substeps: int = 1,
) -> Tensor:
    """Return the states at `times`, shape (time, neuron), from one state."""
    state = torch.as_tensor(start, dtype=torch.float64).unsqueeze(0)
    return integrate(dynamics, state, times, solver, substeps).squeeze(1)


def resting_points(cell: LTCCell) -> Tensor:
    """Return the equilibria found under inputs of zero, shape (equilibrium, neuron), sorted.

    Examples
    --------
    >>> resting_points(circuit(1, leak_potential=0.25))
    tensor([[0.2500]], dtype=torch.float64)
    """
    rests = equilibria(cell, torch.zeros(cell.sensory_size))
    points: Tensor = torch.unique(torch.stack([rest.state for rest in rests]), dim=0)
    return points


def _place(synapse: Synapse) -> tuple[int, int, float]:
    return synapse.target, synapse.source, np.sign(synapse.potential)


def _connections(synapses: Sequence[Synapse]) -> Synapses:
    if not synapses:
        return Synapses.empty()
    return Synapses(
        [synapse.source for synapse in synapses],
        [synapse.target for synapse in synapses],
        [1 if synapse.potential > 0 else -1 for synapse in synapses],
    )
