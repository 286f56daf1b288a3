"""Figures of a training and of the trained circuit.

Functions return `matplotlib.figure.Figure`; `save_figure` writes one. No state of pyplot is used.
"""

from elegans.reporting.drives import draw_drives
from elegans.reporting.figures import draw_changes, draw_circuit, save_figure
from elegans.reporting.learning import draw_learning
from elegans.reporting.predictions import draw_predictions
from elegans.reporting.spectrum import draw_spectrum

__all__ = [
    "draw_changes",
    "draw_circuit",
    "draw_drives",
    "draw_learning",
    "draw_predictions",
    "draw_spectrum",
    "save_figure",
]
