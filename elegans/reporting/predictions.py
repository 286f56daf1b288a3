"""What a circuit predicts, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from elegans.data import Sequence
from elegans.reporting.figures import BLUE, STYLE, VERMILION, new_figure

_PANELS = 6
_STEPS = 400


def draw_predictions(
    sequences: SequenceOf[Sequence],
    names: SequenceOf[str],
    answers: SequenceOf[NDArray[np.float64]],
    has_targets: bool = True,
) -> Figure:
    """Draw predictions of the longest sequence over its steps, a panel for each of six targets.

    Parameters
    ----------
    sequences
        With the measured targets.
    names
        Names of the targets.
    answers
        For each sequence what was predicted, (time, target).
    has_targets
        Whether the targets of the sequences are known, and drawn as well.
    """
    longest = int(np.argmax([len(answer) for answer in answers]))
    sequence, answer = sequences[longest], answers[longest][:_STEPS]
    shown = list(names)[:_PANELS]
    with rc_context(STYLE):
        figure = new_figure(7.2, 1.6 + 1.5 * len(shown))
        panels = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
        for k, (axes, name) in enumerate(zip(panels, shown, strict=True)):
            if has_targets:
                axes.plot(sequence.targets[:_STEPS, k], color=BLUE, linewidth=1.6, label="measured")
            style = (0, (4, 1.5)) if has_targets else "-"
            axes.plot(answer[:, k], color=VERMILION, linewidth=1.6, linestyle=style,
                      label="predicted")  # fmt: skip
            axes.set_ylabel(name, parse_math=False)
        part = f", first {_STEPS} of {len(sequence)} steps" if len(sequence) > _STEPS else ""
        more = f", {len(shown)} of {len(names)} targets" if len(names) > len(shown) else ""
        panels[0].set_title(f"Sequence {sequence.name}{part}{more}", parse_math=False)
        panels[0].legend(loc="best", ncols=2)
        panels[-1].set_xlabel("step")
        figure.align_ylabels()
    return figure
