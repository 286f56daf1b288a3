"""The numbers of each section, each with its unit, its evidence and what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elegans.proofs.certificates.network import Array
from elegans.reporting.stability.content import MEASURED, SAMPLED, SEARCHED, Content
from elegans.reporting.wording import number, plural


@dataclass(frozen=True)
class Fact:
    """A number for readers."""

    label: str
    value: str
    unit: str
    meaning: str
    evidence: str = ""


def facts(content: Content) -> dict[str, list[Fact]]:
    """Return the facts of each section."""
    return {
        "certificate": _certificate(content),
        "advice": _advice(content),
        "ceiling": _ceiling(content),
        "boxes": _boxes(content),
        "time-constants": _time_constants(content),
        "exponents": _exponents(content),
        "horizon": _horizon(content),
        "equilibria": _equilibria(content),
    }


def _certificate(content: Content) -> list[Fact]:
    found, unit = content.contraction, content.subject.time_unit
    many = plural(unit)
    if found is None or not found.certified:
        return []
    return [
        Fact(
            "Rate λ",
            number(found.rate),
            f"per {unit}",
            "Differences shrink at least like exp(−λt) in the weighted norm.",
            found.evidence,
        ),
        Fact(
            "Best rate proved",
            number(found.best_rate),
            f"per {unit}",
            "The same, with weights of larger spread.",
            found.evidence,
        ),
        Fact(
            "Overshoot cond(η)",
            number(found.overshoot),
            "times",
            "In the plain maximum norm a difference may first grow by this factor.",
            found.evidence,
        ),
        Fact(
            "Break-even time",
            number(found.break_even),
            many,
            "After this time every difference is smaller than it began.",
            found.evidence,
        ),
        Fact(
            "Factor of a step κ",
            number(found.kappa, 6),
            "per unfold",
            "Nothing was proved of a step of this length: a self-synapse or another solver "
            "stands in the way."
            if found.kappa is None
            else "By this factor, at most, one unfold of the step that runs changes a difference.",
            found.evidence if found.kappa is not None else "",
        ),
        Fact(
            "Entry time",
            number(found.entry_time),
            many,
            "From anywhere in the first box, the statements hold after this time.",
            found.evidence,
        ),
    ]


def _advice(content: Content) -> list[Fact]:
    found = content.contraction
    if found is None or found.certified or found.rate is None:
        return []
    radius = found.local_radius
    return [
        Fact(
            "Largest certified scale",
            number(found.largest_scale),
            "times the recurrent conductances",
            "With all recurrent conductances scaled by this the circuit is certified in double "
            "precision."
            if found.largest_scale is not None
            else "No scale was found: the trouble is not in the recurrent synapses alone.",
            "searched by bisection",
        ),
        Fact(
            "Largest certified box round an equilibrium",
            "–"
            if radius is None
            else f"± {number(float(radius.min()))} to {number(float(radius.max()))}",
            "potential",
            "No such box was found under the middle of the inputs."
            if radius is None
            else f"Under the middle of the inputs, states this near to the equilibrium approach "
            f"each other at the rate {number(found.local_rate)}.",
            "searched by bisection",
        ),
    ]


def _ceiling(content: Content) -> list[Fact]:
    found, proof, unit = content.ceiling, content.contraction, content.subject.time_unit
    if found is None:
        return []
    result = [
        Fact(
            "Sampled ceiling −max α(J)",
            number(found.rate),
            f"per {unit}",
            "No norm proves a larger rate on this box: a state with this mode was found in it."
            if not found.refutes
            else "At or below zero: a state with a growing mode was found, so no norm certifies "
            "this box.",
            SAMPLED,
        )
    ]
    if proof is not None and proof.rate is not None:
        best = proof.best_rate if proof.best_rate is not None else proof.rate
        result.append(
            Fact(
                "Gap to the ceiling",
                number(max(found.rate - best, 0.0)),
                f"per {unit}",
                "Between the best rate of the method and the sampled ceiling: what better norms, "
                "or worse states, could still change.",
                SAMPLED,
            )
        )
    return result


def _boxes(content: Content) -> list[Fact]:
    boxes = content.boxes
    if boxes is None:
        return []
    shrunk = (boxes.box_hi - boxes.box_lo) / np.maximum(boxes.hull_hi - boxes.hull_lo, 1e-300)
    return [
        Fact(
            "Any input whatever",
            _range(boxes.hull_lo, boxes.hull_hi),
            "potential",
            "The hull of all potentials that pull at a neuron attracts every state.",
            boxes.evidence,
        ),
        Fact(
            "Inputs in the range",
            _range(boxes.box_lo, boxes.box_hi),
            "potential",
            f"After {boxes.count} nested boxes the median interval is "
            f"{number(100 * float(np.median(shrunk)))} % as wide as at first.",
            boxes.evidence,
        ),
        Fact(
            "Entry time",
            number(boxes.entry_time),
            plural(content.subject.time_unit),
            "From anywhere in the first box to the last, at the latest.",
            boxes.evidence,
        ),
    ]


def _time_constants(content: Content) -> list[Fact]:
    boxes, seen = content.boxes, content.activity.time_constants
    unit = plural(content.subject.time_unit)
    result = []
    if boxes is not None:
        result.append(
            Fact(
                "Proved range",
                _range(boxes.tau_lo, boxes.tau_hi),
                unit,
                "No time constant leaves this range while the circuit is in its box.",
                "proved (double precision with an allowance for rounding)",
            )
        )
    result.append(
        Fact(
            "Measured range",
            _range(seen, seen),
            unit,
            "From the fastest to the slowest moment of all neurons in the sequence shown.",
            MEASURED,
        )
    )
    liquid = float(np.median(seen.max(axis=0) / np.maximum(seen.min(axis=0), 1e-300)))
    result.append(
        Fact(
            "Liquidity",
            number(liquid),
            "times",
            "By this factor the median neuron changed its time constant.",
            MEASURED,
        )
    )
    return result


def _exponents(content: Content) -> list[Fact]:
    found = content.exponents
    if found is None:
        return []
    result = [
        Fact(
            "Largest exponent λ₁",
            f"{number(float(found.values[0]))} ± {number(float(found.errors[0]), 2)}",
            "per step",
            f"{found.members} trajectories of {found.steps:,} steps; the inputs were gone through "
            f"{number(found.repeats)} times.",
            MEASURED,
        ),
        Fact(
            "Kaplan–Yorke dimension",
            number(found.kaplan_yorke),
            "",
            "0: the states under these inputs gather on a single trajectory."
            if found.kaplan_yorke == 0
            else "Dimension of what the states gather on under these inputs.",
            MEASURED,
        ),
        Fact(
            "Convergence",
            "yes" if found.converged else "no",
            "",
            "Nothing speaks against the estimates." if found.converged else f"{found.verdict}.",
            MEASURED,
        ),
    ]
    if found.bound is not None and content.contraction is not None:
        result.insert(
            1,
            Fact(
                "Bound on λ₁",
                number(found.bound),
                "per step",
                "Unfolds times ln κ: what the certificate allows the largest exponent to be.",
                content.contraction.evidence,
            ),
        )
    return result


def _horizon(content: Content) -> list[Fact]:
    proof, seen = content.contraction, content.exponents
    result = []
    if proof is not None and proof.horizon is not None:
        result.append(
            Fact(
                "Gradient horizon",
                number(proof.horizon),
                "steps",
                "1/(−K ln κ): after this many steps a gradient has fallen to 1/e, at the latest.",
                proof.evidence,
            )
        )
    if seen is not None and seen.signs[0] == "-":
        result.append(
            Fact(
                "Horizon in the run",
                number(-1.0 / float(seen.values[0])),
                "steps",
                "−1/λ₁: how long it took under these inputs.",
                MEASURED,
            )
        )
    return result


def _equilibria(content: Content) -> list[Fact]:
    found = content.equilibria
    if found is None:
        return []
    return [
        Fact(
            "Found",
            str(found.found),
            "",
            f"From {found.starts:,} starts under the mean input; {found.failed} did not end at an "
            "equilibrium. "
            + (
                "There must be others, since the indices of all would sum to 1."
                if found.surely_incomplete
                else "A search is no proof that these are all."
            ),
            SEARCHED,
        )
    ]


def _range(lo: Array, hi: Array) -> str:
    return f"{number(float(np.min(lo)))} to {number(float(np.max(hi)))}"
