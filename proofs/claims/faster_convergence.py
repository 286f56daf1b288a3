r"""The claim that a rewired circuit always converges faster.

Claim. One source drives two targets j and k. A weak synapse W_ij is cut and a strong one W_ik
inserted. Then "the convergence speed of the second state will consistently be faster than that of
the first state" (lhtPeking/pruningElegans, README, section Astringency, and its "Proof 2: The
Analysis of Jacobian matrix Astringency"). The argument compares the largest absolute value of the
eigenvalues of the Jacobian before and after.

Hidden assumptions. The largest eigenvalue is taken to govern convergence, though the smallest one
does; every start has a share in the mode that was sped up; the two targets have no feedback.

Counterexample. C = g = 1, gates at 1/2, W_ij = 0.001, W_ik = 1: the spectrum goes from
{-1.0005, -1} to {-1, -1.5}. The slowest rate stays at 1, and the time until an error has fallen to
one hundredth grows for errors at j.

Corrected. In a layer that only its inputs drive, errors between two trajectories obey
de_i/dt = -rho_i e_i with rho_i = G_i / C_i, whatever the inputs do. With d = w_j sigma_j / C_j > 0
lost by rho_j and u = w_k sigma_k / C_k > 0 won by rho_k:

- the sum of the rates, -tr J, rises if and only if u > d;
- the slowest rate rises if and only if k alone was the slowest, and rho_j - d is above what rho_k
  was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.proofs.certificates.network import Array, Network
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.small_circuits import (
    Synapse,
    circuit,
    dynamics_of,
    resting_points,
    rewired,
    trajectory,
)
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.spectra import spectrum


class Effect(NamedTuple):
    """Effect of a rewire on the rates of a layer."""

    sum_rises: bool
    slowest_rises: bool


def layer_rates(dynamics: LiquidDynamics) -> Array:
    r"""Return the rates rho_i = G_i / C_i of a layer that only its inputs drive, shape (neuron,).

    Raises
    ------
    InputError
        A synapse between neurons conducts: the errors of the neurons are coupled.

    Examples
    --------
    >>> layer_rates(dynamics_of(circuit(2, leak=[1.0, 3.0])))
    array([1., 3.])
    """
    open_ = int((dynamics.recurrent.weight > 0).sum())
    if open_:
        raise InputError(
            f"got a circuit with {open_} synapses between neurons, expected a layer that only its "
            "inputs drive; for circuits with feedback see elegans.proofs.certify"
        )
    state = torch.zeros(1, len(dynamics.capacitance), dtype=dynamics.capacitance.dtype)
    with torch.no_grad():
        rates: Array = (1 / dynamics.time_constant(state)[0]).double().cpu().numpy()
    return rates


def predicted(rates: Array, lost: tuple[int, float], won: tuple[int, float]) -> Effect:
    """Return what the corrected theorem says of a rewire.

    Parameters
    ----------
    rates
        G / C before the rewire, shape (neuron,).
    lost
        j and d = w sigma / C > 0 of the synapse that is cut.
    won
        k and u = w sigma / C > 0 of the synapse that is inserted; another neuron than j.

    Raises
    ------
    InputError
        The two neurons are the same, or d or u is not positive.

    Examples
    --------
    The published example: the sum rises, the slowest rate does not, for k was not alone slowest.

    >>> predicted(np.array([1.0005, 1.0]), (0, 0.0005), (1, 0.5))
    Effect(sum_rises=True, slowest_rises=False)
    """
    (j, d), (k, u) = lost, won
    if j == k or not d > 0 or not u > 0:
        raise InputError(
            f"got a loss of {d} at neuron {j} and a gain of {u} at neuron {k}, expected positive "
            "numbers at two neurons; pass w sigma / C of both synapses"
        )
    others = np.delete(rates, k)
    alone = bool((others > rates[k]).all())
    return Effect(u > d, alone and bool(rates[j] - d > rates[k]))


def measured(before: LiquidDynamics, after: LiquidDynamics) -> Effect:
    """Return what the eigenvalues of the Jacobians say, for two layers under the same inputs."""
    state = torch.zeros(1, len(before.capacitance), dtype=before.capacitance.dtype)
    with torch.no_grad():
        first, second = (
            -spectrum(jacobian(dynamics, state))[0].real for dynamics in (before, after)
        )
    return Effect(bool(second.sum() > first.sum()), bool(second.min() > first.min()))


def holds(cell: LTCCell, inputs: Sequence[float], slot: int, synapse: Synapse) -> bool:
    """Return whether prediction and eigenvalues agree on one rewire of a layer's sensory synapse.

    Parameters
    ----------
    cell
        A layer without synapses between neurons that conduct.
    inputs
        The constant input, shape (input,).
    slot
        The sensory synapse that is cut.
    synapse
        What is inserted: from the same source, to another neuron.

    Raises
    ------
    InputError
        A synapse between neurons conducts, the source is another, the target is the same, or one
        of the two synapses does not conduct.

    Examples
    --------
    >>> cell, _ = published_example()
    >>> holds(cell, [0.0], 0, Synapse(0, 1, 1.0, gain=1.0, centre=0.0))
    True
    """
    after = rewired(cell, "sensory", slot, synapse)
    shares = []
    for network in (Network.of(cell), Network.of(after)):
        synapses = network.sensory
        seen = network.scale * np.asarray(inputs) + network.shift
        gate = expit(synapses.gain * (seen[synapses.source] - synapses.centre))
        target = int(synapses.target[slot])
        share = synapses.weight[slot] * gate[slot] / network.capacitance[target]
        shares.append((target, float(share)))
    layers = dynamics_of(cell, inputs), dynamics_of(after, inputs)
    return predicted(layer_rates(layers[0]), *shares) == measured(*layers)


def settling_time(dynamics: LiquidDynamics, error: list[float], share: float = 0.01) -> float:
    """Return when the largest error has fallen to a share of its first size, by simulation.

    The layer starts at its equilibrium plus `error`, shape (neuron,); rates must not exceed 50.
    """
    target = dynamics.target(torch.zeros(1, len(error), dtype=torch.float64))[0]
    times = torch.linspace(0, 20, 1001, dtype=torch.float64)
    # Exact for a layer: its gates do not move.
    states = trajectory(dynamics, target + torch.tensor(error), times, solver="exponential")
    size = (states - target).abs().amax(dim=-1)
    late = int((size > share * size[0]).sum())
    if late == len(times):
        return math.inf
    # Between two samples the error is a power of e: interpolate its logarithm.
    a, b = (float(torch.log(size[i] / (share * size[0]))) for i in (late - 1, late))
    return float(times[late - 1]) + float(times[1]) * a / (a - b)


def published_example(weak: float = 0.001, strong: float = 1.0) -> tuple[LTCCell, LTCCell]:
    """Return the circuit of the claim before and after the rewire: neuron 0 is j, neuron 1 is k."""
    # An input of 0 at a centre of 0 opens the gate to one half.
    before = circuit(2, sensory=[Synapse(0, 0, weak, gain=1.0, centre=0.0)])
    return before, rewired(before, "sensory", 0, Synapse(0, 1, strong, gain=1.0, centre=0.0))


def counterexample() -> Demonstration:
    """Return rates and settling times of the published example before and after the rewire.

    Examples
    --------
    >>> shown = counterexample()
    >>> [round(t, 4) for t in shown["time to 1 % from (1, 0)"]]
    [4.6029, 4.6052]
    """
    cells = published_example()
    before, after = (dynamics_of(cell) for cell in cells)
    rates = [
        -spectrum(jacobian(dynamics, resting_points(cell)))[0].real.numpy()
        for cell, dynamics in zip(cells, (before, after), strict=True)
    ]
    rows = [
        Row(name, float(of(rates[0])), float(of(rates[1])))
        for name, of in (
            ("largest rate (compared in the claim)", np.max),
            ("slowest rate (governs convergence)", np.min),
            ("sum of rates, -tr J", np.sum),
        )
    ]
    for error in ([1.0, 0.0], [0.0, 1.0]):
        name = f"time to 1 % from ({error[0]:g}, {error[1]:g})"
        rows.append(Row(name, settling_time(before, error), settling_time(after, error)))
    slower, faster = rows[3], rows[4]
    confirmed = (
        rows[0].second > rows[0].first
        and not rows[1].second > rows[1].first
        and slower.second > slower.first
        and faster.second < faster.first
    )
    return Demonstration(("before", "after"), tuple(rows), confirmed)


CLAIM = Claim(
    name="faster_convergence",
    statement="after pruning W_ij and inserting W_ik >> W_ij, convergence is always faster",
    source="lhtPeking/pruningElegans, README, Astringency; Proof 2",
    assumptions=(
        "the eigenvalue of largest absolute value governs convergence",
        "every error has a share in the mode that was sped up",
        "the targets have no feedback",
    ),
    corrected=(
        "in a layer that only its inputs drive, -tr J rises iff w_k sigma_k/C_k > w_j sigma_j/C_j; "
        "the slowest rate rises iff k alone was slowest and j stays above what k was"
    ),
    verdict="refuted",
    demonstrate=counterexample,
)
