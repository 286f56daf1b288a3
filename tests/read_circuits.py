"""Circuits whose outputs read neurons anywhere, beside the same ones with the outputs in front."""

from typing import NamedTuple

import numpy as np
import torch

import elegans
from elegans.wiring import GapJunctions, Synapses, Wiring

INPUTS = 3

FAMILIES = ("CTRNN", "CfC", "LRC", "LTC", "LrcSSM", "NeuralLTC", "NeuralODE")
"""Layers that have a wiring to choose."""


class Pair(NamedTuple):
    """Two layers of the same equation: neuron i of `front` is neuron ``place[i]`` of `moved`."""

    front: torch.nn.Module
    """The outputs are its first neurons."""
    moved: torch.nn.Module
    place: np.ndarray
    slots: dict
    """By set: which slot of `front` each slot of `moved` is."""


def random_front(rng, units, outputs, *, junctions=False, recurrent=True):
    """Return a wiring with motor neurons in front, no parallel synapses, and some of itself."""
    pairs = np.argwhere(rng.random((units, units)) < (0.35 if recurrent else 0.0))
    into = np.argwhere(rng.random((INPUTS, units)) < 0.5)
    chemical, sensory = (
        Synapses(*ends.T, rng.choice([-1, 1], len(ends))) for ends in (pairs, into)
    )
    between = np.argwhere(np.triu(rng.random((units, units)) < 0.3, 1))
    electrical = GapJunctions(*between.T, rng.random(len(between)) < 0.4) if junctions else None
    layers = {"motor": outputs} | ({"inter": units - outputs} if units > outputs else {})
    return Wiring(INPUTS, layers, chemical, sensory, electrical=electrical)


def moved_wiring(front, place, layers, outputs=None):
    """Return the wiring with neuron i at ``place[i]`` and the outputs where they are then."""
    recurrent, sensory, electrical = front.recurrent, front.sensory, front.electrical
    return Wiring(
        INPUTS,
        layers,
        Synapses(place[recurrent.source], place[recurrent.target], recurrent.polarity),
        Synapses(sensory.source, place[sensory.target], sensory.polarity),
        electrical=GapJunctions(
            place[electrical.source], place[electrical.target], electrical.rectifying
        ),
        outputs=place[front.outputs] if outputs is None else outputs,
    )


def pair(name, seed=0, *, units=9, outputs=4, junctions=False, proj_size=None, **options):
    """Return a layer of a family with its outputs in front, and one with them anywhere."""
    rng = np.random.default_rng(seed)
    front = random_front(rng, units, outputs, junctions=junctions, recurrent=name != "LrcSSM")
    place = rng.permutation(units)
    layers = {"a": units - units // 2, "b": units // 2}
    if name == "CfC":  # whose layers follow one another within a step
        place = np.concatenate(
            [rng.permutation(outputs), outputs + rng.permutation(units - outputs)]
        )
        layers = {"read": outputs, "hidden": units - outputs}
    kind = getattr(elegans, name)
    options = {"dtype": torch.float64} | options
    options |= {"proj_size": proj_size} if proj_size else {}
    generator = torch.Generator().manual_seed(seed)
    first = kind(INPUTS, front, generator=generator, **options)
    second = kind(INPUTS, moved_wiring(front, place, layers), generator=generator, **options)
    with torch.no_grad():
        for parameter in first.parameters():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.3 * noise).to(parameter))
    slots = {set_: _slots(first, second, set_, place) for set_ in first.cell.synapse_sets()}
    _copy(first, second, place, slots)
    return Pair(first, second, place, slots)


def _slots(first, second, name, place):
    """Return which slot of `first` each slot of `second` is."""
    mine, other = (layer.cell.synapse_sets()[name] for layer in (first, second))
    source, target = mine.source.numpy(), place[mine.target.numpy()]
    source = source if name.endswith("sensory") else place[source]
    ends = {(j, i): k for k, (j, i) in enumerate(zip(source, target, strict=True))}
    if name == "electrical":
        ends |= {(i, j): k for (j, i), k in ends.items()}
    return [ends[j, i] for j, i in zip(other.source.tolist(), other.target.tolist(), strict=True)]


@torch.no_grad()
def _copy(first, second, place, slots):
    for name, parameter in second.cell.named_parameters():
        parameter.copy_(in_order(name, first.cell.get_parameter(name), place, slots))


def in_order(name, values, place, slots):
    """Return values of the layer with outputs in front in the order of the other one."""
    parts = ["cell", *name.split(".")]
    if parts[-2] in slots:
        return values[..., slots[parts[-2]]]
    if parts[-2] in ("input_mapping", "output_mapping", "projection") or "input" in parts[-1]:
        return values
    return neurons_in_order(values, place)


def neurons_in_order(values, place):
    """Return values (..., neuron) of the layer with outputs in front in the order of the other."""
    moved = torch.empty_like(values)
    moved[..., place] = values
    return moved
