"""Compacted circuits with gap junctions: outputs and states equal to those of the masked ones."""

import numpy as np
import pytest
import torch
from electric_circuits import NONE, circuit
from test_pruning_compact_liquid import assert_equal_run, kept_of
from torch.nn.utils import prune

import elegans
from elegans.errors import PruningError
from elegans.pruning.compact import compact
from elegans.pruning.compact.liquid import depends_on_inputs, heard
from elegans.wiring import GapJunctions, Synapses, Wiring


def random_circuit(seed):
    """A circuit with closed synapses and closed junctions of both kinds, and inputs to it."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(3, 9))
    pairs = np.array([(i, j) for i in range(units) for j in range(i)])
    chosen = rng.permutation(pairs)[: int(rng.integers(0, units + 1))]
    source, target = rng.permuted(chosen, axis=1).T if len(chosen) else ([], [])
    gaps = GapJunctions(source, target, rng.random(len(chosen)) < 0.5)
    count = int(rng.integers(0, 2 * units))
    ends = rng.integers(units, size=(2, count))
    recurrent = Synapses(*ends, rng.choice([-1, 1], size=count))
    sensory = Synapses([0, 1], rng.integers(units, size=2), [1, -1])
    layers = {"motor": 1, "inter": units - 1}
    wiring = Wiring(2, layers, recurrent, sensory, electrical=gaps)
    generator = torch.Generator().manual_seed(seed)
    model = elegans.LTC(2, wiring, ode_unfolds=3, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        for parameter in model.cell.parameters():
            parameter.mul_(0.7 + 0.6 * torch.rand(parameter.shape, generator=generator))
        model.cell.vleak.normal_(generator=generator)
    for synapses in model.cell.synapse_sets().values():
        synapses.set_mask(torch.rand(len(synapses), generator=generator) < 0.5)
    return model, torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("path", ["reference", "fused"])
def test_compacted_circuits_compute_the_same(path):
    smaller = joined = 0
    for seed in range(14):
        model, x = random_circuit(seed)
        small = compact(model, allow_empty=True)
        kept = kept_of(small)
        assert_equal_run(model, small.model, x, kept, path)
        smaller += len(kept) < model.state_size
        joined += small.model.wiring.gap_junction_count > 0
        assert small.model.wiring.gap_junction_count <= model.wiring.gap_junction_count
    assert smaller > 2
    assert joined > 2


def test_a_neuron_that_is_heard_through_a_junction_only_stays():
    for rectifying in (False, True):
        gaps = GapJunctions([2], [0], [rectifying])
        wiring = Wiring(
            1, {"motor": 1, "inter": 3}, NONE, Synapses([0, 0], [2, 3], [1, 1]), electrical=gaps
        )
        assert heard(wiring).tolist() == [True, False, True, False]
        assert depends_on_inputs(wiring)
        small = compact(elegans.LTC(1, wiring))
        assert kept_of(small) == [0, 2]
        assert small.model.wiring.electrical == GapJunctions([1], [0], [rectifying])


def test_neurons_that_hear_others_through_a_junction_are_not_at_rest():
    gaps = GapJunctions([1], [2], [False])
    wiring = Wiring(
        1, {"motor": 1, "inter": 3}, Synapses([1, 3], [0, 0], [1, 1]), Synapses([0], [2], [1]),
        electrical=gaps,
    )  # fmt: skip
    model = elegans.LTC(1, wiring, dtype=torch.float64)
    with torch.no_grad():  # the neuron alone is at rest in the beginning
        model.cell.vleak[3] = 0.0
    small = compact(model, at_rest=True)
    assert kept_of(small) == [0, 1, 2]
    assert small.record[0].without_inputs == ("inter_2",)
    x = torch.randn(2, 5, 1, dtype=torch.float64)
    assert_equal_run(model, small.model, x, [0, 1, 2])


def test_a_circuit_whose_junctions_are_all_pruned_has_none():
    model = circuit("one", pruned=[0], dtype=torch.float64)
    small = compact(model)
    assert small.model.cell.electrical is None
    assert small.model.wiring.electrical == GapJunctions.empty()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_equal_run(model, small.model, x, kept_of(small))


def test_conductances_follow_their_junctions_and_masks_of_torch_count():
    model = circuit(dtype=torch.float64)
    with torch.no_grad():
        model.cell.electrical.weight.copy_(torch.arange(5.0))
    mask = torch.tensor([True, False, True, True, True])
    prune.custom_from_mask(model.cell.electrical, "weight", mask)
    gone = int(model.cell.electrical.source[1]), int(model.cell.electrical.target[1])
    small = compact(model)
    junctions = small.model.cell.electrical
    ends = list(zip(junctions.source.tolist(), junctions.target.tolist(), strict=True))
    before = model.cell.electrical
    weights = {
        (int(j), int(i)): float(w)
        for j, i, w in zip(before.source, before.target, before.weight_orig.detach(), strict=True)
    }
    assert gone not in ends
    assert [weights[pair] for pair in ends] == junctions.weight.tolist()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_equal_run(model, small.model, x, kept_of(small))


def test_outputs_that_pruned_junctions_cut_from_the_inputs_are_refused():
    gaps = GapJunctions([1], [0])
    wiring = Wiring(1, {"motor": 1, "inter": 1}, NONE, Synapses([0], [1], [1]), electrical=gaps)
    model = elegans.LTC(1, wiring)
    compact(model)
    model.cell.electrical.set_mask(torch.tensor([False]))
    with pytest.raises(PruningError, match="no open synapse leads from an input"):
        compact(model)
