"""Equilibria of the flow and fixed points of the step under a constant input, and their stability.

One semi-implicit unfold has the equilibria of the flow as its fixed points, and no others. A step
of K unfolds also returns to where it was on a cycle of the unfold whose period divides K. The flow
knows nothing of such cycles; they are artefacts of long unfolds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Box, Network, checked_box
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.newton import RootProblem, find_roots, spread
from elegans.proofs.dynamics.spectra import dominant, spectrum
from elegans.solvers import SemiImplicit

Stability = Literal["stable", "unstable", "marginal"]

MARGIN = 1e-6
"""An eigenvalue nearer to the border of stability than this share of the fastest rate, of decay
or of the linearised flow, is marginal; of a step, nearer to the unit circle than this. At a fold,
where two equilibria meet, a residual d leaves the eigenvalue uncertain to about the square root of
d: this is that of the default tolerance."""

_TRAJECTORIES = 32
_TRAJECTORY_STEPS = 200


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A state that does not move: in the flow, or from one step of a layer to the next."""

    state: Tensor
    """Potentials, float64, shape (neuron,)."""
    residual: float
    """Largest ``|r_i - x_i|``: how far a neuron is from the potential that it relaxes to; of a
    step, the largest change of a potential."""
    spectrum: Tensor
    """Eigenvalues of the flow's Jacobian, the largest real part first, or of the step's, the
    largest modulus first, complex, (neuron,)."""
    verdict: Stability
    """Of the linearised motion: ``"marginal"`` decides nothing."""
    unstable_directions: int
    """Number of eigenvalues with a positive real part, or outside the unit circle; the marginal
    ones are not counted."""
    hits: int
    """Number of starts that ended here."""
    index: int | None
    """The sign of det(-J), or of det(I - M) for a step, or None where the matrix may be
    singular."""
    period: int = 1
    """Number of unfolds after which the state is back; 1 for an equilibrium of the flow."""
    elapsed: float | None = None
    """Time that the step lasts; None in the flow."""

    @property
    def rate(self) -> float:
        """Growth of the slowest mode: perturbations end up growing like exp(rate t)."""
        return float(self._slowest.real)

    @property
    def frequency(self) -> float:
        """Oscillations of the slowest mode per unit of time; 0 for a node."""
        return abs(float(self._slowest.imag)) / (2 * torch.pi)

    @property
    def _slowest(self) -> Tensor:
        first = self.spectrum[0]
        return first if self.elapsed is None else first.log() / self.elapsed

    def __str__(self) -> str:
        period = "" if self.elapsed is None else f"period {self.period}, "
        return (
            f"{self.verdict}, {period}{self.unstable_directions} unstable directions, rate "
            f"{self.rate:.4g}, frequency {self.frequency:.4g}, {self.hits} hits, residual "
            f"{self.residual:.1e}"
        )


@dataclass(frozen=True, eq=False)
class Equilibria(Sequence[Equilibrium]):
    """The equilibria that a search has found, the one with most hits first.

    The list may be incomplete. `surely_incomplete` says when it cannot be complete.
    """

    points: tuple[Equilibrium, ...]
    box: Box
    """The box that the starts were drawn from."""
    starts: int
    """Number of starts."""
    failed: Tensor
    """The starts that did not end at an equilibrium, shape (failed, neuron)."""
    left: Tensor
    """Largest residual where these gave up, shape (failed,)."""

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, place: int) -> Equilibrium:  # type: ignore[override]
        return self.points[place]

    def __iter__(self) -> Iterator[Equilibrium]:
        return iter(self.points)

    @property
    def stable(self) -> tuple[Equilibrium, ...]:
        """The stable ones."""
        return tuple(point for point in self.points if point.verdict == "stable")

    @property
    def index_sum(self) -> int | None:
        """Sum of the indices, which is 1 over all equilibria; None if one is not known."""
        indices = [point.index for point in self.points if point.index is not None]
        return sum(indices) if len(indices) == len(self) else None

    @property
    def surely_incomplete(self) -> bool:
        r"""Whether there must be more equilibria than were found.

        The targets r(x), and every step, map the box of all potentials into itself, so the
        indices of all equilibria, +1 or -1 as the sign of det(-J), sum to 1 (Brouwer's degree).
        Another sum means that some are missing; the sum 1 says nothing.
        """
        return self.index_sum not in (1, None)

    def __str__(self) -> str:
        more = "there may be more"
        if self.index_sum is None:
            more = f"the index of one is not known; {more}"
        elif self.surely_incomplete:
            more = (
                "there are more, since the indices of all sum to 1 and those of these to "
                f"{self.index_sum}"
            )
        ends = f"{len(self)} from {self.starts} starts, {len(self.failed)} of which failed"
        return "\n  ".join([f"equilibria: {ends}; {more}", *map(str, self.points)])


@checked(InputError)
@torch.no_grad()
def equilibria(
    model: LTC | LTCCell,
    inputs: Tensor | Sequence[float],
    box: Box | None = None,
    *,
    elapsed: float | None = None,
    starts: int | Tensor = 256,
    seed: int = 0,
    tolerance: float = 1e-12,
    merge_tolerance: float = 1e-6,
    iterations: int = 100,
) -> Equilibria:
    r"""Search for all states that do not move under a constant input.

    In the flow, or in the step of a layer that lasts `elapsed`, with K = ``ode_unfolds`` parts,

    .. math::
        0 = r(x) - x, \qquad
        r_i = \frac{g_i V_i + \sum_k w_k \sigma_k E_k}{g_i + \epsilon + \sum_k w_k \sigma_k}
        \qquad \text{or} \qquad 0 = x_K(x) - x

    by damped Newton iterations with the analytic Jacobian, in float64 whatever the precision of
    the layer. They start from a Latin hypercube sample of the box, its two extreme corners, the
    zero state, and the ends of up to 32 trajectories. Every equilibrium lies in the default box,
    but that every one is found is not certain: a search is no proof.

    The equilibria of the flow are among those of the step, and the only ones for K = 1, whatever
    its length: x⁺ - x = h (A - G x) / (C + h G) vanishes exactly if A - G x does. But a stable
    equilibrium of the flow need not be stable under long unfolds, nor the other way round.

    Parameters
    ----------
    model
        The layer or cell.
    inputs
        The constant input, in the units that the layer is given, shape (input,).
    box
        Where to start; by default the hull of all potentials that pull at each neuron. Equilibria
        that are found outside are kept.
    elapsed
        Time > 0 that the step lasts; None for the flow.
    starts
        Number of starts in the sample, or the starts themselves, shape (start, neuron), in place
        of all the others.
    seed
        Draws the sample.
    tolerance
        Largest ``|r_i - x_i|`` of an equilibrium, or change of a potential by the step, as a share
        of the box's largest width or potential. In a short step all changes are small: lower it
        with the step.
    merge_tolerance
        Ends nearer than this share of it are the same equilibrium.
    iterations
        Largest number of Newton steps from each start.

    Returns
    -------
    Equilibria
        Each with its residual, spectrum, verdict, hits and period, and the starts that failed.

    Raises
    ------
    InputError
        Inputs, box or starts have another shape or are not finite, the layer has a memory cell,
        or a neuron has no conductance at all; or the elapsed time is not positive, or the layer
        takes its steps with another solver than ``"semi_implicit"``.

    Notes
    -----
    Matrices are dense: some thousands of neurons at most.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(8, AutoNCP(units=19, output_size=4), generator=torch.Generator().manual_seed(0))
    >>> rests = equilibria(model, torch.zeros(8))
    >>> len(rests), rests[0].verdict, rests.surely_incomplete
    (1, 'stable', False)
    >>> [(point.period, point.verdict) for point in equilibria(model, torch.zeros(8), elapsed=1.0)]
    [(1, 'stable')]
    """
    network = Network.of(model)
    u = torch.as_tensor(inputs, dtype=torch.float64).detach().cpu()
    if tuple(u.shape) != (len(network.scale),) or not torch.isfinite(u).all():
        raise InputError(
            f"got inputs of shape {tuple(u.shape)}, expected ({len(network.scale)},) finite "
            "numbers; pass one constant input, such as x[0, 0] of a batch"
        )
    dynamics = network.dynamics(u.unsqueeze(0))
    motion = _Flow(dynamics) if elapsed is None else _Step.of(model, dynamics, elapsed)
    box = hull(network) if box is None else checked_box(box, len(network))
    scale = float(max(abs(box.lo).max(), abs(box.hi).max(), box.width.max())) or 1.0
    if isinstance(starts, int):
        points = _starting_points(dynamics, box, starts, seed)
    elif starts.dim() != 2 or starts.shape[1] != len(network) or not torch.isfinite(starts).all():
        raise InputError(
            f"got starts of shape {tuple(starts.shape)}, expected finite numbers of shape "
            f"(start, {len(network)}); unsqueeze a single start"
        )
    else:
        points = starts.detach().cpu().double()
    roots = find_roots(
        RootProblem(motion.residual, motion.residual_jacobian),
        points,
        scale=scale,
        tolerance=tolerance,
        merge_tolerance=merge_tolerance,
        iterations=iterations,
    )
    rests = []
    for state, residual, hits in zip(roots.states, roots.residuals, roots.hits, strict=True):
        batch = state.unsqueeze(0)
        modes = motion.modes(batch)
        verdict, unstable = modes.verdict()
        # Points of one cycle are distinct roots, and so further apart than merge_tolerance.
        period = motion.period(batch, merge_tolerance * scale)
        rests.append(
            Equilibrium(
                state,
                float(residual),
                modes.eigenvalues,
                verdict,
                unstable,
                int(hits),
                modes.sign(),
                period,
                elapsed,
            )
        )
    return Equilibria(tuple(rests), box, len(points), roots.failed, roots.left)


class _Modes(NamedTuple):
    """Eigenvalues at an equilibrium, and how they lie to the border of stability."""

    eigenvalues: Tensor
    """As `Equilibrium.spectrum`."""
    beyond: Tensor
    """Distance of each beyond the border of stability, (neuron,)."""
    displacement: Tensor
    """Eigenvalues of the Jacobian of what the motion moves a state by, complex, (neuron,)."""
    size: float
    """The size that rounding is relative to."""

    def verdict(self) -> tuple[Stability, int]:
        """Return the verdict and the number of unstable directions."""
        margin = MARGIN * self.size
        unstable = int((self.beyond > margin).sum())
        if unstable:
            return "unstable", unstable
        return ("stable" if bool((self.beyond < -margin).all()) else "marginal"), 0

    def sign(self) -> int | None:
        """Return the sign of det(-J), or None where an eigenvalue is nearly 0.

        Conjugate pairs have a positive product, so that only real positive eigenvalues count.
        """
        if bool((self.displacement.abs() <= MARGIN * self.size).any()):
            return None
        real = self.displacement[self.displacement.imag == 0].real
        return -1 if int((real > 0).sum()) % 2 else 1


class _Flow(NamedTuple):
    """The differential equation under one constant input; F(x) = r(x) - x."""

    dynamics: LiquidDynamics

    def residual(self, state: Tensor) -> Tensor:
        """Return r(x) - x, shape (batch, neuron)."""
        return repeated(self.dynamics, len(state)).target(state) - state

    def residual_jacobian(self, state: Tensor) -> Tensor:
        r"""Return the Jacobian of r(x) - x, shape (batch, neuron, neuron).

        .. math::
            \frac{1}{G_i} \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - r_i)
            - \delta_{ij}
        """
        dynamics = repeated(self.dynamics, len(state))
        conductance, drive = dynamics.conductance_and_drive(state)
        terms = dynamics.coupling(state, drive / conductance) / conductance.index_select(
            -1, dynamics.ends()[1]
        )
        return dynamics.matrix(terms, -torch.ones_like(state))

    def modes(self, state: Tensor) -> _Modes:
        """Return the modes of the linearised flow at one state (1, neuron)."""
        eigenvalues = spectrum(jacobian(self.dynamics, state))[0]
        # Rounding is relative to the rates before coupling and decay cancel, not after.
        fastest = float((1 / self.dynamics.time_constant(state)).max())
        size = max(fastest, float(eigenvalues.abs().max()))
        return _Modes(eigenvalues, eigenvalues.real, eigenvalues, size)

    def period(self, state: Tensor, distance: float) -> int:
        """Return 1."""
        return 1


class _Step(NamedTuple):
    """The step of a layer under one constant input, K unfolds; F(x) = x_K(x) - x."""

    dynamics: LiquidDynamics
    solver: SemiImplicit
    elapsed: float
    unfolds: int

    @classmethod
    def of(cls, model: LTC | LTCCell, dynamics: LiquidDynamics, elapsed: float) -> _Step:
        """Return the step of a layer or cell."""
        cell: Any = getattr(model, "cell", model)
        solver = cell.solver
        if not isinstance(solver, SemiImplicit):
            raise InputError(
                f"got a layer with the solver {solver.name!r}, expected 'semi_implicit', whose "
                "Jacobian is known; equilibria(model, inputs) examines the flow, whatever the "
                "solver"
            )
        if not 0 < elapsed < float("inf"):
            raise InputError(
                f"got elapsed={elapsed}, expected a positive time; leave it out for the flow"
            )
        return cls(dynamics, solver, elapsed, cell.ode_unfolds)

    def residual(self, state: Tensor, unfolds: int | None = None) -> Tensor:
        """Return what some unfolds, all by default, move a state by, shape (batch, neuron)."""
        dynamics, after = repeated(self.dynamics, len(state)), state
        h = torch.tensor(self.elapsed / self.unfolds, dtype=torch.float64)
        for _ in range(unfolds or self.unfolds):
            after = self.solver.step(dynamics, after, h)
        return after - state

    def residual_jacobian(self, state: Tensor) -> Tensor:
        """Return M - I, shape (batch, neuron, neuron)."""
        return self._multiplier(state) - torch.eye(state.shape[-1], dtype=state.dtype)

    def modes(self, state: Tensor) -> _Modes:
        """Return the modes of the linearised step at one state (1, neuron)."""
        multipliers = dominant(self._multiplier(state), state.shape[-1])[0]
        return _Modes(multipliers, multipliers.abs() - 1, multipliers - 1, 1.0)

    def period(self, state: Tensor, distance: float) -> int:
        """Return the number of unfolds that bring a state back, to a distance."""
        divisors = (d for d in range(1, self.unfolds + 1) if self.unfolds % d == 0)
        return next(d for d in divisors if self.residual(state, d).abs().max() <= distance)

    def _multiplier(self, state: Tensor) -> Tensor:
        dynamics = repeated(self.dynamics, len(state))
        return jacobian(dynamics, state, elapsed=self.elapsed, unfolds=self.unfolds)


def repeated(dynamics: LiquidDynamics, batch: int) -> LiquidDynamics:
    """Return dynamics under one input, shape (1, neuron), as a batch of the same."""
    capacitance, conductance, drive, *_ = dynamics.parameters()
    return LiquidDynamics(
        capacitance,
        conductance.expand(batch, -1),
        drive.expand(batch, -1),
        dynamics.recurrent,
        dynamics.electrical,
    )


def _starting_points(dynamics: LiquidDynamics, box: Box, count: int, seed: int) -> Tensor:
    """Return `count` points all over the box and a few that often help, (start, neuron)."""
    if count < 1:
        raise InputError(f"got starts={count}, expected at least 1; the default is 256")
    sample = torch.from_numpy(spread(box, count, seed))
    low = torch.from_numpy(box.lo)
    special = torch.stack([low, torch.from_numpy(box.hi), torch.zeros_like(low)])
    ends = sample[:_TRAJECTORIES]
    dynamics, solver = repeated(dynamics, len(ends)), SemiImplicit()
    # In steps of a typical time constant, since starts need only be near the attractors.
    h = dynamics.time_constant(ends).median()
    for _ in range(_TRAJECTORY_STEPS):
        ends = solver.step(dynamics, ends, h)
    return torch.cat([sample, special, ends])
