r"""The claim that results for one layer hold for recurrent circuits.

Claim. Both published arguments consider one source and two targets without feedback, "in order to
simplify the problem for analysis", and conclude for neural circuit policies, whose command neurons
are recurrent (lhtPeking/pruningElegans, README, section Mathematical Justification): rewiring
keeps a circuit stable and convergent.

Hidden assumption. The new synapse closes no loop.

Counterexamples. In both, a synapse of conductance 0.001 is cut and one from the same source
inserted.

- Bistability. A synapse k -> i exists (E = 1, w = 3, gain 10, centre 1/2, leak potential 0). A
  rewire adds i -> k, equal to it. One equilibrium becomes three, two of them stable: where the
  circuit ends depends on where it began.
- A limit cycle. A chain 0 -> 1 -> 2 of inhibitory synapses (E = -1, w = 5, gain 10, centre 0, leak
  potential 1) comes to rest. A rewire adds 2 -> 0, equal to them, and the circuit never rests
  again. By Mallet-Paret and Smith (J. Dyn. Differ. Equ. 2, 1990, 367-421) a bounded cyclic circuit
  whose only equilibrium is unstable tends to periodic orbits from almost everywhere. The centre
  matters: at -1/2, with leak potential 0, the same ring comes to rest.

Corrected. As long as the synapses between neurons form no cycle, self-synapses included, the
eigenvalues of the Jacobian are -G_i / C_i at every state, and two trajectories under the same
inputs approach each other at any rate below min_i (g_i + epsilon) / C_i, for any parameters.
With cycles, stability needs a certificate; `elegans.proofs.claims.bounded_motion` has the simplest.
"""

from __future__ import annotations

import math
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import torch
from torch import Tensor

from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.proofs.certificates.network import Network
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.small_circuits import (
    Synapse,
    circuit,
    dynamics_of,
    resting_points,
    rewired,
    trajectory,
)
from elegans.proofs.dynamics.equilibrium import repeated
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.spectra import spectrum


def feed_forward_order(network: Network) -> list[int] | None:
    """Return the neurons in an order in which synapses only lead onward, or None if none exists.

    Synapses without conductance do not count; a self-synapse is a cycle.

    Examples
    --------
    >>> chain = circuit(3, [Synapse(2, 1, 1.0), Synapse(1, 0, 1.0)])
    >>> feed_forward_order(Network.of(chain))
    [2, 1, 0]
    >>> feed_forward_order(Network.of(circuit(1, [Synapse(0, 0, 1.0)]))) is None
    True
    """
    synapses = network.recurrent
    sources: dict[int, set[int]] = {neuron: set() for neuron in range(len(network))}
    for j, i, weight in zip(synapses.source, synapses.target, synapses.weight, strict=True):
        if weight > 0:
            sources[int(i)].add(int(j))
    try:
        return list(TopologicalSorter(sources).static_order())
    except CycleError:
        return None


def feed_forward_rate(network: Network) -> float | None:
    """Return min (g + epsilon) / C if the circuit has no cycle, else None: nothing follows.

    Examples
    --------
    >>> feed_forward_rate(Network.of(circuit(2, [Synapse(0, 1, 50.0)], leak=[1.0, 0.5])))
    0.5
    """
    if feed_forward_order(network) is None:
        return None
    return float(((network.leak + network.epsilon) / network.capacitance).min())


def spectral_abscissa(dynamics: LiquidDynamics, states: Tensor) -> Tensor:
    """Return the largest real part of the eigenvalues at states (batch, neuron), shape (batch,)."""
    with torch.no_grad():
        return spectrum(jacobian(repeated(dynamics, len(states)), states)).real.amax(dim=-1)


def bistable_example(
    weight: float = 3.0, gain: float = 10.0, centre: float = 0.5
) -> tuple[LTCCell, LTCCell]:
    """Return a circuit before and after i -> j becomes i -> k; i, j, k are neurons 0, 1, 2."""
    back = Synapse(2, 0, weight, gain=gain, centre=centre)
    before = circuit(3, [back, Synapse(0, 1, 0.001)])
    slot = before.recurrent.source.tolist().index(0)
    return before, rewired(before, "recurrent", slot, back._replace(source=0, target=2))


def cyclic_example(
    weight: float = 5.0, gain: float = 10.0, centre: float = 0.0, leak_potential: float = 1.0
) -> tuple[LTCCell, LTCCell]:
    """Return a circuit before and after 2 -> 3 becomes 2 -> 0, which closes the ring 0, 1, 2."""
    link = Synapse(0, 1, weight, potential=-1.0, gain=gain, centre=centre)
    chain = [link, link._replace(source=1, target=2), Synapse(2, 3, 0.001, potential=-1.0)]
    before = circuit(4, chain, leak_potential=leak_potential)
    slot = before.recurrent.target.tolist().index(3)
    return before, rewired(before, "recurrent", slot, link._replace(source=2, target=0))


def bistability() -> Demonstration:
    """Return equilibria and the ends of two trajectories, before and after the rewire.

    Examples
    --------
    >>> bistability()["equilibria"]
    (1.0, 3.0)
    """
    points, stable, ends = [], [], []
    times = torch.linspace(0, 60, 1201, dtype=torch.float64)
    for cell in bistable_example():
        dynamics = dynamics_of(cell)
        points.append(resting_points(cell))
        stable.append(int((spectral_abscissa(dynamics, points[-1]) < 0).sum()))
        ends.append([float(trajectory(dynamics, [x] * 3, times)[-1, 0]) for x in (0.0, 1.0)])
    rows = (
        Row("equilibria", *(float(len(rests)) for rests in points)),
        Row("of them stable", *(float(number) for number in stable)),
        Row("end of x_i from (0, 0, 0)", ends[0][0], ends[1][0]),
        Row("end of x_i from (1, 1, 1)", ends[0][1], ends[1][1]),
    )
    same, apart = (abs(high - low) for low, high in ends)
    confirmed = [len(rests) for rests in points] == [1, 3] and stable == [1, 2]
    return Demonstration(("before", "after"), rows, confirmed and same < 1e-9 and apart > 0.5)


def crossing_times(values: Tensor, times: Tensor, level: float) -> list[float]:
    """Return when a sampled curve, shape (time,), crosses a level upward, by linear interpolation.

    Examples
    --------
    >>> t = torch.linspace(0, 7, 701)
    >>> [round(t, 2) for t in crossing_times(torch.sin(t - 1), t, 0.0)]
    [1.0]
    """
    above = values > level
    crossings = torch.nonzero(~above[:-1] & above[1:]).flatten().tolist()
    return [
        float(
            times[i] + (times[i + 1] - times[i]) * (level - values[i]) / (values[i + 1] - values[i])
        )
        for i in crossings
    ]


def periods(x: Tensor, times: Tensor) -> list[float]:
    """Return the times between upward crossings of a curve, shape (time,), through its middle.

    Empty if it swings by less than 1e-6.
    """
    lowest, highest = float(x.min()), float(x.max())
    if highest - lowest < 1e-6:
        return []
    return [b - a for a, b in pairwise(crossing_times(x, times, (lowest + highest) / 2))]


def limit_cycle(duration: float = 60.0) -> Demonstration:
    """Return rest before, and period, swing and instability after the rewire.

    Swing and periods are those of the second half of a simulation of this duration.

    Examples
    --------
    >>> shown = limit_cycle()
    >>> shown["equilibria"], round(shown["swing of x_0 at the end"][1], 2)
    ((1.0, 1.0), 0.82)
    """
    times = torch.linspace(0, duration, round(duration * 100) + 1, dtype=torch.float64)
    half = len(times) // 2
    points, abscissa, swing, rhythm = [], [], [], []
    for cell in cyclic_example():
        dynamics = dynamics_of(cell)
        points.append(resting_points(cell))
        abscissa.append(float(spectral_abscissa(dynamics, points[-1]).max()))
        x = trajectory(dynamics, [0.1, -0.3, -0.5, 0.0], times)[half:, 0]
        swing.append(float(x.max() - x.min()))
        rhythm.append(periods(x, times[half:]))
    settled = rhythm[1]
    period = sum(settled) / len(settled) if settled else math.nan
    spread = max(settled) - min(settled) if settled else math.inf
    rows = (
        Row("equilibria", *(float(len(rests)) for rests in points)),
        Row("largest real part of the spectrum there", *abscissa),
        Row("swing of x_0 at the end", *swing),
        Row("period of x_0", math.nan, period),
        Row("spread of the periods in the second half", math.nan, spread),
    )
    confirmed = (
        [len(rests) for rests in points] == [1, 1]
        and abscissa[0] < 0 < abscissa[1]
        and swing[0] < 1e-9
        and swing[1] > 0.5
        and spread < 1e-4 * period
    )
    return Demonstration(("before", "after"), rows, confirmed)


def counterexample() -> Demonstration:
    """Return both counterexamples as one table."""
    both = {"two rests": bistability(), "cycle": limit_cycle()}
    rows = tuple(
        Row(f"{name}: {row.quantity}", row.first, row.second)
        for name, shown in both.items()
        for row in shown.rows
    )
    confirmed = all(shown.confirmed for shown in both.values())
    return Demonstration(("before", "after"), rows, confirmed)


CLAIM = Claim(
    name="recurrent_rewiring",
    statement="rewiring keeps a neural circuit policy stable and convergent, recurrence included",
    source="lhtPeking/pruningElegans, README, Mathematical Justification",
    assumptions=("the new synapse closes no loop",),
    corrected=(
        "as long as synapses between neurons form no cycle, any two trajectories under the same "
        "inputs approach each other at any rate below min (g + epsilon)/C; a loop can bring "
        "bistability or a limit cycle and needs a certificate"
    ),
    verdict="refuted",
    demonstrate=counterexample,
)
