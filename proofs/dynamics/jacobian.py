"""How a small change of the state spreads: Jacobians of the flow and of the step.

Everything is in closed form and differentiable; see `elegans.ltc.dynamics` for the equation. The
small conductance epsilon of a layer is part of the total conductance G and of every statement
here. These are dense, for circuits up to some thousands of neurons;
`elegans.proofs.dynamics.sparse_jacobian` holds one number a synapse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.dynamics import LiquidDynamics


def flow_jacobian(dynamics: LiquidDynamics, state: Tensor) -> Tensor:
    r"""Return the Jacobian of dx/dt = f(x).

    .. math::
        J_{ij} = C_i^{-1} \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - x_i)
        - \delta_{ij} G_i / C_i

    Parameters
    ----------
    dynamics
        A circuit under constant inputs, such as ``model.cell.dynamics(inputs)``.
    state
        Potentials, shape (batch, neuron).

    Returns
    -------
    Tensor
        ``[:, i, j]`` is the derivative of f_i by x_j, per unit of time, shape (batch, neuron,
        neuron). Self-synapses and parallel synapses are summed as they are.

    Raises
    ------
    InputError
        The state has another shape.

    Examples
    --------
    A circuit without synapses only leaks, with rate g / C:

    >>> from elegans import LTC
    >>> from elegans.wiring import Synapses, Wiring
    >>> nothing = Wiring(1, {"motor": 2}, Synapses.empty(), Synapses.empty())
    >>> cell = LTC(1, nothing, epsilon=0.0, dtype=torch.float64).cell
    >>> dynamics = cell.dynamics(torch.zeros(1, 1, dtype=torch.float64))
    >>> J = flow_jacobian(dynamics, torch.zeros(1, 2, dtype=torch.float64))
    >>> tau = time_constants(dynamics, torch.zeros(1, 2, dtype=torch.float64))
    >>> torch.equal(J[0], torch.diag(-1 / tau[0]))
    True
    """
    check_state(dynamics, state)
    return dynamics.jacobian(state)


def step_jacobian(dynamics: LiquidDynamics, state: Tensor, h: float | Tensor) -> Tensor:
    r"""Return the Jacobian of one semi-implicit step x -> x⁺ of length `h`.

    .. math::
        \frac{\partial x^+_i}{\partial x_j} = \frac{1}{D_i} \Big(
            \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - x^+_i)
            + \delta_{ij} C_i / h \Big), \qquad D_i = C_i / h + G_i

    Numerator and denominator are multiplied by h, so that h = 0 gives the identity.

    Parameters
    ----------
    dynamics, state
        As in `flow_jacobian`.
    h
        Length of the step >= 0, a number or shape (batch, 1): for a layer, the elapsed time
        divided by ``ode_unfolds``.

    Returns
    -------
    Tensor
        ``[:, i, j]`` is the derivative of x⁺_i by x_j, shape (batch, neuron, neuron).

    Raises
    ------
    InputError
        The state has another shape.
    """
    check_state(dynamics, state)
    entries, diagonal = step_terms(dynamics, state, h)
    return dynamics.matrix(entries, diagonal)


def step_terms(dynamics: LiquidDynamics, state: Tensor, h: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return the terms of the step's Jacobian: one a synapse, and the diagonal besides.

    Shapes (batch, synapse) and (batch, neuron); see `step_jacobian`.
    """
    h = torch.as_tensor(h, dtype=state.dtype, device=state.device)
    conductance, drive = dynamics.conductance_and_drive(state)
    capacitance = dynamics.capacitance
    denominator = capacitance + h * conductance  # (batch, neuron), h D
    after = state + h * (drive - conductance * state) / denominator
    entries = h * dynamics.coupling(state, after)  # (batch, synapse)
    entries = entries / denominator.index_select(-1, dynamics.recurrent.target)
    return entries, capacitance / denominator


def time_constants(dynamics: LiquidDynamics, state: Tensor) -> Tensor:
    """Return tau = C / G, shape (batch, neuron), in the unit of the elapsed times."""
    check_state(dynamics, state)
    return dynamics.time_constant(state)


def check_state(dynamics: LiquidDynamics, state: Tensor) -> None:
    """Raise `InputError` unless `state` has the shape (batch, neuron)."""
    neurons = len(dynamics.capacitance)
    if state.dim() != 2 or state.shape[-1] != neurons:
        raise InputError(
            f"got a state of shape {tuple(state.shape)}, expected (batch, {neurons}); unsqueeze "
            "a single state"
        )
