"""Circuits whose behaviour is known, and how it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from elegans import LTC
from elegans.wiring import Synapses, Wiring


def circuit(neurons, synapses, *, sensory=0.0, initial=None, **options):
    """Return an LTC of motor neurons, one input and `synapses` (source, target, w, s, m, E).

    ``initial`` holds leak, capacitance and leak potential; the input reaches neuron 0.
    """
    leak, capacitance, potential = initial or (1.0, 1.0, 0.0)
    columns = list(zip(*synapses, strict=True)) if synapses else [[]] * 6
    source, target, weight, gain, centre, reversal = columns
    order = np.lexsort((source, target))
    wiring = Wiring(
        1,
        {"motor": neurons},
        Synapses(
            [source[k] for k in order],
            [target[k] for k in order],
            [1 if reversal[k] >= 0 else -1 for k in order],
        ),
        Synapses([0], [0], [1]),
    )
    options = {"dtype": torch.float64, "epsilon": 0.0} | options
    model = LTC(1, wiring, implicit_param_constraints=False, **options)
    cell = model.cell
    places = {pair: k for k, pair in enumerate(zip(source, target, strict=True))}
    with torch.no_grad():
        for slot, pair in enumerate(
            zip(cell.recurrent.source.tolist(), cell.recurrent.target.tolist(), strict=True)
        ):
            k = places[pair]
            for name, column in zip(
                ("weight", "sigma", "mu", "erev"), (weight, gain, centre, reversal), strict=True
            ):
                getattr(cell.recurrent, name)[slot] = column[k]
        for name, value in (("weight", sensory), ("sigma", 4.0), ("mu", 0.0), ("erev", 1.0)):
            getattr(cell.sensory, name).fill_(value)
        for name, value in (("gleak", leak), ("cm", capacitance), ("vleak", potential)):
            getattr(cell, name).copy_(torch.as_tensor(value, dtype=cell.dtype))
    return model


def pair(**options):
    """Two neurons that excite each other: rests at 0.0251 and 0.7320, a saddle at 0.3457."""
    return circuit(2, [(0, 1, 3.0, 10.0, 0.5, 1.0), (1, 0, 3.0, 10.0, 0.5, 1.0)], **options)


def ring(**options):
    """Three neurons that inhibit each other in a ring: one unstable rest and a limit cycle."""
    synapses = [(k, (k + 1) % 3, 5.0, 10.0, 0.0, -1.0) for k in range(3)]
    return circuit(3, synapses, initial=(1.0, 1.0, 1.0), **options)


def calm(**options):
    """Two neurons that hardly excite each other: certified, one attractor."""
    weak = [(0, 1, 0.3, 3.0, 0.5, 0.6), (1, 0, 0.3, 3.0, 0.5, 0.4)]
    return circuit(2, weak, **({"sensory": 0.3} | options))


def gated_ring(**options):
    """A pair whose upper state holds one neuron of a ring, and so stops it; the lower lets it turn.

    At rest with the pair above; turning with the pair below.
    """
    pair_synapses = [(0, 1, 3.0, 10.0, 0.5, 1.0), (1, 0, 3.0, 10.0, 0.5, 1.0)]
    ring_synapses = [(2 + k, 2 + (k + 1) % 3, 5.0, 10.0, 0.0, -1.0) for k in range(3)]
    holds = [(0, 2, 200.0, 40.0, 0.4, -0.5)]
    potential = (0.0, 0.0, 1.0, 1.0, 1.0)
    return circuit(
        5, pair_synapses + ring_synapses + holds, initial=(1.0, 1.0, potential), **options
    )


def two_rings(**options):
    """Two rings of different speeds that know nothing of each other: a torus."""
    synapses = [
        (3 * r + k, 3 * r + (k + 1) % 3, 5.0, 10.0, 0.0, -1.0) for r in (0, 1) for k in range(3)
    ]
    capacitance = (1.0, 1.0, 1.0, 2**0.5, 2**0.5, 2**0.5)
    return circuit(6, synapses, initial=(1.0, capacitance, 1.0), **options)


def flipping(**options):
    """A neuron that inhibits itself: it rests, and flips between two states in long unfolds."""
    return circuit(
        1, [(0, 0, 5.0, 10.0, 0.0, -1.0)], initial=(1.0, 1.0, 1.0), **({"ode_unfolds": 2} | options)
    )


def leakless(**options):
    """Nothing moves neuron 1, which keeps what it is given."""
    return circuit(2, [(1, 0, 0.5, 3.0, 0.5, 1.0)], initial=((1.0, 0.0), 1.0, 0.5), **options)


def pruned_pair():
    """The pair without one of its synapses: nothing is left to hold it up."""
    model = pair()
    model.cell.recurrent.mask[0] = False
    return model


def currents(model, inputs):
    """Return x to total conductance, drive and capacitance, in NumPy, from a circuit's numbers."""
    cell = model.cell
    values = {name: value.detach().double().numpy() for name, value in cell.named_parameters()}
    sources = {"recurrent": None, "sensory": np.asarray(inputs, float)}

    def at(x):
        total = values["gleak"].copy()
        drive = values["gleak"] * values["vleak"]
        for kind, given in sources.items():
            slots = getattr(cell, kind)
            weight, gain, centre, reversal = (
                values[f"{kind}.{name}"] for name in ("weight", "sigma", "mu", "erev")
            )
            signal = (x if given is None else given)[slots.source.numpy()]
            opened = slots.mask.numpy() * weight / (1 + np.exp(-gain * (signal - centre)))
            np.add.at(total, slots.target.numpy(), opened)
            np.add.at(drive, slots.target.numpy(), opened * reversal)
        return total, drive, values["cm"]

    return at


def derivative_of(at):
    """Return the right-hand side of the differential equation."""

    def derivative(x):
        total, drive, capacitance = at(x)
        return (drive - total * x) / capacitance

    return derivative


def unfolded(at, start, h, count, solver):
    """Return the states after each of `count` unfolds of length `h`, (unfold, neuron)."""
    x, path = np.asarray(start, float), []
    for _ in range(count):
        total, drive, capacitance = at(x)
        if solver == "semi_implicit":
            x = (capacitance / h * x + drive) / (capacitance / h + total)
        elif solver == "exponential":
            x = drive / total + (x - drive / total) * np.exp(-total * h / capacitance)
        elif solver == "rk4":
            x = followed(derivative_of(at), x, h, h)[-1]
        else:
            x = x + h / capacitance * (drive - total * x)
        path.append(x)
    return np.array(path)


def followed(derivative, start, time, dt=0.01):
    """Return a trajectory in classical Runge-Kutta steps, (step, neuron)."""
    x, path = np.asarray(start, float), []
    for _ in range(round(time / dt)):
        a = derivative(x)
        b = derivative(x + dt / 2 * a)
        c = derivative(x + dt / 2 * b)
        x = x + dt / 6 * (a + 2 * b + 2 * c + derivative(x + dt * c))
        path.append(x)
    return np.array(path)


def period_between_crossings(path, dt):
    """Return the time between upward crossings of the mean of the first coordinate that moves."""
    x = path[:, path.std(axis=0).argmax()]
    level = (x.min() + x.max()) / 2
    up = np.flatnonzero((x[:-1] < level) & (x[1:] >= level))
    times = up + (level - x[up]) / (x[up + 1] - x[up])
    return dt * (times[-1] - times[0]) / (len(times) - 1)


@dataclass(frozen=True)
class Specimen:
    """A circuit under data, and what is known of it.

    Parameters
    ----------
    make
        Builds the circuit.
    rests, turns
        How many states its steps come to rest in under the mean input, and how many oscillations.
    data, options
        What the report is given.
    certified
        Whether its differential equation contracts.
    diverges
        Whether its steps do.
    odd
        Whether some starts end in neither: one of a continuum, or a torus.
    """

    make: Callable[[], LTC]
    rests: int = 0
    turns: int = 0
    data: Any = field(default_factory=lambda: np.zeros((60, 1)))
    options: dict[str, Any] = field(default_factory=dict)
    certified: bool = False
    diverges: bool = False
    odd: bool = False

    @property
    def elapsed(self):
        """Length of a typical step."""
        return float(np.median(self.options.get("elapsed", 1.0)))


_WAVES = np.sin(np.arange(60.0) / 4)[:, None]
_GAP = np.where(np.arange(60) == 20, 40.0, np.where(np.arange(60) == 30, 0.0, 1.0))

SPECIMENS = {
    "one attractor": Specimen(calm, rests=1, data=_WAVES, certified=True),
    "held input": Specimen(calm, rests=1, certified=True, options={"inputs": (-1, 1)}),
    "bistable": Specimen(pair, rests=2, options={"inputs": (-1, 1)}),
    "bistable under a signal": Specimen(lambda: pair(sensory=0.05), rests=2, data=_WAVES),
    "bistable, by Euler": Specimen(lambda: pair(solver="euler"), rests=2),
    "rest and oscillation": Specimen(gated_ring, rests=1, turns=1, options={"elapsed": 0.1}),
    "oscillation": Specimen(ring, turns=1, options={"elapsed": 0.1}),
    "oscillation in long steps": Specimen(ring, turns=1),
    "oscillation under a signal": Specimen(
        lambda: ring(sensory=0.1), turns=1, data=_WAVES, options={"elapsed": 0.1}
    ),
    "torus": Specimen(two_rings, odd=True, options={"elapsed": 0.1}),
    "flips in long steps": Specimen(
        flipping, turns=1, certified=True, options={"elapsed": 1000.0, "inputs": (-1, 1)}
    ),
    "Euler, too long": Specimen(
        lambda: calm(solver="euler", ode_unfolds=1, initial=(3.0, 1.0, 1.0)),
        data=_WAVES,
        certified=True,
        diverges=True,
    ),
    "Euler, much too long": Specimen(
        lambda: calm(solver="euler", ode_unfolds=1, initial=(3.0, 1.0, 1.0), dtype=torch.float32),
        data=np.tile(_WAVES, (10, 1)),
        certified=True,
        diverges=True,
    ),
    "Euler, at once": Specimen(
        lambda: calm(solver="euler", ode_unfolds=8),
        data=_WAVES,
        options={"elapsed": 1e30},
        certified=True,
        diverges=True,
    ),
    "Runge-Kutta, too long": Specimen(
        lambda: calm(solver="rk4", ode_unfolds=1, initial=(4.0, 1.0, 1.0)),
        data=_WAVES,
        certified=True,
        diverges=True,
    ),
    "exponential": Specimen(
        lambda: calm(solver="exponential"), rests=1, data=_WAVES, certified=True
    ),
    "no leak": Specimen(leakless, odd=True, data=_WAVES),
    "mixed memory": Specimen(lambda: LTC(1, 4, mixed_memory=True), odd=True, data=_WAVES),
    "pruned": Specimen(pruned_pair, rests=1, certified=True),
    "gap in the inputs": Specimen(
        calm, rests=1, data=_WAVES, certified=True, options={"elapsed": _GAP}
    ),
}
