"""Where the steps that run end, in words; and what that says of a proof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elegans.reporting.stability.content import Attractor, Content
from elegans.reporting.wording import at_least, number, plural

_BEYOND = 1e-6
"""Share of its size by which a box may be left before it counts: the activity may be in float32."""


def inside_range(content: Content) -> bool:
    """Whether the mean input is one that the statements are about."""
    subject, search = content.subject, content.equilibria or content.attractors
    if search is None:
        return False
    lowest, highest = np.array(subject.input_lo), np.array(subject.input_hi)
    return bool(((lowest <= search.inputs) & (search.inputs <= highest)).all())


def misbehaviour(content: Content) -> str:
    """Return what the steps that ran did and the differential equation cannot; nothing mostly."""
    activity, boxes = content.activity, content.boxes
    if activity.diverged is not None:
        return f"left the finite numbers at time {number(activity.diverged)}"
    if boxes is None:
        return ""
    lowest, highest = np.minimum(boxes.hull_lo, 0.0), np.maximum(boxes.hull_hi, 0.0)
    slack = _BEYOND * float(max(np.abs(lowest).max(), np.abs(highest).max()))
    beyond = (activity.state_lo < lowest - slack) | (activity.state_hi > highest + slack)
    if not beyond.any():
        return ""
    extremes = activity.state_lo, activity.state_hi
    worst = max((float(value) for ends in extremes for value in ends), key=abs)
    return f"left the box, up to a potential of {number(worst)}"


def witness(content: Content) -> str:
    """Return what was found that no contracting circuit has, as a clause; nothing mostly."""
    search, seen = content.equilibria, content.attractors
    if not inside_range(content):
        return ""
    if search is not None:
        kinds = [rest.linearised for rest in search.shown]
        if len(kinds) - kinds.count("undecided") > 1:  # near a fold, one may be found as two
            which = f"{search.count} equilibria, {kinds.count('attracting')} of them attracting,"
            return f"{which} were found under the mean input"
    synapses = content.circuit.wiring.recurrent
    own = (np.array(synapses.source) == np.array(synapses.target)).any()
    own |= bool(content.circuit.wiring.gap_junction_count)  # a rectifying one reads both its ends
    # Other steps, and those of a neuron that reads itself, may do what the equation does not.
    if seen is None or content.subject.solver != "semi_implicit" or own:
        return ""
    settled = [each for each in seen.shown if each.kind in ("equilibrium", "cycle")]
    if len(settled) > 1:
        return f"under the mean input its steps ended on {len(settled)} different attractors"
    if settled and settled[0].kind == "cycle":
        return f"under the mean input its steps oscillate with a {_period(settled[0], content)}"
    return ""


def refutation(content: Content) -> str:
    """Return what is proved that no contracting circuit has, as a clause; nothing mostly."""
    proof, unit = content.contraction, content.subject.time_unit
    if proof is None:
        return ""
    if proof.gap is not None:
        return (
            "two boxes that no trajectory leaves are at least "
            f"{at_least(proof.gap)} apart at neuron {proof.gap_at!r}"
        )
    if proof.growth is not None:
        return (
            "an equilibrium has a mode that grows at a rate of at least "
            f"{at_least(proof.growth)} per {unit}"
        )
    return ""


def against(content: Content) -> str:
    """Return why there is no certificate, found or proved, as a clause and more; nothing mostly."""
    found, proved = witness(content), refutation(content)
    if found and proved:
        return f"{found}. The proof: {proved}"
    return found or proved


def endings(content: Content) -> tuple[str, str]:
    """Return a headline and a sentence on where the steps end under the mean input."""
    seen = content.attractors
    if seen is None:
        return "", ""
    kinds = [each.kind for each in seen.shown]
    rests, cycles = kinds.count("equilibrium"), [e for e in seen.shown if e.kind == "cycle"]
    parts = []
    if rests:
        parts.append("one state" if rests == 1 else f"one of {rests} states")
    parts += [f"an oscillation with a {_period(each, content)}" for each in cycles[:3]]
    if len(cycles) > 3:
        parts.append(f"{len(cycles) - 3} more oscillations")
    if "aperiodic" in kinds:
        parts.append("a motion in which no period was found")
    headline = f"Ends in {' or '.join(parts)}" if parts else "No end was seen"
    if not parts and _grown(content):
        headline = "The steps leave the box"
    if seen.diverged == seen.starts:
        headline = "The steps diverge"
    elif seen.diverged:
        headline += ", or diverges"
    return headline, (
        f"Under the mean input, {described(seen.shown, seen.starts, seen.diverged, content)} "
        f"(measured over {number(seen.time)} {plural(content.subject.time_unit)}, unfold by "
        "unfold)."
    )


def _grown(content: Content) -> bool:
    """Whether steps that settle nowhere are far outside the box that holds for any input."""
    seen, boxes = content.attractors, content.boxes
    if seen is None or boxes is None:
        return False
    size = 10 * max(1.0, float(np.abs([boxes.hull_lo, boxes.hull_hi]).max()))
    return any(
        each.kind == "unsettled" and float(np.abs([each.lo, each.hi]).max()) > size
        for each in seen.shown
    )


def described(attractors: Sequence[Attractor], starts: int, diverged: int, content: Content) -> str:
    """Return how many starts ended where, as a clause."""
    words = {
        "equilibrium": "came to rest in {}",
        "cycle": "settled on {}",
        "response": "ended on {}",
        "aperiodic": "kept moving without a period that was found",
        "unsettled": "settled on no attractor",
    }
    clauses = []
    for kind, phrase in words.items():
        chosen = [each for each in attractors if each.kind == kind]
        if not chosen:
            continue
        count = sum(each.starts for each in chosen)
        what = {
            "equilibrium": "one state" if len(chosen) == 1 else f"{len(chosen)} different states",
            "cycle": f"an oscillation with a {_period(chosen[0], content)}"
            if len(chosen) == 1
            else f"{len(chosen)} different oscillations",
            "response": "one trajectory"
            if len(chosen) == 1
            else f"{len(chosen)} different trajectories",
        }.get(kind, "")
        clauses.append(f"{count} of {starts} starts {phrase.format(what)}")
    if diverged:
        clauses.append(f"{diverged} of {starts} starts left the finite numbers")
    return ", ".join(clauses[:-1]) + " and " * (len(clauses) > 1) + clauses[-1] if clauses else ""


def _period(attractor: Attractor, content: Content) -> str:
    subject = content.subject
    return f"period of {number(attractor.period)} {plural(subject.time_unit)}"
