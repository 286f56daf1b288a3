"""Many hawkmoths at once: integration with control of the error, each by steps of its own."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from elegans.errors import InputError, SolveError
from elegans.layers.execution import warn_once
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.dynamics import CONTROLS, STATE, Array, broadcast

if TYPE_CHECKING:
    from elegans.replications.hawkmoth.stiff_steps import Numbers

DURATION = 0.02
"""Seconds of a trajectory in the published data."""

RTOL = 3e-7
"""The default tolerance; after 0.02 s errors are about a third of it or less."""

SCALES = (10.0, 10.0, 1.0, 1.0, 1000.0, 1000.0, 10.0, 10.0)
"""Magnitudes of the state's components, to which absolute tolerances are relative."""

MOST_STEPS = 1_000_000
_LEAST_RTOL = 1e-13  # rounding of the stages counts from here on
_BLOCK = 512  # trajectories that a thread takes at a time: enough to forget what taking costs


def simulate(
    moth: Moth,
    states: ArrayLike,
    controls: ArrayLike,
    duration: float = DURATION,
    times: ArrayLike | None = None,
    *,
    rtol: float = RTOL,
    atol: ArrayLike | None = None,
    threads: int | None = None,
) -> Array:
    """Return the states of hawkmoths after a while under constant controls.

    The equations of `elegans.replications.hawkmoth.dynamics` are integrated by RODAS4, an L-stable
    Rosenbrock method of order 4 with exact derivatives. Each trajectory has its own steps, so it
    is the same in whatever company it is simulated.

    Parameters
    ----------
    moth
        The body.
    states
        Where to begin, (..., 8): x, y, θ, φ and their velocities, in cm, rad, cm/s, rad/s.
    controls
        (..., 3): F in dyn, α in rad, τ in dyn cm; leading axes are broadcast against the states'.
    duration
        Seconds to simulate, at least 0. Not used where `times` are given.
    times
        Seconds after the beginning at which states are wanted, (time,), at least 0 and ascending.
    rtol
        Error allowed in a step, of the magnitude of each component; at least 1e-13.
    atol
        The same for components near 0, above 0, () or (8,) in the units of the state; by default
        `rtol` times `SCALES`.
    threads
        How many trajectories are integrated at the same time; as many as PyTorch uses by default.
        The result does not depend on it.

    Returns
    -------
    array
        (..., 8), or (..., time, 8) where `times` are given.

    Raises
    ------
    InputError
        When shapes do not fit, numbers are not finite, or settings are out of range.
    SolveError
        When a trajectory leaves the finite numbers, or needs steps lost in rounding or more than
        a million; the message names it.

    Examples
    --------
    Free fall of a moth whose spring is at rest, in vacuum: y = -g t² / 2.

    >>> import numpy as np
    >>> still = [0, 0, 0, np.pi, 0, 0, 0, 0]
    >>> vacuum = Moth(air_density=0, air_viscosity=0)
    >>> simulate(vacuum, still, [0, 0, 0], times=[0.01, 0.02])[:, 1].round(6).tolist()
    [-0.049, -0.196]
    """
    states, controls = broadcast(states, controls)
    _check_finite("state", states, STATE)
    _check_finite("control", controls, CONTROLS)
    moments = _checked_times(duration, times)
    allowed = _checked_tolerances(rtol, atol)
    if threads is None:
        threads = torch.get_num_threads()
    if threads < 1:
        raise InputError(f"got threads = {threads}, expected at least 1; leave it out")

    from elegans.replications.hawkmoth.stiff_steps import OK, integrate  # imports numba, only here
    from elegans.solvers.fused.cpu.compiling import DISABLED, compiles

    if not compiles():
        warn_once(f"{DISABLED}: hawkmoths are simulated in plain Python, many times slower")
    leading = states.shape[:-1]
    count = math.prod(leading)
    begin = np.ascontiguousarray(states.reshape(count, 8))
    constant = np.ascontiguousarray(controls.reshape(count, 3))
    out = np.empty((count, len(moments), 8))
    ended, steps = np.zeros(count, np.int64), np.zeros(count, np.int64)
    reached = np.zeros(count)
    numbers = numbers_of(moth)

    def block(first: int) -> None:
        rows = slice(first, first + _BLOCK)
        integrate(
            numbers, begin[rows], constant[rows], moments, float(rtol), allowed, MOST_STEPS,
            out[rows], ended[rows], reached[rows], steps[rows],
        )  # fmt: skip

    blocks = range(0, count, _BLOCK)
    if threads == 1 or len(blocks) <= 1:
        for first in blocks:
            block(first)
    else:
        # Numba's own threads would share OpenMP with PyTorch, and change its number of threads.
        with ThreadPoolExecutor(min(threads, len(blocks), os.cpu_count() or 1)) as pool:
            for _ in pool.map(block, blocks):
                pass
    if (ended != OK).any():
        row = int(np.argmax(ended != OK))
        index = np.unravel_index(row, leading) if leading else ()
        place = [int(i) for i in index] if len(index) != 1 else int(index[0])
        _raise(place, int(ended[row]), float(reached[row]), int(steps[row]))
    return out.reshape(*leading, len(moments), 8) if times is not None else out.reshape(*leading, 8)


def numbers_of(moth: Moth) -> Numbers:
    """Return what the compiled steps need of a moth."""
    from elegans.replications.hawkmoth.stiff_steps import Numbers

    J1, J2 = moth.I1 + moth.L1**2 * moth.m1, moth.I2 + moth.L2**2 * moth.m2
    turning = 1 / J1 + 1 / J2
    fastest = moth.damping * turning + math.sqrt(moth.stiffness * turning)  # per second
    thin = 2 * moth.air_density / moth.air_viscosity if moth.air_viscosity > 0 else 0.0
    return Numbers(
        mass=moth.mass,
        first=moth.L1 * moth.m1,
        second=moth.L2 * moth.m2,
        J1=J1,
        J2=J2,
        L3=moth.L3,
        K=moth.stiffness,
        c=moth.damping,
        rest=math.pi + moth.rest_angle,
        g=moth.gravity,
        stokes=6 * math.pi * moth.air_viscosity * (moth.b1 + moth.b2),
        rate1=thin * moth.b1,
        rate2=thin * moth.b2,
        area1=0.5 * moth.air_density * math.pi * moth.b1**2,
        area2=0.5 * moth.air_density * math.pi * moth.b2**2,
        first_step=0.1 / max(fastest, 1.0),
    )


def _check_finite(name: str, values: Array, order: tuple[str, ...]) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        *index, component = (int(i) for i in np.argwhere(~finite)[0])
        place = f" of trajectory {index[0] if len(index) == 1 else index}" if index else ""
        raise InputError(
            f"got {name} {order[component]} = {values[(*index, component)]}{place}, expected a "
            "finite number; clean the data"
        )


def _checked_times(duration: float, times: ArrayLike | None) -> Array:
    moments = np.array([duration] if times is None else times, np.float64)
    if moments.ndim != 1 or not len(moments):
        raise InputError(
            f"got times of shape {moments.shape}, expected (time,) with at least one; for the last "
            "state alone leave them out and pass duration="
        )
    if not np.isfinite(moments).all() or moments[0] < 0 or (np.diff(moments) < 0).any():
        got = f"duration = {duration}" if times is None else f"times = {moments.tolist()}"
        raise InputError(
            f"got {got}, expected finite seconds, at least 0 and ascending; they count from the "
            "beginning of the trajectory"
        )
    return moments


def _checked_tolerances(rtol: float, atol: ArrayLike | None) -> Array:
    if not _LEAST_RTOL <= rtol < 1:
        raise InputError(
            f"got rtol = {rtol}, expected at least {_LEAST_RTOL} and below 1; the default is {RTOL}"
        )
    allowed = rtol * np.array(SCALES) if atol is None else np.asarray(atol, np.float64)
    if allowed.shape not in ((), (8,)) or not (np.isfinite(allowed) & (allowed > 0)).all():
        raise InputError(
            f"got atol = {allowed.tolist()}, expected a number above 0, or 8 in the order "
            f"{', '.join(STATE)}; leave it out for rtol times {SCALES}"
        )
    return np.array(np.broadcast_to(allowed, 8))


def _raise(place: object, ended: int, reached: float, steps: int) -> None:
    from elegans.replications.hawkmoth.stiff_steps import NOT_FINITE, TOO_SHORT

    got = f"got trajectory {place} that "
    where = f"after {reached:.6g} s and {steps} steps"
    if ended == NOT_FINITE:
        raise SolveError(
            f"{got}left the finite numbers {where}, expected a state that stays finite; look for "
            "velocities, controls or a body of absurd size"
        )
    if ended == TOO_SHORT:
        raise SolveError(
            f"{got}needs steps that are lost in rounding {where}, expected longer ones; raise rtol "
            "or atol, or simulate a shorter time"
        )
    raise SolveError(
        f"{got}is not at its end {where}, expected at most {MOST_STEPS} steps; raise rtol or atol, "
        "or simulate a shorter time"
    )
