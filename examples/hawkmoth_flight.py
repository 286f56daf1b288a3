"""A liquid circuit flies a hawkmoth against gusts with noisy senses, and is pruned.

A circuit of 24 neurons imitates an optimal controller that sees the true state, while it senses
position, angles and velocities with noise. It rewires itself while it learns, from the teacher's
flights and then from its own. Afterwards the weakest synapses are pruned, and what is left learns
a little more. The published controllers of this moth answer single strokes; none was flown.

In the full run, with five circuits, moths hovered within (cm, root mean square) 0.318 for the
teacher with the same noise, 0.293 ± 0.005 for the circuits, 0.305 ± 0.016 with 30 % of their
synapses pruned and 0.617 ± 0.564 with 50 %; with 70 %, 81 % of the moths were lost. Writes
hawkmoth_flight.png.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import elegans
from elegans.pruning import Pruner
from elegans.replications.hawkmoth.drawing import draw_flight
from elegans.replications.hawkmoth.flight import Flights, Pilot, fly
from elegans.replications.hawkmoth.flight_circuit import FlightSchool
from elegans.replications.hawkmoth.gusts import Gusts, Sensors
from elegans.replications.hawkmoth.teacher import Teacher
from elegans.reporting.figures import save_figure
from elegans.training import RewireConfig, TrainingConfig
from elegans.wiring import AutoNCP

AIR = {
    "calm": (Gusts(0.0), Sensors.exact),
    "gusts": (Gusts(), Sensors.exact),
    "noise": (Gusts(0.0), Sensors),
    "both": (Gusts(), Sensors),
}
SETTLED = 1.0  # seconds after which a moth should have reached its goal

Row = list[float]  # the errors under each of AIR, and the share of survivors under both


def measure(pilot: Pilot, moths: int, full: bool = True) -> Row:
    flights = [
        fly(pilot, moths, seed=1, gusts=gusts, sensors=sensors(full=full))
        for gusts, sensors in AIR.values()
    ]
    return [*(one.rms_error(after=SETTLED) for one in flights), flights[-1].survival]


def print_row(name: str, rows: list[Row], synapses: int | str = "") -> None:
    means, deviations = np.mean(rows, axis=0), np.std(rows, axis=0)
    pairs = [f"{mean:.3f} ± {off:.3f}" for mean, off in zip(means, deviations, strict=True)]
    print(f"{name:26s}{synapses:>8}" + "".join(f"{pair:>17s}" for pair in pairs), flush=True)


def new_circuit(inputs: int, seed: int) -> elegans.LTC:
    recipe = AutoNCP(units=24, output_size=3, sparsity_level=0.3, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return elegans.LTC(inputs, recipe, ode_unfolds=4, generator=generator)


def follow_a_flower(pilot: Pilot) -> Flights:
    """Fly along a figure of eight, which nobody has taught."""
    turn = np.linspace(0.0, 2 * np.pi, 251)
    flower = np.stack([10 * np.sin(turn), 6 * np.sin(2 * turn)], axis=1)  # (stroke, 2)
    return fly(pilot, episodes=1, seed=3, strokes=250, goals=flower)


def main(quick: bool, out: Path) -> None:
    seeds = range(1) if quick else range(5)
    rounds, episodes, moths = (4, 30, 20) if quick else (6, 60, 200)
    sparsities = (0.3,) if quick else (0.3, 0.5, 0.7)
    # Every round of lessons is a training that begins with what the circuit knows already.
    mild = RewireConfig(rule="published", threshold="relative", value=0.2, until=0.6)
    config = TrainingConfig(steps=400 if quick else 2000, rewire=mild)
    polish = replace(config, rewire=RewireConfig(enabled=False))

    teacher = Teacher.of()
    print("root mean square distance from the goal in cm, and share of survivors under both")
    print(f"{'':26s}synapses" + "".join(f"{name:>17s}" for name in (*AIR, "survivors")))
    taught = measure(teacher, moths)
    print_row("teacher", [taught])

    table: dict[str, list[Row]] = {}
    synapses: dict[str, list[int]] = {}
    rewired = 0

    def note(name: str, model: elegans.LTC, school: FlightSchool) -> None:
        row = measure(school.pilot(model), moths, school.sensors.full)
        table.setdefault(name, []).append(row)
        synapses.setdefault(name, []).append(model.synapse_count + model.sensory_synapse_count)

    for seed in seeds:
        school, model = FlightSchool(teacher, episodes=episodes, seed=seed), new_circuit(8, seed)
        _, results = school.teach(model, replace(config, seed=seed), rounds=1)
        note("taught by examples alone", model, school)
        results += school.teach(model, replace(config, seed=seed), rounds=rounds - 1)[1]
        note("and by its own mistakes", model, school)
        rewired += sum(edit.grown is not None for one in results for edit in one.ledger)
        if seed == 0:
            flower = follow_a_flower(school.pilot(model))
            title = "A circuit of 24 neurons follows a flower against gusts"
            save_figure(draw_flight(flower, title=title), out)
        pruner = Pruner(model, scope="global")
        for sparsity in sparsities:
            pruner.prune(sparsity)
            school.train(model, replace(polish, seed=seed))
            note(f"{100 * sparsity:.0f} % pruned", model, school)
        if not quick:
            blind = FlightSchool(teacher, episodes=episodes, sensors=Sensors(full=False), seed=seed)
            model = new_circuit(4, seed)
            blind.teach(model, replace(config, seed=seed), rounds)
            note("without senses of speed", model, blind)

    for name, rows in table.items():
        print_row(name, rows, round(np.mean(synapses[name])))
    print(f"{len(seeds)} circuits of 24 neurons, {rewired} rewirings; mean ± deviation over them")
    print(f"following a flower: {flower.rms_error(after=SETTLED):.3f} cm; wrote {out}")
    print("published: none; the sparse controllers of this moth answer single strokes")

    assert taught[-1] == 1.0
    assert table["taught by examples alone"][0][-1] < 0.5 < table["and by its own mistakes"][0][-1]
    assert table["and by its own mistakes"][0][3] < 1.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, in seconds")
    parser.add_argument("--out", type=Path, default=Path("hawkmoth_flight.png"))
    arguments = parser.parse_args()
    main(arguments.quick, arguments.out)
