"""Stability report of a layer under data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from matplotlib.figure import Figure

from elegans.arguments import checked
from elegans.data import Scales
from elegans.errors import InputError
from elegans.files import make_folder, write_bytes, writing
from elegans.layers.capabilities import LiquidCircuit, cell_of, require
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.network import Range
from elegans.pruning import Edit
from elegans.reporting.figures import save_figure
from elegans.reporting.stability.charts import draw_figures
from elegans.reporting.stability.content import Content, plain
from elegans.reporting.stability.facts import rates_of
from elegans.reporting.stability.gathering import gather
from elegans.reporting.stability.origin import Origin
from elegans.reporting.stability.page import render
from elegans.reporting.stability.stimulus import Data, Stimulus, stimulus_from
from elegans.reporting.stability.task import Task
from elegans.reporting.stability.verdicts import Verdict, summary, verdicts

if TYPE_CHECKING:
    from elegans.ltc.layer import LTC


class StabilityReport:
    """Stability report of a circuit: a page, JSON and pictures of what is proved and measured.

    Parameters
    ----------
    content
        What `elegans.reporting.stability.gathering.gather` returned.

    Examples
    --------
    >>> import torch
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(2, AutoNCP(units=12, output_size=1, sparsity_level=0.8, seed=1))
    >>> made = report(model, torch.rand(1, 60, 2))
    >>> made.verdicts[0].headline, made.verdicts[0].evidence
    ('Certified to contract', 'proved (interval arithmetic)')
    >>> sorted(made.figures())[:3]
    ['activity', 'boxes', 'equilibria']
    """

    def __init__(self, content: Content) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"StabilityReport({self.content.subject.title!r}: {self.summary})"

    @property
    def summary(self) -> str:
        """The report in a sentence or two."""
        return summary(self.content)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts in plain language, each with its evidence."""
        return verdicts(self.content)

    @cached_property
    def html(self) -> str:
        """The page: one file that needs no network.

        Raises
        ------
        MissingExtraError
            plotly or jinja2 is not installed; ``pip install elegans[report]``.
        """
        return render(self.content, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; what is not finite is None."""
        cards = [
            {"name": verdict.name, "status": verdict.status, "evidence": verdict.evidence}
            | {"headline": verdict.headline, "figure": verdict.figure, "unit": verdict.unit}
            | {"details": dict(verdict.details), "sentence": verdict.sentence}
            for verdict in self.verdicts
        ]
        seconds = self.content.subject.seconds
        rates = [
            {"label": rate.label, "value": rate.value, "evidence": rate.evidence}
            | {"per_second": None if seconds is None else rate.value / seconds}
            for rate in rates_of(self.content)
        ]
        derived = {"summary": self.summary, "verdicts": cards, "rates": plain(rates)}
        return self.content.to_dict() | derived

    def to_json(self) -> str:
        """Return the same content as the page, as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Raises
        ------
        MissingExtraError
            plotly or jinja2 is not installed.
        RunError
            The file cannot be written.
        """
        _write(Path(path), self.html)

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write the content as JSON, whole or not at all."""
        _write(Path(path), self.to_json() + "\n")

    def figures(self) -> dict[str, Figure]:
        """Return the same content as matplotlib figures, by name; needs no extra."""
        return draw_figures(self.content)

    def save_figures(self, folder: str | os.PathLike[str], suffix: str = ".png") -> list[Path]:
        """Write each figure into a folder under its name, and return the files."""
        paths = []
        for name, figure in self.figures().items():
            path = Path(folder) / f"{name}{suffix}"
            save_figure(figure, path)
            paths.append(path)
        return paths


@checked(InputError)
def report(
    model: SequenceLayer,
    data: Data | Stimulus,
    *,
    inputs: Range | None = None,
    elapsed: float | Data = 1.0,
    level: str = "interval",
    ledger: Iterable[Edit | Mapping[str, Any]] | None = None,
    title: str | None = None,
    time_unit: str = "time unit",
    seconds: float | None = None,
    scales: Scales | None = None,
    seed: int = 0,
    origin: Origin | None = None,
    task: Task | None = None,
) -> StabilityReport:
    """Examine a layer under data: certificate, boxes, spectra, equilibria, exponents, edits.

    Parameters
    ----------
    model
        A layer whose cell offers `circuit`, as that of `elegans.LTC` does; it is left as it is.
        One with mixed memory is measured, not proved.
    data
        Inputs as the layer is given them, shape (batch, time, input) or (time, input).
    inputs
        Lowest and highest input that the proofs shall hold for: two numbers or two arrays
        (input,); by default the extremes of the data.
    elapsed
        Time that each step lasts: a number, (time,) or (batch, time).
    level
        Of the certificate: ``"exact"``, ``"interval"`` or ``"float"``; see
        `elegans.proofs.certify`.
    ledger
        ``rewirer.ledger``, or the records of `RunFolder.ledger`.
    title
        What the report calls the circuit.
    time_unit
        What the elapsed time 1 is called.
    seconds
        How many seconds it is; rates are then stated per second, too.
    scales
        The scales of the data; ranges are then stated in its units, too.
    seed
        Draws what is sampled.
    origin
        Date, versions, seeds and hashes of files; by default those of now, without files. Two
        reports of one circuit differ in the date alone, unless ``Origin.of(date=...)`` is given.
    task
        Error at the task beside that of simple predictions.

    Returns
    -------
    StabilityReport
        With `save`, `save_json`, `figures` and `verdicts`.

    Raises
    ------
    InputError
        The cell does not offer `circuit`, a shape is not valid, or a number is not finite.

    Examples
    --------
    >>> import torch
    >>> from elegans import LTC
    >>> made = report(LTC(1, 4), torch.zeros(20, 1), inputs=(-1, 1))
    >>> made.content.subject.neurons, made.content.subject.steps
    (4, 20)
    """
    require(cell_of(model), LiquidCircuit, "the stability report")
    model = cast("LTC", model)  # whose parameters the report reads
    if not isinstance(data, Stimulus):
        data = stimulus_from(
            model,
            data,
            elapsed=elapsed,
            inputs=inputs,
            time_unit=time_unit,
            seconds=seconds,
            scales=scales,
        )
    name = f"{type(model).__name__} of {model.state_size:,} neurons" if title is None else title
    return StabilityReport(
        gather(
            model, data, title=name, level=level, ledger=ledger, seed=seed, origin=origin, task=task
        )
    )


def _write(path: Path, text: str) -> None:
    make_folder(path.parent)
    with writing(path):
        write_bytes(path, text.encode())
