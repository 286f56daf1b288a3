"""The expert is optimal, the simulator is the real one, and every episode follows its seed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from elegans import LTC, Policy
from elegans.control.lqr import lqr_gain
from elegans.data import Scale, Scales, cut_windows
from elegans.errors import InputError, MissingExtraError
from elegans.extras import require_extra
from elegans.tasks.cartpole import ExpertPolicy, drive, expert_episodes
from elegans.tasks.cartpole_plant import FORCE_COST, STATE_COST, CartPolePlant
from elegans.wiring import AutoNCP

gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture
def environment():
    made = gymnasium.make("CartPole-v1")
    yield made
    made.close()


@pytest.fixture
def plant(environment):
    return CartPolePlant.of(environment)


class Constant:
    """Commands the same force for ever."""

    def __init__(self, command: float) -> None:
        self.command = command

    def reset(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, observations):
        assert observations.shape == (self.batch, 2)
        assert observations.dtype == np.float64
        return np.full(self.batch, self.command)


class Differences:
    """The expert's feedback with velocities estimated as differences of positions."""

    def __init__(self, plant: CartPolePlant) -> None:
        self.plant = plant
        self.previous: np.ndarray | None = None

    def reset(self, batch: int) -> None:
        self.previous = None

    def __call__(self, observations):
        places, before = observations, self.previous
        speeds = np.zeros_like(places) if before is None else places - before
        self.previous = places
        states = np.stack([places[:, 0], speeds[:, 0] / 0.02, places[:, 1], speeds[:, 1] / 0.02], 1)
        return self.plant.command(states)


def simulated(environment, state, action):
    environment.reset(seed=0)
    environment.unwrapped.state = np.array(state, dtype=np.float64)
    environment.step(action)
    return np.array(environment.unwrapped.state)


def test_linear_model_is_the_derivative_of_the_simulator(environment, plant):
    force = environment.unwrapped.force_mag
    origin = np.zeros(4)
    pushes = [simulated(environment, origin, action) for action in (0, 1)]
    np.testing.assert_allclose((pushes[1] - pushes[0]) / (2 * force), plant.control[:, 0], 1e-12)
    step = 1e-5
    for column, direction in enumerate(np.eye(4) * step):
        # The mean of both pushes is the motion without force, to first order in the state.
        moved = [
            np.mean([simulated(environment, sign * direction, action) for action in (0, 1)], 0)
            for sign in (1, -1)
        ]
        slope = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(slope, plant.dynamics[:, column], atol=1e-8)


def test_expert_stabilises_the_linear_model(plant):
    def radius(matrix):
        return np.abs(np.linalg.eigvals(matrix)).max()

    assert radius(plant.dynamics) > 1
    assert radius(plant.dynamics - plant.control @ plant.gain[None]) < 0.98


def test_gain_solves_the_riccati_equation(plant):
    A, B, Q, R = plant.dynamics, plant.control, np.diag(STATE_COST), np.array([[FORCE_COST]])
    K, P = lqr_gain(A, B, Q, R)
    np.testing.assert_array_equal(K[0], plant.gain)
    np.testing.assert_allclose(Q + A.T @ P @ (A - B @ K), P, rtol=1e-10, atol=1e-10)


def test_no_gain_near_the_optimal_one_costs_less(plant):
    A, B, Q, R = plant.dynamics, plant.control, np.diag(STATE_COST), np.array([[FORCE_COST]])
    start = np.array([0.1, 0.0, 0.05, 0.0])

    def cost(gain):
        state, total = start, 0.0
        for _ in range(2000):
            force = -gain @ state
            total += state @ Q @ state + R[0, 0] * force**2
            state = A @ state + B[:, 0] * force
        return total

    best = cost(plant.gain)
    assert best == pytest.approx(start @ lqr_gain(A, B, Q, R)[1] @ start, rel=1e-9)
    for direction in np.eye(4):
        assert all(cost(plant.gain * (1 + sign * 0.02 * direction)) > best for sign in (-1, 1))


def test_a_simulator_with_another_integrator_is_refused(environment):
    environment.unwrapped.kinematics_integrator = "semi-implicit euler"
    with pytest.raises(InputError, match="integrator 'semi-implicit euler', expected 'euler'"):
        CartPolePlant.of(environment)


def test_expert_never_drops_the_pole():
    rollouts = drive(ExpertPolicy(), episodes=20, seed=1, full=True)
    assert rollouts.returns.tolist() == [500.0] * 20
    assert rollouts.mean_return == 500
    assert max(np.abs(one[:, 0]).max() for one in rollouts.observations) < 0.5


def test_positions_alone_suffice(plant):
    assert drive(Differences(plant), episodes=20, seed=2).returns.tolist() == [500.0] * 20


@pytest.mark.parametrize("command", [-1.0, 0.0, 1.0])
def test_constant_policies_drop_the_pole_at_once(command):
    rollouts = drive(Constant(command), episodes=10, seed=0)
    assert rollouts.returns.max() <= 11
    for steps, states, commands, actions in zip(
        rollouts.returns, rollouts.observations, rollouts.commands, rollouts.actions, strict=True
    ):
        assert states.shape == (steps, 4)
        assert commands.tolist() == [command] * int(steps)
        assert actions.tolist() == [int(command > 0)] * int(steps)
    assert len(rollouts.observations) == 10


def test_drive_is_the_plain_loop_over_one_simulator(environment, plant):
    rollouts = drive(Differences(plant), episodes=3, seed=5, max_steps=40)
    for states, commands, actions in zip(
        rollouts.observations, rollouts.commands, rollouts.actions, strict=True
    ):
        environment.reset(seed=0)
        environment.unwrapped.state = states[0]
        policy = Differences(plant)
        policy.reset(1)
        for step in range(40):
            seen = plant.observe(states[step], full=False)
            command = policy(seen[None])[0]
            assert command == pytest.approx(commands[step], abs=1e-12)
            assert actions[step] == int(command > 0)
            after = environment.step(int(actions[step]))[0]
            if step + 1 < 40:
                np.testing.assert_allclose(after, states[step + 1], atol=1e-6)


def test_drives_follow_their_seed_episode_by_episode():
    def starts(episodes, seed):
        rollouts = drive(Constant(1.0), episodes, seed)
        return np.array([one[0] for one in rollouts.observations])

    first = starts(4, 0)
    np.testing.assert_array_equal(first, starts(4, 0))
    np.testing.assert_array_equal(first[:2], starts(2, 0))
    assert len(np.unique(np.concatenate([first, starts(4, 1)]), axis=0)) == 8
    trained = np.array([one.inputs[0] for one in expert_episodes(4, 0, full=True)])
    assert not np.isclose(trained[:, 0], first[:, 0]).any()


def test_expert_episodes_have_the_stated_contents(plant):
    seen = expert_episodes(6, 3, full=True)
    partial = expert_episodes(6, 3)
    assert len({one.name for one in seen}) == 6
    for one, less in zip(seen, partial, strict=True):
        assert one.inputs.shape == (len(one), 4)
        assert one.targets.shape == (len(one), 1)
        np.testing.assert_array_equal(less.inputs, one.inputs[:, [0, 2]])
        np.testing.assert_array_equal(less.targets, one.targets)
        np.testing.assert_array_equal(one.elapsed, 1)
        np.testing.assert_allclose(
            one.targets[:, 0], np.clip(-one.inputs @ plant.gain / 5, -1, 1), atol=1e-12
        )
        assert (np.abs(one.inputs[:, [0, 2]]) <= plant.limits).all()
    assert len(cut_windows(partial, 64)) > 0


def test_noise_disturbs_at_the_drawn_rate(plant):
    def disturbed(noise):
        wrong = []
        for one in expert_episodes(8, 0, noise=noise, full=True, min_steps=10, max_steps=100):
            pushed_right = np.diff(one.inputs[:, 1]) > 0
            wrong.append(np.mean(pushed_right != (one.targets[:-1, 0] > 0)))
        return np.array(wrong)

    assert disturbed((0, 0)).max() == 0
    often = disturbed((0.2, 0.2))  # half of the random actions are those of the expert
    assert often.mean() == pytest.approx(0.1, abs=0.04)
    assert disturbed((0, 0.3)).std() > 0


def test_short_episodes_are_drawn_again_and_the_others_stay():
    def lengths(**bounds):
        return [len(one) for one in expert_episodes(10, 0, noise=(0.6, 0.6), **bounds)]

    free, bounded = lengths(min_steps=1, max_steps=60), lengths(min_steps=50, max_steps=60)
    assert min(free) < 50 <= min(bounded)
    assert all(b == a for a, b in zip(free, bounded, strict=True) if a >= 50)


def test_expert_episodes_follow_their_seed():
    first, again, other = (expert_episodes(3, seed, max_steps=64) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        assert not np.array_equal(a.inputs[0], c.inputs[0])
    longer = expert_episodes(5, 0, max_steps=64)
    np.testing.assert_array_equal(longer[2].inputs, first[2].inputs)


def test_faults_of_the_task():
    with pytest.raises(InputError, match="got count = 0, expected at least 1"):
        expert_episodes(0, 0)
    with pytest.raises(InputError, match="got seed = -1, expected at least 0"):
        drive(Constant(1.0), 1, -1)
    with pytest.raises(InputError, match=r"got noise \(0.3, 0.1\), expected rates between 0 and"):
        expert_episodes(1, 0, noise=(0.3, 0.1))
    with pytest.raises(InputError, match="got min_steps = 64, expected at most max_steps = 50"):
        expert_episodes(1, 0, max_steps=50)
    with pytest.raises(InputError, match=r"with which 2 of 2 episodes ended before 400 steps in"):
        expert_episodes(2, 0, noise=(1, 1), min_steps=400)
    with pytest.raises(InputError, match=r"shape \(2, 2\), expected \(batch, 4\).*full=True"):
        drive(ExpertPolicy(), 2)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_circuit_drives_as_its_layer_runs(plant, scaled):
    model = LTC(2, AutoNCP(10, 1), generator=torch.Generator().manual_seed(0))
    shown = expert_episodes(2, 0)
    nothing = Scales(Scale([0.0, 0.0], [1.0, 1.0]), Scale([0.0], [1.0]))
    scales = Scales.fit(shown) if scaled else nothing
    policy = Policy(model, scales) if scaled else Policy(model)
    rollouts = drive(policy, episodes=3)
    repeated = drive(policy, episodes=3)
    for states, commands, again in zip(
        rollouts.observations, rollouts.commands, repeated.commands, strict=True
    ):
        np.testing.assert_array_equal(commands, again)
        seen = scales.inputs.apply(plant.observe(states, full=False))
        with torch.no_grad():
            answers = model(torch.from_numpy(seen).float())[0].double().numpy()
        np.testing.assert_allclose(commands, scales.targets.invert(answers)[:, 0], atol=1e-5)


def test_faults_of_a_controller():
    policy = Policy(LTC(2, AutoNCP(10, 2)))
    with pytest.raises(InputError, match=r"shape \(3, 2\) at step 0, expected \(3,\) or \(3, 1\)"):
        drive(policy, 3)
    with pytest.raises(InputError, match="got command nan in episode 0 at step 0, expected a fin"):
        drive(Constant(np.nan), 3)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    for use in (lambda: expert_episodes(1, 0), lambda: drive(Constant(0), 1), ExpertPolicy):
        with pytest.raises(
            MissingExtraError, match=r"no package 'gymnasium'.*pip install elegans\[control\]"
        ):
            use()


def test_a_broken_package_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "broken_package_of_this_test.py").write_text("import absent_module_of_this_test\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_module_of_this_test") as caught:
        require_extra("broken_package_of_this_test", "control")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.slow
def test_importing_the_task_does_not_import_gymnasium():
    code = "import sys, elegans.tasks; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
