"""Verdicts in plain language, each with its evidence; only a proof is called certified."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from elegans.reporting.stability.content import (
    MEASURED,
    NOT_CERTIFIED,
    NOT_EXAMINED,
    RECORDED,
    SAMPLED,
    SEARCHED,
    Content,
)
from elegans.reporting.wording import number, plural, sentence_of

_LOOSE = 0.1
"""An error of the inputs; a gain that says nothing of errors of this size is called loose."""

Status = Literal["certified", "uncertified", "measured", "unexamined"]


@dataclass(frozen=True)
class Verdict:
    """One card of the report.

    Parameters
    ----------
    name
        Of the question that it answers; also the anchor of the section that says more.
    question
        In plain words.
    status
        ``"certified"`` only where something was proved.
    evidence
        How it is known.
    headline
        The answer in a few words.
    figure, unit
        The number that matters most, formatted, and its unit; empty if there is none.
    sentence
        What the answer means.
    """

    name: str
    question: str
    status: Status
    evidence: str
    headline: str
    figure: str
    unit: str
    sentence: str


def verdicts(content: Content) -> list[Verdict]:
    """Return the verdicts, the most important first."""
    makers: list[Callable[[Content], Verdict]] = [
        _contraction,
        _bounds,
        _ceiling,
        _exponents,
        _equilibria,
        _horizon,
        _gain,
        _edits,
    ]
    return [make(content) for make in makers]


def summary(content: Content) -> str:
    """Return the whole report in a sentence or two."""
    subject, proof = content.subject, content.contraction
    size = (
        f"{subject.neurons:,} neurons and {subject.synapses + subject.sensory_synapses:,} synapses"
    )
    opening = f"A liquid circuit of {size}. "
    if proof is None:
        return opening + "Whether it forgets its initial state was not examined for a proof."
    if proof.certified:
        return opening + (
            "It is certified: under any inputs in the stated range, two trajectories approach each "
            f"other at a rate of at least {number(proof.rate)} per {subject.time_unit} once they "
            "are in the certified box."
        )
    ending = (
        "A state was found in the box where small differences grow, so no norm certifies this box."
        if content.ceiling is not None and content.ceiling.refutes
        else "That is not a statement that it is unstable."
    )
    return opening + f"No certificate of contraction was found. {ending}"


def warnings(content: Content) -> list[str]:
    """Return what a reader must know before believing a word: preconditions that fail."""
    return [each.sentence for each in content.preconditions if not each.holds]


def _contraction(content: Content) -> Verdict:
    proof, unit = content.contraction, f"per {content.subject.time_unit}"
    topic = ("certificate", "Does it forget where it began?")
    if proof is None:
        return _unexamined(*topic, content.skipped.get("contraction", ""))
    if proof.certified and proof.rate:
        halving = math.log(2) / proof.rate
        validity = (
            "for any inputs whatever"
            if proof.level == "exact"
            else "for all inputs in the range, in the box that every trajectory enters or tends to"
        )
        return Verdict(
            *topic,
            "certified",
            proof.evidence,
            "Certified to contract",
            number(proof.rate),
            unit,
            f"Differences between two trajectories under the same input halve at least every "
            f"{number(halving)} {plural(content.subject.time_unit)}, {validity}; measured in "
            f"weights that differ by a factor of {number(proof.overshoot)}.",
        )
    return Verdict(
        *topic,
        "uncertified",
        NOT_CERTIFIED,
        "Not certified",
        number(proof.rate),
        f"{unit}, expected above 0",
        f"The method gives no positive rate: {proof.reason}. Not certified does not mean unstable.",
    )


def _bounds(content: Content) -> Verdict:
    boxes = content.boxes
    topic = ("boxes", "Do its potentials stay bounded?")
    if boxes is None:
        return _unexamined(*topic, content.skipped.get("boxes", ""))
    lo, hi = boxes.box_lo.min(), boxes.box_hi.max()
    entry = (
        f" From the first box they are in the last within {number(boxes.entry_time)} "
        f"{plural(content.subject.time_unit)}."
        if boxes.count > 1
        else ""
    )
    return Verdict(
        *topic,
        "certified",
        boxes.evidence,
        "Bounded, for certain",
        f"{number(float(lo))} to {number(float(hi))}",
        "potential",
        "Once every potential is in its interval of the box, it stays there for all inputs in the "
        f"range.{entry}",
    )


def _ceiling(content: Content) -> Verdict:
    ceiling, unit = content.ceiling, f"per {content.subject.time_unit}"
    topic = ("ceiling", "How much better could any proof be?")
    if ceiling is None:
        return _unexamined(*topic, content.skipped.get("ceiling", ""))
    count = f"{ceiling.samples:,} sampled states of the box"
    if ceiling.refutes:
        return Verdict(
            *topic,
            "uncertified",
            SAMPLED,
            "A counterexample stands in the box",
            number(ceiling.abscissa),
            unit,
            f"Of {count}, one has a growing mode. No norm certifies this box; a smaller range of "
            "inputs or a smaller box may still be certified.",
        )
    proof = content.contraction
    gap = ""
    if proof is not None and proof.certified and proof.best_rate is not None and ceiling.rate > 0:
        share = min(proof.best_rate / ceiling.rate, 1.0)
        gap = f" The best rate that was proved reaches {number(100 * share)} % of this."
    return Verdict(
        *topic,
        "measured",
        SAMPLED,
        "No proof on this box exceeds it",
        number(ceiling.rate),
        unit,
        f"The slowest mode found in {count} decays at this rate. None of these has a growing mode, "
        f"which proves nothing about the others.{gap}",
    )


def _exponents(content: Content) -> Verdict:
    exponents = content.exponents
    topic = ("exponents", "What happened to small differences?")
    if exponents is None:
        return _unexamined(*topic, content.skipped.get("exponents", ""))
    largest, error = float(exponents.values[0]), float(exponents.errors[0])
    sign = exponents.signs[0]
    headline = {"-": "They shrank", "+": "They grew", "0": "Undecided: zero is in the error bar"}
    meaning = {
        "-": "states under these inputs approached each other",
        "+": "states under these inputs parted, as in chaos",
        "0": "whether states approached each other cannot be told from this run",
    }
    convergence = "" if exponents.converged else " The estimate has not converged to its tolerance."
    return Verdict(
        *topic,
        "measured",
        MEASURED,
        headline[sign],
        f"{number(largest)} ± {number(error, 2)}",
        "per step (largest Lyapunov exponent)",
        f"Over {exponents.steps:,} steps and {exponents.members} initial states, {meaning[sign]}. "
        f"This is about the inputs that were used, and is no proof.{convergence}",
    )


def _equilibria(content: Content) -> Verdict:
    search = content.equilibria
    topic = ("equilibria", "Where does it rest under a constant input?")
    if search is None:
        return _unexamined(*topic, content.skipped.get("equilibria", ""))
    attracting = sum(each.linearised == "attracting" for each in search.shown)
    plural = "equilibrium" if search.found == 1 else "equilibria"
    others = (
        "There must be others that were not found, since the indices do not add up."
        if search.surely_incomplete
        else "There may be others."
    )
    proof, subject = content.contraction, content.subject
    inside = (subject.input_lo <= search.inputs).all() and (search.inputs <= subject.input_hi).all()
    if proof is not None and proof.certified and search.found == 1 and inside:
        others = "The certificate leaves room for no other."
    return Verdict(
        *topic,
        "measured",
        SEARCHED,
        f"{search.found} {plural} found",
        f"{attracting}",
        f"of {len(search.shown)} attracting, by linearisation",
        f"Newton's method from {search.starts:,} starts, under the mean input. {others}",
    )


def _horizon(content: Content) -> Verdict:
    contraction, exponents = content.contraction, content.exponents
    topic = ("horizon", "How far back do gradients reach?")
    measured = None
    if exponents is not None and exponents.signs[0] == "-":
        measured = -1.0 / float(exponents.values[0])
    if contraction is not None and contraction.certified and contraction.horizon is not None:
        in_this_run = f" In the run it took about {number(measured)} steps." if measured else ""
        return Verdict(
            *topic,
            "certified",
            contraction.evidence,
            "Gradients fade, for certain",
            number(contraction.horizon),
            "steps to 1/e, at most",
            "A gradient carried back through time has fallen to 1/e after this many steps at the "
            f"latest, in the certificate's weights, if each step lasts "
            f"{number(content.subject.elapsed)}.{in_this_run}",
        )
    if measured is not None:
        return Verdict(
            *topic,
            "measured",
            MEASURED,
            "Gradients faded in this run",
            number(measured),
            "steps to 1/e",
            "The inverse of the largest Lyapunov exponent: how many steps it took until a small "
            "difference, and so a gradient, had fallen to 1/e. No bound was proved.",
        )
    if exponents is not None:
        return Verdict(
            *topic,
            "measured",
            MEASURED,
            "No horizon was seen",
            "",
            "",
            "Small differences were not seen to decay for certain, so neither were gradients.",
        )
    return _unexamined(*topic, content.skipped.get("exponents", ""))


def _gain(content: Content) -> Verdict:
    contraction = content.contraction
    topic = ("gains", "How far can an error of the inputs carry?")
    if contraction is None or contraction.gain is None:
        reason = (
            "A bound follows from a certificate, and there is none."
            if contraction is None or not contraction.certified
            else "The bound could not be computed in double precision."
        )
        return Verdict(*topic, "unexamined", NOT_EXAMINED, "No bound known", "", "", reason)
    outputs = contraction.gain[: content.subject.outputs]
    worst = int(outputs.argmax())
    return Verdict(
        *topic,
        "certified",
        contraction.evidence,
        "Bounded, for certain" if _useful(content, worst) >= _LOOSE else "Bounded, but loosely",
        number(float(outputs[worst])),
        "potential per unit of input",
        "Inputs in the range that are off by 1 at all times, in any way, move the output neuron "
        f"{content.names[worst]} by no more than this.{_worth(content, worst)}",
    )


def _worth(content: Content, neuron: int) -> str:
    """Return for which errors a gain bounds more tightly than the box does."""
    most = _useful(content, neuron)
    return f" It says more than the box does for errors below {number(most)}."


def _useful(content: Content, neuron: int) -> float:
    """Return the error of the inputs up to which a gain bounds a neuron better than its box."""
    boxes, proof = content.boxes, content.contraction
    if boxes is None or proof is None or proof.gain is None:
        return math.inf
    width = float(boxes.box_hi[neuron] - boxes.box_lo[neuron])
    return width / max(float(proof.gain[neuron]), 1e-300)


def _edits(content: Content) -> Verdict:
    history = content.history
    topic = ("ledger", "What did rewiring change?")
    if history is None:
        return _unexamined(*topic, content.skipped.get("history", ""), "No ledger")
    count = f"{history.rewired:,}"
    unit = "synapse rewired" if history.rewired == 1 else "synapses rewired"
    others = f"{history.kept:,} weak synapses were kept, {history.refused:,} edits were refused."
    if history.judged and history.least_slack is not None:
        return Verdict(
            *topic,
            "measured",
            RECORDED,
            "Edits were guarded",
            count,
            unit,
            f"{history.judged:,} edits were judged by a certificate's guard; the least slack of a "
            f"row after an edit that happened was {number(history.least_slack)}. {others}",
        )
    if not history.edits:
        return Verdict(
            *topic, "measured", RECORDED, "Nothing was rewired", count, unit, "The ledger is empty."
        )
    return Verdict(
        *topic,
        "measured",
        RECORDED,
        "Edits were not guarded",
        count,
        unit,
        f"No certificate watched over them. {others}",
    )


def _unexamined(name: str, question: str, reason: str, headline: str = "Not examined") -> Verdict:
    return Verdict(
        name, question, "unexamined", NOT_EXAMINED, headline, "", "", sentence_of(reason)
    )
