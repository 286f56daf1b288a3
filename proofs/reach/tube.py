r"""Reach tubes of a circuit: boxes that hold every trajectory, step by step.

From a box of states, under inputs that vary in their ranges from step to step and are held within
one, the tube holds the state of each trajectory after each step. Every unfold is enclosed by affine
forms and by the exact range over a box, see `elegans.proofs.reach.unfolds`; a box in which the
circuit stays, such as that of a certificate, is never left by the tube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import check_count
from elegans.errors import InputError
from elegans.proofs.certificates.network import Array, Box, Network, Range
from elegans.proofs.reach.affine import AffineSet, is_finite
from elegans.proofs.reach.stepped import SteppedCircuit, given_states

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = 20
"""Symbols that a set keeps for each of its axes."""

_PANELS = 6


@dataclass(frozen=True, eq=False)
class ReachTube:
    """Boxes of states after 0, 1, ... steps, and of the outputs of each step.

    True in a condition if it is bounded at all steps, which it always is with the solvers
    ``semi_implicit`` and ``exponential``.

    Parameters
    ----------
    lo, hi
        Ends of the states, (step + 1, neuron), the first those of the starts.
    outputs
        Box of the outputs, ends of shape (step, output).
    elapsed
        Time that each step lasts, (step,).

    Examples
    --------
    >>> tube = ReachTube(np.zeros((2, 1)), np.ones((2, 1)), Box(*np.zeros((2, 1, 1))), np.ones(1))
    >>> len(tube), bool(tube), tube.width.ravel()
    (1, True, array([1., 1.]))
    """

    lo: Array
    hi: Array
    outputs: Box
    elapsed: Array

    def __len__(self) -> int:
        return len(self.elapsed)

    def __bool__(self) -> bool:
        return bool(np.isfinite(self.lo).all() and np.isfinite(self.hi).all())

    @property
    def width(self) -> Array:
        """Lengths of the intervals, (step + 1, neuron)."""
        return self.hi - self.lo

    @property
    def times(self) -> Array:
        """Time since the start, (step + 1,)."""
        return np.concatenate([np.zeros(1), np.cumsum(self.elapsed)])

    def contains(self, trajectories: Any) -> bool:
        """Whether states (..., step + 1, neuron), starts first, are in the tube at every step.

        Raises
        ------
        InputError
            They have another shape.
        """
        states = np.asarray(
            trajectories.detach().cpu() if isinstance(trajectories, Tensor) else trajectories
        )
        if states.shape[-2:] != self.lo.shape:
            raise InputError(
                f"got trajectories of shape {states.shape}, expected (..., {self.lo.shape[0]}, "
                f"{self.lo.shape[1]}): the start and the state after each step; put the starts in "
                "front of what return_states gives"
            )
        return bool(((self.lo <= states) & (states <= self.hi)).all())

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as lists."""
        return {
            "lo": self.lo.tolist(),
            "hi": self.hi.tolist(),
            "outputs": {"lo": self.outputs.lo.tolist(), "hi": self.outputs.hi.tolist()},
            "elapsed": self.elapsed.tolist(),
        }

    def draw(self, trajectories: Any = None, neurons: Sequence[int] | None = None) -> Figure:
        """Draw the tube of some neurons over time, over trajectories (..., step + 1, neuron).

        By default of the first six neurons, among them motor neurons where there are any.

        Raises
        ------
        InputError
            There is no such neuron, or the trajectories have another shape.
        """
        count = self.lo.shape[1]
        shown = list(range(min(count, _PANELS)) if neurons is None else neurons)
        if not shown or any(not 0 <= neuron < count for neuron in shown):
            raise InputError(
                f"got neurons = {neurons!r}, expected some of 0 to {count - 1}; pass their indices"
            )
        if trajectories is not None:
            self.contains(trajectories)  # checks the shape
            trajectories = np.asarray(
                trajectories.detach().cpu() if isinstance(trajectories, Tensor) else trajectories
            ).reshape(-1, *self.lo.shape)
        return draw_tube(
            self.times,
            Box(self.lo[:, shown], self.hi[:, shown]),
            [f"neuron {neuron}" for neuron in shown],
            None if trajectories is None else trajectories[..., shown],
        )


@checked(InputError)
def reach_tube(
    model: nn.Module | Network,
    *,
    states: Range,
    inputs: Range,
    steps: int | None = None,
    elapsed: float | Sequence[float] | Array | Tensor = 1.0,
    order: int = ORDER,
) -> ReachTube:
    r"""Return boxes that hold every trajectory of a circuit at each step.

    .. math:: x_0 \in B_0,\; u_t \in U_t \;\Rightarrow\; x_t \in B_t, \quad t = 0, \dots, T

    for the steps that the layer takes: all unfolds of its solver, with the inputs held in each.

    Parameters
    ----------
    model
        A layer without mixed memory, with a `Readout` or without one, its cell, or a `Network`,
        which takes one semi-implicit unfold a step and whose outputs are all its neurons.
    states
        Lowest and highest state at the start: two numbers or two arrays (neuron,), such as a `Box`.
    inputs
        Lowest and highest input as the layer is given them, two numbers or two arrays (input,), in
        which inputs vary from step to step; or an input tube, two arrays (time, input).
    steps
        T; with an input tube its length by default.
    elapsed
        Time that a step lasts, or one for each, (time,).
    order
        Symbols that are kept for each neuron; more give narrower tubes, and take longer.

    Raises
    ------
    InputError
        An argument is not valid, nothing is proved of such a model, or its solver is none of
        ``semi_implicit``, ``exponential`` and ``euler``.

    Notes
    -----
    The statement is about the step with the layer's parameters as real numbers. Numbers are rounded
    outwards as in the other proofs; rounding in the forward pass is not part of it: in single
    precision a state may be outside by about 1e-6 of its size.

    References
    ----------
    Girard, "Reachability of uncertain linear systems using zonotopes", HSCC 2005.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(2, AutoNCP(12, 1, seed=1), dtype=torch.float64)
    >>> tube = reach_tube(model, states=(-0.1, 0.1), inputs=(-1, 1), steps=10)
    >>> tube.lo.shape, tube.outputs.hi.shape, bool(tube)
    ((11, 12), (10, 1), True)
    >>> _, _, after = model(torch.rand(10, 2, dtype=torch.float64), return_states=True)
    >>> tube.contains(np.vstack([np.zeros(12), after.detach()]))
    True
    """
    check_count("order", order, 1, 10_000)
    circuit = SteppedCircuit.of(model)
    start = given_states(states, len(circuit.network))
    lo, hi = _given_inputs(inputs, steps, len(circuit.network.scale))
    lasting = _given_elapsed(elapsed, len(lo))
    now = AffineSet.of_box(start)
    found, outputs = [start], [circuit.read(now).bounds for _ in lasting[:0]]
    with np.errstate(over="ignore", invalid="ignore"):
        for u_lo, u_hi, time in zip(lo, hi, lasting.tolist(), strict=True):
            given = AffineSet.of_box(Box(u_lo, u_hi), now.symbols)
            now = circuit.step(now, given, time).reduced(order)
            if not is_finite(now):
                break
            found.append(now.bounds)
            outputs.append(circuit.read(now).bounds)
    lost = len(lasting) - len(outputs)
    states_box = _with_lost(found, len(circuit.network), lost)
    return ReachTube(*states_box, _with_lost(outputs, len(circuit.shift), lost), lasting)


def _with_lost(boxes: Sequence[Box], axes: int, lost: int) -> Box:
    """Return boxes one below another, followed by a number of unbounded ones."""
    ends = []
    for side, beyond in ((0, -np.inf), (1, np.inf)):
        held = np.array([box[side] for box in boxes], np.float64).reshape(-1, axes)
        ends.append(np.vstack([held, np.full((lost, axes), beyond)]))
    return Box(*ends)


def _given_inputs(inputs: Range, steps: int | None, count: int) -> tuple[Array, Array]:
    """Return the ends of the inputs at each step, (time, input)."""
    remedy = (
        "pass inputs=(lowest, highest), two numbers or arrays of shape "
        f"({count},), or two arrays of shape (time, {count})"
    )
    try:
        lo, hi = (
            np.asarray(end.detach().cpu() if isinstance(end, Tensor) else end, np.float64)
            for end in inputs
        )
        if any(isinstance(end, str) for end in inputs):
            raise ValueError("text")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"got inputs = {inputs!r}, expected a range or a tube; {remedy}"
        ) from error
    tubes = [end for end in (lo, hi) if end.ndim == 2]
    if steps is None and not tubes:
        raise InputError("got no steps, expected steps=T with a range of inputs; pass their number")
    time = len(tubes[0]) if steps is None else check_count("steps", steps, 0, 10_000_000)
    for end in (lo, hi):
        if end.shape not in ((), (count,), (time, count)) or not np.isfinite(end).all():
            raise InputError(
                f"got inputs with an end of shape {end.shape}, expected finite numbers for {time} "
                f"steps of {count} inputs; {remedy}"
            )
    if (lo > hi).any():
        raise InputError(f"got inputs whose lower end is above the upper; {remedy}")
    return np.broadcast_to(lo, (time, count)), np.broadcast_to(hi, (time, count))


def _given_elapsed(elapsed: Any, time: int) -> Array:
    """Return the time that each step lasts, (time,)."""
    try:
        given = elapsed.detach().cpu() if isinstance(elapsed, Tensor) else elapsed
        lasting = np.asarray(given, np.float64)
        fits = lasting.shape in ((), (time,)) and not isinstance(elapsed, bool | str)
    except (TypeError, ValueError, RuntimeError):
        lasting, fits = np.zeros(0), False
    if not fits or not (np.isfinite(lasting) & (lasting >= 0) & (lasting <= 1e100)).all():
        raise InputError(
            f"got elapsed = {elapsed!r}, expected a time of at least 0, or {time} of them; pass "
            "how long a step lasts"
        )
    return np.broadcast_to(lasting, time).copy()


def draw_tube(
    times: Array, tube: Box, names: Sequence[str], trajectories: Array | None = None
) -> Figure:
    """Draw a tube (step + 1, axis), a panel an axis, over trajectories (batch, step + 1, axis)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 1.3 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.fill_between(
            times, tube.lo[:, k], tube.hi[:, k], color="#0072B2", alpha=0.25, linewidth=0,
            label="tube",
        )  # fmt: skip
        for number, path in enumerate(() if trajectories is None else trajectories[:, :, k]):
            label = "trajectories" if number == 0 else "_"
            axes.plot(times, path, color="#D55E00", linewidth=0.7, alpha=0.6, label=label)
        axes.set_ylabel(name, parse_math=False)
    panels[0].legend(loc="best", ncols=2)
    panels[-1].set_xlabel("time")
    figure.align_ylabels()
    return figure
