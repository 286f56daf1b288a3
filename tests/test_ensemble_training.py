"""Training all members at once is training each of them alone."""

from functools import partial

import pytest
import torch
from torch import nn

from elegans.ensemble import Ensemble

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "fused adam": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
}
STEPS = 50


def close(mask, weight):
    weight.grad.mul_(mask)


def network(seed, masked):
    module = nn.Sequential(
        nn.Linear(4, 11), nn.Tanh(), nn.Linear(11, 9), nn.Tanh(), nn.Linear(9, 3)
    ).double()
    if masked:
        generator = torch.Generator().manual_seed(seed)
        for layer in (module[0], module[2]):
            mask = torch.rand(layer.weight.shape, generator=generator) < 0.1 * (1 + seed)
            layer.register_buffer("weight_mask", mask, persistent=False)
            layer.weight.data.mul_(mask)
            layer.weight.register_post_accumulate_grad_hook(partial(close, mask))
    return module


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_equals_training_alone(optimizer, general, masked):
    members = [network(seed, masked) for seed in range(5)]
    ensemble = Ensemble(members, general=general)
    make = OPTIMIZERS[optimizer]
    joint, alone = make(ensemble.parameters()), [make(m.parameters()) for m in members]
    generator = torch.Generator().manual_seed(7)
    data = torch.randn(STEPS, 5, 16, 7, generator=generator, dtype=torch.float64)
    for x, y in zip(data[..., :4], data[..., 4:], strict=True):
        joint.zero_grad()
        ensemble.losses(x, y, own_data=True).sum().backward()
        joint.step()
        for k, (member, own) in enumerate(zip(members, alone, strict=True)):
            own.zero_grad()
            nn.functional.mse_loss(member(x[k]), y[k]).backward()
            own.step()
    moved = 0.0
    for k, member in enumerate(members):
        start = network(k, masked)
        for (name, mine), expected in zip(
            ensemble.member(k).named_parameters(), member.parameters(), strict=True
        ):
            # Gradients agree to a few 1e-16; each step adds as much, and an optimiser that divides
            # by the size of a gradient passes on relative errors: 50 steps, values of about 1.
            torch.testing.assert_close(mine, expected, atol=1e-11, rtol=0)
            moved = max(moved, float((mine - start.get_parameter(name)).detach().abs().max()))
            if masked and name in ("0.weight", "2.weight"):
                mask = member.get_buffer(name + "_mask")
                assert not mine[~mask].any()
    assert moved > 1e-3
