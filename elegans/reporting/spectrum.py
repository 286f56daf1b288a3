"""Eigenvalues of the flow's Jacobian along a trajectory."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import cm, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from elegans.errors import InputError
from elegans.ltc.layer import LTC
from elegans.proofs import spectra_along
from elegans.reporting.figures import BLUE, INK, MUTED, STYLE, VERMILION, new_figure


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
    time = np.arange(len(values))
    with rc_context(STYLE):
        figure = new_figure(10.5, 4.4)
        plane, abscissa = figure.subplots(1, 2, width_ratios=[1, 1])
        # A spectrum on the real line would be a row of dots that hide each other.
        real = bool((values.imag == 0).all())
        points = plane.scatter(
            values.real.ravel(),
            values.imag.ravel(),
            c=np.repeat(time, values.shape[1]),
            s=160 if real else 7,
            marker="|" if real else "o",
            cmap="viridis",
            linewidths=0.8 if real else 0,
            alpha=0.35 if real else 0.7,
        )
        plane.axvline(0, color=INK, linewidth=1)
        plane.annotate(
            "decays  ←",
            (0, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-5, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=MUTED,
            fontsize=9,
        )
        plane.set_xscale("symlog", linthresh=1.0)
        plane.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        height = 1.15 * max(float(np.abs(values.imag).max()), 0.1)
        plane.set_ylim(-height, height)
        right = max(0.3, 1.3 * float(values.real.max()))
        plane.set_xlim(1.3 * float(min(values.real.min(), -1.0)), right)
        plane.set_xlabel(f"real part (per {step})")
        plane.set_ylabel(f"imaginary part (per {step})")
        plane.set_title("Eigenvalues of the Jacobian along a trajectory")
        bar = figure.colorbar(cm.ScalarMappable(points.norm, points.cmap), ax=plane, pad=0.01)
        bar.set_label("step")

        largest = values.real[:, 0]
        abscissa.plot(time, largest, color=BLUE, linewidth=1.4)
        abscissa.axhline(0, color=INK, linewidth=1)
        growing = largest > 0
        if growing.any():
            abscissa.fill_between(
                time, 0, largest, where=growing.tolist(), color=VERMILION, alpha=0.35, linewidth=0
            )
        abscissa.set_xlim(0, max(1, len(time) - 1))
        abscissa.set_xlabel("step")
        abscissa.set_ylabel(f"largest real part (per {step})")
        share = f"positive in {100 * growing.mean():.0f} % of the steps"
        abscissa.set_title(f"Spectral abscissa: {share if growing.any() else 'always negative'}")
    return figure
