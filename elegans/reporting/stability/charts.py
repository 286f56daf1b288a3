"""The charts of the page, as the plain values that plotly takes."""

from __future__ import annotations

from collections.abc import Callable

from elegans.reporting.stability.content import Content
from elegans.reporting.stability.ledger_charts import draw_ledger, draw_slacks
from elegans.reporting.stability.motion_charts import (
    draw_abscissa,
    draw_equilibria,
    draw_exponents,
    draw_rates,
    draw_spectra,
)
from elegans.reporting.stability.neuron_charts import (
    draw_activity,
    draw_boxes,
    draw_gains,
    draw_time_constants,
)
from elegans.reporting.stability.traces import Chart


def draw_charts(content: Content) -> dict[str, Chart]:
    """Return the charts that the content has something for, by name."""
    makers: list[Callable[[Content], Chart | None]] = [
        draw_activity,
        draw_rates,
        draw_boxes,
        draw_time_constants,
        draw_spectra,
        draw_abscissa,
        draw_equilibria,
        draw_exponents,
        draw_gains,
        draw_ledger,
        draw_slacks,
    ]
    made = (make(content) for make in makers)
    return {chart.name: chart for chart in made if chart is not None}
