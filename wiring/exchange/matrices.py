"""Matrices of polarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import WiringError
from elegans.wiring.names import check_size
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import MOTOR, Wiring


def from_adjacency(adjacency: ArrayLike, sensory_adjacency: ArrayLike, outputs: int) -> Wiring:
    """Return the wiring; see `Wiring.from_adjacency`."""
    recurrent = _signs("adjacency", adjacency)
    sensory = _signs("sensory_adjacency", sensory_adjacency)
    units, inputs = len(recurrent), len(sensory)
    if recurrent.shape != (units, units) or sensory.shape != (inputs, units):
        raise WiringError(
            f"got matrices of shape {recurrent.shape} and {sensory.shape}, expected (neuron, "
            "neuron) and (input, neuron); both lead from rows to columns"
        )
    motor = check_size("outputs", outputs)
    if motor > units:
        raise WiringError(
            f"got {motor} outputs of {units} neurons, expected at most as many outputs as neurons"
        )
    layers = {MOTOR: motor} | ({"inter": units - motor} if motor < units else {})
    return Wiring(inputs, layers, _synapses(recurrent), _synapses(sensory))


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
