"""The learning curve, with the moments at which the circuit rewired itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

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

        trained = [line for line in metrics if line["train_loss"] is not None]
        top.plot(
            [line["step"] for line in trained],
            [line["train_loss"] for line in trained],
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
            at = np.array(sorted(rewired))
            counts = [rewired[step] for step in at]
            bottom.vlines(at, 0, counts, color=GREEN, linewidth=3)
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
    """Round numbers on a logarithmic axis that spans less than a few decades."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return powers of ten between the limits, and a few multiples where these are few."""
        vmin = max(vmin, 1e-300)
        decades = np.arange(np.floor(np.log10(vmin)), np.ceil(np.log10(vmax)) + 1)
        marks = (1.0, 2.0, 3.0, 5.0, 7.0) if len(decades) <= 4 else (1.0,)
        ticks = [float(mark * 10.0**decade) for decade in decades for mark in marks]
        return [tick for tick in ticks if vmin <= tick <= vmax]
