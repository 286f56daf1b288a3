r"""Bounds of all states of a loop, for all times, of a plant that is not linear.

With the error e = x - z of the estimate, the loop of `Youla` and a plant x+ = A x + B u + w is

.. math::
    \begin{pmatrix} x \\ e \end{pmatrix}^{\!+} =
    \begin{pmatrix} A - B K & B K \\ 0 & A - L C \end{pmatrix} \begin{pmatrix} x \\ e \end{pmatrix}
    + \begin{pmatrix} B \\ 0 \end{pmatrix} v + \begin{pmatrix} 1 \\ 1 \end{pmatrix} w

with the correction v of the circuit and what the plant adds to its linear model, w. In a box of
states and controls w is bounded by interval arithmetic, and v by the certified gain of the circuit
on the innovations C e. Sums of absolute values of the impulse responses turn these bounds into
bounds of x and e; where they come out no larger than what was put in, they hold for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elegans.arguments import checked
from elegans.control.loops.youla import LoopProof, Youla, quadratic_norm
from elegans.control.plants import Plant
from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.layers.readout import circuit_of, outputs_per_state
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.stepping import StepRows, input_effect, input_gains

_OUTWARDS = 1 + 1e-6
"""For the rounding of sums and powers of matrices in double precision."""

_GROWN = 1.001
_ROUNDS = 200
_HALVINGS = 30


@dataclass(frozen=True, eq=False)
class SafeSet:
    """Bounds that hold at all times, from every start in a box and an estimate of 0.

    Parameters
    ----------
    start
        Bounds of the absolute values of the states at the start, (state,).
    states, controls
        Those at all times, (state,) and (control,).
    correction
        Largest correction by the circuit, (control,).
    names
        Of states and controls.
    """

    start: Array
    states: Array
    controls: Array
    correction: Array
    names: tuple[tuple[str, ...], tuple[str, ...]]

    def __str__(self) -> str:
        begun, kept, used = (
            ", ".join(f"|{name}| <= {value:.3g}" for name, value in zip(names, bounds, strict=True))
            for names, bounds in (
                (self.names[0], np.nextafter(self.start, 0)),
                (self.names[0], self.states * (1 + 5e-3)),
                (self.names[1], self.controls * (1 + 5e-3)),
            )
        )
        return f"from every start with {begun}: {kept} at all times, with {used}"


@checked(InputError)
def safe_set(controller: Youla, plant: Plant, proof: LoopProof, start: ArrayLike) -> SafeSet | None:
    """Return bounds of all states from a box of starts, or None where none were found.

    Parameters
    ----------
    controller
        Of the linear model of `plant`, its weights as they were proved.
    plant
        What is controlled.
    proof
        What ``controller.proof()`` returned.
    start
        Bounds of the absolute values of the states at the start, (state,).

    Raises
    ------
    InputError
        The controller is that of another plant, its weights are not those of the proof, or its
        circuit does not come to rest in the certified box.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.control import pendulum
    >>> from elegans.wiring import AutoNCP
    >>> plant = pendulum()
    >>> K, L = plant.linear.feedback([1, 1], [1]), plant.linear.observer([1, 1], [0.1])
    >>> drawn = torch.Generator().manual_seed(1)
    >>> circuit = elegans.LTC(1, AutoNCP(12, 1, sparsity_level=0.8, seed=1), generator=drawn)
    >>> controller = Youla(plant.linear, circuit, K, L, strength=0.01)
    >>> found = safe_set(controller, plant, controller.proof(), [0.02, 0.02])
    >>> bool((found.states < [0.3, 1.5]).all())
    True
    """
    return _Loop.of(controller, plant, proof).safe_set(start)


@checked(InputError)
def largest_safe_set(
    controller: Youla, plant: Plant, proof: LoopProof, shape: ArrayLike, limits: ArrayLike
) -> SafeSet | None:
    """Return the largest box of starts of a shape that never leads beyond limits, by bisection.

    Parameters
    ----------
    controller, plant, proof
        As in `safe_set`.
    shape
        Bounds at the start up to a factor, (state,), some above 0.
    limits
        Largest absolute values of the states at any time, (state,); infinite where there is none.

    Returns
    -------
    SafeSet or None
        None where not even a thousandth of `shape` was proved.

    Raises
    ------
    InputError
        As in `safe_set`.
    """
    loop = _Loop.of(controller, plant, proof)
    form, most = np.asarray(shape, np.float64), np.asarray(limits, np.float64)

    def within(scale: float) -> SafeSet | None:
        found = loop.safe_set(scale * form)
        return found if found is not None and (found.states <= most).all() else None

    low, high = 1e-3, 1.0
    best = within(low)
    if best is None:
        return None
    while high < 1e6 and (found := within(high)) is not None:
        best, low, high = found, high, 2 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        found = within(middle)
        low, high = (middle, high) if found is not None else (low, middle)
        best = found or best
    return best


def correction_gain(controller: Youla, proof: LoopProof) -> Array:
    r"""Return bounds of the correction for a unit of each innovation, (control, output).

    Two copies of the circuit that begin in one state stay within D of each other while their inputs
    differ by at most 1, if a step from states within D ends within D: if in each row, with the b of
    `input_effect`,

    .. math:: F_i(D) + b_i \le 0

    F being that of the step with kappa = 1 (`elegans.proofs.certificates.stepping`), whose inertia
    C / h drops out.
    """
    step = proof.certificate.step
    assert step is not None  # as `proof` made sure
    network, box = proof.certificate.network, proof.certificate.box
    gates = GateRanges.over(network, box, network.range_of((-1.0, 1.0)))
    if step.solver == "euler":
        rows = Rows.of(network, box, gates)
    else:
        stepped = StepRows.of(network, box, gates, longest=step.longest, solver=step.solver)
        rows = stepped.as_flow(1.0, (step.shortest, step.longest))
    parted = input_gains(network, box, gates, rows)
    if parted is None:  # for want of digits: by the certified factor
        effect = input_effect(network, box, gates) * step.longest
        parted = step.eta * (effect / step.eta).max() / (1 - step.kappa)
    ranges, strength = controller.exact("ranges"), np.abs(controller.exact("strength"))
    moved = strength * (outputs_per_state(controller.circuit).numpy() @ parted)
    return np.asarray(_OUTWARDS * moved[:, None] / ranges)


@dataclass(frozen=True, eq=False)
class _Loop:
    """What does not depend on the start: bounds of (state and error), (2 state, ...), for a unit.

    `start`, `control` and `beyond` are those for a unit of the start, of the correction, and of
    what the plant adds to its linear model; `gain` is `correction_gain`, `feedback` abs(K).
    """

    plant: Plant
    start: Array
    control: Array
    beyond: Array
    gain: Array
    feedback: Array

    @classmethod
    def of(cls, controller: Youla, plant: Plant, proof: LoopProof) -> _Loop:
        """Return the loop of a controller and a plant; raises `InputError`, see `safe_set`."""
        linear, layer = plant.linear, circuit_of(controller.circuit)
        same = all(
            np.array_equal(getattr(controller.plant, name), getattr(linear, name))
            for name in ("dynamics", "control", "output")
        )
        if not same or not proof.certificate.matches(layer):
            raise InputError(
                "got a controller of another plant, or of other weights than those of the proof, "
                "expected plant.linear and controller.proof() as it is now"
            )
        rest = controller.begin(1).rest.double().cpu().numpy()[0]
        low, high = proof.certificate.box
        room = 1e-6 * (1 + np.maximum(np.abs(low), np.abs(high)))  # for single precision
        if not ((rest >= low - room) & (rest <= high + room)).all():
            raise InputError(
                "got a circuit that does not come to rest in its certified box, expected one that "
                "does; shorten its time constants, or pass controller.proof('exact')"
            )
        feedback, observer = controller.exact("feedback"), controller.exact("observer")
        n, m, _ = linear.sizes
        held = linear.control @ feedback
        matrix = np.block(
            [
                [linear.dynamics - held, held],
                [np.zeros((n, n)), linear.dynamics - observer @ linear.output],
            ]
        )
        found = quadratic_norm(matrix)
        if found is None:
            raise InputError(
                "got a loop whose linear part is not stable in double precision, expected all "
                "eigenvalues well below 1; choose another feedback or observer"
            )
        start, beyond = _power_bounds(matrix, np.vstack([np.eye(n), np.eye(n)]), *found)
        _, control = _power_bounds(matrix, np.vstack([linear.control, np.zeros((n, m))]), *found)
        gain = correction_gain(controller, proof)
        return cls(plant, start, control, beyond, gain, np.abs(feedback))

    def safe_set(self, start: ArrayLike) -> SafeSet | None:
        """Return bounds of all states from a box of starts, or None where none were found."""
        given, plant = np.asarray(start, np.float64), self.plant
        n, m, _ = plant.linear.sizes
        if given.shape != (n,) or not (np.isfinite(given).all() and (given >= 0).all()):
            raise InputError(
                f"got start {start!r}, expected {n} bounds of at least 0, one for each of "
                f"{', '.join(plant.states)}"
            )
        output = np.abs(plant.linear.output)
        correction, beyond = np.zeros(m), np.zeros(n)
        for _ in range(_ROUNDS):
            both = self.start @ given + self.control @ correction + self.beyond @ beyond
            states, errors = np.split(_OUTWARDS * both, 2)
            controls = _OUTWARDS * (self.feedback @ (states + errors) + correction)
            asked = _OUTWARDS * (self.gain @ (output @ errors))
            if not np.isfinite(controls).all() or both.max(initial=0.0) > 1e6:
                return None
            added = plant.remainder(states, controls)
            if (asked <= correction).all() and (added <= beyond).all():
                return SafeSet(given, states, controls, correction, (plant.states, plant.controls))
            correction = np.maximum(correction, _GROWN * asked)
            beyond = np.maximum(beyond, _GROWN * added)
        return None


def _power_bounds(matrix: Array, first: Array, norm: Array, factor: float) -> tuple[Array, Array]:
    """Return maximum and sum over k of |M^k F|; a norm bounds the powers that are left out."""
    reach = np.sqrt(np.diag(np.linalg.inv(norm)))  # |z_i| <= reach_i |z|_P
    now, largest, total = first, np.abs(first), np.abs(first)
    while True:
        now = matrix @ now
        rest = np.outer(reach, np.sqrt(np.einsum("ij,ik,kj->j", now, norm, now)))
        if (rest / (1 - factor) <= 1e-9 * (total + total.max(initial=1e-300))).all():
            return _OUTWARDS * (largest + rest), _OUTWARDS * (total + rest / (1 - factor))
        largest, total = np.maximum(largest, np.abs(now)), total + np.abs(now)
