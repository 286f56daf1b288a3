"""Drawings of a circuit, and of its changes in training."""

from __future__ import annotations

from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from elegans.layers.sequence_layer import SequenceLayer
from elegans.reporting.figures import STYLE, new_figure
from elegans.wiring import Wiring, draw


def draw_circuit(circuit: SequenceLayer | Wiring, **options: Any) -> Figure:
    """Draw a circuit; lines of a layer are as wide as its conductances.

    Parameters
    ----------
    circuit
        A layer or a wiring.
    **options
        As in `elegans.wiring.draw`.

    Raises
    ------
    WiringError
        The circuit is too large to draw.
    """
    with rc_context(STYLE):
        figure = new_figure(7.6, _height(circuit))
        circuit.draw(ax=figure.subplots(), **options)
    return _with_plain_names(figure)


def draw_changes(circuit: SequenceLayer | Wiring, before: Wiring) -> Figure:
    """Draw a circuit as it was and, beside it, as it is: what was cut and what has grown.

    Parameters
    ----------
    circuit
        The circuit now; lines of a layer are as wide as its conductances.
    before
        The wiring of the same neurons before.

    Raises
    ------
    WiringError
        The two have different neurons, or are too large to draw.
    """
    with rc_context(STYLE):
        # The width that names beside neurons and a legend of five entries need.
        figure = new_figure(13.0, _height(before))
        left, right = figure.subplots(1, 2)
        after = circuit if isinstance(circuit, Wiring) else circuit.wiring
        draw(before, ax=left, later=after, title="before training")
        circuit.draw(ax=right, before=before, title="after training")
    return _with_plain_names(figure)


def _height(circuit: SequenceLayer | Wiring) -> float:
    """Return inches that leave room for the largest layer, and for headers and legend."""
    wiring = circuit if isinstance(circuit, Wiring) else circuit.wiring
    largest = max(wiring.input_size, *wiring.layers.values())
    return min(2.4 + 0.35 * max(largest, 6), 12.0)


def _with_plain_names(figure: Figure) -> Figure:
    """Return the figure with names that matplotlib does not read as mathematics."""
    for axes in figure.axes:
        for text in axes.texts:
            text.set_parse_math(False)
    return figure
