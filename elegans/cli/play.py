"""`elegans play`: a page in which a trained circuit runs."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Any

import torch

from elegans.checkpoints.saving import CONFIG, WIRING
from elegans.cli.certifying import CERTIFICATE
from elegans.cli.commands import Play
from elegans.cli.examined import CONTROL_STEP, data_of_run
from elegans.control.policy import Policy
from elegans.errors import ElegansError, RunError
from elegans.export.files import ExportedFiles
from elegans.export.playing import page
from elegans.ltc.layer import LTC
from elegans.proofs import Certificate
from elegans.training import RunFolder
from elegans.training.run_folder import INITIAL_WIRING, LEDGER
from elegans.wiring import Wiring

PAGE = "play.html"


def run(command: Play) -> None:
    """Write the page and say where it is."""
    source = command.run
    if not os.path.exists(source):
        raise RunError(
            f"{source}: got no such file or folder, expected the folder of a run or saved model, "
            "or a wiring in a file; check the path"
        )
    if source.is_file():
        exported = page(_drawn_on(Wiring.load(source), command.seed), title=source.stem)
        default = source.with_suffix(".html")
    elif (source / CONFIG).exists() or (source / WIRING).exists():
        exported = _page_of(command)
        default = source / PAGE
    else:
        raise RunError(
            f"{source}: got a folder without {CONFIG}, expected the folder of a run or of a saved "
            "model; check the path"
        )
    out: Path = default if command.out is None else command.out
    (content,) = exported.files.values()
    files = ExportedFiles({out.name: content}, exported.summary)
    (path,) = files.save(out.parent, overwrite=command.overwrite)
    print(exported.summary)
    print(path)
    if command.open:
        webbrowser.open(path.resolve().as_uri())


def _drawn_on(wiring: Wiring, seed: int) -> LTC:
    """Return an untrained circuit on a wiring."""
    return LTC(wiring.input_size, wiring, generator=torch.Generator().manual_seed(seed))


def _page_of(command: Play) -> ExportedFiles:
    policy = Policy.load(command.run)
    options: dict[str, Any] = {"title": command.run.resolve().name}
    if (command.run / INITIAL_WIRING).exists():
        options |= _of_run(command, RunFolder.open(command.run))
    certificate = command.run / CERTIFICATE
    return page(
        policy,
        certificate=Certificate.load(certificate) if certificate.exists() else None,
        **options,
    )


def _of_run(command: Play, folder: RunFolder) -> dict[str, Any]:
    """Return what drives the circuit of a run, its history and its unit of time."""
    options: dict[str, Any] = {}
    if (folder.path / LEDGER).exists():
        options["history"] = folder.initial_wiring, folder.ledger()
    if folder.config.get("command") == "demo" and command.data is None:
        return options | {
            "title": "A circuit that balances a pole",
            "drive": "cartpole",
            "time_unit": "control step",
            "seconds": CONTROL_STEP,
        }
    try:
        own = data_of_run(folder, command.data)
    except ElegansError as error:
        # A file that was asked for by name must not be replaced silently.
        if command.data is not None:
            raise
        print(f"The data is not at hand, so inputs are moved by hand: {error}")
        return options
    ahead = f", {own.horizon} steps ahead" if own.horizon else ""
    return options | {
        "drive": own.judged or own.sequences,
        "source": (own.part if own.judged else "targets are not known") + ahead,
        "time_unit": own.time_unit,
        "seconds": own.seconds,
    }
