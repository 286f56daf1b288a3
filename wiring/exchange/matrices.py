"""Matrices of polarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import shown
from elegans.errors import WiringError
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.names import check_size
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import MOTOR, Wiring


def from_adjacency(
    adjacency: ArrayLike,
    sensory_adjacency: ArrayLike,
    outputs: int | Sequence[int],
    electrical: ArrayLike | None = None,
    *,
    rectifying: bool = False,
) -> Wiring:
    """Return the wiring; see `Wiring.from_adjacency`."""
    names, sensory_names = _names(adjacency, sensory_adjacency)
    recurrent = _signs("adjacency", adjacency)
    sensory = _signs("sensory_adjacency", sensory_adjacency)
    units, inputs = len(recurrent), len(sensory)
    if recurrent.shape != (units, units) or sensory.shape != (inputs, units):
        raise WiringError(
            f"got matrices of shape {recurrent.shape} and {sensory.shape}, expected (neuron, "
            "neuron) and (input, neuron); both lead from rows to columns"
        )
    chosen: ArrayLike | None = None
    if isinstance(outputs, Sequence | np.ndarray):
        layers, chosen = {"inter": units}, outputs
    else:
        motor = check_size("outputs", outputs)
        if motor > units:
            raise WiringError(
                f"got {motor} outputs of {units} neurons, expected at most as many outputs as "
                "neurons"
            )
        layers = {MOTOR: motor} | ({"inter": units - motor} if motor < units else {})
    return Wiring(
        inputs,
        layers,
        _synapses(recurrent),
        _synapses(sensory),
        electrical=None if electrical is None else _junctions(electrical, units, names, rectifying),
        outputs=chosen,
        names=names,
        sensory_names=sensory_names,
    )


def _names(adjacency: Any, sensory: Any) -> tuple[list[str] | None, list[str] | None]:
    """Return the names of neurons and inputs that DataFrames have; None where they have none."""
    neurons, targets = _labels(adjacency, "index"), _labels(adjacency, "columns")
    inputs, receivers = _labels(sensory, "index"), _labels(sensory, "columns")
    if neurons != targets or not (receivers is None or neurons is None or receivers == neurons):
        raise WiringError(
            "the rows and columns of adjacency, and the columns of sensory_adjacency, must name "
            f"the same neurons in the same order, got {neurons!r:.60}, {targets!r:.60} and "
            f"{receivers!r:.60}; bring them into one order by reindex"
        )
    return neurons, inputs


def _junctions(
    electrical: ArrayLike, units: int, names: list[str] | None, rectifying: bool
) -> GapJunctions:
    """Return the junctions of a matrix that says where current may flow."""
    try:
        flows = np.asarray(electrical)
        fits = flows.shape == (units, units) and np.isin(flows, (0, 1)).all()
    except (TypeError, ValueError):  # lists of different lengths
        fits = False
    if not fits:
        raise WiringError(
            f"electrical must be a matrix of shape {(units, units)} with 1 where current may flow "
            f"from row to column, else 0, got {shown(electrical)}; conductances belong to a layer"
        )
    for side in ("index", "columns"):
        labels = _labels(electrical, side)
        if labels is not None and labels != names:
            raise WiringError(
                "the rows and columns of electrical must name the same neurons as adjacency in the "
                f"same order, got {labels!r:.60} and {names!r:.60}; bring them into one order by "
                "reindex"
            )
    source, target = np.nonzero(flows)
    one_way = flows[target, source] == 0
    if one_way.any() and not rectifying:
        k = int(np.argmax(one_way))
        raise WiringError(
            f"electrical has current from neuron {source[k]} to {target[k]} but not back; give a "
            "symmetric matrix, or rectifying=True where one-sided entries are rectifying junctions"
        )
    once = one_way | (source <= target)  # with a neuron's own, which is refused
    return GapJunctions(source[once], target[once], one_way[once])


def _labels(table: Any, side: str) -> list[str] | None:
    """Return the labels of a DataFrame, unless they only count its rows or columns."""
    labels = getattr(table, side, None)
    if labels is None or callable(labels):  # a list has a method of this name
        return None
    names = list(labels)
    return None if names == list(range(len(names))) else [str(name) for name in names]


def _signs(name: str, matrix: ArrayLike) -> NDArray[Any]:
    try:
        signs = np.asarray(matrix)
        fits = signs.ndim == 2 and np.isin(signs, (-1, 0, 1)).all()
    except (TypeError, ValueError):  # lists of different lengths
        fits = False
    if not fits:
        raise WiringError(
            f"{name} must be a matrix of the polarities -1 and 1, and 0 where no synapse is; "
            "weights belong to a layer"
        )
    return signs


def _synapses(signs: NDArray[Any]) -> Synapses:
    source, target = np.nonzero(signs)
    return Synapses(source, target, signs[source, target].astype(np.int8))
