"""Published claims about rewired circuits: counterexamples, corrected theorems, broken models."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expit

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.claims import (
    CLAIMS,
    Claim,
    Demonstration,
    Row,
    bounded_motion,
    faster_convergence,
    invariant_hull,
    larger_state,
    published_bounds,
    recurrent_rewiring,
    report,
)
from elegans.proofs.claims.__main__ import main
from elegans.proofs.claims.small_circuits import (
    Synapse,
    circuit,
    dynamics_of,
    resting_points,
    rewired,
    trajectory,
)
from elegans.proofs.dynamics.equilibrium import repeated
from elegans.proofs.dynamics.jacobian import jacobian
from elegans.wiring import AutoNCP

SEEDS = st.integers(0, 2**32 - 1)


def random_synapses(rng, sources, targets, count, strength=3.0):
    """Self-synapses and parallel ones occur."""
    return [
        Synapse(
            int(rng.integers(sources)),
            int(rng.integers(targets)),
            rng.uniform(0.01, strength),
            rng.choice([-1, 1]) * rng.uniform(0.2, 2),
            rng.normal(0, 5),
            rng.normal(0, 0.5),
        )
        for _ in range(count)
    ]


def random_circuit(rng, recurrent, neurons=5, epsilon=0.0):
    return circuit(
        neurons,
        recurrent,
        random_synapses(rng, 2, neurons, 6),
        inputs=2,
        leak=rng.uniform(0.2, 2, neurons).tolist(),
        leak_potential=rng.normal(0, 1, neurons).tolist(),
        capacitance=rng.uniform(0.3, 2, neurons).tolist(),
        epsilon=epsilon,
    )


# --- The contract ---------------------------------------------------------------------------


def test_every_claim_is_listed_once_and_says_all():
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names) == 6
    for claim in CLAIMS:
        module = sys.modules[f"elegans.proofs.claims.{claim.name}"]
        assert module.CLAIM is claim
        assert claim.statement
        assert claim.source
        assert claim.assumptions
        assert claim.corrected


@pytest.mark.slow
def test_the_command_prints_claims_and_fails_on_numbers_that_do_not_confirm(capsys, monkeypatch):
    assert main(["faster_convergence"]) == 0
    shown = capsys.readouterr().out
    assert "faster_convergence: refuted" in shown
    assert "before 4.60287      after 4.60517" in shown
    assert main(["unheard_of"]) == 2
    assert "'unheard_of', expected claims out of faster_convergence" in capsys.readouterr().err

    wrong = Claim(
        "wrong", "0", "here", ("none",), "0", "true", lambda: Demonstration(("a", "b"), (), False)
    )
    monkeypatch.setattr("elegans.proofs.claims.__main__.CLAIMS", (wrong,))
    assert main([]) == 1
    assert "DO NOT CONFIRM" in capsys.readouterr().out


@pytest.mark.slow
def test_the_module_runs_as_a_command():
    command = [sys.executable, "-m", "elegans.proofs.claims", "larger_state"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "before -0.11975     after 0.12" in done.stdout


def test_a_demonstration_is_looked_up_by_quantity():
    shown = Demonstration(("a", "b"), (Row("x", 1, 2),), True)
    assert shown["x"] == (1, 2)
    with pytest.raises(KeyError, match="'y' is none of"):
        _ = shown["y"]
    one = Claim("n", "s", "o", ("a",), "c", "true", lambda: shown)
    assert report(one).splitlines()[-1].split() == ["x", "a", "1", "b", "2"]


# --- Faster convergence ---------------------------------------------------------------------


@pytest.mark.slow
def test_counterexample_to_faster_convergence():
    shown = faster_convergence.counterexample()
    assert shown.confirmed
    assert shown["largest rate (compared in the claim)"] == pytest.approx((1.0005, 1.5))
    assert shown["slowest rate (governs convergence)"] == (1, 1)
    hundred = math.log(100)
    assert shown["time to 1 % from (1, 0)"] == pytest.approx((hundred / 1.0005, hundred))
    assert shown["time to 1 % from (0, 1)"] == pytest.approx((hundred, hundred / 1.5))


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_rates_change_as_predicted(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, [], neurons=3)
    slot = int(rng.integers(6))
    source, target = int(cell.sensory.source[slot]), int(cell.sensory.target[slot])
    other = (target + int(rng.integers(1, 3))) % 3
    fresh = Synapse(source, other, rng.uniform(0.01, 3), gain=rng.normal(0, 5))
    assert faster_convergence.holds(cell, rng.normal(size=2), slot, fresh)


def test_each_case_of_the_prediction_occurs():
    predicted = faster_convergence.predicted
    rates = np.array([2.0, 1.0, 3.0])
    assert predicted(rates, (0, 0.5), (1, 0.7)) == (True, True)
    assert predicted(rates, (0, 0.5), (1, 0.2)) == (False, True)
    assert predicted(rates, (0, 1.0), (1, 2.0)) == (True, False)  # j sinks to what k was
    assert predicted(rates, (1, 0.1), (0, 0.2)) == (True, False)
    assert predicted(np.array([2.0, 1.0, 1.0]), (0, 0.1), (1, 0.2)) == (True, False)  # not alone


def test_the_claim_itself_fails_as_a_prediction():
    """The broken model: 'always faster' does not agree with the eigenvalues."""
    before, after = (dynamics_of(cell) for cell in faster_convergence.published_example())
    assert faster_convergence.measured(before, after) != (True, True)


def test_a_layer_with_feedback_is_refused():
    with pytest.raises(InputError, match="got a circuit with 1 synapses between neurons"):
        faster_convergence.layer_rates(dynamics_of(circuit(2, [Synapse(0, 1, 1.0)])))
    with pytest.raises(InputError, match="expected positive numbers at two neurons"):
        faster_convergence.predicted(np.ones(2), (0, 1.0), (0, 1.0))


# --- The larger the state -------------------------------------------------------------------


def test_counterexample_to_larger_state():
    shown = larger_state.counterexample()
    assert shown.confirmed
    before, after = shown["dV/dt at (.5, .6), P = 1"]
    assert (before, after) == pytest.approx((-0.11975, 0.12))
    assert after - before == pytest.approx(larger_state.change_of_v((0.0005, 0.5), (0.5, 0.6)))
    # The roots of t² + 22 t - 58.01.
    largest = shown["largest eigenvalue of PD + DP, P = [[1, .9], [.9, 1]]"][1]
    assert largest == pytest.approx(-11 + math.sqrt(121 + 58.01))
    assert shown["smallest eigenvalue of PD + DP"][1] == pytest.approx(-11 - math.sqrt(179.01))


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_diagonal_weights_decay_between_any_two_trajectories(seed):
    rng = np.random.default_rng(seed)
    dynamics = dynamics_of(random_circuit(rng, []), rng.normal(size=2))
    rates, weights = faster_convergence.layer_rates(dynamics), np.diag(rng.uniform(0.1, 5, 5))
    assert larger_state.holds(dynamics, weights)
    x, y = torch.randn(2, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    error = (x - y)[0].numpy()
    moved = (dynamics.derivative(x) - dynamics.derivative(y))[0].numpy()
    v = error @ weights @ error
    assert 2 * error @ weights @ moved <= -2 * rates.min() * v * (1 - 1e-12)


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_no_weights_do_better_than_diagonal_ones(seed):
    rng = np.random.default_rng(seed)
    factor, rates = rng.normal(size=(4, 4)), rng.uniform(0.2, 5, 4)
    weights = factor @ factor.T + 0.1 * np.eye(4)
    weights = (weights + weights.T) / 2
    assert larger_state.decay_rate(weights, rates) <= 2 * rates.min() + 1e-9


def test_weights_off_the_diagonal_fail():
    _, after = larger_state.example(strong=18.0)
    weights = np.array([[1.0, 0.9], [0.9, 1.0]])
    assert not larger_state.holds(dynamics_of(after), weights)
    with pytest.raises(InputError, match="expected a symmetric positive definite matrix"):
        larger_state.decay_rate(-weights, np.ones(2))
    # V does rise between two trajectories of that circuit.
    values, vectors = np.linalg.eigh(-weights * np.array([[2.0, 11.0], [11.0, 20.0]]))
    rest = resting_points(after)[0]
    start = rest + torch.tensor(vectors[:, -1])
    path = trajectory(dynamics_of(after), start, torch.tensor([0, 0.01]).double()) - rest
    v = torch.einsum("ti,ij,tj->t", path, torch.tensor(weights), path)
    assert values[-1] > 2
    assert v[1] > v[0]


# --- Recurrent circuits ---------------------------------------------------------------------


@pytest.mark.slow
def test_one_rewire_makes_two_rests():
    shown = recurrent_rewiring.bistability()
    assert shown.confirmed
    assert shown["equilibria"] == (1, 3)

    def pull(x):
        return 3 * expit(10 * (x - 0.5)) / (1 + 3 * expit(10 * (x - 0.5)))

    roots = [
        brentq(lambda x: pull(pull(x)) - x, *ends) for ends in ((0, 0.2), (0.2, 0.6), (0.6, 1))
    ]
    assert roots == pytest.approx([0.0251147, 0.3457259, 0.7320189], abs=1e-6)
    _, after = recurrent_rewiring.bistable_example()
    found = resting_points(after)
    assert found[:, 0].tolist() == pytest.approx(roots, abs=1e-8)
    low, high = shown["end of x_i from (0, 0, 0)"][1], shown["end of x_i from (1, 1, 1)"][1]
    assert (low, high) == pytest.approx((roots[0], roots[2]), abs=1e-6)


@pytest.mark.parametrize("change", [{"weight": 0.5}, {"centre": 0.4}, {"gain": 4.0}])
def test_other_loops_make_no_second_rest(change):
    _, after = recurrent_rewiring.bistable_example(**change)
    assert len(resting_points(after)) == 1


@pytest.mark.slow
def test_one_rewire_makes_a_limit_cycle():
    shown = recurrent_rewiring.limit_cycle()
    assert shown.confirmed

    def ring(t, x):
        return 1 - x + 5 * expit(10 * np.roll(x, 1)) * (-1 - x)

    times = np.linspace(30, 60, 3001)
    tight = {"rtol": 1e-9, "atol": 1e-11}
    x = solve_ivp(ring, (0, 60), [0.1, -0.3, -0.5], t_eval=times, **tight).y[0]
    assert shown["swing of x_0 at the end"][1] == pytest.approx(np.ptp(x), rel=1e-3)
    rhythm = recurrent_rewiring.periods(torch.tensor(x), torch.tensor(times))
    assert shown["period of x_0"][1] == pytest.approx(np.mean(rhythm), rel=1e-4)


def test_the_ring_rests_at_another_centre():
    """The published numbers alone, without centre and leak potential, do not make a cycle."""
    _, after = recurrent_rewiring.cyclic_example(centre=-0.5, leak_potential=0.0)
    dynamics, rest = dynamics_of(after), resting_points(after)
    assert len(rest) == 1
    assert recurrent_rewiring.spectral_abscissa(dynamics, rest) < 0
    times = torch.linspace(0, 60, 1201, dtype=torch.float64)
    x = trajectory(dynamics, [0.1, -0.3, -0.5, 0.0], times)[-200:, 0]
    assert recurrent_rewiring.periods(x, times[-200:]) == []


def feed_forward(rng, neurons=5, count=12):
    rank = rng.permutation(neurons)
    found = random_synapses(rng, neurons, neurons, 3 * count, strength=20.0)
    return [synapse for synapse in found if rank[synapse.source] < rank[synapse.target]][:count]


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_without_cycles_the_spectrum_is_that_of_the_leaks(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, feed_forward(rng), epsilon=0.1)
    rate = recurrent_rewiring.feed_forward_rate(Network.of(cell))
    dynamics, states = dynamics_of(cell, rng.normal(size=2)), torch.tensor(rng.normal(size=(4, 5)))
    order = recurrent_rewiring.feed_forward_order(Network.of(cell))
    batch = repeated(dynamics, 4)
    triangular = jacobian(batch, states)[:, order][:, :, order]
    assert torch.equal(triangular, torch.tril(triangular))  # nothing runs back
    leaks = -1 / batch.time_constant(states)[:, order]
    torch.testing.assert_close(triangular.diagonal(dim1=1, dim2=2), leaks, rtol=1e-14, atol=0)
    assert (leaks <= -rate * (1 - 1e-14)).all()


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_without_cycles_trajectories_meet(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, feed_forward(rng))
    rate = recurrent_rewiring.feed_forward_rate(Network.of(cell))
    # Any rate below: a quarter of it; time enough for the overshoot of a chain of five.
    times = torch.linspace(0, 120 / rate, 601, dtype=torch.float64)
    starts, inputs = rng.normal(size=(2, 5)), rng.normal(size=2)
    x, y = (
        trajectory(dynamics_of(cell, inputs), start, times, solver="exponential", substeps=2)
        for start in starts
    )
    apart = (x - y).abs().amax(dim=-1)
    assert apart[-1] <= max(apart[0] * math.exp(-0.25 * rate * times[-1]), 1e-12)


def test_a_cycle_breaks_the_feed_forward_theorem():
    for examples in (recurrent_rewiring.bistable_example(), recurrent_rewiring.cyclic_example()):
        before, after = (Network.of(cell) for cell in examples)
        assert recurrent_rewiring.feed_forward_rate(before) == 1
        assert recurrent_rewiring.feed_forward_rate(after) is None
    own = circuit(1, [Synapse(0, 0, 3.0)])  # a self-synapse is a cycle: this one has two rests
    assert recurrent_rewiring.feed_forward_order(Network.of(own)) is None
    steep = circuit(1, [Synapse(0, 0, 3.0, gain=20.0)])
    abscissa = recurrent_rewiring.spectral_abscissa(dynamics_of(steep), resting_points(steep))
    assert (abscissa < 0).sum() == 2


def test_a_closed_synapse_is_no_cycle():
    cell = circuit(2, [Synapse(0, 1, 1.0), Synapse(1, 0, 0.0)])
    assert recurrent_rewiring.feed_forward_order(Network.of(cell)) == [0, 1]


# --- How far a rewire moves a trajectory ----------------------------------------------------

TIMES = np.linspace(0, 5, 51)
STEPS = 5
"""Steps of 0.02 at rates G / C below 25: rk4 errs by less than (1/2)^4 / 120 = 5e-4 of the
distance."""


@pytest.mark.slow
@given(seed=SEEDS, strength=st.sampled_from([0.05, 0.15, 1.0]))
@settings(max_examples=25, deadline=None)
def test_a_rewire_moves_trajectories_within_the_bound(seed, strength):
    """Self-synapses and parallel synapses included, contracting or not (strength 1)."""
    before, after = bounded_motion.random_rewire(seed, strength=strength)
    first, second = Network.of(before), Network.of(after)
    rng = np.random.default_rng(seed)
    start, inputs = rng.normal(size=5), rng.normal(size=1)
    apart = bounded_motion.distance(before, after, start, inputs, TIMES, STEPS)
    most = bounded_motion.bound(first, second, TIMES, start)
    assert (apart <= most * (1 + 5e-4)).all()


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_the_rate_bounds_the_logarithmic_norm(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, random_synapses(rng, 5, 5, 12), epsilon=0.1)
    network = Network.of(cell)
    box = hull(network)
    states = torch.tensor(rng.uniform(box.lo, box.hi, size=(8, 5)))
    J = jacobian(repeated(dynamics_of(cell), 8), states)
    worst = (
        torch.diagonal(J, dim1=1, dim2=2)
        + (J.abs().sum(-1) - torch.diagonal(J, dim1=1, dim2=2).abs())
    ).amax(dim=-1)
    assert (worst <= -bounded_motion.contraction_rate(network, box) + 1e-12).all()


def test_a_smaller_slope_breaks_the_rate(monkeypatch):
    cell = circuit(2, [Synapse(0, 1, 1.0, gain=20.0, centre=0.0), Synapse(0, 1, 1e-9, -1.0)])
    network, state = Network.of(cell), torch.tensor([[0.0, -1.0]]).double()
    box = Box(np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    row = jacobian(dynamics_of(cell), state)[0, 1]
    worst = float(row[1] + row[0].abs())
    assert worst <= -bounded_motion.contraction_rate(network, box)
    monkeypatch.setattr(bounded_motion, "STEEPEST", 1 / 8)
    assert worst > -bounded_motion.contraction_rate(network, box)


def open_rewire():
    """The gate of the inserted synapse is open, and its target as far away as it can be."""
    before = circuit(2, [Synapse(0, 0, 0.001, centre=-9.0, gain=5.0)], leak_potential=-1.0)
    return before, rewired(before, "recurrent", 0, Synapse(0, 1, 0.5, centre=-9.0, gain=5.0))


def test_the_bound_is_nearly_reached_and_no_smaller_one_holds():
    before, after = open_rewire()
    times, start = np.array([0.0, 0.01, 0.02]), np.array([-1.0, -1.0])
    apart = bounded_motion.distance(before, after, start, np.zeros(1), times)
    most = bounded_motion.bound(Network.of(before), Network.of(after), times)
    assert (apart <= most).all()
    assert apart[1] > 0.99 * most[1]  # so that a constant smaller by 1 % is wrong


def test_the_cut_alone_does_not_bound_the_motion():
    """The broken model: T D / C without the inserted synapse."""
    before, after = open_rewire()
    apart = bounded_motion.distance(before, after, -np.ones(2), np.zeros(1), TIMES)
    first, second = Network.of(before), Network.of(after)
    box = bounded_motion.common_box(first, second)
    cut = 0.001 * 2 * bounded_motion.growth(bounded_motion.contraction_rate(first, box), TIMES)
    assert (apart[1:] > 10 * cut[1:]).all()


def test_in_one_row_the_larger_term_is_enough_and_is_reached():
    before = circuit(1, [Synapse(0, 0, 0.2, centre=-9.0, gain=5.0)])
    fresh = Synapse(0, 0, 0.2, potential=-1.0, centre=-9.0, gain=5.0)
    after = rewired(before, "recurrent", 0, fresh)
    first, second = Network.of(before), Network.of(after)
    box = bounded_motion.common_box(first, second)
    assert bounded_motion.field_difference(first, second, box) == pytest.approx([0.2 * 2])
    times = np.array([0.0, 0.001])
    apart = bounded_motion.distance(before, after, np.zeros(1), np.zeros(1), times)
    most = bounded_motion.bound(first, second, times)
    assert 0.99 * most[1] < apart[1] <= most[1]


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_fields_differ_by_no_more_than_is_said(seed):
    """Several slots at once, rows that share a target, potentials of both signs."""
    rng = np.random.default_rng(seed)
    before = after = random_circuit(rng, random_synapses(rng, 3, 3, 8), neurons=3)
    for slot in rng.choice(8, size=3, replace=False).tolist():
        (fresh,) = random_synapses(rng, 1, 3, 1)
        fresh = fresh._replace(source=int(before.recurrent.source[slot]))
        after = rewired(after, "recurrent", slot, fresh)
    first, second = Network.of(before), Network.of(after)
    box = bounded_motion.common_box(first, second)
    x = torch.tensor(rng.uniform(box.lo, box.hi, size=(64, 3)))
    inputs = rng.normal(size=2)
    f, h = (repeated(dynamics_of(cell, inputs), 64).derivative(x) for cell in (before, after))
    most = bounded_motion.field_difference(first, second, box)
    assert ((f - h).abs().numpy() <= most * (1 + 1e-12)).all()


def test_a_sensory_rewire_is_bounded_as_well():
    before = circuit(2, sensory=[Synapse(0, 0, 0.1)])
    after = rewired(before, "sensory", 0, Synapse(0, 1, 0.4))
    apart = bounded_motion.distance(before, after, np.zeros(2), np.ones(1), TIMES)
    most = bounded_motion.bound(Network.of(before), Network.of(after), TIMES)
    assert (apart <= most).all()
    assert apart[-1] > 0.2 * most[-1]


def test_circuits_must_differ_in_synapses_only():
    one, other = (Network.of(circuit(1, leak=leak)) for leak in (1.0, 2.0))
    with pytest.raises(InputError, match="got circuits that differ in their neurons"):
        bounded_motion.bound(one, other, TIMES)


def test_growth_is_continuous_in_the_rate():
    near = bounded_motion.growth(1e-9, TIMES)
    assert bounded_motion.growth(0.0, TIMES) == pytest.approx(near, rel=1e-7)
    assert bounded_motion.growth(-1.0, np.array([1.0])) == pytest.approx(math.e - 1)


@pytest.mark.slow
def test_demonstration_of_bounded_motion():
    shown = bounded_motion.demonstrate(networks=5)
    assert shown.confirmed
    assert shown["smallest contraction rate c of a circuit before"][0] > 0


# --- The hull under rewiring ----------------------------------------------------------------


@pytest.mark.slow
@given(seed=SEEDS, solver=st.sampled_from(["semi_implicit", "exponential"]))
@settings(max_examples=25, deadline=None)
def test_no_schedule_of_rewiring_leaves_the_hull(seed, solver):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, random_synapses(rng, 5, 5, 10), epsilon=rng.choice([0.0, 0.1]))
    box = invariant_hull.permitted_hull(Network.of(cell))
    states = invariant_hull.run_schedule(cell, seed, steps=40, solver=solver)
    most = np.abs([box.lo, box.hi]).max()
    # A step sums up to 20 terms, each rounded once, and is a mean of potentials.
    assert invariant_hull.excess(box, states) <= 20 * most * np.finfo(np.float64).eps
    assert np.ptp(states, axis=0).max() > 0.1


@pytest.mark.slow
def test_the_hull_lacks_no_potential():
    """The broken model: the hull of all permitted potentials but one is left."""
    cell, _ = bounded_motion.random_rewire(0)
    network = Network.of(cell)
    states = invariant_hull.run_schedule(cell, 0, potentials=(-3.0, 3.0))
    assert (
        invariant_hull.excess(invariant_hull.permitted_hull(network, (-3.0, 3.0)), states) < 1e-13
    )
    for but_one in ((-3.0,), (3.0,)):
        assert invariant_hull.excess(invariant_hull.permitted_hull(network, but_one), states) > 0.5


def test_the_hull_of_the_present_is_left():
    shown = invariant_hull.escape()
    assert shown.confirmed
    # At rest: E = -1 with conductance 2.5 against a leak of 1.
    outside = shown["x_1 outside the hull before the rewire"]
    assert outside == pytest.approx((0, 2.5 / 3.5), abs=1e-3)


def test_an_explicit_step_leaves_the_hull():
    """The broken model: long Euler steps are no convex combinations."""
    cell, _ = bounded_motion.random_rewire(0)
    box = invariant_hull.permitted_hull(Network.of(cell))
    states = invariant_hull.run_schedule(cell, 0, steps=5, solver="euler")
    assert invariant_hull.excess(box, states) > 1


def test_permitted_potentials_are_checked():
    network = Network.of(circuit(1))
    for wrong in ((), (math.nan,)):
        with pytest.raises(InputError, match="expected at least one finite number"):
            invariant_hull.permitted_hull(network, wrong)


@pytest.mark.slow
def test_demonstration_of_the_hull():
    assert invariant_hull.demonstrate(networks=2).confirmed


# --- The published bounds -------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_time_constants_stay_within_the_bounds(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, random_synapses(rng, 5, 5, 12), epsilon=0.1)
    network = Network.of(cell)
    box = published_bounds.time_constant_bounds(network)
    states = torch.tensor(rng.normal(0, 5, size=(8, 5)))
    tau = repeated(dynamics_of(cell, rng.normal(0, 5, size=2)), 8).time_constant(states).numpy()
    assert (box.lo <= tau).all()
    assert (tau <= box.hi).all()
    weights = sum(
        np.bincount(s.target, s.weight, minlength=5) for s in (network.recurrent, network.sensory)
    )
    leak = network.leak + network.epsilon
    assert box.lo == pytest.approx(network.capacitance / (leak + weights))
    assert box.hi == pytest.approx(network.capacitance / leak)


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_states_stay_within_the_bounds(seed):
    rng = np.random.default_rng(seed)
    cell = random_circuit(rng, random_synapses(rng, 5, 5, 12), epsilon=0.1)
    start = rng.normal(0, 3, size=5)
    box = published_bounds.state_bounds(Network.of(cell), start)
    times = torch.linspace(0, 10, 51, dtype=torch.float64)
    dynamics = dynamics_of(cell, rng.normal(0, 5, size=2))
    states = trajectory(dynamics, start, times, solver="exponential", substeps=4).numpy()
    assert invariant_hull.excess(box, states) <= 1e-13


def test_both_ends_of_the_time_constant_are_reached():
    """So that a bound with a smaller range, such as half the weights, is wrong."""
    cell = circuit(1, sensory=[Synapse(0, 0, 3.0, gain=100.0, centre=0.0)])
    box = published_bounds.time_constant_bounds(Network.of(cell))
    state = torch.zeros(1, 1, dtype=torch.float64)
    ends = [float(dynamics_of(cell, [u]).time_constant(state)[0, 0]) for u in (1.0, -1.0)]
    assert ends == pytest.approx([box.lo[0], box.hi[0]], rel=1e-9)
    assert ends[0] < 1 / (1 + 3 / 2)


def test_the_published_state_bounds_hold_without_leak_potential():
    rng = np.random.default_rng(0)
    cell = circuit(4, random_synapses(rng, 4, 4, 10))
    network = Network.of(cell)
    published, ours = published_bounds.published_state_bounds(network), hull(network)
    assert published.contains(ours)
    assert np.array_equal(published.lo, ours.lo)


def test_demonstration_of_the_published_bounds():
    shown = published_bounds.demonstrate()
    assert shown.confirmed
    assert shown["tau_sys with a gate of tanh at -1; published: > 0"] == (-1, 0)
    assert shown["|x(5)| / |x(0)| there"][0] == pytest.approx(math.exp(5))
    assert shown["x at rest with leak potential 2, A = 1"][0] == pytest.approx(1.8)


# --- Any circuit of the library -------------------------------------------------------------


def test_a_layer_with_a_policy_wiring():
    model = LTC(8, AutoNCP(units=19, output_size=4), generator=torch.Generator().manual_seed(0))
    network = Network.of(model)
    assert recurrent_rewiring.feed_forward_rate(network) is None  # command neurons are recurrent
    assert invariant_hull.permitted_hull(network).contains(hull(network))
    box = published_bounds.time_constant_bounds(network)
    state = torch.randn(3, 19)
    tau = model.cell.dynamics(torch.randn(3, 8)).time_constant(state).detach().numpy()
    assert (box.lo <= tau * (1 + 1e-6)).all()  # the layer computes in float32
    assert (tau * (1 - 1e-6) <= box.hi).all()


def test_a_rewire_keeps_the_source():
    cell = circuit(2, [Synapse(0, 1, 1.0)])
    with pytest.raises(InputError, match="got a synapse from 1 for slot 0, expected one from 0"):
        rewired(cell, "recurrent", 0, Synapse(1, 0, 1.0))
