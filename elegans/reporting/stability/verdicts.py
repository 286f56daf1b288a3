"""Verdicts in plain language. Each names its evidence; only a proof says "certified"."""

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
    subject, found = content.subject, content.contraction
    size = (
        f"{subject.neurons:,} neurons and {subject.synapses + subject.sensory_synapses:,} synapses"
    )
    begin = f"A liquid circuit of {size}. "
    if found is None:
        return begin + "Whether it forgets its initial state was not examined for a proof."
    if found.certified:
        return begin + (
            "It is certified: under any inputs in the stated range, two trajectories approach each "
            f"other at a rate of at least {number(found.rate)} per {subject.time_unit} once they "
            "are in the certified box."
        )
    ending = (
        "A state was found in the box where small differences grow, so no norm certifies this box."
        if content.ceiling is not None and content.ceiling.refutes
        else "That is not a statement that it is unstable."
    )
    return begin + f"No certificate of contraction was found. {ending}"


def warnings(content: Content) -> list[str]:
    """Return what a reader must know before believing a word: preconditions that fail."""
    return [each.sentence for each in content.preconditions if not each.holds]


def _contraction(content: Content) -> Verdict:
    found, unit = content.contraction, f"per {content.subject.time_unit}"
    ask = ("certificate", "Does it forget where it began?")
    if found is None:
        return _unexamined(*ask, content.skipped.get("contraction", ""))
    if found.certified and found.rate:
        halving = math.log(2) / found.rate
        where = (
            "for any inputs whatever"
            if found.level == "exact"
            else "for all inputs in the range, in the box that every trajectory enters or tends to"
        )
        return Verdict(
            *ask,
            "certified",
            found.evidence,
            "Certified to contract",
            number(found.rate),
            unit,
            f"Differences between two trajectories under the same input halve at least every "
            f"{number(halving)} {plural(content.subject.time_unit)}, {where}; measured in weights "
            f"that differ by a factor of {number(found.overshoot)}.",
        )
    return Verdict(
        *ask,
        "uncertified",
        NOT_CERTIFIED,
        "Not certified",
        number(found.rate),
        f"{unit}, expected above 0",
        f"The method gives no positive rate: {found.reason}. Not certified does not mean unstable.",
    )


def _bounds(content: Content) -> Verdict:
    boxes = content.boxes
    ask = ("boxes", "Do its potentials stay bounded?")
    if boxes is None:
        return _unexamined(*ask, content.skipped.get("boxes", ""))
    lo, hi = boxes.box_lo.min(), boxes.box_hi.max()
    soon = (
        f" From the first box they are in the last within {number(boxes.entry_time)} "
        f"{plural(content.subject.time_unit)}."
        if boxes.count > 1
        else ""
    )
    return Verdict(
        *ask,
        "certified",
        boxes.evidence,
        "Bounded, for certain",
        f"{number(float(lo))} to {number(float(hi))}",
        "potential",
        "Once every potential is in its interval of the box, it stays there for all inputs in the "
        f"range.{soon}",
    )


def _ceiling(content: Content) -> Verdict:
    ceiling, unit = content.ceiling, f"per {content.subject.time_unit}"
    ask = ("ceiling", "How much better could any proof be?")
    if ceiling is None:
        return _unexamined(*ask, content.skipped.get("ceiling", ""))
    count = f"{ceiling.samples:,} sampled states of the box"
    if ceiling.refutes:
        return Verdict(
            *ask,
            "uncertified",
            SAMPLED,
            "A counterexample stands in the box",
            number(ceiling.abscissa),
            unit,
            f"Of {count}, one has a growing mode. No norm certifies this box; a smaller range of "
            "inputs or a smaller box may still be certified.",
        )
    found = content.contraction
    gap = ""
    if found is not None and found.certified and found.best_rate is not None and ceiling.rate > 0:
        share = min(found.best_rate / ceiling.rate, 1.0)
        gap = f" The best rate that was proved reaches {number(100 * share)} % of this."
    return Verdict(
        *ask,
        "measured",
        SAMPLED,
        "No proof on this box exceeds it",
        number(ceiling.rate),
        unit,
        f"The slowest mode found in {count} decays at this rate. None of these has a growing mode, "
        f"which proves nothing about the others.{gap}",
    )


def _exponents(content: Content) -> Verdict:
    found = content.exponents
    ask = ("exponents", "What happened to small differences?")
    if found is None:
        return _unexamined(*ask, content.skipped.get("exponents", ""))
    largest, error = float(found.values[0]), float(found.errors[0])
    sign = found.signs[0]
    headline = {"-": "They shrank", "+": "They grew", "0": "Undecided: zero is in the error bar"}
    meaning = {
        "-": "states under these inputs approached each other",
        "+": "states under these inputs parted, as in chaos",
        "0": "whether states approached each other cannot be told from this run",
    }
    settled = "" if found.converged else " The estimate has not converged to its tolerance."
    return Verdict(
        *ask,
        "measured",
        MEASURED,
        headline[sign],
        f"{number(largest)} ± {number(error, 2)}",
        "per step (largest Lyapunov exponent)",
        f"Over {found.steps:,} steps and {found.members} initial states, {meaning[sign]}. This is "
        f"about the inputs that were used, and is no proof.{settled}",
    )


def _equilibria(content: Content) -> Verdict:
    found = content.equilibria
    ask = ("equilibria", "Where does it rest under a constant input?")
    if found is None:
        return _unexamined(*ask, content.skipped.get("equilibria", ""))
    attracting = sum(each.linearised == "attracting" for each in found.shown)
    plural = "equilibrium" if found.found == 1 else "equilibria"
    more = (
        "There must be others that were not found, since the indices do not add up."
        if found.surely_incomplete
        else "There may be others."
    )
    known, subject = content.contraction, content.subject
    inside = (subject.input_lo <= found.inputs).all() and (found.inputs <= subject.input_hi).all()
    if known is not None and known.certified and found.found == 1 and inside:
        more = "The certificate leaves room for no other."
    return Verdict(
        *ask,
        "measured",
        SEARCHED,
        f"{found.found} {plural} found",
        f"{attracting}",
        f"of {len(found.shown)} attracting, by linearisation",
        f"Newton's method from {found.starts:,} starts, under the mean input. {more}",
    )


def _horizon(content: Content) -> Verdict:
    contraction, exponents = content.contraction, content.exponents
    ask = ("horizon", "How far back do gradients reach?")
    measured = None
    if exponents is not None and exponents.signs[0] == "-":
        measured = -1.0 / float(exponents.values[0])
    if contraction is not None and contraction.certified and contraction.horizon is not None:
        also = f" In the run it took about {number(measured)} steps." if measured else ""
        return Verdict(
            *ask,
            "certified",
            contraction.evidence,
            "Gradients fade, for certain",
            number(contraction.horizon),
            "steps to 1/e, at most",
            "A gradient carried back through time has fallen to 1/e after this many steps at the "
            f"latest, in the certificate's weights, if each step lasts "
            f"{number(content.subject.elapsed)}.{also}",
        )
    if measured is not None:
        return Verdict(
            *ask,
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
            *ask,
            "measured",
            MEASURED,
            "No horizon was seen",
            "",
            "",
            "Small differences were not seen to decay for certain, so neither were gradients.",
        )
    return _unexamined(*ask, content.skipped.get("exponents", ""))


def _gain(content: Content) -> Verdict:
    contraction = content.contraction
    ask = ("gains", "How far can an error of the inputs carry?")
    if contraction is None or contraction.gain is None:
        why = (
            "A bound follows from a certificate, and there is none."
            if contraction is None or not contraction.certified
            else "The bound could not be computed in double precision."
        )
        return Verdict(*ask, "unexamined", NOT_EXAMINED, "No bound known", "", "", why)
    outputs = contraction.gain[: content.subject.outputs]
    worst = int(outputs.argmax())
    return Verdict(
        *ask,
        "certified",
        contraction.evidence,
        "Bounded, for certain" if _useful(content, worst) >= _LOOSE else "Bounded, but loosely",
        number(float(outputs[worst])),
        "potential per unit of input",
        "Inputs in the range that are off by 1 at all times, in any way, move the output neuron "
        f"{content.names[worst]} by no more than this.{_worth(content, worst)}",
    )


def _worth(content: Content, neuron: int) -> str:
    """Say for which errors a gain says more than the box does."""
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
    ask = ("ledger", "What did rewiring change?")
    if history is None:
        return _unexamined(*ask, content.skipped.get("history", ""), "No ledger")
    count = f"{history.rewired:,}"
    unit = "synapse rewired" if history.rewired == 1 else "synapses rewired"
    rest = f"{history.kept:,} weak synapses were kept, {history.refused:,} edits were refused."
    if history.judged and history.least_slack is not None:
        return Verdict(
            *ask,
            "measured",
            RECORDED,
            "Edits were guarded",
            count,
            unit,
            f"{history.judged:,} edits were judged by a certificate's guard; the least slack of a "
            f"row after an edit that happened was {number(history.least_slack)}. {rest}",
        )
    if not history.edits:
        return Verdict(
            *ask, "measured", RECORDED, "Nothing was rewired", count, unit, "The ledger is empty."
        )
    return Verdict(
        *ask,
        "measured",
        RECORDED,
        "Edits were not guarded",
        count,
        unit,
        f"No certificate watched over them. {rest}",
    )


def _unexamined(name: str, question: str, reason: str, headline: str = "Not examined") -> Verdict:
    return Verdict(
        name, question, "unexamined", NOT_EXAMINED, headline, "", "", sentence_of(reason)
    )
