"""Plants, the loop that no circuit can make unstable, and the bounds of its states."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elegans
from elegans.control import (
    LinearPlant,
    LoopProof,
    Plant,
    Youla,
    cart_pole,
    double_integrator,
    largest_safe_set,
    pendulum,
    safe_set,
    simulate,
)
from elegans.control.loops.safety import correction_gain
from elegans.control.loops.youla import quadratic_norm
from elegans.errors import InputError
from elegans.proofs.certificates.certificate import NotCertified
from elegans.solvers import get_solver
from elegans.tasks.cartpole_plant import linearise
from elegans.wiring import AutoNCP, FullyConnected

PLANTS = {"cart-pole": cart_pole, "pendulum": pendulum, "mass": double_integrator}


def circuit(inputs, outputs, seed, dtype=torch.float64):
    wiring = AutoNCP(12, outputs, sparsity_level=0.7, seed=seed)
    return elegans.LTC(inputs, wiring, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def controller(plant, seed=3, strength=1.0, **options):
    n, m, p = plant.linear.sizes
    feedback = plant.linear.feedback(np.ones(n), np.full(m, 0.1))
    observer = plant.linear.observer(np.full(n, 0.01), np.full(p, 1e-3))
    return Youla(
        plant.linear, circuit(p, m, seed), feedback, observer, strength=strength, **options
    )


# --- plants ------------------------------------------------------------------------------


def test_the_cart_and_pole_are_those_of_gymnasium():
    gymnasium = pytest.importorskip("gymnasium")
    plant, environment = cart_pole(), gymnasium.make("CartPole-v1").unwrapped
    physics = environment
    dynamics, control = linearise(
        gravity=physics.gravity,
        cart_mass=physics.masscart,
        pole_mass=physics.masspole,
        half_length=physics.length,
        step=physics.tau,
    )
    np.testing.assert_allclose(plant.linear.dynamics, dynamics, rtol=0, atol=1e-15)
    np.testing.assert_allclose(plant.linear.control, control, rtol=0, atol=1e-15)
    rng = np.random.default_rng(0)
    environment.reset(seed=0)
    for _ in range(20):
        state, action = rng.uniform(-0.2, 0.2, 4), int(rng.integers(2))
        environment.state = state.copy()
        environment.step(action)
        force = torch.full((1, 1), 10.0 if action else -10.0, dtype=torch.float64)
        found = plant.advance(torch.from_numpy(state)[None], force)[0]
        np.testing.assert_allclose(found.numpy(), environment.state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PLANTS)
@given(seed=st.integers(0, 2**32 - 1), log_size=st.floats(-3, 0.3))
@settings(max_examples=15, deadline=None)
def test_the_remainder_bounds_what_is_not_linear(name, seed, log_size):
    plant, rng = PLANTS[name](), np.random.default_rng(seed)
    n, m, _ = plant.linear.sizes
    bounds = 10**log_size * rng.random(n + m)
    z = bounds * rng.choice([-1.0, 1.0, 0.3], (200, n + m))
    x, u = z[:, :n], z[:, n:]
    after = plant.advance(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    beyond = np.abs(after - x @ plant.linear.dynamics.T - u @ plant.linear.control.T).max(axis=0)
    told = plant.remainder(bounds[:n], bounds[n:])
    assert (beyond <= told + 1e-13).all()
    if name == "mass":
        assert told.max() < 1e-300


def test_slopes_are_derivatives():
    plant = cart_pole()
    rest = torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    by_state, by_control = torch.autograd.functional.jacobian(plant.advance, rest)
    np.testing.assert_allclose(by_state[0, :, 0].numpy(), plant.linear.dynamics, atol=1e-14)
    np.testing.assert_allclose(by_control[0, :, 0].numpy(), plant.linear.control, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"motion": {"a": "b c"}}, "expected a formula"),
        ({"motion": {"a": "u + z"}}, "expected a formula"),
        ({"motion": {"a": "u + 1"}}, "is 0 where all of them are 0"),
        ({"outputs": ["b"]}, "among the states"),
        ({"outputs": []}, "among the states"),
        ({"step": 0.0}, "step"),
        ({"step": float("nan")}, "step"),
    ],
)
def test_formulas_that_are_no_plant(change, message):
    with pytest.raises(InputError, match=message):
        Plant(**({"motion": {"a": "u"}, "controls": ["u"], "outputs": ["a"], "step": 1.0} | change))


def test_functions_without_an_enclosure_are_named():
    plant = Plant({"a": "tanh(a) + u"}, ["u"], ["a"], 0.1)
    with pytest.raises(InputError, match=r"tanh in .* not enclosed"):
        plant.remainder([0.1], [0.1])


@pytest.mark.parametrize(
    "matrices",
    [
        ([[1, 0]], [[1]], [[1]]),
        ([[1]], [1], [[1]]),
        ([[1]], [[1]], [[1, 2]]),
        ([[float("nan")]], [[1]], [[1]]),
    ],
)
def test_matrices_that_are_no_plant(matrices):
    with pytest.raises(InputError):
        LinearPlant(*matrices)


# --- the loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("strength", [10.0, 1e5])
def test_no_strength_makes_the_linear_loop_unstable(name, strength):
    plant = PLANTS[name]()
    n, _, _ = plant.linear.sizes
    for seed in range(2):
        loop = controller(plant, seed, strength, ranges=0.01)
        proof = loop.proof()
        assert isinstance(proof, LoopProof)
        assert 0 < proof.factor < 1
        state = np.full((2, n), 0.02) * [[1], [-1]]
        loop.reset(2)
        largest, steps = 0.0, 2000
        for _ in range(steps):
            control = loop(state @ plant.linear.output.T)
            state = state @ plant.linear.dynamics.T + control @ plant.linear.control.T
            largest = max(largest, float(np.abs(state).max()))
        assert np.abs(state).max() < 1e-6 * max(1.0, largest)


def test_what_the_circuit_hears_does_not_depend_on_it():
    plant = cart_pole()
    heard = []
    for seed, strength in ((1, 0.0), (1, 100.0), (5, 1e4)):
        loop, now = controller(plant, seed, strength), []
        memory, state = loop.begin(1), torch.full((1, 4), 0.1, dtype=torch.float64)
        for _ in range(300):
            outputs = state @ loop.output.t()
            now.append(outputs - memory.estimate @ loop.output.t())
            control, memory = loop.step(outputs, memory)
            state = state @ loop.dynamics.t() + control @ loop.control.t()
        heard.append(torch.stack(now).detach())
    for other in heard[1:]:
        torch.testing.assert_close(other, heard[0], rtol=0, atol=1e-8)


def test_a_step_is_its_formula():
    plant = cart_pole()
    loop = controller(plant, strength=2.0, ranges=[0.1, 0.2])
    y = torch.tensor([[0.05, -0.5], [0.3, 0.01]], dtype=torch.float64)
    memory = loop.begin(2)
    layer, K, L = loop.circuit, loop.feedback, loop.observer
    states, still, z = memory.circuit, memory.rest, memory.estimate
    for _ in range(3):
        nu = y - z @ loop.output.t()
        given = torch.stack([nu[:, 0] / 0.1, nu[:, 1] / 0.2], dim=1).clamp(-1, 1)
        answer, states = layer.cell(given, states)
        silent, still = layer.cell(torch.zeros(1, 2, dtype=torch.float64), still)
        u = -z @ K.t() + 2.0 * (answer - silent)
        z = z @ loop.dynamics.t() + u @ loop.control.t() + nu @ L.t()
        found, memory = loop.step(y, memory)
        torch.testing.assert_close(found, u)
        torch.testing.assert_close(memory.estimate, z)
    assert np.array_equal(controller(plant)(np.zeros((1, 2))), np.zeros((1, 1)))


def test_gradients_reach_the_circuit_through_the_plant():
    plant = pendulum()
    loop = controller(plant)
    states, controls = simulate(loop, plant, torch.full((2, 2), 0.1, dtype=torch.float64), 30)
    (states.square().sum() + controls.square().sum()).backward()
    gradients = [p.grad for p in loop.circuit.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_without_the_plant_gradients_are_of_what_the_circuit_answers_alone():
    plant = pendulum()
    loop = controller(plant)
    start = torch.tensor([[0.1, -0.2], [0.3, 0.0]], dtype=torch.float64)
    through, pushed = simulate(loop, plant, start, 30)
    states, controls = simulate(loop, plant, start, 30, through_plant=False)
    assert torch.equal(states, through)
    assert torch.equal(controls, pushed)
    assert through.requires_grad
    assert not states.requires_grad
    parameters = [p for p in loop.circuit.parameters() if p.requires_grad]
    found = torch.autograd.grad(controls.square().sum(), parameters, allow_unused=True)
    # By hand: the circuit over the innovations that it heard, which are data.
    memory, heard = loop.begin(2), []
    with torch.no_grad():
        for state, control in zip(states[:-1], controls, strict=True):
            innovation = plant.measure(state) - memory.estimate @ loop.output.t()
            heard.append(loop._heard(plant.measure(state), innovation))
            estimate = memory.estimate @ loop.dynamics.t() + control @ loop.control.t()
            memory = memory._replace(estimate=estimate + innovation @ loop.observer.t())
    layer, memory = loop.circuit, loop.begin(2)
    moving, still, answers = memory.circuit, memory.rest, []
    for nu in heard:
        answer, moving = layer.cell(nu, moving, loop.elapsed)
        silent, still = layer.cell(torch.zeros_like(nu[:1]), still, loop.elapsed)
        answers.append(loop.strength * (answer - silent))
    linear = (controls - torch.stack(answers)).detach()
    expected = torch.autograd.grad(
        (torch.stack(answers) + linear).square().sum(), parameters, allow_unused=True
    )
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_a_circuit_that_is_not_certified_proves_nothing():
    plant = pendulum()
    wild = elegans.LTC(1, FullyConnected(4, 1))
    with torch.no_grad():
        wild.cell.recurrent.weight += 10.0
    loop = Youla(plant.linear, wild, *gains(plant))
    assert isinstance(loop.proof(), NotCertified)
    rk4 = elegans.LTC(1, AutoNCP(8, 1, sparsity_level=0.8), solver="rk4")
    answer = Youla(plant.linear, rk4, *gains(plant)).proof()
    assert not answer
    assert "step" in str(answer)


def gains(plant):
    n, m, p = plant.linear.sizes
    return plant.linear.feedback(np.ones(n), np.ones(m)), plant.linear.observer(
        np.ones(n), np.ones(p)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"circuit": circuit(2, 1, 0)}, "expected 1 and 1"),
        ({"circuit": circuit(1, 2, 0)}, "expected 1 and 1"),
        (
            {"circuit": elegans.LTC(1, AutoNCP(8, 1), mixed_memory=True)},
            "without mixed memory",
        ),
        ({"feedback": [[1.0]]}, "feedback of shape"),
        ({"feedback": [[0.0, 0.0]]}, "A - B K with an eigenvalue"),
        ({"observer": [[0.0], [0.0]]}, "A - L C with an eigenvalue"),
        ({"ranges": 0.0}, "ranges"),
        ({"ranges": [1.0, 2.0]}, "ranges of shape"),
        ({"strength": float("inf")}, "strength"),
    ],
)
def test_controllers_that_are_none(change, message):
    plant = pendulum()
    feedback, observer = gains(plant)
    valid = {
        "plant": plant.linear,
        "circuit": circuit(1, 1, 0),
        "feedback": feedback,
        "observer": observer,
    }
    with pytest.raises(InputError, match=message):
        Youla(**(valid | change))
    with pytest.raises(InputError, match="observations of shape"):
        Youla(**valid)(np.zeros((1, 3)))


def test_quadratic_norms():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5):
        matrix = rng.normal(size=(size, size))
        matrix *= 0.95 / np.abs(np.linalg.eigvals(matrix)).max()
        norm, factor = quadratic_norm(matrix)
        assert 0.95 < factor < 1
        worst = np.linalg.eigvals(np.linalg.solve(norm, matrix.T @ norm @ matrix)).real.max()
        assert worst <= factor**2 * (1 + 1e-9)
        assert quadratic_norm(matrix / 0.95) is None
    assert quadratic_norm(np.zeros((2, 2)))[1] < 1


# --- bounds for all times ----------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("strength", [0.0, 0.05])
def test_no_trajectory_leaves_a_safe_set(name, strength):
    plant = PLANTS[name]()
    n, _, _ = plant.linear.sizes
    loop = controller(plant, strength=strength, ranges=0.1)
    proof = loop.proof()
    shape, limits = np.full(n, 0.1), np.full(n, 0.5)
    found = largest_safe_set(loop, plant, proof, shape, limits)
    assert found is not None
    assert (found.states <= limits).all()
    assert (found.states >= found.start).all()
    rng = np.random.default_rng(0)
    starts = found.start * np.vstack(
        [rng.choice([-1.0, 1.0], (40, n)), rng.uniform(-1, 1, (20, n))]
    )
    with torch.no_grad():
        states, controls = simulate(loop, plant, torch.from_numpy(starts), 400)
    assert (states.abs().amax((0, 1)).numpy() <= found.states).all()
    assert (controls.abs().amax((0, 1)).numpy() <= found.controls).all()
    assert "at all times" in str(found)
    if name == "mass" and not strength:  # linear: the bounds are those of the linear loop
        assert found.states.max() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential", "euler"])
def test_corrections_are_within_their_gain(solver):
    plant = cart_pole()
    for seed in range(4):
        loop = controller(plant, seed, strength=3.0, ranges=[0.1, 0.2])
        loop.circuit.cell.solver = get_solver(solver)
        proof = loop.proof()
        assert proof
        gain = correction_gain(loop, proof)
        memory = loop.begin(200)
        states, rest = memory.circuit, memory.rest
        rng = torch.Generator().manual_seed(seed)
        sizes = torch.rand(200, 2, generator=rng, dtype=torch.float64)
        bound = (gain @ (sizes.numpy() * [0.1, 0.2]).T).T
        signs = torch.ones(200, 2, dtype=torch.float64)
        with torch.no_grad():
            for _ in range(60):
                flip = torch.rand(200, 2, generator=rng) < 0.1
                signs = torch.where(flip, -signs, signs)
                both = torch.cat([sizes * signs, torch.zeros(1, 2, dtype=torch.float64)])
                answers, after = loop._advance(both, torch.cat([states, rest]))
                states, rest = after[:-1], after[-1:]
                correction = 3.0 * (answers[:-1] - answers[-1:]).numpy()
                assert (np.abs(correction) <= bound).all()


def test_what_is_not_proved_is_not_used():
    plant = pendulum()
    loop = controller(plant, strength=0.1)
    proof = loop.proof()
    assert safe_set(loop, plant, proof, [10.0, 10.0]) is None
    assert largest_safe_set(loop, plant, proof, [1.0, 1.0], [1e-9, 1e-9]) is None
    for start in ([1.0], [-1.0, 0.0], [float("nan"), 0.0]):
        with pytest.raises(InputError, match="start"):
            safe_set(loop, plant, proof, start)
    with pytest.raises(InputError, match="another plant"):
        safe_set(loop, double_integrator(), proof, [0.1, 0.1])
    with torch.no_grad():
        loop.circuit.cell.gleak += 0.1
    with pytest.raises(InputError, match="other weights"):
        safe_set(loop, plant, proof, [0.1, 0.1])
