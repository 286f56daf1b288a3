"""Learning curve with the steps at which the circuit rewired itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from elegans.reporting.chart import log_ticks
from elegans.reporting.figures import BLUE, GREEN, INK, MUTED, STYLE, VERMILION, new_figure


def draw_learning(
    metrics: Sequence[Mapping[str, Any]],
    ledger: Sequence[Mapping[str, Any]] = (),
    *,
    error: str = "mean squared error",
) -> Figure:
    """Draw training and validation error over the steps, and below them the synapses rewired.

    Parameters
    ----------
    metrics
        Records with ``step``, ``train_loss`` (or None) and ``validation_loss``, such as
        `elegans.training.RunFolder.metrics` returns.
    ledger
        Records of edits with ``step`` and ``grown``; without any there is no lower panel.
    error
        What the loss is, with its unit.
    """
    rewired = Counter(record["step"] for record in ledger if record["grown"] is not None)
    with rc_context(STYLE):
        figure = new_figure(7.2, 4.8 if rewired else 3.8)
        if rewired:
            top, bottom = figure.subplots(2, sharex=True, height_ratios=[4, 1])
        else:
            top, bottom = figure.subplots(), None

        evaluations = [line for line in metrics if line["train_loss"] is not None]
        top.plot(
            [line["step"] for line in evaluations],
            [line["train_loss"] for line in evaluations],
            color=BLUE,
            linewidth=1.6,
            linestyle=(0, (4, 1.5)),
            label="training (mean since the last evaluation)",
        )
        steps = np.array([line["step"] for line in metrics])
        losses = np.array([line["validation_loss"] for line in metrics])
        top.plot(steps, losses, color=VERMILION, linewidth=2, label="validation")
        best = int(np.argmin(losses))
        top.plot(
            steps[best],
            losses[best],
            "o",
            color=VERMILION,
            markersize=7,
            markeredgecolor="white",
            label=f"best: {losses[best]:.3g} at step {steps[best]}",
        )
        for step in rewired:
            top.axvline(step, color=GREEN, linewidth=0.8, alpha=0.45, zorder=0)
        top.set_yscale("log")
        top.yaxis.set_major_locator(_PlainLogLocator())
        top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        top.minorticks_off()
        top.set_ylabel(error)
        top.set_title("Learning curve")
        top.legend(loc="upper right")
        lowest = top
        if bottom is not None:
            edit_steps = sorted(rewired)
            counts = [rewired[step] for step in edit_steps]
            bottom.vlines(edit_steps, 0, counts, color=GREEN, linewidth=3)
            bottom.set_ylim(0, max(counts) * 1.25)
            bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            bottom.set_ylabel("synapses\nrewired")
            bottom.text(
                1.0,
                0.92,
                f"{sum(counts)} in all",
                transform=bottom.transAxes,
                ha="right",
                va="top",
                color=MUTED,
                fontsize=9,
            )
            lowest = bottom
        lowest.set_xlabel("optimiser step", color=INK)
        lowest.set_xlim(left=0, right=max(1, int(steps.max())))
        figure.align_ylabels()
    return figure


class _PlainLogLocator(MaxNLocator):
    """Round numbers on a logarithmic axis that may span less than a decade."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return log_ticks(max(vmin, 1e-300), vmax)
