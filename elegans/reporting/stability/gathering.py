"""The content of a report, gathered part by part, the ledger with names among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
import torch

import elegans
from elegans.errors import ElegansError, InputError
from elegans.layers.capabilities import LiquidCircuit, cell_of, require
from elegans.layers.sequence_layer import SequenceLayer, line_widths
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.network import Network
from elegans.pruning import Edit
from elegans.pruning.ledger import PRUNED, REFUSED, REWIRED
from elegans.reporting.stability.content import (
    EVIDENCE,
    Content,
    EditLine,
    History,
    Subject,
    WeightedWiring,
)
from elegans.reporting.stability.measuring import (
    measure_activity,
    measure_exponents,
    search_equilibria,
)
from elegans.reporting.stability.proving import check_preconditions, prove, search_ceiling
from elegans.reporting.stability.stimulus import Stimulus
from elegans.wiring import Wiring

SLACKS = ("cut_slack_before", "cut_slack_after", "grown_slack_before", "grown_slack_after")
"""Notes of a certificate's guard on an edit: the slack of each of the two rows."""


def read_history(ledger: Iterable[Edit | Mapping[str, Any]], wiring: Wiring) -> History:
    """Return the edits of a circuit, or what `Edit.to_dict` made of them, with names.

    Raises `InputError` for a neuron that the circuit has not, `PruningError` for no edit.
    """
    edits, slacks = [], []
    for record in ledger:
        edit = record if isinstance(record, Edit) else Edit.from_dict(dict(record))
        kind = edit.synapses.rpartition(".")[2]
        sources = wiring.sensory_names if kind == "sensory" else wiring.names
        grown, where = edit.grown, edit.grown_synapses or edit.synapses
        origins = wiring.sensory_names if where.endswith("sensory") else wiring.names
        notes = edit.to_dict().get("notes", {})
        try:
            line = EditLine(
                edit.step,
                kind,
                sources[edit.source],
                wiring.names[edit.cut],
                None if edit.grown_source is None else origins[edit.grown_source],
                None if grown is None else wiring.names[grown],
                edit.polarity,
                edit.weight,
                edit.outcome,
                edit.age,
                notes,
            )
        except IndexError as error:
            raise InputError(
                f"got a ledger with {record!r}, expected neurons of this circuit of "
                f"{wiring.units} neurons; pass the ledger of the rewirer of this model"
            ) from error
        edits.append(line)
        if edit.outcome == REWIRED:
            slacks += [
                notes[name] for name in SLACKS if "after" in name and notes.get(name) is not None
            ]
    rewired = sum(edit.outcome == REWIRED for edit in edits)
    pruned = sum(edit.outcome == PRUNED for edit in edits)
    refused = sum(edit.outcome.startswith(REFUSED) for edit in edits)
    went = [edit.age for edit in edits if edit.outcome in (REWIRED, PRUNED)]
    ages = [age for age in went if age is not None]
    synapses = wiring.synapse_count + wiring.sensory_synapse_count
    return History(
        edits,
        rewired,
        pruned,
        len(edits) - rewired - pruned - refused,
        refused,
        sum(any(name in edit.notes for name in SLACKS) for edit in edits),
        min(slacks, default=None),
        len(ages) / max(1, len(went)),
        float(np.median(ages)) if ages else None,
        (rewired - len(ages)) / max(1, synapses),
    )


LARGEST = 5_000
"""Neurons of a circuit that a report takes."""

_Part = TypeVar("_Part")


def gather(
    model: SequenceLayer,
    stimulus: Stimulus,
    *,
    title: str,
    level: str = "interval",
    ledger: Iterable[Edit | Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> Content:
    """Return everything that a report says about a layer under a stimulus; see `report`.

    Raises `InputError` if the layer is of another kind, or a parameter is not finite.
    """
    require(cell_of(model), LiquidCircuit, "the stability report")
    model = cast(LTC, model)  # whose parameters the parts below read
    if level not in EVIDENCE:
        raise InputError(f"got level={level!r}, expected one of {tuple(EVIDENCE)}")
    if model.state_size > LARGEST:
        raise InputError(
            f"got {model.state_size:,} neurons, expected at most {LARGEST:,}: a page of more would "
            "show nothing; certify(model, inputs=(lo, hi)) takes any number"
        )
    _check_parameters(model)
    skipped: dict[str, str] = {}

    def attempt(part: str, make: Callable[..., _Part | None], *arguments: Any) -> _Part | None:
        """Return a part, or None with the reason noted: one that fails spoils no other."""
        try:
            result = make(*arguments)
        except ElegansError as error:
            skipped[part] = str(error)
            return None
        if result is None:
            skipped[part] = f"the circuit of {model.state_size:,} neurons is too large for this"
        return result

    activity, spectra = measure_activity(model, stimulus)
    if spectra is None:
        skipped["spectra"] = f"{model.state_size:,} neurons are too many for dense spectra"
    network = attempt("contraction", Network.of, model)
    contraction = boxes = box = ceiling = equilibria = exponents = None
    if network is None:
        for part in ("boxes", "ceiling", "equilibria", "exponents"):
            skipped[part] = skipped["contraction"]
    else:
        proof = attempt("contraction", prove, model, network, stimulus, level)
        if proof is not None:
            contraction, boxes, box = proof
        if box is None:
            skipped["boxes"] = skipped["ceiling"] = "the preconditions do not hold"
        else:
            ceiling = attempt("ceiling", search_ceiling, network, box, stimulus, seed)
        equilibria = attempt("equilibria", search_equilibria, model, stimulus.mean, seed)
        exponents = attempt("exponents", measure_exponents, model, stimulus, contraction, seed)
    if ledger is None:
        skipped["history"] = "no ledger of edits was handed over"
    history = None if ledger is None else read_history(ledger, model.wiring)
    return Content(
        _subject(model, stimulus, title),
        check_preconditions(model, network, stimulus),
        _circuit(model),
        activity,
        spectra,
        boxes,
        contraction,
        ceiling,
        equilibria,
        exponents,
        history,
        skipped,
    )


def _subject(model: LTC, stimulus: Stimulus, title: str) -> Subject:
    cell = model.cell
    return Subject(
        title=title,
        library=elegans.__version__,
        layer=type(model).__name__,
        neurons=model.state_size,
        inputs=model.input_size,
        outputs=model.output_size,
        synapses=model.synapse_count,
        sensory_synapses=model.sensory_synapse_count,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        precision=str(cell.dtype).removeprefix("torch."),
        solver=cell.solver.name,
        unfolds=cell.ode_unfolds,
        epsilon=cell.epsilon,
        time_unit=stimulus.time_unit,
        elapsed=stimulus.elapsed,
        data=stimulus.source,
        synthetic=stimulus.synthetic,
        sequences=len(stimulus.sequences),
        steps=stimulus.steps,
        input_lo=stimulus.range.lo.tolist(),
        input_hi=stimulus.range.hi.tolist(),
    )


def _circuit(model: LTC) -> WeightedWiring:
    """Return the wiring with the conductances that the layer computes with."""
    recurrent, sensory = map(line_widths, (model.cell.recurrent, model.cell.sensory))
    return WeightedWiring(model.wiring, recurrent, sensory)


def _check_parameters(model: LTC) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise InputError(
                f"got a parameter {name} that is not finite, expected finite numbers; load an "
                "earlier checkpoint"
            )
