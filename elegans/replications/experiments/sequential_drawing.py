"""Pictures of sequential pruning: error over sparsity, and the optimum of each network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from elegans.replications.experiments.drawing import COLOURS, MUTED
from elegans.replications.experiments.sequential import SequentialPruning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_sequential(
    result: SequentialPruning,
    *,
    limit: float,
    published: Mapping[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw the validation loss of every network over the sparsity, and the spread of optima.

    Parameters
    ----------
    result
        What `prune_sequentially` returned.
    limit
        The largest loss that an optimum may have.
    published
        Losses by sparsity, to be drawn beside.
    title
        Above the picture.
    """
    from matplotlib import pyplot as plt

    several = result.losses.shape[1] > 1
    figure, axes = plt.subplots(
        1,
        2 if several else 1,
        figsize=(10.5 if several else 7.0, 4.4),
        squeeze=False,
        width_ratios=(1.7, 1) if several else (1,),
        layout="constrained",
    )
    curve = axes[0, 0]
    left = 1 - result.sparsities  # the share of weights that remain
    middle = np.median(result.losses, axis=1)
    if several:
        curve.plot(left, result.losses, color=COLOURS[0], linewidth=0.6, alpha=0.25)
    label = "median of the networks" if several else "this network"
    curve.plot(left, middle, color=COLOURS[0], marker="o", markersize=4, label=label)
    if published:
        curve.plot(
            [1 - sparsity for sparsity in published],
            list(published.values()),
            color=COLOURS[1],
            linestyle="--",
            marker="s",
            markersize=4,
            label="published",
        )
    curve.axhline(limit, color=MUTED, linestyle=":", linewidth=1)
    curve.text(1.0, limit * 1.08, f"limit {limit:g}", color=MUTED, fontsize=8, va="bottom")
    curve.set_xscale("log")
    curve.set_yscale("log")
    curve.invert_xaxis()
    ticks = [s for s in (0.0, 0.5, 0.75, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98) if 1 - s >= left.min()]
    curve.set_xticks([1 - s for s in ticks], [f"{100 * s:g}" for s in ticks])
    curve.set_xticks([], minor=True)
    curve.set_xlabel("missing weights, %")
    curve.set_ylabel("validation loss")
    curve.legend(frameon=False, fontsize=9)
    if several:
        _draw_optima(axes[0, 1], result, limit)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return figure


def _draw_optima(axes, result: SequentialPruning, limit: float) -> None:  # type: ignore[no-untyped-def]
    optima = result.optima(limit)
    levels = result.sparsities
    counts = [int((optima == level).sum()) for level in levels]
    places = np.arange(len(levels))
    axes.bar(places, counts, color=COLOURS[0], width=0.8)
    failed = int(np.isnan(optima).sum())
    axes.set_xticks(places[::2], [f"{100 * level:g}" for level in levels[::2]], fontsize=8)
    axes.set_xlabel("optimum: last level within the limit, % missing")
    axes.set_ylabel("networks")
    if failed:
        axes.set_title(f"{failed} networks exceed the limit when dense", fontsize=9, color=MUTED)
