r"""Reach tubes of a plant and the circuit that drives it: what holds from every start in a box.

The circuit is given what is measured, and its output is the control, clipped to the limits of its
`Policy`. States of plant and circuit are one set of affine forms, so that what the circuit knows of
the plant is not lost. The circuit's unfolds are those of `elegans.proofs.reach`; the step of the
plant is enclosed about the centre c of the set Z by the mean value theorem,

.. math::
    x_{t+1} \in x_t + \tau \big( f(c) + J(Z) (z - c) \big), \qquad z = (x_t, u_t)

with J(Z) the interval of the slopes over Z: its middle maps the set, its radius is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from elegans.arguments import checked
from elegans.checks import check_count
from elegans.control.loops.limits import Limit, given_limits
from elegans.control.plants import Plant
from elegans.control.policy import Policy
from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.network import SLACK, Box, Range
from elegans.proofs.reach.affine import AffineSet, chord, is_finite
from elegans.proofs.reach.stepped import SteppedCircuit, given_states
from elegans.proofs.reach.tube import ORDER, draw_tube

FARTHEST = 1e6
"""Absolute value of a state beyond which a tube is given up."""

_HALVINGS = 8
_ROUNDS = 4
_WIDER = 0.05


@dataclass(frozen=True, eq=False)
class LoopTube:
    """Boxes of all states of a loop after 0, 1, ... steps, from every start in the first.

    True in a condition if the tube is bounded at all steps.

    Parameters
    ----------
    states
        Of the plant, ends of shape (step + 1, state), in its units.
    controls
        Ends of shape (step, control), as clipped.
    circuit
        States of the circuit, ends of shape (step + 1, neuron).
    plant
        What is controlled.
    """

    states: Box
    controls: Box
    circuit: Box
    plant: Plant

    def __len__(self) -> int:
        return len(self.controls.lo)

    def __bool__(self) -> bool:
        return bool(np.isfinite(self.states.lo).all() and np.isfinite(self.states.hi).all())

    @property
    def times(self) -> Array:
        """Time since the start, (step + 1,)."""
        return np.asarray(self.plant.step * np.arange(len(self) + 1), np.float64)

    @property
    def returned(self) -> int | None:
        """The first step after which all states are within the starts again, or None.

        From there on everything repeats: the bounds of the steps up to it hold for ever.
        """
        inside = np.ones(len(self) + 1, dtype=bool)
        for box in (self.states, self.circuit):
            inside &= ((box.lo >= box.lo[0]) & (box.hi <= box.hi[0])).all(axis=1)
        steps = np.flatnonzero(inside[1:])
        return int(steps[0]) + 1 if len(steps) else None

    def contains(self, trajectories: ArrayLike) -> bool:
        """Whether states of the plant (..., step + 1, state) are in the tube at every step.

        Raises
        ------
        InputError
            They have another shape.
        """
        states = np.asarray(trajectories)
        if states.shape[-2:] != self.states.lo.shape:
            raise InputError(
                f"got trajectories of shape {states.shape}, expected (..., "
                f"{self.states.lo.shape[0]}, {self.states.lo.shape[1]}): the start, and the state "
                "after each step"
            )
        return bool(((self.states.lo <= states) & (states <= self.states.hi)).all())

    def largest(self) -> Array:
        """Return the largest absolute value of each state over all steps, (state,)."""
        ends = np.maximum(np.abs(self.states.lo), np.abs(self.states.hi))
        return np.asarray(ends.max(axis=0))

    def within(self, limits: Mapping[str, Limit]) -> bool:
        """Whether absolute values of states stay below limits at all steps.

        Parameters
        ----------
        limits
            By the name of a state: a number in the unit of the plant, or text with a unit such as
            ``"12 degrees"``.

        Raises
        ------
        InputError
            There is no such state or unit.
        """
        bounds = given_limits(limits, self.plant.states)
        largest = dict(zip(self.plant.states, self.largest(), strict=True))
        return all(bool(largest[name] < bound.value) for name, bound in bounds.items())

    def statement(self, limits: Mapping[str, Limit]) -> str:
        """Return what is proved of limits in words, or that nothing is; see `within`."""
        bounds = given_limits(limits, self.plant.states)
        ends = zip(self.plant.states, self.states.lo[0], self.states.hi[0], strict=True)
        start = ", ".join(
            f"|{name}| <= {_down(hi):.3g}" if lo == -hi else f"{lo:.6g} <= {name} <= {hi:.6g}"
            for name, lo, hi in ends
        )
        kept = ", ".join(f"|{name}| < {bound.text}" for name, bound in bounds.items())
        if not self.within(limits):
            return f"not proved from every start with {start}: {kept}"
        back = self.returned
        lasting = (
            f"for {len(self)} steps ({len(self) * self.plant.step:.4g} s)"
            if back is None
            else "at all times"
        )
        return f"{kept} {lasting} from every start with {start}"

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as lists, with the names of states and controls."""
        boxes = {"states": self.states, "controls": self.controls, "circuit": self.circuit}
        return {
            name: {"lo": box.lo.tolist(), "hi": box.hi.tolist()} for name, box in boxes.items()
        } | {
            "names": [*self.plant.states, *self.plant.controls],
            "step": self.plant.step,
            "returned": self.returned,
        }

    def draw(self, trajectories: ArrayLike | None = None) -> Figure:
        """Draw the tube of the states over time, over trajectories (..., step + 1, state)."""
        paths = None
        if trajectories is not None:
            self.contains(trajectories)  # checks the shape
            paths = np.asarray(trajectories).reshape(-1, *self.states.lo.shape)
        return draw_tube(self.times, self.states, self.plant.states, paths)


@checked(InputError)
def loop_tube(
    plant: Plant,
    policy: Policy | SequenceLayer | Readout,
    starts: Range,
    steps: int,
    *,
    circuit: Range = (0.0, 0.0),
    elapsed: float = 1.0,
    limits: Mapping[str, Limit] | None = None,
    order: int = ORDER,
) -> LoopTube:
    """Return boxes of all states of a plant that a circuit drives, from a box of starts.

    Parameters
    ----------
    plant
        What is controlled; its outputs are what the circuit is given.
    policy
        A `Policy` with its scales and limits, or a layer: a liquid one without mixed memory.
    starts
        Lowest and highest states of the plant, two arrays (state,) or two numbers.
    steps
        Number of steps of the plant.
    circuit
        Lowest and highest state of the circuit at the start; a policy begins with 0.
    elapsed
        Time that a step of the plant lasts for the circuit, as in `Policy.__call__`.
    limits
        As in `LoopTube.within`: the tube ends, unbounded from there on, where one is broken.
    order
        Symbols that are kept for each state; see `elegans.proofs.reach_tube`.

    Raises
    ------
    InputError
        Sizes do not fit together, nothing is proved of such a layer, or an argument is not valid.

    Notes
    -----
    The statement is about plant and circuit with their parameters as real numbers; rounding in the
    forward pass is not part of it.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.control.plants import double_integrator
    >>> circuit = elegans.LTC(1, elegans.wiring.AutoNCP(8, 1, seed=1))
    >>> policy = elegans.Policy(circuit, limits=(-1, 1))
    >>> tube = loop_tube(double_integrator(), policy, (-0.1, 0.1), 20)
    >>> tube.states.lo.shape, tube.within({"position": "0.5 m"})
    ((21, 2), True)
    """
    loop = _Loop.of(plant, policy, elapsed, order)
    return loop.tube(
        given_states(starts, len(plant.states)),
        given_states(circuit, len(loop.circuit.network)),
        check_count("steps", steps, 0, 10_000_000),
        given_limits(limits or {}, plant.states),
    )


@checked(InputError)
def largest_start(
    plant: Plant,
    policy: Policy | SequenceLayer | Readout,
    shape: ArrayLike,
    limits: Mapping[str, Limit],
    steps: int,
    *,
    elapsed: float = 1.0,
    order: int = ORDER,
) -> LoopTube | None:
    """Return the tube from the largest box of starts of a shape that keeps limits, by bisection.

    Parameters
    ----------
    plant, policy, steps, elapsed, order
        As in `loop_tube`.
    shape
        Largest absolute values of the states at the start up to a factor, (state,), some above 0.
    limits
        As in `LoopTube.within`.

    Returns
    -------
    LoopTube or None
        None where not even a thousandth of `shape` was proved.

    Raises
    ------
    InputError
        As in `loop_tube`.
    """
    loop = _Loop.of(plant, policy, elapsed, order)
    bounds = given_limits(limits, plant.states)
    count = check_count("steps", steps, 0, 10_000_000)
    form = np.asarray(shape, np.float64)
    if form.shape != (len(plant.states),) or not (np.isfinite(form) & (form >= 0)).all():
        raise InputError(
            f"got the shape {shape!r}, expected {len(plant.states)} numbers of at least 0, one for "
            f"each of {', '.join(plant.states)}"
        )
    if not form.any() or not bounds:
        raise InputError(
            "got a shape of zeros or no limits, expected some state that may differ from 0 at the "
            "start, and some that is to be kept"
        )
    rest = Box(*np.zeros((2, len(loop.circuit.network))))

    def kept(scale: float) -> LoopTube | None:
        found = loop.tube(Box(-scale * form, scale * form), rest, count, bounds)
        return found if found and found.within(limits) else None

    low, high = 1e-3, 1.0
    best = kept(low)
    if best is None:
        return None
    while high < 1e6 and (found := kept(high)) is not None:
        best, low, high = found, high, 2 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high) if low > 0.1 * high else (low * high) ** 0.5
        found = kept(middle)
        low, high = (middle, high) if found is not None else (low, middle)
        best = found or best
    return best


@checked(InputError)
def invariant_tube(
    plant: Plant,
    policy: Policy | SequenceLayer | Readout,
    starts: Range,
    steps: int,
    *,
    elapsed: float = 1.0,
    order: int = ORDER,
) -> LoopTube | None:
    """Return a tube that returns into its starts, so that its bounds hold for ever.

    The states of the circuit at the start are a box, too, found from those that occur: it holds 0,
    with which a policy begins.

    Parameters
    ----------
    plant, policy, starts, elapsed, order
        As in `loop_tube`.
    steps
        Within which all states must have come back.

    Returns
    -------
    LoopTube or None
        None where none was found that returns.

    Raises
    ------
    InputError
        As in `loop_tube`.
    """
    loop = _Loop.of(plant, policy, elapsed, order)
    box = given_states(starts, len(plant.states))
    count = check_count("steps", steps, 1, 10_000_000)
    held = Box(*np.zeros((2, len(loop.circuit.network))))
    for _ in range(_ROUNDS):
        tube = loop.tube(box, held, count, {})
        if not tube:
            return None
        if tube.returned is not None:
            return tube
        lo, hi = tube.circuit.lo.min(axis=0), tube.circuit.hi.max(axis=0)
        held = Box(lo - _WIDER * (hi - lo), hi + _WIDER * (hi - lo))
    return None


@dataclass(frozen=True, eq=False)
class _Loop:
    """A plant, the circuit that drives it, and what stands between them.

    `heard` is the matrix and the shift from states of the plant to inputs, `answered` from outputs
    to controls before they are clipped to `limits`.
    """

    plant: Plant
    circuit: SteppedCircuit
    heard: tuple[Array, Array]
    answered: tuple[Array, Array]
    limits: tuple[Array, Array] | None
    elapsed: float
    order: int

    @classmethod
    def of(
        cls, plant: Plant, policy: Policy | SequenceLayer | Readout, elapsed: float, order: int
    ) -> _Loop:
        check_count("order", order, 1, 10_000)
        if not (np.isfinite(elapsed) and elapsed >= 0):
            raise InputError(f"got elapsed = {elapsed!r}, expected a time of at least 0")
        asked = policy if isinstance(policy, Policy) else Policy(policy)
        _, m, p = plant.linear.sizes
        sizes = asked.model.input_size, asked.model.output_size
        if sizes != (p, m):
            raise InputError(
                f"got a circuit of {sizes[0]} inputs and {sizes[1]} outputs, expected {p} and {m}: "
                f"the plant measures {', '.join(plant.outputs)} and takes "
                f"{', '.join(plant.controls)}"
            )
        heard, answered = (plant.linear.output, np.zeros(p)), (np.eye(m), np.zeros(m))
        scales = asked.scales
        if scales is not None:
            given, told = scales.inputs, scales.targets
            heard = (heard[0] / given.unit[:, None], given.offset - given.origin / given.unit)
            answered = (np.diag(told.unit), told.origin - told.offset * told.unit)
            elapsed = elapsed / scales.elapsed
        circuit = SteppedCircuit.of(asked.model)
        return cls(plant, circuit, heard, answered, asked.limits, elapsed, order)

    def tube(self, starts: Box, circuit: Box, steps: int, limits: Mapping[str, Any]) -> LoopTube:
        """Return the tube from a box of states and one of the circuit's."""
        n = len(starts.lo)
        most = np.full(n, FARTHEST)
        for name, bound in limits.items():
            most[self.plant.states.index(name)] = min(FARTHEST, bound.value)
        both = Box(*(np.concatenate(ends) for ends in zip(starts, circuit, strict=True)))
        now, found, controls = AffineSet.of_box(both), [both], []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(steps):
                lo, hi = (end[:n] for end in now.bounds)
                if not is_finite(now) or (np.maximum(np.abs(lo), np.abs(hi)) >= most).any():
                    break
                now, control = self._step(now, n)
                found.append(now.bounds)
                controls.append(control.bounds)
        whole = _filled(found, steps + 1, len(now))
        return LoopTube(
            Box(whole.lo[:, :n], whole.hi[:, :n]),
            _filled(controls, steps, len(self.plant.controls)),
            Box(whole.lo[:, n:], whole.hi[:, n:]),
            self.plant,
        )

    def _step(self, now: AffineSet, n: int) -> tuple[AffineSet, AffineSet]:
        """Return the set after a step, and that of the controls."""
        states, circuit = now.take(slice(n)), now.take(slice(n, None))
        circuit = self.circuit.step(circuit, states.mapped(*self.heard), self.elapsed)
        outputs = self.circuit.read(circuit).mapped(*self.answered)
        control = _clipped(outputs, self.limits)
        # New symbols of the plant come after all that are in use.
        moved = _advanced(self.plant, AffineSet.stacked([states, control]))
        return AffineSet.stacked([moved, circuit]).reduced(self.order), control


def _advanced(plant: Plant, both: AffineSet) -> AffineSet:
    """Return the states of a plant a step later, from the set of states and controls."""
    n, step = len(plant.states), plant.step
    lo, hi = both.bounds
    about = np.clip(both.centre, lo, hi)
    rates, slopes = plant.enclosure(lo, hi)
    there, _ = plant.enclosure(about, about)
    mean = 0.5 * slopes.lo + 0.5 * slopes.hi
    radius = (1 + SLACK) * np.maximum(slopes.hi - mean, mean - slopes.lo)
    matrix = np.hstack([np.eye(n), np.zeros((n, len(lo) - n))]) + step * mean
    rate = 0.5 * there.lo + 0.5 * there.hi
    # x + tau (f(c) + J (z - c)) = M z + tau (f(c) - J c), with M = (1 0) + tau J.
    shift = step * (rate - mean @ about)
    far = np.maximum(np.abs(lo - about), np.abs(hi - about))
    size = np.abs(rate) + np.abs(mean) @ (np.abs(about) + far + np.abs(both.centre))
    reach = np.abs(both.generators).sum(axis=1)
    error = step * (radius @ far + (there.hi - there.lo) + SLACK * size)
    error = error + SLACK * (np.abs(matrix) @ (np.abs(both.centre) + reach) + np.abs(shift))
    box_lo, box_hi = lo[:n] + step * rates.lo, hi[:n] + step * rates.hi
    slack = SLACK * (np.abs(box_lo) + np.abs(box_hi) + np.abs(lo[:n]) + np.abs(hi[:n]))
    return AffineSet.of(
        matrix @ both.centre + shift,
        matrix @ both.generators,
        (1 + SLACK) * error,
        Box(box_lo - slack, box_hi + slack),
    )


def _clipped(outputs: AffineSet, limits: tuple[Array, Array] | None) -> AffineSet:
    """Return the outputs clipped to limits, each as a line in itself."""
    if limits is None:
        return outputs
    least, most = limits
    lo, hi = outputs.bounds
    inner = np.clip(np.stack([least, most]), lo, hi)
    places = np.concatenate([np.stack([lo, hi]), inner])
    slope, shift, error = chord(lo, hi, np.clip(places, least, most), inner)
    free = (least <= lo) & (hi <= most)
    slope, shift, error = (
        np.where(free, whole, part) for whole, part in ((1.0, slope), (0.0, shift), (0.0, error))
    )
    centre = slope * outputs.centre + shift
    reach = np.abs(outputs.centre) + np.abs(outputs.generators).sum(axis=1)
    return AffineSet.of(
        centre,
        slope[:, None] * outputs.generators,
        error + SLACK * (np.abs(slope) * reach + np.abs(shift)),
        Box(np.clip(lo, least, most), np.clip(hi, least, most)),
    )


def _down(value: float) -> float:
    """Return a number of three digits that is no larger than a value of at least 0."""
    rounded = float(f"{value:.3g}")
    return rounded if rounded <= value else float(f"{value * (1 - 5e-3):.3g}")


def _filled(boxes: list[Box], rows: int, axes: int) -> Box:
    """Return boxes one below another, followed by unbounded ones up to a number of rows."""
    ends = []
    for side, beyond in ((0, -np.inf), (1, np.inf)):
        held = np.array([box[side] for box in boxes], np.float64).reshape(-1, axes)
        ends.append(np.vstack([held, np.full((rows - len(held), axes), beyond)]))
    return Box(*ends)
