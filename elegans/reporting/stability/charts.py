"""Charts of the stability report, each described once for the page and for the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from elegans.reporting.chart import (
    PALE,
    PALE_GREEN,
    PROVED,
    SEEN,
    VERMILION,
    Array,
    Axis,
    Chart,
    Heatmap,
    Line,
    Mark,
    Points,
    Rule,
    around,
    imaginary_axis,
    log_ticks,
    spans,
)
from elegans.reporting.figures import draw_circuit, figure_of
from elegans.reporting.spectrum import spectrum_charts
from elegans.reporting.stability.content import SEARCHED, Content, WeightedWiring
from elegans.reporting.stability.facts import rates_of
from elegans.reporting.stability.ledger_charts import ledger_chart, slack_chart
from elegans.reporting.stability.task_chart import task_chart
from elegans.reporting.wording import number, per_second, plural, short, time_title
from elegans.wiring.drawing.views import view_of

MOST_ROWS = 40
"""Neurons in a chart with a row for each; the JSON has all of them."""

_ROW = 20  # pixels


def draw_charts(content: Content) -> dict[str, Chart]:
    """Return the charts that the content has something for, by name."""
    makers: list[Callable[[Content], Chart | None]] = [
        task_chart,
        _activity,
        _rates,
        _boxes,
        _time_constants,
        _equilibria,
        _exponents,
        _gains,
        ledger_chart,
        slack_chart,
    ]
    charts = [make(content) for make in makers]
    spectra, proof = content.spectra, content.contraction
    if spectra is not None:
        certified = proof if proof is not None and proof.certified else None
        plane, abscissa = spectrum_charts(
            spectra.real + 1j * spectra.imaginary,
            spectra.time,
            content.subject.time_unit,
            time_title(content.subject.time_unit),
            rate=None if certified is None else certified.rate,
            evidence="" if certified is None else _brief(certified.evidence),
        )
        charts += [plane, abscissa] if len(spectra.time) > 1 else [plane]
    return {chart.name: chart for chart in charts if chart is not None}


def draw_figures(content: Content) -> dict[str, Figure]:
    """Return the wiring and the charts as figures, by name; the abscissa is below the spectra."""
    charts = draw_charts(content)
    below = {"spectra": [charts.pop("abscissa")]} if "abscissa" in charts else {}
    figures = {name: figure_of([chart, *below.get(name, [])]) for name, chart in charts.items()}
    return figures | draw_wirings(content.circuit)


def draw_wirings(circuit: WeightedWiring) -> dict[str, Figure]:
    """Return the wiring, and that of a large circuit layer by layer, by name."""
    weights: dict[str, Any] = {
        "weights": circuit.weight,
        "sensory_weights": circuit.sensory_weight,
        "quantity": "conductance",
    }
    figures = {"wiring": draw_circuit(circuit.wiring, **weights)}
    if view_of(circuit.wiring) == "matrix":
        figures["layers"] = draw_circuit(circuit.wiring, view="classes", **weights)
    return figures


def _activity(content: Content) -> Chart:
    activity = content.activity
    shown = _most_important(np.ptp(activity.states, axis=0))
    which = _shown_note(content, shown, "whose potentials move most")
    return Chart(
        "activity",
        _title(content, shown, "Activity"),
        f"Heat map of the potentials of {len(shown)} neurons over {len(activity.time)} moments.",
        f"Each row is a neuron{which}; the dotted line is the moment that is chosen above.",
        Axis(time_title(content.subject.time_unit)),
        _neurons(content, shown),
        [
            Heatmap(
                activity.time,
                activity.states[:, shown].T,
                "potential",
                hover="{y}\ntime {x}\npotential {z}",
            )
        ],
        150 + _ROW * len(shown),
    )


def _boxes(content: Content) -> Chart | None:
    boxes, activity = content.boxes, content.activity
    if boxes is None:
        return None
    shown = _most_important(boxes.box_hi - boxes.box_lo)
    which = _shown_note(content, shown, "with the widest intervals")
    return Chart(
        "boxes",
        _title(content, shown, f"Boxes: {_brief(boxes.evidence)}"),
        f"Bars of the intervals of {len(shown)} potentials: first box, last box and measured.",
        "Pale: the box that holds for any input. Green: the box entered in the end, under inputs "
        "in the range. Blue: what was seen, which begins at zero and may come from outside"
        f"{which}.",
        Axis("potential", range=around(boxes.hull_lo, boxes.hull_hi), zero=True),
        _neurons(content, shown),
        [
            _ranges(boxes.hull_lo, boxes.hull_hi, shown, PALE, 12, "any input"),
            _ranges(boxes.box_lo, boxes.box_hi, shown, PROVED, 8, "inputs in the range"),
            _ranges(activity.state_lo, activity.state_hi, shown, SEEN, 3, "measured"),
        ],
        90 + _ROW * len(shown),
    )


def _time_constants(content: Content) -> Chart | None:
    measured, boxes = content.activity.time_constants, content.boxes
    measured = np.where(np.isfinite(measured), measured, np.nan)  # one that never forgets: no bar
    if np.isnan(measured).all():
        return None
    slowest = float(np.nanmax(measured))
    measured = np.where(np.isnan(measured).any(axis=0), np.nan, measured)
    lo, hi, median = measured.min(axis=0), measured.max(axis=0), np.median(measured, axis=0)
    shown = _most_important(median)
    marks: list[Mark] = [_ranges(lo, hi, shown, SEEN, 3, "measured")]
    ends = around(lo[shown], hi[shown], log=True)
    if boxes is not None:
        finite = np.where(np.isfinite(boxes.tau_hi), boxes.tau_hi, 10 * slowest)
        marks.insert(0, _ranges(boxes.tau_lo, finite, shown, PROVED, 8, "proved range"))
        ends = around(np.minimum(lo, boxes.tau_lo)[shown], np.maximum(hi, finite)[shown], log=True)
    rows = np.arange(len(shown), dtype=np.float64)
    hover = "{y}\nmedian {x}"
    marks.append(Points(median[shown], rows, symbol="ring", size=7, label="median", hover=hover))
    which = _shown_note(content, shown, "that are slowest")
    return Chart(
        "time-constants",
        _title(content, shown, "Time constants"),
        f"Bars of the time constants of {len(shown)} neurons on a logarithmic axis.",
        "How long a neuron needs to forget: its capacitance over all open conductances. Liquid "
        "neurons change it with their inputs, within the green range once the box is entered"
        f"{which}.",
        Axis(
            f"time constant (in {plural(content.subject.time_unit)})",
            range=ends,
            ticks={tick: number(tick) for tick in log_ticks(*ends)},
            log=True,
        ),
        _neurons(content, shown),
        marks,
        90 + _ROW * len(shown),
    )


def _gains(content: Content) -> Chart | None:
    proof = content.contraction
    if proof is None or proof.gain is None:
        return None
    shown = _most_important(proof.gain)
    output = np.isin(shown, content.circuit.wiring.outputs)
    which = _shown_note(content, shown, "with the largest gains")
    zero, longest = np.zeros(len(shown)), max(float(proof.gain.max()), 1e-9)
    return Chart(
        "gains",
        _title(content, shown, f"Input gains: {_brief(proof.evidence)}"),
        f"Bars of the input gains of {len(shown)} neurons.",
        f"How far inputs that differ by 1 can move each potential at most{which}.",
        Axis("potential per unit of input, at most", range=(0.0, 1.05 * longest), zero=True),
        _neurons(content, shown),
        [
            spans(
                zero,
                np.where(mask, proof.gain[shown], np.nan),
                color,
                width=13,
                label=label,
                hover="{y}\nat most {x}",
            )
            for mask, color, label in (
                (output, PROVED, "outputs"),
                (~output, PALE_GREEN, "other neurons"),
            )
            if mask.any()
        ],
        90 + _ROW * len(shown),
    )


def _rates(content: Content) -> Chart | None:
    rates = rates_of(content)
    if not rates:
        return None
    values, errors = (
        np.array([getattr(rate, name) for rate in rates]) for name in ("value", "error")
    )
    seconds = content.subject.seconds
    low, high = min(0.0, *(values - errors)), max(0.0, *(values + errors))
    room = 0.15 * max(high - low, 1e-9)
    return Chart(
        "rates",
        "Proved, possible and measured rates",
        "Dot chart of rates of forgetting: "
        + "; ".join(f"{rate.label} {rate.shown(rate.value)}" for rate in rates),
        "Further to the right forgets faster; left of zero grows. A proof is a promise for every "
        "input in the range, so it lies to the left of what was seen.",
        Axis(
            f"rate of forgetting per {content.subject.time_unit}"
            + (f" (1 is {per_second(1.0, seconds)})" if seconds is not None else ""),
            range=(low - room, high + room),
            zero=True,
        ),
        Axis(rows=tuple(f"{rate.label}\n{_brief(rate.evidence)}" for rate in rates)),
        [
            spans(np.zeros(len(rates)), values, PALE, 4),
            Points(
                values,
                np.arange(len(rates), dtype=np.float64),
                [rate.color for rate in rates],
                size=12,
                error_x=errors,
                texts=[rate.shown(rate.value) for rate in rates],
                notes=[f"{rate.label}: {rate.shown(rate.value)}\n{rate.meaning}" for rate in rates],
                hover="{note}",
            ),
        ],
        70 + 46 * len(rates),
    )


def _equilibria(content: Content) -> Chart | None:
    search = content.equilibria
    if search is None or not search.shown:
        return None
    marks: list[Mark] = []
    for place, rest in enumerate(search.shown, start=1):
        attracting = rest.linearised == "attracting"
        marks.append(
            Points(
                rest.real,
                rest.imaginary,
                SEEN if attracting else VERMILION,
                "circle" if attracting else "cross",
                opacity=0.75,
                label=f"{place}: {rest.linearised}",
                hover=f"equilibrium {place}\n{{x}} {{y:+}}i",
            )
        )
    return Chart(
        "equilibria",
        f"Spectra of {len(search.shown)} of {search.count} equilibria ({SEARCHED})",
        f"Eigenvalues at {len(search.shown)} equilibria in the complex plane.",
        "Modes of the linearised flow at each equilibrium that was found.",
        Axis(f"real part per {content.subject.time_unit}", zero=True),
        imaginary_axis(np.concatenate([rest.imaginary for rest in search.shown])),
        marks,
        320,
    )


def _exponents(content: Content) -> Chart | None:
    exponents, proof = content.exponents, content.contraction
    if exponents is None:
        return None
    count = len(exponents.values)
    ticks = {float(k): str(k) for k in range(1, count + 1, max(1, count // 8))}
    bounds = []
    if exponents.bound is not None and proof is not None:
        label = f"bound on the first ({_brief(proof.evidence)})"
        bounds.append(Rule("y", exponents.bound, PROVED, label=label))
    return Chart(
        "exponents",
        "Lyapunov exponents (measured, 95 % intervals)",
        f"{count} Lyapunov exponents with error bars.",
        "How small differences grew (above zero) or shrank (below) in each step, direction by "
        "direction; bars are 95 % intervals."
        + (" The green line is what the certificate allows the first to be." if bounds else ""),
        Axis("exponent", (0.4, count + 0.6), ticks),
        Axis("per step", zero=True),
        [
            *bounds,
            Points(
                np.arange(1.0, count + 1),
                exponents.values,
                error_y=exponents.errors,
                label="measured" if bounds else "",
                notes=[number(error) for error in exponents.errors],
                hover="exponent {x}: {y} ± {note}",
            ),
        ],
        320,
    )


def _most_important(importance: Array) -> NDArray[np.int64]:
    """Return the neurons that a chart shows: all of a small circuit, or the most important."""
    return np.sort(np.argsort(-importance, kind="stable")[:MOST_ROWS])


def _neurons(content: Content, shown: NDArray[np.int64]) -> Axis:
    """Return an axis with a row for each neuron, under names cut short but still unique."""
    rows: list[str] = []
    for neuron in shown:
        name = short(content.names[neuron])
        rows.append(f"{name} ({neuron})" if name in rows else name)
    return Axis(rows=tuple(rows))


def _title(content: Content, shown: NDArray[np.int64], title: str) -> str:
    total = len(content.names)
    return title if len(shown) == total else f"{title} ({len(shown)} of {total} neurons)"


def _shown_note(content: Content, shown: NDArray[np.int64], which: str) -> str:
    """Return which neurons are shown, nothing where all are."""
    total = len(content.names)
    return "" if len(shown) == total else f"; {len(shown)} of {total:,} are shown, those {which}"


def _ranges(
    lo: Array, hi: Array, shown: NDArray[np.int64], color: str, width: float, label: str
) -> Line:
    hover = f"{{y}}\n{label} {{x}}"
    return spans(lo[shown], hi[shown], color, width, label=label, hover=hover)


def _brief(evidence: str) -> str:
    return evidence.replace(" with an allowance for rounding", "")
