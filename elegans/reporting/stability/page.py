"""HTML page of a report: one file that needs no network."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure

from elegans.errors import InputError
from elegans.extras import require_extra
from elegans.reporting.chart import Chart
from elegans.reporting.interactive import to_plotly
from elegans.reporting.stability.charts import draw_charts, draw_wirings
from elegans.reporting.stability.content import Content, UserRange
from elegans.reporting.stability.endings import against
from elegans.reporting.stability.facts import facts, rates_of
from elegans.reporting.stability.graph import draw_graph
from elegans.reporting.stability.origin import NOT_RECORDED
from elegans.reporting.stability.verdicts import summary, verdicts, warnings
from elegans.reporting.wording import at_least, at_most, counted, number, plural
from elegans.wiring.drawing.colors import SYNAPSE_COLORS
from elegans.wiring.drawing.views import view_of

EXTRA = "report"
SHOWN_EDITS = 500
SHOWN_INPUTS = 12
SHOWN_TARGETS = 40
SECTIONS = {
    "verdicts": "Verdicts",
    "task": "Task",
    "wiring": "Wiring",
    "certificate": "Certificate",
    "boxes": "Boxes",
    "time-constants": "Time constants",
    "spectra": "Spectra",
    "equilibria": "Equilibria",
    "exponents": "Exponents",
    "horizon": "Gradients",
    "gains": "Gains",
    "ledger": "Ledger",
    "about": "About",
}
ENDS = {
    "equilibrium": "rest",
    "cycle": "oscillation",
    "aperiodic": "motion without a period that was found",
    "unsettled": "no attractor",
}
_PICTURE_DPI = 150
MARKS = {"certified": "✓", "uncertified": "!", "measured": "≈", "unexamined": "–"}


def check_extra() -> None:
    """Raise `MissingExtraError` unless the page can be written; before any work is done for it."""
    for module in ("jinja2", "plotly"):
        require_extra(module, EXTRA)


def render(content: Content, document: dict[str, Any]) -> str:
    """Return the page that shows `content` and offers `document` as JSON."""
    jinja2 = require_extra("jinja2", EXTRA)
    plotly = require_extra("plotly.offline", EXTRA).get_plotlyjs()
    charts = draw_charts(content)
    small = view_of(content.circuit.wiring) == "circuit"
    graph = draw_graph(content.circuit, content.activity) if small else None
    times = [float(f"{time:.6g}") for time in content.activity.time]
    folder = files("elegans.reporting.stability")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False
    )
    environment.filters["number"] = number
    environment.filters |= {"at_least": at_least, "at_most": at_most}
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    subject, equilibria = content.subject, content.equilibria
    junctions = content.circuit.wiring.gap_junction_count
    inputs = zip(
        content.circuit.wiring.sensory_names, subject.input_lo, subject.input_hi, strict=True
    )
    page = environment.from_string(_text(folder, "page.html.j2")).render(
        anchors={*SECTIONS, "ceiling"},
        charts=charts,
        charts_json=_in_script(_checked(charts)),
        content_json=_in_script(document),
        excitatory=SYNAPSE_COLORS["excitatory"],
        facts=facts(content),
        equilibrium_count=0 if equilibria is None else equilibria.count,
        graph=graph,
        graph_json=_in_script(
            {"times": times}
            if graph is None
            else {
                "wide": graph.wide,
                "tall": graph.tall,
                "node_trace": graph.node_trace,
                "colors": graph.colors,
                "values": graph.values,
                "times": times,
            }
        ),
        history=content.history,
        inhibitory=SYNAPSE_COLORS["inhibitory"],
        junctions=counted(junctions, "gap junction") if junctions else "",
        input_ranges=list(inputs)[:SHOWN_INPUTS],
        marks=MARKS,
        not_recorded=NOT_RECORDED,
        origin=content.origin,
        pictures=[] if small else _pictures(content),
        plotly=plotly,
        preconditions=content.preconditions,
        proof=content.contraction,
        range_rows=_range_rows(content),
        ranges=content.ranges,
        rates=rates_of(content),
        equilibria=[] if equilibria is None else equilibria.shown,
        script=_text(folder, "page.js"),
        sections=SECTIONS.items(),
        shown_edits=SHOWN_EDITS,
        shown_targets=SHOWN_TARGETS,
        skipped=content.skipped,
        style=jinja2.filters.Markup(_text(folder, "page.css")),
        subject=subject,
        summary=summary(content),
        task=content.task,
        times=times,
        verdicts=verdicts(content),
        warnings=warnings(content),
        attractors=content.attractors,
        ends=ENDS,
        many=plural(subject.time_unit),
        against=against(content),
    )
    return str(page)


def _range_rows(content: Content) -> list[tuple[str, UserRange]]:
    """Return the ranges that the page has room for, with what they are."""
    ranges = content.ranges
    if ranges is None:
        return []
    kinds = (("input", ranges.inputs), ("answer", ranges.outputs))
    return [(kind, each) for kind, listed in kinds for each in listed[:SHOWN_INPUTS]]


def _pictures(content: Content) -> list[dict[str, str]]:
    """Return pictures of a circuit that is too large for a graph, as images inside the page."""
    figures = draw_wirings(content.circuit)
    told = {
        "wiring": (
            "Matrix of the synapses: rows are targets, columns sources, layer by layer.",
            "Rows are targets, columns sources, layer by layer from the input to the output. Blue "
            "is net excitation, vermilion net inhibition, white no synapse; colours follow the "
            "square root of the conductance.",
        ),
        "layers": (
            "Layers as discs, with arrows as wide as the number of synapses between them.",
            "Excitation runs above, inhibition below.",
        ),
    }
    return [
        {"source": _data_address(figures[name]), "alt": alt, "caption": caption}
        for name, (alt, caption) in told.items()
        if name in figures
    ]


def _data_address(figure: Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_PICTURE_DPI)
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"


def _checked(charts: dict[str, Chart]) -> dict[str, Any]:
    """Return data and layout of each chart, checked by plotly."""
    figure = require_extra("plotly.graph_objects", EXTRA).Figure
    figures = {}
    for name, chart in charts.items():
        try:
            plain = figure(to_plotly(chart)).to_plotly_json()
        except ValueError as error:
            raise InputError(f"the chart {name!r} cannot be drawn by plotly ({error})") from error
        # plotly's default template is larger than the charts, and nothing of it is used.
        plain["layout"].pop("template", None)
        figures[name] = {"data": plain["data"], "layout": plain["layout"]}
    return figures


def _in_script(value: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(folder: Any, name: str) -> str:
    return str(folder.joinpath(name).read_text(encoding="utf-8"))
