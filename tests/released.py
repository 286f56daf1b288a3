"""Write files as this version writes them: `python tests/released.py` fills tests/fixtures.

What stands there stays, so that later versions are held to reading it; a released version adds a
folder of its name.
"""

from contextlib import chdir
from pathlib import Path

import torch
from safetensors.torch import save_file

import elegans
from elegans.cli import main
from elegans.pruning.amount.thresholds import Relative
from elegans.wiring import AutoNCP, Random

FIXTURES = Path(__file__).parent / "fixtures"
INPUTS = 2
EXAMPLES = "expected.safetensors"

WALK = "walk.csv"
TRAINING = (
    "--targets y --sequence walk --units 6 --steps 6 --window 4 --batch-size 2 --evaluate-every 3 "
    "--checkpoint-every 3 --rewire.every 2 --rewire.value 0.5 --rewire.until 1 --quiet"
)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def rewired(model):
    """Prune synapses of a model and move others."""
    optimizer = torch.optim.Adam(model.parameters())
    share = Relative(0.9)
    rewirer = elegans.PruneRewire(model, optimizer, threshold=share, every=1, seed=1)
    assert [edit for _ in range(4) for edit in rewirer.step()]
    with torch.no_grad():
        model.cell.recurrent.mask[0] = False
    return model


def models():
    """Return a layer of each kind, and of each way in which kinds are saved."""
    wiring = AutoNCP(9, 2, seed=3)
    ends = {"proj_size": 2, "backbone_units": 4}
    readout = elegans.Readout(elegans.LTC(INPUTS, 4, generator=draw(8)), 3, generator=draw(9))
    return {
        "ltc-rewired": rewired(elegans.LTC(INPUTS, wiring, generator=draw(1))),
        "ltc-memory": elegans.LTC(
            INPUTS, wiring, mixed_memory=True, solver="rk4", ode_unfolds=2, generator=draw(2)
        ),
        "ltc-float64": elegans.LTC(
            INPUTS, Random(5, 1, 0.5, random_seed=2), dtype=torch.float64, generator=draw(3)
        ),
        "ctrnn": elegans.CTRNN(INPUTS, wiring, generator=draw(4)),
        "cfc": elegans.CfC(INPUTS, 5, mode="pure", **ends, generator=draw(5)),
        "cfc-wired": rewired(elegans.CfC(INPUTS, wiring, generator=draw(6))),
        "cfc-as-ncps": elegans.CfC(INPUTS, wiring, ncps_connections=True, generator=draw(7)),
        "readout": readout,
    }


def example(model):
    """Return a sequence that the model takes."""
    dtype = next(model.parameters()).dtype
    return torch.randn(2, 5, INPUTS, dtype=torch.float64, generator=draw(0)).to(dtype)


def write(folder):
    for name, model in models().items():
        elegans.save(model, folder / name)
        x = example(model)
        with torch.no_grad(), elegans.backend("reference"):
            output, _ = model(x)
        save_file({"x": x, "output": output.contiguous()}, folder / name / EXAMPLES)
    wiring = AutoNCP(9, 2, seed=3).build(INPUTS)
    for suffix in ("json", "graphml", "csv"):
        wiring.save(folder / f"wiring.{suffix}")
    lines = [f"w{k % 5},{k},{k % 3},{k % 4}" for k in range(60)]
    (folder / WALK).write_text("\n".join(["walk,x,z,y", *sorted(lines)]) + "\n")
    with chdir(folder):
        assert main(["train", WALK, *TRAINING.split(), "--out", "run"]) == 0
    for picture in (folder / "run").glob("*.png"):
        picture.unlink()


if __name__ == "__main__":
    write(FIXTURES / elegans.__version__)
