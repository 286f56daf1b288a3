"""Irregular sampling: how fast does a signal move? With and without the time stamps.

A pendulum's position is seen at random times, the gaps varying tenfold; the circuit is asked for
its velocity. A liquid circuit can be told the time since the last sample. One that is not told
sees the position change without knowing how long that took.
"""

import torch

import elegans
from elegans.wiring import FullyConnected


def make_data(sequences: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return positions (batch, time, 1), gaps (batch, time) and velocities (batch, time, 1)."""
    generator = torch.Generator().manual_seed(seed)
    gaps = 0.1 + 0.9 * torch.rand(sequences, 12, generator=generator)
    phase = 2 * torch.pi * torch.rand(sequences, 1, generator=generator)
    angle = phase + gaps.cumsum(1)
    return angle.sin().unsqueeze(-1), gaps, angle.cos().unsqueeze(-1)


def train(use_gaps: bool) -> float:
    """Train a circuit and return its mean squared error on fresh sequences."""
    torch.manual_seed(0)
    model = elegans.LTC(1, FullyConnected(12, 1), ode_unfolds=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x, gaps, y = make_data(64, seed=1)
    for _ in range(200):
        optimizer.zero_grad()
        output, _ = model(x, timespans=gaps if use_gaps else None)
        (output - y)[:, 4:].square().mean().backward()  # the first samples only set the scene
        optimizer.step()
    with torch.no_grad():
        x, gaps, y = make_data(256, seed=2)
        output, _ = model(x, timespans=gaps if use_gaps else None)
        return (output - y)[:, 4:].square().mean().item()


def main() -> None:
    told, untold = train(use_gaps=True), train(use_gaps=False)
    print(f"mean squared error with the elapsed times: {told:.4f}, without: {untold:.4f}")
    assert told < 0.5 * untold


if __name__ == "__main__":
    main()
