"""Damaged states are refused with an error that names the damage, and change nothing."""

import damaged_states
import numpy as np
import pytest
import torch
from damaged_states import DOORS, TENSORS, attempt

import elegans
from elegans.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("door", DOORS)
def test_damage(door):
    make, call = DOORS[door]
    call(*make())  # as it is, it is taken
    assert [problem for seed in range(30) if (problem := attempt(door, seed))] == []


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_much_damage(door):
    assert [problem for seed in range(1_000, 1_300) if (problem := attempt(door, seed))] == []


@pytest.mark.parametrize(
    ("key", "fault", "message"),
    [
        ("rnn_cell.w", "a list", "'rnn_cell.w' of the state holds a list, expected a dense matrix"),
        ("rnn_cell.cm", "integers", "'rnn_cell.cm' of the state holds a tensor of torch.int64"),
        ("rnn_cell.cm", "another axis", "expected a dense vector of finite numbers"),
        ("rnn_cell.mu", "on meta", "holds a tensor on the meta device"),
        ("rnn_cell.mu", "sparse", "holds a tensor that is sparse"),
        ("rnn_cell.gleak", "with a NaN", "holds values that are not, expected a dense vector"),
        ("rnn_cell.gleak", "one row less", "expected shape .*9.* in an LTC of 3 inputs, 9 neurons"),
        ("rnn_cell.sparsity_mask", "negative", "holds other values, expected a mask of 0 and 1"),
        ("rnn_cell.vleak", "with a huge number", "too large for torch.float32"),
    ],
)
def test_messages(key, fault, message):
    model = damaged_states.LAYERS["LTC"]()
    state = elegans.to_ncps(model)
    state[key] = TENSORS[fault](state[key], np.random.default_rng(0))
    with pytest.raises(InputError, match=message):
        elegans.load_ncps(model, state)


def test_a_state_with_mappings_does_not_go_into_a_layer_without():
    """It would compute something else."""
    state = elegans.to_ncps(elegans.LTC(2, 3))
    model = elegans.LTC(2, 3, input_mapping=None)
    with pytest.raises(InputError, match=r"'rnn_cell.input_w' .* expected no such entry"):
        elegans.load_ncps(model, state)
    assert elegans.from_ncps(state).cell.input_mapping.kind == "affine"
    assert torch.equal(elegans.to_ncps(elegans.from_ncps(state))["rnn_cell.w"], state["rnn_cell.w"])
