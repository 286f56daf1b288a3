"""Lyapunov exponents of a layer under its inputs: of the steps that run, or of its equation."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.layers.cell import Cell
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.dynamics.jacobian import has_synapses, jacobian
from elegans.proofs.lyapunov.benettin import Plan
from elegans.proofs.lyapunov.judging import exponents_of
from elegans.proofs.lyapunov.motions import Drive, FlowMotion, Motion, tangent_of
from elegans.proofs.lyapunov.spectrum import LyapunovSpectrum
from elegans.solvers import GatedLinearSystem, SemiImplicit, System

LARGEST_DENSE = 64
"""Most neurons for which a Jacobian is a matrix; above, products go along the synapses."""


class CellMotion(Motion):
    """The steps of a cell under a sequence of inputs, unfolds and solver as they run.

    Parameters
    ----------
    cell
        The circuit.
    inputs
        Shape (batch, time, input).
    elapsed
        Shape (batch, time).
    generic
        Whether to differentiate the step automatically even if a closed form is known.
    """

    def __init__(
        self, cell: Cell, inputs: Tensor, elapsed: Tensor, *, generic: bool = False
    ) -> None:
        self._cell, self._inputs, self._elapsed = cell, inputs, elapsed
        self.shared = bool((inputs == inputs[:1]).all() and (elapsed == elapsed[:1]).all())
        self.steady = bool((inputs == inputs[:, :1]).all() and (elapsed == elapsed[:, :1]).all())
        self._sensed = cell.sense(inputs)
        self._tangent = tangent_of(self._step, None)
        self._system: tuple[int, System] | None = None
        self._whole = None if generic else getattr(cell, "step_jacobian", None)
        self._closed = not generic and _unfolds_in_closed_form(cell, inputs[:, 0])

    def move(self, state: Tensor, step: int) -> Tensor:
        """Take a step of the cell."""
        return self._step(state, step)

    def carry(self, state: Tensor, frame: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Take a step with the frame."""
        elapsed = self._elapsed[:, step : step + 1]
        if self._whole is not None:
            turned: Tensor = self._whole(self._inputs[:, step], state, elapsed) @ frame
            return self._step(state, step), turned
        if not self._closed:
            return self._tangent(state, step, frame)
        if self._system is None or self._system[0] != step:
            self._system = step, self._sensed.at(step)
        system, unfolds = self._system[1], int(self._cell.ode_unfolds)  # type: ignore[arg-type]
        h = elapsed / unfolds
        for _ in range(unfolds):
            # The step's own derivative, with the gates at the state before it.
            frame = _carried(system, state, frame, h)
            state = self._cell.solver.step(system, state, h)  # type: ignore[operator,union-attr]
        return state, frame

    def _step(self, state: Tensor, step: int) -> Tensor:
        return self._cell.step(self._sensed, step, state, self._elapsed[:, step : step + 1])


def _unfolds_in_closed_form(cell: Cell, inputs: Tensor) -> bool:
    """Whether the derivative of the cell's unfolds is known: semi-implicit steps of some systems.

    These are systems that say what each synapse contributes, and those with a ``step_jacobian``.
    """
    if not isinstance(getattr(cell, "solver", None), SemiImplicit):
        return False
    system = _system_of(cell, inputs)
    return has_synapses(system) or callable(getattr(system, "step_jacobian", None))


def _carried(system: System, state: Tensor, frame: Tensor, h: Tensor | None = None) -> Tensor:
    """Return the Jacobian, of the flow or of a semi-implicit step of length `h`, times a frame."""
    if has_synapses(system) and state.shape[-1] > LARGEST_DENSE:
        return jacobian(system, state, elapsed=h, sparse=True) @ frame
    if isinstance(system, GatedLinearSystem):
        return jacobian(system, state, elapsed=h) @ frame
    return system.jacobian(state) @ frame


class SystemDrive(Drive):
    """The differential equation of a cell under each input, each held for some steps."""

    def __init__(self, cell: Cell, inputs: Tensor, length: float, hold: int) -> None:
        super().__init__(inputs, length, hold)
        self._cell = cell
        self._latest: tuple[int, System] | None = None

    def at(self, step: int, fraction: float = 0.0) -> System:
        """Return the system of a step."""
        row = step // self.hold
        if self._latest is None or self._latest[0] != row:
            system = _system_of(self._cell, super().at(step))
            self._latest = row, cast(System, system)  # `_flow` has seen that there is one
        return self._latest[1]


def model_exponents(
    model: SequenceLayer,
    inputs: Tensor,
    *,
    elapsed: float | Tensor = 1.0,
    states: Tensor | None = None,
    kind: str = "map",
    count: int | None = None,
    transient: int | None = None,
    frame_transient: int | None = None,
    qr_every: int = 1,
    substeps: int = 20,
    blocks: int = 10,
    tolerance: float = 0.02,
    certified_rate: float | None = None,
    generic: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> LyapunovSpectrum:
    r"""Return the conditional Lyapunov exponents of a layer under a sequence of inputs.

    .. math:: \lambda_i = \frac{1}{T} \sum_t \ln R_{ii}(t), \qquad
        Q_{t+1} R_{t+1} = \frac{\partial x_{t+1}}{\partial x_t} Q_t

    A largest exponent below zero means that states under these inputs forget where they began.

    Parameters
    ----------
    model
        A layer without mixed memory, in the precision that it has; float64 gives all digits.
    inputs
        Shape (time, input), or (batch, time, input) for several sequences.
    elapsed
        Time that a step lasts: a number, (time,) or (batch, time).
    states
        Where to begin, (batch, neuron); zeros by default. Several states under one sequence are
        several trajectories.
    kind
        ``"map"``: the steps that run, per step. ``"flow"``: the differential equation under
        inputs that are held, per unit of time, by Runge-Kutta.
    count
        How many of the largest exponents; all by default.
    transient, frame_transient
        Elements of the sequence before measuring begins, for the state and then for the frame; a
        quarter and an eighth of the sequence by default.
    qr_every
        Steps from one orthonormalisation to the next, in elements of the sequence.
    substeps
        Runge-Kutta steps an element, for ``"flow"``.
    blocks, tolerance, seed, progress
        As in `flow_exponents`.
    certified_rate
        A proved rate of contraction, per unit of time, that a flow is checked against.
    generic
        Whether to leave out the closed form, to compare with.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    InputError
        A shape or value is not valid; the layer has a memory, or no differential equation.
    SolveError
        A trajectory left the finite numbers.

    Notes
    -----
    A CfC step is differentiated in closed form, and so is a semi-implicit step of an LTC or a
    CT-RNN, unfold by unfold; in an LTC of more than 64 neurons products with the frame go along
    the synapses. Any other step is differentiated forward by ``torch.func``. A flow asks the cell
    for ``dynamics(inputs)``.

    Examples
    --------
    >>> from elegans import LTC
    >>> model = LTC(2, 5, dtype=torch.float64)
    >>> spectrum = model_exponents(model, torch.zeros(100, 2), progress=False)
    >>> spectrum.kind, spectrum.exponents.shape, bool(spectrum.exponents[0] < 0)
    ('map', torch.Size([5]), True)
    """
    cell = model.cell
    if model.memory is not None:
        raise InputError(
            "got a layer with mixed memory, expected one whose state is that of its neurons; "
            "measure a layer without memory, or write its step as a map for map_exponents"
        )
    if kind not in ("map", "flow"):
        raise InputError(f"got kind={kind!r}, expected 'map' or 'flow'")
    x, state, times = _aligned(model, inputs, states, elapsed)
    length = x.shape[1]
    rest = length // 4 if transient is None else transient
    turning = length // 8 if frame_transient is None else frame_transient
    hold = substeps if kind == "flow" else 1
    neurons = state.shape[-1]
    intervals = (length - rest - turning) // qr_every
    if min(rest, turning) < 0 or blocks < 2 or intervals < blocks:
        raise InputError(
            f"got {length} elements with {rest} and {turning} of transients, which leaves "
            f"{max(0, intervals)} intervals for {blocks} blocks; expected at least one a block: "
            "give a longer sequence, shorter transients or fewer blocks"
        )
    plan = Plan(
        neurons,
        neurons if count is None else count,
        rest * hold,
        turning // qr_every,
        intervals,
        qr_every * hold,
        blocks,
        tolerance,
        seed,
        progress,
    )
    motion: Motion
    with torch.no_grad():
        if kind == "flow":
            motion = _flow(cell, x, state, times, substeps, generic)
        else:
            motion = CellMotion(cell, x, times, generic=generic)
    settings = {"transient": rest, "frame_transient": turning, "qr_every": qr_every}
    spectrum = exponents_of(motion, state, plan, settings)
    if certified_rate is None or kind == "map":
        return spectrum
    largest, error = float(spectrum.exponents[0]), float(spectrum.errors[0])
    if largest <= -certified_rate + error:
        return spectrum
    contradiction = (
        f"the largest exponent {largest:.4g} is above the certified rate {-certified_rate:.4g}; "
        "the inputs may leave the certified range"
    )
    return replace(spectrum, reasons=(*spectrum.reasons, contradiction))


def _flow(
    cell: Cell, x: Tensor, state: Tensor, times: Tensor, substeps: int, generic: bool
) -> FlowMotion:
    if _system_of(cell, x[:, 0].expand(len(state), -1)) is None:
        raise InputError(
            f"{type(cell).__name__} has no differential equation, expected a cell with "
            "dynamics(inputs); use kind='map'"
        )
    if not bool((times == times[0, 0]).all()):
        raise InputError(
            "got elapsed times that differ, expected one number for a flow; use kind='map', or "
            "resample the inputs"
        )
    dt = float(times[0, 0]) / substeps
    drive = SystemDrive(cell, x, dt, substeps)

    def derivative(state: Tensor, system: System) -> Tensor:
        return system.derivative(state)

    def along(state: Tensor, system: System, frame: Tensor) -> tuple[Tensor, Tensor]:
        return system.derivative(state), _carried(system, state, frame)

    tangent = tangent_of(derivative, None) if generic else along
    return FlowMotion(derivative, tangent, drive, dt)


def _system_of(cell: Cell, inputs: Tensor) -> System | None:
    dynamics = getattr(cell, "dynamics", None)
    return dynamics(inputs) if callable(dynamics) else None


def _aligned(
    model: SequenceLayer, inputs: Tensor, states: Tensor | None, elapsed: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs (batch, time, input), states (batch, neuron), elapsed (batch, time)."""
    cell = model.cell
    if inputs.dim() not in (2, 3) or inputs.shape[-1] != model.input_size:
        raise InputError(
            f"got inputs of shape {tuple(inputs.shape)}, expected (time, {model.input_size}) or "
            f"(batch, time, {model.input_size})"
        )
    like = next(model.parameters())
    x = inputs if inputs.dim() == 3 else inputs.unsqueeze(0)
    x = x.detach().to(like)
    state = like.new_zeros(len(x), cell.state_size) if states is None else states.detach().to(like)
    if state.dim() != 2 or state.shape[-1] != cell.state_size:
        raise InputError(
            f"got states of shape {tuple(state.shape)}, expected (batch, {cell.state_size})"
        )
    if len(x) == 1:
        x = x.expand(len(state), -1, -1)
    if len(x) != len(state):
        raise InputError(f"got {len(x)} sequences and {len(state)} states, expected one state each")
    times = torch.as_tensor(elapsed).to(like)
    if tuple(times.shape) not in ((), (x.shape[1],), tuple(x.shape[:2])):
        raise InputError(
            f"got elapsed of shape {tuple(times.shape)}, expected a number, ({x.shape[1]},) or "
            f"{tuple(x.shape[:2])}"
        )
    if not bool((torch.isfinite(times) & (times > 0)).all()):
        raise InputError("got elapsed times that are not positive, expected finite numbers > 0")
    return x, state, times.expand(x.shape[:2])
