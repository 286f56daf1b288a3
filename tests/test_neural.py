"""Neural ODEs and LTC as first published: the conformance suite, and the equations."""

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

import elegans
from elegans import NeuralLTC, NeuralLTCCell, NeuralODE
from elegans.errors import InputError, SolverError
from elegans.neural.dynamics import NeuralDynamics
from elegans.solvers import get_solver, solver_names
from elegans.wiring import AutoNCP, FullyConnected, Random, Synapses, Wiring

PARALLEL = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "inter": 3},
    Synapses([2, 2, 3, 4, 4, 0], [0, 0, 1, 3, 4, 1], [1, -1, 1, -1, 1, 1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)
KINDS = [NeuralODE, NeuralLTC]
ACTIVATIONS = {"sigmoid": lambda y: 1 / (1 + np.exp(-y)), "tanh": np.tanh}


class TestNeuralODE(LayerConformance):
    def make(self, **options):
        return NeuralODE(INPUTS, AutoNCP(7, OUTPUTS), **options)


class TestNeuralLTC(LayerConformance):
    def make(self, **options):
        return NeuralLTC(INPUTS, Random(7, OUTPUTS, 0.3), **options)


class TestFullyConnectedNeuralLTC(LayerConformance):
    def make(self, **options):
        return NeuralLTC(INPUTS, FullyConnected(5, OUTPUTS), activation="tanh", **options)


class TestNeuralODEWithParallelSynapses(LayerConformance):
    def make(self, **options):
        return NeuralODE(INPUTS, PARALLEL, activation="sigmoid", **options)


def plain(model, u, x):
    """Return f, tau and A by loops over the synapses."""
    numbers = {name: p.detach().double().numpy() for name, p in model.cell.named_parameters()}
    u = u * numbers["input_mapping.weight"] + numbers["input_mapping.bias"]
    y = numbers["bias"].copy()
    for kind, values in (("recurrent", x), ("sensory", u)):
        slots = model.cell.synapse_sets()[kind]
        for k in range(len(slots)):
            y[slots.target[k]] += numbers[f"{kind}.weight"][k] * values[slots.source[k]]
    f = ACTIVATIONS[model.cell.activation](y)
    if "tau" not in numbers:
        return f, None, None
    return f, np.log1p(np.exp(numbers["tau"])), numbers["reversal"]


def drawn(kind, wiring, **options):
    torch.manual_seed(0)
    model = kind(INPUTS, wiring, dtype=torch.float64, **options)
    with torch.no_grad():
        model.cell.bias.uniform_(-1, 1)
    rng = np.random.default_rng(0)
    return model, rng.normal(size=INPUTS), rng.normal(size=model.state_size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("wiring", [AutoNCP(7, OUTPUTS), PARALLEL, FullyConnected(4, OUTPUTS)])
def test_the_derivative_is_the_published_equation(kind, wiring, activation):
    model, u, x = drawn(kind, wiring, activation=activation)
    mine = model.cell.dynamics(torch.from_numpy(u)[None]).derivative(torch.from_numpy(x)[None])
    f, tau, reversal = plain(model, u, x)
    expected = f if tau is None else -(1 / tau + f) * x + f * reversal
    assert_close(mine[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_step_is_the_fused_solver_of_the_paper():
    model, u, x = drawn(NeuralLTC, PARALLEL, ode_unfolds=3)
    _, state = model.cell(torch.from_numpy(u)[None], torch.from_numpy(x)[None], 0.6)
    for _ in range(3):
        f, tau, reversal = plain(model, u, x)
        x = (x + 0.2 * f * reversal) / (1 + 0.2 * (1 / tau + f))
    assert_close(state[0].detach().numpy(), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobians_are_the_derivatives(kind, activation):
    model, _, _ = drawn(kind, PARALLEL, activation=activation)
    dynamics = model.cell.dynamics(torch.randn(3, INPUTS, dtype=torch.float64))
    x = torch.randn(3, 5, dtype=torch.float64)
    general = super(NeuralDynamics, dynamics).jacobian(x)  # one backward pass a neuron
    assert_close(dynamics.jacobian(x), general, rtol=1e-12, atol=1e-12)
    h, solver = torch.rand(3, 1, dtype=torch.float64), get_solver("semi_implicit")
    each = torch.func.jacrev(lambda state: solver.advance(dynamics, state, h, 1))(x)
    expected = torch.stack([each[k, :, k] for k in range(3)])
    assert_close(dynamics.step_jacobian(x, h), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_states_and_time_constants_keep_the_bounds_of_the_paper(scale):
    """Theorems 1 and 2: between 0 and A, and between tau / (1 + tau) and tau, for any step."""
    model = NeuralLTC(INPUTS, FullyConnected(9, OUTPUTS), ode_unfolds=1, dtype=torch.float64)
    with torch.no_grad():
        model.cell.recurrent.weight.mul_(scale)
        model.cell.reversal.mul_(scale)
    x = scale * torch.randn(4, 50, INPUTS, dtype=torch.float64)
    spans = 10 ** torch.empty(4, 50, dtype=torch.float64).uniform_(-3, 6)
    _, _, states = model(x, timespans=spans, return_states=True)
    reversal = model.cell.reversal
    assert (states >= reversal.clamp(max=0)).all()
    assert (states <= reversal.clamp(min=0)).all()
    least, largest = model.cell.time_constants()
    for t in range(5):
        own = model.cell.dynamics(x[:, t]).time_constant(states[:, t])
        assert ((own >= least * (1 - 1e-12)) & (own <= largest * (1 + 1e-12))).all()
    assert NeuralLTC(3, 4, activation="tanh").cell.time_constants() is None
    assert NeuralODE(3, 4).cell.time_constants() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", solver_names())
def test_every_solver_runs_and_learns(kind, name):
    model, _, _ = drawn(kind, AutoNCP(7, OUTPUTS), solver=name)
    reference = kind(INPUTS, AutoNCP(7, OUTPUTS), solver="rk4", ode_unfolds=50, dtype=torch.float64)
    reference.load_state_dict(model.state_dict())
    x = torch.randn(3, 2, INPUTS, dtype=torch.float64)
    timespans = 0.2 * torch.rand(3, 2, dtype=torch.float64)
    output, _ = model(x, timespans=timespans)
    assert_close(output, reference(x, timespans=timespans)[0], rtol=0, atol=0.02)
    output.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_layer_comes_back(kind, tmp_path):
    model = kind(INPUTS, AutoNCP(7, OUTPUTS), activation="tanh", solver="rk4", ode_unfolds=2)
    elegans.save(model, tmp_path)
    again, x = elegans.load(tmp_path), torch.randn(2, 5, INPUTS)
    assert type(again) is kind
    assert again.settings() == model.settings()
    assert torch.equal(again(x)[0], model(x)[0])


def test_a_seed_gives_the_same_parameters():
    one, other = (NeuralLTC(3, 5, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    cell = NeuralLTCCell(5, 3, device="meta").to_empty(device="cpu")
    cell.reset_parameters(torch.Generator().manual_seed(4))
    for name, value in one.cell.named_parameters():
        assert torch.equal(value, other.cell.get_parameter(name))
        assert value.isfinite().all()
        assert cell.get_parameter(name).isfinite().all()


def test_wrong_settings():
    for kind in KINDS:
        with pytest.raises(InputError, match="activation"):
            kind(INPUTS, 4, activation="relu")
        with pytest.raises(InputError, match="ode_unfolds"):
            kind(INPUTS, 4, ode_unfolds=0)
        with pytest.raises(SolverError):
            kind(INPUTS, 4, solver="simplex")
