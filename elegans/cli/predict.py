"""`elegans predict`: the answers of a trained circuit to a file, as a file."""

from __future__ import annotations

import os
from pathlib import Path

from elegans.cli.commands import Predict
from elegans.cli.printing import print_table
from elegans.cli.scoring import score_rows
from elegans.cli.table import files_in, label_of
from elegans.errors import RunError
from elegans.files import make_folder, write_bytes, writing
from elegans.reporting import draw_predictions, save_figure
from elegans.training import RunData


def run(command: Predict) -> None:
    """Write the predictions, draw them beside the truth where it is known, and print errors."""
    picture = command.out.with_suffix(".png")
    if command.out.suffix.lower() != ".csv":
        raise RunError(
            f"got predictions to be written to {command.out}, expected a name that ends in .csv; "
            "choose one"
        )
    files = list(files_in(command.data))
    with writing(command.out):
        out = Path(os.path.realpath(command.out))
    paths = [Path(os.path.realpath(path)) for path in files if os.path.exists(path)]
    if out in paths or (out.parent in paths and os.path.isdir(out.parent)):
        raise RunError(
            f"got {command.out} as the data and as the place of the predictions, expected another; "
            "choose one, the data would be lost"
        )
    data = RunData.read(command.run, files)
    sequences = data.table.sequences
    answers = data.answers()
    shown = data.shown(answers)
    make_folder(command.out.parent)
    with writing(command.out):
        write_bytes(command.out, data.frame(answers).to_csv(index=False).encode())
    names = data.reading.target_names
    save_figure(draw_predictions(sequences, names, shown, data.has_targets), picture)
    print(
        f"{label_of(command.data)}: {len(data.table)} sequences, {sum(map(len, answers)):,} steps"
    )
    if data.has_targets:
        print_table(score_rows(data.reading, data.scales, answers, sequences))
    print(f"\n{command.out}, {picture}")
