"""Criteria that use what a liquid synapse is: a conductance that a gate opens, and a potential."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from elegans.errors import InputError, PruningError
from elegans.layers.cell import Cell
from elegans.pruning.criteria.magnitude import Closure, Criterion, ScoringContext
from elegans.pruning.growing.legality import is_sensory
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart

STATISTICS = ("mean", "std")
"""What `OpenConductance` may look at."""


class ReversalWeight(Criterion):
    r"""Current that a synapse can drive: :math:`w |E|`, for liquid synapses.

    Two synapses of one conductance differ in what they do to their target when their reversal
    potentials do: one with E = 0 only damps.

    Raises
    ------
    PruningError
        From `Pruner.step` and `Pruner.prune`: weights without a reversal potential.

    Examples
    --------
    >>> import elegans
    >>> from elegans.pruning import Pruner
    >>> pruner = Pruner(elegans.LTC(2, 4), criterion="reversal_weight")
    >>> pruner.prune(0.5)
    {'cell.recurrent.weight': 0.5, 'cell.sensory.weight': 0.5}
    """

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return w abs(E)."""
        return [part.weights() * _asked(part, "reversal_potential").abs() for part in context.parts]

    def __repr__(self) -> str:
        return "ReversalWeight()"


class OpenConductance(Criterion):
    r"""Conductance that is open on data, or how much it varies.

    .. math:: |E| \, w \, \operatorname{mean}_t \sigma(s (x_j(t) - m))
        \quad \text{or} \quad |E| \, w \operatorname{std}_t \sigma(s (x_j(t) - m))

    over the samples and steps that the closure runs. A synapse whose gate never opens carries
    nothing however large its conductance is; one whose gate never moves carries no signal, and
    other synapses or the leak can take its place.

    Parameters
    ----------
    statistic
        ``"mean"`` or ``"std"``.

    Raises
    ------
    PruningError
        There is no such statistic. From `Pruner.step` and `Pruner.prune`: there is no closure, it
        does not run the circuit, or its synapses have no gates.

    Examples
    --------
    >>> import elegans
    >>> from elegans.pruning import Pruner
    >>> model, x = elegans.LTC(2, 4), torch.randn(8, 5, 2)
    >>> pruner = Pruner(model, criterion=OpenConductance("std"))
    >>> pruner.prune(0.25, lambda: model(x)[0].square().mean())
    {'cell.recurrent.weight': 0.25, 'cell.sensory.weight': 0.25}
    """

    def __init__(self, statistic: str = "mean") -> None:
        if statistic not in STATISTICS:
            raise PruningError(f"unknown statistic {statistic!r}, expected one of {STATISTICS}")
        self.statistic = statistic

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return what is open on the data of the closure."""
        runs = _runs_of(context.parts, context.closure, type(self).__name__)
        scores = []
        for part in context.parts:
            reversal = _asked(part, "reversal_potential").abs()
            assert isinstance(part, SynapsePart)  # others have no reversal potential
            sources = 0 if is_sensory(part.kind) else 1
            potentials = torch.cat([run[sources].flatten(0, 1) for run in runs[id(part.cell)]])
            with torch.no_grad():
                opened = part.synapses.open_conductance(potentials).double()
            statistic = opened.mean(0) if self.statistic == "mean" else opened.std(0, correction=0)
            scores.append(torch.where(part.mask, statistic * reversal.double(), 0.0))
        return scores

    def __repr__(self) -> str:
        return f"OpenConductance({self.statistic!r})"


def _asked(part: PrunableWeight, what: str) -> Tensor:
    """Return a value of the synapses of a part; raise `PruningError` if they have none."""
    try:
        if isinstance(part, SynapsePart):
            value: Tensor = getattr(part.synapses, what)()
            return value
    except InputError as error:
        raise PruningError(f"{part.name}: {error}") from error
    raise PruningError(
        f"{part.name} is no set of liquid synapses of a single circuit, which the criterion needs; "
        "leave it out with include or exclude, or take the criterion 'magnitude'"
    )


def _runs_of(
    parts: Sequence[PrunableWeight], closure: Closure | None, name: str
) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """Return mapped inputs and states (batch, time, ...) of all runs of each cell, by its id."""
    if closure is None:
        raise PruningError(
            f"{name} looks at the circuit at work: call step(lambda: loss of the batch), or "
            "prune(..., closure=...)"
        )
    circuits = [part for part in parts if isinstance(part, SynapsePart)]
    cells = {id(part.cell): part.cell for part in circuits}
    runs: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    with recorded(list(cells.values()), runs), torch.no_grad():
        closure()
    idle = [
        part.name for part in parts if isinstance(part, SynapsePart) and not runs[id(part.cell)]
    ]
    if idle:
        raise PruningError(
            f"the closure does not run the circuit of {idle[0]}, so that nothing is known of it; "
            "let it compute the loss from the model's output, or exclude the circuit"
        )
    return runs


@contextmanager
def recorded(cells: Sequence[Cell], runs: dict[int, list[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """Note mapped inputs and states of everything that the cells run."""
    for cell in cells:

        def run(
            inputs: Tensor, state: Tensor, elapsed: Tensor, cell: Cell = cell
        ) -> tuple[Tensor, Tensor]:
            output, states = type(cell).run(cell, inputs, state, elapsed)
            mapped = cast(nn.Module, cell.input_mapping)(inputs)
            runs[id(cell)].append((mapped.detach(), states.detach()))
            return output, states

        cell.__dict__["run"] = run
    try:
        yield
    finally:
        for cell in cells:
            del cell.__dict__["run"]
