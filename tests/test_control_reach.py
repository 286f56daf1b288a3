"""Reach tubes of loops: plant and circuit together, and statements in units."""

import json

import numpy as np
import pytest
import torch
from random_networks import model_of

import elegans
from elegans.control.loops.limits import given_limits
from elegans.control.loops.reach import (
    _advanced,
    _clipped,
    invariant_tube,
    largest_start,
    loop_tube,
)
from elegans.control.plants import Plant, cart_pole, double_integrator, pendulum
from elegans.data import Scale, Scales
from elegans.errors import InputError
from elegans.proofs.certificates.network import Box, Network, SynapseNumbers
from elegans.proofs.reach.affine import AffineSet
from elegans.wiring import AutoNCP

PLANTS = {
    "cart-pole": lambda: cart_pole(("position", "velocity", "angle", "spin")),
    "pendulum": lambda: pendulum(("angle", "speed")),
    "mass": lambda: double_integrator(("position", "velocity")),
}
LIMITS = {
    "cart-pole": {"angle": "12 degrees", "position": "2.4 m"},
    "pendulum": {"angle": "12 degrees"},
    "mass": {"position": 2.0},
}


def balancing(plant, most=30.0, **options):
    """Return a policy of one fast neuron, whose target is a sum of tanh close to -K x.

    Each state opens one synapse to +1 as it closes one to -1, so that the conductance is constant.
    """
    n = len(plant.states)
    feedback = plant.linear.feedback(np.ones(n), [0.1])[0]
    sign, source = np.tile([1.0, -1.0], n), np.repeat(np.arange(n), 2)
    weight, gain = np.repeat(np.abs(feedback), 2) / 2, 2 * sign * np.repeat(np.sign(feedback), 2)
    sensory = SynapseNumbers(source, 0 * source, weight, gain, 0.0 * sign, sign)
    total = weight[::2].sum()
    network = Network(
        np.array([0.05 * total]), np.array([0.1 * total]), np.zeros(1), 0.0,
        sensory.take(np.zeros(2 * n, bool)), sensory, np.ones(n), np.zeros(n),
    )  # fmt: skip
    model = model_of(network, ode_unfolds=1, **options)
    with torch.no_grad():
        model.cell.output_mapping.weight.fill_(-2.2 * total)
    return elegans.Policy(model, limits=(-most, most))


def driven(plant, policy, starts, steps, elapsed=1.0):
    """Return states (batch, step + 1, state) and controls (batch, step, control)."""
    policy.reset(len(starts))
    states, controls = [torch.as_tensor(starts, dtype=torch.float64)], []
    for _ in range(steps):
        control = policy(plant.measure(states[-1]).numpy(), elapsed)
        controls.append(torch.as_tensor(np.asarray(control, np.float64)))
        states.append(plant.advance(states[-1], controls[-1]))
    return torch.stack(states, 1).numpy(), torch.stack(controls, 1).numpy()


def corners(rng, bound, count):
    share = rng.choice([-1.0, 1.0, 0.3], (count, len(bound)))
    return bound * share


# --- soundness ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("most", [30.0, 1.0])
def test_no_trajectory_leaves_the_tube(name, most):
    plant = PLANTS[name]()
    policy, rng = balancing(plant, most), np.random.default_rng(0)
    bound = np.full(len(plant.states), 0.04)
    tube = loop_tube(plant, policy, (-bound, bound), 60)
    states, controls = driven(plant, policy, corners(rng, bound, 400), 60)
    assert tube.contains(states)
    assert (tube.controls.lo <= controls.min(axis=0)).all()
    assert (controls.max(axis=0) <= tube.controls.hi).all()
    assert np.abs(tube.controls.hi).max() <= most
    if most == 30.0:
        assert (tube.largest() <= 1.3 * np.abs(states).max((0, 1))).all()
    assert not tube.contains(states + 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_circuits_with_scales_are_heard_and_answered_in_units(seed):
    plant = cart_pole()
    wiring = AutoNCP(10, 1, sparsity_level=0.6, seed=seed)
    model = elegans.LTC(
        2, wiring, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    scales = Scales(Scale([0.1, -0.2], [0.5, 0.1], 0.3), Scale([0.2], [4.0], -0.1), 0.02)
    policy = elegans.Policy(model, scales, limits=(-1.5, 1.0))
    bound, rng = np.array([0.1, 0.2, 0.05, 0.2]), np.random.default_rng(seed)
    tube = loop_tube(plant, policy, (-bound, bound), 25, elapsed=0.03)
    states, controls = driven(plant, policy, corners(rng, bound, 400), 25, 0.03)
    assert tube.contains(states)
    assert (tube.controls.lo <= controls.min(axis=0)).all()
    assert (controls.max(axis=0) <= tube.controls.hi).all()


def test_a_linear_loop_has_the_tube_of_its_powers():
    """Without width in the circuit's way, a mass alone moves as x + t v: the exact box."""
    plant = double_integrator()
    model = elegans.LTC(1, AutoNCP(8, 1, seed=1), dtype=torch.float64)
    policy = elegans.Policy(model, limits=(0.0, 0.0))  # no force whatever
    tube = loop_tube(plant, policy, ([-0.1, -0.3], [0.1, 0.3]), 50)
    time = 0.02 * np.arange(51)
    np.testing.assert_allclose(tube.states.hi[:, 0], 0.1 + 0.3 * time, rtol=1e-9)
    np.testing.assert_allclose(tube.states.lo[:, 0], -0.1 - 0.3 * time, rtol=1e-9)
    np.testing.assert_allclose(tube.states.hi[:, 1], 0.3, rtol=1e-9)


def test_a_step_of_a_plant_without_its_remainder_is_left(monkeypatch):
    plant = pendulum()
    both = AffineSet.of_box(Box(np.array([0.2, 0.0, 0.0]), np.array([1.2, 0.0, 0.0])))
    rng = np.random.default_rng(0)
    z = both.bounds.lo + rng.choice([0.0, 1.0, 0.5], (200, 3)) * both.bounds.width
    after = plant.advance(torch.from_numpy(z[:, :2]), torch.from_numpy(z[:, 2:])).numpy()

    def inside(found):
        """Whether the points are within the zonotope in a direction in which it is thin."""
        direction = np.array([-plant.linear.dynamics[1, 0] * 0.8, 1.0])
        centre, reach = direction @ found.centre, np.abs(direction @ found.generators).sum()
        return bool((np.abs(after @ direction - centre) <= reach).all())

    assert inside(_advanced(plant, both))
    exact = plant.enclosure

    def careless(lo, hi):
        rates, slopes = exact(lo, hi)
        middle, wide = 0.5 * (slopes.lo + slopes.hi), 1e3 * (hi > lo).any()
        return Box(rates.lo - wide, rates.hi + wide), Box(middle, middle)

    monkeypatch.setattr(plant, "enclosure", careless)
    assert not inside(_advanced(plant, both))


@pytest.mark.parametrize("ends", [(-3, -2), (-1, 0.5), (-2, 2), (0.5, 3), (2, 3), (-1, -1)])
def test_clips(ends):
    outputs = AffineSet.of_box(Box(np.array([float(ends[0])]), np.array([float(ends[1])])))
    found = _clipped(outputs, (np.full(1, -1.0), np.full(1, 1.0)))
    assert found.bounds.lo == max(-1.0, min(ends[0], 1.0))
    assert found.bounds.hi == min(1.0, max(ends[1], -1.0))
    y = np.linspace(*ends, 101)
    own = found.generators[0, :1].sum() * (outputs.symbols > 0)
    symbol = (y - outputs.centre) / max(0.5 * (ends[1] - ends[0]), 1e-300)
    rest = np.abs(found.generators[0, outputs.symbols :]).sum()
    assert (np.abs(np.clip(y, -1, 1) - found.centre - own * symbol) <= rest + 1e-9).all()


# --- statements --------------------------------------------------------------------------


def test_the_largest_box_keeps_its_limits_and_a_larger_one_does_not():
    plant, limits = PLANTS["pendulum"](), LIMITS["pendulum"]
    policy = balancing(plant)
    found = largest_start(plant, policy, [0.1, 0.1], limits, 80)
    assert found is not None
    assert found.within(limits)
    said = found.statement(limits)
    assert said.startswith("|angle| < 12 degrees for 80 steps (1.6 s) from every start")
    bound = found.states.hi[0]
    grown = loop_tube(plant, policy, (-1.05 * bound, 1.05 * bound), 80)
    assert not grown.within(limits)
    assert grown.statement(limits).startswith("not proved")
    states, _ = driven(plant, policy, corners(np.random.default_rng(0), bound, 200), 80)
    assert np.degrees(np.abs(states[..., 0]).max()) < 12
    assert largest_start(plant, policy, [0.1, 0.1], {"angle": 1e-6}, 5) is None


@pytest.mark.parametrize("name", ["pendulum", "mass"])
def test_bounds_that_return_hold_for_ever(name):
    plant = PLANTS[name]()
    policy, bound = balancing(plant), np.full(2, 0.05)
    found = invariant_tube(plant, policy, (-bound, bound), 250)
    assert found is not None
    assert 1 <= found.returned <= 250
    lo, hi = (side[: found.returned + 1] for side in (found.states.lo, found.states.hi))
    states, _ = driven(plant, policy, corners(np.random.default_rng(0), bound, 100), 600)
    assert (states >= lo.min(axis=0)).all()
    assert (states <= hi.max(axis=0)).all()
    assert "at all times" in found.statement({plant.states[0]: 1.0})


def test_a_loop_that_falls_returns_to_nothing():
    plant = PLANTS["pendulum"]()
    lazy = balancing(plant, 0.01)
    assert invariant_tube(plant, lazy, (-0.1, 0.1), 40) is None
    tube = loop_tube(plant, lazy, (-0.1, 0.1), 400, limits={"angle": "12 degrees"})
    assert not tube
    assert not tube.within({"angle": "12 degrees"})
    assert np.isinf(tube.states.hi[-1]).all()


def test_no_step_and_no_width():
    plant = PLANTS["mass"]()
    policy = balancing(plant)
    none = loop_tube(plant, policy, (-0.1, 0.1), 0)
    assert len(none) == 0
    assert none.returned is None
    assert none.controls.lo.shape == (0, 1)
    point = loop_tube(plant, policy, ([0.1, 0.0], [0.1, 0.0]), 100)
    assert point.states.width.max() < 1e-9
    assert point.contains(driven(plant, policy, np.array([[0.1, 0.0]]), 100)[0])


def test_it_is_drawn_and_written():
    plant = PLANTS["mass"]()
    tube = loop_tube(plant, balancing(plant), (-0.1, 0.1), 5)
    figure = tube.draw(np.zeros((2, 6, 2)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["position", "velocity"]
    document = json.loads(json.dumps(tube.to_dict()))
    np.testing.assert_array_equal(document["states"]["hi"], tube.states.hi)
    assert document["names"] == ["position", "velocity", "force"]


def test_limits_have_units():
    bounds = given_limits(
        {"angle": "12 degrees", "speed": "3 rad/s", "x": 2}, ["angle", "speed", "x"]
    )
    assert bounds["angle"].value == pytest.approx(np.radians(12), rel=1e-14)
    assert bounds["angle"].value <= np.radians(12)
    assert bounds["speed"].value == 3.0
    assert bounds["x"].text == "2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": elegans.LTC(3, 2)}, "expected 2 and 1"),
        ({"policy": elegans.CTRNN(2, AutoNCP(8, 1))}, "circuit"),
        ({"policy": elegans.LTC(2, AutoNCP(8, 1), solver="rk4")}, "got the solver 'rk4'"),
        ({"starts": ([0.0], [1.0])}, r"end of shape \(1,\)"),
        ({"starts": (1.0, -1.0)}, "lower end is above"),
        ({"steps": -1}, "steps"),
        ({"elapsed": float("nan")}, "elapsed"),
        ({"order": 0}, "order"),
        ({"circuit": ([0.0], [1.0])}, "states"),
        ({"limits": {"angle": "12 apples"}}, "12 apples"),
        ({"limits": {"angle": "x degrees"}}, "expected a number above 0"),
        ({"limits": {"height": 1.0}}, "among angle, speed"),
        ({"limits": {"angle": 0.0}}, "expected a number above 0"),
    ],
)
def test_loops_that_are_none(change, message):
    plant = PLANTS["pendulum"]()
    valid = {
        "plant": plant,
        "policy": elegans.LTC(2, AutoNCP(8, 1)),
        "starts": (-0.1, 0.1),
        "steps": 2,
    }
    with pytest.raises(InputError, match=message):
        loop_tube(**(valid | change))


def test_shapes_that_are_none():
    plant = PLANTS["pendulum"]()
    policy = balancing(plant)
    for shape, limits in (
        ([1.0], {"angle": 1.0}),
        ([0.0, 0.0], {"angle": 1.0}),
        ([-1.0, 1.0], {"angle": 1.0}),
        ([1.0, 1.0], {}),
    ):
        with pytest.raises(InputError, match="shape"):
            largest_start(plant, policy, shape, limits, 2)
    with pytest.raises(InputError, match="trajectories of shape"):
        loop_tube(plant, policy, (-0.1, 0.1), 2).contains(np.zeros((2, 2)))


def test_enclosures_hold_rates_and_slopes():
    plant, rng = cart_pole(), np.random.default_rng(0)
    lo = rng.normal(0, 0.5, 5)
    hi = lo + rng.random(5)
    rates, slopes = plant.enclosure(lo, hi)
    z = torch.from_numpy(lo + rng.random((100, 5)) * (hi - lo))
    for point in z:
        x, u = point[:4], point[4:]
        rate = (plant.advance(x[None], u[None])[0] - x).numpy() / plant.step
        assert (rates.lo - 1e-9 <= rate).all()
        assert (rate <= rates.hi + 1e-9).all()
        by_x, by_u = torch.autograd.functional.jacobian(
            lambda a, b: (plant.advance(a[None], b[None])[0] - a) / plant.step, (x, u)
        )
        slope = torch.cat([by_x, by_u], 1).numpy()
        assert (slopes.lo - 1e-9 <= slope).all()
        assert (slope <= slopes.hi + 1e-9).all()
    assert isinstance(plant, Plant)
