"""Contraction certificates of liquid circuits as data, and refusals with their reasons."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from elegans.errors import InputError
from elegans.files import write_bytes, writing
from elegans.html import table_html
from elegans.proofs import verify
from elegans.proofs.certificates.advice import binding_row
from elegans.proofs.certificates.boxes import entered_after, time_constant_range
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import (
    SLACK,
    Array,
    Box,
    JunctionNumbers,
    Network,
    SynapseNumbers,
)
from elegans.proofs.certificates.perron import Components, best_rates
from elegans.proofs.certificates.stepping import horizon

LEVELS = verify.LEVELS
"""Levels of checking a certificate, the strongest first."""


@dataclass(frozen=True, eq=False)
class StepFigures:
    """What is proved of the step that runs: it leads from the box into the box, and contracts.

    Parameters
    ----------
    solver
        Name of the layer's solver.
    unfolds
        Its steps in a step of the layer.
    shortest, longest
        Length of one of them.
    eta
        Weights of the norm, shape (neuron,).
    kappa
        Factor by which an unfold brings two states nearer in that norm.
    """

    solver: str
    unfolds: int
    shortest: float
    longest: float
    eta: Array
    kappa: float

    @property
    def rate(self) -> float:
        """-ln(kappa) of all unfolds: the rate of contraction for each step of the layer."""
        return -self.unfolds * math.log(self.kappa)


@dataclass(frozen=True)
class Figures:
    """Consequences of a certificate as plain numbers, none of which is read from a file.

    Best rate, overshoot, break-even time, entry time, kappa and horizon follow from what is
    checked. Ceiling, components and binding synapses tell of the search: they are found anew, in
    double precision, for a certificate that was loaded.

    Parameters
    ----------
    ceiling
        No weights whatever can prove a rate above this with this method and box.
    best_rate
        The rate that the sharpest weights prove; `Certificate.rate` is a little less for the sake
        of their spread.
    overshoot
        Largest ratio of two weights: in the plain maximum norm, distances stay below this times
        exp(-rate t).
    break_even
        Time after which distances are certainly smaller than at the start, ln(overshoot) / rate.
    entry_time
        Time after which every trajectory from the first box is in the last.
    kappa
        Factor of one unfold of the solver, None where nothing is proved of its step.
    horizon
        Steps of the layer after which a gradient has fallen to 1/e.
    components
        Size, rate and neurons of each strongly connected component that is not a single neuron,
        the slowest first.
    binding
        The neuron whose row binds the rate.
    binding_synapses
        Source and share of the synapses that weigh on this row, the heaviest first.
    """

    ceiling: float
    best_rate: float
    overshoot: float
    break_even: float
    entry_time: float
    kappa: float | None
    horizon: float | None
    components: list[dict[str, Any]]
    binding: int
    binding_synapses: list[dict[str, Any]]


class Certificate:
    """A proof that two trajectories of a circuit under the same input approach each other.

    Parameters
    ----------
    document
        What `save` writes: the network, the boxes, the weights and the rates, as plain values;
        `elegans.proofs.verify` says what is checked.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    >>> certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    >>> bool(certificate), certificate.level, certificate.rate > 0
    (True, 'interval', True)
    >>> certificate.matches(model)
    True
    """

    certified = True

    def __init__(self, document: dict[str, Any], components: Components | None = None) -> None:
        self.document = document
        self._components = components

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        rate = verify.at_least(self.rate)
        alone = "" if self.covers_step else ", of the differential equation only"
        return f"Certificate(level={self.level!r}, rate={rate}, neurons={len(self.eta)}{alone})"

    def _repr_html_(self) -> str:
        low, high = self.box
        rate, best = (verify.at_least(rate, 4) for rate in (self.rate, self.best_rate))
        ends = verify.at_least(low.min(), 4), verify.at_most(high.max(), 4)
        rows = {
            "proved": f"two states under the same inputs approach each other{self.scope}",
            "rate": f"{rate} per unit of time, in the best norm {best}",
            "level": self.level,
            "neurons": len(self.eta),
            "states": f"within {ends[0]} to {ends[1]}"
            + (", which every trajectory tends to" if self.attracts else ""),
        }
        return table_html("Certificate of contraction", rows)

    @property
    def covers_step(self) -> bool:
        """Whether a solver's step is proved to contract as well, the semi-implicit one."""
        return self.document["step"] is not None

    @property
    def scope(self) -> str:
        """What is to be said after each statement where no step is covered, else nothing."""
        return "" if self.covers_step else verify.EQUATION_ONLY

    @property
    def level(self) -> str:
        """Level of checking: exact, interval or float; see `elegans.proofs.certify`."""
        return str(self.document["level"])

    @property
    def rate(self) -> float:
        """lambda: distances shrink at least as exp(-lambda t), per unit of the elapsed times."""
        return float(self.document["norms"][0]["rate"])

    @property
    def best_rate(self) -> float:
        """The largest rate that was proved, with weights that may differ by more."""
        return max(float(norm["rate"]) for norm in self.document["norms"])

    @property
    def eta(self) -> Array:
        """Weights of the maximum norm, shape (neuron,)."""
        return np.array(self.document["norms"][0]["eta"])

    @property
    def inputs(self) -> Box:
        """The range of inputs, as the layer is given them, that everything holds for."""
        return _box(self.document["inputs"])

    @property
    def box(self) -> Box:
        """The box of states in which the rate holds."""
        return _box(self.document["boxes"][-1])

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes that are entered one after the other from the first; the last is `box`."""
        return tuple(map(_box, self.document["boxes"]))

    @property
    def attracts(self) -> bool:
        """Whether every trajectory tends to the box."""
        return bool(self.document["attracts"])

    @property
    def step(self) -> StepFigures | None:
        """What is proved of the step of the layer's solver, None where nothing is."""
        step = self.document["step"]
        return None if step is None else StepFigures(**{**step, "eta": np.array(step["eta"])})

    @property
    def gain(self) -> Array | None:
        """Largest distance to which inputs that differ by 1 part two trajectories from one state.

        Shape (neuron,), inputs as the layer is given them; None where it was not found.
        """
        gain = self.document["gain"]
        return None if gain is None else np.array(gain)

    @cached_property
    def figures(self) -> Figures:
        """Numbers that follow from the certificate, or tell of its search."""
        document, network, boxes = self.document, self.network, self.boxes
        gates = [GateRanges.free(network, boxes[-1])]
        if self.level != "exact":
            inputs = network.range_of(self.inputs)
            gates = [GateRanges.over(network, box, inputs) for box in boxes]
        rows = Rows.of(network, boxes[-1], gates[-1], pieces=document["pieces"])
        components = best_rates(rows) if self._components is None else self._components
        row, synapses = binding_row(rows, components)
        slowest = [float(time_constant_range(network, each).hi.max()) for each in gates[:-1]]
        with np.errstate(over="ignore"):
            overshoot = (1 + SLACK) * float(self.eta.max() / self.eta.min())
        step = document["step"]
        return Figures(
            ceiling=float(components.ceiling.min()),
            best_rate=self.best_rate,
            overshoot=overshoot,
            break_even=(1 + SLACK) * math.log(overshoot) / self.rate,
            entry_time=sum(map(entered_after, slowest, document["shares"])),
            kappa=None if step is None else float(step["kappa"]),
            horizon=None if step is None else (1 + SLACK) * horizon(step["kappa"], step["unfolds"]),
            components=components_table(components),
            binding=row,
            binding_synapses=synapses,
        )

    @property
    def network(self) -> Network:
        """The circuit that the certificate is about."""
        return network_of(self.document["network"])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the network, as the verifier prints it."""
        return verify.network_digest(self.document)

    def verify(self, work: int | None = None) -> list[str]:
        """Check everything, rounded away from what is claimed, and return what was proved.

        `work` is the number of terms to be looked at, at most, by default 100 million: one for
        each box, norm and synapse, about a microsecond each.

        Raises
        ------
        InputError
            Something does not follow, or not within this work, or the document is no certificate.
        """
        try:
            return verify.verify(self.document, work)
        except verify.LimitError as error:
            raise InputError(
                f"got a certificate that is not checked so soon ({error}), expected one within "
                "the limit; pass work=..., the number of terms"
            ) from error
        except (verify.MalformedError, verify.NotProvedError) as error:
            raise InputError(
                f"got a certificate that does not hold ({error}), expected one as certify() "
                "returned it; make a new one"
            ) from error

    def matches(self, model: nn.Module) -> bool:
        """Whether the certificate is about the equation of `model` as it is now.

        Solver, unfolds and elapsed time, to which the statement on the step belongs, are not
        compared.
        """
        return bool(network_document(Network.of(model)) == self.document["network"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the certificate as JSON, whole or not at all."""
        place = Path(path)
        with writing(place):
            write_bytes(place, (json.dumps(self.document, allow_nan=False) + "\n").encode())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, size: int | None = None, work: int | None = None
    ) -> Certificate:
        """Return the certificate in a file, checked.

        Parameters
        ----------
        path
            The file.
        size
            Bytes that it may have, 64 MB by default.
        work
            As in `verify`.

        Raises
        ------
        InputError
            The file holds no certificate, or one that does not hold, or is larger than that.
        """
        try:
            certificate = cls(verify.read(os.fspath(path), size))
        except verify.LimitError as error:
            raise InputError(
                f"{path}: got a file beyond what is read ({error}), expected a smaller one; pass "
                "size=..., the bytes that it may have"
            ) from error
        except verify.MalformedError as error:
            raise InputError(
                f"{path}: got no certificate ({error}), expected a file that Certificate.save() "
                "wrote"
            ) from error
        certificate.verify(work)
        return certificate

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows, without the network itself."""
        return {
            "certified": True,
            "level": self.level,
            "rate": self.rate,
            "best_rate": self.best_rate,
            "attracts": self.attracts,
            "covers_step": self.covers_step,
            "fingerprint": self.fingerprint,
            **asdict(self.figures),
        }


@dataclass(frozen=True)
class NotCertified:
    """Reason and remedies for a missing certificate. Not certified does not mean unstable.

    Parameters
    ----------
    reason
        What failed, in a sentence.
    level
        The level that was asked for.
    rate
        The best rate that the method gives, None where none was looked for. Zero or negative,
        unless weights that prove it were not found or did not pass the check.
    binding
        The neuron whose row binds, in the component that is worst.
    binding_synapses
        Source and share of the synapses that weigh on this row, the heaviest first.
    largest_scale
        Largest factor found for the conductances of all recurrent synapses with which the circuit
        is certified, None if there is none.
    local_box
        Half lengths of the largest certified box found round an equilibrium under the middle of
        the range of inputs, held constant, shape (neuron,).
    equilibrium, local_rate
        That equilibrium, shape (neuron,), and the rate in its box.
    prune_first
        Synapses whose removal helps most: source, target, and the gain of the rate for each unit
        of conductance taken away.

    Examples
    --------
    Two neurons that excite each other come to rest in either of two states:

    >>> from elegans.proofs import certify
    >>> from elegans.proofs.claims.small_circuits import Synapse, circuit
    >>> pair = circuit(2, [Synapse(0, 1, weight=3.0), Synapse(1, 0, weight=3.0)])
    >>> answer = certify(pair, inputs=(-1, 1))
    >>> bool(answer), round(answer.rate, 2), round(answer.largest_scale, 2)
    (False, -4.9, 0.64)
    """

    reason: str
    level: str
    rate: float | None = None
    binding: int | None = None
    binding_synapses: list[dict[str, Any]] = field(default_factory=list)
    largest_scale: float | None = None
    equilibrium: list[float] | None = None
    local_box: list[float] | None = None
    local_rate: float | None = None
    prune_first: list[dict[str, Any]] = field(default_factory=list)

    certified = False

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        lines = [f"not certified: {self.reason}"]
        if self.binding is not None:
            heaviest = ", ".join(
                f"{entry['source']} ({100 * entry['share']:.0f} %)"
                for entry in self.binding_synapses[:3]
            )
            listed = f", with synapses from {heaviest}" if heaviest else ""
            lines.append(f"the row of neuron {self.binding} binds{listed}")
        if self.largest_scale is not None:
            lines.append(
                "certified with recurrent conductances scaled by "
                f"{verify.at_least(self.largest_scale, 3)}"
            )
        if self.local_box is not None:
            ends = (verify.at_least(end, 3) for end in (min(self.local_box), max(self.local_box)))
            rate = verify.at_least(self.local_rate or 0.0, 3)
            lines.append(
                f"certified within {' to '.join(ends)} of an equilibrium, at the rate {rate}"
            )
        if self.prune_first:
            first = ", ".join(f"{e['source']} -> {e['target']}" for e in self.prune_first[:3])
            lines.append(f"removing these synapses helps most: {first}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        first, *rest = str(self).splitlines()
        return f"<p><b>{escape(first)}</b></p>" + "".join(f"<p>{escape(line)}</p>" for line in rest)

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows."""
        return {"certified": False, **asdict(self)}


def components_table(components: Components, largest: int = 20) -> list[dict[str, Any]]:
    """Return size, rate and neurons of each component of several neurons, the slowest first."""
    sizes = components.sizes
    order = [int(c) for c in np.argsort(components.rate, kind="stable") if sizes[c] > 1]
    return [
        {
            "size": int(sizes[c]),
            "rate": float(components.rate[c]),
            "neurons": np.flatnonzero(components.of == c).tolist(),
        }
        for c in order[:largest]
    ]


def network_document(network: Network) -> dict[str, Any]:
    """Return a network as plain values, with a field for gap junctions where it has any."""
    document = {
        "capacitance": network.capacitance.tolist(),
        "leak": network.leak.tolist(),
        "leak_potential": network.leak_potential.tolist(),
        "epsilon": network.epsilon,
        "scale": network.scale.tolist(),
        "shift": network.shift.tolist(),
        **{
            kind: {
                column.name: getattr(synapses, column.name).tolist() for column in fields(synapses)
            }
            for kind, synapses in (("recurrent", network.recurrent), ("sensory", network.sensory))
        },
    }
    if network.electrical is not None:
        document["electrical"] = {
            column.name: getattr(network.electrical, column.name).tolist()
            for column in fields(JunctionNumbers)
        }
    return document


def network_of(document: dict[str, Any]) -> Network:
    """Return the network that `network_document` wrote."""
    capacitance, leak, potential, scale, shift = (
        _array(document, name)
        for name in ("capacitance", "leak", "leak_potential", "scale", "shift")
    )
    return Network(
        capacitance,
        leak,
        potential,
        float(document["epsilon"]),
        _synapses(document["recurrent"]),
        _synapses(document["sensory"]),
        scale,
        shift,
        _junctions(document["electrical"]) if "electrical" in document else None,
    )


def _junctions(document: dict[str, Any]) -> JunctionNumbers:
    source, target = (np.array(document[end], dtype=np.int64) for end in ("source", "target"))
    rectifying = np.array(document["rectifying"], dtype=np.bool_)
    return JunctionNumbers(source, target, rectifying, _array(document, "weight"))


def _synapses(document: dict[str, Any]) -> SynapseNumbers:
    source, target = (np.array(document[end], dtype=np.int64) for end in ("source", "target"))
    values = (_array(document, name) for name in ("weight", "gain", "centre", "potential"))
    return SynapseNumbers(source, target, *values)


def _array(document: dict[str, Any], name: str) -> Array:
    return np.array(document[name], dtype=np.float64)


def _box(document: dict[str, list[float]]) -> Box:
    return Box(np.array(document["lo"]), np.array(document["hi"]))
