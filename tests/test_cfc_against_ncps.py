"""`elegans.CfC` computes what ncps 1.0.1 computes, wherever ncps computes what it says."""

import ncps.torch
import ncps.wirings
import numpy as np
import pytest
import torch

from elegans.cfc.layer import CfC
from elegans.cfc.wiring import with_ncps_connections
from elegans.checkpoints.ncps import (
    from_ncps,
    load_ncps,
    to_ncps,
)
from elegans.errors import InputError
from elegans.wiring import AutoNCP, FullyConnected, Random

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
INPUTS = 4
UNITS = {
    "dense": (lambda: 7, 7),
    "AutoNCP": (lambda: ncps.wirings.AutoNCP(17, 3, 0.5, seed=5), AutoNCP(17, 3, 0.5, seed=5)),
    "NCP": (lambda: ncps.wirings.NCP(6, 4, 2, 2, 2, 3, 2, seed=1), None),
    "Random": (lambda: ncps.wirings.Random(9, sparsity_level=0.6), Random(9, None, 0.6)),
    "FullyConnected": (lambda: ncps.wirings.FullyConnected(6), FullyConnected(6)),
}
MODES = ("default", "pure", "no_gate")


def reference(units, *, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    model = ncps.torch.CfC(INPUTS, UNITS[units][0](), **options).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mask" not in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def models(units, *, mode="default", dtype=torch.float64, seed=0, **options):
    """Return an ncps model and ours with the same parameters."""
    theirs = reference(units, mode=mode, dtype=dtype, seed=seed, **options)
    held = ("batch_first", "return_sequences", "activation", "backbone_dropout")
    kept = {name: value for name, value in options.items() if name in held}
    if mode == "no_gate":
        kept["mode"] = mode
    return theirs, from_ncps(theirs.state_dict(), **kept)


def inputs(dtype=torch.float64, batch=7, time=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, INPUTS, generator=generator, dtype=dtype)


def run(theirs, x, **options):
    """Run ncps from a zero state of the input's type; its own zero state is float32."""
    zeros = x.new_zeros(x.shape[0 if theirs.batch_first else 1], theirs.state_size)
    return theirs(x, (zeros, zeros) if theirs.use_mixed else zeros, **options)


def in_our_order(state, ours):
    """Motor neurons first in place of last."""
    sizes = list(ours.wiring.layers.values())
    return torch.cat(state.split(sizes[::-1], dim=-1)[::-1], dim=-1)


def assert_close(ours, theirs, dtype=torch.float64):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype])


def assert_states_close(mine, state, ours, dtype=torch.float64):
    pairs = zip(*(s if isinstance(s, tuple) else (s,) for s in (mine, state)), strict=True)
    for a, b in pairs:
        assert_close(a, in_our_order(b, ours), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("units", UNITS)
def test_same_outputs(units, mode, dtype):
    theirs, ours = models(units, mode=mode, dtype=dtype)
    x = inputs(dtype)
    output, state = run(theirs, x)
    mine, my_state = ours(x)
    assert ours.cell.dtype == dtype
    assert_close(mine, output, dtype)
    assert_states_close(my_state, state, ours, dtype)


@pytest.mark.parametrize("units", ["dense", "AutoNCP", "Random"])
@pytest.mark.parametrize(
    "options",
    [
        {"mixed_memory": True},
        {"mixed_memory": True, "mode": "pure", "batch_first": False},
        {"batch_first": False},
        {"return_sequences": False},
        {"proj_size": 5},
        {"proj_size": 2, "mixed_memory": True, "return_sequences": False},
    ],
    ids=str,
)
def test_same_outputs_with_options(units, options):
    theirs, ours = models(units, **options)
    x = inputs()
    output, state = run(theirs, x)
    mine, my_state = ours(x)
    assert_close(mine, output)
    assert_states_close(my_state, state, ours)
    assert ours.output_size == mine.shape[-1]


@pytest.mark.parametrize("activation", ["lecun_tanh", "silu", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("layers", [0, 1, 2, 4])
@pytest.mark.parametrize("mode", ["default", "pure"])
def test_same_backbones(mode, layers, activation):
    options = {"activation": activation, "backbone_units": 11, "backbone_layers": layers}
    theirs, ours = models("dense", mode=mode, **options)
    assert ours.cell.backbone_layers == layers
    x = inputs()
    assert_close(ours(x)[0], run(theirs, x)[0])


def test_dropout_is_read_past_and_off_outside_training():
    theirs, ours = models("dense", backbone_layers=3, backbone_units=11, backbone_dropout=0.4)
    x = inputs()
    theirs.eval(), ours.eval()
    assert_close(ours(x)[0], run(theirs, x)[0])
    theirs.load_state_dict(to_ncps(ours))
    assert_close(ours(x)[0], run(theirs, x)[0])


@pytest.mark.parametrize("seed", range(8))
def test_same_outputs_on_random_wirings(seed):
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 5))
    arguments = (outputs + int(rng.integers(3, 20)), outputs, float(rng.uniform(0.1, 0.9)), seed)
    torch.manual_seed(seed)
    theirs = ncps.torch.CfC(INPUTS, ncps.wirings.AutoNCP(*arguments)).double()
    ours = CfC(INPUTS, AutoNCP(*arguments), ncps_connections=True, dtype=torch.float64)
    load_ncps(ours, theirs.state_dict())
    x = inputs(seed=seed)
    assert_close(ours(x)[0], run(theirs, x)[0])
    twin = from_ncps(theirs.state_dict())
    assert {(j, i) for j, i, _ in twin.wiring.recurrent} == {
        (j, i) for j, i, _ in with_ncps_connections(AutoNCP(*arguments).build(INPUTS)).recurrent
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("units", ["dense", "AutoNCP", "Random"])
def test_same_gradients(units, mode):
    theirs, ours = models(units, mode=mode, mixed_memory=True, proj_size=2)
    x = inputs().requires_grad_()
    run(theirs, x)[0].square().sum().backward()
    expected, x.grad = x.grad, None
    ours(x)[0].square().sum().backward()
    torch.testing.assert_close(x.grad, expected, rtol=1e-9, atol=1e-9)
    with torch.no_grad():  # the exchange is linear: it takes gradients for parameters
        for parameter in ours.parameters():
            parameter.copy_(parameter.grad)
    mine = to_ncps(ours)
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(mine[name], parameter.grad, rtol=1e-9, atol=1e-9, msg=name)


# --- elapsed times -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("units", ["dense", "AutoNCP"])
def test_timespans_equal_ncps_sample_by_sample(units, mode):
    theirs, ours = models(units, mode=mode)
    x = inputs()
    timespans = torch.rand(7, 9, dtype=torch.float64) + 0.1
    one_by_one = [run(theirs, x[b : b + 1], timespans=timespans[b : b + 1])[0] for b in range(7)]
    assert_close(ours(x, timespans=timespans)[0], torch.cat(one_by_one))


def test_ncps_mistakes_the_timespans_of_a_batch():
    """Why the test above goes sample by sample: as many samples as neurons share wrong times."""
    theirs, ours = models("dense")
    x = inputs(batch=7)
    timespans = torch.rand(7, 9, dtype=torch.float64) + 0.1
    mistaken = run(theirs, x, timespans=timespans)[0]
    assert (ours(x, timespans=timespans)[0] - mistaken).abs().max() > 1e-3
    with pytest.raises(RuntimeError, match="size of tensor"):
        run(theirs, inputs(batch=3), timespans=timespans[:3])


# --- checkpoints -------------------------------------------------------------------------


@pytest.mark.parametrize("mixed_memory", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("units", ["dense", "AutoNCP", "FullyConnected"])
def test_ours_goes_back_to_ncps(units, mode, mixed_memory):
    options = {"mode": mode, "mixed_memory": mixed_memory, "proj_size": 2}
    ours = CfC(INPUTS, UNITS[units][1], ncps_connections=units != "dense", **options)
    theirs = ncps.torch.CfC(INPUTS, UNITS[units][0](), **options)
    theirs.load_state_dict(to_ncps(ours), strict=True)
    x = inputs(torch.float32)
    assert_close(ours(x)[0], theirs(x)[0], torch.float32)


def test_a_layer_that_reads_along_its_wiring_has_no_counterpart():
    theirs = reference("AutoNCP")
    ours = CfC(INPUTS, UNITS["AutoNCP"][1])
    for exchange in (
        lambda: load_ncps(ours, theirs.state_dict()),
        lambda: to_ncps(ours),
    ):
        with pytest.raises(InputError, match="make it with ncps_connections=True"):
            exchange()


def test_mappings_cannot_go_to_ncps():
    with pytest.raises(InputError, match="a CfC of ncps has no mappings"):
        to_ncps(CfC(INPUTS, 3, input_mapping="affine"))


@pytest.mark.parametrize(
    ("units", "ours", "message"),
    [
        ("AutoNCP", {"units": AutoNCP(17, 3, 0.5, seed=6)}, "has other synapses in rnn_cell.layer"),
        ("AutoNCP", {"units": AutoNCP(12, 3)}, r"expected rnn_cell.layer_0.ff1.weight of shape"),
        ("dense", {"units": 7, "backbone_layers": 2}, "state has 1 layers of a backbone, this mod"),
        ("dense", {"units": 6}, r"expected rnn_cell.* of shape .* got"),
        ("dense", {"units": 7, "mixed_memory": True}, "'lstm.input_map.weight' is missing"),
        ("dense", {"units": 7, "mode": "pure"}, "'rnn_cell.w_tau' is missing"),
        ("projected", {"units": 7}, r"holds \['fc.bias', 'fc.weight'\], for which this model has"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(units, ours, message):
    projected = units == "projected"
    theirs = reference("dense", proj_size=2) if projected else reference(units)
    if units == "AutoNCP":
        ours["ncps_connections"] = True
    model = CfC(INPUTS, **ours)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_ncps(model, theirs.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_something_else_is_refused():
    with pytest.raises(InputError, match=r"is not the state_dict\(\) of an ncps.torch.LTC or"):
        from_ncps(torch.nn.LSTM(2, 3).state_dict())


# --- faults of ncps that ours does not have ----------------------------------------------


def test_recurrent_synapses_of_the_wiring_count():
    """ncps connects every layer to itself; ours reads the synapses that the wiring has."""
    wiring = AutoNCP(17, 3, 0.5, seed=5).build(INPUTS)
    (j, i) = next((j, i) for j, i, _ in wiring.recurrent if j != i and _same_layer(wiring, j, i))
    cut = wiring.edit(remove=[(j, i)])
    for option, differs in ((False, True), (True, False)):
        with_it, without = (
            CfC(INPUTS, w, ncps_connections=option).synapse_count for w in (wiring, cut)
        )
        assert (with_it != without) == differs


def _same_layer(wiring, j, i):
    return wiring.layer_of[j] == wiring.layer_of[i]


def test_only_motor_neurons_of_a_wiring_without_layers_are_read():
    theirs = ncps.torch.CfC(INPUTS, ncps.wirings.FullyConnected(6, 2))
    assert theirs(inputs(torch.float32))[0].shape[-1] == 6
    assert CfC(INPUTS, FullyConnected(6, 2))(inputs(torch.float32))[0].shape[-1] == 2


def test_only_synapses_that_exist_are_parameters():
    theirs = ncps.torch.CfC(8, ncps.wirings.AutoNCP(16, 4))
    ours = CfC(8, AutoNCP(16, 4), ncps_connections=True)
    trainable = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    masked = sum(2 * int((p == 0).sum()) for name, p in theirs.named_parameters() if "mask" in name)
    assert sum(p.numel() for p in ours.parameters()) == trainable - masked
    assert not any("mask" in name for name, _ in ours.named_parameters())
    lean = CfC(8, AutoNCP(16, 4))
    assert sum(p.numel() for p in lean.parameters()) < 0.6 * trainable
