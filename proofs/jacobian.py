"""How a small change of the state spreads: Jacobians of the flow and of the step, and spectra.

Everything is in closed form and differentiable; see `elegans.dynamics` for the equation. The
small conductance epsilon of a layer is part of the total conductance G and of every statement
here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.dynamics import LiquidDynamics
from elegans.errors import InputError
from elegans.ltc import LTC


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

    >>> from elegans.wiring import Synapses, Wiring
    >>> nothing = Wiring(1, {"motor": 2}, Synapses.empty(), Synapses.empty())
    >>> cell = LTC(1, nothing, epsilon=0.0, dtype=torch.float64).cell
    >>> dynamics = cell.dynamics(torch.zeros(1, 1, dtype=torch.float64))
    >>> J = flow_jacobian(dynamics, torch.zeros(1, 2, dtype=torch.float64))
    >>> tau = time_constants(dynamics, torch.zeros(1, 2, dtype=torch.float64))
    >>> torch.equal(J[0], torch.diag(-1 / tau[0]))
    True
    """
    _check(dynamics, state)
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
    _check(dynamics, state)
    h = torch.as_tensor(h, dtype=state.dtype, device=state.device)
    conductance, drive = dynamics.conductance_and_drive(state)
    capacitance = dynamics.capacitance
    denominator = capacitance + h * conductance  # (batch, neuron), h D
    after = state + h * (drive - conductance * state) / denominator
    numerator = h.unsqueeze(-1) * coupling(dynamics, state, after)
    numerator = numerator + torch.diag_embed(capacitance.expand_as(state))
    return numerator / denominator.unsqueeze(-1)


def coupling(dynamics: LiquidDynamics, state: Tensor, pulled: Tensor) -> Tensor:
    r"""Return what a change of x_j does to the current into i through the gates.

    .. math:: \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - y_i)

    with gates at `state` and the potentials y = `pulled` of the targets, both (batch, neuron);
    the result is ``[:, i, j]``, shape (batch, neuron, neuron).
    """
    synapses, neurons = dynamics.recurrent, state.shape[-1]
    presynaptic = state.index_select(-1, synapses.source)  # (batch, synapse)
    gain = synapses.sigma * (presynaptic - synapses.mu)
    slope = synapses.weight * synapses.sigma * torch.sigmoid(gain) * torch.sigmoid(-gain)
    entry = slope * (synapses.erev - pulled.index_select(-1, synapses.target))
    flat = state.new_zeros(*state.shape[:-1], neurons * neurons)
    place = synapses.target.long() * neurons + synapses.source  # may need more than 32 bits
    flat = flat.index_add(-1, place, entry)
    return flat.reshape(*state.shape, neurons)


def time_constants(dynamics: LiquidDynamics, state: Tensor) -> Tensor:
    """Return tau = C / G, shape (batch, neuron), in the unit of the elapsed times."""
    _check(dynamics, state)
    return dynamics.time_constant(state)


def spectrum(jacobian: Tensor) -> Tensor:
    """Return the eigenvalues of matrices, complex, the largest real part first.

    Parameters
    ----------
    jacobian
        Shape (..., neuron, neuron).

    Returns
    -------
    Tensor
        Shape (..., neuron); equal real parts are ordered by the imaginary part.

    Examples
    --------
    >>> spectrum(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) - torch.eye(2))
    tensor([-1.+1.j, -1.-1.j])
    """
    eigenvalues = torch.linalg.eigvals(jacobian)
    # Two stable sorts order by two keys: the second key first.
    by_imaginary = eigenvalues.imag.argsort(dim=-1, descending=True, stable=True)
    eigenvalues = eigenvalues.gather(-1, by_imaginary)
    by_real = eigenvalues.real.argsort(dim=-1, descending=True, stable=True)
    ordered: Tensor = eigenvalues.gather(-1, by_real)
    return ordered


def spectra_along(model: LTC, inputs: Tensor, states: Tensor) -> Tensor:
    """Return the flow's eigenvalues along a trajectory that inputs drive.

    They say how fast neighbouring states approach or part *now*; stability of a driven circuit
    over time does not follow from them.

    Parameters
    ----------
    model
        The layer.
    inputs
        Shape (..., time, input), in the units that the layer is given.
    states
        Potentials under these inputs, shape (..., time, neuron), such as those that the layer
        returns with ``return_states=True`` (and ``batch_first=True``).

    Returns
    -------
    Tensor
        Complex, shape (..., time, neuron), the largest real part of a step first; see
        `spectrum`. Per unit of the elapsed times.

    Raises
    ------
    InputError
        Inputs and states do not fit each other or the layer.

    Examples
    --------
    >>> model = LTC(2, 5)
    >>> x = torch.zeros(3, 7, 2)
    >>> _, _, states = model(x, return_states=True)
    >>> spectra_along(model, x, states).shape
    torch.Size([3, 7, 5])
    """
    wanted = (*inputs.shape[:-1], model.state_size)
    if inputs.shape[-1] != model.input_size or tuple(states.shape) != wanted:
        raise InputError(
            f"got inputs of shape {tuple(inputs.shape)} and states of shape {tuple(states.shape)}, "
            f"expected (..., time, {model.input_size}) and (..., time, {model.state_size}) with "
            "the same leading axes; pass the states that the layer returned for these inputs"
        )
    with torch.no_grad():
        dynamics = model.cell.dynamics(inputs.reshape(-1, model.input_size))
        jacobian = flow_jacobian(dynamics, states.reshape(-1, model.state_size))
        return spectrum(jacobian).reshape(wanted)


def _check(dynamics: LiquidDynamics, state: Tensor) -> None:
    neurons = len(dynamics.capacitance)
    if state.dim() != 2 or state.shape[-1] != neurons:
        raise InputError(
            f"got a state of shape {tuple(state.shape)}, expected (batch, {neurons}); unsqueeze "
            "a single state"
        )
