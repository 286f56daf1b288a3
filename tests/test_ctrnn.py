"""The CT-RNN layer: the conformance suite, and what is particular to it."""

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

from elegans.checkpoints.saving import load, save
from elegans.ctrnn.cell import INITIAL_TAU, CTRNNCell
from elegans.ctrnn.dynamics import CTRNNDynamics
from elegans.ctrnn.layer import CTRNN
from elegans.data import Sequence, cut_windows
from elegans.errors import InputError, SolveError, SolverError
from elegans.layers.sequence_layer import line_widths
from elegans.solvers import integrate, solver_names
from elegans.synapses.sums import SynapticSum
from elegans.training import RewireConfig, RunFolder, TrainingConfig, fit, load_model
from elegans.wiring import AutoNCP, FullyConnected, Random, Synapses, Wiring

PARALLEL = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "inter": 3},
    Synapses([2, 2, 3, 4, 4, 0], [0, 0, 1, 3, 4, 1], [1, -1, 1, -1, 1, 1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)  # parallel synapses, a self-synapse, a neuron that gets no recurrent synapse


class TestCTRNN(LayerConformance):
    def make(self, **options):
        return CTRNN(INPUTS, AutoNCP(7, OUTPUTS), **options)


class TestFullyConnectedTanh(LayerConformance):
    def make(self, **options):
        return CTRNN(INPUTS, FullyConnected(5, OUTPUTS), activation="tanh", **options)


class TestCTRNNWithParallelSynapses(LayerConformance):
    def make(self, **options):
        return CTRNN(INPUTS, PARALLEL, implicit_param_constraints=False, **options)


# --- the equation ------------------------------------------------------------------------


def double(model):
    return {name: p.detach().double().numpy() for name, p in model.cell.named_parameters()}


def plain_derivative(model, u, x):
    """Beer's equation, synapse by synapse, in plain Python."""
    numbers = double(model)
    u = u * numbers["input_mapping.weight"] + numbers["input_mapping.bias"]
    tau = np.logaddexp(0, numbers["tau"])
    rates = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh}
    total = -x.copy()
    for kind in ("recurrent", "sensory"):
        synapses = getattr(model.cell, kind)
        for k, (j, i) in enumerate(zip(synapses.source, synapses.target, strict=True)):
            weight = numbers[f"{kind}.weight"][k]
            rate = rates[model.cell.activation](x[j] + numbers["bias"][j]) if j < len(x) else None
            total[i] += weight * (u[j] if kind == "sensory" else rate)
    return total / tau


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("wiring", [AutoNCP(7, OUTPUTS), PARALLEL, FullyConnected(4, OUTPUTS)])
def test_the_derivative_is_the_published_equation(wiring, activation):
    model = CTRNN(INPUTS, wiring, activation=activation, dtype=torch.float64)
    rng = np.random.default_rng(0)
    u, x = rng.normal(size=INPUTS), rng.normal(size=model.state_size)
    mine = model.cell.dynamics(torch.from_numpy(u)[None]).derivative(torch.from_numpy(x)[None])
    expected = plain_derivative(model, u, x)
    assert_close(mine[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_jacobian_is_the_derivative(activation):
    model = CTRNN(INPUTS, PARALLEL, activation=activation, dtype=torch.float64)
    dynamics = model.cell.dynamics(torch.randn(3, INPUTS, dtype=torch.float64))
    x = torch.randn(3, 5, dtype=torch.float64)
    general = super(CTRNNDynamics, dynamics).jacobian(x)  # one backward pass a neuron
    assert_close(dynamics.jacobian(x), general, rtol=1e-12, atol=1e-12)
    assert dynamics.jacobian(x).requires_grad


def test_a_wrong_slope_does_not_pass():
    class Wrong(CTRNNDynamics):
        def slope(self, state):
            return self.rate(state)

    model = CTRNN(INPUTS, PARALLEL, dtype=torch.float64)
    sensed = model.cell.sense(torch.randn(3, 1, INPUTS, dtype=torch.float64))
    dynamics = Wrong(*sensed._replace(drive=sensed.drive[0]))
    x = torch.randn(3, 5, dtype=torch.float64)
    assert not torch.allclose(dynamics.jacobian(x), super(CTRNNDynamics, dynamics).jacobian(x))


def test_a_network_without_recurrence_relaxes_as_an_exponential():
    """tau x' = -x + I has the solution I + (x0 - I) exp(-t / tau)."""
    nothing = Wiring(1, {"motor": 2}, Synapses.empty(), Synapses([0, 0], [0, 1], [1, -1]))
    model = CTRNN(1, nothing, solver="exponential", dtype=torch.float64)
    u, start, elapsed = (
        torch.tensor([values], dtype=torch.float64) for values in ([0.7], [2.0, -1.0], [1.3])
    )
    dynamics = model.cell.dynamics(u)
    drive = 0.7 * model.cell.sensory.weight
    _, state = model(u.unsqueeze(0), start, elapsed)
    expected = drive + (start - drive) * torch.exp(-1.3 / dynamics.tau)
    assert_close(state, expected, rtol=1e-12, atol=1e-12)


BEER = [[5.422, -0.018, 2.75], [-0.24, 4.59, 1.21], [0.535, -2.25, 3.885]]  # [target, source]


@pytest.mark.parametrize("transposed", [False, True])
def test_the_chaotic_network_of_beer(transposed):
    """The chaotic three neurons of Beer 1995: an orbit that never settles.

    With the weights transposed it comes to rest: a mistaken direction of synapses would show.
    """
    matrix = torch.tensor(BEER, dtype=torch.float64)
    target, source = torch.arange(9) // 3, torch.arange(9) % 3
    weight = matrix.t() if transposed else matrix
    dynamics = CTRNNDynamics(
        tau=torch.tensor([1.0, 2.5, 1.0], dtype=torch.float64),
        bias=torch.tensor([-4.108, -2.787, -1.114], dtype=torch.float64),
        drive=torch.zeros(1, 3, dtype=torch.float64),
        recurrent=SynapticSum.of(weight.reshape(1, -1), source, target, 3, 3),
    )
    start = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    times = torch.arange(0, 300, 0.2, dtype=torch.float64)
    late = integrate(dynamics, start, times, solver="rk4")[len(times) // 2 :, 0, 0]
    spread = late.max() - late.min()
    assert spread < 1e-6 if transposed else spread > 5


# --- solvers -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", solver_names())
def test_every_solver_runs_and_learns(name):
    model = CTRNN(INPUTS, AutoNCP(7, OUTPUTS), solver=name, dtype=torch.float64)
    reference = CTRNN(
        INPUTS, AutoNCP(7, OUTPUTS), solver="rk4", ode_unfolds=50, dtype=torch.float64
    )
    reference.load_state_dict(model.state_dict())
    x = torch.randn(3, 2, INPUTS, dtype=torch.float64)
    timespans = 0.2 * torch.rand(3, 2, dtype=torch.float64)
    output, _ = model(x, timespans=timespans)
    # Six first-order steps of at most 1/30 each; the better solvers are far closer.
    assert_close(output, reference(x, timespans=timespans)[0], rtol=0, atol=0.02)
    output.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", ["semi_implicit", "exponential"])
def test_long_steps_stay_bounded(name):
    """|x_i| never exceeds max(|x_i(0)|, sum |w| + |I|): each step is a convex combination."""
    model = CTRNN(INPUTS, Random(9, 2, 0.5), solver=name, ode_unfolds=1, dtype=torch.float64)
    x = torch.randn(4, 30, INPUTS, dtype=torch.float64)
    _, _, states = model(x, timespans=torch.full((4, 30), 1e6), return_states=True)
    cell = model.cell
    bound = torch.stack(cell.sense(x).drive).abs().amax((0, 1))
    bound = bound.index_add(0, cell.recurrent.target, cell.recurrent.weight.abs())
    assert (states.abs() <= bound + 1e-12).all()


def test_solvers_agree_on_the_trajectory():
    cell = CTRNNCell(Random(6, 2, 0.3), INPUTS, dtype=torch.float64)
    dynamics = cell.dynamics(torch.randn(2, INPUTS, dtype=torch.float64))
    start = torch.randn(2, 6, dtype=torch.float64)
    times = torch.linspace(0, 2, 401, dtype=torch.float64)
    with torch.no_grad():
        runs = [integrate(dynamics, start, times, solver=s)[-1] for s in ("rk4", "rosenbrock")]
    # Third order with steps of 0.005: (0.005)^3 times derivatives of order ten.
    assert_close(runs[0], runs[1], rtol=0, atol=1e-5)


def test_unknown_solver_and_options():
    with pytest.raises(SolverError, match=r"semi_implicit.*rk4"):
        CTRNN(INPUTS, 4, solver="simplex")
    with pytest.raises(InputError, match=r"unknown activation 'relu', expected .*'sigmoid', 'tan"):
        CTRNN(INPUTS, 4, activation="relu")
    with pytest.raises(InputError, match="ode_unfolds must be an integer of at least 1, got 0"):
        CTRNN(INPUTS, 4, ode_unfolds=0)
    with pytest.raises(InputError, match="dtype must be a floating type"):
        CTRNN(INPUTS, 4, dtype=torch.int32)
    with pytest.raises(InputError, match="number of inputs is not known; pass in_features"):
        CTRNNCell(AutoNCP(9, 2))


def test_a_solve_that_blows_up_names_time_step_and_neuron():
    model = CTRNN(INPUTS, AutoNCP(7, OUTPUTS), solver="euler")
    with pytest.raises(SolveError, match=r"at time \d+.*step \d+ of 40.*sample 0, neuron '"):
        model(torch.ones(1, 40, INPUTS), timespans=torch.full((1, 40), 1e4))


# --- parameters and wiring ---------------------------------------------------------------


def test_only_synapses_that_exist_are_parameters():
    model = CTRNN(8, AutoNCP(16, 4))
    synapses = model.synapse_count + model.sensory_synapse_count
    assert sum(p.numel() for p in model.parameters()) == synapses + 2 * 16 + 2 * 8 + 2 * 4


@pytest.mark.parametrize("implicit", [True, False])
def test_initial_values(implicit):
    model = CTRNN(20, 30, implicit_param_constraints=implicit)
    tau = model.cell.dynamics(torch.zeros(1, 20)).tau
    low, high = INITIAL_TAU
    assert low - 1e-6 <= tau.min() <= tau.max() <= high + 1e-6
    assert tau.max() - tau.min() > 0.7 * (high - low)
    assert model.wiring == FullyConnected(30).build(20)
    # Centred: with all rates at one half, every neuron's input is minus its bias.
    half = torch.zeros(30).index_add(0, model.cell.recurrent.target, model.cell.recurrent.weight)
    assert_close(half / 2, -model.cell.bias)
    # There it rests when nothing comes in, and the output is zero.
    rest, nothing = -model.cell.bias.unsqueeze(0), torch.zeros(1, 1, 20)
    output, state = model(nothing, rest)
    assert_close(state, rest)
    assert_close(output, torch.zeros(1, 1, 30), rtol=0, atol=1e-5)
    assert not CTRNN(20, 30, activation="tanh").cell.bias.any()


def test_initial_weights_fill_their_bounds():
    """Fully connected: 30 synapses leave and 30 reach a neuron; 30 leave an input, 20 arrive."""
    model = CTRNN(20, 30)
    for synapses, bound in (
        (model.cell.recurrent, 2 * np.sqrt(6 / 60)),
        (model.cell.sensory, np.sqrt(6 / 50)),
    ):
        largest = synapses.weight.abs().max().item()
        assert 0.98 * bound < largest <= bound  # of 600 draws: missed once in 10**5 seeds


def test_wider_integers_of_a_state_are_narrowed():
    model, hollow = CTRNN(INPUTS, 5), CTRNN(INPUTS, 5, device="meta")
    connections = ("source", "target", "polarity")
    wide = {
        name: value.long() if name.endswith(connections) else value
        for name, value in model.state_dict().items()
    }
    hollow.load_state_dict(wide, assign=True)
    for name in connections:
        own = getattr(model.cell.recurrent, name)
        assert getattr(hollow.cell.recurrent, name).dtype == own.dtype


def test_time_constants_stay_positive_whatever_the_parameters():
    for implicit in (True, False):
        model = CTRNN(INPUTS, 6, implicit_param_constraints=implicit)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(10 * torch.randn_like(parameter))
        assert (model.cell.dynamics(torch.zeros(1, INPUTS)).tau > 0).all()
        assert torch.isfinite(model(torch.randn(2, 5, INPUTS))[0]).all()


def test_clipped_time_constants_recover_after_the_constraint_is_applied():
    model = CTRNN(INPUTS, 6, implicit_param_constraints=False)
    with torch.no_grad():
        model.cell.tau.fill_(-1)
    model(torch.randn(2, 5, INPUTS))[0].sum().backward()
    assert not model.cell.tau.grad.any()
    model.apply_weight_constraints()
    assert (model.cell.tau > 0).all()
    model.zero_grad()
    model(torch.randn(2, 5, INPUTS))[0].sum().backward()
    assert model.cell.tau.grad.any()


def test_the_wiring_shows_the_signs_of_the_weights():
    model = CTRNN(INPUTS, 6)
    before = model.wiring.adjacency()
    with torch.no_grad():
        model.cell.recurrent.weight.neg_()
    assert np.array_equal(model.wiring.adjacency(), -before)
    with torch.no_grad():
        model.cell.recurrent.weight.zero_()
    assert np.array_equal(model.wiring.adjacency(), before)


def test_line_widths_follow_the_order_of_the_wiring():
    model = CTRNN(INPUTS, PARALLEL)
    with torch.no_grad():
        model.cell.recurrent.weight[0] *= -1  # parallel to slot 1, which now comes after it
    widths = line_widths(model.cell.recurrent)
    weight = model.cell.recurrent.weight.detach().double()
    signed = widths * model.wiring.recurrent.polarity
    expected = sorted(zip(model.cell.recurrent.target.tolist(), weight.tolist(), strict=True))
    mine = sorted(zip(model.wiring.recurrent.target.tolist(), signed.tolist(), strict=True))
    assert mine == expected
    assert model.draw() is not None


def test_mixed_memory():
    model = CTRNN(INPUTS, AutoNCP(7, OUTPUTS), mixed_memory=True)
    x = torch.randn(4, 6, INPUTS)
    output, (h, c) = model(x)
    assert h.shape == c.shape == (4, 7)
    _, hx = model(x[:, :3])
    assert_close(model(x[:, 3:], hx)[0], output[:, 3:])


def test_cell_steps_make_the_sequence():
    model = CTRNN(INPUTS, AutoNCP(7, OUTPUTS))
    x, timespans = torch.randn(4, 6, INPUTS), torch.rand(4, 6)
    output, _ = model(x, timespans=timespans)
    state = torch.zeros(4, 7)
    for t in range(6):
        step, state = model.cell(x[:, t], state, timespans[:, t])
        assert_close(step, output[:, t])
    one, _ = model.cell(x[:, 0], torch.zeros(4, 7), 0.5)
    same, _ = model.cell(x[:, 0], torch.zeros(4, 7), torch.full((4, 1), 0.5))
    assert torch.equal(one, same)


@pytest.mark.parametrize(
    ("inputs", "states", "elapsed", "message"),
    [
        (torch.zeros(2, 1), torch.zeros(2, 7), 1.0, r"inputs has shape \(2, 1\), expected \(bat"),
        (torch.zeros(3), torch.zeros(7), 1.0, r"unsqueeze\(0\)"),
        (torch.zeros(2, 3), torch.zeros(2, 6), 1.0, r"states has shape \(2, 6\), expected \(batch"),
        (torch.zeros(2, 3), torch.zeros(3, 7), 1.0, "got 2 inputs and 3 states"),
        (torch.zeros(2, 3), torch.zeros(2, 7), -1.0, "elapsed_time holds -1.0 at batch 0"),
        (torch.zeros(2, 3), torch.zeros(2, 7), torch.ones(2, 7), "elapsed_time must be a number"),
        (torch.full((2, 3), torch.inf), torch.zeros(2, 7), 1.0, "inputs holds inf at batch 0, fea"),
        (torch.zeros(2, 3).cfloat(), torch.zeros(2, 7), 1.0, "inputs is torch.complex64"),
    ],
)
def test_wrong_input_of_a_cell(inputs, states, elapsed, message):
    cell = CTRNNCell(AutoNCP(7, OUTPUTS), in_features=INPUTS)
    with pytest.raises(InputError, match=message):
        cell(inputs, states, elapsed)


def test_a_saved_layer_comes_back(tmp_path):
    options = {"activation": "tanh", "solver": "rk4", "ode_unfolds": 2, "mixed_memory": True}
    model = CTRNN(INPUTS, AutoNCP(7, OUTPUTS), input_mapping=None, **options)
    with torch.no_grad():
        model.cell.recurrent.weight[1] *= -1
    save(model, tmp_path)
    again = load(tmp_path)
    x = torch.randn(2, 5, INPUTS)
    assert type(again) is CTRNN
    assert torch.equal(again(x)[0], model(x)[0])
    assert again.wiring == model.wiring


def test_training_into_a_run_folder(tmp_path):
    time = np.arange(24)
    waves = [
        Sequence(str(i), np.sin(time / 4 + i)[:, None], np.cos(time / 4 + i)[:, None], np.ones(24))
        for i in range(4)
    ]
    train, validation = cut_windows(waves[:3], 8), cut_windows(waves[3:], 8)
    config = TrainingConfig(
        steps=6,
        batch_size=4,
        window=8,
        evaluate_every=2,
        checkpoint_every=3,
        rewire=RewireConfig(enabled=False),
    )
    model = CTRNN(1, AutoNCP(7, 1))
    run = RunFolder.create(tmp_path / "run", model, {"training": "test"})
    fit(model, train, validation, config, run=run, progress=False)
    again = load_model(tmp_path / "run")
    x = torch.randn(2, 5, 1)
    assert type(again) is type(model)
    assert torch.equal(again(x)[0], model(x)[0])
