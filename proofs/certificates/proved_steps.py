"""Boxes that steps settle in, and the lengths up to which steps are proved to contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from elegans.proofs.certificates.network import SLACK, Array, Box
from elegans.proofs.certificates.stepping import Lengths
from elegans.proofs.certificates.weighted_norms import RowBound, best_weights

SOLVED = 64
"""Neurons up to which weights are found anew for each length that is tried."""

_ROUNDS = 32
_ENTRY = 1 / 64
_CLOSE = 0.005
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class StateBox:
    """A box of states that the flow and the steps do not leave, with what holds in it.

    Parameters
    ----------
    box
        The states.
    reached
        The states and all stages of a step from one of them.
    """

    box: Box
    reached: Box


@dataclass(frozen=True, eq=False)
class ProvedStep:
    """A factor below 1 of the steps of a range of lengths, its weights, and the box of states."""

    kappa: float
    eta: Array
    states: StateBox


Pull = tuple[Box, Array]
"""The range of what pulls at each neuron, and how much wider the box is that steps tend to."""

Prove = Callable[[Lengths], ProvedStep | None]
"""From the shortest and the longest step to what is proved of them."""


def settled_box(
    pull: Callable[[Box | None], Pull | None], reach: Callable[[Box, Box], Box]
) -> StateBox | None:
    """Return the box that flow and steps tend to; None where steps may grow without a bound.

    With what pulls within c - a to c + a, every state tends to the box of radius `growth` a round
    c, and no step leaves it. The box is entered, what pulls is in a smaller range there, and so on.

    Parameters
    ----------
    pull
        Returns c and a as a box, and the growth, for states and stages in a box, for any states
        where there is none; None where the growth has no bound.
    reach
        Returns the hull of a box and of all stages of steps that begin in it, given what pulls.
    """
    box: Box | None = None
    reached: Box | None = None
    for _ in range(_ROUNDS):
        pulled = pull(reached)
        if pulled is None:
            return None
        target, growth = pulled
        middle, radius = 0.5 * (target.lo + target.hi), 0.5 * (1 + SLACK) * target.width
        radius = growth * radius + SLACK * (np.abs(middle) + radius)
        if box is None:
            box = Box(middle - radius, middle + radius)
            reached = reach(box, target)
            continue
        # What is beyond the new box shrinks with each step, and is at last this share.
        beyond = np.maximum(box.hi - (middle + radius), middle - radius - box.lo)
        radius = radius + _ENTRY * np.maximum(beyond, 0.0)
        smaller = Box(np.maximum(box.lo, middle - radius), np.minimum(box.hi, middle + radius))
        shrunk, width = box.width - smaller.width, box.width
        box = smaller
        reached = reach(box, target)
        if (shrunk <= _CLOSE * width).all():
            break
    assert box is not None
    assert reached is not None
    return StateBox(box, reached)


def proved_step(
    bounds: Sequence[RowBound],
    states: StateBox,
    fraction: float,
    start: Sequence[Array],
    *,
    best: bool,
) -> ProvedStep | None:
    """Return what the best of several bounds of one step proves, None where that is nothing.

    `start` are weights to try. If the `best` factor is not asked for, any below 1 will do: the
    weights are then looked for only if those given prove nothing, and in circuits of a moderate
    size.
    """
    found = []
    if not best:
        found = [(eta, bound.factor(eta)) for bound in bounds for eta in start]
    if best or (len(states.box.lo) <= SOLVED and not min(factor for _, factor in found) < 1):
        for bound in bounds:
            found.append(best_weights(bound, 1.0, fraction, start=tuple(start)))
            if not best and found[-1][1] < 1:
                break
    eta, kappa = min(found, key=lambda pair: pair[1])
    return ProvedStep(kappa, eta, states) if kappa < 1 else None


def longest_proved(
    holds: Callable[[float], bool], known: float, *, tolerance: float = 1e-6
) -> float:
    """Return up to which length steps are proved to contract, at least the `known` one.

    By doubling and bisection; infinite where steps of any length are.
    """
    if holds(math.inf):
        return math.inf
    low, high = known, 2 * known
    while holds(high):
        low, high = high, 2 * high
    while high - low > tolerance * low:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def shorter_steps(prove: Prove, lengths: Lengths) -> tuple[Lengths, ProvedStep] | None:
    """Return the longest of repeatedly halved lengths that is proved, and what is proved of it."""
    shortest, length = lengths
    for _ in range(_HALVINGS):
        length = 0.5 * length
        between = min(shortest, length), length
        proved = prove(between)
        if proved is not None:
            return between, proved
    return None


def too_long(solver: str, lengths: Lengths, most: float | None, otherwise: str) -> str:
    """Return why nothing is proved of steps, and of what lengths it would be.

    `most` is the largest length that is proved, None where none is known; `otherwise` is what to
    do there.
    """
    what = (
        f"steps of {solver} from {lengths[0]:.4g} to {lengths[1]:.4g} are not proved to contract, "
        "expected shorter ones"
    )
    if most is None:
        return f"{what}; {otherwise}"
    places = 3 - math.floor(math.log10(most))
    rounded = math.floor(most * 10.0**places) / 10.0**places
    return f"{what}: up to {rounded:g} they are; take more unfolds"
