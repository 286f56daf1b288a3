"""The wirings of ``ncps`` under its names: ``from elegans.wirings import AutoNCP, Wiring``.

The families are those of `elegans.wiring`. `Wiring` is another class here: it is built by hand and
can be changed, while `elegans.wiring.Wiring` is a value.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring import NCP, AutoNCP, FullyConnected, Random, Recipe
from elegans.wiring import Wiring as Value
from elegans.wiring.names import check_size
from elegans.wiring.ncps_names import NcpsNames

__all__ = ["NCP", "AutoNCP", "FullyConnected", "Random", "Wiring"]


class _AnyWiring(ABCMeta):
    """Recipes and wirings are instances of `Wiring`, too, as they are in ``ncps``."""

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(instance) or (
            cls is Wiring and isinstance(instance, NcpsNames)
        )


class Wiring(Recipe, metaclass=_AnyWiring):
    """A wiring that is built by hand, as in ``ncps``; a layer takes it as it is at that moment.

    A subclass may draw its synapses in a `build` of its own, which calls that of this class first,
    and name its layers in `get_type_of_neuron`.

    Parameters
    ----------
    units
        Number of neurons.

    Raises
    ------
    WiringError
        A number is not valid; in a layer: there are no outputs.

    Examples
    --------
    >>> wiring = Wiring(units=3)
    >>> wiring.set_output_dim(1)
    >>> wiring.set_input_dim(2)
    >>> wiring.add_synapse(1, 0, 1)
    >>> wiring.add_synapse(2, 1, -1)
    >>> wiring.add_sensory_synapse(0, 2, 1)
    >>> wiring.as_built()
    Wiring(2 sensory, 2 inter, 1 motor; 2 synapses, 1 sensory synapses)

    >>> class Ring(Wiring):
    ...     def __init__(self, units):
    ...         super().__init__(units)
    ...         self.set_output_dim(1)
    ...         for i in range(units):
    ...             self.add_synapse(i, (i + 1) % units, 1)
    ...
    ...     def build(self, input_dim):
    ...         super().build(input_dim)
    ...         for j in range(input_dim):
    ...             self.add_sensory_synapse(j, j % self.units, 1)
    >>> import elegans
    >>> elegans.LTC(2, Ring(5)).wiring
    Wiring(2 sensory, 4 inter, 1 motor; 5 synapses, 2 sensory synapses)
    """

    # Plain attributes, which other wirings only let read.
    input_dim: int | None = None
    output_dim: int | None = None  # type: ignore[assignment]
    adjacency_matrix: NDArray[np.int32] = None  # type: ignore[assignment]
    sensory_adjacency_matrix: NDArray[np.int32] | None = None

    def __init__(self, units: int) -> None:
        self.units = check_size("units", units)
        self.adjacency_matrix = _zeros(self.units, self.units)
        self._was_drawn = False

    def set_input_dim(self, input_dim: int) -> None:
        """Say how many inputs there are; none of them has a synapse then."""
        self.sensory_adjacency_matrix = _zeros(check_size("input_dim", input_dim), self.units)
        self.input_dim = input_dim

    def set_output_dim(self, output_dim: int) -> None:
        """Say how many of the neurons are motor neurons: the first ones."""
        if check_size("output_dim", output_dim) > self.units:
            raise WiringError(f"output_dim must be at most {self.units} units, got {output_dim}")
        self.output_dim = output_dim

    def add_synapse(self, src: int, dest: int, polarity: int) -> None:
        """Add a synapse between neurons, or replace the polarity of the one that is there."""
        _add(self.adjacency_matrix, src, dest, polarity)

    def add_sensory_synapse(self, src: int, dest: int, polarity: int) -> None:
        """Add a synapse from an input, or replace the polarity of the one that is there."""
        if self.sensory_adjacency_matrix is None:
            raise WiringError("the number of inputs is not known; call set_input_dim or build")
        _add(self.sensory_adjacency_matrix, src, dest, polarity)

    def build(self, input_dim: int) -> Any:
        """Say how many inputs there are, if it was not said; a subclass draws synapses then."""
        if self.input_dim is None:
            self.set_input_dim(input_dim)
        if self.input_dim != input_dim:
            raise WiringError(
                f"the wiring was made for {self.input_dim} inputs, got {input_dim!r}; make another "
                "one for them"
            )
        self._was_drawn = True

    def is_built(self) -> bool:
        """Return whether the number of inputs is known."""
        return self.input_dim is not None

    def wiring_for(self, input_size: int) -> Value:
        """Return the wiring as it is now, after `build` if it was not called before."""
        if not self._was_drawn or input_size != self.input_dim:
            self.build(input_size)
        return self.as_built()

    def as_built(self) -> Value:
        """Return the wiring as it is now; raise `WiringError` without inputs or outputs."""
        if self.sensory_adjacency_matrix is None or self.output_dim is None:
            raise WiringError(
                f"got {self.input_dim} inputs and {self.output_dim} outputs, expected both to be "
                "known; call set_input_dim (or build) and set_output_dim"
            )
        wiring = Value.from_adjacency(
            self.adjacency_matrix, self.sensory_adjacency_matrix, self.output_dim
        )
        kinds = [
            (k, len(list(run)))
            for k, run in groupby(map(self.get_type_of_neuron, range(self.units)))
        ]
        if len(dict(kinds)) < len(kinds):  # neurons of a layer must follow one another
            return wiring
        return Value(wiring.input_size, dict(kinds), wiring.recurrent, wiring.sensory)

    def get_type_of_neuron(self, neuron_id: int) -> str:
        """Return the name of the layer of a neuron: ``"motor"`` or ``"inter"``."""
        return "motor" if neuron_id < (self.output_dim or 0) else "inter"

    def get_config(self) -> dict[str, Any]:
        """Return matrices and sizes as plain values."""
        sensory = self.sensory_adjacency_matrix
        return {
            "units": self.units,
            "adjacency_matrix": self.adjacency_matrix.tolist(),
            "sensory_adjacency_matrix": None if sensory is None else sensory.tolist(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Wiring:
        """Return the wiring of which `get_config` told."""
        wiring = Wiring(config["units"])
        wiring.adjacency_matrix[:] = config["adjacency_matrix"]
        if config["input_dim"] is not None:
            wiring.set_input_dim(config["input_dim"])
            wiring.sensory_adjacency_matrix[:] = config["sensory_adjacency_matrix"]  # type: ignore[index]
        if config["output_dim"] is not None:
            wiring.set_output_dim(config["output_dim"])
        return wiring


def _zeros(sources: int, targets: int) -> NDArray[np.int32]:
    require_bytes(4 * sources * targets, "a matrix of all synapses", "use elegans.wiring.Synapses")
    return np.zeros((sources, targets), dtype=np.int32)


def _add(matrix: NDArray[np.int32], source: int, target: int, polarity: int) -> None:
    for name, index, count in (("src", source, len(matrix)), ("dest", target, matrix.shape[1])):
        if not 0 <= index < count:
            raise WiringError(f"{name} must be from 0 to {count - 1}, got {index!r}")
    if polarity not in (-1, 1):
        raise WiringError(f"polarity must be -1 or 1, got {polarity!r}")
    matrix[source, target] = polarity
