"""What a circuit has to silence, and its silencing in a stack of copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.ensemble.stacking import copied
from elegans.errors import InputError
from elegans.layers.capabilities import Silenced, require
from elegans.layers.mapping import ElementwiseMapping
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.synapses.electrical import ElectricalSynapses
from elegans.wiring.wiring import SENSORY

Model = SequenceLayer | Readout

KINDS = ("neurons", "synapses", "inputs")
"""What can be silenced."""

_REMEDY = "build one on a wiring, as elegans.LTC(inputs, AutoNCP(units, outputs))"


@dataclass(frozen=True)
class LesionPlace:
    """Which neuron, synapse or input it is; the first columns of a study, see `Lesion`."""

    kind: str
    name: str
    source: str | None
    target: str | None
    layer: str
    set: str | None
    index: int


class Site(NamedTuple):
    """What one lesion silences."""

    place: LesionPlace
    closed: dict[str, Tensor]
    """Slots that are closed, by the name of their set."""
    unread: tuple[tuple[str, int], ...] = ()
    """Weights that read a neuron or an input, by their dotted name, and its place in them."""


def prepared(model: Model) -> Model:
    """Return a copy in which every motor neuron is read through a weight.

    Where there is no output mapping, one by 1 takes its place: the same outputs to the last bit.
    """
    work = copied(model)
    layer = circuit_of(work)
    if isinstance(work, Readout):
        return work
    for name in require(layer.cell, Silenced, "silencing neurons").motor_readers():
        path, _, weight = name.rpartition(".")
        mapping = layer.cell.get_submodule(path)
        if isinstance(mapping, ElementwiseMapping) and mapping.kind is None:
            like = next(layer.parameters())
            home: Placement = {"device": like.device, "dtype": layer.cell.dtype}
            setattr(
                layer.cell.get_submodule(path.rpartition(".")[0]),
                path.rpartition(".")[2],
                ElementwiseMapping("linear", layer.motor_size, **home),
            )
        _require_free(mapping, name, weight)
    return work


def _require_free(mapping: nn.Module, name: str, weight: str) -> None:
    if weight not in mapping._parameters:
        raise InputError(
            f"{name} is computed from other parameters, by a mask or a parametrization, expected a "
            "parameter that can be set to zero for a silenced motor neuron; make it plain with "
            "prune.remove or parametrize.remove_parametrizations, or leave out kind 'neurons'"
        )


def sites_of(model: Model, kinds: Sequence[str]) -> list[Site]:
    """Return what there is to silence, kind by kind.

    Raises
    ------
    InputError
        The circuit has no synapses in slots, or nothing of the kinds.
    """
    layer = circuit_of(model)
    sets = layer.cell.synapse_sets()
    if not sets:
        raise InputError(
            f"got {type(layer).__name__} of {type(layer.cell).__name__}, whose neurons are all "
            f"connected by dense maps, expected a layer with synapses; {_REMEDY}"
        )
    sites: list[Site] = []
    for kind in kinds:
        sites += _synapses(layer) if kind == "synapses" else _senders(model, kind == "neurons")
    if not sites:
        raise InputError(
            f"got a circuit without any open {' or '.join(kinds)}, expected at least one to "
            "silence; choose other kinds, or open synapses with set_mask"
        )
    return sites


def _synapses(layer: SequenceLayer) -> list[Site]:
    """Return the open synapses."""
    wiring = layer.wiring
    sites = []
    for name, slots in layer.cell.synapse_sets().items():
        senders = wiring.sensory_names if name.endswith(SENSORY) else wiring.names
        ends = slots.source.tolist(), slots.target.tolist()
        rectifying = slots.rectifying.tolist() if isinstance(slots, ElectricalSynapses) else []
        for slot in slots.sorted_slots().tolist():
            source, target = senders[ends[0][slot]], wiring.names[ends[1][slot]]
            reached = str(wiring.layer_of[ends[1][slot]])
            one_way = not rectifying or rectifying[slot]
            between = "->" if one_way else "--"
            place = LesionPlace(
                "synapse", f"{source} {between} {target}", source, target, reached, name, slot
            )
            sites.append(Site(place, {name: torch.tensor([slot])}))
    return sites


def _senders(model: Model, neurons: bool) -> list[Site]:
    """Return neurons, or inputs, with all that reads them."""
    layer = circuit_of(model)
    wiring = layer.wiring
    ends = {  # a gap junction is read at both of its ends
        name: [slots.source.cpu(), slots.target.cpu()][: 1 + slots.is_mutual]
        for name, slots in layer.cell.synapse_sets().items()
        if name.endswith(SENSORY) != neurons
    }
    kind, names = ("neuron", wiring.names) if neurons else ("input", wiring.sensory_names)
    sites = []
    for k, name in enumerate(names):
        closed = {
            each: torch.stack([end == k for end in both]).any(0).nonzero()[:, 0]
            for each, both in ends.items()
        }
        layer_name = str(wiring.layer_of[k]) if neurons else SENSORY
        place = LesionPlace(kind, name, None, None, layer_name, None, k)
        sites.append(Site(place, closed, tuple(_readers(model, k, neurons))))
    return sites


def _readers(model: Model, k: int, neurons: bool) -> list[tuple[str, int]]:
    """Return what reads a neuron or an input besides synapses."""
    layer = circuit_of(model)
    own = "layer." if isinstance(model, Readout) else ""
    readers = []
    if layer.memory is not None:
        readers.append((f"{own}memory.{'recurrent' if neurons else 'input'}_map.weight", k))
    if neurons and isinstance(model, Readout):
        readers.append(("head.weight", k))
    elif neurons:
        for place in np.flatnonzero(layer.cell.output_neurons == k).tolist():
            cell = require(layer.cell, Silenced, "silencing neurons")
            readers += [(f"cell.{name}", place) for name in cell.motor_readers()]
    return readers


@torch.no_grad()
def silence(stacked: nn.Module, model: Model, sites: Sequence[Site | None]) -> None:
    """Silence one site in each member of a stack of copies of `model`; None leaves it intact."""
    layer = circuit_of(model)
    paths = {module: path for path, module in model.named_modules()}
    slots: dict[str, list[tuple[int, Tensor]]] = {}
    columns: dict[str, list[tuple[int, int]]] = {}
    for member, site in enumerate(sites):
        if site is None:
            continue
        for name, closed in site.closed.items():
            slots.setdefault(name, []).append((member, closed))
        for name, column in site.unread:
            columns.setdefault(name, []).append((member, column))
    sets = layer.cell.synapse_sets()
    for name, pairs in slots.items():
        mask = stacked.get_submodule(paths[sets[name]]).get_buffer("mask")  # (member, synapse)
        members = torch.cat([torch.full((len(closed),), member) for member, closed in pairs])
        closing = torch.cat([closed for _, closed in pairs])
        mask[members.to(mask.device), closing.to(mask.device)] = False
    for name, places in columns.items():
        weight = stacked.get_parameter(name)  # (member, ..., neuron)
        index = torch.tensor(places, device=weight.device)
        weight.movedim(-1, 1)[index[:, 0], index[:, 1]] = 0.0
