"""Which neurons of a trained circuit a pole needs: every lesion drives the simulator at once.

A circuit of 20 neurons learns to balance a pole as in cartpole_policy.py. Then each neuron, each
synapse and each input is silenced in turn: some hundred circuits, which drive five episodes each in
one run. Writes lesions.png and lesions.csv to the folder given by --out. Needs Gymnasium:
pip install 'elegans[control]'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import elegans
from elegans.data import Scales, averaged_targets, cut_windows
from elegans.reporting import save_figure
from elegans.tasks import cartpole
from elegans.training import TrainingConfig, fit
from elegans.wiring import AutoNCP

SEED = 15


def main(out: Path) -> None:
    episodes = averaged_targets(cartpole.expert_episodes(40, seed=SEED), steps=4)
    scales = Scales.fit(episodes[:34])
    model = elegans.LTC(
        2,
        AutoNCP(units=20, output_size=1, seed=SEED),
        ode_unfolds=4,
        generator=torch.Generator().manual_seed(SEED),
    )
    config = TrainingConfig(steps=800, window=32, seed=SEED)
    fit(
        model,
        cut_windows(scales.apply(episodes[:34]), config.window, config.training_stride),
        cut_windows(scales.apply(episodes[34:]), config.window),
        config,
        progress=False,
    )

    def mean_returns(network):
        return cartpole.member_returns(network, scales, episodes=5, seed=SEED).mean(axis=1)

    study = elegans.lesion(
        model, mean_returns, kinds=("neurons", "synapses", "inputs"), greater_is_better=True
    )
    print(study)
    spared = [lesion.name for lesion in study if lesion.kind == "neuron" and lesion.need <= 0]
    print(f"{len(spared)} of {model.state_size} neurons can go, one at a time: {', '.join(spared)}")

    save_figure(study.draw().figure, out / "lesions.png")
    study.to_frame().to_csv(out / "lesions.csv", index=False)
    print(f"wrote lesions.png and lesions.csv to {out.resolve()}")

    need = {lesion.name: lesion.need for lesion in study}
    assert study.intact >= 475
    assert need["sensory_1"] > 300  # the angle
    assert need["motor_0"] > 300  # the force
    assert 3 <= len(spared) <= 17


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    main(parser.parse_args().out)
