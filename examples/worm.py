"""The touch response of the worm: its wiring, with gap junctions, simulated and certified.

A touch of the head makes C. elegans move backwards, one of the tail forwards. What of that follows
from the wiring alone? Conductances follow the numbers of synapses and gap junctions; gains, centres
and leaks, which nobody has measured, are drawn anew for each of many worms. The answer is how much
more the neurons of backward movement (AVA) are depolarised than those of forward movement (AVB).

``--quick`` takes the nine classes of the tap-withdrawal circuit, which come with the library; else
the 302 neurons of Cook et al. 2019 are taken, which the package cect brings (pip install --no-deps
cect). Acetylcholine excites, GABA inhibits; whom the touch cells' glutamate inhibits is taken from
the tap-withdrawal circuit. Writes touch.png and wiring.png to the
folder given by --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import elegans
from elegans.reporting import save_figure
from elegans.wiring import connectome
from elegans.wiring.connectome import BuiltWiring, Connectome

HEAD, TAIL, BACKWARD, FORWARD = ("ALM", "AVM"), ("PLM",), ("AVA",), ("AVB",)
GABA = ("RME", "AVL", "DVB", "RIS", "DD", "VD")
"""McIntire, Jorgensen, Kaplan, Horvitz, Nature 364 (1993)."""
INHIBITED = ("AVA", "AVB", "AVD", "DVA", "PVC")
STEPS, TOUCHED = 60, slice(20, 40)


def circuit(quick: bool) -> Connectome:
    """Return the connectome, with a sign for each connection."""
    if quick:
        return connectome.tap_withdrawal()
    cells = connectome.neurons_only(connectome.load("Cook2019Herm"))
    known = {**dict.fromkeys(GABA, "gaba"), **dict.fromkeys((*HEAD, *TAIL), "glutamate")}
    cells = cells.replace(transmitters=[known.get(c, "acetylcholine") for c in cells.classes])
    receptors = {("glutamate", cell): -1 for cell in INHIBITED}
    return connectome.with_polarity(cells, receptors=receptors, guess=1)


def worm(built: BuiltWiring, seed: int) -> elegans.LTC:
    """Return one worm: conductances of the connectome, all that is not known drawn."""
    model = elegans.LTC(
        built.wiring.input_size,
        built.wiring,
        input_mapping=None,
        output_mapping=None,
        generator=torch.Generator().manual_seed(seed),
    )
    elegans.set_conductances(model, built)
    return model


@torch.no_grad()
def touched(model: elegans.LTC, heads: int) -> torch.Tensor:
    """Return the outputs after a touch of the head and of the tail, less those without one."""
    x = torch.zeros(3, STEPS, model.input_size)
    x[1, TOUCHED, :heads] = 1
    x[2, TOUCHED, heads:] = 1
    output = model(x)[0]
    return output[1:] - output[:1]


def picture(responses: np.ndarray) -> Figure:
    """Draw how much more AVA is depolarised than AVB, (worm, touch, step), for both touches."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(TOUCHED.start, TOUCHED.stop, color="0.92", label="touch")
    for k, (where, colour) in enumerate((("head", "tab:blue"), ("tail", "tab:orange"))):
        low, middle, high = np.percentile(responses[:, k], [10, 50, 90], axis=0)
        axes.fill_between(np.arange(STEPS), low, high, color=colour, alpha=0.25, lw=0)
        axes.plot(middle, color=colour, label=f"touch of the {where}")
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set(xlabel="step", ylabel="AVA - AVB, against no touch", xlim=(0, STEPS - 1))
    axes.legend(loc="upper right", frameon=False)
    axes.set_title(f"{len(responses)} worms: median, and 80 % of them", loc="left")
    return figure


def main(out: Path, quick: bool) -> None:
    cells = circuit(quick)
    print(*cells.notes, sep="\n")
    built = connectome.to_wiring(
        cells,
        [*HEAD, *TAIL],
        [*BACKWARD, *FORWARD],
        layers={"inter": [], "touch": [*HEAD, *TAIL]},
        mean=0.2 if quick else 0.1,
    )
    print(built.wiring)
    heads, back = (len(cells.indices(names)) for names in (HEAD, BACKWARD))
    responses = []
    for seed in range(40 if quick else 10):
        change = touched(worm(built, seed), heads)
        responses.append(change[..., :back].mean(-1) - change[..., back:].mean(-1))
    responses = torch.stack(responses).numpy()  # (worm, touch, step)
    late = responses[:, :, TOUCHED.start + 5 : TOUCHED.stop].mean(axis=-1)
    backward, forward = (late[:, 0] > 0).mean(), (late[:, 1] < 0).mean()
    print(f"touch of the head: backwards in {backward:.0%} of {len(late)} worms")
    print(f"touch of the tail: forwards in {forward:.0%}")

    certificate = elegans.proofs.certify(worm(built, 0), inputs=(0, 1))
    print(certificate)

    save_figure(picture(responses), out / "touch.png")
    save_figure(built.wiring.draw().figure, out / "wiring.png")
    print(f"wrote touch.png and wiring.png to {out.resolve()}")
    assert backward >= 0.9
    assert forward >= 0.9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--quick", action="store_true", help="nine classes in place of 302 neurons")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick)
