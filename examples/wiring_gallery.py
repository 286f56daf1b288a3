"""Draw a gallery of wirings: the families, and one circuit before and after an edit.

Writes ``wiring_gallery.png`` to the folder given by ``--out`` and prints the counts of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from elegans.wiring import (
    NCP,
    AutoNCP,
    BinomialNCP,
    FullyConnected,
    HeavyTailed,
    Layered,
    Random,
    Wiring,
)


def rewired(wiring: Wiring) -> Wiring:
    """Cut every ninth synapse between neurons and grow as many where there are none."""
    cut = [(j, i) for j, i, _ in list(wiring.recurrent)[::9]]
    free = [
        (j, i)
        for j in wiring.layer_range("inter")
        for i in wiring.layer_range("command")
        if not wiring.adjacency()[j, i]
    ]
    chosen = free[:: len(free) // len(cut)][: len(cut)]
    grown = [(j, i, 1 if k % 2 else -1) for k, (j, i) in enumerate(chosen)]
    return wiring.edit(remove=cut, add=grown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the picture")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)

    policy = AutoNCP(units=19, output_size=4).build(input_size=8)
    layered = Layered(
        layers={"first": 10, "second": 6, "motor": 2},
        density={
            ("sensory", "first"): 0.4,
            ("first", "second"): 0.3,
            ("second", "second"): 0.25,
            ("second", "motor"): 0.5,
        },
    )
    gallery = {
        "AutoNCP(19, 4)": policy,
        "AutoNCP(19, 4), rewired": rewired(policy),
        "NCP(8, 5, 2, ...)": NCP(8, 5, 2, 3, 2, 4, 3).build(input_size=5),
        "BinomialNCP(12, 8, 2)": BinomialNCP(12, 8, 2, p1=0.25, p4=0.15).build(input_size=6),
        "Layered": layered.build(input_size=4),
        "Random(16, 3)": Random(16, 3, sparsity_level=0.85).build(input_size=4),
        "HeavyTailed(30, 3, 60)": HeavyTailed(30, 3, 60).build(input_size=3),
        "FullyConnected(6, 2)": FullyConnected(6, 2).build(input_size=3),
    }

    figure = Figure(figsize=(20, 10))
    panels = figure.subplots(2, 4)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, wspace=0.06, hspace=0.12)
    print(f"{'wiring':<26}{'neurons':>8}{'inputs':>8}{'synapses':>10}{'density':>9}")
    for ax, (name, wiring) in zip(panels.flat, gallery.items(), strict=True):
        wiring.draw(ax=ax, title=name, before=policy if "rewired" in name else None)
        synapses = wiring.synapse_count + wiring.sensory_synapse_count
        print(
            f"{name:<26}{wiring.units:>8}{wiring.input_size:>8}{synapses:>10}{wiring.density:>9.3f}"
        )
    figure.savefig(folder / "wiring_gallery.png", dpi=120)
    print(f"wrote {folder / 'wiring_gallery.png'}")

    # The circuit of the ncps package for the same arguments: 45 + 35 synapses.
    assert (policy.synapse_count, policy.sensory_synapse_count) == (45, 35)
    assert gallery["AutoNCP(19, 4), rewired"].synapse_count == policy.synapse_count


if __name__ == "__main__":
    main()
