"""Small models of every kind that can be pruned, each with a loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import elegans
from elegans.ensemble import Ensemble
from elegans.wiring import AutoNCP

Loss = Callable[[], Tensor]


def perceptron() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    x, y = torch.randn(16, 6), torch.randn(16, 4)
    return model, lambda: (model(x) - y).square().mean()


def convolution() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    x, y = torch.randn(8, 1, 5, 5), torch.randn(8, 3)
    return model, lambda: (model(x) - y).square().mean()


class _Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(3, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0])


def memory() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = _Memory()
    x, y = torch.randn(4, 6, 3), torch.randn(4, 6, 2)
    return model, lambda: (model(x) - y).square().mean()


def liquid() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = elegans.LTC(5, AutoNCP(20, 3, seed=1))
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


def signed() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = elegans.CTRNN(5, AutoNCP(20, 3, seed=1))
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


def wired() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = elegans.CfC(5, AutoNCP(20, 3, seed=1))
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: (model(x)[0] - y).square().mean()


def ensemble() -> tuple[nn.Module, Loss]:
    def network(seed: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4))

    torch.manual_seed(0)
    model = Ensemble.of(network, range(3))
    x, y = torch.randn(16, 6), torch.randn(16, 4)
    return model, lambda: model.losses(x, y).sum()


def liquid_ensemble() -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    model = Ensemble.of(lambda seed: elegans.LTC(5, AutoNCP(20, 3, seed=1)), range(3))
    x, y = torch.randn(4, 6, 5), torch.randn(4, 6, 3)
    return model, lambda: model.losses(x, y).sum()


MODELS = {
    "perceptron": perceptron,
    "convolution": convolution,
    "memory": memory,
    "liquid": liquid,
    "signed": signed,
    "wired": wired,
    "ensemble": ensemble,
    "liquid_ensemble": liquid_ensemble,
}
