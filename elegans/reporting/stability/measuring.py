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
from elegans.errors import InputError
from elegans.ltc.layer import LTC
from elegans.proofs import equilibria, non_normality, spectra_along, transient_growth
from elegans.proofs.certificates.network import Array
from elegans.proofs.dynamics.spectra import time_constants_along
from elegans.proofs.lyapunov import model_exponents
from elegans.reporting.stability.content import (
    Activity,
    Contraction,
    EquilibriumSearch,
    Exponents,
    LinearisedEquilibrium,
    Spectra,
)
from elegans.reporting.stability.stimulus import Stimulus

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
    for inputs, elapsed in stimulus.sequences[:_SEQUENCES]:
        u, dt = (torch.tensor(array).to(parameter) for array in (inputs, elapsed))
        _, _, states = model(u, timespans=dt, return_states=True)
        values = states.detach().cpu().double().numpy()  # (time, neuron)
        lo, hi = np.minimum(lo, values.min(axis=0)), np.maximum(hi, values.max(axis=0))
        if not shown:
            shown.append(values)
    inputs, elapsed = stimulus.sequences[0]
    most = min(FRAMES, max(_FEWEST, _NUMBERS // model.state_size))
    frame, time = _evenly(len(inputs), most), elapsed.cumsum()
    exact = in_double(model)
    u, x = torch.from_numpy(inputs[frame]), torch.from_numpy(shown[0][frame])
    constants = time_constants_along(exact, u, x).numpy()
    activity = Activity(time[frame], inputs[frame], shown[0][frame], constants, len(inputs), lo, hi)
    fewer = int(_SPECTRUM_WORK / model.state_size**3)
    if not fewer:
        return activity, None
    moments = _evenly(len(frame), fewer)
    eigenvalues = spectra_along(exact, u[moments], x[moments]).numpy()
    return activity, Spectra(time[frame][moments], eigenvalues.real, eigenvalues.imag)


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
    return Exponents(
        estimate.exponents.numpy(),
        estimate.errors.numpy(),
        estimate.signs,
        estimate.converged,
        estimate.verdict,
        steps,
        members,
        steps / len(inputs),
        estimate.kaplan_yorke,
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
