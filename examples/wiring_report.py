"""How a pulse runs through a circuit: its wiring as a picture, as files and as an interactive page.

A neural circuit policy of 19 neurons rests, and one of its inputs is pulsed. Writes to the folder
given by --out: wiring.png and, for other programs, wiring.graphml; and wiring_report.html, in which
a slider moves through the activity of all neurons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import elegans
from elegans.reporting import draw_circuit, save_figure
from elegans.reporting.stability import report
from elegans.wiring import AutoNCP

STEPS, BEGIN, END = 180, 60, 75


def main(out: Path) -> None:
    model = elegans.LTC(
        4,
        AutoNCP(units=19, output_size=3, seed=5),
        generator=torch.Generator().manual_seed(5),
    )
    wiring = model.wiring
    print(wiring)
    for layer in ("sensory", *reversed(wiring.layers)):
        neurons = wiring.layer_range(layer)
        degrees = wiring.sensory_out_degree() if layer == "sensory" else wiring.out_degree()
        print(f"  {layer:<8} {len(neurons):3d} neurons, {degrees[list(neurons)].sum():3d} synapses")

    pulse = torch.zeros(STEPS, 4)
    pulse[BEGIN:END, 1] = 2.0
    made = report(model, pulse, title="A pulse at one input")
    states = made.content.activity.states  # (time, neuron)
    moved = abs(states[END - 1] - states[BEGIN - 1])
    back = abs(states[-1] - states[BEGIN - 1])
    reached = int((moved > 1e-3).sum())
    print(f"the pulse reaches {reached} of {wiring.units} neurons and fades to {back.max():.0e}")

    save_figure(draw_circuit(model), out / "wiring.png")
    wiring.save(out / "wiring.graphml")
    made.save(out / "wiring_report.html")
    print(f"wrote wiring.png, wiring.graphml and wiring_report.html to {out.resolve()}")

    assert wiring.synapse_count + wiring.sensory_synapse_count == 67
    assert reached >= 10
    assert back.max() < 0.01 * moved.max()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    main(parser.parse_args().out)
