"""Liquid circuits with gap junctions of both kinds, for the tests of all that reads circuits."""

import torch

import elegans
from elegans.wiring import GapJunctions, Synapses, Wiring

UNITS = 6
"""Neurons: 2 motor ones, then 4."""

CHEMICAL = Synapses([2, 3, 2, 4, 5, 3], [0, 1, 3, 2, 4, 5], [1, -1, 1, 1, -1, 1])
SENSORY = Synapses([0, 1, 2, 0], [2, 3, 4, 5], [1, -1, 1, 1])
NONE = Synapses([], [], [])

JUNCTIONS = {
    "both kinds": GapJunctions([2, 5, 0, 1, 3], [3, 0, 1, 4, 4], [False, True, False, True, True]),
    "one": GapJunctions([1], [2]),
    "all rectify": GapJunctions([5, 2, 4], [0, 4, 1], [True, True, True]),
}
"""The first pair has a chemical synapse as well; a rectifying one may lead from high to low."""


def wiring(kind="both kinds", recurrent=CHEMICAL, sensory=SENSORY):
    return Wiring(3, {"motor": 2, "inter": 4}, recurrent, sensory, electrical=JUNCTIONS[kind])


def circuit(kind="both kinds", *, pruned=(), seed=0, recurrent=CHEMICAL, **options):
    """Return a layer whose potentials have both signs and cross; junctions `pruned` are closed."""
    generator = torch.Generator().manual_seed(seed)
    model = elegans.LTC(3, wiring(kind, recurrent), generator=generator, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.2 * noise).to(parameter))
        model.cell.vleak.copy_(torch.linspace(-0.6, 0.6, UNITS))
        model.cell.electrical.weight.add_(1.0)
        mask = torch.ones(len(model.cell.electrical), dtype=torch.bool)
        mask[list(pruned)] = False
        model.cell.electrical.set_mask(mask)
    return model


CIRCUITS = {
    "both kinds": lambda **options: circuit(**options),
    "one": lambda **options: circuit("one", **options),
    "all rectify": lambda **options: circuit("all rectify", **options),
    "some pruned": lambda **options: circuit(pruned=[0, 3], **options),
    "all pruned": lambda **options: circuit("one", pruned=[0], **options),
    "no synapses between neurons": lambda **options: circuit(recurrent=NONE, **options),
}


def without_junctions(model):
    """Return the same circuit with all its junctions closed."""
    twin = elegans.LTC(
        3,
        model.cell._blueprint,
        solver=model.cell.solver.name,
        ode_unfolds=model.cell.ode_unfolds,
        dtype=model.cell.dtype,
    )
    twin.load_state_dict(model.state_dict())
    twin.cell.electrical.set_mask(torch.zeros(len(twin.cell.electrical), dtype=torch.bool))
    return twin
