"""What wirings are written as, and read from, as methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from elegans.wiring.ncps_names import NcpsNames

if TYPE_CHECKING:
    import networkx as nx

    from elegans.wiring.wiring import Wiring


class Exchanged(NcpsNames):
    """A wiring to and from matrices, graphs, text and files.

    Each method calls what is beside this file, which builds on wirings.
    """

    @classmethod
    def from_adjacency(
        cls,
        adjacency: ArrayLike,
        sensory_adjacency: ArrayLike,
        outputs: int | Sequence[int],
        electrical: ArrayLike | None = None,
        *,
        rectifying: bool = False,
    ) -> Wiring:
        """Return the wiring of two matrices of polarities, 0 where no synapse is.

        Parameters
        ----------
        adjacency
            ``[source, target]``, shape (neuron, neuron).
        sensory_adjacency
            ``[input, target]``, shape (input, neuron). Labels of DataFrames become names.
        outputs
            Number of motor neurons, which come first; the others are inter neurons. Or the neuron
            that each output channel reads; all are inter neurons then.
        electrical
            ``[from, to]``, shape (neuron, neuron): 1 where current may flow by a gap junction, as
            `electrical_adjacency` has it; none by default.
        rectifying
            Whether an entry of `electrical` without its mirror image is a rectifying junction;
            otherwise it is an error.

        Raises
        ------
        WiringError
            The shapes do not fit, a number is none of -1, 0 and 1, there are more outputs than
            neurons, or `electrical` is not symmetric or joins a neuron to itself.

        Examples
        --------
        >>> from elegans.wiring import Wiring
        >>> Wiring.from_adjacency([[0, 0], [1, -1]], [[0, 1]], outputs=1)
        Wiring(1 sensory, 1 inter, 1 motor; 2 synapses, 1 sensory synapses)
        >>> Wiring.from_adjacency([[0, 0], [1, -1]], [[0, 1]], outputs=[1]).outputs
        array([1])
        >>> pair = [[0, 1], [1, 0]]
        >>> Wiring.from_adjacency([[0, 0], [1, -1]], [[0, 1]], 1, electrical=pair).electrical
        GapJunctions(0 -- 1)
        """
        from elegans.wiring.exchange.matrices import from_adjacency

        return from_adjacency(
            adjacency, sensory_adjacency, outputs, electrical, rectifying=rectifying
        )

    def to_networkx(
        self,
        *,
        weights: ArrayLike | None = None,
        sensory_weights: ArrayLike | None = None,
        electrical_weights: ArrayLike | None = None,
    ) -> nx.DiGraph:
        """Return the graph: a `DiGraph`, or a `MultiDiGraph` if edges are parallel.

        Nodes are the neurons' names with attributes ``layer``, ``index`` and ``name``; edges
        have the attribute ``polarity``. Where `weights`, shape (synapse,), `sensory_weights` or
        `electrical_weights`, shape (junction,), are given in the order of `recurrent`, `sensory`
        and `electrical`, they become the attribute ``weight``.

        In a wiring with gap junctions each edge has a ``kind``, ``"chemical"`` or ``"electrical"``.
        A gap junction is an edge each way, since current flows each way, and has no polarity; a
        rectifying one is the edge from source to target alone, with ``rectifying`` true.

        Where outputs are given that are not the motor neurons, each neuron that is read has the
        attribute ``output_channels``, the numbers of the channels that read it, such as ``"0 2"``.

        Examples
        --------
        >>> from elegans.wiring import AutoNCP, Wiring
        >>> graph = AutoNCP(units=19, output_size=4).build(input_size=8).to_networkx()
        >>> graph.nodes["command_2"]
        {'layer': 'command', 'index': 6, 'name': 'command_2'}
        >>> Wiring.from_networkx(graph)
        Wiring(8 sensory, 9 inter, 6 command, 4 motor; 45 synapses, 35 sensory synapses)
        """
        from elegans.wiring.exchange.networkx_graph import to_networkx

        return to_networkx(self.as_built(), weights, sensory_weights, electrical_weights)

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph) -> Wiring:
        """Return the wiring of a directed graph with the attributes that `to_networkx` writes.

        Of these ``layer`` and ``polarity`` are needed, and ``kind`` where it is electrical; an
        edge one way alone needs ``rectifying``. Without ``name`` a neuron is called as its
        node. Without any ``index`` the nodes are numbered as they come, layer by layer, motor
        neurons first; without any ``output_channels`` these are read. Other attributes are ignored.
        Anything else raises `WiringError`.
        """
        from elegans.wiring.exchange.networkx_graph import from_networkx

        return from_networkx(graph)

    def to_json(self) -> str:
        """Return the wiring as JSON text; `elegans.wiring.exchange.json_text` lists the fields."""
        from elegans.wiring.exchange.json_text import to_json

        return to_json(self.as_built())

    @classmethod
    def from_json(cls, text: str) -> Wiring:
        """Return the wiring that `to_json` wrote; raise `WiringError` if it is damaged."""
        from elegans.wiring.exchange.json_text import from_json

        return from_json(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the wiring to a file whose suffix, .json, .csv or .graphml, chooses the format.

        An old file at `path` is replaced only when the new one is complete.
        """
        from elegans.wiring.exchange.files import save

        save(self.as_built(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Wiring:
        """Return the wiring that `save` wrote; raise `WiringError` if the file is damaged."""
        from elegans.wiring.exchange.files import load

        return load(path)
