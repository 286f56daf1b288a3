"""Checkpoints of a run: folders that have their name only while they are complete."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from elegans.errors import RunError
from elegans.files import make_folder, read_json, read_tensors, validated, write_json, write_tensors
from elegans.training.lock import refresh
from elegans.training.schemas import Progress

_NAME = re.compile(r"checkpoint-(\d{8})")
_PARTIAL = re.compile(r"\.checkpoint-\d{8}\.part")
_PROGRESS = "training.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that continuing needs, at a boundary between two steps.

    Parameters
    ----------
    model, best
        State of the layer now and where it was best on the validation windows.
    optimizer
        Tensors of the optimiser under ``parameter/name``.
    progress
        Plain values: steps done, the state of the rewirer, how much of the ledger belongs to it.
    """

    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    progress: Progress

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step


class Checkpoints:
    """The checkpoints in the folder of a run.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, the newest last."""
        if not os.path.isdir(self._folder):
            return []
        matches = (_NAME.fullmatch(entry.name) for entry in self._folder.iterdir())
        return sorted(int(match[1]) for match in matches if match is not None)

    def path(self, step: int) -> Path:
        """Return the folder of the checkpoint of `step`."""
        return self._folder / f"checkpoint-{step:08d}"

    def save(self, checkpoint: Checkpoint, every: int = 1, *, is_stop: bool = False) -> None:
        """Write a checkpoint, and remove older ones when it is complete.

        One is kept beside it, the newest of those at multiples of `every`, so that the folder does
        not tell whether and where the training was stopped. That of step 0 is kept at a stop only.
        """
        refresh(self._folder)
        place = self.path(checkpoint.step)
        if not place.exists():  # else saved at this step: a run is a function of its settings
            beside = _empty_part(place)
            make_folder(beside)
            write_tensors(beside / "model.safetensors", checkpoint.model)
            write_tensors(beside / "best.safetensors", checkpoint.best)
            write_tensors(beside / "training.safetensors", checkpoint.optimizer)
            write_json(beside / _PROGRESS, asdict(checkpoint.progress))
            os.replace(beside, place)
        older = [step for step in self.steps() if step < checkpoint.step]
        kept = [step for step in older if step % every == 0 and (step or is_stop)][-1:]
        for step in older:
            if step not in kept:
                self._remove(step)

    def drop(self, after: int) -> None:
        """Remove the checkpoints after a step, from which the training goes on in another way."""
        for step in self.steps():
            if step > after:
                self._remove(step)

    def _remove(self, step: int) -> None:
        place = self.path(step)
        beside = _empty_part(place)
        os.replace(place, beside)  # half removed it must not look like a whole one
        shutil.rmtree(beside)

    def remove_parts(self) -> None:
        """Remove what a process that was killed has half made or half removed."""
        for entry in self._folder.iterdir():
            if _PARTIAL.fullmatch(entry.name):
                shutil.rmtree(entry)

    def load(self, step: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint, None if the run stopped before the first; or up to `step`.

        Raises
        ------
        RunError
            It is damaged; the message names the file and the way out. Nothing is changed.
        """
        steps = [done for done in self.steps() if step is None or done <= step]
        if not steps:
            return None
        place = self.path(steps[-1])
        remedy = (
            f"delete the folder {place.name} to continue from step {steps[-2]}"
            if len(steps) > 1
            else "start the run again in another folder"
        )
        progress = self.progress(steps[-1], remedy)
        model, best, optimizer = (
            read_tensors(place / f"{name}.safetensors", remedy)
            for name in ("model", "best", "training")
        )
        return Checkpoint(model, best, optimizer, progress)

    def progress(self, step: int, remedy: str = "delete its folder") -> Progress:
        """Return the plain values of the checkpoint of `step`; raises as `load` does."""
        path = self.path(step) / _PROGRESS
        progress = validated(read_json(path, remedy), Progress, str(path), remedy)
        if progress.step != step:
            raise RunError(f"{path}: got another step than the name of its folder says; {remedy}")
        return progress


def _empty_part(place: Path) -> Path:
    """Return the name under which a checkpoint is made or removed, and nothing is there."""
    beside = place.with_name(f".{place.name}.part")
    shutil.rmtree(beside, ignore_errors=True)  # of an earlier interruption
    return beside
