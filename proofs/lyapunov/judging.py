"""Exponents, error bars and a verdict from the growth rates of any motion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elegans.proofs.lyapunov.attractors import Courses, Group, group_members
from elegans.proofs.lyapunov.benettin import Measurement, Plan, measure
from elegans.proofs.lyapunov.motions import Motion
from elegans.proofs.lyapunov.spectrum import LyapunovSpectrum, SumCheck
from elegans.proofs.lyapunov.uncertainty import block_means, course_error, drift, sampling_error

RANDOM_DRIFT = 4.0
"""Standard deviations from which on a drift is no accident."""

_ROUNDINGS = 16
"""Roundings of the growth in one interval."""


@torch.no_grad()
def exponents_of(
    motion: Motion, state: Tensor, plan: Plan, settings: dict[str, Any]
) -> LyapunovSpectrum:
    """Return the exponents along trajectories that begin at `state`, and what speaks against them.

    There is a spectrum for each attractor that they reach, and the first of these is the least
    stable. `settings` are kept with the result, and those of the plan with them.
    """
    measured = measure(motion, state, plan)
    courses = Courses(
        measured.course,
        state.double().cpu(),
        measured.rates.mean(0),
        course_error(measured.rates, plan.blocks),
        measured.alive,
        plan.intervals * plan.interval,
        motion.length,
        torch.finfo(state.dtype).eps,
        plan.tolerance,
    )
    alike = motion.shared or not motion.driven
    groups = group_members(courses, steady=motion.steady, shared=alike)
    settings = settings | {
        "count": plan.count,
        "members": len(state),
        "blocks": plan.blocks,
        "tolerance": plan.tolerance,
        "seed": plan.seed,
    }
    spectra = [_spectrum(motion, measured, plan, group, settings) for group in groups]
    spectra.sort(key=lambda spectrum: -float(spectrum.exponents[0]))
    first, lost = spectra[0], (~measured.alive).nonzero().flatten()
    if len(spectra) == 1:
        return replace(first, diverged=lost)
    apart = (
        f"members are on {len(spectra)} different attractors ("
        + "; ".join(f"{each.share:.0%}: {each.exponents[0]:.5g}" for each in spectra)
        + "), and these are the exponents of the least stable; `attractors` has each"
    )
    return replace(first, reasons=(*first.reasons, apart), diverged=lost, attractors=tuple(spectra))


def _spectrum(
    motion: Motion, measured: Measurement, plan: Plan, group: Group, settings: dict[str, Any]
) -> LyapunovSpectrum:
    """Return the exponents of the members on one attractor."""
    rates = measured.rates[:, group.members]
    # While two exponents are equal within noise, their order in the frame is an accident.
    order = rates.mean((0, 1)).argsort(descending=True, stable=True)
    rates = rates[..., order]
    exponents = rates.mean((0, 1))
    began = measured.began[group.members.to(measured.began.device)]
    sampling, source = sampling_error(rates, began, blocks=plan.blocks, shared=motion.shared)
    # Halving the steps of a method of fourth order takes away 15 parts of 16 of its error.
    step = 16 / 15 * _change(measured.step_changes, group, order, exponents)
    interval = _change(measured.interval_changes, group, order, exponents)
    rounding = _ROUNDINGS * torch.finfo(began.dtype).eps / (plan.interval * motion.length)
    errors = sampling + step + interval + rounding
    allowed = plan.tolerance * float(exponents.abs().max().clamp_min(1e-12))
    check = None
    if measured.volume is not None:
        volume = float(measured.volume[group.members].mean())
        close = float(step.sum()) + 1e-4 * float(exponents.abs().sum()) + 1e-9
        check = SumCheck(float(exponents.sum()), volume, close)

    reasons = []
    if float(errors.max()) > allowed:
        worst = int(errors.argmax())
        reasons.append(
            f"the error bar of exponent {worst + 1} is {float(errors[worst]):.2g}, above "
            f"{allowed:.2g} (tolerance {plan.tolerance:g} of the largest); run longer, with more "
            "members or smaller steps"
        )
    if check is not None and not check.holds:
        reasons.append(
            f"the exponents sum to {check.total:.6g} but volumes grow at {check.volume:.6g}; the "
            "function may have a kink, the steps be too long or the frame ill-conditioned"
        )
    # The expected error of rounding, times a margin.
    if float(interval.max()) > 1e-6 * max(1.0, float(exponents.abs().max())):
        reasons.append(
            f"rounding between orthonormalisations changes an exponent by "
            f"{float(interval.max()):.2g}; orthonormalise more often (a smaller qr_every)"
        )
    reasons.extend(_drifting(rates, sampling, allowed))
    if (
        plan.count == plan.neurons
        and _keeps_moving(motion, plan, measured, group)
        and float((exponents.abs() - 2 * errors).min()) > 1e-6
    ):
        reasons.append(
            "no exponent is zero, though a flow that does not come to rest has one; the transient "
            "may be too short or the steps too long"
        )
    if group.kind == "unsettled":
        reasons.append(
            "the states have not settled on an attractor: they still move towards one, leave, or "
            "stay where they are put; run longer with a longer transient"
        )
    duration = len(rates) // plan.blocks * plan.interval * motion.length
    return LyapunovSpectrum(
        motion.kind,
        exponents,
        errors,
        sampling,
        step,
        interval,
        source,
        duration * torch.arange(1, plan.blocks + 1, dtype=torch.float64),
        block_means(rates.mean(1), plan.blocks),
        measured.rates.mean(0)[:, order],
        plan.neurons,
        check,
        tuple(reasons),
        settings,
        group.kind,
        None if group.period is None else group.period * motion.length,
        group.members,
        measured.course[:, group.members].amin((0, 1)),
        measured.course[:, group.members].amax((0, 1)),
    )


def _keeps_moving(motion: Motion, plan: Plan, measured: Measurement, group: Group) -> bool:
    """Whether a flow without input has not come to rest, be it exponentially."""
    members = group.members.to(measured.began.device)
    began = motion.speed(measured.began[members], plan.transient)
    ended = motion.speed(measured.ended[members], plan.steps - 1)
    return began is not None and ended is not None and ended > 1e-3 * began


def _change(changes: Tensor | None, group: Group, order: Tensor, like: Tensor) -> Tensor:
    """Return by how much the mean may change, from sampled changes: mean and its spread."""
    if changes is None:
        return torch.zeros_like(like)
    mean = changes[:, group.members].mean(1)[:, order]  # (checked, exponent)
    spread = mean.std(0) / len(mean) ** 0.5 if len(mean) > 1 else torch.zeros_like(like)
    return mean.mean(0).abs() + 2 * spread


def _drifting(rates: Tensor, sampling: Tensor, allowed: float) -> list[str]:
    """Return what speaks against one stationary state."""
    half_drift = drift(rates).abs()
    excess = half_drift - RANDOM_DRIFT / 2 * sampling  # half-widths are two standard deviations
    if float(excess.max()) <= allowed:
        return []
    worst = int(excess.argmax())
    return [
        f"exponent {worst + 1} drifts: its mean over the later half differs from that over the "
        f"earlier by {2 * float(half_drift[worst]):.2g}; a longer transient is needed"
    ]
