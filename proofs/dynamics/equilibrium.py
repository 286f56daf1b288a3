"""The equilibria of a circuit under a constant input, and whether they are stable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.cell import LTCCell
from elegans.ltc.dynamics import LiquidDynamics
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Box, Network, SynapseNumbers
from elegans.proofs.dynamics.newton import RootProblem, find_roots, spread
from elegans.proofs.dynamics.spectra import spectrum
from elegans.solvers import SemiImplicit
from elegans.synapses.liquid import SynapseValues

Verdict = Literal["stable", "unstable", "marginal"]

MARGIN = 1e-6
"""An eigenvalue nearer to the border of stability than this share of the fastest rate, of decay
or of the linearised flow, is marginal. At a fold, where two equilibria meet, a residual d leaves
the eigenvalue uncertain to about the square root of d: this is that of the default tolerance."""

_TRAJECTORIES = 32
_TRAJECTORY_STEPS = 200


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A state that does not move."""

    state: Tensor
    """Potentials, float64, shape (neuron,)."""
    residual: float
    """Largest |r_i - x_i|: how far a neuron is from the potential that it relaxes to."""
    spectrum: Tensor
    """Eigenvalues of the flow's Jacobian, the largest real part first, complex, (neuron,)."""
    verdict: Verdict
    """Of the linearised flow: ``"marginal"`` decides nothing."""
    unstable_directions: int
    """Number of eigenvalues with a positive real part, the marginal ones not counted."""
    hits: int
    """How many starts ended here."""
    index: int | None
    """The sign of det(-J), or None where J may be singular."""

    @property
    def rate(self) -> float:
        """The largest real part: perturbations end up growing like exp(rate t)."""
        return float(self.spectrum[0].real)

    @property
    def frequency(self) -> float:
        """Oscillations of the slowest mode per unit of time; 0 for a node."""
        return abs(float(self.spectrum[0].imag)) / (2 * torch.pi)


@dataclass(frozen=True, eq=False)
class Equilibria(Sequence[Equilibrium]):
    """What a search has found, the equilibrium with most hits first.

    The list may be incomplete. `surely_incomplete` says when it cannot be complete.
    """

    found: tuple[Equilibrium, ...]
    box: Box
    """Where the starts were drawn."""
    starts: int
    """Number of starts."""
    failed: Tensor
    """The starts that did not end at an equilibrium, shape (failed, neuron)."""
    left: Tensor
    """Largest |r_i - x_i| where these gave up, shape (failed,)."""

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, place: int) -> Equilibrium:  # type: ignore[override]
        return self.found[place]

    def __iter__(self) -> Iterator[Equilibrium]:
        return iter(self.found)

    @property
    def stable(self) -> tuple[Equilibrium, ...]:
        """The stable ones."""
        return tuple(each for each in self.found if each.verdict == "stable")

    @property
    def index_sum(self) -> int | None:
        """Sum of the indices, which is 1 over all equilibria; None if one is not known."""
        return index_sum([each.index for each in self.found])

    @property
    def surely_incomplete(self) -> bool:
        r"""Whether there must be more equilibria than were found.

        The targets r(x) map the box of all potentials into itself, so the indices of all
        equilibria, +1 or -1 as the sign of det(-J), sum to 1 (Brouwer's degree). Another sum means
        that some are missing; the sum 1 says nothing.
        """
        return self.index_sum not in (1, None)

    def __str__(self) -> str:
        ends = f"{len(self)} from {self.starts} starts, {len(self.failed)} of which failed"
        return f"equilibria: {ends}; {completeness(self.index_sum)}\n" + "\n".join(
            f"  {each.verdict}, {each.unstable_directions} unstable directions, rate "
            f"{each.rate:.4g}, frequency {each.frequency:.4g}, {each.hits} hits, residual "
            f"{each.residual:.1e}"
            for each in self.found
        )


@torch.no_grad()
def equilibria(
    model: LTC | LTCCell,
    inputs: Tensor | Sequence[float],
    box: Box | None = None,
    *,
    starts: int | Tensor = 256,
    seed: int = 0,
    tolerance: float = 1e-12,
    merge_tolerance: float = 1e-6,
    iterations: int = 100,
) -> Equilibria:
    r"""Search for all states that do not move under a constant input.

    .. math::
        0 = r(x) - x, \qquad
        r_i = \frac{g_i V_i + \sum_k w_k \sigma_k E_k}{g_i + \epsilon + \sum_k w_k \sigma_k}

    by damped Newton iterations with the analytic Jacobian, in float64 whatever the precision of
    the layer. They start from a Latin hypercube sample of the box, its two extreme corners, the
    zero state, and the ends of up to 32 trajectories. Every equilibrium lies in the default box,
    but that every one is found is not certain: a search is no proof.

    The semi-implicit step has the same equilibria, for any length: x⁺ - x = h (A - G x) / (C + h G)
    vanishes exactly if A - G x does. Several of these steps may have more fixed points, see
    `elegans.proofs.fixed_points`.

    Parameters
    ----------
    model
        The layer or cell.
    inputs
        The constant input, in the units that the layer is given, shape (input,).
    box
        Where to start; by default the hull of all potentials that pull at each neuron. Equilibria
        that are found outside are kept.
    starts
        Number of starts in the sample, or the starts themselves, shape (start, neuron), in place
        of all the others.
    seed
        Draws the sample.
    tolerance
        Largest |r_i - x_i| of an equilibrium, as a share of the box's largest width or potential.
    merge_tolerance
        Ends nearer than this share of it are the same equilibrium.
    iterations
        Largest number of Newton steps from each start.

    Returns
    -------
    Equilibria
        Each with its residual, spectrum, verdict and hits, and the starts that failed.

    Raises
    ------
    InputError
        Inputs, box or starts have another shape or are not finite, the layer has a memory cell,
        or a neuron has no conductance at all.

    Notes
    -----
    Matrices are dense: some thousands of neurons at most.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(8, AutoNCP(units=19, output_size=4), generator=torch.Generator().manual_seed(0))
    >>> found = equilibria(model, torch.zeros(8))
    >>> len(found), found[0].verdict, found.surely_incomplete
    (1, 'stable', False)
    """
    network = Network.of(model)
    held = ConstantInput(network, inputs)
    box = checked_box(network, box)
    scale = scale_of(box)
    problem = RootProblem(held.residual, held.residual_jacobian)
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
    for state, residual, hits in zip(roots.states, roots.residuals, roots.hits, strict=True):
        dynamics, one = held.dynamics(1), state.unsqueeze(0)
        eigenvalues = spectrum(dynamics.jacobian(one))[0]
        # Rounding is relative to the rates before coupling and decay cancel, not after.
        fastest = float((1 / dynamics.time_constant(one)).max())
        size = max(fastest, float(eigenvalues.abs().max()))
        verdict, unstable = judged(eigenvalues.real, size)
        index = index_of(eigenvalues, size)
        found.append(
            Equilibrium(state, float(residual), eigenvalues, verdict, unstable, int(hits), index)
        )
    return Equilibria(tuple(found), box, len(points), roots.failed, roots.left)


class ConstantInput:
    """A circuit in float64 under one constant input.

    Parameters
    ----------
    network
        The circuit.
    inputs
        Shape (input,), in the units that the layer is given.

    Raises
    ------
    InputError
        The inputs have another shape or are not finite.
    """

    def __init__(self, network: Network, inputs: Tensor | Sequence[float]) -> None:
        u = torch.as_tensor(inputs, dtype=torch.float64).detach().cpu()
        if tuple(u.shape) != (len(network.scale),) or not torch.isfinite(u).all():
            raise InputError(
                f"got inputs of shape {tuple(u.shape)}, expected ({len(network.scale)},) finite "
                "numbers; pass one constant input, such as x[0, 0] of a batch"
            )
        self.size = len(network)
        self._capacitance = torch.from_numpy(network.capacitance)
        self._recurrent = _values(network.recurrent)
        leak, potential = torch.from_numpy(network.leak), torch.from_numpy(network.leak_potential)
        mapped = torch.from_numpy(network.scale) * u + torch.from_numpy(network.shift)
        self._conductance, self._drive = _values(network.sensory).add_to(
            leak + network.epsilon, leak * potential, mapped
        )

    def dynamics(self, batch: int) -> LiquidDynamics:
        """Return the differential equation for states of shape (batch, neuron)."""
        return LiquidDynamics(
            self._capacitance,
            self._conductance.expand(batch, -1),
            self._drive.expand(batch, -1),
            self._recurrent,
        )

    def residual(self, state: Tensor) -> Tensor:
        """Return r(x) - x, shape (batch, neuron)."""
        return self.dynamics(len(state)).target(state) - state

    def residual_jacobian(self, state: Tensor) -> Tensor:
        r"""Return the Jacobian of r(x) - x, shape (batch, neuron, neuron).

        .. math::
            \frac{1}{G_i} \sum_{k: j \to i} w_k s_k \sigma_k (1 - \sigma_k) (E_k - r_i)
            - \delta_{ij}
        """
        dynamics = self.dynamics(len(state))
        conductance, drive = dynamics.conductance_and_drive(state)
        terms = dynamics.coupling(state, drive / conductance) / conductance.index_select(
            -1, self._recurrent.target
        )
        return dynamics.matrix(terms, -torch.ones_like(state))


def _values(synapses: SynapseNumbers) -> SynapseValues:
    columns = (getattr(synapses, name) for name in synapses.__dataclass_fields__)
    return SynapseValues(*(torch.from_numpy(np.ascontiguousarray(column)) for column in columns))


def judged(distance: Tensor, size: float) -> tuple[Verdict, int]:
    """Return the verdict and the number of unstable directions.

    `distance` is how far eigenvalues are beyond the border of stability, and `size` the size to
    which rounding is relative.
    """
    unstable = int((distance > MARGIN * size).sum())
    if unstable:
        return "unstable", unstable
    return ("stable" if bool((distance < -MARGIN * size).all()) else "marginal"), 0


def index_of(eigenvalues: Tensor, size: float) -> int | None:
    """Return the sign of det(-J) from the eigenvalues of J, or None where one is nearly 0.

    Conjugate pairs have a positive product, so that only real positive eigenvalues count.
    """
    if bool((eigenvalues.abs() <= MARGIN * size).any()):
        return None
    real = eigenvalues[eigenvalues.imag == 0].real
    return -1 if int((real > 0).sum()) % 2 else 1


def index_sum(indices: Sequence[int | None]) -> int | None:
    """Return the sum, or None if one is not known."""
    known = [index for index in indices if index is not None]
    return sum(known) if len(known) == len(indices) else None


def completeness(indices: int | None) -> str:
    """Say what a sum of indices means for the completeness of a list."""
    if indices is None:
        return "the index of one is not known; there may be more"
    if indices != 1:
        return f"there are more, since the indices of all sum to 1 and those of these to {indices}"
    return "there may be more"


def checked_box(network: Network, box: Box | None) -> Box:
    """Return the box to search in, the hull of all potentials by default."""
    everything = hull(network)
    if box is None:
        return everything
    lo, hi = (np.asarray(end, dtype=np.float64) for end in box)
    wanted = (len(network),)
    if lo.shape != wanted or hi.shape != wanted or not np.isfinite(hi - lo).all():
        raise InputError(
            f"got a box with ends of shape {lo.shape} and {hi.shape}, expected finite numbers of "
            f"shape {wanted}; pass Box(lo, hi)"
        )
    if (lo > hi).any():
        neuron = int(np.argmax(lo > hi))
        raise InputError(
            f"got a box from {lo[neuron]} to {hi[neuron]} at neuron {neuron}, expected lo <= hi"
        )
    return Box(lo, hi)


def scale_of(box: Box) -> float:
    """Return the largest width or potential of a box, or 1 if both are nothing."""
    return float(max(np.max(np.abs(box.lo)), np.max(np.abs(box.hi)), np.max(box.width))) or 1.0


def checked_starts(starts: Tensor, neurons: int) -> Tensor:
    """Return given starts in float64."""
    if starts.dim() != 2 or starts.shape[1] != neurons or not torch.isfinite(starts).all():
        raise InputError(
            f"got starts of shape {tuple(starts.shape)}, expected finite numbers of shape "
            f"(start, {neurons}); unsqueeze a single start"
        )
    return starts.detach().cpu().double()


def starting_points(held: ConstantInput, box: Box, count: int, seed: int) -> Tensor:
    """Return `count` points all over the box and a few that often help, (start, neuron)."""
    if count < 1:
        raise InputError(f"got starts={count}, expected at least 1; the default is 256")
    sample = torch.from_numpy(spread(box, count, seed))
    special = torch.stack(
        [torch.from_numpy(box.lo), torch.from_numpy(box.hi), torch.zeros(held.size).double()]
    )
    ends = sample[:_TRAJECTORIES]
    dynamics, solver = held.dynamics(len(ends)), SemiImplicit()
    # In steps of a typical time constant: what attracts the flow, roughly, is all that is asked.
    h = dynamics.time_constant(ends).median()
    for _ in range(_TRAJECTORY_STEPS):
        ends = solver.step(dynamics, ends, h)
    return torch.cat([sample, special, ends])
