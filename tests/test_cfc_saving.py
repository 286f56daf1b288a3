"""A CfC is saved, loaded, and trained into a run folder."""

import numpy as np
import pytest
import torch

from elegans.cfc.layer import CfC
from elegans.checkpoints.saving import load, save
from elegans.data import Sequence, cut_windows
from elegans.errors import RunError
from elegans.training import RewireConfig, RunFolder, TrainingConfig, fit, load_model
from elegans.wiring import AutoNCP, Random

INPUTS = 3


@pytest.mark.parametrize(
    ("units", "options"),
    [
        (4, {}),
        (4, {"activation": "gelu", "backbone_units": 9, "backbone_layers": 2, "proj_size": 2}),
        (4, {"mode": "pure", "backbone_dropout": 0.2, "dtype": torch.float64}),
        (AutoNCP(9, 2), {"mixed_memory": True, "batch_first": False}),
        (AutoNCP(9, 2), {"ncps_connections": True, "output_mapping": "linear"}),
        (Random(9, 2, 0.5), {"mode": "no_gate", "input_mapping": "affine", "proj_size": 5}),
    ],
)
def test_a_saved_layer_comes_back(tmp_path, units, options):
    model = CfC(INPUTS, units, **options).eval()
    save(model, tmp_path)
    again = load(tmp_path).eval()
    x = torch.randn(4, 4, INPUTS, dtype=options.get("dtype", torch.float32))
    assert torch.equal(model(x)[0], again(x)[0])
    assert again.wiring == model.wiring
    with pytest.raises(RunError, match=r"holds config.json already"):
        save(model, tmp_path)


def test_a_layer_of_another_class_is_not_saved(tmp_path):
    class Mine(CfC):
        pass

    with pytest.raises(RunError, match=r"of the class Mine, expected one of .*LTC"):
        save(Mine(2, 3), tmp_path / "model")


def test_training_into_a_run_folder(tmp_path):
    time = np.arange(24)
    waves = [
        Sequence(str(i), np.sin(time / 4 + i)[:, None], np.cos(time / 4 + i)[:, None], np.ones(24))
        for i in range(4)
    ]
    train, validation = cut_windows(waves[:3], 8), cut_windows(waves[3:], 8)
    config = TrainingConfig(
        steps=6,
        batch_size=4,
        window=8,
        evaluate_every=2,
        checkpoint_every=3,
        rewire=RewireConfig(enabled=False),
    )
    model = CfC(1, AutoNCP(7, 1))
    run = RunFolder.create(tmp_path / "run", model, {"training": "test"})
    fit(model, train, validation, config, run=run, progress=False)
    again = load_model(tmp_path / "run")
    x = torch.randn(2, 5, 1)
    assert type(again) is type(model)
    assert torch.equal(again(x)[0], model(x)[0])
