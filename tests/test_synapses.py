"""Synapses of a layer as slots: how they are held, drawn, saved and loaded."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import elegans
from elegans.synapses import initial
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.initial import INITIAL_RANGES, Initializer
from elegans.wiring import AutoNCP, HeavyTailed, Synapses, Wiring
from elegans.wiring.drawing.strands import strands_of


@pytest.fixture
def model():
    return elegans.LTC(3, AutoNCP(12, 2))


def wide(state):
    """Return a state as it was saved when connections were int64."""
    return {
        name: value if value.is_floating_point() else value.long() for name, value in state.items()
    }


def held(model):
    return {
        (kind, name): buffer.dtype
        for kind, synapses in model.cell.synapse_sets().items()
        for name, buffer in synapses.named_buffers()
    }


def test_a_synapse_takes_26_bytes():
    wiring = HeavyTailed(200, 5, 5000).build(4)
    synapses = elegans.LTC(4, wiring).cell.recurrent
    tensors = [*synapses.parameters(), *synapses.buffers()]
    assert sum(tensor.nbytes for tensor in tensors) == 26 * 5000
    columns = (wiring.recurrent.source, wiring.recurrent.target, wiring.recurrent.polarity)
    assert sum(column.nbytes for column in columns) == 9 * 5000


@pytest.mark.parametrize("assign", [False, True])
def test_states_with_wide_integers_load(model, assign):
    other = elegans.LTC(3, model.wiring)
    narrow = held(other)
    other.load_state_dict(wide(model.state_dict()), assign=assign)
    assert held(other) == narrow
    assert set(narrow.values()) == {torch.int32, torch.int8, torch.bool}
    x = torch.randn(2, 5, 3)
    assert torch.equal(other(x)[0], model(x)[0])
    assert other.wiring == model.wiring


def test_saved_folders_with_wide_integers_load(model, tmp_path):
    elegans.save(model, tmp_path)
    weights = tmp_path / "model.safetensors"
    save_file(wide(load_file(weights)), weights)
    again = elegans.load(tmp_path)
    assert held(again) == held(model)
    x = torch.randn(2, 5, 3)
    assert torch.equal(again(x)[0], model(x)[0])


def test_the_layer_does_not_share_memory_with_its_wiring(model):
    before = copy.deepcopy(model.wiring)
    blueprint = model.cell._blueprint
    with torch.no_grad():
        model.cell.recurrent.target.zero_()
        model.cell.recurrent.polarity.neg_()
    assert blueprint == before
    model.cell.reset_parameters()
    assert model.wiring == before


@pytest.mark.parametrize("positivity", ["softplus", "clip"])
@pytest.mark.parametrize("name", ["weight", "sigma"])
def test_drawing_in_parts_changes_no_number(monkeypatch, name, positivity):
    monkeypatch.setattr(initial, "_PART", 64)
    drawn = Initializer(POSITIVITY[positivity]).draw(
        name, 1000, generator=torch.Generator().manual_seed(1)
    )
    low, high = INITIAL_RANGES[name]
    value = low + (high - low) * torch.rand(1000, generator=torch.Generator().manual_seed(1))
    if name == "weight":
        value = POSITIVITY[positivity].inverse(value)
    assert torch.allclose(drawn, value, rtol=1e-6, atol=0)  # vectorised tails may round otherwise


def test_candidates_and_fresh_synapses_stay_narrow(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rewirer = elegans.PruneRewire(
        model, optimizer, threshold=elegans.pruning.Relative(1.0), every=1, growth="gradient"
    )
    x = torch.randn(2, 5, 3)
    assert rewirer.step(lambda: model(x)[0].square().mean())
    assert set(held(model).values()) == {torch.int32, torch.int8, torch.bool}


def test_indices_of_large_circuits_do_not_wrap_around():
    big = Wiring(
        1, {"motor": 100_000}, Synapses([99_999, 0], [99_999, 1], [1, -1]), Synapses.empty()
    )
    staying, cut, grown = strands_of(big, big.edit(add=[(99_998, 99_999, 1)]), None)
    assert len(staying.edges) == 2
    assert cut.edges.tolist() == [[99_999, 100_000]]
    assert not len(grown.edges)


@pytest.mark.parametrize("index", [2**31, np.uint64(2**63)])
def test_indices_beyond_32_bits_are_refused(index):
    column = np.array([index])
    with pytest.raises(elegans.errors.WiringError, match=rf"target holds {index}, .* 2147483647"):
        Synapses([0], column, [1])
    with pytest.raises(elegans.errors.WiringError, match="a wiring may have 2147483647 neurons"):
        Wiring(1, {"motor": 1, "inter": 2**31 - 1}, Synapses.empty(), Synapses.empty())


def test_a_copy_knows_when_its_own_mask_changes():
    synapses = elegans.LTC(3, AutoNCP(16, 2)).cell.recurrent
    for _ in range(4):  # whichever version the mask of the original is at
        assert synapses.all_open()
        twin = copy.deepcopy(synapses)
        twin.mask[0] = False
        assert not twin.all_open()
        assert twin.open_count == len(twin) - 1
        synapses.set_mask(torch.ones_like(synapses.mask))
