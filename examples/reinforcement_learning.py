"""A circuit of 24 neurons learns to balance a pole by reward, from positions alone.

RecurrentPPO of sb3-contrib trains it on Gymnasium's CartPole-v1 without the two velocities, which
the circuit must find by its memory, until it holds the pole for 475 of 500 steps on the mean. With
``--rewire`` the synapses rewire themselves meanwhile. Needs the extra: pip install 'elegans[rl]'.
``--quick`` shows that everything runs.
"""

import argparse
from functools import partial

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

import elegans
from elegans.integrations.sb3 import LiquidPolicy, RewireCallback
from elegans.wiring import AutoNCP

LIMITS = np.array([2.4, 0.2095], np.float32)
"""Position (m) and angle (rad) at which an episode ends."""


class Positions(gym.ObservationWrapper):
    """Shows the cart's position and the pole's angle only, as shares of their limits."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Leave the velocities out."""
        return observation[[0, 2]] / LIMITS


SOLVED = 475


def make_environment() -> gym.Env:
    return Positions(gym.make("CartPole-v1"))


def environments(count: int, seed: int, training: bool = False) -> VecNormalize:
    return VecNormalize(
        make_vec_env(make_environment, count, seed=seed),
        training,
        norm_obs=False,
        norm_reward=training,
    )


def drive(actor: elegans.Readout, seed: int) -> float:
    """Return the reward of an episode, asked of `elegans.Policy` step by step."""
    environment, policy = make_environment(), elegans.Policy(actor)
    observation, _ = environment.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = int(policy(observation).argmax())  # two outputs: the logits of left and right
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, over = total + float(reward), terminated or truncated
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rewire", action="store_true")
    parser.add_argument("--quick", action="store_true", help="too short a training to learn much")
    arguments = parser.parse_args()
    seed, steps = arguments.seed, 4096 if arguments.quick else arguments.steps
    torch.set_num_threads(1)

    agent = RecurrentPPO(
        LiquidPolicy,
        environments(8, seed, training=True),
        learning_rate=lambda left: 0.02 * left,
        batch_size=512,
        gae_lambda=0.98,
        policy_kwargs={
            "wiring": AutoNCP(24, 4, seed=seed),
            "layer": partial(elegans.LTC, ode_unfolds=3),
        },
        seed=seed,
    )
    enough = EvalCallback(
        environments(20, 1000 + seed),
        StopTrainingOnRewardThreshold(SOLVED),
        n_eval_episodes=20,
        eval_freq=1024,  # of each environment
        verbose=0,
    )
    agent.learn(steps, callback=[enough, RewireCallback(seed=seed)][: 1 + arguments.rewire])

    mean, deviation = evaluate_policy(agent, environments(20, 2000 + seed), n_eval_episodes=20)
    print(
        f"return {mean:.0f} ± {deviation:.0f} of 500 over 20 fresh episodes "
        f"after {agent.num_timesteps} steps"
    )

    actor = agent.policy.actor()
    print(actor.wiring)
    alone = np.mean([drive(actor, seed=3000 + episode) for episode in range(20)])
    print(f"return {alone:.0f} of 500, driven by elegans.Policy")
    assert mean >= (15 if arguments.quick else 450)
    assert abs(alone - mean) <= 100


if __name__ == "__main__":
    main()
