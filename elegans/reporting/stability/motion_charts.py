"""Charts of how fast the circuit forgets: rates, spectra, equilibria, exponents."""

from __future__ import annotations

from typing import Any

import numpy as np

from elegans.reporting.figures import BLUE, INK, MUTED
from elegans.reporting.stability.content import Content
from elegans.reporting.stability.palette import CROSS, PALE, PROVED, SEEN, layout
from elegans.reporting.stability.rates import rates_of
from elegans.reporting.stability.traces import Chart, numbers, time_title, upright
from elegans.reporting.stability.wording import number

_MOST_POINTS = 5000


def draw_rates(content: Content) -> Chart | None:
    """Return all rates side by side."""
    rates = rates_of(content)
    if not rates:
        return None
    points = {
        "type": "scatter",
        "mode": "markers+text",
        "x": numbers(np.array([rate.value for rate in rates])),
        "y": [rate.label for rate in rates],
        "text": [f" {number(rate.value)} " for rate in rates],
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK},
        "cliponaxis": False,
        "error_x": {
            "type": "data",
            "array": numbers(np.array([rate.error for rate in rates])),
            "color": SEEN,
            "thickness": 1.5,
            "width": 5,
        },
        "marker": {"size": 13, "color": [rate.color for rate in rates]},
        "customdata": [[rate.evidence, rate.meaning] for rate in rates],
        "hovertemplate": "<b>%{y}</b>: %{text}<br>%{customdata[1]}<br>"
        "<i>%{customdata[0]}</i><extra></extra>",
    }
    stems = {
        "type": "scatter",
        "mode": "lines",
        "x": [value for rate in rates for value in (0.0, float(rate.value), None)],
        "y": [label for rate in rates for label in (rate.label, rate.label, None)],
        "line": {"color": PALE, "width": 4},
        "hoverinfo": "skip",
    }
    low, high = (
        float(end([rate.value + sign * rate.error for rate in rates] + [0.0]))
        for end, sign in ((min, -1), (max, 1))
    )
    room = 0.15 * max(high - low, 1e-9)
    return Chart(
        "rates",
        "Dot chart of rates of forgetting: "
        + "; ".join(f"{rate.label} {number(rate.value)}" for rate in rates),
        "Further to the right forgets faster; left of zero grows. A proof is a promise for every "
        "input in the range, so it lies to the left of what was seen.",
        {
            "data": [stems, points],
            "layout": layout(
                70 + 46 * len(rates),
                showlegend=False,
                xaxis={
                    "title": {"text": f"rate per {content.subject.time_unit}"},
                    "range": [low - room, high + room],
                },
                yaxis={"autorange": "reversed", "showgrid": False},
            ),
        },
    )


def draw_spectra(content: Content) -> Chart | None:
    """Return the eigenvalues along the sequence, in the complex plane."""
    spectra = content.spectra
    if spectra is None:
        return None
    real, imaginary = spectra.real.ravel(), spectra.imaginary.ravel()
    time = np.repeat(spectra.time, spectra.real.shape[1])
    kept, flat = np.arange(len(real)), bool((imaginary == 0).all())
    if len(real) > _MOST_POINTS:
        kept = np.linspace(0, len(real) - 1, _MOST_POINTS).round().astype(int)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "along the sequence",
            "x": numbers(real[kept]),
            "y": numbers(imaginary[kept]),
            "marker": {
                # A spectrum on the real line would be a row of dots that hide each other.
                "symbol": "line-ns-open" if flat else "circle",
                "size": 26 if flat else 6,
                "opacity": 0.4 if flat else 0.55,
                "color": numbers(time[kept]),
                "colorscale": "Viridis",
                "showscale": False,
            },
            "customdata": numbers(time[kept]),
            "hovertemplate": "%{x} %{y:+}i<br>time %{customdata}<extra></extra>",
        }
    ]
    shapes = [upright(0.0, MUTED, "solid")]
    notes = []
    proof = content.contraction
    if proof is not None and proof.certified and proof.rate:
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": -proof.rate,
                "x1": max(0.3, 1.2 * float(real.max())),
                "y0": 0,
                "y1": 1,
                "fillcolor": PROVED,
                "opacity": 0.1,
                "line": {"width": 0},
                "layer": "below",
            }
        )
        shapes.append(upright(-proof.rate, PROVED, "solid"))
        notes.append("No state of the certified box has an eigenvalue in the green strip (proved).")
    height = 1.2 * max(float(np.abs(imaginary).max()), 0.1)
    return Chart(
        "spectra",
        f"Eigenvalues of the Jacobian at {len(spectra.time)} moments in the complex plane.",
        "Each dot is a mode at one moment, early ones dark and late ones bright. Left of zero it "
        "decays, away from the middle line it oscillates. The modes of single moments do not "
        "decide on stability under changing inputs. " + " ".join(notes),
        {
            "data": data,
            "layout": layout(
                240 if flat else 380,
                showlegend=False,
                shapes=shapes,
                xaxis={"title": {"text": f"growth rate per {content.subject.time_unit}"}},
                yaxis={"title": {"text": "oscillation"}, "range": [-height, height]},
            ),
        },
    )


def draw_abscissa(content: Content) -> Chart | None:
    """Return the largest real part over time."""
    spectra = content.spectra
    if spectra is None or len(spectra.time) < 2:
        return None
    shapes = []
    proof = content.contraction
    if proof is not None and proof.certified and proof.rate:
        shapes.append(
            {
                "type": "line",
                "xref": "paper",
                "yref": "y",
                "x0": 0,
                "x1": 1,
                "y0": -proof.rate,
                "y1": -proof.rate,
                "line": {"color": PROVED, "width": 2},
            }
        )
    return Chart(
        "abscissa",
        "Line of the largest real part of the eigenvalues over time.",
        "The slowest mode over time: below zero everything decays at that moment"
        + ("; the green line is what the certificate allows." if shapes else "."),
        {
            "data": [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": numbers(spectra.time),
                    "y": numbers(spectra.abscissa),
                    "line": {"color": BLUE, "width": 2},
                    "hovertemplate": "time %{x}<br>growth rate %{y}<extra></extra>",
                }
            ],
            "layout": layout(
                250,
                shapes=shapes,
                xaxis={"title": {"text": time_title(content)}},
                yaxis={"title": {"text": "growth rate"}, "rangemode": "tozero"},
            ),
        },
    )


def draw_equilibria(content: Content) -> Chart | None:
    """Return the eigenvalues at the equilibria."""
    found = content.equilibria
    if found is None or not found.shown:
        return None
    data = []
    symbols = {"attracting": "circle", "repelling": "x", "undecided": "diamond"}
    for k, rest in enumerate(found.shown):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{k + 1}: {rest.linearised}",
                "x": numbers(rest.real),
                "y": numbers(rest.imaginary),
                "marker": {
                    "size": 8,
                    "symbol": symbols[rest.linearised],
                    "color": CROSS if rest.linearised != "attracting" else SEEN,
                    "opacity": 0.75,
                },
                "hovertemplate": f"equilibrium {k + 1}<br>%{{x}} %{{y:+}}i<extra></extra>",
            }
        )
    height = 1.2 * max(0.1, *(float(np.abs(rest.imaginary).max()) for rest in found.shown))
    return Chart(
        "equilibria",
        f"Eigenvalues at {len(found.shown)} equilibria in the complex plane.",
        "Modes of the linearised flow at each equilibrium that was found.",
        {
            "data": data,
            "layout": layout(
                320,
                shapes=[upright(0.0, MUTED, "solid")],
                showlegend=len(data) > 1,
                xaxis={"title": {"text": f"growth rate per {content.subject.time_unit}"}},
                yaxis={"title": {"text": "oscillation"}, "range": [-height, height]},
                margin={"t": 36},
            ),
        },
    )


def draw_exponents(content: Content) -> Chart | None:
    """Return the Lyapunov exponents with their error bars."""
    found = content.exponents
    if found is None:
        return None
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "measured",
            "x": list(range(1, len(found.values) + 1)),
            "y": numbers(found.values),
            "error_y": {
                "type": "data",
                "array": numbers(found.errors),
                "color": SEEN,
                "thickness": 1.5,
                "width": 4,
            },
            "marker": {"size": 8, "color": SEEN},
            "hovertemplate": "exponent %{x}: %{y} ± %{error_y.array}<extra></extra>",
        }
    ]
    shapes = []
    if found.bound is not None:
        shapes.append(
            {
                "type": "line",
                "xref": "paper",
                "yref": "y",
                "x0": 0,
                "x1": 1,
                "y0": found.bound,
                "y1": found.bound,
                "line": {"color": PROVED, "width": 2},
            }
        )
    return Chart(
        "exponents",
        f"{len(found.values)} Lyapunov exponents with error bars.",
        "How small differences grew (above zero) or shrank (below) in each step, direction by "
        "direction; bars are 95 % intervals."
        + (" The green line is what the certificate allows the first to be." if shapes else ""),
        {
            "data": data,
            "layout": layout(
                320,
                shapes=shapes,
                xaxis={
                    "title": {"text": "exponent"},
                    "dtick": max(1, len(found.values) // 8),
                    "range": [0.4, len(found.values) + 0.6],
                },
                yaxis={"title": {"text": "per step"}, "rangemode": "tozero"},
            ),
        },
    )
