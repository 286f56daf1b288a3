"""Closed loops of many networks at once: each as if it were driven alone."""

import numpy as np
import pytest
import torch
from test_lesions import by_hand

import elegans
from elegans.control.ensemble_policy import EnsemblePolicy
from elegans.data import Scales
from elegans.ensemble import Ensemble
from elegans.errors import InputError
from elegans.wiring import AutoNCP, Synapses, Wiring

pytest.importorskip("gymnasium")

from elegans.tasks import cartpole

SCALES = Scales.fit(cartpole.expert_episodes(2, seed=0))

KINDS = {
    "LTC": lambda seed: elegans.LTC(2, AutoNCP(8, 1, seed=seed)),
    "time first": lambda seed: elegans.LTC(2, AutoNCP(8, 1, seed=seed), batch_first=False),
    "last answer": lambda seed: elegans.LTC(2, AutoNCP(8, 1, seed=seed), return_sequences=False),
    "memory": lambda seed: elegans.LTC(2, AutoNCP(8, 1, seed=seed), mixed_memory=True),
    "CTRNN": lambda seed: elegans.CTRNN(2, AutoNCP(8, 1, seed=0)),
    "readout": lambda seed: elegans.Readout(elegans.LTC(2, AutoNCP(8, 1, seed=seed)), 1),
}


@pytest.mark.parametrize("scales", [None, SCALES], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_member_acts_as_its_own_policy(kind, scales):
    members = [KINDS[kind](seed).double() for seed in range(3)]
    policy = EnsemblePolicy(Ensemble(members), scales)
    alone = [elegans.Policy(member, scales) for member in members]
    rng = np.random.default_rng(0)
    for episodes in (2, 1):
        policy.reset(3 * episodes)
        for one in alone:
            one.reset(episodes)
        for _ in range(4):
            seen = rng.normal(size=(3, episodes, 2))
            actions = policy(seen.reshape(-1, 2)).reshape(3, episodes, 1)
            for k, one in enumerate(alone):
                np.testing.assert_allclose(actions[k], one(seen[k]), atol=1e-10)


def test_each_member_drives_as_if_alone():
    """Starts are those of a single network; returns differ between the members."""
    members = [balancer() for _ in range(4)]
    for member, weight in zip(members, (-3.0, 0.3, 3.0, 9.0), strict=True):
        torch.nn.init.constant_(member.cell.recurrent.weight, weight)
    found = cartpole.member_returns(Ensemble(members), episodes=3, seed=4)
    for returns, member in zip(found, members, strict=True):
        policy = elegans.Policy(member)
        assert returns.tolist() == cartpole.drive(policy, 3, 4).returns.tolist()
    assert len({*found.mean(1)}) > 1


def test_refusals():
    ensemble = Ensemble([KINDS["LTC"](0), KINDS["LTC"](1)])
    policy = EnsemblePolicy(ensemble)
    for rows in (0, 1, 3):
        with pytest.raises(InputError, match=rf"got {rows} episodes for 2 members"):
            policy.reset(rows)
    with pytest.raises(InputError, match=r"got observations of shape \(2, 3\), expected \(member"):
        policy(np.zeros((2, 3)))
    policy.reset(4)
    with pytest.raises(InputError, match=r"got observations of shape \(6, 2\), expected \(4, 2\)"):
        policy(np.zeros((6, 2)))
    with pytest.raises(InputError, match="an ensemble of Linear, expected one of layers"):
        EnsemblePolicy(Ensemble([torch.nn.Linear(2, 1)]))
    with pytest.raises(InputError, match="scales of 2 inputs and 1 targets, expected 3 and 2"):
        EnsemblePolicy(Ensemble([elegans.LTC(3, 2)]), SCALES)
    with pytest.raises(InputError, match="got members = 0, expected at least 1"):
        cartpole.drive(policy, members=0)
    policy = EnsemblePolicy(ensemble)
    policy(np.zeros((2, 2)))
    before = policy(np.ones((2, 2)))
    policy.reset()
    policy(np.zeros((2, 2)))
    with pytest.raises(InputError, match="input"):
        policy(np.full((2, 2), np.nan))
    np.testing.assert_array_equal(policy(np.ones((2, 2))), before)


def balancer():
    """Return a circuit that pushes to where the pole leans, and falls after some 40 steps.

    One neuron carries the angle to the command; the other is reached by both, and reaches nothing.
    """
    wiring = Wiring(
        2,
        {"motor": 1, "inter": 2},
        Synapses([1, 1], [0, 2], [1, 1]),
        Synapses([0, 1], [2, 1], [1, 1]),
        sensory_names=["position", "angle"],
        names=["force", "leaning", "idle"],
    )
    torch.manual_seed(0)
    model = elegans.CTRNN(2, wiring, activation="tanh")
    with torch.no_grad():
        model.cell.recurrent.weight.fill_(3.0)
        model.cell.sensory.weight.fill_(3.0)
        model.cell.bias.zero_()
        model.cell.tau.fill_(-3.0)  # under a softplus: fast
        model.cell.output_mapping.bias.zero_()
    return model


def test_a_pole_needs_what_carries_its_angle():
    model = balancer()

    def returns(network):
        return cartpole.member_returns(network, episodes=4, seed=1).mean(1)

    kinds = ["neurons", "synapses", "inputs"]
    study = elegans.lesion(model, returns, kinds=kinds, greater_is_better=True)
    needed = {lesion.name for lesion in study.needed()}
    assert needed == {"force", "leaning", "angle", "angle -> leaning", "leaning -> force"}
    assert study.intact == cartpole.drive(elegans.Policy(model), 4, 1).mean_return
    for lesion in study:
        if lesion.name != "force":
            alone = cartpole.drive(elegans.Policy(by_hand(model, lesion)), 4, 1)
            assert lesion.score == alone.mean_return
            assert lesion.need == study.intact - lesion.score
