"""Numbers of each section with unit, evidence and meaning, and the rates of forgetting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elegans.proofs.certificates.network import Array
from elegans.reporting.chart import PROVED, SEEN, UNKNOWN, WEAK
from elegans.reporting.stability.content import MEASURED, SAMPLED, SEARCHED, Content
from elegans.reporting.stability.endings import described, endings
from elegans.reporting.wording import at_least, at_most, in_seconds, number, per_second, plural


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
    proof = content.contraction
    if proof is None or not proof.certified:
        return []
    many, evidence = plural(content.subject.time_unit), proof.evidence
    shrinks = (
        "In the differential equation differences shrink at least like exp(−λt) in the weighted "
        "norm."
    )
    grows = "In the plain maximum norm a difference may first grow by this factor."
    smaller = "ln(cond(η)) / λ: after this time every difference is smaller than it began."
    longer = (
        f"In the Euclidean norm: |η|₂ / min η, and {at_most(proof.euclidean_break_even)} {many} "
        "until differences are smaller than they began."
    )
    step = "One unfold of the step that runs leaves at most this share of a difference."
    if proof.kappa is None:
        step = (
            "Nothing was proved of a step of this length: a self-synapse or another solver "
            "stands in the way."
        )
    holds = (
        "From anywhere in the first box, the differential equation is in the last after this time."
    )
    wider = "The same, with weights of larger spread."
    of_step = evidence if proof.kappa is not None else ""
    return [
        Fact(
            "Rate λ",
            at_least(proof.rate),
            _rate_unit(content, proof.rate, at_least),
            shrinks,
            evidence,
        ),
        Fact(
            "Best rate proved",
            at_least(proof.best_rate),
            _rate_unit(content, proof.best_rate, at_least),
            wider,
            evidence,
        ),
        Fact("Overshoot cond(η)", at_most(proof.overshoot), "times", grows, evidence),
        Fact(
            "Break-even time",
            at_most(proof.break_even),
            _time_unit(content, proof.break_even),
            smaller,
            evidence,
        ),
        Fact("Overshoot, Euclidean", at_most(proof.euclidean_overshoot), "times", longer, evidence),
        Fact("Factor of a step κ", at_most(proof.kappa, 6), "per unfold", step, of_step),
        *_margins(content),
        Fact(
            "Entry time",
            at_most(proof.entry_time),
            _time_unit(content, proof.entry_time),
            holds,
            evidence,
        ),
    ]


def _margins(content: Content) -> list[Fact]:
    """Return how far parameters may change, and what floats do to the steps."""
    proof = content.contraction
    if proof is None or proof.margin is None:
        return []
    left = (
        "All parameters may change by so much at once, and the differential equation still "
        f"contracts at the rate {at_least(proof.margin_rate)}; {proof.weakest} gives way first."
    )
    rounded = "Nothing was proved of the rounding of these steps."
    if proof.rounding is not None:
        rounded = (
            "From states in the box, the steps that run in "
            f"{content.subject.precision} never differ more from the exact ones."
        )
    of_rounding = proof.evidence if proof.rounding is not None else ""
    share = at_least(100 * proof.margin)
    return [
        Fact("Margin of all parameters", share, "%", left, proof.evidence),
        Fact("Rounding", at_most(proof.rounding), "potential", rounded, of_rounding),
    ]


def _rate_unit(content: Content, rate: float | None, shown: Callable[[float], str] = number) -> str:
    """Return the unit of a rate, and the rate per second where this is known."""
    second = per_second(rate, content.subject.seconds, shown)
    return f"per {content.subject.time_unit}{f' = {second}' if second else ''}"


def _time_unit(content: Content, time: float | None) -> str:
    """Return the unit of a time, and the time in seconds where this is known."""
    second = in_seconds(time, content.subject.seconds, at_most)
    return f"{plural(content.subject.time_unit)}{f' = {second}' if second else ''}"


def _advice(content: Content) -> list[Fact]:
    proof = content.contraction
    if proof is None or proof.certified or proof.rate is None:
        return []
    scaled = "No scale was found: the trouble is not in the recurrent synapses alone."
    if proof.largest_scale is not None:
        scaled = (
            "With all recurrent conductances scaled by this the circuit is certified in double "
            "precision."
        )
    radius, near = "–", "No such box was found under the middle of the inputs."
    if proof.local_radius is not None:
        least, most = float(proof.local_radius.min()), float(proof.local_radius.max())
        radius = f"± {at_least(least)} to {at_least(most)}"
        near = (
            "Under the middle of the inputs, states this near to the equilibrium approach each "
            f"other at the rate {at_least(proof.local_rate)}."
        )
    scale, of_what = at_least(proof.largest_scale), "times the recurrent conductances"
    box, evidence = "Largest certified box round an equilibrium", "searched by bisection"
    return [
        Fact("Largest certified scale", scale, of_what, scaled, evidence),
        Fact(box, radius, "potential", near, evidence),
    ]


def _ceiling(content: Content) -> list[Fact]:
    ceiling, proof = content.ceiling, content.contraction
    if ceiling is None:
        return []
    unit = _rate_unit(content, ceiling.rate, at_most)
    meaning = "No norm proves a larger rate on this box: a state with this mode was found in it."
    if ceiling.refutes:
        meaning = (
            "At or below zero: a state with a growing mode was found, so no norm certifies this "
            "box."
        )
    result = [Fact("Sampled ceiling −max α(J)", at_most(ceiling.rate), unit, meaning, SAMPLED)]
    if proof is not None and proof.rate is not None:
        best = proof.best_rate if proof.best_rate is not None else proof.rate
        gap = number(missing := max(ceiling.rate - best, 0.0))
        unit = _rate_unit(content, missing)
        meaning = (
            "Between the best rate of the method and the sampled ceiling: what better norms, or "
            "worse states, could still change."
        )
        result.append(Fact("Gap to the ceiling", gap, unit, meaning, SAMPLED))
    return result


def _boxes(content: Content) -> list[Fact]:
    boxes = content.boxes
    if boxes is None:
        return []
    shrunk = (boxes.box_hi - boxes.box_lo) / np.maximum(boxes.hull_hi - boxes.hull_lo, 1e-300)
    hull, box = _range(boxes.hull_lo, boxes.hull_hi), _range(boxes.box_lo, boxes.box_hi)
    pulls = "The hull of all potentials that pull at a neuron attracts every state."
    nested = (
        f"After {boxes.count} nested boxes the median interval is "
        f"{number(100 * float(np.median(shrunk)))} % as wide as at first."
    )
    latest = (
        "From anywhere in the first box to the last, at the latest, in the differential equation."
    )
    entry, unit = at_most(boxes.entry_time), _time_unit(content, boxes.entry_time)
    return [
        Fact("Any input whatever", hull, "potential", pulls, boxes.evidence),
        Fact("Inputs in the range", box, "potential", nested, boxes.evidence),
        Fact("Entry time", entry, unit, latest, boxes.evidence),
    ]


def _time_constants(content: Content) -> list[Fact]:
    boxes, measured = content.boxes, content.activity.time_constants
    unit = plural(content.subject.time_unit)
    result = []
    if boxes is not None:
        evidence = "proved (double precision with an allowance for rounding)"
        meaning = "No time constant leaves this range while the circuit is in its box."
        proved = _range(boxes.tau_lo, boxes.tau_hi)
        result.append(Fact("Proved range", proved, unit, meaning, evidence))
    meaning = "From the fastest to the slowest moment of all neurons in the sequence shown."
    result.append(Fact("Measured range", _range(measured, measured), unit, meaning, MEASURED))
    least, most = measured.min(axis=0), measured.max(axis=0)
    changes = np.isfinite(most)  # one that never forgets has no time constant to change
    ratios = most[changes] / np.maximum(least[changes], 1e-300)
    liquid = float(np.median(ratios)) if len(ratios) else 1.0
    meaning = "By this factor the median neuron changed its time constant."
    result.append(Fact("Liquidity", number(liquid), "times", meaning, MEASURED))
    return result


def _exponents(content: Content) -> list[Fact]:
    exponents, proof = content.exponents, content.contraction
    if exponents is None:
        return []
    largest = f"{number(float(exponents.values[0]))} ± {number(float(exponents.errors[0]), 2)}"
    ended = described(exponents.attractors, exponents.members, exponents.diverged, content)
    run = (
        f"Over {exponents.steps:,} steps, in which the inputs were gone through "
        f"{number(exponents.repeats)} times, {ended}."
    )
    if len(exponents.attractors) > 1:
        run += " This is that of the least stable of these."
    result = [Fact("Largest exponent λ₁", largest, "per step", run, MEASURED)]
    if exponents.bound is not None and proof is not None:
        bound = "Unfolds times ln κ: what the certificate allows the largest exponent to be."
        rate = at_most(exponents.bound)
        result.append(Fact("Bound on λ₁", rate, "per step", bound, proof.evidence))
    several = len(exponents.attractors) > 1
    gathered = "Dimension of what the states gather on under these inputs."
    if exponents.kaplan_yorke == 0 and exponents.attractors[0].kind != "unsettled":
        gathered = "0: the states under these inputs gather on a single trajectory."
    if several:
        gathered = "Of the least stable attractor."
    dimension = number(exponents.kaplan_yorke)
    answer, speaks = "no", f"{exponents.verdict}."
    if exponents.converged:
        answer, speaks = "yes", "Nothing speaks against the estimates."
    return [
        *result,
        Fact("Kaplan–Yorke dimension", dimension, "", gathered, MEASURED),
        Fact("Convergence", answer, "", speaks, MEASURED),
    ]


def _horizon(content: Content) -> list[Fact]:
    proof, exponents = content.contraction, content.exponents
    result = []
    if proof is not None and proof.horizon is not None:
        meaning = "1/(−K ln κ): after this many steps a gradient has fallen to 1/e, at the latest."
        horizon = at_most(proof.horizon)
        result.append(Fact("Gradient horizon", horizon, "steps", meaning, proof.evidence))
    if exponents is not None and exponents.signs[0] == "-":
        meaning = "−1/λ₁: how long it took under these inputs."
        horizon = number(-1.0 / float(exponents.values[0]))
        result.append(Fact("Horizon in the run", horizon, "steps", meaning, MEASURED))
    return result


def _equilibria(content: Content) -> list[Fact]:
    search = content.equilibria
    if search is None:
        return []
    others = "A search is no proof that these are all."
    if search.surely_incomplete:
        others = "There must be others, since the indices of all would sum to 1."
    meaning = (
        f"From {search.starts:,} starts under the mean input; {search.failed} did not end at an "
        f"equilibrium. {others}"
    )
    return [Fact("Found", str(search.count), "", meaning, SEARCHED), *_ends(content)]


def _ends(content: Content) -> list[Fact]:
    seen = content.attractors
    if seen is None:
        return []
    _, sentence = endings(content)
    return [Fact("Attractors of the steps", str(_settled(content)), "", sentence, MEASURED)]


def _settled(content: Content) -> int:
    seen = content.attractors
    return 0 if seen is None else sum(each.kind != "unsettled" for each in seen.shown)


def _range(lo: Array, hi: Array) -> str:
    return f"{at_least(float(np.min(lo)))} to {at_most(float(np.max(hi)))}"


@dataclass(frozen=True)
class Rate:
    """A rate per unit of time; larger forgets faster."""

    label: str
    value: float
    evidence: str
    color: str
    meaning: str
    error: float = 0.0
    shown: Callable[[float], str] = number
    """How it is written: a bound is rounded to the side on which it stays true."""


def rates_of(content: Content) -> list[Rate]:
    """Return the rates that are known, proofs first."""
    rates: list[Rate] = []
    proof, ceiling, spectra = content.contraction, content.ceiling, content.spectra
    if proof is not None and proof.rate is not None:
        label, meaning = "certified λ", "the certificate's rate"
        if not proof.certified:
            label, meaning = "method's best", "must be above 0 for a certificate"
        color = PROVED if proof.certified else WEAK
        rates.append(Rate(label, proof.rate, proof.evidence, color, meaning, shown=at_least))
        if proof.certified and proof.best_rate is not None:
            meaning = "the same proof with weights of larger spread"
            best = proof.best_rate
            rates.append(Rate("best proved", best, proof.evidence, color, meaning, shown=at_least))
    if proof is not None and proof.method_ceiling is not None:
        evidence = "computed (double precision)"
        meaning = "no weights of the maximum norm prove more on this box"
        most = proof.method_ceiling
        rates.append(Rate("method's ceiling", most, evidence, UNKNOWN, meaning, shown=at_most))
    if ceiling is not None:
        meaning = "no norm whatever proves more on this box: −max α(J) over sampled states"
        most = ceiling.rate
        rates.append(Rate("any norm's ceiling", most, SAMPLED, UNKNOWN, meaning, shown=at_most))
    if content.equilibria is not None and content.equilibria.shown:
        slowest = -content.equilibria.shown[0].rate
        meaning = "slowest mode of the linearised flow at the equilibrium that most starts found"
        rates.append(Rate("at an equilibrium", slowest, SEARCHED, SEEN, meaning))
    if spectra is not None:
        slowest = -float(spectra.abscissa.max())
        meaning = "slowest mode of the Jacobian at any moment of the sequence shown"
        rates.append(Rate("slowest moment", slowest, MEASURED, SEEN, meaning))
    if content.exponents is not None:
        length = content.subject.elapsed
        largest, error = content.exponents.values[0], content.exponents.errors[0]
        meaning = "largest Lyapunov exponent of the steps that ran, by the length of a step"
        if len(content.exponents.attractors) > 1:
            meaning += ", on the least stable attractor"
        label, rate = "over the run, −λ₁", -float(largest) / length
        rates.append(Rate(label, rate, MEASURED, SEEN, meaning, error=float(error) / length))
    return rates
