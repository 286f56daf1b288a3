"""What a lesion study found: a record of each lesion, as a table and on the wiring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked, shown
from elegans.errors import InputError
from elegans.html import table_html
from elegans.layers.readout import circuit_of
from elegans.lesions.silencing import Model, Site
from elegans.synapses.plain import ELECTRICAL
from elegans.wiring import Wiring
from elegans.wiring.drawing.views import view_of
from elegans.wiring.wiring import SENSORY

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SHOWN = 10
"""Lesions that a text or a page lists."""


@dataclass(frozen=True)
class Lesion:
    """What became of a circuit without one neuron, synapse or input.

    Parameters
    ----------
    kind
        ``"neuron"``, ``"synapse"`` or ``"input"``.
    name
        Of the neuron or input; of a synapse, both of its ends.
    source, target
        Of a synapse, the names of its ends.
    layer
        Of the neuron or of the synapse's target; ``"sensory"`` of an input.
    set, index
        Of a synapse, the name of its set in ``cell.synapse_sets()``, ``"electrical"`` of a gap
        junction, and its slot there; of a neuron or input, None and its number.
    score
        Of the circuit without it.
    change
        `score` less the score of the intact circuit.
    need
        How much worse the circuit is without it, in units of the score; below 0 where it is better.

    Examples
    --------
    >>> Lesion("neuron", "inter_0", None, None, "inter", None, 3, 0.5, 0.25, 0.25).need
    0.25
    """

    kind: str
    name: str
    source: str | None
    target: str | None
    layer: str
    set: str | None
    index: int
    score: float
    change: float
    need: float


@checked(InputError)
@dataclass(frozen=True, eq=False, repr=False)
class LesionStudy:
    """The lesions of a circuit, what the task needs most first; `elegans.lesion` makes it.

    Parameters
    ----------
    intact
        Score of the circuit as it is.
    lesions
        A record of each lesion, by `Lesion.need`, the largest first.
    wiring
        The circuit.
    greater_is_better
        Whether a larger score is a better one.

    Examples
    --------
    >>> import torch, elegans
    >>> from elegans.wiring import Synapses, Wiring
    >>> inner, outer = Synapses([1], [0], [1]), Synapses([0], [1], [1])
    >>> model = elegans.CTRNN(1, Wiring(1, {"motor": 1, "inter": 2}, inner, outer))
    >>> x = torch.ones(1, 5, 1)
    >>> study = elegans.lesion(model, (x, model(x)[0]), kinds=["neurons"])
    >>> study.intact, [lesion.name for lesion in study.needed()]
    (0.0, ['motor_0', 'inter_0'])
    >>> study.to_frame()["need"].tolist()[2]  # inter_1 sends nothing
    0.0
    """

    intact: float
    lesions: tuple[Lesion, ...]
    wiring: Wiring
    greater_is_better: bool = False
    _slots: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)  # as the wiring has them

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.lesions)

    def needed(self, threshold: float = 0.0) -> tuple[Lesion, ...]:
        """Return the lesions without whose neuron or synapse the score is worse by > `threshold`.

        Raises
        ------
        InputError
            `threshold` is no finite number.
        """
        given: Any = threshold
        if isinstance(given, bool) or not isinstance(given, Real):
            raise InputError(f"got threshold={shown(threshold)}, expected a number; pass one")
        if not math.isfinite(threshold):
            raise InputError(
                f"got threshold={threshold}, expected a finite number in units of the score; pass "
                "one, 0 by default"
            )
        return tuple(lesion for lesion in self.lesions if lesion.need > threshold)

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a frame of pandas, a row each, in their order."""
        import pandas as pd

        columns = [column.name for column in fields(Lesion)]
        return pd.DataFrame([asdict(lesion) for lesion in self.lesions], columns=columns)

    def draw(self, **options: Any) -> Axes:
        """Draw the circuit: neurons as dark, and lines as wide, as the task needs them.

        Lesions that make the score better, and those of which nothing is known, count as 0; neurons
        that were not silenced are white. See `Wiring.draw` for the options.
        """
        drawn: dict[str, Any] = {"quantity": "need"}
        for name, option in (("recurrent", "weights"), (SENSORY, "sensory_weights")):
            if any(lesion.kind == "synapse" for lesion in self.lesions):
                drawn[option] = self._needs_of_synapses(name)
        if view_of(self.wiring, options.get("view", "auto"), options.get("layout")) == "circuit":
            for kind, size, option in (
                ("neuron", self.wiring.units, "neuron_weights"),
                ("input", self.wiring.input_size, "input_weights"),
            ):
                needs = np.full(size, np.nan)
                for lesion in self.lesions:
                    if lesion.kind == kind:
                        needs[lesion.index] = max(lesion.need, 0.0)
                if not np.isnan(needs).all():
                    drawn[option] = needs
        return self.wiring.draw(**(drawn | options))

    def _needs_of_synapses(self, name: str) -> NDArray[np.float64]:
        """Return the needs of a set of synapses in the order of the wiring."""
        need = {
            lesion.index: max(lesion.need, 0.0) for lesion in self.lesions if lesion.set == name
        }
        return np.array([need.get(slot, 0.0) for slot in self._slots.get(name, [])], np.float64)

    def __repr__(self) -> str:
        return f"LesionStudy({len(self)} lesions, {len(self.needed())} needed)"

    def __str__(self) -> str:
        lines = [self._headline()]
        width = max((len(lesion.name) for lesion in self.lesions[:_SHOWN]), default=0)
        lines += [
            f"  {lesion.kind:<7}  {lesion.name:<{width}}  need {lesion.need:.4g}"
            for lesion in self.lesions[:_SHOWN]
        ]
        if len(self) > _SHOWN:
            lines.append(f"  and {len(self) - _SHOWN} more")
        return "\n".join(lines)

    def _headline(self) -> str:
        return (
            f"{len(self)} lesions, {len(self.needed())} of which make the score worse; the intact "
            f"circuit has {self.intact:.4g}, {self._better} is better"
        )

    @property
    def _better(self) -> str:
        return "more" if self.greater_is_better else "less"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {
            "intact": f"{self.intact:.4g}, {self._better} is better",
            "lesions": f"{len(self)}, {len(self.needed())} of which make it worse",
        }
        rows |= {
            f"{lesion.kind} {lesion.name}": f"need {lesion.need:.4g}"
            for lesion in self.lesions[:_SHOWN]
        }
        return table_html("Lesion study", rows) + self.wiring.html_of(self.draw)


def study_of(
    model: Model,
    sites: Sequence[Site],
    intact: float,
    scores: Sequence[float],
    greater_is_better: bool,
) -> LesionStudy:
    """Return the study of lesions at `sites` with their scores."""
    layer = circuit_of(model)
    wiring, sets = layer.wiring, layer.cell.synapse_sets()
    sign = -1.0 if greater_is_better else 1.0
    lesions = []
    for site, score in zip(sites, scores, strict=True):
        change = score - intact
        need = sign * change + 0.0  # no -0.0
        lesions.append(Lesion(**vars(site.place), score=score, change=change, need=need))
    lesions.sort(key=lambda one: -one.need)  # stable: equal ones stay in their order
    slots = {
        name: sets[name].sorted_slots()
        for name in ("recurrent", SENSORY, ELECTRICAL)
        if name in sets
    }
    return LesionStudy(intact, tuple(lesions), wiring, greater_is_better, slots)
