"""`elegans predict`: the answers of a trained circuit to a file, as a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elegans.cli.commands import Predict
from elegans.cli.printing import error_text, print_table
from elegans.cli.run_data import RunData
from elegans.data import SequenceTable
from elegans.errors import RunError
from elegans.files import make_folder, write_bytes, writing
from elegans.reporting import draw_predictions, save_figure
from elegans.training import load_model, mean_squared_errors, predict


def run(command: Predict) -> None:
    """Write the predictions, draw them beside the truth where it is known, and print errors."""
    picture = command.out.with_suffix(".png")
    if command.out.suffix.lower() != ".csv":
        raise RunError(
            f"got predictions to be written to {command.out}, expected a name that ends in .csv; "
            "choose one"
        )
    if command.out.resolve() == command.data.resolve():
        raise RunError(
            f"got {command.out} as the data and as the place of the predictions, expected another; "
            "choose one, the data would be lost"
        )
    data = RunData.read(command.run, command.data)
    answers = predict(load_model(command.run), data.table.sequences, data.scales)
    names = data.target_names
    _write(command.out, data.table, names, answers, data.has_targets)
    save_figure(draw_predictions(data.table.sequences, names, answers, data.has_targets), picture)
    print(f"{command.data}: {len(data.table)} sequences, {sum(map(len, answers)):,} steps")
    if data.has_targets:
        errors = mean_squared_errors(answers, data.table.sequences)
        units = data.scales.targets.unit
        rows = zip(names, errors, units, strict=True)
        print_table({name: error_text(error, unit) for name, error, unit in rows})
    print(f"\n{command.out}, {picture}")


def _write(
    path: Path,
    table: SequenceTable,
    names: tuple[str, ...],
    answers: list[NDArray[np.float64]],
    has_targets: bool,
) -> None:
    """Write a row for each row of the file, in its order, whole or not at all."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    columns = ("measured", "predicted") if has_targets else ("predicted",)
    rows.writerow(["sequence", "step", *(f"{name} {kind}" for kind in columns for name in names)])
    for sequence, answer in zip(table, answers, strict=True):
        truth = sequence.targets if has_targets else np.empty((len(sequence), 0))
        for step, values in enumerate(np.concatenate([truth, answer], axis=1).tolist()):
            rows.writerow([sequence.name, step, *values])
    make_folder(path.parent)
    with writing(path):
        write_bytes(path, text.getvalue().encode())
