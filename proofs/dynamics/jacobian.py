"""The Jacobian of a circuit in closed form: of its flow or of its step, dense or sparse.

All forms are differentiable; see `elegans.ltc.dynamics` for the equation. The small conductance
epsilon of a layer is part of the total conductance G and of every statement here.
"""

from __future__ import annotations

from typing import Literal, TypeGuard, overload

import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.ltc.dynamics import LiquidDynamics
from elegans.proofs.dynamics.sparse_jacobian import JacobianProduct, Places, SparseJacobian
from elegans.solvers import GatedLinearSystem, SemiImplicit


@overload
def jacobian(
    dynamics: GatedLinearSystem,
    state: Tensor,
    *,
    elapsed: float | Tensor | None = None,
    unfolds: int | None = None,
    sparse: Literal[False] = False,
) -> Tensor: ...


@overload
def jacobian(
    dynamics: GatedLinearSystem,
    state: Tensor,
    *,
    elapsed: float | Tensor | None = None,
    sparse: Literal[True],
) -> SparseJacobian: ...


@overload
def jacobian(
    dynamics: GatedLinearSystem,
    state: Tensor,
    *,
    elapsed: float | Tensor,
    unfolds: int,
    sparse: Literal[True],
) -> JacobianProduct: ...


@checked(InputError)
def jacobian(
    dynamics: GatedLinearSystem,
    state: Tensor,
    *,
    elapsed: float | Tensor | None = None,
    unfolds: int | None = None,
    sparse: bool = False,
) -> Tensor | SparseJacobian | JacobianProduct:
    r"""Return the Jacobian of the flow dx/dt = f(x), or of the step x -> x⁺ that lasts `elapsed`.

    .. math::
        J_{ij} &= C_i^{-1} \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - x_i)
        - \delta_{ij} G_i / C_i \\
        \frac{\partial x^+_i}{\partial x_j} &= \frac{1}{D_i} \Big(
            \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - x^+_i)
            + \delta_{ij} C_i / h \Big), \qquad D_i = C_i / h + G_i

    for one semi-implicit step of length h. Its numerator and denominator are multiplied by h, so
    that h = 0 gives the identity. Self-synapses and parallel synapses are summed as they are.

    Parameters
    ----------
    dynamics
        A circuit under constant inputs, such as ``model.cell.dynamics(inputs)``.
    state
        Potentials, before the step, shape (batch, neuron).
    elapsed
        Time that the step lasts >= 0, a number or shape (batch, 1); None for the flow.
    unfolds
        Number K of equal steps that `elapsed` is divided into, ``ode_unfolds`` of a layer; one
        step if it is left out. The Jacobian is the product J_K ... J_1 of theirs.
    sparse
        Whether to leave out the zeros: work and memory are then proportional to the synapses.

    Returns
    -------
    Tensor, SparseJacobian or JacobianProduct
        ``[:, i, j]`` is the derivative of f_i, per unit of time, or of x⁺_i by x_j, shape (batch,
        neuron, neuron). Sparse, it is a `SparseJacobian`, and with `unfolds` the product of as
        many.

    Raises
    ------
    InputError
        The state has another shape, there are no unfolds, or they have no elapsed time; or the
        form asked for is not known of these dynamics.

    Examples
    --------
    A circuit without synapses only leaks, with rate g / C:

    >>> from elegans import LTC
    >>> from elegans.wiring import Synapses, Wiring
    >>> nothing = Wiring(1, {"motor": 2}, Synapses.empty(), Synapses.empty())
    >>> cell = LTC(1, nothing, epsilon=0.0, dtype=torch.float64).cell
    >>> dynamics = cell.dynamics(torch.zeros(1, 1, dtype=torch.float64))
    >>> x = torch.zeros(1, 2, dtype=torch.float64)
    >>> tau = dynamics.time_constant(x)
    >>> torch.allclose(jacobian(dynamics, x)[0], torch.diag(-1 / tau[0]))
    True
    >>> M = jacobian(dynamics, x, elapsed=0.6, unfolds=6)[0]
    >>> torch.allclose(M, torch.diag((1 + 0.1 / tau[0]) ** -6))
    True
    """
    neurons = len(dynamics.capacitance)
    if state.dim() != 2 or state.shape[-1] != neurons:
        raise InputError(
            f"got a state of shape {tuple(state.shape)}, expected (batch, {neurons}); unsqueeze "
            "a single state"
        )
    if unfolds is not None and (unfolds < 1 or elapsed is None):
        raise InputError(
            f"got unfolds={unfolds}, expected at least 1 and the elapsed time that they divide; "
            "pass cell.ode_unfolds and elapsed=, or leave both out for the flow"
        )
    if elapsed is None:
        if not sparse:
            return dynamics.jacobian(state)
        circuit = _with_synapses(dynamics)
        return Places.of(circuit).filled(*_flow_terms(circuit, state))
    h = torch.as_tensor(elapsed, dtype=state.dtype, device=state.device)
    if unfolds is not None:
        product = _product(_with_synapses(dynamics), state, h / unfolds, unfolds)
        return product if sparse else product.to_dense()
    if not sparse and callable(own := getattr(dynamics, "step_jacobian", None)):
        matrix: Tensor = own(state, h)
        return matrix
    circuit = _with_synapses(dynamics)
    terms = _step_terms(circuit, state, h)
    return Places.of(circuit).filled(*terms) if sparse else circuit.matrix(*terms)


def has_synapses(dynamics: object) -> TypeGuard[LiquidDynamics]:
    """Whether dynamics say what each synapse contributes, so that sparse forms are known."""
    return callable(getattr(dynamics, "coupling", None))


def _with_synapses(dynamics: GatedLinearSystem) -> LiquidDynamics:
    if not has_synapses(dynamics):
        raise InputError(
            f"got {type(dynamics).__name__}, which does not say what each synapse contributes, "
            "expected dynamics with coupling(state, pulled), as an LTC has them; ask for the "
            "dense Jacobian of the flow"
        )
    return dynamics


def _flow_terms(dynamics: LiquidDynamics, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the terms of the flow's Jacobian: (batch, end), and the diagonal besides."""
    conductance, _ = dynamics.conductance_and_drive(state)
    capacitance = dynamics.capacitance
    terms = dynamics.coupling(state, state) / capacitance[dynamics.ends()[1]]
    return terms, -conductance / capacitance


def _step_terms(dynamics: LiquidDynamics, state: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the terms of a step's Jacobian: (batch, end), and the diagonal besides."""
    conductance, drive = dynamics.conductance_and_drive(state)
    capacitance = dynamics.capacitance
    denominator = capacitance + h * conductance  # (batch, neuron), h D
    after = state + h * (drive - conductance * state) / denominator
    terms = h * dynamics.coupling(state, after)
    terms = terms / denominator.index_select(-1, dynamics.ends()[1])
    return terms, capacitance / denominator


def _product(dynamics: LiquidDynamics, state: Tensor, h: Tensor, unfolds: int) -> JacobianProduct:
    places, solver, factors = Places.of(dynamics), SemiImplicit(), []
    for _ in range(unfolds):
        factors.append(places.filled(*_step_terms(dynamics, state, h)))
        state = solver.step(dynamics, state, h)
    return JacobianProduct(tuple(factors))
