"""The content of a report, gathered part by part."""

from __future__ import annotations

import copy
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
from elegans.reporting.stability.content import (
    EVIDENCE,
    MEASURED,
    Activity,
    Boxes,
    Content,
    Subject,
    UserRange,
    UserRanges,
    WeightedWiring,
)
from elegans.reporting.stability.history import read_history
from elegans.reporting.stability.measuring import (
    measure_activity,
    measure_exponents,
    search_attractors,
    search_equilibria,
)
from elegans.reporting.stability.origin import NOT_RECORDED, Origin
from elegans.reporting.stability.proving import check_preconditions, prove, search_ceiling
from elegans.reporting.stability.stimulus import Stimulus
from elegans.reporting.stability.task import Task

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
    origin: Origin | None = None,
    task: Task | None = None,
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
    contraction = boxes = box = ceiling = equilibria = attractors = exponents = None
    if network is None:
        for part in ("boxes", "ceiling", "equilibria", "attractors", "exponents"):
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
        attractors = attempt("attractors", search_attractors, model, network, stimulus, seed)
        exponents = attempt("exponents", measure_exponents, model, stimulus, contraction, seed)
    if task is None:
        skipped["task"] = f"the error at the task is {NOT_RECORDED}"
    if stimulus.scales is None:
        skipped["ranges"] = f"the scales of the data are {NOT_RECORDED}"
    if ledger is None:
        skipped["history"] = "no ledger of edits was handed over"
    history = None if ledger is None else read_history(ledger, model.wiring)
    return Content(
        Origin.of(seed=seed) if origin is None else origin,
        _subject(model, stimulus, title),
        task,
        _user_ranges(model, stimulus, activity, boxes),
        check_preconditions(model, network, stimulus),
        _circuit(model),
        activity,
        spectra,
        boxes,
        contraction,
        ceiling,
        equilibria,
        attractors,
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
        seconds=stimulus.seconds,
        elapsed=stimulus.elapsed,
        data=stimulus.source,
        synthetic=stimulus.synthetic,
        sequences=len(stimulus.sequences),
        steps=stimulus.steps,
        input_lo=stimulus.range.lo.tolist(),
        input_hi=stimulus.range.hi.tolist(),
    )


def _user_ranges(
    model: LTC, stimulus: Stimulus, activity: Activity, boxes: Boxes | None
) -> UserRanges | None:
    """Return the ranges in the units of the data, None where its scales are not known."""
    scales, wiring = stimulus.scales, model.wiring
    if scales is None:
        return None
    least, most = (scales.inputs.invert(end) for end in (stimulus.range.lo, stimulus.range.hi))
    inputs = [
        UserRange(name, lo, hi, "the range of the statements")
        for name, lo, hi in zip(wiring.sensory_names, least.tolist(), most.tolist(), strict=True)
    ]
    outputs: list[UserRange] = []
    mapping = copy.deepcopy(getattr(model.cell, "output_mapping", None))
    if stimulus.answers and mapping is not None:
        ranges = [(MEASURED, activity.state_lo, activity.state_hi)]
        if boxes is not None:
            ranges.insert(0, (boxes.evidence, boxes.box_lo, boxes.box_hi))
        for evidence, lowest, highest in ranges:
            ends = torch.from_numpy(np.stack([lowest, highest])[:, wiring.outputs])
            with torch.no_grad():  # a map may turn a range around
                answers = scales.targets.invert(mapping.double().cpu()(ends).numpy())
            outputs += [
                UserRange(wiring.names[i], float(column.min()), float(column.max()), evidence)
                for i, column in zip(wiring.outputs, answers.T, strict=True)
            ]
    return UserRanges(inputs, outputs)


def _circuit(model: LTC) -> WeightedWiring:
    """Return the wiring with the conductances that the layer computes with."""
    recurrent, sensory = map(line_widths, (model.cell.recurrent, model.cell.sensory))
    junctions = model.cell.electrical
    electrical = np.zeros(0) if junctions is None else line_widths(junctions)
    return WeightedWiring(model.wiring, recurrent, sensory, electrical)


def _check_parameters(model: LTC) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise InputError(
                f"got a parameter {name} that is not finite, expected finite numbers; load an "
                "earlier checkpoint"
            )
