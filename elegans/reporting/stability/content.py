"""Content of a stability report as plain data, from which page, JSON and figures are made.

Every statement bears its evidence, in the words of `EVIDENCE` and its neighbours. Times are
in the unit of the elapsed times, rates per this unit, inputs in the units that the layer is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from elegans.proofs.certificates.network import Array
from elegans.reporting.stability.history import History
from elegans.reporting.stability.origin import Origin
from elegans.reporting.stability.task import Task
from elegans.wiring import Wiring

FORMAT = "elegans.stability-report"
VERSION = 1

EVIDENCE = {
    "exact": "proved (interval arithmetic, any input)",
    "interval": "proved (interval arithmetic)",
    "float": "proved (double precision with an allowance for rounding)",
}
SAMPLED = "sampled"
SEARCHED = "searched numerically"
MEASURED = "measured"
RECORDED = "recorded"
NOT_CERTIFIED = "no proof found"
NOT_EXAMINED = "not examined"


@dataclass(frozen=True)
class Subject:
    """The circuit that was examined, and its inputs."""

    title: str
    library: str
    """Version of the library that wrote the report."""
    layer: str
    neurons: int
    inputs: int
    outputs: int
    synapses: int
    sensory_synapses: int
    parameters: int
    precision: str
    solver: str
    unfolds: int
    epsilon: float
    time_unit: str
    """Name of the elapsed time 1."""
    seconds: float | None
    """Length of the elapsed time 1 in seconds, None where the data name no unit of time."""
    elapsed: float
    """Length of a typical step."""
    data: str
    """Origin of the inputs, in a sentence."""
    synthetic: bool
    """Whether the inputs were made up."""
    sequences: int
    steps: int
    input_lo: list[float]
    input_hi: list[float]


@dataclass(frozen=True)
class Precondition:
    """Something that the proofs ask for."""

    name: str
    holds: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class WeightedWiring:
    """The wiring with effective conductances."""

    wiring: Wiring
    weight: Array
    """Shape (synapse,), in the order of ``wiring.recurrent``."""
    sensory_weight: Array
    electrical_weight: Array
    """Shape (junction,), in the order of ``wiring.electrical``."""

    def to_dict(self) -> dict[str, Any]:
        """Return neurons, synapses and gap junctions, if there are any, as plain values."""
        wiring = self.wiring
        document = {
            "sensory_neurons": list(wiring.sensory_names),
            "neurons": [{"name": neuron.name, "layer": neuron.layer} for neuron in wiring.neurons],
            **({"outputs": wiring.outputs.tolist()} if wiring.has_outputs_elsewhere else {}),
            **{
                kind: {
                    "source": synapses.source.tolist(),
                    "target": synapses.target.tolist(),
                    "polarity": synapses.polarity.tolist(),
                    "conductance": weight.tolist(),
                }
                for kind, synapses, weight in (
                    ("recurrent", wiring.recurrent, self.weight),
                    ("sensory", wiring.sensory, self.sensory_weight),
                )
            },
        }
        junctions = wiring.electrical
        if len(junctions):
            document["electrical"] = {
                "source": junctions.source.tolist(),
                "target": junctions.target.tolist(),
                "rectifying": junctions.rectifying.tolist(),
                "conductance": self.electrical_weight.tolist(),
            }
        return document


@dataclass(frozen=True, eq=False)
class Activity:
    """One sequence as the circuit answered it, from the zero state."""

    time: Array
    """End of each step shown, shape (frame,)."""
    inputs: Array
    """Shape (frame, input)."""
    states: Array
    """Potentials, shape (frame, neuron)."""
    time_constants: Array
    """Shape (frame, neuron)."""
    steps: int
    """Steps of the sequence, of which some are shown."""
    diverged: float | None
    """Earliest time at which a sequence left the finite numbers; nothing after it is shown."""
    state_lo: Array
    """Least potential in all sequences, shape (neuron,)."""
    state_hi: Array


@dataclass(frozen=True, eq=False)
class Spectra:
    """Eigenvalues of the flow's Jacobian along the sequence of `Activity`."""

    time: Array
    """Shape (frame,)."""
    real: Array
    """Shape (frame, neuron), the largest first."""
    imaginary: Array

    @property
    def abscissa(self) -> Array:
        """Largest real part of each frame, shape (frame,)."""
        return self.real[:, 0]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes that attract the potentials, and the ranges of the time constants there."""

    evidence: str
    hull_lo: Array
    """The first box, that attracts every state under any input, shape (neuron,)."""
    hull_hi: Array
    box_lo: Array
    """The box of the statements, shape (neuron,)."""
    box_hi: Array
    count: int
    entry_time: float
    tau_lo: Array
    """Ranges of the time constants in the last box, shape (neuron,)."""
    tau_hi: Array


@dataclass(frozen=True)
class Pull:
    """A synapse that weighs on a row: its share of the coupling."""

    source: str
    target: str
    share: float


@dataclass(frozen=True)
class Component:
    """A strongly connected component."""

    size: int
    rate: float
    neurons: list[str]
    binding: str
    """The neuron whose row binds."""
    synapses: list[Pull]


@dataclass(frozen=True)
class Level:
    """Outcome of one level of proof."""

    level: str
    certified: bool
    rate: float | None


@dataclass(frozen=True)
class Prune:
    """A synapse whose removal would help."""

    source: str
    target: str
    conductance: float
    gain: float
    """Rate gained for each unit of conductance taken away, to first order."""


@dataclass(frozen=True, eq=False)
class Contraction:
    """The certificate, or what stands in its way."""

    level: str
    evidence: str
    certified: bool
    reason: str
    """Reason for the missing certificate; empty if there is one."""
    levels: list[Level]
    rate: float | None = None
    """lambda; what the method gives, zero or negative, where there is no certificate."""
    best_rate: float | None = None
    method_ceiling: float | None = None
    overshoot: float | None = None
    """cond(eta): by what a difference may first grow in the plain maximum norm."""
    break_even: float | None = None
    """Time after which it is certainly smaller than it began, in this norm."""
    euclidean_overshoot: float | None = None
    """The same of the Euclidean norm, |eta| / min eta."""
    euclidean_break_even: float | None = None
    entry_time: float | None = None
    kappa: float | None = None
    """Factor of one unfold of a step that lasts ``Subject.elapsed``."""
    horizon: float | None = None
    """Steps after which a gradient has certainly fallen to 1/e, in the weighted norm."""
    fingerprint: str | None = None
    margin: float | None = None
    """Largest change of all parameters at once, as a share, that leaves the rate `margin_rate`."""
    margin_rate: float | None = None
    weakest: str | None = None
    """The neuron whose row gives way first."""
    rounding: float | None = None
    """By what floats never move a potential more, from states in the box."""
    eta: Array | None = None
    gain: Array | None = None
    """Largest change of each neuron by inputs that differ by 1, shape (neuron,)."""
    components: list[Component] = field(default_factory=list)
    """Components of several neurons, the slowest first."""
    singles: int = 0
    """Neurons that are a component by themselves."""
    singles_rate: float | None = None
    """The least rate of these."""
    largest_scale: float | None = None
    local_radius: Array | None = None
    local_rate: float | None = None
    prune_first: list[Prune] = field(default_factory=list)
    gap: float | None = None
    """Least distance between two boxes that the circuit never leaves, if such were found."""
    gap_at: str = ""
    """The neuron at which it is."""
    growth: float | None = None
    """Least rate at which an equilibrium that was found is left."""


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The state found in the box at which perturbations decay most slowly, or grow."""

    abscissa: float
    rate: float
    refutes: bool
    samples: int
    state: Array
    inputs: Array


@dataclass(frozen=True, eq=False)
class LinearisedEquilibrium:
    """An equilibrium, and how far from normal its linearisation is."""

    state: Array
    linearised: str
    """Kind of the linearised flow near it: attracting, repelling or undecided."""
    rate: float
    """Largest real part of the eigenvalues."""
    frequency: float
    hits: int
    residual: float
    unstable_directions: int
    real: Array
    imaginary: Array
    departure: float
    """Henrici's, relative to the norm of the Jacobian: 0 for a normal matrix."""
    numerical_abscissa: float
    """Growth rate at the beginning."""
    growth: float | None
    """Largest factor by which a small perturbation was found to grow before it decays."""


@dataclass(frozen=True, eq=False)
class EquilibriumSearch:
    """States that do not move under one constant input."""

    inputs: Array
    starts: int
    failed: int
    surely_incomplete: bool
    count: int
    shown: list[LinearisedEquilibrium]


@dataclass(frozen=True, eq=False)
class Attractor:
    """What some of the starts settled on, in the steps that run."""

    kind: str
    """equilibrium, cycle, response (to a signal), aperiodic or unsettled."""
    period: float | None
    """Of a cycle, in the unit of the elapsed times."""
    starts: int
    exponent: float
    """Largest Lyapunov exponent, per step."""
    error: float
    """Half-width of a 95 % interval."""
    sign: str
    """+, - or 0: what the exponent surely is."""
    lo: Array
    """Least potential while it was measured, shape (neuron,)."""
    hi: Array


@dataclass(frozen=True, eq=False)
class AttractorSearch:
    """Where the steps that run end under one constant input."""

    inputs: Array
    starts: int
    diverged: int
    """Starts that left the finite numbers."""
    time: float
    """How long each was followed."""
    shown: list[Attractor]


@dataclass(frozen=True, eq=False)
class Exponents:
    """Lyapunov exponents of the steps that run, under the inputs, on the least stable attractor."""

    values: Array
    """Per step, the largest first, shape (exponent,)."""
    errors: Array
    """Half-widths of 95 % intervals."""
    signs: str
    converged: bool
    verdict: str
    steps: int
    members: int
    diverged: int
    """Trajectories that left the finite numbers."""
    attractors: list[Attractor]
    """What the others settled on, the least stable first."""
    repeats: float
    """Number of passes through the inputs."""
    kaplan_yorke: float | None
    bound: float | None
    """Largest exponent that the certificate allows, per step."""


@dataclass(frozen=True)
class UserRange:
    """A range in the unit of a column of the data."""

    name: str
    lo: float
    hi: float
    evidence: str


@dataclass(frozen=True)
class UserRanges:
    """Ranges in the units of the data, as far as these are known."""

    inputs: list[UserRange]
    """That the statements are about."""
    outputs: list[UserRange]
    """Proved and measured ranges of the motor neurons, as answers."""


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that a report says; see `to_dict`."""

    origin: Origin
    subject: Subject
    task: Task | None
    ranges: UserRanges | None
    preconditions: list[Precondition]
    circuit: WeightedWiring
    activity: Activity
    spectra: Spectra | None
    boxes: Boxes | None
    contraction: Contraction | None
    ceiling: Ceiling | None
    equilibria: EquilibriumSearch | None
    attractors: AttractorSearch | None
    exponents: Exponents | None
    history: History | None
    skipped: dict[str, str]
    """Reasons by the name of each part that is None."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the neurons."""
        return self.circuit.wiring.names

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON; what is not finite becomes None.

        What was measured over time has the digits of single precision; all else has every digit.
        """
        document = {"format": FORMAT, "version": VERSION, **plain(self)}
        for part in ("activity", "spectra"):
            document[part] = _rounded(document[part])
        return document


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and numbers as the values that JSON has."""
    if isinstance(value, WeightedWiring):
        return plain(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
