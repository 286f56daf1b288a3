"""Liquid policies in RecurrentPPO and PPO: states, episodes, saving, rewiring."""

import copy
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import FrameStackObservation
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack

import elegans
from elegans.errors import InputError, PruningError
from elegans.integrations.sb3 import (
    NEEDS_LOSS,
    LayerAsLSTM,
    LiquidExtractor,
    LiquidPolicy,
    RewireCallback,
)
from elegans.pruning import RULES, PruneRewire
from elegans.wiring import AutoNCP

WIRING = AutoNCP(12, 3, seed=1)
LAYERS = {
    "LTC": elegans.LTC,
    "LTC, mixed memory": partial(elegans.LTC, mixed_memory=True),
    "CTRNN": elegans.CTRNN,
    "wired CfC": elegans.CfC,
}


def agent(env="CartPole-v1", envs=2, algorithm=RecurrentPPO, policy=LiquidPolicy, **settings):
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "seed": 0} | settings
    settings.setdefault("policy_kwargs", {"wiring": WIRING})
    return algorithm(policy, make_vec_env(env, envs, seed=0), **settings)


@pytest.mark.parametrize("read", ["all", "motor"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_sequence_with_episodes_is_the_episodes_one_by_one(make, read):
    circuit = LayerAsLSTM(make(2, WIRING), read)
    x = torch.randn(3, 7, 2)
    starts = torch.zeros(3, 7)
    starts[0, 0] = starts[1, 3] = starts[2, 6] = starts[1, 4] = 1
    before = torch.randn(2, 1, 3, 12) / 4
    with torch.no_grad():
        values, after = circuit(x, tuple(before), starts)
        for k in range(3):
            state = tuple(part[:, k : k + 1] for part in before)
            for t in range(7):
                if starts[k, t]:
                    state = tuple(torch.zeros_like(part) for part in state)
                value, state = circuit(x[k : k + 1, t : t + 1], state, torch.zeros(1, 1))
                torch.testing.assert_close(value[0, 0], values[k, t], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(state[0][:, 0], after[0][:, k], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(state[1][:, 0], after[1][:, k], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["circuit", "shared", "linear"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_what_is_trained_is_what_acted(make, critic):
    """Before the first update the sequences give the probabilities of the steps, exactly."""
    settings = {"wiring": WIRING, "layer": make, "critic": critic}
    trained = agent(n_steps=64, batch_size=128, n_epochs=1, policy_kwargs=settings)
    ratios = []
    evaluate = trained.policy.evaluate_actions

    def spied(observations, actions, states, starts):
        values, logs, entropy = evaluate(observations, actions, states, starts)
        ratios.append(logs.detach())
        return values, logs, entropy

    trained.policy.evaluate_actions = spied
    olds = []
    get = trained.rollout_buffer.get

    def kept(size):
        for data in get(size):
            olds.append((data.old_log_prob, data.mask > 0))
            yield data

    trained.rollout_buffer.get = kept
    trained.learn(128)
    assert len(ratios) == 1
    (old, mask), new = olds[0], ratios[0]
    assert mask.sum() == 128
    torch.testing.assert_close(new[mask], old[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_an_agent_is_saved_and_loaded_after_rewiring(tmp_path):
    trained, rewiring = agent(n_epochs=10), RewireCallback("free", seed=3)
    budget = sum(layer.synapse_count for layer in trained.policy.circuits())
    trained.learn(640, callback=rewiring)
    assert rewiring.rewirer.steps == 10 * 10  # rollouts, epochs
    assert rewiring.rewirer.counts["rewired"] > 0
    assert sum(layer.synapse_count for layer in trained.policy.circuits()) == budget
    trained.learn(64)
    assert rewiring.rewirer.steps == 100  # it ended with its training

    trained.save(tmp_path / "agent")
    trained.policy.save(tmp_path / "policy")
    loaded = RecurrentPPO.load(tmp_path / "agent")
    alone = LiquidPolicy.load(tmp_path / "policy")
    observation = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    expected, state = trained.predict(observation, deterministic=True)
    for each in (loaded, alone):
        action, after = each.predict(observation, deterministic=True)
        assert (action == expected).all()
        np.testing.assert_array_equal(after[0], state[0])
    assert loaded.policy.circuits()[0].wiring == trained.policy.circuits()[0].wiring
    loaded.set_env(make_vec_env("CartPole-v1", 2, seed=0))
    loaded.learn(64)


def test_an_episode_that_begins_forgets_and_the_others_go_on():
    policy = agent().policy
    observations = np.ones((2, 4), np.float32)
    _, state = policy.predict(observations, None, np.array([True, True]))
    _, later = policy.predict(observations, state, np.array([True, False]))
    np.testing.assert_allclose(later[0][:, 0], state[0][:, 0], atol=1e-6)
    assert abs(later[0][:, 1] - state[0][:, 1]).max() > 1e-3


def test_the_actor_is_a_model_of_this_library():
    trained = agent()
    actor = trained.policy.actor()
    x = torch.randn(1, 5, 4)
    state = (torch.zeros(1, 1, 12), torch.zeros(1, 1, 12))
    expected, _ = trained.policy.get_distribution(x[0], state, torch.zeros(5))
    logits = actor(x)[0][0]
    torch.testing.assert_close(logits.log_softmax(-1), expected.distribution.logits)
    actions = elegans.Policy(actor)
    for step in x[0]:
        last = actions(step.numpy())
    np.testing.assert_allclose(last, logits[-1].detach(), atol=1e-5)


@pytest.mark.slow
def test_continuous_actions_and_dense_layers():
    settings = {"wiring": WIRING, "net_arch": [8], "read": "motor"}
    trained = agent("Pendulum-v1", policy_kwargs=settings).learn(128)
    action, _ = trained.predict(np.zeros((2, 3), np.float32))
    assert action.shape == (2, 1)
    with pytest.raises(InputError, match=r"read='motor' and net_arch=\[8\].*without net_arch"):
        trained.policy.actor()


def test_explicit_constraints_hold_after_each_step():
    make = partial(elegans.LTC, implicit_param_constraints=False)
    trained = agent(learning_rate=1.0, policy_kwargs={"wiring": WIRING, "layer": make}).learn(64)
    for layer in trained.policy.circuits():
        assert (layer.cell.recurrent.weight >= 0).all()
        assert (layer.cell.recurrent.weight == 0).any()  # at this rate some would be below


def test_a_copy_keeps_explicit_constraints():
    """An optimiser leaves its hooks behind when it is copied."""
    make = partial(elegans.LTC, implicit_param_constraints=False)
    original = agent(policy_kwargs={"wiring": WIRING, "layer": make}).policy
    policy = copy.deepcopy(original)
    for one, other in ((policy, original), (original, policy)):
        weights = [each.circuits()[0].cell.recurrent.weight for each in (one, other)]
        with torch.no_grad():
            for weight in weights:
                weight.fill_(-1.0)
        one.optimizer.step()
        assert (weights[0] == 0).all()
        assert (weights[1] == -1).all()


class Dictionaries(gym.Env):
    """Two observations by name."""

    observation_space = Dict({"a": Box(-1, 1, (2,)), "b": Box(-1, 1, (1,))})
    action_space = Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def test_observations_by_name():
    settings = {"wiring": WIRING}
    trained = RecurrentPPO(LiquidPolicy, Dictionaries(), n_steps=8, policy_kwargs=settings)
    trained.learn(8)
    assert trained.policy.circuits()[0].input_size == 3
    action, _ = trained.predict(trained.observation_space.sample())
    assert action.shape == (1,)
    assert trained.policy.actor().input_size == 3


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_algorithms_without_memory_are_told(algorithm):
    plain = algorithm(LiquidPolicy, "CartPole-v1", n_steps=64, policy_kwargs={"wiring": WIRING})
    with pytest.raises(InputError, match=r"RecurrentPPO passes them; take it in place of PPO"):
        plain.learn(64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_refused(dtype):
    make = partial(elegans.LTC, dtype=dtype)
    with pytest.raises(InputError, match=f"computes in {dtype}, expected torch.float32"):
        agent(policy_kwargs={"wiring": WIRING, "layer": make})
    with pytest.raises(InputError, match=f"computes in {dtype}, expected torch.float32"):
        LiquidExtractor(Box(-1, 1, (4, 2)), 8, make)


@pytest.mark.slow
def test_history_of_either_wrapper_is_read_alike():
    stacked = FrameStackObservation(gym.make("CartPole-v1"), 6, padding_type="zero")
    settings = {"features_extractor_class": LiquidExtractor, "net_arch": []}
    options = {"wiring": WIRING}
    trained = PPO(
        "MlpPolicy",
        stacked,
        n_steps=32,
        batch_size=32,
        policy_kwargs=settings | {"features_extractor_kwargs": options},
        seed=0,
    )
    trained.learn(64)
    flat = VecFrameStack(make_vec_env("CartPole-v1", 2), 6)
    other = LiquidExtractor(flat.observation_space, history=6, **options)
    extractor = trained.policy.features_extractor
    other.load_state_dict(extractor.state_dict())
    x = torch.randn(3, 6, 4)
    torch.testing.assert_close(other(x.flatten(1)), extractor(x))
    expected = extractor.circuit.layer(x, return_states=True)[2][:, -1]
    torch.testing.assert_close(extractor(x), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"got no wiring, expected one in policy_kwargs"),
        ({"wiring": 8, "read": "one"}, r"unknown read 'one', expected one of \('all', 'motor'\)"),
        ({"wiring": 8, "critic": "none"}, r"unknown critic 'none', expected one of"),
        ({"wiring": 8, "lstm_hidden_size": 3}, r"got 'lstm_hidden_size' for a policy without LSTM"),
        (
            {"wiring": 8, "layer": partial(elegans.LTC, batch_first=False)},
            r"got a layer without batch_first or return_sequences",
        ),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        agent(policy_kwargs=settings)


@pytest.mark.parametrize(
    ("shape", "history"), [((4,), None), ((4,), 3), ((4,), 0), ((2, 3, 4), None), ((), 2)]
)
def test_observations_without_history(shape, history):
    with pytest.raises(InputError, match=r"expected \(time, observation\); wrap"):
        LiquidExtractor(Box(-1, 1, shape), 8, history=history)


def test_rewiring_where_steps_are_not_known():
    other = A2C("MlpPolicy", "CartPole-v1", n_steps=8)
    with pytest.raises(InputError, match="got A2C, whose optimiser steps do not follow"):
        other.learn(8, callback=RewireCallback())
    with pytest.raises(InputError, match=r"got target_kl=0\.1, by which updates end"):
        agent(target_kl=0.1).learn(64, callback=RewireCallback())


def train_without_a_loss(policy, rule):
    rewirer = PruneRewire.from_rule(rule, policy, policy.optimizer, 20)
    state = (torch.zeros(1, 1, 12), torch.zeros(1, 1, 12))
    for _ in range(20):
        policy.predict_values(torch.randn(5, 4), state, torch.zeros(5)).sum().backward()
        distribution, _ = policy.get_distribution(torch.randn(5, 4), state, torch.zeros(5))
        distribution.distribution.logits.square().sum().backward()
        policy.optimizer.step()
        rewirer.step()


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"gradual"}))
def test_rules_that_ask_for_a_loss_are_refused_and_others_run(rule):
    if rule in NEEDS_LOSS:
        with pytest.raises(InputError, match=f"got the rule '{rule}', which asks for a loss"):
            RewireCallback(rule)
        with pytest.raises(PruningError, match="loss of the batch"):
            train_without_a_loss(agent().policy, rule)
        return
    callback = RewireCallback(rule)
    agent(n_epochs=10).learn(64 * 3, callback=callback)
    assert callback.rewirer.steps == 30


@pytest.mark.slow
def test_a_training_after_an_interruption_rewires_once(monkeypatch):
    class Stop(BaseCallback):
        def _on_step(self):
            if self.num_timesteps > 150:
                raise KeyboardInterrupt
            return True

    trained, first, second = agent(n_epochs=10), RewireCallback(), RewireCallback()
    with pytest.raises(KeyboardInterrupt):
        trained.learn(64 * 6, callback=[first, Stop()])
    seen = first.rewirer.steps
    trained.learn(64 * 2, callback=second)
    assert (first.rewirer.steps, second.rewirer.steps) == (seen, 20)
    trained.learn(64)
    assert (first.rewirer.steps, second.rewirer.steps) == (seen, 20)


@pytest.mark.slow
def test_a_thinned_agent_goes_on():
    trained, callback = agent(n_epochs=10), RewireCallback("development", synapses=45)
    trained.learn(64 * 3, callback=callback)
    left = callback.rewirer.budget
    assert left in (44, 45)  # each circuit is rounded by itself
    trained.learn(64 * 2, callback=callback, reset_num_timesteps=False)
    assert callback.rewirer.budget == left
    assert callback.rewirer.steps == 20


def test_an_extractor_with_a_circuit_before_the_policys_own():
    settings = {"wiring": WIRING, "features_extractor_class": LiquidExtractor}
    settings["features_extractor_kwargs"] = {"wiring": 9, "history": 2}
    trained = agent(policy_kwargs=settings)  # of four numbers, twice two
    assert [layer.state_size for layer in trained.policy.circuits()] == [12, 12]
    with pytest.raises(InputError, match="got an actor behind LiquidExtractor"):
        trained.policy.actor()


def test_layers_that_do_not_fit():
    with pytest.raises(InputError, match="got a layer of Readout, expected one such as"):
        LayerAsLSTM(elegans.Readout(elegans.LTC(2, 4), 1))
    make = partial(elegans.LTC, implicit_param_constraints=False)
    with pytest.raises(InputError, match="got a layer with implicit_param_constraints=False"):
        LiquidExtractor(Box(-1, 1, (3, 2)), 8, layer=make)
