"""Eigenvalues of the flow's Jacobian along a trajectory."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.layer import LTC
from elegans.proofs import spectra_along
from elegans.reporting.chart import (
    BLUE,
    PROVED,
    Array,
    Axis,
    Band,
    Chart,
    Line,
    Mark,
    Points,
    Rule,
    imaginary_axis,
    log_ticks,
)
from elegans.reporting.figures import figure_of
from elegans.reporting.wording import number

_MOST_POINTS = 5000
_LETTERS = 34  # of an upright title in a line


def draw_spectrum(model: LTC, inputs: Tensor, *, step: str = "time unit") -> Figure:
    """Draw the eigenvalues in the complex plane, coloured by time, and the largest real part.

    Parameters
    ----------
    model
        The layer; it runs from the zero state, each step lasting 1.
    inputs
        One sequence, shape (time, input), in the units that the layer is given.
    step
        What the elapsed time 1 is called; rates are per this.

    Raises
    ------
    InputError
        `inputs` is not one sequence.
    """
    if inputs.dim() != 2:
        raise InputError(
            f"got inputs of shape {tuple(inputs.shape)}, expected one sequence (time, input); pass "
            "inputs[0]"
        )
    with torch.no_grad():
        _, _, states = model(inputs, return_states=True)
        values = spectra_along(model, inputs, states).cpu().numpy()  # (time, neuron)
    time = np.arange(float(len(values)))
    return figure_of(spectrum_charts(values, time, step, "step"))


def spectrum_charts(
    values: NDArray[np.complex128],
    time: Array,
    unit: str,
    time_title: str,
    *,
    rate: float | None = None,
    evidence: str = "",
) -> tuple[Chart, Chart]:
    """Return the eigenvalues in the complex plane, and the largest real part over time.

    `values` is (time, neuron), that of the largest real part first, `time` (time,), `rate` a
    certified one, per `unit`: no eigenvalue is to the right of minus this.
    """
    points, moments = values.ravel(), np.repeat(time, values.shape[1])
    if len(points) > _MOST_POINTS:
        kept = np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)
        points, moments = points[kept], moments[kept]
    # A spectrum on the real line would be a row of dots that hide each other.
    on_line = bool((values.imag == 0).all())
    marks: list[Mark] = [
        Points(
            _stretch(points.real),
            points.imag,
            symbol="tick" if on_line else "circle",
            size=26 if on_line else 6,
            opacity=0.4 if on_line else 0.55,
            shade=moments,
            shade_title=time_title.split(" (")[0],
            notes=[
                f"growth rate {number(value.real)}, frequency {number(abs(value.imag))}\n"
                f"time {number(moment)}"
                for value, moment in zip(points, moments, strict=True)
            ],
            hover="{note}",
        )
    ]
    caption = (
        "Each mark is a mode at one moment, early ones dark and late ones bright. Left of zero it "
        "decays, away from the middle line it oscillates; the axis is logarithmic away from zero. "
        "The modes of single moments do not decide on stability under changing inputs."
    )
    largest = values.real[:, 0]
    course: list[Mark] = [Line(time, largest, BLUE, hover="time {x}\ngrowth rate {y}")]
    course_caption = "The slowest mode over time: below zero everything decays at that moment"
    least, most = float(values.real.min()), max(0.3, 1.2 * float(values.real.max()))
    if rate:
        edge = float(_stretch(-rate))
        marks = [Band(edge, float(_stretch(most)), PROVED), Rule("x", edge, PROVED), *marks]
        caption += " No state of the certified box has an eigenvalue in the green strip (proved)."
        course.append(Rule("y", -rate, PROVED, label=f"at most ({evidence})"))
        course_caption += "; the green line is what the certificate allows"
    growing = f"positive in {100 * (largest > 0).mean():.0f} % of the steps"
    sizes = log_ticks(0.1, max(0.3, most, -1.2 * least))
    ticks = [-size for size in sizes if size <= -1.2 * least] + [0.0, *sizes]
    return Chart(
        "spectra",
        "Eigenvalues of the Jacobian along a trajectory",
        f"Eigenvalues of the Jacobian at {len(time)} moments in the complex plane.",
        caption,
        Axis(
            f"real part (per {unit})",
            ticks={float(_stretch(tick)): number(tick) for tick in ticks if tick <= most},
            zero=True,
        ),
        imaginary_axis(values.imag, fill(f"imaginary part (per {unit})", _LETTERS)),
        marks,
        300 if on_line else 420,
    ), Chart(
        "abscissa",
        f"Spectral abscissa: {growing if (largest > 0).any() else 'always negative'}",
        "Line of the largest real part of the eigenvalues over time.",
        f"{course_caption}.",
        Axis(time_title),
        Axis(fill(f"largest real part (per {unit})", _LETTERS), zero=True),
        course,
        280,
    )


def _stretch(values: Array | float) -> Array:
    """Return places on an axis that is logarithmic away from 0 on either side."""
    return np.asarray(np.sign(values) * np.log10(1 + 10 * np.abs(values)))
