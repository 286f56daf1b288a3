"""Neurons of a circuit without a path to its output, and neurons without inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.wiring import Wiring


def reached(starts: NDArray[np.bool_], ends: tuple[NDArray[np.int32], ...]) -> NDArray[np.bool_]:
    """Return which neurons a path leads to from `starts`, those themselves included, (neuron,).

    `ends` are where synapses begin and end, each (synapse,).
    """
    begin, end = ends
    order = np.argsort(begin, kind="stable")
    first = np.searchsorted(begin[order], np.arange(len(starts) + 1))
    behind = end[order]
    found = starts.copy()
    frontier: NDArray[Any] = np.flatnonzero(starts)
    while len(frontier):
        next_ones = [behind[first[neuron] : first[neuron + 1]] for neuron in frontier]
        candidates = np.unique(np.concatenate(next_ones))
        frontier = candidates[~found[candidates]]
        found[frontier] = True
    return found


def heard(wiring: Wiring) -> NDArray[np.bool_]:
    """Return which neurons have a path to a motor neuron, themselves included, (neuron,).

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> circuit = Wiring(1, {"motor": 1, "inter": 2}, Synapses([1, 1], [0, 2], [1, 1]),
    ...                  Synapses([0], [1], [1]))
    >>> heard(circuit).tolist()
    [True, True, False]
    """
    motor = np.arange(wiring.units) < wiring.output_size
    return reached(motor, (wiring.recurrent.target, wiring.recurrent.source))


def depends_on_inputs(wiring: Wiring) -> bool:
    """Whether a path leads from an input to a motor neuron."""
    return bool(heard(wiring)[wiring.sensory.target].any())
