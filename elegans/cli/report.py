"""`elegans report`: stability report of a trained circuit as a page, JSON and pictures."""

from __future__ import annotations

import os
from dataclasses import replace

from elegans.checkpoints.saving import load_circuit
from elegans.cli.commands import Report
from elegans.cli.examined import ExaminedData, data_of_run, is_of_classes, origin_of_run
from elegans.cli.printing import print_files, print_table
from elegans.data.scale import STANDARDISER
from elegans.errors import ElegansError, RunError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.network import given_range
from elegans.reporting.stability import report
from elegans.reporting.stability.page import check_extra
from elegans.reporting.stability.stimulus import Stimulus, random_walk
from elegans.training import RunFolder
from elegans.training.run_folder import INITIAL_WIRING, LEDGER

PAGE = "report.html"


def run(command: Report) -> None:
    """Examine the circuit, write page, JSON and pictures, and print the verdicts."""
    check_extra()
    whole = load_circuit(command.run)
    model = circuit_of(whole)
    folder = RunFolder.open(command.run) if os.path.exists(command.run / INITIAL_WIRING) else None
    stimulus, own = _stimulus(command, folder, whole)
    recorded = folder is not None and (folder.path / LEDGER).exists()
    stability = report(
        model,
        stimulus,
        level=command.level,
        ledger=folder.ledger() if folder is not None and recorded else None,
        title=command.run.resolve().name,
        seed=command.seed,
        origin=origin_of_run(command.run, folder, None if own is None else own.files, command.seed),
        task=None if own is None else own.task(whole),
    )
    page = command.run / PAGE if command.out is None else command.out
    stability.save(page)
    stability.save_json(page.with_suffix(".json"))
    pictures = stability.save_figures(page.with_name(f"{page.stem}_figures"))
    print(stability.summary)
    print_table(
        {
            verdict.question: f"{verdict.headline} ({verdict.evidence})"
            for verdict in stability.verdicts
        }
    )
    names = [page.name, page.with_suffix(".json").name]
    print_files(page.parent, [*names, f"{pictures[0].parent.name}/ ({len(pictures)} pictures)"])


def _stimulus(
    command: Report, folder: RunFolder | None, whole: SequenceLayer | Readout
) -> tuple[Stimulus, ExaminedData | None]:
    """Return the data of the run, or a random walk in the range that was given and None."""
    reason = "a saved model has no data"
    model = circuit_of(whole)
    if folder is not None:
        try:
            own = data_of_run(folder, command.data)
        except ElegansError as error:
            # A file that was asked for by name must not be replaced silently.
            if command.data is not None or command.inputs is None:
                raise
            reason = str(error)
        else:
            stimulus = own.stimulus(answers=whole is model)
            if command.inputs is None:
                return stimulus, own
            box = given_range(command.inputs, model.input_size)
            lo, hi = command.inputs
            asked = f"The range of the inputs is the one that was asked for, {lo:g} to {hi:g}."
            return replace(stimulus, range=box, source=f"{stimulus.source} {asked}"), own
    if command.inputs is None:
        raise RunError(
            f"{command.run}: got no range of inputs, expected --inputs LOWEST HIGHEST "
            f"since {reason}"
        )
    walk = random_walk(command.inputs, model.input_size, seed=command.seed)
    if folder is None or not (folder.path / STANDARDISER).exists():
        return walk, None
    answers = whole is model and not is_of_classes(folder.config)
    return replace(walk, scales=folder.scales, answers=answers), None
