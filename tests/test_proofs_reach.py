"""Reach tubes of circuits: every trajectory is inside, and there is little room beside them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import SEEDS, changing_inputs, model_of, points, random_inputs, random_network

import elegans
from elegans.errors import InputError
from elegans.proofs import Network, reach_tube
from elegans.proofs.certificates.boxes import hull, target_range
from elegans.proofs.certificates.gates import GateRanges, sigmoid
from elegans.proofs.certificates.network import Box, SynapseNumbers
from elegans.proofs.certificates.stepping import SOLVERS
from elegans.proofs.reach import unfolds
from elegans.proofs.reach.affine import AffineSet
from elegans.proofs.reach.unfolds import sigmoid_line

DEMO = Path(__file__).parent / "demo_run"


def run(model, x0, inputs, elapsed=1.0):
    """Return states (batch, step + 1, neuron) of inputs (time, batch, input)."""
    dtype = next(model.parameters()).dtype
    u, x0 = (torch.as_tensor(v).to(dtype) for v in (inputs, x0))
    time = torch.as_tensor(np.broadcast_to(elapsed, len(inputs)).copy()).to(dtype)
    with torch.no_grad():
        model.batch_first = True
        _, _, states = model(u.transpose(0, 1), x0, time.expand(len(x0), -1), return_states=True)
    return torch.cat([x0[:, None], states], 1).numpy()


def starts(rng, size, width):
    lo = rng.normal(0, 0.7, size)
    return Box(lo, lo + width * rng.random(size) * (rng.random(size) < 0.9))


# --- soundness ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@given(
    seed=SEEDS,
    log_width=st.floats(-4, 0.7),
    elapsed=st.sampled_from([0.0, 0.02, 0.3, 2.0]),
    order=st.sampled_from([1, 3, 20]),
)
@settings(max_examples=15, deadline=None)
def test_no_trajectory_leaves_the_tube(solver, seed, log_width, elapsed, order):
    network = random_network(seed, inputs=1 + seed % 3)
    model = model_of(network, solver=solver, ode_unfolds=1 + seed % 3)
    rng = np.random.default_rng(seed)
    box, inputs = starts(rng, len(network), 10**log_width), Box(*random_inputs(seed, network))
    tube = reach_tube(model, states=box, inputs=inputs, steps=12, elapsed=elapsed, order=order)
    found = run(
        model,
        points(rng, box, 500),
        changing_inputs(rng, inputs, 500, 12, held=1 + seed % 4),
        elapsed,
    )
    assert tube.contains(found)
    outputs = found[:, 1:, :1]  # the identity map of one motor neuron
    assert (tube.outputs.lo <= outputs).all()
    assert (outputs <= tube.outputs.hi).all()


@pytest.mark.parametrize("seed", range(4))
def test_tubes_of_inputs_and_irregular_times(seed):
    network = random_network(seed, units=4, inputs=2)
    model, rng = model_of(network), np.random.default_rng(seed)
    lo = rng.normal(size=(15, 2))
    hi = lo + 0.3 * rng.random((15, 2))
    elapsed = rng.choice([0.0, 0.1, 1.0, 5.0], 15)
    tube = reach_tube(model, states=(-0.2, 0.3), inputs=(lo, hi), elapsed=elapsed)
    box = Box(np.full(4, -0.2), np.full(4, 0.3))
    share = rng.choice([0.0, 1.0, 0.4], (15, 800, 2))
    found = run(model, points(rng, box, 800), lo[:, None] + share * (hi - lo)[:, None], elapsed)
    assert len(tube) == 15
    assert tube.contains(found)
    np.testing.assert_array_equal(tube.times[1:], np.cumsum(elapsed))
    assert not tube.contains(found + 1.0)


def test_single_precision_stays_within_its_rounding():
    model = elegans.load(DEMO)
    rng = np.random.default_rng(0)
    box = Box(np.full(20, -0.5), np.full(20, 0.5))
    inputs = Box(np.full(model.input_size, -1.0), np.full(model.input_size, 1.0))
    tube = reach_tube(model, states=box, inputs=inputs, steps=40)
    found = run(model, points(rng, box, 2000), changing_inputs(rng, inputs, 2000, 40))
    beyond = max((tube.lo - found).max(), (found - tube.hi).max())
    assert beyond <= 1e-6 * np.abs(found).max()


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_the_errors_of_lines_trajectories_leave(solver, monkeypatch):
    def careless(lo, hi):
        slope, shift, error = sigmoid_line(lo, hi)
        return slope, shift, 0 * error

    def unboxed(centre, generators, error, box):
        return exact(centre, generators, error, Box(0 * box.lo - 1e9, 0 * box.hi + 1e9))

    exact = AffineSet.of
    monkeypatch.setattr(AffineSet, "of", unboxed)
    # One neuron that hears one input, in a short step: all else is of second order.
    one = SynapseNumbers(*(np.array([v]) for v in (0, 0, 0.5, 5.0, 0.0, 1.0)))
    numbers = (np.array([v]) for v in (1.0, 0.1, 0.0))
    network = Network(*numbers, 0.0, one.take(np.zeros(1, bool)), one, np.ones(1), np.zeros(1))
    model = model_of(network, solver=solver, ode_unfolds=1)
    u = np.linspace(0, 1, 201)[None, :, None]
    found = run(model, np.zeros((201, 1)), u, 0.01)
    ask = {"states": (0.0, 0.0), "inputs": (0.0, 1.0), "steps": 1, "elapsed": 0.01}
    assert reach_tube(model, **ask).contains(found)
    monkeypatch.setattr(unfolds, "sigmoid_line", careless)
    assert not reach_tube(model, **ask).contains(found)


# --- tightness ---------------------------------------------------------------------------


def spread(states):
    return states.max(axis=0) - states.min(axis=0)


def test_one_neuron_has_the_hull_of_its_corners():
    """x+ = (c x + g V + w sigma E) / (c + g + w sigma) grows with x and with sigma where x < E."""
    one = SynapseNumbers(*(np.array([v]) for v in (0, 0, 0.8, 3.0, 0.2, 1.0)))
    none = one.take(np.zeros(1, bool))
    numbers = (np.array([v]) for v in (0.6, 0.3, 0.1))
    network = Network(*numbers, 0.0, none, one, np.ones(1), np.zeros(1))
    tube = reach_tube(network, states=(0.0, 0.5), inputs=(-0.5, 0.7), steps=25, elapsed=0.1)
    for end, x, u in ((tube.lo, 0.0, -0.5), (tube.hi, 0.5, 0.7)):
        gate = 0.8 / (1 + np.exp(-3.0 * (u - 0.2)))
        for t in range(26):
            assert end[t, 0] == pytest.approx(x, abs=1e-9)
            x = (6.0 * x + 0.03 + gate * 1.0) / (6.0 + 0.3 + gate)


@pytest.mark.parametrize("seed", range(8))
def test_one_unfold_is_no_wider_than_the_exact_range_of_boxes(seed):
    network = random_network(seed, units=4, inputs=2, own=False)
    rng = np.random.default_rng(seed)
    box, inputs = starts(rng, 4, 1.0), Box(*random_inputs(seed, network))
    tube = reach_tube(network, states=box, inputs=inputs, steps=1, elapsed=1e9)
    gates = GateRanges.over(network, box, network.range_of(inputs))
    target = target_range(network, gates)  # a step without end leads to the target
    assert (tube.lo[1] >= target.lo - 1e-6).all()
    assert (tube.hi[1] <= target.hi + 1e-6).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_small_tubes_are_nearly_those_of_the_linear_map(solver):
    """About a trajectory, the exact width is that of products of Jacobians: ratios tend to 1."""
    worst = []
    for seed in range(6):
        network = random_network(seed, units=5, inputs=1)
        model, rng = model_of(network, solver=solver, ode_unfolds=2), np.random.default_rng(seed)
        x0 = rng.normal(0, 0.5, 5)
        box = Box(x0 - 1e-4, x0 + 1e-4)
        tube = reach_tube(model, states=box, inputs=(0.3, 0.3), steps=20, elapsed=0.2)
        corners = np.array(np.meshgrid(*zip(*box, strict=True))).reshape(5, -1).T
        found = run(model, corners, np.full((20, len(corners), 1), 0.3), 0.2)
        assert tube.contains(found)
        worst.append((tube.width[-1] / np.maximum(spread(found)[-1], 1e-9)).max())
    assert max(worst) < 1.02


def test_the_demo_has_tubes_near_what_is_sampled():
    model = elegans.load(DEMO).double()
    rng = np.random.default_rng(0)
    inputs = Box(np.full(model.input_size, -0.1), np.full(model.input_size, 0.1))
    box = Box(np.full(20, -0.1), np.full(20, 0.1))
    tube = reach_tube(model, states=box, inputs=inputs, steps=60)
    held = changing_inputs(rng, inputs, 3000, 60, held=60)
    found = run(model, points(rng, box, 3000), held)
    assert tube.contains(found)
    ratio = tube.width[1:] / np.maximum(spread(found)[1:], 1e-9)
    assert np.median(ratio) < 1.01
    assert ratio.max() < 8


def test_symbols_hold_what_boxes_lose():
    """With one symbol a neuron a set is a box again after each step."""
    rng = np.random.default_rng(0)
    network = random_network(3, units=6, inputs=1, gain=2.0)
    box = Box(np.full(6, -0.01), np.full(6, 0.01))
    model = model_of(network, ode_unfolds=1)
    tube = reach_tube(model, states=box, inputs=(0.0, 0.0), steps=30, elapsed=0.3)
    coarse = reach_tube(model, states=box, inputs=(0.0, 0.0), steps=30, elapsed=0.3, order=1)
    found = run(model, points(rng, box, 2000), np.zeros((30, 2000, 1)), 0.3)
    assert tube.contains(found)
    assert coarse.contains(found)
    assert tube.width[-1].sum() < 0.85 * coarse.width[-1].sum()


# --- edges -------------------------------------------------------------------------------


def test_no_step_and_no_width():
    model = elegans.LTC(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    none = reach_tube(model, states=(-1, 1), inputs=(-1, 1), steps=0)
    assert len(none) == 0
    assert bool(none)
    assert none.outputs.lo.shape == (0, 5)
    np.testing.assert_array_equal(none.lo, np.full((1, 5), -1.0))
    x0, u = np.linspace(-1, 1, 5), np.full((30, 1, 2), 0.4)
    point = reach_tube(model, states=(x0, x0), inputs=(u[:, 0], u[:, 0]))
    assert point.contains(run(model, x0[None], u))
    assert point.width.max() < 1e-9
    still = reach_tube(model, states=(0.0, 1.0), inputs=(-1, 1), steps=3, elapsed=0.0)
    np.testing.assert_array_equal(still.lo, np.zeros((4, 5)))
    np.testing.assert_array_equal(still.hi, np.ones((4, 5)))


def test_from_outside_the_hull_it_comes_in():
    model = elegans.LTC(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outside, rng = Box(np.full(6, 5.0), np.full(6, 6.0)), np.random.default_rng(0)
    tube = reach_tube(model, states=outside, inputs=(-1, 1), steps=40)
    inputs = Box(np.full(2, -1.0), np.full(2, 1.0))
    assert tube.contains(
        run(model, points(rng, outside, 500), changing_inputs(rng, inputs, 500, 40))
    )
    kept = hull(Network.of(model))
    assert (tube.hi[-1] <= kept.hi + 1e-3).all()


def test_a_certified_box_is_not_left():
    wiring = elegans.wiring.AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    model = elegans.LTC(4, wiring, generator=torch.Generator().manual_seed(0))
    certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    box = certificate.box
    tube = reach_tube(model, states=box, inputs=(-1, 1), steps=20)
    room = 1e-9 * (1 + np.abs(box.lo) + np.abs(box.hi))
    assert (tube.lo >= box.lo - room).all()
    assert (tube.hi <= box.hi + room).all()


def test_a_readout_is_read_together():
    """The outputs are narrower than what the box of the neurons would allow."""
    layer = elegans.LTC(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = elegans.Readout(layer, 2, generator=torch.Generator().manual_seed(1))
    tube = reach_tube(model, states=(-0.1, 0.1), inputs=(0, 0), steps=5)
    rng = np.random.default_rng(0)
    box = Box(np.full(6, -0.1), np.full(6, 0.1))
    found = run(layer, points(rng, box, 1000), np.zeros((5, 1000, 1)))
    weight, bias = (p.detach().numpy() for p in (model.head.weight, model.head.bias))
    outputs = found[:, 1:] @ weight.T + bias
    assert (tube.outputs.lo <= outputs).all()
    assert (outputs <= tube.outputs.hi).all()
    assert (tube.outputs.width[-1] < 0.9 * np.abs(weight) @ tube.width[-1]).all()


def test_an_explicit_step_that_is_too_long_is_not_bounded():
    network = random_network(1, units=4, inputs=1)
    tube = reach_tube(
        model_of(network, solver="euler", ode_unfolds=1),
        states=(-1e3, 1e3),
        inputs=(-1, 1),
        steps=400,
        elapsed=1e3,
    )
    assert not tube
    assert tube.lo.shape == (401, 4)
    assert tube.outputs.lo.shape == (400, 1)
    assert np.isneginf(tube.lo[-1]).all()


@given(seed=SEEDS, log_width=st.floats(-12, 3))
@settings(max_examples=50, deadline=None)
def test_lines_hold_the_gate(seed, log_width):
    rng = np.random.default_rng(seed)
    lo = rng.normal(0, 10, 20) * rng.choice([0.01, 1.0, 30.0], 20)
    hi = lo + 10**log_width * rng.random(20)
    slope, shift, error = sigmoid_line(lo, hi)
    z = lo + np.linspace(0, 1, 200)[:, None] * (hi - lo)
    beyond = np.abs(sigmoid(z) - slope * z - shift) - error
    assert beyond.max() <= 0
    assert (error <= 0.5).all()


def test_reduced_sets_hold_what_they_held():
    rng = np.random.default_rng(0)
    wide = Box(np.full(3, -100.0), np.full(3, 100.0))
    whole = AffineSet.of(rng.normal(size=3), rng.normal(size=(3, 30)), np.zeros(3), wide)
    smaller = whole.reduced(4)
    assert smaller.symbols == 12
    for direction in rng.normal(size=(50, 3)):
        sizes = [np.abs(direction @ one.generators).sum() for one in (whole, smaller)]
        assert sizes[0] <= sizes[1] * (1 + 1e-12)


# --- what it says ------------------------------------------------------------------------


def test_it_is_drawn_and_written():
    model = elegans.LTC(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tube = reach_tube(model, states=(-0.1, 0.1), inputs=(-1, 1), steps=10)
    found = run(model, np.zeros((3, 8)), np.zeros((10, 3, 2)))
    figure = tube.draw(found)
    assert len(figure.axes) == 6
    assert len(figure.axes[0].lines) == 3
    assert [axes.get_ylabel() for axes in tube.draw(neurons=[7, 2]).axes] == [
        "neuron 7",
        "neuron 2",
    ]
    document = json.loads(json.dumps(tube.to_dict()))
    np.testing.assert_array_equal(document["hi"], tube.hi)
    np.testing.assert_array_equal(document["outputs"]["lo"], tube.outputs.lo)


_LTC = elegans.LTC(2, 3, generator=torch.Generator().manual_seed(0))
_VALID = {"model": _LTC, "states": (-1, 1), "inputs": (-1, 1), "steps": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "got no steps"),
        ({"steps": -1}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"order": 0}, "order"),
        ({"states": (1, -1)}, "lower end is above"),
        ({"states": ([0, 0], [1, 1])}, r"end of shape \(2,\)"),
        ({"states": (0, float("nan"))}, "expected finite numbers"),
        ({"states": None}, "expected a box"),
        ({"inputs": (1, -1)}, "lower end is above"),
        ({"inputs": (np.zeros((4, 2)), np.zeros((4, 2)))}, "for 3 steps of 2 inputs"),
        ({"inputs": ([0, 0, 0], 1)}, r"end of shape \(3,\)"),
        ({"inputs": (0, float("inf"))}, "expected finite"),
        ({"inputs": "x"}, "expected a range or a tube"),
        ({"elapsed": -1.0}, "elapsed"),
        ({"elapsed": [1.0, 1.0]}, "or 3 of them"),
        ({"elapsed": float("nan")}, "elapsed"),
        ({"model": elegans.LTC(2, 3, solver="rk4")}, "got the solver 'rk4'"),
        ({"model": elegans.LTC(2, 3, mixed_memory=True)}, "mixed memory"),
        ({"model": elegans.CTRNN(2, 3)}, "circuit"),
    ],
)
def test_what_has_no_tube(change, message):
    with pytest.raises(InputError, match=message):
        reach_tube(**(_VALID | change))


def test_negative_conductances_are_refused():
    network = random_network(0, units=3, inputs=1)
    with pytest.raises(InputError, match="negative conductance"):
        reach_tube(network.scaled(-1.0), states=(-1, 1), inputs=(-1, 1), steps=1)
    tube = reach_tube(network, states=(-1, 1), inputs=(-1, 1), steps=2)
    with pytest.raises(InputError, match="trajectories of shape"):
        tube.contains(np.zeros((2, 3)))
    with pytest.raises(InputError, match="expected some of 0 to 2"):
        tube.draw(neurons=[3])
