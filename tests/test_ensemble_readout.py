"""Readouts of liquid layers as one circuit, and states of any layer: equal to each member alone."""

import copy

import pytest
import torch
from test_ensemble_liquid import assert_close

import elegans
from elegans.ensemble import Ensemble
from elegans.ensemble.computation import General
from elegans.ensemble.joined import JoinedReadouts
from elegans.errors import InputError
from elegans.wiring import AutoNCP


def readout(seed, **options):
    torch.manual_seed(seed)
    layer = elegans.LTC(3, AutoNCP(10, 3, seed=seed), dtype=torch.float64, **options)
    return elegans.Readout(layer, 2)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 3), (5, 3), (4, 0, 3), (0, 5, 3)])
@pytest.mark.parametrize(
    "options", [{}, {"return_sequences": False}, {"batch_first": False, "return_sequences": False}]
)
def test_readouts_are_joined(options, shape, own):
    members = [readout(seed, **options) for seed in range(3)]
    ensemble = Ensemble(members)
    assert isinstance(ensemble._computation, JoinedReadouts)
    if shape[0] == 4 and shape[1] == 0 and not options.get("batch_first", True):
        shape = 0, 4, 3  # (time, batch, input)
    x = torch.randn(*([3] if own else []), *shape, dtype=torch.float64)
    output, state = ensemble(x, own_data=own)
    again = ensemble(x, state, own_data=own)
    sum(result.square().sum() for result in (output, *again)).backward()
    for k, member in enumerate(members):
        given = x[k] if own else x
        first = member(given)
        second = member(given, first[1])
        for mine, other in zip((output, state, *again), (*first, *second), strict=True):
            assert_close(mine[k], other)
        sum(result.square().sum() for result in (first[0], *second)).backward()
        for name, parameter in member.named_parameters():
            found, alone = ensemble.stacked.get_parameter(name).grad, parameter.grad
            if found is None or alone is None:  # nothing reads it: the layer's own output map
                assert not any(one.any() for one in (found, alone) if one is not None)
            else:
                assert_close(found[k, : len(parameter)], alone)


def test_other_readouts_take_the_general_way():
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    hooked = [readout(seed) for seed in range(2)]
    hooked[0].head.register_forward_hook(lambda module, given, output: 2 * output)
    hooked[1].head.register_forward_hook(lambda module, given, output: 2 * output)
    for members in (hooked, [readout(seed, mixed_memory=True) for seed in range(2)]):
        ensemble = Ensemble(members)
        assert isinstance(ensemble._computation, General)
        for k, member in enumerate(members):
            assert_close(ensemble(x)[0][k], member(x)[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: elegans.CTRNN(3, AutoNCP(8, 2)),
        lambda: elegans.LTC(3, AutoNCP(8, 2), mixed_memory=True),
        lambda: elegans.Readout(elegans.CfC(3, AutoNCP(8, 2)), 1),
        lambda: elegans.Stacked(lambda inputs: elegans.CTRNN(inputs, AutoNCP(8, 3)), 3, 2),
    ],
)
def test_states_go_in_as_they_came_out(make):
    """Members of the general way share inputs, but not their states."""
    members = [make().double() for _ in range(3)]
    ensemble, x = Ensemble(members), torch.randn(4, 5, 3, dtype=torch.float64)
    state = ensemble(x)[1]
    found = [ensemble(x, state)[0], ensemble(x, hx=state)[0]]
    found.append(ensemble(x.expand(3, -1, -1, -1), state, own_data=True)[0])
    for k, member in enumerate(members):
        expected = member(x, member(x)[1])[0]
        for output in found:
            torch.testing.assert_close(output[k], expected, atol=1e-10, rtol=1e-10)
    with pytest.raises(
        InputError, match=r"hx has shape .*, expected \(3, batch, .*as a call retur"
    ):
        ensemble(x, members[0](x)[1])


def test_one_network_many_times():
    """As if copies of it had been passed: nothing is shared."""
    member = readout(0)
    member.layer.cell.recurrent.set_mask(torch.arange(len(member.layer.cell.recurrent)) != 1)
    many, copies = Ensemble([member] * 3), Ensemble([copy.deepcopy(member) for _ in range(3)])
    assert str(many) == str(copies)
    expected = copies.stacked.state_dict()
    for name, tensor in many.stacked.state_dict().items():
        assert torch.equal(tensor, expected[name])
        assert tensor.is_contiguous()
        assert tensor.data_ptr() not in {t.data_ptr() for t in member.state_dict().values()}
    x, before = torch.randn(2, 4, 3, dtype=torch.float64), member(torch.ones(2, 4, 3).double())[0]
    many.stacked.get_submodule("layer.cell.recurrent").mask[1] = False
    output = many(x)[0]
    assert torch.equal(output[0], output[2])
    assert not torch.equal(output[0], output[1])
    assert torch.equal(member(torch.ones(2, 4, 3).double())[0], before)
