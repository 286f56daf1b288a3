"""Verdicts in plain language, each with its evidence; only a proof is called certified."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from elegans.reporting.stability.content import (
    EVIDENCE,
    MEASURED,
    NOT_CERTIFIED,
    NOT_EXAMINED,
    RECORDED,
    SAMPLED,
    SEARCHED,
    Content,
    Exponents,
)
from elegans.reporting.stability.endings import (
    against,
    described,
    endings,
    inside_range,
    misbehaviour,
    refutation,
)
from elegans.reporting.wording import (
    at_least,
    at_most,
    counted,
    in_seconds,
    number,
    per_second,
    plural,
    sentence_of,
)

_LOOSE = 0.1
"""An error of the inputs; a gain that says nothing of errors of this size is called loose."""

_SHOWN_EXPONENTS = 6

NO_SECONDS = "not known: the data name no unit of time"

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
    details
        Further numbers by their names, in words.
    """

    name: str
    question: str
    status: Status
    evidence: str
    headline: str
    figure: str
    unit: str
    sentence: str
    details: tuple[tuple[str, str], ...] = ()


def verdicts(content: Content) -> list[Verdict]:
    """Return the verdicts, the most important first."""
    makers: list[Callable[[Content], Verdict]] = [
        _contraction,
        _task,
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
    count = "1 neuron" if subject.neurons == 1 else f"{subject.neurons:,} neurons"
    synapses = f"{subject.synapses + subject.sensory_synapses:,} synapses"
    junctions = content.circuit.wiring.gap_junction_count
    size = f"{count} and {synapses}"
    if junctions:
        size = f"{count}, {synapses} and {counted(junctions, 'gap junction')}"
    opening = f"A liquid circuit of {size}. "
    if proof is None:
        return opening + "Whether it forgets its initial state was not examined for a proof."
    wrong, found = misbehaviour(content), against(content)
    if proof.certified:
        certified = (
            "Its differential equation is certified: under any inputs in the stated range, two "
            f"trajectories approach each other at a rate of at least {at_least(proof.rate)} per "
            f"{subject.time_unit} once they are in the certified box."
        )
        if wrong:
            return (
                f"{opening}The steps that ran {wrong}. {certified} Nothing is proved of the steps."
            )
        return f"{opening}{certified} {_of_the_step(content)}"
    if wrong:
        opening += f"The steps that ran {wrong}. "
    ending = "That is not a statement that it is unstable."
    if content.ceiling is not None and content.ceiling.refutes:
        ending = (
            "A state was found in the box where small differences grow, so no norm certifies this "
            "box."
        )
    if found:
        ending = f"There is none on this range: {found}."
    return opening + f"No certificate of contraction was found. {ending}"


def _of_the_step(content: Content) -> str:
    """Return what a certificate says of the steps that run."""
    proof, subject = content.contraction, content.subject
    if proof is None or not proof.certified:
        return ""
    if proof.kappa is not None:
        return (
            f"Of a difference, a step of {number(subject.elapsed)} {_unit_of(content)} leaves at "
            f"most {number(100 * proof.kappa**subject.unfolds)} %."
        )
    if subject.solver != "semi_implicit":
        return f"Nothing is proved of the steps that run, those of {subject.solver!r}."
    length = f"{number(subject.elapsed)} {_unit_of(content)}"
    return f"Nothing is proved of the contraction of a step of {length}."


def _of_the_margins(content: Content) -> str:
    """Return what is left of a certificate for changed parameters and in floats."""
    proof, text = content.contraction, ""
    if proof is not None and proof.margin:
        text += (
            f" With every parameter changed by up to {at_least(100 * proof.margin)} %, the rate "
            f"stays at least {at_least(proof.margin_rate)}."
        )
    if proof is not None and proof.rounding is not None:
        text += (
            f" From states in the box, rounding never moves a potential by more than "
            f"{at_most(proof.rounding)}."
        )
    return text


def _unit_of(content: Content) -> str:
    unit, elapsed = content.subject.time_unit, content.subject.elapsed
    return unit if elapsed == 1 else plural(unit)


def warnings(content: Content) -> list[str]:
    """Return what a reader must know before believing a word: preconditions that fail."""
    return [
        precondition.sentence for precondition in content.preconditions if not precondition.holds
    ]


def _contraction(content: Content) -> Verdict:
    proof, unit = content.contraction, f"per {content.subject.time_unit}"
    topic = ("certificate", "Does it forget where it began?")
    if proof is None:
        return _unexamined(*topic, content.skipped.get("contraction", ""))
    rate = at_least(proof.rate)
    if proof.certified and proof.rate:
        halving = math.log(2) / proof.rate
        validity = (
            "for any inputs whatever"
            if proof.level == "exact"
            else "for all inputs in the range, in the box that every trajectory enters or tends to"
        )
        many = plural(content.subject.time_unit)
        sentence = (
            "Differences between two trajectories of the differential equation under the same "
            f"input halve at least every {at_most(halving)} {many}, {validity}; measured in "
            f"weights that differ by a factor of {at_most(proof.overshoot)}. "
            f"{_of_the_step(content)}{_of_the_margins(content)}"
        )
        details = _transient(content)
        status: Status = "certified"
        evidence, headline, wrong = proof.evidence, "Certified to contract", misbehaviour(content)
        if wrong:
            sentence += f" What is said of the equation is {evidence}."
            status, evidence, headline = "uncertified", MEASURED, f"The steps that ran {wrong}"
            unit += ", of the differential equation"
        elif proof.kappa is None:
            headline += ", but of the differential equation only"
        return Verdict(*topic, status, evidence, headline, rate, unit, sentence, details)
    unit = f"{unit}, expected above 0" if rate != number(None) else ""
    headline, evidence, found = "Not certified", NOT_CERTIFIED, against(content)
    ending = "Not certified does not mean unstable."
    if found:
        headline = "No certificate can exist"
        evidence = EVIDENCE["float"] if refutation(content) else SEARCHED
        ending = f"There is no certificate on this range: {found}."
    sentence = f"The method gives no positive rate: {proof.reason}. {ending}"
    figure = "" if proof.rate is None else rate
    return Verdict(*topic, "uncertified", evidence, headline, figure, unit, sentence)


def _transient(content: Content) -> tuple[tuple[str, str], ...]:
    """Return the rate per second, and what differences may do before they shrink for certain."""
    proof, subject = content.contraction, content.subject
    if proof is None:
        return ()
    seconds, many = subject.seconds, plural(subject.time_unit)
    again = in_seconds(proof.break_even, seconds, at_most)
    return (
        ("The same rate", per_second(proof.rate, seconds, at_least) or NO_SECONDS),
        (
            "Overshoot",
            f"at most {at_most(proof.overshoot)} times the first difference, in the maximum norm",
        ),
        (
            "Break-even time",
            f"at most {at_most(proof.break_even)} {many}{f' = {again}' if again else ''}, after "
            "which every difference is smaller than it began",
        ),
    )


def _task(content: Content) -> Verdict:
    task = content.task
    topic = ("task", "Is it better than simple predictions?")
    if task is None:
        return _unexamined(*topic, content.skipped.get("task", ""), "Not recorded")
    worst = max(task.scores, key=lambda score: len(score.unbeaten))
    best = worst.best
    unit = f"{worst.measure} of {worst.target}"
    if best is not None:
        unit += f"; best simple prediction, {best}: {number(worst.baselines[best])}"
    count = len(task.scores)
    if not task.compared:
        headline = "Not compared"
        sentence = f"On {task.part}. Simple predictions for comparison are not recorded"
    elif task.beaten_by:
        failed = sum(bool(score.unbeaten) for score in task.scores)
        headline = f"Does not beat: {', '.join(task.beaten_by)}"
        where = "" if count == 1 else f", at {failed} of {count} targets"
        sentence = (
            f"On {task.part}, the circuit does not beat {_listed(task.beaten_by)}{where}: a simple "
            "prediction does as well or better, and no statement on stability makes up for that"
        )
    else:
        headline = "Better than all of them"
        sentence = f"On {task.part}, the circuit beats {_listed(tuple(worst.baselines))}"
        sentence += f" at all {count} targets" if count > 1 else ""
    figure = number(worst.circuit)
    return Verdict(*topic, "measured", MEASURED, headline, figure, unit, f"{sentence}.")


def _listed(names: tuple[str, ...]) -> str:
    """Return names of simple predictions in a sentence."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _bounds(content: Content) -> Verdict:
    boxes = content.boxes
    topic = ("boxes", "Do its potentials stay bounded?")
    if boxes is None:
        return _unexamined(*topic, content.skipped.get("boxes", ""))
    interval = f"{at_least(float(boxes.box_lo.min()))} to {at_most(float(boxes.box_hi.max()))}"
    proof = content.contraction
    of_steps = content.subject.solver == "semi_implicit" or (
        proof is not None and proof.kappa is not None
    )
    moved = "the differential equation and by the steps that run"
    sentence = (
        "Once every potential is in its interval of the box, it is kept there by "
        f"{moved if of_steps else 'the differential equation'} for all inputs in the range."
    )
    if boxes.count > 1:
        sentence += (
            " In the differential equation they are from the first box in the last within "
            f"{at_most(boxes.entry_time)} {plural(content.subject.time_unit)}."
        )
    if not of_steps:
        sentence += (
            f" Nothing is proved of the steps that run, those of {content.subject.solver!r}."
        )
    wrong = misbehaviour(content)
    if wrong:
        headline = f"The steps that ran {wrong}"
        sentence += f" What is said of the equation is {boxes.evidence}."
        return Verdict(
            *topic, "uncertified", MEASURED, headline, interval, "potential, the box", sentence
        )
    headline = "Bounded, for certain"
    headline += "" if of_steps else ", but of the differential equation only"
    return Verdict(*topic, "certified", boxes.evidence, headline, interval, "potential", sentence)


def _ceiling(content: Content) -> Verdict:
    ceiling, unit = content.ceiling, f"per {content.subject.time_unit}"
    topic = ("ceiling", "How much better could any proof be?")
    if ceiling is None:
        return _unexamined(*topic, content.skipped.get("ceiling", ""))
    count = f"{ceiling.samples:,} sampled states of the box"
    if ceiling.refutes:
        headline, figure = "A counterexample stands in the box", number(ceiling.abscissa)
        sentence = (
            f"Of {count}, at least one has a growing mode. No norm certifies this box; a smaller "
            "range of inputs or a smaller box may still be certified."
        )
        return Verdict(*topic, "uncertified", SAMPLED, headline, figure, unit, sentence)
    headline, figure = "No proof on this box exceeds it", at_most(ceiling.rate)
    sentence = (
        f"The slowest mode found in {count} decays at this rate. None of these has a growing mode, "
        "which proves nothing about the others."
    )
    proof = content.contraction
    if proof is not None and proof.certified and proof.best_rate is not None and ceiling.rate > 0:
        share = min(proof.best_rate / ceiling.rate, 1.0)
        sentence += f" The best rate that was proved reaches {number(100 * share)} % of this."
    return Verdict(*topic, "measured", SAMPLED, headline, figure, unit, sentence)


def _exponents(content: Content) -> Verdict:
    exponents = content.exponents
    topic = ("exponents", "What happened to small differences?")
    wrong = content.activity.diverged is not None and misbehaviour(content)
    if exponents is None and wrong:
        headline = "They left the finite numbers"
        return Verdict(
            *topic, "uncertified", MEASURED, headline, "", "", f"The steps that ran {wrong}."
        )
    if exponents is None:
        return _unexamined(*topic, content.skipped.get("exponents", ""))
    largest, error = float(exponents.values[0]), float(exponents.errors[0])
    seen = content.attractors
    headline, meaning = _told(exponents, alone=seen is None or len(seen.shown) == 1)
    where = described(exponents.attractors, exponents.members, exponents.diverged, content)
    sentence = (
        f"{meaning} Over {exponents.steps:,} steps, {where}. This is about the inputs that were "
        "used, and is no proof."
    )
    if not exponents.converged:
        sentence += " The estimate has not converged to its tolerance."
    figure, unit = f"{number(largest)} ± {number(error, 2)}", "per step (largest Lyapunov exponent)"
    if len(exponents.attractors) > 1:
        others = [number(each.exponent) for each in exponents.attractors[1:_SHOWN_EXPONENTS]]
        unit += f", the least stable; of the others {', '.join(others)}"
    return Verdict(*topic, "measured", MEASURED, headline, figure, unit, sentence)


def _told(exponents: Exponents, *, alone: bool) -> tuple[str, str]:
    """Return a headline and a sentence on small differences, and on states that began apart.

    `alone` says whether one attractor was found under the mean input.
    """
    first, several = exponents.attractors[0], len(exponents.attractors) > 1
    whole = not several and not exponents.diverged
    if first.sign == "+" and first.kind == "aperiodic":
        return "They grew", "States under these inputs parted but stayed bounded, as in chaos."
    if first.sign == "+":
        return "They grew", "Small differences grew, and the states did not settle."
    if first.sign == "0" and first.kind == "cycle":
        return (
            "They stayed: it oscillates",
            "On a cycle a difference in phase neither grows nor shrinks.",
        )
    if first.sign == "0":
        return (
            "Undecided: zero is in the error bar",
            "Whether small differences grow or shrink cannot be told from this run; on an "
            "oscillation they do neither.",
        )
    if whole and alone and first.kind in ("response", "equilibrium"):
        return "They shrank", "All initial states under these inputs approached each other."
    if several:
        return (
            "Small ones shrank, but states ended apart",
            "Where a state ended depends on where it began.",
        )
    if whole and not alone:
        return (
            "Small ones shrank",
            "These initial states ended together; under the mean input others ended elsewhere.",
        )
    return "They shrank", "Small differences shrank."


def _equilibria(content: Content) -> Verdict:
    search = content.equilibria
    topic = ("equilibria", "Where does it end under a constant input?")
    if search is None:
        return _unexamined(*topic, content.skipped.get("equilibria", ""))
    attracting = sum(equilibrium.linearised == "attracting" for equilibrium in search.shown)
    found = f"{search.count} {'equilibrium' if search.count == 1 else 'equilibria'}"
    headline, ended = endings(content)
    others = (
        "There must be others that were not found, since the indices do not add up."
        if search.surely_incomplete
        else "There may be others."
    )
    proof = content.contraction
    if proof is not None and proof.certified and search.count == 1 and inside_range(content):
        others = "The certificate leaves room for no other."
    sentence = (
        f"Newton's method found {found} of the differential equation from {search.starts:,} starts "
        f"under the mean input. {others} {ended}"
    ).rstrip()
    unit = f"of {len(search.shown)} equilibria attracting, by linearisation"
    headline = headline or f"{found} found"
    return Verdict(*topic, "measured", SEARCHED, headline, f"{attracting}", unit, sentence)


def _horizon(content: Content) -> Verdict:
    proof, exponents = content.contraction, content.exponents
    topic = ("horizon", "How far back do gradients reach?")
    steps = ""
    if exponents is not None and exponents.signs[0] == "-":
        steps = number(-1.0 / float(exponents.values[0]))
    if proof is not None and proof.certified and proof.horizon is not None:
        sentence = (
            "A gradient carried back through time has fallen to 1/e after this many steps at the "
            "latest, in the certificate's weights, if each step lasts "
            f"{number(content.subject.elapsed)}."
        )
        if steps:
            sentence += f" In the run it took about {steps} steps on average."
        headline, figure = "Gradients fade, for certain", at_most(proof.horizon)
        unit = "steps to 1/e, at most"
        return Verdict(*topic, "certified", proof.evidence, headline, figure, unit, sentence)
    wrong = content.activity.diverged is not None and misbehaviour(content)
    if exponents is None and not wrong:
        return _unexamined(*topic, content.skipped.get("exponents", ""))
    headline, unit = "No horizon was seen", ""
    sentence = "Small differences were not seen to decay for certain, so neither were gradients."
    if steps:
        headline, unit = "Gradients faded in this run", "steps to 1/e"
        sentence = (
            "The inverse of the largest Lyapunov exponent: how many steps it took, on average, "
            "until a small difference, and so a gradient, had fallen to 1/e. No bound was proved."
        )
    return Verdict(*topic, "measured", MEASURED, headline, steps, unit, sentence)


def _gain(content: Content) -> Verdict:
    proof = content.contraction
    topic = ("gains", "How far can an error of the inputs carry?")
    if proof is None or proof.gain is None:
        reason = (
            "A bound follows from a certificate, and there is none."
            if proof is None or not proof.certified
            else "The bound could not be computed in double precision."
        )
        return Verdict(*topic, "unexamined", NOT_EXAMINED, "No bound known", "", "", reason)
    read = content.circuit.wiring.outputs
    worst = int(read[proof.gain[read].argmax()])
    useful = _useful_input_error(content, worst)
    headline = "Bounded, for certain" if useful >= _LOOSE else "Bounded, but loosely"
    if content.subject.solver != "semi_implicit":
        headline += ", and of the differential equation only"
    status: Status = "certified"
    evidence, wrong = proof.evidence, misbehaviour(content)
    if wrong:
        status, evidence, headline = "uncertified", MEASURED, f"The steps that ran {wrong}"
    figure, unit = at_most(float(proof.gain[worst])), "potential per unit of input"
    sentence = (
        "In the differential equation, inputs in the range that are off by 1 at all times, in any "
        f"way, move the output neuron {content.names[worst]} by no more than this. It says more "
        f"than the box does for errors below {at_least(useful)}."
    )
    if wrong:
        unit += ", of the differential equation"
        sentence += f" What is said of the equation is {proof.evidence}."
    return Verdict(*topic, status, evidence, headline, figure, unit, sentence)


def _useful_input_error(content: Content, neuron: int) -> float:
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
    if history.rewired:
        others += (
            f" {history.churn:.0%} of the cuts hit a synapse that had grown; "
            f"{history.grown_share:.0%} of the circuit has grown, net of what was cut again."
        )
    if history.pruned:
        others += f" {history.pruned:,} synapses were pruned for good."
    headline, sentence = "Edits were not guarded", f"No certificate watched over them. {others}"
    if history.judged and history.least_slack is not None:
        headline = "Edits were guarded"
        sentence = (
            f"{history.judged:,} edits were judged by a certificate's guard; the least slack of a "
            f"row after an edit that happened was {number(history.least_slack)}. {others}"
        )
    elif not history.edits:
        headline, sentence = "Nothing was rewired", "The ledger is empty."
    return Verdict(*topic, "measured", RECORDED, headline, count, unit, sentence)


def _unexamined(name: str, question: str, reason: str, headline: str = "Not examined") -> Verdict:
    return Verdict(
        name, question, "unexamined", NOT_EXAMINED, headline, "", "", sentence_of(reason)
    )
