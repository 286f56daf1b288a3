"""Ensembles whose members have gap junctions: equal to each member alone, and taken apart again."""

import pytest
import torch
from electric_circuits import circuit
from test_ensemble_liquid import compare

import elegans
from elegans.ensemble import Ensemble
from elegans.ensemble.joined import Joined
from elegans.errors import InputError


def members(**options):
    """Members with other numbers of junctions, of both kinds, some of them pruned."""
    options = {"dtype": torch.float64} | options
    return [
        circuit(seed=0, **options),
        circuit("one", seed=1, **options),
        circuit("all rectify", seed=2, pruned=[1], **options),
    ]


def data():
    return torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("path", ["fused", "reference"])
@pytest.mark.parametrize("general", [False, True])
def test_every_member_computes_and_learns_what_it_does_alone(path, general):
    if path == "fused" and general:
        path = "auto"  # one member after another has no kernel
    networks = members()
    ensemble = Ensemble(networks, general=general)
    assert isinstance(ensemble._computation, Joined) != general
    compare(ensemble, networks, data(), path=path)


def test_members_of_other_solvers_run_one_by_one():
    networks = members(solver="rk4", ode_unfolds=12)
    compare(Ensemble(networks), networks, data())


def test_a_junction_pruned_in_one_member_is_open_in_the_others():
    networks = [circuit(dtype=torch.float64), circuit(dtype=torch.float64, pruned=[0, 3])]
    ensemble = Ensemble(networks)
    with torch.no_grad():
        output = ensemble(data())[0]
        assert (output[0] - output[1]).abs().max() > 1e-3
        torch.testing.assert_close(output[1], networks[1](data())[0], rtol=1e-10, atol=1e-10)


def test_members_come_back_with_their_own_junctions():
    networks = members()
    ensemble = Ensemble(networks)
    for member, network in zip(ensemble, networks, strict=True):
        assert member.wiring == network.wiring
        for name, tensor in network.state_dict().items():
            assert torch.equal(member.state_dict()[name], tensor), name


def test_the_joint_circuit_counts_the_junctions_of_all():
    networks = members()
    joint = Ensemble(networks)
    with torch.no_grad():
        joint(data())
    wiring = joint._computation._layer.cell.wiring
    assert wiring.gap_junction_count == 5 + 1 + 2
    assert wiring.electrical.rectifying.sum() == 3 + 0 + 2


def test_a_member_without_junctions_is_of_another_architecture():
    networks = [circuit(), elegans.LTC(3, circuit().wiring.with_synapses(*plain_sets()))]
    with pytest.raises(InputError, match="electrical"):
        Ensemble(networks)


def plain_sets():
    wiring = circuit().wiring
    return wiring.recurrent, wiring.sensory, elegans.wiring.GapJunctions.empty()
