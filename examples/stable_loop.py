"""A circuit that is trained in a control loop, and cannot make it unstable.

A cart balances a pole of which it sees position and angle. An observer and linear feedback do it
near rest; a circuit that hears the observer's innovations (the parametrisation of Youla and Kucera)
is trained to do it from farther away, while it is kept certified: by imitation of a regulator that
sees the whole state, by the gradient of the cost through the simulated plant, or by reward alone.
Whatever it learns, the loop with the linear plant is proved stable. With the plant as it is, the
share of starts that end upright is sampled, and a box of starts is proved from which no state ever
leaves its limits; --out draws one beside the other. Needs SymPy, and for --by reward
Stable-Baselines3: pip install 'elegans[rl]'. --quick takes a few training steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import elegans
from elegans.control import Plant, Youla, cart_pole, largest_safe_set, simulate
from elegans.control.loops.safety import SafeSet
from elegans.proofs import ContractionCondition
from elegans.wiring import AutoNCP

SEED = 3
EPISODE = 150
"""Control steps of 0.02 s."""

FARTHEST = torch.tensor([1.0, 2.0, 1.0, 3.0])
"""Of the starts: m, m/s, rad, rad/s."""

COSTS = ((1.0, 1.0, 10.0, 1.0), (0.1,))
"""Of states and control, for the feedback."""

TEACHER_COSTS = ((0.1, 0.1, 10.0, 1.0), (0.01,))
"""For the regulator that sees the whole state."""

NOISE = ((1e-4, 1e-2, 1e-4, 1e-2), (1e-5, 1e-5))
"""Variances of states and outputs, for the observer."""

RANGE, STRENGTH = 0.1, 50.0
"""The innovation that the circuit is given as 1, m and rad, and the force of its output 1, N."""

SHAPE = (1.0, 1.0, 0.2, 1.0)
"""Of the box of starts that is proved."""

LIMITS = (2.4, np.inf, 0.2095, np.inf)
"""Of CartPole-v1."""


def starts(count: int, seed: int) -> torch.Tensor:
    """Return states (count, 4) drawn uniformly."""
    generator = torch.Generator().manual_seed(seed)
    return FARTHEST * (2 * torch.rand(count, 4, generator=generator) - 1)


def recovers(controller: Youla, plant: Plant, begin: torch.Tensor) -> torch.Tensor:
    """Return after which starts (..., 4) the pole is within 3 degrees in the end, (...,)."""
    with torch.no_grad():
        states, _ = simulate(controller, plant, begin.reshape(-1, 4), 2 * EPISODE)
    return (states[-1, :, 2].abs() < 0.05).reshape(begin.shape[:-1])


def upright(controller: Youla, plant: Plant, count: int = 400) -> float:
    """Return the share of starts after which the pole is upright in the end."""
    return float(recovers(controller, plant, starts(count, SEED + 1)).float().mean())


def draw_regions(loops: Mapping[str, tuple[Youla, SafeSet | None]], plant: Plant) -> Figure:
    """Draw from which angles and their speeds loops recover, sampled, and from which it is proved.

    The cart is at rest in the middle. Both axes are logarithmic on both sides of 0.
    """
    half = np.geomspace(2e-3, 3.0, 45)
    ends = torch.from_numpy(np.concatenate([-half[::-1], [0.0], half])).float()
    begin = torch.zeros(len(ends), len(ends), 4)
    begin[..., 2], begin[..., 3] = ends, ends[:, None]
    figure = Figure(figsize=(4.5 * len(loops), 4.6), layout="constrained")
    for ax, (title, (controller, safe)) in zip(
        figure.subplots(1, len(loops), sharey=True), loops.items(), strict=True
    ):
        where = recovers(controller, plant, begin).numpy()
        ax.contourf(ends, ends, where, [0.5, 1.5], colors=["#9ecae1"])
        ax.set_xscale("symlog", linthresh=2e-3)
        ax.set_yscale("symlog", linthresh=2e-3)
        proved = "nothing proved"
        if safe is not None:
            angle, speed = safe.start[2:]
            ax.fill([-angle, angle, angle, -angle], [-speed, -speed, speed, speed], "#08519c")
            proved = f"proved: {np.degrees(angle):.2g} degrees and {speed:.2g} rad/s"
        ax.set_title(f"{title}\nlight: recovers, sampled\ndark: {proved}", fontsize=9)
        ax.set_xticks([-1, -0.01, 0, 0.01, 1])
        ax.set_xlabel("angle at the start (rad)")
    figure.axes[0].set_ylabel("speed of the angle at the start (rad/s)")
    return figure


def cost(states: torch.Tensor) -> torch.Tensor:
    """Return the cost of states (..., 4), at most 1: a pole that has fallen costs no more."""
    return torch.tanh(4 * states[..., 2].square() + 0.1 * states[..., 0].square())


def train(controller: Youla, plant: Plant, steps: int, by: str) -> None:
    """Train the circuit with gradients: through the plant, or towards a teacher's controls."""
    condition = ContractionCondition(controller.circuit, (-1.0, 1.0))
    optimizer = torch.optim.Adam(controller.circuit.parameters(), 0.02)
    teacher = torch.tensor(plant.linear.feedback(*TEACHER_COSTS), dtype=torch.float32)
    for step in range(steps):
        optimizer.zero_grad()
        begin, through = starts(48, 1000 + step), by == "simulation"
        states, controls = simulate(controller, plant, begin, EPISODE, through_plant=through)
        if through:
            loss = cost(states).mean()
        else:  # of a teacher that would push with 200 N and more the pole has fallen
            wanted = -(states[:-1] @ teacher.T)
            up = (wanted.abs() < 200).float()
            wanted = (wanted / 20).clamp(-5, 5)
            loss = torch.nn.functional.huber_loss(up * controls / 20, up * wanted, delta=0.5)
        (loss + condition.penalty()).backward()
        torch.nn.utils.clip_grad_norm_(controller.circuit.parameters(), 1.0)
        optimizer.step()
    if not condition.holds():
        condition.establish()


def train_by_reward(silent: Youla, plant: Plant, steps: int) -> elegans.Readout:
    """Return a circuit that proximal policy optimisation has trained, and kept certified."""
    import gymnasium as gym
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    from elegans.integrations.sb3 import LiquidPolicy

    A, B, C = plant.linear.dynamics, plant.linear.control, plant.linear.output
    K, L = silent.exact("feedback"), silent.exact("observer")

    class Loop(gym.Env):
        """Plant, observer and feedback: shows the innovations, adds the action to the force."""

        observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
            super().reset(seed=seed)
            self.state = FARTHEST.numpy() * self.np_random.uniform(-1, 1, 4)
            self.estimate, self.time = np.zeros(4), 0
            return self.heard(), {}

        def heard(self) -> Any:
            self.innovation = C @ (self.state - self.estimate)
            return np.clip(self.innovation / RANGE, -1, 1).astype(np.float32)

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            force = STRENGTH * np.clip(action, -1, 1) - K @ self.estimate
            given = (torch.from_numpy(array)[None] for array in (self.state, force))
            self.state = plant.advance(*given)[0].numpy()
            self.estimate = A @ self.estimate + B @ force + L @ self.innovation
            self.time += 1
            fallen = bool(np.abs(self.state).max() > 20)
            reward = 1 - float(cost(torch.from_numpy(self.state)))
            return self.heard(), reward, fallen, self.time >= EPISODE, {}

    agent = RecurrentPPO(
        LiquidPolicy,
        make_vec_env(Loop, 8, seed=SEED),
        learning_rate=lambda left: 0.01 * left,
        batch_size=512,
        gae_lambda=0.98,
        policy_kwargs={"wiring": AutoNCP(16, 1, sparsity_level=0.6, seed=SEED), "log_std_init": -1},
        seed=SEED,
    )
    condition = ContractionCondition(agent.policy.circuits()[0], (-1.0, 1.0))

    class Certified(BaseCallback):
        """Before each collection of episodes, the actor is made to contract."""

        def _on_rollout_start(self) -> None:
            if not condition.holds():
                condition.establish()

        def _on_step(self) -> bool:
            return True

    agent.learn(steps, callback=Certified())
    if not condition.holds():
        condition.establish()
    return agent.policy.actor()


def main(by: str, quick: bool, out: Path | None) -> None:
    torch.manual_seed(SEED)
    plant = cart_pole()
    gains = plant.linear.feedback(*COSTS), plant.linear.observer(*NOISE)
    circuit: Any = elegans.LTC(
        2,
        AutoNCP(16, 1, sparsity_level=0.6, seed=SEED),
        generator=torch.Generator().manual_seed(SEED),
    )
    controller = Youla(plant.linear, circuit, *gains, ranges=RANGE, strength=STRENGTH)
    silent = Youla(plant.linear, circuit, *gains, strength=0.0)
    alone, untrained = upright(silent, plant), upright(controller, plant)
    print(f"upright without the circuit {alone:.1%}, with it untrained {untrained:.1%}")
    without = largest_safe_set(silent, plant, silent.proof(), SHAPE, LIMITS)
    print("proved without:", without)

    if by == "reward":
        circuit = train_by_reward(silent, plant, 2048 if quick else 100_000)
        controller = Youla(plant.linear, circuit, *gains, ranges=RANGE, strength=STRENGTH)
    else:
        train(controller, plant, 3 if quick else 150, by)
    trained = upright(controller, plant)
    proof = controller.proof()
    print(f"upright with the circuit trained by {by} {trained:.1%}")
    print(proof)
    safe = largest_safe_set(controller, plant, proof, SHAPE, LIMITS)
    print("proved:", safe)
    loops = {"without the circuit": (silent, without), f"trained by {by}": (controller, safe)}
    share, weaker = 1.0, controller
    while safe is None and share > 1e-4:
        share /= 2
        weaker = Youla(plant.linear, circuit, *gains, ranges=RANGE, strength=share * STRENGTH)
        safe = largest_safe_set(weaker, plant, weaker.proof(), SHAPE, LIMITS)
    if share < 1:
        print(f"at 1/{1 / share:.0f} of its strength {upright(weaker, plant):.1%}, proved:", safe)
        loops[f"trained, at 1/{1 / share:.0f} of its strength"] = weaker, safe
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        draw_regions(loops, plant).savefig(out / "stable_loop.png", dpi=120)
    assert proof.factor < 1
    if not quick:
        assert trained > alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    ways = ("imitation", "simulation", "reward")
    parser.add_argument("--by", choices=ways, default="imitation")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for a picture, stable_loop.png")
    arguments = parser.parse_args()
    main(arguments.by, arguments.quick, arguments.out)
