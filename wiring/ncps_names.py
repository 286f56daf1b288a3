"""What users of ``ncps`` read of a wiring, under the names that they know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from elegans.errors import WiringError

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.patches import Patch

    from elegans.wiring.wiring import Wiring

_BY_HAND = "elegans.wirings.Wiring(units) is built by hand"
_REPLACED = {
    "add_synapse": "edit(add=[(source, target, polarity)]) of a built wiring returns a new one, "
    f"and {_BY_HAND}",
    "add_sensory_synapse": "edit(add_sensory=[(input, target, polarity)]) of a built wiring "
    f"returns a new one, and {_BY_HAND}",
    "set_input_dim": f"build(input_size) returns a new wiring, and {_BY_HAND}",
    "set_output_dim": f"outputs are chosen when a wiring is made, and {_BY_HAND}",
}


class NcpsNames(ABC):
    """Names of ``ncps`` that can be read: of a wiring, and of a recipe that was built.

    Matrices are new arrays: what is written into them changes nothing.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> recipe = AutoNCP(units=19, output_size=4)
    >>> recipe.is_built(), recipe.input_dim, recipe.output_dim, recipe.num_layers
    (False, None, 4, 3)
    >>> _ = recipe.build(8)  # or LTC(8, recipe)
    >>> recipe.is_built(), recipe.input_dim, recipe.synapse_count
    (True, 8, 45)
    >>> recipe.get_neurons_of_layer(2), recipe.get_type_of_neuron(4)
    ([0, 1, 2, 3], 'command')
    >>> recipe.adjacency_matrix.shape, recipe.sensory_adjacency_matrix.shape
    ((19, 19), (8, 19))
    """

    @abstractmethod
    def as_built(self) -> Wiring:
        """Return the wiring with its inputs; raise `WiringError` if they are not known."""

    @abstractmethod
    def is_built(self) -> bool:
        """Return whether the inputs are known."""

    def _neurons_and_layers(self) -> Wiring:
        """Return a wiring that tells as much as can be told before there are inputs."""
        return self.as_built()

    @property
    def input_dim(self) -> int | None:
        """Number of inputs, None before it is built."""
        return self.as_built().input_size if self.is_built() else None

    @property
    def output_dim(self) -> int:
        """Number of motor neurons."""
        return self._neurons_and_layers().output_size

    @property
    def adjacency_matrix(self) -> NDArray[np.int32]:
        """Polarities ``[source, target]``, 0 where no synapse is, shape (neuron, neuron)."""
        return self.as_built().adjacency().astype(np.int32)

    @property
    def sensory_adjacency_matrix(self) -> NDArray[np.int32] | None:
        """Polarities ``[input, target]``, 0 where no synapse is; None before it is built."""
        return self.as_built().sensory_adjacency().astype(np.int32) if self.is_built() else None

    def erev_initializer(self, shape: Any = None, dtype: Any = None) -> NDArray[np.int32]:
        """Return `adjacency_matrix`, whatever is asked."""
        return self.adjacency_matrix

    def sensory_erev_initializer(
        self, shape: Any = None, dtype: Any = None
    ) -> NDArray[np.int32] | None:
        """Return `sensory_adjacency_matrix`, whatever is asked."""
        return self.sensory_adjacency_matrix

    @property
    def num_layers(self) -> int:
        """Number of layers that follow one another, 1 where synapses lead back to one before."""
        return len(self._layers_in_turn())

    def get_neurons_of_layer(self, layer_id: int) -> list[int]:
        """Return the indices of the neurons of a layer; 0 is nearest to the input."""
        layers = self._layers_in_turn()
        if not isinstance(layer_id, int) or not 0 <= layer_id < len(layers):
            raise WiringError(f"layer_id must be from 0 to {len(layers) - 1}, got {layer_id!r}")
        return list(layers[layer_id])

    def _layers_in_turn(self) -> list[range]:
        wiring = self._neurons_and_layers()
        layers = [wiring.layer_range(name) for name in [*wiring.layers][::-1]]
        turn = np.empty(wiring.units, dtype=np.int64)
        for k, neurons in enumerate(layers):
            turn[neurons.start : neurons.stop] = k
        step = turn[wiring.recurrent.target] - turn[wiring.recurrent.source]
        # A gap junction between layers acts on both of them.
        leap = turn[wiring.electrical.target] != turn[wiring.electrical.source]
        in_turn = bool((step >= 0).all()) and not bool(leap.any())
        return layers if in_turn else [range(wiring.units)]

    def get_type_of_neuron(self, neuron_id: int) -> str:
        """Return the name of the layer of a neuron, such as ``"motor"``."""
        return self._neurons_and_layers().neurons[neuron_id].layer

    def get_graph(self, include_sensory_neurons: bool = True) -> nx.DiGraph:
        """Return the graph of nodes such as ``neuron_0`` and ``sensory_0``.

        Nodes have a ``neuron_type``, edges a ``polarity``, ``"excitatory"`` or ``"inhibitory"``.
        `Wiring.to_networkx` keeps the names of neurons and comes back. A wiring with gap junctions
        raises `WiringError`, as there they have no place.
        """
        from elegans.wiring.drawing.ncps_graph import graph_of  # networkx, for graphs alone

        return graph_of(self.as_built(), include_sensory_neurons)

    def draw_graph(
        self,
        layout: str = "shell",
        neuron_colors: Mapping[str, str] | None = None,
        synapse_colors: str | Mapping[str, str] | None = None,
        draw_labels: bool = False,
    ) -> list[Patch]:
        """Draw `get_graph` into the current axes and return handles for the legend.

        `Wiring.draw` shows layers, and strengths of synapses.

        Parameters
        ----------
        layout
            ``"kamada"``, ``"circular"``, ``"random"``, ``"shell"``, ``"spring"``,
            ``"spectral"`` or ``"spiral"``, laid out by networkx.
        neuron_colors
            Color of each type of neuron that shall not have the usual one.
        synapse_colors
            One color, or one each for ``"excitatory"`` and ``"inhibitory"``.
        draw_labels
            Whether to write the names of the nodes.
        """
        from elegans.wiring.drawing.ncps_graph import draw_graph  # matplotlib, for pictures alone

        return draw_graph(self.as_built(), layout, neuron_colors, synapse_colors, draw_labels)

    if not TYPE_CHECKING:  # which would take it for a promise of any attribute

        def __getattr__(self, name: str) -> NoReturn:
            missing = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _REPLACED:
                missing += f", as ncps has: it is immutable; {_REPLACED[name]} (docs/from-ncps.md)"
            raise AttributeError(missing)
