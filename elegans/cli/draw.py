"""`elegans draw`: drawing of a circuit."""

from __future__ import annotations

import os
from pathlib import Path

from elegans.checkpoints.saving import CONFIG, WIRING, load_circuit
from elegans.cli.commands import Draw
from elegans.errors import RunError
from elegans.layers.readout import circuit_of
from elegans.reporting import draw_changes, draw_circuit, save_figure
from elegans.training import RunFolder
from elegans.training.run_folder import INITIAL_WIRING
from elegans.wiring import Wiring


def run(command: Draw) -> None:
    """Draw the run, the saved model or the wiring, and say where the picture is."""
    source = command.run
    if not os.path.exists(source):
        raise RunError(
            f"{source}: got no such file or folder, expected the folder of a run or a wiring in a "
            "file; check the path"
        )
    if source.is_file():
        figure = draw_circuit(Wiring.load(source), view=command.view)
        default = source.with_suffix(".png")
    elif (source / INITIAL_WIRING).exists():
        before = RunFolder.open(source).initial_wiring
        figure = draw_changes(circuit_of(load_circuit(source)), before, view=command.view)
        default = source / "wiring.png"
    elif (source / CONFIG).exists() or (source / WIRING).exists():
        figure = draw_circuit(circuit_of(load_circuit(source)), view=command.view)
        default = source / "wiring.png"
    else:
        raise RunError(
            f"{source}: got a folder without {CONFIG}, expected the folder of a run or of a saved "
            "model; check the path"
        )
    out: Path = default if command.out is None else command.out
    save_figure(figure, out)
    print(out)
