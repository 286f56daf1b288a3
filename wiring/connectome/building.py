"""Wirings of connectomes: each cell a neuron, each input a channel onto one neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import NEURON, Connectome
from elegans.wiring.connectome.edges import Edges
from elegans.wiring.connectome.polarity import conductances
from elegans.wiring.connectome.subcircuits import keep_cells
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import MOTOR, SENSORY, Wiring


@dataclass(frozen=True, eq=False)
class BuiltWiring:
    """A wiring with what it carries over from a connectome, and what it could not carry.

    Parameters
    ----------
    wiring
        One synapse for each chemical connection, or two where a part of it excites and a part
        inhibits.
    conductance
        Of each synapse, in the order of ``wiring.recurrent``, shape (synapse,); see
        `conductances`.
    junction_conductance
        Of each gap junction, in the order of ``wiring.electrical``, shape (junction,), by the same
        law over the pairs.
    positions, sides
        Where the neurons lie, shape (neuron, 3), NaN where it is not known, and on which side, for
        `Wiring.draw`.
    left_out
        The gap junctions that the wiring does not have, by indices of ``wiring.names``.
    notes
        What was changed, a sentence each, after those of the connectome.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> built = to_wiring(tap_withdrawal(), ["PLM"], ["AVB"])
    >>> [(built.wiring.names[j], built.wiring.names[i]) for j, i, _ in built.wiring.electrical]
    [('AVM', 'AVD'), ('PLM', 'PVC')]
    >>> built.junction_conductance.tolist()
    [1.0, 1.0]
    """

    wiring: Wiring
    conductance: NDArray[np.float64]
    junction_conductance: NDArray[np.float64]
    positions: NDArray[np.float64]
    sides: tuple[str, ...]
    left_out: Edges
    notes: tuple[str, ...]


@checked(WiringError)
def to_wiring(
    connectome: Connectome,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    layers: Mapping[str, Sequence[str]] | None = None,
    keep_layers: bool = False,
    electrical: str = "keep",
    cells: str = "error",
    mean: float = 1.0,
    junction_mean: float | None = None,
    exponent: float = 1.0,
) -> BuiltWiring:
    """Return the wiring of a connectome whose synapses all have signs.

    Every cell becomes a neuron with a state, sensory cells too, which may receive synapses. An
    input is a channel of data that reaches one neuron by one excitatory synapse.

    Parameters
    ----------
    connectome
        What to build; `with_polarity` gives it signs.
    inputs
        Names of the cells, or classes, that the channels drive, a channel a cell, in this order.
    outputs
        Names of the cells, or classes, that are read out, an output channel a cell, in this order:
        the motor neurons, unless `keep_layers`.
    layers
        Names of further layers and of their cells, motor neurons left out, from the output to the
        input; what stands in none becomes ``inter``.
    keep_layers
        Whether the cells that are read out stay in the layers of `layers`, or in ``inter``, and are
        read where they lie: the outputs of the wiring. A name may then stand twice among `outputs`,
        for two channels that read one cell, and a layer may be called ``motor``.
    electrical
        What gap junctions become: ``"keep"``, those of ``wiring.electrical``, one a pair, which an
        LTC runs on; ``"leave_out"``, kept in `BuiltWiring.left_out`; ``"chemical"``, two excitatory
        synapses, one each way, with the count of the pair; ``"error"``.
    cells
        What cells that are not neurons become, unless they are among `outputs` (muscles often
        are): ``"error"``, ``"leave_out"`` or ``"neurons"``.
    mean, exponent
        The law of `conductances`.
    junction_mean
        The mean conductance of a pair with gap junctions; by default that of a synapse, `mean`.

    Raises
    ------
    WiringError
        A synapse has no sign, a name is not there, a cell stands in two layers, or what the
        options refuse.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> built = to_wiring(
    ...     tap_withdrawal(),
    ...     inputs=["ALM", "AVM", "PLM", "PVD"],
    ...     outputs=["AVA", "AVB"],
    ... )
    >>> built.wiring
    Wiring(4 sensory, 7 inter, 2 motor; 24 synapses, 4 sensory synapses, 2 gap junctions)

    The command neurons in a layer of their own, before the touch receptors, of which one is read:

    >>> built = to_wiring(
    ...     tap_withdrawal(),
    ...     inputs=["ALM", "AVM", "PLM", "PVD"],
    ...     outputs=["AVA", "AVB", "PLM"],
    ...     layers={
    ...         "command": ["AVA", "AVB", "AVD", "PVC"],
    ...         "receptor": ["ALM", "AVM", "PLM", "PVD"],
    ...     },
    ...     keep_layers=True,
    ... )
    >>> built.wiring.layers, [built.wiring.names[i] for i in built.wiring.outputs]
    (mappingproxy({'command': 4, 'receptor': 4, 'inter': 1}), ['AVA', 'AVB', 'PLM'])
    """
    if electrical not in ("keep", "error", "leave_out", "chemical"):
        raise WiringError(
            f"electrical must be keep, error, leave_out or chemical, got {electrical!r}"
        )
    if cells not in ("error", "leave_out", "neurons"):
        raise WiringError(f"cells must be error, leave_out or neurons, got {cells!r}")
    notes = list(connectome.notes)
    connectome = _neurons(connectome, outputs, cells, notes)
    read = np.concatenate([connectome.indices([name]) for name in _listed(outputs)])
    sizes, order = _layers(connectome, [] if keep_layers else outputs, layers or {})
    place = np.empty(len(connectome), dtype=np.int64)  # of each cell among the neurons
    place[order] = np.arange(len(order))
    ordered = keep_cells(connectome, order)
    edges = ordered.chemical
    if (edges.sign == 0).any():
        raise WiringError(
            f"{int((edges.sign == 0).sum())} of {len(edges)} connections have no sign, expected 1 "
            "or -1; with_polarity gives them signs"
        )
    edges, pairs, left_out = _with_gaps(ordered, electrical, notes)
    channels = ordered.indices(inputs)
    if not len(channels):
        raise WiringError("inputs must name a cell at least, got none")
    recurrent = Synapses(edges.pre, edges.post, edges.sign)
    # As Synapses sort: by target, source and sign.
    by_target = np.lexsort((edges.sign, edges.pre, edges.post))
    wiring = Wiring(
        len(channels),
        sizes,
        recurrent,
        Synapses(np.arange(len(channels)), channels, np.ones(len(channels), dtype=np.int64)),
        electrical=GapJunctions(pairs.pre, pairs.post),
        outputs=place[read] if keep_layers else None,
        names=ordered.names,
        sensory_names=_channel_names([ordered.names[i] for i in channels], ordered.names),
    )
    conductance = conductances(edges, mean=mean, exponent=exponent)[by_target]
    junction_mean = mean if junction_mean is None else junction_mean
    of_pairs = conductances(pairs, mean=junction_mean, exponent=exponent)
    junctions = of_pairs[np.lexsort((pairs.pre, pairs.post))]  # as GapJunctions sort
    # Files have other words for sides, too.
    sides = tuple(side if side in ("left", "right") else "" for side in ordered.sides)
    places = ordered.positions
    return BuiltWiring(wiring, conductance, junctions, places, sides, left_out, tuple(notes))


def _neurons(
    connectome: Connectome, outputs: Sequence[str], cells: str, notes: list[str]
) -> Connectome:
    """Return the connectome of what becomes a neuron."""
    other = np.array(connectome.kinds) != NEURON
    other[connectome.indices(outputs)] = False
    if not other.any() or cells == "neurons":
        return connectome
    some = ", ".join(connectome.names[i] for i in np.flatnonzero(other)[:5])
    told = f"{int(other.sum())} cells are not neurons and no outputs: {some}"
    if cells == "error":
        raise WiringError(
            f'{told}; cells="leave_out" leaves them out, cells="neurons" gives them a state'
        )
    notes.append(f"{told}, left out of the wiring")
    return keep_cells(connectome, np.flatnonzero(~other))


def _listed(outputs: Sequence[str]) -> Sequence[str]:
    """Return the names of the cells that are read; raise `WiringError` if there are none."""
    names = [outputs] if isinstance(outputs, str) else outputs
    if not len(names):
        raise WiringError("outputs must name a cell at least, got none")
    return names


def _layers(
    connectome: Connectome, motor: Sequence[str], layers: Mapping[str, Sequence[str]]
) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Return the size of each layer, motor first if it has members, and the cells in order."""
    wrong = ({MOTOR, SENSORY} if len(motor) else {SENSORY}) & set(layers)
    if wrong:
        raise WiringError(
            f"layers must not hold {sorted(wrong)[0]!r}: motor neurons are outputs, channels "
            "inputs; choose another name, such as 'receptor', or keep_layers=True for outputs that "
            "stay in their layers"
        )
    members = {MOTOR: connectome.indices(motor)} if len(motor) else {}
    taken = np.zeros(len(connectome), dtype=np.bool_)
    taken[connectome.indices(motor)] = True
    for layer, names in layers.items():
        here = connectome.indices(names)
        if taken[here].any():
            cell = connectome.names[here[np.argmax(taken[here])]]
            raise WiringError(f"cell {cell!r} of layer {layer!r} stands in another layer already")
        taken[here] = True
        members[layer] = here
    rest = np.flatnonzero(~taken)
    members["inter"] = np.concatenate([members.get("inter", rest[:0]), rest])
    filled = {layer: here for layer, here in members.items() if len(here)}
    return {layer: len(here) for layer, here in filled.items()}, np.concatenate(
        list(filled.values())
    )


def _with_gaps(
    connectome: Connectome, electrical: str, notes: list[str]
) -> tuple[Edges, Edges, Edges]:
    """Return the synapses, the pairs with gap junctions that are kept, and those that are not."""
    edges, pairs, none = connectome.chemical, connectome.electrical, Edges.empty()
    if not len(pairs) or electrical == "keep":
        return edges, pairs, none
    told = f"{pairs.synapses:g} gap junctions of {len(pairs)} pairs"
    if electrical == "error":
        raise WiringError(
            f'got {told}, expected none with electrical="error"; "keep" hands them to the wiring, '
            '"leave_out" keeps them apart, "chemical" makes them two excitatory synapses'
        )
    if electrical == "leave_out":
        notes.append(f"{told} were left out of the wiring")
        return edges, none, pairs
    from elegans.wiring.connectome.subcircuits import merged

    notes.append(f"{told} became two excitatory synapses each")
    both, _ = merged(
        np.concatenate([edges.pre, pairs.pre, pairs.post]),
        np.concatenate([edges.post, pairs.post, pairs.pre]),
        np.concatenate([edges.count, pairs.count, pairs.count]),
        np.concatenate([edges.sign, np.ones(2 * len(pairs), dtype=np.int8)]),
        np.zeros(len(edges) + 2 * len(pairs), dtype=np.bool_),
    )
    return both, none, none


def _channel_names(inputs: Sequence[str], taken: Sequence[str]) -> list[str]:
    used = set(taken)
    names = []
    for name in inputs:
        channel = f"in_{name}"
        while channel in used:
            channel += "_"
        used.add(channel)
        names.append(channel)
    return names
