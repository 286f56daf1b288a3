"""Pictures of curves over sparsity and of repeated trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import PruningError
from elegans.replications.experiments.curves import SparsityCurve
from elegans.replications.experiments.published import PublishedCurve
from elegans.replications.experiments.sequential import SequentialPruning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by every kind of colour vision and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MUTED = "#6B6B6B"
MARKERS = "osD^vP"


def draw_curves(
    curves: Sequence[SparsityCurve],
    references: Sequence[PublishedCurve] = (),
    *,
    axes: Axes | None = None,
    title: str = "",
    chance: float | None = None,
) -> Axes:
    """Draw curves with error bars of one standard deviation, and published ones dashed.

    The horizontal axis is logarithmic in the share of weights that are left, because that is where
    curves fall.

    Parameters
    ----------
    curves
        With the same metric.
    references
        Published curves, without markers; in the colour of the curve named by `beside`.
    axes
        Where to draw; a new figure by default.
    title
        Above the picture.
    chance
        The metric of guessing, drawn as a dotted line.

    Raises
    ------
    PruningError
        When there is no curve.
    """
    if not curves:
        raise PruningError("got no curves, expected at least one; measure it with sparsity_curve")
    if axes is None:
        axes = _new_axes(7.2, 4.6)
    colours: dict[str, str] = {}
    for number, curve in enumerate(curves):
        colours[curve.label] = COLOURS[number % len(COLOURS)]
        several = len(curve.values) > 1
        axes.errorbar(
            curve.sparsities,
            curve.mean,
            yerr=curve.deviation if several else None,
            color=colours[curve.label],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4.5,
            linewidth=1.7,
            capsize=2.5,
            label=curve.label + (f" ({len(curve.values)} seeds)" if several else ""),
        )
    for reference in references:
        axes.plot(
            reference.sparsities,
            reference.values,
            color=colours.get(reference.beside, MUTED),
            linestyle=(0, (4, 2)),
            linewidth=1.2,
            label=reference.label,
        )
    if chance is not None:
        axes.axhline(chance, color=MUTED, linestyle=":", linewidth=1, label="guessing")
    highest = max(float(curve.sparsities.max()) for curve in curves)
    axes.set_xscale("function", functions=(_stretched, lambda place: 1 - 10.0**-place))
    ticks = [s for s in (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.999) if s <= highest]
    axes.set_xticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.05, 1 - (1 - highest) / 1.12)
    axes.set_xlabel("missing weights, %")
    axes.set_ylabel(curves[0].metric)
    _finish_axes(axes, title)
    axes.legend(frameon=False, fontsize=8.5, loc="best")
    return axes


def draw_trials(
    values: Mapping[str, Sequence[float]],
    *,
    metric: str,
    single: Mapping[str, float] | None = None,
    repeated: Mapping[str, tuple[float, float]] | None = None,
    axes: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw each run of each trial as a dot, means with bars of one standard deviation beside.

    Parameters
    ----------
    values
        The figure of every seed, by the name of the trial; seeds in the same order everywhere.
    metric
        What the figure is.
    single, repeated
        Published figures by the name of the trial: of a single run (a cross), and the range of
        means of repeated runs (a bar).
    axes, title
        As in `draw_curves`.
    """
    if axes is None:
        axes = _new_axes(7.2, 4.2)
    runs = np.array(list(values.values()))  # (trial, seed)
    places = np.arange(len(runs))
    offset = 0.16
    for row in runs.T:  # one seed: a thin line shows what the pair shares
        axes.plot(places - offset, row, color=MUTED, linewidth=0.5, alpha=0.35, zorder=1)
    for place, name in enumerate(values):
        colour = COLOURS[place % len(COLOURS)]
        axes.scatter(np.full(runs.shape[1], place - offset), runs[place], s=14, color=colour)
        axes.errorbar(
            place + offset,
            runs[place].mean(),
            yerr=runs[place].std(ddof=1) if runs.shape[1] > 1 else None,
            color=colour,
            marker="s",
            markersize=7,
            capsize=4,
            linewidth=2,
            label=f"mean ± s.d., {runs.shape[1]} seeds" if place == 0 else None,
        )
        if repeated is not None and name in repeated:
            low, high = repeated[name]
            axes.plot(
                [place + 2 * offset] * 2,
                [low - 0.002, high + 0.002],  # a single figure shows as a short bar
                color="#222222",
                linewidth=4,
                solid_capstyle="butt",
                label="published experiment repeated, mean" if place == 0 else None,
            )
        if single is not None and name in single:
            axes.plot(
                place + 2 * offset,
                single[name],
                "x",
                color="#222222",
                markersize=7,
                label="published, single run" if place == 0 else None,
            )
    axes.set_xticks(places, list(values))
    axes.set_xlim(-0.5, len(runs) - 0.35)
    axes.set_ylabel(metric)
    _finish_axes(axes, title)
    # Below the axes, because dots may be anywhere inside.
    axes.legend(
        frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3
    )
    return axes


def _new_axes(width: float, height: float) -> Axes:
    # Without pyplot, which would keep every figure until it is closed.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _finish_axes(axes: Axes, title: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", fontsize=11)


def _stretched(sparsity: ArrayLike) -> NDArray[np.float64]:
    # Margins of the axis may reach 1, where the logarithm ends.
    return -np.log10(np.clip(1 - np.asarray(sparsity, dtype=np.float64), 1e-6, None))


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
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
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
