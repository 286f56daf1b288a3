"""`elegans predict`: the answers of a trained circuit to a file, as a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from elegans.cli.commands import Predict
from elegans.cli.printing import print_table
from elegans.cli.run_data import RunData
from elegans.cli.scoring import score_rows
from elegans.errors import RunError
from elegans.files import make_folder, write_bytes, writing
from elegans.reporting import draw_predictions, save_figure
from elegans.training import load_model, predict


def run(command: Predict) -> None:
    """Write the predictions, draw them beside the truth where it is known, and print errors."""
    picture = command.out.with_suffix(".png")
    if command.out.suffix.lower() != ".csv":
        raise RunError(
            f"got predictions to be written to {command.out}, expected a name that ends in .csv; "
            "choose one"
        )
    out, data_path = command.out.resolve(), command.data.resolve()
    if out == data_path or (data_path.is_dir() and out.parent == data_path):
        raise RunError(
            f"got {command.out} as the data and as the place of the predictions, expected another; "
            "choose one, the data would be lost"
        )
    data = RunData.read(command.run, command.data)
    sequences = data.table.sequences
    answers = predict(load_model(command.run), sequences, data.scales)
    shown = [softmax(one, axis=1) for one in answers] if data.reading.classes else answers
    _write(command.out, data, shown)
    names = data.reading.target_names
    save_figure(draw_predictions(sequences, names, shown, data.has_targets), picture)
    print(f"{command.data}: {len(data.table)} sequences, {sum(map(len, answers)):,} steps")
    if data.has_targets:
        print_table(score_rows(data.reading, data.scales, answers, sequences))
    print(f"\n{command.out}, {picture}")


def _write(path: Path, data: RunData, answers: list[NDArray[np.float64]]) -> None:
    """Write a row for each row of the file, in its order, whole or not at all."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    classes, names = data.reading.classes, data.reading.target_names
    asked = (data.reading.targets[0].name,) if classes else names
    measured = [f"{name} measured" for name in asked] if data.has_targets else []
    chances = [f"P({name})" for name in names] if classes else []
    rows.writerow(
        ["sequence", "step", *measured, *(f"{name} predicted" for name in asked), *chances]
    )
    told: dict[int, list[Any]] = {}
    for sequence, answer, places in zip(data.table, answers, data.table.places, strict=True):
        for step, place in enumerate(places.tolist()):
            truth, values = sequence.targets[step], answer[step]
            given = [_class_of(truth, classes)] if classes else [_cell(value) for value in truth]
            answered = [_class_of(values, classes), *values] if classes else values.tolist()
            told[place] = [step, *(given if data.has_targets else []), *answered]
    empty = [""] * (1 + len(measured) + len(asked) + len(chances))
    for place, name in enumerate(data.table.row_names):
        rows.writerow([name, *told.get(place, empty)])
    make_folder(path.parent)
    with writing(path):
        write_bytes(path, text.getvalue().encode())


def _cell(value: float) -> object:
    return "" if np.isnan(value) else value


def _class_of(values: NDArray[np.float64], classes: tuple[str, ...]) -> str:
    return "" if np.isnan(values).any() else classes[int(values.argmax())]
