"""Lyapunov exponents of any flow or map that is a torch function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.proofs.lyapunov.benettin import Plan
from elegans.proofs.lyapunov.judging import exponents_of
from elegans.proofs.lyapunov.motions import (
    Drive,
    FlowMotion,
    Function,
    Inputs,
    MapMotion,
    Tangent,
    tangent_of,
    widens,
    with_input,
)
from elegans.proofs.lyapunov.spectrum import LyapunovSpectrum


def flow_exponents(
    function: Function,
    state: Tensor,
    *,
    dt: float,
    time: float,
    count: int | None = None,
    transient: float | None = None,
    frame_transient: float | None = None,
    qr_every: int = 10,
    jacobian: Function | None = None,
    inputs: Inputs = None,
    hold: int = 1,
    blocks: int = 20,
    tolerance: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> LyapunovSpectrum:
    r"""Return the Lyapunov exponents of dx/dt = f(x) or f(x, u(t)), per unit of time.

    .. math::
        \dot x = f(x), \quad \dot Y = J(x) Y, \qquad
        \lambda_i = \lim_{T \to \infty} \frac{1}{T} \sum_{\text{QR}} \ln R_{ii}

    State and frame take fourth-order Runge-Kutta steps together. Many short trajectories as one
    batch are faster than a long one, and their spread is the best error bar. Of a driven system
    the exponents are conditional: they say whether states under one signal approach each other.

    Parameters
    ----------
    function
        f: states (batch, neuron) to their derivatives; with `inputs`, f(x, u). Samples must not
        interact.
    state
        Where trajectories begin, (batch, neuron), or (neuron,) for one; computed in its precision,
        float64 if it is not floating.
    dt
        Length of a step.
    time
        How long to measure, each trajectory.
    count
        How many of the largest exponents; all by default.
    transient
        Time that the state runs before; half of `time` by default.
    frame_transient
        Time that the frame runs with it after that; half of `time` by default. It turns into the
        directions of growth as fast as their exponents differ; what is left biases short runs.
    qr_every
        Steps from one orthonormalisation to the next.
    jacobian
        df_i/dx_j at ``[:, i, j]``, of the same arguments as `function`; forward differentiation
        by ``torch.func`` takes its place. Compared with differences of `function` once.
    inputs
        A function of the time (``lambda t: t`` for a system that depends on time), or a sequence
        (time, ...) or (batch, time, input), each row lasting `hold` steps.
    hold
        Steps that a row of a sequence lasts.
    blocks
        Number of blocks of time for the running estimates and, without enough members, for the
        error bar.
    tolerance
        The run counts as converged if no error bar exceeds this share of the largest exponent.
    seed
        Of the first, random frame.
    progress
        Whether to show a progress bar where the output is a terminal.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    InputError
        An argument is not valid, or the given Jacobian is not that of the function.
    SolveError
        A trajectory or its frame left the finite numbers; the message says when.

    Examples
    --------
    A linear flow has the real parts of its eigenvalues:

    >>> A = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]], dtype=torch.float64)
    >>> f = lambda x: x @ A.T
    >>> spectrum = flow_exponents(f, torch.ones(2), dt=0.02, time=20, progress=False)
    >>> spectrum.exponents.round(decimals=4), spectrum.signs, spectrum.verdict
    (tensor([-0.5000, -0.5000], dtype=torch.float64), '--', 'converged')

    References
    ----------
    Benettin, Galgani, Giorgilli, Strelcyn, "Lyapunov characteristic exponents for smooth dynamical
    systems", Meccanica 15 (1980) 9-30. Geist, Parlitz, Lauterborn, "Comparison of different
    methods for computing Lyapunov exponents", Progress of Theoretical Physics 83 (1990) 875-893.
    """
    state = _as_batch(state)
    _require_positive(dt=dt, time=time)
    rest = time / 2 if transient is None else transient
    turning = time / 2 if frame_transient is None else frame_transient
    _require_positive(transient=rest, frame_transient=turning, zero=True)
    require_whole(qr_every=qr_every, hold=hold)
    lengths = rest / dt, turning / (dt * qr_every), time / (dt * qr_every)
    plan = _plan(state, lengths, qr_every, count, blocks, tolerance, seed, progress)
    drive = Drive(inputs, dt, hold)
    motion = FlowMotion(*_checked(function, jacobian, state, drive, plan), drive, dt)
    settings = {"dt": dt, "time": time, "transient": rest, "frame_transient": turning}
    return exponents_of(motion, state, plan, settings | {"qr_every": qr_every})


def map_exponents(
    function: Function,
    state: Tensor,
    *,
    steps: int,
    count: int | None = None,
    transient: int | None = None,
    frame_transient: int | None = None,
    qr_every: int = 1,
    jacobian: Function | None = None,
    inputs: Inputs = None,
    hold: int = 1,
    blocks: int = 20,
    tolerance: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> LyapunovSpectrum:
    """Return the Lyapunov exponents of a map x -> f(x) or f(x, u), per step.

    Parameters
    ----------
    function
        f: states (batch, neuron) to the next ones; with `inputs`, f(x, u).
    steps
        How many steps to measure, each trajectory.
    transient, frame_transient
        Steps before, as in `flow_exponents`; half of `steps` each by default.
    state, count, qr_every, jacobian, inputs, hold, blocks, tolerance, seed, progress
        As in `flow_exponents`; a function as `inputs` is given the number of the step.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    InputError, SolveError
        As in `flow_exponents`.

    Examples
    --------
    Arnold's cat map stretches by the square of the golden ratio:

    >>> cat = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> state = torch.tensor([0.1, 0.2], dtype=torch.float64)
    >>> spectrum = map_exponents(lambda x: (x @ cat.T) % 1, state, steps=200, progress=False)
    >>> spectrum.exponents
    tensor([ 0.9624, -0.9624], dtype=torch.float64)
    """
    state = _as_batch(state)
    _require_positive(steps=steps)
    rest = steps // 2 if transient is None else transient
    turning = steps // 2 if frame_transient is None else frame_transient
    _require_positive(transient=rest, frame_transient=turning, zero=True)
    require_whole(qr_every=qr_every, hold=hold)
    lengths = rest, turning / qr_every, steps / qr_every
    plan = _plan(state, lengths, qr_every, count, blocks, tolerance, seed, progress)
    drive = Drive(inputs, 1.0, hold)
    motion = MapMotion(*_checked(function, jacobian, state, drive, plan), drive)
    settings = {"steps": steps, "transient": rest, "frame_transient": turning}
    return exponents_of(motion, state, plan, settings | {"qr_every": qr_every})


def require_whole(**numbers: int) -> None:
    """Raise `InputError` unless all are integers of at least 1."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"got {name}={value!r}, expected an integer of at least 1")


def _plan(
    state: Tensor,
    lengths: tuple[float, float, float],
    qr_every: int,
    count: int | None,
    blocks: int,
    tolerance: float,
    seed: int,
    progress: bool,
) -> Plan:
    """Return the plan; `lengths` are steps of transient, then intervals of frame and of measure."""
    transient, frame_transient, intervals = (round(length) for length in lengths)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 4:
        raise InputError(f"got blocks={blocks!r}, expected at least 4; an error bar needs several")
    if intervals < blocks:
        raise InputError(
            f"got {intervals} intervals between orthonormalisations, expected at least {blocks}, "
            "one a block; measure longer, or with a smaller qr_every or fewer blocks"
        )
    neurons = state.shape[-1]
    return Plan(
        neurons,
        neurons if count is None else count,
        transient,
        frame_transient,
        intervals,
        qr_every,
        blocks,
        tolerance,
        seed,
        progress,
    )


def _as_batch(state: Tensor) -> Tensor:
    if not isinstance(state, Tensor) or state.dim() not in (1, 2) or not state.numel():
        got = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
        raise InputError(
            f"got a state of {got}, expected a tensor of shape (batch, neuron) or (neuron,); a row "
            "a trajectory"
        )
    if state.is_complex():
        raise InputError(f"got a state of {state.dtype}, expected real numbers; split the parts")
    if not bool(torch.isfinite(state).all()):
        raise InputError("got a state with nan or infinity, expected finite numbers to begin with")
    # Growth rates are small differences of logs: half of the digits would be lost in float32.
    batch = state.detach() if state.dim() == 2 else state.detach().unsqueeze(0)
    return batch.double()


def _require_positive(*, zero: bool = False, **numbers: float) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            least = ">= 0" if zero else "> 0"
            raise InputError(f"got {name}={value!r}, expected a finite number {least}")


def _checked(
    function: Function, jacobian: Function | None, state: Tensor, drive: Drive, plan: Plan
) -> tuple[Function, Tangent]:
    """Return the function of state and input, and what gives it and its Jacobian times a frame."""
    if drive.steps is not None and drive.steps < plan.steps:
        raise InputError(
            f"got inputs for {drive.steps} steps, expected {plan.steps}: {plan.transient} of "
            f"transient, {plan.frame_transient * plan.interval} for the frame and "
            f"{plan.intervals * plan.interval} measured; give a longer sequence or a larger hold"
        )
    function = with_input(function, drive.inputs)
    with torch.no_grad():
        value = function(state, drive.at(0))
    if not isinstance(value, Tensor) or value.shape != state.shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"the function returned {got} for states of shape {tuple(state.shape)}, expected the "
            "same shape; it is given (batch, neuron), also for a single state"
        )
    if jacobian is None:
        return function, tangent_of(function, None, widens=widens(function, state, drive.at(0)))
    jacobian = with_input(jacobian, drive.inputs)
    _check_jacobian(function, jacobian, state, drive)
    return function, tangent_of(function, jacobian)


def _check_jacobian(function: Function, jacobian: Function, state: Tensor, drive: Drive) -> None:
    """Compare with central differences in a random direction."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state)
    u, epsilon = drive.at(0), 1e-6 * (1 + state.abs())
    with torch.no_grad():
        ahead = function(state + epsilon * direction, u)
        behind = function(state - epsilon * direction, u)
        matrix = jacobian(state, u)
        expected = (*state.shape, state.shape[-1])
        if tuple(matrix.shape) != expected:
            raise InputError(
                f"the jacobian returned shape {tuple(matrix.shape)}, expected (batch, neuron, "
                f"neuron) = {expected}"
            )
        along = (matrix @ (epsilon * direction).unsqueeze(-1)).squeeze(-1)
    error = float(((ahead - behind) / 2 - along).norm() / (along.norm() + 1e-6 * epsilon.norm()))
    if not error < 1e-3:
        raise InputError(
            f"the jacobian differs from differences of the function by {error:.2g} relatively, "
            "expected less than 0.001; leave it out to have the function differentiated, or check "
            "its sign and that [:, i, j] is the derivative of f_i by x_j"
        )
