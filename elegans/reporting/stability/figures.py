"""The report as matplotlib figures, one for each chart of the page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from elegans.errors import WiringError
from elegans.proofs.certificates.network import Array
from elegans.pruning.ledger import REWIRED
from elegans.reporting.figures import INK, MUTED, STYLE, new_figure
from elegans.reporting.stability.content import SEARCHED, Content, EditLine
from elegans.reporting.stability.history import SLACKS
from elegans.reporting.stability.ledger_charts import side_by_side
from elegans.reporting.stability.palette import CROSS, DIVERGING, PALE, PROVED, SEEN, WEAK
from elegans.reporting.stability.rates import rates_of
from elegans.reporting.stability.traces import rows_shown, short, time_title
from elegans.reporting.stability.wording import number, plural
from elegans.wiring import draw
from elegans.wiring.drawing.circuit import SYNAPSE_COLORS

_WIDTH = 7.2  # inches
_ROW = 0.21
_COLORS = LinearSegmentedColormap.from_list("activity", [(at, color) for at, color in DIVERGING])


def draw_figures(content: Content) -> dict[str, Figure]:
    """Return the figures that the content has something for, by name."""
    makers: dict[str, Callable[[Content], Figure | None]] = {
        "wiring": _wiring,
        "activity": _activity,
        "rates": _rates,
        "boxes": _boxes,
        "time-constants": _time_constants,
        "spectra": _spectra,
        "equilibria": _equilibria,
        "exponents": _exponents,
        "gains": _gains,
        "ledger": _ledger,
        "slacks": _slacks,
    }
    with rc_context(STYLE):
        made = {name: make(content) for name, make in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def _wiring(content: Content) -> Figure | None:
    """Draw the circuit; None if it is too large."""
    circuit = content.circuit
    largest = max(circuit.wiring.input_size, *circuit.wiring.layers.values())
    figure = new_figure(7.6, min(2.4 + 0.35 * max(largest, 6), 12.0))
    axes = figure.subplots()
    try:
        draw(
            circuit.wiring,
            ax=axes,
            weights=circuit.weight,
            sensory_weights=circuit.sensory_weight,
        )
    except WiringError:
        return None
    for text in axes.texts:  # a name may hold what matplotlib reads as mathematics
        text.set_parse_math(False)
    return figure


def _activity(content: Content) -> Figure:
    activity = content.activity
    chosen = rows_shown(content, np.ptp(activity.states, axis=0))
    values = activity.states[:, chosen].T
    most = float(np.abs(values).max(initial=1e-12))
    figure, axes = _rows(content, chosen, "Activity")
    axes.grid(False)
    end = max(float(activity.time[-1]), float(activity.time[0]) + 1e-9)
    image = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap=_COLORS,
        vmin=-most,
        vmax=most,
        extent=(float(activity.time[0]), end, len(chosen) - 0.5, -0.5),
    )
    axes.set_xlabel(time_title(content))
    figure.colorbar(image, ax=axes, label="potential")
    return figure


def _rates(content: Content) -> Figure | None:
    rates = rates_of(content)
    if not rates:
        return None
    figure = new_figure(_WIDTH, 1.3 + 0.42 * len(rates))
    axes = figure.subplots()
    place = np.arange(len(rates))
    values = [rate.value for rate in rates]
    axes.hlines(place, 0, values, color=PALE, linewidth=3)
    for k, rate in enumerate(rates):
        axes.errorbar(rate.value, k, xerr=rate.error or None, fmt="o", color=rate.color, capsize=3)
        axes.annotate(
            number(rate.value),
            (rate.value, k),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(place, [f"{rate.label}\n({_short_evidence(rate.evidence)})" for rate in rates])
    axes.tick_params(axis="y", labelsize=8.5)
    axes.set_ylim(len(rates) - 0.5, -0.7)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"rate of forgetting per {content.subject.time_unit}")
    axes.set_title("What was proved, what can be, what was seen")
    return figure


def _boxes(content: Content) -> Figure | None:
    boxes, activity = content.boxes, content.activity
    if boxes is None:
        return None
    chosen = rows_shown(content, boxes.box_hi - boxes.box_lo)
    figure, axes = _rows(content, chosen, f"Boxes: {boxes.evidence}")
    _spans(axes, boxes.hull_lo, boxes.hull_hi, chosen, PALE, 8, "any input")
    _spans(axes, boxes.box_lo, boxes.box_hi, chosen, PROVED, 5, "inputs in the range")
    _spans(axes, activity.state_lo, activity.state_hi, chosen, SEEN, 1.8, "measured")
    axes.set_xlabel("potential")
    _legend(figure)
    return figure


def _time_constants(content: Content) -> Figure:
    seen, boxes = content.activity.time_constants, content.boxes
    middle = np.median(seen, axis=0)
    chosen = rows_shown(content, middle)
    figure, axes = _rows(content, chosen, "Time constants")
    if boxes is not None:
        finite = np.where(np.isfinite(boxes.tau_hi), boxes.tau_hi, 10 * seen.max())
        _spans(axes, boxes.tau_lo, finite, chosen, PROVED, 5, "proved range")
    _spans(axes, seen.min(axis=0), seen.max(axis=0), chosen, SEEN, 1.8, "measured")
    axes.plot(
        middle[chosen],
        np.arange(len(chosen)),
        "o",
        color="white",
        markeredgecolor=SEEN,
        markersize=5,
        label="median",
    )
    axes.set_xscale("log")
    # The default labels are mathematics, for which matplotlib looks for fonts that may be missing.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"time constant (in {plural(content.subject.time_unit)})")
    _legend(figure)
    return figure


def _spectra(content: Content) -> Figure | None:
    spectra, proof = content.spectra, content.contraction
    if spectra is None:
        return None
    figure = new_figure(_WIDTH, 5.8)
    plane, abscissa = figure.subplots(2, height_ratios=[3, 2])
    time = np.repeat(spectra.time, spectra.real.shape[1])
    points = plane.scatter(
        spectra.real.ravel(), spectra.imaginary.ravel(), c=time, s=8, cmap="viridis", alpha=0.6
    )
    plane.axvline(0, color=INK, linewidth=1)
    height = 1.2 * max(float(np.abs(spectra.imaginary).max()), 0.1)
    plane.set_ylim(-height, height)
    plane.set_xlabel(f"real part per {content.subject.time_unit}")
    plane.set_ylabel("imaginary part")
    plane.set_title("Eigenvalues along the sequence")
    figure.colorbar(points, ax=plane, label="time")
    abscissa.plot(spectra.time, spectra.abscissa, color=SEEN)
    abscissa.axhline(0, color=INK, linewidth=1)
    abscissa.set_xlabel(time_title(content))
    abscissa.set_ylabel("largest real part")
    if proof is not None and proof.certified and proof.rate:
        edge = max(0.3, 1.2 * float(spectra.real.max()))
        plane.axvspan(-proof.rate, edge, color=PROVED, alpha=0.12, linewidth=0)
        abscissa.axhline(-proof.rate, color=PROVED, label=f"at most ({proof.evidence})")
        abscissa.legend()
    return figure


def _equilibria(content: Content) -> Figure | None:
    found = content.equilibria
    if found is None or not found.shown:
        return None
    figure = new_figure(_WIDTH, 3.6)
    axes = figure.subplots()
    for k, rest in enumerate(found.shown):
        attracting = rest.linearised == "attracting"
        axes.plot(
            rest.real,
            rest.imaginary,
            "o" if attracting else "x",
            color=SEEN if attracting else CROSS,
            alpha=0.75,
            label=f"{k + 1}: {rest.linearised} by linearisation",
        )
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlabel(f"real part per {content.subject.time_unit}")
    axes.set_ylabel("imaginary part")
    axes.set_title(f"Spectra of {len(found.shown)} of {found.found} equilibria ({SEARCHED})")
    axes.legend()
    return figure


def _exponents(content: Content) -> Figure | None:
    found = content.exponents
    if found is None:
        return None
    figure = new_figure(_WIDTH, 3.6)
    axes = figure.subplots()
    place = np.arange(1, len(found.values) + 1)
    axes.errorbar(place, found.values, yerr=found.errors, fmt="o", color=SEEN, capsize=3)
    axes.axhline(0, color=INK, linewidth=1)
    if found.bound is not None and content.contraction is not None:
        axes.axhline(
            found.bound, color=PROVED, label=f"bound on the first ({content.contraction.evidence})"
        )
        axes.legend()
    axes.set_xlabel("exponent")
    axes.set_ylabel("per step")
    axes.set_title("Lyapunov exponents (measured, 95 % intervals)")
    return figure


def _gains(content: Content) -> Figure | None:
    proof = content.contraction
    if proof is None or proof.gain is None:
        return None
    chosen = rows_shown(content, proof.gain)
    figure, axes = _rows(content, chosen, f"Input gains: {proof.evidence}")
    output = chosen < content.subject.outputs
    axes.barh(
        np.arange(len(chosen)),
        proof.gain[chosen],
        color=np.where(output, PROVED, "#9FD8C5").tolist(),
    )
    axes.set_xlabel("potential per unit of input, at most (outputs are dark)")
    return figure


def _ledger(content: Content) -> Figure | None:
    history = content.history
    if history is None or not history.edits:
        return None
    order = {name: k for k, name in enumerate(content.names)}
    figure = new_figure(_WIDTH, 1.8 + _ROW * min(len(order), 40))
    axes = figure.subplots()
    at = side_by_side(history.edits)
    moved = [edit for edit in history.edits if edit.outcome == REWIRED and edit.grown is not None]
    for edit in moved:
        axes.plot(
            [at[id(edit)]] * 2,
            [order[edit.cut], order[edit.grown or edit.cut]],
            color=PALE,
            linewidth=1,
            zorder=1,
        )
    for sign, name, mark in ((1, "excitatory", "^"), (-1, "inhibitory", "v")):
        mine = [edit for edit in moved if edit.polarity == sign]
        _marks(axes, mine, at, order, mark, SYNAPSE_COLORS[name], f"grown {name}")
    kept = [edit for edit in history.edits if edit.outcome != REWIRED]
    _marks(axes, kept, at, order, "|", MUTED, "kept or refused")
    if len(order) <= 40:
        axes.set_yticks(range(len(order)), [short(name) for name in order], parse_math=False)
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("optimiser step")
    axes.set_title(f"{history.rewired} synapses rewired")
    _legend(figure)
    return figure


def _slacks(content: Content) -> Figure | None:
    history = content.history
    edits = history.edits if history is not None else []
    if not any(name in edit.notes for edit in edits for name in SLACKS):
        return None
    figure = new_figure(_WIDTH, 3.2)
    axes = figure.subplots()
    for when, color, face in (("before", MUTED, "none"), ("after", PROVED, PROVED)):
        points = [
            (edit.step, value)
            for edit in edits
            for name in SLACKS
            if name.endswith(when) and (value := edit.notes.get(name)) is not None
        ]
        axes.scatter(
            [step for step, _ in points],
            [value for _, value in points],
            s=22,
            edgecolors=color,
            facecolors=face,
            label=when,
        )
    axes.axhline(0, color=WEAK, linewidth=1)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("row slack")
    axes.set_title("Row slack before and after each edit")
    axes.legend()
    return figure


def _rows(content: Content, chosen: NDArray[np.int64], title: str) -> tuple[Figure, Axes]:
    """Return a figure with a row for each neuron."""
    figure = new_figure(_WIDTH, 1.6 + _ROW * len(chosen))
    axes = figure.subplots()
    axes.set_yticks(
        np.arange(len(chosen)), [short(content.names[k]) for k in chosen], parse_math=False
    )
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    total = len(content.names)
    axes.set_title(title if len(chosen) == total else f"{title} ({len(chosen)} of {total} neurons)")
    return figure, axes


def _spans(
    axes: Axes,
    lo: Array,
    hi: Array,
    chosen: NDArray[np.int64],
    color: str,
    width: float,
    label: str,
) -> None:
    axes.hlines(
        np.arange(len(chosen)), lo[chosen], hi[chosen], color=color, linewidth=width, label=label
    )


def _marks(
    axes: Axes,
    edits: list[EditLine],
    at: dict[int, float],
    order: dict[str, int],
    mark: str,
    color: str,
    label: str,
) -> None:
    if edits:
        axes.plot(
            [at[id(edit)] for edit in edits],
            [order[edit.grown or edit.cut] for edit in edits],
            mark,
            color=color,
            markersize=6,
            linestyle="",
            label=label,
        )


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=3)


def _short_evidence(evidence: str) -> str:
    return evidence.replace(" with an allowance for rounding", "")
