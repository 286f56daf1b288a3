"""Circuits whose behaviour is known, and how it is known."""

import numpy as np
import torch

from elegans import LTC
from elegans.wiring import Synapses, Wiring


def circuit(neurons, synapses, *, sensory=0.0, initial=None, **options):
    """Return an LTC of motor neurons, one input and `synapses` (source, target, w, s, m, E).

    ``initial`` holds leak, capacitance and leak potential; the input reaches neuron 0.
    """
    leak, capacitance, potential = initial or (1.0, 1.0, 0.0)
    columns = list(zip(*synapses, strict=True)) if synapses else [[]] * 6
    source, target, weight, gain, centre, reversal = columns
    order = np.lexsort((source, target))
    wiring = Wiring(
        1,
        {"motor": neurons},
        Synapses(
            [source[k] for k in order],
            [target[k] for k in order],
            [1 if reversal[k] >= 0 else -1 for k in order],
        ),
        Synapses([0], [0], [1]),
    )
    options = {"dtype": torch.float64, "epsilon": 0.0} | options
    model = LTC(1, wiring, implicit_param_constraints=False, **options)
    cell = model.cell
    places = {pair: k for k, pair in enumerate(zip(source, target, strict=True))}
    with torch.no_grad():
        for slot, pair in enumerate(
            zip(cell.recurrent.source.tolist(), cell.recurrent.target.tolist(), strict=True)
        ):
            k = places[pair]
            for name, column in zip(
                ("weight", "sigma", "mu", "erev"), (weight, gain, centre, reversal), strict=True
            ):
                getattr(cell.recurrent, name)[slot] = column[k]
        for name, value in (("weight", sensory), ("sigma", 4.0), ("mu", 0.0), ("erev", 1.0)):
            getattr(cell.sensory, name).fill_(value)
        for name, value in (("gleak", leak), ("cm", capacitance), ("vleak", potential)):
            getattr(cell, name).copy_(torch.as_tensor(value, dtype=cell.dtype))
    return model


def pair(**options):
    """Two neurons that excite each other: rests at 0.0251 and 0.7320, a saddle at 0.3457."""
    return circuit(2, [(0, 1, 3.0, 10.0, 0.5, 1.0), (1, 0, 3.0, 10.0, 0.5, 1.0)], **options)


def ring(**options):
    """Three neurons that inhibit each other in a ring: one unstable rest and a limit cycle."""
    synapses = [(k, (k + 1) % 3, 5.0, 10.0, 0.0, -1.0) for k in range(3)]
    return circuit(3, synapses, initial=(1.0, 1.0, 1.0), **options)
