"""Steps of cells as plain numbers: what is left of a circuit where there is no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ELECTRICAL = "electrical"
"""Name of the set of gap junctions, of which each stands twice, at both its ends."""


@dataclass(frozen=True, eq=False)
class PlainSynapses:
    """Synapses in the order of their targets.

    Parameters
    ----------
    start
        Those onto neuron i are ``start[i]`` to ``start[i + 1]``, shape (neuron + 1,).
    source
        Shape (synapse,).
    values
        What a synapse has, by name, each of shape (synapse,).

    Examples
    --------
    >>> synapses = PlainSynapses.sorted([0, 1, 0], [1, 0, 0], 2, weight=[1.0, 2.0, 3.0])
    >>> synapses.start.tolist(), synapses.source.tolist(), synapses.values["weight"].tolist()
    ([0, 2, 3], [1, 0, 0], [2.0, 3.0, 1.0])
    """

    start: Index
    source: Index
    values: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def target(self) -> Index:
        """The target of each synapse, shape (synapse,)."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def onto(self, values: Array) -> Array:
        """Return the sums of values (synapse,) over the synapses onto each neuron, (neuron,)."""
        sums = np.bincount(self.target, values, minlength=len(self.start) - 1)
        return sums.astype(np.float64)

    @classmethod
    def sorted(cls, source: Any, target: Any, neurons: int, **values: Any) -> PlainSynapses:
        """Return synapses that are given in any order, each column of shape (synapse,)."""
        target = np.asarray(target, np.int64)
        order = np.argsort(target, kind="stable")
        return cls(
            np.searchsorted(target[order], np.arange(neurons + 1)).astype(np.int64),
            np.asarray(source, np.int64)[order],
            {name: np.asarray(value, np.float64)[order] for name, value in values.items()},
        )


@dataclass(frozen=True, eq=False)
class PlainStep:
    """What one step of a cell computes, from mapped inputs to the state after it.

    Parameters
    ----------
    equation
        ``"liquid"``, ``"rates"``, ``"closed_form"`` along synapses, or ``"dense_closed_form"``.
    neurons
        What a neuron has, by name, each of shape (neuron,).
    synapses
        Sets of synapses by name; sources of ``"...recurrent"`` are neurons, of ``"...sensory"``
        inputs; ``"electrical"``, only there where it is not empty, has each gap junction twice.
    layers
        Weight (output, input) and bias (output,) of dense maps, one after the other.
    choices
        Which of several formulas are meant, by name.

    Notes
    -----
    The equations are those of the cells' docstrings, with these names: *liquid* has capacitance C,
    conductance g + epsilon and drive g V; synapses have weight w, gain s, centre m and potential E.
    *rates* have capacitance tau and bias theta, and the activation is chosen; synapses have a
    weight. *closed_form* has the biases f, g, a and b or f alone, and rate and asymptote in mode
    ``"pure"``; synapses have weights of these names. Neurons are updated in ascending `order`; a
    source of at least the number of neurons means the new state of the neuron that is left after
    subtracting it. The *dense* form has layers in place of synapses.
    """

    equation: str
    neurons: Mapping[str, Array] = field(default_factory=dict)
    synapses: Mapping[str, PlainSynapses] = field(default_factory=dict)
    layers: tuple[tuple[Array, Array], ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)


def plain(values: Tensor) -> Array:
    """Return the numbers of a tensor in double precision."""
    return values.detach().cpu().double().numpy()
