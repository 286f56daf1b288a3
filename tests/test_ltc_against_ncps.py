"""`elegans.LTC` computes what ncps 1.0.1 computes, wherever ncps computes anything."""

import ncps.torch
import ncps.wirings
import numpy as np
import pytest
import torch

import elegans
from elegans.errors import InputError
from elegans.wiring import AutoNCP, FullyConnected, Random

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
RECIPES = {
    "AutoNCP": (lambda: ncps.wirings.AutoNCP(17, 3, 0.5, seed=5), AutoNCP(17, 3, 0.5, seed=5)),
    "Random": (lambda: ncps.wirings.Random(9, 4, 0.6), Random(9, 4, 0.6)),
    "FullyConnected": (lambda: ncps.wirings.FullyConnected(6, 2), FullyConnected(6, 2)),
    "units": (lambda: 5, 5),
}
INPUTS = 4


def models(recipe, *, dtype=torch.float64, seed=0, **options):
    """Return an ncps model and ours with the same parameters."""
    torch.manual_seed(seed)
    theirs_wiring, ours_wiring = RECIPES[recipe]
    theirs = ncps.torch.LTC(INPUTS, theirs_wiring(), **options).to(dtype)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "mask" not in name and "erev" not in name:
                parameter.add_(0.3 * torch.rand_like(parameter))
    ours = elegans.LTC(INPUTS, ours_wiring, dtype=dtype, **options)
    elegans.load_ncps(ours, theirs.state_dict())
    return theirs, ours


def inputs(dtype, batch=7, time=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, INPUTS, generator=generator, dtype=dtype)


def run(theirs, x, **options):
    """Run ncps from a zero state of the input's type; its own zero state is float32."""
    zeros = x.new_zeros(x.shape[0 if theirs.batch_first else 1], theirs.state_size)
    return theirs(x, (zeros, zeros) if theirs.use_mixed else zeros, **options)


def assert_close(ours, theirs, dtype):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("recipe", RECIPES)
def test_same_outputs(recipe, implicit, dtype):
    theirs, ours = models(recipe, dtype=dtype, implicit_param_constraints=implicit)
    x = inputs(dtype)
    output, state = theirs(x)
    mine, my_state = ours(x)
    assert_close(mine, output, dtype)
    assert_close(my_state, state, dtype)


@pytest.mark.parametrize("seed", range(10))
def test_same_outputs_on_random_wirings(seed):
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 5))
    arguments = (outputs + int(rng.integers(3, 20)), outputs, float(rng.uniform(0.1, 0.9)), seed)
    torch.manual_seed(seed)
    theirs = ncps.torch.LTC(INPUTS, ncps.wirings.AutoNCP(*arguments)).double()
    ours = elegans.LTC(INPUTS, AutoNCP(*arguments), dtype=torch.float64)
    elegans.load_ncps(ours, theirs.state_dict())
    x = inputs(torch.float64, seed=seed)
    assert_close(ours(x)[0], theirs(x)[0], torch.float64)


@pytest.mark.parametrize(
    "options",
    [
        {"mixed_memory": True},
        {"batch_first": False},
        {"return_sequences": False},
        {"input_mapping": "linear", "output_mapping": None},
        {"input_mapping": None, "output_mapping": "linear"},
        {"ode_unfolds": 2, "epsilon": 1e-3},
    ],
    ids=str,
)
def test_same_outputs_with_options(options):
    theirs, ours = models("AutoNCP", **options)
    x = inputs(torch.float64)
    output, state = run(theirs, x)
    mine, my_state = ours(x)
    assert_close(mine, output, torch.float64)
    for a, b in zip(
        my_state if isinstance(my_state, tuple) else (my_state,),
        state if isinstance(state, tuple) else (state,),
        strict=True,
    ):
        assert_close(a, b, torch.float64)


def test_same_outputs_with_the_timespans_that_ncps_handles():
    # One elapsed time for all samples of a step: a batch of one.
    theirs, ours = models("AutoNCP")
    x = inputs(torch.float64, batch=1)
    timespans = torch.rand(1, 9, dtype=torch.float64) + 0.1
    assert_close(ours(x, timespans=timespans)[0], theirs(x, timespans=timespans)[0], torch.float64)


def test_per_sample_timespans_equal_ncps_sample_by_sample():
    theirs, ours = models("AutoNCP")
    x = inputs(torch.float64)
    timespans = torch.rand(7, 9, dtype=torch.float64) + 0.1
    one_by_one = [theirs(x[b : b + 1], timespans=timespans[b : b + 1])[0] for b in range(7)]
    assert_close(ours(x, timespans=timespans)[0], torch.cat(one_by_one), torch.float64)


def test_same_gradients():
    theirs, ours = models("AutoNCP")
    x = inputs(torch.float64)
    theirs(x)[0].square().sum().backward()
    ours(x)[0].square().sum().backward()
    cell = theirs.rnn_cell
    for prefix, synapses in (("", ours.cell.recurrent), ("sensory_", ours.cell.sensory)):
        ends = (synapses.source, synapses.target)
        for mine, name in (("weight", "w"), ("sigma", "sigma"), ("mu", "mu"), ("erev", "erev")):
            expected = getattr(cell, prefix + name).grad[ends]
            torch.testing.assert_close(getattr(synapses, mine).grad, expected)
    for name in ("gleak", "vleak", "cm"):
        torch.testing.assert_close(getattr(ours.cell, name).grad, getattr(cell, name).grad)


def test_cell_takes_the_same_step():
    torch.manual_seed(0)
    theirs = ncps.torch.LTCCell(ncps.wirings.AutoNCP(17, 3), in_features=INPUTS)
    ours = elegans.LTCCell(AutoNCP(17, 3), in_features=INPUTS)
    model = elegans.LTC(INPUTS, AutoNCP(17, 3), implicit_param_constraints=False)
    elegans.load_ncps(model, {f"rnn_cell.{k}": v for k, v in theirs.state_dict().items()})
    ours.load_state_dict(model.cell.state_dict())
    x, state = torch.randn(5, INPUTS), torch.randn(5, 17)
    for mine, expected in zip(ours(x, state, 0.7), theirs(x, state, 0.7), strict=True):
        assert_close(mine, expected, torch.float32)


# --- checkpoints -------------------------------------------------------------------------


@pytest.mark.parametrize("mixed_memory", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_saved_ncps_model_becomes_ours(recipe, mixed_memory):
    theirs, _ = models(recipe, mixed_memory=mixed_memory)
    ours = elegans.from_ncps(theirs.state_dict())
    x = inputs(torch.float64)
    assert ours.wiring.output_size == theirs.output_size
    torch.testing.assert_close(ours(x)[0], run(theirs, x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mixed_memory", [False, True])
def test_ours_goes_back_to_ncps(mixed_memory):
    ours = elegans.LTC(INPUTS, AutoNCP(17, 3), mixed_memory=mixed_memory)
    theirs = ncps.torch.LTC(INPUTS, ncps.wirings.AutoNCP(17, 3), mixed_memory=mixed_memory)
    theirs.load_state_dict(elegans.to_ncps(ours), strict=True)
    x = inputs(torch.float32)
    assert_close(ours(x)[0], theirs(x)[0], torch.float32)


def test_a_flipped_reversal_potential_flips_the_polarity_that_is_shown():
    theirs, _ = models("FullyConnected")
    with torch.no_grad():
        theirs.rnn_cell.erev[2, 1] *= -0.5
    ours = elegans.from_ncps(theirs.state_dict())
    flipped = np.sign(theirs.rnn_cell.erev[2, 1].item())
    assert ours.wiring.adjacency()[2, 1] == flipped
    x = inputs(torch.float64)
    assert_close(ours(x)[0], theirs(x)[0], torch.float64)


def test_other_connections_are_refused_and_nothing_changes():
    theirs, _ = models("AutoNCP")
    ours = elegans.LTC(INPUTS, AutoNCP(17, 3, seed=6), dtype=torch.float64)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(InputError, match=r"not those of this model .* use elegans.from_ncps"):
        elegans.load_ncps(ours, theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_state_without_output_mapping_needs_layers():
    theirs, _ = models("AutoNCP", output_mapping=None)
    with pytest.raises(InputError, match="pass layers="):
        elegans.from_ncps(theirs.state_dict())
    layers = {"motor": 3, "command": 5, "inter": 9}
    ours = elegans.from_ncps(theirs.state_dict(), layers=layers)
    assert dict(ours.wiring.layers) == layers
    assert ours(inputs(torch.float64))[0].shape == (7, 9, 3)


def test_something_else_is_refused():
    with pytest.raises(InputError, match=r"this is not the state_dict\(\) of an ncps.torch.LTC"):
        elegans.from_ncps(torch.nn.LSTM(2, 3).state_dict())


def test_parallel_synapses_cannot_go_to_ncps():
    from elegans.wiring import Synapses, Wiring

    wiring = Wiring(
        1,
        {"motor": 2},
        Synapses([0, 0], [1, 1], [1, -1]),
        Synapses([0], [0], [1]),
    )
    with pytest.raises(InputError, match="parallel"):
        elegans.to_ncps(elegans.LTC(1, wiring))


def test_the_family_is_seen_from_what_is_given():
    liquid = ncps.torch.LTC(3, ncps.wirings.AutoNCP(8, 2))
    closed = ncps.torch.CfC(3, 5)
    assert type(elegans.from_ncps(liquid)) is elegans.LTC  # the layer itself, or its state
    assert type(elegans.from_ncps(closed.state_dict())) is elegans.CfC
    ours = elegans.LTC(3, AutoNCP(8, 2))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(InputError, match="not of the family of LTC"):
        elegans.load_ncps(ours, closed)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    with pytest.raises(InputError, match="ncps has no layer like CTRNN"):
        elegans.to_ncps(elegans.CTRNN(3, 5))


# --- faults of ncps that ours does not have ----------------------------------------------


def test_only_synapses_that_exist_are_parameters():
    theirs = ncps.torch.LTC(8, ncps.wirings.AutoNCP(16, 4))
    ours = elegans.LTC(8, AutoNCP(16, 4))
    neurons, mappings = 3 * 16, 2 * 8 + 2 * 4
    synapses = ours.synapse_count + ours.sensory_synapse_count
    assert sum(p.numel() for p in ours.parameters()) == 4 * synapses + neurons + mappings
    assert sum(p.numel() for p in theirs.parameters() if p.requires_grad) == 1608
    assert not any("mask" in name for name, _ in ours.named_parameters())


def test_the_two_synapse_counts_are_two():
    ours = elegans.LTC(8, AutoNCP(16, 4))
    assert (ours.synapse_count, ours.sensory_synapse_count) == (
        ours.wiring.synapse_count,
        ours.wiring.sensory_synapse_count,
    )
    assert ours.sensory_synapse_count != ours.synapse_count


def test_one_recipe_serves_layers_of_different_input():
    recipe = AutoNCP(16, 4)
    first, second = elegans.LTC(8, recipe), elegans.LTC(3, recipe)
    assert (first.input_size, second.input_size) == (8, 3)
    assert first.wiring == recipe.build(8)
