"""Wirings: the layers, neurons and synapses of a circuit, as immutable values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked, shown
from elegans.errors import WiringError
from elegans.wiring.editing import edited, edited_junctions
from elegans.wiring.exchange.methods import Exchanged
from elegans.wiring.junctions import GapJunctions, check_junctions
from elegans.wiring.names import (
    LARGEST,
    check_layers,
    check_names,
    check_size,
    check_unique,
    default_names,
    require_spelt_out,
)
from elegans.wiring.synapses import Synapses, check_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SENSORY = "sensory"
MOTOR = "motor"

_MANY_SYNAPSES = 5_000_000
"""Circuits of more synapses, which take seconds, are not drawn unless they are told to be."""


@dataclass(frozen=True, slots=True)
class Neuron:
    """One neuron: its index in the state (or, for sensory neurons, in the input), name, layer.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(units=19, output_size=4).build(input_size=8)
    >>> wiring.neurons[6]  # after the motor neurons, which come first
    Neuron(index=6, name='command_2', layer='command')
    """

    index: int
    name: str
    layer: str


@checked(WiringError)
class Wiring(Exchanged):
    """A neural circuit: layers of neurons, recurrent synapses, and synapses from the input.

    Neurons are numbered layer by layer in the order of `layers`, motor neurons first: they are
    read, a channel each. With `outputs` the channels read neurons of any layer instead. Sensory
    neurons are the inputs; they have no state and are numbered on their own. Presence, polarity and
    weight of a synapse are three different things: the wiring holds the first two, a layer holds
    the weights.

    Parameters
    ----------
    input_size
        Number of sensory neurons.
    layers
        Name and size of each layer, ``"motor"`` first, then towards the input; with `outputs` any
        names but ``"sensory"``.
    recurrent
        Synapses between neurons.
    sensory
        Synapses from sensory neurons (their `source`) to neurons (their `target`).
    electrical
        Gap junctions between neurons; none by default.
    outputs
        The neuron that each output channel reads, by its index; several may read the same one. By
        default the motor neurons, in their order.
    names, sensory_names
        Names of neurons, unique; by default layer and position, such as ``command_3``.

    Raises
    ------
    WiringError
        Sizes, or that of all layers together, are not from 1 to 2**31 - 1, the first layer is not
        ``motor`` and there are no `outputs`, these or a synapse point outside the circuit, or names
        are missing, empty, not unique, or hold control characters.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> wiring = Wiring(
    ...     input_size=1,
    ...     layers={"motor": 1, "inter": 2},
    ...     recurrent=Synapses(source=[1, 2], target=[0, 1], polarity=[1, -1]),
    ...     sensory=Synapses(source=[0], target=[2], polarity=[1]),
    ... )
    >>> wiring
    Wiring(1 sensory, 2 inter, 1 motor; 2 synapses, 1 sensory synapses)
    >>> wiring.neurons[2]
    Neuron(index=2, name='inter_1', layer='inter')

    A receptor that hears from the neuron it drives, and is read beside it:

    >>> touch = Wiring(
    ...     input_size=1,
    ...     layers={"command": 1, "receptor": 1},
    ...     recurrent=Synapses(source=[1, 0], target=[0, 1], polarity=[1, -1]),
    ...     sensory=Synapses(source=[0], target=[1], polarity=[1]),
    ...     outputs=[0, 1],
    ... )
    >>> touch
    Wiring(1 sensory, 1 receptor, 1 command; 2 synapses, 1 sensory synapses, 2 outputs)
    """

    def __init__(
        self,
        input_size: int,
        layers: Mapping[str, int],
        recurrent: Synapses,
        sensory: Synapses,
        *,
        electrical: GapJunctions | None = None,
        outputs: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        sensory_names: Sequence[str] | None = None,
    ) -> None:
        sizes = check_layers(layers)
        first = next(iter(sizes), None)
        if first is None or SENSORY in sizes or (outputs is None and first != MOTOR):
            raise WiringError(
                f"layers must begin with {MOTOR!r} and leave out {SENSORY!r} (its size is "
                f"input_size), got {list(sizes)}; outputs=[...] reads neurons of any other layers"
            )
        if sum(sizes.values()) > LARGEST:
            raise WiringError(
                f"a wiring may have {LARGEST} neurons, which are numbered in 32 bits, got "
                f"{sum(sizes.values())} in {sizes}; make the layers smaller"
            )
        inputs = {SENSORY: check_size("input_size", input_size)}
        self.__dict__.update(  # plain assignment is refused, see __setattr__
            _input_size=inputs[SENSORY],
            _layers=MappingProxyType(sizes),
            _recurrent=recurrent,
            _sensory=sensory,
            _electrical=GapJunctions.empty() if electrical is None else electrical,
            _outputs=_checked_outputs(outputs, sizes),
            _names=check_names("names", names, sizes),
            _sensory_names=check_names("sensory_names", sensory_names, inputs),
        )
        check_ends("recurrent", recurrent, self.units, self.units)
        check_ends("sensory", sensory, self.input_size, self.units)
        check_junctions(self._electrical, self.units)
        check_unique((self._names, sizes), (self._sensory_names, inputs))

    _input_size: int
    _layers: Mapping[str, int]
    _recurrent: Synapses
    _sensory: Synapses
    _electrical: GapJunctions
    _outputs: tuple[int, ...] | None  # None for the layer "motor"
    _names: tuple[str, ...] | None
    _sensory_names: tuple[str, ...] | None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Wiring is immutable, {name!r} cannot be set; edit() and with_synapses() return "
            "a new one"
        )

    # --- neurons -------------------------------------------------------------------------

    @property
    def layers(self) -> Mapping[str, int]:
        """Name and size of each layer in the order of the neurons' indices.

        The motor neurons are first, unless `outputs` are given.
        """
        return self._layers

    @property
    def units(self) -> int:
        """Number of neurons, sensory neurons not counted: the size of the state."""
        return sum(self._layers.values())

    @property
    def input_size(self) -> int:
        """Number of sensory neurons."""
        return self._input_size

    @property
    def output_size(self) -> int:
        """Number of output channels: of motor neurons, unless `outputs` are given."""
        return self._layers[MOTOR] if self._outputs is None else len(self._outputs)

    @cached_property
    def outputs(self) -> NDArray[np.int64]:
        """The neuron that each output channel reads, shape (output,).

        Examples
        --------
        >>> from elegans.wiring import AutoNCP
        >>> AutoNCP(units=19, output_size=4).build(input_size=8).outputs
        array([0, 1, 2, 3])
        """
        chosen = range(self._layers[MOTOR]) if self._outputs is None else self._outputs
        return _frozen(np.array(chosen, dtype=np.int64))

    @property
    def has_outputs_elsewhere(self) -> bool:
        """Whether `outputs` are given, and are not those of the layer ``"motor"``."""
        return self._outputs is not None

    @cached_property
    def reads_first_neurons(self) -> bool:
        """Whether the outputs are the first neurons of the state, in their order."""
        return self._outputs is None or self._outputs == tuple(range(len(self._outputs)))

    def layer_range(self, layer: str) -> range:
        """Return the indices of the neurons of `layer` (of the inputs for ``"sensory"``)."""
        if layer == SENSORY:
            return range(self.input_size)
        start = 0
        for name, size in self._layers.items():
            if name == layer:
                return range(start, start + size)
            start += size
        raise WiringError(f"no layer {layer!r}; the layers are {[SENSORY, *self._layers]}")

    @cached_property
    def layer_of(self) -> NDArray[np.str_]:
        """The layer's name of each neuron, shape (neuron,)."""
        require_spelt_out(self._layers)
        return _frozen(np.repeat(list(self._layers), list(self._layers.values())))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each neuron."""
        if self._names is not None:
            return self._names
        return default_names(self._layers)

    @cached_property
    def sensory_names(self) -> tuple[str, ...]:
        """The name of each sensory neuron."""
        if self._sensory_names is not None:
            return self._sensory_names
        return default_names({SENSORY: self.input_size})

    @property
    def neurons(self) -> tuple[Neuron, ...]:
        """Every neuron of the state, in order of index."""
        return tuple(
            Neuron(i, name, str(layer))
            for i, (name, layer) in enumerate(zip(self.names, self.layer_of, strict=True))
        )

    @property
    def sensory_neurons(self) -> tuple[Neuron, ...]:
        """Every sensory neuron, in order of index."""
        return tuple(Neuron(i, name, SENSORY) for i, name in enumerate(self.sensory_names))

    # --- synapses ------------------------------------------------------------------------

    @property
    def recurrent(self) -> Synapses:
        """Synapses between neurons."""
        return self._recurrent

    @property
    def sensory(self) -> Synapses:
        """Synapses from sensory neurons to neurons."""
        return self._sensory

    @property
    def electrical(self) -> GapJunctions:
        """Gap junctions between neurons."""
        return self._electrical

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons."""
        return len(self._recurrent)

    @property
    def sensory_synapse_count(self) -> int:
        """Number of synapses from sensory neurons."""
        return len(self._sensory)

    @property
    def gap_junction_count(self) -> int:
        """Number of gap junctions."""
        return len(self._electrical)

    @property
    def density(self) -> float:
        """Synapses between neurons as a share of units squared."""
        return self.synapse_count / self.units**2

    @property
    def sensory_density(self) -> float:
        """Sensory synapses as a share of inputs times units."""
        return self.sensory_synapse_count / (self.input_size * self.units)

    def in_degree(self) -> NDArray[np.int64]:
        """Count the synapses onto each neuron, sensory ones included, shape (neuron,)."""
        recurrent, sensory = (
            np.bincount(synapses.target, minlength=self.units)
            for synapses in (self._recurrent, self._sensory)
        )
        return recurrent + sensory

    def out_degree(self) -> NDArray[np.int64]:
        """Count the synapses from each neuron, shape (neuron,)."""
        return np.bincount(self._recurrent.source, minlength=self.units)

    def sensory_out_degree(self) -> NDArray[np.int64]:
        """Count the synapses from each sensory neuron, shape (input,)."""
        return np.bincount(self._sensory.source, minlength=self.input_size)

    def adjacency(self) -> NDArray[np.int64]:
        """Return the polarities as a dense matrix ``[source, target]``, 0 where no synapse is."""
        return self._recurrent.adjacency(self.units, self.units)

    def sensory_adjacency(self) -> NDArray[np.int64]:
        """Return the sensory polarities as a dense matrix ``[input, target]``."""
        return self._sensory.adjacency(self.input_size, self.units)

    def electrical_adjacency(self) -> NDArray[np.int64]:
        """Return the dense matrix ``[from, to]``: 1 where current may flow by a gap junction."""
        return self._electrical.matrix(self.units).astype(np.int64)

    # --- building ------------------------------------------------------------------------

    def build(self, input_size: int) -> Wiring:
        """Return this wiring, as a recipe would that has drawn it for `input_size` inputs."""
        if input_size != self.input_size:
            raise WiringError(
                f"the wiring was made for {self.input_size} inputs, got input_size="
                f"{input_size!r}; build its recipe with it"
            )
        return self

    def as_built(self) -> Wiring:
        """Return this wiring."""
        return self

    def is_built(self) -> bool:
        """Return true, as the inputs are known."""
        return True

    def get_config(self) -> dict[str, Any]:
        """Return matrices and sizes as plain values, under the names of ``ncps``.

        `to_json` keeps layers, names and parallel synapses as well, and gap junctions and outputs
        elsewhere than in the first neurons, for which there is no place here: a wiring with some
        raises `WiringError`.
        """
        if len(self._electrical):
            raise WiringError(
                f"the wiring has {len(self._electrical)} gap junctions, which the matrices of ncps "
                "have no place for; to_json keeps them"
            )
        if not self.reads_first_neurons:
            raise WiringError(
                f"the outputs read the neurons {shown(self.outputs.tolist())}, but the matrices of "
                "ncps have the first neurons as outputs; to_json keeps them"
            )
        return {
            "units": self.units,
            "adjacency_matrix": self.adjacency().tolist(),
            "sensory_adjacency_matrix": self.sensory_adjacency().tolist(),
            "input_dim": self.input_size,
            "output_dim": self.output_size,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Wiring:
        """Return the wiring of which `get_config` told, with motor and inter neurons."""
        return cls.from_adjacency(
            config["adjacency_matrix"], config["sensory_adjacency_matrix"], config["output_dim"]
        )

    # --- editing -------------------------------------------------------------------------

    def edit(
        self,
        *,
        remove: Iterable[tuple[int, int]] = (),
        add: Iterable[tuple[int, int, int]] = (),
        remove_sensory: Iterable[tuple[int, int]] = (),
        add_sensory: Iterable[tuple[int, int, int]] = (),
        remove_electrical: Iterable[tuple[int, int]] = (),
        add_electrical: Iterable[tuple[int, int, bool]] = (),
    ) -> Wiring:
        """Return a new wiring with synapses removed and added; this one stays as it is.

        Parameters
        ----------
        remove, remove_sensory
            Pairs (source, target). All parallel synapses of a pair are removed.
        add, add_sensory
            Triples (source, target, polarity). A pair that is removed in the same edit may be
            added again, with the other polarity for instance.
        remove_electrical
            Pairs of neurons, in either order, whose gap junction is removed.
        add_electrical
            Triples (source, target, rectifying) of gap junctions.

        Raises
        ------
        WiringError
            A pair to remove has no synapse, a pair to add has one already, or an index or
            polarity is not valid.

        Examples
        --------
        >>> from elegans.wiring import FullyConnected
        >>> wiring = FullyConnected(3, 1).build(input_size=2)
        >>> wiring.edit(remove=[(2, 0), (1, 1)], add=[(1, 1, -1)])
        Wiring(2 sensory, 2 inter, 1 motor; 8 synapses, 6 sensory synapses)
        """
        return self.with_synapses(
            edited("recurrent", self._recurrent, remove, add),
            edited("sensory", self._sensory, remove_sensory, add_sensory),
            edited_junctions(self._electrical, remove_electrical, add_electrical),
        )

    def with_synapses(
        self, recurrent: Synapses, sensory: Synapses, electrical: GapJunctions | None = None
    ) -> Wiring:
        """Return a wiring of the same neurons with other synapses.

        Gap junctions stay as they are unless others are given.
        """
        electrical = self._electrical if electrical is None else electrical
        check_ends("recurrent", recurrent, self.units, self.units)
        check_ends("sensory", sensory, self.input_size, self.units)
        check_junctions(electrical, self.units)
        rewired = object.__new__(Wiring)
        # Names and layers, checked and spelt out already, are those of the same neurons.
        rewired.__dict__.update(
            self.__dict__, _recurrent=recurrent, _sensory=sensory, _electrical=electrical
        )
        return rewired

    # --- pictures ------------------------------------------------------------------------

    def draw(self, **options: Any) -> Axes:
        """Draw the circuit; see `elegans.wiring.draw` for the options."""
        from elegans.wiring.drawing.views import draw  # matplotlib is imported only for pictures

        return draw(self, **options)

    # --- value ---------------------------------------------------------------------------

    def _identity(self) -> tuple[object, ...]:
        return (
            self._input_size,
            tuple(self._layers.items()),
            self._recurrent,
            self._sensory,
            self._electrical,
            self._names,  # None for the default ones, which are never spelt out here
            self._sensory_names,
            *(() if self._outputs is None else (self._outputs,)),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Wiring):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[object, ...]:
        given: dict[str, Any] = {} if self._outputs is None else {"outputs": self._outputs}
        rebuild = partial(
            Wiring,
            electrical=self._electrical,
            names=self._names,
            sensory_names=self._sensory_names,
            **given,
        )
        return rebuild, (self._input_size, dict(self._layers), self._recurrent, self._sensory)

    def __repr__(self) -> str:
        sizes = [(SENSORY, self._input_size), *reversed(list(self._layers.items()))]
        neurons = ", ".join(f"{size} {name}" for name, size in sizes)
        junctions = f", {self.gap_junction_count} gap junctions" if len(self._electrical) else ""
        outputs = "" if self._outputs is None else f", {self.output_size} outputs"
        return (
            f"Wiring({neurons}; {self.synapse_count} synapses, "
            f"{self.sensory_synapse_count} sensory synapses{junctions}{outputs})"
        )

    def _repr_html_(self) -> str:
        return self.html_of(self.draw)

    def html_of(self, draw: Callable[[], Axes]) -> str:
        """Return a drawing of this circuit for notebooks, or words where it would take long."""
        words = f"<p>{escape(repr(self))}</p>"
        if self.synapse_count + self.sensory_synapse_count > _MANY_SYNAPSES:
            return words
        from elegans.wiring.drawing.page import as_image  # matplotlib, for pictures alone

        return words + as_image(draw(), repr(self))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _checked_outputs(
    outputs: ArrayLike | None, layers: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Return the neurons that are read, None where they are the first layer and it is motor."""
    if outputs is None:
        return None
    try:
        given = np.asarray(outputs)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch wants detach()
        given = np.empty(())
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        raise WiringError(
            "outputs must hold the index of a neuron for each output channel, one at least, got "
            f"{shown(outputs)}; leave them out to read the layer {MOTOR!r}"
        )
    units = sum(layers.values())
    wrong = (given < 0) | (given >= units)
    if wrong.any():
        raise WiringError(
            f"outputs must be indices of neurons from 0 to {units - 1}, got {given[wrong][0]} for "
            f"channel {int(np.argmax(wrong))}"
        )
    chosen = tuple(given.tolist())
    first = next(iter(layers))
    is_default = first == MOTOR and chosen == tuple(range(layers[first]))
    return None if is_default else chosen
