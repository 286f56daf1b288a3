"""Compacted liquid cells, without closed synapses and neurons that no path joins to the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.hooks import is_plain
from elegans.layers.capabilities import Rebuilds, defines
from elegans.pruning.compact.chain import is_masked_only
from elegans.pruning.compact.circuit_draft import Draft
from elegans.pruning.compact.record import SMALLER, UNCHANGED, LayerRecord
from elegans.solvers import TorchDiffEq
from elegans.wiring import GapJunctions, Synapses, Wiring

if TYPE_CHECKING:
    from elegans.ltc.cell import LTCCell


def reached(starts: NDArray[np.bool_], ends: tuple[NDArray[np.int32], ...]) -> NDArray[np.bool_]:
    """Return which neurons a path leads to from `starts`, those themselves included, (neuron,).

    `ends` are where synapses begin and end, each (synapse,).
    """
    begin, end = ends
    order = np.argsort(begin, kind="stable")
    first = np.searchsorted(begin[order], np.arange(len(starts) + 1))
    behind = end[order]
    visited = starts.copy()
    frontier: NDArray[Any] = np.flatnonzero(starts)
    while len(frontier):
        next_ones = [behind[first[neuron] : first[neuron + 1]] for neuron in frontier]
        candidates = np.unique(np.concatenate(next_ones))
        frontier = candidates[~visited[candidates]]
        visited[frontier] = True
    return visited


def heard(wiring: Wiring) -> NDArray[np.bool_]:
    """Return which neurons have a path to one that is read, themselves included, (neuron,).

    A gap junction is part of paths both ways: through a rectifying one, too, what flows out of the
    one neuron depends on the other.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> circuit = Wiring(1, {"motor": 1, "inter": 2}, Synapses([1, 1], [0, 2], [1, 1]),
    ...                  Synapses([0], [1], [1]))
    >>> heard(circuit).tolist()
    [True, True, False]
    """
    read = np.zeros(wiring.units, dtype=np.bool_)
    read[wiring.outputs] = True
    junctions = wiring.electrical
    begin = wiring.recurrent.target, junctions.source, junctions.target
    end = wiring.recurrent.source, junctions.target, junctions.source
    return reached(read, (np.concatenate(begin), np.concatenate(end)))


def depends_on_inputs(wiring: Wiring) -> bool:
    """Whether a path leads from an input to a neuron that is read."""
    return bool(heard(wiring)[wiring.sensory.target].any())


@dataclass(frozen=True)
class LiquidOptions:
    """Options for neurons; see `elegans.pruning.compact.compact`."""

    units: bool = True
    at_rest: bool = False
    """Whether neurons without inputs are removed as if they were at rest."""
    allow_empty: bool = False


def obstacle(cell: nn.Module) -> str | None:
    """Return why a cell is left as it is, or None."""
    if not defines(cell, Rebuilds):
        return f"{type(cell).__name__} has no smaller form here"
    cell = cast("LTCCell", cell)  # its parameters, which no protocol lists
    plain = is_plain(cell) and is_plain(cell.input_mapping) and is_plain(cell.output_mapping)
    if not plain or not all(map(is_masked_only, cell.synapse_sets().values())):
        return "it has hooks or parametrizations"
    for synapses in cell.synapse_sets().values():
        computed = [name for name in synapses.VALUES[1:] if name not in synapses._parameters]
        if computed:
            return f"its {computed[0]} has a mask of its own"
    return None


@torch.no_grad()
def compact_cell(
    name: str, cell: LTCCell, *, settings: LiquidOptions, has_memory: bool
) -> tuple[LTCCell | None, LayerRecord]:
    """Return the smaller cell, None if there is nothing to leave out, and the record of it.

    Raises
    ------
    PruningError
        Without the closed synapses no input reaches a motor neuron, and that is not allowed.
    """
    wiring = cell.wiring
    if not has_memory and not settings.allow_empty:
        _check_paths(name, cell, wiring)
    draft = Draft(cell, wiring)
    before, total = draft.synapse_count, sum(map(len, cell.synapse_sets().values()))
    hears = wiring.in_degree() > 0
    hears[[*wiring.electrical.source, *wiring.electrical.target]] = True
    no_inputs = np.flatnonzero(~hears).tolist()
    unheard: list[int] = []
    constants: dict[int, float] = {}
    notes = []
    if settings.units and has_memory:
        notes.append("no neuron is removed: the memory reads all of them")
    elif settings.units:
        unheard = np.flatnonzero(~heard(wiring)).tolist()
        draft.remove(unheard)
        if settings.at_rest:
            constants = draft.settle()
            no_inputs = sorted({*no_inputs, *constants})
    if constants:
        notes.append("neurons without inputs are taken to be at rest from the beginning")
    if set(no_inputs) - set(constants) - set(unheard):
        notes.append("neurons without inputs that stay: they relax to their leak potential")
    removed = not bool(draft.keeps.all())
    if removed and isinstance(cell.solver, TorchDiffEq):
        notes.append("an adaptive solver may choose other steps for fewer neurons")
    after = draft.synapse_count
    record = LayerRecord(
        name,
        "LTC",
        SMALLER if removed or after < total else UNCHANGED,
        (wiring.units, total),
        (int(draft.keeps.sum()), after),
        before,
        after,
        without_inputs=tuple(wiring.names[k] for k in no_inputs),
        without_outputs=tuple(wiring.names[k] for k in unheard),
        kept=tuple(draft.kept()) if removed else None,
        constants={wiring.names[k]: value for k, value in constants.items()},
        notes=tuple(notes),
    )
    masked = not all(synapses.all_open() for synapses in cell.synapse_sets().values())
    return (draft.build() if removed or masked else None), record


def _check_paths(name: str, cell: LTCCell, wiring: Wiring) -> None:
    """Raise `PruningError` if pruning has cut the outputs from the inputs."""
    recurrent, sensory = (
        Synapses(*(_numpy(getattr(synapses, end)) for end in ("source", "target", "polarity")))
        for synapses in (cell.recurrent, cell.sensory)
    )
    junctions = None
    if cell.electrical is not None:
        ends = (cell.electrical.source, cell.electrical.target, cell.electrical.rectifying)
        junctions = GapJunctions(*map(_numpy, ends))
    if not depends_on_inputs(wiring) and depends_on_inputs(
        wiring.with_synapses(recurrent, sensory, junctions)
    ):
        raise PruningError(
            f"{name or 'the layer'}: no open synapse leads from an input to an output any "
            "more, expected an output that depends on the input; prune less, or pass "
            "allow_empty=True"
        )


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
