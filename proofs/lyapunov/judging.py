"""Exponents, error bars and a verdict from the growth rates of any motion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elegans.proofs.lyapunov.benettin import Measurement, Plan, measure
from elegans.proofs.lyapunov.motions import Motion
from elegans.proofs.lyapunov.spectrum import LyapunovSpectrum, SumCheck
from elegans.proofs.lyapunov.uncertainty import (
    FEWEST_MEMBERS,
    block_means,
    disagreement,
    distinct_members,
    drift,
    sampling_error,
)

RANDOM_DRIFT = 4.0
"""Standard deviations from which on a drift, or a difference between members, is no accident."""


@torch.no_grad()
def exponents_of(
    motion: Motion, state: Tensor, plan: Plan, settings: dict[str, Any]
) -> LyapunovSpectrum:
    """Return the exponents along trajectories that begin at `state`, and what speaks against them.

    `settings` are kept with the result, and those of the plan with them.
    """
    measured = measure(motion, state, plan)
    rates = measured.rates
    members = rates.mean(0)  # (batch, exponent)
    # While two exponents are equal within noise, their order in the frame is an accident.
    order = members.mean(0).argsort(descending=True, stable=True)
    rates, members = rates[..., order], members[:, order]
    exponents = members.mean(0)
    sampling, source = sampling_error(
        rates, measured.began, blocks=plan.blocks, shared=motion.shared
    )
    # Halving the steps of a method of fourth order takes away 15 parts of 16 of its error.
    step = 16 / 15 * _change(measured.step_changes, order, exponents)
    interval = _change(measured.interval_changes, order, exponents)
    errors = sampling + step + interval
    allowed = plan.tolerance * float(exponents.abs().max().clamp_min(1e-12))
    check = None
    if measured.volume is not None:
        close = float(step.sum()) + 1e-4 * float(exponents.abs().sum()) + 1e-9
        check = SumCheck(float(exponents.sum()), measured.volume, close)

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
    reasons.extend(_unsteady(rates, measured, motion, sampling, plan.blocks, allowed))
    if (
        plan.count == plan.neurons
        and _keeps_moving(motion, plan, measured)
        and float((exponents.abs() - 2 * errors).min()) > 1e-6
    ):
        reasons.append(
            "no exponent is zero, though a flow that does not come to rest has one; the transient "
            "may be too short or the steps too long"
        )
    means = block_means(rates.mean(1, keepdim=True), plan.blocks)[:, 0]
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
        means,
        members,
        plan.neurons,
        check,
        tuple(reasons),
        settings
        | {
            "count": plan.count,
            "members": len(state),
            "blocks": plan.blocks,
            "tolerance": plan.tolerance,
            "seed": plan.seed,
        },
    )


def _keeps_moving(motion: Motion, plan: Plan, measured: Measurement) -> bool:
    """Whether a flow without input has not come to rest, be it exponentially."""
    began = motion.speed(measured.began, plan.transient)
    ended = motion.speed(measured.ended, plan.steps - 1)
    return began is not None and ended is not None and ended > 1e-3 * began


def _change(changes: Tensor | None, order: Tensor, like: Tensor) -> Tensor:
    """Return by how much the mean may change, from sampled changes: mean and its spread."""
    if changes is None:
        return torch.zeros_like(like)
    mean = changes.mean(1)[:, order]  # (checked, exponent)
    spread = mean.std(0) / len(mean) ** 0.5 if len(mean) > 1 else torch.zeros_like(like)
    return mean.mean(0).abs() + 2 * spread


def _unsteady(
    rates: Tensor,
    measured: Measurement,
    motion: Motion,
    sampling: Tensor,
    blocks: int,
    allowed: float,
) -> list[str]:
    """Return what speaks against one stationary state."""
    reasons = []
    half_drift = drift(rates).abs()
    excess = half_drift - RANDOM_DRIFT / 2 * sampling  # half-widths are two standard deviations
    if float(excess.max()) > allowed:
        worst = int(excess.argmax())
        reasons.append(
            f"exponent {worst + 1} drifts: its mean over the later half differs from that over "
            f"the earlier by {2 * float(half_drift[worst]):.2g}; a longer transient is needed"
        )
    if distinct_members(measured.began) >= FEWEST_MEMBERS and not motion.shared:
        ratio = disagreement(rates, blocks)
        spread = rates.mean(0).std(0)
        differ = (ratio > RANDOM_DRIFT**2) & (spread > 10 * allowed)
        if bool(differ.any()):
            worst = int(differ.nonzero()[0])
            reasons.append(
                f"members differ in exponent {worst + 1} by {float(spread[worst]):.2g}, "
                f"{float(ratio[worst]) ** 0.5:.1f} times what their own course explains: they may "
                "be on different attractors; measure each from a state of its own"
            )
    return reasons
