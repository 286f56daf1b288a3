"""Certificate, boxes and ceiling of a circuit under a range of inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elegans.ltc.layer import LTC
from elegans.proofs import (
    Certificate,
    ContractionBound,
    NotCertified,
    SeparateBoxes,
    certify,
    refute_contraction,
)
from elegans.proofs.certificates.advice import binding_row
from elegans.proofs.certificates.boxes import time_constant_range
from elegans.proofs.certificates.ceiling import sampled_ceiling
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.certificates.perron import Components, best_rates
from elegans.proofs.certificates.region import Region, region_of, rows_of
from elegans.proofs.certificates.stepping import SOLVERS
from elegans.proofs.dynamics.transients import norm_overshoot
from elegans.proofs.margins.parameters import parameter_margin
from elegans.proofs.margins.rounding import PRECISIONS, rounding_bound
from elegans.reporting.stability.content import (
    EVIDENCE,
    NOT_CERTIFIED,
    Boxes,
    Ceiling,
    Component,
    Contraction,
    Level,
    Precondition,
    Prune,
    Pull,
)
from elegans.reporting.stability.stimulus import Stimulus

_COMPONENTS = 8
_NAMED = 6
_LARGEST_CEILING = 400
_LARGEST_REFUTED = 200


def check_preconditions(
    model: LTC, network: Network | None, stimulus: Stimulus
) -> list[Precondition]:
    """Return what the proofs ask for, and whether it is so."""
    cell, preconditions = model.cell, []

    def note(name: str, holds: bool | np.bool_, yes: str, no: str) -> None:
        preconditions.append(Precondition(name, bool(holds), yes if holds else no))

    note(
        "memory",
        model.memory is None,
        "The state is that of the neurons alone; there is no memory cell.",
        "A memory cell changes the state between the steps, and nothing is proved of it.",
    )
    if network is not None:
        weights = np.concatenate([network.recurrent.weight, network.sensory.weight])
        if cell.electrical is not None:
            weights = np.append(weights, cell.electrical.strength().cpu().double().numpy())
        note(
            "signs",
            (weights >= 0).all() and (network.leak >= 0).all() and (network.capacitance > 0).all(),
            "All conductances are at least 0 and all capacitances above 0.",
            "A conductance or capacitance has the wrong sign.",
        )
        note(
            "leak",
            (network.leak + network.epsilon > 0).all(),
            f"Every neuron leaks; the extra conductance epsilon is {network.epsilon:g}.",
            "A neuron has no leak, so nothing holds it when its gates are closed.",
        )
    outside = stimulus.outside()
    note(
        "inputs",
        outside == 0,
        "All inputs of the data lie in the range that the statements are about.",
        f"{100 * outside:.3g} % of the steps have an input outside the range, where nothing is "
        "proved.",
    )
    note(
        "step",
        cell.solver.name in SOLVERS,
        f"The solver is {cell.solver.name!r}, for whose step a proof is looked for as well.",
        f"The solver is {cell.solver.name!r}: the proofs are about the differential equation, "
        "and not about its step.",
    )
    return preconditions


def prove(
    model: LTC, network: Network, stimulus: Stimulus, level: str
) -> tuple[Contraction, Boxes | None, Box | None]:
    """Return the certificate or its refusal, the boxes, and the box that the certificate is about.

    What is proved holds for the range of the inputs; there are no boxes where preconditions fail.
    """
    given = (stimulus.range.lo, stimulus.range.hi)
    outcome = certify(model, given, level, elapsed=stimulus.elapsed)
    assert not isinstance(outcome, ContractionBound)  # the report is of liquid circuits alone
    if isinstance(outcome, NotCertified) and outcome.rate is None:
        return Contraction(level, NOT_CERTIFIED, False, outcome.reason, []), None, None
    region = region_of(network, network.range_of(given), level)
    rows = rows_of(network, region, level)
    components = best_rates(rows, tolerance=1e-4)
    wiring = model.wiring
    names = wiring.names
    levels = [Level(level, bool(outcome), outcome.rate)]
    if level != "exact":
        exact = certify(model, given, "exact", elapsed=stimulus.elapsed, advice=False)
        levels.append(Level("exact", bool(exact), exact.rate))
    alone = components.sizes == 1
    common: dict[str, Any] = {
        "levels": levels,
        "components": [
            _component(rows, components, int(c), names)
            for c in np.argsort(components.rate, kind="stable")
            if components.sizes[c] > 1
        ][:_COMPONENTS],
        "singles": int(alone.sum()),
        "singles_rate": float(components.rate[alone].min()) if alone.any() else None,
    }
    box = region.box
    if isinstance(outcome, Certificate):
        box = outcome.box
        figures, margin = outcome.figures, parameter_margin(outcome, rows=False)
        bound = None
        if (precision := str(model.cell.dtype).removeprefix("torch.")) in PRECISIONS:
            bound = rounding_bound(outcome, precision)
        contraction = Contraction(
            level,
            EVIDENCE[level],
            True,
            "",
            **common,
            rate=outcome.rate,
            best_rate=outcome.best_rate,
            method_ceiling=figures.ceiling,
            overshoot=figures.overshoot,
            break_even=figures.break_even,
            euclidean_overshoot=(euclidean := norm_overshoot(outcome.eta, "2")),
            euclidean_break_even=math.log(euclidean) / outcome.rate,
            entry_time=figures.entry_time,
            kappa=figures.kappa,
            horizon=figures.horizon,
            fingerprint=outcome.fingerprint,
            margin=margin.delta,
            margin_rate=margin.rate,
            weakest=names[margin.weakest],
            rounding=None if bound is None else bound.potential,
            eta=outcome.eta,
            gain=outcome.gain,
        )
    else:
        radius, against = outcome.local_box, None
        if len(network) <= _LARGEST_REFUTED:
            against = refute_contraction(model, given)
        if isinstance(against, SeparateBoxes):
            common |= {"gap": against.gap, "gap_at": names[against.neuron]}
        elif against is not None:
            common["growth"] = against.growth
        contraction = Contraction(
            level,
            NOT_CERTIFIED,
            False,
            _with_names(outcome, names),
            **common,
            rate=outcome.rate,
            largest_scale=outcome.largest_scale,
            local_radius=None if radius is None else np.array(radius),
            local_rate=outcome.local_rate,
            prune_first=[
                Prune(
                    names[synapse["source"]],
                    names[synapse["target"]],
                    synapse["weight"],
                    synapse["gain_per_conductance"],
                )
                for synapse in outcome.prune_first
            ],
        )
    # The verifier checks the boxes of a certificate; otherwise they are those of double precision.
    evidence = EVIDENCE[level if outcome else "float"]
    return contraction, _boxes(network, region, box, evidence), box


def search_ceiling(network: Network, box: Box, stimulus: Stimulus, seed: int) -> Ceiling | None:
    """Return the worst state found in the box, None for a circuit too large to search."""
    n = len(network)
    if n > _LARGEST_CEILING:
        return None
    worst = sampled_ceiling(
        network,
        box,
        (stimulus.range.lo, stimulus.range.hi),
        samples=256 if n <= 40 else 64 if n <= 100 else 8,
        rounds=12 if n <= 100 else 3,
        seed=seed,
    )
    return Ceiling(
        worst.abscissa, worst.rate, worst.refutes, worst.samples, worst.state, worst.inputs
    )


def _boxes(network: Network, region: Region, box: Box, evidence: str) -> Boxes:
    first = region.boxes[0]
    tau = time_constant_range(network, region.gates)
    return Boxes(
        evidence,
        first.lo,
        first.hi,
        box.lo,
        box.hi,
        len(region.boxes),
        region.entry_time,
        tau.lo,
        tau.hi,
    )


def _component(rows: Rows, components: Components, label: int, names: Sequence[str]) -> Component:
    """Return a component with the row that binds in it."""
    # All others are made fast, so that this one is the slowest.
    rate = np.where(np.arange(len(components.rate)) == label, components.rate, np.inf)
    binding, synapses = binding_row(rows, replace(components, rate=rate))
    neurons = np.flatnonzero(components.of == label)
    return Component(
        len(neurons),
        float(components.rate[label]),
        [names[int(neuron)] for neuron in neurons],
        names[binding],
        [
            Pull(names[synapse["source"]], names[synapse["target"]], synapse["share"])
            for synapse in synapses[:_NAMED]
        ],
    )


def _with_names(refusal: NotCertified, names: Sequence[str]) -> str:
    """Return the reason of a refusal with the name of the neuron that binds."""
    reason = refusal.reason.replace(" -", " −")  # a true minus sign
    if refusal.binding is None:
        return reason
    return reason.replace(f"neuron {refusal.binding} binds", f"{names[refusal.binding]} binds")
