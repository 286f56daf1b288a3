"""Conductances of a connectome in a layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.layers.capabilities import cell_of
from elegans.synapses.conductance import ConductanceSynapses
from elegans.wiring.connectome import BuiltWiring


@checked(InputError)
def set_conductances(model: nn.Module, built: BuiltWiring) -> None:
    """Let the synapses and gap junctions of a fresh layer conduct as those of a connectome.

    Sensory synapses, which no connectome counts, keep their values.

    Parameters
    ----------
    model
        A layer or a cell on ``built.wiring`` whose synapses have conductances, as those of an LTC.
    built
        What `elegans.wiring.connectome.to_wiring` made; of ``conductance`` and
        ``junction_conductance``.

    Raises
    ------
    InputError
        The synapses of the model have no conductances, are others than those of the wiring, or a
        conductance is not positive.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import connectome
    >>> built = connectome.to_wiring(connectome.tap_withdrawal(), ["PLM"], ["AVB"], mean=0.5)
    >>> model = elegans.LTC(1, built.wiring)
    >>> set_conductances(model, built)
    >>> round(model.cell.recurrent.strength().mean().item(), 4)
    0.5
    >>> model.cell.electrical.strength().tolist()
    [0.5, 0.5]
    """
    cell = cell_of(model)
    given = {"recurrent": built.conductance}
    if built.wiring.gap_junction_count:
        given["electrical"] = built.junction_conductance
    sets = {name: _conducting(cell, name) for name in given}
    for name, synapses in sets.items():
        edges = getattr(built.wiring, name)
        ends = (synapses.source, edges.source), (synapses.target, edges.target)
        if not all(np.array_equal(slots.cpu().numpy(), theirs) for slots, theirs in ends):
            raise InputError(
                f"the {name} synapses of the {type(cell).__name__} are not those of {built.wiring} "
                "in its order; build the layer on built.wiring, and set conductances before "
                "anything is pruned or rewired"
            )
        if not (given[name] > 0).all():
            raise InputError(
                f"got a conductance of {given[name].min():g} in the {name} set, expected "
                "positive ones; choose mean > 0, or leave connections without synapses out"
            )
    for name, synapses in sets.items():
        synapses.set_strength(torch.from_numpy(given[name]))


def _conducting(cell: nn.Module, name: str) -> ConductanceSynapses:
    synapses = getattr(cell, name, None)
    if not isinstance(synapses, ConductanceSynapses):
        raise InputError(
            f"{type(cell).__name__} has no {name} synapses with conductances, expected an LTC on "
            "built.wiring"
        )
    return synapses
