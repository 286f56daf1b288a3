"""Criteria that use what a liquid synapse is: a conductance that a gate opens, and a potential."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from elegans.arguments import checked
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


@checked(PruningError)
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
        recordings = _recorded(context.parts, context.closure, type(self).__name__)
        scores = []
        for part in context.parts:
            reversal = _asked(part, "reversal_potential").abs()
            assert isinstance(part, SynapsePart)  # others have no reversal potential
            recording = recordings[id(part.cell)]
            potentials = torch.cat(recording.inputs if is_sensory(part.kind) else recording.states)
            with torch.no_grad():
                opened = part.synapses.open_conductance(potentials).double()
            statistic = opened.mean(0) if self.statistic == "mean" else opened.std(0, correction=0)
            scores.append(torch.where(part.mask, statistic * reversal.double(), 0.0))
        return scores


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


@dataclass
class Recording:
    """Presynaptic potentials of a circuit at work: mapped inputs and states, (..., source)."""

    inputs: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


def _recorded(
    parts: Sequence[PrunableWeight], closure: Closure | None, name: str
) -> dict[int, Recording]:
    """Return what each cell does while the closure runs, by its id."""
    if closure is None:
        raise PruningError(
            f"{name} looks at the circuit at work: call step(lambda: loss of the batch), or "
            "prune(..., closure=...)"
        )
    circuits = [part for part in parts if isinstance(part, SynapsePart)]
    recordings = {id(part.cell): Recording() for part in circuits}
    with ExitStack() as stack, torch.no_grad():
        for cell in {id(part.cell): part.cell for part in circuits}.values():
            stack.enter_context(_recording(cell, recordings[id(cell)]))
        closure()
    idle = [part.name for part in circuits if not recordings[id(part.cell)].states]
    if idle:
        raise PruningError(
            f"the closure does not run the circuit of {idle[0]}, so that nothing is known of it; "
            "let it compute the loss from the model's output, or exclude the circuit"
        )
    return recordings


@contextmanager
def _recording(cell: Cell, recording: Recording) -> Iterator[None]:
    """Note inputs and states of all sequences and, with a memory, single steps of a cell."""
    kind, mapping = type(cell), cast(nn.Module, cell.input_mapping)
    whole = False  # inside of a sequence, whose parts are noted with it

    def run(inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal whole
        whole = True
        try:
            output, states = kind.run(cell, inputs, state, elapsed)
        finally:
            whole = False
        recording.inputs.append(mapping(inputs).detach().flatten(0, 1))
        recording.states.append(states.detach().flatten(0, 1))
        return output, states

    def sense(inputs: Tensor) -> Any:
        if not whole:
            recording.inputs.append(mapping(inputs).detach().flatten(0, 1))
        return kind.sense(cell, inputs)

    def step_of(sensed: Any, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        after = kind.step_of(cell, sensed, time, state, elapsed)
        if not whole:
            recording.states.append(after.detach())
        return after

    cell.__dict__ |= {"run": run, "sense": sense, "step_of": step_of}
    try:
        yield
    finally:
        for name in ("run", "sense", "step_of"):
            del cell.__dict__[name]
