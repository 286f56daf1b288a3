"""What is called while a training goes on: the contract, and some for CSV and TensorBoard."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.extras import require_extra
from elegans.files import make_folder, writing

if TYPE_CHECKING:
    from elegans.training.trainer import Result


class Callback:
    """Derive from it and override what is needed; exceptions end the training.

    Examples
    --------
    >>> class Printer(Callback):
    ...     def on_evaluation(self, record):
    ...         print(record["step"], round(record["validation_loss"], 3))
    """

    def on_step(self, step: int) -> None:
        """Hear that `step` steps are done."""

    def on_evaluation(self, record: Mapping[str, Any]) -> None:
        """Hear of an evaluation: its record, as in `Result.metrics`."""

    def on_rollback(self, rollback: Mapping[str, Any]) -> None:
        """Hear that the training goes on from an earlier step: a record of `Result.rollbacks`.

        Steps and evaluations after it are heard of again.
        """

    def on_end(self, result: Result) -> None:
        """Hear that the training has ended; not called where it was interrupted."""


@checked(InputError)
class OnStep(Callback):
    """Calls a function with the number of steps done, such as a `StabilityMonitor`."""

    def __init__(self, function: Callable[[int], object]) -> None:
        self._function = function

    def on_step(self, step: int) -> None:
        """Call the function."""
        self._function(step)


@checked(InputError)
class CsvLog(Callback):
    """Writes a row an evaluation to a CSV file; a training that is continued goes on in it.

    Parameters
    ----------
    path
        The file; its folder is made.

    Raises
    ------
    RunError
        The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_evaluation(self, record: Mapping[str, Any]) -> None:
        """Append a row, below a line of names if the file is new."""
        make_folder(self.path.parent)
        with writing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            if not file.tell():
                rows.writerow(record)
            rows.writerow("" if value is None else value for value in record.values())


@checked(InputError)
class TensorBoard(Callback):
    """Writes the numbers of each evaluation where TensorBoard looks for them.

    Parameters
    ----------
    folder
        The folder for its event files.

    Raises
    ------
    MissingExtraError
        TensorBoard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        require_extra("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder))

    def on_evaluation(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of an evaluation."""
        for name, value in record.items():
            if name != "step" and value is not None:
                self.writer.add_scalar(name, value, record["step"])
        self.writer.flush()

    def on_end(self, result: Result) -> None:
        """Write what was best, and close the file."""
        self.writer.add_scalar("best_validation_loss", result.best_loss, result.best_step)
        self.writer.close()
