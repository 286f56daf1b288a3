"""Statements about a circuit that an export carries along, as plain sentences."""

from __future__ import annotations

import re

import numpy as np
import torch

from elegans.control.policy import Policy
from elegans.errors import InputError, RunError
from elegans.export.portable import Model, Portable
from elegans.layers.readout import circuit_of
from elegans.proofs.certificates.network import SLACK, Network
from elegans.proofs.margins.formats import format_margin
from elegans.proofs.margins.parameters import parameter_margin
from elegans.proofs.margins.rounding import rounding_bound
from elegans.proofs.verify import EQUATION_ONLY, at_least, at_most, down
from elegans.synapses.plain import ELECTRICAL

KINDS = {
    "liquid": "liquid time-constant circuit",
    "rates": "continuous-time recurrent circuit",
    "closed_form": "closed-form continuous-time circuit",
    "dense_closed_form": "dense closed-form continuous-time network",
}
"""What the equations are called."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would end a line that a name of a column stands in."""


def statement(
    circuit: Portable, precision: str | None = None, *, quotient: bool = False
) -> dict[str, str]:
    """Return what is to be known of a circuit by the name of the subject.

    Subjects are kind, size, solver (of a differential equation), inputs, outputs, time, and
    certificate, range, margin and rounding where there is one. `precision` is that in which the
    written program computes a step, None where nothing is known of its rounding; for `quotient` see
    `rounding_bound`.
    """
    step, integration = circuit.step, circuit.integration
    rows = {"kind": KINDS[step.equation], "size": f"{circuit.state_size} neurons"}
    chemical = {name: slots for name, slots in step.synapses.items() if name != ELECTRICAL}
    counts = [f"{len(slots)} {name}" for name, slots in chemical.items() if len(slots)]
    if step.synapses:
        rows["size"] += f", synapses: {', '.join(counts) or 'none'}".replace("_", " ")
    if ELECTRICAL in step.synapses:
        rows["size"] += f", gap junctions: {junction_count(circuit)}"
    if integration is not None:
        unfolds = f"{integration.unfolds} step" + "s" * (integration.unfolds > 1)
        rows["solver"] = f"{unfolds} of {integration.solver} for each step of the sequence"
    rows["inputs"] = ", ".join(circuit.input_names)
    rows["outputs"] = ", ".join(circuit.output_names)
    lasting = "as long as each call says" if circuit.elapsed is None else f"{circuit.elapsed:g}"
    rows["time"] = f"a step lasts {lasting}; what counts as 1 for the circuit is {circuit.unit:g}"
    certificate = circuit.certificate
    if certificate is not None and circuit.certified is not None:
        rows["certificate"] = (
            "two states under the same inputs approach each other at least as exp(-rate t), "
            f"rate {at_least(down(certificate.rate / circuit.unit))}, checked at level "
            f"{certificate.level}, network {certificate.fingerprint}{_of_step(circuit)}"
        )
        to_it = "are brought to it" if circuit.clamp is not None else "beyond are taken as they are"
        rows["range"] = f"it holds for {_ranges(circuit, *circuit.certified)}; inputs {to_it}"
        margin = parameter_margin(certificate, rows=False)
        if margin.delta > 0:
            rate = at_least(down(margin.rate / circuit.unit))
            rows["margin"] = (
                f"all parameters may change by up to {at_least(100 * margin.delta, 3)} % at once, "
                f"and the rate stays at least {rate}"
            )
            places = format_margin(certificate).places
            if places is not None:
                rows["margin"] += f"; so it does with parameters rounded to {places} binary places"
        rows["rounding"] = _of_rounding(circuit, precision, quotient)
    return {subject: CONTROL.sub(" ", words) for subject, words in rows.items()}


def junction_count(circuit: Portable) -> int:
    """Return the number of gap junctions, of which each stands twice in a plain step."""
    return len(circuit.step.synapses.get(ELECTRICAL, ())) // 2


def step_factor(circuit: Portable) -> float | None:
    """Return by what a step as it is written shrinks distances, None where it is not proved."""
    certificate, integration = circuit.certificate, circuit.integration
    step = None if certificate is None else certificate.step
    if step is None or integration is None or circuit.time_step is None:
        return None
    length = circuit.time_step / integration.unfolds
    same = (integration.solver, integration.unfolds) == (step.solver, step.unfolds)
    if not same or not step.shortest <= length <= step.longest:
        return None
    return float((1 + SLACK) * step.kappa**step.unfolds)


def _of_rounding(circuit: Portable, precision: str | None, quotient: bool) -> str:
    """Return what is certain about the rounding of the steps that are written."""
    certificate, bound = circuit.certificate, None
    if certificate is not None and precision is not None and step_factor(circuit) is not None:
        kind, ends = np.dtype(precision), circuit.certified or ()
        if _is_held(certificate.network, kind):
            off = np.max([np.abs(end - circuit.origin) for end in ends], axis=0)
            seen = np.abs(circuit.factor) * (np.abs(circuit.origin) + 4 * off)
            error = float(np.finfo(kind).eps) * (seen + 3 * np.abs(circuit.shift))
            bound = rounding_bound(certificate, precision, mapping_error=error, quotient=quotient)
    if bound is None:
        return "is not part of what is certified"
    return (
        f"from states in the certified box, {precision} never moves a potential by more than "
        f"{at_most(bound.potential, 3)}, while inputs are of this kind and in the range"
    )


def _is_held(network: Network, kind: np.dtype[np.floating]) -> bool:
    """Whether floats of a kind are the parameters themselves."""
    values = [network.capacitance, network.leak, network.leak_potential]
    for synapses in (network.recurrent, network.sensory):
        values += [synapses.weight, synapses.gain, synapses.centre, synapses.potential]
    values += [] if network.electrical is None else [network.electrical.weight]
    return all(bool((each.astype(kind) == each).all()) for each in values)


def _of_step(circuit: Portable) -> str:
    factor = step_factor(circuit)
    if factor is None:
        return EQUATION_ONLY
    return f"; each step brings them nearer by the factor {at_most(factor)} or less"


def _ranges(circuit: Portable, low: np.ndarray, high: np.ndarray) -> str:
    ends = zip(circuit.input_names, low, high, strict=True)
    return ", ".join(
        f"{name} in [{at_most(least, 9)}, {at_least(most, 9)}]" for name, least, most in ends
    )


def tolerance(model: Model) -> float:
    """Return how far the recorded steps of a circuit may be off, by the precision it ran in."""
    layer = circuit_of(model.model if isinstance(model, Policy) else model)
    return min(max(1e-9, 1000 * torch.finfo(layer.cell.dtype).eps), 0.1)


def require_equal(error: float, allowed: float, what: str) -> None:
    """Raise `RunError` unless what was written computes what was recorded."""
    if not error <= allowed:
        raise RunError(
            f"got {what} whose outputs are off by {error:.2g} of their scale over the recorded "
            f"steps, expected {allowed:.2g} at most; the circuit may be chaotic, or its values "
            "beyond what the precision holds: compare them with elegans.Policy"
        )


def checked_name(name: str) -> str:
    """Return the name of files; raise `InputError` unless it is a word of letters and digits."""
    if not (isinstance(name, str) and name.isidentifier() and name.isascii()):
        raise InputError(
            f"got name={name!r}, expected a word of letters, digits and underscores that begins "
            "with a letter, as 'circuit'"
        )
    return name
