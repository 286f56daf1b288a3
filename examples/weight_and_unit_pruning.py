"""How far can a trained network be pruned? Curves of accuracy over sparsity, with error bars.

A network of five weight matrices without biases learns to read digits. Then its first four
matrices are pruned without retraining: single weights by magnitude, or whole units by the norm of
their incoming weights, layer by layer or with all layers competing. The same curves are drawn for
two recurrent networks, a liquid one and an LSTM, that read the rows of a picture one after the
other.

With the files of MNIST (``--data FOLDER`` or ELEGANS_DATA) the protocol is the published one, whose
figures are printed beside. Without them the digits of scikit-learn take its place, 1,797 pictures
of 8 by 8 pixels: 40 times fewer, so that they are shown 140 times instead of three, for about as
many steps. Writes weight_and_unit_pruning.png and .json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

import elegans
from elegans.replications.experiments import (
    SPARSITIES,
    UNIT_PRUNING,
    WEIGHT_PRUNING,
    SparsityCurve,
    curve_table,
    draw_curves,
    fit_classifier,
    percent_correct,
    seeded,
    sparsity_curve,
)
from elegans.replications.sets import ClassificationSet, digits, has_files, mnist

WIDTHS, QUICK_WIDTHS = (1000, 1000, 500, 200), (300, 300, 150, 60)
LAST = "8"  # the matrix before the logits, which is not pruned


def make_network(inputs: int, widths: tuple[int, ...]) -> nn.Module:
    """Return a network inputs-widths-10 with ReLU and no biases."""
    sizes = (inputs, *widths)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10, bias=False))


class RowReader(nn.Module):
    """Reads the rows of a picture as steps of time and answers after the last."""

    def __init__(self, recurrent: nn.Module, units: int, side: int) -> None:
        super().__init__()
        self.recurrent, self.side = recurrent, side
        self.head = nn.Linear(units, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (row, 10) for pixels (row, side * side)."""
        steps = pixels.unflatten(1, (self.side, self.side))  # (row, time, input)
        return self.head(self.recurrent(steps)[0][:, -1])


def make_ltc(side: int, units: int) -> nn.Module:
    return RowReader(elegans.LTC(side, units, ode_unfolds=3), units, side)


def make_lstm(side: int, units: int) -> nn.Module:
    return RowReader(nn.LSTM(side, units, batch_first=True), units, side)


def curves_of(
    trained: list[nn.Module],
    tests: list[ClassificationSet],
    rules: dict[str, tuple[str, str]],
    exclude: str,
    sparsities: tuple[float, ...],
) -> list[SparsityCurve]:
    """Return a curve for each rule, a pair (scope, criterion) under the label of the curve."""
    curves = []
    for label, (scope, criterion) in rules.items():
        curves.append(
            sparsity_curve(
                trained,
                [partial(percent_correct, data=test) for test in tests],
                sparsities,
                scope=scope,
                criterion=criterion,
                exclude=(exclude,),
                label=label,
            )
        )
    return curves


def main(out: Path, folder: Path | None, seeds: int, epochs: int | None, quick: bool) -> None:
    torch.set_num_threads(1 if quick else torch.get_num_threads())
    use_mnist = not quick and has_files("mnist", folder)
    if use_mnist:
        parts = [(mnist(folder), mnist(folder, "test"))] * seeds
        name, epochs, recurrent_epochs = "MNIST", epochs or 3, 3
    else:
        parts = [digits().split((0.7, 0.3), seed, stratified=True) for seed in range(seeds)]
        name, epochs, recurrent_epochs = "digits", epochs or (50 if quick else 140), 100
    if quick:
        epochs, recurrent_epochs = 60, 30
    sparsities = (0.0, 0.5, 0.7, 0.9, 0.99) if quick else SPARSITIES
    side = 28 if use_mnist else 8
    tests = [test for _, test in parts]

    def trained(make: Callable[[], nn.Module], epochs: int, rate: float) -> list[nn.Module]:
        return [
            fit_classifier(
                seeded(make, seed),
                train,
                epochs=epochs,
                batch_size=100,
                learning_rate=rate,
                seed=seed,
            )
            for seed, (train, _) in enumerate(parts)
        ]

    print(f"{name}: {len(parts[0][0])} pictures to train, {len(tests[0])} to test, {seeds} seeds")
    widths = QUICK_WIDTHS if quick else WIDTHS
    networks = trained(partial(make_network, side * side, widths), epochs, 1e-3)
    rules = {
        "weights, per layer": ("layer", "magnitude"),
        "units, per layer": ("unit", "l2"),
        "weights, global": ("global", "magnitude"),
        "units, global": ("global_unit", "l2"),
    }
    if not quick:
        rules |= {
            "units, L1": ("unit", "l1"),
            "units, largest weight": ("unit", "linf"),
            "weights, at random": ("layer", "random"),
            "weights, largest first": ("layer", "largest_first"),
            "units, largest first": ("unit", "largest_first"),
        }
    curves = curves_of(networks, tests, rules, LAST, sparsities)
    print(curve_table(curves[:4], (WEIGHT_PRUNING, UNIT_PRUNING)))
    if curves[4:]:
        print(curve_table(curves[4:]))

    units = 16 if quick else 32
    recurrent = []
    for kind, make, rate in (
        ("LTC", partial(make_ltc, side, units), 1e-2),
        ("LSTM", partial(make_lstm, side, units), 5e-3),
    ):
        readers = trained(make, recurrent_epochs, rate)
        rules = {
            f"{kind}, per layer": ("layer", "magnitude"),
            f"{kind}, global": ("global", "magnitude"),
        }
        if not quick:
            rules |= {
                f"{kind}, units": ("unit", "l2"),
                f"{kind}, largest first": ("layer", "largest_first"),
            }
        recurrent += curves_of(readers, tests, rules, "head", sparsities)
    print(curve_table(recurrent))

    draw(curves, recurrent, name, out)
    record = {"data": name, "curves": [curve.to_dict() for curve in (*curves, *recurrent)]}
    out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    print(f"wrote {out} and {out.with_suffix('.json')}")

    weights, whole_units, competing = curves[:3]
    print("points of accuracy lost at 70 % sparsity, mean ± s.d. over seeds:")
    for curve in (weights, whole_units, competing):
        print(f"  {curve.label}: {curve.drop(0.7)}")
    assert competing.drop(0.7).mean < (3.0 if quick else 1.0)
    assert whole_units.at(0.7).mean < weights.at(0.7).mean  # units fall earlier


def draw(curves: list[SparsityCurve], recurrent: list[SparsityCurve], name: str, out: Path) -> None:
    """Draw the curves in panels of a few each."""
    kinds = {kind: [c for c in recurrent if c.label.startswith(kind)] for kind in ("LTC", "LSTM")}
    panels = [
        (f"Layer by layer, {name}", curves[:2], (WEIGHT_PRUNING, UNIT_PRUNING)),
        ("Layer by layer, and all layers competing", curves[:4], ()),
        *((f"{kind}, row by row", curves, ()) for kind, curves in kinds.items()),
    ]
    if curves[4:]:
        panels.insert(2, ("Units by other norms", [curves[1], *curves[4:6]], ()))
        panels.insert(3, ("The wrong ones: controls", curves[6:], ()))
    figure = Figure(figsize=(12.5, 2.25 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, shown, references) in zip(
        figure.subplots(len(panels) // 2, 2).ravel(), panels, strict=True
    ):
        draw_curves(shown, references, axes=axes, title=title, chance=10)
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("weight_and_unit_pruning.png"))
    parser.add_argument("--data", type=Path, help="folder with the idx files of MNIST")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--epochs", type=int, help="of the network that is not recurrent")
    parser.add_argument("--quick", action="store_true", help="small networks, seconds")
    chosen = parser.parse_args()
    seeds = chosen.seeds or (2 if chosen.quick else 5)
    main(chosen.out, chosen.data, seeds, chosen.epochs, chosen.quick)
