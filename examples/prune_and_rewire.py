"""Prune-and-rewire: a circuit changes its wiring while it learns; the picture shows what changed.

A random sparse circuit of 24 neurons learns to tell products of its inputs. Every 20 steps a
share of its weakest synapses, falling from 30 % to none, is cut and grows elsewhere. The number
of synapses stays the same. Writes prune_and_rewire.png.
"""

import argparse
from pathlib import Path

import torch

import elegans
from elegans.wiring import Layered

STEPS = 240


def make_batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return constant inputs (batch, time, 3) and their products (batch, 1, 2)."""
    x = 2 * torch.rand(64, 1, 3, generator=generator) - 1
    return x.expand(-1, 8, -1), x[..., :2] * x[..., 1:]


def main(out: Path) -> None:
    torch.manual_seed(0)
    recipe = Layered(
        layers={"inter": 14, "command": 8, "motor": 2},
        density={
            ("sensory", "inter"): 0.4,
            ("inter", "command"): 0.3,
            ("command", "command"): 0.2,
            ("command", "motor"): 0.5,
        },
    )
    model = elegans.LTC(3, recipe, ode_unfolds=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    rewirer = elegans.PruneRewire(model, optimizer, steps=STEPS)
    before, synapses = model.wiring, model.synapse_count
    print(before)

    generator = torch.Generator().manual_seed(1)
    for step in range(1, STEPS + 1):
        x, y = make_batch(generator)
        optimizer.zero_grad()
        loss = (model(x)[0][:, -4:] - y).square().mean()
        loss.backward()
        optimizer.step()
        edits = rewirer.step()
        if edits:
            print(f"step {step:3d}   loss {loss.item():.4f}   rewired {len(edits):2d} synapses")

    kept = sum(edit.outcome != "rewired" for edit in rewirer.ledger)
    print(f"{rewirer.counts['rewired']} synapses rewired, {kept} weak ones had to stay")
    axes = model.draw(before=before, title="A circuit before and after prune-and-rewire")
    axes.figure.savefig(out, dpi=120)
    print(f"wrote {out}")

    assert model.synapse_count == synapses
    assert rewirer.counts["rewired"] > 40
    assert loss.item() < 0.06  # predicting the mean would give 0.11


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("prune_and_rewire.png"))
    main(parser.parse_args().out)
