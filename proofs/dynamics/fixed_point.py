"""The fixed points of the step that a layer really takes: equilibria, and what is none.

One semi-implicit unfold has the equilibria of the flow as its fixed points, and no others. A step
of K unfolds also returns to where it was on a cycle of the unfold whose period divides K. The flow
knows nothing of such cycles; they are artefacts of long unfolds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.dynamics.equilibrium import (
    ConstantInput,
    Verdict,
    checked_box,
    checked_starts,
    completeness,
    index_of,
    index_sum,
    judged,
    scale_of,
    starting_points,
)
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.proofs.dynamics.newton import RootProblem, find_roots
from elegans.proofs.dynamics.spectra import dominant
from elegans.solvers import SemiImplicit


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A state that a layer's step returns to itself."""

    state: Tensor
    """Potentials, float64, shape (neuron,)."""
    period: int
    """Number of unfolds after which the state is back; 1 for an equilibrium of the flow."""
    residual: float
    """Largest change of a potential by the step."""
    multipliers: Tensor
    """Eigenvalues of the step's Jacobian, the largest modulus first, complex, (neuron,)."""
    verdict: Verdict
    """Of the linearised step: ``"marginal"`` decides nothing."""
    unstable_directions: int
    """Number of multipliers outside the unit circle, the marginal ones not counted."""
    hits: int
    """How many starts ended here."""

    @property
    def index(self) -> int | None:
        """The sign of det(I - M), or None where a multiplier may be 1."""
        return index_of(self.multipliers - 1, 1.0)


@dataclass(frozen=True, eq=False)
class FixedPoints(Sequence[FixedPoint]):
    """What a search has found, the fixed point with most hits first; perhaps not all."""

    found: tuple[FixedPoint, ...]
    box: Box
    """Where the starts were drawn."""
    starts: int
    """Number of starts."""
    failed: Tensor
    """The starts that did not end at a fixed point, shape (failed, neuron)."""
    left: Tensor
    """Largest change by the step where these gave up, shape (failed,)."""

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, place: int) -> FixedPoint:  # type: ignore[override]
        return self.found[place]

    def __iter__(self) -> Iterator[FixedPoint]:
        return iter(self.found)

    @property
    def equilibria(self) -> tuple[FixedPoint, ...]:
        """Those that are equilibria of the flow."""
        return tuple(each for each in self.found if each.period == 1)

    @property
    def index_sum(self) -> int | None:
        """Sum of the indices, which is 1 over all fixed points; None if one is not known."""
        return index_sum([each.index for each in self.found])

    @property
    def surely_incomplete(self) -> bool:
        """Whether there must be more; see `elegans.proofs.Equilibria.surely_incomplete`."""
        return self.index_sum not in (1, None)

    def __str__(self) -> str:
        ends = f"{len(self)} from {self.starts} starts, {len(self.failed)} of which failed"
        return f"fixed points: {ends}; {completeness(self.index_sum)}\n" + "\n".join(
            f"  {each.verdict}, period {each.period}, {each.unstable_directions} unstable "
            f"directions, largest multiplier {float(each.multipliers[0].abs()):.4g}, {each.hits} "
            f"hits, residual {each.residual:.1e}"
            for each in self.found
        )


@torch.no_grad()
def fixed_points(
    model: LTC | LTCCell,
    inputs: Tensor | Sequence[float],
    elapsed: float = 1.0,
    box: Box | None = None,
    *,
    starts: int | Tensor = 256,
    seed: int = 0,
    tolerance: float = 1e-12,
    merge_tolerance: float = 1e-6,
    iterations: int = 100,
) -> FixedPoints:
    r"""Search for all states that the layer's step returns to themselves.

    .. math:: x_K(x) = x, \qquad M = \frac{\partial x_K}{\partial x} = J_K \cdots J_1

    where K is ``ode_unfolds``. The equilibria of the flow are among them, and the only ones for
    K = 1; but a stable equilibrium of the flow need not be stable under long unfolds, nor the
    other way round.

    Parameters
    ----------
    model, inputs, box, starts, seed, merge_tolerance, iterations
        As in `elegans.proofs.equilibria`.
    elapsed
        Time that the step lasts, > 0.
    tolerance
        Largest change of a potential by the step, as a share of the box's largest width or
        potential. For a short step all changes are small: lower it with the step.

    Returns
    -------
    FixedPoints
        Each with its period in unfolds, multipliers, verdict and hits, and the starts that failed.

    Raises
    ------
    InputError
        As in `elegans.proofs.equilibria`; or the elapsed time is not positive, or the solver is
        another than ``"semi_implicit"``.

    Examples
    --------
    >>> model = LTC(2, 5, generator=torch.Generator().manual_seed(0))
    >>> found = fixed_points(model, torch.zeros(2))
    >>> [(each.period, each.verdict) for each in found]
    [(1, 'stable')]
    """
    network = Network.of(model)
    cell = model.cell if isinstance(model, LTC) else model
    solver = cell.solver
    if not isinstance(solver, SemiImplicit):
        raise InputError(
            f"got a layer with the solver {solver.name!r}, expected 'semi_implicit', whose "
            "Jacobian is known; equilibria(model, inputs) examines the flow, whatever the solver"
        )
    if not 0 < elapsed < float("inf"):
        raise InputError(f"got elapsed={elapsed}, expected a positive time; the default is 1.0")
    unfolds, held = cell.ode_unfolds, ConstantInput(network, inputs)
    box = checked_box(network, box)
    scale, h = scale_of(box), torch.tensor(elapsed / unfolds).double()

    def moved(state: Tensor, count: int) -> Tensor:
        dynamics, after = held.dynamics(len(state)), state
        for _ in range(count):
            after = solver.step(dynamics, after, h)
        return after - state

    def multiplier(state: Tensor) -> Tensor:
        dynamics = held.dynamics(len(state))
        return jacobian(dynamics, state, elapsed=elapsed, unfolds=unfolds)

    problem = RootProblem(
        lambda state: moved(state, unfolds),
        lambda state: multiplier(state) - torch.eye(held.size, dtype=state.dtype),
    )
    points = (
        starting_points(held, box, starts, seed)
        if isinstance(starts, int)
        else checked_starts(starts, len(network))
    )
    roots = find_roots(
        problem,
        points,
        scale=scale,
        tolerance=tolerance,
        merge_tolerance=merge_tolerance,
        iterations=iterations,
    )
    found = []
    divisors = [d for d in range(1, unfolds + 1) if unfolds % d == 0]
    for state, residual, hits in zip(roots.states, roots.residuals, roots.hits, strict=True):
        eigenvalues = dominant(multiplier(state.unsqueeze(0)), held.size)[0]
        verdict, unstable = judged(eigenvalues.abs() - 1, 1.0)
        # Points of one cycle are distinct roots, and so further apart than this.
        period = next(
            d
            for d in divisors
            if moved(state.unsqueeze(0), d).abs().max() <= merge_tolerance * scale
        )
        found.append(
            FixedPoint(state, period, float(residual), eigenvalues, verdict, unstable, int(hits))
        )
    return FixedPoints(tuple(found), box, len(points), roots.failed, roots.left)
