"""LrcSSM: the conformance suite on either path, the published formula, and time in parallel."""

import math

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

import elegans
from elegans import LrcSSM, LrcSSMCell
from elegans.errors import InputError, SolverError
from elegans.lrc_ssm.cell import PARALLEL_FROM, WIDEST
from elegans.lrc_ssm.dynamics import LrcSSMDynamics
from elegans.pruning import Pruner
from elegans.solvers import get_solver, parallel, solver_names
from elegans.solvers.parallel import linear_scan, loop, solve
from elegans.synapses.elastic import ELASTANCES
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

NONE = Synapses([], [], [])
SPARSE = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "inter": 3},
    NONE,
    Synapses([0, 1, 2, 2, 0, 1, 1], [0, 0, 1, 2, 3, 4, 1], [1, -1, 1, -1, 1, 1, 1]),
)
DENSE = FullyConnected(5, OUTPUTS).build(INPUTS)
DENSE = DENSE.with_synapses(NONE, DENSE.sensory)
TOGETHER = [name for name in solver_names() if get_solver(name).is_elementwise]


class TestLrcSSM(LayerConformance):
    def make(self, **options):
        return LrcSSM(INPUTS, DENSE, **options)


class TestWiredLrcSSM(LayerConformance):
    def make(self, **options):
        return LrcSSM(INPUTS, SPARSE, elastance="symmetric", solver="euler", **options)


class TestParallelLrcSSM(LayerConformance):
    @pytest.fixture(autouse=True)
    def fused(self):
        with elegans.backend("fused"):
            yield

    def make(self, **options):
        return LrcSSM(INPUTS, SPARSE, ode_unfolds=2, **options)


def sigma(z):
    return 1 / (1 + math.exp(-z))


def published(model, u, x):
    """Return conductance before and drive after the elastance, and it, by loops over neurons."""
    p = {name: value.detach().tolist() for name, value in model.cell.named_parameters()}
    u = [w * each + b for w, each, b in zip(
        p["input_mapping.weight"], u, p["input_mapping.bias"], strict=True)]  # fmt: skip
    slots = model.cell.sensory
    values = []
    for i in range(model.state_size):
        forget = update = p["leak"][i]
        for k in range(len(slots)):
            if slots.target[k] == i:
                j = int(slots.source[k])
                gate = sigma(p["input_gain"][j] * (u[j] - p["input_centre"][j]))
                forget += p["sensory.weight"][0][k] * gate
                update += p["sensory.weight"][1][k] * gate
        own = sigma(p["gain"][i] * (x[i] - p["centre"][i]))
        a = sigma(forget + p["forget"][i] * own)
        b = p["leak_potential"][i] * math.tanh(update + p["update"][i] * own)
        z = p["elastance_gain"][i] * x[i] + p["elastance_bias"][i]
        if "elastance_width" in p:
            d = math.log1p(math.exp(p["elastance_width"][i]))
            e = sigma(z + d) - sigma(z - d)
        else:
            e = sigma(z)
        values.append((a, b, e))
    return np.array(values).T


def drawn(units, scale=3.0, **options):
    torch.manual_seed(0)
    model = LrcSSM(INPUTS, units, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in model.cell.named_parameters():
            if not name.startswith("output"):
                parameter.uniform_(-scale / 2, scale / 2)
    rng = np.random.default_rng(0)
    return model, rng.normal(size=INPUTS), rng.normal(size=model.state_size)


@pytest.mark.parametrize("elastance", ELASTANCES)
@pytest.mark.parametrize("units", [1, 4, SPARSE])
def test_the_derivative_is_the_published_formula(units, elastance):
    model, u, x = drawn(units, elastance=elastance)
    mine = model.cell.dynamics(torch.from_numpy(u)[None]).derivative(torch.from_numpy(x)[None])
    a, b, e = published(model, u, x)
    assert_close(mine[0].detach().numpy(), e * (b - a * x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", ["euler", "semi_implicit"])
def test_steps_are_those_of_the_published_code(solver):
    """Explicit in one part, as published; or implicit in the own state, with gates of the old."""
    model, u, x = drawn(SPARSE, solver=solver)
    _, state = model.cell(torch.from_numpy(u)[None], torch.from_numpy(x)[None], 0.6)
    a, b, e = published(model, u, x)
    h = 0.6 * e
    expected = x + h * (b - a * x) if solver == "euler" else (x + h * b) / (1 + h * a)
    assert_close(state[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("elastance", ELASTANCES)
def test_jacobians_are_the_derivatives(elastance):
    model, _, _ = drawn(SPARSE, elastance=elastance)
    dynamics = model.cell.dynamics(torch.randn(3, INPUTS, dtype=torch.float64))
    x = torch.randn(3, 5, dtype=torch.float64)
    general = super(LrcSSMDynamics, dynamics).jacobian(x)
    assert_close(dynamics.jacobian(x), general, rtol=1e-12, atol=1e-12)
    assert torch.equal(general, torch.diag_embed(general.diagonal(dim1=1, dim2=2)))
    h, solver = torch.rand(3, 1, dtype=torch.float64), get_solver("semi_implicit")
    each = torch.func.jacrev(lambda state: solver.advance(dynamics, state, h, 1))(x)
    expected = torch.stack([each[k, :, k] for k in range(3)])
    assert_close(dynamics.step_jacobian(x, h), expected, rtol=1e-10, atol=1e-12)


# --- time in parallel --------------------------------------------------------------------


@pytest.mark.parametrize("time", [0, 1, 2, 3, 4, 5, 7, 8, 31, 100])
def test_a_scan_is_the_recurrence(time):
    torch.manual_seed(time)
    factor, term = torch.randn(2, 3, time, 4, dtype=torch.float64).unbind(0)
    x, states = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(time):
        x = factor[:, t] * x + term[:, t]
        states.append(x)
    expected = torch.stack(states, dim=1) if states else term
    assert_close(linear_scan(factor, term), expected, rtol=1e-10, atol=1e-10)


def both(model, x, hx, timespans, **options):
    """Return outputs, states and gradients by the loop and in parallel."""
    given = [t for t in (x, hx, timespans) if t.requires_grad]
    results = []
    for path in ("reference", "fused"):
        with elegans.backend(path):
            output, state, states = model(x, hx, timespans, return_states=True, **options)
            loss = output.sin().mean() + state.square().mean()
            wanted = [*given, *model.parameters()]
            results.append([output, state, states, *torch.autograd.grad(loss, wanted)])
    return zip(*results, strict=True)


@pytest.mark.parametrize("solver", TOGETHER)
@pytest.mark.parametrize("time", [1, 2, 3, 63, 64, 65, 1000])
def test_all_steps_at_once_are_step_after_step(solver, time):
    model, _, _ = drawn(SPARSE, solver=solver, ode_unfolds=2)
    x = torch.randn(3, time, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    spans = torch.rand(3, time, dtype=torch.float64).mul_(2).requires_grad_()
    for expected, found in both(model, x, hx, spans):
        assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("elastance", ELASTANCES)
@pytest.mark.parametrize("block", [64, 100, 1 << 20])
def test_blocks_of_time_and_padding(monkeypatch, block, elastance):
    monkeypatch.setattr(parallel, "BLOCK", block * 10)
    model, _, _ = drawn(SPARSE, elastance=elastance)
    x = torch.randn(2, 200, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    spans = 10 ** torch.empty(2, 200, dtype=torch.float64).uniform_(-3, 3)
    spans[:, ::7] = 0
    lengths = torch.tensor([200, 77])
    for expected, found in both(model, x, hx, spans, lengths=lengths):
        assert_close(found, expected, rtol=1e-10, atol=1e-10)
    with elegans.backend("fused"):
        states = model(x, hx, spans, lengths=lengths, return_states=True)[2]
    assert torch.equal(states[0, 7], states[0, 6])
    assert torch.equal(states[:, 0], hx)
    assert torch.equal(states[1, 77:], states[1, 76].expand(123, -1))


def test_a_step_that_newton_does_not_solve_is_taken_in_order(monkeypatch):
    """A chaotic map: the product of its slopes grows beyond all numbers within a block."""
    rounds = []
    newton = parallel._newton
    monkeypatch.setattr(parallel, "_newton", lambda *a: rounds.append(newton(*a)) or rounds[-1])

    def logistic(state, elapsed, rate):
        return state + elapsed * (rate * state * (1 - state) - state)

    initial = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    rate = torch.full((1,), 3.9, dtype=torch.float64, requires_grad=True)
    elapsed = torch.ones(1, 3000, dtype=torch.float64)
    found, expected = (f(logistic, initial, elapsed, [], [rate]) for f in (solve, loop))
    assert None in rounds
    assert_close(found[:, :30], expected[:, :30], rtol=1e-10, atol=1e-10)
    early = [torch.autograd.grad(v[0, 20, 0], [initial, rate]) for v in (found, expected)]
    assert_close(early[0], early[1], rtol=1e-10, atol=1e-10)


def test_gradients_of_gradients_in_parallel():
    model, _, _ = drawn(SPARSE)
    x = torch.randn(1, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    seconds = []
    for path in ("reference", "fused"):
        with elegans.backend(path):
            (first,) = torch.autograd.grad(model(x)[0].sum(), x, create_graph=True)
            wanted, options = [x, *model.parameters()], {"allow_unused": True}
            seconds.append(
                torch.autograd.grad(first.square().sum(), wanted, materialize_grads=True, **options)
            )
    assert_close(seconds[1], seconds[0], rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of its jvp
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_when_time_is_parallel(monkeypatch, dtype):
    import elegans.lrc_ssm.cell as module

    calls = []
    monkeypatch.setattr(module, "solve", lambda *a: calls.append(1) or solve(*a))

    def is_parallel(model, time, batch=2):
        calls.clear()
        output, _ = model(torch.randn(batch, time, INPUTS, dtype=dtype))
        assert output.shape == (batch, time, model.output_size)
        return bool(calls)

    model = LrcSSM(INPUTS, 4, dtype=dtype)
    assert is_parallel(model, PARALLEL_FROM)
    assert not is_parallel(model, PARALLEL_FROM - 1)
    assert not is_parallel(model, PARALLEL_FROM, batch=0)
    assert is_parallel(model, PARALLEL_FROM, batch=WIDEST // 4)
    assert not is_parallel(model, PARALLEL_FROM, batch=WIDEST // 4 + 1)
    for path, expected in (("reference", False), ("fused", True)):
        with elegans.backend(path):
            assert is_parallel(model, 300) is is_parallel(model, 1) is expected
            assert not is_parallel(model, 0)
    with torch.inference_mode():
        assert is_parallel(model, 300)
    for other in (LrcSSM(INPUTS, 4, dtype=dtype, solver="rosenbrock"),
                  LrcSSM(INPUTS, 4, dtype=dtype, mixed_memory=True)):  # fmt: skip
        assert not is_parallel(other, 200)
    x = torch.randn(2, 200, INPUTS, dtype=dtype)
    calls.clear()
    torch.func.vmap(lambda each: model(each)[0])(x.unsqueeze(1))
    torch.func.jvp(lambda each: model(each)[0], (x,), (x,))
    assert not calls


def test_nothing_needs_a_gradient_that_does_not():
    model = LrcSSM(INPUTS, 4).requires_grad_(False)
    x = torch.randn(2, 200, INPUTS)
    assert not model(x)[0].requires_grad
    model(x.requires_grad_())[0].sum().backward()
    assert x.grad.any()
    assert all(p.grad is None for p in model.parameters())


# --- the layer ---------------------------------------------------------------------------


def test_no_neuron_reads_another():
    model = LrcSSM(INPUTS, 4)
    assert len(model.wiring.recurrent) == model.synapse_count == 0
    assert model.sensory_synapse_count == 12
    for wiring in (AutoNCP(7, OUTPUTS), AutoNCP(7, OUTPUTS).build(INPUTS)):
        with pytest.raises(InputError, match=r"synapses between neurons, expected none"):
            LrcSSM(INPUTS, wiring)
    jacobian = torch.func.jacrev(lambda h: model.cell(torch.zeros(1, 3), h)[1])(torch.randn(1, 4))
    assert torch.equal(jacobian[0, :, 0], torch.diag(jacobian[0, :, 0].diag()))
    deep = elegans.Stacked(lambda inputs: LrcSSM(inputs, 4), INPUTS, num_layers=2)
    x = torch.randn(2, 200, INPUTS, requires_grad=True)
    deep(x)[0][:, -1, 0].sum().backward()
    assert x.grad.all()


@pytest.mark.parametrize("elastance", ELASTANCES)
def test_a_saved_layer_comes_back(elastance, tmp_path):
    model = LrcSSM(INPUTS, SPARSE, elastance=elastance, solver="rk4", ode_unfolds=2)
    Pruner(model).prune(0.4)
    elegans.save(model, tmp_path)
    again, x = elegans.load(tmp_path), torch.randn(2, 5, INPUTS)
    assert type(again) is LrcSSM
    assert again.settings() == model.settings()
    assert again.wiring == model.wiring
    assert_close(again(x)[0], model(x)[0])


@pytest.mark.parametrize("length", [1.0, 1e3, 1e9])
def test_semi_implicit_steps_keep_the_states_bounded(length):
    """Between the largest pulls V / sigma(F) of both signs, for steps of any length."""
    model, _, _ = drawn(4)
    x = torch.randn(2, 300, INPUTS, dtype=torch.float64)
    spans = torch.full((2, 300), length, dtype=torch.float64)
    states = model(x, timespans=spans, return_states=True)[2]
    sensed = model.cell.sense(x)
    least = torch.sigmoid(sensed.forget.amin((0, 1)) + model.cell.forget.clamp(max=0))
    assert (states.abs() <= model.cell.leak_potential.abs() / least * (1 + 1e-12)).all()


def test_a_seed_gives_the_same_parameters():
    one, other = (LrcSSM(3, 5, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    cell = LrcSSMCell(5, 3, elastance="symmetric", device="meta").to_empty(device="cpu")
    cell.reset_parameters(torch.Generator().manual_seed(4))
    for name, value in one.cell.named_parameters():
        assert torch.equal(value, other.cell.get_parameter(name))
        assert cell.get_parameter(name).isfinite().all()


def test_wrong_settings():
    with pytest.raises(InputError, match="elastance"):
        LrcSSM(INPUTS, 4, elastance="elastic")
    with pytest.raises(InputError, match="ode_unfolds"):
        LrcSSM(INPUTS, 4, ode_unfolds=0)
    with pytest.raises(SolverError):
        LrcSSM(INPUTS, 4, solver="simplex")
