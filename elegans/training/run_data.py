"""Tables for the circuit of a run: read as its own data were, with its scales."""

from __future__ import annotations

import os
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import softmax

from elegans.data import Dialect, Reading, Scales, SequenceTable
from elegans.data.opening import Data, open_data
from elegans.data.sequences import Array
from elegans.errors import DataError, RunError
from elegans.files import validated
from elegans.training.evaluation import predict
from elegans.training.run_folder import RunFolder, load_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Text:
    separator: str | None = None
    decimal: Literal[".", ","] | None = None
    header: Literal["yes", "no"] | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class RunData:
    """Sequences of a table for the circuit of a run.

    Parameters
    ----------
    table
        The sequences; none of their targets is known unless `has_targets`.
    scales
        Those of the run.
    reading
        How the run's own data were understood.
    has_targets
        Whether the table holds targets.
    folder
        The run.

    Examples
    --------
    >>> import elegans, pandas as pd
    >>> from elegans.data import read_table
    >>> rows = pd.DataFrame({"u": np.arange(9.0), "y": np.cos(np.arange(9.0))})
    >>> table = read_table(rows, targets="y")
    >>> model, scales = elegans.LTC(1, 6), Scales.fit(table.sequences)
    >>> model = elegans.Readout(model, 1)
    >>> run = RunFolder.create("run", model, {"data": table.reading.to_plain()}, scales)
    >>> run.write_result(model)
    >>> RunData.read("run", rows[["u"]].head(3)).frame().columns.tolist()
    ['sequence', 'step', 'y predicted']
    """

    folder: RunFolder
    table: SequenceTable
    scales: Scales
    reading: Reading
    has_targets: bool

    @classmethod
    def read(
        cls, run: str | os.PathLike[str], data: Data, *, needs_targets: bool = False
    ) -> RunData:
        """Read the columns that the run was trained on; targets may be missing.

        Raises
        ------
        RunError
            The run was not trained on columns of a file.
        DataError
            A column is missing; of the targets, some but not all, or all with `needs_targets`.
        """
        folder = RunFolder.open(run)
        own = folder.config.get("data")
        if not isinstance(own, dict):
            raise RunError(
                f"{run}: got a run that was not trained on columns of a file, expected one of "
                "'elegans train'; pass its folder"
            )
        reading = Reading.from_plain(own)
        remedy = "repeat the training in another folder"
        text = validated(own.get("text", {}), _Text, f"{folder.path}, data.text", remedy)
        scales = folder.scales
        sizes = len(scales.inputs), len(scales.targets)
        if sizes != (len(reading.input_names), len(reading.target_names)):
            raise RunError(
                f"{folder.path}: got scales of {sizes[0]} inputs and {sizes[1]} targets, expected "
                f"{len(reading.input_names)} and {len(reading.target_names)} as in its reading of "
                f"the data; {remedy}"
            )
        dialect = Dialect.of(**vars(text))
        if reading.decimal == "," and dialect.decimal is None:
            dialect = replace(dialect, decimal=",")  # a point would be one of thousands
        source = open_data(data, dialect)
        shown = {column.name for column in reading.inputs}
        asked = [c.name for c in reading.targets if c.name not in shown]  # those are there
        missing = [name for name in asked if name not in source.names]
        if 0 < len(missing) < len(asked):
            raise DataError(
                f"{source.label}: got a table without the target {missing[0]!r}, expected all of "
                f"{', '.join(asked)} or none; add the column, or drop the others"
            )
        has_targets = needs_targets or not missing
        wanted = reading if has_targets else reading.without_targets()
        table = wanted.read(source, answers_known=needs_targets)
        known = any(not np.isnan(one.targets).all() for one in table)
        return cls(folder, table, scales, reading, known)

    def answers(self) -> list[Array]:
        """Return what the circuit answers to each sequence, (time, output): of classes logits."""
        return predict(load_model(self.folder.path), self.table.sequences, self.scales)

    def shown(self, answers: SequenceOf[Array]) -> list[Array]:
        """Return answers as people read them: probabilities in place of logits."""
        return [softmax(one, axis=1) for one in answers] if self.reading.classes else list(answers)

    def frame(self, answers: SequenceOf[Array] | None = None) -> pd.DataFrame:
        """Return a row for each row of the table, in its order.

        Columns are the sequence, the step in it (missing where the row was left out), what was
        measured, if the table has the targets, what is predicted, and of classes the probabilities,
        all in the units of the data.
        """
        import pandas as pd

        shown = self.shown(self.answers() if answers is None else answers)
        classes, names = self.reading.classes, self.reading.target_names
        asked = (self.reading.targets[0].name,) if classes else names
        count = len(self.table.row_names)
        places = np.concatenate([np.zeros(0, np.int64), *self.table.places])
        step = pd.array([None] * count, dtype="Int64")
        step[places] = np.concatenate([np.zeros(0, np.int64), *map(np.arange, map(len, shown))])
        columns: dict[str, Any] = {"sequence": list(self.table.row_names), "step": step}

        def spread(values: list[Array]) -> Array:
            """Return values of steps by row, (row, output), NaN where there is no step."""
            rows = np.full((count, len(names)), np.nan)
            for at, some in zip(self.table.places, values, strict=True):
                rows[at] = some
            return rows

        parts = {"predicted": spread(shown)}
        if self.has_targets:
            parts = {"measured": spread([one.targets for one in self.table]), **parts}
        for word, rows in parts.items():
            if classes:
                columns[f"{asked[0]} {word}"] = [_class_of(row, classes) for row in rows]
            else:
                columns |= {f"{name} {word}": rows[:, k] for k, name in enumerate(names)}
        if classes:
            columns |= {f"P({name})": parts["predicted"][:, k] for k, name in enumerate(names)}
        return pd.DataFrame(columns)


def _class_of(values: Array, classes: tuple[str, ...]) -> str | None:
    return None if np.isnan(values).any() else classes[int(values.argmax())]
