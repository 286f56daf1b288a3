"""Fit a sine with a liquid circuit: two inputs a quarter period apart, one output of double speed.

Prints the loss on the way and ends with the error after training.
"""

import torch

import elegans
from elegans.wiring import AutoNCP


def main() -> None:
    torch.manual_seed(0)
    time = torch.linspace(0, 3 * torch.pi, 48)
    x = torch.stack([time.sin(), time.cos()], dim=-1).unsqueeze(0)  # (batch, time, input)
    y = (2 * time).sin().reshape(1, -1, 1)  # (batch, time, output)

    model = elegans.LTC(2, AutoNCP(units=16, output_size=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    print(model.wiring)
    for step in range(201):
        optimizer.zero_grad()
        loss = (model(x)[0] - y).square().mean()
        loss.backward()
        optimizer.step()
        if step % 40 == 0:
            print(f"step {step:3d}   mean squared error {loss:.4f}")

    with torch.no_grad():
        error = (model(x)[0] - y).square().mean().item()
    print(f"after training: {error:.4f} (a constant would reach {y.var(correction=0):.4f})")
    assert error < 0.05


if __name__ == "__main__":
    main()
