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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import elegans
from elegans.arguments import checked
from elegans.checkpoints.saving import (
    CONFIG,
    layer_settings,
    load_circuit,
    read_wiring,
    write_circuit,
    write_wiring,
)
from elegans.data.scale import STANDARDISER, Scales
from elegans.errors import InputError, RunError
from elegans.files import (
    json_line,
    make_folder,
    read_bytes,
    read_json,
    read_json_lines,
    remove_parts,
    validated,
    write_bytes,
    write_json,
    writing,
)
from elegans.html import picture_html, table_html
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.training.checkpoint import Checkpoints
from elegans.training.continuing import (
    require_same_circuit,
    require_same_scales,
    require_same_settings,
)
from elegans.training.ledger_file import append_edits, read_edits
from elegans.training.lock import refresh, training_lock
from elegans.training.schemas import (
    DataPart,
    Edited,
    Evaluated,
    LedgerMark,
    RunConfig,
    TrainingPart,
)
from elegans.wiring import Wiring

FORMAT = "elegans.run"
VERSION = 1
INITIAL_WIRING = "wiring_initial.json"
METRICS = "metrics.jsonl"
LEDGER = "ledger.jsonl"

_NEW_FOLDER = "choose another folder, or pass --resume (resume=True) to continue the run"


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
        self.checkpoints = Checkpoints(self.path)

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
                remove_parts(self.path)
                self.checkpoints.remove_parts()
            yield

    def _require_folder(self) -> None:
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise RunError(f"{self.path}: got a file, expected a folder; choose another name")

    def require_free(self) -> None:
        """Raise `RunError` if the folder holds a run already; nothing is touched."""
        self._require_folder()
        if os.path.exists(self.path / CONFIG) or self.checkpoints.steps():
            raise RunError(
                f"{self.path}: got a folder that holds a run already, expected a new one; "
                f"{_NEW_FOLDER}"
            )

    def require_unused(self) -> None:
        """Raise `RunError` if a training has begun to write here."""
        if self.checkpoints.steps() or os.path.exists(self.path / METRICS):
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
        validated(config, RunConfig, str(self.path / CONFIG), remedy)
        for name, schema in (("training", TrainingPart), ("data", DataPart)):
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
        return read_json_lines(self.path / METRICS, Evaluated)

    def _repr_html_(self) -> str:
        if not os.path.isfile(self.path / CONFIG):
            return table_html(str(self.path), {"run": "none is here"})
        config = self.config
        asked = self.steps or "?"
        rows: dict[str, object] = {"made by": f"elegans {config.get('command', '')}".strip()}
        lines = self.metrics()
        rows["steps"] = f"{lines[-1]['step'] if lines else 0} of {asked}"
        if steps := self.checkpoints.steps():
            last = self.checkpoints.progress(steps[-1])
            rows["validation error"] = f"{last.best_loss:.4g} at step {last.best_step}"
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
        return read_json_lines(self.path / LEDGER, Edited)

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
    return load_circuit(RunFolder.open(run).path)


def run_config(model: SequenceLayer | Readout, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what `config.json` shall say."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "elegans": elegans.__version__,
        **settings,
        "model": layer_settings(model),
    }
