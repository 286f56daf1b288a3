"""Liquid resistance, liquid capacitance: the conformance suite, and the equation."""

import math

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

import elegans
from elegans import LRC, LRCCell
from elegans.errors import InputError, SolverError
from elegans.lrc.dynamics import LRCDynamics
from elegans.pruning import Pruner
from elegans.solvers import get_solver, solver_names
from elegans.synapses.elastic import ELASTANCES
from elegans.wiring import AutoNCP, FullyConnected, Random, Synapses, Wiring

PARALLEL = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "inter": 3},
    Synapses([2, 2, 3, 4, 4, 0], [0, 0, 1, 3, 4, 1], [1, -1, 1, -1, 1, 1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)


class TestLRC(LayerConformance):
    def make(self, **options):
        return LRC(INPUTS, AutoNCP(7, OUTPUTS), **options)


class TestSymmetricLRC(LayerConformance):
    def make(self, **options):
        wiring = Random(7, OUTPUTS, 0.3)
        return LRC(INPUTS, wiring, elastance="symmetric", solver="euler", **options)


class TestLRCWithParallelSynapses(LayerConformance):
    def make(self, **options):
        return LRC(INPUTS, PARALLEL, ode_unfolds=2, fixed_polarity=False, **options)


def sigma(z):
    return 1 / (1 + math.exp(-z))


def softplus(z):
    return math.log1p(math.exp(z))


def published(model, u, x):
    """Return elastance, saturated conductance and drive by loops over neurons and synapses."""
    p = {name: value.detach().tolist() for name, value in model.cell.named_parameters()}
    u = [w * each + b for w, each, b in zip(
        p["input_mapping.weight"], u, p["input_mapping.bias"], strict=True)]  # fmt: skip
    values = []
    for i in range(model.state_size):
        conductance = drive = softplus(p["gleak"][i])
        z = p["elastance_bias"][i]
        for kind, sources in (("recurrent", x), ("sensory", u)):
            slots = model.cell.synapse_sets()[kind]
            for k in range(len(slots)):
                if int(slots.target[k]) != i:
                    continue
                y = sources[int(slots.source[k])]
                erev = p[f"{kind}.erev"][k]
                if slots.fixed_polarity:
                    erev = int(slots.polarity[k]) * abs(erev)
                gate = sigma(p[f"{kind}.sigma"][k] * (y - p[f"{kind}.mu"][k]))
                conductance += softplus(p[f"{kind}.weight"][k]) * gate
                drive += softplus(p[f"{kind}.weight"][k]) * gate * erev
                z += p[f"{kind}.elastance"][k] * y
        if "elastance_width" in p:
            d = softplus(p["elastance_width"][i])
            e = sigma(z + d) - sigma(z - d)
        else:
            e = sigma(z)
        values.append((e, sigma(conductance), p["vleak"][i] * math.tanh(drive)))
    return np.array(values).T


def drawn(wiring, **options):
    torch.manual_seed(0)
    model = LRC(INPUTS, wiring, dtype=torch.float64, **options)
    with torch.no_grad():
        for name in ("elastance_bias", "vleak"):
            getattr(model.cell, name).uniform_(-2, 2)
        for synapses in model.cell.synapse_sets().values():
            synapses.elastance.uniform_(-1, 1)
            synapses.erev.mul_(torch.rand_like(synapses.erev) + 0.5)
    rng = np.random.default_rng(0)
    return model, rng.normal(size=INPUTS), rng.normal(size=model.state_size)


@pytest.mark.parametrize("fixed_polarity", [True, False])
@pytest.mark.parametrize("elastance", ELASTANCES)
@pytest.mark.parametrize("wiring", [AutoNCP(7, OUTPUTS), PARALLEL, FullyConnected(4, OUTPUTS), 1])
def test_the_derivative_is_the_published_equation(wiring, elastance, fixed_polarity):
    model, u, x = drawn(wiring, elastance=elastance, fixed_polarity=fixed_polarity)
    mine = model.cell.dynamics(torch.from_numpy(u)[None]).derivative(torch.from_numpy(x)[None])
    e, a, b = published(model, u, x)
    assert_close(mine[0].detach().numpy(), e * (b - a * x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", ["euler", "semi_implicit"])
def test_steps_are_the_explicit_and_the_hybrid_one_of_the_authors(solver):
    model, u, x = drawn(PARALLEL, solver=solver, ode_unfolds=2)
    _, state = model.cell(torch.from_numpy(u)[None], torch.from_numpy(x)[None], 0.6)
    for _ in range(2):
        e, a, b = published(model, u, x)
        h = 0.3 * e
        x = x + h * (b - a * x) if solver == "euler" else (x + h * b) / (1 + h * a)
    assert_close(state[0].detach().numpy(), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("elastance", ELASTANCES)
@pytest.mark.parametrize("wiring", [PARALLEL, FullyConnected(5, OUTPUTS)])
def test_jacobians_are_the_derivatives(wiring, elastance):
    model, _, _ = drawn(wiring, elastance=elastance)
    dynamics = model.cell.dynamics(torch.randn(3, INPUTS, dtype=torch.float64))
    x = torch.randn(3, 5, dtype=torch.float64)
    general = super(LRCDynamics, dynamics).jacobian(x)  # one backward pass a neuron
    assert_close(dynamics.jacobian(x), general, rtol=1e-12, atol=1e-12)
    h, solver = torch.rand(3, 1, dtype=torch.float64), get_solver("semi_implicit")
    each = torch.func.jacrev(lambda state: solver.advance(dynamics, state, h, 1))(x)
    expected = torch.stack([each[k, :, k] for k in range(3)])
    assert_close(dynamics.step_jacobian(x, h), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("length", [1.0, 1e3, 1e9])
def test_semi_implicit_steps_keep_the_states_bounded(length):
    """Within 2 |V|, as a conductance of at least sigma(0) = 1/2 draws them in."""
    model, _, _ = drawn(FullyConnected(9, OUTPUTS))
    x = 10 * torch.randn(4, 50, INPUTS, dtype=torch.float64)
    spans = torch.full((4, 50), length, dtype=torch.float64)
    states = model(x, timespans=spans, return_states=True)[2]
    assert (states.abs() <= 2 * model.cell.vleak.abs()).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", solver_names())
def test_every_solver_runs_and_learns(name):
    model, _, _ = drawn(AutoNCP(7, OUTPUTS), solver=name, ode_unfolds=6)
    reference = LRC(INPUTS, AutoNCP(7, OUTPUTS), solver="rk4", ode_unfolds=50, dtype=torch.float64)
    reference.load_state_dict(model.state_dict())
    x = torch.randn(3, 2, INPUTS, dtype=torch.float64)
    timespans = 0.2 * torch.rand(3, 2, dtype=torch.float64)
    output, _ = model(x, timespans=timespans)
    assert_close(output, reference(x, timespans=timespans)[0], rtol=0, atol=0.02)
    output.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("elastance", ELASTANCES)
def test_a_saved_layer_comes_back(elastance, tmp_path):
    model = LRC(INPUTS, AutoNCP(7, OUTPUTS), elastance=elastance, fixed_polarity=False)
    Pruner(model).prune(0.3)
    elegans.save(model, tmp_path)
    again, x = elegans.load(tmp_path), torch.randn(2, 5, INPUTS)
    assert type(again) is LRC
    assert again.settings() == model.settings()
    assert_close(again(x)[0], model(x)[0])


def test_a_seed_gives_the_same_parameters():
    one, other = (LRC(3, 5, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    cell = LRCCell(5, 3, elastance="symmetric", device="meta").to_empty(device="cpu")
    cell.reset_parameters(torch.Generator().manual_seed(4))
    for name, value in one.cell.named_parameters():
        assert torch.equal(value, other.cell.get_parameter(name))
        assert cell.get_parameter(name).isfinite().all()


def test_wrong_settings():
    with pytest.raises(InputError, match="elastance"):
        LRC(INPUTS, 4, elastance="elastic")
    with pytest.raises(InputError, match="ode_unfolds"):
        LRC(INPUTS, 4, ode_unfolds=0)
    with pytest.raises(SolverError):
        LRC(INPUTS, 4, solver="simplex")
