"""Draw the tap-withdrawal circuit of C. elegans with its gap junctions, and see what they do.

Writes ``touch_circuit.png`` and ``touch_circuit_page.html`` to the folder given by ``--out``. A
touch of the head drives AVM, which joins AVD by a gap junction and no synapse; the potential of
AVD is printed with and without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import elegans
from elegans.wiring import connectome, save_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for picture and page")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)

    built = connectome.to_wiring(
        connectome.tap_withdrawal(), ["ALM", "AVM", "PLM", "PVD"], ["AVA", "AVB"], mean=0.5
    )
    widths = {"weights": built.conductance, "electrical_weights": built.junction_conductance}
    save_page(built.wiring, folder / "touch_circuit_page.html", **widths, title="Tap withdrawal")
    figure = Figure(figsize=(15, 6.5))
    graph, matrix = figure.subplots(1, 2)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99, wspace=0.02)
    built.wiring.draw(ax=graph, **widths, quantity="conductance")
    built.wiring.draw(ax=matrix, view="matrix")
    figure.savefig(folder / "touch_circuit.png", dpi=120)

    print(built.wiring)
    for electrical in ("keep", "leave_out"):
        print(f"{electrical:<10} a touch of AVM moves AVD by {answer(electrical):+.4f}")

    # The circuit of Lechner et al.: 24 chemical connections and two pairs of gap junctions.
    assert (built.wiring.synapse_count, built.wiring.gap_junction_count) == (24, 2)


def answer(electrical: str) -> float:
    """Return how far a touch of AVM moves AVD."""
    built = connectome.to_wiring(
        connectome.tap_withdrawal(), ["AVM"], ["AVD", "AVA", "AVB"], electrical=electrical
    )
    torch.manual_seed(0)
    model = elegans.LTC(1, built.wiring)
    elegans.set_conductances(model, built)
    touched, rest = torch.ones(1, 20, 1), torch.zeros(1, 20, 1)
    with torch.no_grad():
        return (model(touched)[0] - model(rest)[0])[0, -1, 0].item()


if __name__ == "__main__":
    main()
