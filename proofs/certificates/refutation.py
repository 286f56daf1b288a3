r"""Proofs that a circuit does not contract: two boxes that keep it apart, or a rest that it leaves.

Two disjoint boxes that no trajectory leaves under the same input keep two trajectories apart for
ever, whatever the norm. An equilibrium with a growing mode is left by trajectories that begin as
near to it as one likes; in no norm do these approach it. Either is proved in double precision with
every number rounded away from the claim:

- A box is forward invariant by the row tests of `elegans.proofs.certificates.boxes`. Such a box is
  found by taking in the targets of the box so far, from a stable equilibrium on, until they are in.
- A box X around m holds exactly one equilibrium x* by Krawczyk's test with f(x) = dx/dt, its
  Jacobian J(X) and an approximate inverse Y of its middle,

  .. math:: m - Y f(m) + (I - Y J(X)) (X - m) \subset \operatorname{int} X

- With V the approximate eigenvectors of the middle of J(X), the Gershgorin discs of
  :math:`V^{-1} A V` enclose the eigenvalues of every A in J(X); so many of them lie in each union
  of discs that touches no other as it has discs (Gershgorin's second theorem).

References
----------
Krawczyk, "Newton-Algorithmen zur Bestimmung von Nullstellen mit Fehlerschranken", Computing 4
(1969). Rump, "Verification methods: rigorous results using floating-point arithmetic", Acta
Numerica 19 (2010).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.boxes import (
    conductance_range,
    hull,
    magnitude,
    row_tests,
    stays,
    target_range,
)
from elegans.proofs.certificates.certification import solver_of, unfolds_of
from elegans.proofs.certificates.enclosed_spectra import (
    Matrices,
    jacobian_range,
    largest_eigenvalue,
)
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import (
    SLACK,
    Array,
    Box,
    Network,
    Range,
    given_range,
    liquid_cell,
)
from elegans.proofs.certificates.stepping import SOLVERS
from elegans.proofs.dynamics.equilibrium import equilibria
from elegans.proofs.verify import at_least

LARGEST = 2000
"""Most neurons whose dense matrices `SLACK` allows for."""

_AVERAGING = ("semi_implicit", "exponential")
"""Solvers whose step leads a potential a share of the way to its target, at any length."""

_ROUNDS = 200
_GROWTH = 0.01
_RADII = (1e-8, 1e-6, 1e-4)


@dataclass(frozen=True, eq=False)
class SeparateBoxes:
    """Two boxes that a circuit never leaves and that have no state in common.

    Two trajectories that begin in one each never come nearer than `gap` at `neuron`, under any
    inputs of the range, whether they follow the differential equation or, for the solvers
    ``"semi_implicit"`` and ``"exponential"``, take steps of whatever lengths.

    Examples
    --------
    >>> low, high = Box(np.zeros(1), np.full(1, 0.125)), Box(np.full(1, 0.75), np.ones(1))
    >>> print(SeparateBoxes(Box(-np.ones(1), np.ones(1)), low, high, 0, 0.625, False))
    proved: two boxes that no trajectory of the equation leaves while the inputs keep to their range
    are 0.625 apart at neuron 0; no norm contracts
    """

    inputs: Box
    """Range of the inputs, as the layer is given them, shape (input,)."""
    first: Box
    """One of the boxes, shape (neuron,)."""
    second: Box
    """The other."""
    neuron: int
    """The neuron at which they are furthest apart."""
    gap: float
    """Their distance there, rounded down."""
    step: bool
    """Whether it is proved of the steps of the layer."""

    flow = True
    """It is proved of the differential equation, always."""

    def __str__(self) -> str:
        whose = "the differential equation and of the step" if self.step else "the equation"
        return (
            f"proved: two boxes that no trajectory of {whose} leaves while the inputs keep to "
            f"their range are {at_least(self.gap, 3)} apart at neuron {self.neuron}; no norm "
            "contracts"
        )


@dataclass(frozen=True, eq=False)
class UnstableRest:
    """An equilibrium that trajectories leave however near to it they begin.

    Examples
    --------
    >>> rest = UnstableRest(np.zeros(1), Box(-np.ones(1), np.ones(1)), -0.5, 1.25)
    >>> rest.flow, rest.step
    (False, True)
    """

    inputs: Array
    """The constant input, as the layer is given it, shape (input,)."""
    box: Box
    """A box that holds exactly one equilibrium, shape (neuron,)."""
    growth: float
    """The linearised flow has a mode that grows at this rate or faster, if above 0."""
    multiplier: float | None
    """The linearised unfold has a mode that grows by this factor or more, if above 1; None where
    no step was asked for."""

    @property
    def flow(self) -> bool:
        """Whether it is proved of the differential equation."""
        return self.growth > 0

    @property
    def step(self) -> bool:
        """Whether it is proved of the step."""
        return self.multiplier is not None and self.multiplier > 1

    def __str__(self) -> str:
        modes = [f"grows at the rate {at_least(self.growth, 3)} or faster"] if self.flow else []
        if self.multiplier is not None and self.step:
            modes.append(f"grows by the factor {at_least(self.multiplier)} or more an unfold")
        return (
            "proved: under a constant input there is an equilibrium at which a mode "
            f"{' and '.join(modes)}; no norm contracts"
        )


@checked(InputError)
def refute_contraction(
    model: LTC | LTCCell,
    inputs: Range,
    *,
    elapsed: float | None = None,
    starts: int = 64,
    seed: int = 0,
) -> SeparateBoxes | UnstableRest | None:
    r"""Prove that a circuit does not contract under inputs of a range, or return None.

    Equilibria are searched for under three constant inputs: the middle of the range and its ends.
    Around the stable ones, boxes are grown that no trajectory leaves, for the whole range if that
    can be had, else for the constant input: two without a common state are a proof. So is an
    equilibrium with a growing mode. Where neither is found the result is None, which says nothing:
    see `certify` for the opposite proof.

    Parameters
    ----------
    model
        The layer or cell.
    inputs
        Lowest and highest input, as for `certify`; twice the same for a constant one.
    elapsed
        Length of a step, to examine the step of the layer's solver besides the differential
        equation; of the solvers ``"semi_implicit"``, ``"exponential"`` and ``"euler"``.
    starts, seed
        Of the searches for equilibria, see `equilibria`.

    Returns
    -------
    SeparateBoxes or UnstableRest or None
        What is proved. `flow` and `step` say of what.

    Raises
    ------
    InputError
        The range, the elapsed time or the layer is not one that `equilibria` takes; the circuit has
        more than 2,000 neurons.

    Examples
    --------
    Two neurons that excite each other rest low or high:

    >>> import torch
    >>> from elegans.wiring import Synapses, Wiring
    >>> pair = Wiring(1, {"motor": 2}, Synapses([0, 1], [1, 0], [1, 1]), Synapses.empty())
    >>> model = LTC(1, pair, implicit_param_constraints=False, epsilon=0.0)
    >>> with torch.no_grad():
    ...     for name, value in (("weight", 3.0), ("sigma", 10.0), ("mu", 0.5), ("erev", 1.0)):
    ...         _ = getattr(model.cell.recurrent, name).fill_(value)
    ...     for name, value in (("gleak", 1.0), ("cm", 1.0), ("vleak", 0.0)):
    ...         _ = getattr(model.cell, name).fill_(value)
    >>> proof = refute_contraction(model, (-1, 1))
    >>> proof.gap > 0.5, proof.flow, proof.step
    (True, True, True)
    """
    network = Network.of(model)
    if len(network) > LARGEST:
        raise InputError(
            f"got {len(network)} neurons, expected at most {LARGEST}: the matrices are dense, and "
            "rounding is allowed for up to that size; examine a part of the circuit"
        )
    solver, unfold = solver_of(model), None
    if elapsed is not None:
        if not 0 < elapsed < float("inf"):
            raise InputError(f"got elapsed={elapsed}, expected a positive time")
        if solver is None:
            raise InputError(
                f"got a layer with the solver {liquid_cell(model).solver.name!r}, expected one of "
                f"{SOLVERS}; leave elapsed out to examine the equation alone"
            )
        unfold = _Unfold(solver, elapsed / unfolds_of(model))
    given = given_range(inputs, len(network.scale))
    found: UnstableRest | None = None
    for u in _constants(given):
        rests = equilibria(model, torch.from_numpy(u), starts=starts, seed=seed)
        states = [rest.state.numpy() for rest in rests]
        stable = [rest.state.numpy() for rest in rests.stable]
        for range_ in (given, Box(u, u)) if given.width.any() else (given,):
            apart = _separate(network, range_, stable, solver in _AVERAGING)
            if apart is not None:
                return apart
        for state in states if found is None else ():
            found = found or _unstable(network, u, state, unfold)
    return found


def _constants(given: Box) -> Iterator[Array]:
    """Yield the middle of a range and its ends, none twice."""
    middle = given.lo + (given.hi - given.lo) / 2
    yield middle
    for end in given:
        if not np.array_equal(end, middle):
            yield end


# --- two boxes -----------------------------------------------------------------------------------


def _separate(
    network: Network, given: Box, states: list[Array], averaging: bool
) -> SeparateBoxes | None:
    """Return two boxes without a common state around two of the states, None if there are none."""
    inputs = network.range_of((given.lo, given.hi))
    boxes = [box for state in states if (box := invariant_box(network, inputs, state))]
    for place, first in enumerate(boxes):
        for second in boxes[:place]:
            gaps = np.maximum(first.lo - second.hi, second.lo - first.hi)
            neuron = int(gaps.argmax())
            ends = np.abs([*first, *second])[:, neuron].max()
            gap = float(gaps[neuron] - SLACK * ends)
            if gap > 0:
                return SeparateBoxes(given, first, second, neuron, gap, averaging)
    return None


def invariant_box(network: Network, inputs: Box, state: Array) -> Box | None:
    """Return a box around a state that no trajectory leaves under mapped inputs of a range.

    It grows by the targets of its states until it holds them all; None where it does not end
    before it has reached the hull of all potentials.
    """
    outer = hull(network)
    size = magnitude(network, GateRanges.over(network, outer, inputs))
    reach = 1e-9 * (outer.width + size)
    box = Box(state - reach, state + reach)
    for _ in range(_ROUNDS):
        gates = GateRanges.over(network, box, inputs)
        if stays(network, box, gates).all():
            return box
        pulled = target_range(network, gates)
        room = _GROWTH * pulled.width + SLACK * size
        box = Box(np.minimum(box.lo, pulled.lo - room), np.maximum(box.hi, pulled.hi + room))
        if box.contains(outer):
            break
    return None


# --- an unstable equilibrium ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Unfold:
    """One unfold of a solver, x + s(x) f(x), whose Jacobian at an equilibrium is I + s J."""

    solver: str
    length: float

    def share(self, capacitance: Array, conductance: Box) -> Box:
        r"""Return the range of s, shape (neuron,).

        .. math::
            \frac{h C}{C + h G}, \qquad \frac{C}{G} \big(1 - e^{-h G / C}\big), \qquad h

        for ``"semi_implicit"``, ``"exponential"`` and ``"euler"``.
        """
        h, ends = self.length, []
        for g, away in ((conductance.hi, 1 - SLACK), (conductance.lo, 1 + SLACK)):
            if self.solver == "semi_implicit":
                share = h * capacitance / (capacitance + h * g)
            elif self.solver == "exponential":
                rate = g / capacitance
                decayed = -np.expm1(-h * rate)
                share = np.divide(decayed, rate, out=np.full_like(rate, h), where=rate > 0)
            else:
                share = np.full_like(g, h)
            ends.append(away * share)
        return Box(*ends)


def _unstable(
    network: Network, u: Array, state: Array, unfold: _Unfold | None
) -> UnstableRest | None:
    """Return the equilibrium near a state if one is proved to be there, and to be unstable."""
    inputs = network.range_of((u, u))
    outer = hull(network)
    size = outer.width + magnitude(network, GateRanges.over(network, outer, inputs))
    for share in _RADII:
        box = Box(state - share * size, state + share * size)
        gates = GateRanges.over(network, box, inputs)
        if _has_kinks(network, gates):
            continue  # there is no Jacobian where a rectifying junction begins to conduct
        matrices = jacobian_range(network, box, gates)
        if not _holds_one_root(network, box, inputs, matrices):
            continue
        growth, multiplier = largest_eigenvalue(matrices, np.real), None
        if unfold is not None:
            in_steps = gates if unfold.solver == "euler" else gates.in_steps(network, box)
            conductance = conductance_range(network, in_steps)
            moved = matrices.scaled(unfold.share(network.capacitance, conductance))
            middle = moved.middle + np.eye(len(network))
            radius = moved.radius + SLACK * np.eye(len(network))
            multiplier = largest_eigenvalue(Matrices(middle, radius), np.abs)
        rest = UnstableRest(u, box, growth, multiplier)
        return rest if rest.flow or rest.step else None
    return None


def _has_kinks(network: Network, gates: GateRanges) -> bool:
    """Whether a rectifying junction may conduct or not, as the states have it."""
    if network.electrical is None or gates.electrical is None:
        return False
    undecided = gates.electrical.least < gates.electrical.most
    return bool((undecided & (network.electrical.ends.weight > 0)).any())


def _holds_one_root(network: Network, box: Box, inputs: Box, matrices: Matrices) -> bool:
    """Return whether Krawczyk's test proves that the box holds exactly one equilibrium."""
    middle = box.lo + box.width / 2
    radius = np.maximum(box.hi - middle, middle - box.lo)
    point = Box(middle, middle)
    gates = GateRanges.over(network, point, inputs)
    most = conductance_range(network, gates).hi
    rounding = SLACK * most * (2 * np.abs(middle) + magnitude(network, gates))
    current = np.abs(row_tests(network, point, gates)).max(axis=0) + rounding
    speed = (1 + SLACK) * current / network.capacitance
    try:
        inverse = np.linalg.inv(matrices.middle)
    except np.linalg.LinAlgError:
        return False
    size = np.abs(inverse)
    defect = np.abs(np.eye(len(network)) - inverse @ matrices.middle)
    defect += size @ matrices.radius + SLACK * (1 + size @ np.abs(matrices.middle))
    moved = (1 + SLACK) * (size @ speed + defect @ radius)
    least = np.minimum(box.hi - middle, middle - box.lo) * (1 - SLACK)
    return bool((moved < least).all())
