"""`elegans demo`: a circuit that rewires itself learns to balance a pole from positions."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from elegans.cli.building import named_wiring
from elegans.cli.certifying import CERTIFICATE, condition_within, save_certificate
from elegans.cli.commands import Demo
from elegans.cli.printing import print_files, print_table, rollback_rows
from elegans.control.policy import Policy
from elegans.data import Scales, Sequence, averaged_targets, cut_windows
from elegans.errors import InputError
from elegans.layers.description import circuit_rows
from elegans.ltc.layer import LTC
from elegans.reporting import draw_changes, draw_drives, draw_learning, draw_spectrum, save_figure
from elegans.tasks import cartpole
from elegans.training import Result, RunFolder, TrainingConfig, fit
from elegans.wiring import AutoNCP

# Gates take effect one after the other, once an unfold: with two unfolds the angle's change
# reached the motor neuron too late, and episodes ended after 50 steps instead of 500.
UNFOLDS = 4

# The simulator pushes with full force to either side; see `averaged_targets`.
AVERAGED_STEPS = 4
VALIDATION_SHARE = 0.15
PICTURES = ("learning.png", "wiring.png", "drives.png", "spectrum.png")


@dataclass(frozen=True)
class Demonstrations:
    """Scaled episodes of the expert."""

    train: tuple[Sequence, ...]
    validation: tuple[Sequence, ...]
    scales: Scales


def run(command: Demo) -> None:
    """Train, drive, print a table, draw the pictures."""
    folder = RunFolder.open(command.out) if command.resume else RunFolder(command.out)
    with folder.locked():
        _run(command, folder)


def _run(command: Demo, folder: RunFolder) -> None:
    config = TrainingConfig(steps=command.steps, seed=command.seed)
    if command.drives < 1:
        raise InputError(
            f"got {command.drives} drives, expected at least 1; leave it out for the usual number"
        )
    if not command.resume:
        folder.require_free()
    task = demonstrations(command.episodes, command.seed, config.window)
    model = untrained(command.units, command.seed)
    settings = {
        "command": "demo",
        "demo": {"units": command.units, "episodes": command.episodes}
        | ({"certify": True} if command.certify else {}),
        "training": asdict(config),
    }
    condition = None
    if command.certify:
        limits = cartpole.ExpertPolicy().plant.limits
        condition = condition_within(model, task.scales, -limits, limits)
    if command.resume:
        folder.require_same(model, settings, task.scales)
    else:
        folder = RunFolder.create(command.out, model, settings, task.scales)

    print(f"CartPole-v1 from positions alone: {model.wiring}")
    result = fit(
        model,
        cut_windows(task.train, config.window, config.training_stride),
        cut_windows(task.validation, config.window),
        config,
        run=folder,
        resume=command.resume,
        progress=not command.quiet,
        condition=condition,
    )
    rollouts = cartpole.drive(Policy(model, task.scales), command.drives, command.seed)
    expert = cartpole.drive(cartpole.ExpertPolicy(), command.drives, command.seed, full=True)
    _draw(folder, model, result, task, rollouts)
    print_table(
        circuit_rows(model)
        | {
            "training": f"{result.steps} steps in {result.seconds:.0f} s",
            "validation": f"error {result.best_loss:.3f} of variance 1, at step {result.best_step}",
            "rewired": f"{sum(edit.grown is not None for edit in result.ledger)} synapses",
            **rollback_rows(result),
            "mean return": f"{rollouts.mean_return:.1f} of {cartpole.MAX_STEPS} over "
            f"{command.drives} fresh episodes (expert {expert.mean_return:.1f})",
        }
        | (
            {}
            if condition is None
            else {"contraction": save_certificate(folder, condition, 1.0, "control step")}
        )
    )
    print_files(folder.path, PICTURES if condition is None else (*PICTURES, CERTIFICATE))


def demonstrations(episodes: int, seed: int, window: int) -> Demonstrations:
    """Return scaled episodes of the expert, the last 15 % for validation.

    Raises
    ------
    InputError
        There are fewer than two episodes.
    """
    if episodes < 2:
        raise InputError(
            f"got {episodes} episodes, expected at least 2, one to train and one to validate; "
            "the default is 40"
        )
    demonstrated = averaged_targets(
        cartpole.expert_episodes(episodes, seed, min_steps=max(window, cartpole.MIN_STEPS)),
        AVERAGED_STEPS,
    )
    train_count = episodes - max(1, round(VALIDATION_SHARE * episodes))
    train, validation = demonstrated[:train_count], demonstrated[train_count:]
    scales = Scales.fit(train)
    return Demonstrations(scales.apply(train), scales.apply(validation), scales)


def untrained(units: int, seed: int) -> LTC:
    """Return a neural circuit policy with two inputs and one output."""
    return LTC(
        2,
        named_wiring(AutoNCP(units, output_size=1, seed=seed), ("position", "angle"), ("force",)),
        ode_unfolds=UNFOLDS,
        generator=torch.Generator().manual_seed(seed),
    )


def _draw(
    folder: RunFolder, model: LTC, result: Result, task: Demonstrations, rollouts: cartpole.Rollouts
) -> None:
    learning, wiring, drives, spectrum = (folder.path / name for name in PICTURES)
    save_figure(
        draw_learning(
            result.metrics,
            [edit.to_dict() for edit in result.ledger],
            error="mean squared error (targets have variance 1)",
        ),
        learning,
    )
    save_figure(draw_changes(model, folder.initial_wiring), wiring)
    save_figure(draw_drives(rollouts), drives)
    inputs = torch.from_numpy(task.validation[0].inputs).to(next(model.parameters()))
    save_figure(draw_spectrum(model, inputs, step="control step of 0.02 s"), spectrum)
