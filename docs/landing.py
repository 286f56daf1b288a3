"""Draw the picture of the README from the run of `elegans demo`: python docs/landing.py runs/demo.

Left the circuit before and after training, right what it does in the simulator, which it drives
anew. Writes landing.png beside this file.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import elegans
from elegans.reporting.figures import BLUE, MUTED, STYLE, VERMILION
from elegans.tasks import cartpole
from elegans.training import RunFolder
from elegans.wiring import draw

TARGET = Path(__file__).parent / "landing.png"
EPISODES, SEED = 20, 0  # those that `elegans demo` drives
SECONDS = 0.02
LARGEST = 200_000  # bytes


def draw_circuits(run: Path, axes: list[Axes]) -> None:
    """Draw the circuit as it was, and as training left it."""
    before = RunFolder.open(run).initial_wiring
    model = elegans.load(run)
    draw(before, ax=axes[0], later=model.wiring, title="before training")
    model.draw(ax=axes[1], before=before, title="after training")
    widest = max(axes, key=lambda panel: float(np.ptp(panel.get_xlim())))
    for panel in axes:
        panel.set(xlim=widest.get_xlim(), ylim=widest.get_ylim())


def draw_trace(run: Path, position: Axes, angle: Axes) -> float:
    """Draw all episodes, one of them stronger; return their mean return."""
    driven = cartpole.drive(elegans.Policy.load(run), EPISODES, SEED)
    for episode, states in enumerate(driven.observations):
        style = {"linewidth": 0.6, "alpha": 0.3} if episode else {"linewidth": 1.6}
        time = np.arange(len(states)) * SECONDS
        position.plot(time, states[:, 0], color=BLUE, **style)
        angle.plot(time, np.degrees(states[:, 2]), color=VERMILION, **style)
    for axes, limit, label in ((position, 2.4, "cart (m)"), (angle, 12, "pole (°)")):
        for side in (-limit, limit):
            axes.axhline(side, color=MUTED, linewidth=1.2, linestyle=(0, (6, 3)))
        axes.set(ylabel=label, ylim=(-1.12 * limit, 1.12 * limit), xlim=(0, 10))
    position.tick_params(labelbottom=False)
    position.set_title(f"driving: {driven.mean_return:.0f} of {cartpole.MAX_STEPS} steps, mean")
    angle.set_xlabel("time (s); dashed: where an episode ends")
    return driven.mean_return


def main(run: Path) -> None:
    """Write the picture and say how large it is."""
    with rc_context(STYLE):
        figure = Figure(figsize=(12.5, 4.6))
        circuits = [figure.add_axes((left, 0.01, 0.335, 0.9)) for left in (0.005, 0.33)]
        position = figure.add_axes((0.73, 0.55, 0.255, 0.36))
        angle = figure.add_axes((0.73, 0.12, 0.255, 0.36))
        draw_circuits(run, circuits)
        mean_return = draw_trace(run, position, angle)
        figure.align_ylabels([position, angle])
        picture = io.BytesIO()
        figure.savefig(picture, dpi=136)
    # A palette of 128 colours halves the file and cannot be told from the original.
    Image.open(picture).convert("RGB").quantize(128).save(TARGET, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes, mean return {mean_return}")
    assert TARGET.stat().st_size < LARGEST


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    main(parser.parse_args().run)
