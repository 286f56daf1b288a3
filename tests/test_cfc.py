"""The CfC layer, dense and on a wiring: the conformance suite, and what is particular to it."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

from elegans.cfc.backbone import ACTIVATIONS
from elegans.cfc.cell import CfCCell
from elegans.cfc.closed_form import HEADS
from elegans.cfc.layer import CfC
from elegans.cfc.wired_cell import WiredCfCCell
from elegans.cfc.wiring import stage_of, with_all_gates, with_ncps_connections, with_own_states
from elegans.errors import InputError, SolveError
from elegans.pruning import PruneRewire, Relative
from elegans.wiring import NCP, AutoNCP, FullyConnected, Random, Synapses, Wiring

PARALLEL = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "command": 2, "inter": 2},
    Synapses([2, 2, 3, 4, 4, 0, 5, 1], [0, 0, 1, 3, 4, 1, 2, 5], [1, -1, 1, -1, 1, 1, 1, 1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)  # parallel synapses, synapses back towards the input, inputs to a middle layer


# --- conformance -------------------------------------------------------------------------


class DenseConformance(LayerConformance):
    """A dense network has as many outputs as neurons, or those of a projection."""

    def test_a_damaged_state_changes_nothing(self):
        model = self.make()
        before = copy.deepcopy(model.state_dict())
        for key in before:
            state = copy.deepcopy(self.make().state_dict())
            state[key] = state[key][:-1]
            with pytest.raises(InputError, match="the mode and the wiring the state was saved wi"):
                model.load_state_dict(state)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key])


class TestCfC(DenseConformance):
    def make(self, **options):
        return CfC(INPUTS, 4, OUTPUTS, output_mapping="affine", backbone_units=32, **options)


class TestDeepCfCWithoutGate(DenseConformance):
    def make(self, **options):
        return CfC(
            INPUTS,
            5,
            OUTPUTS,
            mode="no_gate",
            activation="silu",
            backbone_units=16,
            backbone_layers=3,
            input_mapping="affine",
            output_mapping="affine",
            **options,
        )


class TestPureCfCWithoutBackbone(DenseConformance):
    def make(self, **options):
        return CfC(
            INPUTS, 6, OUTPUTS, mode="pure", backbone_layers=0, output_mapping="affine", **options
        )


class TestWiredCfC(LayerConformance):
    def make(self, **options):
        return CfC(INPUTS, AutoNCP(7, OUTPUTS), output_mapping="affine", **options)


class TestWiredCfCWithConnectionsOfNcps(LayerConformance):
    def make(self, **options):
        return CfC(
            INPUTS, AutoNCP(7, OUTPUTS), output_mapping="affine", ncps_connections=True, **options
        )


class TestPureWiredCfC(LayerConformance):
    def make(self, **options):
        return CfC(
            INPUTS, FullyConnected(5, OUTPUTS), mode="pure", output_mapping="affine", **options
        )


class TestWiredCfCWithoutGate(LayerConformance):
    def make(self, **options):
        return CfC(INPUTS, PARALLEL, mode="no_gate", output_mapping="affine", **options)


# --- the equation ------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def plain_closed_form(mode, maps, rate, asymptote, t):
    """Return the new state of one neuron from its numbers."""
    if mode == "pure":
        (f,) = maps
        return asymptote - asymptote * f * np.exp(-t * (abs(rate) + abs(f)))
    f, g, a, b = maps
    s = sigmoid(a * t + b)
    f, g = np.tanh(f), np.tanh(g)
    return f + s * g if mode == "no_gate" else f * (1 - s) + s * g


def numbers_of(module):
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("wiring", [AutoNCP(9, OUTPUTS), PARALLEL, FullyConnected(4, OUTPUTS)])
def test_a_wired_step_neuron_by_neuron(wiring, mode):
    cell = WiredCfCCell(wiring, INPUTS, mode, dtype=torch.float64)
    rng = np.random.default_rng(0)
    u, old, t = rng.normal(size=INPUTS), rng.normal(size=cell.state_size), 0.7
    numbers, circuit, stage = numbers_of(cell), cell.wiring, stage_of(cell.wiring)
    new = old.copy()
    for i in np.argsort(stage, kind="stable"):
        maps = []
        for m in range(len(numbers["bias"])):
            y = numbers["bias"][m, i]
            for k, (j, target, _) in enumerate(circuit.recurrent):
                if target == i:
                    x = new[j] if stage[j] < stage[i] else old[j]
                    y += numbers["recurrent.weight"][m, k] * x
            for k, (j, target, _) in enumerate(circuit.sensory):
                if target == i:
                    y += numbers["sensory.weight"][m, k] * u[j]
            maps.append(y)
        rate, asymptote = (
            numbers.get(f"solution.{name}", old)[i] for name in ("rate", "asymptote")
        )
        new[i] = plain_closed_form(mode, maps, rate, asymptote, t)
    _, mine = cell(torch.from_numpy(u)[None], torch.from_numpy(old)[None], t)
    assert_close(mine[0].detach().numpy(), new, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", HEADS)
def test_a_dense_step_neuron_by_neuron(mode):
    cell = CfCCell(INPUTS, 4, mode, "tanh", backbone_units=6, backbone_layers=2, dtype=torch.double)
    rng = np.random.default_rng(0)
    u, old, t = rng.normal(size=INPUTS), rng.normal(size=4), 1.3
    numbers = numbers_of(cell)
    x = numbers["input_map.weight"] @ u + numbers["input_map.bias"]
    x = np.tanh(x + numbers["recurrent_map.weight"] @ old)
    x = np.tanh(numbers["backbone.0.weight"] @ x + numbers["backbone.0.bias"])
    y = (numbers["maps.weight"] @ x + numbers["maps.bias"]).reshape(-1, 4)
    rate, asymptote = (numbers.get(f"solution.{name}", old) for name in ("rate", "asymptote"))
    new = plain_closed_form(mode, y, rate, asymptote, t)
    _, mine = cell(torch.from_numpy(u)[None], torch.from_numpy(old)[None], t)
    assert_close(mine[0].detach().numpy(), new, rtol=1e-12, atol=1e-12)


def test_the_pure_form_tends_to_its_asymptote():
    model = CfC(INPUTS, 4, mode="pure")
    _, state = model(torch.randn(2, 1, INPUTS), timespans=torch.full((2, 1), 1e6))
    assert_close(state, model.cell.solution.asymptote.expand(2, 4))


# --- the Jacobian ------------------------------------------------------------------------


def by_autograd(cell, u, x, elapsed):
    def step(row, b):
        after = cell.step(cell.sense(u[b : b + 1, None]), 0, row[None], elapsed[b : b + 1])
        return after[0]

    jacobian = torch.autograd.functional.jacobian
    return torch.stack([jacobian(lambda row, b=b: step(row, b), x[b]) for b in range(len(x))])


def random_step(cell, batch=3):
    u = torch.randn(batch, INPUTS, dtype=torch.float64)
    x = torch.randn(batch, cell.state_size, dtype=torch.float64)
    return u, x, torch.tensor([[0.0], [0.7], [3.0]], dtype=torch.float64)


@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("ncps_connections", [False, True])
@pytest.mark.parametrize("wiring", [AutoNCP(9, OUTPUTS), PARALLEL, Random(6, OUTPUTS, 0.4)])
def test_jacobian_of_a_wired_step(wiring, ncps_connections, mode):
    cell = WiredCfCCell(
        wiring, INPUTS, mode, ncps_connections=ncps_connections, dtype=torch.float64
    )
    u, x, elapsed = random_step(cell)
    mine = cell.step_jacobian(u, x, elapsed)
    assert_close(mine, by_autograd(cell, u, x, elapsed), rtol=1e-12, atol=1e-12)
    assert torch.equal(mine[0], torch.eye(cell.state_size, dtype=torch.float64))


@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobian_of_a_dense_step(activation, layers, mode):
    cell = CfCCell(INPUTS, 4, mode, activation, 7, layers, dtype=torch.float64)
    u, x, elapsed = random_step(cell)
    mine = cell.step_jacobian(u, x, elapsed)
    assert_close(mine, by_autograd(cell, u, x, elapsed), rtol=1e-12, atol=1e-12)


def test_a_jacobian_that_forgets_the_layers_does_not_pass():
    """The chain through layers within a step counts: without it the test above would fail."""
    cell = WiredCfCCell(AutoNCP(9, OUTPUTS), INPUTS, dtype=torch.float64)
    u, x, elapsed = random_step(cell)
    true = by_autograd(cell, u, x, elapsed)[1]
    stage = stage_of(cell.wiring)
    later = torch.from_numpy(stage[:, None] > stage)  # a new state that depends on others
    assert true[later].abs().max() > 1e-3


# --- connections -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["default", "pure"]), st.booleans())
def test_influence_follows_the_wiring(seed, mode, ncps_connections):
    """A new state depends on an old one exactly where the wiring has a way within the step."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(5, 14))
    recipe = AutoNCP(units, OUTPUTS, float(rng.uniform(0.1, 0.9)), seed=int(rng.integers(1000)))
    cell = WiredCfCCell(
        recipe,
        INPUTS,
        mode,
        ncps_connections=ncps_connections,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    )
    wiring = with_all_gates(cell.wiring) if "gate_sensory" in cell.synapse_sets() else None
    circuit = cell.wiring if wiring is None else wiring
    stage, reads = stage_of(circuit), circuit.adjacency().T != 0  # [target, source]
    depends = np.eye(units, dtype=bool)
    for now in range(stage.max() + 1):
        rows = stage == now
        depends[rows] = (reads[rows].astype(int) @ depends.astype(int)) > 0
    u = torch.zeros(1, INPUTS, dtype=torch.float64)
    x = torch.zeros(1, units, dtype=torch.float64)
    jacobian = cell.step_jacobian(u, x, torch.ones(1, 1, dtype=torch.float64))[0]
    assert np.array_equal(jacobian.detach().numpy() != 0, depends)


def test_completed_wirings_are_complete_already():
    for recipe in (AutoNCP(9, OUTPUTS), NCP(5, 4, 2, 3, 2, 2, 2), Random(6, 2, 0.5), PARALLEL):
        wiring = recipe if isinstance(recipe, Wiring) else recipe.build(INPUTS)
        for complete in (with_own_states, with_ncps_connections, with_all_gates):
            assert complete(complete(wiring)) == complete(wiring)
        assert (np.diag(with_own_states(wiring).adjacency()) != 0).all()
        held = {(j, i) for j, i, _ in wiring.recurrent}
        assert held <= {(j, i) for j, i, _ in with_own_states(wiring).recurrent}


def test_drawing_shows_the_synapses():
    assert CfC(INPUTS, AutoNCP(7, OUTPUTS)).draw() is not None


def test_only_synapses_that_exist_are_parameters():
    model = CfC(8, AutoNCP(16, 4))
    synapses = model.synapse_count + model.sensory_synapse_count
    assert sum(p.numel() for p in model.parameters()) == 4 * (synapses + 16)
    assert model.synapse_count == model.wiring.synapse_count
    pure = CfC(8, AutoNCP(16, 4), mode="pure")
    assert sum(p.numel() for p in pure.parameters()) == synapses + 3 * 16


def test_work_does_not_grow_with_the_square_of_neurons():
    """20,000 neurons: a dense map would need 1.6 GB for each of the four."""
    units = 20_000
    chain = Synapses(np.arange(1, units), np.arange(units - 1), np.ones(units - 1, dtype=int))
    wiring = Wiring(1, {"motor": 1, "inter": units - 1}, chain, Synapses([0], [1], [1]))
    output, _ = CfC(1, wiring)(torch.zeros(1, 2, 1))
    output.sum().backward()
    assert output.shape == (1, 2, 1)


def test_the_state_of_a_rewired_circuit_loads_and_one_of_other_layers_is_refused():
    first, second = CfC(INPUTS, AutoNCP(12, OUTPUTS)), CfC(INPUTS, AutoNCP(12, OUTPUTS))
    optimizer = torch.optim.Adam(first.parameters())
    assert PruneRewire(first, optimizer, Relative(1.0), every=1).step()
    assert first.wiring != second.wiring
    second.load_state_dict(first.state_dict())
    assert first.wiring == second.wiring
    x = torch.randn(2, 3, INPUTS)
    assert torch.equal(first(x)[0], second(x)[0])
    state = CfC(INPUTS, AutoNCP(9, OUTPUTS)).state_dict()
    state["cell.recurrent.target"] = state["cell.recurrent.target"].flip(0)
    with pytest.raises(InputError, match=r"of other layers at cell.recurrent.* than this layer"):
        CfC(INPUTS, AutoNCP(9, OUTPUTS)).load_state_dict(state)


# --- options -----------------------------------------------------------------------------


@pytest.mark.parametrize("units", [5, AutoNCP(9, 2)])
def test_projection(units):
    model = CfC(INPUTS, units, proj_size=3)
    x = torch.randn(4, 6, INPUTS)
    output, state = model(x)
    assert output.shape == (4, 6, 3)
    assert (model.output_size, model.cell.output_size) == (3, 3)
    projection = model.cell.projection
    read = state[:, : model.motor_size]
    assert_close(output[:, -1], read @ projection.weight.t() + projection.bias)
    assert model(x[:, :0])[0].shape == (4, 0, 3)
    output.sum().backward()
    assert all(p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("units", [5, AutoNCP(9, 2)])
def test_mixed_memory(units):
    model = CfC(INPUTS, units, mixed_memory=True)
    x = torch.randn(4, 6, INPUTS)
    output, (h, c) = model(x)
    assert h.shape == c.shape == (4, model.state_size)
    _, hx = model(x[:, :3])
    assert_close(model(x[:, 3:], hx)[0], output[:, 3:])
    timespans = torch.ones(4, 6)
    timespans[2] = 0
    hx = tuple(torch.randn(4, model.state_size) for _ in range(2))
    _, after = model(x, hx, timespans)
    assert torch.equal(after[0][2], hx[0][2])
    assert torch.equal(after[1][2], hx[1][2])


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_in_training_only(layers):
    model = CfC(INPUTS, 5, backbone_layers=layers, backbone_dropout=0.5)
    x = torch.randn(4, 6, INPUTS)
    assert not torch.equal(model(x)[0], model(x)[0])
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])
    with torch.no_grad():
        model.train()
        rest = model(x)[0]
    assert torch.isfinite(rest).all()


@pytest.mark.parametrize(
    ("units", "options", "message"),
    [
        (4, {"mode": "best"}, r"unknown mode 'best', expected one of \('default', 'pure', 'no_ga"),
        (4, {"activation": "sine"}, "unknown backbone_activation 'sine', expected one of"),
        (4, {"backbone_units": 0}, "backbone_units must be an integer of at least 1, got 0"),
        (4, {"backbone_layers": -1}, "backbone_layers must be an integer of at least 0, got -1"),
        (4, {"backbone_dropout": 1.0}, "backbone_dropout must be a number from 0 to less than 1"),
        (4, {"proj_size": 0}, "proj_size must be an integer of at least 1, got 0"),
        (4, {"ncps_connections": True}, "got ncps_connections=True with 4 units"),
        (4, {"dtype": torch.int32}, "dtype must be a floating type"),
        (0, {}, "hidden_size must be an integer of at least 1, got 0"),
        (True, {}, "expected a number of units, a recipe"),
        (AutoNCP(9, 2), {"backbone_units": 8}, "got backbone_units with a wiring, which has no b"),
        (AutoNCP(9, 2), {"activation": "silu"}, "got activation with a wiring"),
        (AutoNCP(9, 2), {"mode": "best"}, "unknown mode 'best'"),
        (AutoNCP(9, 2).build(5), {}, "made for 5 inputs, the layer has 3"),
    ],
)
def test_wrong_options(units, options, message):
    with pytest.raises(InputError, match=message):
        CfC(INPUTS, units, **options)


def test_an_infinite_state_is_reported_although_the_cell_would_squash_it():
    model = CfC(INPUTS, 4)
    hx = torch.zeros(2, 4)
    hx[1, 2] = torch.inf
    with pytest.raises(SolveError, match=r"got inf at .*sample 1, neuron 'motor_2'.*initial state"):
        model(torch.zeros(2, 3, INPUTS), hx)


def test_a_layer_without_a_solver_is_advised_none():
    model = CfC(INPUTS, 4)
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    with pytest.raises(SolveError, match=r"got nan at .*; check inputs and parameters") as raised:
        model(torch.ones(1, 2, INPUTS))
    assert "choose" not in str(raised.value)
    assert "steps would" not in str(raised.value)


@pytest.mark.parametrize("units", [5, AutoNCP(7, OUTPUTS)])
def test_cell_steps_make_the_sequence(units):
    model = CfC(INPUTS, units)
    x, timespans = torch.randn(4, 6, INPUTS), torch.rand(4, 6)
    output, _ = model(x, timespans=timespans)
    state = torch.zeros(4, model.state_size)
    for t in range(6):
        step, state = model.cell(x[:, t], state, timespans[:, t])
        assert_close(step, output[:, t])
    with pytest.raises(InputError, match=r"elapsed_time holds -1.0 at batch 0"):
        model.cell(x[:, 0], state, -1.0)
    with pytest.raises(InputError, match=r"states has shape \(1, 2\), expected \(batch"):
        model.cell(x[:, 0], torch.zeros(1, 2))


@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("units", [5, AutoNCP(7, OUTPUTS)])
def test_an_empty_batch(units, mode):
    model = CfC(INPUTS, units, mode=mode)
    output, state = model(torch.zeros(0, 6, INPUTS))
    assert output.shape == (0, 6, model.output_size)
    jacobian = model.cell.step_jacobian(torch.zeros(0, INPUTS), state, torch.zeros(0, 1))
    assert jacobian.shape == (0, model.state_size, model.state_size)
