r"""The box that a circuit never leaves under any schedule of rewiring.

Statement. Let B_i be the hull of the leak potential of neuron i, of 0 if epsilon > 0, and of the
reversal potentials of all synapses that may ever end at i. A circuit that starts in B stays in B,
whatever is cut and inserted, whenever and however often, for any inputs; the semi-implicit and the
exponential step stay in it for every step length. Self-synapses are allowed.

Hidden assumption of the shorter statement "the state stays between the reversal potentials"
(compare Hasani et al. 2021, theorem 2): that of the synapses that exist now. A rewire that inserts
a synapse with another reversal potential takes the circuit out of the box of the moment.

Reason. At every instant each neuron moves towards r = A / G, a mean of those potentials with
weights >= 0. The steps are convex combinations of the state and of r. Nothing refers to the past,
so that switching changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Array, Box, Network
from elegans.proofs.claims.bounded_motion import random_rewire
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.small_circuits import Synapse, circuit, dynamics_of, rewired
from elegans.solvers import get_solver


def permitted_hull(network: Network, potentials: Sequence[float] = (-1.0, 1.0)) -> Box:
    """Return the box B for a circuit that rewiring may give synapses with these potentials.

    Parameters
    ----------
    network
        The circuit as it is.
    potentials
        Reversal potentials that inserted synapses may have, at any neuron; the library's own
        operator inserts synapses with -1 and +1.

    Raises
    ------
    InputError
        No potential is given, or one is not finite, or nothing moves a neuron.

    Examples
    --------
    >>> network = Network.of(circuit(1, leak_potential=2.0))
    >>> permitted_hull(network)
    Box(lo=array([-1.]), hi=array([2.]))
    """
    allowed = np.asarray(potentials, dtype=np.float64)
    if not len(allowed) or not np.isfinite(allowed).all():
        raise InputError(
            f"got permitted potentials {list(potentials)}, expected at least one finite number; "
            "without rewiring use elegans.proofs.certificates.boxes.hull"
        )
    now = hull(network)
    return Box(np.minimum(now.lo, allowed.min()), np.maximum(now.hi, allowed.max()))


def excess(box: Box, states: Array) -> float:
    """Return how far states (..., neuron) are outside a box at most; 0 inside.

    Examples
    --------
    >>> excess(Box(np.array([0.0]), np.array([1.0])), np.array([[0.5], [1.25]]))
    0.25
    """
    outside = np.maximum(box.lo - states, states - box.hi)
    return float(np.maximum(outside, 0.0).max())


def run_schedule(
    cell: LTCCell,
    seed: int,
    *,
    steps: int = 200,
    potentials: Sequence[float] = (-1.0, 1.0),
    solver: str = "semi_implicit",
    longest: float = 10.0,
) -> Array:
    """Return the states of a circuit that is rewired at random after every step.

    Parameters
    ----------
    cell
        The circuit at the beginning; it is not changed.
    seed
        Of the edits, the step lengths up to `longest`, the inputs within ±100, and the start,
        which is a corner of `permitted_hull`.
    steps
        Number of steps.
    potentials
        Reversal potentials of the inserted synapses.
    solver
        ``"semi_implicit"`` or ``"exponential"``.

    Returns
    -------
    ndarray
        Shape (time, neuron).
    """
    rng = np.random.default_rng(seed)
    chosen = get_solver(solver)
    box = permitted_hull(Network.of(cell), potentials)
    corner = np.where(rng.random(cell.state_size) < 0.5, box.lo, box.hi)
    state = torch.as_tensor(corner).unsqueeze(0)
    states = [corner]
    for _ in range(steps):
        slot = int(rng.integers(len(cell.recurrent)))
        synapse = Synapse(
            int(cell.recurrent.source[slot]),
            int(rng.integers(cell.state_size)),
            float(rng.exponential(5.0)),
            float(rng.choice(potentials)),
            float(rng.normal(0, 10)),
            float(rng.normal()),
        )
        cell = rewired(cell, "recurrent", slot, synapse)
        dynamics = dynamics_of(cell, torch.as_tensor(rng.uniform(-100, 100, cell.sensory_size)))
        h = torch.tensor(rng.uniform(0, longest), dtype=torch.float64)
        with torch.no_grad():
            state = chosen.step(dynamics, state, h)
        states.append(state[0].numpy())
    return np.stack(states)


def escape() -> Demonstration:
    """Return how a circuit leaves the hull of its present potentials after one rewire.

    Examples
    --------
    >>> shown = escape()
    >>> round(shown["x_1 outside the hull before the rewire"][1], 3)
    0.714
    """
    # Only excitation at first, from an input-driven source that is fully open.
    before = circuit(
        3, [Synapse(0, 2, 0.001, potential=1.0, gain=20.0)], [Synapse(0, 0, 50.0, gain=0.0)]
    )
    after = rewired(before, "recurrent", 0, Synapse(0, 1, 2.5, potential=-1.0, gain=20.0))
    now, permitted = hull(Network.of(before)), permitted_hull(Network.of(before))
    rows = []
    for name, box in (("before the rewire", now), ("of all permitted potentials", permitted)):
        outside = []
        for cell in (before, after):
            state = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
            for _ in range(50):
                with torch.no_grad():
                    state = cell.solver.step(dynamics_of(cell), state, torch.tensor(1.0).double())
            outside.append(excess(box, state.numpy()))
        rows.append(Row(f"x_1 outside the hull {name}", *outside))
    confirmed = rows[0].first == 0 < rows[0].second and rows[1][1:] == (0, 0)
    return Demonstration(("before", "after"), tuple(rows), confirmed)


def demonstrate(networks: int = 10) -> Demonstration:
    """Return how far rewired circuits came outside the two boxes, over random schedules.

    Examples
    --------
    >>> demonstrate(networks=2).confirmed
    True
    """
    left = escape()
    outside = []
    for seed in range(networks):
        cell, _ = random_rewire(seed)
        box = permitted_hull(Network.of(cell))
        outside.append(excess(box, run_schedule(cell, seed)))
    rows = (*left.rows, Row("outside it, 200 rewires of random circuits", 0.0, max(outside)))
    # Potentials are within 1.5, and a step sums fewer than 20 terms: each may round once.
    rounding = 20 * 1.5 * float(np.finfo(np.float64).eps)
    return Demonstration(("before", "after"), rows, left.confirmed and max(outside) <= rounding)


CLAIM = Claim(
    name="invariant_hull",
    statement="the state stays between the reversal potentials, whatever is rewired",
    source="theorem 2 of Hasani et al. 2021, carried over to rewiring",
    assumptions=(
        "the reversal potentials are those of all synapses permitted, not of those present",
    ),
    corrected=(
        "the hull of leak potential and of all permitted reversal potentials (and 0 if epsilon > 0)"
        " is invariant under any schedule of rewiring, any inputs, any length of step"
    ),
    verdict="true as restated",
    demonstrate=demonstrate,
)
