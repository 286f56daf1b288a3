"""The LTC layer: the conformance suite, and what is particular to it."""

import copy

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from torch.testing import assert_close

import elegans
from elegans.errors import InputError, SolveError, SolverError
from elegans.layers.sequence_layer import line_widths
from elegans.solvers import SemiImplicit, get_solver, solver_names
from elegans.synapses.initial import INITIAL_RANGES
from elegans.wiring import NCP, AutoNCP, FullyConnected, Random, Synapses, Wiring

PARALLEL = Wiring(
    INPUTS,
    {"motor": OUTPUTS, "inter": 3},
    Synapses([2, 2, 3, 4, 4, 0], [0, 0, 1, 3, 4, 1], [1, -1, 1, -1, 1, 1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)  # parallel synapses, a self-synapse, a neuron that gets no recurrent synapse


class TestLTC(LayerConformance):
    def make(self, **options):
        return elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), **options)


class TestFullyConnectedLTC(LayerConformance):
    def make(self, **options):
        return elegans.LTC(INPUTS, FullyConnected(5, OUTPUTS), **options)


class TestLTCWithParallelSynapses(LayerConformance):
    def make(self, **options):
        return elegans.LTC(INPUTS, PARALLEL, **options)


class TestLTCWithClippedParameters(LayerConformance):
    def make(self, **options):
        return elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), implicit_param_constraints=False, **options)


# --- the equation ------------------------------------------------------------------------


def plain_step(model, x, state, elapsed):
    """One sample through the published recurrence, neuron by neuron, in plain Python."""
    cell = model.cell
    softplus = np.logaddexp
    numbers = {name: p.detach().double().numpy() for name, p in cell.named_parameters()}
    capacitance, leak = softplus(0, numbers["cm"]), softplus(0, numbers["gleak"])
    u = x * numbers["input_mapping.weight"] + numbers["input_mapping.bias"]
    v = state.copy()
    for _ in range(cell.ode_unfolds):
        numerator = capacitance / (elapsed / cell.ode_unfolds) * v + leak * numbers["vleak"]
        denominator = capacitance / (elapsed / cell.ode_unfolds) + leak + cell.epsilon
        for kind, presynaptic in (("recurrent", v), ("sensory", u)):
            synapses = getattr(cell, kind)
            for k, (j, i) in enumerate(zip(synapses.source, synapses.target, strict=True)):
                gain, centre = numbers[f"{kind}.sigma"][k], numbers[f"{kind}.mu"][k]
                gate = 1 / (1 + np.exp(-gain * (presynaptic[j] - centre)))
                conductance = softplus(0, numbers[f"{kind}.weight"][k]) * gate
                numerator[i] += conductance * numbers[f"{kind}.erev"][k]
                denominator[i] += conductance
        v = numerator / denominator
    return v


@pytest.mark.parametrize("wiring", [AutoNCP(7, OUTPUTS), PARALLEL, FullyConnected(4, OUTPUTS)])
def test_the_step_is_the_published_recurrence(wiring):
    model = elegans.LTC(INPUTS, wiring, dtype=torch.float64)
    rng = np.random.default_rng(0)
    x, state = rng.normal(size=INPUTS), rng.normal(size=model.state_size)
    expected = plain_step(model, x, state, elapsed=0.7)
    _, mine = model(
        torch.from_numpy(x)[None], torch.from_numpy(state), torch.tensor([0.7], dtype=torch.float64)
    )
    assert_close(mine.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_epsilon_is_a_conductance_to_zero():
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), epsilon=0.5, dtype=torch.float64)
    without = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), epsilon=0.0, dtype=torch.float64)
    without.load_state_dict(model.state_dict())
    u = torch.randn(2, INPUTS, dtype=torch.float64)
    x = torch.randn(2, 7, dtype=torch.float64)
    leaky, plain = model.cell.dynamics(u), without.cell.dynamics(u)
    assert_close(leaky.derivative(x), plain.derivative(x) - 0.5 * x / plain.capacitance)


def test_jacobian_is_the_derivative():
    model = elegans.LTC(INPUTS, PARALLEL, dtype=torch.float64)
    dynamics = model.cell.dynamics(torch.randn(3, INPUTS, dtype=torch.float64))
    x = torch.randn(3, 5, dtype=torch.float64)
    each = [
        torch.autograd.functional.jacobian(lambda row, b=b: _row(dynamics, x, b, row), x[b])
        for b in range(3)
    ]
    assert_close(dynamics.jacobian(x), torch.stack(each), rtol=1e-12, atol=1e-12)


def _row(dynamics, x, b, row):
    states = torch.cat([x[:b], row[None], x[b + 1 :]])
    return dynamics.derivative(states)[b]


# --- solvers -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", solver_names())
def test_every_solver_runs_and_learns(name):
    torch.manual_seed(0)
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), solver=name, dtype=torch.float64)
    reference = elegans.LTC(
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


def test_solver_as_object_and_by_name_agree():
    model = elegans.LTC(INPUTS, 4, solver=SemiImplicit())
    other = elegans.LTC(INPUTS, 4)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, INPUTS)
    assert torch.equal(model(x)[0], other(x)[0])


def test_unknown_solver_lists_the_valid_ones():
    with pytest.raises(SolverError, match=r"semi_implicit.*rk4"):
        elegans.LTC(INPUTS, 4, solver="simplex")


def test_a_solve_that_blows_up_names_time_step_and_neuron():
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), solver="euler")
    with pytest.raises(SolveError, match=r"at time \d+.*step \d+ of 40.*sample 0, neuron '"):
        model(torch.ones(1, 40, INPUTS), timespans=torch.full((1, 40), 1e4))


@pytest.mark.parametrize("name", solver_names())
def test_what_is_advised_after_a_blow_up_is_another_solver_or_none(name):
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), solver=name)
    torch.nn.init.constant_(model.cell.vleak, float("nan"))
    with pytest.raises(SolveError, match=f"solver '{name}'") as raised:
        model(torch.ones(1, 2, INPUTS))
    advice = str(raised.value).rpartition("; ")[2]
    assert name not in advice
    is_stable = get_solver(name).is_stable
    assert ("learning rate" in advice, "choose '" in advice) == (is_stable, not is_stable)


# --- parameters --------------------------------------------------------------------------


def effective(model):
    cell = model.cell
    values = {
        "gleak": cell.recurrent.positivity(cell.gleak),
        "vleak": cell.vleak,
        "cm": cell.dynamics(torch.zeros(1, model.input_size)).capacitance,
    }
    for kind in ("recurrent", "sensory"):
        for name, value in getattr(cell, kind).values()._asdict().items():
            values[f"{kind}.{name}"] = value
    return {name: value.detach() for name, value in values.items()}


@pytest.mark.parametrize("implicit", [True, False])
def test_initial_values_lie_in_the_stated_ranges(implicit):
    model = elegans.LTC(20, 30, implicit_param_constraints=implicit)
    for name, value in effective(model).items():
        if name.rpartition(".")[2] in INITIAL_RANGES:
            low, high = INITIAL_RANGES[name.rpartition(".")[2]]
            assert low - 1e-6 <= value.min()
            assert value.max() <= high + 1e-6
            assert value.max() - value.min() > 0.7 * (high - low), name


def test_ncps_initialization_draws_before_the_softplus():
    model = elegans.LTC(20, 30, initialization="ncps")
    assert 0.001 <= model.cell.recurrent.weight.min() <= model.cell.recurrent.weight.max() <= 1
    assert effective(model)["recurrent.weight"].min() >= np.log(2)


def test_conductances_stay_positive_whatever_the_parameters():
    for implicit in (True, False):
        model = elegans.LTC(INPUTS, 6, implicit_param_constraints=implicit)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(10 * torch.randn_like(parameter))
        values = effective(model)
        assert all((values[name] >= 0).all() for name in values if name.endswith("weight"))
        assert (values["gleak"] >= 0).all()
        assert (values["cm"] > 0).all()
        assert torch.isfinite(model(torch.randn(2, 5, INPUTS))[0]).all()


def test_clipped_parameters_recover_after_the_constraint_is_applied():
    model = elegans.LTC(INPUTS, 6, implicit_param_constraints=False)
    with torch.no_grad():
        model.cell.recurrent.weight.fill_(-1)
        model.cell.cm.fill_(-1)
    model(torch.randn(2, 5, INPUTS))[0].sum().backward()
    assert not model.cell.recurrent.weight.grad.any()
    model.apply_weight_constraints()
    assert not model.cell.recurrent.weight.any()
    assert (model.cell.cm > 0).all()
    model.zero_grad()
    model(torch.randn(2, 5, INPUTS))[0].sum().backward()
    assert model.cell.recurrent.weight.grad.any()


def test_reversal_potentials_keep_their_sign():
    model = elegans.LTC(INPUTS, 6)
    polarity = model.cell.recurrent.polarity.clone()
    with torch.no_grad():
        model.cell.recurrent.erev.neg_()
    assert torch.equal(effective(model)["recurrent.erev"].sign(), polarity.float())
    assert np.array_equal(model.wiring.adjacency(), FullyConnected(6).build(INPUTS).adjacency())


def test_free_reversal_potentials_show_their_sign_in_the_wiring():
    model = elegans.LTC(INPUTS, 6, fixed_polarity=False)
    before = model.wiring.adjacency()
    with torch.no_grad():
        model.cell.recurrent.erev.neg_()
    assert np.array_equal(model.wiring.adjacency(), -before)


# --- the wiring --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "units",
    [
        5,
        AutoNCP(9, 2),
        NCP(5, 4, 2, 3, 2, 2, 2),
        Random(6, 3, 0.5),
        AutoNCP(9, 2).build(INPUTS),
    ],
    ids=lambda units: type(units).__name__,
)
def test_units_may_be_a_number_a_recipe_or_a_wiring(units):
    model = elegans.LTC(INPUTS, units)
    wiring = model.wiring
    assert model.state_size == wiring.units
    assert model.input_size == model.sensory_size == INPUTS
    assert model.output_size == model.motor_size == wiring.output_size
    assert model(torch.zeros(1, 2, INPUTS))[0].shape == (1, 2, model.output_size)


def test_wrong_units():
    with pytest.raises(InputError, match=r"made for 3 inputs, the layer has 4; build the wiring"):
        elegans.LTC(4, AutoNCP(9, 2).build(3))
    with pytest.raises(InputError, match=r"expected a number of units, a recipe .*, got 'many'"):
        elegans.LTC(4, "many")
    import ncps.wirings

    with pytest.raises(InputError, match=r"import AutoNCP from elegans.wiring in place of ncps"):
        elegans.LTC(4, ncps.wirings.AutoNCP(9, 2))
    with pytest.raises(InputError, match="number of inputs is not known; pass in_features"):
        elegans.LTCCell(AutoNCP(9, 2))
    assert elegans.LTCCell(AutoNCP(9, 2).build(3)).sensory_size == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ode_unfolds": 0}, "ode_unfolds must be an integer of at least 1, got 0"),
        ({"epsilon": -1.0}, "epsilon must be a finite number of at least 0, got -1.0"),
        ({"input_mapping": "quadratic"}, r"unknown mapping 'quadratic', expected one of"),
        ({"ode_unfolds": True}, "ode_unfolds must be an integer of at least 1, got True"),
        ({"epsilon": "small"}, "epsilon must be a finite number of at least 0, got 'small'"),
        ({"dtype": torch.int32}, "dtype must be a floating type such as torch.float32"),
        ({"initialization": "zeros"}, r"unknown initialization 'zeros', expected one of"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        elegans.LTC(INPUTS, 4, **options)


def test_a_state_of_another_wiring_brings_its_connections():
    first = elegans.LTC(INPUTS, Random(8, 2, 0.5, random_seed=1))
    second = elegans.LTC(INPUTS, Random(8, 2, 0.5, random_seed=2))
    assert first.wiring != second.wiring
    second.load_state_dict(first.state_dict())
    assert second.wiring == first.wiring
    x = torch.randn(2, 3, INPUTS)
    assert torch.equal(first(x)[0], second(x)[0])


def test_a_state_with_another_number_of_synapses_is_refused():
    first, second = elegans.LTC(INPUTS, Random(8, 2, 0.5)), elegans.LTC(INPUTS, Random(8, 2, 0.6))
    with pytest.raises(InputError, match=r"holds 32 synapses at 'cell.recurrent.', .* has 26"):
        second.load_state_dict(first.state_dict())


def test_the_picture_follows_the_parameters():
    model = elegans.LTC(INPUTS, AutoNCP(9, 2))
    axes = model.draw()
    assert axes.collections
    assert line_widths(model.cell.recurrent).shape == (model.synapse_count,)


# --- mixed memory ------------------------------------------------------------------------


def test_mixed_memory():
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), mixed_memory=True)
    x = torch.randn(4, 6, INPUTS)
    output, (h, c) = model(x)
    assert output.shape == (4, 6, OUTPUTS)
    assert h.shape == c.shape == (4, 7)
    first, hx = model(x[:, :3])
    second, _ = model(x[:, 3:], hx)
    assert_close(torch.cat([first, second], dim=1), output)
    with pytest.raises(
        InputError, match=r"must be a pair \(h, c\) with mixed memory .* one tensor"
    ):
        model(x, h)


def test_padding_leaves_the_memory_alone():
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS), mixed_memory=True)
    x = torch.randn(3, 6, INPUTS)
    _, (h, c) = model(x, lengths=torch.tensor([6, 2, 0]))
    _, (h2, c2) = model(x[1, :2])
    assert_close((h[1], c[1]), (h2, c2))
    assert not h[2].any()
    assert not c[2].any()


def test_memory_in_half_precision():
    model = elegans.LTC(INPUTS, 5, mixed_memory=True, dtype=torch.bfloat16)
    assert model(torch.randn(2, 3, INPUTS).bfloat16())[0].dtype == torch.bfloat16


def test_the_generator_draws_everything():
    state = torch.random.get_rng_state()
    first, second = (
        elegans.LTC(INPUTS, 5, mixed_memory=True, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_zero_elapsed_time_leaves_the_memory_alone():
    model = elegans.LTC(INPUTS, 5, mixed_memory=True)
    hx = (torch.randn(4, 5), torch.randn(4, 5))
    timespans = torch.ones(4, 6)
    timespans[2] = 0
    _, (h, c) = model(torch.randn(4, 6, INPUTS), hx, timespans)
    assert torch.equal(h[2], hx[0][2])
    assert torch.equal(c[2], hx[1][2])
    assert not torch.equal(h[1], hx[0][1])


def test_an_infinity_that_the_memory_would_squash_is_reported():
    model = elegans.LTC(INPUTS, Random(4, 2, 0.5), mixed_memory=True, solver="euler", ode_unfolds=1)
    with torch.no_grad():
        model.cell.cm.fill_(5.0)
        model.cell.cm[0] = -80.0
    timespans = torch.ones(1, 5)
    timespans[0, 2] = 1e38
    with pytest.raises(SolveError, match=r"got -?inf at .*step 3 of 5"):
        model(torch.randn(1, 5, INPUTS), timespans=timespans)


# --- the cell ----------------------------------------------------------------------------


def test_cell_steps_make_the_sequence():
    model = elegans.LTC(INPUTS, AutoNCP(7, OUTPUTS))
    x, timespans = torch.randn(4, 6, INPUTS), torch.rand(4, 6)
    output, _ = model(x, timespans=timespans)
    state = torch.zeros(4, 7)
    for t in range(6):
        step, state = model.cell(x[:, t], state, timespans[:, t])
        assert_close(step, output[:, t])
    assert (model.cell.output_size, model.cell.synapse_count) == (OUTPUTS, model.synapse_count)
    one, _ = model.cell(x[:, 0], torch.zeros(4, 7), 0.5)
    same, _ = model.cell(x[:, 0], torch.zeros(4, 7), torch.full((4, 1), 0.5))
    assert torch.equal(one, same)


@pytest.mark.parametrize(
    ("inputs", "states", "elapsed", "message"),
    [
        (
            torch.zeros(2, 1),
            torch.zeros(2, 7),
            1.0,
            r"inputs has shape \(2, 1\), expected \(batch, 3",
        ),
        (torch.zeros(3), torch.zeros(7), 1.0, r"unsqueeze\(0\)"),
        (torch.zeros(2, 3), torch.zeros(2, 6), 1.0, r"states has shape \(2, 6\), expected \(batch"),
        (torch.zeros(2, 3), torch.zeros(3, 7), 1.0, "got 2 inputs and 3 states"),
        (torch.zeros(2, 3), torch.zeros(2, 7), -1.0, "elapsed_time holds -1.0 at batch 0"),
        (torch.zeros(2, 3), torch.zeros(2, 7), float("nan"), "elapsed_time holds nan"),
        (torch.zeros(2, 3), torch.zeros(2, 7), torch.ones(2, 7), "elapsed_time must be a number"),
        (torch.full((2, 3), torch.inf), torch.zeros(2, 7), 1.0, "inputs holds inf at batch 0, fea"),
        (torch.zeros(2, 3).cfloat(), torch.zeros(2, 7), 1.0, "inputs is torch.complex64"),
    ],
)
def test_wrong_input_of_a_cell(inputs, states, elapsed, message):
    cell = elegans.LTCCell(AutoNCP(7, OUTPUTS), in_features=INPUTS)
    with pytest.raises(InputError, match=message):
        cell(inputs, states, elapsed)


def test_a_state_of_other_layers_is_refused():
    first = elegans.LTC(INPUTS, NCP(6, 4, 2, 2, 2, 2, 2))
    second = elegans.LTC(INPUTS, NCP(5, 5, 2, 2, 2, 2, 2))
    before = copy.deepcopy(second.state_dict())
    with pytest.raises(InputError, match=r"layers of \[2, 4, 6\] neurons, motor first"):
        second.load_state_dict(first.state_dict())
    for key, value in second.state_dict().items():
        assert torch.equal(value, before[key])
