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
==========================  =======================================================

Nothing is pickled. Files are replaced whole; a checkpoint is made under another name and gets its
own when it is complete, so whatever interrupts a training, the newest checkpoint is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from torch import Tensor

import elegans
from elegans.checkpoints.saving import (
    CONFIG,
    layer_settings,
    load,
    read_wiring,
    write_circuit,
    write_wiring,
)
from elegans.data.scale import STANDARDISER, Scales
from elegans.errors import RunError
from elegans.files import (
    make_folder,
    parse_json,
    read_bytes,
    read_json,
    read_tensors,
    validated,
    write_bytes,
    write_json,
    write_tensors,
    writing,
)
from elegans.html import picture_html, table_html
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.training.config import TrainingConfig
from elegans.wiring import Wiring

FORMAT = "elegans.run"
VERSION = 1
INITIAL_WIRING = "wiring_initial.json"
METRICS = "metrics.jsonl"
LEDGER = "ledger.jsonl"
KEPT_CHECKPOINTS = 2

_CHECKPOINT = re.compile(r"checkpoint-(\d{8})")
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
        Plain values: progress and the state of the rewirer.
    """

    step: int
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    plain: dict[str, Any]


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

    def require_free(self) -> None:
        """Raise `RunError` if the folder holds a run already; nothing is touched."""
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise RunError(f"{self.path}: got a file, expected a folder; choose another name")
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

    def require_same(self, model: SequenceLayer | Readout, settings: dict[str, Any]) -> None:
        """Raise `RunError` unless the run was begun with these settings and this layer.

        The training may have more steps, see `extend`.
        """
        asked = json.loads(json.dumps(run_config(model, settings)))
        begun = self.config
        training, before = asked.get("training"), begun.get("training")
        if isinstance(training, dict) and isinstance(before, dict):
            # Settings that there were not yet when the run was begun had the value of today.
            usual = asdict(TrainingConfig())
            before = {k: usual[k] for k in training if k in usual} | before
            begun["training"] = before
            if before.get("steps", 0) < training.get("steps", 0):
                training["steps"] = before["steps"]
        for name in (*settings, "model"):
            different = _difference(name, begun.get(name), asked[name])
            if different is not None:
                field, was, now = different
                raise RunError(
                    f"{self.path}: got {field} = {now!r}, expected {was!r}, with which the run "
                    "was begun or extended; repeat its command with --resume, or choose another "
                    "folder"
                )

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

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; older ones but one are removed when it is complete."""
        place = self.checkpoint_path(checkpoint.step)
        if place.exists():  # saved at this step already: a run is a function of its settings
            return
        beside = place.with_name(f".{place.name}.part")
        shutil.rmtree(beside, ignore_errors=True)  # of an earlier interruption
        make_folder(beside)
        write_tensors(beside / "model.safetensors", checkpoint.model)
        write_tensors(beside / "best.safetensors", checkpoint.best)
        write_tensors(beside / "training.safetensors", checkpoint.optimizer)
        write_json(beside / "training.json", {"step": checkpoint.step, **checkpoint.plain})
        os.replace(beside, place)
        for step in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(self.checkpoint_path(step))

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, None if the run stopped before the first.

        Raises
        ------
        RunError
            It is damaged; the message names the file and the way out. Nothing is changed.
        """
        steps = self.checkpoints()
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
        path = self.path / METRICS
        with writing(path), path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(_line(line))
            file.flush()
            os.fsync(file.fileno())

    def cut_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and one that was not written to its end."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_bytes(self.path / METRICS, "".join(map(_line, kept)).encode())

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

    def write_ledger(self, records: list[dict[str, Any]]) -> None:
        """Replace `ledger.jsonl`."""
        write_bytes(self.path / LEDGER, "".join(map(_line, records)).encode())

    def ledger(self) -> list[dict[str, Any]]:
        """Return the lines of `ledger.jsonl`."""
        return _lines(self.path / LEDGER, _Edited)

    def write_result(self, model: SequenceLayer | Readout) -> None:
        """Write the layer for use: its weights and its wiring."""
        write_circuit(model, self.path)


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


def _difference(name: str, was: Any, now: Any) -> tuple[str, Any, Any] | None:
    """Return the first field in which two plain values differ, with both."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*was, *now)):
            different = _difference(f"{name}.{key}", was.get(key), now.get(key))
            if different is not None:
                return different
        return None
    return None if was == now else (name, was, now)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


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
