"""An edge list of the size of a fly's brain: read in parts, saved, loaded, thinned, shuffled.

Run ``python benchmarks/connectome_scale.py``, or with ``--quick`` on a hundredth of the rows. The
table has the columns of FlyWire's ``connections.csv`` (a row for each pair of neurons and neuropil,
identifiers of 18 digits) and is drawn at random, degrees spread log-normally. Reading, saving and
loading have a process of their own each; memory is by how much it rises at its peak.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import in_fresh_process, peak_since, resident_bytes, save, table
from tqdm import tqdm

from elegans.wiring.connectome import load, random_counterpart, with_polarity

NEURONS, ROWS, PART = 139_000, 15_000_000, 1_000_000
FIRST = 720_575_940_600_000_000
NEUROPILS = np.array(["ME_R", "LO_R", "LOP_L", "AL_R", "MB_ML_L", "FB", "EB", "SMP_R"])
TRANSMITTERS = np.array(["ACH", "GABA", "GLUT", "DA", "SER", "OCT"])


def make(path: Path, rows: int, neurons: int) -> None:
    """Write an edge list; the same sizes give the same file."""
    import pandas as pd

    rng = np.random.default_rng(0)
    roots = FIRST + np.sort(rng.choice(50_000_000, neurons, replace=False))
    transmitter = rng.choice(len(TRANSMITTERS), neurons, p=[0.55, 0.2, 0.2, 0.02, 0.02, 0.01])
    weight = rng.lognormal(0, 1, neurons)
    edge = np.cumsum(weight) / weight.sum()
    with path.open("w") as file, tqdm(total=rows, unit=" rows", unit_scale=True) as bar:
        for start in range(0, rows, PART):
            count = min(PART, rows - start)
            pre, post = np.minimum(np.searchsorted(edge, rng.random((2, count))), neurons - 1)
            frame = pd.DataFrame(
                {
                    "pre_root_id": roots[pre],
                    "post_root_id": roots[post],
                    "neuropil": NEUROPILS[rng.integers(len(NEUROPILS), size=count)],
                    "syn_count": 1 + rng.geometric(0.2, count),
                    "nt_type": TRANSMITTERS[transmitter[pre]],
                }
            )
            frame.to_csv(file, index=False, header=start == 0)
            bar.update(count)


def step(name: str, csv: Path, npz: Path) -> dict[str, Any]:
    """Do one step in this process; return seconds and the rise of memory in bytes."""
    made = None if name in ("read", "load") else load(npz)
    before = resident_bytes()
    start = time.perf_counter()
    found: dict[str, Any] = {"step": name}

    def run() -> None:
        nonlocal made
        if name == "read":
            made = load(csv, progress=True)
        elif name == "load":
            made = load(npz)
        elif name == "save":
            assert made is not None
            made.save(npz)
        elif name == "signs":
            assert made is not None
            made = with_polarity(made, guess=-1)
        else:
            assert made is not None
            made = random_counterpart(made, swaps=1)

    peak = peak_since(run)
    found["seconds"] = time.perf_counter() - start
    found["GB"] = (peak - before) / 1e9
    assert made is not None
    found["cells"], found["connections"] = len(made), len(made.chemical)
    if name == "read":
        made.save(npz)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows")
    parser.add_argument("--folder", type=Path, help="where to keep the files, by default nowhere")
    options = parser.parse_args()
    rows = ROWS // 100 if options.quick else ROWS
    neurons = NEURONS // 10 if options.quick else NEURONS
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        csv, npz = folder / f"connections_{rows}.csv", folder / f"connectome_{rows}.npz"
        if not csv.exists():
            make(csv, rows, neurons)
        found = []
        for name in ("read", "save", "load", "signs", "shuffle once"):
            found.append(in_fresh_process(step, name, csv, npz))
            print(found[-1], flush=True)
        sizes = {
            "rows": rows,
            "csv MB": csv.stat().st_size / 1e6,
            "npz MB": npz.stat().st_size / 1e6,
        }
    print(sizes)
    print(table(found))
    if not options.quick:
        save(Path(__file__).parent / "results" / "connectome_scale.json", sizes=sizes, steps=found)


if __name__ == "__main__":
    main()
