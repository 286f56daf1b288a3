"""Error bars of means over a trajectory or over an ensemble of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.stats import t as student
from torch import Tensor

CONFIDENCE = 0.95
"""Share of the cases in which an error bar covers the truth."""

FEWEST_MEMBERS = 8
"""From how many independent trajectories on their spread gives the error bar."""

COHERENT = 3.0
"""From which `coherence` on members are not independent; by chance less than once in 10,000."""


class Uncertainty(NamedTuple):
    """Half-widths of confidence intervals and where they come from."""

    half_width: Tensor
    """(exponent,)."""
    source: str
    """``"members"`` or ``"time blocks"``."""


def sampling_error(rates: Tensor, states: Tensor, *, blocks: int, shared: bool) -> Uncertainty:
    """Return the half-width of a 95 % interval for the mean of `rates`.

    Members that start apart and are not driven by one signal are independent, unless they go
    round in step (see `coherence`): their means differ as the truth differs from them.
    Otherwise consecutive blocks of time, averaged over all members, take their place; where a
    block resembles the one before, the bar grows.

    Parameters
    ----------
    rates
        Growth in each interval, shape (interval, batch, exponent).
    states
        Where the members were when measuring began, shape (batch, neuron).
    blocks
        Number of blocks of time.
    shared
        Whether one signal drives all members.
    """
    members = distinct_members(states)
    enough = members == rates.shape[1] and members >= FEWEST_MEMBERS
    if enough and not shared and float(coherence(rates, blocks).max()) < COHERENT:
        means = rates.mean(0)  # (batch, exponent)
        return Uncertainty(_half_width(means), "members")
    return Uncertainty(course_error(rates.mean(1), blocks), "time blocks")


def course_error(rates: Tensor, blocks: int) -> Tensor:
    """Return the half-width of a 95 % interval from the course of rates alone.

    `rates` are (interval, ...); the result has the other axes.
    """
    means = block_means(rates, blocks)  # (block, ...)
    centred = means - means.mean(0)
    variance = centred.square().sum(0)
    repeat = (centred[1:] * centred[:-1]).sum(0) / variance.clamp_min(torch.finfo(means.dtype).tiny)
    repeat = repeat.clamp(0.0, 0.9)
    half_width = _half_width(means) * ((1 + repeat) / (1 - repeat)).sqrt()
    return torch.hypot(half_width, bounded_part(rates))


def block_means(rates: Tensor, blocks: int) -> Tensor:
    """Return means of (interval, ...) over blocks of time, shape (block, ...).

    The blocks are of equal length; what is left at the beginning is left out.
    """
    length = len(rates) // blocks
    kept = rates[len(rates) - blocks * length :]
    return kept.reshape(blocks, length, *rates.shape[1:]).mean(1)


def bounded_part(rates: Tensor) -> Tensor:
    """Return how far a sum that goes up and down without growing may shift the mean, (...).

    On a limit cycle growth is periodic, and blocks that fit the period hide it; the range of the
    sum, divided by the time, bounds what the place where the run ends in the cycle contributes.
    """
    total = (rates - rates.mean(0)).cumsum(0)
    return (total.amax(0) - total.amin(0)) / len(rates)


def distinct_members(states: Tensor) -> int:
    """Return how many of the states (batch, neuron) differ by more than a millionth."""
    scale = states.abs().amax().clamp_min(1e-300)
    return len(torch.unique((states / scale * 1e6).round(), dim=0))


def coherence(rates: Tensor, blocks: int) -> Tensor:
    """Return how much more the average over members varies in time than of independent ones.

    Per exponent: 1 if members are independent, their number if they move as one. Oscillators that
    were started close together keep their phases for long and are the usual trap.
    """
    means = block_means(rates, blocks)  # (block, batch, exponent)
    alone = means.var(0).mean(0)
    # Below rounding there is nothing to compare.
    together = means.mean(1).var(0) - 1e-24
    return together * means.shape[1] / alone.clamp_min(1e-24)


def drift(rates: Tensor) -> Tensor:
    """Return half the difference between the later and the earlier half, (exponent,).

    Its standard deviation is that of the mean, if nothing drifts.
    """
    middle = len(rates) // 2
    return (rates[middle:].mean((0, 1)) - rates[:middle].mean((0, 1))) / 2


def _half_width(means: Tensor) -> Tensor:
    count = len(means)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    width: Tensor = quantile * means.std(0) / count**0.5
    return width
