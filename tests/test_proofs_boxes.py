"""Invariant boxes and target ranges against simulation and brute force, over random circuits."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from random_networks import (
    SEEDS,
    changing_inputs,
    conductance_and_drive,
    derivative,
    edited,
    fastest,
    networks,
    points,
    random_inputs,
    random_model,
    random_network,
    simulated,
    step,
    wider,
)
from torch.nn.utils import prune

from elegans import LTC, LTCCell
from elegans.errors import InputError
from elegans.proofs.certificates.boxes import (
    hull,
    nested_boxes,
    row_tests,
    target_range,
    time_constant_range,
)
from elegans.proofs.certificates.gates import GateRanges, Gates
from elegans.proofs.certificates.network import Box, Network, SynapseNumbers
from elegans.wiring import AutoNCP

NO_SYNAPSES = SynapseNumbers(*(np.zeros(0, np.int64) for _ in range(2)), *(np.zeros((4, 0))))
NO_INPUTS = Box(np.zeros(0), np.zeros(0))


def circuit(leak, synapses, *, potential=0.0, epsilon=0.0):
    """Return a network of neurons with C = 1 from rows (source, target, w, s, m, E)."""
    columns = [np.array(column) for column in zip(*synapses, strict=True)]
    recurrent = SynapseNumbers(*columns) if synapses else NO_SYNAPSES
    count = len(leak)
    return Network(
        np.ones(count),
        np.array(leak, dtype=float),
        np.full(count, float(potential)),
        epsilon,
        recurrent,
        NO_SYNAPSES,
        np.zeros(0),
        np.zeros(0),
    )


def passes(network, box, inputs):
    inwards, outwards = row_tests(network, box, GateRanges.over(network, box, inputs))
    return bool((inwards >= 0).all() and (outwards <= 0).all())


def rounding(network, box):
    """Some hundred roundings of the largest current of a row."""
    reach = np.maximum(np.abs(box.lo), np.abs(box.hi)).max() + 3
    total = network.leak.max() + network.epsilon + network.recurrent.weight.sum()
    return 1e-13 * reach * (total + network.sensory.weight.sum())


# --- T1: invariance ------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_current_points_into_boxes_that_pass(seed):
    """Nagumo's condition at every face, of the hull, the nested boxes and all between."""
    network, rng = random_network(seed), np.random.default_rng(seed)
    inputs = network.range_of(random_inputs(seed, network))
    nested = nested_boxes(network, inputs).boxes
    for box in (nested[0], nested[-1], between(nested[0], nested[-1], 0.3)):
        if box is not nested[0] and not passes(network, box, inputs):
            continue
        x, u = points(rng, box, 60), points(rng, inputs, 60)
        for i in range(len(network)):
            for end, sign in ((box.lo[i], 1), (box.hi[i], -1)):
                x[:, i] = end
                current = derivative(network, x, u)[:, i] * network.capacitance[i]
                assert (sign * current).min() >= -rounding(network, box)


def between(outer, inner, share):
    return Box(inner.lo + share * (outer.lo - inner.lo), inner.hi + share * (outer.hi - inner.hi))


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_trajectories_stay_in_boxes_that_pass(seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    inputs = network.range_of(random_inputs(seed, network))
    box = nested_boxes(network, inputs).boxes[-1]
    h = 0.05 / fastest(network)
    u = changing_inputs(rng, inputs, 40, 200)
    states = simulated(network, points(rng, box, 40), u, h=h, steps=200)
    # A step of RK4 errs by some (h L)^5 of the width, and errors decay as the state does.
    tolerance = 200 * 0.05**5 / 120 * (1 + hull(network).width.max())
    assert (states >= box.lo - tolerance).all()
    assert (states <= box.hi + tolerance).all()


@given(seed=SEEDS, log_h=st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_semi_implicit_step_of_any_length_stays(seed, log_h):
    network, rng = random_network(seed), np.random.default_rng(seed)
    inputs = network.range_of(random_inputs(seed, network))
    nested = nested_boxes(network, inputs).boxes
    for box in (nested[0], nested[-1]):
        x = points(rng, box, 50)
        for _ in range(5):
            x = step(network, x, points(rng, inputs, 50), 10**log_h)
            spare = 1e-14 * (1 + np.abs(x).max()) * (1 + len(network.recurrent))
            assert (x >= box.lo - spare).all()
            assert (x <= box.hi + spare).all()


@given(seed=SEEDS, log_dt=st.floats(-3, 4))
@settings(max_examples=10, deadline=None)
def test_layer_itself_stays(seed, log_dt):
    """The layer's own steps in single precision, from corners of the box."""
    model, rng = random_model(seed, strength=2.0), np.random.default_rng(seed)
    network = Network.of(model)
    given_inputs = random_inputs(seed, network)
    box = nested_boxes(network, network.range_of(given_inputs)).boxes[-1]
    u = torch.tensor(points(rng, Box(*given_inputs), 32)).float()
    x = torch.tensor(points(rng, box, 32)).float()
    with torch.no_grad():
        sensed = model.cell.sense(u.unsqueeze(1))
        for _ in range(4):
            x = model.cell.step(sensed, 0, x, torch.full((32, 1), 10**log_dt))
            spare = 1e-5 * (1 + np.abs(x.numpy()).max())  # some hundred roundings of float32
            assert (x.numpy() >= box.lo - spare).all()
            assert (x.numpy() <= box.hi + spare).all()


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_failing_row_has_a_witness(seed):
    """Without self-synapses and parallel synapses every gate takes its worst value at one state."""
    network = random_network(seed, own=False, parallel=False)
    rng = np.random.default_rng(seed)
    inputs = network.range_of(random_inputs(seed, network))
    start = hull(network)
    middle, share = rng.uniform(start.lo, start.hi), rng.uniform(0, 0.5)
    box = Box(middle - share * (middle - start.lo), middle + share * (start.hi - middle))
    gates = GateRanges.over(network, box, inputs)
    inwards, outwards = row_tests(network, box, gates)
    failed = 0
    for i in range(len(network)):
        for end, sign, test in ((box.hi[i], 1, outwards[i]), (box.lo[i], -1, -inwards[i])):
            if test <= 1e-9:  # gates are widened by 1e-12
                continue
            failed += 1
            x, u = 0.5 * (box.lo + box.hi), 0.5 * (inputs.lo + inputs.hi)
            x[i] = end
            for k, state, range_ in (
                (network.recurrent, x, box),
                (network.sensory, u, inputs),
            ):
                for number in np.flatnonzero(k.target == i):
                    opens = sign * (k.potential[number] - end) > 0
                    highest = opens == (k.gain[number] > 0)
                    j = k.source[number]
                    state[j] = range_.hi[j] if highest else range_.lo[j]
            x[i] = end
            current = sign * derivative(network, x, u)[i] * network.capacitance[i]
            assert current == pytest.approx(test, rel=1e-6, abs=1e-9)
            assert current > 0
    assume(failed)


def test_parallel_synapses_break_the_converse():
    """Two synapses with opposite gains cannot both be open: the test fails, yet nobody leaves."""
    network = circuit(
        [1.0, 1.0], [(0, 1, 1.0, 50.0, 0.0, 1.0), (0, 1, 1.0, -50.0, 0.0, 1.0)], potential=0.0
    )
    box = Box(np.array([-1.0, 0.0]), np.array([1.0, 0.55]))
    assert not passes(network, box, NO_INPUTS)
    x = np.stack([np.linspace(-1, 1, 2001), np.full(2001, 0.55)], axis=-1)
    assert derivative(network, x, np.zeros((2001, 0)))[:, 1].max() < 0


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_target_range_equals_brute_force(seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    drawn = [np.sort(rng.random((2, len(k))), axis=0) for k in (network.recurrent, network.sensory)]
    ranges = GateRanges(*(Gates(*ends) for ends in drawn))
    found = target_range(network, ranges)
    for i in range(len(network)):
        rows = [np.flatnonzero(k.target == i) for k in (network.recurrent, network.sensory)]
        count = sum(map(len, rows))
        assume(count <= 10)
        targets = []
        for corner in product((0, 1), repeat=count):
            G = network.leak[i] + network.epsilon
            A = network.leak[i] * network.leak_potential[i]
            corner = iter(corner)
            for k, ends, row in zip((network.recurrent, network.sensory), drawn, rows, strict=True):
                for number in row:
                    open_ = k.weight[number] * ends[next(corner), number]
                    G, A = G + open_, A + open_ * k.potential[number]
            targets.append(A / G)
        assert found.lo[i] == pytest.approx(min(targets), rel=1e-9, abs=1e-9)
        assert found.hi[i] == pytest.approx(max(targets), rel=1e-9, abs=1e-9)
        assert found.lo[i] <= min(targets) + 1e-14
        assert found.hi[i] >= max(targets) - 1e-14


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_ends_of_the_target_range_are_roots_of_the_row_tests(seed):
    network = random_network(seed)
    box, inputs = hull(network), network.range_of(random_inputs(seed, network))
    gates = GateRanges.over(network, box, inputs)
    inwards, outwards = row_tests(network, target_range(network, gates), gates)
    np.testing.assert_allclose([inwards, outwards], 0, atol=1e-9)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_gate_ranges_hold_every_gate(seed):
    network, rng = random_network(seed, gain=50.0), np.random.default_rng(seed)
    box, inputs = hull(network), network.range_of(random_inputs(seed, network))
    ranges = GateRanges.over(network, box, inputs)
    for k, held, where in (
        (network.recurrent, ranges.recurrent, points(rng, box, 50)),
        (network.sensory, ranges.sensory, points(rng, inputs, 50)),
    ):
        z = np.longdouble(k.gain) * (np.longdouble(where)[:, k.source] - k.centre)
        gate = 1 / (1 + np.exp(-z))
        assert (held.least <= gate).all()
        assert (gate <= held.most).all()


# --- T2: nested boxes ----------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_nested_boxes_are_nested_and_entered_in_time(seed):
    network, rng = random_network(seed, strength=1.5), np.random.default_rng(seed)
    inputs = network.range_of(random_inputs(seed, network))
    nested = nested_boxes(network, inputs, entry_fraction=float(rng.choice([1 / 64, 0.3])))
    assert len(nested.shares) == len(nested.times) == len(nested.boxes) - 1
    assert nested.entry_time == sum(nested.times)
    for n, (outer, inner, time) in enumerate(
        zip(nested.boxes, nested.boxes[1:], nested.times, strict=False)
    ):
        assert outer.contains(inner)
        steps = int(np.ceil(20 * time * fastest(network)))
        if n > 2 or steps > 2000:
            continue
        u = changing_inputs(rng, inputs, 12, steps, held=int(rng.integers(1, 40)))
        corners = np.where(rng.random((12, len(network))) < 0.5, outer.lo, outer.hi)
        end = simulated(network, corners, u, h=time / max(steps, 1), steps=steps)[-1]
        tolerance = 1e-6 * (1 + outer.width.max())  # RK4 with 20 steps to the fastest time
        assert (end >= inner.lo - tolerance).all()
        assert (end <= inner.hi + tolerance).all()


def test_entry_time_is_reached():
    """A leak alone needs exactly C/g ln(1/share): one per cent less is not enough."""
    network = circuit([0.5], [])
    start = Box(np.array([-1.0]), np.array([1.0]))
    nested = nested_boxes(network, NO_INPUTS, start=start, rounds=1)
    (time,) = nested.times
    assert time == pytest.approx(2 * np.log(64), rel=1e-9)
    assert np.exp(-0.5 * time) <= nested.boxes[1].hi[0]
    assert np.exp(-0.5 * 0.99 * time) > nested.boxes[1].hi[0]


def test_boxes_that_shrink_to_a_point_hold_the_equilibrium():
    network = circuit([1.0, 2.0], [(0, 1, 1.0, 2.0, 0.0, 1.0)], potential=0.5)
    box = nested_boxes(network, NO_INPUTS, rounds=200, until=1e-9).boxes[-1]
    assert box.width.max() < 1e-6
    assert np.abs(derivative(network, box.lo, np.zeros(0))).max() < 1e-5


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_time_constants_are_in_range(seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    box, inputs = hull(network), network.range_of(random_inputs(seed, network))
    range_ = time_constant_range(network, GateRanges.over(network, box, inputs))
    conductance, _ = conductance_and_drive(network, points(rng, box, 50), points(rng, inputs, 50))
    tau = network.capacitance / conductance
    assert (range_.lo <= tau).all()
    assert (tau <= range_.hi).all()


@given(network=networks())
@settings(max_examples=40, deadline=None)
def test_published_theorems_are_the_free_case(network):
    """Hasani et al. 2021: gates from 0 to 1 bound time constants and states."""
    range_ = time_constant_range(network, GateRanges.free(network))
    total = network.leak + network.epsilon
    most = total.copy()
    lo = np.where(network.leak > 0, network.leak_potential, 0.0)
    hi = lo.copy()
    if network.epsilon > 0:
        lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
    for k in (network.recurrent, network.sensory):
        for number in range(len(k)):
            i = k.target[number]
            most[i] += k.weight[number]
            if k.weight[number] > 0:
                lo[i] = min(lo[i], k.potential[number])
                hi[i] = max(hi[i], k.potential[number])
    np.testing.assert_allclose(range_.lo, network.capacitance / most, rtol=1e-9)
    np.testing.assert_allclose(range_.hi, network.capacitance / total, rtol=1e-9)
    np.testing.assert_array_equal(hull(network), Box(lo, hi))


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_distance_to_the_hull_decays_with_the_leak(seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    box = hull(network)
    inputs = network.range_of(random_inputs(seed, network))
    x = points(rng, wider(box, 2.0), 50)
    f = derivative(network, x, points(rng, inputs, 50)) * network.capacitance
    held = network.leak + network.epsilon
    above, below = np.maximum(x - box.hi, 0), np.maximum(box.lo - x, 0)
    spare = rounding(network, wider(box, 2.0))
    assert (f[above > 0] <= (-held * above + spare)[above > 0]).all()
    assert (-f[below > 0] <= (-held * below + spare)[below > 0]).all()


# --- broken models -------------------------------------------------------------------------------


def test_hull_without_a_potential_is_left():
    network = circuit([0.1, 0.1], [(1, 0, 5.0, 1.0, 0.0, 2.0)])
    left_out = replace(network, recurrent=NO_SYNAPSES)
    states = simulated(network, np.zeros(2), np.zeros((50, 0)), h=0.05, steps=50)
    assert (states <= hull(network).hi).all()
    assert (states > hull(left_out).hi).any()
    assert not passes(network, hull(left_out), NO_INPUTS)


def test_hull_without_zero_is_left_where_epsilon_pulls():
    network = circuit([1.0], [], potential=1.0, epsilon=0.5)
    without = hull(replace(network, epsilon=0.0))
    assert not passes(network, without, NO_INPUTS)
    assert step(network, without.lo, np.zeros(0), 0.1) < without.lo
    assert passes(network, hull(network), NO_INPUTS)


def test_sensory_potential_counts():
    model = random_model(3, units=3)
    network = Network.of(model)
    assert len(network.sensory)
    far = edited(network, "sensory", "potential", 0, 100.0)
    i = network.sensory.target[0]
    assert hull(edited(far, "sensory", "weight", 0, 1.0)).hi[i] == 100
    assert hull(edited(far, "sensory", "weight", 0, 0.0)).hi[i] < 100


def test_gates_of_a_smaller_range_of_inputs_would_be_noticed():
    """A box that holds for inputs in [0, 0.1] is left when they reach 2."""
    network = random_network(11, units=3, inputs=2, parallel=False)
    assert len(network.sensory)
    narrow, broad = (network.range_of((0.0, end)) for end in (0.1, 2.0))
    box = nested_boxes(network, narrow, rounds=200, until=1e-6).boxes[-1]
    assert not passes(network, wider(box, 1e-6), broad)


def test_swapped_ends_of_a_negative_gain_would_be_noticed():
    network = circuit([1.0, 1.0], [(0, 1, 1.0, -4.0, 0.0, 1.0)])
    gates = GateRanges.over(network, Box(np.array([0.0, 0.0]), np.array([1.0, 0.0])), NO_INPUTS)
    assert gates.recurrent.least[0] == pytest.approx(1 / (1 + np.exp(4)), rel=1e-9)
    assert gates.recurrent.most[0] == pytest.approx(0.5, rel=1e-9)


# --- numbers of a layer, and what is refused -----------------------------------------------------


@given(seed=SEEDS, dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=15, deadline=None)
@example(seed=0, dtype=torch.float32)
def test_numbers_are_those_of_the_layer(seed, dtype):
    model, rng = random_model(seed, dtype=dtype), np.random.default_rng(seed)
    for each in (model, model.cell):
        network = Network.of(each)
        u, x = rng.normal(0, 1, (5, len(network.scale))), rng.normal(0, 1, (5, len(network)))
        with torch.no_grad():
            expected = model.double().cell.dynamics(torch.tensor(u)).derivative(torch.tensor(x))
        found = derivative(network, x, network.scale * u + network.shift)
        # Constraints and epsilon were applied in the layer's own precision.
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masked", ["recurrent", "sensory"])
def test_masks_are_part_of_the_numbers(masked):
    """What ``torch.nn.utils.prune`` hides is not there."""
    model = random_model(3, units=4, dtype=torch.float64)
    prune.random_unstructured(getattr(model.cell, masked), "weight", amount=1)
    network = Network.of(model)
    assert (getattr(network, masked).weight == 0).any()
    u, x = torch.ones(1, len(network.scale)).double(), torch.zeros(1, 4).double()
    with torch.no_grad():
        expected = model.cell.dynamics(u).derivative(x).numpy()
    mapped = network.scale * u.numpy() + network.shift
    np.testing.assert_allclose(derivative(network, x.numpy(), mapped), expected, atol=1e-12)


def test_softplus_is_applied_in_the_precision_of_the_layer():
    model = LTC(3, AutoNCP(units=8, output_size=2, seed=0))
    network = Network.of(model)
    weight = torch.nn.functional.softplus(model.cell.recurrent.weight.detach())
    np.testing.assert_array_equal(network.recurrent.weight, weight.double().numpy())


@pytest.mark.parametrize("field", ["vleak", "cm", "gleak"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_parameters_that_are_not_finite_are_refused(field, bad):
    model = random_model(0, units=3)
    with torch.no_grad():
        getattr(model.cell, field)[1] = bad
    with pytest.raises(InputError, match="at position 1, expected finite parameters"):
        Network.of(model)


@pytest.mark.parametrize("field", ["weight", "sigma", "mu", "erev"])
@pytest.mark.parametrize("kind", ["recurrent", "sensory"])
def test_synapses_that_are_not_finite_are_refused(kind, field):
    model = random_model(3, units=3)
    with torch.no_grad():
        getattr(getattr(model.cell, kind), field)[0] = float("nan")
    with pytest.raises(InputError, match=f"{kind} .* at position 0, expected finite parameters"):
        Network.of(model)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_epsilon_that_is_not_finite_is_refused(bad):
    with pytest.raises(InputError, match="epsilon"):
        replace(random_network(0), epsilon=bad).check_finite()


def test_hooks_on_the_input_mapping_are_not_passed_over():
    """A hook changes what the gates see; numbers without it belong to another circuit."""
    model = random_model(3, units=3)
    model.cell.input_mapping.register_forward_hook(lambda module, args, output: 10 * output)
    with pytest.raises(InputError, match="hook"):
        Network.of(model)


def test_other_models_are_refused():
    with pytest.raises(InputError, match=r"got Linear, which offers no capability.*certificate"):
        Network.of(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="mixed memory"):
        Network.of(LTC(2, 4, mixed_memory=True))
    assert len(Network.of(LTC(2, 4, mixed_memory=True).cell)) == 4
    assert len(Network.of(LTCCell(4, 2))) == 4


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ((1, -1), "lower end is above the upper"),
        ((0, float("nan")), "expected finite ends"),
        ((-float("inf"), 1), "expected finite ends"),
        (5, "expected a range"),
        ((1, 2, 3), "expected a range"),
        (("a", "b"), "expected a range"),
        (([0, 0, 0], [1, 1, 1]), r"shape \(3,\), expected a number or shape \(2,\)"),
        (([0, 2], [1, 1]), "lower end is above the upper"),
    ],
)
def test_ranges_of_inputs_that_are_refused(inputs, text):
    network = Network.of(LTC(2, 4))
    with pytest.raises(InputError, match=text):
        network.range_of(inputs)


def test_ranges_of_inputs_are_mapped():
    network = replace(
        Network.of(LTC(2, 4)), scale=np.array([2.0, -1.0]), shift=np.array([0.5, 0.0])
    )
    for inputs in ((-1, 1), ([-1, -1], [1, 1]), (torch.tensor([-1.0, -1.0]), np.ones(2))):
        lo, hi = network.range_of(inputs)
        np.testing.assert_allclose([lo, hi], [[-1.5, -1.0], [2.5, 1.0]], rtol=1e-11)
        assert (lo <= [-1.5, -1.0]).all()
        assert (hi >= [2.5, 1.0]).all()


def test_a_neuron_that_nothing_moves_is_refused():
    with pytest.raises(InputError, match="neuron 1 has neither a leak nor a synapse"):
        hull(circuit([1.0, 0.0], []))
