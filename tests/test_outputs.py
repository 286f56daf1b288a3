"""Outputs that read neurons anywhere: equal to the circuit whose first neurons are the outputs."""

import copy
import pickle

import numpy as np
import pytest
import torch
from equal_paths import assert_equal_paths
from read_circuits import (
    FAMILIES,
    INPUTS,
    in_order,
    moved_wiring,
    neurons_in_order,
    pair,
    random_front,
)

import elegans
from elegans import Policy
from elegans.control.step_kernel import StepKernel
from elegans.ensemble import Ensemble
from elegans.ensemble.joined import Joined
from elegans.errors import InputError
from elegans.wiring import FullyConnected, Synapses, Wiring

SOLVERS = ("exponential", "exponential_midpoint", "euler", "midpoint", "rk4", "rosenbrock")
ADAPTIVE = ("dopri5", "dopri5_adjoint")
CASES = [
    *((name, {}) for name in FAMILIES),
    ("CfC", {"proj_size": 3}),
    ("CfC", {"mode": "pure"}),
    ("LTC", {"output_mapping": None}),
    ("LTC", {"output_mapping": "linear", "mixed_memory": False}),
    ("LTC", {"junctions": True}),
    ("LTC", {"junctions": True, "implicit_param_constraints": False}),
    *(("LTC", {"solver": solver, "ode_unfolds": 12}) for solver in (*SOLVERS, *ADAPTIVE)),
    *((name, {"mixed_memory": True}) for name in FAMILIES if name != "LrcSSM"),
]


def inputs(batch, time=5, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, INPUTS, generator=generator, dtype=torch.float64).to(dtype)


def memory_in_order(mine, other, place):
    """Let the memory of `other` be that of `mine` with its neurons in another order."""
    gates = len(place) * np.arange(4)[:, None]
    rows = np.empty(4 * len(place), dtype=np.int64)
    rows[(gates + place).reshape(-1)] = np.arange(4 * len(place))
    columns = np.argsort(place)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            values = mine.get_parameter(name)
            values = values[rows]
            parameter.copy_(values[:, columns] if name.startswith("recurrent") else values)


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda case: case if isinstance(case, str) else repr(case)
)
@pytest.mark.parametrize("path", ["reference", "auto"])
def test_outputs_anywhere_are_those_of_the_circuit_with_outputs_in_front(name, options, path):
    front, moved, place, slots = pair(name, **options)
    if front.memory is not None:
        memory_in_order(front.memory, moved.memory, place)
    tolerance = 1e-6 if "dopri" in repr(options) else 1e-11
    close = {"rtol": tolerance, "atol": tolerance}
    batches = (1, 2, 33) if name == "LTC" and len(options) < 2 else (2,)
    for batch in batches:
        x = inputs(batch)
        results = []
        for layer in (front, moved):
            layer.zero_grad()
            with elegans.backend(path):
                output, _, states = layer(x, return_states=True)
            weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype)
            (output * weights.reshape(output.shape)).sum().backward()
            results.append((output, states))
        (expected, states), (got, moved_states) = results
        torch.testing.assert_close(got, expected, **close)
        torch.testing.assert_close(moved_states, neurons_in_order(states, place), **close)
        for parameter_name, parameter in moved.cell.named_parameters():
            gradient = front.cell.get_parameter(parameter_name).grad
            if gradient is None:
                assert parameter.grad is None
                continue
            gradient = in_order(parameter_name, gradient, place, slots)
            torch.testing.assert_close(parameter.grad, gradient, **close)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("read", [[8], [0], [3, 3, 1, 3], list(range(8, -1, -1)), [0, 1]])
def test_outputs_are_the_states_that_they_name(name, read):
    front = random_front(np.random.default_rng(5), 9, 4, recurrent=name != "LrcSSM")
    wiring = moved_wiring(front, np.arange(9), {"a": 6, "b": 3}, outputs=read)
    generator = torch.Generator().manual_seed(0)
    model = getattr(elegans, name)(INPUTS, wiring, generator=generator)
    for return_sequences in (True, False):
        model.return_sequences = return_sequences
        output, final, states = model(inputs(2, dtype=torch.float32), return_states=True)
        expected = states[..., read] if return_sequences else final[..., read]
        torch.testing.assert_close(output, model.cell.output_mapping(expected))
    assert model.output_size == model.motor_size == len(read)
    assert model.wiring == wiring or name == "CfC"
    assert model.wiring.outputs.tolist() == read
    empty = model(inputs(2, 0, dtype=torch.float32))[0]
    assert empty.shape == (2, len(read))
    step, _ = model.cell(inputs(2)[:, 0].float(), torch.zeros(2, 9))
    torch.testing.assert_close(step, model(inputs(2)[:, :1].float())[0])


def test_kernels_read_first_neurons_whatever_their_layer_is_called():
    wiring = FullyConnected(5, 2).build(INPUTS)
    named = Wiring(INPUTS, {"all": 5}, wiring.recurrent, wiring.sensory, outputs=[0, 1])
    assert named != wiring
    generators = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    one, other = (
        elegans.LTC(INPUTS, w, generator=g)
        for w, g in zip((wiring, named), generators, strict=True)
    )
    assert other.cell.output_index is None
    assert torch.equal(one(inputs(2).float())[0], other(inputs(2).float())[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3, 33])
@pytest.mark.parametrize("of", [("output",), ("output", "states")])
def test_fused_and_reference_paths_agree_in_all_gradients(dtype, batch, of):
    for options in ({}, {"junctions": True}, {"output_mapping": "linear"}):
        model = pair("LTC", 3, **({"dtype": dtype} | options)).moved
        assert_equal_paths(model, inputs(batch, dtype=dtype), of=of)


def test_second_derivatives_of_the_kernel_are_those_of_the_reference():
    model = pair("LTC").moved
    found = []
    for path in ("reference", "fused"):
        x = inputs(2, 3).requires_grad_()
        with elegans.backend(path):
            output = model(x)[0]
        (first,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["LTC", "CTRNN", "CfC"])
def test_the_graph_is_whole_and_may_be_exported(name):
    model = pair(name, dtype=torch.float32).moved
    x = inputs(2, dtype=torch.float32)
    expected = model(x)[0]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], expected)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x)[0], expected)


# --- saved, copied, joined -------------------------------------------------------------------


def test_states_and_folders_keep_what_is_read(tmp_path):
    front, moved, _, _ = pair("LTC", dtype=torch.float32)
    elegans.save(moved, tmp_path)
    for again in (elegans.load(tmp_path), copy.deepcopy(moved), pickle.loads(pickle.dumps(moved))):
        assert again.wiring == moved.wiring
        assert torch.equal(again(inputs(2).float())[0], moved(inputs(2).float())[0])
    meta = elegans.LTC(INPUTS, moved.wiring, device="meta")
    meta.to_empty(device="cpu").cell.reset_parameters()
    assert meta.cell.output_index.tolist() == moved.wiring.outputs.tolist()
    other = elegans.LTC(INPUTS, _reading(moved.wiring, [1, 0, 2, 5]))
    for state in (front.state_dict(), other.state_dict()):
        with pytest.raises(
            InputError, match=r"layers of|outputs of the saved state read .* neurons"
        ):
            moved.load_state_dict(state)
    first = elegans.LTC(INPUTS, _reading(moved.wiring, [0, 1, 2, 3]))
    with pytest.raises(InputError, match=r"read the neurons \[.*those of this circuit the first"):
        first.load_state_dict(moved.state_dict())
    with pytest.raises(
        InputError, match=r"read the first neurons, those of this circuit the neuro"
    ):
        moved.load_state_dict(first.state_dict())


def _reading(wiring, outputs):
    return Wiring(
        INPUTS,
        wiring.layers,
        wiring.recurrent,
        wiring.sensory,
        electrical=wiring.electrical,
        outputs=outputs,
    )


def test_ncps_has_no_place_for_them():
    for model in (pair("LTC").moved, elegans.CfC(INPUTS, _ncps_wiring(), ncps_connections=True)):
        with pytest.raises(InputError, match=r"read the neurons .* first ones, which ncps reads"):
            elegans.to_ncps(model)
        first = elegans.LTC if isinstance(model, elegans.LTC) else elegans.CfC
        state = elegans.to_ncps(
            first(
                INPUTS,
                FullyConnected(5, 2),
                **({} if first is elegans.LTC else {"ncps_connections": True}),
            )
        )
        with pytest.raises(InputError, match="which ncps reads"):
            elegans.load_ncps(model, state)


def _ncps_wiring():
    wiring = FullyConnected(5, 2).build(INPUTS)
    return Wiring(INPUTS, {"all": 5}, wiring.recurrent, wiring.sensory, outputs=[4, 0])


def test_a_cfc_of_ncps_reads_what_the_wiring_says():
    assert elegans.torch.CfC(INPUTS, _ncps_wiring()).output_size == 2


@pytest.mark.parametrize("name", ["LTC", "CTRNN", "CfC"])
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("path", ["reference", "auto"])
def test_members_of_an_ensemble_compute_what_each_does_alone(name, general, path):
    models = [pair(name).moved, pair(name).moved]
    with torch.no_grad():
        for parameter in models[1].parameters():
            parameter.mul_(1.1)
    ensemble = Ensemble(models, general=general)
    if name == "LTC":
        assert isinstance(ensemble._computation, Joined) != general
    with elegans.backend(path):
        output, state = ensemble(inputs(3))
        output.square().sum().backward()
        for k, model in enumerate(models):
            own, final = model(inputs(3))
            torch.testing.assert_close(output[k], own)
            torch.testing.assert_close(state[k], final)
            again, _ = ensemble(inputs(3), state)
            torch.testing.assert_close(again[k], model(inputs(3), final)[0])
    for member, model in zip(ensemble, models, strict=True):
        assert member.wiring == model.wiring
    if name == "LTC" and not general:
        joint = ensemble._computation._layer.cell
        assert joint.wiring.output_size == joint.motor_size == 8
        names = [joint.wiring.names[i] for i in joint.wiring.outputs]
        own = [models[0].wiring.names[i] for i in models[0].wiring.outputs]
        assert names == [f"{n} of member {m}" for m in range(2) for n in own]


def test_members_that_read_other_neurons_are_refused():
    model = pair("LTC").moved
    other = elegans.LTC(INPUTS, _reading(model.wiring, [1, 0, 2, 5]), dtype=torch.float64)
    with pytest.raises(InputError, match="outputs of member 1 read the neurons"):
        Ensemble([model, other])


def test_stacked_layers_and_both_ways_take_the_outputs():
    front = random_front(np.random.default_rng(5), 9, 4)
    wiring = moved_wiring(front, np.arange(9), {"a": 6, "b": 3}, outputs=[8, 2, 8])
    stacked = elegans.Stacked(lambda _: elegans.CTRNN(INPUTS, wiring), INPUTS, bidirectional=True)
    (one, other) = stacked.layers[0]
    x = inputs(2).float()
    _, _, states = one(x, return_states=True)
    _, _, back = other(x.flip(1), return_states=True)
    read = [layer.cell.read(found) for layer, found in ((one, states), (other, back.flip(1)))]
    torch.testing.assert_close(stacked(x)[0], torch.cat(read, -1))
    torch.testing.assert_close(read[0], one.cell.output_mapping(states[..., [8, 2, 8]]))
    twice = elegans.Stacked(lambda _: copy.deepcopy(one), INPUTS, num_layers=2)
    torch.testing.assert_close(twice(x)[0], one(one(x)[0])[0])


def test_parallel_in_time_reads_the_same_neurons():
    front = random_front(np.random.default_rng(5), 9, 4, recurrent=False)
    wiring = moved_wiring(front, np.arange(9), {"a": 6, "b": 3}, outputs=[8, 2, 8])
    model = elegans.LrcSSM(INPUTS, wiring, dtype=torch.float64)
    with elegans.backend("reference"):
        expected = model(inputs(2, 40))[0]
    torch.testing.assert_close(model(inputs(2, 40))[0], expected)


# --- policies --------------------------------------------------------------------------------


@pytest.mark.parametrize("mapping", ["affine", "linear", None])
@pytest.mark.parametrize("batch", [None, 3])
def test_a_kernel_for_single_steps_reads_what_the_layer_reads(mapping, batch):
    model = pair("LTC", output_mapping=mapping).moved
    policy = Policy(model)
    x = inputs(batch or 1, 6)
    expected = model(x)[0].detach().numpy()
    for t in range(6):
        given = x[:, t].numpy() if batch else x[0, t].numpy()
        got = policy(given)
        np.testing.assert_allclose(got, expected[:, t] if batch else expected[0, t], atol=1e-12)
        assert t == 0 or isinstance(policy._kernel, StepKernel)
    kernel = policy._kernel
    if mapping is None:
        return
    with torch.no_grad():
        model.cell.output_mapping.weight.mul_(2)  # seen at once
    assert policy._kernel is kernel
    x = inputs(batch or 1, 1, seed=7)
    state = kernel.state.clone().reshape(-1, 9)
    given = x[:, 0].numpy() if batch else x[0, 0].numpy()
    expected = model(x, state)[0].detach().numpy()[:, 0]
    np.testing.assert_allclose(policy(given), expected if batch else expected[0], atol=1e-12)
    model.cell.output_mapping.weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    state = policy._kernel.state.clone().reshape(-1, 9)
    expected = model(x, state)[0].detach().numpy()[:, 0]
    np.testing.assert_allclose(policy(given), expected if batch else expected[0], atol=1e-12)


def test_sensory_neurons_may_receive_synapses_and_be_read():
    touch = Wiring(
        1,
        {"command": 1, "receptor": 1},
        Synapses([1, 0], [0, 1], [1, -1]),
        Synapses([0], [1], [1]),
        outputs=[1, 1],
    )
    output, _, states = elegans.LTC(1, touch)(torch.ones(1, 4, 1), return_states=True)
    assert torch.equal(output, states[..., [1, 1]])
