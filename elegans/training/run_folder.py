"""The folder of a training run: settings, metrics, checkpoints and result.

==========================  =======================================================
`config.json`               settings of the run and of the model
`wiring_initial.json`       the circuit before training; written once
`standardiser.json`         scales of the data, where there are any; written once
`checkpoint-00000250/`      everything that continuing from step 250 needs
`metrics.jsonl`             one line an evaluation
`ledger.jsonl`              one line a weak synapse that was cut, or kept and why
`model.safetensors`         the weights that were best on the validation windows
`wiring.json`               the circuit that these weights belong to
`training.lock`             the process that trains, while it does
==========================  =======================================================

Nothing is pickled. Files are replaced whole; a checkpoint has its name only while it is complete,
so whatever interrupts a training, the newest checkpoint is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from torch import Tensor

import elegans
from elegans.arguments import checked
from elegans.checkpoints.saving import (
    CONFIG,
    WEIGHTS,
    WIRING,
    layer_settings,
    load,
    read_wiring,
    write_circuit,
    write_wiring,
)
from elegans.data.scale import STANDARDISER, Scales
from elegans.errors import InputError, RunError
from elegans.files import (
    json_line,
    make_folder,
    parse_json,
    read_bytes,
    read_json,
    read_tensors,
    remove_parts,
    validated,
    write_bytes,
    write_json,
    write_tensors,
    writing,
)
from elegans.html import picture_html, table_html
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.training.continuing import (
    require_same_circuit,
    require_same_scales,
    require_same_settings,
)
from elegans.training.ledger_file import LedgerMark, append_edits, read_edits
from elegans.training.lock import refresh, training_lock
from elegans.wiring import Wiring

FORMAT = "elegans.run"
VERSION = 1
INITIAL_WIRING = "wiring_initial.json"
METRICS = "metrics.jsonl"
LEDGER = "ledger.jsonl"

_CHECKPOINT = re.compile(r"checkpoint-(\d{8})")
_PARTIAL_CHECKPOINT = re.compile(r"\.checkpoint-\d{8}\.part")
_WRITTEN = (CONFIG, STANDARDISER, INITIAL_WIRING, METRICS, LEDGER, WEIGHTS, WIRING)
"""Files that only the holder of the lock writes."""
_NEW_FOLDER = "choose another folder, or pass --resume (resume=True) to continue the run"


Count = Annotated[int, Interval(ge=0, le=2**53)]


@dataclass(frozen=True)
class _Run:
    """What `config.json` holds in any case; what was asked for is as the user likes."""

    model: dict[str, Any]
    elegans: str = ""
    scaled: bool = False
    warm_start: str | None = None


@dataclass(frozen=True)
class _Training:
    steps: Annotated[int, Interval(ge=1, le=2**53)] = 1
    seed: Count = 0
    window: Annotated[int, Interval(ge=1, le=2**53)] = 1


@dataclass(frozen=True)
class _Data:
    path: str | list[str] = ""
    sha256: str = ""
    classifies: bool = False


_ASKED = {"training": _Training, "data": _Data}


@dataclass(frozen=True)
class _Best:
    best_step: Count
    best_loss: float


@dataclass(frozen=True)
class _Evaluated:
    step: Count
    train_loss: float | None = None
    validation_loss: float = 0.0
    learning_rate: float = 0.0
    rewired: Count = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Edited:
    step: Count
    synapses: str
    source: Count
    cut: Count
    grown: Count | None
    polarity: int | None
    weight: float
    outcome: str
    grown_source: Count | None = None
    age: Count | None = None
    notes: dict[str, float | None] = field(default_factory=dict)
    grown_synapses: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Everything that continuing needs, at a boundary between two steps.

    Parameters
    ----------
    step
        Steps done.
    model, best
        State of the layer now and where it was best on the validation windows.
    optimizer
        Tensors of the optimiser under ``parameter/name``.
    plain
        Plain values: progress, the state of the rewirer, and how much of the ledger belongs to it.
    """

    step: int
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    plain: dict[str, Any]


@checked(InputError)
class RunFolder:
    """A folder of the layout above; make it with `create`, find it again with `open`.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    # --- creation ------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        model: SequenceLayer | Readout,
        settings: dict[str, Any],
        scales: Scales | None = None,
    ) -> RunFolder:
        """Begin a run.

        Parameters
        ----------
        path
            Made if it does not exist.
        model
            The layer before training.
        settings
            What was asked for, plain values under names other than those of `config`.
        scales
            Those of the data.

        Raises
        ------
        RunError
            The folder holds a run or a model already.
        """
        run = cls(path)
        run.require_free()
        make_folder(run.path)
        if scales is not None:
            write_json(run.path / STANDARDISER, scales.to_plain())
        write_wiring(model.wiring, run.path / INITIAL_WIRING)
        # Last, because it is this file that makes the folder a run.
        scaled = {"scaled": scales is not None}
        write_json(run.path / CONFIG, run_config(model, settings | scaled))
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the run in a folder.

        Raises
        ------
        RunError
            There is no run, or one of a newer format.
        """
        run = cls(path)
        if not os.path.isfile(run.path / CONFIG):
            raise RunError(
                f"{run.path}: got a folder without {CONFIG}, expected the folder of a run; check "
                "the path, or start a run there without --resume"
            )
        _ = run.config
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder, so that nobody else trains in it meanwhile.

        `fit` does; hold it around more than that, such as from the first look into the folder on.
        What writers that were killed have left is removed.

        Raises
        ------
        RunError
            A process trains there, or may do so, or the folder cannot be written to.
        """
        self._require_folder()
        with training_lock(self.path) as is_outermost:
            if is_outermost:
                remove_parts(self.path, lambda name: True, dead=_WRITTEN.__contains__)
                for entry in self.path.iterdir():
                    if _PARTIAL_CHECKPOINT.fullmatch(entry.name):
                        shutil.rmtree(entry)
            yield

    def _require_folder(self) -> None:
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise RunError(f"{self.path}: got a file, expected a folder; choose another name")

    def require_free(self) -> None:
        """Raise `RunError` if the folder holds a run already; nothing is touched."""
        self._require_folder()
        if os.path.exists(self.path / CONFIG) or self.checkpoints():
            raise RunError(
                f"{self.path}: got a folder that holds a run already, expected a new one; "
                f"{_NEW_FOLDER}"
            )

    def require_unused(self) -> None:
        """Raise `RunError` if a training has begun to write here."""
        if self.checkpoints() or os.path.exists(self.path / METRICS):
            raise RunError(
                f"{self.path}: got a run that was trained already, expected a new one; "
                f"{_NEW_FOLDER}"
            )

    def require_same(
        self,
        model: SequenceLayer | Readout,
        settings: dict[str, Any],
        scales: Scales | None = None,
    ) -> None:
        """Raise `RunError` unless the run was begun with these settings, this layer and scales.

        The training may have more steps, see `extend`. Everything is read that is needed when it
        has ended.
        """
        asked = json.loads(json.dumps(run_config(model, settings)))
        require_same_settings(self.path, self.config, asked, (*settings, "model"))
        require_same_circuit(self.path / INITIAL_WIRING, self.initial_wiring, model.wiring)
        if self.config.get("scaled", os.path.exists(self.path / STANDARDISER)):
            require_same_scales(self.path / STANDARDISER, self.scales, scales)

    def extend(self, steps: int) -> None:
        """Note that the training of the run goes on to more steps than it was begun with."""
        before = self.steps
        if before is not None and before < steps:
            config = self.config
            config["training"]["steps"] = steps
            write_json(self.path / CONFIG, config)

    @property
    def steps(self) -> int | None:
        """Steps of the whole training, None where the settings of the run do not say."""
        training = self.config.get("training")
        steps = training.get("steps") if isinstance(training, dict) else None
        return steps if isinstance(steps, int) else None

    @property
    def config(self) -> dict[str, Any]:
        """Contents of `config.json`, its format checked."""
        remedy = "start the run again in another folder"
        config = read_json(self.path / CONFIG, remedy)
        if config.get("format") != FORMAT or config.get("version") != VERSION:
            raise RunError(
                f"{self.path / CONFIG}: got format {config.get('format')!r} of version "
                f"{config.get('version')!r}, expected {FORMAT!r} of version {VERSION}; pass the "
                "folder of a training, or use the version of elegans that wrote it"
            )
        validated(config, _Run, str(self.path / CONFIG), remedy)
        for name, schema in _ASKED.items():
            if isinstance(config.get(name), dict):
                validated(config[name], schema, f"{self.path / CONFIG}, {name}", remedy)
        return config

    @property
    def scales(self) -> Scales:
        """The scales of the data that the run was trained on, as `standardiser.json` has them."""
        return Scales.load(self.path)

    @property
    def initial_wiring(self) -> Wiring:
        """The circuit before training."""
        return read_wiring(self.path / INITIAL_WIRING, "start the run again in another folder")

    # --- checkpoints ---------------------------------------------------------------------

    def checkpoints(self) -> list[int]:
        """Return the steps of the complete checkpoints, the newest last."""
        if not os.path.isdir(self.path):
            return []
        matches = (_CHECKPOINT.fullmatch(entry.name) for entry in self.path.iterdir())
        return sorted(int(match[1]) for match in matches if match is not None)

    def checkpoint_path(self, step: int) -> Path:
        """Return the folder of the checkpoint of `step`."""
        return self.path / f"checkpoint-{step:08d}"

    def save_checkpoint(
        self, checkpoint: Checkpoint, every: int = 1, *, is_stop: bool = False
    ) -> None:
        """Write a checkpoint, and remove older ones when it is complete.

        One is kept beside it, the newest of those at multiples of `every`, so that the folder does
        not tell whether and where the training was stopped. That of step 0 is kept at a stop only.
        """
        refresh(self.path)
        place = self.checkpoint_path(checkpoint.step)
        if not place.exists():  # else saved at this step: a run is a function of its settings
            beside = self._empty_part(place)
            make_folder(beside)
            write_tensors(beside / "model.safetensors", checkpoint.model)
            write_tensors(beside / "best.safetensors", checkpoint.best)
            write_tensors(beside / "training.safetensors", checkpoint.optimizer)
            write_json(beside / "training.json", {"step": checkpoint.step, **checkpoint.plain})
            os.replace(beside, place)
        older = [step for step in self.checkpoints() if step < checkpoint.step]
        kept = [step for step in older if step % every == 0 and (step or is_stop)][-1:]
        for step in older:
            if step not in kept:
                self._remove_checkpoint(step)

    def drop_checkpoints(self, after: int) -> None:
        """Remove the checkpoints after a step, from which the training goes on in another way."""
        for step in self.checkpoints():
            if step > after:
                self._remove_checkpoint(step)

    def _remove_checkpoint(self, step: int) -> None:
        place = self.checkpoint_path(step)
        beside = self._empty_part(place)
        os.replace(place, beside)  # half removed it must not look like a whole one
        shutil.rmtree(beside)

    @staticmethod
    def _empty_part(place: Path) -> Path:
        """Return the name under which a checkpoint is made or removed, and nothing is there."""
        beside = place.with_name(f".{place.name}.part")
        shutil.rmtree(beside, ignore_errors=True)  # of an earlier interruption
        return beside

    def load_checkpoint(self, step: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint, None if the run stopped before the first; or up to `step`.

        Raises
        ------
        RunError
            It is damaged; the message names the file and the way out. Nothing is changed.
        """
        steps = [done for done in self.checkpoints() if step is None or done <= step]
        if not steps:
            return None
        place = self.checkpoint_path(steps[-1])
        remedy = (
            f"delete the folder {place.name} to continue from step {steps[-2]}"
            if len(steps) > 1
            else "start the run again in another folder"
        )
        plain = read_json(place / "training.json", remedy)
        model, best, optimizer = (
            read_tensors(place / f"{name}.safetensors", remedy)
            for name in ("model", "best", "training")
        )
        if plain.pop("step", None) != steps[-1]:
            raise RunError(
                f"{place / 'training.json'}: got another step than the name of its folder says; "
                f"{remedy}"
            )
        return Checkpoint(steps[-1], model, best, optimizer, plain)

    # --- history and result --------------------------------------------------------------

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`."""
        refresh(self.path)
        path = self.path / METRICS
        with writing(path), path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json_line(line))
            file.flush()
            os.fsync(file.fileno())

    def cut_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and one that was not written to its end."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_bytes(self.path / METRICS, "".join(map(json_line, kept)).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl` up to the first that is not whole."""
        return _lines(self.path / METRICS, _Evaluated)

    def _repr_html_(self) -> str:
        if not os.path.isfile(self.path / CONFIG):
            return table_html(str(self.path), {"run": "none is here"})
        config = self.config
        asked = self.steps or "?"
        rows: dict[str, object] = {"made by": f"elegans {config.get('command', '')}".strip()}
        lines = self.metrics()
        rows["steps"] = f"{lines[-1]['step'] if lines else 0} of {asked}"
        if steps := self.checkpoints():
            progress = self.checkpoint_path(steps[-1]) / "training.json"
            plain = read_json(progress, "delete the folder", _Best)
            rows["validation error"] = f"{plain['best_loss']:.4g} at step {plain['best_step']}"
        if lines:
            rows["rewired"] = f"{lines[-1].get('rewired', 0)} synapses"
        pictures = (
            picture_html(read_bytes(path, "delete it"), path.stem)
            for path in sorted(self.path.glob("*.png"))
        )
        return table_html(str(self.path), rows) + "".join(pictures)

    def append_ledger(self, mark: LedgerMark, records: Iterable[dict[str, Any]]) -> LedgerMark:
        """Add edits to `ledger.jsonl`, behind those that `mark` counts."""
        return append_edits(self.path / LEDGER, mark, records)

    def marked_ledger(self, mark: LedgerMark) -> list[dict[str, Any]]:
        """Return the edits of `ledger.jsonl` that `mark` counts."""
        return read_edits(self.path / LEDGER, mark)

    def ledger(self) -> list[dict[str, Any]]:
        """Return the lines of `ledger.jsonl`."""
        return _lines(self.path / LEDGER, _Edited)

    def write_result(self, model: SequenceLayer | Readout) -> None:
        """Write the layer for use: its weights and its wiring."""
        write_circuit(model, self.path)


@checked(InputError)
def load_model(run: str | os.PathLike[str]) -> SequenceLayer | Readout:
    """Return the layer that a run has trained: where it was best on the validation windows.

    Raises
    ------
    RunError
        The folder holds no run, no weights yet, or damaged files.
    """
    return load(RunFolder.open(run).path)


def run_config(model: SequenceLayer | Readout, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what `config.json` shall say."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "elegans": elegans.__version__,
        **settings,
        "model": layer_settings(model),
    }


def _lines(path: Path, schema: type[Any]) -> list[dict[str, Any]]:
    if not os.path.exists(path):
        return []
    remedy = "restore the file, or delete its lines from this one on"
    records = []
    content = read_bytes(path, "restore the file, or delete it")
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            record = parse_json(line)
        except ValueError:  # of the text or of its encoding
            break
        whole = line.endswith(b"\n") and isinstance(record, dict)
        if not whole or not isinstance(record.get("step"), int):
            break
        validated(record, schema, f"{path}, line {number}", remedy)
        records.append(record)
    return records
