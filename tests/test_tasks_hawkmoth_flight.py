"""The teacher hovers by the true derivatives, gusts are exact, and circuits learn to fly."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import elegans
from elegans.control import Youla
from elegans.errors import InputError
from elegans.pruning import Pruner
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.drawing import draw_flight
from elegans.replications.hawkmoth.dynamics import acceleration, derivative
from elegans.replications.hawkmoth.flight import BOX, STARTS, fly, lessons
from elegans.replications.hawkmoth.flight_circuit import CircuitPilot, FlightSchool
from elegans.replications.hawkmoth.gusts import Gusts, Sensors, simulate_in_air
from elegans.replications.hawkmoth.simulation import simulate
from elegans.replications.hawkmoth.teacher import (
    MAX_FORCE,
    MAX_TORQUE,
    STATE_COST,
    STROKE,
    Hover,
    Teacher,
    controls_of,
    held,
    linearise,
    thrust_of,
)
from elegans.reporting.figures import save_figure
from elegans.training import RewireConfig, TrainingConfig
from elegans.wiring import AutoNCP

pytestmark = pytest.mark.slow

STILL = {"gusts": Gusts(0.0), "sensors": Sensors.exact()}
HOVERS = [(1.0, math.pi / 2), (1.0, math.pi / 6), (1.0, 2.5), (0.5, math.pi / 4), (1.3, 1.0)]


@pytest.fixture(scope="module")
def teacher():
    return Teacher.of()


class Constant:
    def __init__(self, controls):
        self.controls = np.asarray(controls, float)

    def __call__(self, observations):
        return np.tile(self.controls, (len(observations), 1))


# --- the teacher -----------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "pitch"), HOVERS)
def test_a_hovering_moth_does_not_accelerate(scale, pitch):
    hover = Hover.of(Moth(scale=scale), pitch)
    assert hover.state[2] == pitch
    assert math.sin(hover.state[3]) < 0  # the abdomen hangs
    weight = hover.moth.mass * hover.moth.gravity
    assert hover.controls[0] == pytest.approx(weight, rel=1e-12)
    # Forces and torques of up to 1e5 cancel, each exact to 1e-16 of that, over moments of
    # inertia of more than 1e-3 g cm².
    assert np.abs(acceleration(hover.moth, hover.state, hover.controls)).max() < 1e-6
    wrong = hover.controls * (1.001, 1.0, 1.0)
    assert np.abs(acceleration(hover.moth, hover.state, wrong)).max() > 0.5


@pytest.mark.parametrize(("scale", "pitch"), HOVERS)
def test_linear_model_is_the_derivative_of_the_equations(scale, pitch):
    hover = Hover.of(Moth(scale=scale), pitch)
    A, B = linearise(hover)

    def rate(deviation, thrust):
        return derivative(hover.moth, hover.state + deviation, controls_of(hover.thrust + thrust))

    # Central differences: an error of step² of smooth terms of the size of A, and rounding of
    # 1e-16 / step.
    step = 1e-5
    nothing = np.zeros(8), np.zeros(3)
    by_state = [
        (rate(step * d, nothing[1]) - rate(-step * d, nothing[1])) / (2 * step) for d in np.eye(8)
    ]
    np.testing.assert_allclose(np.transpose(by_state), A, rtol=1e-6, atol=1e-9 * np.abs(A).max())
    by_thrust = [(rate(nothing[0], d) - rate(nothing[0], -d)) / 2 for d in np.eye(3)]
    np.testing.assert_allclose(np.transpose(by_thrust), B, rtol=1e-7, atol=1e-9 * np.abs(B).max())


def test_held_thrust_moves_the_simulated_moth_as_the_linear_model_says(teacher):
    hover = teacher.hover
    A, B = held(*linearise(hover), STROKE)
    generator = np.random.default_rng(0)
    for size in (1e-3, 1e-4):
        deviation = size * generator.standard_normal(8)
        thrust = hover.moth.mass * hover.moth.gravity * size * generator.standard_normal(3)
        after = simulate(
            hover.moth,
            hover.state + deviation,
            controls_of(hover.thrust + thrust),
            STROKE,
            rtol=1e-10,
        )
        # What the linear model leaves out is of second order in the size.
        np.testing.assert_allclose(
            after - hover.state, A @ deviation + B @ thrust, atol=1e3 * size**2
        )


@pytest.mark.parametrize(("scale", "pitch"), HOVERS)
def test_the_teacher_is_stable_and_worse_gains_are_not(scale, pitch):
    teacher = Teacher.of(Hover.of(Moth(scale=scale), pitch))
    assert teacher.radius < 0.92
    assert replace(teacher, gain=0 * teacher.gain).radius > 1
    assert replace(teacher, gain=-teacher.gain).radius > 1


def test_the_plant_is_the_held_model_in_units_of_thrust(teacher):
    plant = teacher.hover.plant()
    A, B = held(*linearise(teacher.hover), STROKE)
    thrust = np.array([100.0, -50.0, 20.0])
    deviation = thrust / teacher.hover.unit
    np.testing.assert_array_equal(plant.dynamics, A)
    np.testing.assert_allclose(plant.control @ deviation, B @ thrust, rtol=1e-12)
    np.testing.assert_array_equal(plant.output @ np.arange(8.0), np.arange(4.0))


@pytest.mark.slow
def test_a_circuit_that_hears_innovations_cannot_bring_down_the_moth(teacher):
    hover, plant = teacher.hover, teacher.hover.plant()
    circuit = elegans.LTC(
        4,
        AutoNCP(12, 3, sparsity_level=0.7, seed=0),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    observer = plant.observer([1e-4] * 4 + [1.0] * 4, [1e-4] * 4)
    feedback = plant.feedback(STATE_COST, np.ones(3))
    loop = Youla(plant, circuit, feedback, observer, ranges=0.1, strength=10.0)
    assert loop.proof().factor < 1
    loop.reset(2)
    starts = np.zeros((2, 8))
    starts[:, [0, 2]] = [[0.5, 0.05], [-0.5, 0.05]]
    flights = fly(
        lambda seen: controls_of(hover.thrust + hover.unit * loop(seen)), 2, starts=starts,
        gusts=Gusts(0.0), sensors=Sensors.exact(full=False), strokes=400,
    )  # fmt: skip
    assert flights.survival == 1
    assert flights.errors[:, -1].max() < 0.01


def test_the_teacher_comes_back_from_all_around(teacher):
    flights = fly(teacher, episodes=200, strokes=100, **STILL)
    assert np.abs(flights.deviations[:, 0] / STARTS).max() > 0.99
    assert flights.survival == 1.0
    # radius^100 < 1e-4 of the largest deviation that is left when controls no longer saturate
    assert flights.errors[:, -1].max() < 20 * teacher.radius**100
    assert np.abs(flights.deviations[:, -1]).max() < 1e-2


@pytest.mark.parametrize("row", range(3))
def test_a_teacher_with_a_broken_gain_loses_its_moths(teacher, row):
    broken = teacher.gain.copy()
    broken[row] *= -1
    flights = fly(replace(teacher, gain=broken), episodes=20, **STILL)
    assert flights.survival == 0.0
    assert flights.rms_error() > BOX / 2


def test_the_teacher_rejects_gusts_and_noise(teacher):
    gusts = fly(teacher, 50, sensors=Sensors.exact())
    both = fly(teacher, 50)
    assert gusts.survival == both.survival == 1.0
    assert 0.02 < gusts.rms_error(after=1.0) < 0.2
    assert gusts.rms_error(after=1.0) < both.rms_error(after=1.0) < 0.6
    stronger = fly(teacher, 50, gusts=Gusts(300.0), sensors=Sensors.exact())
    assert stronger.rms_error(after=1.0) > 2 * gusts.rms_error(after=1.0)


def test_thrust_and_controls_are_the_same_within_the_ranges():
    thrust = np.random.default_rng(0).uniform(-3e4, 3e4, (100, 3))
    np.testing.assert_allclose(thrust_of(controls_of(thrust)), thrust, rtol=1e-10)
    force, alpha, tau = controls_of(5 * thrust).T
    assert force.max() == MAX_FORCE
    assert np.abs(tau).max() == MAX_TORQUE
    assert 0 <= alpha.min() <= alpha.max() <= 2 * np.pi
    np.testing.assert_allclose(alpha, controls_of(thrust)[:, 1])


def test_faults_of_the_teacher():
    with pytest.raises(InputError, match=r"got pitch = -0.1, expected an angle between 0 and π"):
        Hover.of(pitch=-0.1)
    with pytest.raises(InputError, match="no angle of the abdomen brings the centre of mass under"):
        Hover.of(Moth(wing_arm=5.0), 0.1)
    with pytest.raises(InputError, match=r"dyn and -?\d+ dyn cm to hover, expected at most 44300"):
        Hover.of(Moth(scale=3.0))
    with pytest.raises(InputError, match=r"got period = 0, expected a finite duration above 0 s"):
        Teacher.of(period=0)
    with pytest.raises(InputError, match=r"deviations of shape \(2, 4\).*fly it with full sensors"):
        Teacher.of()(np.zeros((2, 4)))
    with pytest.raises(InputError, match=r"got thrust of shape \(2,\), expected \(..., 3\); stack"):
        controls_of(np.zeros(2))


# --- gusts and senses ------------------------------------------------------------------------


def test_gusts_are_stationary_and_forget():
    gusts = Gusts(strength=100.0, time=0.3, wind=(50.0, -20.0))
    air = np.stack([gusts.air(100, 0.02, np.random.default_rng(seed)) for seed in range(2000)])
    # 2000 independent series: means to 100 / √2000 = 2.2, deviations to 1.6, at any stroke.
    for stroke in (0, 99):
        np.testing.assert_allclose(air[:, stroke].mean(axis=0), (50, -20), atol=4 * 2.3)
        np.testing.assert_allclose(air[:, stroke].std(axis=0), 100, atol=4 * 1.6)
    waving = (air - (50, -20)) / 100
    for lag in (1, 15):
        alike = (waving[:, 40] * waving[:, 40 + lag]).mean(axis=0)
        np.testing.assert_allclose(alike, math.exp(-lag * 0.02 / 0.3), atol=4 * 1.5 / 2000**0.5)
    assert abs((waving[..., 0] * waving[..., 1]).mean()) < 0.05


def test_wind_acts_through_the_drag_alone(teacher):
    moth = teacher.hover.moth
    state, controls = teacher.hover.state, teacher.hover.controls
    duration, air = 1e-6, np.array([300.0, -120.0])
    pushed = simulate_in_air(moth, state, controls, air, duration)
    # At rest in the wind, the drag pulls the hinge: M q'' = (R(w), 0, 0).
    still = derivative(moth, state - np.array([0, 0, 0, 0, *air, 0, 0]), controls)[4:]
    assert np.abs(still[:2]).max() > 10
    np.testing.assert_allclose((pushed - state)[4:] / duration, still, rtol=0.05)
    with_wind = state + np.array([0, 0, 0, 0, *air, 0, 0])
    carried = simulate_in_air(moth, with_wind, controls, air, STROKE)
    np.testing.assert_allclose(carried[4:6], air, atol=1e-6)  # in still air of its own, it hovers
    np.testing.assert_allclose(carried[:2], STROKE * air, atol=1e-8)


def test_no_wind_is_still_air(teacher):
    states = teacher.hover.state + np.random.default_rng(0).uniform(-1, 1, (5, 8)) * STARTS
    moth, controls = teacher.hover.moth, teacher.hover.controls
    np.testing.assert_array_equal(
        simulate_in_air(moth, states, controls, np.zeros(2), STROKE),
        simulate(moth, states, controls, STROKE),
    )


def test_noise_of_the_senses_has_its_deviations():
    sensors = Sensors(position=0.2, angle=0.01, velocity=3.0, rate=0.5)
    errors = sensors.errors(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(errors.std(axis=0), sensors.noise, rtol=4 / math.sqrt(2 * 20_000))
    np.testing.assert_array_equal(sensors.noise, [0.2, 0.2, 0.01, 0.01, 3, 3, 0.5, 0.5])
    some = replace(sensors, full=False).errors(20_000, np.random.default_rng(0))
    np.testing.assert_array_equal(some, errors[:, :4])


def test_faults_of_gusts_and_senses(teacher):
    with pytest.raises(InputError, match=r"got a strength of gusts of -1.0, expected a finite num"):
        Gusts(-1.0)
    with pytest.raises(InputError, match=r"got time = 0.0, expected seconds above 0"):
        Gusts(time=0.0)
    with pytest.raises(InputError, match=r"got wind = \(1.0,\), expected two finite speeds"):
        Gusts(wind=(1.0,))
    with pytest.raises(InputError, match="got a noise of angle of nan, expected a finite number"):
        Sensors(angle=float("nan"))
    with pytest.raises(InputError, match=r"air of shape \(3,\), expected \(..., 8\) and \(..., 2"):
        simulate_in_air(Moth(), np.zeros(8), np.zeros(3), np.zeros(3), 0.02)


# --- flights ---------------------------------------------------------------------------------


def test_a_flight_is_the_plain_loop_over_one_moth(teacher):
    flights = fly(teacher, 3, seed=5, strokes=30, goals=(4.0, -2.0))
    for episode in range(3):
        state = flights.states[episode, 0]
        for stroke in range(30):
            seen = flights.observations[episode, stroke]
            deviation = state - teacher.hover.state - np.array([4, -2, 0, 0, 0, 0, 0, 0.0])
            assert np.abs(seen - deviation).max() < 6 * Sensors().noise.max()
            controls = teacher(seen)
            np.testing.assert_allclose(controls, flights.controls[episode, stroke], rtol=1e-9)
            state = simulate_in_air(Moth(), state, controls, flights.air[episode, stroke], STROKE)
            np.testing.assert_allclose(state, flights.states[episode, stroke + 1], atol=1e-6)
    noise = flights.observations - flights.deviations[:, :-1]
    np.testing.assert_allclose(noise.std(axis=(0, 1)), Sensors().noise, rtol=0.4)


def test_flights_follow_their_seed_moth_by_moth(teacher):
    first = fly(teacher, 4, seed=0, strokes=20)
    np.testing.assert_array_equal(first.states, fly(teacher, 4, seed=0, strokes=20).states)
    np.testing.assert_array_equal(first.states[:2], fly(teacher, 2, seed=0, strokes=20).states)
    np.testing.assert_array_equal(first.states[:, :11], fly(teacher, 4, strokes=10).states)
    others = [fly(teacher, 4, seed=seed, strokes=1).states[:, 0] for seed in (1, (0, 0), (0, 1))]
    starts = np.concatenate([first.states[:, 0], *others])
    assert len(np.unique(starts, axis=0)) == 16


def test_a_moth_without_wings_falls_out_of_its_box():
    flights = fly(Constant([0.0, 0.0, 0.0]), 3, strokes=100, starts=np.zeros(8), **STILL)
    # y = -g t² / 2 within the drag, which is small at this speed
    fall = math.sqrt(2 * BOX / 980)
    assert flights.survival == 0.0
    assert not flights.survived.any()
    assert (flights.flown == math.ceil(fall / STROKE)).all()
    lost_at = int(flights.flown[0])
    assert flights.errors[0, lost_at - 1] <= BOX < flights.errors[0, lost_at]
    np.testing.assert_array_equal(
        flights.states[:, lost_at:], flights.states[:, -1:].repeat(101 - lost_at, axis=1)
    )
    assert flights.rms_error(after=1.0) > BOX


def test_the_rms_error_is_that_of_the_distances(teacher):
    flights = fly(teacher, 5, strokes=60)
    where = flights.states[:, 30:, :2]
    assert flights.rms_error(after=0.6) == pytest.approx(np.sqrt((where**2).sum(-1).mean()))
    with pytest.raises(InputError, match=r"got after = 2, expected seconds from 0 to 1.2"):
        flights.rms_error(after=2)


def test_the_teacher_follows_a_moving_goal(teacher):
    turn = np.linspace(0, 2 * np.pi, 201)
    circle = 6 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    flights = fly(teacher, 5, strokes=200, goals=circle, **STILL)
    assert flights.survival == 1.0
    assert flights.rms_error(after=1.0) < 0.5
    np.testing.assert_allclose(flights.goals, circle)
    away = flights.states[:, 100, :2] - circle[100]
    np.testing.assert_allclose(flights.errors[:, 100], np.hypot(*away.T))


def test_controls_are_cut_to_the_published_ranges():
    flights = fly(Constant([1e9, 1.0, -1e9]), 1, strokes=3, box=1e6)
    np.testing.assert_array_equal(flights.controls[0], [[MAX_FORCE, 1.0, -MAX_TORQUE]] * 3)
    assert fly(Constant([-5.0, 0.0, 0.0]), 1, strokes=1).controls[0, 0, 0] == 0


def test_lessons_are_what_the_teacher_would_have_done(teacher):
    flights = fly(Constant([0.0, 0.0, 0.0]), 3, strokes=40)
    for episode, one in enumerate(lessons(flights, teacher)):
        flown = flights.flown[episode]
        assert len(one) == flown < 40
        np.testing.assert_array_equal(one.inputs, flights.observations[episode, :flown])
        np.testing.assert_array_equal(one.elapsed, STROKE)
        wanted = controls_of(teacher.thrust(flights.deviations[episode, :flown]))
        np.testing.assert_allclose(controls_of(one.targets), wanted, rtol=1e-9)


def test_faults_of_a_flight(teacher):
    with pytest.raises(InputError, match="got episodes = 0, expected at least 1"):
        fly(teacher, 0)
    with pytest.raises(InputError, match="got seed = -1, expected at least 0"):
        fly(teacher, 1, -1)
    with pytest.raises(InputError, match="got strokes = 0, expected at least 1"):
        fly(teacher, strokes=0)
    with pytest.raises(InputError, match="got period = -1, expected seconds above 0"):
        fly(teacher, period=-1)
    with pytest.raises(InputError, match="got box = 0, expected cm above 0"):
        fly(teacher, box=0)
    with pytest.raises(InputError, match=r"goals of shape \(5, 2\), expected finite .*\(11, 2\)"):
        fly(teacher, strokes=10, goals=np.zeros((5, 2)))
    with pytest.raises(InputError, match=r"got starts of shape \(4,\), expected finite deviations"):
        fly(teacher, starts=np.zeros(4))
    with pytest.raises(InputError, match=r"start outside the box of ± 15.0 cm .* for moth 1"):
        fly(teacher, 2, starts=[np.zeros(8), [20.0, *np.zeros(7)]])


def test_faults_of_a_pilot():
    with pytest.raises(InputError, match=r"shape \(3, 1\) at stroke 0, expected \(3, 3\): F, alp"):
        fly(lambda seen: np.zeros((3, 1)), 3)
    with pytest.raises(InputError, match="got alpha = nan for moth 0 at stroke 0, expected a fini"):
        fly(Constant([0.0, np.nan, 0.0]), 3)


def test_what_is_commanded_of_lost_moths_does_not_matter(teacher):
    def flown(later, box):
        asked = []

        def control(observations):
            controls = teacher(observations)
            controls[0] = later if len(asked) >= 7 else 0.0
            asked.append(observations)
            return controls

        return fly(control, 2, strokes=30, starts=np.zeros(8), box=box, **STILL)

    assert flown(0.0, BOX).flown.tolist() == [9, 30]
    near = flown(0.0, 3.2)
    assert near.flown.tolist() == [5, 30]  # lost before stroke 7
    np.testing.assert_array_equal(flown(np.nan, 3.2).states, near.states)
    with pytest.raises(InputError, match="got F = nan for moth 0 at stroke 7, expected a finite"):
        flown(np.nan, BOX)


# --- circuits --------------------------------------------------------------------------------


def circuit(inputs=8, seed=0):
    return elegans.LTC(
        inputs,
        AutoNCP(24, 3, sparsity_level=0.3, seed=seed),
        ode_unfolds=4,
        generator=torch.Generator().manual_seed(seed),
    )


MILD = RewireConfig(rule="published", threshold="relative", value=0.2, until=0.6)
CONFIG = TrainingConfig(steps=400, rewire=MILD)


@pytest.fixture(scope="module")
def taught():
    school, model = FlightSchool(episodes=30), circuit()
    synapses = model.synapse_count, model.sensory_synapse_count
    _, results = school.teach(model, CONFIG, rounds=1)
    alone = fly(school.pilot(model), 20, seed=1)
    results += school.teach(model, CONFIG, rounds=2)[1]
    assert (model.synapse_count, model.sensory_synapse_count) == synapses
    return school, model, results, alone


def test_a_rewired_circuit_flies_about_as_well_as_its_teacher(teacher, taught):
    school, model, results, alone = taught
    assert sum(edit.grown is not None for one in results for edit in one.ledger) > 20
    assert alone.survival < 0.5  # examples alone do not show how to come back
    # So short a training loses one moth of twenty in about one seed of seven, which a root mean
    # square would count as the flight of all; the median asks how well the others fly.
    flights, taught_by = fly(school.pilot(model), 20, seed=1), fly(teacher, 20, seed=1)
    assert flights.survival >= 0.95
    settled = round(1.0 / flights.period)
    median, teachers = (np.median(each.errors[:, settled:]) for each in (flights, taught_by))
    assert median < 2 * teachers


def test_a_pruned_circuit_still_flies(taught):
    school, model, _, _ = taught
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pruner = Pruner(model, scope="global")
    pruner.prune(0.3)
    closed = {name: ~mask for name, mask in pruner.masks().items()}
    school.train(model, replace(CONFIG, rewire=RewireConfig(enabled=False)))
    assert pruner.sparsity == pytest.approx(0.3, abs=0.01)
    for name, mask in pruner.masks().items():
        assert torch.equal(~mask, closed[name])
    flights = fly(school.pilot(model), 20, seed=1)
    assert flights.survival >= 0.9
    model.load_state_dict(before)  # which opens what was closed


def test_the_pilot_is_the_circuit_step_by_step(taught):
    school, model, _, _ = taught
    flights = fly(school.pilot(model), 4, seed=2, strokes=25)
    seen = school.scales.inputs.apply(flights.observations).astype(np.float32)
    with torch.no_grad():
        answers, _ = model(torch.from_numpy(seen))
    controls = controls_of(school.scales.targets.invert(answers.double().numpy()))
    # float32 sums of some hundred terms, in units of thousands of dyn
    np.testing.assert_allclose(
        thrust_of(controls), thrust_of(flights.controls), rtol=1e-3, atol=1.0
    )


def test_a_pilot_begins_each_flight_anew(taught):
    school, model, _, _ = taught
    pilot = school.pilot(model)
    first = fly(pilot, 3, seed=4, strokes=20)
    np.testing.assert_array_equal(first.states, fly(pilot, 3, seed=4, strokes=20).states)


def test_schools_repeat_themselves_and_differ_by_their_seed():
    def flown(seed):
        school = FlightSchool(episodes=6, strokes=20, seed=seed)
        school.watch()
        school.watch(Constant(Hover.of().controls), share=0.5)
        return school.lessons

    for one, same, other in zip(flown(0), flown(0), flown(1), strict=True):
        np.testing.assert_array_equal(one.inputs, same.inputs)
        assert not np.array_equal(one.inputs[0], other.inputs[0])
    held_out = FlightSchool(episodes=6, strokes=20)
    held_out.watch()
    assert len(held_out._learning()) == 5


def test_the_teacher_helps_a_beginner_to_stay(teacher):
    school = FlightSchool(teacher, episodes=20)
    nobody = Constant(teacher.hover.controls)
    alone, helped = school.watch(nobody), school.watch(nobody, share=0.5)
    assert alone.survival < 0.2
    assert helped.survival > 0.8


def test_a_school_without_senses_of_speed(teacher):
    school = FlightSchool(teacher, episodes=6, strokes=40, sensors=Sensors(full=False))
    pilot, _ = school.teach(circuit(4), replace(CONFIG, steps=20), rounds=2)
    assert {one.inputs.shape[1] for one in school.lessons} == {4}
    assert fly(pilot, 2, strokes=5, sensors=school.sensors).observations.shape == (2, 5, 4)
    with pytest.raises(InputError, match="got observations of 8 numbers, expected 4, as the circ"):
        fly(pilot, 2)


def test_faults_of_the_school(taught):
    school = taught[0]
    with pytest.raises(InputError, match="got a circuit with 5 inputs and 3 outputs, expected 8"):
        CircuitPilot(circuit(5), school.scales)
    with pytest.raises(InputError, match="got a school without flights, expected some; call watch"):
        FlightSchool().pilot(circuit())
    with pytest.raises(InputError, match="got episodes = 1, expected at least 2"):
        FlightSchool(episodes=1)
    with pytest.raises(InputError, match="got rounds = 0, expected at least 1"):
        school.teach(circuit(), CONFIG, rounds=0)
    with pytest.raises(InputError, match="got share = 2, expected a number from 0 to 1"):
        school.watch(share=2)


# --- the picture -----------------------------------------------------------------------------


def test_the_picture_shows_the_moth_to_scale(teacher, tmp_path):
    far = np.array([-12.0, -7.0, 0, 0, 0, 0, 0, 0])
    flights = fly(teacher, 1, strokes=60, starts=far)
    figure = draw_flight(flights, title="a flight")
    plane = figure.axes[0]
    sizes = {(round(one.width, 6), round(one.height, 6)) for one in plane.patches}
    assert sizes == {(1.8, 1.0), (3.8, 1.5)}  # axes of both ellipsoids in cm
    assert len(plane.patches) >= 6
    assert plane.get_aspect() == 1.0
    path = np.concatenate([piece[:1] for piece in plane.collections[0].get_segments()])
    np.testing.assert_allclose(path, flights.states[0, :-1, :2])
    save_figure(figure, tmp_path / "flight.png")
    assert (tmp_path / "flight.png").stat().st_size > 20_000


def test_lost_moths_and_still_air_can_be_drawn(tmp_path):
    flights = fly(Constant([0.0, 0.0, 0.0]), 1, **STILL)
    figure = draw_flight(flights)
    assert "lost after 0." in figure.axes[0].get_title(loc="left")
    save_figure(figure, tmp_path / "lost.png")
    with pytest.raises(InputError, match="got episode 1, expected one from 0 to 0"):
        draw_flight(flights, episode=1)
