"""Measurements of a circuit: activity, spectra, equilibria, exponents.

Their evidence is "measured" or "searched numerically", never a proof.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.checks import check_seed
from elegans.errors import InputError, SolveError
from elegans.ltc.layer import LTC
from elegans.proofs import equilibria, non_normality, spectra_along, transient_growth
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Array, Network
from elegans.proofs.dynamics.spectra import time_constants_along
from elegans.proofs.lyapunov import LyapunovSpectrum, model_exponents
from elegans.reporting.stability.content import (
    Activity,
    Attractor,
    AttractorSearch,
    Contraction,
    EquilibriumSearch,
    Exponents,
    LinearisedEquilibrium,
    Spectra,
)
from elegans.reporting.stability.stimulus import Stimulus
from elegans.solvers import TorchDiffEq

FRAMES = 240
"""Steps of a sequence that are shown at most; fewer of a large circuit."""

_NUMBERS = 30_000
_FEWEST = 60

_SEQUENCES = 64
_SPECTRUM_WORK = 4e8
_LARGEST_SEARCH = 600
_SHOWN = 8
_GROWTH_UP_TO = 100
_GROWTH_TIMES = 60
_BLOCKS = 10
_SETTLING = 2000
"""Steps before a search for attractors looks; of solvers that are bounded whatever the step."""
_LINEARISED = {"stable": "attracting", "unstable": "repelling", "marginal": "undecided"}


def in_double(model: LTC) -> LTC:
    """Return a copy that computes in float64 on the CPU."""
    return copy.deepcopy(model).double().cpu().eval()


@torch.no_grad()
def measure_activity(model: LTC, stimulus: Stimulus) -> tuple[Activity, Spectra | None]:
    """Return what the first sequence does to the circuit, and the extremes in all sequences.

    Steps are all, or as many as `FRAMES`; there are no spectra of a circuit too large for dense
    eigenvalue problems.
    """
    parameter = next(model.parameters())
    lo, hi = np.full(model.state_size, np.inf), np.full(model.state_size, -np.inf)
    shown: list[Array] = []
    ends: list[float] = []
    time = stimulus.sequences[0][1].cumsum()
    for inputs, elapsed in stimulus.sequences[:_SEQUENCES]:
        u, dt = (torch.tensor(array).to(parameter) for array in (inputs, elapsed))
        values = _finite_states(model, u, dt)  # (time, neuron)
        if len(values) < len(inputs):
            ends.append(float(elapsed[: len(values) + 1].sum()))
        if not len(values):  # where it began is all there is to show
            values = np.zeros((1, model.state_size))
            time = time if shown else np.zeros(1)
        lo, hi = np.minimum(lo, values.min(axis=0)), np.maximum(hi, values.max(axis=0))
        if not shown:
            shown.append(values)
    inputs, _ = stimulus.sequences[0]
    most = min(FRAMES, max(_FEWEST, _NUMBERS // model.state_size))
    frame = _evenly(len(shown[0]), most)
    exact = in_double(model)
    u, x = torch.from_numpy(inputs[frame]), torch.from_numpy(shown[0][frame])
    constants = time_constants_along(exact, u, x).numpy()
    activity = Activity(
        time[frame],
        inputs[frame],
        shown[0][frame],
        constants,
        len(inputs),
        min(ends, default=None),
        lo,
        hi,
    )
    fewer = int(_SPECTRUM_WORK / model.state_size**3)
    if not fewer:
        return activity, None
    moments = _evenly(len(frame), fewer)
    eigenvalues = spectra_along(exact, u[moments], x[moments]).numpy()
    return activity, Spectra(time[frame][moments], eigenvalues.real, eigenvalues.imag)


def _finite_states(model: LTC, inputs: Tensor, elapsed: Tensor) -> Array:
    """Return the states of a sequence until it leaves the finite numbers, (time, neuron)."""
    begin, end = 0, len(inputs)  # so many steps are known to be finite, so many may be
    states = np.zeros((0, model.state_size))
    count = end
    while begin < end:
        try:
            _, _, found = model(inputs[:count], timespans=elapsed[:count], return_states=True)
        except SolveError:
            end = count - 1
        else:
            begin, states = count, found.detach().cpu().double().numpy()
        count = (begin + end + 1) // 2
    return states


def search_equilibria(model: LTC, inputs: Array, seed: int) -> EquilibriumSearch:
    """Return the equilibria that Newton's method finds under a constant input.

    Raises
    ------
    InputError
        The circuit has a memory cell, or is too large for dense matrices.
    """
    n = model.state_size
    if n > _LARGEST_SEARCH:
        raise InputError(
            f"got {n:,} neurons, expected at most {_LARGEST_SEARCH}: Newton's method needs dense "
            "matrices"
        )
    u = torch.from_numpy(inputs)
    search = equilibria(model, u, starts=256 if n <= _GROWTH_UP_TO else 32, seed=seed)
    dynamics = in_double(model).cell.dynamics(u.unsqueeze(0))
    shown = []
    for equilibrium in search.points[:_SHOWN]:
        with torch.no_grad():
            jacobian = dynamics.jacobian(equilibrium.state.unsqueeze(0))[0]
        measures = non_normality(jacobian)
        shown.append(
            LinearisedEquilibrium(
                equilibrium.state.numpy(),
                _LINEARISED[equilibrium.verdict],
                equilibrium.rate,
                equilibrium.frequency,
                equilibrium.hits,
                equilibrium.residual,
                equilibrium.unstable_directions,
                equilibrium.spectrum.real.numpy(),
                equilibrium.spectrum.imag.numpy(),
                float(measures.relative_departure),
                float(measures.numerical_abscissa),
                _growth(jacobian, equilibrium.rate) if n <= _GROWTH_UP_TO else None,
            )
        )
    return EquilibriumSearch(
        inputs, search.starts, len(search.failed), search.surely_incomplete, len(search), shown
    )


@torch.no_grad()
def search_attractors(
    model: LTC, network: Network, stimulus: Stimulus, seed: int
) -> AttractorSearch:
    """Return what the steps that run settle on under the mean input, from all over the hull.

    Where a step has parts, each counts as a step, so that short periods are seen.

    Raises
    ------
    InputError, SolveError
        As `elegans.proofs.lyapunov.model_exponents`.
    """
    n, exact = model.state_size, in_double(model)
    if n > _LARGEST_SEARCH:
        raise InputError(
            f"got {n:,} neurons, expected at most {_LARGEST_SEARCH}: following many starts of "
            "more takes too long"
        )
    cell, solver = exact.cell, exact.cell.solver
    parts, length = cell.ode_unfolds, stimulus.elapsed
    box, members = hull(network), 24 if n <= 32 else 8
    closed_form = solver.name == "semi_implicit"
    steps = (1200 if n <= 32 else 400 if n <= 128 else 120) if closed_form else 240
    drawn = np.random.default_rng(check_seed(seed)).uniform(box.lo, box.hi, (members, n))
    drawn[0] = 0.0  # where a layer begins
    states, u = torch.from_numpy(drawn), torch.from_numpy(stimulus.mean)
    settling = _SETTLING if solver.is_stable else 0
    if settling:
        signal, times = u.expand(members, settling, -1), torch.full((members, settling), length)
        _, states = cell.run(signal, states, times.double())
        states = states[:, -1]
    if not isinstance(solver, TorchDiffEq):
        cell.ode_unfolds, length = 1, length / parts
    time = settling * stimulus.elapsed + steps * length
    try:
        found = model_exponents(
            exact,
            u.expand(steps, -1),
            elapsed=length,
            states=states,
            count=1,
            transient=0 if settling else None,
            frame_transient=steps // 8,
            blocks=_BLOCKS,
            seed=seed,
            progress=False,
        )
    except SolveError:
        if solver.is_stable:
            raise
        return AttractorSearch(stimulus.mean, members, members, time, [])
    shown = _attractors(found, length, stimulus.elapsed / length)
    return AttractorSearch(stimulus.mean, members, len(found.diverged), time, shown)


def _attractors(found: LyapunovSpectrum, length: float, per_step: float = 1.0) -> list[Attractor]:
    """Return what members settled on; exponents are per `per_step` of the steps of `length`."""
    return [
        Attractor(
            each.attractor,
            None if each.period is None else each.period * length,
            len(each.members),
            float(each.exponents[0]) * per_step,
            float(each.errors[0]) * per_step,
            each.signs[0],
            each.lowest.numpy(),
            each.highest.numpy(),
        )
        for each in found.attractors
    ]


def measure_exponents(
    model: LTC, stimulus: Stimulus, contraction: Contraction | None, seed: int
) -> Exponents:
    """Return the Lyapunov exponents of the steps that run, under all inputs one after the other.

    The inputs are gone through as often as a small circuit takes to forget how it began.

    Raises
    ------
    InputError, SolveError
        As `elegans.proofs.lyapunov.model_exponents`.
    """
    n = model.state_size
    steps, members, count = (
        (600, 4, n) if n <= 32 else (400, 3, 16) if n <= 128 else (160, 2, min(n, 8))
    )
    if model.cell.solver.name != "semi_implicit":
        steps, members = 80, 2  # without a closed form, a step takes a hundred times as long
    inputs = np.concatenate([values for values, _ in stimulus.sequences])
    elapsed = np.concatenate([durations for _, durations in stimulus.sequences])
    lasting = elapsed > 0  # a step that lasts no time moves nothing
    inputs, elapsed = inputs[lasting], elapsed[lasting]
    step = np.arange(steps) % len(inputs)
    starts = np.random.default_rng(check_seed(seed)).uniform(-1.0, 1.0, (members, n))
    estimate = model_exponents(
        in_double(model),
        torch.from_numpy(inputs[step]),
        elapsed=torch.from_numpy(elapsed[step]),
        states=torch.from_numpy(starts),
        count=min(count, n),
        blocks=_BLOCKS,
        seed=seed,
        progress=False,
    )
    bound, kappa = None, None if contraction is None else contraction.kappa
    # The factor is that of a step of one length, under inputs in the range.
    if kappa is not None and stimulus.even and not stimulus.outside():
        bound = model.cell.ode_unfolds * math.log(kappa)
    doubts = [each.verdict for each in estimate.attractors if not each.converged]
    return Exponents(
        estimate.exponents.numpy(),
        estimate.errors.numpy(),
        estimate.signs,
        not doubts,
        doubts[0] if doubts else "converged",
        steps,
        members,
        len(estimate.diverged),
        _attractors(estimate, stimulus.elapsed),
        steps / len(inputs),
        None if estimate.attractor == "unsettled" else estimate.kaplan_yorke,
        bound,
    )


def _growth(jacobian: Tensor, rate: float) -> float | None:
    """Return the largest growth found of a perturbation, None where it has no largest."""
    if rate >= 0:
        return None
    fastest = float(torch.linalg.matrix_norm(jacobian, 2))
    last = math.log10(5 / -rate)
    times = torch.logspace(last - 3, last, _GROWTH_TIMES, dtype=jacobian.dtype)
    times = times[times * fastest > 1e-6]
    return max(1.0, float(transient_growth(jacobian, times).max()))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` numbers below `count`, evenly spread, the first and last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
