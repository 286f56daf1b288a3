"""Damaged states are refused with an error that names the damage, and change nothing."""

import damaged_states
import numpy as np
import pytest
import torch
from damaged_states import DOORS, TENSORS, attempt

import elegans
from elegans.errors import InputError, PruningError
from elegans.pruning import IterativeSchedule

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("door", DOORS)
def test_damage(door):
    make, call = DOORS[door]
    call(*make())  # as it is, it is taken
    assert [problem for seed in range(15) if (problem := attempt(door, seed))] == []


@pytest.mark.parametrize("seed", [556, 1544])
def test_numbers_that_only_a_wider_type_holds(seed):
    assert attempt("Pruner with momentum", seed) is None


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


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("steps",), True, "steps: got True, but: Input should be a valid integer"),
        (("steps",), 5.0, "steps: got 5.0, but: Input should be a valid integer"),
        (("steps",), float("inf"), "steps: got inf"),
        (("steps",), -1, "steps: got -1, but: Input should be greater than or equal to 0"),
        (("random", "state", "state"), -1, "random.state.state: got -1"),
        (("random", "bit_generator"), "MT19937", "random.bit_generator: got 'MT19937'"),
        (("drawing",), [1, 2], "not a state of PruneRewire"),
        (("drawing",), [-1] * 5056, "drawing: got numbers"),
        (("masks", "cell.recurrent.weight"), [True], "the mask of cell.recurrent.weight: got"),
        (("masks", "cell.recurrent.weight"), [1, 0], "expected finite numbers of shape"),
        (("masks", "other"), [True], "the state is of weights"),
        (("ever", "cell.recurrent.weight"), [10**6], "expected pairs from 0 to 63"),
        (("births", "born", "cell.recurrent.weight"), [[900], [1]], "expected places from 0"),
        (("births", "ages"), [[-1, 2]], "ages: got"),
        (("schedule",), {"reached": 1}, "NoneType keeps nothing, got the state"),
        (("criterion",), {"x": 1}, "keeps nothing, got the state"),
        (("ledger", 0), {"step": 1}, "not a record of an edit"),
        (("ledger", 0, "weight"), float("nan"), "weight: got nan"),
        (("settings", "weight"), "initial", "saved with other settings"),
        (("settings", "unknown"), 1, "saved with other settings"),
        (("extra",), 1, "extra: got 1, but: Extra inputs are not permitted"),
    ],
)
def test_messages_of_a_rewirer(place, value, message):
    make, load = DOORS["PruneRewire"]
    rewirer, state = make()
    *path, last = place
    inside = state
    for key in path:
        inside = inside[key]
    inside[last] = value
    before = rewirer.state_dict()
    with pytest.raises(PruningError, match=message):
        load(rewirer, state)
    assert rewirer.state_dict() == before


def test_a_schedule_is_not_led_astray():
    schedule = IterativeSchedule((0.5, 0.9))
    good = schedule.state_dict()
    for damage in (
        {"reached": 3},
        {"reached": True},
        {"best": float("nan")},
        {"waited": -1},
        {"observed": "1"},
        {"more": 1},
    ):
        with pytest.raises(PruningError):
            schedule.load_state_dict(good | damage)
        assert schedule.state_dict() == good
