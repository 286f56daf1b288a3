"""Balancing a pole from positions alone, by imitation of an optimal controller.

The task is Gymnasium's CartPole-v1. The expert sees the whole state and pushes by the optimal
linear feedback; the network sees the cart's position and the pole's angle only, so it must
estimate the velocities by its memory. The simulator pushes with ±10 N, by the sign of the command.

Train on the expert's force, not on its sign: near balance the sign flips with every step, and
circuits trained on it kept the pole up for about 60 steps, while regression on the force reaches
all 500. Random actions mixed into the expert's episodes show how to recover.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.control.ensemble_policy import EnsemblePolicy
from elegans.control.policy import Controller
from elegans.data.scale import Scales
from elegans.data.sequences import Array, Sequence
from elegans.ensemble.ensemble import Ensemble
from elegans.errors import InputError
from elegans.extras import require_extra
from elegans.tasks.cartpole_plant import CartPolePlant

EXTRA = "control"
ENVIRONMENT = "CartPole-v1"
MAX_STEPS = 500
NOISE = (0.0, 0.3)
MIN_STEPS = 64
_ATTEMPTS = 50

# Keys of the random streams: a network is never driven from a start that it was trained on, even
# when both are given the same seed.
_TRAINING, _DRIVING = 0, 1


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Episodes that a controller drove.

    Parameters
    ----------
    returns
        Sum of rewards of each episode, shape (episode,): the steps until the pole fell or the
        cart left the track, at most the `max_steps` of `drive`.
    observations
        For each episode the states at which the controller was asked, (time, 4): position in m,
        velocity in m/s, angle in rad, angular velocity in rad/s.
    commands
        For each episode the answers, (time,).
    actions
        For each episode 1 where the cart was pushed to the right and 0 to the left, (time,).
    """

    returns: Array
    observations: tuple[Array, ...]
    commands: tuple[Array, ...]
    actions: tuple[NDArray[np.int64], ...]

    @property
    def mean_return(self) -> float:
        """The mean of `returns`."""
        return float(self.returns.mean())


class ExpertPolicy:
    """The expert as a controller; it needs full observations.

    Examples
    --------
    >>> drive(ExpertPolicy(), episodes=2, full=True).returns.tolist()
    [500.0, 500.0]
    """

    def __init__(self) -> None:
        environment = _make(MAX_STEPS)
        self.plant = CartPolePlant.of(environment)
        environment.close()

    def reset(self, batch: int) -> None:
        """Do nothing: the expert has no memory."""

    def __call__(self, observations: Array) -> Array:
        """Return the optimal commands (batch,) for observations (batch, 4)."""
        if observations.shape[-1] != 4:
            raise InputError(
                f"got observations of shape {observations.shape}, expected (batch, 4), because the "
                "expert needs velocities; drive it with full=True"
            )
        return self.plant.command(observations)


def expert_episodes(
    count: int,
    seed: int,
    *,
    noise: tuple[float, float] = NOISE,
    min_steps: int = MIN_STEPS,
    max_steps: int = MAX_STEPS,
    full: bool = False,
) -> tuple[Sequence, ...]:
    """Return episodes in which the expert balances the pole, disturbed by random actions.

    Parameters
    ----------
    count
        Number of episodes, at least 1. The first episodes of a longer call are the same.
    seed
        At least 0; draws the starts, the noise rates and the random actions.
    noise
        Least and greatest rate of random actions; each episode draws its own rate between them.
    min_steps, max_steps
        Bounds on the steps of an episode, at least 1. Of 1000 episodes with the default noise,
        30 end before 500 steps and one before 64; those that end before `min_steps` are drawn
        again, so that windows of that length can be cut from all.
    full
        Whether the inputs hold both velocities.

    Returns
    -------
    tuple of Sequence
        Inputs (time, 2), position in m and angle in rad; with `full` (time, 4), the observations
        of the simulator: with velocity in m/s and angular velocity in rad/s after the position and
        the angle. Targets (time, 1): the force of the expert, without the noise, / 5 N and clipped
        to ±1. Elapsed times are 1: one control step of 0.02 s.

    Raises
    ------
    MissingExtraError
        When Gymnasium is not installed.
    InputError
        When a number is out of range, or the noise fells the pole before `min_steps` always.

    Examples
    --------
    >>> first, second = expert_episodes(2, seed=0, max_steps=100)
    >>> first.inputs.shape, first.targets.shape, first.elapsed.shape
    ((100, 2), (100, 1), (100,))
    """
    _check(count=count, seed=seed, min_steps=min_steps, max_steps=max_steps)
    low, high = noise
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"got noise {noise}, expected rates between 0 and 1, the least first; use {NOISE}"
        )
    if min_steps > max_steps:
        raise InputError(
            f"got min_steps = {min_steps}, expected at most max_steps = {max_steps}; lower "
            "min_steps"
        )
    plant: CartPolePlant | None = None
    states: dict[int, Array] = {}  # (time, 4) by episode
    for attempt in range(_ATTEMPTS):
        missing = [episode for episode in range(count) if episode not in states]
        if not missing:
            break
        plant, environments = _start(len(missing), max_steps)
        keys: list[_Key] = [(_TRAINING, seed, episode, attempt) for episode in missing]
        act = _disturbed(plant, keys, noise, max_steps)
        visited = [path for path, _ in _lockstep(environments, keys, act)]
        states |= {
            episode: path
            for episode, path in zip(missing, visited, strict=True)
            if len(path) >= min_steps
        }
    if plant is None or len(states) < count:
        raise InputError(
            f"got noise {noise}, with which {count - len(states)} of {count} episodes ended before "
            f"{min_steps} steps in {_ATTEMPTS} attempts, expected milder noise; use {NOISE}, or "
            "lower min_steps"
        )
    return tuple(
        Sequence(
            f"cartpole-{seed}-{episode}",
            plant.observe(states[episode], full),
            plant.command(states[episode])[:, None],
            np.ones(len(states[episode])),
        )
        for episode in range(count)
    )


def drive(
    policy: Controller,
    episodes: int = 20,
    seed: int = 0,
    *,
    members: int = 1,
    max_steps: int = MAX_STEPS,
    full: bool = False,
) -> Rollouts:
    """Let a controller balance the pole in the simulator.

    All episodes advance in lock-step, so the controller is called once a step with a batch, not
    once an episode and step. The push is to the right where the command is above 0.

    Parameters
    ----------
    policy
        An `elegans.Policy` of a layer with one output, or another `Controller`: it answers
        observations (episode, input) in float64 with commands (episode,) or (episode, 1).
    episodes
        Number of episodes, at least 1, each in its own simulator with its own start.
    seed
        Draws the starts, at least 0; they are other starts than those of `expert_episodes`.
    members
        How many networks the controller consists of, at least 1, as an `EnsemblePolicy` does. Each
        drives episodes with the same starts; those of the first member come first.
    max_steps
        Steps after which an episode ends, at least 1.
    full
        Whether the controller sees velocities too; observations are those of `expert_episodes`.

    Raises
    ------
    MissingExtraError
        When Gymnasium is not installed.
    InputError
        When a number is out of range, or the controller answers with the wrong shape or NaN.

    Examples
    --------
    >>> class AlwaysRight:
    ...     def reset(self, batch):
    ...         pass
    ...
    ...     def __call__(self, observations):
    ...         return np.ones(len(observations))
    >>> bool(drive(AlwaysRight(), episodes=5).returns.max() < 12)
    True
    """
    _check(episodes=episodes, seed=seed, members=members, max_steps=max_steps)
    starts: list[_Key] = [(_DRIVING, seed, episode) for episode in range(episodes)]
    keys = starts * members
    episodes = len(keys)
    plant, environments = _start(episodes, max_steps)
    answers: list[Array] = []

    def act(step: int, states: Array) -> NDArray[np.int64]:
        command = np.asarray(policy(plant.observe(states, full)), np.float64)
        if command.shape not in ((episodes,), (episodes, 1)):
            raise InputError(
                f"got commands of shape {command.shape} at step {step}, expected ({episodes},) or "
                f"({episodes}, 1), one an episode; build the circuit with one motor neuron"
            )
        command = command.reshape(episodes)
        answers.append(command)
        return (command > 0).astype(np.int64)

    policy.reset(episodes)
    driven = _lockstep(environments, keys, act)
    commands = [np.array(column) for column in np.array(answers).T]  # episode by episode
    commands = [answer[: len(states)] for answer, (states, _) in zip(commands, driven, strict=True)]
    for episode, command in enumerate(commands):
        if not np.isfinite(command).all():
            raise InputError(
                f"got command {command[~np.isfinite(command)][0]} in episode {episode} at step "
                f"{int(np.argmin(np.isfinite(command)))}, expected a finite number; check that "
                "training did not diverge"
            )
    return Rollouts(
        returns=np.array([reward for _, reward in driven]),
        observations=tuple(states for states, _ in driven),
        commands=tuple(commands),
        actions=tuple((command > 0).astype(np.int64) for command in commands),
    )


def member_returns(
    ensemble: Ensemble,
    scales: Scales | None = None,
    episodes: int = 5,
    seed: int = 0,
    *,
    max_steps: int = MAX_STEPS,
    full: bool = False,
) -> Array:
    """Return the returns of all members of an ensemble, (member, episode), driven at once.

    Parameters
    ----------
    ensemble
        Of layers with one output, such as the network of all lesions in `elegans.lesion`.
    scales
        Those that the layers were trained with, if any.
    episodes, seed, max_steps, full
        As in `drive`; every member has the same starts.

    Raises
    ------
    MissingExtraError, InputError
        As in `drive`.

    Examples
    --------
    >>> import elegans
    >>> networks = Ensemble([elegans.LTC(2, 1), elegans.LTC(2, 1), elegans.LTC(2, 1)])
    >>> member_returns(networks, episodes=2, max_steps=5)
    array([[5., 5.],
           [5., 5.],
           [5., 5.]])
    """
    driven = drive(
        EnsemblePolicy(ensemble, scales),
        episodes,
        seed,
        members=len(ensemble),
        max_steps=max_steps,
        full=full,
    )
    return driven.returns.reshape(len(ensemble), episodes)


# From the number of the step and the states (episode, 4) to the actions (episode,).
_Act = Callable[[int, Array], NDArray[np.int64]]
_Key = tuple[int, ...]  # names a random stream


def _disturbed(
    plant: CartPolePlant, keys: list[_Key], noise: tuple[float, float], max_steps: int
) -> _Act:
    """Return the expert's choice of actions with random ones mixed in, drawn for each key."""
    random = np.empty((max_steps, len(keys)), dtype=np.bool_)
    pushes = np.empty((max_steps, len(keys)), dtype=np.int64)
    for column, key in enumerate(keys):
        generator = np.random.default_rng(key)
        random[:, column] = generator.random(max_steps) < generator.uniform(*noise)
        pushes[:, column] = generator.integers(2, size=max_steps)

    def act(step: int, states: Array) -> NDArray[np.int64]:
        return np.where(random[step], pushes[step], plant.command(states) > 0)

    return act


def _start(count: int, max_steps: int) -> tuple[CartPolePlant, list[Any]]:
    environments = [_make(max_steps) for _ in range(count)]
    return CartPolePlant.of(environments[0]), environments


def _make(max_steps: int) -> Any:
    gymnasium = require_extra("gymnasium", EXTRA)
    # The checker inspects every step for mistakes of an environment's author, at twice the cost.
    return gymnasium.make(ENVIRONMENT, max_episode_steps=max_steps, disable_env_checker=True)


def _lockstep(environments: list[Any], keys: list[_Key], act: _Act) -> list[tuple[Array, float]]:
    """Run all environments to their ends; return the states (time, 4) and the return of each.

    Each environment starts from the random stream of its key.
    """
    starts = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
    states = np.array(
        [
            environment.reset(seed=start)[0]
            for environment, start in zip(environments, starts, strict=True)
        ],
        dtype=np.float64,
    )  # (episode, 4)
    visited: list[list[Array]] = [[] for _ in environments]
    returns = np.zeros(len(environments))
    running = list(range(len(environments)))
    step = 0
    while running:
        actions = act(step, states)
        going = []
        for episode in running:
            visited[episode].append(states[episode].copy())
            after, reward, fell, timed_out, _ = environments[episode].step(int(actions[episode]))
            returns[episode] += reward
            if not (fell or timed_out):
                states[episode] = after
                going.append(episode)
        running = going
        step += 1
    for environment in environments:
        environment.close()
    return [(np.array(path), float(total)) for path, total in zip(visited, returns, strict=True)]


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        if value < least:
            raise InputError(
                f"got {name} = {value}, expected at least {least}; choose a larger number"
            )
