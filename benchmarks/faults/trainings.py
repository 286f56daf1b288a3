"""Trainings in processes of their own, to be killed, stopped, or starved of room on the disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 120

OPTIONS = (
    f"--targets force --sequence walk --units 16 --steps {STEPS} --window 8 --batch-size 8 "
    "--evaluate-every 5 --checkpoint-every 4 --rewire.every 3 --rewire.value 0.3 "
    "--rewire.until 0.9 --quiet"
).split()

PROGRAM = "import sys; from elegans.cli import main; sys.exit(main())"

IMPORTED = ["elegans.cli.train", "elegans.solvers.fused", "matplotlib.pyplot"]
"""What takes longer to import than a training does to run."""

WRONG = 2
"""Exit code of the commands after an error of the user's, or of the disk's."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    errors: str


@dataclass(frozen=True)
class Training:
    """A training that can be begun and continued.

    Parameters
    ----------
    data
        The table to train on.
    folder
        Of the run.
    program
        What Python runs in place of the command, with the same arguments.
    """

    data: Path
    folder: Path
    program: str = PROGRAM

    def words(self) -> list[str]:
        """Return the arguments that begin the training, or continue where it has been begun."""
        resume = ["--resume"] if (self.folder / "config.json").exists() else []
        return ["train", str(self.data), *OPTIONS, "--out", str(self.folder), *resume]

    def start(self) -> Any:
        """Return a process that runs; it is forked from one that has imported the library."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        process = context.Process(target=_run, args=(self.program, self.words(), self.log))
        process.start()
        return process

    @property
    def log(self) -> Path:
        """What the last process wrote to its standard error."""
        return self.data.with_name(f"{self.folder.parent.name}-{self.folder.name}.log")

    def run(self) -> Ended:
        """Begin or continue, and wait for the end."""
        process = self.start()
        process.join()
        return Ended(process.exitcode, self.log.read_text())

    def steps(self) -> int:
        """Return how far it has come on the disk."""
        found = [int(path.name[-8:]) for path in self.folder.glob("checkpoint-*")]
        return max(found, default=0)


def _run(program: str, words: list[str], log: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["elegans", *words]
    exec(program, {"__name__": "__main__"})


def write_data(path: Path) -> Path:
    """Write a table of ten walks to learn from."""
    rng = np.random.default_rng(0)
    lines = ["walk,angle,speed,force"]
    for walk in range(10):
        time_axis = np.arange(48) / 4 + rng.uniform(0, 6)
        columns = np.sin(time_axis), np.cos(time_axis), np.sin(time_axis - 0.5)
        lines += [f"w{walk},{a:.6f},{s:.6f},{f:.6f}" for a, s, f in zip(*columns, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def undisturbed(folder: Path) -> tuple[Training, float]:
    """Return a training that ran to its end, and how many seconds it took."""
    training = Training(write_data(folder / "walks.csv"), folder / "undisturbed")
    training.run()  # kernels are compiled
    for path in sorted(training.folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    begun = time.monotonic()
    ended = training.run()
    if ended.code:
        raise RuntimeError(f"the training that nobody disturbs failed: {ended.errors}")
    return training, time.monotonic() - begun


def differences(one: Path, other: Path, but: Sequence[str] = (".png",)) -> list[str]:
    """Return the files of two run folders that differ, by name; what clocks say does not count."""
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in but
    }
    return sorted(name for name in names if _content(one / name) != _content(other / name))


def _content(path: Path) -> Any:
    if not path.exists():
        return None
    if path.suffix in (".json", ".jsonl"):
        return [_timeless(json.loads(line)) for line in _documents(path)]
    return path.read_bytes()


def _documents(path: Path) -> list[str]:
    text = path.read_text()
    return text.splitlines() if path.suffix == ".jsonl" else [text]


def _timeless(value: Any) -> Any:
    """Return a value without what clocks said."""
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name != "seconds"}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
