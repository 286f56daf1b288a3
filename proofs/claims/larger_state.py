r"""The claim that a larger state of the newly wired neuron means more stability.

Claim. With the Lyapunov function V = xᵀPx, "the more significant the state values of the newly
connected neurons, the more stable the newly connected system becomes" (lhtPeking/pruningElegans,
README, section Stability, and its "Proof 1: The Analysis of Lyapunov Function Stability").

Hidden assumptions. The equilibrium is 0, though leak and reversal potentials put it elsewhere; the
inserted current opposes the state, though it does so only beyond the reversal potential; any
positive definite P will do.

Counterexample. For P = 1 the rewire changes dV/dt by

.. math:: 2 b \sigma x_k (E - x_k) / C_k - 2 a \sigma x_j (E - x_j) / C_j

whose first term is positive wherever 0 < x_k < E. With leak potentials 0.5, a = 0.001, b = 1, E = 1
and gates at 1/2, dV/dt at (0.5, 0.6) goes from -0.120 to +0.120. A general P fails even about the
equilibrium: P = [[1, 0.9], [0.9, 1]] and rates (1, 10) let V rise.

Corrected. Let e be the difference of two trajectories of a layer that only its inputs drive, and P
diagonal with positive entries. Then V = eᵀPe obeys dV/dt <= -2 min_i (G_i / C_i) V, always, and no
better constant is possible. A synapse of conductance w at k adds -2 p_k w sigma e_k² / C_k <= 0:
what counts is the distance from the other trajectory, not the size of the state.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.proofs.certificates.network import Array
from elegans.proofs.claims.contract import Claim, Demonstration, Row
from elegans.proofs.claims.faster_convergence import layer_rates
from elegans.proofs.claims.small_circuits import Synapse, circuit, dynamics_of, rewired


def derivative_of_v(
    dynamics: LiquidDynamics, state: list[float], weights: Array, centre: list[float] | None = None
) -> float:
    r"""Return dV/dt = 2 (x - c)ᵀ P dx/dt for V = (x - c)ᵀ P (x - c) at a state x.

    Parameters
    ----------
    dynamics
        A circuit under a constant input.
    state, centre
        x and c, shape (neuron,); c = 0 when None.
    weights
        P, symmetric, shape (neuron, neuron).

    Examples
    --------
    A leak of rate 1 towards 0:

    >>> derivative_of_v(dynamics_of(circuit(1)), [3.0], np.eye(1))
    -18.0
    """
    x = torch.tensor(state, dtype=torch.float64)
    with torch.no_grad():
        moved = dynamics.derivative(x.unsqueeze(0))[0].numpy()
    away = x.numpy() - (0.0 if centre is None else np.asarray(centre))
    return float(2 * away @ weights @ moved)


def decay_rate(weights: Array, rates: Array) -> float:
    r"""Return the largest r with dV/dt <= -r V for all errors e, where V = eᵀPe.

    .. math:: r = \min_e \frac{e^\top (P R + R P) e}{e^\top P e}, \qquad R = \mathrm{diag}(\rho)

    Parameters
    ----------
    weights
        P, symmetric and positive definite, shape (neuron, neuron).
    rates
        rho = G / C, shape (neuron,).

    Returns
    -------
    float
        2 min rho for a diagonal P. For other P at most that, and negative where V can rise.

    Raises
    ------
    InputError
        P is not symmetric and positive definite.

    Examples
    --------
    >>> rates = np.array([1.0, 10.0])
    >>> round(decay_rate(np.diag([2.0, 3.0]), rates), 9)
    2.0
    >>> decay_rate(np.array([[1.0, 0.9], [0.9, 1.0]]), rates) < 0
    True
    """
    symmetric = np.array_equal(weights, weights.T)
    if not symmetric or np.linalg.eigvalsh(weights)[0] <= 0:
        raise InputError(
            f"got P = {weights.tolist()}, expected a symmetric positive definite matrix; "
            "numpy.diag of positive numbers is one"
        )
    change = weights * (rates[:, None] + rates[None, :])  # P R + R P
    return float(eigh(change, weights, eigvals_only=True)[0])


def holds(dynamics: LiquidDynamics, weights: Array, tolerance: float = 1e-9) -> bool:
    """Return whether V decays at the rate 2 min G / C in this layer, as for every diagonal P.

    Raises
    ------
    InputError
        A synapse between neurons conducts, or P is not symmetric and positive definite.
    """
    rates = layer_rates(dynamics)
    return decay_rate(weights, rates) >= 2 * float(rates.min()) * (1 - tolerance)


def change_of_v(
    cut: tuple[float, float], inserted: tuple[float, float], potential: float = 1.0
) -> float:
    r"""Return by how much a rewire changes dV/dt for V = xᵀx and C = 1.

    .. math:: 2 q_k x_k (E - x_k) - 2 q_j x_j (E - x_j), \qquad q = w \sigma

    `cut` is (q_j, x_j), `inserted` is (q_k, x_k).

    Examples
    --------
    >>> round(change_of_v((0.0005, 0.5), (0.5, 0.6)), 5)
    0.23975
    """
    (lost, x_j), (won, x_k) = cut, inserted
    return 2 * won * x_k * (potential - x_k) - 2 * lost * x_j * (potential - x_j)


def example(
    strong: float = 1.0, weak: float = 0.001, leak_potential: float = 0.5
) -> tuple[LTCCell, LTCCell]:
    """Return the circuit before and after the rewire: neuron 0 is j, neuron 1 is k."""
    before = circuit(
        2, sensory=[Synapse(0, 0, weak, gain=1.0, centre=0.0)], leak_potential=leak_potential
    )
    return before, rewired(before, "sensory", 0, Synapse(0, 1, strong, gain=1.0, centre=0.0))


def counterexample() -> Demonstration:
    """Return dV/dt before and after the rewire, about 0 and for a general P.

    Examples
    --------
    >>> [round(v, 3) for v in counterexample()["dV/dt at (.5, .6), P = 1"]]
    [-0.12, 0.12]
    """
    before, after = (dynamics_of(cell) for cell in example())
    state = [0.5, 0.6]
    about_zero = [derivative_of_v(d, state, np.eye(2)) for d in (before, after)]
    # The larger x_k of these two is the less stable one: the claim's order is wrong, too.
    inserted = [change_of_v((0.0, 0.5), (0.5, x_k)) for x_k in (0.1, 0.5)]

    general = np.array([[1.0, 0.9], [0.9, 1.0]])
    slow_and_fast = [dynamics_of(cell) for cell in example(strong=18.0)]  # rates (1, 10) after
    rates = [layer_rates(d) for d in slow_and_fast]
    extremes = [np.linalg.eigvalsh(-general * (r[:, None] + r[None, :])) for r in rates]
    decay = [decay_rate(np.eye(2), r) for r in rates]
    rows = (
        Row("dV/dt at (.5, .6), P = 1", *about_zero),
        Row("inserted term of dV/dt at x_k = 0.1 and at 0.5", *inserted),
        Row("largest eigenvalue of PD + DP, P = [[1, .9], [.9, 1]]", *(e[1] for e in extremes)),
        Row("smallest eigenvalue of PD + DP", *(e[0] for e in extremes)),
        Row("decay rate of V about the equilibrium, P = 1", *decay),
    )
    confirmed = (
        about_zero[0] < 0 < about_zero[1]
        and inserted[1] > inserted[0] > 0
        and extremes[0][1] < 0 < extremes[1][1]
        and all(holds(d, np.eye(2)) for d in (before, after, *slow_and_fast))
    )
    return Demonstration(("before", "after"), rows, confirmed)


CLAIM = Claim(
    name="larger_state",
    statement="the larger the state of the newly wired neuron, the more stable (V = xᵀPx)",
    source="lhtPeking/pruningElegans, README, Stability; Proof 1",
    assumptions=(
        "the equilibrium is 0",
        "the inserted current opposes the state",
        "any positive definite P will do",
    ),
    corrected=(
        "for the difference e of two trajectories of a layer that only its inputs drive, and a "
        "diagonal P, dV/dt <= -2 min(G/C) V before and after any rewire"
    ),
    verdict="refuted",
    demonstrate=counterexample,
)
