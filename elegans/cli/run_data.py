"""A file with the columns that a run was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elegans.data import Scales, SequenceTable, column_names, read_table
from elegans.errors import DataError, RunError
from elegans.training import RunFolder


@dataclass(frozen=True)
class RunData:
    """Sequences of a file for the circuit of a run.

    Parameters
    ----------
    table
        The sequences; their targets mean nothing unless `has_targets`.
    scales
        Those of the run.
    target_names
        The columns that the circuit predicts.
    has_targets
        Whether the file holds them.
    """

    table: SequenceTable
    scales: Scales
    target_names: tuple[str, ...]
    has_targets: bool

    @classmethod
    def read(cls, run: Path, path: Path, *, needs_targets: bool = False) -> RunData:
        """Read the columns of a file that the run was trained on; targets may be missing.

        Raises
        ------
        RunError
            The run was not trained on columns of a file.
        DataError
            A column is missing; of the targets, some but not all, or all with `needs_targets`.
        """
        folder = RunFolder.open(run)
        data = folder.config.get("data")
        if not isinstance(data, dict):
            raise RunError(
                f"{run}: got a run that was not trained on columns of a file, expected one of "
                "'elegans train'; pass its folder"
            )
        targets = tuple(data["targets"])
        asked = [name for name in targets if name not in data["inputs"]]  # those are there
        missing = [name for name in asked if name not in column_names(path)]
        if 0 < len(missing) < len(asked):
            raise DataError(
                f"{path}: got a file without the target {missing[0]!r}, expected all of "
                f"{', '.join(asked)} or none; add the column, or drop the others"
            )
        has_targets = needs_targets or not missing
        table = read_table(
            path,
            data["inputs"],
            targets if has_targets else data["inputs"],
            time=data["time"],
            sequence=data["sequence"],
        )
        return cls(table, folder.scales, targets, has_targets)
