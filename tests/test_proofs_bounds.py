"""Bounds of CT-RNN and CfC against sampled Jacobians, trajectories and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import diags_array, eye_array
from scipy.sparse.linalg import eigs

import elegans
from elegans.errors import InputError
from elegans.proofs import Certificate, ContractionBound, NotCertified, certify
from elegans.proofs.certificates import closed_forms, firing_rates, intervals
from elegans.proofs.certificates.leaky_steps import leaky_steps
from elegans.proofs.certificates.network import Box
from elegans.solvers import get_solver
from elegans.solvers.runge_kutta import ButcherTableau, RungeKutta
from elegans.synapses.plain import PlainStep
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

STEPPED = ("semi_implicit", "exponential", "exponential_midpoint", "euler", "midpoint", "rk4")
MODES = ("default", "pure", "no_gate")
ROUNDING = 1e-9


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def ctrnn(wiring, seed=0, strength=1.0, inputs=2, **options):
    model = elegans.CTRNN(inputs, wiring, generator=drawn(seed), dtype=torch.float64, **options)
    with torch.no_grad():
        model.cell.recurrent.weight.mul_(strength)
        model.cell.bias.add_(torch.randn(model.state_size, generator=drawn(seed + 1)))
    return model


def cfc(wiring, seed=0, strength=1.0, inputs=2, **options):
    model = elegans.CfC(inputs, wiring, generator=drawn(seed), dtype=torch.float64, **options)
    with torch.no_grad():
        if isinstance(wiring, int):
            model.cell.recurrent_map.weight.mul_(strength)
        else:
            for name, synapses in model.cell.synapse_sets().items():
                if name.endswith("recurrent"):
                    synapses.weight.mul_(strength)
    return model


def points(rng, box, count):
    """Return points within a box and on its corners and sides, (count, size)."""
    share = rng.uniform(size=(count, len(box.lo)))
    share[::3] = share[::3].round()
    share[1::3] = np.where(rng.uniform(size=share[1::3].shape) < 0.5, share[1::3], 1.0)
    if count > 1:
        share[0], share[1] = 0.0, 1.0
    return torch.from_numpy(box.lo + share * (box.hi - box.lo))


def unfold(model, inputs, states, length):
    """Return the states after one unfold, (batch, neuron); `length` is (batch, 1)."""
    cell = model.cell
    if hasattr(cell, "solver"):
        return cell.solver.step(cell.dynamics(inputs), states, length)
    return cell.step(cell.sense(inputs.unsqueeze(1)), 0, states, length)


def jacobians(function, states):
    """Return the derivatives of function(states) by states by autograd, (batch, out, in)."""
    states = states.clone().requires_grad_()
    after = function(states)
    rows = [
        torch.autograd.grad(after[:, i].sum(), states, retain_graph=True)[0]
        for i in range(after.shape[1])
    ]
    return torch.stack(rows, dim=1).numpy()


def largest_sampled(model, bound, count=600, seed=0):
    """Return the largest weighted norm of a sampled Jacobian of the step, over lengths."""
    rng, step = np.random.default_rng(seed), bound.step
    states, inputs = points(rng, bound.box, count), points(rng, bound.inputs, count)
    lengths = torch.from_numpy(rng.uniform(step.shortest, step.longest, (count, 1)))
    lengths[::4], lengths[1::4] = step.shortest, step.longest
    found = np.abs(jacobians(lambda x: unfold(model, inputs, x, lengths), states))
    assert_stays(model, bound, inputs, states, lengths)
    return float((found @ step.eta / step.eta).max(initial=0.0))


def assert_stays(model, bound, inputs, states, lengths):
    after = unfold(model, inputs, states, lengths).detach().numpy()
    assert (after >= bound.box.lo - ROUNDING).all()
    assert (after <= bound.box.hi + ROUNDING).all()


def assert_trajectories_approach(model, bound, steps=20, seed=0):
    rng, step = np.random.default_rng(seed), bound.step
    states = points(rng, bound.box, 64)
    eta, before = torch.from_numpy(step.eta), None
    for _ in range(steps):
        inputs = points(rng, bound.inputs, 1).expand(64, -1)
        length = torch.full((64, 1), rng.uniform(step.shortest, step.longest), dtype=torch.float64)
        states = unfold(model, inputs, states, length).detach()
        distance = ((states[:32] - states[32:]).abs() / eta).amax(-1)
        if before is not None:
            assert (distance <= step.kappa * before + ROUNDING).all()
        before = distance


# --- CT-RNN: closed forms ----------------------------------------------------------------


def scalar(weight, *, tau=2.0, bias=0.0, activation="tanh", **options):
    """Return one neuron of drive weight phi(x + bias), without inputs that reach it."""
    wiring = Wiring(1, {"motor": 1}, Synapses([0], [0], [1]), Synapses.empty())
    model = elegans.CTRNN(
        1,
        wiring,
        activation=activation,
        implicit_param_constraints=False,
        dtype=torch.float64,
        **options,
    )
    with torch.no_grad():
        model.cell.tau.fill_(tau)
        model.cell.bias.fill_(bias)
        model.cell.recurrent.weight.fill_(weight)
    return model


@pytest.mark.parametrize("weight", [-3.0, -0.5, 0.0, 0.5, 0.9])
def test_one_neuron_has_the_rate_of_its_closed_form(weight):
    bound = certify(scalar(weight), (-1, 1))
    radius = abs(weight)  # the box is no smaller than the range of tanh within it
    for _ in range(200):
        radius = abs(weight) * math.tanh(radius)
    slopes = 1 - math.tanh(radius) ** 2, 1.0
    assert bound.rate == pytest.approx(min(1 - weight * slope for slope in slopes) / 2, rel=0.05)
    assert bound.rate <= min(1 - weight * slope for slope in slopes) / 2


@pytest.mark.parametrize("weight", [-3.0, -1.0, -0.2])
def test_the_longest_euler_step_is_the_exact_threshold_of_a_scalar(weight):
    bound = certify(scalar(weight, solver="euler", ode_unfolds=1), (-1, 1), elapsed=0.1)
    # 1 - b (1 - w phi') is -1 at phi' = 1, in the middle of the box: a threshold, not a bound.
    exact = 2 * 2.0 / (1 + abs(weight))
    assert exact * (1 - 1e-5) <= bound.longest_step <= exact


def test_without_synapses_euler_contracts_up_to_two_time_constants():
    model = scalar(0.0, solver="euler", ode_unfolds=1)
    bound = certify(model, (-1, 1), elapsed=(0.5, 3.0))
    assert bound.longest_step == pytest.approx(4.0, rel=1e-5)
    assert bound.step.kappa == pytest.approx(0.75, rel=1e-9)  # 1 - 0.5 / 2, and |1 - 3 / 2| is less
    longer = certify(model, (-1, 1), elapsed=(0.5, 3.8))
    assert longer.step.kappa == pytest.approx(0.9, rel=1e-9)


def test_the_longest_rk4_step_of_a_leak_is_the_end_of_its_stability():
    bound = certify(scalar(0.0, solver="rk4", ode_unfolds=1), (-1, 1), elapsed=0.1)
    assert bound.longest_step / 2 == pytest.approx(2.785293563405282, rel=1e-5)


@pytest.mark.parametrize(
    ("solver", "factor"),
    [
        ("semi_implicit", lambda z, d: (1 + z * d) / (1 + z)),
        ("exponential", lambda z, d: math.exp(-z) + (1 - math.exp(-z)) * d),
        ("euler", lambda z, d: 1 - z + z * d),
    ],
)
def test_one_neuron_has_the_factor_of_its_closed_form(solver, factor):
    bound = certify(scalar(0.5, solver=solver, ode_unfolds=1), (-1, 1), elapsed=(0.5, 1.0))
    assert bound.step.kappa == pytest.approx(factor(0.25, 0.5), rel=1e-9)
    assert bound.step.kappa >= factor(0.25, 0.5)


def test_two_neurons_have_the_perron_root_of_their_ring():
    wiring = Wiring(1, {"motor": 2}, Synapses([0, 1], [1, 0], [1, 1]), Synapses.empty())
    model = elegans.CTRNN(
        1, wiring, activation="tanh", implicit_param_constraints=False, dtype=torch.float64
    )
    with torch.no_grad():
        model.cell.tau.copy_(torch.tensor([1.0, 3.0]))
        model.cell.bias.zero_()
        model.cell.recurrent.weight.copy_(torch.tensor([-2.0, 0.3]))
    matrix = np.array([[-1.0, 0.3], [2.0 / 3, -1.0 / 3]])
    exact = -np.linalg.eigvals(matrix).real.max()
    bound = certify(model, (-1, 1), rate_fraction=0.9999)
    assert 0.999 * exact <= bound.rate <= exact


# --- CT-RNN: sampled ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", STEPPED)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("elapsed", [0.5, (0.1, 2.0), (1e-3, 1e-3)])
def test_no_sampled_step_of_a_ctrnn_exceeds_its_factor(solver, activation, elapsed):
    model = ctrnn(AutoNCP(10, 2, seed=3), 5, 0.8, activation=activation, solver=solver)
    bound = certify(model, (-1, 1), elapsed=elapsed, advice=False)
    assert bound.step is not None
    assert largest_sampled(model, bound, 1500) <= bound.step.kappa
    assert_trajectories_approach(model, bound)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(0, 2**20),
    st.floats(0, 3),
    st.sampled_from(STEPPED),
    st.sampled_from(["sigmoid", "tanh"]),
    st.floats(0.01, 6.0),
    st.floats(1.0, 4.0),
)
def test_random_ctrnns_keep_what_is_proved(n, seed, strength, solver, activation, shortest, ratio):
    model = ctrnn(FullyConnected(n), seed, strength, activation=activation, solver=solver)
    elapsed = (shortest, ratio * shortest)
    bound = certify(model, (-2, 1), elapsed=elapsed, advice=False)
    if not bound:
        return
    rng = np.random.default_rng(seed)
    dynamics = model.cell.dynamics(points(rng, bound.inputs, 200))
    found = jacobians(dynamics.derivative, points(rng, bound.box, 200))
    own = np.einsum("bii->bi", found).copy()
    np.einsum("bii->bi", found)[:] = 0
    norm = (own + np.abs(found) @ bound.eta / bound.eta).max()
    assert norm <= -bound.rate + ROUNDING * abs(bound.rate)
    if bound.step is None:
        assert "not proved to contract" in bound.reason
        return
    assert largest_sampled(model, bound, 200, seed) <= bound.step.kappa + ROUNDING


def test_flow_and_longer_steps_stay_in_the_box():
    model = ctrnn(4, 1, 0.5, solver="euler", ode_unfolds=1)
    bound = certify(model, (-1, 1), elapsed=0.2)
    known = certify(model, (-1, 1), elapsed=(0.2, 0.999 * bound.longest_step))
    assert known.step is not None
    assert largest_sampled(model, known, 2000) <= known.step.kappa
    beyond = certify(model, (-1, 1), elapsed=(0.2, 1.01 * bound.longest_step))
    assert beyond.step is None
    assert beyond.rate > 0
    assert "more unfolds" in beyond.reason


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("solver", ["semi_implicit", "rk4"])
def test_states_come_to_the_box(strength, solver):
    model = ctrnn(AutoNCP(10, 2, seed=3), 2, strength, solver=solver)
    bound = certify(model, (-1, 1))
    state = 50 * torch.randn(20, 10, generator=drawn(0), dtype=torch.float64)
    rng = np.random.default_rng(0)
    for _ in range(60):
        inputs = points(rng, bound.inputs, 20)
        state = model.cell(inputs, state)[1].detach()
    outside = np.maximum(bound.box.lo - state.numpy(), state.numpy() - bound.box.hi).max()
    assert outside <= 1e-6


def test_the_stages_of_a_solver_are_its_steps():
    """Each solver, run on a leak with a drive that changes with its stages."""

    class Euler3(RungeKutta):
        name = "euler3"
        tableau = ButcherTableau((0, 1), ((), (1,)), (0.5, 0.5), order=2)

    z = np.array([0.0, 0.3, 1.7, 4.0])
    for solver in (*map(get_solver, STEPPED), Euler3()):
        steps = leaky_steps(solver)
        state = torch.tensor([[0.4, -1.0, 2.0, 0.1]], dtype=torch.float64)
        model = ctrnn(4, 0, activation="tanh", solver="euler")
        dynamics = model.cell.dynamics(torch.zeros(1, 2, dtype=torch.float64))
        h = torch.from_numpy(z) * dynamics.tau
        expected = solver.step(dynamics, state, h[None]).detach().numpy()[0]
        states, drives = [], []
        for keep, takes in [(s.keep, s.takes) for s in (*steps.stages, steps.end)]:
            low, high = keep(z, z)
            assert high - low == pytest.approx(0, abs=1e-9)
            value = low * state.numpy()[0]
            for take, drive in zip(takes, drives, strict=True):
                value = value + take(z, z)[0] * drive
            states.append(value)
            arrived = dynamics.conductance_and_drive(torch.from_numpy(value)[None])[1]
            drives.append(arrived.detach().numpy()[0])
        assert states[-1] == pytest.approx(expected, abs=1e-9)


def test_coefficients_are_enclosed_between_the_ends():
    low, high = np.array([0.0, 0.2, 1.0]), np.array([3.0, 0.4, 2.9])
    grid = np.linspace(low, high, 400)
    for name in STEPPED:
        for stage in (*(steps := leaky_steps(get_solver(name))).stages, steps.end):
            for coefficient in (stage.keep, *stage.takes):
                least, most = coefficient(low, high)
                values = np.stack([coefficient(z, z)[1] for z in grid])
                assert (values <= most + 1e-9).all()
                assert (values >= least - 1e-9).all()
                assert (most - values.max(axis=0)).max() <= 1e-4  # and no wider than they need be


def test_a_solver_whose_step_is_not_known_leaves_the_flow():
    for solver in ("rosenbrock", "dopri5"):
        bound = certify(ctrnn(3, 1, 0.3, solver=solver), (-1, 1))
        assert bound.rate > 0
        assert (bound.step, bound.kappa) == (None, None)
        assert solver in bound.reason
        assert "differential equation only" in repr(bound)


def test_large_sparse_networks_take_no_dense_matrix():
    rng, n = np.random.default_rng(0), 3000
    source, target = rng.integers(0, n, (2, 5 * n))
    wiring = Wiring(
        2,
        {"motor": n},
        Synapses(source, target, np.where(rng.uniform(size=5 * n) < 0.5, -1, 1)),
        Synapses(np.zeros(n, int), np.arange(n), np.ones(n, int)),
    )
    model = ctrnn(wiring, 0, 0.5, activation="tanh")
    bound = certify(model, (-1, 1), advice=False)
    network = firing_rates.RateNetwork.of(model.cell.plain_step(), bound.inputs)
    steepest = network.slope(bound.box)[1]
    coupling = abs(network.weight) @ diags_array(steepest) - eye_array(n)
    best = -eigs(diags_array(1 / network.tau) @ coupling, k=1, which="LR")[0].real[0]
    assert 0.98 * best <= bound.rate <= best * (1 + 1e-6)
    # A semi-implicit step slows a time constant of 0.5 down by 1 + 1/3.
    assert 0.74 * bound.rate / 6 <= 1 - bound.kappa <= bound.rate / 6


# --- CfC ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "wiring", [1, 4, AutoNCP(9, 2, seed=2), FullyConnected(3)], ids=["one", "dense", "ncp", "full"]
)
@pytest.mark.parametrize("elapsed", [1.0, (0.3, 2.0), (1e-3, 50.0)])
def test_no_sampled_step_of_a_cfc_exceeds_its_factor(mode, wiring, elapsed):
    model = cfc(wiring, 3, 0.3, mode=mode)
    bound = certify(model, (-1, 1), elapsed=elapsed, advice=False)
    if not bound:  # the slope of the time gate grows with the time
        assert bound.rate <= 0
        assert elapsed == (1e-3, 50.0)
        assert mode != "pure"
        return
    assert bound.rate is None
    assert largest_sampled(model, bound, 1200) <= bound.step.kappa
    assert_trajectories_approach(model, bound)


@pytest.mark.parametrize("activation", ["lecun_tanh", "silu", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_every_backbone_is_bounded(activation, layers):
    model = cfc(3, 1, 0.05, activation=activation, backbone_layers=layers, backbone_units=8)
    bound = certify(model, (-1, 1), elapsed=(0.5, 1.5))
    assert largest_sampled(model, bound, 1500) <= bound.step.kappa


def test_the_gates_of_ncps_connections_are_bounded():
    model = cfc(AutoNCP(9, 2, seed=2), 1, 0.2, ncps_connections=True)
    bound = certify(model, (-1, 1))
    assert largest_sampled(model, bound, 1500) <= bound.step.kappa


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(0, 2**20),
    st.floats(0, 2),
    st.sampled_from(MODES),
    st.booleans(),
    st.floats(0.01, 5.0),
    st.floats(1.0, 3.0),
)
def test_random_cfcs_keep_what_is_proved(n, seed, strength, mode, wired, shortest, ratio):
    options = {} if wired else {"backbone_units": 6}
    model = cfc(FullyConnected(n) if wired else n, seed, strength, mode=mode, **options)
    step = model.cell.plain_step()
    kind = closed_forms.WiredNetwork if wired else closed_forms.DenseNetwork
    inputs = Box(np.array([-2.0, -2.0]), np.array([1.0, 1.0]))
    network, lengths = kind.of(step, inputs), (shortest, ratio * shortest)
    times = closed_forms.times_of(lengths)
    box = network.box(times)
    bound = network.bound(box, times)
    # Whether or not it is below 1, in any weights.
    rng = np.random.default_rng(seed)
    eta = np.exp(rng.normal(size=n))
    states, given_ = points(rng, box, 100), points(rng, inputs, 100)
    length = torch.from_numpy(rng.uniform(*lengths, (100, 1)))
    found = np.abs(jacobians(lambda x: unfold(model, given_, x, length), states))
    assert (found @ eta <= bound.apply(eta) + ROUNDING).all()
    after = unfold(model, given_, states, length).detach().numpy()
    assert (after >= box.lo - ROUNDING).all()
    assert (after <= box.hi + ROUNDING).all()


def test_one_step_leads_into_the_first_box_from_anywhere():
    for mode in MODES:
        model = cfc(3, 1, 5.0, mode=mode)
        network = closed_forms.DenseNetwork.of(
            model.cell.plain_step(), Box(np.full(2, -1.0), np.full(2, 1.0))
        )
        box = network.closing.first_box(3, 0.25)
        states = 100 * torch.randn(500, 3, generator=drawn(2), dtype=torch.float64)
        inputs = torch.randn(500, 2, generator=drawn(3), dtype=torch.float64)
        length = 0.25 + torch.rand(500, 1, generator=drawn(4), dtype=torch.float64)
        after = unfold(model, inputs, states, length).detach().numpy()
        assert (after >= box.lo).all()
        assert (after <= box.hi).all()


def test_one_neuron_of_a_cfc_has_its_closed_form():
    """f = w x alone, of a gate that is shut: x+ = tanh(w x), steepest at 0."""
    model = cfc(FullyConnected(1), 0, 0.0, inputs=1)
    cell = model.cell
    with torch.no_grad():
        for synapses in cell.synapse_sets().values():
            synapses.weight.zero_()
        cell.bias.zero_()
        cell.bias[3] = -60.0
        cell.synapse_sets()["recurrent"].weight[0] = 0.75
    bound = certify(model, (-1, 1))
    assert bound.step.kappa == pytest.approx(0.75, rel=1e-9)
    assert bound.step.kappa >= 0.75


@pytest.mark.parametrize("name", sorted(intervals.ACTIVATIONS))
def test_ranges_of_activations_hold_all_values(name):
    from elegans.cfc.backbone import ACTIVATIONS

    rng = np.random.default_rng(0)
    ends = np.sort(rng.normal(size=(2, 500)) * rng.choice([0.1, 1, 4], 500), axis=0)
    ends[:, 0] = 0.0  # a point, at relu's corner
    ends[:, 1] = [-100.0, 100.0]
    x = torch.from_numpy(np.linspace(*ends, 300))
    truth = ACTIVATIONS[name]
    for ours, theirs in zip(intervals.ACTIVATIONS[name], (truth.value, truth.slope), strict=True):
        span, values = ours(intervals.Span(*ends)), theirs(x).numpy()
        assert (values >= span.lo).all()
        assert (values <= span.hi).all()
        if name != "relu":
            assert (span.hi - values.max(axis=0))[2:].max() <= 2e-3


# --- degenerate --------------------------------------------------------------------------


@pytest.mark.parametrize("solver", STEPPED)
def test_a_ctrnn_without_any_synapse_follows_its_leak(solver):
    empty = Wiring(3, {"motor": 2}, Synapses.empty(), Synapses.empty())
    model = ctrnn(empty, inputs=3, solver=solver, ode_unfolds=1)
    bound = certify(model, (-1, 1), elapsed=0.1)
    slowest = float(model.cell.time_constants()[0].max())
    assert bound.rate == pytest.approx(1 / slowest, rel=1e-6)
    if solver == "exponential":
        assert bound.kappa == pytest.approx(math.exp(-0.1 / slowest), rel=1e-6)


def test_a_cfc_that_reads_no_state_forgets_it_at_once():
    for wiring in (2, FullyConnected(2)):
        bound = certify(cfc(wiring, 0, 0.0), (-1, 1))
        assert 0 < bound.kappa < 1e-9
        assert bound.step.rate > 20


def test_an_input_that_cannot_vary_is_a_range():
    for model in (ctrnn(3, 0, 0.3), cfc(3, 0, 0.1)):
        bound = certify(model, (0.5, 0.5))
        assert largest_sampled(model, bound) <= bound.kappa


def test_parallel_synapses_count_by_their_sum():
    wiring = Wiring(1, {"motor": 2}, Synapses([0, 0], [1, 1], [1, -1]), Synapses.empty())
    model = ctrnn(wiring, inputs=1)
    with torch.no_grad():
        model.cell.recurrent.weight.copy_(torch.tensor([50.0, -50.0]))
    slowest = float(model.cell.time_constants()[0].max())
    assert certify(model, (-1, 1)).rate == pytest.approx(1 / slowest, rel=1e-6)


@pytest.mark.parametrize("elapsed", [0.0, -1.0, (0.0, 1.0), (2.0, 1.0), math.inf])
def test_a_step_lasts_some_time(elapsed):
    for model in (ctrnn(2), cfc(2)):
        with pytest.raises(InputError, match="got elapsed="):
            certify(model, (-1, 1), elapsed=elapsed)


# --- what it is, and refusals ------------------------------------------------------------


def test_a_bound_says_what_it_is(tmp_path):
    flow, step = certify(ctrnn(3, 0, 0.3), (-1, 1)), certify(cfc(3, 0, 0.1), (-1, 1))
    for bound in (flow, step):
        assert isinstance(bound, ContractionBound)
        assert not isinstance(bound, Certificate)
        assert bool(bound)
        assert bound.level == "float"
        assert bound.covers_step
        with pytest.raises(InputError, match="the verifier's file has liquid synapses only"):
            bound.save(tmp_path / "c.json")
        assert not list(tmp_path.iterdir())
        assert bound.to_dict()["kappa"] == bound.kappa
        assert "float" in bound._repr_html_()
    assert flow.scope == ""
    assert step.rate is None
    assert "of the step" in repr(step)


def test_a_bound_is_about_the_weights_as_they_were():
    for model in (ctrnn(3, 0, 0.3), cfc(3, 0, 0.1), cfc(AutoNCP(9, 2, seed=2), 1, 0.1)):
        bound = certify(model, (-1, 1))
        assert bound.matches(model)
        assert bound.matches(model.cell)
        with torch.no_grad():
            next(model.cell.parameters()).add_(1e-9)
        assert not bound.matches(model)


@pytest.mark.parametrize("kind", [elegans.CTRNN, elegans.CfC])
def test_mixed_memory_is_excluded_with_the_reason(kind):
    model = kind(2, 3, mixed_memory=True)
    with pytest.raises(InputError, match=r"mixed memory.*changes the state between the steps"):
        certify(model, (-1, 1))


@pytest.mark.parametrize("level", ["exact", "interval"])
def test_levels_that_are_not_given_are_refused(level):
    with pytest.raises(InputError, match=f"got level='{level}' for CTRNNCell"):
        certify(ctrnn(2), (-1, 1), level)


def test_what_may_run_otherwise_is_refused():
    model = cfc(2, backbone_dropout=0.5)
    with pytest.raises(InputError, match=r"model\.eval\(\)"):
        certify(model, (-1, 1))
    model.eval()
    certify(model, (-1, 1))
    handle = model.cell.maps.register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="got a hook or a parametrization on the module 'maps'"):
        certify(model, (-1, 1))
    handle.remove()
    with torch.no_grad():
        model.cell.maps.bias[0] = math.nan
    with pytest.raises(InputError, match=r"got nan as bias of map 1 at position \(0,\)"):
        certify(model, (-1, 1))

    class Louder(elegans.ctrnn.CTRNNCell):
        def step(self, *args):
            return 2 * super().step(*args)

    with pytest.raises(InputError, match="got Louder, which inherits `plain_step`"):
        certify(Louder(2, 2), (-1, 1))


@pytest.mark.parametrize("model", [ctrnn(4, 1, 20.0, activation="tanh"), cfc(4, 1, 20.0)])
def test_a_refusal_names_the_worst_row_and_what_would_do(model):
    refused = certify(model, (-1, 1))
    assert isinstance(refused, NotCertified)
    assert refused.rate <= 0
    assert 0 <= refused.binding < 4
    assert refused.binding_synapses
    scale = float(str(refused).split("scaled by ")[1].split()[0])
    weight = model.cell.recurrent if hasattr(model.cell, "recurrent") else model.cell.recurrent_map
    with torch.no_grad():
        weight.weight.mul_(scale)
    assert certify(model, (-1, 1))
    assert not certify(model, (-1, 1), advice=False).reason


def test_a_bound_that_is_too_small_fails_the_samples():
    """The broken model of these tests: slopes that are taken to be a tenth smaller."""
    model = ctrnn(3, 1, 0.4, activation="tanh")
    bound = certify(model, (-1, 1))
    slope = firing_rates.RateNetwork._slope
    try:
        firing_rates.RateNetwork._slope = lambda self, x: 0.5 * slope(self, x)
        wrong = certify(model, (-1, 1))
    finally:
        firing_rates.RateNetwork._slope = slope
    assert largest_sampled(model, bound, 4000) <= bound.kappa
    assert largest_sampled(model, wrong, 4000) > wrong.kappa


def test_plain_steps_of_other_equations_are_not_taken():
    from elegans.proofs.certificates.bound import EQUATIONS

    assert "liquid" not in EQUATIONS
    assert isinstance(ctrnn(1).cell.plain_step(), PlainStep)
